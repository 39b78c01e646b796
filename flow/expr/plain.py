"""Values as text and as plain data."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final

from flow.expr.faults import Fault, Steps, kind, spend, take
from flow.expr.limits import MAX_BITS, MAX_DEPTH
from flow.expr.reading import fields_of, is_list

_TWICE: Final = 2
"""Steps for a character of JSON: an item of it can be as short as two characters."""


def in_text(value: Any) -> str | None:
    """Return how a value stands in text: str, int, float, and ``true`` or ``false``; None for anything else."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value) if value.bit_length() <= 4 * MAX_BITS else None
    return float.__repr__(value) if isinstance(value, float) else None


def plain(steps: Steps, value: Any, depth: int = 0) -> Any:
    """Return a value as dicts, lists, text, numbers, bools and null. O(size), counted.

    :raises Fault: for what JSON cannot say.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        spend(steps, len(value))
        return str.__str__(value)
    if isinstance(value, int):
        if value.bit_length() > MAX_BITS:
            raise Fault(f"json: the number is too large: ints have at most {MAX_BITS:,} bits")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Fault("json: a float that is no finite number")
        return float(value)
    if depth >= MAX_DEPTH:
        raise Fault(f"json: lists and dicts nested more than {MAX_DEPTH} deep")
    take(steps, 1)
    if isinstance(value, Mapping):
        take(steps, 2 * len(value))
        if not all(isinstance(key, str) for key in value):
            raise Fault("json: a dict with a key that is no str")
        return {str.__str__(key): plain(steps, one, depth + 1) for key, one in value.items()}
    fields = fields_of(value)
    if not fields and (is_list(value) or isinstance(value, AbstractSet)):
        take(steps, 2 * len(value))
        return [plain(steps, one, depth + 1) for one in value]
    if not fields:
        raise Fault(f"json: {kind(value)} cannot be written")
    return {name: plain(steps, getattr(value, name), depth + 1) for name in fields}


def written(steps: Steps, value: Any) -> str:
    """Return a value as JSON, in one line."""
    return json.dumps(plain(steps, value), ensure_ascii=False, allow_nan=False)


def parsed(steps: Steps, text: str) -> Any:
    """Return the value of a JSON text. :raises Fault: if it is none, or larger than expressions may make."""
    spend(steps, _TWICE * len(text))
    try:
        return json.loads(text, parse_int=_int, parse_float=_float, parse_constant=_constant)
    except json.JSONDecodeError as error:
        what = error.msg.partition(":")[0]  # what follows may repeat the text
        at = f"line {error.lineno}, column {error.colno}"
        raise Fault(f"parse_json: the text is no JSON: {what} at its {at}") from None
    except RecursionError:
        raise Fault("parse_json: the text is nested too deeply") from None


def _int(digits: str) -> int:
    if len(digits) > MAX_BITS // 4:
        raise Fault("parse_json: a number has too many digits")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise Fault("parse_json: a number is too large for a float")
    return value


def _constant(name: str) -> Any:
    raise Fault(f"parse_json: {name} is no JSON")
