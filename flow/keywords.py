"""Suggestions for a wrong keyword of a call: our name for a term of other tools, another place, a similar spelling.

This module is imported once a keyword is wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from flow.errors import Hints, listing, shown
from flow.terms import (
    FITS,
    LONGEST,
    NEEDS,
    PRESET_NAMES,
    Term,
    choice,
    fitted,
    negates,
    plain,
    preset_term,
    term,
    term_in,
)

PLACES: Final[Mapping[str, tuple[str, ...]]] = {
    "Config": (
        "mode", "limit", "on_error", "timeout", "cleanup_timeout", "executor", "threads", "order", "timing", "keep",
        "data", "optimize", "observers", "on_outcome", "before_call", "blocking_after", "show_values", "backend",
        "clock", "executors",
    ),
    "node": (
        "retry", "timeout", "thread", "executor", "continue_on_error", "priority", "middleware", "cost", "fallback",
        "abandon_on_timeout", "admission", "join", "when", "cleanup", "after", "needs", "replace",
        "store",
    ),
    "map": ("concurrency", "take", "pipelined", "on_error", "batch_size", "batch_wait", "key"),
    "reduce": ("start",),
    "loop": ("until", "max_iterations", "carry", "on_limit", "history"),
    "signal": ("type", "timeout"),
    "timer": ("seconds", "at"),
    "run": (
        "inputs", "targets", "known", "config", "run_id", "store", "on_conflict", "on_change", "on_wait",
    ),
    "Retry": ("attempts", "delay", "backoff", "multiplier", "max_delay", "jitter", "retry_if"),
    "Timeout": ("attempt", "node"),
    "DataConfig": (
        "memory", "metrics", "sample_rate", "slow_after", "interning", "intern", "intern_capacity", "intern_max_length",
        "block_size", "direct_reads", "show_values", "locked",
    ),
    "Dag": ("name", "middleware", "inputs"),
    "WorkflowData": ("config", "layout"),
    "StringPool": ("capacity", "max_length"),
}  # fmt: skip
"""The keywords of each place. (``flow.run`` takes ``data`` too; a test compares these tables with the signatures.)"""

_SAYS: Final[Mapping[str, str]] = {
    "Config": "a setting of the run: config=flow.Config({})",
    "node": "an option of a node: dag.node({})",
    "map": "an option of a map: dag.map(..., {})",
    "reduce": "an option of a fold: dag.reduce(..., {})",
    "loop": "an option of a loop: dag.loop(..., {})",
    "run": "given to flow.run: flow.run(dag, {})",
    "Retry": "a setting of flow.Retry: retry=flow.Retry({})",
    "Timeout": "a setting of flow.Timeout: timeout=flow.Timeout({})",
    "DataConfig": "a setting of flow.DataConfig: config=flow.Config(data=flow.DataConfig({}))",
}

_IN_STORES: Final = "a setting of flow.DataConfig: flow.WorkflowData(config=flow.DataConfig({}))"
"""As the last of these, where a store is made."""

_ELSEWHERE: Final[Mapping[str, tuple[str, ...]]] = {
    "run": ("Config", "node", "DataConfig", "Retry"),
    "Config": ("node", "run", "DataConfig", "Retry"),
    "node": ("map", "Config", "run", "Retry", "reduce", "loop"),
    "map": ("Config", "run", "Retry", "reduce"),
    "reduce": ("map", "Config", "run", "Retry"),
    "loop": ("Config", "run", "Retry", "map"),
    "signal": ("Config", "run"),
    "timer": ("Config", "run"),
    "Retry": ("node",),
    "Timeout": ("Retry", "node"),
    "DataConfig": ("Config", "node", "run"),
    "Dag": ("Config", "node", "run", "DataConfig", "Retry"),
    "WorkflowData": ("DataConfig",),
    "StringPool": ("DataConfig",),
}
"""Other places where a keyword may belong, the likeliest first."""

_OTHER_NAMES: Final[Mapping[str, str]] = {
    # (Airflow, Celery, Dagster, Dask, Hamilton, joblib, LangGraph, Luigi, Prefect, tenacity, asyncio, futures)
    "limit": "max_workers workers n_workers num_workers n_jobs jobs max_concurrency max_concurrent "
    "max_concurrent_tasks concurrency concurrency_limit max_parallel parallelism parallel pool_size "
    "max_in_flight max_active_tasks semaphore max_tasks worker_count workers_count max_parallelism",
    "concurrency": "limit max_workers workers n_workers num_workers n_jobs jobs max_concurrency max_concurrent "
    "parallel concurrency_limit max_parallel parallelism pool_size max_in_flight semaphore window "
    "max_active_tis_per_dag",
    "threads": "max_threads n_threads num_threads thread_pool_size nthreads",
    "retry": "retries max_retries n_retries num_retries retry_policy max_attempts tries retry_kwargs retry_strategy",
    "timeout": "timeout_seconds time_limit soft_time_limit time_limit_seconds execution_timeout timeout_s "
    "timeout_sec deadline step_timeout max_time timeout_after max_duration",
    "after": "depends_on dependencies deps upstream upstream_tasks wait_for requires parents trigger_after "
    "run_after non_argument_deps depends",
    "needs": "inputs args arguments params parameters kwargs op_args op_kwargs bind ins input upstream_args",
    "thread": "run_in_thread to_thread in_thread use_thread threaded threads blocking run_in_executor",
    "executor": "task_runner scheduler runner pool",
    "continue_on_error": "ignore_errors allow_failure allow_failures return_exceptions raise_on_error on_error "
    "optional trigger_rule skip_on_failure continue_on_failure fail_fast ignore_failure tolerate",
    "on_error": "on_failure errors error_policy raise_on_error return_exceptions fail_fast failure_mode stop_on_error "
    "continue_on_failure continue_on_error ignore_errors error_mode",
    "fallback": "default default_value on_failure error_value fallback_value retry_error_callback",
    "join": "trigger_rule trigger",
    "when": "condition run_if only_if run_when",
    "cleanup": "finally always_run is_teardown run_always finalizer on_exit exit_handler",
    "cleanup_timeout": "grace grace_period shutdown_timeout termination_grace_period graceful_shutdown_timeout",
    "store": "persist persisted persistent durable durability checkpoint checkpoints checkpointed save save_result "
    "save_output cache cached cache_result cache_policy persist_result store_result store_output result_storage",
    "priority": "priority_weight weight queue_priority",
    "cost": "weight duration estimate expected_duration expected_seconds",
    "middleware": "wrapper wrappers decorators around middlewares hooks",
    "admission": "limiter gate before",
    "observers": "callbacks callback listeners listener on_event observer hooks progress subscribers",
    "known": "cache cached cached_outputs checkpoint resume_from resume previous results done overrides memo",
    "targets": "outputs final_vars only target nodes output_names select tasks until",
    "inputs": "parameters params args kwargs variables input state context values overrides arguments run_config",
    "config": "settings options configuration conf configurable run_options",
    "run_id": "id flow_run_name run_name thread_id task_id dag_run_id request_id trace_id",
    "data": "store memory shared_state",
    "keep": "keep_outputs retain persist outputs",
    "backend": "loop event_loop async_backend",
    "blocking_after": "slow_callback_duration",
    "clock": "time timer",
    "locked": "lock thread_safe threadsafe",
    "capacity": "size maxsize max_size max_entries max_strings",
    "max_length": "maxlen max_len max_string_length",
    "name": "task_id node_id id label task_name key step_name task_run_name",
    "key": "key_fn keys by map_index_template",
    "batch_size": "chunk_size chunksize batch batches chunks partition_size",
    "batch_wait": "linger batch_timeout batch_max_wait max_batch_wait max_batch_delay batch_delay batch_interval "
    "flush_interval flush_after flush_timeout max_wait within",
    "take": "head first max_items n items",
    "pipelined": "streaming stream lazy",
    "until": "while_ stop stop_when done condition break_if exit_when",
    "max_iterations": "max_rounds max_steps max_iters max_loops recursion_limit iterations rounds",
    "carry": "carries feedback state feed_back loop_vars",
    "history": "collect_all keep_all accumulate",
    "start": "initial initializer init initial_value seed",
    "type": "schema model payload payload_type expected_type result_type",
    "seconds": "delay duration sleep interval wait wait_seconds countdown",
    "at": "eta run_at start_at target_time",
    "attempts": "retries max_retries max_attempts tries max_tries stop stop_after_attempt times count n total "
    "n_retries num_retries retry",
    "delay": "retry_delay delay_seconds retry_delay_seconds wait wait_fixed interval initial_interval countdown "
    "default_retry_delay initial_delay base_delay sleep min_delay delay_s wait_seconds seconds",
    "backoff": "strategy retry_backoff wait_strategy policy exponential growth",
    "multiplier": "backoff_factor backoff_multiplier factor base exp_base exponent_base backoff_rate",
    "max_delay": "max_interval retry_backoff_max max_wait cap max_backoff max_retry_delay wait_max max_seconds",
    "jitter": "retry_jitter retry_jitter_factor randomize random",
    "retry_if": "on exceptions exception retry_on retry_condition_fn autoretry_for retry_for retry_if_exception_type "
    "retry_if_exception when predicate only condition retryable expected_exceptions",
    "attempt": "seconds timeout per_attempt time_limit each single call timeout_seconds",
    "node": "total overall task all whole max_time deadline",
}
"""Our names, each with the names that other tools have for the same. A word may stand for several of ours."""

_OURS_FOR: Final[dict[str, list[str]]] = {}
for _ours, _others in _OTHER_NAMES.items():
    for _other in _others.split():
        if _ours not in _OURS_FOR.setdefault(plain(_other), []):
            _OURS_FOR[plain(_other)].append(_ours)

_FLAGS: Final = frozenset(("timing", "optimize", "show_values", "history", "store"))
"""Names of ours under which a suggestion repeats True or False that was given to another name."""

_EXAMPLES: Final[Mapping[str, Any]] = {
    "on_error": "collect",
    "continue_on_error": True,
    "thread": True,
}
"""What a suggestion has in the place of a value that cannot be repeated."""


_FIRST_TOO: Final = " attempts count the first call too"


class Wrong:
    """The keywords of one call that it does not take.

    :param place: the place of the call: a key of :data:`PLACES`.
    :param known: the keywords that the call takes.
    :ivar given: all keywords of the call: what is there need not be written.
    :ivar inputs: of :func:`flow.run`: names of the run's inputs; ``as_inputs`` is the call that gives ``{}``.
    :ivar tables: in a file of settings, the names of its tables by place.
    """

    __slots__ = ("_hints", "_known", "_place", "as_inputs", "given", "inputs", "tables")

    def __init__(self, place: str, known: Iterable[str], hints: Hints | None = None) -> None:
        self._place = place
        self._known = tuple(known)
        self._hints = Hints() if hints is None else hints
        self.given: Collection[str] = ()
        self.inputs: Sequence[str] = ()
        self.as_inputs = ""
        self.tables: Mapping[str, str] = {}

    def meant(self, word: object, value: object = ...) -> str:
        """Return a suggestion for ``word``, in brackets; an empty text if there is none."""
        if not isinstance(word, str):
            return ""
        if word in self.inputs:
            return f" (run inputs are one mapping: {self.as_inputs.format(shown(word) + ': ...')})"
        if (found := term_in(self._place, word)) is not None:
            return self._serving(found, value)
        standing_for = _standing_for(word)
        own = [ours for ours in dict.fromkeys((*_spelled(word, self._known), *standing_for)) if ours in self._known]
        if own and self._place not in ("run", "Config"):
            return self._did_you_mean(word, own, value)
        if word not in self._known:
            for kind in _ELSEWHERE[self._place]:
                for ours in _spelled(word, PLACES[kind]):
                    return self._elsewhere(kind, word, ours, value)
        if own:
            return self._did_you_mean(word, own, value)
        for kind in _ELSEWHERE[self._place] if standing_for else ():
            for ours in standing_for:
                if ours in PLACES[kind]:
                    return self._elsewhere(kind, word, ours, value)
        if (found := term(word)) is not None:
            return self._serving(found, value)
        return self._near(word)

    def _serving(self, found: Term, value: object) -> str:
        """Say what serves in the place of a term of other engines."""
        return f" ({serving(found, value, self._place, self.tables)})"

    def _did_you_mean(self, word: str, own: Sequence[str], value: object) -> str:
        code = " or ".join(_code(self._settings(self._place, word, ours, value), self.tables) for ours in own[:2])
        return f" (did you mean {code}?{_FIRST_TOO if _counts_retries(word, own[0], value) else ''})"

    def _elsewhere(self, kind: str, word: str, ours: str, value: object) -> str:
        settings = self._settings(kind, word, ours, value)
        rest = f";{_FIRST_TOO}" if _counts_retries(word, ours, value) else ""
        return f" ({_said(kind, settings, self._place, self.tables)}{rest})"

    def _settings(self, kind: str, word: str, ours: str, value: object) -> dict[str, Any]:
        """Return what to write for ``ours``, after what must stand with it and is not given."""
        given = _given(kind, word, ours, value)
        needed = NEEDS.get((kind, ours), {}) if given is not None and given is not False else {}
        here = self.given if kind == self._place else ()
        return {**{name: value for name, value in needed.items() if name not in here}, ours: given}

    def _near(self, word: str) -> str:
        """Return a suggestion by spelling. What is spelled alike but says the contrary is left out."""
        spent = self._hints.spent
        if not spent and (near := self._hints.nearest(word, alike(word, self._known))):
            return near
        for kind in () if spent else _ELSEWHERE[self._place]:
            if near := self._hints.nearest(word, alike(word, PLACES[kind])):
                return f"{near[:-2]}, {_SAYS[kind].partition(':')[0]}?)"
        if near := self._hints.nearest(word, self.inputs):
            return f"{near[:-1]} run inputs are one mapping: {self.as_inputs.format('...')})"
        if not self.as_inputs:
            return ""
        return f" (if it is to be a run input: {self.as_inputs.format(shown(word) + ': ...')})"

    def refusal(self, who: str, what: str, given: Mapping[str, object]) -> str:
        """Return one message that lists all unknown keywords among ``given``, with suggestions.

        :param what: the noun for them: option, keyword.
        """
        self.given = given
        faults = [f"{shown(word)}{self.meant(word, given[word])}" for word in given if word not in self._known]
        if len(faults) == 1:
            return f"{who} takes no {what} {faults[0]}"
        return listing(f"{who} takes none of these {what}s", faults)


def alike(word: str, known: Iterable[str]) -> list[str]:
    """Return the names that do not say the contrary of ``word``, as ``metrics_disabled`` and ``metrics_sampled`` do."""
    negated = negates(word[:255])
    return [name for name in known if negates(name) == negated]


def serving(found: Term, value: object, place: str, tables: Mapping[str, str]) -> str:
    """Return a sentence with what to write in the place of a term of other engines, and why.

    :param value: the value typed; False asks for the contrary.
    :param place: where it was typed.
    :param tables: in a file of settings, the names of its tables by place; else empty.
    """
    found = found.serving(value)
    if found.place == "preset" and found.preset == "..." and isinstance(value, str) and value not in PRESET_NAMES:
        found = preset_term(value) or found
    if found.place == "preset":
        name = value if found.preset == "..." and value in PRESET_NAMES else found.preset
        name = name if name == "..." else repr(name)
        code = f"preset = {_as_toml(name)} in [{tables['DataConfig']}]" if tables else f"flow.DataConfig.preset({name})"
        return f"write {code}: {found.why}"
    if not found.place:
        return found.why
    settings = fitted(found.settings, value)
    if found.place == place or found.place in tables:
        return f"{_said(found.place, settings, place, tables)}: {found.why}"
    return f"{_said(found.place, settings, place, tables)}; {found.why}"


def _said(kind: str, settings: Mapping[str, Any], place: str, tables: Mapping[str, str]) -> str:
    """Say where to write settings of ``kind``, when something was typed in ``place``."""
    if kind in tables:
        return f"write {_code(settings, tables)} in [{tables[kind]}]"
    code = _code(settings, {})
    if kind == place:
        return f"write {code}"
    return (_IN_STORES if (kind, place) == ("DataConfig", "WorkflowData") else _SAYS[kind]).format(code)


def value_meant(setting: str, value: object) -> str:
    """Return a suggestion for a value that a setting of words does not take, in brackets; or an empty text."""
    meant = choice(setting, value)
    return "" if meant is None else f" (write {setting}={meant!r})"


def preset_meant(name: object, presets: Iterable[str], tables: Mapping[str, str], hints: Hints) -> str:
    """Return a suggestion for a preset that there is not, in brackets; an empty text if there is none."""
    if not isinstance(name, str):
        return ""
    presets = list(presets)
    same = [preset for preset in presets if plain(preset) == plain(name)]
    if same:
        return f" (did you mean {same[0]!r}?)"
    found = preset_term(name)
    if found is None:
        return hints.nearest(name, alike(name, presets))
    if found.place == "preset" or tables:
        return f" ({serving(found, ..., '', tables)})"
    return f" (write flow.DataConfig({_code(fitted(found.settings, ...), {})}): {found.why})"


class _Code(str):
    """Python code that stands for a value."""

    __slots__ = ()


def _code(settings: Mapping[str, Any], tables: Mapping[str, str]) -> str:
    """Write settings as arguments; in a file, as lines of it."""
    if tables:
        return " and ".join(f"{name} = {_as_toml(_text(value))}" for name, value in settings.items())
    return ", ".join(f"{name}={_text(value)}" for name, value in settings.items())


def _text(value: object) -> str:
    return str(value) if isinstance(value, _Code) else "..." if value is ... else shown(value)


def _as_toml(code: str) -> str:
    return {"True": "true", "False": "false", "None": '"none"'}.get(code, code.replace("'", '"'))


def settings_for(word: str) -> Sequence[str]:
    """Return the settings of a run that serve for what ``word`` means in other tools; the likeliest first."""
    found = term_in("Config", word) or term(word)
    served = tuple(found.settings) if found is not None and found.place == "Config" else ()
    return [name for name in (*_standing_for(word), *served) if name in PLACES["Config"]]


def _standing_for(word: str) -> Sequence[str]:
    """Return our names for the meaning that ``word`` has in other tools."""
    return _OURS_FOR.get(plain(word), ()) if len(word) <= LONGEST else ()


def _spelled(word: str, known: Iterable[str]) -> list[str]:
    """Return the names that are ``word`` but for what differs between languages: ``SampleRate`` is ``sample_rate``."""
    same = plain(word) if len(word) <= LONGEST else ""
    return [name for name in known if plain(name) == same]


def _counts_retries(word: str, ours: str, value: object) -> bool:
    return ours in ("retry", "attempts") and type(value) is int and value >= 0 and "retries" in word


def _given(kind: str, word: str, ours: str, value: Any) -> Any:
    """Return what to write for ``ours``: the given value, where the setting takes it and it asks for the same."""
    same = plain(word) == plain(ours)
    if _counts_retries(word, ours, value):
        value += 1
    if ours == "retry":
        return _Code(f"flow.Retry(attempts={value if FITS['Retry']['attempts'].has(value) else 3})")
    if ours in ("limit", "concurrency") and (value is None or (type(value) in (int, float) and value < 1)):
        return None  # as none, 0 and -1 are in other tools: as many as there are
    if same and (meant := choice(ours, value)) is not None:
        return meant
    flag = type(value) is bool
    repeats = same or (flag and ours in _FLAGS) or (type(value) in (int, float) and ours not in ("after", "start"))
    if repeats and ours in FITS[kind] and FITS[kind][ours].has(value):
        return value
    if value is False and ours in ("thread", "continue_on_error", "store") and kind != "run":
        return False
    return _Code("ConnectionError") if ours == "retry_if" else _EXAMPLES.get(ours, ...)
