"""The Config that a workflow file has for its runs."""

from __future__ import annotations

from typing import Any, Final

from flow.config import Config, DataConfig
from flow.config.data import DATA_PRESETS
from flow.config.files import Keys, Reader
from flow.spec.text.expressions import value_of
from flow.spec.text.faults import Faults
from flow.spec.text.places import Table

KEY: Final = "config"


def config_of(table: Table, faults: Faults) -> Config | None:
    """Return the Config of the mapping ``config``; None, with faults, if it is none."""
    made = value_of(table, table.at, faults, literal=True)
    if not made.is_constant:
        faults.add(table.at, "config holds literals, and expressions are not read there")
        return None
    return _Reader(table, faults).config(Config, made.value, (KEY,))


class _Reader(Reader):
    """Notes faults with their places in the file."""

    def __init__(self, table: Table, faults: Faults) -> None:
        super().__init__({}, DataConfig, DATA_PRESETS)
        self._table = table
        self._noted = faults

    def fault(self, keys: Keys, text: str) -> None:
        found: Any = self._table
        event = found.at
        for key in keys[1:]:
            if not isinstance(found, Table) or key not in found:
                break
            event, found = found.marks[key][0], found[key]
        self._noted.add(event, text)
