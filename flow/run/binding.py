"""Bind the nodes of a plan to one run: what each is called through, decided once, at the run's start.

A plan and config without specials skip all of this: the plan's own functions are called. From the inside out a call
gets what its policies say (:mod:`flow.policy.bind`), the call hook, times and events where somebody watches, the
outcome hook, and admission.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from flow.errors import Hints, UsageError, listing
from flow.plan.resolver import DONE
from flow.policy.admission import Gates
from flow.policy.bind import Binder, Expand
from flow.policy.looping import Looped
from flow.policy.mapping import Folded, Mapped
from flow.run.around import admitted, asked, kept, lifted, plain_keepers, told
from flow.run.hooks import Hooks
from flow.run.journal import Journal
from flow.run.loading import load
from flow.run.routing import bind_choices, bind_receivers
from flow.run.state import PlanRun
from flow.run.watched import takes_times, times, watched
from flow.signature import Nested

Call = Callable[..., Any]

_ENDED: Final = bytes([code >= DONE for code in range(256)])


def bind(run: PlanRun, expand: Expand) -> None:
    """Make what the nodes of ``run`` are called through. O(nodes) if every call is watched, else those with policies.

    :param expand: gives what runs a Dag, a map or a fold as a node.
    :raises UsageError: listing the nodes that cannot run where they are to.
    """
    nodes, config = run.nodes, run.config
    default = config.executor
    everywhere = default != "inline"
    if nodes.binders or everywhere:
        elsewhere = nodes.named or default not in ("inline", "thread")
        if elsewhere or (run.hooks is not None and run.hooks.awaits):
            _refuse(run)
        if load(run.plan, run.driver, everywhere):
            run.started_at = run.clock.now()
        run.fns = fns = list(nodes.fns)
        run.is_async = is_async = bytearray(nodes.is_async)
        for i in range(nodes.count) if everywhere else nodes.binders:
            binder = nodes.binders.get(i)
            if binder is not None or not is_async[i]:
                fns[i], is_async[i] = (binder or Binder(fns[i], is_async=False)).bind(run, i, expand, default)
    if nodes.routes is not None:
        bind_choices(run)
    if run.hooks is not None:
        _ask(run, run.hooks)
    if run.journal is not None:
        _keep(run, run.journal)
    if config.timing or config.observers:
        times(run)
        if not takes_times(run):
            run.fns = watched(run)
    if run.hooks is not None:
        run.fns = [told(run, i, call, bool(run.is_async[i])) for i, call in enumerate(run.fns)]
    for i, binder in nodes.binders.items():
        if binder.admission is not None:
            _let_in(run, i, binder.admission)
    if nodes.routes is not None:
        bind_receivers(run)


def _let_in(run: PlanRun, i: int, admission: Gates) -> None:
    """Let node ``i`` begin once ``admission`` lets it in."""
    call: Call = run.fns[i]
    fns: Any = run.fns
    is_async: Any = run.is_async
    if admission.is_async and not is_async[i]:
        call, is_async[i] = lifted(run, i, call), 1
    fns[i] = admitted(run, i, call, bool(is_async[i]), admission, partial(run.context, i))


def _refuse(run: PlanRun) -> None:
    """:raises UsageError: listing every node that cannot run where it is to."""
    faults = list(_faults(run))
    if faults:
        raise UsageError(listing(f"dag {run.plan.name!r} cannot run with this Config", faults))


def _ask(run: PlanRun, hooks: Hooks) -> None:
    """Let every call ask the run's call hook; where a hook is async, every call is awaited."""
    if hooks.awaits:
        run.fns = [call if run.is_async[i] else lifted(run, i, call) for i, call in enumerate(run.fns)]
        run.is_async = bytearray(b"\1" * len(run.fns))
    run.fns = [asked(run, i, call, bool(run.is_async[i])) for i, call in enumerate(run.fns)]


def _keep(run: PlanRun, journal: Journal) -> None:
    """Let the run's journal keep every output; where a dependant waits for a commit, every call is awaited."""
    if journal.commits and run.on_loop:
        run.fns = [call if run.is_async[i] else lifted(run, i, call) for i, call in enumerate(run.fns)]
        run.is_async = bytearray(b"\1" * len(run.fns))
    plainly = journal.kept_plainly(run)
    keepers, is_async = plain_keepers(run, journal), run.is_async
    ended: Any = b"" if run.resolver is None else run.resolver.state.translate(_ENDED)
    run.fns = [
        call
        if ended and ended[i]
        else partial(keepers[is_async[i]], i, call)
        if i in plainly
        else kept(run, i, call, bool(is_async[i]))
        for i, call in enumerate(run.fns)
    ]


def _faults(run: PlanRun) -> Iterator[str]:
    """Say which nodes cannot run where they are to, and why."""
    nodes, config, hooks = run.nodes, run.config, run.hooks
    hints = Hints()
    known = ", ".join(map(repr, config.executors)) or "none"
    for i in range(nodes.count) if config.executor not in ("inline", "thread") else sorted(nodes.binders):
        fn, binder = nodes.fns[i], nodes.binders.get(i)
        if binder is not None:
            fn = binder.fn
        place = fn.executor if isinstance(fn, Mapped) else None if binder is None else binder.executor
        where = f"node {nodes.names[i]!r} ({run.location(i)})"
        if place not in (None, "inline", "thread", *config.executors):
            meant = hints.nearest(place, ["inline", "thread", *config.executors])
            yield f"{where} has executor={place!r}, and the names of Config.executors are {known}{meant}"
            continue
        place = place or config.executor
        if hooks is not None and hooks.awaits and isinstance(fn, (Nested, Looped)) and place == "thread":
            if binder is not None and binder.executor == "thread":
                yield f"{where} runs a Dag in a thread, where the run's async hook cannot be awaited"
        elif place not in ("inline", "thread") and not isinstance(fn, Folded):
            from flow.run.pickling import why_not_pickled  # here: few runs call executors of the user's

            why = why_not_pickled(config.executors[place], fn, binder)
            if why:
                yield f"{where} cannot run in executor {place!r}: {why}"
