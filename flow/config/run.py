"""How a run is driven: :class:`Config`. It raises at once, and lists all of its faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from flow.awaits import UNAWAITED, is_maker, is_unawaited
from flow.clock import SYSTEM_CLOCK, Clock
from flow.config.data import DATA_PRESETS, DataConfig
from flow.config.fields import FrozenMapping, Settings, is_int, is_number, is_one_of
from flow.errors import ConfigError, FlowError, described, nearest, shown
from flow.tracebacks import end_at_user

if TYPE_CHECKING:
    import os

DEFAULT_WORKERS: Final = 8
"""Limit of ``mode="workers"`` when none is given."""

DEFAULT_THREADS: Final = 40
"""Threads one run may use at once for its thread nodes (anyio's own default)."""

DEFAULT_BLOCKING_AFTER: Final = 0.1
"""Seconds a node may hold the event loop before :class:`flow.errors.BlockingNodeWarning`."""

DEFAULT_CLEANUP_TIMEOUT: Final = 30.0
"""Seconds that nodes which clean up may take once a run ends early."""

BUILT_IN_EXECUTORS: Final = ("inline", "thread")
"""Names of the built-in executors: the caller's thread, and the run's own threads."""

NO_EXECUTORS: Final = FrozenMapping({})

Mode: TypeAlias = Literal["auto", "inline", "tasks", "workers"]
Observer: TypeAlias = Callable[[Any], object]
DataRule: TypeAlias = Callable[[Any], DataConfig]
"""A function of the :class:`flow.Plan` that is to run."""


class Config(Settings, frozen=True, kw_only=True):
    """How a run is driven. Immutable; :meth:`replace` makes a changed copy.

    :param mode: ``auto`` runs an all-sync plan inline and anything else on the event loop;
        ``inline`` runs one node at a time; ``tasks`` runs every ready node concurrently;
        ``workers`` runs at most ``limit`` nodes at a time (:data:`DEFAULT_WORKERS` if unset).
    :param limit: most nodes in flight; None is unbounded, "auto" follows the observed latency
        (:mod:`flow.run.adaptive`). A node that waits for dependencies or for a retry's delay holds no slot.
    :param on_error: ``fail_fast`` cancels and awaits the rest and raises :class:`flow.RunError`;
        ``collect`` skips exactly the failed nodes' descendants, runs the rest and returns.
    :param timeout: seconds for the whole run, queueing and retries included.
    :param cleanup_timeout: seconds that nodes which clean up (``cleanup=True``, teardowns) may take once a run ends
        early: after a failure, at its time limit, at a cancellation or Ctrl-C. What has not ended by then is cancelled.
    :param executor: where sync functions run: ``inline`` (on the caller's thread), ``thread``, or an entry of
        ``executors``, by its name.
    :param threads: most threads one run uses at once for its thread nodes.
    :param order: ready nodes are taken by priority, then by ``definition`` order or by the
        longest ``critical_path`` below them (weighted by each node's ``cost``).
    :param timing: record when every node started and ended (``Result.durations``, timelines).
    :param keep: outputs that the run keeps to its end: those of ``all`` nodes, of its ``targets`` (without targets: of
        the nodes without dependants), or of the listed nodes (names, NodeRefs, functions).
        Any other output is freed as soon as every node that reads it has ended.
    :param data: how the run's own store (``ctx.data``) is made; None is ``DataConfig()``. A function of the
        :class:`flow.Plan` chooses by the workflow: it is called once when an outermost run starts, before any node,
        and returns the DataConfig of this run. (A run that is given a store does not call it.)
    :param optimize: generate straight-line code for a plan of sync functions once it has been run often
        (:mod:`flow.run.codegen.stretches`); ``at_once`` does so before its first run.
    :param observers: callables that receive every event (see :mod:`flow.run.events`).
    :param on_outcome: factory of the outcome hook, which gets every outcome before a dependant starts
        (:mod:`flow.run.hooks`). The factory is called without arguments when an outermost run starts, and returns a
        callable of one record, sync or async, or None for no hook in this run.
    :param before_call: factory of the call hook, which is called before each call and may return a ``flow.Outcome``
        in its place. The factory is called like ``on_outcome``.
    :param blocking_after: seconds a node may hold the event loop before a
        :class:`flow.errors.BlockingNodeWarning` names it; None turns the warning off.
    :param show_values: messages and notes repeat the beginning of the values they are about: a failed item, an output
        that does not fit. False leaves values out and names their types.
    :param backend: event loop that :func:`flow.run` starts if one is needed.
    :param clock: source of time for retry delays, durations, and the limits of sync runs.
    :param executors: executors by name, for ``executor``: objects with a ``submit``, as
        :class:`concurrent.futures.Executor` has. Copied; no name is ``inline`` or ``thread``.
    :raises ConfigError: listing every setting that is out of range.
    """

    mode: Mode = "auto"
    limit: int | Literal["auto"] | None = None
    on_error: Literal["fail_fast", "collect"] = "fail_fast"
    timeout: float | None = None
    cleanup_timeout: float = DEFAULT_CLEANUP_TIMEOUT
    executor: str = "inline"
    threads: int = DEFAULT_THREADS
    order: Literal["definition", "critical_path"] = "definition"
    timing: bool = False
    keep: Literal["all", "targets"] | list[Any] | tuple[Any, ...] = "all"
    data: DataConfig | DataRule | None = None
    optimize: bool | Literal["at_once"] = True
    observers: tuple[Observer, ...] = ()
    on_outcome: Callable[..., Any] | None = None
    before_call: Callable[..., Any] | None = None
    blocking_after: float | None = DEFAULT_BLOCKING_AFTER
    show_values: bool = True
    backend: Literal["asyncio", "uvloop", "trio"] = "asyncio"
    clock: Clock = SYSTEM_CLOCK
    executors: Mapping[str, Any] = NO_EXECUTORS

    def __post_init__(self) -> None:
        if type(self.executors) is not FrozenMapping and issubclass(type(self.executors), Mapping):
            msgspec.structs.force_setattr(self, "executors", FrozenMapping(self.executors))
        faults = self._faults()
        if faults:
            raise ConfigError("Config", faults)
        if not isinstance(self.observers, tuple):
            msgspec.structs.force_setattr(self, "observers", tuple(self.observers))
        if isinstance(self.keep, list):
            msgspec.structs.force_setattr(self, "keep", tuple(self.keep))

    def _faults(self) -> list[str]:
        found = []
        for label, value, allowed in (
            ("mode", self.mode, ("auto", "inline", "tasks", "workers")),
            ("on_error", self.on_error, ("fail_fast", "collect")),
            ("order", self.order, ("definition", "critical_path")),
            ("backend", self.backend, ("asyncio", "uvloop", "trio")),
        ):
            if not is_one_of(value, allowed):
                found.append(f"{label} must be one of {', '.join(map(repr, allowed))}, not {shown(value)}")
        free = self.limit is None or is_one_of(self.limit, ("auto",))
        if not free and (not isinstance(self.limit, int) or not is_int(self.limit) or self.limit < 1):
            wanted = "an integer of at least 1, 'auto', or None for unbounded"
            found.append(f"limit must be {wanted}, not {shown(self.limit)}")
        if not is_int(self.threads) or self.threads < 1:
            found.append(f"threads must be an integer of at least 1, not {shown(self.threads)}")
        for label, seconds in (("timeout", self.timeout), ("blocking_after", self.blocking_after)):
            if seconds is not None and (not is_number(seconds) or seconds <= 0):
                found.append(f"{label} must be a number of seconds > 0, or None, not {shown(seconds)}")
        if not is_number(self.cleanup_timeout) or self.cleanup_timeout <= 0:
            found.append(f"cleanup_timeout must be a number of seconds > 0, not {shown(self.cleanup_timeout)}")
        for label, flag in (("timing", self.timing), ("show_values", self.show_values)):
            if not isinstance(flag, bool):
                found.append(f"{label} must be True or False, not {shown(flag)}")
        if not isinstance(self.optimize, bool) and not is_one_of(self.optimize, ("at_once",)):
            found.append(f"optimize must be True, False or 'at_once', not {shown(self.optimize)}")
        if not _is_keep(self.keep):
            wanted = "'all', 'targets' or a list of nodes (names, NodeRefs, functions)"
            found.append(f"keep must be {wanted}, not {shown(self.keep)}")
        self._add_faults_of_objects(found)
        return found

    def _add_faults_of_objects(self, found: list[str]) -> None:
        if self.data is not None and not isinstance(self.data, DataConfig):
            found += _faults_of_rule(self.data)
        if not isinstance(self.observers, (tuple, list)) or not all(map(callable, self.observers)):
            found.append(f"observers must be a tuple of callables, not {shown(self.observers)}")
        else:
            found += [f"an observer {UNAWAITED}, not {shown(o)}" for o in self.observers if is_unawaited(o)]
            made = [o for o in self.observers if is_maker(o, "flow.observe") or is_maker(o, "flow.metrics")]
            found += [f"{o.__name__} makes an observer: call it" for o in made]
        if self.on_outcome is not None:
            found += _faults_of_factory("on_outcome", self.on_outcome)
        if self.before_call is not None:
            found += _faults_of_factory("before_call", self.before_call)
        if self.clock is not SYSTEM_CLOCK:
            found += _faults_of_clock(self.clock)
        if self.executors is not NO_EXECUTORS:
            found += _faults_of_executors(self.executors)
        if not is_one_of(self.executor, BUILT_IN_EXECUTORS):
            found += _faults_of_choice(self.executor, self.executors)

    @classmethod
    def load(cls, path: str | os.PathLike[str] = "flow.toml") -> Config:
        """Read the table ``[flow]`` of a TOML file; of a ``pyproject.toml``, ``[tool.flow]``. O(size of the file).

        Its keys are the fields that are plain data, all but ``observers``, ``on_outcome``, ``before_call``,
        ``clock`` and ``executors``; ``[flow.data]`` holds those of :class:`DataConfig`, and ``preset``, over which they
        go. ``data`` is no function there, and its ``memory`` is a name. The text "none" stands for None.

        :raises ConfigError: listing every fault, with its line: no such file or table, settings that are unknown or
            out of range; for a path that is no regular file (a pipe, a device), or one of over 16 MiB.
        """
        from flow.config.files import load  # here: few programs read a file

        try:
            return load(path, cls, DataConfig, DATA_PRESETS)
        except FlowError as error:
            end_at_user(error)
            raise


def _faults_of_rule(rule: Any) -> Iterator[str]:
    """Yield the faults of a rule for stores that can be found before it is called."""
    wanted = "data must be a flow.DataConfig, a function of the Plan that returns one, or None for the default"
    if issubclass(type(rule), type) or not callable(rule):
        meant = f" (call it: {rule.__name__}())" if rule is DataConfig else ""
        if is_one_of(rule, tuple(DATA_PRESETS)):
            meant = f" (did you mean flow.DataConfig.preset({shown(rule)})?)"
        yield f"{wanted}, not {shown(rule)}{meant}"
    elif is_unawaited(rule):
        yield f"data {UNAWAITED}, not {shown(rule)}"
    else:
        from inspect import signature  # here: few have a rule

        try:
            parameters = signature(rule)
        except Exception:  # many that are written in C have none; an object whose attributes raise
            return
        try:
            parameters.bind(None)
        except TypeError as error:
            yield f"data must be callable with one argument, the Plan, and {shown(rule)} is not: {error}"


def _faults_of_factory(label: str, factory: object) -> Iterator[str]:
    if not callable(factory):
        yield f"{label} must be a function without parameters that returns the hook, or None, not {shown(factory)}"
    elif is_unawaited(factory):
        yield f"{label} {UNAWAITED} that returns the hook, not {shown(factory)}"


def _faults_of_clock(clock: Any) -> Iterator[str]:
    if not _is_clock(clock):
        yield f"clock must have now, sleep and wait, not {shown(clock)}"
        return
    for label in ("now", "sleep"):
        if is_unawaited(getattr(clock, label)):
            yield f"the clock's {label} {UNAWAITED}, not {shown(clock)}"
    try:
        epoch = getattr(clock, "epoch", None)
    except Exception as error:  # a property
        yield f"the clock's epoch must be a number of seconds; asking for it raised {described(error)}"
        return
    if epoch is not None and not is_number(epoch):
        yield f"the clock's epoch must be a number of seconds, not {shown(epoch)}"


def _is_clock(value: object) -> bool:
    try:
        return isinstance(value, Clock)  # which asks for its methods
    except Exception:  # an object whose attributes raise
        return False


def _faults_of_choice(executor: object, executors: object) -> Iterator[str]:
    names = [name for name in executors if issubclass(type(name), str)] if isinstance(executors, FrozenMapping) else []
    if not is_one_of(executor, tuple(names)):
        known = ", ".join(map(shown, names)) or "it is empty"
        close = nearest(executor, (*BUILT_IN_EXECUTORS, *names))
        yield f"executor must be 'inline', 'thread' or a name in executors ({known}), not {shown(executor)}{close}"


def _faults_of_executors(executors: object) -> Iterator[str]:
    if not isinstance(executors, FrozenMapping):
        yield f"executors must be a mapping of names to executors, not {shown(executors)}"
        return
    for name, executor in executors.items():
        place = f"executors[{shown(name)}]"
        if not issubclass(type(name), str):
            yield f"executors must have names that are text, not {shown(name)}"
        elif is_one_of(name, BUILT_IN_EXECUTORS):
            yield f"executors must have other names than {shown(name)}, which there is without them"
        if isinstance(executor, type):
            yield f"{place} must be an executor, not a class of them: {shown(executor)}"
            continue
        submit = _submit_of(executor)
        if not callable(submit):
            yield f"{place} must have a submit, as concurrent.futures.Executor has, not {shown(executor)}"
        elif is_unawaited(submit):
            yield f"the submit of {place} {UNAWAITED}, not {shown(executor)}"


def _submit_of(executor: Any) -> object:
    try:
        return getattr(executor, "submit", None)
    except Exception:  # an object whose attributes raise
        return None


def _is_keep(value: object) -> bool:
    if isinstance(value, str):
        return is_one_of(value, ("all", "targets"))
    return isinstance(value, (list, tuple)) and all(
        isinstance(ref, str) or callable(ref) or isinstance(getattr(ref, "name", None), str) for ref in value
    )


DEFAULT_CONFIG: Final = Config()
"""Used by a run without a config."""
