"""How a store keeps its values: :class:`DataConfig`, and its presets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from flow.awaits import UNAWAITED, is_unawaited
from flow.config.fields import Settings, is_int, is_number, is_one_of
from flow.errors import ConfigError, Hints, shown
from flow.tracebacks import ends_at_user

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


class DataConfig(Settings, frozen=True, kw_only=True):
    """How a :class:`flow.WorkflowData` keeps, counts and shares its values. Immutable; flat, so that TOML maps to it.

    :param memory: ``standard`` keeps objects in a dict; ``slots`` keeps them in a flat list whose keys
        are indexed once in a :class:`flow.memory.Layout`; ``arena`` keeps plain data encoded in blocks of bytes. A
        callable without arguments makes the mapping of each store, a new and empty
        :class:`collections.abc.MutableMapping`.
    :param metrics: ``off``; ``counting`` counts operations, hits and misses; ``timing`` times each
        operation as well; ``sampled`` times one in ``1 / sample_rate`` and estimates the counts from these.
    :param sample_rate: fraction of the operations that ``sampled`` times, above 0 and up to 1.
    :param slow_after: seconds after which a timed operation is listed as slow; None lists none.
    :param interning: keep one object per distinct string: ``none``, ``native`` (:func:`sys.intern`), ``pool``
        (a bounded :class:`flow.memory.StringPool`), or ``arena``: string values as offsets in blocks.
    :param intern: which strings: ``keys``, ``values`` (those that are strings) or ``both``.
    :param intern_capacity: most strings that the pool keeps.
    :param intern_max_length: longest string that the pool keeps, in characters.
    :param block_size: bytes per block of an arena.
    :param direct_reads: ``get`` is the dict's own method, errors included, and faster; snapshots then copy, O(n).
    :param show_values: messages repeat the beginning of the value they are about. False leaves out values, and keys
        within them, and names their types. (A store that a run makes obeys ``Config.show_values`` too.)
    :param locked: each operation takes the store's lock. None: only where it must (free-threaded builds, arenas, and a
        mapping of your own).
    :raises ConfigError: listing every setting out of range and every pair that cannot be combined.
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
                known = ", ".join(map(repr, allowed))
                yield f"{label} must be one of {known}, not {shown(value)}{_meant(label, value)}"
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
    @ends_at_user
    def preset(cls, name: str) -> DataConfig:
        """Return the settings for a kind of workload; see :data:`DATA_PRESETS` for their names.

        :raises ConfigError: for an unknown name.
        """
        if is_one_of(name, tuple(DATA_PRESETS)):
            return cls(**DATA_PRESETS[str.__str__(name)])
        from flow.keywords import preset_meant  # here: only needed once a name is wrong

        known = f"{', '.join(DATA_PRESETS)}{preset_meant(name, DATA_PRESETS, {}, Hints())}"
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


def _meant(label: str, value: object) -> str:
    from flow.keywords import value_meant  # here: only needed once a value is wrong

    return value_meant(label, value)


def _memory_fault(memory: Any) -> str | None:
    """Return the fault of a store's memory that can be found before it is called; None if there is none."""
    if is_one_of(memory, MEMORIES):
        return None
    if issubclass(type(memory), str) or not callable(memory):
        wanted = f"{', '.join(map(repr, MEMORIES))}, or (not in a file) a callable that makes a mutable mapping"
        return f"memory must be one of {wanted}, not {shown(memory)}{_meant('memory', memory)}"
    if is_unawaited(memory):
        return f"memory {UNAWAITED}, not {shown(memory)}"
    if issubclass(type(memory), type):
        kind: Any = memory
        if not issubclass(kind, MutableMapping):
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


DEFAULT_DATA_CONFIG: Final = DataConfig()
"""Used by a store without a config."""
