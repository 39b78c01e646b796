"""Experiment: the resolver and the drivers compiled to C, by Cython (pure-Python mode) or mypyc.

A copy of the package is compiled in a temporary folder. Then the same measurements run under each copy, each in a
process of its own, in turns with the copy that is not compiled: ``python -m flow_bench.experiments_compiled`` is such
a process.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import thread_time
from typing import Any, Literal

import flow
from flow_bench.checks import Refused
from flow_bench.measure import US, Row, ratios
from flow_bench.ways import again, again_on_loop
from flow_bench.work import DONE, Work, noop_async

NODES = 1_000
NOW = "not compiled"
_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Build:
    """What is compiled with what.

    :ivar changed: text that the compiler refuses, per module, and what stands for it in the copy.
    """

    compiler: Literal["Cython", "mypyc"]
    modules: tuple[str, ...]
    changed: tuple[tuple[str, str, str], ...] = ()

    def missing(self) -> str:
        """Say what is not installed; empty if nothing is missing."""
        compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
        lacking = [name for name in (self.compiler, "setuptools") if find_spec(name) is None]
        lacking += [] if shutil.which(compiler) else [f"the C compiler {compiler}"]
        return f"n/a: {', '.join(lacking)} not found" if lacking else ""

    def command(self) -> list[str]:
        """What compiles the modules in the folder that holds the package."""
        files = [f"{module.replace('.', '/')}.py" for module in self.modules]
        if self.compiler == "Cython":
            return [sys.executable, "-m", "Cython.Build.Cythonize", "--inplace", "-3", "--quiet", *files]
        return [sys.executable, "-m", "mypyc", "--follow-imports=silent", "--ignore-missing-imports", *files]


_PLAIN = ("flow.plan.resolver", "flow.run.release", "flow.run.drive.inline")
_COROUTINES = (
    "flow.run.drive.serial", "flow.run.drive.loop", "flow.run.drive.asyncio", "flow.run.calls", "flow.run.state",
)  # fmt: skip
_NEW = (("flow.plan.resolver", "cls.__new__(cls)", "cls([])"),)  # mypyc refuses __new__

BUILDS: Mapping[str, Build] = {
    "Cython, without coroutines": Build("Cython", _PLAIN),
    "Cython, drivers of the event loop too": Build("Cython", (*_PLAIN, *_COROUTINES)),
    "mypyc, without coroutines": Build("mypyc", _PLAIN, _NEW),
    "mypyc, the first phase on a loop too": Build("mypyc", (*_PLAIN, "flow.run.drive.serial"), _NEW),
}
"""mypyc refuses the other drivers: a class body with an ``if``."""


def run(turns: int, builds: Sequence[str] = (), *, oracle: bool = False) -> Iterator[list[Row]]:
    """Yield a table: per measurement, the package as it is and every build of it.

    :param oracle: yield another, with what tests/oracle/test_run_oracle.py makes of each copy.
    """
    chosen = {label: BUILDS[label] for label in builds or BUILDS}
    absent = [Row("compiled", label, "us", note=note) for label, build in chosen.items() if (note := build.missing())]
    with tempfile.TemporaryDirectory() as folder:
        copies: dict[str, Path] = {NOW: copied(Path(folder, "0"))}
        for number, (label, build) in enumerate(chosen.items(), start=1):
            if not build.missing():
                copies[label] = copied(Path(folder, str(number)))
                if fault := compiled(build, copies[label]):
                    absent.append(Row("compiled", label, "us", note=f"n/a: {fault}"))
                    del copies[label]
        yield [*rows_of(in_turns(copies, turns)), *absent]
        if oracle:
            yield [
                Row("compiled: the tests that compare with an oracle", k, "", note=tested(copies[k])) for k in copies
            ]


def copied(folder: Path) -> Path:
    """Copy the package as it runs here into ``folder``."""
    source = Path(flow.__file__).parent
    shutil.copytree(source, folder / "flow", ignore=shutil.ignore_patterns("__pycache__", "*.so", "*.pyd"))
    return folder


def compiled(build: Build, folder: Path) -> str:
    """Compile the copy in ``folder``; return what went wrong."""
    for module, text, instead in build.changed:
        file = folder / f"{module.replace('.', '/')}.py"
        file.write_text(file.read_text(encoding="utf-8").replace(text, instead), encoding="utf-8")
    done = subprocess.run(build.command(), cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        return ([*done.stdout.strip().splitlines(), *done.stderr.strip().splitlines()] or ["no message"])[-1]
    return ""


def tested(folder: Path) -> str:
    """Run the repository's oracle tests with the copy in ``folder``; return their last line."""
    tests = _ROOT / "tests"
    oracle = tests / "oracle" / "test_run_oracle.py"
    if not oracle.exists():
        return "n/a: the tests are not here"
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(tests)]
    done = subprocess.run(
        [*pytest, str(oracle)], cwd=folder, env=_environment(folder), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    return (done.stdout.strip().splitlines() or [f"exit code {done.returncode}"])[-1]


def in_turns(copies: Mapping[str, Path], turns: int) -> dict[str, list[dict[str, float]]]:
    """Seconds of every measurement, per copy and turn.

    :raises Refused: by a copy that does not do the work, or is not compiled where it should be.
    """
    taken: dict[str, list[dict[str, float]]] = {label: [] for label in copies}
    labels = list(copies)
    for turn in range(turns):
        for label in labels[turn % len(labels) :] + labels[: turn % len(labels)]:
            found = _child(label, copies[label])
            wanted = sorted(BUILDS[label].modules) if label != NOW else []
            if found["compiled"] != wanted:
                raise Refused(label, [f"compiled were {found['compiled']}, not {wanted}"])
            taken[label].append(found["seconds"])
    return taken


def _child(label: str, folder: Path) -> Any:
    command = [sys.executable, "-m", "flow_bench.experiments_compiled"]
    done = subprocess.run(command, cwd=folder, env=_environment(folder), check=False, capture_output=True, text=True)
    if done.returncode:
        raise Refused(label, done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"])
    return json.loads(done.stdout)


def _environment(folder: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(_ROOT)])}


def rows_of(taken: Mapping[str, Sequence[Mapping[str, float]]]) -> Iterator[Row]:
    """Each measurement under each copy, with its ratio to that turn's copy that is not compiled."""
    for what in taken[NOW][0]:
        base = [turn[what] for turn in taken[NOW]]
        for label, all_turns in taken.items():
            seconds = [turn[what] for turn in all_turns]
            each = [s * US for s in seconds]
            yield Row("compiled", f"{what}: {label}", "us", each, ratios=ratios(seconds, base))


# -- in the process of a copy ----------------------------------------------------------------


def measure(rounds: int = 15) -> dict[str, Any]:
    """Median seconds of each measurement, and which modules are compiled."""
    modules = {module for build in BUILDS.values() for module in build.modules}
    files = {module: str(importlib.import_module(module).__file__) for module in modules}
    return {
        "compiled": sorted(module for module, file in files.items() if not file.endswith(".py")),
        "seconds": asyncio.run(_measure(rounds)),
    }


async def _measure(rounds: int) -> dict[str, float]:
    work, single = Work.of(flow.topologies.sparse_random(NODES, seed=1)), Work.of(flow.topologies.linear(1))
    waiting = flow.Dag("waiting")
    for name, needs in zip(work.names, work.needs, strict=True):
        waiting.add(name, _suspends, needs=needs)
    loop, freed = flow.Config(optimize=False), flow.Config(keep="targets")
    limited = flow.Config(timeout=60)
    seconds = {
        "sync, in the plan's order": _sync(partial(flow.run, work.plan("sync"), config=loop), NODES, 1, rounds),
        "sync, with a time limit": _sync(partial(flow.run, work.plan("sync"), config=limited), NODES, 1, rounds),
        "sync, outputs freed": _sync(partial(flow.run, work.plan("sync"), config=freed), NODES, 1, rounds),
        "one sync node": _sync(partial(flow.run, single.plan("sync"), config=loop), 1, 200, rounds),
        "build and compile": _sync(partial(work.plan, "sync", fresh=True), NODES, 1, rounds),
    }
    for what, plan, config, per, times in (
        ("async, none suspends", work.plan("async"), loop, NODES, 1),
        ("async, outputs freed", work.plan("async"), freed, NODES, 1),
        ("async, the first suspends", work.plan("suspending"), loop, NODES, 1),
        ("async, each suspends", waiting.compile(), loop, NODES, 1),
        ("one async node", single.plan("async"), loop, 1, 200),
    ):
        seconds[what] = await _async(partial(flow.execute, plan, config=config), per, times, rounds)
    return seconds


async def _suspends(*values: object) -> str:
    await asyncio.sleep(0)
    return await noop_async(*values)


def _sync(go: Callable[[], Any], per: int, times: int, rounds: int) -> float:
    runs, taken = again(go, times), []
    for _ in range(rounds):
        gc.collect()
        began = thread_time()
        made = runs()
        taken.append((thread_time() - began) / per / times)
        _check(made)
    return median(taken)


async def _async(go: Callable[[], Any], per: int, times: int, rounds: int) -> float:
    runs, taken = again_on_loop(go, times), []
    for _ in range(rounds):
        gc.collect()
        began = thread_time()
        made = await runs()
        taken.append((thread_time() - began) / per / times)
        _check(made)
    return median(taken)


def _check(made: Sequence[Any]) -> None:
    """Every node completed, and left what it returns (a compiled plan has nothing to show)."""
    for one in made:
        if isinstance(one, flow.Result):
            done = all(status is flow.Status.COMPLETED for status in one.status.values())
            if not done or set(one.outputs.values()) != {DONE}:
                raise Refused("a run", ["a node did not complete, or left another output"])


if __name__ == "__main__":
    print(json.dumps(measure()))
