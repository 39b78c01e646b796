"""Each kind of node of a file, as the method of a Dag that adds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple

from flow.awaits import is_async_generator, is_generator_function
from flow.errors import shown
from flow.graph.dag import Dag
from flow.policy.mapping import Mapped
from flow.policy.scope import LOCAL, ROOTS, Narrowed
from flow.signature import Nested, is_async_callable, shape_of
from flow.spec.called.arguments import UNKNOWN, arguments_of
from flow.spec.form import structs
from flow.spec.form.inputs import TYPES, as_type
from flow.spec.nodes import around, models, steps
from flow.spec.nodes.names import OUTPUTS
from flow.spec.nodes.options import Options, after_of
from flow.spec.nodes.outline import Outline, References
from flow.spec.nodes.parts import Part
from flow.spec.text.expressions import named
from flow.spec.text.places import Table
from flow.spec.text.values import Made, calls_of, uses_of

_MAX_DATE: Final = 64
"""Characters of a date."""

_MAP_OPTIONS: Final = ("concurrency", "batch_size", "batch_wait", "on_error", "take", "pipelined")


class Called(NamedTuple):
    """What is known of a function that nodes call.

    :ivar context: the parameter of it that gets the Context; empty if none does. :ivar step: what calls it in a node.
    :ivar item_step: what calls it in a map.
    """

    fn: Callable[..., Any]
    context: str
    step: type[steps.Call]
    item_step: type[steps.ItemCall]

    @classmethod
    def of(cls, fn: Callable[..., Any]) -> Called:
        """Look at a function. It takes longest where annotations are text."""
        is_async = is_async_callable(fn)
        step: type[steps.Call] = steps.AsyncCall if is_async else steps.Call
        if is_generator_function(fn):
            step = steps.AsyncGeneratorCall if is_async_generator(fn) else steps.GeneratorCall
        return cls(fn, _context_of(fn), step, steps.AsyncItemCall if is_async else steps.ItemCall)

    @property
    def generates(self) -> bool:
        """True if it is a generator function, of either kind."""
        return self.step in (steps.GeneratorCall, steps.AsyncGeneratorCall)


class Adder(Options):
    """Adds nodes to the Dag of a file. What is wrong with one is noted, and it is left out."""

    def __init__(self, dag: Dag, outline: Outline, references: References) -> None:
        super().__init__(dag, outline, references)
        self._called: dict[str, Called] = {}

    def add(self, part: Part) -> None:
        """Add a node of any kind."""
        adds: Callable[[Part], None] = getattr(self, f"_add_{part.kind}", partial(models.add, self))
        adds(part)

    def _add_call(self, part: Part) -> None:
        called = self._callee(part.spec.call, part.at("call"))
        if called is None:
            return
        if part.given is None and not part.publish:
            self.put(part, called.fn)
            return
        if part.given is None:
            names = [p.name for p in shape_of(called.fn).parameters if not p.is_context]
            part.given = self._by_name(part, names)
        arguments = self._arguments(part, called.fn)
        if arguments is None:
            return
        if part.publish and called.generates:
            self.faults.add(part.at("publish"), "a generator has no result to publish when its node completes")
            return
        reads = self.outline.reads_of(part, part.arguments, bool(called.context))
        self.put(part, called.step(called.fn, arguments, reads, part.location, called.context, _publishing(part)))

    def _add_set(self, part: Part) -> None:
        made = part.value
        assert made is not None
        reads = self.outline.reads_of(part, [made])
        self.put(part, steps.Evaluated(made, reads, part.location, _publishing(part)))

    def _add_route(self, part: Part) -> None:
        if part.value is None:
            return
        step = steps.Chosen(part.value, self.outline.reads_of(part, [part.value]), part.location)
        self.put(part, step, self.dag.route, to=dict(part.spec.to), default=part.spec.default)

    def _add_merge(self, part: Part) -> None:
        spec = part.spec
        if len(set(spec.merge)) < len(spec.merge) or not spec.merge:
            self.faults.add(part.at("merge"), "a merge names each node once, and one at least")
            return
        self.dag.merge(part.name, of=list(spec.merge), pick=spec.pick, after=after_of(spec.after), store=spec.store)

    # -- nodes that wait ---------------------------------------------------------------------

    def _add_signal(self, part: Part) -> None:
        spec = part.spec
        name = "any" if spec.signal is None else spec.signal.type
        kind = TYPES.get(name)
        if kind is None:
            table = part.table["signal"]
            event = table.marks["type"][1] if isinstance(table, Table) else part.at("signal")
            if ":" not in name:
                near = self.faults.nearest(name, TYPES)
                self.faults.add(event, f"there is no type {shown(name)}{near}; a class is module:Class")
                return
            kind = self.references.callee(name, event, is_type=True)
        self.put_wait(part, self.dag.signal, type=kind, timeout=spec.timeout)

    def _add_timer(self, part: Part) -> None:
        timer = part.spec.timer
        if not isinstance(timer, structs.TimerOptions):
            self.put_wait(part, self.dag.timer, seconds=timer)
            return
        if (timer.seconds is None) == (timer.at is None):
            self.faults.add(part.at("timer"), "a timer has seconds or at, and one of them only")
            return
        at = None if timer.at is None else self._date(timer.at, part.table["timer"].marks["at"][1])
        self.put_wait(part, self.dag.timer, seconds=timer.seconds, at=at)

    def _date(self, text: str, event: Any) -> datetime | None:
        try:
            at = datetime.fromisoformat(text if len(text) <= _MAX_DATE else "")
        except ValueError:
            self.faults.add(event, f"at is a date and a time, as in 2027-01-31T09:00:00Z, not {shown(text)}")
            return None
        if at.utcoffset() is None:
            self.faults.add(event, f"at has no time zone: write {at.isoformat()}Z for UTC")
        return at

    # -- nodes that run others ---------------------------------------------------------------

    def _add_map(self, part: Part) -> None:
        spec, over = part.spec, part.value
        of_file = isinstance(spec.map, structs.FileBody)
        made = self._file_of_items(part) if of_file else self._function_of_items(part)
        if made is None or over is None:
            return
        options = {key: getattr(spec, key) for key in _MAP_OPTIONS if key in part.table}
        key = self.expressed(part.item_key)
        if key is not None:
            options["key"] = key
        direct = _direct(over)
        shared = of_file or part.given is not None
        if direct is not None and not shared and not part.publish:
            self.put(part, made, partial(self.dag.map, over=direct), **options)
            return
        if spec.pipelined:
            wanted = "a pipelined map goes over a node, {{ NODE }}, and has no with or publish"
            self.faults.add(part.at("pipelined"), wanted)
            return
        self.put(part, made, partial(self.dag.map, over=steps.OVER), **options)
        extras = [] if shared else self._further(part, self.dag._definition.fns[-1])
        reads = self.outline.reads_of(part, [*part.arguments, over, *[one for one in extras if one is not None]])
        sources = [direct if direct in reads.nodes else f"inputs.{direct}"] if direct is not None else []
        more = [Narrowed(uses_of(*part.arguments), calls_of(*part.arguments), LOCAL)] if shared else extras
        secret = _secret(part, made) if isinstance(made, Nested) else ()
        self._wrap(around.Prepared([over, *more], reads, part.location, _publishing(part), None, sources, secret))

    def _further(self, part: Part, mapped: Mapped) -> list[Made | None]:
        """Return what fills the parameters of a map's function besides its item, by the usual rule; None: nothing."""
        try:
            extras = mapped.roles.extras
        except TypeError:  # none takes the item, as compiling says
            return []
        given = self._by_name(part, [p.name for p in extras])
        for p in extras:
            if p.name not in given and not p.default:
                text = f"{part.spec.map} needs {shown(p.name)}, which 'with' does not give"
                self.faults.add(part.at("map"), text)
        return [given.get(p.name) for p in extras]

    def _function_of_items(self, part: Part) -> Callable[..., Any] | None:
        """Return what a map calls with each item; None, with a fault, if it cannot be called."""
        called = self._callee(part.spec.map, part.at("map"))
        if called is None or part.given is None:
            return None if called is None else called.fn
        arguments = self._arguments(part, called.fn)
        if arguments is None:
            return None
        return called.item_step(called.fn, arguments, _item_names(part), part.location, called.context)

    def _file_of_items(self, part: Part) -> Nested | None:
        """Return the file that a map runs for each item; None, with a fault, if it cannot be read."""
        inner = self.references.inner(part.spec.map.file, part.table["map"].marks["file"][1])
        if inner is None:
            return None
        nested = Nested.of(inner)
        if part.given is None:
            part.given = self._by_name(part, nested.inputs)
            free = [name for name in nested.plan.required_inputs if name not in part.given]
            taker = "item" if "item" in nested.inputs else free[0] if len(free) == 1 else ""
            if not taker:
                text = f"{part.spec.map.file} has no input 'item', so say in 'with' what it gets"
                self.faults.add(part.at("map"), text)
                return None
            part.given[taker] = named("item", True, part.place)
        self._check_inputs(part, part.given, nested)
        finish = _outputs_of if OUTPUTS in nested.plan else None
        given = list(map(part.given.get, nested.inputs))
        nested.around = around.FileItems(given, _item_names(part), part.location, finish)
        return nested

    def _add_loop(self, part: Part) -> None:
        spec, body = part.spec, part.spec.loop
        if isinstance(body, structs.FileBody):
            fn: Any = self.references.inner(body.file, part.table["loop"].marks["file"][1])
        else:
            fn = self.references.callee(body, part.at("loop"), names=_names_in_loop(part))
        until = self.expressed(part.until)
        if fn is None or until is None:
            return
        settings = {key: getattr(spec, key) for key in ("on_limit", "history", "carry") if key in part.table}
        self.put(part, fn, partial(self.dag.loop, until=until, max_iterations=spec.max_iterations), **settings)
        looped = self.dag._definition.fns[-1]
        if looped.body is None:
            return
        finish = None
        if isinstance(body, structs.FileBody) and OUTPUTS in looped.body.plan:
            finish = _outputs_of_rounds if spec.history else _outputs_of
        if finish is not None or part.given is not None or part.publish:
            self._prepare(part, looped.body, finish)

    def _add_file(self, part: Part) -> None:
        inner = self.references.inner(part.spec.file, part.at("file"))
        if inner is None:
            return
        nested = Nested.of(inner)
        self.put(part, nested)
        finish = _outputs_of if OUTPUTS in nested.plan else None
        if finish is not None or part.given is not None or part.publish:
            self._prepare(part, nested, finish)

    def _prepare(self, part: Part, nested: Nested, finish: Callable[[Any], Any] | None = None) -> None:
        """Let the composite that was added last be called with ``with``, and publish."""
        inputs = nested.inputs
        given = self._by_name(part, inputs) if part.given is None else part.given
        self._check_inputs(part, given, nested)
        reads = self.outline.reads_of(part, list(given.values()))
        values = list(map(given.get, inputs))
        secret = _secret(part, nested, given)
        self._wrap(around.Prepared(values, reads, part.location, _publishing(part), finish, (), secret))

    def _by_name(self, part: Part, names: Sequence[str]) -> dict[str, Made]:
        """Return the outputs and inputs of these names: what is passed without ``with``, by the usual rule."""
        known = self.outline.known
        found = [name for name in names if name in known.nodes or name in known.inputs]
        return {name: named(name, name in known.nodes, part.place) for name in found}

    def _check_inputs(self, part: Part, given: Mapping[str, Made], nested: Nested) -> None:
        """Note what is wrong with the inputs that a file, or the body of a loop, is given."""
        body = part.spec.map if part.kind == "map" else None
        what = part.spec.file if part.kind == "file" else "the body" if body is None else body.file
        needed = [name for name in nested.plan.required_inputs if name not in given]
        if needed:
            lacking = ", ".join(map(shown, needed))
            text = f"node {shown(part.name)} gives no {lacking} in 'with', and it is required"
            self.faults.add(part.at("with"), text)
        types = getattr(nested.plan._nodes.declared, "types", {})
        for name, made in given.items():
            if name not in nested.inputs:
                event = part.table["with"].marks[name][0]
                self.faults.add(event, f"{what} has no input {shown(name)}{self.faults.nearest(name, nested.inputs)}")
            elif made.is_constant and name in types:
                fault = as_type(made.value, types[name])[1]
                if fault:
                    event = part.table["with"].marks[name][1]
                    self.faults.add(event, f"input {shown(name)} of {what} is of another type: {fault}")

    def _wrap(self, prepared: around.Prepared) -> None:
        self.dag._definition.fns[-1].around = prepared

    def _arguments(self, part: Part, fn: Callable[..., Any]) -> steps.Arguments | None:
        if part.given is None:
            return steps.Arguments({}, fn)
        written = part.table[part.kind]
        literals = {name: one.value if one.is_constant else UNKNOWN for name, one in part.given.items()}
        faults = list(arguments_of(fn, written).faults(literals))
        for name, text in faults:
            event = part.table["with"].marks[name][0] if name in part.table.get("with", ()) else part.at("with")
            self.faults.add(event, text)
        return None if faults else steps.Arguments(part.given, fn, written, part.name)

    def _callee(self, written: str, event: Any) -> Called | None:
        """Return what a text names; None, with a fault, if it may not be called."""
        known = self._called.get(written)
        if known is None:
            fn = self.references.callee(written, event)
            if fn is None:
                return None
            known = self._called[written] = Called.of(fn)
        return known


def _names_in_loop(part: Part) -> list[str]:
    """The parameters that the function of a loop must have by what the file says; it may have more.

    In ``until`` the first name that is no other parameter is that of its return value.
    """
    carry = part.spec.carry
    names = dict.fromkeys([*(part.given or ()), *([carry] if isinstance(carry, str) else ())])
    free: list[str] = []
    for use in () if part.until is None else part.until.uses:
        if use.name == "inputs" and use.key is not None:
            names[use.key] = None
        elif use.name not in ROOTS and use.name not in names and not use.by:
            free.append(use.name)
    return list(dict.fromkeys([*names, *[name for name in free if isinstance(carry, str) or name != free[0]]]))


def _item_names(part: Part) -> list[str]:
    """The names that are an item's own and that its arguments read; ``item`` in any case."""
    used = {use.name for one in part.arguments for use in one.uses}
    return ["item", *[name for name in ("index", "key") if name in used]]


def _secret(part: Part, nested: Nested, given: Mapping[str, Made] | None = None) -> list[str]:
    """The inputs, as parameters, of which secret inputs of a file are made; they are secret as well."""
    given = part.given or {} if given is None else given
    made = [given[name] for name in nested.plan._nodes.secret if name in given]
    uses = list(uses_of(*made))
    if part.value is not None and any(use.name == "item" for use in uses):
        uses += part.value.uses
    return list(dict.fromkeys([f"inputs.{use.key}" for use in uses if use.name == "inputs" and use.key is not None]))


def _context_of(fn: Any) -> str:
    """Return the parameter of a function that gets the Context; empty if none does."""
    try:
        return next((p.name for p in shape_of(fn).parameters if p.is_context), "")
    except Exception:  # of the function's own attributes: compiling says so
        return ""


def _publishing(part: Part) -> steps.Publishing | None:
    return steps.Publishing(part.publish) if part.publish else None


def _direct(over: Made) -> str | None:
    """Return the node or run input that a map goes over as it is; None if an expression computes it."""
    if not over.is_alone or len(over.uses) != 1 or over.calls:
        return None
    use, source = over.uses[0], over.expressions[0].source.strip()
    if use.name == "inputs" and use.key is not None and source == f"inputs.{use.key}":
        return use.key
    return use.name if source == use.name and use.name not in (*LOCAL, *ROOTS) else None


def _outputs_of(made: Mapping[str, Any]) -> Any:
    return made.get(OUTPUTS)  # null if a condition has left out what they read


def _outputs_of_rounds(made: Sequence[Mapping[str, Any]]) -> tuple[Any, ...]:
    return tuple(map(_outputs_of, made))


__all__ = ["Adder"]
