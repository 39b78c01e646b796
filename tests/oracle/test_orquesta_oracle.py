"""Random workflows of Orquesta, converted and run here, against a model of what its conductor does with them."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from orquesta_cases import run

from flow.errors import UsageError

pytest.importorskip("yaml")

Spec = dict[str, dict[str, Any]]
COMMANDS = ("noop", "fail", "continue")


class Model:
    """The conductor: what starts at one time ends at one time, failures first.

    :ivar ran: how often each task ran. :ivar status: of the workflow.
    """

    def __init__(self, tasks: Spec, inputs: dict[str, bool], fails: set[str]) -> None:
        self.tasks, self.inputs, self.fails = tasks, inputs, fails
        self.ran: Counter[str] = Counter()
        self.ways = Counter(target for task in tasks.values() for way in task["next"] for target in way["do"])
        self.before: dict[str, set[str]] = defaultdict(set)
        for name, task in tasks.items():
            for way in task["next"]:
                for target in way["do"]:
                    self.before[target].add(name)
        self.taken: dict[tuple[str, Any], set[str]] = {}  # where a task led to, by route
        self.failed = False
        self.staged: set[tuple[str, Any]] = set()
        self.joined: set[tuple[str, Any]] = set()

    def run(self) -> str:
        ready: list[tuple[str, Any]] = [(name, ()) for name in self.tasks if not self.ways[name]]
        while ready and not self.failed:
            self.ran.update(name for name, _ in ready)
            ordered = sorted(ready, key=lambda one: (one[0] not in self.fails, one))
            ready = [target for name, route in ordered for target in self._ended(name, route)]
        return "failed" if self.failed or self.staged - self.joined else "succeeded"

    def _ended(self, name: str, route: Any) -> list[tuple[str, Any]]:
        fired = [(at, way) for at, way in enumerate(self.tasks[name]["next"]) if self._fires(way, name)]
        targets = [(at, target) for at, way in fired for target in way["do"] if target != "continue"]
        self.taken[name, route] = {target for _, target in targets}
        self.failed = self.failed or any(target == "fail" for _, target in targets)
        self.failed = self.failed or (name in self.fails and not targets)
        found: list[tuple[str, Any]] = []
        for at, target in targets:
            if target in COMMANDS:
                continue
            join = self.tasks[target].get("join")
            if join is None:
                found.append((target, (*route, (name, at)) if self.ways[target] > 1 else route))
                continue
            self.staged.add((target, route))
            count = sum(target in self.taken.get((one, route), ()) for one in self.before[target])
            if count >= (len(self.before[target]) if join == "all" else join) and (target, route) not in self.joined:
                self.joined.add((target, route))
                found.append((target, route))
        return found

    def _fires(self, way: dict[str, Any], name: str) -> bool:
        if way.get("status", "completed") != "completed" and (way["status"] == "failed") != (name in self.fails):
            return False
        return "test" not in way or self.inputs[way["test"][0]] == way["test"][1]

    def is_ambiguous(self) -> bool:
        """Orquesta refuses a join of tasks that were not split by the same tasks."""
        splits: dict[str, set[str]] = {}
        for name in self.tasks:  # those before a task come first
            own = {name} if self.ways[name] > 1 and self.tasks[name].get("join") is None else set()
            splits[name] = own.union(*[splits[one] for one in self.before[name]]) if self.before[name] else own
        return any(
            splits[name] != splits[one]
            for name in self.tasks
            if self.tasks[name].get("join")
            for one in self.before[name]
        )


def generated(seed: int) -> tuple[Spec, dict[str, bool], set[str]]:
    rnd = random.Random(seed)
    names = [f"t{at}" for at in range(rnd.randint(2, 8))]
    tasks: Spec = {}
    for at, name in enumerate(names):
        later = names[at + 1 :]
        ways = []
        for _ in range(rnd.choice([0, 1, 1, 2, 2, 3])):
            way: dict[str, Any] = {}
            status = rnd.choice(["", "succeeded", "succeeded", "failed", "completed"])
            if status:
                way["status"] = status
            if rnd.random() < 0.35:
                way["test"] = (rnd.choice("ab"), rnd.random() < 0.5)
            way["do"] = rnd.sample(later, min(len(later), rnd.choice([1, 1, 2]))) or [rnd.choice(["noop", "continue"])]
            if rnd.random() < 0.12:
                way["do"] = [rnd.choice(COMMANDS)]
            ways.append(way)
        tasks[name] = {"next": ways}
    before: dict[str, set[str]] = defaultdict(set)
    for name, task in tasks.items():
        for way in task["next"]:
            for target in way["do"]:
                before[target].add(name)
    for name in names:
        if len(before[name]) > 1 and rnd.random() < 0.5:
            tasks[name]["join"] = "all" if rnd.random() < 0.6 else rnd.randint(1, len(before[name]))
    inputs = {"a": rnd.random() < 0.5, "b": rnd.random() < 0.5}
    return tasks, inputs, {name for name in names if rnd.random() < 0.25}


def written(tasks: Spec) -> str:
    """The workflow as Orquesta reads it."""
    made: dict[str, Any] = {}
    for name, task in tasks.items():
        made[name] = {"action": "core.noop"} | ({"join": task["join"]} if "join" in task else {})
        ways = []
        for way in task["next"]:
            tests = [f"{way['status']}()"] if "status" in way else []
            if "test" in way:
                tests.append(f"{'' if way['test'][1] else 'not '}ctx().{way['test'][0]}")
            when = {"when": f"<% {' and '.join(tests)} %>"} if tests else {}
            ways.append(when | {key: way[key] for key in ("publish", "do") if key in way})
        if ways:
            made[name]["next"] = ways
    whole = {"version": "1.0", "input": [{"a": False}, {"b": False}], "vars": [{"x": "none"}], "tasks": made}
    return json.dumps(whole | {"output": [{"x": "<% ctx().x %>"}]}, indent=1)


@pytest.mark.parametrize("block", range(10))
def test_tasks_and_status_are_those_of_orquesta(block: int, tmp_path: Path) -> None:
    compared = 0
    for seed in range(block * 1_000, block * 1_000 + 20):
        tasks, inputs, fails = generated(seed)
        model = Model(tasks, inputs, fails)
        if model.is_ambiguous():
            continue
        status = model.run()
        text = written(tasks)
        ran = run(text, tmp_path, "w", inputs, [{"task_id": name, "status": "failed"} for name in fails])
        assert ran.status == status, (seed, text, ran.conversion.text)
        if status == "succeeded":  # when a run fails is a matter of time, and so is what it did before
            assert ran.tasks == model.ran, (seed, text, ran.conversion.text)
        compared += 1
    assert compared > 8


@pytest.mark.parametrize("block", range(5))
def test_variables_are_those_of_the_way_that_was_taken(block: int, tmp_path: Path) -> None:
    """Of workflows in which one task runs at a time: each transition publishes, and the output tells the way."""
    for seed in range(block * 1_000, block * 1_000 + 20):
        rnd = random.Random(seed)
        names = [f"t{at}" for at in range(rnd.randint(2, 6))]
        tasks: Spec = {}
        for at, name in enumerate(names):
            later = names[at + 1 :]
            first, second = rnd.choice([("succeeded", "failed"), ("a", "a")])
            ways: list[dict[str, Any]] = []
            for status, holds in ((first, True), (second, first == "succeeded")):
                way: dict[str, Any] = {"test": ("a", holds)} if first == "a" else {"status": status}
                way["do"] = [rnd.choice(later)] if later and rnd.random() < 0.85 else ["noop"]
                if rnd.random() < 0.6:
                    value = rnd.choice([f"{name}", f"<% ctx().x %>-{name}"])
                    way["publish"] = [{"x": f"{value}-{len(ways)}"}]
                ways.append(way)
            tasks[name] = {"next": ways}
        reached = {names[0]}
        for name in names:
            if name in reached:
                reached |= {target for way in tasks[name]["next"] for target in way["do"]}
        tasks = {name: task for name, task in tasks.items() if name in reached}
        inputs = {"a": rnd.random() < 0.5, "b": False}
        fails = {name for name in tasks if rnd.random() < 0.3}
        expected, at_task, count = "none", names[0], 0
        while at_task in tasks:
            count += 1
            task = tasks[at_task]
            way = next(w for w in task["next"] if Model({}, inputs, fails)._fires(w, at_task))
            for one in way.get("publish", ()):
                expected = one["x"].replace("<% ctx().x %>", expected)
            at_task = way["do"][0]
        text = written(tasks)
        ran = run(text, tmp_path, "w", inputs, [{"task_id": name, "status": "failed"} for name in fails])
        assert ran.status == "succeeded", (seed, text, ran.conversion.text)
        assert sum(ran.tasks.values()) == count, (seed, text, ran.conversion.text)
        assert ran.output == {"x": expected}, (seed, text, ran.conversion.text)


@pytest.mark.parametrize("block", range(5))
def test_cycles_go_the_way_that_orquesta_goes(block: int, tmp_path: Path) -> None:
    """One task runs at a time, and goes back or on by a counter, which each transition increments."""
    looped = 0
    for seed in range(block * 1_000, block * 1_000 + 20):
        rnd = random.Random(seed)
        names = [f"t{at}" for at in range(rnd.randint(2, 6))]
        goes: dict[str, tuple[int, str, str]] = {}
        for at, name in enumerate(names):
            back = (
                rnd.choice(names[1 : at + 1] or ["noop"])
                if rnd.random() < 0.6
                else rnd.choice([*names[at + 1 :], "noop"])
            )
            goes[name] = (rnd.randint(1, 12), back, names[at + 1] if at + 1 < len(names) else "noop")
        tasks = {
            name: {
                "action": "core.noop",
                "next": [
                    {"when": f"<% succeeded() and ctx().n < {limit} %>", "publish": publish(name), "do": [back]},
                    {"when": f"<% succeeded() and ctx().n >= {limit} %>", "publish": publish(name), "do": [on]},
                ],
            }
            for name, (limit, back, on) in goes.items()
        }
        whole: dict[str, Any] = {"version": "1.0", "vars": [{"n": 0}, {"way": "."}], "tasks": tasks}
        whole["output"] = [{"n": "<% ctx().n %>"}, {"way": "<% ctx().way %>"}]
        count, name, way, expected = 0, names[0], ".", Counter[str]()
        while name in goes:
            expected[name] += 1
            limit, back, on = goes[name]
            way += name
            name = back if count < limit else on
            count += 1
        text = json.dumps(whole, indent=1)
        try:
            ran = run(text, tmp_path, "w", {}, ())
        except UsageError as error:
            assert "is entered at" in str(error)  # noqa: PT017 - a cycle with several entries has no loop
            continue
        looped += bool(ran.conversion.files)
        assert ran.status == "succeeded", (seed, text, ran.conversion.text)
        assert ran.tasks == expected, (seed, text, ran.conversion.text, ran.conversion.files)
        assert ran.output == {"n": count, "way": way}, (seed, text, ran.conversion.text, ran.conversion.files)
    assert looped > 5


def publish(name: str) -> list[dict[str, str]]:
    return [{"n": "<% ctx().n + 1 %>"}, {"way": f"<% ctx().way %>{name}"}]
