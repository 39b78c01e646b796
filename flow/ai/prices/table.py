"""A user's own prices: :class:`PriceTable`, from a TOML file or a mapping, and the one that the process goes by.

::

    # USD per million tokens
    ["openai:gpt-4.1-mini"]
    input = 0.40
    output = 1.60
    cached = 0.10

    ["google:gemini-pro"]
    input = 1.25
    output = 10

    [["google:gemini-pro".tiers]]
    above = 200_000     # input tokens: with more of them, these prices apply to all tokens of the request
    input = 2.50
    output = 15

    ["ollama:*"]        # all models of a provider that the table does not name
    input = 0
    output = 0
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, TypeAlias

import msgspec

from flow.ai.prices.rates import Rates, Tier, price_of
from flow.config.fields import is_int
from flow.config.files import name_of, text_of
from flow.errors import ConfigError, Hints, a_kind, shown

Keys: TypeAlias = tuple[str | int, ...]
"""Where a value stands: names of tables and keys, and numbers of tables in an array."""

Source: TypeAlias = "str | os.PathLike[str] | Mapping[str, Mapping[str, Any]]"

PRICES: Final = ("input", "output", "cached", "cache_write", "reasoning")
COUNTS: Final = ("context", "max_output_tokens")
NEEDED: Final = ("input", "output")

_HEADER: Final = re.compile(r"\[\[?([^\[\]].*?)\]\]?\s*(?:#.*)?$")
_PART: Final = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([\w-]+))\s*(\.|=|$)""")
_AT: Final = re.compile(r" \(at line (\d+), column \d+\)$")


class Entry(msgspec.Struct, frozen=True):
    """What a table says of a model.

    :ivar context: tokens of its context window. :ivar max_output_tokens: the most that it writes.
    """

    rates: Rates
    context: int | None = None
    max_output_tokens: int | None = None


class PriceTable:
    """Prices by label, ``provider:model``. A label may end in ``*``: the longest that fits stands for a model.

    :param source: a TOML file (see :mod:`flow.ai.prices.table`), or a mapping of the same form, which has prices as
        text, ints or Decimals. In the file a number with a point is exact as it is written.

    ``input`` and ``output`` are needed. ``cached``, ``cache_write``, ``reasoning`` and ``request`` (USD per request)
    mean what they mean in :class:`Rates`, ``context`` and ``max_output_tokens`` what they mean in
    :class:`flow.ai.Model`. What a table says of a model is all: nothing else is looked up for it.

    :raises ConfigError: listing all that is wrong, each with ``file:line``.
    """

    __slots__ = ("_beginnings", "_entries")

    def __init__(self, source: Source) -> None:
        if isinstance(source, Mapping):
            what, reader = "prices", _Reader("", {})
            document: Any = source
        else:
            name = name_of(source)
            what = f"price table {shown(name)}"
            text = text_of(name, what)
            reader = _Reader(name, _lines_of(text))
            document = _parsed(text, name, what)
        self._entries = reader.entries(document)
        if reader.faults:
            raise ConfigError(what, reader.faults)
        self._beginnings = sorted((label[:-1] for label in self._entries if label.endswith("*")), key=len, reverse=True)

    def find(self, label: str) -> Entry | None:
        """Return what the table says of ``provider:model``, if it does. O(labels with ``*``)."""
        found = self._entries.get(label)
        if found is None:
            beginning = next((one for one in self._beginnings if label.startswith(one)), None)
            found = None if beginning is None else self._entries[f"{beginning}*"]
        return found

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<PriceTable of {len(self)}>"


def _parsed(text: str, name: str, what: str) -> dict[str, Any]:
    import tomllib  # here: few programs read a table

    try:
        return tomllib.loads(text, parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError) as error:
        said = str(error)
        at = _AT.search(said)
        place = f"{name}:{at[1]}: " if at else ""
        raise ConfigError(what, [f"{place}it is not TOML: {_AT.sub('', said)}"]) from None


class _Reader:
    """Makes entries of tables, and collects their faults."""

    def __init__(self, name: str, lines: Mapping[Keys, int]) -> None:
        self.faults: list[str] = []
        self._name = name
        self._lines = lines
        self._hints = Hints()

    def entries(self, document: Mapping[str, Any]) -> dict[str, Entry]:
        found = {}
        for label, table in document.items():
            entry = self._entry(label, table)
            if entry is not None:
                found[label] = entry
        return found

    def _entry(self, label: Any, table: Any) -> Entry | None:
        keys: Keys = (label,)
        if not _is_label(label):
            self._fault(keys, f"{shown(label)} is no model: write 'provider:model', or 'provider:*' for all of one")
        if not isinstance(table, Mapping):
            self._fault(keys, f"{shown(label)} must be a table with input and output, not {a_kind(table)}")
            return None
        base = self._level(table, keys, (*PRICES, "request", *COUNTS, "tiers"))
        counts = {key: self._count(table[key], (*keys, key)) for key in COUNTS if key in table}
        tiers = self._tiers(table.get("tiers", ()), base, (*keys, "tiers"))
        request = base.pop("request", None)
        return Entry(Rates(**base, request=request or Decimal(0), tiers=tiers), **counts)

    def _level(self, table: Mapping[str, Any], keys: Keys, known: tuple[str, ...]) -> dict[str, Decimal | None]:
        """Read the prices of a table, and note what does not belong there."""
        for key in table:
            if key not in known:
                close = self._hints.nearest(key, known)
                self._fault((*keys, key), f"there is no {shown(key)} here{close}; there are {', '.join(known)}")
        missing = [key for key in NEEDED if key not in table]
        if missing:
            self._fault(keys, f"{shown(keys[0])} has no {' and no '.join(missing)}: 0 is free")
        found: dict[str, Decimal | None] = {}
        for key in (*PRICES, "request"):
            if key in table and key in known:
                try:
                    found[key] = price_of(table[key])
                except ValueError as error:
                    self._fault(
                        (*keys, key), f"{key} {error}" if str(error)[:4] in ("must", "has ") else f"{key}: {error}"
                    )
        return found

    def _tiers(self, tables: Any, base: Mapping[str, Decimal | None], keys: Keys) -> tuple[Tier, ...]:
        """Read tiers. A price that one does not say is that of the base."""
        if not isinstance(tables, (list, tuple)):
            self._fault(keys, f"tiers must be tables [[...tiers]], not {a_kind(tables)}")
            return ()
        inherited = {key: price for key, price in base.items() if key != "request"}
        found: list[Tier] = []
        for k, table in enumerate(tables):
            at: Keys = (*keys, k)
            if not isinstance(table, Mapping):
                self._fault(at, f"a tier must be a table, not {a_kind(table)}")
                continue
            said = self._level(table, at, ("above", *PRICES))
            above = self._count(table.get("above"), (*at, "above"))
            if found and above is not None and above <= found[-1].above:
                self._fault(
                    (*at, "above"), f"above={above} must be more than that of the tier before, {found[-1].above}"
                )
            found.append(Tier(above or 0, **{**inherited, **said}))
        return tuple(found)

    def _count(self, value: Any, keys: Keys) -> int | None:
        if not is_int(value) or value < 1:
            self._fault(keys, f"{keys[-1]} must be a number of tokens of at least 1, not {shown(value)}")
            return None
        count: int = value
        return count

    def _fault(self, keys: Keys, text: str) -> None:
        """Note a fault: with its line, or in a mapping with the model that it is of."""
        if not self._name:
            self.faults.append(text if len(keys) == 1 else f"{shown(keys[0])}: {text}")
            return
        places = (keys[:length] for length in range(len(keys), 0, -1))
        line = next((self._lines[place] for place in places if place in self._lines), None)
        self.faults.append(f"{self._name}: {text}" if line is None else f"{self._name}:{line}: {text}")


def _is_label(label: object) -> bool:
    if not isinstance(label, str):
        return False
    provider, colon, model = label.partition(":")
    return bool(provider.strip() and colon and model.strip()) and "*" not in label[:-1]


def _lines_of(text: str) -> dict[Keys, int]:
    """Return the line numbers of tables and keys, as far as a look at each line alone can tell."""
    found: dict[Keys, int] = {}
    table: Keys = ()
    counts: dict[Keys, int] = {}
    for number, line in enumerate(map(str.strip, text.split("\n")), 1):
        if header := _HEADER.match(line):
            table = _parts(header[1])
            if line.startswith("[["):
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            found.setdefault(table, number)
        elif key := _parts(line):
            found.setdefault((*table, *key), number)
    return found


def _parts(text: str) -> Keys:
    """Return the parts of a dotted key at the beginning of a text, up to its end or an equals sign; else nothing."""
    found: list[str | int] = []
    at = 0
    while part := _PART.match(text, at):
        found.append(part[1] if part[1] is not None else part[2] if part[2] is not None else part[3])
        at = part.end()
        if part[4] != ".":
            return tuple(found)
    return ()


__all__ = ["Entry", "PriceTable", "Source"]
