"""Measure the figures of docs/tuning-guide.md: ``python docs/guide/figures.py [SECTION...]``, without a section all.

Contenders of a section take turns, round by round. A line is one contender: its median, its 95th percentile, and its
median as a multiple of the first contender's. ``environment`` starts processes; it needs psutil (the extra ``bench``).
"""

import argparse
import asyncio
import contextlib
import gc
import http.client
import http.server
import json
import logging
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

import flow
from flow.run.hooks import NodeOutcome

Contenders = dict[str, Callable[[], object]]
"""What is measured, by its label."""


def measure(title: str, contenders: Contenders, rounds: int, unit: str = "ms", per: int = 1) -> None:
    """Print a table of the contenders: each is called once without a clock, then once per round."""
    times: dict[str, list[float]] = {label: [] for label in contenders}
    for k in range(rounds + 1):
        for label, call in contenders.items():
            begin = time.perf_counter()
            call()
            if k:
                times[label].append((time.perf_counter() - begin) * {"ms": 1e3, "us": 1e6}[unit] / per)
    print(f"\n{title}")
    width = max(map(len, times))
    first = statistics.median(next(iter(times.values())))
    for label, found in times.items():
        median, late = statistics.median(found), sorted(found)[int(0.95 * (len(found) - 1))]
        print(f"  {label:{width}}  {median:8.4g} {unit}  P95 {late:8.4g}  {median / first:6.2f}x", flush=True)


# -- latency ---------------------------------------------------------------------------------


def blocking(rounds: int) -> None:
    """A function that blocks for 20 ms beside nodes that wait."""

    def page(**options: Any) -> flow.Plan:
        dag = flow.Dag("page")
        dag.add("user", partial(asyncio.sleep, 0.005, "ada"))
        dag.add("prices", partial(asyncio.sleep, 0.025, [1]))
        dag.add("report", lambda user: time.sleep(0.02), **options)
        dag.add("page", lambda report, prices: len(prices))
        return dag.compile()

    held, freed = page(), page(thread=True)

    def ten(plan: flow.Plan) -> None:
        async def main() -> None:
            await asyncio.gather(*[flow.execute(plan) for _ in range(10)])

        asyncio.run(main())

    contenders: Contenders = {"report blocks": partial(ten, held), "report has thread=True": partial(ten, freed)}
    measure("ten pages at once, on one event loop", contenders, rounds)


def threads(rounds: int) -> None:
    """200 calls that block for 5 ms."""
    dag = flow.Dag("calls")
    dag.map("calls", lambda n: time.sleep(0.005), over="numbers", concurrency=200)
    inputs = {"numbers": range(200)}
    contenders: Contenders = {"inline (default)": partial(flow.run, dag, inputs)}
    for count in (4, 8, 40, 100, 200):
        config = flow.Config(executor="thread", threads=count)
        contenders[f'executor="thread", threads={count}'] = partial(flow.run, dag, inputs, config=config)
    measure("200 calls that block for 5 ms", contenders, max(1, rounds // 4))


def plans(rounds: int) -> None:
    """A plan that is built, compiled or kept."""

    def build() -> flow.Dag:
        dag = flow.Dag("chain")
        dag.add("n0", lambda: 0)
        for k in range(1, 100):
            dag.add(f"n{k}", lambda value: value, needs=[f"n{k - 1}"])
        return dag

    dag = build()
    contenders: Contenders = {
        "the plan is kept": partial(flow.run, dag.compile()),
        "the Dag is kept": partial(flow.run, dag),
        "built and compiled for each run": lambda: flow.run(build()),
    }
    measure("a run of 100 sync nodes", contenders, 20 * rounds, "us")


def known(rounds: int) -> None:
    """A second run after one of ten nodes has failed."""
    dag = flow.Dag("report")
    for k in range(9):
        dag.add(f"part{k}", lambda: time.sleep(0.002))
    dag.add("total", lambda *parts: len(parts), needs=[f"part{k}" for k in range(9)])
    earlier = flow.run(dag, known={})
    outcomes = {name: flow.Outcome(value=earlier[name]) for name in earlier if name != "total"}
    contenders: Contenders = {
        "everything again": partial(flow.run, dag),
        "known= of the nine": partial(flow.run, dag, known=outcomes),
    }
    measure("ten nodes, nine of which take 2 ms", contenders, rounds)


def batches(rounds: int) -> None:
    """1,000 items for a service that answers in 2 ms, however many it is asked for."""

    async def ask(item: int) -> int:
        await asyncio.sleep(0.002)
        return item

    async def ask_many(batch: list[int]) -> list[int]:
        await asyncio.sleep(0.002)
        return batch

    def dag(fn: Callable[..., Any], **options: Any) -> flow.Plan:
        made = flow.Dag("asks")
        made.map("answers", fn, over="numbers", **options)
        return made.compile()

    inputs = {"numbers": range(1000)}
    contenders: Contenders = {
        "one by one, 50 at once (default)": partial(flow.run, dag(ask), inputs),
        "one by one, 1,000 at once": partial(flow.run, dag(ask, concurrency=1000), inputs),
        "batch_size=100": partial(flow.run, dag(ask_many, batch_size=100), inputs),
    }
    measure("1,000 items, a call takes 2 ms", contenders, rounds)


def suspensions(rounds: int) -> None:
    """A thousand nodes side by side, which wait or do not."""

    async def never(start: int) -> int:
        return start

    async def once(start: int) -> int:
        await asyncio.sleep(0)
        return start

    def wide(fn: Callable[..., Any]) -> flow.Plan:
        dag = flow.Dag("wide")
        for k in range(1000):
            dag.add(f"n{k}", fn)
        return dag.compile()

    inputs, on_loop = {"start": 1}, flow.Config(mode="tasks")
    contenders: Contenders = {
        "def": partial(flow.run, wide(lambda start: start), inputs),
        "def, on an event loop": partial(flow.run, wide(lambda start: start), inputs, config=on_loop),
        "async def that never suspends": partial(flow.run, wide(never), inputs),
        "async def that suspends once": partial(flow.run, wide(once), inputs),
    }
    measure("1,000 nodes side by side, per node", contenders, rounds, "us", per=1000)


def length(value: bytes) -> int:
    """Return the length of what arrives: at the top of a module, where another process finds it."""
    return len(value)


def payload(rounds: int) -> None:
    """What it costs to hand a value to a node."""
    with ProcessPoolExecutor(1) as pool:
        config = flow.Config(executors={"pool": pool})
        for size in (1_000, 1_000_000, 10_000_000):
            contenders: Contenders = {}
            for executor in ("inline", "thread", "pool"):
                dag = flow.Dag("payload")
                dag.add("length", length, executor=executor)
                contenders[f'executor="{executor}"'] = partial(flow.run, dag, {"value": bytes(size)}, config=config)
            measure(f"a run whose node is given {size:,} bytes", contenders, rounds, "us")


class Answers(http.server.BaseHTTPRequestHandler):
    """A server that keeps connections, unless it is asked not to."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else the second part of each answer waits 40 ms for the first one's receipt

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None: ...


def connections(rounds: int) -> None:
    """A hundred requests over one connection, or over a hundred."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def connect() -> http.client.HTTPConnection:
            return http.client.HTTPConnection("127.0.0.1", server.server_address[1])

        def ask(n: int, client: http.client.HTTPConnection) -> bytes:
            client.request("GET", f"/{n}")
            return client.getresponse().read()

        def ask_alone(n: int) -> bytes:
            with contextlib.closing(connect()) as client:
                return ask(n, client)

        kept, alone = flow.Dag("kept"), flow.Dag("alone")
        kept.map("answers", ask, over="numbers")
        alone.map("answers", ask_alone, over="numbers")
        inputs = {"numbers": range(100)}
        contenders: Contenders = {
            "one connection, given as an input": lambda: flow.run(kept, {**inputs, "client": client}),
            "a connection per call": partial(flow.run, alone, inputs),
        }
        with contextlib.closing(connect()) as client:
            measure("100 requests to a server on this machine, per request", contenders, rounds, "us", per=100)
        server.shutdown()


def depth(rounds: int) -> None:
    """60 nodes as a chain, and as wider graphs."""

    async def waits(*before: object) -> None:
        await asyncio.sleep(0.001)

    def layers(fn: Callable[..., Any], deep: int) -> flow.Plan:
        dag, width = flow.Dag("layers"), 60 // deep
        for k in range(60):
            dag.add(f"n{k}", fn, needs=[f"n{k - width}"] if k >= width else [])
        return dag.compile()

    for title, fn, unit in (("nodes that wait 1 ms", waits, "ms"), ("sync no-op nodes", lambda *before: None, "us")):
        contenders: Contenders = {f"{deep} levels": partial(flow.run, layers(fn, deep)) for deep in (60, 20, 3, 1)}
        measure(f"a run of 60 {title}", contenders, rounds, unit)


class Row(msgspec.Struct, gc=False):
    """A row that the garbage collector does not look at."""

    key: int
    name: str
    price: float


def records(rounds: int) -> None:
    """A node that makes 20,000 rows, as dicts and as objects."""

    def plan(row: Callable[[int], object]) -> flow.Plan:
        dag = flow.Dag("rows")
        dag.add("rows", lambda count: [row(k) for k in range(count)])
        return dag.compile()

    forms: dict[str, Callable[[int], object]] = {
        "dicts": lambda k: {"key": k, "name": "tea", "price": 2.5},
        "msgspec.Struct": lambda k: Row(k, "tea", 2.5),
    }
    contenders: Contenders = {label: partial(flow.run, plan(row), {"count": 20_000}) for label, row in forms.items()}
    measure("a node that makes 20,000 rows", contenders, rounds)


# -- memory, errors, machine -----------------------------------------------------------------


@contextlib.contextmanager
def collecting(setting: str) -> Iterator[None]:
    """Set the garbage collector, and put it back."""
    before = gc.get_threshold()
    gc.collect()
    if setting == "freeze":
        gc.freeze()
    elif setting == "off":
        gc.disable()
    elif setting.isdigit():
        gc.set_threshold(int(setting), *before[1:])
    yield
    gc.enable()
    gc.unfreeze()
    gc.set_threshold(*before)


def collector(rounds: int) -> None:
    """Thousands of workflows at once under settings of the garbage collector."""

    async def waits(*before: object) -> None:
        await asyncio.sleep(0.001)

    dag = flow.Dag("workflow")
    for k in range(10):
        dag.add(f"n{k}", waits, needs=[f"n{k - 1}"] if k else [])
    plan = dag.compile()

    async def many(count: int) -> None:
        await asyncio.gather(*[flow.execute(plan) for _ in range(count)])

    def run(setting: str, count: int) -> None:
        with collecting(setting):
            asyncio.run(many(count))

    names = {"default": "as it is", "freeze": "gc.freeze()", "50000": "gc.set_threshold(50_000)", "off": "gc.disable()"}
    for count in (100, 5000):
        contenders: Contenders = {label: partial(run, setting, count) for setting, label in names.items()}
        measure(f"{count:,} workflows of ten waiting nodes at once", contenders, max(1, rounds // 5))


def failures(rounds: int) -> None:
    """What a failure costs, and its line in the log."""
    calls = [0]

    def fails() -> None:
        raise ConnectionError("no route")

    def fails_once() -> None:
        calls[0] += 1
        if calls[0] % 2:
            raise ConnectionError("no route")

    def plan(fn: Callable[[], None], **options: Any) -> flow.Plan:
        dag = flow.Dag("one")
        dag.add("one", fn, **options)
        return dag.compile()

    retried = plan(fails_once, retry=flow.Retry(2, delay=0))
    tolerated = plan(fails, continue_on_error=True)
    log = logging.getLogger("flow")
    before = log.level
    handler = logging.FileHandler(os.devnull)

    def logged(level: str) -> None:
        log.setLevel(level)
        flow.run(tolerated)

    log.addHandler(handler)
    contenders: Contenders = {
        "completes": partial(flow.run, plan(lambda: None)),
        "fails once, is tried again": partial(flow.run, retried),
        "fails, is tolerated, logged": partial(logged, "WARNING"),
        "fails, is tolerated, not logged": partial(logged, "ERROR"),
    }
    measure("a run of one sync node", contenders, 100 * rounds, "us")
    log.removeHandler(handler)
    handler.close()
    log.setLevel(before)


def squares(n: int) -> int:
    """Compute for about 20 ms: at the top of a module, where another process finds it."""
    return sum(k * k for k in range(400_000)) + n


def cores(rounds: int) -> None:
    """Eight computations of 20 ms."""
    local, sent = flow.Dag("local"), flow.Dag("sent")
    local.map("squares", squares, over="numbers")
    sent.map("squares", squares, over="numbers", executor="pool")
    inputs, count = {"numbers": range(8)}, os.cpu_count() or 1
    with ProcessPoolExecutor(count) as pool:
        threaded = flow.Config(executor="thread", threads=8)
        pooled = flow.Config(executors={"pool": pool})
        contenders: Contenders = {
            "inline (default)": partial(flow.run, local, inputs),
            'executor="thread", threads=8': partial(flow.run, local, inputs, config=threaded),
            f"ProcessPoolExecutor({count})": partial(flow.run, sent, inputs, config=pooled),
        }
        measure("eight computations of 20 ms", contenders, max(1, rounds // 4))


def disk(rounds: int) -> None:
    """An outcome hook that keeps each output in a file."""
    plan = flow.topologies.linear(200).compile()
    with tempfile.TemporaryDirectory() as folder, Path(folder, "kept.jsonl").open("a", encoding="utf-8") as file:

        def keep(outcome: NodeOutcome, sync: bool) -> None:
            file.write(json.dumps([outcome.node, outcome.output]) + "\n")
            file.flush()
            if sync:
                os.fsync(file.fileno())

        def config(sync: bool) -> flow.Config:
            return flow.Config(on_outcome=lambda: partial(keep, sync=sync))

        contenders: Contenders = {
            "no hook": partial(flow.run, plan),
            "a hook that writes a line": partial(flow.run, plan, config=config(False)),
            "... and waits for the disk (fsync)": partial(flow.run, plan, config=config(True)),
        }
        measure("200 sync nodes, per node", contenders, max(1, rounds // 4), "us", per=200)


# -- environment -----------------------------------------------------------------------------


def child(backend: str) -> dict[str, float]:
    """Measure one process: times, and memory after threads have filled and freed buffers."""
    import psutil

    async def suspends(start: int) -> None:
        await asyncio.sleep(0)

    def median(plan: flow.Plan, rounds: int, config: flow.Config, inputs: dict[str, Any]) -> float:
        found = []
        for _ in range(rounds):
            begin = time.perf_counter()
            flow.run(plan, inputs, config=config)
            found.append(time.perf_counter() - begin)
        return statistics.median(found) / len(plan) * 1e6

    wide = flow.Dag("wide")
    for k in range(1000):
        wide.add(f"n{k}", suspends)
    config = flow.Config(backend=backend)  # type: ignore[arg-type]
    times = {
        "sync us": median(flow.topologies.layered(10, 100, 2).compile(), 50, flow.Config(), {}),
        "async us": median(wide.compile(), 15, config, {"start": 1}),
    }
    mine = psutil.Process()
    before = mine.memory_info().rss
    buffers = flow.Dag("buffers")
    buffers.map("rows", lambda n: [bytes(2_000 + n % 7 * 500) for _ in range(50)], over="numbers", thread=True)
    highest = 0
    for _ in range(5):
        begin = time.perf_counter()
        result = flow.run(buffers, {"numbers": range(400)}, config=config)
        times["item us"] = (time.perf_counter() - begin) / 400 * 1e6
        highest = max(highest, mine.memory_info().rss - before)
        del result
    gc.collect()
    return {**times, "held MB": highest / 1e6, "kept MB": (mine.memory_info().rss - before) / 1e6}


def process(words: list[str], variables: dict[str, str]) -> tuple[float, bytes]:
    """Run Python with these variables; return its seconds and what it prints."""
    root, begin = str(Path(flow.__file__).parents[1]), time.perf_counter()
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MALLOC"))}
    environ = {**outside, "PYTHONPATH": root, **variables}
    ran = subprocess.run([sys.executable, *words], env=environ, capture_output=True, check=False)
    if ran.returncode:
        sys.exit(ran.stderr.decode())
    return time.perf_counter() - begin, ran.stdout  # asyncio's debug mode writes on stderr


def environment(rounds: int, preload: str = "") -> None:
    """The same program under environment variables and flags of the interpreter."""
    nowhere = str(Path(tempfile.gettempdir(), "no-such-folder"))
    variants: dict[str, tuple[dict[str, str], list[str]]] = {
        "as it is": ({}, []),
        "MALLOC_ARENA_MAX=2": ({"MALLOC_ARENA_MAX": "2"}, []),
        "PYTHONMALLOC=malloc": ({"PYTHONMALLOC": "malloc"}, []),
        "PYTHONHASHSEED=0": ({"PYTHONHASHSEED": "0"}, []),
        "PYTHONOPTIMIZE=1 (-O)": ({"PYTHONOPTIMIZE": "1"}, []),
        "PYTHONASYNCIODEBUG=1": ({"PYTHONASYNCIODEBUG": "1"}, []),
        "PYTHONTRACEMALLOC=1 (-X tracemalloc)": ({"PYTHONTRACEMALLOC": "1"}, []),
        "PYTHONDEVMODE=1 (-X dev)": ({"PYTHONDEVMODE": "1"}, []),
        "no .pyc files": ({"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": nowhere}, []),
        'Config(backend="uvloop")': ({}, ["--backend", "uvloop"]),
    }
    if preload:
        variants["LD_PRELOAD=libjemalloc.so.2"] = ({"LD_PRELOAD": preload}, [])
        variants["... and PYTHONMALLOC=malloc"] = ({"LD_PRELOAD": preload, "PYTHONMALLOC": "malloc"}, [])
    found: dict[str, list[dict[str, float]]] = {label: [] for label in variants}
    for _ in range(max(1, rounds // 4)):
        for label, (variables, flags) in variants.items():
            start = process(["-c", "import flow"], variables)[0]
            printed = process([__file__, "--child", *flags], variables)[1]
            found[label].append({"start ms": start * 1e3, **json.loads(printed)})
    columns = list(found["as it is"][0])
    print("\nthe same program in processes of its own\n" + " " * 38 + "".join(f"{name:>10}" for name in columns))
    for label, rows in found.items():
        cells = "".join(f"{statistics.median(row[name] for row in rows):10.3g}" for name in columns)
        print(f"  {label:36}{cells}", flush=True)


SECTIONS: dict[str, Callable[[int], None]] = {
    fn.__name__: fn
    for fn in (
        blocking, threads, plans, known, batches, suspensions, payload, connections, depth, records, collector,
        failures, cores, disk, environment,
    )
}  # fmt: skip


def main(args: list[str] | None = None) -> None:
    """Print the sections."""
    parser = argparse.ArgumentParser(prog="figures.py", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--rounds", type=int, default=20, help="more for short calls, fewer for long ones")
    parser.add_argument("--preload", default="", help="environment: a library for LD_PRELOAD, such as jemalloc's")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--backend", default="asyncio", help=argparse.SUPPRESS)
    given = parser.parse_args(args)
    if given.child:
        print(json.dumps(child(given.backend)))
        return
    unknown = [name for name in given.sections if name not in SECTIONS]
    if unknown:
        parser.error(f"no section is called {', '.join(unknown)}: choose from {', '.join(SECTIONS)}")
    print(f"CPython {platform.python_version()}, {os.cpu_count()} cores")
    for name in given.sections or SECTIONS:
        environment(given.rounds, given.preload) if name == "environment" else SECTIONS[name](given.rounds)


if __name__ == "__main__":
    main()
