"""Suggestions for a wrong keyword of a call: our name for a term of other tools, another place, a similar spelling.

This module is imported once a keyword is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from flow.errors import Hints, listing, shown
from flow.terms import Given, Term, negates, plain, preset_term, term, term_in

PLACES: Final[Mapping[str, tuple[str, ...]]] = {
    "Config": (
        "mode", "limit", "on_error", "timeout", "executor", "threads", "order", "timing", "keep", "data", "optimize",
        "observers", "on_outcome", "before_call", "blocking_after", "show_values", "backend", "clock", "executors",
    ),
    "node": (
        "retry", "timeout", "thread", "executor", "continue_on_error", "priority", "middleware", "cost", "fallback",
        "abandon_on_timeout", "admission", "join", "when", "after", "needs", "replace",
    ),
    "map": ("concurrency", "take", "pipelined", "on_error", "batch_size", "batch_wait", "key"),
    "reduce": ("start",),
    "run": ("inputs", "targets", "known", "config", "run_id"),
    "Retry": ("attempts", "delay", "backoff", "multiplier", "max_delay", "jitter", "retry_if"),
    "Timeout": ("attempt", "node"),
    "DataConfig": (
        "memory", "metrics", "sample_rate", "slow_after", "interning", "intern", "intern_capacity", "intern_max_length",
        "block_size", "direct_reads", "show_values", "locked",
    ),
}  # fmt: skip
"""The keywords of each place. (``flow.run`` takes ``data`` too; a test compares these tables with the signatures.)"""

_SAYS: Final[Mapping[str, str]] = {
    "Config": "a setting of the run: config=flow.Config({})",
    "node": "an option of a node: dag.node({})",
    "map": "an option of a map: dag.map(..., {})",
    "reduce": "an option of a fold: dag.reduce(..., {})",
    "run": "given to flow.run: flow.run(dag, {})",
    "Retry": "a setting of flow.Retry: retry=flow.Retry({})",
    "Timeout": "a setting of flow.Timeout: timeout=flow.Timeout({})",
    "DataConfig": "a setting of flow.DataConfig: config=flow.Config(data=flow.DataConfig({}))",
}

_ELSEWHERE: Final[Mapping[str, tuple[str, ...]]] = {
    "run": ("Config", "node", "DataConfig", "Retry"),
    "Config": ("node", "run", "DataConfig", "Retry"),
    "node": ("map", "Config", "run", "Retry", "reduce"),
    "map": ("Config", "run", "Retry", "reduce"),
    "reduce": ("map", "Config", "run", "Retry"),
    "Retry": ("node",),
    "Timeout": ("Retry", "node"),
    "DataConfig": ("Config", "node", "run"),
}
"""Other places where a keyword may belong, the likeliest first."""

_OTHER_NAMES: Final[Mapping[str, str]] = {
    # (Airflow, Celery, Dagster, Dask, Hamilton, joblib, LangGraph, Luigi, Prefect, tenacity, asyncio, futures)
    "limit": "max_workers workers n_workers num_workers n_jobs jobs max_concurrency max_concurrent "
    "max_concurrent_tasks concurrency concurrency_limit max_parallel parallelism parallel pool_size "
    "max_in_flight max_active_tasks semaphore max_tasks",
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
    "priority": "priority_weight weight queue_priority",
    "cost": "weight duration estimate expected_duration expected_seconds",
    "middleware": "wrapper wrappers decorators around middlewares hooks",
    "admission": "rate_limit rate_limiter throttle limiter gate before",
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
    "name": "task_id node_id id label task_name key step_name task_run_name",
    "key": "key_fn keys by map_index_template",
    "batch_size": "chunk_size chunksize batch batches chunks partition_size",
    "batch_wait": "linger batch_timeout batch_max_wait max_batch_wait max_batch_delay batch_delay batch_interval "
    "flush_interval flush_after flush_timeout max_wait within",
    "take": "head first max_items n items",
    "pipelined": "streaming stream lazy",
    "start": "initial initializer init initial_value seed",
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
        _OURS_FOR.setdefault(_other, []).append(_ours)
_LONGEST: Final = max(map(len, _OURS_FOR))

_AS_GIVEN: Final = frozenset((
    "limit", "concurrency", "threads", "timeout", "batch_size", "batch_wait", "take", "attempts", "delay", "max_delay",
    "multiplier", "jitter", "priority", "cost", "attempt", "node", "mode", "timing", "order", "backend", "optimize",
    "run_id", "blocking_after", "show_values",
))  # fmt: skip
"""Names of ours under which a suggestion repeats the given number or word."""

_FLAGS: Final = frozenset(("timing", "optimize", "show_values"))
"""Those of them that may be True or False."""

_EXAMPLES: Final[Mapping[str, str]] = {
    "retry": "retry=flow.Retry(attempts=3)",
    "retry_if": "retry_if=ConnectionError",
    "on_error": "on_error='collect'",
    "continue_on_error": "continue_on_error=True",
    "thread": "thread=True",
}


_FIRST_TOO: Final = " attempts count the first call too"


class Wrong:
    """The keywords of one call that it does not take.

    :param place: the place of the call: a key of :data:`PLACES`.
    :param known: the keywords that the call takes.
    :ivar inputs: of :func:`flow.run`: names of the run's inputs; ``as_inputs`` is the call that gives ``{}``.
    :ivar tables: in a file of settings, the names of its tables by place.
    """

    __slots__ = ("_hints", "_known", "_place", "as_inputs", "inputs", "tables")

    def __init__(self, place: str, known: Iterable[str], hints: Hints | None = None) -> None:
        self._place = place
        self._known = tuple(known)
        self._hints = Hints() if hints is None else hints
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
        own = [ours for ours in standing_for if ours in self._known]
        if own and self._place not in ("run", "Config"):
            return _did_you_mean(word, own, value)
        if word not in self._known:
            for kind in _ELSEWHERE[self._place]:
                if word in PLACES[kind]:
                    return _elsewhere(kind, word, word, value)
        if own:
            return _did_you_mean(word, own, value)
        for kind in _ELSEWHERE[self._place] if standing_for else ():
            for ours in standing_for:
                if ours in PLACES[kind]:
                    return _elsewhere(kind, word, ours, value)
        if (found := term(word)) is not None:
            return self._serving(found, value)
        return self._near(word)

    def _serving(self, found: Term, value: object) -> str:
        """Say what serves in the place of a term of other engines."""
        return f" ({serving(found, value, self._place, self.tables)})"

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
    if value is False and found.off is not None:
        found = found.off
    if found.place == "preset":
        name = shown(value) if found.preset == "..." and isinstance(value, str) else found.preset
        name = name if name == "..." or name[:1] in "'\"" else repr(name)
        code = f"preset = {_as_toml(name)} in [{tables['DataConfig']}]" if tables else f"flow.DataConfig.preset({name})"
        return f"write {code}: {found.why}"
    if not found.place:
        return found.why
    settings = {
        name: setting.fitting(value) if isinstance(setting, Given) else setting
        for name, setting in found.settings.items()
    }
    if found.place in tables and None not in settings.values():
        lines = " and ".join(f"{name} = {_as_toml(_code(setting))}" for name, setting in settings.items())
        return f"write {lines} in [{tables[found.place]}]: {found.why}"
    code = ", ".join(f"{name}={_code(setting)}" for name, setting in settings.items())
    return f"write {code}: {found.why}" if found.place == place else f"{_SAYS[found.place].format(code)}; {found.why}"


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
    code = ", ".join(f"{setting}={_code(value)}" for setting, value in found.settings.items())
    return f" (write flow.DataConfig({code}): {found.why})"


def _code(value: object) -> str:
    return "..." if value is ... else shown(value)


def _as_toml(code: str) -> str:
    return {"True": "true", "False": "false"}.get(code, code.replace("'", '"'))


def _standing_for(word: str) -> Sequence[str]:
    """Return our names for the meaning that ``word`` has in other tools."""
    return _OURS_FOR.get(word.lower(), ()) if len(word) <= _LONGEST else ()


def _did_you_mean(word: str, own: Sequence[str], value: object) -> str:
    given = [_given(word, ours, value) for ours in own[:2]]
    return f" (did you mean {' or '.join(given)}?{_FIRST_TOO if _counts_retries(word, own[0], value) else ''})"


def _elsewhere(kind: str, word: str, ours: str, value: object) -> str:
    said = _SAYS[kind].format(_given(word, ours, value))
    return f" ({said}{f';{_FIRST_TOO}' if _counts_retries(word, ours, value) else ''})"


def _counts_retries(word: str, ours: str, value: object) -> bool:
    return ours in ("retry", "attempts") and type(value) is int and value >= 0 and "retries" in word


def _given(word: str, ours: str, value: Any) -> str:
    """Write ``ours`` as an argument: with the given value, where that value fits."""
    same = word == ours
    fits = type(value) in (int, float) or (type(value) is bool and (same or ours in _FLAGS))
    if _counts_retries(word, ours, value):
        attempts = f"attempts={shown(int(value) + 1)}"
        return attempts if ours == "attempts" else f"retry=flow.Retry({attempts})"
    if ours == "retry" and type(value) is int:
        return f"retry=flow.Retry(attempts={shown(value)})"
    if (fits or (type(value) is str and same)) and ours != "retry_if" and (ours in _AS_GIVEN or same):
        return f"{ours}={shown(value)}"
    if value is False and ours in ("thread", "continue_on_error"):
        return f"{ours}=False"
    return _EXAMPLES.get(ours, f"{ours}=...")
