"""From a name in a file to the function or type: :class:`Imports`. What ``allow`` has not is not imported."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from types import FunctionType, ModuleType, UnionType
from typing import Any, Final, get_origin

import msgspec

from flow.blame import where
from flow.errors import described, nearest, shown
from flow.spec.actions import SHIPPED
from flow.spec.called.allow import Allow
from flow.spec.called.marked import mark_of
from flow.spec.called.written import taken_apart

_NOTHING: Final[Any] = object()


class Found(msgspec.Struct, frozen=True):
    """What a name stands for.

    :ivar value: the function or type; None if there is a fault.
    :ivar fault: what is wrong, and what to do; else empty.
    :ivar cause: the exception that an import ended with.
    """

    value: Any = None
    fault: str = ""
    cause: BaseException | None = None


class Imports:
    """Finds what the names of one file stand for. Each module is imported once, and each name looked up once.

    :param allow: what the file may name; the other names are faults, and nothing of them is imported.
    """

    __slots__ = ("_found", "_offers", "allow")

    def __init__(self, allow: Allow) -> None:
        self.allow = allow
        self._found: dict[str, Found] = {}
        self._offers: dict[str, Offer | Found] = {}

    def function(self, written: object) -> Found:
        """Return the function of a name: an action's, or one that its module offers to files.

        A module offers what is in its ``__all__``, wherever that is defined, and what ``@flow.action`` marks.
        """
        found = self._named(written)
        if not found.fault and not callable(found.value):
            kind = "a module" if isinstance(found.value, ModuleType) else f"of type {type(found.value).__name__}"
            return Found(fault=f"{shown(written)} is {kind}, and cannot be called")
        return found

    def type(self, written: object) -> Found:
        """Return the type of a name: a class, or what typing makes of classes."""
        if isinstance(written, str) and written in SHIPPED:
            return Found(fault=f"{shown(written)} is an action, and no type: write module:Class")
        found = self._named(written)
        if not found.fault and not _is_type(found.value):
            return Found(fault=f"{shown(written)} is no type, but of type {type(found.value).__name__}")
        return found

    def _named(self, written: object) -> Found:
        if not isinstance(written, str):
            return Found(fault=self.allow.fault(written))
        found = self._found.get(written)
        if found is None:
            found = self._found[written] = self._looked_up(written)
        return found

    def _looked_up(self, written: str) -> Found:
        if fault := self.allow.fault(written):
            return Found(fault=fault)
        module, name, _ = taken_apart(written)
        if not module:
            shipped = SHIPPED[name]
            fault = shipped.fault
            return Found(fault=f"action {name!r}: {fault}") if fault else Found(shipped.function())
        offer = self._offers.get(module)
        if offer is None:
            offer = self._offers[module] = _imported(module)
        return offer.named(name) if isinstance(offer, Offer) else offer


class Offer:
    """What a module offers to files.

    :ivar public: the names of its ``__all__``. :ivar marked: what ``@flow.action`` marks, by the name that files use.
    """

    __slots__ = ("_fault", "_module", "_name", "marked", "public")

    def __init__(self, module: ModuleType, name: str) -> None:
        self._module = module
        self._name = name
        listed = getattr(module, "__all__", ())
        is_list = isinstance(listed, (list, tuple)) and all(isinstance(one, str) for one in listed)
        self._fault = "" if is_list else f"the __all__ of module {name!r} is no list of names"
        self.public: frozenset[str] = frozenset(listed if is_list else ())
        self.marked: dict[str, list[tuple[str, Any]]] = {}
        for attribute, value, mark in _marks_in(module):
            at = self.marked.setdefault(mark, [])
            if not any(value is other for _, other in at):
                at.append((attribute, value))

    def named(self, name: str) -> Found:
        """Return what ``name`` stands for."""
        marked = self.marked.get(name, [])
        value = marked[0][1] if marked else _NOTHING
        if name in self.public:
            try:
                listed = getattr(self._module, name, _NOTHING)
            except Exception as error:  # a module may import what it offers where that is first used
                return Found(fault=f"{self._name}:{name} cannot be read: {_told(error)}", cause=error)
            if listed is _NOTHING:
                return Found(fault=f"module {self._name!r} has no {name!r}, though its __all__ lists it")
            if marked and not any(listed is other for _, other in marked):
                marked = [*marked, (name, listed)]
            value = listed
        if len(marked) > 1:
            names = " and ".join(dict.fromkeys(attribute for attribute, _ in marked))
            return Found(
                fault=f"module {self._name!r} offers {len(marked)} functions as {name!r} ({names}): "
                "give one of them another name, as in @flow.action(name=...)"
            )
        return Found(fault=self._missing(name)) if value is _NOTHING else Found(value)

    def _missing(self, name: str) -> str:
        if self._fault:
            return self._fault
        for mark, found in self.marked.items():
            if any(attribute == name for attribute, _ in found):
                return f"in module {self._name!r}, files call {name!r} by the name {mark!r}"
        if name in vars(self._module):
            how = f"list {name!r} in its __all__, or mark the function @flow.action"
            return f"module {self._name!r} does not offer {name!r} to files: {how}"
        offered = [*self.public, *self.marked]
        if not offered:
            return f"module {self._name!r} offers nothing to files: it has no __all__ and no @flow.action"
        return f"module {self._name!r} offers no {name!r}{nearest(name, offered)}"


def _marks_in(module: ModuleType) -> Iterator[tuple[str, Any, str]]:
    """Yield attribute, value, and the name that files use, of each function that is marked in this module."""
    for attribute, value in list(vars(module).items()):
        mark = mark_of(value)
        if mark is None or (not mark and attribute.startswith("_")):
            continue
        if isinstance(value, (FunctionType, type)) and value.__module__ != module.__name__:
            continue  # another module offers it
        yield attribute, value, mark or attribute


def _imported(module: str) -> Offer | Found:
    try:
        return Offer(import_module(module), module)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module}.".startswith(f"{error.name}."):
            return Found(fault=_no_module(module, error.name), cause=error)
        return Found(fault=f"module {module!r} cannot be imported: {_told(error)}", cause=error)
    except (Exception, SystemExit) as error:
        return Found(fault=f"module {module!r} cannot be imported: {_told(error)}", cause=error)


def _told(error: BaseException) -> str:
    place = where(error)
    return f"{described(error)} ({place})" if place else described(error)


def _no_module(module: str, missing: str) -> str:
    parent, _, last = missing.rpartition(".")
    within = f", which {module!r} would be in" if missing != module else ""
    if not parent:
        return f"there is no module {missing!r}{within}: is it installed, or its folder on the path (PYTHONPATH)?"
    if not hasattr(sys.modules.get(parent), "__path__"):
        return f"there is no module {missing!r}{within}: {parent!r} is a module and no package"
    from pkgutil import iter_modules  # here: only needed once something is wrong

    beside = [found.name for found in iter_modules(sys.modules[parent].__path__)]
    return f"there is no module {missing!r}{within}: {parent!r} has no {last!r}{nearest(last, beside)}"


def _is_type(value: Any) -> bool:
    if isinstance(value, (type, UnionType)) or get_origin(value) is not None:
        return True
    return type(value).__name__ in ("TypeAliasType", "NewType")


__all__ = ["Found", "Imports"]
