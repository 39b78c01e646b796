"""The spec suite: every row is measured, what is missing is said, and work that is not done is refused."""

from __future__ import annotations

import gc
import sys

import pytest

from flow_bench.harness.contender import Refused
from flow_bench.suites.spec import actions, expressions, loading, maps, suite

TINY = suite.Effort(
    loading=loading.Effort(nodes=4, rounds=1),
    expressions=expressions.Effort(rounds=1, times=2),
    maps=maps.Effort(servers=300, users=120, entries=90, rounds=1, held=(2, 20), items=8, held_rounds=1),
)


@pytest.fixture(autouse=True)
def _no_collections(monkeypatch: pytest.MonkeyPatch) -> None:
    """What all other tests have left makes each of the collections between rounds take half a second."""
    monkeypatch.setattr(gc, "collect", lambda *generation: 0)


def test_rows() -> None:
    pytest.importorskip("yaml")
    rows = [row for table in suite.run(TINY) for row in table]
    assert len({row.identity for row in rows}) == len(rows)
    cases = len(expressions.CASES)
    assert len(rows) == 2 * 4 + cases * (1 + len(expressions.PEERS)) + 4 * 2 + 3 * 2
    assert all(row.samples and row.figure or row.note.startswith("n/a: ") for row in rows)
    assert sum(row.target is not None for row in rows) == cases + 4 + 3  # loading is judged at 1,000 nodes


@pytest.mark.parametrize("library", expressions.PEERS)
def test_a_library_that_is_not_installed_is_said(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [library, *(name for name in sys.modules if name.startswith(f"{library}."))]:
        monkeypatch.setitem(sys.modules, module, None)
    mine, theirs = expressions.run(TINY.expressions)
    assert all(row.figure for row in mine)
    notes = {row.note for row in theirs if row.label.startswith(f"{library}: ")} - {"n/a: it has no such expression"}
    assert notes == {f"n/a: {library} is not installed: pip install '.[peers]'"}


def test_work_that_is_not_done_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("yaml")
    monkeypatch.setattr(actions, "passed", lambda x: 0)
    with pytest.raises(Refused, match="the map left something out"):
        maps.context(TINY.maps)
