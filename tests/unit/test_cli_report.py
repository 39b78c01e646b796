"""What ``flow run`` prints of a Result, on terminals of any width."""

from __future__ import annotations

import io
import os

import pytest

import flow
from flow.reprs import MIN_NAME, cells, counted, cut, fitted

click = pytest.importorskip("click")

from flow.cli import report  # noqa: E402
from flow.cli.terminal import columns, styled  # noqa: E402
from flow.run.plain import brief  # noqa: E402

LONG = "a_very_long_name_of_a_node_that_stores_the_results_in_the_warehouse_of_north"


def failed() -> flow.Result:
    dag = flow.Dag("d")

    def broken() -> None:
        raise ValueError("no space left")

    dag.add(LONG, broken)
    dag.add("short", broken)
    return flow.run(dag, config=flow.Config(on_error="collect"))


def plain(lines: list[str]) -> list[str]:
    return [click.unstyle(line) for line in lines]


def test_a_table_where_it_fits() -> None:
    lines = plain(report.failures(failed(), 200))
    assert lines[0] == "2 nodes failed:"
    assert [line.split()[0] for line in lines[1:]] == ["node", LONG, "short"]


def test_one_below_the_other_where_it_does_not() -> None:
    lines = plain(report.failures(failed(), 40))
    assert lines[0] == "2 nodes failed:"
    assert lines[1].startswith("  a_very") and lines[1].endswith("of_north") and cells(lines[1]) == 40
    assert lines[2] == "    ValueError: no space left"
    assert lines[3].startswith("    at ") and "test_cli_report.py:" in lines[3]
    assert lines[4] == "  short"


def test_without_a_terminal_names_are_whole() -> None:
    assert any(LONG in line for line in plain(report.failures(failed(), None)))


def test_messages_that_are_long_pad_no_others() -> None:
    dag = flow.Dag("d")

    @dag.node
    def wordy() -> None:
        raise ValueError("x" * 300)

    lines = plain(report.failures(flow.run(dag, config=flow.Config(on_error="collect")), None))
    assert lines[1] == "  wordy"


def test_the_name_of_the_dag_leaves_room_for_the_rest() -> None:
    dag = flow.Dag(LONG)
    dag.add("n", lambda: 1)
    assert click.unstyle(report.headline(flow.run(dag), 40)).startswith("a_very_lo\u2026e_of_north: ok, 1 of 1 node")
    assert click.unstyle(report.headline(flow.run(dag), None)).startswith(f"{LONG}: ok")


def test_failures_stand_out() -> None:
    heading, *rows = report.failures(failed(), 200)
    assert heading == click.style("2 nodes failed:", fg="red", bold=True)
    assert click.style("short", fg="red") in rows[2].replace(" " * (len(LONG) - 5), "")


def test_no_colour_where_none_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert styled("x", fg="red") != "x"
    monkeypatch.setenv("NO_COLOR", "1")
    assert styled("x", fg="red") == "x"


@pytest.mark.parametrize("width", [10, 40, 80])
def test_outputs_fit_the_terminal(width: int) -> None:
    dag = flow.Dag("d")
    dag.add(LONG, lambda: "\u540d" * 90)
    (line,) = report.sinks(flow.run(dag), False, width)
    assert cells(line) <= max(width, 2 * MIN_NAME + 5)
    assert line.startswith("  a_ver") and "north = '\u540d" in line


def test_many_outputs() -> None:
    dag = flow.Dag("d")
    for i in range(report.MAX_SINKS + 1):
        dag.add(f"n{i}", lambda: 1)
    result = flow.run(dag)
    assert report.sinks(result, False, None)[-1] == "  ... and 1 more output (--all or --json prints them)"
    assert report.sinks(result, True, None)[-1] == "  n10 = 1"


def test_one_of_each() -> None:
    assert brief(flow.MapResult("m", [1], {}, None)) == "1 of 1 item completed"
    assert repr(flow.MapResult("m", [1], {}, None)) == "<MapResult of 'm': 1 of 1 item completed>"
    dag = flow.Dag("d")
    dag.add("n", lambda: 1)
    assert report.summary(flow.run(dag)).startswith("1 of 1 node completed in ")
    assert [counted(n, "item") for n in (0, 1, 2000)] == ["0 items", "1 item", "2,000 items"]


def test_the_width_of_what_is_no_terminal() -> None:
    assert columns(None) is None
    assert columns(io.StringIO()) is None


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals")
def test_the_width_of_a_terminal() -> None:
    import fcntl
    import struct
    import termios

    try:
        ours, theirs = os.openpty()
    except OSError:  # a container without /dev/pts
        pytest.skip("no pseudo-terminals here")
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 12, 40, 0, 0))
    with open(theirs, "w", encoding="utf-8") as stream:
        assert columns(stream) == 40
    os.close(ours)


class TestFitted:
    def test_both_ends_stay(self) -> None:
        assert fitted("blast_of_the_node_00000042", 15) == "blast_o\u2026"[:7] + "\u2026" + "0000042"

    def test_never_to_nothing(self) -> None:
        assert cells(fitted("x" * 50, 0)) == MIN_NAME
        assert fitted("short", 0) == "short"

    def test_wide_characters_fill_two_cells(self) -> None:
        assert cells("\u540d\u524d") == 4 and cells("e\u0301") == 1
        text = fitted("\u540d" * 20, 15)
        assert cells(text) <= 15 and text == "\u540d" * 3 + "\u2026" + "\u540d" * 4
        assert cut("\u540d" * 20, 6) == "\u540d\u540d\u2026"


def test_an_interrupt_has_the_result_so_far() -> None:
    dag = flow.Dag("d")
    dag.add("a", lambda: 1)

    @dag.node
    def b(a: int) -> None:
        raise KeyboardInterrupt

    dag.add("c", lambda b: 1)
    for config in (flow.Config(), flow.Config(timing=True), flow.Config(order="critical_path")):
        with pytest.raises(KeyboardInterrupt) as caught:
            flow.run(dag, config=config)
        result = caught.value.result  # type: ignore[attr-defined]
        assert result["a"] == 1 and not result.ok
        assert [str(status) for status in result.status.values()] == ["completed", "cancelled", "cancelled"]


class TestReasons:
    @staticmethod
    def result(idle: int = 1) -> flow.Result:
        def broken() -> None:
            raise ValueError("no space left\non any disk")

        dag = flow.Dag("d")
        dag.add("handled", broken)
        dag.add("alarm", lambda: 1, after={"handled": "failed"})
        dag.add("after", lambda: 1, after="handled")
        for k in range(idle):
            dag.add(f"optional_{k}", lambda: 1, when=lambda: False)
        return flow.run(dag)

    def test_of_what_did_not_run_and_of_what_was_handled(self) -> None:
        assert plain(report.reasons(self.result(), 200)) == [
            "1 failure handled:",
            "  node 'handled' failed: ValueError: no space left; handled by 'alarm'",
            "2 nodes did not run:",
            "  node 'after' was skipped: node 'handled' failed",
            "  node 'optional_0' was bypassed: its condition (when) said no",
        ]

    @pytest.mark.parametrize("width", [30, 60, None])
    def test_lines_are_few_and_fit(self, width: int | None) -> None:
        lines = plain(report.reasons(self.result(30), width))
        assert len(lines) == 2 + 1 + report.MAX_REASONS + 1
        assert lines[-1] == "  ... and 21 more (--json prints all statuses)"
        assert max(cells(line) for line in lines[:-1]) <= (width or report.MAX_LINE)

    def test_nothing_to_say(self) -> None:
        assert report.reasons(flow.run(flow.topologies.linear(2)), 80) == []
        assert report.reasons(failed(), 80) == []
