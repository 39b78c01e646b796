"""Settings from TOML: what :meth:`flow.Config.load` reads.

::

    [flow]                      # in pyproject.toml: [tool.flow]
    limit = 32
    executor = "thread"

    [flow.data]
    preset = "low_memory"       # or single settings of DataConfig, or both

Reading is handed the classes of settings: they call it, so it imports none of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from flow import files
from flow.config.fields import Settings
from flow.errors import ConfigError, Hints, a_kind, nearest, shown

NOT_IN_FILES: Final = ("observers", "on_outcome", "before_call", "clock", "executors")
"""Fields of Config that no file can hold: they are objects."""

NONE: Final = "none"
"""How a file writes None, for which TOML has no word."""

OPTIONAL: Final = ("limit", "timeout", "blocking_after", "slow_after", "locked")
"""Fields that may be None."""

MAX_BYTES: Final = 16 * 2**20
"""Largest file of settings that is read."""

# Of lines without blanks around them: a pattern that looks for these itself takes cubic time for a line of blanks.
_HEADER: Final = re.compile(r"\[([^\[\]]+)\]")
_KEY: Final = re.compile(r"""([\w\-."' ]+)[^\S ]*=""")
_LONG_TEXT: Final = re.compile(r"""(\"{3}|'{3}).*?\1""", re.DOTALL)

Keys = tuple[str, ...]
S = TypeVar("S", bound=Settings)


def load(path: str | os.PathLike[str], kind: type[S], data: type[Settings], presets: Mapping[str, Any]) -> S:
    """Read a file: see :meth:`flow.Config.load`.

    :param kind: the class that is made of its table, and returned.
    :param data: the class that its table ``data`` makes.
    :param presets: settings of that class by name.
    :raises ConfigError: listing every fault, with its line.
    """
    name = name_of(path)
    what = f"config file {shown(name)}"
    text = text_of(name, what)
    place: Keys = ("tool", "flow") if os.path.basename(name) == "pyproject.toml" else ("flow",)
    reader = Reader(lines_of(text), data, presets)
    table = reader.table(parsed(text, what), place)
    config = None if table is None else reader.config(kind, table, place)
    if config is None or reader.faults:
        raise ConfigError(what, reader.faults)
    return config


def name_of(path: object) -> str:
    """Return ``path`` as text. :raises ConfigError: if it is no path."""
    try:
        return files.name_of(path)
    except TypeError as error:
        raise ConfigError("config file", [str(error)]) from None


def text_of(name: str, what: str) -> str:
    """Return what a file says, its lines ended alike. :raises ConfigError: saying of ``what`` why it cannot be read."""
    try:
        text = files.read(name, MAX_BYTES).decode("utf-8")
    except FileNotFoundError:
        raise ConfigError(what, [f"there is no such file{nearest(os.path.basename(name), _beside(name))}"]) from None
    except UnicodeDecodeError:
        raise ConfigError(what, ["it cannot be read: it is not UTF-8 text"]) from None
    except OSError as error:
        raise ConfigError(what, [f"it cannot be read: {error.strerror}"]) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _beside(name: str) -> list[str]:
    try:
        return os.listdir(os.path.dirname(name) or ".")
    except OSError:
        return []


def parsed(text: str, what: str) -> dict[str, Any]:
    """Return TOML as tables. :raises ConfigError: saying of ``what`` why it is none."""
    import tomllib  # here: few programs read a file

    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not TOML; an integer of 5,000 digits; tables too deep
        raise ConfigError(what, [f"it is not TOML: {error}"]) from None


class Reader:
    """Makes settings from tables, and collects their faults."""

    def __init__(self, lines: Mapping[Keys, int], data: type[Settings], presets: Mapping[str, Any]) -> None:
        self.lines = lines
        self.data_kind = data
        self.presets = presets
        self.faults: list[str] = []
        self._hints = Hints()
        self._nearest = self._hints.nearest

    def table(self, document: dict[str, Any], place: Keys) -> dict[str, Any] | None:
        """Return the table at ``place``, or note that there is none."""
        found: Any = document
        for key in place:
            if not isinstance(found, dict) or key not in found:
                close = self._nearest(key, found) if isinstance(found, dict) else ""
                self.faults.append(f"it has no table [{'.'.join(place)}]{close}: its settings stand below that line")
                return None
            found = found[key]
        if not isinstance(found, dict):
            self.fault(place, f"{'.'.join(place)} must be a table [{'.'.join(place)}], not {shown(found)}")
            return None
        return found

    def config(self, kind: type[S], table: dict[str, Any], place: Keys) -> S | None:
        """Make the Config."""
        plain = [field for field in kind.__struct_fields__ if field not in NOT_IN_FILES]
        if len(place) > 1:  # in pyproject.toml, [tool.flow.spec] lies within it: that is for workflow files
            table = {key: value for key, value in table.items() if key != "spec"}
        values = self.known(table, plain, place)
        given = values.pop("data", None)
        if given is not None:
            values["data"] = self.data(given, (*place, "data"))
        return self.made(kind, values, place)

    def data(self, table: Any, place: Keys) -> Settings | None:
        """Make the DataConfig of ``[flow.data]``: its preset, and single settings over it."""
        if not isinstance(table, dict):
            named = isinstance(table, str) and table in self.presets
            meant = f' (write preset = "{table}" in [{".".join(place)}])' if named else ""
            self.fault(place, f"data must be a table [{'.'.join(place)}], not {a_kind(table)}{meant}")
            return None
        values = self.known(table, ["preset", *self.data_kind.__struct_fields__], place)
        preset = values.pop("preset", "default")
        if not isinstance(preset, str) or preset not in self.presets:
            from flow.keywords import preset_meant  # here: only needed once a name is wrong

            close = preset_meant(preset, self.presets, self._tables(place[:-1]), self._hints)
            known = ", ".join(self.presets)
            self.fault((*place, "preset"), f"no preset is called {shown(preset)}; there are {known}{close}")
            preset = "default"
        return self.made(self.data_kind, {**self.presets[preset], **values}, place)

    def known(self, table: dict[str, Any], fields: list[str], place: Keys) -> dict[str, Any]:
        """Return the settings that there are, and note the others."""
        from flow.keywords import Wrong  # here: few programs read a file

        wrong = Wrong("DataConfig" if "preset" in fields else "Config", fields, self._hints)
        wrong.given = table
        wrong.tables = self._tables(place[:-1] if "preset" in fields else place)
        values = {}
        for key, value in table.items():
            if key in fields:
                values[key] = None if key in OPTIONAL and value == NONE else value
            elif key in NOT_IN_FILES:
                self.fault((*place, key), f"{key} cannot stand in a file: give it to flow.Config")
            else:
                self.fault((*place, key), f"no setting is called {shown(key)}{wrong.meant(key, value)}")
        return values

    @staticmethod
    def _tables(place: Keys) -> dict[str, str]:
        """Return the names of the tables whose settings a suggestion may name; ``place`` is that of Config."""
        return {"Config": ".".join(place), "DataConfig": ".".join((*place, "data"))}

    def made(self, kind: type[S], values: dict[str, Any], place: Keys) -> S | None:
        """Make a Config or DataConfig; its own faults begin with the name of the setting."""
        try:
            return kind(**values)
        except ConfigError as error:
            for fault in error.faults:
                self.fault((*place, fault.partition(" ")[0].partition("=")[0]), fault)
            return None

    def fault(self, keys: Keys, text: str) -> None:
        """Note a fault, with its line."""
        self.faults.append(at_line(self.lines, keys, text))


def at_line(lines: Mapping[Keys, int], keys: Keys, text: str) -> str:
    """Return a fault with the line of its key, or of the table that the key is in, if one was found."""
    places = (keys[:length] for length in range(len(keys), 0, -1))
    line = next((lines[place] for place in places if place in lines), None)
    return text if line is None else f"line {line}: {text}"


def lines_of(text: str) -> dict[Keys, int]:
    """Line numbers of tables and keys, as far as a look at each line alone can tell."""
    found: dict[Keys, int] = {}
    table: Keys = ()
    text = _LONG_TEXT.sub(lambda found: "\n" * found[0].count("\n"), text)
    for number, line in enumerate(map(str.strip, text.split("\n")), 1):
        if header := _HEADER.match(line):
            table = _parts(header[1])
            found.setdefault(table, number)
        elif key := _KEY.match(line):
            found.setdefault((*table, *_parts(key[1])), number)
    return found


def _parts(dotted: str) -> Keys:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
