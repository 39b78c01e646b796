"""Load traces of real workflow executions: WfFormat 1.5 files, as in the WfInstances collection.

::

    plan = flow.traces.load("montage.json.gz", work="sleep", scale=1 / 1000).compile()
    plan.critical_path().length     # seconds, scaled
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from heapq import heapify, heappop, heappush
from math import isfinite
from pathlib import Path
from typing import IO, Any, Final, Literal, NoReturn, TypeAlias

import msgspec

from flow import files
from flow.awaits import UNAWAITED, is_unawaited
from flow.config.fields import is_number, is_one_of
from flow.errors import MAX_PATH_SHOWN, ConfigError, CycleError, TraceError, listing, shown
from flow.exports import only
from flow.graph.dag import Dag
from flow.graph.topologies import noop
from flow.tracebacks import ends_at_user
from flow.types import NAME_RULE, is_name

MAX_BYTES: Final = 512 * 2**20
"""Largest trace that is read, in bytes of JSON: a small .gz can hold any amount."""

WORKS: Final = ("noop", "sleep", "cpu")
SCHEMA_VERSION: Final = "1.5"
_CHUNK: Final = 2**20


class Task(msgspec.Struct, frozen=True):
    """One task of a trace, as given to ``work``.

    :ivar runtime: measured seconds, not scaled; None if the trace has none.
    :ivar parents: ids of the tasks whose outputs the function receives, in this order.
    :ivar input_bytes: sizes of its input files together (a file without a size counts nothing).
    :ivar cores: cores it used; None if the trace does not say.
    """

    id: str
    name: str
    runtime: float | None
    parents: tuple[str, ...]
    input_bytes: int
    output_bytes: int
    cores: float | None


Make: TypeAlias = Callable[[Task], Callable[..., Any]]
Work: TypeAlias = Literal["noop", "sleep", "cpu"] | Make


@ends_at_user
def load(path: str | os.PathLike[str], work: Work = "noop", scale: float = 1.0) -> Dag:
    """Read a WfFormat 1.5 trace (JSON, plain or gzipped) as a Dag. O(tasks + edges), and a heap of the ready tasks.

    The name of a node is the task id. A node needs its ``parents`` in the file's order, and has
    ``cost = runtime * scale``. Nodes are defined in the file's order, except that no task comes
    before its parents.

    :param work: the work of the nodes: ``"noop"`` does nothing; ``"sleep"`` (async) waits and ``"cpu"`` (sync)
        computes for ``runtime * scale`` seconds; a callable gets each :class:`Task` and returns the
        function of its node, which is called with the outputs of the task's parents.
    :param scale: factor on all runtimes, 0 or more.
    :raises TraceError: listing every fault, with the file's path: it cannot be read, is no regular file (a pipe, a
        device), no JSON or gzip or no WfFormat 1.5, holds over 512 MiB; duplicate or unknown ids, ids that are no legal
        names; self edges, cycles, ``parents`` and ``children`` that disagree; runtimes that are
        negative or, for ``"sleep"`` and ``"cpu"``, missing.
    :raises ConfigError: for ``work`` or ``scale`` out of range.
    """
    _check_arguments(work, scale)
    file = _path(path)
    trace = _decode(file, _read(file))
    tasks = _order(file, _tasks(file, trace, scale, needs_runtime=work in ("sleep", "cpu")))
    make = _maker(work, scale)
    dag = Dag(_dag_name(file, trace))
    for task in tasks:
        cost = None if task.runtime is None else task.runtime * scale
        dag.add(task.id, make(task), needs=task.parents, cost=cost)
    return dag


# -- what the nodes do -------------------------------------------------------------------------


def _maker(work: Work, scale: float) -> Make:
    if callable(work):
        return work
    if work == "noop":
        return lambda _: noop
    function = cache(_sleeping if work == "sleep" else _spinning)  # one function per distinct runtime
    return lambda task: function((task.runtime or 0.0) * scale)


def _sleeping(seconds: float) -> Callable[..., Any]:
    import anyio

    async def sleeping(*_: object) -> None:
        await anyio.sleep(seconds)

    return sleeping


def _spinning(seconds: float) -> Callable[..., Any]:
    from time import thread_time

    def spinning(*_: object) -> None:
        end = thread_time() + seconds
        while thread_time() < end:
            pass

    return spinning


# -- the file ----------------------------------------------------------------------------------


class _SpecifiedTask(msgspec.Struct, rename="camel"):
    id: str
    name: str
    parents: list[str]
    children: list[str]
    input_files: list[str] = []
    output_files: list[str] = []


class _File(msgspec.Struct, rename="camel"):
    id: str
    size_in_bytes: int = 0


class _Specification(msgspec.Struct):
    tasks: list[_SpecifiedTask]
    files: list[_File] = []


class _ExecutedTask(msgspec.Struct, rename="camel"):
    id: str
    runtime_in_seconds: float | None = None
    core_count: float | None = None


class _Execution(msgspec.Struct):
    tasks: list[_ExecutedTask] = []


class _Workflow(msgspec.Struct):
    specification: _Specification
    execution: _Execution | None = None


class _Header(msgspec.Struct, rename="camel"):
    schema_version: str


class _Trace(_Header):
    name: str
    workflow: _Workflow


def _path(path: object) -> Path:
    try:
        return Path(files.name_of(path))
    except TypeError as error:
        raise TraceError(f"no trace can be loaded: {error}") from None


def _read(file: Path) -> bytes:
    import zlib

    try:
        with files.opened(str(file)) as stream:
            is_gzip = stream.read(2) == b"\x1f\x8b"
            stream.seek(0)
            if not is_gzip and file.suffix == ".gz":
                _refuse(file, ["it is named .gz but is not gzip; rename or compress it"])
            return b"".join(_chunks(file, stream, is_gzip)).removeprefix(files.BOM)
    except FileNotFoundError:
        _refuse(file, ["there is no such file; check the path"])
    except (EOFError, zlib.error) as error:
        _refuse(file, [f"its gzip data is damaged or cut short ({error}); fetch it again"])
    except OSError as error:  # gzip.BadGzipFile too
        _refuse(file, [f"it cannot be read: {error.strerror or error}"])


def _chunks(file: Path, stream: IO[bytes], is_gzip: bool) -> Iterator[bytes]:
    if is_gzip:
        import gzip

        stream = gzip.open(stream)  # type: ignore[assignment]  # noqa: SIM115  closes with the file under it
    size = 0
    while chunk := stream.read(_CHUNK):
        size += len(chunk)
        if size > MAX_BYTES:
            _refuse(file, [f"it holds over {MAX_BYTES / 2**20:g} MiB of JSON; split it or thin it out"])
        yield chunk


def _decode(file: Path, text: bytes) -> _Trace:
    try:
        try:
            trace = msgspec.json.decode(text, type=_Trace)
        except msgspec.ValidationError as error:
            # An older layout is better named than described. What stands after the fault has not been read yet.
            _check_version(file, _version(text))
            _refuse(file, [f"it is not WfFormat {SCHEMA_VERSION}: {error}"])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        _refuse(file, [f"it is not JSON: {error} (NaN and Infinity are not JSON either)"])
    except RecursionError:
        _refuse(file, ["it is nested too deeply to be a trace"])
    _check_version(file, trace.schema_version)
    return trace


def _version(text: bytes) -> str:
    try:
        return msgspec.json.decode(text, type=_Header).schema_version
    except msgspec.ValidationError:
        return SCHEMA_VERSION  # the fault that was found first says enough


def _check_version(file: Path, version: str) -> None:
    if version != SCHEMA_VERSION:
        found = f"it is WfFormat {shown(version)}, and only {SCHEMA_VERSION} is read"
        _refuse(file, [f"{found}; convert it with wfcommons"])


def _dag_name(file: Path, trace: _Trace) -> str:
    candidates = (trace.name, file.name.removesuffix(".gz").removesuffix(".json"), "trace")
    return next(filter(is_name, candidates))


# -- the graph ---------------------------------------------------------------------------------


def _tasks(file: Path, trace: _Trace, scale: float, *, needs_runtime: bool) -> list[Task]:
    """Bring specification, files and measurements together; refuse the trace for any fault."""
    specified = trace.workflow.specification.tasks
    known = {task.id for task in specified}
    faults = [] if specified else ["it has no tasks"]
    faults += _id_faults([task.id for task in specified], "task")
    faults += [f"task id {shown(task.id)} is refused: {NAME_RULE}" for task in specified if not is_name(task.id)]
    faults += _edge_faults(specified, known)
    executed = trace.workflow.execution.tasks if trace.workflow.execution else []
    faults += _execution_faults(executed, known, scale)
    measured = {task.id: task for task in executed}
    if needs_runtime:
        with_runtime = {id_ for id_, task in measured.items() if task.runtime_in_seconds is not None}
        missing = [task.id for task in specified if task.id not in with_runtime]
        faults += [f"task {shown(id_)} has no runtimeInSeconds to replay; use work='noop'" for id_ in missing]
    if faults:
        _refuse(file, faults)
    sizes = {f.id: f.size_in_bytes for f in trace.workflow.specification.files}
    unmeasured = _ExecutedTask("")
    return [
        Task(
            task.id,
            task.name,
            measured.get(task.id, unmeasured).runtime_in_seconds,
            tuple(dict.fromkeys(task.parents)),
            sum(sizes.get(name, 0) for name in task.input_files),
            sum(sizes.get(name, 0) for name in task.output_files),
            measured.get(task.id, unmeasured).core_count,
        )
        for task in specified
    ]


def _id_faults(ids: Sequence[str], what: str) -> list[str]:
    seen: set[str] = set()
    twice = dict.fromkeys(id_ for id_ in ids if id_ in seen or seen.add(id_))  # type: ignore[func-returns-value]
    return [f"{what} {shown(id_)} is there twice; ids must differ" for id_ in twice]


def _edge_faults(tasks: Sequence[_SpecifiedTask], known: set[str]) -> list[str]:
    faults = []
    by_parents = {(parent, task.id): None for task in tasks for parent in task.parents}
    by_children = {(task.id, child): None for task in tasks for child in task.children}
    for parent, child in by_parents:
        if parent == child:
            faults.append(f"task {shown(child)} is its own parent")
        elif parent not in known:
            faults.append(f"task {shown(child)} has the unknown parent {shown(parent)}")
        elif (parent, child) not in by_children:
            faults.append(f"task {shown(child)} has the parent {shown(parent)}, which does not list it as a child")
    for parent, child in by_children:
        if child not in known:
            faults.append(f"task {shown(parent)} has the unknown child {shown(child)}")
        elif (parent, child) not in by_parents:
            faults.append(f"task {shown(parent)} has the child {shown(child)}, which does not list it as a parent")
    return faults


def _execution_faults(tasks: Sequence[_ExecutedTask], known: set[str], scale: float) -> list[str]:
    faults = _id_faults([task.id for task in tasks], "measurement of task")
    for task in tasks:
        runtime = task.runtime_in_seconds
        if task.id not in known:
            faults.append(f"a measurement is of the unknown task {shown(task.id)}")
        if runtime is not None and not (runtime >= 0 and isfinite(runtime * scale)):
            found = f"task {shown(task.id)} has runtimeInSeconds {shown(runtime)}"
            faults.append(f"{found}: it must be 0 or more, and finite scaled")
    return faults


def _order(file: Path, tasks: Sequence[Task]) -> list[Task]:
    """The file's order, except that no task comes before its parents: always the first one that can."""
    place = {task.id: i for i, task in enumerate(tasks)}
    waiting = [len(task.parents) for task in tasks]
    children: list[list[int]] = [[] for _ in tasks]
    for i, task in enumerate(tasks):
        for parent in task.parents:
            children[place[parent]].append(i)
    ready = [i for i, count in enumerate(waiting) if not count]
    heapify(ready)
    ordered = []
    while ready:
        i = heappop(ready)
        ordered.append(tasks[i])
        for child in children[i]:
            waiting[child] -= 1
            if not waiting[child]:
                heappush(ready, child)
    if len(ordered) < len(tasks):
        _refuse_cycle(file, [task for task, count in zip(tasks, waiting, strict=True) if count])
    return ordered


def _refuse_cycle(file: Path, stuck: Sequence[Task]) -> NoReturn:
    """Let the compiler find one cycle's path among the tasks that can never start."""
    inside = {task.id for task in stuck}
    dag = Dag()
    for task in stuck:
        dag.add(task.id, noop, needs=[parent for parent in task.parents if parent in inside])
    try:
        dag.compile()
    except CycleError as error:
        _refuse(file, error.faults)
    raise AssertionError("tasks that can never start have a cycle among them")


# -- refusing ----------------------------------------------------------------------------------


def _check_arguments(work: object, scale: object) -> None:
    faults = []
    if not callable(work) and not is_one_of(work, WORKS):
        faults.append(f"work must be one of {', '.join(map(repr, WORKS))} or a callable, not {shown(work)}")
    elif callable(work) and is_unawaited(work):
        faults.append(f"work {UNAWAITED} that makes each task's function (which may be async), not {shown(work)}")
    if not is_number(scale) or scale < 0:  # type: ignore[operator]
        faults.append(f"scale must be a number >= 0, not {shown(scale)}")
    if faults:
        raise ConfigError("traces.load", faults)


def _refuse(file: Path, faults: Sequence[str]) -> NoReturn:
    raise TraceError(listing(f"trace {shown(str(file), MAX_PATH_SHOWN)} cannot be loaded", faults)) from None


__all__ = ["SCHEMA_VERSION", "Task", "load"]
__dir__ = only(__all__)
