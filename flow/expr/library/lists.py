"""Functions of lists and dicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice, zip_longest
from itertools import product as combinations_of
from typing import Any, Final

from flow.errors import nearest
from flow.expr.faults import Fault, Steps, kind, spend, take
from flow.expr.functions import STEPS, Function, collector
from flow.expr.library.arguments import as_text, items_of, mapping, whole
from flow.expr.limits import FREE, MAX_DEPTH
from flow.expr.operations import (
    ORDERED,
    SIMPLE,
    comparable,
    equal,
    greater,
    greater_or_equal,
    inside,
    is_number,
    less,
    less_or_equal,
    unequal,
)
from flow.expr.reading import fields_of, item_or_missing, missing, read_or_missing, sized
from flow.types import MISSING

FUNCTIONS: list[Function] = []
_listed = collector(FUNCTIONS)

_SIZED: Final = frozenset({str, list, dict, tuple})


@_listed(name="len")
def len_(x: Any) -> int:
    """How many characters a text has, items a list, keys a dict."""
    if type(x) in _SIZED or sized(x):
        return len(x)
    if "values" in fields_of(x):
        raise Fault(f"len: x must be text, a list or a dict, not {kind(x)}; write len(x.values)")
    hint = "; default(x, []) gives an empty list where there is none" if x is None else ""
    raise Fault(f"len: x must be text, a list or a dict, not {kind(x)}{hint}")


@_listed(STEPS)
def contains(steps: Steps, container: Any, x: Any) -> bool:
    """``x in container``: an item of a list, a key of a dict, a part of a text."""
    return inside(steps, x, container)


@_listed(STEPS)
def keys(steps: Steps, x: Any) -> list[Any]:
    """A list of the keys of a dict."""
    found = mapping("keys", "x", x)
    spend(steps, len(found))
    return list(found)


@_listed(STEPS)
def values(steps: Steps, x: Any) -> list[Any]:
    """A list of the values of a dict."""
    found = mapping("values", "x", x)
    spend(steps, len(found))
    return list(found.values())


@_listed(STEPS)
def items(steps: Steps, x: Any) -> list[list[Any]]:
    """A list of ``[key, value]`` for each key of a dict."""
    found = mapping("items", "x", x)
    spend(steps, 8 * len(found))
    return [[key, value] for key, value in found.items()]


@_listed()
def default(x: Any, other: Any) -> Any:
    """``x``, or ``other`` where ``x`` is null, or a name or key in it is missing."""
    return other if x is None or x is MISSING else x


@_listed()
def get(x: Any, key: Any, default: Any = None) -> Any:
    """The value of a key, or the item at an index; ``default`` if there is none."""
    found = item_or_missing(x, key)
    return default if found is MISSING else found


@_listed(STEPS)
def merge(steps: Steps, *dicts: Any) -> dict[Any, Any]:
    """One dict of several: a later value replaces an earlier one of the same key."""
    found = [mapping("merge", "dicts", one) for one in dicts]
    spend(steps, 4 * sum(map(len, found)))
    return {key: value for one in found for key, value in one.items()}


@_listed()
def first(items: Any, default: Any = MISSING) -> Any:
    """The first item of a list; ``default`` if it is empty."""
    return _end("first", items, 0, default)


@_listed()
def last(items: Any, default: Any = MISSING) -> Any:
    """The last item of a list; ``default`` if it is empty."""
    return _end("last", items, -1, default)


def _end(function: str, items: Any, index: int, default: Any) -> Any:
    found = items_of(function, "items", items)
    if found:
        return found[index]
    if default is MISSING:
        raise Fault(f"{function}: the list is empty; {function}(x, other) gives another value")
    return default


@_listed(STEPS)
def sort(steps: Steps, items: Any, by: Any = None, reverse: Any = False) -> list[Any]:
    """A list in order: of numbers or of text, or of what is ordered by the key ``by`` of each."""
    found = items_of("sort", "items", items)
    if not isinstance(reverse, bool):
        raise Fault(f"sort: reverse must be true or false, not {kind(reverse)}")
    spend(steps, 4 * len(found))
    ranks = found if by is None else _each(found, as_text("sort", "by", by))
    if not (all(map(is_number, ranks)) or all(isinstance(rank, str) for rank in ranks)):
        raise Fault("sort: a list of numbers alone, or of text alone, has an order; sort(x, by='key') orders dicts")
    if by is None:
        return sorted(found, reverse=reverse)
    order = sorted(range(len(found)), key=ranks.__getitem__, reverse=reverse)
    return [found[index] for index in order]


@_listed(STEPS)
def reverse(steps: Steps, items: Any) -> list[Any]:
    """A list from its end to its beginning."""
    found = items_of("reverse", "items", items)
    spend(steps, len(found))
    return list(found)[::-1]


@_listed(STEPS)
def unique(steps: Steps, items: Any) -> list[Any]:
    """A list without items that equal an earlier one."""
    found = items_of("unique", "items", items)
    spend(steps, 2 * len(found))
    seen: set[Any] = set()
    others: list[Any] = []
    kept = []
    for value in found:
        form = value if type(value) in SIMPLE else comparable(steps, value)
        if form is not MISSING:
            if form in seen:
                continue
            seen.add(form)
        else:
            take(steps, 16 * len(others))
            if any(equal(steps, value, other) for other in others):
                continue
            others.append(value)
        kept.append(value)
    return kept


@_listed(STEPS)
def flatten(steps: Steps, items: Any, depth: Any = 1) -> list[Any]:
    """A list with the items of the lists in it in their place, ``depth`` levels of them."""
    found = items_of("flatten", "items", items)
    spend(steps, len(found))
    flat = list(found)
    for _ in range(whole("flatten", "depth", depth, 1, MAX_DEPTH)):
        if not any(isinstance(value, (list, tuple)) for value in flat):
            break
        size = sum(len(value) if isinstance(value, (list, tuple)) else 1 for value in flat)
        spend(steps, len(flat) + size)
        flat = [one for value in flat for one in (value if isinstance(value, (list, tuple)) else (value,))]
    return flat


@_listed(STEPS, name="zip")
def zip_(steps: Steps, *lists: Any, pad: Any = MISSING) -> list[list[Any]]:
    """A list of ``[a, b]`` of two lists, or more: as long as the shortest, or with ``pad`` as the longest."""
    found = [items_of("zip", "lists", one) for one in lists]
    if not found:
        return []
    sizes = list(map(len, found))
    size = min(sizes) if pad is MISSING else max(sizes)
    spend(steps, size * (7 + len(found)))
    pairs = islice(zip(*found, strict=False), size) if pad is MISSING else zip_longest(*found, fillvalue=pad)
    return [list(pair) for pair in pairs]


@_listed(STEPS)
def product(steps: Steps, *lists: Any) -> list[list[Any]]:
    """A list of ``[a, b]`` for every way to take one item of each list; the last list goes round fastest."""
    found = [items_of("product", "lists", one) for one in lists]
    if not found:
        return []
    size = 1
    for one in found:
        size *= len(one)
    spend(steps, size * (7 + len(found)))
    return [list(one) for one in combinations_of(*found)]


@_listed(STEPS, name="dict")
def dict_(steps: Steps, pairs: Any) -> dict[str, Any]:
    """A dict of ``[key, value]`` pairs: as of ``items(x)``, or ``zip(keys, values)``."""
    found = items_of("dict", "pairs", pairs)
    spend(steps, len(found))
    made: dict[str, Any] = {}
    for at, pair in enumerate(found):
        parts = items_of("dict", f"pairs[{at}]", pair)
        if len(parts) != 2:
            raise Fault(f"dict: pairs[{at}] has {len(parts)} items, and a pair has a key and a value")
        made[as_text("dict", f"the key of pairs[{at}]", parts[0])] = parts[1]
    return made


@_listed(STEPS)
def pluck(steps: Steps, items: Any, key: Any, default: Any = MISSING) -> list[Any]:
    """A list of what each item has under a key; ``default`` where it has none."""
    found = items_of("pluck", "items", items)
    spend(steps, len(found))
    return _each(found, as_text("pluck", "key", key), default)


def _each(items: Sequence[Any], key: str, default: Any = MISSING) -> list[Any]:
    try:
        return [item[key] if type(item) is dict else _other(item, key, default) for item in items]
    except KeyError:
        return [_other(item, key, default) for item in items]


def _other(item: Any, key: str, default: Any) -> Any:
    """What an item has under a key, or what is taken where it has none."""
    if type(item) is dict and key in item:
        return item[key]
    found = read_or_missing(item, key)
    if found is not MISSING:
        return found
    if default is MISSING:
        raise missing(item, key)
    return default


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Steps, Any, Any], bool]:
    """An order, in which null passes no test."""
    return lambda steps, left, right: left is not None and compare(left, right)


_TESTS: Final[dict[str, Callable[[Steps, Any, Any], bool]]] = {
    "==": equal,
    "!=": unequal,
    "<": _ordered(less),
    "<=": _ordered(less_or_equal),
    ">": _ordered(greater),
    ">=": _ordered(greater_or_equal),
    "in": inside,
    "contains": lambda steps, left, right: inside(steps, right, left),
}
# fmt: off
_QUICK: Final[dict[str, Callable[[Sequence[Any], str, Any, type, Callable[[Any], bool]], list[Any]]]] = {
    "==": lambda x, k, y, t, slow: [i for i in x if (v == y if type(i) is dict and type(v := i[k]) is t else slow(i))],
    "!=": lambda x, k, y, t, slow: [i for i in x if (v != y if type(i) is dict and type(v := i[k]) is t else slow(i))],
    "<": lambda x, k, y, t, slow: [i for i in x if (v < y if type(i) is dict and type(v := i[k]) is t else slow(i))],
    "<=": lambda x, k, y, t, slow: [i for i in x if (v <= y if type(i) is dict and type(v := i[k]) is t else slow(i))],
    ">": lambda x, k, y, t, slow: [i for i in x if (v > y if type(i) is dict and type(v := i[k]) is t else slow(i))],
    ">=": lambda x, k, y, t, slow: [i for i in x if (v >= y if type(i) is dict and type(v := i[k]) is t else slow(i))],
}
# fmt: on
"""The tests again, for dicts whose values have the type ``t``. :raises KeyError: if one lacks the key."""


@_listed(STEPS)
def where(steps: Steps, items: Any, key: Any, *test: Any) -> list[Any]:
    """The items of a list whose key is true, equals a value, or passes a test: ``where(users, 'age', '>', 17)``."""
    found = items_of("where", "items", items)
    name = as_text("where", "key", key)
    spend(steps, len(found))
    if not test:
        return [item for item in found if _other(item, name, None)]
    if len(test) > 2:
        raise Fault("where: takes a list, a key, and a value, or a test and a value")
    how: Any = test[0] if len(test) == 2 else "=="
    wanted: Any = test[len(test) - 1]
    if not isinstance(how, str) or how not in _TESTS:
        raise Fault(f"where: the test is one of {', '.join(_TESTS)}{nearest(how, list(_TESTS))}")
    passes = _TESTS[how]

    def slow(item: Any) -> bool:
        return passes(steps, _other(item, name, None), wanted)

    if how in _QUICK and type(wanted) in ORDERED:
        if type(wanted) is str:
            take(steps, len(found) * len(wanted) // FREE)
        try:
            return _QUICK[how](found, name, wanted, type(wanted), slow)
        except KeyError:
            pass
    return [item for item in found if slow(item)]


@_listed(STEPS, name="any")
def any_(steps: Steps, items: Any) -> bool:
    """True if an item of a list is true."""
    found = items_of("any", "items", items)
    spend(steps, len(found))
    return any(found)


@_listed(STEPS, name="all")
def all_(steps: Steps, items: Any) -> bool:
    """True if every item of a list is true."""
    found = items_of("all", "items", items)
    spend(steps, len(found))
    return all(found)
