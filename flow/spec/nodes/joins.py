"""Which nodes of a file a condition or a choice may leave out, and what that means for those who read their outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import UNSET

from flow.errors import shown
from flow.expr import Use
from flow.spec.nodes.names import Read
from flow.spec.nodes.parts import Part
from flow.spec.text.faults import Faults

_STRICT = ("some", "done", "failed")

_NAMED = 5
"""Most nodes that a fault names."""


class Joins:
    """Decides the join of each node, and which may be bypassed. O(nodes + edges).

    A join that is not written is ``all``; or ``none_failed``, if the node reads what may be bypassed in
    ``default(...)``: it is to run without it.

    :param reads: by node. :param before: for each node those before it, by name.
    :ivar join: by node. :ivar skippable: nodes that may be bypassed.
    """

    def __init__(
        self,
        parts: Mapping[str, Part],
        reads: Mapping[str, Read],
        before: Mapping[str, Sequence[str]],
        published: Mapping[str, Sequence[str]],
    ) -> None:
        self.join: dict[str, Any] = {}
        self.skippable: set[str] = set()
        self._parts, self._reads, self._before, self._published = parts, reads, before, published
        self._targets = {
            target
            for part in parts.values()
            if part.kind == "route"
            for target in (*part.spec.to.values(), part.spec.default)
        }
        for name in self._order():
            self._decide(name)

    def _order(self) -> list[str]:
        """The nodes, each after those before it; those on a cycle are left out, as compiling will tell of it."""
        after: dict[str, list[str]] = {}
        left = dict.fromkeys(self._parts, 0)
        for name, before in self._before.items():
            for other in before:
                if other in left:
                    after.setdefault(other, []).append(name)
                    left[name] += 1
        ready = [name for name, count in left.items() if not count]
        for name in ready:  # grows on the way
            for follower in after.get(name, ()):
                left[follower] -= 1
                if not left[follower]:
                    ready.append(follower)
        return ready

    def _decide(self, name: str) -> None:
        part, skippable = self._parts[name], self.skippable
        before = self._before.get(name, ())
        join = getattr(part.spec, "join", UNSET) if part.kind != "merge" else "some"
        conditions = part.spec.after if isinstance(part.spec.after, dict) else {}
        if join is UNSET:
            join = "none_failed" if self._spares(name) else "all"
        self.join[name] = join
        if join in ("none_failed", "done"):
            left_out = False
        elif join == "all":
            left_out = name in self._targets or not skippable.isdisjoint(before) or "failed" in conditions.values()
        elif join == "some":
            left_out = name in self._targets or (bool(before) and skippable.issuperset(before))
        else:  # failed, or a number of live edges
            left_out = True
        if left_out or part.when is not None:
            skippable.add(name)

    def _spares(self, name: str) -> bool:
        """Tell whether a node reads in ``default(...)`` what may be bypassed."""
        read = self._reads[name]
        if not self.skippable:
            return False
        if any(guarded and other in self.skippable for other, guarded in read.nodes.items()):
            return True
        return any(
            guarded and any(other in self.skippable for other in self._published.get(key, ()))
            for key, guarded in read.data.items()
        )

    def check(self, faults: Faults) -> None:
        """Note which nodes read what may not come, without ``default(...)``."""
        for name, join in self.join.items():
            part = self._parts[name]
            conditions = part.spec.after if isinstance(part.spec.after, dict) else {}
            setup = getattr(part.spec, "teardown", UNSET)
            cleans = setup is not UNSET or getattr(part.spec, "cleanup", False)
            if join == "all" and not conditions and not cleans:
                continue
            doubts: dict[str, str] = {}  # by key: many publish one, and many expressions may read it
            for used in part.used():
                use, local = used.use, used.local
                if use.name == "data" and not use.guarded:
                    key = str(use.key)
                    if key not in doubts:
                        doubts[key] = self._doubt(key, name, cleans)
                    if doubts[key]:
                        faults.add(used.place, doubts[key])
                other = use.node
                if use.by or use.guarded or use.name in local or other not in self._parts:
                    continue
                condition = conditions.get(other, "completed")
                otherwise = ""
                if cleans and other != setup:
                    why = f"cleanup runs however the run ends, and the output of {shown(other)} may not be there"
                elif condition != "completed":
                    why = f"'after' waits for {shown(other)} to be {condition}, so its output may not be there"
                elif join in _STRICT or isinstance(join, int):
                    why = f"with 'join: {join}' the output of {shown(other)} may not be there"
                elif join == "none_failed" and other in self.skippable:
                    why = f"{shown(other)} may be bypassed"
                    otherwise = ", or join: all to be bypassed with it"
                else:
                    continue
                faults.add(used.place, f"{why}: write default({_written(other, use)}, ...){otherwise}")

    def _doubt(self, key: str, name: str, cleans: bool) -> str:
        """Say why a published key may not be there; nothing if one node before certainly has published it.

        A node that runs whatever becomes of those before it (``join: done``) may know which of them have run.
        """
        publishers = self._published.get(key, ())
        after, join = self._parts[name].spec.after, self.join[name]
        conditions = after if isinstance(after, dict) else {}
        certain = [one for one in publishers if conditions.get(one) != "failed"]
        if join == "none_failed":
            certain = [one for one in certain if one not in self.skippable]
        if not publishers or (certain and not cleans):
            return ""
        more = f" and {len(publishers) - _NAMED:,} more" if len(publishers) > _NAMED else ""
        names = " and ".join(map(shown, publishers[:_NAMED])) + more
        return f"{names} may not have published {key!r}: write default(data.{key}, ...)"


def _written(name: str, use: Use) -> str:
    if use.name == "nodes":
        return f'nodes["{name}"]'
    return f"{name}.{use.key}" if use.key is not None and use.key.isidentifier() else name
