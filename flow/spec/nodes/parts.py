"""The nodes of a file as they stand there: kind, options, expressions. Nothing of other nodes is looked at here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from flow.errors import Hints, shown
from flow.expr import Expression, Place, Use
from flow.policy.scope import ALL, LOCAL, ROOTS
from flow.spec.form.fields import fields_of, kind_of, read, table_of
from flow.spec.form.kinds import KINDS
from flow.spec.text.expressions import choice_of, expression_of, value_of
from flow.spec.text.faults import Faults
from flow.spec.text.foreign import is_foreign
from flow.spec.text.limits import MAX_KEY
from flow.spec.text.places import Table
from flow.spec.text.values import Made
from flow.types import NAME_RULE, is_name

RESERVED: Final = frozenset(
    {*ROOTS, *LOCAL, "vars", "outputs", "result", "true", "false", "null", "True", "False", "None", *ALL}
)
"""Names that no node may have: expressions have another meaning for them."""

_WORDS: Final = {
    "action": "call", "task": "call", "run": "call", "uses": "call", "function": "call", "fn": "call",
    "with_items": "map, over", "with-items": "map, over", "foreach": "map, over", "for_each": "map, over",
    "input": "with", "args": "with", "arguments": "with", "parameters": "with", "params": "with",
    "needs": "after", "depends_on": "after", "depends": "after", "requires": "after", "dependencies": "after",
    "if": "when", "condition": "when", "next": "route, or after of the next node", "do": "call",
    "retries": "retry: {attempts: ...}", "switch": "route", "choice": "route", "decision": "route",
    "subworkflow": "file", "workflow": "file", "wait": "timer, or signal", "sleep": "timer", "delay": "timer",
    "while": "loop, until", "catch": "after: {NODE: failed}", "on_failure": "after: {NODE: failed} of the next node",
    "on_success": "after of the next node", "items": "over", "parallelism": "concurrency",
    "batch": "batch_size", "finally": "cleanup", "always": "cleanup", "output": "publish", "outputs": "publish",
    "persist": "store", "durable": "store", "checkpoint": "store", "cache": "store", "pickle": "store: pickle",
    "type": "one of the kinds of nodes as a key",
}  # fmt: skip
"""What other engines' words are here."""


_SHORT: Final = 60
"""Characters of names that messages show as they are."""


class Part:
    """One node of a file.

    :ivar key: the event of its name. :ivar kind: ``call``, ``map``, ... :ivar spec: its options.
    :ivar given: the arguments in ``with``; None without it.
    :ivar value: what it goes over, chooses by, or sets. :ivar when, until, item_key: its bare expressions.
    :ivar publish: what it publishes.
    """

    __slots__ = (
        "_used", "given", "item_key", "key", "kind", "location", "name", "place", "publish", "spec", "table", "until",
        "value", "when",
    )  # fmt: skip

    def __init__(self, name: str, kind: str, spec: Any, table: Table, key: Any, place: Place) -> None:
        self.name = name
        self.kind = kind
        self.spec = spec
        self.table = table
        self.key = key
        self.place = place
        self.location = str(place)
        self.given: dict[str, Made] | None = None
        self.value: Made | None = None
        self.when: Expression | None = None
        self.until: Expression | None = None
        self.item_key: Expression | None = None
        self.publish: list[tuple[str, Made]] = []
        self._used: list[Used] | None = None

    def at(self, key: str) -> Any:
        """Return the event of the value of ``key``; that of the name, without such a key."""
        return self.table.marks[key][1] if key in self.table else self.key

    @property
    def arguments(self) -> Sequence[Made]:
        """The values in ``with``."""
        return () if self.given is None else tuple(self.given.values())

    def used(self) -> list[Used]:
        """Return what its expressions use, but for ``until``. Asked for when all are read."""
        if self._used is None:
            items = LOCAL if self.kind == "map" else ()
            found = [use for made in self.arguments if made.expressions for use in placed(made.expressions, items)]
            if self.value is not None:
                found += placed(self.value.expressions, ())
            if self.when is not None:
                found += placed((self.when,), ())
            if self.item_key is not None:
                found += placed((self.item_key,), ("item",))
            for _, made in self.publish:
                found += placed(made.expressions, ("result",))
            self._used = found
        return self._used


class Used(NamedTuple):
    """A name that an expression of a file uses.

    :ivar local: the names that are known there alone.
    """

    use: Use
    expression: Expression
    local: tuple[str, ...]

    @property
    def place(self) -> Place:
        """Where it stands."""
        return self.expression.place(self.use.line, self.use.column)


def placed(expressions: Sequence[Expression], local: tuple[str, ...]) -> list[Used]:
    """Return each use in some expressions."""
    return [Used(use, expression, local) for expression in expressions for use in expression.uses]


def read_part(name: str, value: Any, key: Any, event: Any, faults: Faults) -> Part | None:
    """Read one node; None if it cannot be told what it is."""
    check_name(name, key, faults)
    what = f"node {name!r}" if len(name) < _SHORT else f"node {shown(name)}"
    table = table_of(value, event, faults, what)
    if table is None:
        return None
    kinds = [kind for kind in KINDS if kind in table]
    if not kinds and "<<" in table.marks:
        return None  # it is told that merge keys are not read: its kind may be in one
    if len(kinds) != 1:
        faults.add(key, _no_kind(what, table, kinds, faults.budget.hints))
        return None
    kind, before = kinds[0], faults.count
    cls = KINDS[kind]
    spec = read(table, cls, faults, what, lambda word: _hint(word, kind))
    if spec is None:
        return None
    if faults.count > before:
        table = _of_right_keys(table, spec)
    part = Part(name, kind, spec, table, key, faults.source.place(key))
    _read_expressions(part, faults)
    return part


def _of_right_keys(table: Table, spec: Any) -> Table:
    """Return a mapping without the keys that are wrong, of which the faults are noted."""
    made = Table(table.at)
    made.templated = table.templated
    made.marks = table.marks
    fields = fields_of(type(spec))
    names = dict(zip(fields, spec.__struct_fields__, strict=True))
    taken = {key: getattr(spec, names[key]) for key in table if key in fields}
    made.update({key: table[key] for key, value in taken.items() if _is_taken(table[key], value)})
    return made


def _is_taken(value: Any, taken: Any) -> bool:
    return isinstance(taken, msgspec.Struct) or value == taken


def check_name(name: str, key: Any, faults: Faults) -> None:
    """Note what is wrong with the name of a node."""
    if not is_name(name):
        faults.add(key, f"{shown(name)} is no name of a node: {NAME_RULE}")
    elif name in RESERVED:
        what = "a function" if name in ALL else "something else"
        faults.add(key, f"{shown(name)} is no name of a node: expressions mean {what} by it")
    else:
        faults.check_letters(name, key)


def _no_kind(what: str, table: Table, kinds: Sequence[str], hints: Hints) -> str:
    if kinds:
        return f"{what} is of one kind, and this has {' and '.join(map(repr, kinds))}"
    for word in table:
        meant = f"; for {shown(word)} write {_WORDS[word]}" if word in _WORDS else hints.nearest(word, KINDS)
        if meant:
            return f"{what} does not say what it does: it needs one of {', '.join(KINDS)}{meant}"
    return f"{what} does not say what it does: it needs one of {', '.join(KINDS)}"


def _hint(word: str, kind: str) -> str:
    """Say what to write for a key that a kind of node does not have."""
    if word in _WORDS:
        return f": write {_WORDS[word]}"
    others = [other for other, cls in KINDS.items() if word in fields_of(cls)]
    has = "has" if len(others) == 1 else "have"
    return f": only {', '.join(others)} {has} it, and this is a {kind}" if others else ""


def _read_expressions(part: Part, faults: Faults) -> None:
    spec, table, kind = part.spec, part.table, part.kind
    given = table.get("with")
    if isinstance(given, Table):
        part.given = {name: value_of(value, given.marks[name][1], faults) for name, value in given.items()}
    values = [key for key in getattr(spec, "VALUES", ()) if key in table]
    if values:
        part.given = {key: value_of(table[key], part.at(key), faults) for key in values}
    if kind == "map":
        part.value = _over(part, faults)
        if spec.key is not None:
            part.item_key = expression_of(spec.key, part.at("key"), faults, "key")
    elif kind == "route":
        part.value = choice_of(spec.route, part.at("route"), faults, "a route")
    elif kind == "set":
        part.value = value_of(table["set"], part.at("set"), faults)
    elif kind == "loop":
        part.until = expression_of(spec.until, part.at("until"), faults, "until")
    if getattr(spec, "when", None) is not None:
        part.when = expression_of(spec.when, part.at("when"), faults, "when")
    published = table.get("publish")
    if isinstance(published, Table):
        part.publish = [(key, value_of(one, published.marks[key][1], faults)) for key, one in published.items()]
        for key in published:
            wanted = "{} is no key of data: letters, digits and '_', a letter first"
            faults.check_identifier(key, published.marks[key][0], wanted)


def _over(part: Part, faults: Faults) -> Made | None:
    value, event = part.table["over"], part.at("over")
    made = value_of(value, event, faults)
    if made.is_constant and not isinstance(made.value, (list, dict)):
        if isinstance(value, str) and is_foreign(value):  # of which a fault tells
            return None
        is_name = isinstance(value, str) and len(value) <= MAX_KEY and value.replace(".", "_").isidentifier()
        hint = f": write '{{{{ {value} }}}}'" if is_name else ""
        faults.add(event, f"over is a list, a mapping, or an expression in {{{{ }}}}, not {kind_of(value)}{hint}")
        return None
    if isinstance(value, str) and not made.is_constant and not made.is_alone:
        faults.add(event, "over is one expression in {{ }}, without text around it: text is no list of items")
        return None
    return made
