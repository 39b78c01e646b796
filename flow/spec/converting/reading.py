"""Reads YAML of other engines: plain data whose texts, lists and mappings know where they stand."""

from __future__ import annotations

from typing import Any, Final

from flow.errors import UsageError, shown
from flow.spec.converting.model import Note
from flow.spec.text.compose import has_tag_directive

MAX_DEPTH: Final = 60
MAX_EVENTS: Final = 100_000


class At:
    """A place in the file, from 1."""

    __slots__ = ("column", "line")

    def __init__(self, line: int, column: int) -> None:
        self.line = line
        self.column = column


class Text(str):
    """A text of the file. :ivar at: where it begins."""

    at: At


class Table(dict[str, Any]):
    """A mapping of the file. :ivar at: where it begins. :ivar marks: where the value of each key begins."""

    def __init__(self, at: At) -> None:
        super().__init__()
        self.at = at
        self.marks: dict[str, At] = {}


class Row(list[Any]):
    """A list of the file. :ivar at: where it begins."""

    def __init__(self, at: At) -> None:
        super().__init__()
        self.at = at


class Notes:
    """What is noted on the way."""

    def __init__(self) -> None:
        self.found: dict[Note, None] = {}

    def add(self, at: Any, text: str) -> None:
        """Note something. :param at: a value that knows where it stands, or its place."""
        place = place_of(at)
        self.found[Note(place.line, place.column, text)] = None

    def ordered(self) -> list[Note]:
        return sorted(self.found, key=lambda note: (note.line, note.column))


def place_of(value: Any) -> At:
    """Return where a value stands: line 1 if it does not know."""
    at = getattr(value, "at", value)
    return at if isinstance(at, At) else At(1, 1)


def text_at(value: str, at: Any) -> Text:
    """Return a text that stands at a place."""
    made = Text(value)
    made.at = place_of(at)
    return made


def _listed(value: Any) -> list[Any]:
    """Return a list as it is; nothing for what is none."""
    return value if isinstance(value, list) else []


def tables(source: Any, what: str, at: Any, notes: Notes) -> list[Table]:
    """Read a list of mappings, or one mapping. What else is in it is noted.

    :param what: what is read. :param at: where it stands, for what does not know.
    """
    found = list[Table]()
    for one in source if isinstance(source, list) else [source]:
        if isinstance(one, Table):
            found.append(one)
        elif one is not None:
            notes.add(one if hasattr(one, "at") else at, f"{what}: {shown(one)} is no mapping, and is left out")
    return found


def pairs_of(source: Any) -> list[tuple[str, Any]]:
    """Read a list of mappings, or one mapping."""
    if isinstance(source, dict):
        return [(str(key), value) for key, value in source.items()]
    return [(str(key), value) for one in _listed(source) if isinstance(one, dict) for key, value in one.items()]


def names_of(source: Any) -> list[str]:
    """Read names in a text with commas, or in a list."""
    names = source.split(",") if isinstance(source, str) else [str(one) for one in _listed(source)]
    return [one.strip() for one in names if one.strip()] or ["continue"]


def read(text: str, name: str) -> Table:
    """Read a file of YAML 1.1, as PyYAML's safe loader does. O(size).

    :raises UsageError: if it is no YAML, or no mapping.
    """
    try:
        import yaml
    except ImportError:
        raise UsageError("workflow files need PyYAML: pip install 'flow-dag[spec]'") from None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    if has_tag_directive(text):
        raise UsageError(f"{name}: directives of tags (%TAG) are not read")
    try:
        _check(yaml, text, loader, name)
        root = yaml.compose(text, loader)
        made = _value(root, loader(""))
    except yaml.YAMLError as error:
        raise UsageError(f"{name}: this is no YAML: {error}") from None
    if not isinstance(made, Table):
        raise UsageError(f"{name}: a workflow is a mapping of keys to values")
    return made


def _check(yaml: Any, text: str, loader: Any, name: str) -> None:
    """Refuse what is too deep to be read, and aliases, of which a few lines make millions of values."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, loader)):
        if isinstance(event, yaml.events.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.events.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH or count > MAX_EVENTS:
            raise UsageError(f"{name}:{event.start_mark.line + 1}: the file is too large, or nests too deep")
        if isinstance(event, yaml.events.AliasEvent):
            raise UsageError(f"{name}:{event.start_mark.line + 1}: write out the alias '*{event.anchor}' first")


def _value(node: Any, loader: Any) -> Any:
    at = At(1, 1) if node is None else At(node.start_mark.line + 1, node.start_mark.column + 1)
    if node is None:
        return None
    if node.id == "sequence":
        row = Row(at)
        row.extend(_value(one, loader) for one in node.value)
        return row
    if node.id == "mapping":
        table = Table(at)
        for key, one in node.value:
            place = At(key.start_mark.line + 1, key.start_mark.column + 1)
            if key.id != "scalar":
                raise UsageError(f"line {place.line}: a key is a text, and no list or mapping")
            name = text_at(key.value, place)
            table[name] = _value(one, loader)
            table.marks[name] = At(one.start_mark.line + 1, one.start_mark.column + 1)
        return table
    value = loader.construct_object(node)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return text_at(value if isinstance(value, str) else str(node.value), at)


__all__ = ["At", "Notes", "Row", "Table", "Text", "names_of", "pairs_of", "place_of", "read", "tables", "text_at"]
