"""Which settings are worth a try for a plan, and how two configs differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal, TypeAlias

import msgspec

from flow.config import DATA_PRESETS, Config, DataConfig
from flow.config.data import DEFAULT_DATA_CONFIG
from flow.errors import ConfigError
from flow.plan.plan import Plan
from flow.run.state import is_sync_run
from flow.signature import Composite

Objective: TypeAlias = Literal["throughput", "latency", "memory"]
Changes: TypeAlias = dict[str, Any]

LIMITS: Final = (256, 128, 64, 32, 16, 8, 4, 2, 1)
"""Limits that are tried first; those between the best and its neighbours follow."""

THREADS: Final = (128, 16, 8, 4)
"""Numbers of threads that are tried where sync functions run in threads."""

STORES: Final[tuple[Changes, ...]] = (
    *(changes for name, changes in DATA_PRESETS.items() if name != "default"),
    {"memory": "slots"},
    {"memory": "slots", "metrics": "off"},
    {"interning": "native"},
    {"interning": "pool"},
    {"interning": "arena"},
)
"""What is changed about the run's own store."""

CONSEQUENCES: Final = {
    ("executor", "thread"): "sync functions then run beside one another, so they must be thread-safe",
    ("executor", "inline"): "sync functions then hold the event loop while they run",
    ("keep", "targets"): "the Result then holds the targets' outputs alone",
    ("data.metrics", "off"): "ctx.data.statistics() then counts nothing",
    ("data.memory", "arena"): "ctx.data then takes plain data only, and what is read from it is a copy",
}
"""What else a setting changes, to be said with it."""


class Factor(msgspec.Struct, frozen=True):
    """One thing to vary.

    :ivar options: changes to a config, one of which can be made at a time.
    :ivar descending: each option allows less at once than the one before: when one is far too slow, so is the rest.
    """

    name: str
    options: list[Changes]
    descending: bool = False


def factors(plan: Plan, config: Config, objective: Objective, uses_data: bool) -> Iterator[Factor]:
    """Yield what can make a difference to runs of ``plan`` under ``config``, and leaves their outputs as they are.

    Never changed: what a run means (``on_error``, ``timeout``), what is seen of it (``observers``, ``timing``,
    ``blocking_after``) and where it runs (``backend``, ``clock``). ``keep`` is for ``memory`` alone.
    """
    on_loop = not is_sync_run(plan, config)
    if plan.all_sync and config.executor == "inline":
        yield Factor("mode", [{"mode": mode} for mode in ("auto", "tasks") if mode != config.mode])
    if on_loop and config.mode != "inline":
        yield Factor("limit", _limits(plan, config), descending=True)
    if 0 in plan._nodes.is_async:
        yield Factor("executor", [{"executor": "inline" if config.executor == "thread" else "thread"}])
    if config.executor == "thread" or _has_threads(plan):
        wide = width(plan) > config.threads
        yield Factor(
            "threads", [{"threads": n} for n in THREADS if n < config.threads or (wide and n != config.threads)]
        )
    bounded = config.limit is not None or config.mode in ("inline", "workers")
    if bounded and plan.edge_count and config.order == "definition":
        yield Factor("order", [{"order": "critical_path"}])
    if uses_data:
        yield Factor("data", list(_stores(store_of(config))))
    if objective == "memory" and config.keep == "all":
        yield Factor("keep", [{"keep": "targets"}])


def width(plan: Plan) -> float:
    """The most nodes that can be in flight; without bound where maps or inner Dags bring more of them."""
    inner = any(isinstance(getattr(b, "fn", None), Composite) for b in plan._nodes.binders.values())
    return float("inf") if inner or any(isinstance(fn, Composite) for fn in plan._nodes.fns) else plan.width


def _has_threads(plan: Plan) -> bool:
    return any(binder.executor == "thread" for binder in plan._nodes.binders.values())


def _limits(plan: Plan, config: Config) -> list[Changes]:
    values: list[Any] = [None, "auto", *(n for n in LIMITS if n < width(plan))]
    if width(plan) <= 1:
        return []
    return [{"limit": n} for n in values if n != config.limit and made(config, {"limit": n}) is not None]


def store_of(config: Config) -> DataConfig:
    """Return the settings of the store. (Rules have been asked: :func:`flow.run.stores.ruled`.)"""
    return config.data if isinstance(config.data, DataConfig) else DEFAULT_DATA_CONFIG


def _stores(config: DataConfig) -> Iterator[Changes]:
    for changes in STORES:
        if config.metrics in ("timing", "sampled") and "metrics" in changes:
            continue  # somebody wants to see those
        if callable(config.memory) and "memory" in changes:
            continue  # nothing is known of what another memory would leave out
        try:
            data = config.replace(**changes)
        except ConfigError:
            continue
        if data != config:
            yield {"data": data}


def neighbours(config: Config) -> list[Changes]:
    """Limits between the one found and the next ones tried."""
    n = config.limit
    return [{"limit": n * 3 // 4}, {"limit": n * 3 // 2}] if isinstance(n, int) and n >= 4 else []


def made(config: Config, changes: Changes) -> Config | None:
    """Return ``config`` with ``changes``; None if they do not go together, or are unknown to this version."""
    try:
        return config.replace(**changes)
    except ConfigError:
        return None


def differences(base: Config, config: Config) -> Changes:
    """Return what ``config`` changes, settings of its store as ``data.<name>``."""
    found = {f: getattr(config, f) for f in Config.__struct_fields__ if f != "data"}
    found = {field: value for field, value in found.items() if value != getattr(base, field)}
    mine, theirs = store_of(config), store_of(base)
    for field in DataConfig.__struct_fields__:
        if getattr(mine, field) != getattr(theirs, field):
            found[f"data.{field}"] = getattr(mine, field)
    return found


def put_back(config: Config, base: Config, setting: str) -> Config | None:
    """Return ``config`` with one of its :func:`differences` as in ``base``; None if the rest needs it."""
    field, _, of_data = setting.partition(".")
    if not of_data:
        return made(config, {field: getattr(base, field)})
    default = store_of(base)
    try:
        data = store_of(config).replace(**{of_data: getattr(default, of_data)})
    except ConfigError:
        return None
    return config.replace(data=base.data if data == default else data)


def setting_of(config: Config, setting: str) -> Any:
    """Return a setting by its name in :func:`differences`."""
    field, _, of_data = setting.partition(".")
    return getattr(store_of(config), of_data) if of_data else getattr(config, field)
