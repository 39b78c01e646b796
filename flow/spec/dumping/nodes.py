"""One node of a Dag as a workflow file says it: its kind, and what it is called with."""

from __future__ import annotations

import keyword
from collections.abc import Mapping
from typing import Any, Final

from flow.errors import shown
from flow.expr import Expression
from flow.plan.definition import Policy
from flow.plan.merging import Merge
from flow.plan.plan import Plan
from flow.plan.waits import Signal, Timer, Wait
from flow.policy.looping import Looped
from flow.policy.mapping import Folded, MapOptions, Mapped
from flow.policy.scope import ROOTS
from flow.signature import Composite, Nested, Shaped, location_of, shape_of
from flow.spec.dumping.literals import Unsayable, input_type, name_of
from flow.spec.form.inputs import TYPES
from flow.spec.nodes.models import asks_model
from flow.spec.nodes.steps import ItemCall, Step

NOTHING: Final[Mapping[str, str]] = {}
_DEFAULTS: Final = MapOptions()
_ITEM_KEYS: Final = ("index", "key")


class Written:
    """A node that is to be written.

    :param modules: as of :func:`flow.spec.dump`. :param inputs: the run inputs by the slots that they fill.
    :ivar needs_join: its join must be said, even if it is the one that all nodes have.
    """

    def __init__(
        self,
        plan: Plan,
        i: int,
        fn: Any,
        policy: Policy,
        modules: Mapping[str, str],
        inputs: Mapping[int, str],
    ) -> None:
        self.plan = plan
        self.inputs = inputs
        self.i = i
        self.fn = fn
        self.policy = policy
        self.modules = modules
        self.needs_join = False

    @property
    def function(self) -> Any:
        """The function that is called, for each item or in each round too."""
        return self.fn.fn if isinstance(self.fn, (Mapped, Looped)) else self.fn

    # -- names -------------------------------------------------------------------------------

    def reference(self, slot: int) -> str:
        """Return the expression that reads a node's output or a run input; nothing if a default stands there."""
        if slot >= 0:
            return node_expression(self.plan.names[slot])
        name = self.inputs.get(slot, "")
        return f"inputs.{name}" if name and not keyword.iskeyword(name) else f'inputs["{name}"]' if name else ""

    def wired(self) -> dict[str, int]:
        """The value slots of its parameters."""
        nodes = self.plan._nodes
        return dict(zip(nodes.parameters(self.i), nodes.arguments[self.i], strict=True))

    def usual(self, name: str, slot: int) -> bool:
        """Tell whether the usual rule fills parameter ``name`` from this slot."""
        if slot >= 0:
            return self.plan.names[slot] == name
        return self.inputs.get(slot, name) == name

    # -- expressions ---------------------------------------------------------------------------

    def condition(self) -> str:
        """Return its condition as an expression."""
        made = self.expression(self.policy.when, "when")
        reads = (self.policy.routing.reads if self.policy.routing is not None else None) or {}
        nodes, names = self.plan._nodes, {}
        for parameter in shape_of(self.policy.when).parameters:
            name, source = parameter.name, parameter.source
            provider, kind = (name, "") if source is None else (source.name, source.kind)
            if name in reads:
                names[name] = node_expression(self.plan.names[self.plan.find(reads[name])])
            elif provider in nodes.index and kind != "input":
                names[name] = node_expression(provider)
            elif provider in nodes.inputs:
                names[name] = self.reference(nodes.inputs[provider][0])
        return renamed(made, names)

    def expression(self, fn: Any, what: str) -> Expression:
        """Return the expression that a function of ours evaluates. :raises Unsayable: if it is one of Python."""
        if isinstance(fn, Shaped):
            for made in (getattr(fn, "made", None), getattr(fn, "expression", None)):
                if isinstance(made, Expression):
                    self.needs_join = self.needs_join or any(use.guarded for use in made.uses)
                    return made
        raise Unsayable(f"{what} is a function ({location_of(fn)}): a file has an expression, flow.expr(...)")

    # -- arguments -----------------------------------------------------------------------------

    def arguments(self, special: Mapping[str, str] = NOTHING, left: str = "", always: bool = False) -> Any:
        """Return what stands in ``with``; None if the usual rule does the same.

        :param special: parameters that get something else, and the expressions for them. :param left: the parameter
            that is no argument. :param always: it is to be said.
        """
        wired = {name: slot for name, slot in self.wired().items() if name not in special and name != left}
        if all(self.usual(name, slot) for name, slot in wired.items()) and not (always and wired):
            return None
        self._check_parameters(wired)
        found = {name: f"{{{{ {text} }}}}" for name, text in special.items()}
        for name, slot in wired.items():
            text = self.reference(slot)
            if text:
                found[name] = f"{{{{ {self._spared(name, slot, text)} }}}}"
        return found

    def _check_parameters(self, wired: Mapping[str, int]) -> None:
        fn = self.function
        if any("[" in name for name in wired):
            raise Unsayable("*args gets outputs, and a file passes arguments by name")
        for name in _positional_only(fn):
            if name in wired:
                raise Unsayable(f"parameter {name!r} takes no argument by name: drop the '/' behind it")
        for parameter in shape_of(fn).parameters:
            if parameter.is_outcome and parameter.name in wired:
                raise Unsayable(
                    f"parameter {parameter.name!r} takes the Outcome of a node with another name: call it as the node"
                )

    def _spared(self, name: str, slot: int, text: str) -> str:
        """Return what a parameter reads; with its default, where the node may have no output."""
        nodes = self.plan._nodes
        if slot < 0 or slot not in nodes.spared.get(self.i, ()):
            return text
        routes = nodes.routes
        strict = routes is None or (
            self.i not in routes.joins and self.i not in routes.conditions and self.i not in routes.gated
        )
        if strict and slot not in nodes.may_fail:
            return text
        default = next(p.default for p in shape_of(self.function).parameters if p.name == name)
        if default != (None,):
            shown_ = shown(default[0]) if default else "none"
            raise Unsayable(
                f"parameter {name!r} has the default {shown_} for an output that may not come, and a file has this for "
                f"parameters with the name of their node only: call it {self.plan.names[slot]!r}"
            )
        self.needs_join = True
        return f"default({text}, null)"


def said(node: Written) -> dict[str, Any]:
    """Return the kind of a node, and what belongs to it. :raises Unsayable: if a file has no such node."""
    fn, routing = node.fn, node.policy.routing
    called = fn.fn if isinstance(fn, Mapped) else fn
    if asks_model(fn):
        raise Unsayable("it asks a language model: write it in the file, as llm: or agent:")
    if isinstance(called, (Step, ItemCall)) or (isinstance(fn, Composite) and fn.around is not None):
        raise Unsayable("it comes from a file that has expressions, which is its source")
    if routing is not None and routing.router is not None:
        return _route(node, routing.router)
    if isinstance(fn, Wait):
        return _wait(fn, node.modules)
    if isinstance(fn, Merge):
        names = [node.plan.names[slot] for slot in node.plan._nodes.arguments[node.i]]
        return {"merge": names, "pick": "first"} if fn.first else {"merge": names}
    if isinstance(fn, Mapped):
        return _map(node, fn)
    if isinstance(fn, Looped):
        return _loop(node, fn)
    if isinstance(fn, Nested):
        raise Unsayable("a Dag as a node is a file of its own: write that, and put 'file' in its place")
    if isinstance(fn, Folded):
        raise Unsayable("a file has no reduce: make it a function of the whole list")
    if isinstance(fn, (Composite, Shaped)):
        raise Unsayable("an expression as a node: a file has 'set', whose output is a mapping")
    table: dict[str, Any] = {"call": name_of(fn, node.modules)}
    return _with(table, node.arguments())


def _with(table: dict[str, Any], arguments: dict[str, Any] | None) -> dict[str, Any]:
    if arguments is not None:
        table["with"] = arguments
    return table


def _route(node: Written, router: Any) -> dict[str, Any]:
    made = node.expression(node.fn, "the function of a route")
    names = {name: node.reference(slot) for name, slot in node.wired().items()}
    choice = node.plan._nodes.routes.routers[node.i]  # type: ignore[union-attr]
    keys: dict[str, str] = {}
    for key, target in choice.to.items():
        written = ("false", "true")[key] if isinstance(key, bool) else str(key) if isinstance(key, (int, str)) else None
        if written is None or written in keys or "{{" in written:
            raise Unsayable(f"key {shown(key)} of a route: a file has texts, numbers, true and false, each once")
        keys[written] = target
    table: dict[str, Any] = {"route": renamed(made, names), "to": keys}
    if choice.default is not None:
        table["default"] = choice.default
    return table


def _wait(fn: Wait, modules: Mapping[str, str]) -> dict[str, Any]:
    if isinstance(fn, Timer):
        return {"timer": fn.delay} if fn.at is None else {"timer": {"at": fn.at.isoformat()}}
    assert isinstance(fn, Signal)
    table: dict[str, Any] = {"signal": {}}
    if fn.type is not Any:
        try:
            found = input_type(fn.type)
        except Unsayable:
            found = {}
        plain = set(found) == {"type"} and TYPES[found["type"]] == fn.type
        table["signal"] = {"type": found["type"] if plain else name_of(fn.type, modules)}
    if fn.timeout is not None:
        table["timeout"] = fn.timeout
    return table


def _map(node: Written, fn: Mapped) -> dict[str, Any]:
    options, roles = fn.options, fn.roles
    if options.outcome != "list":
        raise Unsayable(f"a file has no {'filter' if options.outcome == 'filter' else 'flat_map'}: it has map")
    if len(fn.sources) != 1:
        raise Unsayable("a map over several sources: let a node before it zip them")
    if isinstance(fn.fn, Composite):
        raise Unsayable("a map of a Dag: a file calls a function for each item")
    source = fn.sources[0]
    over = node.reference(node.wired()[source])
    table: dict[str, Any] = {"map": name_of(fn.fn, node.modules), "over": f"{{{{ {over} }}}}"}
    special = dict.fromkeys(roles.items, "item") | {name: name for name in _ITEM_KEYS if getattr(roles, name)}
    direct = over.isidentifier() or over.startswith("inputs.")
    arguments = node.arguments(special, source, not direct)
    if options.pipelined and (not direct or arguments is not None):
        raise Unsayable("a pipelined map of a file goes over a node whose name is an identifier, and has no 'with'")
    _with(table, arguments)
    for key in ("concurrency", "batch_size", "batch_wait", "on_error", "take", "pipelined"):
        if getattr(options, key) != getattr(_DEFAULTS, key):
            table[key] = getattr(options, key)
    if options.key is not None:
        made = node.expression(options.key, "key")
        table["key"] = renamed(made, {use.name: "item" for use in made.uses if use.name not in ROOTS})
    return table


def _loop(node: Written, fn: Looped) -> dict[str, Any]:
    if isinstance(fn.fn, Composite) or fn.until is None:
        raise Unsayable("the body of the loop is a Dag: a file of its own, which 'loop: {file: ...}' names")
    until = node.expression(fn.until.fn, "until")
    table: dict[str, Any] = {
        "loop": name_of(fn.fn, node.modules), "until": until.source, "max_iterations": fn.most,
    }  # fmt: skip
    _with(table, node.arguments())
    if fn.carried:
        table["carry"] = fn.carried[0][0]
    if fn.returns:
        table["on_limit"] = "return"
    if fn.history:
        table["history"] = True
    return table


# -- expressions --------------------------------------------------------------------------------


def node_expression(name: str) -> str:
    """Return the expression that reads a node's output."""
    return name if name.isidentifier() and not keyword.iskeyword(name) else f'nodes["{name}"]'


def renamed(made: Expression, names: Mapping[str, str]) -> str:
    """Return an expression's text with other words for some names. O(length of it, times uses)."""
    lines = made.source.split("\n")
    for use in sorted(made.uses, key=lambda use: (use.line, use.column), reverse=True):
        if use.name in ("inputs", "nodes") and use.key is not None:
            is_input = use.name == "inputs"
            same = (f"inputs.{use.key}", f'inputs["{use.key}"]') if is_input else (node_expression(use.key),)
            new = names.get(same[0] if is_input else use.key, same[0])
            if new not in same:
                raise Unsayable(f"{use.name}.{use.key} in {shown(made.source)} means {new} here: write that")
            continue
        new = names.get(use.name, use.name)
        if new == use.name or use.name in ROOTS:
            continue
        line, at = lines[use.line - 1], use.column - 1
        if line[at : at + len(use.name)] != use.name:
            raise Unsayable(f"{use.name!r} in {shown(made.source)} is written in other letters: write it as the name")
        lines[use.line - 1] = line[:at] + new + line[at + len(use.name) :]
    return "\n".join(lines)


def _positional_only(fn: Any) -> list[str]:
    from inspect import Parameter, signature

    try:
        return [p.name for p in signature(fn).parameters.values() if p.kind is Parameter.POSITIONAL_ONLY]
    except (TypeError, ValueError):  # some that are written in C tell no parameters
        return []


__all__ = ["Written", "node_expression", "renamed", "said"]
