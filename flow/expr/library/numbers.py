"""Functions of numbers, and those that make one type of another."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from flow.expr.faults import Fault, Steps, kind, spend
from flow.expr.functions import SCOPE, STEPS, Function, collector
from flow.expr.library.arguments import as_text, items_of, number, whole
from flow.expr.limits import MAX_BITS, MAX_RANGE
from flow.expr.operations import bounded, is_number
from flow.expr.plain import in_text, parsed, written

FUNCTIONS: list[Function] = []
_listed = collector(FUNCTIONS)

_INT: Final = re.compile(r"[+-]?[0-9]{1,300}")
_FLOAT: Final = re.compile(r"[+-]?(?:[0-9]{1,300}(?:\.[0-9]{0,300})?|\.[0-9]{1,300})(?:[eE][+-]?[0-9]{1,4})?")
_TYPES: Final = {type(None): "null", bool: "bool", int: "int", float: "float", str: "str", list: "list", dict: "dict"}


@_listed(name="abs")
def abs_(x: Any) -> Any:
    """A number without its sign."""
    return abs(number("abs", "x", x))


@_listed(name="round")
def round_(x: Any, digits: Any = None) -> Any:
    """A number rounded to an int, or to so many digits after the point; a half goes to the even neighbour."""
    value = number("round", "x", x)
    if isinstance(value, int):
        bounded(value)
    elif not math.isfinite(value):
        raise Fault("round: x is no finite number")
    return round(value) if digits is None else bounded(round(value, whole("round", "digits", digits, -300, 300)))


@_listed()
def floor(x: Any) -> int:
    """The largest int that is not above a number."""
    return math.floor(_finite("floor", x))


@_listed()
def ceil(x: Any) -> int:
    """The smallest int that is not below a number."""
    return math.ceil(_finite("ceil", x))


def _finite(function: str, x: Any) -> float:
    value: float = number(function, "x", x)
    if not math.isfinite(value):
        raise Fault(f"{function}: x is no finite number")
    return value


def _several(steps: Steps, function: str, values: tuple[Any, ...]) -> Sequence[Any]:
    """The values of ``min`` and ``max``: the arguments, or the items of the one list. All numbers, or all text."""
    several = items_of(function, "values", values[0]) if len(values) == 1 else values
    spend(steps, len(several))
    if not several:
        raise Fault(f"{function}: an empty list has none")
    if not (all(map(is_number, several)) or all(isinstance(value, str) for value in several)):
        raise Fault(f"{function}: values must be numbers alone, or text alone")
    return several


@_listed(STEPS, name="min")
def min_(steps: Steps, *values: Any) -> Any:
    """The least of several numbers or texts, or of the items of a list."""
    return min(_several(steps, "min", values))


@_listed(STEPS, name="max")
def max_(steps: Steps, *values: Any) -> Any:
    """The greatest of several numbers or texts, or of the items of a list."""
    return max(_several(steps, "max", values))


@_listed(STEPS, name="sum")
def sum_(steps: Steps, items: Any) -> Any:
    """The sum of the numbers in a list."""
    values = items_of("sum", "items", items)
    spend(steps, len(values))
    for value in values:
        if not is_number(value):
            hint = "; join(x) puts text together" if isinstance(value, str) else ""
            raise Fault(f"sum: items must be numbers, not {kind(value)}{hint}")
    return bounded(sum(values))


@_listed(STEPS, name="range")
def range_(steps: Steps, start: Any, stop: Any = None, step: Any = 1) -> list[int]:
    """A list of ints: ``range(3)`` is ``[0, 1, 2]``, ``range(1, 7, 2)`` is ``[1, 3, 5]``."""
    most = 2**53
    first, last = (0, start) if stop is None else (start, stop)
    bounds = [whole("range", name, value, -most, most) for name, value in (("start", first), ("stop", last))]
    by = whole("range", "step", step, -most, most)
    if by == 0:
        raise Fault("range: step must not be 0")
    numbers = range(bounds[0], bounds[1], by)
    if len(numbers) > MAX_RANGE:
        raise Fault(f"range: this makes more than {MAX_RANGE:,} numbers")
    spend(steps, len(numbers))
    return list(numbers)


# -- types -------------------------------------------------------------------------------------


@_listed(name="int")
def int_(x: Any) -> int:
    """An int of a number (what follows the point is dropped), of a bool (1 or 0) or of text in digits."""
    if isinstance(x, str):
        digits = _digits(x)
        if not _INT.fullmatch(digits):
            raise Fault("int: the text is no int: an optional sign and digits")
        return int(bounded(int(digits)))
    if isinstance(x, (int, float)):
        return int(bounded(x))
    raise Fault(f"int: x must be a number, a bool or text in digits, not {kind(x)}")


@_listed(name="float")
def float_(x: Any) -> float:
    """A float of a number, of a bool (1.0 or 0.0) or of text in digits."""
    if isinstance(x, str):
        digits = _digits(x)
        if not _FLOAT.fullmatch(digits):
            raise Fault("float: the text is no number in digits, as 1.5 or 2e6")
        return float(bounded(float(digits)))
    if isinstance(x, (int, float)):
        try:
            return float(bounded(float(x)))
        except OverflowError:
            raise Fault("float: the number is too large for a float") from None
    raise Fault(f"float: x must be a number, a bool or text in digits, not {kind(x)}")


def _digits(x: str) -> str:
    return x[: 2 * MAX_BITS].strip() if len(x) <= 2 * MAX_BITS else ""


@_listed(name="str")
def str_(x: Any) -> str:
    """Text of text, a number or a bool (``true``, ``false``)."""
    made = in_text(x)
    if made is None:
        hint = "default(x, 'none') gives another value for it" if x is None else "json(x) makes text of it"
        raise Fault(f"str: x must be text, a number or a bool, not {kind(x)}; {hint}")
    return made


@_listed(name="bool")
def bool_(x: Any) -> bool:
    """True or false: of text ``true`` or ``false``; of numbers 0 is false; of lists and dicts an empty one; of null."""
    if isinstance(x, str):
        word = x[:10].strip().lower()
        if word not in ("true", "false"):
            raise Fault("bool: the text must be true or false; x != '' tells whether there is any")
        return word == "true"
    if x is None or isinstance(x, (bool, int, float, Mapping, Sequence)):
        return bool(x)
    raise Fault(f"bool: x must be a bool, text, a number, a list, a dict or null, not {kind(x)}")


@_listed(name="type")
def type_(x: Any) -> str:
    """The type of a value: ``null``, ``bool``, ``int``, ``float``, ``str``, ``list``, ``dict``, or else ``object``."""
    return _TYPES.get(type(x), "object")


@_listed(STEPS, name="json")
def json_(steps: Steps, x: Any) -> str:
    """A value as JSON text, in one line."""
    return written(steps, x)


@_listed(STEPS)
def parse_json(steps: Steps, text: Any) -> Any:
    """The value of a JSON text."""
    return parsed(steps, as_text("parse_json", "text", text))


@_listed(SCOPE)
def now(scope: Mapping[str, Any]) -> Any:
    """The time, as the clock says that the expression is given."""
    clock = scope.get("now") if isinstance(scope, Mapping) else None
    if not callable(clock):
        raise Fault("now: there is no clock here")
    return clock()
