"""The adaptive suite: every row is measured, and work that is not done is refused."""

from __future__ import annotations

from typing import Any

import pytest

from flow_bench.harness.contender import Refused
from flow_bench.suites.engine import adaptive


class TestBench:
    """``python -m flow_bench adaptive``."""

    TINY = adaptive.Effort(calls=30, rounds=1, noop_rounds=1)

    def test_rows(self) -> None:
        rows = [row for table in adaptive.run(self.TINY) for row in table]
        assert len({(row.section, row.label, row.nodes, row.topology) for row in rows}) == len(rows) == 3 * 8 + 2 * 3
        assert all(row.samples and row.figure for row in rows)
        assert sum(row.target is not None for row in rows) == 3 * 2 + 2

    def test_work_that_is_not_done_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def none(self: Any, i: int) -> None: ...

        monkeypatch.setattr(adaptive.Backend, "call", none)
        with pytest.raises(Refused):
            list(adaptive.run(self.TINY))

