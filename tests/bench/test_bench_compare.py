"""Saved runs compared: noise is not called a difference, a slowdown is; and what cannot be compared is said."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist, median
from typing import Any

import pytest

from flow_bench.__main__ import main
from flow_bench.harness.rows import Row
from flow_bench.report import changes
from flow_bench.session import compare as judge
from flow_bench.session.passes import OK, USAGE, merged

MACHINE = {"cpu": "one", "cores": 2, "system": "Linux", "python": "CPython 3.13.0", "commit": "abc", "date": "today"}


def document(rows: list[dict[str, Any]], name: str = "run", **machine: Any) -> dict[str, Any]:
    return {"schema": 1, "name": name, "machine": MACHINE | machine, "settings": {}, "passes": 5, "rows": rows}


def row(label: str, *passes: float, unit: str = "us", ratios: bool = True, rounds: int = 3) -> dict[str, Any]:
    """A row whose passes have these values, each in all of its rounds."""
    found = [
        [Row("s", label, unit, [value] * rounds, ratios=[value / 2] * rounds if ratios else [], suite="x").to_dict()]
        for value in passes
    ]
    return merged(found)[0]


def noisy(seed: int, *, rows: int = 300, passes: int = 5, slower: Callable[[int], float] = lambda k: 1.0) -> Any:
    """A run on a noisy machine: rows of very different noise, between passes and between rounds, with outliers."""
    rng = random.Random(seed)

    def one_row(k: int) -> dict[str, Any]:
        noise = 0.01 * 5 ** ((k % 10) / 9)  # standard deviations of 1 to 5 per cent between passes
        found = []
        for _ in range(passes):
            level = (1 + k) * slower(k) * rng.lognormvariate(0, noise)
            rounds = [level * rng.lognormvariate(0, 3 * noise) * rng.choice([1] * 29 + [3]) for _ in range(3)]
            found.append({"ratios": rounds, "cpu": rounds, "figure": median(rounds)})
        return {
            "suite": "x", "section": "s", "label": f"row {k}", "nodes": 0, "topology": "", "unit": "us", "note": "",
            "figure": 1.0, "ratios": [2.0], "cpu": [2.0], "passes": found,
        }  # fmt: skip

    return document([one_row(k) for k in range(rows)])


class TestNoise:
    @pytest.mark.long
    def test_two_runs_of_the_same_code_do_not_differ(self) -> None:
        wrong = 0
        for pair in range(20):
            found = judge.compare(noisy(2 * pair), noisy(2 * pair + 1))
            assert len(found.changes) == 300
            wrong += len(found.of("same")) < 300
        assert wrong <= 1

    def test_a_slowdown_is_seen(self) -> None:
        slowed = {f"row {k}" for k in range(300) if k % 10 < 3}
        found = judge.compare(noisy(1), noisy(2, slower=lambda k: 1.3 if k % 10 < 3 else 1.0))
        slower = {c.identity[2] for c in found.of("slower")}
        assert len(slower & slowed) > 0.9 * len(slowed)
        assert len(slower - slowed) < 0.05 * len(slowed)
        assert len(found.over(5)) > 0.5 * len(slowed)
        assert not found.over(40)

    def test_one_slow_row_among_hundreds_is_seen(self) -> None:
        found = judge.compare(noisy(1), noisy(2, slower=lambda k: 1.3 if k == 20 else 1.0))
        assert [c.identity[2] for c in found.of("slower")] == ["row 20"]
        back = judge.compare(noisy(2, slower=lambda k: 1.3 if k == 20 else 1.0), noisy(1))
        assert [c.identity[2] for c in back.of("faster")] == ["row 20"]

    def test_intervals_hold_the_truth(self) -> None:
        found = judge.compare(noisy(3), noisy(4, slower=lambda k: 1.3))
        assert sum(c.low < 1.3 < c.high for c in found.changes) >= 0.95 * len(found.changes)
        assert all(c.low < c.ratio < c.high for c in found.changes)

    def test_a_steady_row_is_not_called_different_below_the_margin(self) -> None:
        steady = [row(f"r{k}", *[100.0] * 5) for k in range(5)]
        moved = [row(f"r{k}", *[value] * 5) for k, value in enumerate([100.0, 104.9, 80.0, 130.0, 96.0])]
        found = judge.compare(document(steady), document(moved))
        assert [c.verdict for c in found.changes] == ["same", "same", "faster", "slower", "same"]

    def test_times_by_the_clock_are_trusted_less_if_the_load_was_another(self) -> None:
        before = [row("cpu", *[1.0] * 5), row("clock", *[1.0] * 5, ratios=False)]
        after = [row("cpu", *[1.3] * 5), row("clock", *[1.3] * 5, ratios=False)]
        before[0]["cpu"] = after[0]["cpu"] = [1.0]
        for one in (before[0], after[0]):
            for found in one["passes"]:
                found["cpu"] = found["ratios"]
        alike = judge.compare(document(before, load=[0, 1.0, 0]), document(after, load=[9, 1.1, 9]))
        assert [c.verdict for c in alike.changes] == ["slower", "slower"]
        busier = judge.compare(document(before, load=[0, 1.0, 0]), document(after, load=[0, 4.0, 0]))
        assert [c.verdict for c in busier.changes] == ["slower", "same"]

    def test_a_single_pass_is_judged_by_the_noise_of_other_rows(self) -> None:
        rng = random.Random(5)
        rows = [[row(f"r{k}", *[rng.lognormvariate(3, 0.03) for _ in range(5)]) for k in range(50)] for _ in "ab"]
        single = [row("single", 100.0), row("single", 115.0)]
        found = judge.compare(document([*rows[0], single[0]]), document([*rows[1], single[1]]))
        assert found.changes[-1].verdict == "same"
        assert found.changes[-1].high > 1.3


class TestWhatIsCompared:
    def test_ratios_where_there_are_any_else_times_or_sizes(self) -> None:
        rows = [
            row("ratio", 4.0, 4.0), row("time", 4.0, 4.0, ratios=False),
            row("per", 4.0, 4.0, unit="us per item", ratios=False),
            row("bytes", 4.0, 4.0, unit="bytes", ratios=False), row("times", 4.0, 4.0, unit="x", ratios=False),
        ]  # fmt: skip
        found = judge.compare(document(rows), document(rows))
        assert [(c.by, c.before) for c in found.changes] == [
            ("ratio", 2.0), ("time", pytest.approx(4.0)), ("time", pytest.approx(4.0)),
            ("size", pytest.approx(4.0)), ("ratio", pytest.approx(4.0)),
        ]  # fmt: skip
        assert {c.ratio for c in found.changes} == {1.0}

    def test_a_pass_that_could_not_measure_a_row_is_left_out(self) -> None:
        seen, gone = Row("s", "r", "us", [4.0], ratios=[2.0], suite="x"), Row("s", "r", "us", note="n/a", suite="x")
        (half,) = merged([[gone.to_dict()], [seen.to_dict()]])
        (change,) = judge.compare(document([row("r", 4.0, 4.0)]), document([half])).changes
        assert (change.by, change.before, change.after) == ("ratio", 2.0, 2.0)

    def test_no_row_is_ignored_silently(self) -> None:
        baseline = merged([[Row("s", "base", "us", [1.0, 2.0], ratios=[1.0, 1.0], suite="x").to_dict()]])[0]
        absent = merged([[Row("s", "absent", "us", note="n/a: no trio", suite="x").to_dict()]])[0]
        worst = merged([[Row("s", "max", "ms", [1.0, 2.0], figure=2.0, suite="x").to_dict()]])[0]
        both = [baseline, absent, worst]
        before = document([row("gone", 1.0), *both, row("nothing", 0.0, ratios=False), row("unit", 1.0)], "a")
        after = document([row("new", 1.0), *both, row("nothing", 1.0, ratios=False), row("unit", 1.0, unit="ms")], "b")
        found = judge.compare(before, after)
        assert not found.changes
        assert {identity[2]: why for identity, why in found.apart} == {
            "new": "only in the second run",
            "base": "a baseline: others are measured by it",
            "absent": "n/a: no trio",
            "max": "a percentile or maximum: what else the machine did makes it",
            "nothing": "zero or less",
            "unit": "in us before, in ms now",
            "gone": "only in the first run",
        }
        text = changes.text(found, before, after)
        assert "'b' (today, abc) compared with 'a'" in text
        assert "[x] s, gone: only in the first run" in text

    def test_between_machines_times_are_marked_and_fail_nothing(self) -> None:
        rows = [[row("ratio", *[value] * 5), row("time", *[value] * 5, ratios=False)] for value in (1.0, 2.0)]
        here, there = document(rows[0]), document(rows[1], cpu="another")
        found = judge.compare(here, there)
        assert [c.identity[2] for c in found.of("slower")] == ["ratio", "time"]
        assert [c.identity[2] for c in found.over(10)] == ["ratio"]
        text = changes.text(found, here, there)
        assert "two machines: cpu one and another" in text
        assert text.count(" *\n") == 1
        assert [c.identity[2] for c in judge.compare(here, document(rows[1])).over(10)] == ["ratio", "time"]

    def test_listed_is_what_differs_and_the_rest_only_counted(self) -> None:
        baseline = merged([[Row("s", "base", "us", [1.0, 2.0], ratios=[1.0, 1.0], suite="y").to_dict()]])[0]
        same = [row(f"same {k}", *[1.0] * 5) | {"suite": "xxy"[k % 3]} for k in range(6)]
        moved = [[row("up", *[one] * 5), row("down", *[1 / one] * 5)] for one in (1.0, 2.0)]
        units = [row("unit", 1.0, unit=unit) for unit in ("us", "ms")]
        before = document([*same, *moved[0], baseline, units[0], row("gone", 1.0)], "a")
        after = document([*same, *moved[1], baseline, units[1], row("new", 1.0)], "b")
        found = judge.compare(before, after)
        text = changes.text(found, before, after)
        assert text.split("\n\n")[1:] == [
            "same (6): x 4, y 2",
            "faster (1)\n  [x] s, down   0.50x (0.43 to 0.58)  0.50x -> 0.25x",
            "slower (1)\n  [x] s, up   2.00x (1.73 to 2.31)  0.50x -> 1.00x",
            "not compared (4): y 1\n"
            "  [x] s, unit: in us before, in ms now\n"
            "  [x] s, new: only in the second run\n"
            "  [x] s, gone: only in the first run",
            "--every-row lists those that are only counted",
            changes.summary(found),
        ]
        every = changes.text(found, before, after, every_row=True)
        assert all(every.count(f"] s, same {k} ") == 1 for k in range(6))
        assert "[y] s, base: a baseline" in every
        assert "same (6)\n" in every
        assert "--every-row" not in every
        assert set(text.splitlines()) - {"same (6): x 4, y 2", "not compared (4): y 1"} <= {
            *every.splitlines(), "--every-row lists those that are only counted",
        }  # fmt: skip

    def test_where_all_is_listed_no_flag_is_named(self) -> None:
        before, after = document([row("r", *[1.0] * 5)]), document([row("r", *[2.0] * 5), row("new", 1.0)])
        assert "--every-row" not in changes.text(judge.compare(before, after), before, after)

    def test_other_settings_are_said(self) -> None:
        here = document([row("r", 1.0)])
        there = here | {"settings": {"quick": True}}
        said = "other flags or passes"
        assert said in changes.text(judge.compare(here, there), here, there)
        assert said not in changes.text(judge.compare(here, here), here, here)

    def test_more_is_better_where_a_row_says_so(self) -> None:
        rows = [row("throughput", *[value] * 5) | {"better": "higher"} for value in (1.0, 1.5)]
        found = judge.compare(document(rows[:1]), document(rows[1:]))
        assert [(c.verdict, c.ratio) for c in found.changes] == [("faster", pytest.approx(1 / 1.5))]

    def test_the_flag(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        files = [str(tmp_path / name) for name in ("a.json", "b.json")]
        for file in files:
            Path(file).write_text(json.dumps(document([row("one", 1.0), row("two", 1.0)])), encoding="utf-8")
        assert main(["compare", *files]) == OK
        assert "same (2): x 2\n" in capsys.readouterr().out
        assert main(["compare", *files, "--every-row"]) == OK
        assert "[x] s, one " in capsys.readouterr().out
        with pytest.raises(SystemExit) as caught:
            main(["run", "--every-row"])
        assert caught.value.code == USAGE
        assert "--every-row is for --compare" in capsys.readouterr().err


class TestDiscoverable:
    def test_with_many_far_rows_each_needs_less_evidence(self) -> None:
        one = [(4.6, 12.0)] + [(0.5, 12.0)] * 99
        assert judge.discoverable(one) == judge.RATE / 100  # 4.6 is a chance of 6e-4, which 100 rows have often
        assert judge.discoverable([(4.6, 12.0)] * 40 + [(0.5, 12.0)] * 60) == pytest.approx(judge.RATE * 0.4)
        assert judge.discoverable([(9.0, 12.0)] * 3) == judge.RATE
        assert judge.discoverable([]) == judge.RATE


class TestStudent:
    @pytest.mark.parametrize(
        ("chance", "degrees", "value"),
        [(0.05, 4, 2.776), (0.05, 10, 2.228), (0.001, 8, 5.041), (1e-4, 8, 7.120), (0.5, 4, 0.7407), (0.01, 60, 2.660)],
    )
    def test_values_of_the_tables(self, chance: float, degrees: int, value: float) -> None:
        assert judge.student(chance, degrees) == pytest.approx(value, rel=1e-3)

    def test_with_many_degrees_it_is_the_normal_distribution(self) -> None:
        assert judge.student(0.01, 1e6) == pytest.approx(-NormalDist().inv_cdf(0.005), rel=1e-4)
