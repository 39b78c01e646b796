"""The originals' tables: every row of theirs is on the page, beside a row of ours or the reason why there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from flow_bench import command
from flow_bench.__main__ import main
from flow_bench.harness import machine
from flow_bench.harness.rows import Row
from flow_bench.originals import measured, page, table
from flow_bench.originals.page import shown, without_figures
from flow_bench.originals.table import Original, Ours, Source, Table
from flow_bench.session.passes import MISSED, OK, REFUSED

SOURCES = [table.source(name) for name in table.SOURCES]
BUILT = Ours("dag", "definition", "definition, per node", "Dag.add of every node", 10, "linear", times=10)
TINY = Source(
    "Some engine",
    "a machine",
    [
        Table(
            "Building",
            [
                Original("Build_10", "3 us", {"add": BUILT}, "ten nodes"),
                Original("Drive_10", "4 us", why="it drives | nothing"),
            ],
            "Built only.",
        )
    ],
    [("more | workers", "`Config(limit=)`")],
)
ROW = Row("definition, per node", "Dag.add of every node", "us", [0.5], nodes=10, topology="linear", suite="dag")


def test_a_page() -> None:
    ROW.figures = {"p99": 0.9, "bytes": 100.0, "blocks": 1.5}
    text = page.page([TINY], {ROW.identity: ROW}, machine.facts(), "the command")
    assert "| `Build_10` (add)<br>ten nodes | 3 us | 5.00 us, P99 9.00 us, 1,000 bytes, 15.0 blocks |" in text
    assert "`python -m flow_bench dag --only definition` |" in text
    assert "| `Drive_10` | 4 us | - | it drives \\| nothing |" in text
    assert "| more \\| workers | `Config(limit=)` |" in text
    assert "made by `the command`" in text and "a machine" in text and "Built only." in text
    assert machine.facts()["python"] in text


def test_figures_alone_are_left_out() -> None:
    ROW.figures = {}
    one = page.page([TINY], {ROW.identity: ROW}, machine.facts(), "c")
    other = page.page([TINY], {}, machine.facts() | {"python": "CPython 9"}, "c")
    assert one != other and "not measured" in other
    assert without_figures(one) == without_figures(other)
    assert "3 us" in without_figures(one) and "5.00 us" not in without_figures(one)


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (None, "not measured"),
        (Row("s", "l", "us", note="n/a: its file is not here"), "n/a: its file is not here"),
        (Row("s", "l", "us", [250.0]), "2.50 ms"),
        (Row("s", "l", "ns", [0.5]), "5.00 ns"),
        (Row("s", "l", "s", [200.0]), "2,000 s"),
        (Row("s", "l", "MB/hour", [0.3]), "3.00 MB/hour"),
    ],
)
def test_a_figure_is_of_one_operation_of_the_original(row: Row | None, text: str) -> None:
    assert shown(BUILT, row) == text


def test_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "source", lambda name: TINY)
    file = tmp_path / "page.md"
    assert main(["originals", "--go", "--quick", "--write", str(file)]) == OK
    assert f"made by `python -m flow_bench originals --go --quick --write {file}`" in file.read_text(encoding="utf-8")
    assert "not measured" not in file.read_text(encoding="utf-8")
    assert "dag: definition" in capsys.readouterr().err


def odd_source(odd: Ours) -> Source:
    return Source("x", "y", [Table("t", [Original("Odd", "1", {"": odd})])])


def test_a_row_that_no_suite_has(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    odd = Ours("dag", "definition", "definition, per node", "nothing of the kind", 10, "linear")
    monkeypatch.setattr(command, "source", lambda name: odd_source(odd))
    monkeypatch.setattr(measured, "measure", lambda *_, **__: {ROW.identity: ROW})
    assert main(["originals", "--go"]) == MISSED
    found = capsys.readouterr()
    assert "no suite has the row Odd: dag / definition, per node / nothing of the kind / 10 / linear" in found.err
    assert "not measured" in found.out


def test_a_suite_that_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    odd = Ours("dag", "no such section", "s", "l")
    monkeypatch.setattr(command, "source", lambda name: odd_source(odd))
    assert main(["originals", "--go"]) == REFUSED
    assert "dag has no section 'no such section'" in capsys.readouterr().err


class TestDocumentation:
    def test_the_page_is_that_of_the_code(self) -> None:
        """Run the command on its second line to make it anew."""
        written = (ROOT / "docs" / "originals.md").read_text(encoding="utf-8")
        made = page.page(SOURCES, {}, machine.facts(), "python -m flow_bench originals --write docs/originals.md")
        assert without_figures(written) == without_figures(made)
        assert "| not measured |" not in written

    @pytest.mark.parametrize("source", SOURCES, ids=table.SOURCES)
    def test_every_section_exists(self, source: Source) -> None:
        from argparse import Namespace

        from flow_bench.__main__ import unknown_sections

        for suite, sections in measured.needed([source]).items():
            options: Any = Namespace(suite=suite, only=sections, quick=True)
            assert unknown_sections(options) == ""

    @pytest.mark.long
    @pytest.mark.timeout(600)
    def test_every_row_is_measured(self) -> None:
        rows = measured.measure(SOURCES, quick=True, say=print)
        assert measured.missing(SOURCES, rows) == []
