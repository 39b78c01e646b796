"""JSON that a model has written, read strictly: :func:`parsed`."""

from __future__ import annotations

import json
from collections import Counter
from math import isfinite
from typing import Any, Final

import msgspec

from flow.errors import shown

MAX_TEXT: Final = 4_000_000
"""Characters of a text that is read; an answer of 100,000 tokens has about 400,000."""

MAX_DIGITS: Final = 1_000
"""Digits of an integer: the time that Python takes to read more is quadratic."""


def parsed(text: str) -> tuple[Any, list[str]]:
    """Return the value of a JSON text (RFC 8259), and all that is wrong with it. O(length).

    What parsers disagree about is a fault: a key twice in one object, NaN, a number beyond every float, half of a
    surrogate pair. The value is None where there are faults.
    """
    if len(text) > MAX_TEXT:
        return None, [f"it has {len(text):,} characters, and at most {MAX_TEXT:,} are read"]
    if not text.strip():
        return None, ["it is empty"]
    reader = _Reader()
    try:
        value = json.loads(
            text,
            object_pairs_hook=reader.pairs,
            parse_constant=reader.constant,
            parse_float=reader.float,
            parse_int=reader.int,
        )
        if "\\u" in text or not text.isascii():  # json takes half of a surrogate pair, which no UTF-8 can hold
            msgspec.json.decode(text.encode())
    except json.JSONDecodeError as error:
        return None, [f"{error.msg} (line {error.lineno}, column {error.colno})"]
    except RecursionError:
        return None, ["lists and objects are nested too deep"]
    except (UnicodeEncodeError, msgspec.DecodeError):
        return None, reader.faults or ["it has half of a surrogate pair"]
    return (None, reader.faults) if reader.faults else (value, [])


class _Reader:
    """What json.loads calls; it collects the faults."""

    __slots__ = ("faults",)

    def __init__(self) -> None:
        self.faults: list[str] = []

    def pairs(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            counts = Counter([name for name, _ in pairs])
            twice = [name for name, count in counts.items() if count > 1]
            self.faults += [f"an object has the key {shown(name)} {counts[name]} times" for name in twice]
        return found

    def constant(self, name: str) -> None:
        self.faults.append(f"{name} is no JSON")

    def float(self, digits: str) -> float:
        value = float(digits)
        if not isfinite(value):
            self.faults.append(f"the number {digits[:40]} is beyond every float")
        return value

    def int(self, digits: str) -> int:
        if len(digits) > MAX_DIGITS:
            self.faults.append(f"an integer has {len(digits):,} digits, and at most {MAX_DIGITS:,} are read")
            return 0
        return int(digits)


__all__ = ["MAX_TEXT", "parsed"]
