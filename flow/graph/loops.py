"""Loops of a Dag: nodes that run a Dag, or a function, until a condition holds."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, Literal, TypeVar, Unpack, overload

from flow.awaits import is_unawaited
from flow.config.fields import is_int, is_one_of
from flow.errors import DefinitionError, Hints, described, shown
from flow.graph.maps import Maps
from flow.graph.options import TEARDOWN, NodeOptions, Ref, unknown_options
from flow.plan.compile import compile_definition
from flow.plan.definition import Definition
from flow.plan.plan import Plan
from flow.policy.looping import Looped, Until
from flow.signature import (
    Composite,
    Nested,
    Parameter,
    is_async_callable,
    is_text,
    location_of,
    only_stars,
    said_of,
    shape_of,
)
from flow.tracebacks import OUR_ERRORS, end_at_user
from flow.types import NodeRef, is_name

T = TypeVar("T")
OnLimit = Literal["fail", "return"]

_OPTIONS: Final = frozenset(NodeOptions.__annotations__)
_WORDS: Final = ("fail", "return")


class Loops(Maps):
    """The method of a Dag that adds nodes which run something again and again."""

    __slots__ = ()

    @overload
    def loop(
        self, name: str, body: Loops, *, until: Callable[..., bool], max_iterations: int,
        carry: Mapping[str, Ref] | None = None, on_limit: OnLimit = "fail", history: Literal[False] = False,
        **options: Unpack[NodeOptions],
    ) -> NodeRef[Mapping[str, Any]]: ...  # fmt: skip

    @overload
    def loop(
        self, name: str, body: Loops, *, until: Callable[..., bool], max_iterations: int,
        carry: Mapping[str, Ref] | None = None, on_limit: OnLimit = "fail", history: Literal[True],
        **options: Unpack[NodeOptions],
    ) -> NodeRef[tuple[Mapping[str, Any], ...]]: ...  # fmt: skip

    @overload
    def loop(
        self, name: str, body: Callable[..., Coroutine[Any, Any, T]], *, until: Callable[..., bool],
        max_iterations: int, carry: str | None = None, on_limit: OnLimit = "fail", history: Literal[False] = False,
        **options: Unpack[NodeOptions],
    ) -> NodeRef[T]: ...  # fmt: skip

    @overload
    def loop(
        self, name: str, body: Callable[..., Coroutine[Any, Any, T]], *, until: Callable[..., bool],
        max_iterations: int, carry: str | None = None, on_limit: OnLimit = "fail", history: Literal[True],
        **options: Unpack[NodeOptions],
    ) -> NodeRef[tuple[T, ...]]: ...  # fmt: skip

    @overload
    def loop(
        self, name: str, body: Callable[..., T], *, until: Callable[..., bool], max_iterations: int,
        carry: str | None = None, on_limit: OnLimit = "fail", history: Literal[False] = False,
        **options: Unpack[NodeOptions],
    ) -> NodeRef[T]: ...  # fmt: skip

    @overload
    def loop(
        self, name: str, body: Callable[..., T], *, until: Callable[..., bool], max_iterations: int,
        carry: str | None = None, on_limit: OnLimit = "fail", history: Literal[True],
        **options: Unpack[NodeOptions],
    ) -> NodeRef[tuple[T, ...]]: ...  # fmt: skip

    def loop(
        self,
        name: str,
        body: Any,
        *,
        until: Any = None,
        max_iterations: Any = None,
        carry: Any = None,
        on_limit: Any = "fail",
        history: Any = False,
        **options: Any,
    ) -> NodeRef[Any]:
        """Add a node that runs ``body`` in rounds until ``until`` returns True. Its output is that of the last round.

        The output of a Dag is the mapping of its nodes' outputs, that of a function is its return value. The
        parameters of the node are the run inputs of the Dag, or the parameters of the function: the first round takes
        them as any node does. Each round sees the run's data through an overlay of its own. O(1) per round, besides
        what a run of the body costs.

        :param body: a Dag, which is compiled now, as it is now; or a sync or async function.
        :param until: a sync function, called after each round, that returns True or False. Its parameters name outputs
            of the round, then inputs of the round; one annotated ``flow.Context`` gets one of the round. The return
            value of a function has the name in ``carry``, or without ``carry`` any name that is no parameter of it.
        :param max_iterations: the most rounds, 1 at least.
        :param carry: what a round takes from the round before: run inputs of the Dag by name, each with the node whose
            output it takes (its name, NodeRef or function); of a function, the parameter that takes its return value.
            Other inputs stay as they are.
        :param on_limit: what happens if ``until`` has returned False after ``max_iterations`` rounds: "fail" fails the
            node with a :class:`flow.errors.LoopLimit`, "return" takes the last round.
        :param history: the output is a tuple with the outputs of all rounds.
        :param options: as of :meth:`add`. ``retry``, ``timeout`` and ``fallback`` are those of the whole loop.
        :raises UsageError: for an option that there is not. :raises DefinitionError: if a Dag given as ``body`` cannot
            be compiled. All else that is wrong is listed when this Dag is compiled.
        """
        settings = (until, max_iterations, carry, on_limit, history)
        try:
            if not options.keys() <= {*_OPTIONS, TEARDOWN}:
                raise unknown_options("loop", name, options, {*_OPTIONS, *_OWN})
            return self.add(name, _looped(name, body, *settings), **options)
        except OUR_ERRORS as error:
            end_at_user(error)
            raise


_OWN: Final = ("until", "max_iterations", "carry", "on_limit", "history")


def _looped(name: Any, body: Any, until: Any, most: Any, carry: Any, on_limit: Any, history: Any) -> Looped:
    """Describe a loop, and note what is wrong with it."""
    faults: list[str] = []
    is_dag = issubclass(type(body), Loops)
    fn = Nested.of(body) if is_dag else body
    nested = fn if is_dag else _nested(name, body, faults)
    looped = Looped(fn, nested, most, is_one_of(on_limit, ("return",)), history is True)
    faults += _setting_faults(most, on_limit, history)
    if nested is not None:
        reading = _Reading(nested.plan, None if is_dag else 0, faults)
        looped.output = reading.output
        looped.carried = reading.carried(carry)
        looped.until = reading.until(until, carry)
    elif until is None or not callable(until):
        faults.append(_no_until(until))
    looped.found = tuple(faults)
    return looped


def _setting_faults(most: Any, on_limit: Any, history: Any) -> list[str]:
    found = []
    if most is None:
        found.append("a loop needs max_iterations=..., the most rounds: without it, it might never end")
    elif not is_int(most) or most < 1:
        found.append(f"max_iterations must be an integer of at least 1, not {shown(most)}")
    if not is_one_of(on_limit, _WORDS):
        meant = Hints().nearest(on_limit, _WORDS) if _is_text(on_limit) else ""
        found.append(f"on_limit must be one of 'fail', 'return', not {shown(on_limit)}{meant}")
    if type(history) is not bool:
        found.append(f"history must be True or False, not {shown(history)}")
    return found


def _nested(name: Any, fn: Any, faults: list[str]) -> Nested | None:
    """Return a Dag whose only node calls ``fn``; None, and what is wrong, if there can be none."""
    if not callable(fn) or issubclass(type(fn), Composite):
        faults.append(f"a loop runs a flow.Dag or a function, not {shown(fn)}")
        return None
    try:
        shape = shape_of(fn)
    except Exception as error:  # of the function's own attributes
        faults.append(f"its parameters cannot be read: {described(error)}")
        return None
    if any(p.is_outcome for p in shape.parameters):
        faults.append("the function of a loop takes outputs, not a flow.Outcome: drop that annotation")
    parameters = {p.name for p in shape.parameters}
    try:
        own = getattr(fn, "__name__", None)
    except Exception:  # an object whose attributes raise
        own = None
    node = own if _is_text(own) and is_name(own) and own not in parameters else "body"
    while node in parameters:
        node += "_"
    definition = Definition(name if _is_text(name) and is_name(name) else "loop")
    definition.names, definition.fns, definition.needs, definition.after = [node], [fn], [None], [()]
    try:
        return Nested(compile_definition(definition))
    except DefinitionError as error:
        faults += error.faults
        return None


def _is_text(value: Any) -> bool:
    return issubclass(type(value), str)  # not isinstance: an object may raise when asked for its class


def _no_until(until: Any) -> str:
    if until is None:
        return "a loop needs until=..., a function that returns True after the last round"
    return f"until must be a sync function that returns True or False, not {shown(until)}"


class _Reading:
    """Reads the arguments of a loop against the plan of its body.

    :param output: the slot of the output of a function's one node; None for a Dag.
    """

    def __init__(self, plan: Plan, output: int | None, faults: list[str]) -> None:
        self.plan, self.output, self.faults = plan, output, faults
        self.nodes = plan._nodes
        self.hints = Hints()

    # -- carry -------------------------------------------------------------------------------

    def carried(self, carry: Any) -> tuple[tuple[str, int], ...]:
        """Return the inputs that take an output of the round before, with its slot."""
        if carry is None:
            return ()
        if self.output is not None:
            return self._carried_by_function(carry)
        if not issubclass(type(carry), Mapping):  # not isinstance: an object may raise when asked for its class
            self.faults.append(
                f"carry maps run inputs of the body to the nodes whose outputs they take, {{'draft': 'better'}}, "
                f"and is no {shown(carry)}"
            )
            return ()
        found = []
        for taker, ref in carry.items():
            self._check_input(taker)
            try:
                found.append((taker, self.plan.find(ref)))
            except Exception:  # our own, or that of an object whose attributes raise
                meant = self.hints.nearest(ref, self.nodes.names) if _is_text(ref) else ""
                self.faults.append(f"carry names the output {shown(ref)}, which is no node of the body{meant}")
        return tuple(found)

    def _carried_by_function(self, carry: Any) -> tuple[tuple[str, int], ...]:
        if not _is_text(carry):
            self.faults.append(f"carry names the parameter that takes the function's return value, not {shown(carry)}")
            return ()
        self._check_input(carry)
        assert self.output is not None
        return ((str.__str__(carry), self.output),)

    def _check_input(self, name: Any) -> None:
        if not _is_text(name) or name not in self.nodes.inputs:
            what = "run input of the body" if self.output is None else "parameter of the function"
            meant = self.hints.nearest(name, self.nodes.inputs) if _is_text(name) else ""
            self.faults.append(f"carry names the input {shown(name)}, which is no {what}{meant}")

    # -- until -------------------------------------------------------------------------------

    def until(self, fn: Any, carry: Any) -> Until | None:
        """Return the condition, each parameter with the slot that fills it."""
        if not callable(fn) or issubclass(type(fn), Composite):
            self.faults.append(_no_until(fn))
            return None
        if is_async_callable(fn) or is_unawaited(fn):
            self.faults.append(f"until ({location_of(fn)}) is async, and nothing would await it: make it a plain def")
            return None
        try:
            shape = shape_of(fn)
        except Exception as error:  # of the function's own attributes
            self.faults.append(f"the parameters of until ({location_of(fn)}) cannot be read: {described(error)}")
            return None
        if star := only_stars(fn, shape):
            self.faults.append(f"until ({location_of(fn)}) takes {star}: let it name the outputs that it looks at")
            return None
        for p in shape.parameters:
            if p.is_outcome:
                how = f"do not ask how {shown(p.source_name)} ended" if is_text(fn) else "drop that annotation"
                self.faults.append(f"until ({said_of(fn)}) takes outputs, not a flow.Outcome: {how}")
        ordered = sorted(shape.parameters, key=lambda p: p.keyword_only)
        contexts = [at for at, p in enumerate(ordered) if p.is_context]
        if len(contexts) > 1:
            self.faults.append(f"until ({location_of(fn)}) asks for the Context twice: one parameter is enough")
        parameters = [p for p in ordered if not p.is_context]
        slots = self._slots(fn, parameters, carry)
        count = sum(not p.keyword_only for p in ordered)
        return Until(
            fn,
            tuple(slots),
            tuple([p.name for p in parameters]),
            count,
            {at: p.default for at, p in enumerate(parameters) if p.default},
            ordered[contexts[0]].name if contexts else "",
            contexts[0] if contexts else 0,
            count == len(slots) and None not in slots,
        )

    def _slots(self, fn: Any, parameters: Sequence[Parameter], carry: Any) -> list[int | None]:
        """Return what fills each parameter; None for one that takes its default."""
        nodes, own = self.nodes, self._own_name(parameters, carry)
        slots: list[int | None] = []
        for p in parameters:
            slot, name, kind = None, p.source_name, "" if p.source is None else p.source.kind
            if kind == "input":
                pass
            elif self.output is None:
                slot = nodes.index.get(name)
            elif name == own:
                slot = self.output
            if slot is None and kind != "node" and name in nodes.inputs:
                slot = nodes.inputs[name][0]
            if slot is None and (p.source is not None or not p.default):
                why = self._not_there(p, own)
                self.faults.append(f"until ({said_of(fn)}) takes {shown(p.name)}, which is {why}")
            slots.append(slot)
        return slots

    def _own_name(self, parameters: Sequence[Parameter], carry: Any) -> str:
        """Return the name that ``until`` has for the return value of a function: that of its first free parameter."""
        if _is_text(carry):
            return str.__str__(carry)
        ours = [p for p in parameters if p.source is None or p.source.kind != "input"]
        free = [p for p in ours if p.source_name not in self.nodes.inputs]
        return next((p.source_name for p in free if not p.default), free[0].source_name if free else "")

    def _not_there(self, p: Parameter, own: str) -> str:
        name, inputs = p.source_name, self.nodes.inputs
        if p.source is not None and p.source.kind == "input":
            what = "run input of the body" if self.output is None else "parameter of the function"
            return f"no {what}{self.hints.nearest(name, inputs)}"
        if self.output is None:
            meant = self.hints.nearest(name, [*self.nodes.names, *inputs])
            return f"neither an output nor a run input of the body{meant}"
        meant = self.hints.nearest(name, [own, *inputs])
        return f"no parameter of the function; its return value is {shown(own)}{meant}"


__all__ = ["Loops"]
