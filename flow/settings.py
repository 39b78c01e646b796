"""Settings as TOML: what :meth:`flow.Config.load` reads, and what ``flow tune --write`` writes.

::

    [flow]                      # in pyproject.toml: [tool.flow]
    limit = 32
    sync = "thread"

    [flow.data]
    preset = "low_memory"       # or single settings of DataConfig, or both
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from flow import files
from flow.errors import ConfigError, Hints, UnknownSetting, UsageError, a_kind, nearest, shown

if TYPE_CHECKING:
    from flow.config import Config, DataConfig

NOT_IN_FILES: Final = ("observers", "clock")
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
_NOT_IN_COMMENTS: Final = re.compile(r"[\x00-\x1f\x7f]+")

TUNED: Final = ("mode", "limit", "sync", "threads", "order", "keep", "data")
"""Fields of Config that tuning varies. The others say what a run means."""

Keys = tuple[str, ...]


def load(path: str | os.PathLike[str]) -> Config:
    """See :meth:`flow.Config.load`."""
    name = _name_of(path)
    what = f"config file {shown(name)}"
    text = _text(name, what)
    place: Keys = ("tool", "flow") if os.path.basename(name) == "pyproject.toml" else ("flow",)
    reader = _Reader(_lines(text))
    table = reader.table(_parsed(text, what), place)
    config = None if table is None else reader.config(table, place)
    if config is None or reader.faults:
        raise ConfigError(what, reader.faults)
    return config


def refuse_loss(path: str | os.PathLike[str], config: Config) -> None:
    """Refuse to write ``config`` where no file can be written, or over more than settings which tuning varies.

    :raises UsageError: saying why not, or what would be lost.
    :raises ConfigError: if what is there cannot be read, or is not valid.
    """
    name = _name_of(path)
    if os.path.basename(name) == "pyproject.toml":
        raise UsageError("a pyproject.toml is not overwritten: write another file and copy its table as [tool.flow]")
    try:
        files.check_writable(name)
    except OSError as error:
        raise UsageError(f"{name!r} cannot be written: {error.strerror}") from error
    if not os.path.isfile(name):  # nothing is there, or a device, which keeps nothing
        return
    what = f"config file {shown(name)}, which would be overwritten,"
    document = _parsed(_text(name, what), what)
    if others := [repr(key) for key in document if key != "flow"]:
        raise UsageError(f"{name!r} is not overwritten: it also holds {', '.join(others)}; write another file")
    there = load(path) if document else config
    fields = [field for field in config.__struct_fields__ if field not in (*TUNED, *NOT_IN_FILES)]
    if lost := [f for f in fields if getattr(there, f) not in (getattr(config, f), getattr(type(config)(), f))]:
        raise UsageError(
            f"{name!r} is not overwritten: its {', '.join(lost)} would be lost; tune with these settings as config "
            "(--config), or write another file"
        )


def _name_of(path: object) -> str:
    try:
        return files.name_of(path)
    except TypeError as error:
        raise ConfigError("config file", [str(error)]) from None


def _text(name: str, what: str) -> str:
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


def _parsed(text: str, what: str) -> dict[str, Any]:
    import tomllib  # here: few programs read a file

    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not TOML; an integer of 5,000 digits; tables too deep
        raise ConfigError(what, [f"it is not TOML: {error}"]) from None


class _Reader:
    """Makes settings of tables, and gathers what is wrong with them."""

    def __init__(self, lines: Mapping[Keys, int]) -> None:
        self.lines = lines
        self.faults: list[str] = []
        self._nearest = Hints().nearest

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

    def config(self, table: dict[str, Any], place: Keys) -> Config | None:
        """Make the Config."""
        from flow.config import Config

        plain = [field for field in Config.__struct_fields__ if field not in NOT_IN_FILES]
        values = self.known(table, plain, place)
        given = values.pop("data", None)
        if given is not None:
            values["data"] = self.data(given, (*place, "data"))
        config: Config | None = self.made(Config, values, place)
        return config

    def data(self, table: Any, place: Keys) -> DataConfig | None:
        """Make the DataConfig of ``[flow.data]``: its preset, and single settings over it."""
        from flow.config import DATA_PRESETS, DataConfig

        if not isinstance(table, dict):
            self.fault(place, f"data must be a table [{'.'.join(place)}], not {a_kind(table)}")
            return None
        values = self.known(table, ["preset", *DataConfig.__struct_fields__], place)
        preset = values.pop("preset", "default")
        if not isinstance(preset, str) or preset not in DATA_PRESETS:
            close = self._nearest(preset, DATA_PRESETS)
            known = ", ".join(DATA_PRESETS)
            self.fault((*place, "preset"), f"no preset is called {shown(preset)}; there are {known}{close}")
            preset = "default"
        data: DataConfig | None = self.made(DataConfig, {**DATA_PRESETS[preset], **values}, place)
        return data

    def known(self, table: dict[str, Any], fields: list[str], place: Keys) -> dict[str, Any]:
        """Return the settings that there are, and note the others."""
        values = {}
        for key, value in table.items():
            if key in fields:
                values[key] = None if key in OPTIONAL and value == NONE else value
            elif key in NOT_IN_FILES:
                self.fault((*place, key), f"{key} cannot stand in a file: give it to flow.Config")
            else:
                self.fault((*place, key), f"no setting is called {shown(key)}{self._nearest(key, fields)}")
        return values

    def made(self, kind: Any, values: dict[str, Any], place: Keys) -> Any:
        """Make a Config or DataConfig; its own faults begin with the name of the setting."""
        try:
            return kind(**values)
        except ConfigError as error:
            for fault in error.faults:
                self.fault((*place, fault.partition(" ")[0].partition("=")[0]), fault)
            return None

    def fault(self, keys: Keys, text: str) -> None:
        """Note a fault, with its line, or that of the table it is in, if one was found."""
        places = (keys[:length] for length in range(len(keys), 0, -1))
        line = next((self.lines[place] for place in places if place in self.lines), None)
        self.faults.append(text if line is None else f"line {line}: {text}")


def _lines(text: str) -> dict[Keys, int]:
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


# -- by keyword -----------------------------------------------------------------------------


def misnamed(kind: Any, values: tuple[Any, ...], settings: dict[str, Any]) -> UnknownSetting | None:
    """Say all that is wrong with these settings, if some have no name, or one that ``kind`` does not know."""
    fields, places = kind.__struct_fields__, kind.__match_args__
    meant = Hints().nearest
    faults = [f"no setting is called {shown(n)}{meant(n, fields)}" for n in sorted(settings.keys() - set(fields))]
    faults += [f"{shown(v)} is given without the name of a setting: {', '.join(fields)}" for v in values[len(places) :]]
    given = dict(zip(places, values, strict=False))
    faults += [f"{n} is given twice, as {shown(given[n])} and {shown(settings[n])}" for n in given if n in settings]
    if not faults:
        return None
    try:
        kind(**given | {name: value for name, value in settings.items() if name in fields})
    except ConfigError as error:
        faults += error.faults
    return UnknownSetting(kind.__name__, faults)


# -- writing ---------------------------------------------------------------------------------


def to_toml(config: Config, heading: Iterable[str] = (), notes: Mapping[str, str] | None = None) -> str:
    """Return the settings that differ from their defaults as TOML, which :func:`load` reads back. O(settings).

    :param heading: comments before the first table, a line each.
    :param notes: comments after settings, by ``limit`` or ``data.metrics``.
    """
    notes = notes or {}
    lines = [_comment(text) for text in heading]
    lines += ["[flow]", *_assignments(config, notes, "")]
    left_out = [name for name in NOT_IN_FILES if getattr(config, name) != getattr(type(config)(), name)]
    left_out += [] if _is_named(config.keep) else ["keep"]
    if left_out:
        lines.append(f"# {' and '.join(left_out)}: not written, give to flow.Config")
    if config.data is not None:
        lines += ["", "[flow.data]", *_assignments(config.data, notes, "data.")]
        lines += [] if _is_named(config.data.memory) else ["# memory: not written, give to flow.DataConfig"]
    return "\n".join(lines) + "\n"


def _assignments(config: Config | DataConfig, notes: Mapping[str, str], prefix: str) -> Iterator[str]:
    default = type(config)()
    for field in config.__struct_fields__:
        value = getattr(config, field)
        if field in ("data", *NOT_IN_FILES) or value == getattr(default, field) or not _is_named(value):
            continue
        line = f"{field} = {_value(value)}"
        note = notes.get(f"{prefix}{field}")
        yield f"{line}  {_comment(note)}" if note else line


def _comment(text: str) -> str:
    return f"# {_NOT_IN_COMMENTS.sub(' ', text)}"


def _value(value: Any) -> str:
    if value is None:
        return f'"{NONE}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):  # the nodes of keep
        return f"[{', '.join(_value(_name(node)) for node in value)}]"
    if isinstance(value, str):
        text = msgspec.json.encode(str.__str__(value)).decode()  # TOML escapes as JSON does
        return text.replace("\x7f", "\\u007f")
    return int.__repr__(value) if isinstance(value, int) else repr(value)  # an IntEnum's own is no number


def _is_named(value: object) -> bool:
    """Tell whether a file can hold it: no callable, and not the nodes of ``keep``, if one has no name."""
    if callable(value):
        return False
    return not isinstance(value, (list, tuple)) or all(_name(node) is not None for node in value)


def _name(node: Any) -> str | None:
    return node if isinstance(node, str) else getattr(node, "name", None) or getattr(node, "__name__", None)
