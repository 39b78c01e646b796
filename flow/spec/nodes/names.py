"""The names that the expressions of a file may use, and what each node reads by them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from flow.errors import shown
from flow.policy.scope import LOCAL, SYSTEM
from flow.spec.nodes.parts import Used
from flow.spec.text.faults import Faults
from flow.spec.text.foreign import NAMES

VARS: Final = "vars"
"""The node that computes the variables of a file."""

OUTPUTS: Final = "outputs"
"""The node whose output is what a file gives."""

_KEYED: Final = ("inputs", VARS, "data", "system")


class Known:
    """The names of one file.

    :ivar nodes: of its nodes. :ivar inputs: of its inputs. :ivar variables: of its variables.
    :ivar published: the nodes that publish each key of the data.
    """

    __slots__ = ("_keys", "inputs", "nodes", "published", "variables")

    def __init__(
        self, nodes: Mapping[str, Any], inputs: Mapping[str, Any], variables: Mapping[str, Any],
        published: Mapping[str, Sequence[str]],
    ) -> None:  # fmt: skip
        self.nodes = nodes
        self.inputs = inputs
        self.variables = variables
        self.published = published
        self._keys: dict[str, tuple[str, Collection[str]]] = {
            "inputs": ("input", inputs), VARS: ("variable", variables),
            "data": ("published key", published), "system": ("key of system", SYSTEM),
        }  # fmt: skip

    def check(self, used: Used, faults: Faults) -> None:
        """Note what is wrong with one use of a name."""
        use = used.use
        name = use.name
        if name in used.local:
            return
        if use.by or name == "nodes":
            node = use.key if name == "nodes" else name
            if node is None:
                faults.add(used.place, "nodes are named by a text: nodes['build-image']")
            elif node not in self.nodes:
                faults.add(used.place, f"there is no node {shown(node)}{faults.nearest(node, self.nodes)}")
        elif name in _KEYED:
            self._check_key(used, faults)
        elif name in LOCAL:
            more = ", and in its 'key'" if name == "item" else ""
            known = f"{name!r} is known in 'with' of a map alone{more}"
            faults.add(used.place, "'key' of a map reads 'item' alone" if "item" in used.local else known)
        elif name == "result":
            faults.add(used.place, "'result' is known in 'publish' alone")
        elif name not in self.nodes:
            faults.add(used.place, f"there is no node {shown(name)}{self._meant(name, used.local, faults)}")

    def _check_key(self, used: Used, faults: Faults) -> None:
        name, key = used.use.name, used.use.key
        what, known = self._keys[name]
        if key is None:
            if name == "data":
                faults.add(used.place, "data is read by a key that stands there: data.x, or data['x']")
            elif name == VARS and not known:
                faults.add(used.place, "the file has no vars")
        elif key not in known:
            there = faults.nearest(key, known)
            if not there:
                listed = f"; there are {', '.join(known)}" if len(known) <= 10 else ""
                there = listed if known else "; there is none"
            faults.add(used.place, f"there is no {what} {shown(key)}{there}")

    def _meant(self, name: str, local: Collection[str], faults: Faults) -> str:
        for root, known in (("inputs", self.inputs), (VARS, self.variables), ("data", self.published)):
            if name in known:
                return f": write {root}.{name}"
        if name in NAMES:
            return f": write {NAMES[name]}"
        near = faults.nearest(name, [*self.nodes, *local])
        if near:
            return near
        for root, known in (("inputs", self.inputs), (VARS, self.variables), ("data", self.published)):
            near = faults.nearest(name, [f"{root}.{one}" for one in known]) or faults.nearest(name, known)
            if near:
                return f"; {root} has one that is near{near}"
        return ""


class Read:
    """What the expressions of one node read.

    :ivar nodes: nodes whose output is read: True if all of it stands in ``default(...)``. :ivar data: published keys,
        likewise. :ivar statuses: the nodes whose status is asked for. :ivar inputs: run inputs.
    """

    __slots__ = ("data", "inputs", "nodes", "statuses")

    def __init__(self, uses: Iterable[Used]) -> None:
        self.nodes: dict[str, bool] = {}
        self.data: dict[str, bool] = {}
        self.statuses: dict[str, None] = {}
        self.inputs: dict[str, None] = {}
        for use, _, local in uses:
            name, key = use.name, use.key
            if use.by:
                self.statuses[use.node] = None
            elif name in local or name == "system":
                continue
            elif name == "data":
                self.data[str(key)] = self.data.get(str(key), True) and use.guarded
            elif name == "inputs":
                if key is not None:
                    self.inputs[key] = None
            else:
                node = use.node
                self.nodes[node] = self.nodes.get(node, True) and use.guarded
