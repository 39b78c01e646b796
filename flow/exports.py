"""The public names of a module: ``dir()`` lists only these, and some are imported at their first use."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any


def only(names: Sequence[str]) -> Callable[[], list[str]]:
    """Make the ``__dir__`` of a module whose public names are ``names``."""
    return lambda: sorted(names)


class Room(ModuleType):
    """The type of a package some of whose public names are those of its modules, too: ``flow.ai.usage``.

    Importing a module puts it into its package, under its name. Here a public name means what it says in ``__all__``.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if type(value) is not ModuleType or name not in self.__all__ or value.__name__ != f"{self.__name__}.{name}":
            super().__setattr__(name, value)


def at_first_use(module: str, rooms: Mapping[str, str]) -> Callable[[str], Any]:
    """Make the ``__getattr__`` of ``module``, which imports a name where a program first uses it.

    :param rooms: by public name, the module that has it; or the module itself, if its last part is that name
        (``topologies`` in ``flow.graph.topologies``). ``module:name`` is never the module: see :class:`Room`.
    """

    def __getattr__(name: str) -> Any:
        room = rooms.get(name)
        if room is None:
            raise AttributeError(f"module {module!r} has no attribute {name!r}{_elsewhere(module, name, rooms)}")
        path, _, attribute = room.partition(":")
        found: Any = import_module(path)
        if attribute or path.rpartition(".")[2] != name:
            found = getattr(found, name)
        setattr(sys.modules[module], name, found)  # the next use finds it there
        return found

    return __getattr__


def _elsewhere(module: str, name: str, rooms: Mapping[str, str]) -> str:
    """Say which public module of ``module`` has a name that is not there itself; nothing if none has."""
    from importlib.util import find_spec  # here: only needed once something is wrong

    if name.startswith("_"):  # asked for by tools
        return ""
    if hasattr(sys.modules[module], "__path__") and find_spec(f"{module}.{name}"):  # by "from module import part"
        return ""
    for room in ("errors", "plan", "types", "clock", "data", *rooms):
        try:
            known = getattr(import_module(rooms.get(room, f"{module}.{room}")), "__all__", ())
        except Exception:  # no module, or one of an extra that is not installed, which may say so by its own error
            continue
        if name in known:
            return f": it is {module}.{room}.{name}"
    return ""
