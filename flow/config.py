"""Frozen settings with named defaults: :class:`Config`, :class:`DataConfig`, :class:`Retry`, :class:`Timeout`.

``Retry`` and ``Timeout`` do not raise for their values: compiling a Dag lists *all* its faults in one
error, and theirs belong in that list. ``Config`` raises at once and lists all of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias

import msgspec

from flow.awaits import NEVER_AWAITED, UNAWAITED, is_unawaited, unawaited
from flow.clock import SYSTEM_CLOCK, Clock
from flow.errors import ConfigError, nearest, shown

if TYPE_CHECKING:
    import os

DEFAULT_WORKERS: Final = 8
"""Limit of ``mode="workers"`` when none is given."""

DEFAULT_THREADS: Final = 40
"""Threads one run may use at once for its thread nodes (anyio's own default)."""

DEFAULT_BLOCKING_AFTER: Final = 0.1
"""Seconds a node may hold the event loop before :class:`flow.errors.BlockingNodeWarning`."""

YIELD_EVERY: Final = 0.005
"""Seconds after which a run of nodes that never suspend lets the event loop turn once."""

Mode: TypeAlias = Literal["auto", "inline", "tasks", "workers"]
Observer: TypeAlias = Callable[[Any], object]
RetryIf: TypeAlias = type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool]


class _Named(msgspec.StructMeta):
    """Lists the settings that there are not, of which msgspec names one. (Not for Timeout: compiling makes many.)"""

    if not TYPE_CHECKING:  # checkers go by the fields

        def __call__(cls, *values: Any, **settings: Any) -> Any:
            try:
                return _make(cls, *values, **settings)
            except TypeError:
                from flow.settings import misnamed

                error = misnamed(cls, values, settings)
                if error is None:
                    raise
                raise error from None


_make: Final = msgspec.StructMeta.__call__


class _Replaceable(msgspec.Struct, frozen=True, metaclass=_Named):
    def replace(self, **changes: Any) -> Self:
        """Return a copy with ``changes``, validated like a new one.

        :raises ConfigError: for a value out of range or an unknown field (then a TypeError as well).
        """
        if changes.keys() <= set(self.__struct_fields__):
            return msgspec.structs.replace(self, **changes)
        from flow.settings import misnamed

        raise misnamed(type(self), (), msgspec.structs.asdict(self) | changes) or TypeError(changes)


class Retry(msgspec.Struct, frozen=True, metaclass=_Named):
    """How often, when and for which errors a node is tried again.

    :param attempts: calls in all, the first included; ``Retry(3)`` calls a failing node 3 times.
    :param delay: seconds before the second attempt.
    :param backoff: how the delay grows: ``constant``, ``linear`` (``delay * n``) or
        ``exponential`` (``delay * multiplier ** (n - 1)``).
    :param multiplier: base of the exponential backoff.
    :param max_delay: seconds no delay exceeds, jitter included.
    :param jitter: fraction of the delay drawn at random and added or subtracted, 0 to 1.
    :param retry_if: an exception type, a tuple of them, or a predicate on the exception.

    Only :class:`Exception` is ever retried: KeyboardInterrupt, SystemExit and cancellation never are.
    """

    attempts: int = 3
    delay: float = 0.1
    backoff: Literal["constant", "linear", "exponential"] = "exponential"
    multiplier: float = 2.0
    max_delay: float = 60.0
    jitter: float = 0.0
    retry_if: RetryIf = Exception

    def faults(self) -> list[str]:
        """Say what is out of range, one sentence each; empty if nothing is."""
        found = []
        if not is_int(self.attempts) or self.attempts < 1:
            found.append(f"retry attempts must be an integer of at least 1, not {shown(self.attempts)}")
        for label, value in (("delay", self.delay), ("max_delay", self.max_delay)):
            if not is_number(value) or value < 0:
                found.append(f"retry {label} must be a number of seconds >= 0, not {shown(value)}")
        if not is_one_of(self.backoff, ("constant", "linear", "exponential")):
            found.append(f"retry backoff must be 'constant', 'linear' or 'exponential', not {shown(self.backoff)}")
        if not is_number(self.multiplier) or self.multiplier < 1:
            found.append(f"retry multiplier must be a number >= 1, not {shown(self.multiplier)}")
        if not is_number(self.jitter) or not 0 <= self.jitter <= 1:
            found.append(f"retry jitter must be a fraction from 0 to 1, not {shown(self.jitter)}")
        if not _is_retry_if(self.retry_if):
            wanted = "an exception type, a tuple of them or a callable"
            found.append(f"retry_if must be {wanted}, not {shown(self.retry_if)}")
        elif is_unawaited(self.retry_if):
            found.append(f"retry_if {UNAWAITED} of the exception, not {shown(self.retry_if)}")
        return found

    def wants(self, error: BaseException) -> bool:
        """Tell whether ``error`` is one to try again after."""
        if not isinstance(error, Exception):
            return False
        condition = self.retry_if
        if isinstance(condition, (type, tuple)):
            return isinstance(error, condition)
        wants = condition(error)
        if type(wants) in NEVER_AWAITED:
            raise unawaited("retry_if", wants)
        return bool(wants)

    def delay_after(self, attempt: int) -> float:
        """Seconds to wait after failed attempt number ``attempt`` (1 is the first)."""
        try:
            if self.backoff == "constant":
                base = self.delay
            elif self.backoff == "linear":
                base = self.delay * attempt
            else:
                base = self.delay * float(self.multiplier) ** (attempt - 1)
        except OverflowError:  # 2.0 ** 1999: past every cap
            base = self.max_delay if self.delay else 0.0
        if self.jitter:
            import random  # here: the module takes milliseconds to import

            base = min(base, self.max_delay) * (1 + self.jitter * (2 * random.random() - 1))
        return min(base, self.max_delay)


class Timeout(msgspec.Struct, frozen=True):
    """Time limits of one node, in seconds; None is no limit.

    :param attempt: each attempt on its own. ``timeout=2.0`` on a node is ``Timeout(attempt=2.0)``. Queueing for one of
        ``Config.threads`` is no part of it.
    :param node: from when the function first starts, retries, their delays and their queueing included.

    An async node is stopped when its limit passes. A sync function, inline or in a thread,
    cannot be interrupted: it runs to its end and then counts as timed out. (In a thread it can be left to itself:
    ``abandon_on_timeout`` of :meth:`flow.Dag.add`.)
    """

    attempt: float | None = None
    node: float | None = None

    def faults(self) -> list[str]:
        """Say what is out of range, one sentence each; empty if nothing is."""
        found = []
        for label, value in (("timeout", self.attempt), ("node timeout", self.node)):
            if value is not None and (not is_number(value) or value <= 0):
                found.append(f"{label} must be a number of seconds > 0, not {shown(value)}")
        return found


class Config(_Replaceable, frozen=True, kw_only=True):
    """How a run is driven. Immutable; :meth:`replace` makes a changed copy.

    :param mode: ``auto`` runs an all-sync plan inline and anything else on the event loop;
        ``inline`` runs one node at a time; ``tasks`` runs every ready node concurrently;
        ``workers`` runs at most ``limit`` nodes at a time (:data:`DEFAULT_WORKERS` if unset).
    :param limit: most nodes in flight; None is unbounded, "auto" follows the latency that is observed
        (:mod:`flow.run.adaptive`). Waiting for dependencies or for a retry's delay holds no slot.
    :param on_error: ``fail_fast`` cancels and awaits the rest and raises :class:`flow.RunError`;
        ``collect`` skips exactly the failed nodes' descendants, runs the rest and returns.
    :param timeout: seconds for the whole run, queueing and retries included.
    :param sync: where sync functions run: ``inline`` (on the caller's thread) or ``thread``.
    :param threads: most threads one run uses at once for its thread nodes.
    :param order: ready nodes are taken by priority, then by ``definition`` order or by the
        longest ``critical_path`` below them (weighted by each node's ``cost``).
    :param timing: record when every node started and ended (``Result.durations``, timelines).
    :param keep: whose outputs the run keeps to its end: ``all`` nodes', those of its ``targets`` (without
        any: of the nodes that nothing depends on), or those of the listed nodes (names, NodeRefs, functions).
        Any other output is freed as soon as every node that reads it has ended.
    :param data: how the run's own store (``ctx.data``) is made; None is ``DataConfig()``.
    :param optimize: generate straight-line code for a plan of sync functions once it has been run often
        (:mod:`flow.plan.straight`); ``at_once`` does so before its first run.
    :param observers: callables that receive every event (see :mod:`flow.run.events`).
    :param blocking_after: seconds a node may hold the event loop before a
        :class:`flow.BlockingNodeWarning` names it; None turns the warning off.
    :param show_values: messages and notes repeat the beginning of values that they are about: an item that failed, an
        output that does not fit. False leaves values out and says their types.
    :param backend: event loop that :func:`flow.run` starts if one is needed.
    :param clock: source of time for retry delays, durations, and the limits of sync runs.
    :raises ConfigError: listing every setting that is out of range.
    """

    mode: Mode = "auto"
    limit: int | Literal["auto"] | None = None
    on_error: Literal["fail_fast", "collect"] = "fail_fast"
    timeout: float | None = None
    sync: Literal["inline", "thread"] = "inline"
    threads: int = DEFAULT_THREADS
    order: Literal["definition", "critical_path"] = "definition"
    timing: bool = False
    keep: Literal["all", "targets"] | list[Any] | tuple[Any, ...] = "all"
    data: DataConfig | None = None
    optimize: bool | Literal["at_once"] = True
    observers: tuple[Observer, ...] = ()
    blocking_after: float | None = DEFAULT_BLOCKING_AFTER
    show_values: bool = True
    backend: Literal["asyncio", "uvloop", "trio"] = "asyncio"
    clock: Clock = SYSTEM_CLOCK

    def __post_init__(self) -> None:
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
            ("sync", self.sync, ("inline", "thread")),
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
        for label, flag in (("timing", self.timing), ("show_values", self.show_values)):
            if not isinstance(flag, bool):
                found.append(f"{label} must be True or False, not {shown(flag)}")
        if not isinstance(self.optimize, bool) and not is_one_of(self.optimize, ("at_once",)):
            found.append(f"optimize must be True, False or 'at_once', not {shown(self.optimize)}")
        if not _is_keep(self.keep):
            wanted = "'all', 'targets' or a list of nodes (names, NodeRefs, functions)"
            found.append(f"keep must be {wanted}, not {shown(self.keep)}")
        if self.data is not None and not isinstance(self.data, DataConfig):
            found.append(f"data must be a flow.DataConfig, or None for the default, not {shown(self.data)}")
        if not isinstance(self.observers, (tuple, list)) or not all(map(callable, self.observers)):
            found.append(f"observers must be a tuple of callables, not {shown(self.observers)}")
        else:
            found += [f"an observer {UNAWAITED}, not {shown(o)}" for o in self.observers if is_unawaited(o)]
        if self.clock is not SYSTEM_CLOCK and not _is_clock(self.clock):
            found.append(f"clock must have now, sleep and wait, not {shown(self.clock)}")
        elif self.clock is not SYSTEM_CLOCK:
            for label in ("now", "sleep"):
                if is_unawaited(getattr(self.clock, label)):
                    found.append(f"the clock's {label} {UNAWAITED}, not {shown(self.clock)}")
        return found

    @classmethod
    def load(cls, path: str | os.PathLike[str] = "flow.toml") -> Config:
        """Read the table ``[flow]`` of a TOML file; of a ``pyproject.toml``, ``[tool.flow]``. O(size of the file).

        Its keys are the fields that are plain data, all but ``observers`` and ``clock``; ``[flow.data]`` holds those of
        :class:`DataConfig`, and ``preset``, over which they go. Its ``memory`` is a name there, never a callable. The
        text "none" stands for None.

        :raises ConfigError: listing every fault, with its line: no such file or table, settings that are unknown or
            out of range; for a path that is no regular file (a pipe, a device), or one of over 16 MiB.
        """
        from flow.settings import load

        return load(path)


MIN_BLOCK: Final = 64
"""Bytes of the smallest block an arena takes."""

MAX_BLOCK: Final = 2**30
"""Bytes of the largest one."""


MEMORIES: Final = ("standard", "slots", "arena")
"""The memories of stores that have a name."""

if TYPE_CHECKING:
    Memory: TypeAlias = Literal["standard", "slots", "arena"] | Callable[[], MutableMapping[str, Any]]
else:  # what msgspec can decode: the names
    Memory: TypeAlias = Literal["standard", "slots", "arena"]


class DataConfig(_Replaceable, frozen=True, kw_only=True):
    """How a :class:`flow.WorkflowData` keeps, counts and shares its values. Immutable; flat, so that TOML maps to it.

    :param memory: ``standard`` keeps objects in a dict; ``slots`` keeps them in a flat list whose keys
        are indexed once in a :class:`flow.Layout`; ``arena`` keeps plain data encoded in blocks of bytes. A callable
        without arguments makes the mapping of each store, a new and empty :class:`collections.abc.MutableMapping`.
    :param metrics: ``off``; ``counting`` counts operations, hits and misses; ``timing`` times each
        operation as well; ``sampled`` times one in ``1 / sample_rate`` and counts by those.
    :param sample_rate: fraction of the operations that ``sampled`` looks at, above 0 and up to 1.
    :param slow_after: seconds after which a timed operation is listed as slow; None lists none.
    :param interning: keep one object per distinct string: ``none``, ``native`` (:func:`sys.intern`), ``pool``
        (a bounded :class:`flow.StringPool`), or ``arena``: string values as offsets in blocks.
    :param intern: which strings: ``keys``, ``values`` (those that are strings) or ``both``.
    :param intern_capacity: most strings that the pool keeps.
    :param intern_max_length: longest string that the pool keeps, in characters.
    :param block_size: bytes per block of an arena.
    :param direct_reads: ``get`` is the dict's own, its errors included, and faster; snapshots then copy, O(n).
    :param show_values: messages repeat the beginning of a value that they are about. False leaves values out, and keys
        within them, and says their types. (A store that a run makes for itself goes by ``Config.show_values`` too.)
    :param locked: each operation takes the store's lock. None: only where it must (free-threaded builds, arenas, and a
        mapping of your own).
    :raises ConfigError: listing every setting out of range and every pair that makes no sense.
    """

    memory: Memory = "standard"
    metrics: Literal["off", "counting", "sampled", "timing"] = "counting"
    sample_rate: float = 0.01
    slow_after: float | None = None
    interning: Literal["none", "native", "pool", "arena"] = "none"
    intern: Literal["keys", "values", "both"] = "values"
    intern_capacity: int = 10_000
    intern_max_length: int = 256
    block_size: int = 65_536
    direct_reads: bool = False
    show_values: bool = True
    locked: bool | None = None

    def __post_init__(self) -> None:
        faults = [*self._ranges(), *self._pairs()]
        if faults:
            raise ConfigError("DataConfig", faults)

    def _ranges(self) -> Iterator[str]:
        if (fault := _memory_fault(self.memory)) is not None:
            yield fault
        for label, value, allowed in (
            ("metrics", self.metrics, ("off", "counting", "sampled", "timing")),
            ("interning", self.interning, ("none", "native", "pool", "arena")),
            ("intern", self.intern, ("keys", "values", "both")),
        ):
            if not is_one_of(value, allowed):
                yield f"{label} must be one of {', '.join(map(repr, allowed))}, not {shown(value)}"
        for label, size in (
            ("intern_capacity", self.intern_capacity),
            ("intern_max_length", self.intern_max_length),
        ):
            if not is_int(size) or size < 1:
                yield f"{label} must be an integer of at least 1, not {shown(size)}"
        if not is_int(self.block_size) or not MIN_BLOCK <= self.block_size <= MAX_BLOCK:
            yield f"block_size must be from {MIN_BLOCK} to {MAX_BLOCK:,} bytes, not {shown(self.block_size)}"
        for label, flag in (("direct_reads", self.direct_reads), ("show_values", self.show_values)):
            if not isinstance(flag, bool):
                yield f"{label} must be True or False, not {shown(flag)}"
        if self.locked is not None and not isinstance(self.locked, bool):
            yield f"locked must be True, False, or None for where it must, not {shown(self.locked)}"
        if not is_number(self.sample_rate) or not 0 < self.sample_rate <= 1:
            yield f"sample_rate must be a fraction above 0 and up to 1, not {shown(self.sample_rate)}"
        if self.slow_after is not None and (not is_number(self.slow_after) or self.slow_after <= 0):
            yield f"slow_after must be a number of seconds > 0, or None, not {shown(self.slow_after)}"

    def _pairs(self) -> Iterator[str]:
        named = (self.memory, self.metrics, self.interning, self.intern)
        memory, metrics, interning, intern = [name if isinstance(name, str) else None for name in named]
        direct_reads = self.direct_reads is True
        if self.slow_after is not None and metrics in ("off", "counting"):
            yield f"slow_after needs metrics 'timing' or 'sampled': metrics={metrics!r} times nothing"
        if direct_reads and metrics != "off":
            yield f"direct_reads needs metrics='off': a dict's own get does no {shown(metrics)}"
        if direct_reads and (memory != "standard" or interning == "arena"):
            yield "direct_reads needs memory='standard' and no arena: there is no dict whose get could be used"
        if memory == "arena" and interning != "none":
            yield "memory='arena' needs interning='none': it keeps keys and values as bytes, not as strings"
        if interning == "arena" and (memory != "standard" or intern != "values"):
            yield "interning='arena' is for the string values of a dict: set intern='values', memory='standard'"
        if self.locked is False and "arena" in (memory, interning):
            yield "locked=False does not go with an arena: its operations take several steps"

    @classmethod
    def preset(cls, name: str) -> DataConfig:
        """Return the settings for a kind of workload; see :data:`DATA_PRESETS` for their names.

        :raises ConfigError: for an unknown name.
        """
        if is_one_of(name, tuple(DATA_PRESETS)):
            return cls(**DATA_PRESETS[str.__str__(name)])
        known = f"{', '.join(DATA_PRESETS)}{nearest(name, DATA_PRESETS)}"
        raise ConfigError("DataConfig", [f"no preset is called {shown(name)}; there are {known}"])


DATA_PRESETS: Final[dict[str, dict[str, Any]]] = {
    "default": {},
    "read_optimized": {"metrics": "off", "direct_reads": True},
    "low_memory": {"memory": "arena"},
    "production": {
        "metrics": "sampled", "slow_after": 0.001, "interning": "pool"
    },
    "metrics_disabled": {"metrics": "off"},
}  # fmt: skip
"""The settings that each preset changes, by its name."""


def is_one_of(value: object, allowed: tuple[str, ...]) -> bool:
    """Tell whether ``value`` is one of these strings. Its type comes first: an array's ``==`` gives another array."""
    return issubclass(type(value), str) and str.__str__(value) in allowed


def is_int(value: object) -> bool:
    """Tell whether ``value`` is an integer and no bool."""
    return issubclass(type(value), int) and type(value) is not bool


def is_number(value: object) -> bool:
    """Tell whether ``value`` is a finite number and no bool."""
    try:
        return issubclass(type(value), (int, float)) and type(value) is not bool and isfinite(value)  # type: ignore[arg-type]
    except OverflowError:  # an int beyond every float
        return False


def _is_clock(value: object) -> bool:
    try:
        return isinstance(value, Clock)  # which asks for its methods
    except Exception:  # an object whose attributes raise
        return False


def _memory_fault(memory: Any) -> str | None:
    """Say what is wrong with a store's memory, as far as that can be known before it is called."""
    if is_one_of(memory, MEMORIES):
        return None
    if issubclass(type(memory), str) or not callable(memory):
        wanted = f"{', '.join(map(repr, MEMORIES))}, or (not in a file) a callable that makes a mutable mapping"
        return f"memory must be one of {wanted}, not {shown(memory)}"
    if is_unawaited(memory):
        return f"memory {UNAWAITED}, not {shown(memory)}"
    if issubclass(type(memory), type):
        if not issubclass(memory, MutableMapping):
            return f"memory must make a mutable mapping (collections.abc.MutableMapping), which {shown(memory)} is not"
        if missing := getattr(memory, "__abstractmethods__", None):
            return f"memory must make a mutable mapping, and {shown(memory)} lacks {', '.join(sorted(missing))}"
    from inspect import signature  # here: few have a memory of their own

    try:
        parameters = signature(memory)
    except Exception:  # many that are written in C have none; an object whose attributes raise
        return None
    try:
        parameters.bind()
    except TypeError as error:
        return f"memory must be callable without arguments, and {shown(memory)} is not: {error}"
    return None


def _is_keep(value: object) -> bool:
    if isinstance(value, str):
        return is_one_of(value, ("all", "targets"))
    return isinstance(value, (list, tuple)) and all(
        isinstance(ref, str) or callable(ref) or isinstance(getattr(ref, "name", None), str) for ref in value
    )


def _is_retry_if(value: object) -> bool:
    if callable(value) and not issubclass(type(value), type):  # (not isinstance: it may raise when asked for its class)
        return True
    if isinstance(value, tuple):
        return bool(value) and all(isinstance(item, type) and issubclass(item, BaseException) for item in value)
    return isinstance(value, type) and issubclass(value, BaseException)


DEFAULT_CONFIG: Final = Config()
"""What a run uses when it is given none."""

DEFAULT_DATA_CONFIG: Final = DataConfig()
"""What a store uses when it is given none."""
