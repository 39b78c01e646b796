"""What expressions read of a run: the parameters that provide it, and the scope that is made of their values."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol

from flow.data.mapresult import MapResult
from flow.data.outcome import Outcome
from flow.errors import NodeTimeout, described
from flow.expr import STANDARD, Expression, Use, function, readable
from flow.signature import Parameter, Source
from flow.types import Status

if TYPE_CHECKING:
    from flow.data.context import Context

LOCAL: Final = ("item", "index", "key")
"""Names that an expression has besides nodes where it is evaluated for an item."""

ROOTS: Final = ("inputs", "data", "system", "nodes")
"""Names that mean something else than the output of a node of that name."""

SYSTEM: Final = ("run_id", "workflow", "started", "now", "node", "attempt")
"""What can be read of ``system``. Times are seconds of Unix time, by the run's clock."""

NO_CONDITIONS: Final[Mapping[str, str]] = MappingProxyType({})


class _Gone:
    """Type of :data:`GONE`: one object, also where it is unpickled."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<nothing>"

    def __reduce__(self) -> str:
        return "GONE"


GONE: Final[Any] = _Gone()
"""The default of a parameter that may get nothing: the name is missing in the scope then."""

_OUTCOMES: Final = "outcomes by node"  # no name of an expression can have blanks
_CONTEXT: Final = "the Context"

readable(MapResult, ["values", "errors", "keys", "completed", "failed", "failed_keys", "ok"])


class Reads:
    """The parameters through which expressions read what they use.

    One per node, run input and Context, whatever number of expressions use it. A node whose status is asked for gets
    an Outcome; what only stands in ``default(...)`` may be missing, and so has a default.

    :param uses: of all expressions. :param calls: the functions that these call.
    :param local: names whose values the caller adds to the scope by itself.
    :param conditions: of edges from nodes whose status is asked for: "failed" or "completed" (:func:`decided`).
    :param context: the caller needs the Context. :param lenient: what any node gives may be missing.
    :ivar nodes: what is read of nodes, by name: True if it may be missing. Some may be run inputs: only ``nodes["x"]``
        and a status say that it is a node.
    :ivar statuses: the nodes whose status is asked for.
    :ivar inputs: the run inputs that are read as ``inputs.x``. :ivar data: the published keys.
    :ivar needs_context: the first parameter gets the Context.
    :ivar parameters: the parameters, the Context first; then nodes, then inputs. Their names are unique.
    """

    __slots__ = (
        "_by_key", "_input_names", "_names", "_told", "data", "inputs", "needs_context", "nodes", "parameters",
        "statuses", "whole_inputs",
    )  # fmt: skip

    def __init__(
        self,
        uses: Iterable[Use],
        calls: Collection[str] = (),
        local: Collection[str] = (),
        conditions: Mapping[str, str] = NO_CONDITIONS,
        *,
        context: bool = False,
        lenient: bool = False,
    ) -> None:
        nodes: dict[str, bool] = {}
        statuses: dict[str, None] = {}
        inputs: dict[str, bool] = {}
        data: dict[str, None] = {}
        certain: set[str] = set()  # that it is a node
        self.needs_context = context or "now" in calls
        self.whole_inputs = False
        for use in uses:
            name = use.name
            if use.by:
                statuses[use.node] = None
            elif name in local:
                continue
            elif name == "inputs":
                if use.key is None:
                    self.whole_inputs = self.needs_context = True
                else:
                    inputs[use.key] = inputs.get(use.key, True) and use.guarded
            elif name in ("data", "system"):
                self.needs_context = True
                if name == "data" and use.key is not None:
                    data[use.key] = None
            else:
                node = use.node
                if name == "nodes":
                    certain.add(node)
                nodes[node] = nodes.get(node, True) and use.guarded
        self.nodes, self.statuses = nodes, tuple(statuses)
        self.inputs, self.data = tuple(inputs), tuple(data)
        self._names = tuple(dict.fromkeys([*nodes, *statuses]))
        self._told = tuple([(name, name in statuses) for name in self._names])
        self._by_key = bool(certain)
        self._input_names = {name: f"inputs.{name}" for name in inputs}
        made = [Parameter(_CONTEXT, is_context=True)] if self.needs_context else []
        for node in self._names:
            told = node in statuses
            source = Source(node, "node" if told or node in certain else "", conditions.get(node, ""))
            label = f"nodes[{node!r}]" if node in self._input_names.values() else node
            spared = not told and (lenient or nodes[node])
            made.append(Parameter(label, (GONE,) if spared else (), is_outcome=told, source=source))
        for name, guarded in inputs.items():
            made.append(Parameter(f"inputs.{name}", (GONE,) if guarded else (), source=Source(name, "input")))
        self.parameters = tuple(made)

    def maker(self) -> Callable[[Sequence[Any]], dict[str, Any]]:
        """Return the function that makes a scope of the values of the parameters."""
        if not self.parameters:
            return _nothing
        if self._is_special:
            return self._scope
        made: Callable[[Sequence[Any]], dict[str, Any]] = _factory(len(self._names), len(self.inputs), False)(
            *self._names, *self.inputs
        )
        return made

    def caller(self, made: Evaluated) -> Callable[..., Any]:
        """Return a function of the values of the parameters, by position, that evaluates ``made``."""
        if self._is_special:
            scope = self._scope
            return lambda *values: made.evaluate(scope(values))
        found: Callable[..., Any] = _factory(len(self._names), len(self.inputs), True)(
            made, *self._names, *self.inputs
        )
        return found

    @property
    def _is_special(self) -> bool:
        """True if the scope is more than the values by their names."""
        if self.needs_context or self.statuses or any(p.default for p in self.parameters):
            return True
        return len(self.parameters) > _MOST or any(map(_is_node, self.parameters))

    def _scope(self, values: Sequence[Any]) -> dict[str, Any]:
        ctx: Context | None = None
        at = 0
        if self.needs_context:
            ctx, at = values[0], 1
        scope: dict[str, Any] = {}
        outcomes: dict[str, Outcome[Any]] = {}
        for name, told in self._told:
            value = values[at]
            at += 1
            if told:
                outcomes[name] = value
                value = value.value if value.status is Status.COMPLETED else GONE
            if value is not GONE:
                scope[name] = value
        if self._by_key:
            scope["nodes"] = scope.copy()  # a name that is no identifier, or means something else, is nodes["name"]
        if self.inputs:
            given = zip(self.inputs, values[at:], strict=True)
            scope["inputs"] = {name: value for name, value in given if value is not GONE}
        scope[_OUTCOMES] = outcomes
        if ctx is not None:
            if self.whole_inputs:
                scope["inputs"] = ctx.inputs
            scope["data"] = PublishedData(ctx, self.data)
            scope["system"] = SystemView(ctx)
            scope["now"] = Now(ctx)
        return scope


def _nothing(values: Sequence[Any]) -> dict[str, Any]:
    return {}


_MOST: Final = 16
"""Most parameters of an expression for which there is code of its own."""


class Evaluated(Protocol):
    """An expression, or what is made of several."""

    def evaluate(self, scope: Mapping[str, Any], /) -> Any:
        """Return its value."""
        ...


def _is_node(p: Parameter) -> bool:
    """Tell whether a parameter may be read as ``nodes["x"]``."""
    return p.source is not None and p.source.kind == "node"


@cache
def _factory(names: int, inputs: int, calls: bool) -> Callable[..., Any]:
    """Return what makes the maker of a scope of so many names and inputs: code is compiled once for each such pair.

    :param calls: it is to take the values by position, and evaluate what is given besides the names.
    """
    keys = [f"k{at}" for at in range(names + inputs)]
    values = [f"a{at}" if calls else f"v[{at}]" for at in range(len(keys))]
    pairs = [f"{key}: {value}" for key, value in zip(keys, values, strict=True)]
    scope = ", ".join(pairs[:names] + ([f"'inputs': {{{', '.join(pairs[names:])}}}"] if inputs else []))
    if calls:
        code = f"lambda {', '.join(['made', *keys])}: lambda {', '.join(values)}: made.evaluate({{{scope}}})"
    else:
        code = f"lambda {', '.join(keys)}: lambda v: {{{scope}}}"
    made: Callable[..., Any] = eval(code, {"__name__": __name__})
    return made


def decided(expression: Expression) -> dict[str, str]:
    """Return how nodes must have ended for an expression to be true, of those that say it beyond doubt. O(length).

    ``failed(x)`` alone, or in an ``and`` that is the whole, says "failed" of ``x``, and so does ``timed_out(x)``;
    ``succeeded(x, ...)`` says "completed" of each. ``failed(x, y)``, and ``failed(x) or failed(y)``, says "handled" of
    each: one of them has failed, and the node is there for that.
    """
    if expression.calls.isdisjoint(_CERTAIN):
        return {}
    tree = ast.parse(f"({expression.source}\n)", mode="eval").body
    found: dict[str, str] = {}
    todo = [tree]
    while todo:
        node = todo.pop(0)
        if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
            todo = [*node.values, *todo]
        elif isinstance(node, ast.BoolOp) and all(_certain(one) == "failed" for one in node.values):
            found.update({_name_in(one): "handled" for call in node.values for one in _args(call)} | found)
        elif said := _certain(node):
            several = said == "failed" and len(_args(node)) > 1
            found.update({_name_in(one): "handled" if several else said for one in _args(node)} | found)
    return found


def _certain(node: ast.expr) -> str:
    """What a call says of the nodes that it names; nothing if it is none that is sure to say it."""
    return _CERTAIN.get(node.func.id, "") if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""


def _args(node: ast.expr) -> Sequence[ast.expr]:
    return node.args if isinstance(node, ast.Call) else ()


_CERTAIN: Final = {"failed": "failed", "timed_out": "failed", "succeeded": "completed"}


def _name_in(node: ast.expr) -> str:
    """Return the name of a node as an argument: ``validate``, ``nodes["build-image"]``."""
    key: Any = node.slice if isinstance(node, ast.Subscript) else None
    return node.id if isinstance(node, ast.Name) else str(key.value)


class Narrowed:
    """Makes of a scope one that holds no more than some expressions read.

    Items of a map share it, and each that runs in another process takes it there.

    :param uses: of the expressions. :param calls: the functions that these call.
    :param local: names that are added to the scope later.
    """

    __slots__ = ("_keyed", "_names", "_statuses")

    def __init__(self, uses: Iterable[Use], calls: Collection[str], local: Collection[str]) -> None:
        names, statuses, self._keyed = dict[str, None](), dict[str, None](), dict[str, list[str] | None]()
        for use in uses:
            if use.by:
                statuses[use.node] = None
            elif use.name in ("inputs", "nodes"):
                keys = self._keyed.setdefault(use.name, [])
                if use.key is None or keys is None:
                    self._keyed[use.name] = None
                else:
                    keys.append(str(use.key))
            elif use.name not in local:
                names[use.name] = None
        if "now" in calls:
            names["now"] = None
        self._names, self._statuses = tuple(names), tuple(statuses)

    def evaluate(self, scope: Mapping[str, Any], /) -> dict[str, Any]:
        """Return the narrower scope."""
        found = {name: scope[name] for name in self._names if name in scope}
        for name, keys in self._keyed.items():
            whole = scope.get(name, {})
            found[name] = dict(whole) if keys is None else {key: whole[key] for key in keys if key in whole}
        if self._statuses:
            found[_OUTCOMES] = {name: scope[_OUTCOMES][name] for name in self._statuses}
        return found


class PublishedData(Mapping[str, Any]):
    """The data of the run, as expressions read it. In another process there is what it was when it left this one.

    :param keys: what is read of it.
    """

    __slots__ = ("_ctx", "_keys")

    def __init__(self, ctx: Context, keys: Sequence[str]) -> None:
        self._ctx = ctx
        self._keys = keys

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, ({key: self[key] for key in self._keys if key in self},)

    def write(self, key: str, value: Any) -> None:
        """Write it for the nodes after this one."""
        self._ctx.data[key] = value

    def __getitem__(self, key: str) -> Any:
        return self._ctx.data[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._ctx.data)

    def __len__(self) -> int:
        return len(self._ctx.data)


class SystemView(Mapping[str, Any]):
    """What ``system`` is in an expression: :data:`SYSTEM`, each read when it is asked for, or leaves this process."""

    __slots__ = ("_ctx",)

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)

    def __getitem__(self, key: str) -> Any:
        ctx = self._ctx
        if key in ("run_id", "node", "attempt"):
            return getattr(ctx, key)
        system = ctx.system
        if key == "workflow":
            return system.workflow
        if key == "started":
            return system.start.timestamp()
        if key == "now":
            return system.timestamp.timestamp()
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(SYSTEM)

    def __len__(self) -> int:
        return len(SYSTEM)


class Now:
    """What ``now()`` calls. In another process the time is that at which it left this one."""

    __slots__ = ("_ctx",)

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx

    def __call__(self) -> float:
        return self._ctx.system.timestamp.timestamp()

    def __reduce__(self) -> tuple[Any, ...]:
        return partial, (float, self())


# -- how nodes ended ----------------------------------------------------------------------------


def _outcomes(scope: Mapping[str, Any], names: Iterable[str]) -> list[Outcome[Any]]:
    known = scope[_OUTCOMES]
    return [known[name] for name in names]


def succeeded(scope: Mapping[str, Any], node: str, *nodes: str) -> bool:
    """True if a node has completed; of several, if all have."""
    return all(outcome.status == Status.COMPLETED for outcome in _outcomes(scope, (node, *nodes)))


def failed(scope: Mapping[str, Any], node: str, *nodes: str) -> bool:
    """True if a node has failed; of several, if one has."""
    return any(outcome.status == Status.FAILED for outcome in _outcomes(scope, (node, *nodes)))


def bypassed(scope: Mapping[str, Any], node: str, *nodes: str) -> bool:
    """True if a condition or a choice has left a node out; of several, if all are left out."""
    return all(outcome.status == Status.BYPASSED for outcome in _outcomes(scope, (node, *nodes)))


def timed_out(scope: Mapping[str, Any], node: str, *nodes: str) -> bool:
    """True if a node has failed at its time limit; of several, if one has."""
    return any(
        outcome.status == Status.FAILED and isinstance(outcome.error, NodeTimeout)
        for outcome in _outcomes(scope, (node, *nodes))
    )


def errors(scope: Mapping[str, Any], node: str, *nodes: str) -> list[str]:
    """A list of the errors of nodes as text: of one that failed, and of the items that a map has collected."""
    found: list[str] = []
    for outcome in _outcomes(scope, (node, *nodes)):
        if outcome.status == Status.FAILED and outcome.error is not None:
            found.append(described(outcome.error))
        elif isinstance(outcome.value, MapResult):
            found += [described(error) for error in outcome.value.errors.values()]
    return found


_ABOUT_NODES: Final = (succeeded, failed, bypassed, timed_out, errors)

ALL: Final = STANDARD.extended(*[function(one, given="nodes") for one in _ABOUT_NODES])
"""What expressions about a run may call: the standard functions, and those about how nodes ended."""


__all__ = ["ALL", "GONE", "LOCAL", "ROOTS", "SYSTEM", "Evaluated", "Narrowed", "Reads", "decided"]
