"""Settings to TOML: what ``flow tune --write`` writes, and :meth:`flow.Config.load` reads."""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from flow import files
from flow.config.data import DataConfig
from flow.config.files import NONE, NOT_IN_FILES, name_of, parsed, text_of
from flow.config.run import DEFAULT_CONFIG, Config
from flow.errors import UsageError, shown

TUNED: Final = ("mode", "limit", "executor", "threads", "order", "keep", "data")
"""Fields of Config that tuning varies. The other fields set the meaning of a run."""

_NOT_IN_COMMENTS: Final = re.compile(r"[\x00-\x1f\x7f]+")


def to_toml(config: Config, heading: Iterable[str] = (), notes: Mapping[str, str] | None = None) -> str:
    """Return the settings that differ from their defaults as TOML. O(settings).

    :meth:`flow.Config.load` reads back all that a file can hold; a comment names the rest.

    :param heading: comments before the first table, a line each.
    :param notes: comments after settings, by ``limit`` or ``data.metrics``.
    """
    notes = notes or {}
    lines = [_comment(text) for text in heading]
    left_out = not_written(config)
    lines += ["[flow]", *_assignments(config, notes, "", ("data", *left_out))]
    if left_out:
        lines.append(f"# {' and '.join(left_out)}: not written, give to flow.Config")
    if isinstance(config.data, DataConfig):
        own = not isinstance(config.data.memory, str)
        lines += ["", "[flow.data]", *_assignments(config.data, notes, "data.", ("memory",) if own else ())]
        lines += ["# memory: not written, give to flow.DataConfig"] if own else []
    return "\n".join(lines) + "\n"


def not_written(config: Config) -> list[str]:
    """Return the settings that no file can hold, as far as they are not the default."""
    found = [name for name in NOT_IN_FILES if getattr(config, name) != getattr(DEFAULT_CONFIG, name)]
    if config.executor in config.executors:  # a name that means nothing without them
        found.append("executor")
    if not isinstance(config.keep, str) and any(_name(node) is None for node in config.keep):
        found.append("keep")
    if config.data is not None and not isinstance(config.data, DataConfig):  # a rule
        found.append("data")
    return found


def _assignments(
    config: Config | DataConfig, notes: Mapping[str, str], prefix: str, left_out: Container[str] = ()
) -> Iterator[str]:
    default = type(config)()
    for field in config.__struct_fields__:
        value = getattr(config, field)
        if field in left_out or value == getattr(default, field):
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


def _name(node: Any) -> str | None:
    return node if isinstance(node, str) else getattr(node, "name", None) or getattr(node, "__name__", None)


def refuse_loss(path: str | os.PathLike[str], config: Config) -> None:
    """Refuse to write ``config`` where no file can be written, or over more than settings which tuning varies.

    :raises UsageError: saying why not, or what would be lost.
    :raises ConfigError: if the present file cannot be read, or is not valid.
    """
    name = name_of(path)
    if os.path.basename(name) == "pyproject.toml":
        raise UsageError("a pyproject.toml is not overwritten: write another file and copy its table as [tool.flow]")
    try:
        files.check_writable(name)
    except OSError as error:
        raise UsageError(f"{name!r} cannot be written: {error.strerror}") from error
    if not os.path.isfile(name):  # nothing is there, or a device, which keeps nothing
        return
    what = f"config file {shown(name)}, which would be overwritten,"
    document = parsed(text_of(name, what), what)
    if others := [repr(key) for key in document if key != "flow"]:
        raise UsageError(f"{name!r} is not overwritten: it also holds {', '.join(others)}; write another file")
    there = Config.load(path) if document else config
    fields = [field for field in config.__struct_fields__ if field not in (*TUNED, *NOT_IN_FILES)]
    if lost := [f for f in fields if getattr(there, f) not in (getattr(config, f), getattr(type(config)(), f))]:
        raise UsageError(
            f"{name!r} is not overwritten: its {', '.join(lost)} would be lost; tune with these settings as config "
            "(--config), or write another file"
        )
