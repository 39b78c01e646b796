"""Where in a value something stands: ``value['conn'][3]``."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from flow.data.mapresult import MapResult
from flow.errors import a_kind, shown
from flow.store.codec.errors import name_of

MAX_LOOKED: Final = 100_000
"""Containers and records of a value that are looked at to find a place in it."""

MAX_STEPS: Final = 12
"""Steps of a place that a message shows."""

Path = tuple[Any, str] | None
"""The path around a place, and the last step to it."""


def place_of(value: object, wanted: object) -> str:
    """Return the place of the very object ``wanted`` in ``value``; "value" if it is not found. O(parts)."""
    for part, path in _walk(value):
        if part is wanted:
            return said(path)
    return "value"


def cycle_in(value: object) -> str | None:
    """Return the place in ``value`` of what holds itself; None if nothing does. O(parts of the value)."""
    inside: dict[int, int] = {}  # the containers around the one at hand, by id, and how often
    done: set[int] = set()
    held: list[Any] = []  # so that ids stay those of these objects
    todo: list[tuple[Any, Path, bool]] = [(value, None, True)]
    while todo and len(held) < MAX_LOOKED:
        part, path, enters = todo.pop()
        key = id(part)
        if not enters:
            del inside[key]
            done.add(key)
            continue
        if key in inside:
            return said(path)
        if key in done:
            continue
        parts = list(parts_of(part))
        if parts:
            held.append(part)
            inside[key] = 1
            todo.append((part, path, False))
            todo.extend((inner, (path, step), True) for inner, step in reversed(parts))
    return None


def said(path: Path) -> str:
    """Return a path as text, the middle of a long one left out."""
    steps: list[str] = []
    while path is not None:
        path, step = path
        steps.append(step)
    steps.reverse()
    if len(steps) > MAX_STEPS:
        half = MAX_STEPS // 2
        steps[half:-half] = [f"...({len(steps) - 2 * half} more)..."]
    return "value" + "".join(steps)


def parts_of(value: Any) -> Iterator[tuple[Any, str]]:
    """Yield what a container or record holds, each with the step to it. Never raises; nothing of anything else."""
    try:
        yield from _parts_of(value, type(value))
    except Exception:  # of the value's own methods, a dict that changes meanwhile
        return


def a(value: object) -> str:
    """Return a value's type with its article, and its module: ``a socket.socket``. Never raises."""
    name = name_of(type(value))
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def _walk(value: object) -> Iterator[tuple[Any, Path]]:
    seen: dict[int, Any] = {}  # so that ids stay those of these objects
    todo: list[tuple[Any, Path]] = [(value, None)]
    while todo and len(seen) < MAX_LOOKED:
        part, path = todo.pop()
        yield part, path
        if id(part) not in seen:
            inner = list(parts_of(part))
            if inner:
                seen[id(part)] = part
                todo.extend((one, (path, step)) for one, step in reversed(inner))


def _parts_of(value: Any, kind: type) -> Iterable[tuple[Any, str]]:
    if issubclass(kind, (str, bytes, bytearray, BaseException, type)):
        return
    if issubclass(kind, dict) or (issubclass(kind, Mapping) and not issubclass(kind, MapResult)):
        for key, inner in dict.items(value) if issubclass(kind, dict) else value.items():
            step = shown(key, 40) if type(key) in (str, int, bool, float) else a_kind(key)
            yield key, f" key {step}"
            yield inner, f"[{step}]"
    elif issubclass(kind, MapResult):
        yield from ((inner, f"[{i}]") for i, inner in enumerate(value._outcomes))
        yield from ((inner, f".keys[{i}]") for i, inner in enumerate(value.keys or ()))
    elif issubclass(kind, tuple) and hasattr(kind, "_fields"):
        fields: Any = kind
        yield from zip(value, [f".{name}" for name in fields._fields], strict=False)
    elif issubclass(kind, (list, tuple, deque)):
        yield from ((inner, f"[{i}]") for i, inner in enumerate(value))
    elif issubclass(kind, (set, frozenset)):
        yield from ((inner, " item") for inner in value)
    else:
        for name in _fields_of(kind):
            if hasattr(value, name):
                yield getattr(value, name), f".{name}"


def _fields_of(kind: type) -> Iterable[str]:
    if "__struct_fields__" in dir(kind):
        return tuple(kind.__struct_fields__)  # type: ignore[attr-defined]
    if hasattr(kind, "__dataclass_fields__"):
        return tuple(kind.__dataclass_fields__)
    if hasattr(kind, "__attrs_attrs__"):
        return tuple([field.name for field in kind.__attrs_attrs__])
    return ()


__all__ = ["a", "cycle_in", "parts_of", "place_of", "said"]
