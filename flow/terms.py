"""Names of settings and presets in other engines, each with what serves here: :func:`term` and :func:`preset_term`.

:mod:`flow.keywords` looks here before it compares spellings. The names of two settings may be spelled alike and mean
the contrary: ``metrics_sampled`` is most like ``metrics_disabled``. This module holds data, and is imported once a name
is wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import lru_cache
from math import inf
from types import MappingProxyType
from typing import Any, Final, NamedTuple

NO_SETTINGS: Final[Mapping[str, Any]] = MappingProxyType({})


class Given(NamedTuple):
    """Stands for the value that the user has typed, if it is a number within the bounds; else for ``otherwise``."""

    otherwise: Any = ...
    least: float = 1
    most: float = float("inf")

    whole: bool = True
    percent: bool = False

    def fitting(self, value: object) -> Any:
        """Return what is to be written for ``value``; ``...`` is what the user must fill in."""
        if type(value) not in (int, float) or (self.whole and type(value) is float):
            return self.otherwise
        number: Any = value
        if self.percent and self.most < number <= 100:
            number /= 100
        return number if self.least <= number <= self.most and number < inf else self.otherwise


FRACTION: Final = Given(0.1, 1e-6, 1.0, whole=False, percent=True)
BYTES: Final = Given(65_536, 64, 2**30)
COUNT: Final = Given(..., most=sys.maxsize)
SECONDS: Final = Given(..., 1e-9, whole=False)


def fitted(settings: Mapping[str, Any], value: object) -> dict[str, Any]:
    """Return the settings with ``value`` in the places that stand for it."""
    return {name: found.fitting(value) if isinstance(found, Given) else found for name, found in settings.items()}


class Fits(NamedTuple):
    """The values that a setting takes and that advice may repeat.

    :ivar words: the texts that it takes; None if any.
    """

    least: float = inf
    most: float = inf
    whole: bool = False
    words: tuple[str, ...] | None = ()
    flag: bool = False
    none: bool = False

    def has(self, value: object) -> bool:
        """Tell whether the setting takes ``value``."""
        if value is None:
            return self.none
        if type(value) is bool:
            return self.flag
        if type(value) is str:
            return self.words is None or value in self.words
        if type(value) is int or (type(value) is float and not self.whole):
            return self.least <= value < inf and value <= self.most
        return False


_FLAG: Final = Fits(flag=True)
_FROM_1: Final = Fits(1, sys.maxsize, whole=True)
_DURATION: Final = Fits(1e-9, none=True)
_AT_ONCE: Final = Fits(1, sys.maxsize, whole=True, words=("auto",), none=True)
_BUILT_IN: Final = Fits(words=("inline", "thread"))

FITS: Final[Mapping[str, Mapping[str, Fits]]] = {
    "Config": {
        "mode": Fits(words=("auto", "inline", "tasks", "workers")), "limit": _AT_ONCE, "timeout": _DURATION,
        "cleanup_timeout": Fits(1e-9),
        "on_error": Fits(words=("fail_fast", "collect")), "threads": _FROM_1, "executor": _BUILT_IN,
        "order": Fits(words=("definition", "critical_path")), "timing": _FLAG, "keep": Fits(words=("all", "targets")),
        "optimize": Fits(words=("at_once",), flag=True), "blocking_after": _DURATION, "show_values": _FLAG,
        "backend": Fits(words=("asyncio", "uvloop", "trio")),
    },
    "node": {
        "timeout": _DURATION, "thread": _FLAG, "executor": _BUILT_IN, "continue_on_error": _FLAG,
        "priority": Fits(-sys.maxsize, sys.maxsize, whole=True), "cost": Fits(0, none=True), "replace": _FLAG,
        "cleanup": _FLAG, "after": Fits(words=None), "store": Fits(words=("pickle",), flag=True),
    },
    "map": {
        "concurrency": _AT_ONCE, "take": Fits(0, sys.maxsize, whole=True, none=True), "pipelined": _FLAG,
        "on_error": Fits(words=("fail", "collect", "skip")), "batch_wait": _DURATION,
        "batch_size": Fits(1, sys.maxsize, whole=True, none=True),
    },
    "reduce": {"start": Fits(-inf, words=None, flag=True, none=True)},
    "loop": {"max_iterations": _FROM_1, "on_limit": Fits(words=("fail", "return")), "history": _FLAG},
    "signal": {"timeout": _DURATION},
    "timer": {"seconds": Fits(0)},
    "run": {"run_id": Fits(words=None), "targets": Fits(words=None)},
    "Retry": {
        "attempts": _FROM_1, "delay": Fits(0), "backoff": Fits(words=("constant", "linear", "exponential")),
        "multiplier": Fits(1), "max_delay": Fits(0), "jitter": Fits(0, 1),
    },
    "Timeout": {"attempt": _DURATION, "node": _DURATION},
    "DataConfig": {
        "memory": Fits(words=("standard", "slots", "arena")),
        "metrics": Fits(words=("off", "counting", "sampled", "timing")),
        "sample_rate": Fits(1e-6, 1), "slow_after": _DURATION,
        "interning": Fits(words=("none", "native", "pool", "arena")), "intern": Fits(words=("keys", "values", "both")),
        "intern_capacity": _FROM_1, "intern_max_length": _FROM_1, "block_size": Fits(64, 2**30, whole=True),
        "direct_reads": _FLAG, "show_values": _FLAG, "locked": Fits(flag=True, none=True),
    },
    "StringPool": {"capacity": _FROM_1, "max_length": _FROM_1},
}  # fmt: skip
"""By place and setting, what may be repeated. (A test tries it.) A setting that is not here is left to be filled in."""

_CHOICES: Final[Mapping[str, Mapping[str, str]]] = {
    "metrics": {
        "off": "false none no disabled disable 0 metrics_off metrics_disabled never nothing",
        "counting": "true on yes enabled enable 1 count counted counter counters all full basic metrics_enabled",
        "sampled": "sample samples sampling metrics_sampled",
        "timing": "time timed timings times detailed latency latencies profiling profile",
    },
    "interning": {
        "none": "false off no disabled disable 0",
        "pool": "true on yes enabled enable 1 pooled string_pool strings",
        "native": "sys python intern sys.intern",
    },
    "memory": {
        "standard": "default dict heap plain normal none false off",
        "slots": "slot layout list struct",
        "arena": "arenas blocks bytes true on",
    },
    "intern": {"keys": "key", "values": "value", "both": "all keys_and_values everything"},
}
"""By setting and its word, other words for the same."""

NEEDS: Final[Mapping[tuple[str, str], Mapping[str, Any]]] = {
    ("DataConfig", "sample_rate"): {"metrics": "sampled"},
    ("DataConfig", "slow_after"): {"metrics": "timing"},
    ("DataConfig", "intern"): {"interning": "pool"},
    ("DataConfig", "intern_capacity"): {"interning": "pool"},
    ("DataConfig", "intern_max_length"): {"interning": "pool"},
    ("DataConfig", "block_size"): {"memory": "arena"},
    ("DataConfig", "direct_reads"): {"metrics": "off"},
    ("map", "batch_wait"): {"batch_size": ...},
    ("node", "abandon_on_timeout"): {"thread": True, "timeout": ...},
}
"""By place and setting, what must be written with it to have an effect, or to be taken at all."""


class Term(NamedTuple):
    """What serves here in the place of another engine's setting or preset.

    :ivar place: a place of :data:`flow.keywords.PLACES`, or "preset", or "" if there is nothing to set.
    :ivar settings: what to write there; of a preset, none of them and its name in ``preset``.
    :ivar why: what it does, or why there is no such setting: the end of a sentence.
    :ivar off: what serves if the value typed is False, None or 0, or a word for that.
    :ivar zero: what serves if it is 0 and that is not the same.
    """

    place: str
    settings: Mapping[str, Any]
    why: str
    off: Term | None = None
    preset: str = ""
    zero: Term | None = None

    def serving(self, value: object) -> Term:
        """Return what serves if ``value`` was typed."""
        if self.zero is not None and type(value) in (int, float) and not value:
            return self.zero
        return self.off if self.off is not None and asks_for_none(value) else self


def _none(why: str) -> Term:
    return Term("", NO_SETTINGS, why)


def _preset(name: str, why: str) -> Term:
    return Term("preset", NO_SETTINGS, why, preset=name)


_COUNTED: Final = Term("DataConfig", {"metrics": "counting"}, "every operation is counted; this is the default")
_UNCOUNTED: Final = Term("DataConfig", {"metrics": "off"}, "nothing is counted")
_SAMPLED: Final = Term(
    "DataConfig",
    {"metrics": "sampled", "sample_rate": FRACTION},
    "this fraction of the operations is timed",
    _COUNTED,
    zero=_UNCOUNTED,
)
_TIMED: Final = Term("DataConfig", {"metrics": "timing"}, "every operation is counted and timed", _COUNTED)
_ARENA: Final = Term(
    "DataConfig",
    {"memory": "arena"},
    "it saves memory where a store holds very many small records, and never time",
    Term("DataConfig", {"memory": "standard"}, "this is the default"),
)
_INTERNED: Final = Term(
    "DataConfig",
    {"interning": "pool"},
    "one object per distinct string, in a bounded pool",
    Term("DataConfig", {"interning": "none"}, "this is the default"),
)
_NO_SIZES: Final = "no size is given ahead: lists and dicts of a run are made in the size that its plan needs, or grow"
_NO_LOCKS: Final = (
    "there is no lock to divide: where the GIL is on, get, set and increment take none. locked=True takes one at each "
    "operation"
)
_NO_HTTP: Final = "it is no setting of a run: give it to your HTTP server or client"
_PLANS: Final = "a Plan is the compiled workflow: plan = dag.compile() once, then flow.run(plan, ...) again and again"
_RESOLVED: Final = "there is nothing to set: compile() keeps its Plan, and after Dag.add resolves the new nodes alone"

_SETTINGS: Final[tuple[tuple[str, Term], ...]] = (
    ("arena use_arena arena_enabled enable_arena with_arena memory_arena arena_allocation", _ARENA),
    (
        "arena_block_size arena_size block_bytes",
        Term("DataConfig", {"memory": "arena", "block_size": BYTES}, "bytes per block of an arena"),
    ),
    (
        "string_interning use_interning interning_enabled enable_interning use_string_interning intern_strings "
        "enable_string_interning string_pool use_string_pool string_interning_enabled",
        _INTERNED,
    ),
    (
        "intern_string_capacity string_pool_size string_pool_capacity intern_pool_size pool_capacity",
        Term("DataConfig", {"interning": "pool", "intern_capacity": COUNT}, "most strings that the pool keeps"),
    ),
    (
        "max_intern_string_length max_string_length max_intern_length",
        Term("DataConfig", {"interning": "pool", "intern_max_length": COUNT}, "longest string that the pool keeps"),
    ),
    (
        "expected_nodes expected_data expected_data_entries expected_size expected_keys initial_capacity capacity "
        "node_capacity data_capacity size_hint preallocate preallocated preallocate_nodes reserve",
        _none(_NO_SIZES),
    ),
    (
        "metrics_enabled enable_metrics collect_metrics metrics_on with_metrics use_metrics",
        Term("DataConfig", {"metrics": "counting"}, "every operation is counted; this is the default", _UNCOUNTED),
    ),
    (
        "disable_metrics metrics_disabled metrics_off no_metrics without_metrics",
        Term("DataConfig", {"metrics": "off"}, "nothing is counted", _COUNTED),
    ),
    (
        "metrics_sampling_rate sampling_rate sampling metrics_sample_rate sample sampled metrics_sampled "
        "sample_fraction metrics_rate metrics_sampling enable_sampling",
        _SAMPLED,
    ),
    (
        "metrics_config",
        Term(
            "DataConfig",
            {"metrics": "sampled", "sample_rate": 0.1},
            "the settings of metrics are settings of DataConfig itself",
        ),
    ),
    (
        "operation_timing enable_operation_timing track_operations track_operation_timing time_operations "
        "track_operation_latency track_latency operation_latency",
        _TIMED,
    ),
    (
        "slow_operation_threshold slow_threshold",
        Term(
            "DataConfig",
            {"metrics": "timing", "slow_after": Given(0.001, 1e-9, whole=False)},
            "in seconds",
            Term("DataConfig", {"slow_after": None}, "none is listed; this is the default"),
        ),
    ),
    (
        "lock_contention enable_lock_contention_tracking track_lock_contention lock_contention_tracking",
        Term("DataConfig", {"metrics": "timing"}, "timed stores count the waits for their lock", _COUNTED),
    ),
    ("high_contention_threshold", _none("metrics='timing' counts the waits for the store's lock, without a threshold")),
    ("memory_tracking track_memory", _none("what a run holds is measured by flow.tune(dag, objective='memory')")),
    (
        "lock_free shards sharded shard_count num_shards lock_shards lock_shard_count lock_stripes lock_striping "
        "rw_lock use_sync_map",
        _none(_NO_LOCKS),
    ),
    ("high_concurrency", _none(_NO_LOCKS)),
    ("read_optimized read_heavy", _preset("read_optimized", "get is the dict's own, and nothing is counted")),
    ("low_memory memory_optimized", _preset("low_memory", "for very many small records")),
    ("production production_mode", _preset("production", "samples, lists slow operations, and interns strings")),
    ("preset data_preset", Term("preset", NO_SETTINGS, "and in a file a key of [flow.data]", preset="...")),
    ("object_pool store_pool use_pool pooling arena_pool", _none("stores are recycled by flow.WorkflowData.pool()")),
    (
        "arena_reset reset_arena reuse_arena reuse_store",
        _none("stores are recycled by flow.WorkflowData.pool(), which resets them"),
    ),
    (
        "worker_threads blocking_threads max_blocking_threads threads_per_run",
        Term("Config", {"executor": "thread", "threads": COUNT}, "most threads of a run's sync functions"),
    ),
    (
        "keep_alive keep_alive_timeout http_timeout client_timeout client_request_timeout request_timeout "
        "body_limit max_body_size payload_limit compression connection_pool pool_connections port cors",
        _none(_NO_HTTP),
    ),
    ("malloc_arena_max", _none("it is read by the C library: set the environment variable before Python starts")),
    (
        "poll_interval polling_interval completion_poll_interval poll poll_every",
        _none("nothing is polled: a node starts as soon as the last node that it needs has ended"),
    ),
    (
        "batch_size batch max_batch max_batch_size",
        Term("map", {"batch_size": COUNT}, "items per call", Term("map", {"batch_size": None}, "this is the default")),
    ),
    (
        "batch_wait batch_interval batch_timeout flush_interval max_batch_delay",
        Term("map", {"batch_size": ..., "batch_wait": SECONDS}, "most seconds that a batch is filled"),
    ),
    (
        "channel_capacity channel_size buffer buffer_size queue_size queue_capacity event_buffer_size",
        _none(
            "no queue has a size: a map takes an item only when it can start it, and a slow pipelined map holds up the "
            "one before it, so dag.map(..., concurrency=...)"
        ),
    ),
    (
        "adaptive adaptive_concurrency auto_concurrency dynamic_concurrency adaptive_limit auto_scaling autoscale",
        Term(
            "Config",
            {"limit": "auto"},
            "it follows the latency that it observes",
            Term("Config", {"limit": None}, "unbounded; this is the default"),
        ),
    ),
    (
        "goroutines direct_goroutines direct_execution direct unlimited unbounded",
        Term("Config", {"limit": None}, "every ready node starts at once; this is the default"),
    ),
    (
        "preserve_order",
        Term("Config", {"order": "definition"}, "this is the default; outputs are found by name, result[...]"),
    ),
    (
        "workflow_cache workflow_caching cache_workflow cache_workflows plan_cache compile_once precompile",
        _none(_PLANS),
    ),
    (
        "dependency_cache cache_dependencies cached_dependencies incremental incremental_resolution "
        "dependency_resolution cached_resolution",
        _none(_RESOLVED),
    ),
    (
        "topology_aware topology_aware_scheduling scheduling scheduling_policy critical_path",
        Term(
            "Config",
            {"order": "critical_path"},
            "the longest chain below goes first, where a limit makes nodes wait",
            Term("Config", {"order": "definition"}, "this is the default"),
        ),
    ),
    (
        "fast_path fast_paths specialized_paths specialised_paths specialized_execution codegen jit",
        Term(
            "Config",
            {"optimize": True},
            "code is generated for plans that run often; this is the default",
            Term("Config", {"optimize": False}, "no code is generated"),
        ),
    ),
    (
        "persistence storage state_store write_behind persist save_state",
        Term("Config", {"on_outcome": ...}, "a hook of yours gets each outcome before what depends on it starts"),
    ),
    ("work_stealing work_queue", _none("there is nothing to set: a worker that is free takes the next ready node")),
    (
        "circuit_breaker breaker circuit",
        Term("node", {"admission": ...}, "flow.Breaker(...) lets nothing in while a service fails"),
    ),
    (
        "rate_limit rate_limiter throttle requests_per_second requests_per_minute calls_per_second rps",
        Term("node", {"admission": ...}, "flow.RateLimiter(count, seconds) lets attempts begin at a rate"),
    ),
    (
        "concurrent_workflows max_concurrent_workflows max_workflows",
        _none("each run is a coroutine, await flow.execute(...): bound how many run by a semaphore of yours"),
    ),
)
"""Names that no setting here is spelled like, or only one that does something else; apart by blanks."""

_IN_STORES: Final[tuple[tuple[str, Term], ...]] = (
    (
        "pool",
        Term("DataConfig", {"interning": "pool"}, "a pool of strings; one of stores is flow.WorkflowData.pool()"),
    ),
    ("enabled", Term("DataConfig", {"metrics": "counting"}, "this is the default", _UNCOUNTED)),
)
_IN_MAPS: Final[tuple[tuple[str, Term], ...]] = (
    (
        "adaptive adaptive_concurrency auto_concurrency dynamic_concurrency adaptive_limit auto_scaling autoscale",
        Term("map", {"concurrency": "auto"}, "it follows the latency that it observes"),
    ),
    (
        "goroutines direct_goroutines direct_execution direct unlimited unbounded",
        Term("map", {"concurrency": None}, "only the limit of the run bounds the items in flight"),
    ),
)
"""Names that mean something else in these places than elsewhere."""

_RAISES: Final = "raise_on_error raise_on_failure fail_fast stop_on_error stop_on_failure abort_on_error"
_GOES_ON: Final = (
    "ignore_errors ignore_failure allow_failure allow_failures return_exceptions continue_on_failure tolerate"
)


def _on_errors(place: str, setting: str, raises: Any, goes_on: Any) -> tuple[tuple[str, Term], ...]:
    """Return the rows of the names that ask for failures to end something, or not to."""
    ends = Term(place, {setting: raises}, "this is the default")
    lasts = Term(place, {setting: goes_on}, "a failure is kept, and what does not need it goes on")
    return (_RAISES, ends._replace(off=lasts)), (_GOES_ON, lasts._replace(off=ends))


_OF_RUNS: Final = _on_errors("Config", "on_error", "fail_fast", "collect")
_OF_NODES: Final = _on_errors("node", "continue_on_error", False, True)
_OF_MAPS: Final = _on_errors("map", "on_error", "fail", "collect")

_STORED: Final = Term("node", {"store": True}, "this is the default")
_UNSTORED: Final = Term(
    "node",
    {"store": False},
    "its output is not stored, and it runs again when something needs it after a resume",
    _STORED,
)
_STORING: Final[tuple[tuple[str, Term], ...]] = (
    (
        "pickle pickled pickling use_pickle allow_pickle by_pickle with_pickle",
        Term("node", {"store": "pickle"}, "it is stored by pickle, if nothing else can encode it", _STORED),
    ),
    (
        "no_store not_stored unstored do_not_store skip_store transient ephemeral volatile no_persist no_checkpoint "
        "ignore_result",
        _UNSTORED,
    ),
)
"""Whether durable runs store what a node returns."""
_IN_RUNS: Final[tuple[tuple[str, Term], ...]] = (
    (
        "store durable durability checkpoint checkpoints checkpointed save_result persist_result store_result",
        Term("run", {"store": ...}, "it makes the run durable"),
    ),
    ("cache cached", Term("run", {"known": ...}, "outcomes that are there, of nodes that need not run")),
)
"""Names that stand for the store of a run where other things are set up."""

_PRESETS: Final[tuple[tuple[str, Term], ...]] = (
    (
        "high_concurrency high_contention concurrent parallel high_throughput lock_free",
        _preset("default", "no preset beats it with many threads, because it has no lock to divide"),
    ),
    (
        "metrics_sampled sampled sampling sample metrics_sampling",
        Term(
            "DataConfig",
            {"metrics": "sampled", "sample_rate": 0.1},
            "one operation in ten is timed; at 0.01 it costs less",
        ),
    ),
    ("metrics_enabled metrics enabled enable_metrics counting metrics_counting all_metrics full_metrics", _COUNTED),
    ("metrics_timing timing timed detailed profiling profile metrics_timed", _TIMED),
    (
        "development dev debug debugging test testing staging",
        Term(
            "DataConfig",
            {"metrics": "timing", "slow_after": 0.001},
            "every operation is timed, and those from 1 ms are listed",
        ),
    ),
    ("prod release live", _preset("production", "samples, lists slow operations, and interns strings")),
    ("arena use_arena memory_optimized memory_efficient low_mem compact small_memory", _preset(
        "low_memory", "its memory='arena' saves memory for very many small records, and never time"
    )),
    ("read_heavy read_only fast_reads read_mostly reads", _preset("read_optimized", "get is the dict's own")),
    (
        "metrics_off no_metrics without_metrics disable_metrics disabled off minimal low_latency fast performance "
        "benchmark write_heavy write_optimized",
        _preset("metrics_disabled", "nothing is counted, which is the least cost per operation"),
    ),
    ("standard normal balanced general basic new", _preset("default", "it suits most programs")),
    ("string_interning interning interned", Term("DataConfig", {"interning": "pool"}, _INTERNED.why)),
    ("slots layout", Term("DataConfig", {"memory": "slots"}, "for many stores with the same known keys")),
)  # fmt: skip

_SUFFIXES: Final = ("workflowdataconfig", "metricsconfig", "config", "preset")
"""Ends of the names of functions that make presets in other engines."""

PRESET_NAMES: Final = ("default", "read_optimized", "low_memory", "production", "metrics_disabled")
"""The presets that there are."""

LONGEST: Final = 64


def plain(name: str) -> str:
    """Return a name without what differs between languages: ``ExpectedNodes`` is ``expected_nodes``."""
    return "".join(filter(str.isalnum, name[:LONGEST])).lower()


def _indexed(rows: tuple[tuple[str, Term], ...]) -> dict[str, Term]:
    return {plain(name): term for names, term in rows for name in names.split()}


SETTINGS: Final = _indexed(_SETTINGS)
IN_PLACES: Final = {
    "DataConfig": _indexed(_IN_STORES + _IN_RUNS),
    "Config": _indexed(_OF_RUNS + _IN_RUNS),
    "Dag": _indexed(_IN_RUNS),
    "run": _indexed(_OF_RUNS),
    "node": _indexed(_OF_NODES + _STORING),
    "reduce": _indexed(_OF_NODES + _STORING),
    "loop": _indexed(_STORING),
    "map": _indexed(_IN_MAPS + _OF_MAPS + _STORING),
}
"""Consulted before :data:`SETTINGS` where the name is typed in that place."""
PRESETS: Final = _indexed(_PRESETS)


def term(name: str) -> Term | None:
    """Return what serves in the place of another engine's setting; None if its name is not known. O(1)."""
    return SETTINGS.get(plain(name))


def term_in(place: str, name: str) -> Term | None:
    """As :func:`term`, for names that mean something else in ``place`` than elsewhere."""
    return IN_PLACES[place].get(plain(name)) if place in IN_PLACES else None


OFF: Final = frozenset(("off", "false", "no", "none", "never", "disabled", "disable"))


def asks_for_none(value: object) -> bool:
    """Tell whether a value typed says that something is not to be."""
    if type(value) is str:
        return value.lower() in OFF
    return value is None or (type(value) in (bool, int, float) and not value)


def choice(setting: str, value: object) -> str | None:
    """Return the word of ours that ``value`` stands for in a setting of words; None if that is not known."""
    if type(value) not in (str, bool, int, type(None)) or setting not in CHOICES:
        return None
    return CHOICES[setting].get(plain(str(value)))


def preset_term(name: str) -> Term | None:
    """Return what serves in the place of another engine's preset; None if its name is not known. O(1)."""
    word = plain(name)
    for suffix in ("", *_SUFFIXES):
        found = PRESETS.get(word.removesuffix(suffix))
        if found is not None and word.endswith(suffix):
            return found
    return None


CHOICES: Final[Mapping[str, Mapping[str, str]]] = {
    setting: {plain(word): ours for ours, words in by.items() for word in (ours, *words.split())}
    for setting, by in _CHOICES.items()
}

NEGATING: Final = frozenset((
    "disabled", "disable", "off", "no", "without", "none", "free", "non", "un", "never", "skip", "not",
))  # fmt: skip
"""Words that turn what a name asks for into its contrary."""


@lru_cache(256)
def negates(name: str) -> bool:
    """Tell whether a name says that something is not to be: ``metrics_disabled``, ``no_timing``, ``unlocked``."""
    words = name.replace("-", "_").lower().split("_")
    return any(word in NEGATING or word.startswith(("disable", "un", "non")) or _misspelt(word) for word in words)


def _misspelt(word: str) -> bool:
    """Tell whether it is ``disabled`` or ``disable`` but for a letter, in whatever order."""
    if not 6 <= len(word) <= 10:
        return False
    left = list("disabled")
    for letter in word:
        if letter in left:
            left.remove(letter)
    return len(left) <= 1
