"""A workflow that is served: its plan, and all that each run of it would have to find out anew: :class:`Workflow`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from flow.config import Config
from flow.errors import UsageError, a_kind
from flow.graph.dag import Dag
from flow.http.pace import QUICK, Pace
from flow.http.values import Inputs
from flow.metrics.unobserved import Unobserved
from flow.plan.interface import output_types, sinks
from flow.plan.plan import Plan
from flow.run.signals import signals_of
from flow.run.state import is_sync_run

if TYPE_CHECKING:
    from flow.metrics.counts import Counts

OUTPUTS: Final = "outputs"
"""The node that gives what a workflow file lists under ``outputs``."""


class Workflow:
    """One workflow, by the name under which it is served.

    :ivar config: of its runs. :ivar direct: of its runs in the handler of a request.
    :ivar is_sync: all its functions are sync, and no hooks are called, so a run of it needs no event loop.
    :ivar answered: the nodes whose outputs are answered. :ivar unpacks: the output of the one that is answered holds
        the outputs of the workflow by name, as that of a workflow file does.
    :ivar places: by name, where in the values of a run they are.
    :ivar unobserved: counts the runs in handlers, which nobody observes then; None if they are observed.
    :ivar completed: the counts of a run whose nodes have all completed, as JSON.
    """

    __slots__ = (
        "answered", "completed", "config", "direct", "inputs", "is_sync", "name", "pace", "places", "plan", "signals",
        "unobserved", "unpacks",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        target: Dag | Plan,
        config: Config | None,
        counts: Counts | None = None,
        quick: float = QUICK,
    ) -> None:
        plan = target.compile() if isinstance(target, Dag) else target
        if not isinstance(plan, Plan):
            raise UsageError(f"a service takes flow.Dag and flow.Plan, and {name!r} is {a_kind(target)}")
        self.name = name
        self.plan = plan
        config = plan._nodes.config or Config() if config is None else config
        self.config = config if counts is None else config.replace(observers=(*config.observers, counts.observe))
        self.unobserved = Unobserved(counts, plan) if counts is not None and _is_plain(plan, config) else None
        self.direct = self.config if self.unobserved is None else config.replace(timing=True)
        hooked = config.before_call is not None or config.on_outcome is not None  # and hooks may be async
        self.is_sync = is_sync_run(plan, self.config) and not hooked
        self.inputs = Inputs(plan)
        self.signals = signals_of(plan)
        self.pace = Pace(quick)
        self.unpacks = _lists_outputs(plan)
        self.answered = (OUTPUTS,) if self.unpacks else sinks(plan)
        self.places = [(name, plan.find(name)) for name in self.answered]
        self.completed = b'{"completed":%d}' % len(plan)

    def live(self, observer: Callable[[Any], object], before_call: Callable[[Any], None] | None) -> Config:
        """Return the Config of a run that goes on in the background.

        :param before_call: of a sync one: is called before each call; what it raises ends the run.
        """
        config = self.config
        changes: dict[str, Any] = {"observers": (*config.observers, observer)}
        if before_call is not None:
            changes["before_call"] = lambda: before_call
        elif not self.is_sync and config.executor == "inline" and not self.pace.quick:
            changes["executor"] = "thread"  # a sync function among async ones would hold the event loop
        return config._changed(**changes)

    def outputs(self, found: dict[str, Any]) -> dict[str, Any]:
        """Return the outputs of the workflow, of those of the nodes that are answered."""
        inner = found.get(OUTPUTS) if self.unpacks else None
        return inner if isinstance(inner, dict) else found

    def output_types(self) -> dict[str, Any]:
        """Return the types of its outputs by name; none if they are only known when it has run."""
        return {} if self.unpacks else output_types(self.plan, self.answered)


def _is_plain(plan: Plan, config: Config) -> bool:
    """Tell whether what is counted of a run can be taken from its Result."""
    return not config.observers and config.keep == "all" and Unobserved.fits(plan)


def _lists_outputs(plan: Plan) -> bool:
    """Tell whether a plan is that of a workflow file that lists its outputs."""
    if OUTPUTS not in plan:
        return False
    from flow.spec.nodes.steps import Evaluated

    return isinstance(plan._nodes.fns[plan.find(OUTPUTS)], Evaluated)


def part_answered(workflow: Workflow, targets: Iterable[str] | None) -> tuple[str, ...]:
    """Return the nodes whose outputs a run of these targets answers."""
    return workflow.answered if targets is None else tuple(targets)


__all__ = ["Workflow", "part_answered"]
