"""The variables of a workflow: which values of them may be there at a place, and what they are called here.

In Orquesta each route has variables of its own. Here a run has one store of published values. So a variable that is
published once, or that all its readers read after all that publish it, keeps its name; of another one each place that
publishes it has a name of its own, and a reader names those that lead to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from flow.spec.converting.model import Transition
from flow.spec.converting.reading import Notes
from flow.spec.converting.routes import Instance, goes_on

MOST: Final = 20
"""Values of one variable that outputs choose from, if the last of these is there in every run that does not fail."""


@dataclass(eq=False)
class Definition:
    """One place that publishes a variable.

    :ivar key: what it is called here. :ivar node: the node that publishes it.
    """

    name: str
    owner: Instance
    way: Transition
    key: str = ""
    node: str = ""

    @property
    def is_certain(self) -> bool:
        """True if it is published in every run that does not fail."""
        return (
            self.owner.certain
            and self.way.status == "completed"
            and not self.way.conditions
            and not goes_on(self.owner.task)
        )


Chain = tuple[Definition | None, ...]
"""The places whose value may be there, the last first; None is the first value of the variable."""


class Variables:
    """Follows the variables through the nodes.

    :param made: the nodes, in order. :param published: by whom, of each transition: the definitions of a transition.
    """

    def __init__(self, made: Sequence[Instance]) -> None:
        self.definitions: list[Definition] = []
        self._by_name: dict[str, list[Definition]] = {}
        self._at: dict[tuple[int, int], dict[str, Definition]] = {}
        self._into: list[dict[str, Chain]] = []
        for one in made:
            for way in one.task.next:
                for name, _ in way.publish:
                    found = self._at.setdefault((one.place, way.index), {})
                    if name not in found:
                        found[name] = Definition(name, one, way)
                        self.definitions.append(found[name])
                        self._by_name.setdefault(name, []).append(found[name])
            self._into.append(self._merged(one))

    def at(self, one: Instance, way: Transition) -> Mapping[str, Definition]:
        """Return what a transition publishes."""
        return self._at.get((one.place, way.index), {})

    def chain(self, name: str, one: Instance, ended: bool = False) -> Chain:
        """Return the values of a variable that may be there when a node begins. :param ended: when it has ended."""
        own = self._shared(one).get(name) if ended else None
        return self._into[one.place].get(name, (None,)) if own is None else (own,)

    def _shared(self, one: Instance) -> dict[str, Definition]:
        """Return what a task publishes on whatever way it is left."""
        return {name: found for way in one.task.next if way.shared for name, found in self.at(one, way).items()}

    def last(self, name: str) -> Chain:
        """Return the values that may be there at the end, whatever has failed."""
        chain: list[Definition | None] = []
        for one in reversed(self._by_name.get(name, ())):
            chain.append(one)
            if one.is_certain and len(chain) >= MOST:
                break
        return (*chain, None)

    def _out(self, one: Instance, way: Transition) -> dict[str, Chain]:
        found = dict(self._into[one.place])
        shared = self._shared(one) if way.status != "failed" else {}
        for name, definition in {**shared, **self.at(one, way)}.items():
            found[name] = (definition,)
        return found

    def _merged(self, one: Instance) -> dict[str, Chain]:
        ways = [self._out(source, way) for source, way in one.inbound]
        # a task may take several transitions into a join: what is published on one of them is there
        if len(ways) == 1:
            return ways[0]
        names = dict.fromkeys(name for found in ways for name in found)
        merged: dict[str, Chain] = {}
        for name in names:
            chains = [found.get(name, (None,)) for found in ways]
            merged[name] = chains[0] if len(set(chains)) == 1 else self._ordered(chains, one)
        return merged

    def _ordered(self, chains: Sequence[Chain], one: Instance) -> Chain:
        sure: dict[int, bool] = {}
        for (source, _), chain in zip(one.inbound, chains, strict=True):
            sure[source.place] = sure.get(source.place, True) and None not in chain
        places = {definition: place for place, definition in enumerate(self.definitions)}
        found = {definition for chain in chains for definition in chain if definition is not None}
        ordered = sorted(found, key=lambda definition: -places[definition])
        joins = one.task.join == "all" and any(sure.values())
        starts = any(None in chain for chain in chains) and not joins
        return (*ordered, None) if starts else tuple(ordered)

    # -- names

    def name(
        self, readers: Mapping[str, Iterable[Instance]], taken: Iterable[str], around: Iterable[str], notes: Notes
    ) -> None:
        """Give each definition its key.

        :param readers: the nodes that read each variable. :param taken: names of variables. :param around: keys of what
            is around a loop: its rounds see those.
        """
        used, names = set(around), set(taken)
        for name, found in self._by_name.items():
            shared = len(found) == 1 or (
                all(one.owner.is_before(reader) for reader in readers.get(name, ()) for one in found)
                and len({(one.owner.place, one.way.status) for one in found}) == len(found)
            )
            if not shared:
                notes.add(
                    found[1].way.at,
                    f"variable {name!r} is published in {len(found)} places: here each has a name of its own "
                    f"({name}, {name}_2, ...), as a run has one store for all its routes",
                )
            count = 1
            for one in found:
                key = found[0].key if shared else ""
                while not key:
                    key = name if count == 1 else f"{name}_{count}"
                    count += 1
                    if key in used or (key != name and key in names):
                        key = ""
                one.key = key
                used.add(key)

    @property
    def keys(self) -> set[str]:
        """The keys of all definitions."""
        return {one.key for one in self.definitions}


def surely(definition: Definition, must: Mapping[Any, Any]) -> bool:
    """Tell whether something has been published whenever a node runs for which ``must`` holds."""
    owner = definition.owner
    if definition.node != owner.name:
        return bool(must.get(("way", owner.place, definition.way.index)))
    if definition.is_certain:
        return True
    ran = bool(must.get(("ran", owner.place)))
    return ran and (not goes_on(owner.task) or must.get(("status", owner.place)) == "completed")


def written(chain: Chain, first: Callable[[], str], is_sure: Callable[[Definition], bool]) -> str:
    """Return the expression that reads the last value of a chain.

    :param first: the expression of the first value. :param is_sure: tells whether something has been published.
    """
    found = [one for one in chain if one is not None]
    texts = list(dict.fromkeys(f"data.{one.key}" for one in found))
    if None in chain:
        texts.append(first())
    elif not any(is_sure(one) for one in found if one.key == found[-1].key):
        texts.append("null")
    text = texts[-1]
    for one in reversed(texts[:-1]):
        text = f"default({one}, {text})"
    return text


__all__ = ["Chain", "Definition", "Variables", "surely", "written"]
