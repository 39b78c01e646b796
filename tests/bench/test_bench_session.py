"""Runs of many suites: passes in fresh processes, merged, saved, compared; a broken implementation is refused."""

from __future__ import annotations

import gzip
import json
import os
import re
import shlex
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

import flow
from flow_bench import command
from flow_bench.__main__ import main, parser
from flow_bench.harness.rows import Measured, Row, Target, ratios, shared
from flow_bench.micro import measuring as harness
from flow_bench.session import estimate, store
from flow_bench.session import passes as session
from flow_bench.session.passes import MISSED, OK, PARTS, REFUSED, UNAVAILABLE, USAGE, Part, merged

pytestmark = pytest.mark.usefixtures("frozen")

TINY = Part("core", 2, ("--only", "build"), ("--nodes", "12", "--rounds", "4"))  # its quickest section

SKIPPING = """
from flow.run import launch
real = launch.run_inline
def skipping(run):
    run.order = run.order[:-1]
    real(run)
launch.run_inline = skipping
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, in which a run has one small part."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(session, "PARTS", (TINY,))
    return tmp_path


def sabotage(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Have every process started from here run this code first."""
    (folder / "sitecustomize.py").write_text(code, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(folder))


class TestRun:
    def test_measured_saved_and_compared(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["run", "--core", "--quick", "--save", "first", "--json", "all.json"]) == OK
        printed = capsys.readouterr().out
        assert "pass 2 of 2  core" in printed
        assert "[core] build and compile, 12 nodes: us per node" in printed
        assert "saved as benchmark-results/first.json" in printed
        document = json.loads((here / "benchmark-results" / "first.json").read_text(encoding="utf-8"))
        assert document == json.loads((here / "all.json").read_text(encoding="utf-8"))
        assert (document["schema"], document["name"], document["passes"]) == (1, "first", 2)
        assert document["machine"].keys() >= {"cpu", "cores", "python", "flow", "libraries", "commit", "load", "date"}
        (row,) = [r for r in document["rows"] if (r["label"], r["topology"]) == ("compile", "tree")]
        assert [len(one["samples"]) for one in row["passes"]] == [2, 2]
        assert row["samples"] == [*row["passes"][0]["samples"], *row["passes"][1]["samples"]]
        assert [len(row[name]) for name in ("ratios", "cpu")] == [4, 4]

        assert main(["run", "--core", "--quick", "--save", "--compare", "--fail-over", "10000"]) == OK
        printed = capsys.readouterr().out
        assert "compared with 'first'" in printed
        assert "other flags or passes" not in printed
        assert "rows compared: " in printed
        second = next(path.stem for path in store.saved() if path.stem != "first")
        assert main(["compare", "first", second]) == OK
        assert f"'{second}'" in capsys.readouterr().out
        assert main(["compare", "first"]) == OK  # with the newest

    def test_a_broken_driver_is_refused(
        self, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(session, "PARTS", (replace(TINY, flags=("--only", "sync")),))
        sabotage(here, monkeypatch, SKIPPING)
        assert main(["run", "--core", "--quick", "--save", "broken"]) == REFUSED
        error = capsys.readouterr().err
        assert "flow_bench: core: contender 'flow.run, fresh plan' is refused: nodes never called: 11" in error

    def test_other_suites_go_on(
        self, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(session, "PARTS", (Part("dag", 2, ("--nonsense",)), TINY))
        assert main(["run", "--core", "--dag", "--quick", "--save", "half"]) == REFUSED
        found = capsys.readouterr()
        assert "flow_bench: dag: its process died with exit code 2: " in found.err
        assert found.out.count("dag  ") == 1  # not tried again
        document = store.load("half")
        assert {row["suite"] for row in document["rows"]} == {"core"}
        assert document["faults"].keys() == {"dag"}

    def test_ctrl_c_keeps_the_passes_that_have_ended(
        self, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        one_pass = session.one_pass

        def second_is_interrupted(part: Part, **how: Any) -> Any:
            if not how["memory"]:  # all but the first
                raise KeyboardInterrupt
            return one_pass(part, **how)

        monkeypatch.setattr(session, "one_pass", second_is_interrupted)
        assert main(["run", "--core", "--quick", "--save", "half"]) == session.INTERRUPTED == 130
        assert "interrupted: the passes that have ended are kept" in capsys.readouterr().out
        assert {len(row["passes"]) for row in store.load("half")["rows"]} == {1}

    def test_ctrl_c_in_a_suite(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        def interrupted(*_: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(harness.Bench, "_measured", interrupted)
        assert main(["dag", "--quick", "--only", "asked"]) == 130
        assert capsys.readouterr().err == "flow_bench: interrupted\n"

    def test_what_is_not_installed_is_said(
        self, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(session, "PARTS", (Part("node", 1),))
        sabotage(here, monkeypatch, "import sys\nsys.modules['pytest'] = None\n")
        assert main(["run", "--node", "--quick"]) == OK
        assert "n/a: pytest is not installed: pip install '.[bench]'" in capsys.readouterr().out

    def test_all_but_the_peers_unless_named(self) -> None:
        def chosen(*flags: str) -> list[str]:
            return command.chosen(parser().parse_args(["run", *flags]))

        assert chosen() == [name for name in session.SUITES if name not in session.ON_REQUEST]
        assert {"durable", "api", "ai", "peers", "scale", "tune", "adaptive", "experiments"} == set(session.ON_REQUEST)
        assert chosen("--all", "--quick") == list(session.SUITES)
        assert chosen("--traces", "--core") == ["core", "traces"]
        assert chosen("--peers") == ["peers"]


class TestRefused:
    """Implementations that leave something undone do not get a figure."""

    def test_a_status_that_is_not_set(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        real = flow.plan.StatusTracker.set

        def forgetful(self: flow.plan.StatusTracker, name: Any, status: flow.Status, *args: Any) -> None:
            if status is not flow.Status.COMPLETED or not str(name).endswith("7"):
                real(self, name, status, *args)

        monkeypatch.setattr(flow.plan.StatusTracker, "set", forgetful)
        assert main(["dag", "--quick", "--only", "status tracking"]) == REFUSED
        assert "is refused: " in capsys.readouterr().err

    def test_a_node_that_does_not_run(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        from flow.run import launch

        real = launch.run_inline

        def skipping(run: Any) -> None:
            run.order = run.order[:-1]
            real(run)

        monkeypatch.setattr(launch, "run_inline", skipping)
        assert main(["core", "--quick", "--only", "sync", "--nodes", "12", "--rounds", "1"]) == REFUSED
        assert "nodes never called: 11" in capsys.readouterr().err

    def test_a_resolver_that_forgets(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setattr(flow.plan.Resolver, "is_runnable", lambda self, i: False)
        assert main(["dag", "--quick", "--only", "resolution, per node asked"]) == REFUSED
        assert "is refused: " in capsys.readouterr().err


class TestUsage:
    """What makes no sense is said before anything is measured."""

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["run", "--core", "--html", "no/such/page.html"], "there is no folder 'no/such'"),
            (["run", "--core", "--json", "."], "'.' is a folder"),
            (["core", "--json", "no/rows.json"], "there is no folder 'no'"),
            (["run", "--core", "--compare", "--fail-over", "-5"], "'-5' is no percentage"),
            (["compare", "a", "b", "--fail-over", "ten"], "'ten' is no percentage"),
            (["dag", "--rounds", "0"], "'0' is no integer of at least 1"),
            (["dag", "--share", "-1"], "'-1' is no integer of at least 1"),
            (["core", "--nodes", "8,x"], "sizes are integers of at least 4"),
            (["peers", "--rounds", "3"], "unrecognized arguments: --rounds 3"),
        ],
    )
    def test_flags(self, arguments: list[str], said: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit, match="2"):
            main(arguments)
        assert said in capsys.readouterr().err

    @pytest.mark.parametrize(
        "suite",
        ["dag", "memory", "concurrency", "workflow", "adaptive", "tune", "spec", "durable", "api", "ai", "peers"],
    )
    def test_sections(self, suite: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([suite, "--quick", "--only", "nonsense"]) == USAGE
        found = capsys.readouterr()
        assert f"{suite} has no section 'nonsense'; it has '" in found.err
        assert found.out == ""


def test_the_documentation_has_every_flag_of_run_and_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    told = {
        flag for line in page.splitlines() if line.startswith("| `--") for flag in re.findall(r"`(--[a-z-]+)", line)
    }
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    assert told == set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help"}


def test_flags_in_workflows_and_on_pages_are_right() -> None:
    files = [*(ROOT / ".github" / "workflows").glob("*.yml"), *(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    found = [line.partition("sh scripts/benchmark.sh ")[2] for line in lines]
    flags = [text.partition("#")[0].partition("`")[0] for text in found if text]
    assert len(flags) > 5
    for text in flags:
        command.chosen(parser().parse_args(["run", *shlex.split(text)]))


class TestMerged:
    def rows(self, *values: float, **fields: Any) -> list[dict[str, Any]]:
        return [Row("s", "l", "us", list(values), suite="x", **fields).to_dict()]

    def test_rounds_of_all_passes(self) -> None:
        (row,) = merged([self.rows(1.0, 2.0, 9.0, figures={"p99": 9.0}), self.rows(3.0, 4.0, figures={"p99": 5.0})])
        assert (row["figure"], row["samples"]) == (3.0, [1.0, 2.0, 9.0, 3.0, 4.0])
        assert row["figures"] == {"p99": 7.0}
        assert [one["figure"] for one in row["passes"]] == [2.0, 3.5]

    def test_a_figure_that_is_no_median_stays_one_of_its_passes(self) -> None:
        (row,) = merged([self.rows(1.0, 5.0, figure=5.0), self.rows(1.0, 7.0, figure=7.0)])
        assert row["figure"] == 6.0

    def test_a_row_not_in_every_pass_and_one_without_figure(self) -> None:
        absent = Row("s", "none", "us", note="n/a: not here", suite="x").to_dict()
        found = merged([[*self.rows(1.0), absent], [absent]])
        assert [(row["label"], row["figure"], len(row["passes"])) for row in found] == [
            ("l", 1.0, 1),
            ("none", None, 2),
        ]

    def test_two_rows_of_one_name_are_a_mistake(self) -> None:
        with pytest.raises(ValueError, match="two rows are called x / s / l / 0 / "):
            merged([self.rows(1.0) + self.rows(2.0)])

    def test_a_row_is_the_same_after_json(self) -> None:
        row = Row("s", "l", "us", [1.0, 3.0], ratios=[Measured(1.0, 0.5)], nodes=3, target=Target(2.0, 1.0), suite="x")
        assert row.cpu == [0.5]
        assert Row.from_dict(json.loads(json.dumps(row.to_dict()))) == row


class TestShares:
    def test_every_number_of_rounds_is_shared(self) -> None:
        from flow_bench.suites.engine import context

        assert shared(harness.Effort(rounds=9, sample=0.5, each_rounds=100), 3) == harness.Effort(3, 0.5, 34)
        nested = shared(context.Effort(), 61)
        assert (nested.rounds, nested.deep_rounds, nested.sizes) == (1, 1, context.Effort().sizes)
        assert nested.mapping.rounds == nested.keeping.rounds == 1
        assert shared(context.QUICK, 1) is context.QUICK

    def test_ratios_of_cpu_time_where_it_is_known(self) -> None:
        slow, base = [Measured(2.0, 1.0), Measured(3.0, 0.5)], [Measured(1.0, 1.0), Measured(1.0, 0.25)]
        assert ratios(slow, base) == [2.0, 3.0]
        assert Row("s", "l", "us", slow, ratios=ratios(slow, base)).cpu == [1.0, 2.0]
        assert Row("s", "l", "us", slow, ratios=ratios(slow, [1.0, 1.0])).cpu == []
        assert Row("s", "l", "us", slow, ratios=ratios(slow, [Measured(1.0), Measured(1.0)])).cpu == []


class TestStore:
    @pytest.mark.parametrize("name", ["../up", "", "a/b", ".hidden", "a.json", "x" * 101, "a b"])
    def test_names_are_checked_before_anything_is_measured(
        self, name: str, here: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(store.NotSaved, match="cannot be a run's name"):
            store.path_of(name)
        if name:
            assert main(["run", "--core", "--save", name]) == USAGE
            assert "cannot be a run's name" in capsys.readouterr().err

    def test_names_of_nothing(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["run", "--core", "--compare"]) == USAGE
        assert "no run is saved in benchmark-results" in capsys.readouterr().err
        store.save({"schema": 1, "name": "kept", "rows": []})
        assert main(["compare", "kpt"]) == USAGE
        told = "no run is saved as 'kpt', nor is there such a file; saved in benchmark-results: kept"
        assert told in capsys.readouterr().err
        (here / "other.json").write_text("[1]", encoding="utf-8")
        assert main(["compare", "kept", "other.json"]) == USAGE
        assert "other.json is not a run of flow_bench" in capsys.readouterr().err
        (here / "notes.md").write_text("# notes", encoding="utf-8")
        assert main(["compare", "kept", "notes.md"]) == USAGE
        assert "notes.md is not JSON" in capsys.readouterr().err

    def test_the_newest_but_the_one_asked_about(self, here: Path) -> None:
        for name in ("b", "a"):
            store.save({"schema": 1, "name": name, "rows": []})
        assert store.load("")["name"] == "a" or store.saved()[-1].stem == "b"
        assert store.load("", but="a")["name"] == "b"
        assert store.load(str(here / "benchmark-results" / "b.json"))["name"] == "b"

    def test_archives(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        rows = merged([[Row("s", "l", "us", [1.0], ratios=[1.5], suite="x").to_dict()]])
        machine = {"cpu": "c", "cores": 1, "system": "s", "python": "p", "commit": ""}

        def run(name: str, day: int) -> dict[str, Any]:
            facts = machine | {"date": f"2026-02-0{day}T04:05:06+00:00"}
            found = {"schema": 1, "name": name, "machine": facts, "settings": {}, "passes": 1, "rows": rows}
            return dict(json.loads(json.dumps(found)))

        path = store.save(run("previous", 1), "previous.tar.gz")
        assert path == Path("benchmark-results/previous.tar.gz")
        assert store.load("previous") == store.load("previous.tar.gz") == store.load(str(path)) == run("previous", 1)
        assert [store.name_of(one) for one in store.saved()] == ["previous"]
        store.save(run("plain", 2))
        assert main(["compare", "benchmark-results/previous.tar.gz", "plain"]) == OK
        assert "1 rows compared: 0 slower, 0 faster, 1 same" in capsys.readouterr().out

        for name, day in (("one", 3), ("two", 5), ("three", 4)):
            store.save(run(name, day))
        with tarfile.open("all.tar.gz", "w:gz") as archive:  # as `tar czf all.tar.gz benchmark-results` makes it
            archive.add("benchmark-results")
        assert store.load("all.tar.gz")["name"] == "two"

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (b"no archive", "is not a .tar.gz"), (b"", "is not a .tar.gz"),
            (gzip.compress(b"x" * 600, mtime=0), "is not a .tar.gz"),
            (b"", "is not a .tar.gz"), (None, "is not a run of flow_bench"),
        ],
    )  # fmt: skip
    def test_archives_of_something_else(
        self, content: bytes | None, told: str, here: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        if content is None:
            with tarfile.open("odd.tar.gz", "w:gz") as archive:
                archive.add(__file__, "test.py")
        else:
            Path("odd.tar.gz").write_bytes(content)
        store.save({"schema": 1, "name": "kept", "rows": []})
        assert main(["compare", "kept", "odd.tar.gz"]) == USAGE
        assert f"odd.tar.gz {told}" in capsys.readouterr().err

    def test_a_run_that_cannot_be_written_leaves_the_one_before(self, here: Path, monkeypatch: Any) -> None:
        kept = {"schema": 1, "name": "same", "rows": []}
        path = store.save(kept)

        def full(self: Path, data: bytes) -> None:
            self.touch()
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", full)
            with pytest.raises(store.NotSaved, match=r"same.json cannot be written: No space left on device"):
                store.save({**kept, "passes": 9})
        assert json.loads(path.read_text(encoding="utf-8")) == kept
        assert [one.name for one in store.FOLDER.iterdir()] == ["same.json"]

    def test_a_folder_that_cannot_be_made_is_said_before_anything_is_measured(
        self, here: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        store.FOLDER.write_text("", encoding="utf-8")
        assert main(["run", "--core", "--quick", "--save"]) == USAGE
        found = capsys.readouterr()
        assert "the folder benchmark-results cannot be made: File exists" in found.err
        assert "pass 1" not in found.out

    def test_one_file_that_cannot_be_written_keeps_none_of_the_others(
        self, here: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        if not Path("/dev/full").exists():
            pytest.skip("no /dev/full here")
        assert main(["run", "--core", "--quick", "--json", "/dev/full", "--html", "page.html", "--save", "x"]) == USAGE
        found = capsys.readouterr()
        assert "/dev/full cannot be written: No space left on device" in found.err
        assert "drawn in page.html" in found.out and Path("page.html").stat().st_size > 1_000
        assert store.load("x")["name"] == "x"

    def test_the_newer_of_two_files_of_one_name(self, here: Path) -> None:
        store.save({"schema": 1, "name": "same", "passes": 1, "rows": []})
        os.utime("benchmark-results/same.json", (1, 1))
        store.save({"schema": 1, "name": "same", "passes": 2, "rows": []}, "same.tar.gz")
        assert store.load("same")["passes"] == 2

    @pytest.mark.parametrize(
        ("document", "told"),
        [
            ({"schema": 2, "name": "x", "rows": []}, "its schema is 2, and this flow_bench reads 1"),
            ({"name": "x", "rows": []}, "it says no schema"),
            ({"schema": 1, "rows": []}, "missing required field `name`"),
            ({"schema": 1, "name": "x", "rows": "text"}, "Expected `array`, got `str`"),
            ({"schema": 1, "name": "x", "rows": [{}]}, "missing required field `suite`"),
            ({"schema": 1, "name": "x", "rows": [], "machine": 3}, "Expected `object`, got `int`"),
            ([1], "Expected `object`, got `array`"),
        ],
    )
    def test_documents_that_are_no_runs(self, document: Any, told: str, here: Path) -> None:
        Path("odd.json").write_text(json.dumps(document), encoding="utf-8")
        with pytest.raises(store.NotSaved, match="odd.json is not a run of flow_bench: ") as caught:
            store.load("odd.json")
        assert told in str(caught.value)

    def test_nested_too_deep(self, here: Path) -> None:
        Path("odd.json").write_text("[" * 200_000, encoding="utf-8")
        with pytest.raises(store.NotSaved, match="odd.json is not JSON"):
            store.load("odd.json")

    @pytest.mark.parametrize("date", [None, "yesterday", "2026-02-03T04:05:06", 7])
    def test_runs_in_an_archive_without_a_date_are_older(self, date: Any, here: Path) -> None:
        store.save({"schema": 1, "name": "odd", "rows": [], "machine": {} if date is None else {"date": date}})
        store.save({"schema": 1, "name": "new", "rows": [], "machine": {"date": "2026-02-09T04:05:06+00:00"}})
        with tarfile.open("all.tar.gz", "w:gz") as archive:
            archive.add("benchmark-results")
        assert store.load("all.tar.gz")["name"] == "new"

    def test_a_member_that_no_run_is_as_large_as(self, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(store, "MOST", 10)
        store.save({"schema": 1, "name": "big", "rows": []}, "big.tar.gz")
        with pytest.raises(store.NotSaved, match=r"big.tar.gz holds 'big.json' of 0 MB: no run is as large"):
            store.load("big")

    def test_a_wrong_checksum(self, here: Path) -> None:
        path = store.save({"schema": 1, "name": "crc", "rows": []}, "crc.tar.gz")
        data = bytearray(path.read_bytes())
        data[-8] ^= 1
        path.write_bytes(data)
        with pytest.raises(store.NotSaved, match=r"crc.tar.gz is not a .tar.gz, or is damaged: CRC check failed"):
            store.load("crc")

    def test_the_only_run_is_not_compared_with_itself(self, here: Path) -> None:
        store.save({"schema": 1, "name": "only", "rows": []})
        with pytest.raises(store.NotSaved, match="no other run is saved"):
            store.load("", but="only")

    def test_a_cut_archive(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = store.save({"schema": 1, "name": "cut", "rows": [{"x": k} for k in range(5_000)]}, "cut.tar.gz")
        path.write_bytes(path.read_bytes()[:-2_000])
        assert main(["compare", "cut", "cut"]) == USAGE
        assert "cut.tar.gz is not a .tar.gz" in capsys.readouterr().err

    def test_default_names_are_date_and_commit(self) -> None:
        assert (
            store.default_name({"date": "2026-02-03T04:05:06+00:00", "commit": "abc-dirty"})
            == "20260203-040506-abc-dirty"
        )
        assert store.default_name({"date": "2026-02-03T04:05:06+00:00", "commit": ""}) == "20260203-040506"


class TestDuration:
    FACTS = {"cpu": "c", "cores": 2, "python": "p"}

    def save(self, name: str, *, quick: bool = True, cpu: str = "c", **took: float) -> None:
        facts = self.FACTS | {"cpu": cpu, "date": "2026-02-03T04:05:06+00:00"}
        store.save(
            {"schema": 1, "name": name, "machine": facts, "settings": {"quick": quick}, "took": took, "rows": []}
        )

    def told(self, *parts: Part) -> tuple[float, str]:
        return estimate.duration(parts, quick=True, facts=self.FACTS)

    def test_by_saved_runs_of_this_machine(self, here: Path) -> None:
        one, two = Part("core", 1), Part("dag", 2)
        self.save("slow", **{one.text: 50.0, two.text: 70.0})
        os.utime("benchmark-results/slow.json", (1, 1))
        self.save("new", **{one.text: 5.0})
        self.save("other", cpu="another", **{one.text: 1.0, two.text: 1.0})
        self.save("full", quick=False, **{one.text: 500.0})
        Path("benchmark-results/mine.json").write_text("[]", encoding="utf-8")
        assert self.told(one, two) == (75.0, "as saved runs took here")
        assert estimate.text(*self.told(one, two)) == "this takes about 75 s (as saved runs took here)"

    def test_by_the_speed_of_a_loop(self, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(estimate, "_loop", lambda: 3 * estimate.LOOP)
        assert self.told(Part("core", 1, seconds=(20.0, 90.0)), Part("dag", 2, seconds=(30.0, 90.0))) == (
            150.0,
            "by the speed of a loop here",
        )
        assert estimate.text(150.0, "x") == "this takes about 2 min (x)"

    def test_every_part_has_its_seconds(self) -> None:
        assert all(quick > 0 and full >= quick for quick, full in (part.seconds for part in PARTS))

    def test_the_loop_takes_time(self) -> None:
        assert 0 < estimate._loop() < 0.1


class TestFailOver:
    @pytest.mark.parametrize(
        ("percent", "code"), [(["--fail-over", "10"], MISSED), (["--fail-over", "60"], OK), ([], OK)]
    )
    def test_exit_code(self, percent: list[str], code: int, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        machine = {"cpu": "c", "cores": 1, "system": "s", "python": "p", "commit": "", "date": "d"}
        for name, value in (("before", 1.0), ("after", 1.5)):
            rows = merged([[Row("s", "l", "us", [1.0], ratios=[value], suite="x").to_dict()] for _ in range(5)])
            store.save({"schema": 1, "name": name, "machine": machine, "settings": {}, "passes": 5, "rows": rows})
        assert main(["compare", "before", "after", *percent]) == code
        found = capsys.readouterr()
        assert "slower (1)\n  [x] s, l" in found.out
        assert ("1 rows are slower by more than 10 %" in found.err) == bool(code)

    def test_it_needs_something_to_compare_with(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            main(["run", "--fail-over", "10"])
        assert "--fail-over is for --compare" in capsys.readouterr().err


def test_unavailable_is_no_failure() -> None:
    assert len({OK, MISSED, USAGE, REFUSED, UNAVAILABLE}) == 5
