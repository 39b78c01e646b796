"""A run of a plan that routes: it asks conditions, takes choices, and gives functions what live edges have brought."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn

from flow.awaits import NEVER_AWAITED, discard
from flow.data.outcome import received_outcome
from flow.errors import RouteError, Show, UsageError, ends_tasks, listing, shower, shown
from flow.plan.resolver import Step
from flow.plan.routes import Choice, When
from flow.plan.tokens import LIVE, TokenResolver
from flow.policy.fallback import note_broken, value_for
from flow.run import events
from flow.signature import said_of
from flow.types import ABSENT, MISSING, Status

if TYPE_CHECKING:
    from flow.run.waiting import Waiting

Call = Callable[..., Any]

_NAMED: Final = 8  # keys of a router in a message


class RunDecisions:
    """What one run answers to its resolver.

    :param run: a :class:`flow.run.state.PlanRun`.
    :ivar wants: asks the condition of a node. One that raises, or gives no bool, lets the node begin, and fail.
    """

    __slots__ = ("_run", "_waiting", "values", "wants")

    def __init__(self, run: Any) -> None:
        self._run = run
        self._waiting: Waiting | None = None  # made at the first node that waits
        self.values: Sequence[Any] = run.values
        self.wants: Any = _wants(run)  # (pyright takes a Callable in a slot for a method)

    def left_out(self, nodes: Sequence[int], cause: int) -> bool:
        """Tell observers, hooks and the journal, if there are any; return whether an async hook is told."""
        run = self._run
        hooks = run.hooks
        if hooks is None and not run.config.observers and run.journal is None:
            return False
        for i in nodes:
            run.skipped(i, run.nodes.names[cause])
        return hooks is not None and bool(hooks.awaits)

    def begins_waiting(self, i: int) -> bool:
        """Let node ``i`` wait, unless its condition has raised."""
        if i in self._run.refused:
            return False
        if self._waiting is None:
            from flow.run.waiting import Waiting  # here: few runs wait

            self._waiting = Waiting(self._run)
        self._waiting.begin(i)
        return True

    def ended(self) -> None:
        """End all waiting."""
        if self._run.nodes.routes.waits:
            from flow.run.waiting import end_waits

            end_waits(self._run, self._waiting)

    def is_telling(self) -> bool:
        """Tell whether an async hook is being told; a sync one has been."""
        hooks = self._run.hooks
        return hooks is not None and hooks.awaits and bool(self._run.driver.untold)


def _wants(run: Any) -> Callable[[int], bool]:
    """Return what asks the condition of a node. (A closure: a method would cost nodes with conditions 3 % more.)"""
    if run.journal is not None:
        return partial(_wants_kept, run, _asks(run))
    return _asks(run)


def _wants_kept(run: Any, ask: Callable[[int], bool], i: int) -> bool:
    """Ask the condition of a node of a durable run, unless it is known to hold."""
    journal = run.journal
    if journal.wanted(run, i):
        return True
    wanted = ask(i)
    if wanted and i not in run.refused:
        journal.wants(run, i)
    return wanted


def _asks(run: Any) -> Callable[[int], bool]:
    values, asked = run.values, run.nodes.routes.asked
    copy = copy_context().copy  # a condition has contextvars of its own, as a node has

    def wants(i: int) -> bool:
        fn, count, slots = asked[i]
        try:
            if count == 1:
                found = copy().run(fn, values[slots])
            elif not count:
                found = copy().run(fn)
            elif count > 1:
                found = copy().run(fn, *[values[slot] for slot in slots])
            else:
                found = copy().run(_asking, run, i, fn)
            if found is True:
                return True
            if found is False:
                return False
            _refuse(run, i, found)
        except BaseException as error:
            if not isinstance(error, Exception) and not ends_tasks(error):
                raise
            _let_fail(run, i, error)
        return True

    return wants


def _refuse(run: Any, i: int, found: object) -> NoReturn:
    if type(found) in NEVER_AWAITED:
        discard(found)
    fn = run.nodes.routes.whens[i].fn
    raise UsageError(f"when ({said_of(fn)}) returns True or False, not {shower(run.config)(found)}")


def _let_fail(run: Any, i: int, error: BaseException) -> None:
    """Let node ``i`` begin, and raise what its condition has raised."""
    run.extras.refused.add(i)
    if run.config.observers:
        run.emit(events.NodeStarted(run.run_id, run.nodes.names[i], 1, run.clock.now()))
    run.fns[i] = _raising(error, bool(run.is_async[i]))


def _asking(run: Any, i: int, when: When) -> Any:
    """Call a condition as a node is called: defaults for what has not come, keywords, the Context."""
    received = received_by(run, i, when.slots)
    for at in when.outcomes:
        received[at] = _outcome(run, i, when.slots[at])
    values = [
        when.defaults[at][0] if value is MISSING and at in when.defaults else value for at, value in enumerate(received)
    ]
    count = len(values) - len(when.keywords)
    positional = values[:count]
    named = {name: value for name, value in zip(when.keywords, values[count:], strict=True) if value is not ABSENT}
    if isinstance(when.context, str):
        named[when.context] = run.context(i)
    elif when.context >= 0:
        positional.insert(when.context, run.context(i))
    while positional and positional[-1] is ABSENT:
        positional.pop()
    return when.fn(*positional, **named)


def _raising(error: BaseException, is_async: bool) -> Call:
    """Return what takes the place of a node's function whose condition has raised."""

    def call(*values: Any) -> Any:
        raise error

    async def call_awaiting(*values: Any) -> Any:
        raise error

    return call_awaiting if is_async else call


def _resolver_type(routes: Any) -> type[TokenResolver]:
    """Return the resolver of a plan with these rules. (Few plans clean up or wait: ``import flow`` loads neither.)"""
    if routes.gated:
        from flow.plan.gates import GatedResolver

        return GatedResolver
    if routes.waits:
        from flow.plan.awaiting import WaitingResolver

        return WaitingResolver
    return TokenResolver


def routed_resolver(run: Any, done: Iterable[int], steps: Sequence[Step]) -> TokenResolver:
    """Make the resolver of a run of a plan that routes."""
    resolver = _resolver_type(run.nodes.routes).begun(run.nodes, done, RunDecisions(run), run.ranks, steps)
    resolver.early = run.config.on_error == "fail_fast"
    return resolver


# -- choices --------------------------------------------------------------------------------


def some_of(options: Sequence[Any]) -> str:
    """Return keys or names of a router for a message."""
    more = f" and {len(options) - _NAMED} more" if len(options) > _NAMED else ""
    return ", ".join(map(shown, options[:_NAMED])) + more


def chosen_by(choice: Choice, value: Any, show: Show = shown) -> tuple[str, ...]:
    """Return the nodes that a router goes on with for what its function gave. :raises RouteError: for a wrong key."""
    keys = value if isinstance(value, (list, tuple)) and not _is_key(choice, value) else [value]
    if not keys or (value is None and not _is_key(choice, None)):
        if choice.default is None:
            raise RouteError("a router returned no key, and has no default=")
        return (choice.default,)
    wrong = [key for key in keys if not _is_key(choice, key)]
    if wrong:
        known = some_of(list(choice.to))
        faults = [f"{show(key)} is no key of its to={{...}}, which has {known}" for key in wrong]
        raise RouteError(listing("a router chose what there is not", faults))
    return tuple(dict.fromkeys([choice.to[key] for key in keys]))


def _is_key(choice: Choice, key: Any) -> bool:
    try:
        return key in choice.to
    except TypeError:  # it cannot be hashed
        return False


def _choosing(choice: Choice, call: Call, is_async: bool, show: Show) -> Call:
    def choose(*values: Any) -> Any:
        value = call(*values)
        if type(value) in NEVER_AWAITED:
            return value  # which the driver refuses
        return chosen_by(choice, value, show)

    async def choose_awaiting(*values: Any) -> Any:
        return chosen_by(choice, await call(*values), show)

    return choose_awaiting if is_async else choose


def bind_choices(run: Any) -> None:
    """Let the routers of ``run`` give nodes for keys."""
    run.fns = list(run.fns)
    for i, choice in run.nodes.routes.routers.items():
        run.fns[i] = _choosing(choice, run.fns[i], bool(run.is_async[i]), shower(run.config))


def output_for(run: Any, i: int, value: Any) -> Any:
    """Return the output of node ``i`` that is known from elsewhere: a router's is a key, or what it once chose.

    :raises RouteError: for a wrong key.
    """
    choice = _choice_of(run, i)
    return value if choice is None else choice_known(choice, value)


def choice_known(choice: Choice, value: Any) -> tuple[str, ...]:
    """Return the nodes chosen for ``value``: a key, several, or the tuple of nodes that a run once chose.

    :raises RouteError: for a wrong key.
    """
    known = {*choice.to.values(), choice.default}
    if type(value) is tuple and value and all(isinstance(name, str) and name in known for name in value):
        return value
    return chosen_by(choice, value)


def _choice_of(run: Any, i: int) -> Choice | None:
    found: Choice | None = None if run.nodes.routes is None else run.nodes.routes.routers.get(i)
    return found


def fallback_for(run: Any, i: int, error: BaseException) -> Any:
    """Return what becomes the output of node ``i`` after its last attempt; MISSING if it has no fallback.

    A router's is read as what its function returns: a key, or several.
    """
    value = value_for(run.nodes.fallbacks.get(i, MISSING), error)
    if value is MISSING:
        return MISSING
    choice = _choice_of(run, i)
    try:
        return value if choice is None else chosen_by(choice, value)
    except RouteError as broken:
        note_broken(error, broken, run.nodes.fallbacks[i])
        return MISSING


# -- what a function receives ----------------------------------------------------------------


def bind_receivers(run: Any) -> None:
    """Give functions nothing over dead edges, and Outcomes where they ask for them."""
    for i in run.nodes.routes.masked:
        run.fns[i] = _receiving(run, i, run.fns[i])


def _receiving(run: Any, i: int, call: Call) -> Call:
    slots, outcomes = run.nodes.arguments[i], frozenset(run.nodes.routes.outcomes.get(i, ()))

    def received(*values: Any) -> Any:
        live = received_by(run, i, slots, values)
        return call(*[_outcome(run, i, slots[at]) if at in outcomes else value for at, value in enumerate(live)])

    return received


def received_by(run: Any, i: int, slots: Sequence[int], values: Sequence[Any] | None = None) -> list[Any]:
    """Return the values at ``slots`` as node ``i`` receives them: MISSING where an edge is dead or undecided."""
    found = [run.values[slot] for slot in slots] if values is None else list(values)
    resolver: TokenResolver = run.resolver
    counted = resolver.counted(i)
    for at, slot in enumerate(slots):
        if slot >= 0 and (slot not in counted if counted is not None else resolver.token(slot, i) != LIVE):
            found[at] = MISSING
    return found


def _outcome(run: Any, i: int, slot: int) -> Any:
    if slot < 0:
        return received_outcome(Status.PENDING)  # of a node that is no part of the run
    resolver: TokenResolver = run.resolver
    counted = resolver.counted(i)
    if counted is not None and slot not in counted:
        return MISSING
    status, error = run.status(slot), run.errors.get(slot)
    if error is None and run._extras is not None:
        stood_in = run.fallbacks.get(slot)
        error = stood_in if isinstance(stood_in, Exception) else None
    value = run.values[slot]
    return received_outcome(status, None if value is MISSING else value, error)


__all__ = [
    "RunDecisions", "bind_choices", "bind_receivers", "choice_known", "fallback_for", "output_for", "received_by",
    "routed_resolver", "some_of",
]  # fmt: skip
