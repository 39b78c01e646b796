"""How a map's function is called with an item: further parameters, their order, parts of zipped items."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flow.policy.mapping import Roles

ItemCall = Callable[[int, Any], Any]
"""Called with an entry's number and the item."""

Function = Callable[[int], Callable[..., Any]]
"""Gives what is called for entry ``i``: the map's function, or a Dag's run at that place."""


def caller(roles: Roles, function: Function, extras: dict[str, Any], own: dict[str, ItemCall], fixed: bool) -> ItemCall:
    """Return what calls a map's function, whatever that takes and in which order. O(parameters) per call.

    :param extras: what is the same for all items, by parameter.
    :param own: what makes the values that differ from item to item, besides the item.
    :param fixed: ``function`` gives the same for every entry.
    """
    places = {name: at for at, name in enumerate(roles.positional)}
    if not (fixed and roles.whole and roles.items and {*roles.items, *own} <= places.keys()):
        return _general_caller(roles, function, extras, own, fixed)
    extras, fn = dict(extras), function(0)
    template = [extras.pop(name, None) for name in places]
    at_item, at_own = places[roles.items[0]], [(places[name], make) for name, make in own.items()]

    def call(i: int, item: Any) -> Any:
        values = template.copy()
        values[at_item] = item
        for at, make in at_own:
            values[at] = make(i, item)
        return fn(*values, **extras)

    return call


def _general_caller(
    roles: Roles, function: Function, extras: dict[str, Any], own: dict[str, ItemCall], fixed: bool
) -> ItemCall:
    """As :func:`caller`, for an item in parts, ``*args``, keyword-only parameters, or a Dag."""
    items, positional, whole = roles.items, roles.positional, roles.whole
    always = function(0) if fixed else None

    def call(i: int, item: Any) -> Any:
        parts = (item,) if whole else item
        named = extras | dict(zip(items, parts, strict=False))
        for name, make in own.items():
            named[name] = make(i, item)
        fn = function(i) if always is None else always
        return fn(*[named.pop(name) for name in positional], *parts[len(items) :], **named)

    return call
