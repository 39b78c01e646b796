"""A durable run whose processes are killed goes on: nothing acknowledged is lost or called again; nothing hangs."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

PROGRAM = Path(__file__).parent / "programs" / "durable_program.py"
MODES = ("sync", "async", "exit")
WAYS: dict[str, dict[str, Any]] = {"inline": {}, "threads": {"executor": "thread", "limit": 3}}
KILLED = -9


class Attempts:
    """Attempts at runs, each in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process, self.folder = process, folder
        self.kills = 0
        self._expected: dict[str, Any] = {}

    def make(self, mode: str | None, run_id: str, after: float | None = None, at: int = 0, **how: Any) -> int:
        """Make one attempt at a run; return its exit status.

        :param after: seconds after which it is killed. :param at: the number of the write at which it kills itself.
        """
        command = {
            "mode": mode, "run_id": run_id, "after": after, "at": at, "applies": False, "size": 10, "is_async": False,
            "wait": 0.0, "config": {}, "db": str(self.folder / "runs.db"), "log": str(self.log(run_id)),
            "out": str(self.folder / f"{run_id}.json"), **how,
        }  # fmt: skip
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        stdin.write(json.dumps(command) + "\n")
        stdin.flush()
        watchdog = Timer(90, self._process.kill)  # an attempt ends itself before
        watchdog.start()
        line = stdout.readline()
        watchdog.cancel()
        assert line, "the program has ended"
        status = int(json.loads(line)[0])
        self.kills += status == KILLED
        assert status in (0, KILLED), f"an attempt has failed, or hung: {status} (its error is above)"
        return status

    def log(self, run_id: str) -> Path:
        return self.folder / f"{run_id}.log"

    def output(self, run_id: str) -> Any:
        return json.loads((self.folder / f"{run_id}.json").read_text(encoding="utf-8"))

    def expected(self, **how: Any) -> Any:
        """The outputs of an undisturbed run that is not stored at all."""
        key = repr((how.get("size"), how.get("is_async")))
        if key not in self._expected:
            self.make(None, "unstored", **how)
            self._expected[key] = self.output("unstored")
        return self._expected[key]

    def check(self, mode: str, run_id: str, told: bool = True, **how: Any) -> None:
        """A run has finished: its outputs are right, and nothing was called after it was acknowledged.

        :param told: some of it was acknowledged.
        """
        assert self.output(run_id) == self.expected(**how)
        calls = self.log(run_id).read_bytes().count(b"\nc ")
        assert self.make(mode, run_id, **how) == 0  # the run of a finished one calls nothing
        lines = self.log(run_id).read_text(encoding="utf-8").splitlines()
        assert sum(line[0] == "c" for line in lines[1:]) == calls
        check_log(lines, mode, told)


def check_log(lines: list[str], mode: str, told: bool) -> None:
    acknowledged, tries = set[str](), list[int]()
    for line in lines:
        kind, name = line[0], line[2:]
        if kind == "a":
            acknowledged.add(call_of(name))
        else:
            assert name not in acknowledged, f"{name} was acknowledged, and is called again"
            if name.startswith("flaky@"):
                tries.append(int(name[-1]))
    counts = Counter(line[2:] for line in lines if line[0] == "c")
    assert max(tries) == 3
    if mode == "sync":  # what has failed is committed too: each attempt but the one in flight is made once
        assert tries == sorted(tries)
    if told and mode != "exit":
        assert acknowledged & set(counts), "nothing was acknowledged"


INNER = {"a": "inner.a", "b": "inner.b", "more": "", "fetch": "", "store": "", "flaky": "flaky@3"}


def call_of(place: str) -> str:
    """The name by which the program notes calls of what was acknowledged; "" where events do not tell which it is."""
    path, _, name = place.rpartition("/")
    if name.endswith("]"):
        node, index = name[:-1].split("[")
        return f"item{index}" if node == "squares" else ""
    if not path:
        return INNER.get(name, name)
    if path == "inner":
        return f"inner.{name}"
    if path.startswith("polish"):
        return f"more{int(path.partition('#')[2] or 1) - 1}" if name == "more" else ""
    number = int(path[path.index("[") + 1 : path.index("]")]) + 1
    return f"fetch{number}" if name == "fetch" else f"store{number * 10}"


@contextmanager
def attempts(folder: Path) -> Iterator[Attempts]:
    command = [sys.executable, str(PROGRAM)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Attempts(process, folder)
        finally:
            process.kill()


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Attempts]:
    with attempts(tmp_path) as found:
        yield found


def killed_at_random(made: Attempts, mode: str, kills: int, chance: random.Random, **how: Any) -> int:
    """Kill runs at random moments, each again and again until it has finished; return the number of runs."""
    name = "async" if how.get("is_async") else "plain"
    made.expected(**how)
    began = time.monotonic()
    made.make(mode, f"{name}-undisturbed", **how)
    whole = time.monotonic() - began
    until, runs = made.kills + kills, 0
    while made.kills < until:
        runs += 1
        run_id = f"{name}-{runs}"
        # In exit mode nothing is kept of a killed run: it is killed at most so often.
        most = 4 if mode == "exit" else 1_000
        while most and made.kills < until:
            most -= 1
            if made.make(mode, run_id, after=chance.uniform(0, whole * chance.choice((0.2, 1.0))), **how) == 0:
                break
        else:
            made.make(mode, run_id, **how)
        made.check(mode, run_id, **how)
    return runs


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_at_random_moments(made: Attempts, mode: str) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # shown if it fails
    chance = random.Random(seed)
    size = 60 if mode == "sync" else 400  # there each commit is written to the disk
    killed_at_random(made, mode, 6, chance, size=size)
    killed_at_random(made, mode, 6, chance, size=size, is_async=True, wait=0.001, config=WAYS["threads"])


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
@pytest.mark.parametrize("mode", MODES)
def test_at_many_random_moments(made: Attempts, mode: str, is_async: bool, way: str) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    wait = 0.001 if is_async else 0.0
    chance = random.Random(seed)
    size = 250 if mode == "sync" else 1_000  # there each commit is written to the disk
    killed_at_random(made, mode, 42, chance, size=size, is_async=is_async, wait=wait, config=WAYS[way])


def killed_at_each_write(made: Attempts, mode: str, kills: int, **how: Any) -> int:
    """Let each process be killed one write later in the run than the one before; return how often it was."""
    made.expected(**how)
    before = made.kills
    for at in (1, 2, 3, 4):  # of a new run: that it is there, and its first outcomes
        for applies in (False, True):
            run_id = f"first{at}{applies}"
            made.make(mode, run_id, at=at, applies=applies, **how)
            made.make(mode, run_id, **how)
            # The writer thread may have written all outcomes by the third write, and told nobody before the kill.
            made.check(mode, run_id, told=not applies and (at < 4 or mode == "sync"), **how)
    runs = 0
    while made.kills - before < kills and runs < 25:  # a run whose writer is quick ends after a few of them
        runs += 1
        status, k = KILLED, 0
        while status == KILLED and made.kills - before < kills:
            k += 1
            # The first two writes of a process claim the run; a third one that is applied takes it one write further,
            # and so does a fourth that is not.
            status = made.make(mode, f"r{runs}", at=3 + k % 2, applies=k % 2 == 0, **how)
        made.make(mode, f"r{runs}", **how)
        made.check(mode, f"r{runs}", told=mode == "sync", **how)
    return made.kills - before


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_at_each_of_the_first_writes(made: Attempts, mode: str) -> None:
    assert killed_at_each_write(made, mode, 25, size=20) >= (6 if mode == "exit" else 20)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_at_each_of_the_first_writes_on_a_loop(made: Attempts, mode: str) -> None:
    how = {"is_async": True, "wait": 0.001, "config": WAYS["threads"]}
    assert killed_at_each_write(made, mode, 25, size=20, **how) >= (6 if mode == "exit" else 20)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_at_each_of_the_first_1_000_writes(made: Attempts) -> None:
    assert killed_at_each_write(made, "sync", 1_000, size=1_000) >= 1_000


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_at_each_of_many_writes_on_a_loop(made: Attempts, mode: str) -> None:
    how = {"is_async": True, "wait": 0.001, "config": WAYS["threads"]}
    assert killed_at_each_write(made, mode, 150, size=1_000, **how) > (140 if mode == "sync" else 30)
