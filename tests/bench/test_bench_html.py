"""The HTML report: whole, offline, escaped, with a plot for every shape of rows and a table of every row."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from flow_bench.harness.rows import Row, Target
from flow_bench.report.tables import draw, plots

pytest.importorskip("plotly")

from flow_bench import html  # noqa: E402

HOSTILE = "</script><img src=x onerror=alert(1)> & \"{{plotly}}\" 'q'"
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Reader(HTMLParser):
    """Collects what tests ask for, and holds that all elements are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.said: list[str] = []
        self.figures: list[dict[str, Any]] = []
        self.kind: str | None = None
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]
        self.kind = dict(attrs).get("type") if tag == "script" else None
        if tag not in VOID and tag != "path":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.said.append(data)
        elif self.kind == "application/json":
            self.figures.append(json.loads(data))

    def values(self, name: str) -> list[str]:
        return [value or "" for _, key, value in self.attributes if key == name]

    @property
    def text(self) -> str:
        return "\n".join(self.said)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five megabytes of plotly's script are not what is looked at here."""
    monkeypatch.setattr("plotly.offline.get_plotlyjs", lambda: "window.Plotly = {};")


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


def test_the_page_is_whole_and_asks_the_network_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    html.write(document(rows()), path)
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert text.count("window.Plotly = {};") == 1
    page = Reader(text)
    assert [value for value in page.values("src") + page.values("href") if not value.startswith("#")] == []
    assert "http" not in text.replace("http-equiv", "")
    policy = next(value for value in page.values("content") if "default-src" in value)
    assert "default-src 'none'" in policy
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {value[1:] for value in page.values("href")} <= set(ids)


def test_every_row_is_in_a_table_with_its_figure() -> None:
    found = rows()
    said = re.sub(r"\s+", " ", Reader(html.page(document(found))).text)
    for one in found:
        assert re.sub(r"\s+", " ", one.label) in said
        assert plots.shown(one) in said
    for fact in ("Some <CPU>, 2 cores", "flow 1 at abc1234", "2025-01-02, 3 passes", "n/a: <not> installed"):
        assert fact in said
    assert "2.97" in said  # the 99th percentile of the calls
    assert "0 of 1 targets met" in said
    assert "Targets missed" in said
    assert "<= 400" in said


def test_text_from_a_document_is_never_markup() -> None:
    text = html.page(document(rows(), name="<b>n</b>", faults={"core": "<i>died</i>", "peers": "n/a: x"}))
    assert "<img" not in text
    assert text.count("{{plotly}}") >= 2  # as a label, in table and plot
    page = Reader(text)
    assert "onerror" not in [name for _, name, _ in page.attributes]
    drawn = [note["text"] for figure in page.figures for note in figure["layout"].get("annotations", [])]
    hostile = [text for text in drawn if "script" in text]
    assert len(hostile) == 1
    assert "<" not in hostile[0].replace("<br>", "")  # plotly takes markup in text for its own
    said = re.sub(r"\s+", " ", page.text)
    assert "1 suites refused: work not done" in said
    assert "core: <i>died</i> peers: n/a: x" in said


def test_there_is_a_plot_for_every_shape() -> None:
    page = Reader(html.page(document(rows())))
    labels = [value for tag, name, value in page.attributes if (tag, name) == ("div", "aria-label") and value]
    plots_said = [label for label in labels if ": " in label]
    assert len(plots_said) == len(page.figures) == 8
    of = dict(zip([label.split(":")[0] for label in plots_said], page.figures, strict=True))
    assert of["building"]["layout"]["xaxis"]["type"] == of["building"]["layout"]["yaxis"]["type"] == "log"
    assert of["building"]["data"][0]["y"] == [4.0, 40.0, 400.0]
    peers = [figure for label, figure in zip(plots_said, page.figures, strict=True) if label.startswith("one run")]
    assert [figure["data"][0]["x"] for figure in peers] == [[0.25, 12.0, 80.0], [0.5, 24.0, 160.0]]  # fastest first
    assert peers[0]["data"][0]["marker"]["color"] == [draw.OURS, draw.OTHERS, draw.OTHERS]
    assert peers[0]["layout"]["xaxis"]["type"] == "log"
    assert peers[0]["layout"]["xaxis"]["range"] == peers[1]["layout"]["xaxis"]["range"]
    kinds = [[trace["type"] for trace in figure["data"]] for figure in page.figures]
    assert ["box", "scatter", "box", "scatter"] in kinds  # ours, and by hand
    assert of["bytes per node"]["data"][1]["x"] == [400.0]  # the target
    ideal = next(
        f["data"][1]["y"] for f in page.figures if f["data"][1:] and f["data"][1].get("line", {}).get("dash") == "dot"
    )
    assert ideal == pytest.approx([99.0, 11.5, 2.125])
    assert "Curves over nodes from 10 to 1,000: Dag.add from 4.00 µs to 400 µs." in plots_said[0]


def test_changes_are_shown_per_row_with_their_verdict() -> None:
    before = passes(rows(), name="last <week>")
    after = passes([replace(one, samples=[s * 2 for s in one.samples], figure=None) if one.label == "flow" else one
                    for one in rows()])  # fmt: skip
    page = Reader(html.page(after, before))
    said = re.sub(r"\s+", " ", page.text)
    assert "Changes since last <week>" in said
    assert said.count("slower") == 3  # two rows and the summary
    assert "2 slower" in said
    assert said.count("2.00x (") == 2
    first = page.figures[0]
    assert first["data"][0]["x"] == pytest.approx([2.0, 2.0])
    assert "not compared" in said  # the absent peer


def test_a_document_without_rows_is_a_page() -> None:
    page = Reader(html.page(document([])))
    assert page.figures == []
    assert "nightly" in page.text


def test_without_plotly_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def absent(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr("flow_bench.draw.importlib.import_module", absent)
    with pytest.raises(ModuleNotFoundError) as caught:
        html.write(document([]), tmp_path / "page.html")
    assert "pip install '.[bench]'" in caught.value.__notes__[0]
    assert not (tmp_path / "page.html").exists()


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
    ("values", "kind"), [([1.0, 2.0], None), ([1.0, 31.0], "log"), ([-1.0, 100.0], None), ([0.0, 0.0], None)]
)
def test_axes_are_logarithmic_where_values_differ_much(values: list[float], kind: str | None) -> None:
    made = draw.axis(values, "us")
    assert made.get("type") == kind
    low, high = made["range"]
    assert low < high
    if kind is None:
        assert low <= min(0.0, *values)


@pytest.mark.parametrize(("begin", "end"), [(0.0, 0.6), (-1.1, 0.3), (-2.0, 3.0), (0.3, 9.1)])
def test_logarithmic_ticks_are_few_and_round(begin: float, end: float) -> None:
    ticks = draw.log_ticks(begin, end)
    assert 3 <= len(ticks) <= 8
    assert all(one < other for one, other in pairwise(ticks))
    assert begin <= min(map(draw.log10, ticks)) <= max(map(draw.log10, ticks)) <= end


def test_short_numbers() -> None:
    assert [draw.short(v) for v in (0.05, 1.5, 20, 1_000, 10_000, 2e6)] == ["0.05", "1.5", "20", "1,000", "10k", "2M"]


def test_every_colour_has_one_for_dark_pages() -> None:
    used = {draw.INK, draw.SOFT, draw.GRID, draw.OTHERS, draw.CARD, *draw.PALETTE}
    assert used == set(draw.DARK)
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for pair in draw.DARK.items() for colour in pair)
    assert len({(draw.marker(k)["color"], draw.marker(k)["symbol"]) for k in range(64)}) == 64
    assert set(draw.SYMBOLS) == set(html.SHAPES)
