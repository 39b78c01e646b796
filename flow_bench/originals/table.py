"""What a row of an original's table is, and what stands beside it here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from flow_bench.harness.rows import Identity


@dataclass(frozen=True)
class Ours:
    """A row of a suite here.

    :ivar suite: and ``only``: what measures it, ``python -m flow_bench SUITE --only ONLY``.
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

    :ivar name: as the original prints it.
    :ivar printed: its figures, as the original prints them.
    :ivar ours: the row or rows here that stand beside it, by what each does; or why there is none.
    :ivar does: what one operation really does, there and here, where the name does not say it.
    """

    name: str
    printed: str
    ours: Ours | dict[str, Ours] | str
    does: str = ""

    def rows(self) -> dict[str, Ours]:
        """The rows here, by what they do; none if there is only a reason."""
        if isinstance(self.ours, str):
            return {}
        return {"": self.ours} if isinstance(self.ours, Ours) else self.ours


@dataclass(frozen=True)
class Table:
    """A table of an original.

    :ivar note: what is to be known of all its rows; one that executes nothing says so.
    """

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
    advice: Sequence[tuple[str, str]] = field(default=())
