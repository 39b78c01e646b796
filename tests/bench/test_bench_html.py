"""The HTML report: whole, offline, escaped, with a plot for every shape of rows and a table of every row."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from flow_bench.harness.rows import Row, Target
from flow_bench.report import draw, page, plots, tables
from flow_bench.report.page import PARTS, divided
from flow_bench.report.tables import judged, verdicts

HOSTILE = "</script><img src=x onerror=alert(1)> & \"{{body}}\" 'q'"
VOID = {"meta", "link", "br", "img", "input", "hr"}
STYLE = page.TEMPLATE.read_text(encoding="utf-8")


class Reader(HTMLParser):
    """Collects what tests ask for, and holds that all elements are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.said: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.said.append(data)

    def values(self, name: str, tag: str = "") -> list[str]:
        return [found[name] for one, found in self.elements if name in found and tag in ("", one)]

    def of_class(self, name: str) -> list[dict[str, str]]:
        return [found for _, found in self.elements if name in found.get("class", "").split()]

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.said))


def plots_of(text: str) -> dict[str, Reader]:
    """The plots of a page, by what is said of them."""
    start = '<div class="plot" role="img" aria-label="'
    found = {}
    for part in text.split(start)[1:]:
        says, _, rest = part.partition('">')
        depth = 1  # to the plot's own end
        for one in re.finditer(r"<(/?)div\b", rest):
            depth += -1 if one[1] else 1
            if not depth:
                found[says] = Reader(rest[: one.start()])
                break
    return found


def row(section: str, label: str, value: float | None, suite: str = "dag", **more: Any) -> Row:
    samples = [] if value is None else [value * part for part in (0.9, 1.0, 1.1)]
    more = {"unit": "us", "samples": samples, "suite": suite} | more
    return Row(section, label, **more)


def rows() -> list[Row]:
    sizes = [row("building", "Dag.add", 0.4 * n, nodes=n, topology="chain") for n in (10, 100, 1_000)]
    peers = [
        row("one run", label, value * k, suite="peers", nodes=1_000, topology=series)
        for k, series in enumerate(("chain", "tree"), 1)
        for label, value in (("Hamilton", 12.0), ("flow", 0.25), ("Dask", 80.0))
    ]
    absent = row(
        "one run", "LangGraph", None, suite="peers", nodes=1_000, topology="chain", note="n/a: <not> installed"
    )
    calls = [
        row("node", label, None, suite="node", each=True, samples=[1.0 + k / 100 for k in range(200)])
        for label in ("sync compute", "sync compute, by hand")
    ]
    limited = [
        row("workers", "sleep 1 ms", 100 / n, suite="concurrency", unit="ms", nodes=100, topology=f"limit={n}",
            figures={"efficiency": 1 - n / 100})
        for n in (1, 8, 32)
    ]  # fmt: skip
    memory = [
        row(
            "bytes per node",
            "built",
            410.0,
            suite="memory",
            unit="bytes",
            target=Target(400.0, of="figure", binding=True),
        ),
        row("bytes per node", HOSTILE, 9_720.0, suite="memory", unit="bytes"),
    ]
    return [*sizes, *peers, absent, *calls, *limited, *memory]


def document(found: list[Row], **more: Any) -> dict[str, Any]:
    machine = {
        "cpu": "Some <CPU>", "cores": 2, "system": "Linux", "python": "CPython 3.13", "flow": "1", "libraries": {},
        "load": [0.5], "commit": "abc1234", "date": "2025-01-02",
    }  # fmt: skip
    made = [one.to_dict() | {"passes": []} for one in found]
    return {"schema": 1, "name": "nightly", "machine": machine, "settings": {}, "passes": 3, "rows": made} | more


def passes(found: list[Row], factor: float = 1.0, name: str = "nightly") -> dict[str, Any]:
    made = document([replace(one, samples=[s * factor for s in one.samples], figure=None) for one in found], name=name)
    for one in made["rows"]:
        one["passes"] = [
            {
                "samples": [s * k for s in one["samples"]],
                "ratios": [],
                "cpu": [],
                "figure": one["figure"] * k,
                "figures": {},
            }
            for k in (0.999, 1.0, 1.001)
            if one["figure"] is not None
        ]
    return made


def percents(reader: Reader, tag: str, name: str) -> list[float]:
    return [float(value.removesuffix("%")) for value in reader.values(name, tag)]


# -- the page --------------------------------------------------------------------------------


def test_the_page_is_whole_and_asks_the_network_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    page.write(document(rows()), path)
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert "{{" not in text.replace("{{body}}", "")
    found = Reader(text)
    links = found.values("src") + found.values("href")
    assert [value for value in links if not value.startswith("#")] == []
    assert "http" not in text.replace("http-equiv", "")
    policy = next(value for value in found.values("content") if "default-src" in value)
    assert "default-src 'none'" in policy
    ids = found.values("id")
    assert len(ids) == len(set(ids))
    assert {value[1:] for value in links} <= set(ids)
    shown = {value[1:] for value in links} & {*PARTS, "suite-concurrency"}
    assert shown == {*PARTS, "suite-concurrency"}  # the navigation


def test_a_page_of_many_rows_is_small() -> None:
    """More rows than ``run --all --quick`` has, in more plots per row; no round of theirs is in the page."""
    many = [replace(one, section=f"{one.section} {k}") for k in range(70) for one in rows()]
    assert len(many) == 1_190
    assert len(page.page(document(many)).encode()) < 1_500_000


def test_every_row_is_in_one_table_with_its_figure() -> None:
    found = [one for one in rows() if "bytes" not in one.figures]
    text = page.page(document(found))
    said = Reader(text).text
    for one in found:
        assert re.sub(r"\s+", " ", one.label) in said
        assert plots.shown(one) in said
    assert text.count('<tr><th scope="row">') == len(found)
    for fact in ("Some <CPU>, 2 cores", "flow 1 at abc1234", "2025-01-02, 3 passes", "n/a: <not> installed"):
        assert fact in said
    assert "2.97" in said  # the 99th percentile of the calls


def test_text_from_a_document_is_never_markup() -> None:
    text = page.page(document(rows(), name="<b>n</b>", faults={"core": "<i>died</i>", "peers": "n/a: x"}))
    assert "<img" not in text
    assert text.count("{{body}}") >= 2  # as a label, in table and plot
    found = Reader(text)
    assert not found.values("onerror")
    assert HOSTILE in found.text
    assert "core: <i>died</i> peers: n/a: x" in found.text


def test_a_document_without_rows_is_a_page() -> None:
    text = page.page(document([]))
    assert plots_of(text) == {}
    assert "nightly" in Reader(text).text
    assert "no figure here has a target" in Reader(text).text


def test_changes_are_shown_per_row_with_their_verdict() -> None:
    before = passes(rows(), name="last <week>")
    after = passes([replace(one, samples=[s * 2 for s in one.samples], figure=None) if one.label == "flow" else one
                    for one in rows()])  # fmt: skip
    text = page.page(after, before)
    said = Reader(text).text
    assert "Changes since last <week>" in said
    assert said.count("slower") == 3  # two rows and the summary
    assert "2 slower" in said
    assert said.count("2.00x (") == 2
    first = next(iter(plots_of(text).values()))
    places = [one["x"] for one in first.of_class("s1")]  # worse
    assert len(places) == 2
    assert len(set(places)) == 1
    line = float(first.of_class("mark")[0]["style"].removeprefix("left:").removesuffix("%"))
    assert line < float(places[0].removesuffix("%"))  # right of 1
    assert "not compared" in said  # the absent peer


# -- what failed -----------------------------------------------------------------------------


def target(at_most: float, *, binding: bool = True, **more: Any) -> Target:
    return Target(at_most, of="figure", binding=binding, **more)


def judged_rows() -> list[Row]:
    return [
        row("s", "met", 1.0, target=target(2.0)),
        row("s", "over", 3.0, target=target(2.0), nodes=10, topology="tree"),
        row("s", "elsewhere", 3.0, target=target(2.0, binding=False)),
        row("s", "absent", None, target=target(2.0), note="n/a: no such module"),
        row("s", "without", 1.0),
    ]


def test_what_failed_comes_first_then_what_cannot_be_judged() -> None:
    found = verdicts(judged_rows())
    assert [[one.label for one in many] for many in (found.missed, found.unjudged, found.met)] == [
        ["over"], ["elsewhere", "absent"], ["met"],
    ]  # fmt: skip
    assert found.headline == "1 missed, 2 not judged here, 1 met"
    said = Reader(page.page(document(judged_rows()))).text
    order = [
        "1 missed, 2 not judged here, 1 met", "Targets missed", "over", "3.00 us", "target <= 2", "dag, s, 10 nodes",
        "2 targets not judged here", "elsewhere", "it would be missed", "absent", "n/a: no such module", "Some <CPU>",
    ]  # fmt: skip
    places = [said.index(words) for words in order]
    assert places == sorted(places)


def test_the_text_of_a_run_says_the_same() -> None:
    first, *rest = tables.summary(judged_rows()).splitlines()
    assert first.startswith("1 missed, 2 not judged here, 1 met")
    assert [line.split() for line in rest] == ["MISS [dag] s, over, 10, tree 3.00 us target <= 2".split()]
    assert tables.summary([row("s", "a", 1.0)]) == "no figure here has a target"
    assert tables.summary([row("s", "a", 1.0, target=target(1.0))]) == "0 missed, 0 not judged here, 1 met"


def test_a_refused_suite_is_in_the_headline() -> None:
    text = page.page(document(judged_rows()[:1], faults={"core": "nodes left undone", "peers": "n/a: no dask"}))
    assert Reader(text).text.count("1 suite refused, 0 missed, 0 not judged here, 1 met") == 1
    assert '<p class="headline bad">' in text
    assert '<p class="headline good">' in page.page(document(judged_rows()[:1]))


def test_a_figure_just_above_its_limit_does_not_read_like_it() -> None:
    assert judged(row("s", "a", 1.1033, target=target(1.1))) == "1.1033 us"
    assert judged(row("s", "a", 1.2, target=target(1.1))) == "1.20 us"
    assert judged(Row("s", "a", "us", [5.0], ratios=[1.25], target=Target(2.0))) == "1.25x"
    assert judged(row("s", "a", None, target=target(1.1))) == "n/a"


# -- what is where ---------------------------------------------------------------------------


def test_rows_lie_where_a_reader_looks_for_them() -> None:
    mixed = [
        row("mixed", "P99 completion", 3.0, suite="workflow", nodes=10),
        row("mixed", "while alive", 3.0, suite="workflow", unit="bytes"),
        row("mixed", "throughput", 3.0, suite="workflow", unit="workflows/s"),
        row("mixed", "to tasks", 3.0, suite="workflow", unit="x"),
        row("alone", "ratio", 3.0, suite="core", unit="x"),
        row("tasks at once", "flow", 3.0, suite="concurrency", nodes=10),
        row("tasks at once", "flow", 3.0, suite="concurrency", nodes=100),
    ]
    parts, suites = divided([*rows(), *mixed])
    where = {name: sorted({(one.suite, one.section, one.unit) for one in mine}) for name, mine in parts.items()}
    assert where == {
        "peers": [("peers", "one run", "us")],
        "scaling": [("dag", "building", "us")],
        "latency": [("node", "node", "us"), ("workflow", "mixed", "us"), ("workflow", "mixed", "x")],
        "memory": [("memory", "bytes per node", "bytes"), ("workflow", "mixed", "bytes")],
    }
    assert {name: len(mine) for name, mine in suites.items()} == {"concurrency": 5, "workflow": 1, "core": 1}


def test_bytes_and_blocks_of_operations_are_drawn_side_by_side() -> None:
    made = [
        row("building", "Dag.add", 0.4, nodes=n, topology="chain", figures={"bytes": 10.0 * n, "blocks": 2.0})
        for n in (10, 100)
    ] + [row("other", "compile", 1.0, nodes=100, figures={"bytes": 500.0, "blocks": 7.0})]
    text = page.page(document(made))
    found = {says.split(": ")[1]: one for says, one in plots_of(text).items() if "per operation" in says}
    assert list(found) == ["bytes", "blocks"]
    assert [one.text for one in found.values() if "1,000" in one.text]  # of 100 nodes, not of 10
    wide = percents(found["bytes"], "rect", "width")
    assert wide[0] == pytest.approx(2 * wide[1], rel=0.01)
    said = Reader(text).text
    assert "bytes and blocks per operation (dag)" in said
    assert said.count("Dag.add") >= 5  # both sizes in both tables


def test_without_other_libraries_the_page_says_how_to_have_them() -> None:
    assert "Not measured in this run: --peers" in Reader(page.page(document(judged_rows()))).text


# -- plots -----------------------------------------------------------------------------------


def test_there_is_a_plot_for_every_shape() -> None:
    found = plots_of(page.page(document(rows())))
    assert len(found) == 8
    (building,) = (one for says, one in found.items() if says.startswith("building"))
    assert "Curves over nodes from 10 to 1,000: Dag.add from 4.00 µs to 400 µs." in next(
        says for says in found if says.startswith("building")
    )
    (line,) = building.values("points", "polyline")
    points = [tuple(map(float, point.split(","))) for point in line.split()]
    assert [b[0] - a[0] for a, b in pairwise(points)] == pytest.approx([44.64, 44.64], abs=0.02)  # decades
    assert points[0][1] - points[1][1] == pytest.approx(points[1][1] - points[2][1], abs=0.02)  # both logarithmic
    assert "Dag.add: 100 nodes, chain: 40.0 µs (38.0 to 42.0)" in building.values("data-say")
    peers = [one for says, one in found.items() if says.startswith("one run")]
    wide = [percents(one, "rect", "width") for one in peers]
    assert all(len(mine) == 3 and mine == sorted(mine) for mine in wide)  # fastest first
    assert all(b - a > 1 for a, b in zip(*wide, strict=True))  # one axis: twice as slow is longer
    assert [len(one.of_class("other")) for one in peers] == [2, 2]
    memory = next(one for says, one in found.items() if says.startswith("bytes per node"))
    assert len(memory.of_class("target")) == 1
    calls = [one for says, one in found.items() if says.startswith("node")]
    assert [len(one.of_class("box")) for one in calls] == [2, 0]
    assert [len(one.values("points")) for one in calls] == [0, 2]
    workers = next(one for says, one in found.items() if says.startswith("workers: Curves"))
    assert len(workers.of_class("ideal")) == 1


def test_a_bar_is_as_wide_as_its_figure_and_its_whiskers_stand_around_it() -> None:
    scale = draw.axis([0.0, 100.0], "us")
    found = Reader(draw.lanes([draw.Lane("a", 50.0, 40.0, 60.0, "50 us", target=80.0)], scale))
    (wide,) = percents(found, "rect", "width")
    assert wide == pytest.approx(50 / 1.05, abs=0.01)
    (thin,) = ([float(one[end].removesuffix("%")) for end in ("x1", "x2")] for one in found.of_class("thin"))
    assert thin == pytest.approx([40 / 1.05, 60 / 1.05], abs=0.01)
    assert float(found.of_class("target")[0]["x1"].removesuffix("%")) == pytest.approx(80 / 1.05, abs=0.01)
    assert found.values("data-say") == ["40.0 to 60.0; target: at most 80.0 us"]


def test_a_bar_below_zero_ends_at_zero() -> None:
    scale = draw.axis([-50.0, 100.0], "bytes")
    found = Reader(draw.lanes([draw.Lane("a", -50.0)], scale))
    (left,), (wide,) = percents(found, "rect", "x"), percents(found, "rect", "width")
    assert left + wide == pytest.approx(scale.at(0.0), abs=0.02)
    assert left < scale.at(0.0)


def test_percentiles_and_maxima_have_no_whiskers() -> None:
    late = row("late by", "p99", None, suite="core", samples=[1.0, 2.0, 3.0], figure=9.0)
    found = plots_of(page.page(document([late, replace(late, label="p50", figure=2.0)])))
    (drawn,) = found.values()
    assert len(drawn.of_class("thin")) == 1  # of the median alone


def test_series_beyond_the_colours_are_dashed_and_have_another_mark() -> None:
    looks = {(draw.colour(k), draw.mark_of(k)) for k in range(64)}
    assert len(looks) == 64
    x, y = draw.places([(1.0, "1"), (10.0, "10")], "nodes"), draw.axis([1.0, 2.0], "us", log=True)
    points = [(1.0, 1.0, "one"), (10.0, 2.0, "")]
    found = Reader(draw.curves([draw.Curve("a", 0, points), draw.Curve("b", 8, points)], x, y))
    assert [one["class"] for one in found.of_class("dashed")] == ["s8 c0 dashed"]
    assert found.values("data-say") == ["a: one", "b: one"]  # a point of which nothing is said has no mark


def test_labels_under_an_axis_do_not_touch() -> None:
    ticks = [(float(n), f"{n:,}") for n in (100_000, 100_001, 1_000_000)]
    found = Reader(draw.curves([], draw.places(ticks, "nodes"), draw.axis([1.0, 2.0], "us")))
    assert "1,000,000" in found.text
    assert "100,001" in found.text
    assert "100,000" not in found.text.replace("1,000,000", "")


def test_a_legend_hides_the_series_that_it_names() -> None:
    text = page.page(document(rows()))
    buttons = Reader(text).values("data-series", "button")
    assert buttons
    for name in buttons:
        assert f'class="{name} ' in text
    assert '".plot ." + button.dataset.series' in STYLE


@pytest.mark.parametrize(
    ("labels", "ours"),
    [
        (["flow", "Dask"], {"flow"}),
        (["a", "b"], {"a", "b"}),
        (["sync", "sync, by hand"], {"sync"}),
        (["workflow of 3", "1,000 tasks: flow.execute"], {"1,000 tasks: flow.execute"}),
    ],
)
def test_which_labels_are_this_library(labels: list[str], ours: set[str]) -> None:
    assert plots.ours_of(labels) == ours


def test_names_are_as_short_as_they_can_be() -> None:
    one, two = row("s", "a", 1.0, nodes=10, topology="x"), row("s", "b", 1.0, nodes=20, topology="x")
    assert [plots.named([one, two])(r) for r in (one, two)] == ["a", "b"]
    assert plots.named([one, replace(one, nodes=30)])(one) == "a, 10 nodes"
    assert plots.named([one, replace(one, topology="y")])(one) == "a, x"


@pytest.mark.parametrize(
    ("values", "log"), [([1.0, 2.0], False), ([1.0, 31.0], True), ([-1.0, 100.0], False), ([0.0, 0.0], False)]
)
def test_axes_are_logarithmic_where_values_differ_much(values: list[float], log: bool) -> None:
    made = draw.axis(values, "us")
    assert made.log == log
    assert made.low < made.high
    assert [made.at(value) for value in values] == sorted(made.at(value) for value in values)
    assert 2 <= len(made.ticks) <= 8
    if not log:
        assert made.low <= min(0.0, *values)


def test_an_axis_ends_where_its_room_does() -> None:
    for made in (draw.axis([1.0, 2.0], "us"), draw.axis([1.0, 100.0], "us")):
        assert made.at(made.low) == 0.0
        assert made.at(made.high) == pytest.approx(100.0)
        assert made.at(1e9) == 100.0
        assert made.at(-1.0) == 0.0


@pytest.mark.parametrize(("begin", "end"), [(0.0, 0.6), (-1.1, 0.3), (-2.0, 3.0), (0.3, 9.1)])
def test_logarithmic_ticks_are_few_and_round(begin: float, end: float) -> None:
    ticks = draw.log_ticks(begin, end)
    assert 3 <= len(ticks) <= 8
    assert all(one < other for one, other in pairwise(ticks))
    assert begin <= min(map(draw.log10, ticks)) <= max(map(draw.log10, ticks)) <= end


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 105.0, [0, 20, 40, 60, 80, 100]),
        (-50.0, 100.0, [-50, -25, 0, 25, 50, 75, 100]),
        (0.0, 1.0, [0, 0.2, 0.4, 0.6, 0.8, 1]),
    ],
)
def test_linear_ticks_are_few_and_round(low: float, high: float, ticks: list[float]) -> None:
    assert draw.round_ticks(low, high) == pytest.approx(ticks)


def test_short_numbers() -> None:
    values = (0.05, 1.5, 20, 1_000, 10_000, 2e6, 0, -250, -20_000)
    assert [draw.short(v) for v in values] == ["0.05", "1.5", "20", "1,000", "10k", "2M", "0", "-250", "-20k"]


# -- colours ---------------------------------------------------------------------------------


def colours() -> tuple[dict[str, str], dict[str, str]]:
    """On light and on dark pages, by name."""
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    return tuple(dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", one)) for one in (light, dark))  # type: ignore[return-value]


def luminance(colour: str) -> float:
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(part * weight for part, weight in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))


def contrast(one: str, other: str) -> float:
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_colours_can_be_seen_on_light_and_dark_pages() -> None:
    light, dark = colours()
    assert set(light) == set(dark)
    assert {f"c{k}" for k in range(draw.COLOURS)} <= set(light)
    for found in (light, dark):
        assert {name: round(contrast(found[name], found["card"]), 1) for name in found
                if name not in ("card", "page", "line") and contrast(found[name], found["card"]) < 3} == {}  # fmt: skip
        for text in ("ink", "soft", "good", "bad", "accent"):
            assert contrast(found[text], found["card"]) >= 4.5
            assert contrast(found[text], found["page"]) >= 4.5
