"""WfFormat traces: real ones against their known figures, and every way a file can be wrong."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from conftest import DATA, ROOT

from flow.errors import ConfigError, TraceError
from flow.graph import traces
from flow.graph.topologies import noop
from flow.types import NAME_PATTERN

WORKLOADS = ROOT.parent / "shared" / "workloads"

# file: tasks, edges, depth, width, most parents, most children, serial seconds, critical path in seconds
FIGURES = {
    "helloworld-chain-5-chameleon.json": (5, 4, 5, 1, 1, 1, 501.2, 501.2),
    "srasearch-chameleon-10a-001.json": (22, 30, 3, 11, 10, 10, 6996.8, 1005.9),
    "sarek-dirt02-001.json": (26, 50, 10, 9, 12, 6, 393.2, 309.7),
    "1000genome-chameleon-2ch-100k-001.json": (52, 76, 3, 28, 10, 14, 2771.3, 204.7),
    "blast-chameleon-large-001.json": (103, 300, 3, 100, 100, 100, 154331.2, 1819.1),
    "rnaseq-dirt02-001.json.gz": (197, 451, 10, 86, 92, 58, 2580.4, 759.5),
    "epigenomics-chameleon-hep-3seq-50k-001.json.gz": (445, 550, 9, 109, 55, 55, 8049.0, 164.1),
    "seismology-chameleon-500p-001.json.gz": (501, 500, 2, 500, 500, 1, 288.1, 5.8),
    "montage-chameleon-2mass-02d-001.json.gz": (619, 1641, 8, 423, 141, 30, 1603.3, 22.7),
    "debian12-gnome-closure.json.gz": (887, 4177, 30, 139, 68, 672, 17.8, 3.6),
    "1000genome-chameleon-22ch-250k-001.json.gz": (902, 1166, 3, 572, 25, 14, 53409.6, 314.0),
    "bwa-chameleon-medium-001.json.gz": (1004, 4000, 3, 1000, 1000, 1000, 3612.1, 147.6),
    "epigenomics-chameleon-ilmn-6seq-50k-001.json.gz": (1695, 2108, 9, 420, 75, 75, 26060.0, 1084.1),
}

FILES = sorted(DATA.glob("*.json*")) + sorted(
    path for path in WORKLOADS.glob("*.json*") if "schema" not in path.name and not (DATA / path.name).exists()
)


def specified(path: Path) -> list[dict[str, Any]]:
    raw = path.read_bytes()
    document = json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
    return document["workflow"]["specification"]["tasks"]  # type: ignore[no-any-return]


def test_the_small_traces_are_there() -> None:
    assert {path.name for path in DATA.glob("*.json*")} <= FIGURES.keys()
    assert len(list(DATA.glob("*.json*"))) == 6


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
class TestRealTraces:
    def test_figures(self, path: Path) -> None:
        if path.name not in FIGURES:
            pytest.skip("no figures are known of this trace")
        plan = traces.load(path).compile()
        assert (
            len(plan), plan.edge_count, plan.depth, plan.width,
            max(map(len, plan._nodes.dependencies)), max(map(len, plan._nodes.successors)),
            round(plan.serial_time(), 1), round(plan.critical_path().length, 1),
        ) == FIGURES[path.name]  # fmt: skip

    def test_nodes_and_data(self, path: Path) -> None:
        plan = traces.load(path).compile()
        tasks = {task["id"]: task["parents"] for task in specified(path)}
        assert sorted(plan.names) == sorted(tasks)
        for i, name in enumerate(plan.names):
            assert [plan.names[slot] for slot in plan._nodes.arguments[i]] == tasks[name]
        assert list(plan._nodes.order) == list(range(len(plan)))  # defined parents first
        assert all(fn is noop for fn in plan._nodes.fns)

    def test_keeps_the_files_order_where_it_can(self, path: Path) -> None:
        tasks = specified(path)
        before: set[str] = set()
        in_order = True
        for task in tasks:
            in_order = in_order and before.issuperset(task["parents"])
            before.add(task["id"])
        if in_order:
            assert list(traces.load(path)) == [task["id"] for task in tasks]
        assert list(traces.load(path)) == list(traces.load(path))


# -- small files made here ---------------------------------------------------------------------


def task(id_: str, parents: str = "", children: str = "", **more: Any) -> dict[str, Any]:
    return {"name": id_.upper(), "id": id_, "parents": parents.split(), "children": children.split(), **more}


def document(*tasks: dict[str, Any], runtimes: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    workflow: dict[str, Any] = {"specification": {"tasks": list(tasks), "files": []}}
    if runtimes is not None:
        measured = [{"id": id_, "runtimeInSeconds": seconds} for id_, seconds in runtimes.items()]
        workflow["execution"] = {"makespanInSeconds": 1, "executedAt": "2025-01-01T00:00:00Z", "tasks": measured}
    return {"name": "small", "schemaVersion": "1.5", "workflow": workflow, **more}


def pair(**runtimes: Any) -> dict[str, Any]:
    return document(task("b", "a"), task("a", "", "b"), runtimes=runtimes or {"a": 2, "b": 0.5})


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Any], Path]:
    def writing(content: Any, name: str = "t.json") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path

    return writing


Write = Callable[..., Path]


class TestSmallTraces:
    def test_parents_come_first_and_costs_are_scaled(self, write: Write) -> None:
        plan = traces.load(write(pair()), scale=10).compile()
        assert list(plan.names) == ["a", "b"]
        assert plan.costs == {"a": 20.0, "b": 5.0}
        assert plan.name == "small"

    def test_path_may_be_a_string(self, write: Write) -> None:
        assert list(traces.load(str(write(pair())))) == ["a", "b"]

    def test_gzip_is_told_by_content(self, write: Write) -> None:
        assert list(traces.load(write(gzip.compress(json.dumps(pair()).encode()), "t.json"))) == ["a", "b"]

    @pytest.mark.parametrize(
        ("name", "file", "expected"),
        [("my trace", "etl.json", "etl"), ("my trace", "my etl.json", "trace"), ("etl.1", "x.json", "etl.1")],
    )
    def test_name_of_the_dag(self, write: Write, name: str, file: str, expected: str) -> None:
        assert traces.load(write(pair() | {"name": name}, file)).name == expected
        assert NAME_PATTERN.fullmatch(expected)

    def test_without_measurements(self, write: Write) -> None:
        plan = traces.load(write(document(task("a")))).compile()
        assert (list(plan.names), plan.costs) == (["a"], {})

    def test_a_parent_listed_twice_is_one(self, write: Write) -> None:
        plan = traces.load(write(document(task("a", "", "b b"), task("b", "a a")))).compile()
        assert tuple(plan._nodes.arguments[1]) == (0,)


class TestWork:
    def test_sleep_waits_for_the_scaled_runtime(self, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        waited: list[float] = []

        async def sleep(seconds: float) -> None:
            waited.append(seconds)

        monkeypatch.setattr(anyio, "sleep", sleep)
        plan = traces.load(write(pair()), work="sleep", scale=0.5).compile()
        assert list(plan._nodes.is_async) == [1, 1]
        for fn in plan._nodes.fns:
            assert anyio.run(fn, "output of a parent") is None
        assert waited == [1.0, 0.25]

    def test_cpu_takes_processor_time(self, write: Write) -> None:
        plan = traces.load(write(pair(a=20, b=0)), work="cpu", scale=0.001).compile()
        assert plan.all_sync
        before = time.thread_time()
        assert plan._nodes.fns[0]() is None
        assert time.thread_time() - before >= 0.02

    def test_equal_runtimes_share_a_function(self, write: Write) -> None:
        trace = write(document(task("a"), task("b"), task("c"), runtimes={"a": 1, "b": 1.0, "c": 2}))
        a, b, c = traces.load(trace, work="sleep").compile()._nodes.fns
        assert a is b is not c

    def test_a_callable_is_given_the_task(self, write: Write) -> None:
        trace = document(
            task("a", "", "b", outputFiles=["x", "y"]), task("b", "a", inputFiles=["x", "y", "unlisted"]),
            runtimes={"a": 1.5},
        )  # fmt: skip
        trace["workflow"]["specification"]["files"] = [{"id": "x", "sizeInBytes": 5}, {"id": "y", "sizeInBytes": 7}]
        trace["workflow"]["execution"]["tasks"][0]["coreCount"] = 4
        seen: list[traces.Task] = []

        def make(made: traces.Task) -> Callable[..., Any]:
            seen.append(made)
            return lambda *values: (made.id, values)

        plan = traces.load(write(trace), work=make, scale=2).compile()
        assert seen == [
            traces.Task("a", "A", 1.5, (), 0, 12, 4.0),
            traces.Task("b", "B", None, ("a",), 12, 0, None),
        ]
        assert plan.costs == {"a": 3.0}
        assert plan._nodes.fns[1]("out") == ("b", ("out",))

    @pytest.mark.parametrize(
        ("work", "scale", "faults"),
        [
            ("nap", 1.0, ["work must be one of 'noop', 'sleep', 'cpu' or a callable, not 'nap'"]),
            (None, -1, ["work must be", "scale must be a number >= 0, not -1"]),
            ("noop", float("nan"), ["scale must be a number >= 0, not nan"]),
            ("noop", True, ["scale must be a number >= 0, not True"]),
            (["noop"], "1", ["work must be", "scale must be"]),
        ],
    )
    def test_bad_arguments(self, work: Any, scale: Any, faults: list[str]) -> None:
        with pytest.raises(ConfigError) as caught:
            traces.load("never read", work=work, scale=scale)
        assert len(caught.value.faults) == len(faults)
        for fault, expected in zip(caught.value.faults, faults, strict=True):
            assert fault.startswith(expected)


def without(content: dict[str, Any], *path: str) -> dict[str, Any]:
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return content


OLD = {"name": "old", "schemaVersion": "1.3", "workflow": {"tasks": [], "makespan": 1}}

REFUSED: list[tuple[str, Any, str]] = [
    ("empty file", b"", "it is not JSON"),
    ("not JSON", b"{", "it is not JSON"),
    ("not UTF-8", json.dumps(pair()).replace("A", "\udcff").encode("utf-8", "surrogateescape"), "it is not JSON"),
    ("NaN", pair(a=float("nan")), "it is not JSON.*NaN and Infinity are not JSON"),
    ("huge number", json.dumps(pair(a=12345)).replace("12345", "1e999").encode(), "cannot be loaded"),
    ("nested", b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply|not JSON|missing required field"),
    ("other JSON", [1], "not WfFormat 1.5: Expected `object`, got `array`"),
    ("no version", without(pair(), "schemaVersion"), "missing required field `schemaVersion`"),
    ("old version", OLD, "it is WfFormat '1.3', and only 1.5 is read; convert it"),
    ("new version", pair() | {"schemaVersion": "2.0"}, "it is WfFormat '2.0'"),
    ("no tasks key", without(pair(), "workflow", "specification", "tasks"), r"field `tasks` - at `\$.workflow.spec"),
    ("number as id", document(task("a") | {"id": 1}), r"Expected `str`, got `int` - at `\$.*tasks\[0\].id`"),
    ("no tasks", document(), "it has no tasks"),
    ("duplicate", document(task("a"), task("a"), task("a")), "task 'a' is there twice"),
    ("bad id", document(task("../etc")), "task id '../etc' is refused: a name is 1 to 255"),
    ("unknown parent", document(task("a", "x")), "task 'a' has the unknown parent 'x'"),
    ("unknown child", document(task("a", "", "x")), "task 'a' has the unknown child 'x'"),
    ("self edge", document(task("a", "a", "a")), "task 'a' is its own parent"),
    ("no child", document(task("a"), task("b", "a")), "'b' has the parent 'a', which does not list it as a child"),
    ("no parent", document(task("a", "", "b"), task("b")), "'a' has the child 'b', which does not list it as a parent"),
    ("cycle", document(task("a", "b", "b"), task("b", "a", "a"), task("c")), "cycle: "),
    ("negative", pair(a=-1.0, b=0), "task 'a' has runtimeInSeconds -1.0: it must be 0 or more"),
    ("unknown measured", pair(a=1, b=1, c=1), "a measurement is of the unknown task 'c'"),
]


class TestRefused:
    @pytest.mark.parametrize(("content", "message"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
    def test_content(self, write: Write, content: Any, message: str) -> None:
        path = write(content)
        with pytest.raises(TraceError, match=message) as caught:
            traces.load(path)
        assert str(caught.value).startswith(f"trace {str(path)!r} cannot be loaded: ")

    def test_a_cycle_names_only_tasks_on_it(self, write: Write) -> None:
        trace = document(task("s", "", "a"), task("a", "s c", "b"), task("b", "a", "c"), task("c", "b", "a t"),
                         task("t", "c"))  # fmt: skip
        with pytest.raises(TraceError) as caught:
            traces.load(write(trace))
        path = str(caught.value).partition("cycle: ")[2].partition(" (")[0].split(" -> ")
        assert path[0] == path[-1]
        assert " ".join(path[:-1] * 2).count("a b c") >= 1
        assert set(path) == {"a", "b", "c"}

    def test_all_faults_at_once(self, write: Write) -> None:
        trace = document(task("a", "x"), task("a"), task("b", "b", "b"), runtimes={"a": -1, "c": 1})
        with pytest.raises(TraceError) as caught:
            traces.load(write(trace), work="sleep")
        head, *lines = str(caught.value).splitlines()
        assert head.endswith("cannot be loaded: 6 faults")
        assert [line.strip() for line in lines] == [
            "- task 'a' is there twice; ids must differ",
            "- task 'a' has the unknown parent 'x'",
            "- task 'b' is its own parent",
            "- task 'a' has runtimeInSeconds -1.0: it must be 0 or more, and finite scaled",
            "- a measurement is of the unknown task 'c'",
            "- task 'b' has no runtimeInSeconds to replay; use work='noop'",
        ]

    def test_many_faults_are_cut_short(self, write: Write) -> None:
        with pytest.raises(TraceError) as caught:
            traces.load(write(document(*[task(f"t{i}", "x") for i in range(60)])))
        lines = str(caught.value).splitlines()
        assert lines[0].endswith("60 faults")
        assert len(lines) == 52
        assert lines[-1] == "  - ... and 10 more"

    @pytest.mark.parametrize("work", ["sleep", "cpu"])
    def test_missing_runtime_is_for_replays_only(self, write: Write, work: Any) -> None:
        path = write(document(task("a"), runtimes={}))
        assert len(traces.load(path)) == 1
        with pytest.raises(TraceError, match="task 'a' has no runtimeInSeconds to replay"):
            traces.load(path, work=work)

    def test_measured_twice(self, write: Write) -> None:
        trace = pair()
        trace["workflow"]["execution"]["tasks"] *= 2
        with pytest.raises(TraceError, match="measurement of task 'a' is there twice"):
            traces.load(write(trace))

    def test_runtime_too_large_for_its_scale(self, write: Write) -> None:
        with pytest.raises(TraceError, match=r"runtimeInSeconds 1e\+300: it must be 0 or more, and finite scaled"):
            traces.load(write(pair(a=1e300, b=0)), scale=1e10)

    def test_files_that_cannot_be_read(self, tmp_path: Path) -> None:
        with pytest.raises(TraceError, match="there is no such file; check the path"):
            traces.load(tmp_path / "absent.json")
        with pytest.raises(TraceError, match=r"it cannot be read: .*irectory"):
            traces.load(tmp_path)

    def test_gzip_faults(self, write: Write) -> None:
        packed = gzip.compress(json.dumps(pair()).encode())
        broken = bytearray(packed)
        broken[-8] ^= 0xFF  # the checksum
        for content, message in (
            (b"{}", "is named .gz but is not gzip"),
            (packed[:-12], "damaged or cut short"),
            (bytes(broken), "CRC check failed"),
            (packed[:10] + b"\xff" * 20, "damaged or cut short"),
        ):
            with pytest.raises(TraceError, match=message):
                traces.load(write(content, "t.json.gz"))

    def test_a_decompression_bomb_is_not_unpacked(self, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        assert traces.MAX_BYTES == 512 * 1024 * 1024
        monkeypatch.setattr(traces, "MAX_BYTES", 3 * 2**20)
        bomb = gzip.compress(b" " * (3 * 2**20 + 1))
        assert len(bomb) < 2**14
        with pytest.raises(TraceError, match="it holds over 3 MiB of JSON"):
            traces.load(write(bomb, "bomb.json.gz"))
        with pytest.raises(TraceError, match="it holds over 3 MiB of JSON"):
            traces.load(write(b" " * (3 * 2**20 + 1)))
        padded = json.dumps(pair()).encode()
        exact = padded + b" " * (3 * 2**20 - len(padded))
        assert len(traces.load(write(gzip.compress(exact), "fits.json.gz"))) == 2
