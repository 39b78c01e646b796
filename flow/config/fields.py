"""Parts of all settings: checks of values, checked names, an immutable mapping."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from flow.errors import ConfigError, FlowError, UnknownSetting, UsageError, shown
from flow.tracebacks import end_at_user


class SettingsMeta(msgspec.StructMeta):
    """Lists all unknown settings of a call in one error, where msgspec names only the first."""

    if not TYPE_CHECKING:  # checkers go by the fields

        def __call__(cls, *values: Any, **settings: Any) -> Any:
            try:
                try:
                    return make(cls, *values, **settings)
                except TypeError:
                    error = misnamed(cls, values, settings)
                    if error is None:
                        raise
                    raise error from None
            except FlowError as error:
                end_at_user(error)
                raise


make: Final[Any] = msgspec.StructMeta.__call__
"""Makes settings without the check of names: faster, for calls from this package."""


class Settings(msgspec.Struct, frozen=True, metaclass=SettingsMeta):
    """Frozen settings; changes are made on copies."""

    def replace(self, **changes: Any) -> Self:
        """Return a copy with ``changes``, validated like a new one.

        :raises ConfigError: for a value out of range or an unknown field (then a TypeError as well).
        """
        try:
            try:
                return msgspec.structs.replace(self, **changes)
            except TypeError:
                error = misnamed(type(self), (), msgspec.structs.asdict(self) | changes)
                if error is None:
                    raise
                raise error from None
        except FlowError as error:
            end_at_user(error)
            raise

    def _changed(self, **changes: Any) -> Self:
        """As :meth:`replace`, without checking what has been checked."""
        made = copy(self)
        for name, value in changes.items():
            msgspec.structs.force_setattr(made, name, value)
        return made


def misnamed(kind: Any, values: tuple[Any, ...], settings: dict[str, Any]) -> UnknownSetting | None:
    """Say all that is wrong with these settings, if some have no name, or one that ``kind`` does not know."""
    fields, places = kind.__struct_fields__, kind.__match_args__
    from flow.keywords import Wrong  # here: only needed once something is wrong

    wrong = sorted(settings.keys() - set(fields))
    keywords = Wrong(kind.__name__, fields)
    keywords.given = settings
    faults = [f"no setting is called {shown(n)}{keywords.meant(n, settings[n])}" for n in wrong]
    faults += [f"{shown(v)} is given without the name of a setting: {', '.join(fields)}" for v in values[len(places) :]]
    given = dict(zip(places, values, strict=False))
    faults += [f"{n} is given twice, as {shown(given[n])} and {shown(settings[n])}" for n in given if n in settings]
    if not faults:
        return None
    try:
        kind(**given | {name: value for name, value in settings.items() if name in fields})
    except ConfigError as error:
        faults += error.faults
    return UnknownSetting(kind.__name__, faults)


def unknown_arguments(place: str, who: str, wrong: Mapping[str, object]) -> UsageError:
    """Make one error that lists the keywords that a call does not take, with suggestions.

    :param place: a key of :data:`flow.keywords.PLACES`.
    :param who: what was called.
    """
    from flow.keywords import PLACES, Wrong  # here: only needed once something is wrong

    return UsageError(Wrong(place, PLACES[place]).refusal(who, "keyword", wrong))


class FrozenMapping(Mapping[str, Any]):
    """An immutable copy of a mapping, so that a frozen setting can be compared, hashed and pickled."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(frozenset(self._values))  # by its names: a value may have no hash

    def __repr__(self) -> str:
        return repr(self._values)


def is_one_of(value: Any, allowed: tuple[str, ...]) -> bool:
    """Tell whether ``value`` is one of these strings. Its type comes first: an array's ``==`` gives another array."""
    return issubclass(type(value), str) and str.__str__(value) in allowed


def is_int(value: object) -> bool:
    """Tell whether ``value`` is an integer and no bool."""
    return issubclass(type(value), int) and type(value) is not bool


def is_number(value: object) -> bool:
    """Tell whether ``value`` is a finite number and no bool."""
    try:
        return issubclass(type(value), (int, float)) and type(value) is not bool and isfinite(value)  # type: ignore[arg-type]
    except OverflowError:  # an int beyond every float
        return False
