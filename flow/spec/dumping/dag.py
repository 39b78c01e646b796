"""From a Dag of importable functions to the text of a workflow file: what :func:`flow.spec.load` reads as that Dag."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import FunctionType
from typing import Any, Final, NoReturn

from flow.config import Config
from flow.errors import DumpError, UsageError, shown
from flow.graph.dag import Dag
from flow.plan.definition import PLAIN, Policy
from flow.plan.plan import Plan
from flow.plan.waits import Signal
from flow.policy.looping import Looped
from flow.policy.mapping import Mapped
from flow.signature import location_of
from flow.spec.actions import SHIPPED
from flow.spec.called.marked import mark_of
from flow.spec.dumping.inputs import inputs_of
from flow.spec.dumping.literals import Unsayable, exception_name, literal
from flow.spec.dumping.nodes import Written, said
from flow.spec.dumping.writing import write
from flow.spec.form.fields import fields_of
from flow.spec.form.kinds import KINDS
from flow.spec.nodes.parts import RESERVED
from flow.tracebacks import ends_at_user
from flow.types import MISSING

_PLAIN: Final = ("thread", "executor", "abandon_on_timeout", "continue_on_error", "priority", "cost", "cleanup")
_OFFERED: Final = frozenset(["builtins", *(shipped.module for shipped in SHIPPED.values())])
_NEVER: Final = ("middleware", "admission")


@ends_at_user
def dump(dag: Dag, *, modules: Mapping[str, str] | None = None) -> str:
    """Return a Dag as the YAML text of a workflow file. O(nodes + edges).

    Loaded again it is a Dag with the same nodes, edges and options. Its functions must be those of modules: of each
    the file has the name. Conditions, ends of loops and keys are expressions (``flow.expr``). What needs defaults, a
    Context or an Outcome goes on with it. To be loaded, a function must be in its module's ``__all__``, too, or marked
    by ``@flow.action``.

    :param modules: names that the file has for modules, by their names here: ``{"__main__": "deploy"}``.
    :raises DumpError: listing all that a file cannot say, each with its node and place.
    :raises DefinitionError: if the Dag cannot be compiled. :raises UsageError: if it is no Dag.
    """
    if not isinstance(dag, Dag):
        hint = ": a Plan is what a Dag has been compiled to, so give the Dag" if isinstance(dag, Plan) else ""
        raise UsageError(f"dump() takes a flow.Dag, not {shown(dag)}{hint}")
    dumper = _Dumper(dag, dict(modules or {}))
    document = dumper.document()
    if dumper.faults:
        raise DumpError(dag.name, dumper.faults)
    return write(document)


def unoffered(dag: Dag, modules: Mapping[str, str] | None = None) -> list[str]:
    """Say which functions and types of a Dag their modules do not offer to files yet, a sentence per module. O(nodes).

    :param modules: as of :func:`dump`.
    """
    names = modules or {}
    missing: dict[str, dict[str, None]] = {}
    for fn in dag._definition.fns:
        called = fn.fn if isinstance(fn, (Mapped, Looped)) else fn
        called = called.type if isinstance(called, Signal) else called
        if not isinstance(called, (FunctionType, type)) or called.__module__ in _OFFERED or mark_of(called) is not None:
            continue
        module = sys.modules.get(called.__module__)
        listed = getattr(module, "__all__", ())
        if not isinstance(listed, (list, tuple)) or called.__name__ not in listed:
            missing.setdefault(called.__module__, {})[called.__name__] = None
    return [
        f"module {names.get(module, module)} does not offer {', '.join(functions)} to files yet: list them in its "
        "__all__, or mark them @flow.action"
        for module, functions in missing.items()
    ]


class _Dumper:
    """Writes one Dag.

    :ivar faults: what a file cannot say.
    """

    def __init__(self, dag: Dag, modules: Mapping[str, str]) -> None:
        self.plan = dag.compile()
        self.definition = dag._definition
        self.modules = modules
        self.faults: list[str] = []
        self.inputs = {slot: name for name, slots in self.plan._nodes.inputs.items() for slot in slots}
        self._edges: dict[int, list[int]] = {}
        for upstream, downstream in self.definition.edges:
            self._edges.setdefault(self._find(downstream), []).append(self._find(upstream))

    def document(self) -> dict[str, Any]:
        """Return the file as plain data; of what it cannot say there is a fault."""
        definition, plan = self.definition, self.plan
        if definition.middleware:
            self.faults.append("middleware around all nodes: a file has none")
        made: dict[str, Any] = {"flow": 1, "name": definition.name}
        if definition.config is not None:
            made["config"] = self._said("config", partial(_config, definition.config))
        inputs = self._said("inputs", lambda: inputs_of(plan, self.faults))
        if inputs:
            made["inputs"] = inputs
        made["nodes"] = {name: self._node(i, name) for i, name in enumerate(plan.names)}
        return made

    def _said(self, what: str, make: Callable[[], Any]) -> Any:
        """Return what ``make`` gives; MISSING, and a fault, if a file cannot say it."""
        try:
            return make()
        except Unsayable as error:
            self.faults.append(f"{what}: {error}")
        return MISSING

    def _find(self, ref: Any) -> int:
        return self.plan.find(self.definition.current(ref))

    def _node(self, i: int, name: str) -> dict[str, Any]:
        fn, policy = self.definition.fns[i], self.definition.policies.get(i, PLAIN)
        what = f"node {shown(name)} ({location_of(fn)})"
        if name in RESERVED:
            self.faults.append(f"{what}: expressions mean something else by this name: rename the node")
            return {}
        written = Written(self.plan, i, fn, policy, self.modules, self.inputs)
        table: dict[str, Any] = self._said(what, lambda: said(written))
        if table is MISSING:
            return {}
        kind = next(iter(table))
        for key, make in self._options(i, policy, written, kind):
            value = self._said(f"{what}: {key}", make)
            if value is not MISSING:
                table[key] = value
        if written.needs_join:
            table.setdefault("join", "all")
        for key in [key for key in table if key not in fields_of(KINDS[kind])]:
            self.faults.append(f"{what}: a {kind} of a file has no {key}")
        return table

    def _options(self, i: int, policy: Policy, written: Written, kind: str) -> Iterator[tuple[str, Callable[[], Any]]]:
        """Yield each option that is to be said, and what finds its words."""
        routing = policy.routing
        yield "after", lambda: self._after(i, routing.conditions if routing is not None else ())
        if i in self.plan._nodes.storing:
            yield "store", lambda: self.plan._nodes.storing[i]
        if kind == "merge":  # what else it has belongs to all merges
            return
        if policy.join != "all":
            yield "join", lambda: policy.join
        if policy.when is not None:
            yield "when", written.condition
        if policy.retry is not None:
            yield "retry", lambda: _retry(policy.retry, self.modules)
        if policy.timeout is not None:
            yield "timeout", lambda: _timeout(policy.timeout)
        if policy.fallback is not MISSING:
            yield "fallback", lambda: _fallback(policy.fallback)
        for key in _PLAIN:
            if getattr(policy, key) != getattr(PLAIN, key):
                yield key, partial(literal, getattr(policy, key))
        if routing is not None and routing.setup is not MISSING:
            yield "teardown", lambda: self.plan.names[self._find(routing.setup)]
        for key in _NEVER:
            if getattr(policy, key):
                yield key, partial(_refuse, "a file has none: it is Python's own")

    def _after(self, i: int, conditions: Sequence[Any]) -> Any:
        """Return what node ``i`` comes after; MISSING if nothing is said of it."""
        names = self.plan.names
        first = [names[self._find(ref)] for ref in self.definition.after[i]]
        more = [names[k] for k in self._edges.get(i, ())]
        if conditions:
            found = dict(zip(first, map(str, conditions), strict=True))
            return {**found, **{name: "completed" for name in more if name not in found}}
        return list(dict.fromkeys([*first, *more])) or MISSING


def _refuse(why: str) -> NoReturn:
    raise Unsayable(why)


def _config(config: Config) -> dict[str, Any]:
    """Return the settings that differ from their defaults. :raises Unsayable: if a file cannot hold one."""
    import tomllib

    from flow.config.writing import not_written, to_toml

    lost = not_written(config)
    if lost:
        raise Unsayable(f"{' and '.join(lost)} cannot be written")
    found: dict[str, Any] = tomllib.loads(to_toml(config))
    return dict(found["flow"])


def _retry(retry: Any, modules: Mapping[str, str]) -> dict[str, Any]:
    default = type(retry)()
    found = {
        field: literal(getattr(retry, field))
        for field in retry.__struct_fields__
        if field != "retry_if" and getattr(retry, field) != getattr(default, field)
    }
    wanted = retry.retry_if
    if wanted is not Exception:
        names = getattr(wanted, "names", None)  # of a file
        kinds = wanted if isinstance(wanted, tuple) else (wanted,)
        found["retry_if"] = list(names) if names is not None else [exception_name(kind, modules) for kind in kinds]
    return found


def _timeout(timeout: Any) -> Any:
    if isinstance(timeout, (int, float)):
        return literal(timeout)
    limits = {"attempt": timeout.attempt, "node": timeout.node}
    return {key: literal(value) for key, value in limits.items() if value is not None} or MISSING


def _fallback(value: Any) -> Any:
    if callable(value):
        raise Unsayable(f"a function makes it, {shown(value)}: a fallback of a file is a value")
    return literal(value)


__all__ = ["dump", "unoffered"]
