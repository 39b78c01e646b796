"""Timelines: lanes against brute force, valid XML, text that cannot break out of either format."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flow
from flow.draw.text import cut
from flow.run.draw.gantt import MAX_MERMAID, gantt
from flow.run.draw.sections import MAX_SECTIONS
from flow.run.draw.svg import MAX_LANES, Attempt, Bar, Section, draw, pack, seconds
from flow.run.result import _bars_of
from flow.types import Status

SVG = "{http://www.w3.org/2000/svg}"


class ManualClock:
    """Time that moves only when a node says so."""

    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    async def wait(self, seconds: float) -> None:
        self.time += seconds


def timed_run() -> flow.Result:
    """a: 0 - 2 s, b: 2 - 5 s fails, c is skipped, d: 5 - 6 s."""
    clock = ManualClock()
    dag = flow.Dag("report")

    @dag.node
    def a() -> None:
        clock.time += 2

    @dag.node
    def b(a: None) -> None:
        clock.time += 3
        raise ValueError('<bad> & \x00 "worse"')

    @dag.node
    def c(b: None) -> None: ...

    @dag.node
    def d(a: None) -> None:
        clock.time += 1

    return flow.run(dag, config=flow.Config(timing=True, on_error="collect", clock=clock))


def bars(spans: list[tuple[float, float]]) -> list[Bar]:
    return [Bar(f"n{i}", start, end) for i, (start, end) in enumerate(sorted(spans))]


def rects(svg: str) -> list[ET.Element]:
    """The bars: rectangles with a tooltip."""
    return [rect for rect in ET.fromstring(svg).iter(f"{SVG}rect") if rect.find(f"{SVG}title") is not None]


def titles(svg: str) -> list[str]:
    return [rect.findtext(f"{SVG}title") or "" for rect in rects(svg)]


def texts(svg: str) -> list[str]:
    return [text.text or "" for text in ET.fromstring(svg).iter(f"{SVG}text")]


spans = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 8)).map(lambda t: (float(t[0]), float(t[0] + t[1]))))


class TestPack:
    @given(spans)
    def test_bars_of_one_lane_never_overlap(self, drawn: list[tuple[float, float]]) -> None:
        packed = bars(drawn)
        last_end: dict[int, float] = {}
        for bar, lane in zip(packed, pack(packed), strict=True):
            assert last_end.get(lane, 0.0) <= bar.start
            last_end[lane] = bar.end

    @given(spans)
    def test_as_many_lanes_as_ran_at_once(self, drawn: list[tuple[float, float]]) -> None:
        at_once = 0
        for time, _ in drawn:
            running = sum(start <= time < end for start, end in drawn)
            # A bar without length stands beside those that began before it.
            instant = (time, time) in drawn and 1 + sum(start < time < end for start, end in drawn)
            at_once = max(at_once, running, instant)
        assert max(pack(bars(drawn)), default=-1) + 1 == at_once

    def test_the_lowest_free_lane_is_taken(self) -> None:
        assert pack(bars([(0, 9), (0, 10), (1, 2), (3, 4), (9.5, 10)])) == [0, 1, 2, 2, 0]


class TestSvg:
    def test_one_bar_per_node_that_ran(self) -> None:
        svg = timed_run().timeline("svg")
        assert titles(svg) == [
            "a: completed, 2 s from 0 s",
            'b: failed, 3 s from 2 s\nValueError: <bad> & \\x00 "worse"',
            "d: completed, 1 s from 5 s",
        ]
        assert {"a", "\u00d7 b", "d", "2 completed", "1 failed", "1 skipped (never ran)"} <= set(texts(svg))
        assert {"0 s", "2 s", "4 s", "6 s"} <= set(texts(svg))
        assert "3 nodes in 6 s, at most 1 at once" in texts(svg)

    def test_widths_are_to_scale(self) -> None:
        widths = [float(rect.attrib["width"]) for rect in rects(timed_run().timeline("svg"))]
        assert widths == [192.0, 288.0, 96.0]  # of 576 units for 6 s

    def test_a_name_stands_where_there_is_room(self) -> None:
        name = "a_long_name_of_a_node"
        at = {}
        for start in (0.0, 9.9):
            svg = draw("x", [Bar(name, start, start + 0.1)], 10.0)
            (text,) = [t for t in ET.fromstring(svg).iter(f"{SVG}text") if t.text == name]
            at[start] = float(text.attrib["x"])
        assert at[0.0] > 12 and at[9.9] < 12 + 9.9 * 57.6 - 100  # right of it, left of it
        packed = draw("x", [Bar(f"node{i}_of_many", i / 100, (i + 1) / 100) for i in range(100)], 1.0)
        assert not any("\u2026" in text for text in texts(packed))  # rather none than cut to nothing

    def test_concurrent_bars_stack(self) -> None:
        svg = draw("x", bars([(0, 2), (1, 3), (2, 4)]), 4.0)
        ys = [float(rect.attrib["y"]) for rect in rects(svg)]
        assert ys == [84.0, 84.0, 108.0]  # by lane: n0 and n2, then n1
        assert titles(svg)[1].startswith("n2:")

    @given(st.text(max_size=40), st.text(max_size=40))
    def test_any_text_is_valid_xml(self, name: str, detail: str) -> None:
        svg = draw(name, [Bar(name, 0, 1, Status.FAILED, detail)], 1.0)
        svg.encode()
        assert len(rects(svg)) == 1

    def test_markup_stays_text(self) -> None:
        name = '"/><script>alert(1)</script>'
        svg = draw(name, [Bar(name, 0, 1)], 1.0)
        assert "<script" not in svg
        assert titles(svg) == [f"{name}: completed, 1 s from 0 s"]

    def test_many_nodes_become_thin_bars_and_it_says_so(self) -> None:
        touching = [(float(i), float(i + 1)) for i in range(3_000)]
        svg = draw("x", bars([*touching, (4_000.0, 4_001.0)]), 4_001.0)
        assert titles(svg) == ["3,000 nodes from n0: completed, 3,000 s from 0 s", "n3000: completed, 1 s from 4,000 s"]
        assert "Too many nodes to name: bars that touch are drawn as one (2 bars)." in texts(svg)

    def test_a_failed_node_is_not_merged_into_completed_ones(self) -> None:
        row = [Bar(f"n{i}", i, i + 1, Status.FAILED if i == 1_500 else Status.COMPLETED) for i in range(3_000)]
        assert [title.split(":")[0] for title in titles(draw("x", row, 3_000.0))] == [
            "1,500 nodes from n0",
            "n1500",
            "1,499 nodes from n1501",
        ]

    def test_lanes_left_out_are_counted(self) -> None:
        svg = draw("x", bars([(0.0, 1.0)] * (MAX_LANES + 7)), 1.0)
        assert len(rects(svg)) == MAX_LANES
        assert "Lanes 401 to 407 are left out, 7 nodes." in texts(svg)
        assert "Too many lanes for names: they are in the tooltips." in texts(svg)

    def test_a_run_of_nothing(self) -> None:
        assert rects(draw("x", [], 0.0)) == []


class TestMermaid:
    def test_values(self) -> None:
        assert timed_run().timeline() == (
            "gantt\n    title report\n    dateFormat x\n    axisFormat %Q ms\n    todayMarker off\n"
            "    a :done, t0, 0, 2000ms\n    b :crit, t1, 2000, 3000ms\n    d :done, t2, 5000, 1000ms\n"
        )

    @pytest.mark.parametrize(
        ("length", "axis", "task"),
        [
            (0.001, "%Q us", "0, 1000ms"),
            (0.5, "%Q ms", "0, 500ms"),
            (60.0, "%s s", "0, 60000ms"),
            (0.0, "%Q us", "0, 1ms"),
        ],
    )
    def test_the_unit_fits_the_run(self, length: float, axis: str, task: str) -> None:
        text = gantt("x", [Bar("n", 0.0, length)])
        assert f"axisFormat {axis}\n" in text
        assert text.endswith(f"n :done, t0, {task}\n")

    @pytest.mark.parametrize(
        ("name", "safe"),
        [
            ("a:b", "a#58;b"),
            ("title", "#116;itle"),
            ("Section_1", "#83;ection_1"),
            ("2024-01-01", "#50;024-01-01"),
            ("a#1", "a#35;1"),
            ("a;b\nc", "a#59;b#10;c"),
        ],
    )
    def test_names_cannot_be_read_as_syntax(self, name: str, safe: str) -> None:
        assert gantt("x", [Bar(name, 0, 1)]).splitlines()[-1] == f"    {safe} :done, t0, 0, 1000ms"

    def test_large_runs_keep_the_longest(self) -> None:
        many = bars([(float(i), i + (2.0 if i % 4 == 0 else 1.0)) for i in range(4 * MAX_MERMAID)])
        lines = gantt("x", many).splitlines()
        assert lines[1] == "    title x (the 300 longest of 1,200 nodes)"
        assert len(lines) == 5 + MAX_MERMAID
        assert all(line.endswith(", 2000ms") for line in lines[5:])


def test_a_run_without_times_is_refused() -> None:
    result = flow.run(flow.topologies.linear(2))
    for form in ("svg", "mermaid"):
        with pytest.raises(flow.UsageError, match=r"timing=True"):
            result.timeline(form)


def retried(attempts: int = 3, **config: object) -> flow.Result:
    """flaky: 0 - 1 s fails, 2 - 3 s fails, 5 - 6 s."""
    clock = ManualClock()
    dag = flow.Dag("retries")

    @dag.node(retry=flow.Retry(3, delay=1.0))
    def flaky(ctx: flow.Context) -> None:
        clock.time += 1
        if ctx.attempt < attempts:
            raise OSError("away")

    return flow.run(dag, config=flow.Config(timing=True, clock=clock, on_error="collect"))


def test_retries_are_told() -> None:
    (bar,) = _bars_of(retried())
    assert (bar.start, bar.end, bar.detail) == (0.0, 6.0, "3 attempts")


class TestAttempts:
    def test_each_is_a_bar(self) -> None:
        svg = retried().timeline("svg")
        assert titles(svg) == [
            "flaky, attempt 1 of 3: failed, 1 s from 0 s",
            "flaky, attempt 2 of 3: failed, 1 s from 2 s",
            "flaky, attempt 3 of 3: completed, 1 s from 5 s\n3 attempts",
        ]
        assert len({rect.attrib["y"] for rect in rects(svg)}) == 1
        assert svg.count("stroke-dasharray") == 1  # the waiting
        assert svg.count(' width="3"') == 3  # where each begins

    def test_the_last_one_may_fail_too(self) -> None:
        assert "attempt 3 of 3: failed" in titles(retried(4).timeline("svg"))[2]

    def test_in_mermaid(self) -> None:
        assert retried().timeline().splitlines()[5:] == [
            "    flaky (attempt 1) :crit, t0, 0, 1000ms",
            "    flaky (attempt 2) :crit, t1, 2000, 1000ms",
            "    flaky (attempt 3) :done, t2, 5000, 1000ms",
        ]

    def test_one_attempt_is_a_plain_bar(self) -> None:
        assert titles(retried(1).timeline("svg")) == ["flaky: completed, 1 s from 0 s"]

    def test_too_many_for_mermaid_are_one_bar_again(self) -> None:
        bar = Bar("n", 0.0, 301.0, attempts=tuple(Attempt(float(k), k + 0.5, Status.FAILED) for k in range(301)))
        assert gantt("x", [bar]).splitlines()[-1] == "    n :done, t0, 0, 301000ms"
        assert titles(draw("x", [bar], 301.0))[0].startswith("n, attempt 1 of 301: failed")


def mapped(items: int, bad: tuple[int, ...] = (), timing: bool = True, maps: int = 1, **options: object) -> flow.Result:
    """Each item takes a second; item 3 two."""
    clock = ManualClock()

    def price(row: int) -> int:
        clock.time += 2 if row == 3 else 1
        if row in bad:
            raise ValueError(row)
        return row

    dag = flow.Dag("shop")
    for k in range(maps):
        dag.map("price" if k == 0 else f"price{k}", price, over="rows", on_error="collect", **options)
    config = flow.Config(timing=timing, clock=clock, on_error="collect", observers=(lambda event: None,))
    return flow.run(dag, {"rows": range(items)}, config=config)


class TestItems:
    def test_each_is_a_row_of_its_map(self) -> None:
        svg = mapped(3, bad=(1,)).timeline("svg")
        assert titles(svg) == [
            "price: completed, 3 s from 0 s",
            "price[0]: completed, 1 s from 0 s",
            "price[1]: failed, 1 s from 1 s",
            "price[2]: completed, 1 s from 2 s",
        ]
        assert "price: 3 items, 1 failed" in texts(svg)
        assert {"price[0]", "\u00d7 price[1]", "price[2]"} <= set(texts(svg))
        assert len({rect.attrib["y"] for rect in rects(svg)}) == 4
        heights = float(ET.fromstring(svg).attrib["viewBox"].split()[-1])
        assert max(float(rect.attrib["y"]) for rect in rects(svg)) < heights - 20

    def test_one_item(self) -> None:
        assert "    section price#58; 1 item" in mapped(1).timeline().splitlines()

    def test_attempts_of_items(self) -> None:
        lines = mapped(2, bad=(1,), retry=flow.Retry(2, delay=0)).timeline().splitlines()
        assert lines[6:] == [
            "    section price#58; 2 items, 1 failed",
            "    price#91;0#93; :done, t1, 0, 1000ms",
            "    price#91;1#93; (attempt 1) :crit, t2, 1000, 1000ms",
            "    price#91;1#93; (attempt 2) :crit, t3, 2000, 1000ms",
        ]

    def test_fifty_are_drawn_one_by_one(self) -> None:
        assert len(titles(mapped(50).timeline("svg"))) == 51

    def test_of_more_the_failed_and_the_slowest(self) -> None:
        found = titles(mapped(60, bad=tuple(range(20, 40))).timeline("svg"))
        assert found[1] == "price: 60 items, 20 failed: failed, 61 s from 0 s"
        assert [title.split(":")[0] for title in found[2:] if "failed" in title] == [
            f"price[{i}]" for i in range(20, 25)
        ]
        assert "price[3]: completed, 2 s from 3 s" in found
        assert len(found) <= 12

    def test_a_fallback_is_no_failure(self) -> None:
        assert "price: 3 items" in texts(mapped(3, bad=(1,), fallback=0).timeline("svg"))

    def test_batches_are_named_by_their_first_item(self) -> None:
        clock = ManualClock()
        dag = flow.Dag("b")
        dag.map("sums", lambda rows: list(rows), over="rows", batch_size=2)
        result = flow.run(dag, {"rows": range(4)}, config=flow.Config(timing=True, clock=clock))
        assert [title.split(":")[0] for title in titles(result.timeline("svg"))] == ["sums", "sums[0]", "sums[2]"]

    @pytest.mark.parametrize("executor", ["inline", "thread"])
    @pytest.mark.parametrize("pipelined", [False, True])
    def test_on_an_event_loop(self, executor: str, pipelined: bool) -> None:
        async def fetch(row: int) -> int:
            return row

        dag = flow.Dag("web")
        dag.map("pages", fetch, over="rows")
        dag.map("words", lambda page: page, over="pages", pipelined=pipelined)
        result = flow.run(dag, {"rows": range(3)}, config=flow.Config(timing=True, executor=executor))
        assert result["words"] == [0, 1, 2]
        names = sorted(title.split(":")[0] for title in titles(result.timeline("svg")))
        assert names == sorted(["pages", "words", *(f"{m}[{i}]" for m in ("pages", "words") for i in range(3))])

    def test_without_timing_nothing_is_kept(self) -> None:
        result = mapped(3, timing=False)
        assert titles(result.timeline("svg")) == ["price: completed, 3 s from 0 s"]

    def test_many_maps_are_counted(self) -> None:
        result = mapped(1, maps=MAX_SECTIONS + 2)
        assert "The items or rounds of 2 more nodes are left out." in texts(result.timeline("svg"))
        assert "(without the items or rounds of 2 nodes)" in result.timeline().splitlines()[1]
        many = Section("m", tuple(Bar(f"m[{i}]", 0.0, 1.0) for i in range(MAX_MERMAID)))
        title = gantt("x", [Bar("n", 0.0, 1.0)], [many]).splitlines()[1]
        assert title == "    title x (without the items or rounds of 1 node)"


def test_an_error_without_a_text_does_no_harm() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    dag = flow.Dag("mute")

    @dag.node
    def node() -> None:
        raise Mute

    (bar,) = _bars_of(flow.run(dag, config=flow.Config(timing=True, on_error="collect")))
    assert bar.detail == "Mute (its message cannot be shown)"


def test_cut_keeps_both_ends() -> None:
    assert cut("blast_00000042", 8) == "bl\u202600042"
    assert cut("short", 8) == "short"
    assert cut("long enough", 0) == "\u2026"


def test_seconds() -> None:
    assert [seconds(t) for t in (0, 1.5, 1234, 0.0123, 1.5e-5)] == ["0 s", "1.5 s", "1,234 s", "12.3 ms", "15 us"]
