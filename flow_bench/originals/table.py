"""What a row of an original's table is, and what stands beside it here.

The tables are ``go.toml``, ``rust.toml`` and ``attune.toml``. What an operation of Flow Orchestrator (Go) does is told
from the code of its benchmarks, which is published beside its figures (``internal/workflow/benchmark``).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flow_bench.harness.rows import Identity

SOURCES = ("go", "rust", "attune")


@dataclass(frozen=True)
class Ours:
    """A row of a suite here, which ``python -m flow_bench SUITE --only ONLY`` measures.

    :ivar section: with ``label``, ``nodes`` and ``topology``, the row's identity.
    :ivar times: how many of what the row's figure is per make up one operation of the original: 100, where it builds a
        graph of 100 nodes and the row's figure is per node.
    """

    suite: str
    only: str
    section: str
    label: str
    nodes: int = 0
    topology: str = ""
    times: int = 1

    @property
    def identity(self) -> Identity:
        """What the row is found by."""
        return self.suite, self.section, self.label, self.nodes, self.topology

    @property
    def command(self) -> str:
        """What measures it."""
        return f"python -m flow_bench {self.suite} --only {self.only}"


@dataclass(frozen=True)
class Original:
    """A row of an original's table.

    :ivar name: as the original prints it, as it does its figures (``printed``).
    :ivar ours: the rows here that stand beside it, by what each does; or else ``why`` there is none.
    :ivar does: what one operation really does, there and here, where the name does not say it.
    """

    name: str
    printed: str
    ours: Mapping[str, Ours] = field(default_factory=dict)
    does: str = ""
    why: str = ""


@dataclass(frozen=True)
class Table:
    """A table of an original; ``note`` is what is to be known of all rows: that they execute nothing, say."""

    title: str
    rows: Sequence[Original]
    note: str = ""


@dataclass(frozen=True)
class Source:
    """One of the originals.

    :ivar machine: what its figures were taken on, as far as it says.
    :ivar advice: what it recommends, each with what serves here.
    """

    name: str
    machine: str
    tables: Sequence[Table]
    advice: Sequence[tuple[str, str]] = ()

    def rows(self) -> Iterator[tuple[Original, Ours]]:
        """Every row here, with that of the original which it stands beside."""
        for table in self.tables:
            for original in table.rows:
                for ours in original.ours.values():
                    yield original, ours


def source(name: str) -> Source:
    """Read the tables of one of :data:`SOURCES`."""
    found = tomllib.loads(Path(__file__).with_name(f"{name}.toml").read_text("utf-8"))

    def original(row: dict[str, object], beside: dict[str, list[object]]) -> Original:
        ours = {what: Ours(*found["sections"][section], *more) for what, (section, *more) in beside.items()}
        return Original(**row | {"ours": ours})  # type: ignore[arg-type]

    tables = [
        Table(table["title"], [original(row, row.pop("ours", {})) for row in table["rows"]], table.get("note", ""))
        for table in found["tables"]
    ]
    advice = [(one["there"], one["here"]) for one in found["advice"]]
    return Source(found["name"], found["machine"], tables, advice)
