"""Draw the dashboard from what a real Prometheus has seen: docs/monitoring/dashboard.svg.

    python scripts/dashboard_picture.py            # of `flow serve` with an example under load, for a minute
    python scripts/dashboard_picture.py 8080       # of what answers /metrics on this port, for a minute

Each panel of flow/metrics/performance.json is asked for as Grafana asks, and drawn where it stands there. It needs
prometheus on the PATH, and the extras ``http``, ``metrics`` and ``test``.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from html import escape
from itertools import count
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import prometheus_cases  # noqa: E402

SECONDS = 60
WIDE, HIGH = 50, 30  # of a cell of Grafana's grid
Points = list[tuple[float, float]]
COLOURS = ("#7eb26d", "#eab839", "#6ed0e0", "#ef843c", "#e24d42", "#1f78c1", "#ba43a9", "#705da0", "#508642", "#cca300")
VARIABLES = {"$__rate_interval": "5s", "$__range": f"{SECONDS}s", "$workflow": ".*", "$job": ".*"}


# -- what is watched ------------------------------------------------------------------------

EXAMPLE = f"""
import time
import flow
from flow import ai

began = time.monotonic()

def charge(order):
    time.sleep(0.004)
    broken = time.monotonic() - began > {SECONDS / 2}  # a node begins to fail after half of the time
    if order % (2 if broken else 25) == 0:
        raise ConnectionError("the bank does not answer")
    return order

orders = flow.Dag("orders")
orders.add("validate", lambda order: order)
orders.add("charge", charge, needs=["validate"], retry=flow.Retry(attempts=2, delay=0.002))
orders.add("receipt", lambda charge: time.sleep(0.001), fallback=None)
page = flow.Dag("page")
page.add("render", lambda number: number)
report = flow.Dag("report")
report.add("pages", lambda: list(range(4)))
report.map("each", page, over="pages")
report.map("sizes", lambda size: time.sleep(0.001), over="pages", concurrency="auto", thread=True)
report.loop("polish", lambda n: n + 1, carry="n", until=lambda n: n > 3, max_iterations=9)
approval = flow.Dag("approval")
approval.signal("approve")

def answer(request):
    time.sleep(0.002)
    return ai.Reply("a receipt", tokens=ai.Tokens(input=180, output=40, cached=60))

letter = flow.Dag("letter")
cheap = ai.Model(ai.Scripted(answer), "small", input_price="0.4", output_price="1.6", cached_price="0.1")
dear = ai.Model(ai.Scripted(answer), "large", input_price="2", output_price="8", cached_price="0.5")
ai.llm(letter, "draft", model=dear, prompt="Write to the buyer of {{{{ order }}}}")
ai.llm(letter, "check", model=cheap, prompt="Is this polite? {{{{ draft }}}}")
"""


def post(base: str, workflow: str, inputs: dict[str, int], prefer: str = "") -> None:
    """Start a run, and wait for it."""
    body = json.dumps({"inputs": inputs}).encode()
    headers = {"Content-Type": "application/json", "Prefer": prefer}
    with urlopen(Request(f"{base}/api/v1/workflows/{workflow}/runs", body, headers), timeout=20) as answer:
        answer.read()


def load(base: str, ended: threading.Event, numbers: Iterator[int]) -> None:
    """Ask for runs until the end."""
    while not ended.wait(0.02):
        number = next(numbers)
        post(base, "orders", {"order": number})
        if number % 4 == 0:
            post(base, "report", {"n": 0})
        if number % 5 == 0:
            post(base, "letter", {"order": number})
        if number % 10 == 0:
            with suppress(HTTPError), urlopen(f"{base}/api/v1/runs/unknown", timeout=20) as answer:
                answer.read()


@contextmanager
def watched(folder: Path, port: str | None) -> Iterator[int]:
    """Give the port where /metrics is: that which was named, or that of a service under load."""
    if port is not None:
        yield int(port)
        return
    (folder / "shop.py").write_text(EXAMPLE, "utf-8")
    targets = [f"shop.py:{name}" for name in ("orders", "report", "letter", "approval")]
    words = [sys.executable, "-m", "flow", "serve", *targets, "--port", "0", "--store", "runs.db"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    written = folder / "serve.log"
    with written.open("wb") as log:
        process = subprocess.Popen(words, cwd=folder, env=environment, stdout=log, stderr=log)
    found = None
    while found is None:
        assert process.poll() is None, written.read_text("utf-8")
        time.sleep(0.1)
        found = re.search(r"http://127.0.0.1:(\d+)", written.read_text("utf-8"))
    ended, numbers = threading.Event(), count(1)
    workers = [threading.Thread(target=load, args=(found[0], ended, numbers)) for _ in range(3)]
    post(found[0], "approval", {}, "respond-async")
    for worker in workers:
        worker.start()
    try:
        yield int(found[1])
    finally:
        ended.set()
        for worker in workers:
            worker.join()
        process.terminate()
        process.wait(60)


# -- what is drawn --------------------------------------------------------------------------


def shown(value: float, unit: str) -> str:
    """A number with its unit."""
    if value != value:
        return "no data"
    if unit == "percentunit":
        return f"{value:.1%}"
    if unit == "s":
        return f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.3g} ms"
    if unit == "bytes":
        return f"{value / 2**20:.0f} MiB"
    return f"{value:,.3g}{'/s' if unit in ('ops', 'reqps') else ''}" if value < 1e3 else f"{value:,.0f}"


def text(x: float, y: float, words: str, size: int = 11, colour: str = "#c7d0d9", anchor: str = "start") -> str:
    """A line of text."""
    place = f'x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}"'
    return f'<text {place} font-size="{size}" fill="{colour}">{escape(words)}</text>'


def lines(panel: dict[str, Any], given: list[tuple[str, Points]], x: int, y: int, w: int, h: int) -> str:
    """A panel with lines over time."""
    unit = panel["fieldConfig"]["defaults"].get("unit", "")
    series = [(label, [(t, v) for t, v in points if v == v]) for label, points in given]
    series = [(label, points) for label, points in series if points]
    times = [t for _, points in series for t, _ in points]
    if not times:
        return text(x + w / 2, y + h / 2, "no data", anchor="middle", colour="#8e8e8e")
    low, high = min(times), max(times)
    top = max([v for _, points in series for _, v in points]) or 1.0
    out = [text(x + 8, y + 36, shown(top, unit), 9, "#8e8e8e")]
    for k, (_, points) in enumerate(series[:8]):
        path = " ".join(
            f"{x + 8 + (t - low) / ((high - low) or 1) * (w - 16):.0f},{y + h - 34 - v / top * (h - 74):.0f}"
            for t, v in points
        )
        out.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[k % len(COLOURS)]}" stroke-width="1.5"/>')
    left = x + 8.0
    for k, (label, _) in enumerate(series[:8]):
        if left + 6.2 * len(label) > x + w:
            break
        out.append(text(left, y + h - 10, label, 10, COLOURS[k % len(COLOURS)]))
        left += 6.2 * len(label) + 12
    return "\n".join(out)


def figure(panel: dict[str, Any], value: float, x: int, y: int, w: int, h: int) -> str:
    """A panel with one number, in the colour of its threshold."""
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    colour = [step["color"] for step in steps if step["value"] is None or value >= step["value"]][-1]
    shades = {"green": "#56a64b", "orange": "#e0752d", "red": "#c4162a", "blue": "#1f60c4"}
    unit = panel["fieldConfig"]["defaults"].get("unit", "")
    return (
        f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="3" fill="{shades[colour]}"/>'
        + text(x + 8, y + 18, panel["title"], 12, "#fff")
        + text(x + w / 2, y + h / 2 + 22, shown(value, unit), 30, "#fff", "middle")
    )


def rows(panel: dict[str, Any], columns: list[list[Any]], x: int, y: int, w: int, h: int) -> str:
    """A panel with a table, sorted as it says."""
    headings = panel["transformations"][1]["options"]["renameByName"]
    units = {o["matcher"]["options"]: o["properties"][0]["value"] for o in panel["fieldConfig"]["overrides"]}
    found: dict[tuple[str, ...], list[str]] = {}
    firsts: dict[tuple[str, ...], float] = {}
    for k, (column, heading) in enumerate(zip(columns, headings.values(), strict=True)):
        for one in column:
            key = tuple(one["metric"].get(name, "") for name in ("workflow", "node") if name in one["metric"])
            value = float(one["value"][1])
            found.setdefault(key, ["-"] * len(columns))[k] = shown(value, units.get(heading, ""))
            if not k:
                firsts[key] = value if value == value else -1.0
    out = [text(x + 8, y + 42, " / ".join(("workflow", "node")[: max(map(len, found), default=1)]), 10, "#6ea6e0")]
    places = [x + w - 12 - 70 * (len(columns) - 1 - k) for k in range(len(columns))]
    out += [text(p, y + 42, name, 10, "#6ea6e0", "end") for p, name in zip(places, headings.values(), strict=True)]
    for r, key in enumerate(sorted(firsts, key=lambda key: -firsts[key])[: (h - 60) // 18]):
        out.append(text(x + 8, y + 62 + 18 * r, " / ".join(key)))
        out += [text(p, y + 62 + 18 * r, cell, anchor="end") for p, cell in zip(places, found[key], strict=True)]
    return "\n".join(out)


def drawn(ask: Any) -> str:
    """Return the whole dashboard as SVG."""
    board = json.loads((ROOT / "flow" / "metrics" / "performance.json").read_text("utf-8"))
    out, bottom = [], 0
    for panel in board["panels"]:
        place = panel["gridPos"]
        x, y, w, h = place["x"] * WIDE + 3, place["y"] * HIGH + 3, place["w"] * WIDE - 6, place["h"] * HIGH - 6
        bottom = max(bottom, y + h)
        if panel["type"] == "row":
            out.append(text(x + 4, y + 18, panel["title"], 15, "#fff"))
            continue
        out.append(f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="3" fill="#181b1f"/>')
        out.append(text(x + 8, y + 18, panel["title"], 12, "#fff"))
        if panel["type"] == "table":
            out.append(rows(panel, [ask(target["expr"], False) for target in panel["targets"]], x, y, w, h))
        elif panel["type"] == "stat":
            (value,) = ask(panel["targets"][0]["expr"], False) or [{"value": (0, "nan")}]
            out.append(figure(panel, float(value["value"][1]), x, y, w, h))
        else:
            series = []
            for target in panel["targets"]:
                for one in ask(target["expr"], True):
                    label = target["legendFormat"]
                    for name, value in one["metric"].items():
                        label = label.replace("{{" + name + "}}", value)
                    series.append((label, [(float(t), float(v)) for t, v in one["values"]]))
            out.append(lines(panel, series, x, y, w, h))
    size = f'width="{24 * WIDE}" height="{bottom + 6}" viewBox="0 0 {24 * WIDE} {bottom + 6}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif"><title>The dashboard</title>'
    return "\n".join([head, '<rect width="100%" height="100%" fill="#0b0c0f"/>', *out, "</svg>\n"])


def main() -> None:
    """Watch for a minute, then draw."""
    port = sys.argv[1] if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory() as folder, watched(Path(folder), port) as at:
        began = time.time()
        with prometheus_cases.prometheus(Path(folder), at):
            base = prometheus_cases.address(Path(folder))

            def query(expr: str, over_time: bool) -> list[Any]:
                for name, value in VARIABLES.items():
                    expr = expr.replace(name, value)
                given: dict[str, Any] = {"start": began + 5, "end": time.time(), "step": 2} if over_time else {}
                path, given["query"] = "query_range" if over_time else "query", expr
                with urlopen(f"{base}/api/v1/{path}?{urlencode(given)}", timeout=20) as answer:
                    found: list[Any] = json.load(answer)["data"]["result"]
                return found

            time.sleep(SECONDS)
            picture = drawn(query)
    (ROOT / "docs" / "monitoring" / "dashboard.svg").write_text(picture, "utf-8")


if __name__ == "__main__":
    main()
