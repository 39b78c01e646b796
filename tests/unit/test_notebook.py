"""What notebooks show: well-formed, escaped, and told by text as well as by colour, in every state."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import pytest

import flow
from flow.config import Config
from flow.draw import style
from flow.draw.levels import MAX_ROWS
from flow.draw.picture import MAX_NODES
from flow.draw.svg import MARKS, MAX_LABEL
from flow.plan import pictured
from flow.run import card
from flow.tuning.report import Reason, Tried, TuneReport
from flow.tuning.search import Gain
from flow.types import Status

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "a<b>&\"'\x1b[31m\u202e\ud800\x00</script><script>alert(1)</script>"


def tree(html: str) -> ElementTree.Element:
    """Parse what is shown: XML as well as HTML."""
    assert "<script" not in html and "id=" not in html and "http" not in html.replace("http://www.w3.org/2000/svg", "")
    html.encode("utf-8")
    return ElementTree.fromstring(html)


def words(html: str) -> str:
    """All that a reader sees; the text for pages without styles left out."""
    root = tree(html)
    found = [
        "".join(element.itertext())
        for element in root.iter()
        if element.tag.removeprefix(SVG) in ("b", "span", "td", "th", "li", "text", "caption", "div")
        and (element.tag != "div" or not len(element))
    ]
    return "\n".join(found)


def tips(html: str) -> list[str]:
    return ["".join(element.itertext()) for element in tree(html).iter() if element.tag.removeprefix(SVG) == "title"]


def boxes(html: str, kind: str) -> int:
    return html.count(f'class="flow-{kind}"')


def fails() -> None:
    raise ValueError(HOSTILE)


def source() -> list[int]:
    return [1, 2, 0]


def divided(item: int) -> float:
    return 1 / item


def etl() -> flow.Dag:
    dag = flow.Dag("etl")
    dag.add("source", source)
    dag.map("halves", divided, over="source", on_error="collect")
    dag.add("rate", fails, fallback=2)
    dag.add("broken", fails, after="source", continue_on_error=True)
    dag.add("skipped", lambda broken: 1)
    dag.add("cached", fails)
    dag.add("text", lambda halves, rate, cached: HOSTILE)
    return dag


@pytest.fixture
def result() -> flow.Result:
    config = Config(on_error="collect", timing=True)
    return flow.run(etl(), config=config, known={"cached": flow.Outcome("completed", 3)})


# -- every class -----------------------------------------------------------------------------


def test_a_dag_and_its_plan() -> None:
    dag = etl()
    html = dag._repr_html_()
    assert html == dag.compile()._repr_html_()
    assert "etl\n7 nodes, 6 edges" in words(html)
    assert boxes(html, "box") == 8, "a map is drawn as several"
    assert html.count('class="flow-edge"') == 5 and html.count('class="flow-edge flow-order"') == 1
    told = tips(html)
    assert any(tip.startswith("halves\nmap, sync\n") and "test_notebook.py:" in tip for tip in told)
    assert any(tip.startswith("rate\nsync, fallback 2\n") for tip in told)
    assert any(tip.startswith("broken\nsync, may fail\n") for tip in told)


def test_what_a_plan_is_like() -> None:
    async def later(a: int, b: int = 1) -> int:
        return a

    inner = flow.Dag("inner")
    inner.add("one", source)
    dag = flow.Dag("kinds")
    dag.add("later", later, retry=flow.Retry(3))
    dag.add("inner", inner)
    dag.add("threaded", source, thread=True)
    dag.add("pooled", source, executor="pool")
    dag.reduce("sum", lambda so_far, item: so_far + item, over="xs", start=0)
    dag.map("in_threads", divided, over="xs", thread=True, fallback=0)
    html = dag._repr_html_()
    told = "\n".join(tips(html))
    for line in ("async, up to 3 attempts", "dag, sync", "sync, in a thread", "sync, executor pool", "reduce, sync"):
        assert line in told
    assert re.search("in_threads\nmap, .*in a thread, fallback 0", told)
    assert "inputs: a, b (optional), xs" in words(html)


def test_a_dag_that_cannot_be_compiled_shows_its_faults() -> None:
    dag = flow.Dag("bad")
    dag.add(HOSTILE, source)
    dag.add("b", source, after="nowhere")
    html = dag._repr_html_()
    assert "cannot be compiled: 2 faults" in words(html)
    assert "'nowhere', which is no node of this dag" in words(html)
    assert "&#x27;a&lt;b&gt;" in html
    for i in range(40):
        dag.add(f"c{i}", source, after="nowhere")
    assert "... and 22 more" in words(dag._repr_html_())
    odd = flow.Dag(5)  # type: ignore[arg-type]
    odd.add("a", source)
    assert "dag name 5 is refused" in words(odd._repr_html_())


def test_an_empty_dag() -> None:
    html = flow.Dag("new")._repr_html_()
    assert words(html) == "new\n0 nodes" and "<ul" in html


def test_a_result(result: flow.Result) -> None:
    html = result._repr_html_()
    text = words(html)
    assert "\u2717 NOT OK\n5 completed, 1 failed, 1 skipped\nin " in text
    assert (boxes(html, "completed"), boxes(html, "failed"), boxes(html, "skipped")) == (6, 1, 1)
    for status in ("completed", "failed", "skipped"):
        assert f'class="flow-mark-{status}"' in html
        assert MARKS[Status(status)] in html
    assert re.search(r"halves\n[\d.]+ [um]?s, 3 items, 1 failed\n", text)
    assert re.search(r"rate\n[\d.]+ [um]?s, fallback\n", text) and "cached\nknown\n" in text
    assert "failed nodes\nnode\nerror\nat\nbroken\nValueError: a<b>&\"'\\x1b[31m\\u202e\\ud800\\x00</script>" in text
    assert re.search(rf"\n{re.escape(__file__)}:\d+\n", text.replace("tests/unit/test_notebook.py", __file__))
    assert "fallbacks\nnode\nafter\nat\nrate\nValueError" in text
    assert "outputs\nnode\noutput\ntext\n" in text
    assert any(tip.startswith("broken: failed\nValueError: ") for tip in tips(html))


def test_a_result_that_is_ok_and_has_attempts() -> None:
    tries: list[int] = []

    def flaky() -> int:
        tries.append(1)
        if len(tries) < 3:
            raise OSError
        return 7

    dag = flow.Dag("d")
    dag.add("flaky", flaky, retry=flow.Retry(3, delay=0.0))
    text = words(flow.run(dag)._repr_html_())
    assert "\u2713 ok\n1 completed" in text and "flaky\n3 attempts" in text and "flaky\n7" in text
    tries.clear()
    dag.add("flaky", flaky, retry=flow.Retry(2, delay=0.0), replace=True)
    failed = flow.run(dag, config=Config(on_error="collect"), known={}).error()
    assert failed is not None and "(attempt 2)" in words(failed.result._repr_html_())


def test_a_cancelled_and_timed_out_run() -> None:
    import anyio

    async def forever() -> None:
        await anyio.sleep_forever()

    dag = flow.Dag("slow")
    dag.add("forever", forever)
    with pytest.raises(flow.RunError) as caught:
        flow.run(dag, config=Config(timeout=0.01))
    text = words(caught.value._repr_html_())
    assert "the run exceeded its limit of 0.01 s" in text and "TimeoutError" in text
    html = caught.value.result._repr_html_()
    assert "1 cancelled" in words(html) and "out of time" in words(html) and boxes(html, "cancelled") == 1


def test_freed_and_hidden_outputs() -> None:
    dag = flow.Dag("d")
    dag.add("a", lambda: "secret")
    dag.add("b", lambda: "public")
    assert "secret" not in flow.run(dag, config=Config(show_values=False))._repr_html_()
    result = flow.run(dag, targets=["a", "b"], config=Config(keep=["b"]))
    assert "secret" not in result._repr_html_() and "public" in result._repr_html_()


def test_a_run_error(result: flow.Result) -> None:
    error = result.error()
    assert error is not None
    html = error._repr_html_()
    text = words(html)
    assert "RunError\n\u2717 dag 'etl': 1 of 7 nodes failed: 'broken'" in text
    assert "node\nerror\nat\nbroken\nValueError: a<b>" in text and boxes(html, "failed") == 1
    alone = flow.RunError("text <b>", [ValueError("x"), KeyError("y")], None, ["one"])
    text = words(alone._repr_html_())
    assert "one\nValueError: x\n\n\nKeyError: 'y'" in text and "<svg" not in alone._repr_html_()
    for item in error.exceptions:
        assert isinstance(item, ValueError)


def test_which_item_it_was() -> None:
    dag = flow.Dag("d")
    dag.add("source", source)
    dag.map("halves", divided, over="source")
    with pytest.raises(flow.RunError) as caught:
        flow.run(dag)
    assert "ZeroDivisionError: division by zero (item 2 (0))" in words(caught.value._repr_html_())


def test_a_map_result(result: flow.Result) -> None:
    text = words(result["halves"]._repr_html_())
    assert "halves\n\u2717 NOT OK\n2 of 3 items completed, 1 failed\nfailed items\nitem\nerror\nat\n2\n" in text
    errors = {i: ValueError(f"<{i}>") for i in range(30)}
    missing = [flow.types.MISSING] * 40
    many = flow.MapResult("m", missing, errors, [f"key<{i}" for i in range(40)])
    text = words(many._repr_html_())
    assert "0 of 40 items completed, 30 failed\n10 never came" in text
    assert "19: 'key<19'\nValueError: <19>" in text and "key<20" not in text and "... and 10 more rows" in text
    assert "\u2713 ok\n1 of 1 item completed" in words(flow.MapResult("m", [1], {}, None)._repr_html_())


def test_a_tune_report() -> None:
    gain = Gain(1.5, 1.4, 1.6, 9)
    report = TuneReport(
        dag="<d>", objective="throughput", best=Config(limit=4), default=Config(), gain=gain,
        why=(Reason("limit", 4, None, gain, "so it is <known>"),),
        trials=(Tried({"limit": 4}, 1.5, 0.25, 9), Tried({}, None, None, 0, "given <up>")),
        runs=12, nodes=3, seconds=1.5, notes=("a <note>",),
    )  # fmt: skip
    html = report._repr_html_()
    text = words(html)
    assert text.startswith("<d>: for throughput") and "12 runs of 3 nodes in 1.50 s" in text
    assert "so it is <known>" in text and "a <note>" in text
    assert "tried\ngain\none run\nrounds\n\nlimit=4\n1.50x\n250.00 ms\n9\n\ndefault\n\n\n\ngiven <up>" in text
    assert report._repr_mimebundle_()["text/plain"] == str(report)


def shown(result: flow.Result) -> Iterator[Any]:
    dag = etl()
    yield from (dag, dag.compile(), result, result.error(), result["halves"])


def test_bundles_hold_the_text_too(result: flow.Result) -> None:
    for each in shown(result):
        bundle = each._repr_mimebundle_()
        assert bundle == {"text/plain": str(each), "text/html": each._repr_html_()}
        assert each._repr_mimebundle_(include={"text/plain"}) == {"text/plain": str(each)}
        assert list(each._repr_mimebundle_(exclude={"text/plain"})) == ["text/html"]


def test_without_styles_the_text_is_left(result: flow.Result) -> None:
    for each in shown(result):
        html = each._repr_html_()
        assert '<div class="flow-card" style="display:none">' in html, "styles alone show it"
        assert '<pre class="flow-text">' in html and ".flow-text{display:none}" in html


def test_long_reprs_are_not_made() -> None:
    class Costly:
        def __repr__(self) -> str:
            raise AssertionError("it is too long")

    dag = flow.Dag("d")
    dag.add("big", lambda: [0] * 100 + [Costly()] * 10)
    dag.add("odd", Costly)
    text = words(flow.run(dag)._repr_html_())
    assert "big\n[0, 0, 0" in text and "odd\n<Costly without a usable repr>" in text


def test_cells_have_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    class Compiler:
        def format_code_name(self, name: str) -> tuple[str, str] | None:
            return ("Cell", "In[3]") if name == "/tmp/ipykernel_1/2.py" else None

    class Shell:
        compile = Compiler()

    class IPython:
        def get_ipython(self) -> Shell:
            return Shell()

    monkeypatch.setitem(sys.modules, "IPython", IPython())
    namespace: dict[str, Any] = {}
    code = "def fails(item):\n    raise ValueError(item)\ndef other(): return 1"
    exec(compile(code, "/tmp/ipykernel_1/2.py", "exec"), namespace)
    dag = flow.Dag("cells")
    dag.add("fails", namespace["fails"])
    dag.add("other", namespace["other"])
    dag.add("here", source)
    result = flow.run(dag, {"item": 1}, config=Config(on_error="collect"))
    html = result._repr_html_()
    assert "fails\nValueError: 1\nIn[3]:2" in words(html)
    assert "In[3]:3" in tips(html)[2] and "test_notebook.py:" in tips(html)[3]
    assert result.errors["fails"].__notes__ == ["in node 'fails' (In[3]:1)"]
    with pytest.raises(flow.InputError, match=r"node 'fails' \(In\[3\]:1\) has a parameter of that name"):
        flow.run(dag)
    dag.add("other", namespace["other"], timeout=0)
    with pytest.raises(flow.DefinitionError, match=r"defined twice, at In\[3\]:3, In\[3\]:3") as caught:
        dag.compile()
    assert "node 'other' (In[3]:3): timeout must be" in str(caught.value)
    monkeypatch.setitem(sys.modules, "IPython", None)
    assert "/tmp/ipykernel_1/2.py:2" in words(result._repr_html_())


# -- pictures --------------------------------------------------------------------------------


def test_pictures_of_every_status() -> None:
    dag = flow.Dag("all")
    for status in Status:
        dag.add(f"is_{status}", source)
    svg = flow.render.to_svg(dag, status={f"is_{status}": status for status in Status})
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg" and root.get("viewBox") == f"0 0 {root.get('width')} {root.get('height')}"
    for status in Status:
        assert boxes(svg, status) == 1 and svg.count(f'class="flow-mark-{status}"') == 1
        assert f"<title>is_{status}: {status}\n" in svg
    summary = ", ".join(f"1 {status}" for status in Status)
    assert f"{len(Status)} nodes, 0 edges: {summary}" in svg and "1 skipped, 1 bypassed, 1 cancelled" in summary
    assert len(set(MARKS.values())) == len(Status), "told by marks, too"
    with pytest.raises(flow.UsageError, match="is no status"):
        flow.render.to_svg(dag, status={"is_ready": "done"})  # type: ignore[dict-item]


def test_graphs_of_results(result: flow.Result) -> None:
    svg = result.graph()
    assert svg == result.graph("svg") and ElementTree.fromstring(svg).tag == f"{SVG}svg"
    assert boxes(svg, "failed") == 1 and "fallback" in svg
    assert result.graph("mermaid") == flow.render.to_mermaid(result.plan, status=result.status)
    assert result.graph("dot") == flow.render.to_dot(result.plan, status=result.status)
    with pytest.raises(flow.UsageError, match="as 'svg', 'mermaid' or 'dot', not 'png'"):
        result.graph("png")  # type: ignore[arg-type]


def test_long_and_odd_names() -> None:
    dag = flow.Dag("n" * 255)
    name = "head_" + "x" * 200 + "_tail"
    dag.add(name, source)
    dag.add("\u6d4b\u8bd5" * 8, source)
    svg = flow.render.to_svg(dag)
    root = ElementTree.fromstring(svg)
    labels = [element.text or "" for element in root.iter(f"{SVG}text")]
    (label,) = [each for each in labels if each.startswith("head_")]
    assert len(label) == MAX_LABEL and label.endswith("_tail") and "\u2026" in label
    assert any(tip.startswith(f"{name}\n") for tip in tips(svg))
    wide = {element.get("width") for element in root.iter(f"{SVG}rect")}
    assert len(wide) == 3, "each as wide as its name"


def _layers(*widths: int) -> flow.Dag:
    dag = flow.Dag("layers")
    before: list[str] = []
    for k, width in enumerate(widths):
        names = [f"node_{k}_{i}" for i in range(width)]
        for i, name in enumerate(names):
            dag.add(name, lambda *values: 1, needs=[before[i % len(before)]] if before else [])
        before = names
    return dag


def size(svg: str) -> tuple[float, float]:
    found = re.search(r'viewBox="0 0 (\d+) (\d+)"', svg)
    assert found is not None
    return float(found[1]), float(found[2])


def test_what_is_too_wide_goes_to_the_right() -> None:
    across, down = size(flow.render.to_svg(_layers(1, 3, 1)))
    assert across < 400 and 150 < down < 300
    across, down = size(flow.render.to_svg(_layers(1, 40, 1)))
    assert across < 500 and down > 1_000


@pytest.mark.parametrize("widths", [(1, 3, 1), (1, 40, 1), (4, 1, 6, 2)])
def test_lines_keep_within_the_picture_and_out_of_boxes(widths: tuple[int, ...]) -> None:
    dag = _layers(*widths)
    dag.edge("node_0_0", f"node_{len(widths) - 1}_0")
    svg = flow.render.to_svg(dag)
    across, down = size(svg)
    root = ElementTree.fromstring(svg)
    (group,) = [each for each in root if each.tag == f"{SVG}g"]
    paths = [each.get("d", "") for each in group if each.get("class", "").startswith("flow-edge")]
    rects = [
        tuple(float(rect.get(side, "")) for side in ("x", "y", "width", "height")) for rect in group.iter(f"{SVG}rect")
    ]
    assert len(paths) == dag.compile().edge_count
    for path in paths:
        for x, y in points(path):
            assert 0 <= x <= across and 0 <= y <= down
            assert not any(a + 0.5 < x < a + w - 0.5 and b + 0.5 < y < b + h - 0.5 for a, b, w, h in rects)


def points(path: str) -> Iterator[tuple[float, float]]:
    """Points along a path of M, L and C."""
    x = y = 0.0
    for kind, numbers in re.findall(r"([MLC])([-\d. ]+(?:\s[-\d.]+)*)", path):
        values = [float(number) for number in numbers.split()]
        for k in range(11):
            t = k / 10
            if kind == "C":
                a, b, c, d, e, f = values
                u = 1 - t
                yield (
                    u**3 * x + 3 * u * u * t * a + 3 * u * t * t * c + t**3 * e,
                    u**3 * y + 3 * u * u * t * b + 3 * u * t * t * d + t**3 * f,
                )
            elif kind == "L":
                yield x + t * (values[0] - x), y + t * (values[1] - y)
        x, y = values[-2:]


def test_large_graphs_are_drawn_by_level() -> None:
    dag = _layers(1, MAX_NODES, 2)
    plan = dag.compile()
    status = {name: Status.COMPLETED for name in plan.names[:-1]} | {"node_1_7": Status.FAILED}
    svg = flow.render.to_svg(plan, status=status)
    ElementTree.fromstring(svg)
    assert "303 nodes: too many to draw each" in svg and len(svg) < 8_000
    assert "299 completed, 1 failed" in svg and "1 completed, 1 others" in svg
    assert "level 1\nnode_1_7: failed\nnode_1_0: completed" in svg and "and 292 more" in svg
    assert "level 2" in flow.render.to_svg(plan) and "2 nodes" in flow.render.to_svg(plan)


def test_a_large_run_is_drawn_without_a_look_at_each_node(monkeypatch: pytest.MonkeyPatch) -> None:
    result = flow.run(_layers(1, MAX_NODES))

    def looked(*_: Any) -> str:
        raise AssertionError("nobody would read it")

    monkeypatch.setattr(pictured, "_told", looked)
    monkeypatch.setattr(card, "_notes", looked)
    html = result._repr_html_()
    assert "300 completed" in words(html) and "... and 280 more rows" in words(html)
    assert "300 completed" in result.graph()


def test_outputs_that_raise_when_looked_at() -> None:
    class Odd:
        @property
        def __class__(self) -> Any:
            raise RuntimeError

    dag = flow.Dag("odd")
    dag.add("a", Odd)
    assert re.search(r"a\n<.*Odd object at", words(flow.run(dag)._repr_html_()))


def test_deep_graphs_have_several_levels_in_a_row() -> None:
    dag = _layers(*[1] * 100_000)
    svg = flow.render.to_svg(dag)
    assert f"levels {2_000 * (MAX_ROWS - 1):,} to 99,999" in svg and len(svg) < 40_000


def test_very_many_long_edges_are_not_drawn() -> None:
    dag = flow.Dag("tangle")
    names: list[str] = []
    for i in range(100):
        dag.add(f"n{i}", lambda *values: 1, needs=names[-1:])
        names.append(f"n{i}")
    assert "too many" not in flow.render.to_svg(dag)
    for name in names[:30]:
        dag.edge(name, "n99")
    assert "too many to draw" in flow.render.to_svg(dag)


# -- colours ---------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    r, g, b = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colours", [style._LIGHT, style._DARK], ids=["light", "dark"])
def test_colours_have_contrast(colours: dict[str, str]) -> None:
    """Text 4.5 : 1, marks and lines 3 : 1 (WCAG 2, AA)."""
    for kind in ("bg", "box", *Status):
        assert contrast(colours["fg"], colours[kind]) > 7
        assert contrast(colours["dim"], colours[kind]) > 4.5
    for kind in ("box", *Status):
        assert contrast(colours[f"{kind}-line"], colours[kind]) > 3
        assert contrast(colours[f"{kind}-line"], colours["bg"]) > 3
    for verdict in ("completed-line", "failed-line"):
        assert contrast(colours[verdict], colours["bg"]) > 4.5


def test_both_themes_by_system_and_by_notebook() -> None:
    page, file = style.for_page(), style.for_file()
    assert "@media(prefers-color-scheme:dark)" in page and "@media(prefers-color-scheme:dark)" in file
    assert '[data-jp-theme-light="false"] .flow-out' in page and '[data-jp-theme-light="true"] .flow-out' in page
    assert "var(" not in file and style._DARK["failed"] in file
    used = set(re.findall(r"var\(--flow-([\w-]+)\)", page))
    assert used == set(style._LIGHT) == set(style._DARK)
    for selector in re.findall(r"(?:^|[}{])([^{}@]+)\{", page):
        assert all("flow-" in part for part in selector.split(",")), "nothing of the page itself is changed"


def test_looking_at_a_dag_does_not_use_up_its_warning() -> None:
    """The notebook's own code calls for the repr: the place would be there, and the user's call would be silent."""
    dag = flow.Dag("declared", inputs=["customer_id", ...])
    dag.add("n", lambda custmer_id=1: 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "1 node" in words(dag._repr_html_())
    with pytest.warns(flow.DefinitionWarning, match="custmer_id"):
        flow.run(dag, {"customer_id": 1})


def test_keys_that_ipython_completes() -> None:
    dag = flow.Dag("keys")
    dag.add("one", lambda: 1)
    dag.add("two", lambda: 1 / 0)
    result = flow.run(dag, config=Config(on_error="collect"))
    assert result._ipython_key_completions_() == ["one"]
    assert result.status._ipython_key_completions_() == ["one", "two"]  # type: ignore[attr-defined]
