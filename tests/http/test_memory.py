"""Runs in memory: what is kept of those that have ended, and how lists of runs are read page by page."""

from __future__ import annotations

import msgspec
from client import API, serving
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st
from workflows import Gate, one, quick

from flow.errors import MAX_FAULTS_SHOWN
from flow.http import Limits, memory
from flow.http.answers import COMPLETED, FAILED, STATUSES, Answer, NodeError, encoded_answer
from flow.http.memory import Runs
from flow.http.workflow import Workflow

WORKFLOW = Workflow("quick", quick(), None)


def answer(run_id: str, size: int = 0, **said: object) -> bytes:
    told = Answer(run_id, COMPLETED, {"x": "y" * size}, {}, {}, 0.5)
    return encoded_answer(msgspec.structs.replace(told, **said))


def ended(runs: Runs, run_id: str, size: int = 0, created: float = 1.0, status: str = COMPLETED) -> None:
    runs.end(run_id, WORKFLOW, status, created, 7, b"", answer(run_id, size))


class TestKept:
    @examples(200)
    @given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 900))), st.integers(0, 6), st.integers(0, 4_000))
    def test_as_many_as_the_limits_say_and_the_latest(
        self, ends: list[tuple[int, int]], most: int, most_bytes: int
    ) -> None:
        """A simple model: a list of those that have ended, the oldest of which go until all limits are kept."""
        runs = Runs([WORKFLOW], Limits(finished=most, finished_bytes=most_bytes))
        model = list[tuple[str, int]]()
        for number, size in ends:
            run_id = f"r{number}"
            ended(runs, run_id, size)
            model = [one for one in model if one[0] != run_id]
            model.append((run_id, len(answer(run_id, size)) + memory._HEAD.size + memory._OVERHEAD))
            while len(model) > most or sum(size for _, size in model) > most_bytes:
                del model[0]
            kept = {run_id for run_id, _ in model}
            assert {f"r{i}" for i in range(13) if runs.ended(f"r{i}") is not None} == kept
            assert runs.statistics == {"live": 0, "ended": len(model), "bytes": sum(size for _, size in model)}
            assert {row.id for row in runs.rows((), None, 100, None)} == kept

    def test_what_is_kept(self) -> None:
        runs = Runs([WORKFLOW], Limits())
        codes = bytes([list(memory.NODE_STATUSES).index(one) for one in ("completed", "failed", "skipped")])
        data = answer("a", errors={"second": NodeError("ValueError", "no\nmore")}, status=FAILED)
        runs.end("a", WORKFLOW, FAILED, 5.0, 2**64 - 1, codes, data)
        found = runs.ended("a")
        assert found is not None
        assert (found.workflow, found.status, found.created, found.digest) == (WORKFLOW, FAILED, 5.0, 2**64 - 1)
        assert (found.statuses, found.answer) == (["completed", "failed", "skipped"], data)
        (row,) = runs.rows((), None, 10, None)
        assert (row.status, row.seconds, row.error) == (FAILED, 0.5, "second: ValueError: no")

    def test_one_that_is_larger_than_all_that_is_kept(self) -> None:
        runs = Runs([WORKFLOW], Limits(finished_bytes=1_000))
        ended(runs, "large", 2_000)
        assert runs.ended("large") is None
        assert runs.statistics == {"live": 0, "ended": 0, "bytes": 0}

    def test_the_service_forgets_the_oldest(self) -> None:
        with serving({"quick": quick()}, limits=Limits(finished=2)) as client:
            for run_id in ("a", "b", "c"):
                client.start("quick", {"run_id": run_id})
            assert [client.get(f"{API}/runs/{run_id}").status for run_id in ("a", "b", "c")] == [404, 200, 200]

    def test_a_large_answer_is_given_though_it_is_not_kept(self) -> None:
        with serving({"one": one(lambda: "x" * 5_000)}, limits=Limits(finished_bytes=1_000)) as client:
            for _ in range(2):  # in a thread, and here
                got = client.start("one")
                assert len(got.json["outputs"]["node"]) == 5_000
                assert client.get(f"{API}/runs/{got.json['id']}").status == 404
            for prefer in ("", "respond-async"):  # somebody else has asked for the same run
                assert client.start("one", {"run_id": "a"}, headers={"prefer": prefer}).status in (200, 202)


class TestLists:
    def test_times_grow_also_where_the_clock_was_set_back(self) -> None:
        runs = Runs([WORKFLOW], Limits())
        for run_id, created in (("a", 100.0), ("b", 100.0), ("c", 40.0), ("d", 101.0), ("e", 100.5)):
            ended(runs, run_id, created=created)
        assert pages(runs, 2) == [["e", "d"], ["c", "b"], ["a"]]

    def test_pages_while_runs_are_added(self) -> None:
        runs = Runs([WORKFLOW], Limits())
        for number in range(10):
            ended(runs, f"r{number}", created=number)
        first = runs.rows((), None, 4, None)
        for number in range(10, 15):
            ended(runs, f"r{number}", created=number)
        rest = runs.rows((), None, 100, (first[-1].created, first[-1].id))
        assert [row.id for row in (*first, *rest)] == [f"r{number}" for number in reversed(range(10))]

    def test_a_cursor_goes_on_though_its_run_is_forgotten(self) -> None:
        with serving({"quick": quick()}, limits=Limits(finished=6)) as client:
            for number in range(6):
                client.start("quick", {"run_id": f"r{number}"})
            first = client.get(f"{API}/runs?limit=2").json
            assert [row["id"] for row in first["runs"]] == ["r5", "r4"]
            for number in range(6, 9):
                client.start("quick", {"run_id": f"r{number}"})
            second = client.get(f"{API}/runs?limit=2&cursor={first['next']}").json
            assert [row["id"] for row in second["runs"]] == ["r3"]  # the older ones are forgotten
            assert second["next"] is None

    def test_all_pages_have_each_run_once_and_the_last_has_no_cursor(self) -> None:
        with serving({"quick": quick()}) as client:
            ids = [client.start("quick").json["id"] for _ in range(23)]
            found, cursor = list[str](), ""
            while cursor is not None:
                page = client.get(f"{API}/runs?limit=5" + (f"&cursor={cursor}" if cursor else "")).json
                found += [row["id"] for row in page["runs"]]
                cursor = page["next"]
            assert found == ids[::-1]

    def test_filters(self) -> None:
        gate = Gate()
        workflows = {"quick": quick(), "held": gate.loop, "bad": one(lambda: 1 / 0)}
        with serving(workflows) as client:
            client.start("quick", {"run_id": "q"})
            client.start("held", {"run_id": "h"}, "?wait=0")
            client.start("bad", {"run_id": "b"})

            def found(query: str) -> list[str]:
                return [row["id"] for row in client.get(f"{API}/runs?{query}").json["runs"]]

            assert found("") == ["b", "h", "q"]
            assert found("workflow=held") == ["h"]
            assert found("status=failed") == ["b"]
            assert found("status=failed,running") == found("status=failed&status=running") == ["b", "h"]
            assert found("status=completed&workflow=held") == []
            assert client.get(f"{API}/runs?workflow=hold").status == 404
            gate.open()

    def test_all_faults_of_a_query(self) -> None:
        with serving({"quick": quick()}) as client:
            got = client.get(f"{API}/runs?state=failed&status=fialed&limit=0&cursor=%ff!")
            assert got.status == 400
            assert [fault["detail"] for fault in got.json["errors"]] == [
                "there is no parameter 'state' (did you mean 'status'?)",
                f"status is one of {', '.join(STATUSES)}, not 'fialed' (did you mean 'failed'?)",
                "limit is a number from 1 to 500, not '0'",
                "the cursor is none that this service has given",
            ]

    def test_very_many_wrong_ones_are_told_in_part(self) -> None:
        with serving({"quick": quick()}) as client:
            for query in (",".join(f"s{number}" for number in range(10_000)), ",".join(["faild"] * 10_000)):
                got = client.get(f"{API}/runs?status={query}")
                assert got.status == 400
                assert len(got.json["errors"]) == min(MAX_FAULTS_SHOWN, len(set(query.split(","))))

    def test_nasty_queries(self) -> None:
        with serving({"quick": quick()}) as client:
            client.start("quick")
            many = "&".join(f"a{number}=1" for number in range(30))
            for query in (
                many,
                "limit=501",
                "limit=-1",
                "limit=1e2",
                "limit=%D9%A3",
                "cursor=eA",
                "cursor=bmFuIGE%3D%3D",
            ):
                got = client.get(f"{API}/runs?{query}")
                assert got.status in (200, 400), query
                assert client.get(f"/?{query}").status in (200, 400), query


def pages(runs: Runs, limit: int) -> list[list[str]]:
    found, before = list[list[str]](), None
    while rows := runs.rows((), None, limit, before):
        found.append([row.id for row in rows])
        before = (rows[-1].created, rows[-1].id)
    return found
