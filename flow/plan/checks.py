"""Checks of a node apart from its wiring: its name and its policies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, Final

from flow.awaits import is_maker
from flow.config import Config, Retry, Timeout
from flow.config.fields import is_int, is_number
from flow.config.policy import UNLIMITED, per_attempt
from flow.errors import a_kind, shown
from flow.plan.definition import Policy
from flow.policy.admission import admission_faults
from flow.policy.fallback import fallback_faults
from flow.signature import location_of
from flow.types import MISSING, NAME_CHARACTERS, NAME_RULE, is_name

_REDEFINE: Final = " (a later definition takes an earlier one's place with replace=True)"
_LINES_OF_NAMES: Final = re.compile(rf"(?:{NAME_CHARACTERS}\n)*+")


def checked_names(names: list[Any], start: int, fns: list[Any], faults: list[str]) -> list[Any]:
    """Return the names from ``start`` on as plain strings; note each that is refused.

    One match over all of them: a call per name would cost far more.
    """
    new = names[start:] if start else names
    try:
        lines = "\n".join(new)
    except TypeError:
        return _checked_one_by_one(new, fns[start:], faults)
    one_line_each = lines.count("\n") == len(new) - 1
    if not one_line_each or ".." in lines or not _LINES_OF_NAMES.fullmatch(lines + "\n"):
        return _checked_one_by_one(new, fns[start:], faults)
    if set(map(type, new)) != {str}:  # members of a StrEnum, say
        return list(map(str.__str__, new))
    return new


def _checked_one_by_one(names: list[Any], fns: list[Any], faults: list[str]) -> list[Any]:
    checked: list[Any] = []
    for name, fn in zip(names, fns, strict=True):
        if not issubclass(type(name), str):  # not isinstance: an object may raise when asked for its class
            faults.append(f"node name {shown(name)} ({location_of(fn)}) is of type {type(name).__name__}, not a string")
            checked.append(object())  # equal to no other name
            continue
        if not is_name(name):
            faults.append(f"node name {shown(name)} ({location_of(fn)}) is refused: {NAME_RULE}")
        checked.append(str.__str__(name))
    return checked


def _uncalled(middleware: Iterable[Any]) -> list[str]:
    return [f"{m.__name__} makes a middleware: call it" for m in middleware if is_maker(m, "flow.policy.middleware")]


def dag_faults(name: Any, middleware: tuple[Any, ...], config: Any = None) -> list[str]:
    """Return the faults of the Dag's own settings."""
    faults = [] if is_name(name) else [f"dag name {shown(name)} is refused: {NAME_RULE}"]
    if config is not None and not issubclass(type(config), Config):
        faults.append(f"dag config must be a flow.Config, not {shown(config)} ({a_kind(config)})")
    faults += [f"dag middleware must be callables (next, ctx), not {shown(m)}" for m in middleware if not callable(m)]
    faults += _uncalled(middleware)
    return faults


def duplicate_faults(names: Sequence[Any], fns: Sequence[Any]) -> list[str]:
    """Say which names are used more than once, and where: one fault per name."""
    places: dict[Any, list[int]] = {}
    for i, name in enumerate(names):
        places.setdefault(name, []).append(i)
    faults = []
    for name, indices in places.items():
        if len(indices) > 1:
            where = ", ".join([location_of(fns[i]) for i in islice(indices, 3)])
            more = f" and {len(indices) - 3} more" if len(indices) > 3 else ""
            times = "twice" if len(indices) == 2 else f"{len(indices)} times"
            faults.append(f"node {shown(name)} is defined {times}, at {where}{more}: names must differ{_REDEFINE}")
    return faults


def policy_faults(policy: Policy, is_async: bool, folds: bool = False) -> list[str]:
    """Say what is out of range in a node's options, one sentence each; empty if nothing is.

    :param is_async: its function is. :param folds: it is a reduce.
    """
    found: list[str] = []
    retry, timeout = policy.retry, policy.timeout
    if retry is not None:
        is_one = issubclass(type(retry), Retry)
        found += retry.faults() if is_one else [f"retry must be a flow.Retry or None, not {shown(retry)}"]
    if timeout is not None:
        limits: Any = timeout if issubclass(type(timeout), Timeout) else per_attempt(timeout)
        found += limits.faults()
    if policy.executor is not None or type(policy.thread) is not bool or (policy.thread and is_async):
        found += _executor_faults(policy, is_async, folds)
    found += _abandoning_faults(policy, is_async)
    if type(policy.continue_on_error) is not bool:
        found.append(f"continue_on_error must be True or False, not {shown(policy.continue_on_error)}")
    if policy.fallback is not MISSING:
        found += fallback_faults(policy.fallback)
        if policy.continue_on_error is True:
            found.append("continue_on_error and fallback exclude each other: with a fallback, there is no failure")
    if not is_int(policy.priority):
        found.append(f"priority must be an integer, not {shown(policy.priority)}")
    if policy.cost is not None and (not is_number(policy.cost) or policy.cost < 0):
        found.append(f"cost must be a number of seconds >= 0, not {shown(policy.cost)}")
    found += [f"middleware must be callables (next, ctx), not {shown(m)}" for m in policy.middleware if not callable(m)]
    found += _uncalled(policy.middleware)
    if policy.store is not True and policy.store is not False and not _is_pickle(policy.store):
        found.append(f"store must be True, False or 'pickle', not {shown(policy.store)}")
    if policy.admission is not None:
        found += admission_faults(policy.admission)
    return found


def _is_pickle(store: Any) -> bool:
    return issubclass(type(store), str) and str.__str__(store) == "pickle"


def generator_faults(policy: Policy, by_item: bool) -> list[str]:
    """Say which options would do nothing on a generator function: calling one runs none of its body."""
    timeout = policy.timeout
    limits = timeout is not None and not (isinstance(timeout, Timeout) and timeout.attempt is timeout.node is None)
    given = {"retry": policy.retry is not None, "timeout": limits, "thread": policy.thread is True,
             "executor": policy.executor is not None}  # fmt: skip
    names = " and ".join([name for name, is_given in given.items() if is_given])
    if not names:
        return []
    listed = "let it return a list"
    where = listed if by_item else f"put it on the node that goes over its items, or {listed}"
    return [f"{names} would do nothing on a generator function, since calling it runs none of its body: {where}"]


def _executor_faults(policy: Policy, is_async: bool, folds: bool) -> list[str]:
    thread: Any = policy.thread
    executor: Any = policy.executor
    found, given = [], []
    if thread is True:
        given.append("thread=True")
    elif thread is not False:
        found.append(f"thread must be True or False, not {shown(thread)}")
    name = str.__str__(executor) if issubclass(type(executor), str) else ""
    if name:
        given.append(f"executor={shown(name)}")
    elif executor is not None:
        found.append(f"executor must be 'inline', 'thread' or a name in Config(executors=...), not {shown(executor)}")
    if len(given) == 2 and name != "thread":
        found.append(f"thread=True means executor='thread', and {given[1]} says otherwise: drop one of them")
    if is_async:
        found += [f"{each} is for sync functions, and this one is async: drop it" for each in given]
    elif folds and name not in ("", "inline", "thread"):
        found.append(f"{given[-1]} is for nodes and maps, and a reduce runs inline or in a thread: drop it")
    return found


def _abandoning_faults(policy: Policy, is_async: bool) -> list[str]:
    if type(policy.abandon_on_timeout) is not bool:
        return [f"abandon_on_timeout must be True or False, not {shown(policy.abandon_on_timeout)}"]
    if not policy.abandon_on_timeout:
        return []
    if is_async:
        return ["abandon_on_timeout=True is for threads, and an async function is cancelled at its limit: drop it"]
    found = []
    if policy.runs_in != "thread":
        found.append("abandon_on_timeout=True needs thread=True: only a call in a thread can be left to itself")
    if policy.timeout is None or policy.timeout == UNLIMITED:
        found.append("abandon_on_timeout=True needs a timeout, at which the call is left to itself")
    return found
