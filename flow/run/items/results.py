"""Checks of the return values of a map's function, and the output of the map as a node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set, Sized
from functools import partial
from itertools import islice
from types import GeneratorType
from typing import Any, Final

from flow.awaits import NEVER_AWAITED, discard
from flow.data.mapresult import MapResult
from flow.errors import Show, UsageError, a_kind
from flow.policy.mapping import MapOptions
from flow.types import MISSING

DROPPED: Final[Any] = object()
"""Stands at the place of an item that a filter has dropped."""

Look = Callable[[Any, Any], Any]
"""Called with a result and its item; returns what stands at the item's place."""

_NO_VERDICT: Final = NEVER_AWAITED | {GeneratorType}
"""What a filter's function has returned by mistake."""


def look_of(options: MapOptions, show: Show) -> Look | None:
    """What looks at results, of a batch, a filter or a flat_map; None if they stand as they are."""
    look = _kept if options.outcome == "filter" else _several(show) if options.outcome == "flat" else None
    return look if options.batch_size is None else partial(_one_each, show, look)


def _refused(text: str) -> UsageError:
    """The error of results of the wrong kind, which another attempt would give as well."""
    error = UsageError(text)
    error.final = True
    return error


def _one_each(show: Show, look: Look | None, results: Any, batch: list[Any]) -> list[Any]:
    """``look`` at each of the results; refuse what is not one per item of the batch."""
    try:
        if isinstance(results, (str, bytes, Mapping, Set)):
            raise TypeError("characters, keys and sets are no results in order")
        parts = iter(results)
    except TypeError as error:
        raise _refused(f"a map with batch_size needs one result per item: got {show(results)}") from error
    sized = isinstance(results, Sized)
    # Outside: a TypeError of a generator is the user's own. An iterator may never end.
    found = list(parts if sized else islice(parts, len(batch) + 1))
    if len(found) > len(batch) and not sized:
        raise _refused(f"a map with batch_size needs one result per item: more than {len(batch)} came for so many")
    if len(found) != len(batch):
        raise _refused(f"a map with batch_size needs one result per item: {len(found)} came for {len(batch)} items")
    return found if look is None else [look(result, item) for result, item in zip(found, batch, strict=True)]


def _kept(verdict: Any, item: Any) -> Any:
    if type(verdict) in _NO_VERDICT:
        discard(verdict)
        raise _refused(f"a filter needs a verdict on each item, and {a_kind(verdict)} is always true: return a bool")
    return item if verdict else DROPPED


def _several(show: Show) -> Callable[[Any, Any], list[Any]]:
    def several(results: Any, item: Any) -> list[Any]:
        """Refuse what is not several results; those of a generator are the item's own doing, errors included."""
        if isinstance(results, (str, bytes)) or not hasattr(results, "__iter__"):
            raise _refused(f"a flat_map needs a list of results per item: got {show(results)}")
        return list(results)

    return several


def as_told(options: MapOptions, value: Any) -> Any:
    """What an outcome hook is told of an item whose place ``value`` takes: of a filter, whether it was kept."""
    if options.outcome != "filter":
        return value
    return value is not DROPPED if options.batch_size is None else [one is not DROPPED for one in value]


def unpacked(
    values: Sequence[Any], sizes: Mapping[int, int], index: Callable[[int], int], errors: dict[int, Exception]
) -> list[Any]:
    """Results item by item, of batches; a failed batch's error becomes that of all its items. O(items).

    :param sizes: of the batches that failed, by number.
    :param index: gives the index of a batch's first item.
    """
    found: list[Any] = []
    for i, results in enumerate(values):
        if results is MISSING:
            results, first = [MISSING] * sizes[i], index(i)
            errors.update({first + k: errors[first] for k in range(sizes[i])})
        found += results
    return found


def scattered(
    values: Sequence[Any], places: Sequence[Sequence[int]], count: int, errors: dict[int, Exception]
) -> list[Any]:
    """As :func:`unpacked`, of batches whose items have any ``places`` among ``count``. O(items)."""
    found: list[Any] = [MISSING] * count
    for results, at in zip(values, places, strict=False):
        if results is MISSING:
            errors.update(dict.fromkeys(at, errors[at[0]]))
        else:
            for place, result in zip(at, results, strict=True):
                found[place] = result
    return found


def gathered(
    name: str, options: MapOptions, values: list[Any], errors: dict[int, Exception], keys: list[Any] | None
) -> Any:
    """What the node of map ``name`` returns where its items have these values and errors. O(items)."""
    if options.on_error == "collect":
        return MapResult(name, values, errors, keys)
    if keys is not None and options.outcome != "flat":
        pairs = zip(keys, values, strict=True)
        return {key: value for key, value in pairs if value is not MISSING and value is not DROPPED}
    if errors or options.outcome == "filter" or options.pipelined:
        values = [value for value in values if value is not MISSING and value is not DROPPED]
    return values if options.outcome != "flat" else [part for value in values for part in value]
