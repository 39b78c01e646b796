"""The progress display: recorded events onto a console that writes to a string."""

from __future__ import annotations

import builtins
import re
import subprocess
import sys
import threading
from collections.abc import Iterable
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

import flow
from flow import events
from flow.observe import Progress
from flow.observe.display import MAX_ROWS, picture
from flow.observe.progress import Statistics
from flow.reprs import cells

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def terminal() -> Console:
    return Console(file=StringIO(), force_terminal=True, width=120)


def lines(console: Console) -> list[str]:
    """What was written, drawing by drawing, without colours and cursor moves."""
    file = console.file
    assert isinstance(file, StringIO)
    return [line.strip() for line in re.split(r"[\r\n]+", ESCAPE.sub("", file.getvalue())) if line.strip()]


def feed(progress: Progress, recorded: Iterable[events.Event]) -> None:
    for event in recorded:
        progress(event)


def failing_dag() -> flow.Dag:
    dag = flow.Dag("report")

    @dag.node
    def a() -> int:
        return 1

    @dag.node
    def b(a: int) -> int:
        raise ValueError("no")

    @dag.node
    def c(b: int) -> int:
        return b

    return dag


RECORDED: list[events.Event] = [
    events.RunStarted("r", "report", 5, 0.0),
    events.NodeStarted("r", "a", 1, 0.0),
    events.NodeFinished("r", "a", 1, 1.0, 1.0),
    events.NodeStarted("r", "b", 1, 1.0),
    events.NodeRetried("r", "b", 1, ValueError(), 0.0, 2.0),
    events.NodeStarted("r", "b", 2, 2.0),
    events.NodeFailed("r", "b", 2, ValueError(), 3.0),
    events.NodeSkipped("r", "c", "b", 3.0),
    events.NodeStarted("r", "d", 1, 3.0),
    events.NodeCancelled("r", "e", 4.0),
]


class TestCounting:
    def test_bypassed_nodes_count_as_ended(self) -> None:
        progress = Progress(console=terminal())
        feed(progress, [events.RunStarted("r", "report", 2, 0.0), events.NodeBypassed("r", "a", "choice", 1.0)])
        assert progress.statistics() == Statistics(runs=1, nodes=2, bypassed=1)
        progress(events.RunFinished("r", "report", True, {"bypassed": 2}, 1.0, 1.0))
        assert progress.statistics() == Statistics(runs=1, ended=1, nodes=2, bypassed=2)

    def test_recorded_events(self) -> None:
        progress = Progress(console=terminal())
        feed(progress, RECORDED)
        expected = Statistics(runs=1, nodes=5, running=1, completed=1, failed=1, skipped=1, cancelled=1)
        assert progress.statistics() == expected
        counts = {"completed": 1, "failed": 1, "skipped": 1, "cancelled": 2}
        progress(events.RunFinished("r", "report", False, counts, 4.0, 4.0))
        expected = Statistics(runs=1, ended=1, nodes=5, completed=1, failed=1, skipped=1, cancelled=2)
        assert progress.statistics() == expected

    def test_a_real_run(self) -> None:
        progress = Progress()
        flow.run(failing_dag(), config=flow.Config(observers=(progress,), on_error="collect"))
        expected = Statistics(runs=1, ended=1, nodes=3, completed=1, failed=1, skipped=1)
        assert progress.statistics() == expected

    def test_snapshots_are_immutable(self) -> None:
        with pytest.raises(AttributeError):
            Progress().statistics().failed = 3  # type: ignore[misc]

    def test_runs_no_longer_shown_still_count(self) -> None:
        progress = Progress(console=terminal())
        plan = flow.topologies.linear(2).compile()
        with progress:
            for _ in range(MAX_ROWS + 4):
                flow.run(plan, config=flow.Config(observers=(progress,)))
        runs = MAX_ROWS + 4
        assert progress.statistics() == Statistics(runs=runs, ended=runs, nodes=2 * runs, completed=2 * runs)

    def test_an_end_without_a_beginning_is_nothing(self) -> None:
        progress = Progress()
        progress(events.RunFinished("r", "report", True, {}, 1.0, 1.0))
        assert progress.statistics() == Statistics()


class TestDrawing:
    def test_final_counts_stay_on_the_terminal(self) -> None:
        console = terminal()
        progress = Progress(console=console)
        flow.run(failing_dag(), config=flow.Config(observers=(progress,), on_error="collect"))
        assert lines(console)[-1].startswith("report")
        assert "3/3 1 completed, 1 failed, 1 skipped 0:00:00" in lines(console)[-1]

    def test_as_a_context_manager(self) -> None:
        console = terminal()
        with Progress(console=console) as progress:
            for _ in range(2):
                flow.run(flow.topologies.linear(4), config=flow.Config(observers=(progress,)))
            assert [thread.name for thread in threading.enumerate()].count("flow-progress") == 1
        last = lines(console)[-2:]
        assert [line.split()[0] for line in last] == ["linear", "linear"]
        assert all("4/4 4 completed" in line for line in last)

    def test_no_thread_stays_behind(self) -> None:
        progress = Progress(console=terminal())
        feed(progress, RECORDED)
        assert "flow-progress" in [thread.name for thread in threading.enumerate()]
        progress(events.RunFinished("r", "report", False, {}, 4.0, 4.0))
        assert "flow-progress" not in [thread.name for thread in threading.enumerate()]

    def test_few_drawings_for_many_events(self) -> None:
        console = terminal()
        progress = Progress(console=console)
        flow.run(flow.topologies.diamond(20_000), config=flow.Config(observers=(progress,)))
        assert "20,000/20,000 20,000 completed" in lines(console)[-1]
        assert len(lines(console)) < 1_000  # of 40,002 events

    def test_nothing_where_there_is_no_terminal(self) -> None:
        console = Console(file=StringIO(), force_terminal=False)
        progress = Progress(console=console)
        flow.run(flow.topologies.linear(3), config=flow.Config(observers=(progress,)))
        assert lines(console) == []
        assert progress.statistics().completed == 3

    def test_forced_without_a_terminal(self) -> None:
        console = Console(file=StringIO(), force_terminal=False, width=120)
        flow.run(flow.topologies.linear(3), config=flow.Config(observers=(Progress(console=console, force=True),)))
        assert "3/3 3 completed" in lines(console)[-1]

    def test_names_are_no_markup(self) -> None:
        console = terminal()
        progress = Progress(console=console)
        feed(progress, [events.RunStarted("r", "[red]x[/red]", 1, 0.0)])
        progress(events.RunFinished("r", "[red]x[/red]", True, {"completed": 1}, 1.0, 1.0))
        assert lines(console)[-1].startswith("[red]x[/red]")

    @pytest.mark.parametrize("width", [60, 80, 200])
    def test_one_line_per_run_on_any_width(self, width: int) -> None:
        console = Console(file=StringIO(), force_terminal=True, width=width)
        progress = Progress(console=console)
        feed(progress, RECORDED)
        progress(events.RunFinished("r", "report", False, {"completed": 3, "failed": 2}, 4.0, 4.0))
        assert re.fullmatch(r"report \S+ 5/5 3 completed, 2 failed 0:00:04", lines(console)[-1])


    @pytest.mark.parametrize("width", [30, 40, 50, 60, 80])
    def test_what_matters_stays_on_a_narrow_terminal(self, width: int) -> None:
        progress = Progress(console=Console(file=StringIO(), force_terminal=True, width=width))
        name = "名前" * 20 + "_of_north"
        feed(progress, [events.RunStarted("r", name, 5000, 0.0), events.NodeStarted("r", "n", 1, 0.0)])
        feed(progress, [events.MapStarted("r", "pages", 9, 0.0), events.NodeFailed("r", "m", 1, ValueError(), 0.0)])
        console = Console(file=StringIO(), force_terminal=True, width=width)
        console.print(progress._picture())
        (line,) = lines(console)
        assert line.startswith("名") and "north" in line
        assert "1/5,000" in line and "0:00:0" in line
        assert ("1 failed" in line) is (width >= 40)
        assert cells(line) <= width
        feed(progress, [events.RunFinished("r", name, False, {}, 1.0, 1.0)])

    def test_no_bar_without_room_for_it(self) -> None:
        progress = Progress(console=terminal())
        feed(progress, RECORDED)
        bars = []
        for width in (40, 100):
            console = Console(file=StringIO(), force_terminal=True, width=width)
            console.print(picture(list(progress._rows.values()), 1, width))
            bars.append("\u2501" in lines(console)[0])
            assert lines(console)[-1] == "1 inner run ended"
        assert bars == [False, True]
        progress(events.RunFinished("r", "report", False, {}, 4.0, 4.0))


class TestSeveralRuns:
    def test_an_inner_run_is_counted_when_it_ends(self) -> None:
        inner = flow.Dag("inner")
        inner.add("x", lambda: 1)
        outer = flow.Dag("outer")
        outer.add("one", inner)
        outer.add("two", inner, after="one")
        console = terminal()
        progress = Progress(console=console)
        flow.run(outer, config=flow.Config(observers=(progress,)))
        assert lines(console)[-1] == "2 inner runs ended"
        assert lines(console)[-2].startswith("outer")
        assert "2/2 2 completed" in lines(console)[-2]
        assert progress.statistics() == Statistics(runs=3, ended=3, nodes=4, completed=4)

    def test_many_at_once_share_a_line(self) -> None:
        console = terminal()
        progress = Progress(console=console)
        with progress:
            feed(progress, [events.RunStarted(f"r{k}", "many", 1, 0.0) for k in range(MAX_ROWS + 3)])
        assert lines(console)[-1] == "and 3 more runs"


class TestHarmless:
    @pytest.mark.parametrize("error", [BrokenPipeError, OSError, ValueError])
    def test_a_terminal_that_goes_away(self, error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
        class Gone(StringIO):
            def write(self, text: str, /) -> int:
                raise error

        monkeypatch.setattr(sys, "stderr", Gone())
        progress = Progress(force=True)
        result = flow.run(flow.topologies.linear(3), config=flow.Config(observers=(progress,)))
        assert result.ok
        with progress:
            assert flow.run(flow.topologies.linear(3), config=flow.Config(observers=(progress,))).ok

    def test_unknown_events_are_ignored(self) -> None:
        Progress()(object())  # type: ignore[arg-type]

    def test_without_rich(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = builtins.__import__

        def no_rich(name: str, *rest: Any, **more: Any) -> Any:
            if name.startswith("rich"):
                raise ImportError(name)
            return real(name, *rest, **more)

        monkeypatch.setattr(builtins, "__import__", no_rich)
        with pytest.raises(flow.UsageError, match=r"needs rich: pip install 'flow-dag\[cli\]'"):
            Progress()

    def test_rich_is_imported_at_first_use_only(self) -> None:
        code = "import flow, flow.observe, sys; assert 'rich' not in sys.modules, 'rich'"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

    def test_unknown_attribute(self) -> None:
        with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
            _ = flow.observe.Nothing


class TestMaps:
    def test_items_are_counted(self) -> None:
        def half(item: int) -> int:
            if item % 2:
                raise ValueError(item)
            return item

        dag = flow.Dag("d")
        dag.map("halves", half, over="xs", on_error="skip", retry=flow.Retry(2, delay=0))
        progress = Progress(console=terminal())
        result = flow.run(dag, {"xs": range(10)}, config=flow.Config(observers=(progress,)))
        assert result["halves"] == [0, 2, 4, 6, 8]
        seen = progress.statistics()
        assert (seen.items_completed, seen.items_failed, seen.completed) == (5, 5, 1)

    def test_maps_under_way_are_shown_with_their_totals(self) -> None:
        progress = Progress(console=terminal(), force=True)
        feed(
            progress,
            [
                events.RunStarted("r", "d", 2, 0.0),
                events.NodeStarted("r", "pages", 1, 0.0),
                events.MapStarted("r", "pages", 1200, 0.0),
                events.MapStarted("r", "lines", None, 0.0),
                *[events.ItemFinished("r", "pages", i, 0.0) for i in range(3)],
                events.ItemFailed("r", "pages", 3, 1, ValueError(), 0.0),
                events.ItemFinished("r", "lines", 0, 0.0),
            ],
        )
        console = terminal()
        console.print(progress._picture())
        assert "1 running, 1 item failed, pages 4/1,200 items, lines 1 item" in lines(console)[0]
        feed(progress, [events.NodeFinished("r", "pages", 1, 1.0, 1.0)])
        console = terminal()
        console.print(progress._picture())
        assert "1 completed, 1 item failed, lines 1 item" in lines(console)[0]
        feed(progress, [events.RunFinished("r", "d", False, {"completed": 1, "skipped": 1}, 1.0, 1.0)])
        console = terminal()
        console.print(progress._picture())
        assert "1 item failed" in lines(console)[0]
        assert "lines 1 item" not in lines(console)[0]


class Displayed:
    """Stands for IPython.display: what a cell's output was, drawing by drawing."""

    def __init__(self) -> None:
        self.drawn: list[dict[str, str]] = []

    def display(self, data: dict[str, str], *, raw: bool, display_id: bool) -> Displayed:
        assert raw and display_id
        self.drawn.append(data)
        return self

    def update(self, data: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.drawn.append(data)


def test_below_a_notebooks_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    displayed = Displayed()
    monkeypatch.setitem(sys.modules, "IPython.display", displayed)  # type: ignore[arg-type]
    progress = Progress(console=Console(file=StringIO(), force_jupyter=True))
    flow.run(failing_dag(), config=flow.Config(observers=[progress], on_error="collect"))
    first, last = displayed.drawn[0], displayed.drawn[-1]
    assert "report" in last["text/plain"] and "1 failed" in last["text/plain"] and "failed" not in first["text/plain"]
    assert last["text/html"].startswith("<pre>") and "color" in last["text/html"] and "\x1b" not in str(last)


def test_a_notebook_that_cannot_show_it_does_not_hinder_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython.display", None)
    progress = Progress(console=Console(file=StringIO(), force_jupyter=True))
    assert flow.run(flow.topologies.linear(3), config=flow.Config(observers=[progress])).ok
    assert progress.statistics().completed == 3


def test_without_rich_the_error_ends_at_the_users_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    with pytest.raises(flow.UsageError, match="needs rich") as caught:
        Progress()
    assert caught.tb.tb_next is None
