"""A file as a whole: its nodes, and what each of them reads of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from msgspec import UNSET

from flow.graph.dag import Dag
from flow.policy.mapping import roles_of
from flow.policy.scope import LOCAL, Reads
from flow.signature import shape_of
from flow.spec.form.structs import FileBody
from flow.spec.nodes.joins import Joins
from flow.spec.nodes.names import Known, Read
from flow.spec.nodes.parts import Part
from flow.spec.text.faults import Faults
from flow.spec.text.limits import MAX_EDGES
from flow.spec.text.values import Made, calls_of, uses_of


class References(Protocol):
    """Gives what a file refers to. What cannot be had is noted, and None."""

    def callee(self, written: str, event: Any, is_type: bool = False, names: Sequence[str] = ()) -> Any:
        """Return what ``module:name``, or the name of an action, stands for.

        :param names: parameters that a function is known to have, for where it is not imported.
        """
        ...

    def inner(self, written: str, event: Any) -> Dag | None:
        """Return the Dag of another file."""
        ...

    @property
    def imports(self) -> bool:
        """True if what a file refers to is imported; else something stands in for it."""
        ...

    @property
    def shared(self) -> dict[Any, Any]:
        """What nodes share, in all files of a load."""
        ...


_TAKERS: Final = ("call", "map", "loop", "file")
_NOTHING: Final = Reads(())
_NO_READ: Final = Read(())


class Outline:
    """The nodes of a file, and what each reads.

    :param parts: its nodes, by name. :param every: the names of all, also of those that could not be read.
    :param inputs, variables: the names of its inputs and variables. :param references: gives what nodes call.
    :ivar published: the nodes that publish each key of the data. :ivar known: the names of the file.
    :ivar reads: what each node reads. :ivar joins: their joins, and which may be bypassed.
    """

    def __init__(
        self,
        parts: Mapping[str, Part],
        every: Sequence[str],
        inputs: Sequence[str],
        variables: Sequence[str],
        faults: Faults,
        references: References,
    ) -> None:
        self.parts = parts
        self.faults = faults
        self.published: dict[str, list[str]] = {}
        for part in parts.values():
            for key, _ in part.publish:
                self.published.setdefault(key, []).append(part.name)
        self.known = Known(dict.fromkeys(every), dict.fromkeys(inputs), dict.fromkeys(variables), self.published)
        self.reads = {name: Read(used) if (used := part.used()) else _NO_READ for name, part in parts.items()}
        self._count_edges()
        before = {name: self._before(part) for name, part in parts.items()}
        if any(map(_may_leave_out, parts.values())):
            for name, part in parts.items():
                if part.given is None and part.kind in _TAKERS:
                    before[name] += [one for one in _taken_by_name(part, references) if one in self.known.nodes]
        self.joins = Joins(parts, self.reads, before, self.published)

    def _count_edges(self) -> None:
        """Refuse data that very many nodes publish and very many read: few lines say it, and each pair is an edge."""
        edges = 0
        for name, read in self.reads.items():
            edges += sum(len(self.published.get(key, ())) for key in read.data)
            if edges > MAX_EDGES:
                text = f"reading data makes more than {MAX_EDGES:,} edges: one from each node that publishes it"
                self.faults.stop(self.parts[name].key, text)

    def _before(self, part: Part) -> list[str]:
        """The names of the nodes before a part: those that it reads, and those that it comes after."""
        read, after = self.reads[part.name], part.spec.after
        names = (after,) if isinstance(after, str) else after
        if read is _NO_READ and part.kind != "merge":
            return [name for name in names if name != part.name]
        found = dict.fromkeys([*read.nodes, *read.statuses, *names])
        for key in read.data:
            found.update(dict.fromkeys(self.published.get(key, ())))
        if part.kind == "merge":
            found.update(dict.fromkeys(part.spec.merge))
        found.pop(part.name, None)
        return list(found)

    def is_lenient(self, part: Part) -> bool:
        """Tell whether what a part reads may be missing when it runs."""
        return self.joins.join.get(part.name, "all") != "all" or isinstance(part.spec.after, dict)

    def publishers(self, read: Read, name: str = "") -> list[str]:
        """The nodes that publish the data that is read, without ``name``."""
        return list(dict.fromkeys([node for key in read.data for node in self.published.get(key, ()) if node != name]))

    def reads_of(self, part: Part, values: Sequence[Made], context: bool = False) -> Reads:
        """Return what the expressions in some values of a part, and in what it publishes, read."""
        values = [*values, *[one for _, one in part.publish]]
        if not (context or part.publish or any(one.expressions for one in values)):
            return _NOTHING
        local = (*LOCAL, "result") if part.kind == "map" else ("result",)
        return Reads(
            uses_of(*values),
            calls_of(*values),
            local,
            context=context or bool(part.publish),
            lenient=self.is_lenient(part),
        )


def _may_leave_out(part: Part) -> bool:
    """Tell whether a part may be why a node is bypassed: itself, or one that it chooses among."""
    join = getattr(part.spec, "join", UNSET)
    if part.when is not None or part.kind == "route" or isinstance(part.spec.after, dict):
        return True
    return join is not UNSET and join not in ("all", "none_failed", "done")


def _taken_by_name(part: Part, references: References) -> Sequence[str]:
    """Return the parameters of what a node without ``with`` calls: those named as nodes get their outputs."""
    called, event = getattr(part.spec, part.kind), part.at(part.kind)
    if isinstance(called, FileBody):
        called, event = called.file, part.table[part.kind].marks["file"][1]
    elif part.kind != "file":
        return _parameters_of(references.callee(called, event), part.kind)
    inner = references.inner(called, event)
    return () if inner is None else inner.compile().inputs


def _parameters_of(fn: Any, kind: str) -> Sequence[str]:
    try:
        parameters = roles_of(fn, 1).extras if kind == "map" else shape_of(fn).parameters
    except Exception:  # of the function's own attributes, or none takes the item: compiling says so
        return ()
    return [p.name for p in parameters if not p.is_context]


__all__ = ["Outline", "References"]
