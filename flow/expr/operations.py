"""The operators of expressions, for the operands that the generated code does not treat itself.

Each says what it takes, and bounds what it makes.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

from flow.expr.faults import Fault, Steps, kind, spend, take
from flow.expr.limits import FREE, MAX_BITS, MAX_DEPTH
from flow.expr.reading import fields_of, is_list
from flow.types import MISSING

SIMPLE: Final = frozenset({str, int, float, bool, type(None)})
"""Types whose values compare at once."""

NUMBERS: Final = frozenset({int, float})
"""The types of most numbers."""

_INF: Final = math.inf

ORDERED: Final = frozenset({int, float, str})
"""Of these, the ones whose values have an order."""


def is_number(value: object) -> bool:
    """Tell whether it is an int or a float. A bool is none here."""
    return type(value) in NUMBERS or (isinstance(value, (int, float)) and not isinstance(value, bool))


def bounded(value: Any) -> Any:
    """Return a number, if it is no larger than expressions may make. :raises Fault: if it is."""
    if isinstance(value, int):
        if value.bit_length() > MAX_BITS:
            raise Fault(f"the number is too large: ints have at most {MAX_BITS:,} bits")
    elif not math.isfinite(value):
        raise Fault("the number is too large for a float, or none at all")
    return value


# -- equality and order ------------------------------------------------------------------------


def measure(steps: Steps, value: object) -> None:
    """Count what a value holds, all levels of it. Iterative. O(size), and no more than the steps that are left."""
    todo = [value]
    seen = 0
    while todo:
        at = todo.pop()
        kind_of = type(at)
        if kind_of is str:
            seen += len(at) // FREE  # type: ignore[arg-type]
        elif kind_of not in SIMPLE:
            inner = _inner(at)
            seen += 4 * len(inner)
            if seen > FREE:
                take(steps, seen)
                seen = 0
            todo += inner


def _inner(value: Any) -> Sequence[Any]:
    """What a value holds."""
    if type(value) is list or type(value) is tuple:
        return value
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, AbstractSet):
        return list(value)
    return [getattr(value, name) for name in fields_of(value)]


def equal(steps: Steps, left: Any, right: Any) -> bool:
    """``left == right``."""
    if type(left) not in SIMPLE and type(right) not in SIMPLE:
        if type(left) is type(right) and type(left) in (list, dict, tuple) and len(left) != len(right):
            return False
        measure(steps, left)
    elif type(left) is str is type(right):
        spend(steps, len(left))
    return same(left, right)


def same(left: Any, right: Any) -> bool:
    """``left == right``, where one of them is a constant: nothing is counted."""
    answer = left == right
    if type(answer) is not bool:
        raise Fault(f"comparing {kind(left)} with {kind(right)} gave {kind(answer)}, not true or false")
    return answer


def comparable(steps: Steps, value: Any, depth: int = 0) -> Any:
    """Return what is hashable, and equal for equal values: of lists and dicts. MISSING of anything else. O(size)."""
    take(steps, 4)
    if type(value) in SIMPLE:
        return value
    if depth >= MAX_DEPTH:
        return MISSING
    if type(value) is list or type(value) is tuple:
        parts = [comparable(steps, one, depth + 1) for one in value]
        return MISSING if any(part is MISSING for part in parts) else (type(value), *parts)
    if type(value) is dict:
        pairs = [(key, comparable(steps, one, depth + 1)) for key, one in value.items()]
        return MISSING if any(part is MISSING for _, part in pairs) else (dict, frozenset(pairs))
    return MISSING


def differs(left: Any, right: Any) -> bool:
    """``left != right``, where one of them is a constant."""
    return not same(left, right)


def among(value: Any, constants: Sequence[Any]) -> bool:
    """``value in constants``."""
    return any(same(value, one) for one in constants)


def not_among(value: Any, constants: Sequence[Any]) -> bool:
    """``value not in constants``."""
    return not among(value, constants)


def unequal(steps: Steps, left: Any, right: Any) -> bool:
    """``left != right``."""
    return not equal(steps, left, right)


def _ordering(name: str, compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], bool]:
    def ordered(left: Any, right: Any) -> bool:
        if (is_number(left) and is_number(right)) or (isinstance(left, str) and isinstance(right, str)):
            return bool(compare(left, right))
        hint = _converted(left, right)
        raise Fault(f"'{name}' compares two numbers or two texts, not {kind(left)} and {kind(right)}{hint}")

    return ordered


def _converted(left: object, right: object) -> str:
    """Say how text and a number come together."""
    if (isinstance(left, str) and is_number(right)) or (isinstance(right, str) and is_number(left)):
        return "; int(x), float(x) or str(x) converts one of them"
    return "; default(x, other) gives another value for null" if left is None or right is None else ""


less = _ordering("<", operator.lt)
less_or_equal = _ordering("<=", operator.le)
greater = _ordering(">", operator.gt)
greater_or_equal = _ordering(">=", operator.ge)


def inside(steps: Steps, value: Any, container: Any) -> bool:
    """``value in container``."""
    if type(container) is list and type(value) in SIMPLE:
        if len(container) > FREE:
            take(steps, len(container))
        return bool(value in container)
    if isinstance(container, str):
        if not isinstance(value, str):
            raise Fault(f"'in' looks for text in text, not for {kind(value)}")
        spend(steps, len(container))
        return str.__contains__(container, value)
    if isinstance(container, (Mapping, AbstractSet)):
        if not (isinstance(value, (str, int, float)) or value is None):
            raise Fault(f"'in' looks for a str, a number or null in {kind(container)}, not for {kind(value)}")
        return bool(value in container)
    if is_list(container):
        spend(steps, len(container))
        if type(container) is range:
            return value in container
        return any(value is one or equal(steps, value, one) for one in container)
    raise Fault(f"'in' looks into text, lists and dicts, not into {kind(container)}")


def outside(steps: Steps, value: Any, container: Any) -> bool:
    """``value not in container``."""
    return not inside(steps, value, container)


# -- arithmetic --------------------------------------------------------------------------------


def add(steps: Steps, left: Any, right: Any) -> Any:
    """``left + right``."""
    if type(left) is str and type(right) is str:
        if (size := len(left) + len(right)) > FREE:
            take(steps, size)
        return left + right
    if isinstance(left, str) and isinstance(right, str):
        spend(steps, len(left) + len(right))
        return str.__add__(left, right)
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        spend(steps, len(left) + len(right))
        return [*left, *right]
    if is_number(left) and is_number(right):
        return bounded(left + right)
    hint = _converted(left, right)
    if isinstance(left, str) or isinstance(right, str):
        hint = hint or "; str(x) makes text of a number or a bool, json(x) of anything else"
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        hint = "; write merge(a, b)"
    raise Fault(f"'+' adds numbers, texts or lists, not {kind(left)} and {kind(right)}{hint}")


def subtract(left: Any, right: Any) -> Any:
    """``left - right``."""
    if type(left) in NUMBERS and type(right) in NUMBERS and -_INF < (made := left - right) < _INF:
        return made
    _numbers("-", left, right)
    return bounded(left - right)


def multiply(left: Any, right: Any) -> Any:
    """``left * right``."""
    if type(left) is int and type(right) is int and left.bit_length() + right.bit_length() <= MAX_BITS:
        return left * right
    is_float = (type(left) is float and type(right) in NUMBERS) or (type(right) is float and type(left) is int)
    if is_float and -_INF < (made := left * right) < _INF:
        return made
    _numbers("*", left, right)
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() + right.bit_length() > MAX_BITS + 1:
        raise Fault(f"the number is too large: ints have at most {MAX_BITS:,} bits")
    return bounded(left * right)


def divide(left: Any, right: Any) -> Any:
    """``left / right``."""
    if type(left) is float and type(right) in NUMBERS and right and -_INF < (made := left / right) < _INF:
        return made
    _numbers("/", left, right, divides=True)
    return bounded(left / right)


def floor_divide(left: Any, right: Any) -> Any:
    """``left // right``."""
    _numbers("//", left, right, divides=True)
    return bounded(left // right)


def modulo(left: Any, right: Any) -> Any:
    """``left % right``."""
    if type(left) is type(right) is float and right and -_INF < left < _INF:
        return left % right
    _numbers("%", left, right, divides=True)
    return bounded(left % right)


def negative(value: Any) -> Any:
    """``-value``."""
    if not is_number(value):
        raise Fault(f"'-' takes a number, not {kind(value)}")
    return -value


def positive(value: Any) -> Any:
    """``+value``."""
    if not is_number(value):
        raise Fault(f"'+' takes a number, not {kind(value)}")
    return +value


INSTEAD: Final = {
    "*": "text and lists are not repeated",
    "%": "write format('{}', x), 'text ' + str(x), or a template",
}
"""What is said of an operator that Python has for text and lists."""


def _numbers(name: str, left: Any, right: Any, divides: bool = False) -> None:
    """Refuse what is no number, or larger than they get, and a division by zero."""
    if not is_number(left) or not is_number(right):
        sequences = isinstance(left, (str, list, tuple)) or isinstance(right, (str, list, tuple))
        hint = f": {INSTEAD[name]}" if sequences and name in INSTEAD else _converted(left, right)
        raise Fault(f"'{name}' takes two numbers, not {kind(left)} and {kind(right)}{hint}")
    if divides and right == 0:
        raise Fault("division by zero")
    for value in (left, right):
        if isinstance(value, int):
            bounded(value)


def text_key(value: Any) -> str:
    """Return the key of a dict display. :raises Fault: if it is not text."""
    if not isinstance(value, str):
        raise Fault(f"the keys of a dict are text, not {kind(value)}: write str(x)")
    return value
