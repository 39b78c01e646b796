"""From the text of a file to its lists, mappings and scalars, each with its place.

PyYAML's C parser gives events; this puts them together without recursion. Scalars are those of YAML 1.2's core schema
(https://yaml.org/spec/1.2.2/#103-core-schema), so ``on``, ``no`` and ``12:30:45`` are text and ``010`` is ten. JSON is
read in the same way: it is YAML.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final, TypeAlias

from flow.errors import UsageError, shown
from flow.expr.places import Place, end_of
from flow.spec.text.faults import Broken, Faults
from flow.spec.text.foreign import is_foreign
from flow.spec.text.limits import MAX_DEPTH, MAX_DIGITS, MAX_KEY, MAX_VALUES, REPEATED
from flow.spec.text.places import Row, Table

_WORDS: Final[dict[str, Any]] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    ".inf": math.inf, ".Inf": math.inf, ".INF": math.inf, "+.inf": math.inf, "+.Inf": math.inf, "+.INF": math.inf,
    "-.inf": -math.inf, "-.Inf": -math.inf, "-.INF": -math.inf, ".nan": math.nan, ".NaN": math.nan, ".NAN": math.nan,
}  # fmt: skip
_TOO_MANY: Final = f"the file holds more than {MAX_VALUES:,} values, each counted where aliases repeat it"
_TOO_DEEP: Final = f"lists and mappings nest more than {MAX_DEPTH} deep"
_NUMERIC: Final = frozenset("0123456789+-.")
_INT: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_TAG: Final = re.compile(r"(?:\A\ufeff?|[\n\r\x85\u2028\u2029])%TAG\b")
_NO_CHARACTER: Final = re.compile(
    r"\\(?:u|U0000)[dD][89a-fA-F][0-9a-fA-F]{2}|\\U(?!000[0-9a-fA-F]{5}|0010[0-9a-fA-F]{4})[0-9a-fA-F]{8}"
)
"""Escapes that mean no character. libyaml refuses them, the parser in Python does not."""

_PAIR: Final = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")


def compose(faults: Faults) -> Any:
    """Return what a file holds: usually a :class:`Table`. O(size).

    :raises Broken: if nothing can be made of it; ``faults`` says why.
    """
    text = faults.source.text
    if faults.source.name.endswith(".json"):
        text = _PAIR.sub(_joined, text)
    return _Composer(faults).run(text)


def has_tag_directive(text: str) -> bool:
    """Tell whether a line declares tags. libyaml takes quadratic time for many such lines."""
    return "%TAG" in text and _TAG.search(text) is not None


def yaml() -> Any:
    """Return the module of PyYAML, which an extra installs. :raises UsageError: if it is not there."""
    try:
        import yaml
    except ImportError:
        raise UsageError("workflow files need PyYAML: pip install 'flow-dag[spec]'") from None
    return yaml


def _joined(pair: re.Match[str]) -> str:
    """The character of two surrogates, by which JSON writes it and YAML does not."""
    high, low = int(pair[0][2:6], 16), int(pair[0][8:], 16)
    return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))


_Open: TypeAlias = tuple[Any, str | None, Any, int, int, str | None, int]
"""A container around: itself, its key, the key's event, values and characters before, anchor, deepest level before."""


class _Composer:
    """Puts one file together. What stands open lies on a stack.

    Of the events only their marks are kept: where each value begins.
    """

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.anchors: dict[str, tuple[Any, Any, int, int]] = {}  # value, mark, how many values it costs, its levels
        self.count = faults.budget.values
        self.words = dict(_WORDS)  # plain scalars by their text
        self.keys: set[str] = set()  # texts that may be keys without quotes

    def run(self, text: str) -> Any:
        module = yaml()
        loader = getattr(module, "CSafeLoader", module.SafeLoader)
        if "%TAG" in text and (found := _TAG.search(text)) is not None:  # libyaml takes quadratic time for many
            place = Place(*end_of(text, found.end() - len("%TAG")), self.faults.source.name)
            self.faults.stop(place, "tags are not read: remove this line")
        if loader is module.SafeLoader and (found := _NO_CHARACTER.search(text)) is not None:
            place = Place(*end_of(text, found.start()), self.faults.source.name)
            self.faults.stop(place, f"this is no YAML: {found[0]} means no character")
        try:
            text.encode()
            parser = loader(text)
            return self._document(parser.get_event, module.events)
        except UnicodeEncodeError as error:
            self._refuse_character(text[error.start], error.start)
        except module.YAMLError as error:
            self._refuse(error)
        finally:
            self.faults.budget.values = self.count
        raise Broken

    def _refuse(self, error: Any) -> None:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        if mark is None:  # of the reader: a character that YAML does not allow
            self._refuse_character(getattr(error, "character", None), getattr(error, "position", 0))
            return
        said = [part for part in (getattr(error, "context", None), getattr(error, "problem", None)) if part]
        begin = getattr(error, "context_mark", None)
        if begin is not None and begin.line != mark.line and said:
            said[0] += f" that begins in line {begin.line + 1}, column {begin.column + 1}"
        text = ", ".join(said) or "it cannot be read"
        self.faults.add(mark, f"this is no YAML: {text}{self._remedy(mark, text)}")

    def _refuse_character(self, character: Any, position: int) -> None:
        code = ord(character) if isinstance(character, str) and character else character
        what = f"the character #x{code:04x}" if isinstance(code, int) else "a character"
        text = self.faults.source.text
        found = text.find(chr(code)) if isinstance(code, int) and 0 <= code < 0x110000 else position
        place = Place(*end_of(text, max(found, 0)), self.faults.source.name)
        self.faults.add(place, f"{what} is not allowed in a file")

    def _remedy(self, mark: Any, said: str) -> str:
        """Say what to write instead, where the text tells."""
        if self.faults.source.at(mark) == "\t":
            return "; this is a tab: indent with blanks"
        if "mapping values are not allowed in this context" in said:
            return "; text with ': ' in it needs quotes, and keys of one mapping the same indent"
        if "block mapping" in said or "block collection" in said:
            return "; keys of one mapping need the same indent"
        return ""

    def _document(self, get: Any, events: Any) -> Any:
        get()  # the start of the stream
        first = get()
        if type(first) is events.StreamEndEvent:
            self.faults.stop(first.start_mark, "the file is empty: it begins with 'flow: 1'")
        value = self._value(get, events)
        get()  # the end of the document
        after = get()
        if type(after) is not events.StreamEndEvent:
            text = "a file holds one workflow, and this begins a second document: remove '---'"
            self.faults.stop(after.start_mark, text)
        return value

    def _value(self, get: Any, events: Any) -> Any:
        """Put a value together from its events. The one loop in which reading spends its time."""
        scalar, mapping_start, mapping_end = events.ScalarEvent, events.MappingStartEvent, events.MappingEndEvent
        words, keys = self.words, self.keys
        open_: list[_Open] = []
        box: Any = Row(None)  # the container that is being filled; this one is around all
        key, key_mark, in_table, count, texts, deepest = None, None, False, self.count, 0, 0
        while True:
            event = get()
            kind = type(event)
            if in_table and kind is not mapping_end:
                key_mark, key = event.start_mark, event.value if kind is scalar else None
                if key not in keys or key in box or event.tag is not None or event.anchor is not None:
                    key = self._key(box, event, kind is events.AliasEvent)
                count, event = count + 1, get()
                kind = type(event)
            mark: Any = event.start_mark
            if kind is scalar:
                count, value = count + 1, event.value
                if event.tag is not None:
                    self._tagged(event)
                if not event.style and value in words:
                    value = words[value]
                elif "{{" in value or (("%" in value or "{#" in value) and is_foreign(value)):
                    box.templated = True
                    count += value.count("{{")
                elif not event.style and value[0] in _NUMERIC:
                    value = self._number(mark, value)
                texts += len(event.value)
                if event.anchor is not None:
                    self.anchors[event.anchor] = (value, mark, _price(event.value), 0)
            elif kind is mapping_start or kind is events.SequenceStartEvent:
                self._begins(event, len(open_))
                count += 1
                open_.append((box, key, key_mark, count, texts, event.anchor, deepest))
                in_table, deepest = kind is mapping_start, len(open_)
                box = Table(mark) if in_table else Row(mark)
                continue
            elif kind is events.AliasEvent:
                value, mark, more, levels = self._alias(event, len(open_))
                count, deepest = count + more, max(deepest, len(open_) + levels)
                box.templated = box.templated or _is_templated(value)
            else:  # the end of a container
                value, mark, templated = box, box.at, box.templated
                box, key, key_mark, before, size, anchor, around = open_.pop()
                in_table = type(box) is Table
                if anchor is not None:
                    price = count - before + 1 + (texts - size) // REPEATED
                    self.anchors[anchor] = (value, mark, price, deepest - len(open_))
                deepest, box.templated = max(deepest, around), box.templated or templated
            self.count = count
            if count > MAX_VALUES:
                self.faults.stop(event.start_mark, _TOO_MANY)
            if in_table:
                if key is not None:
                    box[key], box.marks[key] = value, (key_mark, mark)
            elif not open_:
                return value
            else:
                box.append(value)
                box.marks.append(mark)

    def _begins(self, event: Any, depth: int) -> None:
        """Check that a container may stand here."""
        if event.tag is not None:
            self._tagged(event)
        if depth >= MAX_DEPTH:
            self.faults.stop(event.start_mark, _TOO_DEEP)
        if event.anchor is not None:
            self.anchors[event.anchor] = (None, None, 0, 0)  # not complete: it cannot hold itself

    def _key(self, table: Table, event: Any, is_alias: bool) -> str | None:
        """Return the text of a key; None, with a fault, if its value is to be dropped."""
        faults, mark = self.faults, event.start_mark
        if is_alias:
            value, plain = self._alias(event, 0)[0], False
        elif not hasattr(event, "value"):
            inner = faults.source.at(mark, -1, 2) == "{{"
            remedy = ": put quotes around an expression in {{ }}" if inner else ""
            faults.stop(mark, f"a key is a text, not a list or a mapping{remedy}")
        else:
            value, plain = event.value, not event.style
            if event.tag is not None:
                self._tagged(event)
            if event.anchor is not None:
                self.anchors[event.anchor] = (value, mark, _price(value), 0)
        if type(value) is not str:
            faults.add(mark, "a key is a text, not a list, a mapping or a number")
            return None
        if len(value) > MAX_KEY:
            faults.add(mark, f"a key has at most {MAX_KEY:,} characters, not {len(value):,}")
            return None
        if plain and value == "<<":
            table.marks[value] = (mark, mark)
            faults.add(mark, "merge keys ('<<') are not read: write the keys out, or use 'defaults'")
            return None
        if plain and (value in _WORDS or (value[0] in _NUMERIC and (_INT.fullmatch(value) or _FLOAT.fullmatch(value)))):
            faults.add(mark, f"a key is a text: put {value or 'it'} in quotes")
            return None
        if "{{" in value:
            table.templated = True  # so that it is told that keys are no templates
        if value in table:
            first = faults.source.place(table.marks[value][0])
            faults.add(mark, f"key {shown(value)} is there twice: first in line {first.line}, column {first.column}")
            return None
        if plain and "{{" not in value:
            self.keys.add(value)
        return value

    def _number(self, mark: Any, text: str) -> Any:
        """Return the number that a plain scalar is, or its text."""
        value: Any = text
        if _INT.fullmatch(text) is not None:
            if len(text) > MAX_DIGITS:
                self.faults.add(mark, f"the number has {len(text):,} digits, and at most {MAX_DIGITS} are read")
                return 0
            value = int(text, 8 if text[:2] == "0o" else 16 if text[:2] == "0x" else 10)
        elif _FLOAT.fullmatch(text) is not None:
            value = float(text)
            if math.isinf(value):
                self.faults.add(mark, f"the number {shown(text)} is too large")
                return 0.0
        self.words[text] = value
        return value

    def _alias(self, event: Any, depth: int) -> tuple[Any, Any, int, int]:
        """Return what an alias stands for, its mark, how many values it costs, and how many levels it has."""
        known = self.anchors.get(event.anchor)
        if known is None:
            self.faults.stop(event.start_mark, f"there is no anchor {shown(event.anchor)} before this alias")
        if known[2] == 0:
            text = f"the alias {shown(event.anchor)} stands in what it means: this has no end"
            self.faults.stop(event.start_mark, text)
        if depth + known[3] > MAX_DEPTH:
            self.faults.stop(event.start_mark, _TOO_DEEP)
        return known

    def _tagged(self, event: Any) -> None:
        text = f"tags are not read, and this has {shown(event.tag)}: write the value itself, text in quotes"
        self.faults.add(event.start_mark, text)


def _price(text: str) -> int:
    """How many values it costs to have a text once more."""
    return 1 + len(text) // REPEATED + text.count("{{")


def _is_templated(value: Any) -> bool:
    if isinstance(value, (Table, Row)):
        return bool(value.templated)
    return isinstance(value, str) and ("{{" in value or is_foreign(value))


__all__ = ["compose", "has_tag_directive", "yaml"]
