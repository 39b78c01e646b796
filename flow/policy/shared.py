"""Limiters and breakers of one name are one, wherever in the process they are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from sys import maxsize
from threading import RLock
from typing import Any, Final, Protocol, TypeVar
from weakref import WeakValueDictionary

from flow.clock import Clock
from flow.config.fields import is_int, is_number
from flow.errors import ConfigError, UsageError, shown
from flow.types import NAME_RULE, is_name


class Shared(Protocol):
    """What objects of one name share. :ivar settings: with which it was made."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Its settings, by keyword."""
        ...


S = TypeVar("S", bound=Shared)

_LOCK: Final = RLock()  # the collector may run code of the user's
_NAMED: Final[WeakValueDictionary[tuple[str, str], Any]] = WeakValueDictionary()
"""By kind and name; each is there as long as an object of that name is."""


def shared(kind: str, name: str | None, settings: Mapping[str, Any], make: Callable[[Mapping[str, Any]], S]) -> S:
    """Return what the objects of a kind that have this name share, made for the first; without a name a new one.

    :param settings: by keyword.
    :raises UsageError: if the first was made with other settings.
    """
    if name is None:
        return make(settings)
    with _LOCK:
        found: S | None = _NAMED.get((kind, name))
        if found is None:
            found = _NAMED[kind, name] = make(settings)
            return found
        was = found.settings
    other = [key for key, value in settings.items() if not _equal(value, was[key])]
    if other:
        before = ", ".join(f"{key}={shown(was[key])}" for key in other)
        now = ", ".join(f"{key}={shown(settings[key])}" for key in other)
        raise UsageError(
            f"flow.{kind}(name={name!r}) is there already, with other settings ({before}, not {now}): objects of one "
            "name share their state, so give all of them the same, or another name"
        )
    return found


def check(kind: str, faults: list[str], name: Any, clock: Any) -> None:
    """:raises ConfigError: listing the ``faults``, and what is wrong with a name and a clock."""
    if name is not None and not is_name(name):
        faults.append(f"name {shown(name)} is refused: {NAME_RULE}")
    if clock is not None and not isinstance(clock, Clock):
        faults.append(f"clock must be a flow.clock.Clock or None, not {shown(clock)}")
    if faults:
        raise ConfigError(f"flow.{kind}", faults)


def count_faults(**counts: Any) -> list[str]:
    """Say which of these are no counts of at least 1."""
    wrong = [(label, value) for label, value in counts.items() if not is_int(value) or not 1 <= value <= maxsize]
    return [f"{label} must be an integer from 1 to {maxsize}, not {shown(value)}" for label, value in wrong]


def seconds_faults(seconds: Any) -> list[str]:
    """Say what is wrong with a number of seconds > 0."""
    fits = is_number(seconds) and 0 < seconds < float("inf")
    return [] if fits else [f"seconds must be a number of seconds > 0, not {shown(seconds)}"]


def _equal(one: Any, other: Any) -> bool:
    try:
        return one is other or bool(one == other)
    except Exception:
        return False


__all__ = ["check", "count_faults", "seconds_faults", "shared"]
