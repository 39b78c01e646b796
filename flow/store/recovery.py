"""Goes on with runs whose processes are gone: :func:`recover`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from flow.errors import RunOwned, UsageError, a_kind, shown
from flow.graph.dag import Dag
from flow.plan.plan import Plan
from flow.run.api import run
from flow.store.backend import RUNNING, WAITING
from flow.store.owner import is_driven
from flow.store.store import Store

if TYPE_CHECKING:
    from flow.config import Config
    from flow.run.result import Result

_PAGE = 200


def recover(
    store: Store,
    dags: Iterable[Dag | Plan],
    *,
    inputs: Mapping[str, Any] | None = None,
    config: Config | None = None,
) -> dict[str, Result | Exception]:
    """Go on with every run of these dags that nobody drives: whose process is gone, or has let go of it.

    Runs that wait for signals are gone on with once something has been sent to them. Each run goes on in turn, on this
    thread.

    :param inputs: those that are not stored: connections, secrets. A run is given those of its own that are named here.
    :param config: None takes that of each dag.
    :return: by run id, the Result, or what :func:`flow.run` raised.
    :raises UsageError: if two dags have one name, or something is no store or no dag.
    """
    if not isinstance(store, Store):
        raise UsageError(f"recover: the first argument is a store (flow.store.open), not {a_kind(store)}")
    if isinstance(dags, (Dag, Plan)):
        raise UsageError(f"recover: dags are a list of them, not one: [{dags.name}]")
    by_name: dict[str, Dag | Plan] = {}
    for dag in dags:
        if not isinstance(dag, (Dag, Plan)):
            raise UsageError(f"recover: dags are a list of flow.Dag, and {a_kind(dag)} is none")
        if dag.name in by_name:
            raise UsageError(f"recover: two dags are called {shown(dag.name)}")
        by_name[dag.name] = dag
    found: dict[str, Result | Exception] = {}
    for run_id, name in _left_alone(store, by_name):
        try:
            given = _given(store, run_id, inputs or {})
            found[run_id] = run(by_name[name], given, run_id=run_id, store=store, config=config, on_wait="return")
        except RunOwned:
            continue  # somebody else was faster
        except Exception as error:
            found[run_id] = error
    return found


def _left_alone(store: Store, by_name: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the runs to go on with, the oldest first."""
    found, before = list[tuple[str, str]](), None
    while rows := store.runs((RUNNING, WAITING), limit=_PAGE, before=before):
        before = (rows[-1].created, rows[-1].id)
        for row in rows:
            if row.dag in by_name and not is_driven(row) and (row.status == RUNNING or _has_news(store, row.id)):
                found.append((row.id, row.dag))
    return found[::-1]


def _has_news(store: Store, run_id: str) -> bool:
    signals, cancel = store.backend.take_signals(run_id, 0)
    return bool(signals) or cancel


def _given(store: Store, run_id: str, inputs: Mapping[str, Any]) -> dict[str, Any] | None:
    from flow.store.inputs import kept_of

    names = kept_of(store.run(run_id), store.name)
    return {name: value for name, value in inputs.items() if name in names} or None


__all__ = ["recover"]
