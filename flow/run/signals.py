"""The signals of a plan and of the plans that its nodes run, by address."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from flow.config import Config
from flow.errors import UsageError, shown
from flow.plan.plan import Plan
from flow.plan.waits import Signal, plan_within
from flow.policy.looping import Looped
from flow.signature import Nested

_SHOWN = 5


class Step(msgspec.Struct, frozen=True):
    """One node on the way to a signal that runs the plan with the rest of the way.

    :ivar node: its index in its plan. :ivar counted: it runs that plan several times, as a map and a loop do.
    :ivar rounds: of a loop, the most; else None.
    """

    node: int
    name: str
    counted: bool
    rounds: int | None = None


class Address(msgspec.Struct, frozen=True):
    """A node that waits, and the way to it.

    :ivar name: its name; ``node`` is its index in its plan.
    :ivar steps: the nodes that lead there from the outermost run.
    :ivar is_bounded: it or a node that leads there has a time limit.
    """

    wait: Any
    name: str
    node: int
    steps: tuple[Step, ...]
    is_bounded: bool

    @property
    def text(self) -> str:
        """It as users write it, with ``N`` for each number: ``pages#N.ask``."""
        return ".".join([*[step.name + ("#N" if step.counted else "") for step in self.steps], self.name])

    @property
    def is_numbered(self) -> bool:
        """True if there are numbers in it."""
        return any(step.counted for step in self.steps)

    def pattern(self) -> re.Pattern[str]:
        """Return what matches it, with a group for each number."""
        steps = [re.escape(step.name) + (r"#(0|[1-9]\d{0,8})" if step.counted else "") for step in self.steps]
        return re.compile(r"\.".join([*steps, re.escape(self.name)]))

    def has(self, numbers: Iterable[str]) -> bool:
        """Tell whether there may be rounds of these numbers: those of a loop go from 1 to the most."""
        counted = [step.rounds for step in self.steps if step.counted]
        return all(most is None or 1 <= int(number) <= most for most, number in zip(counted, numbers, strict=True))

    def prefixes(self, numbers: Iterable[str]) -> list[str]:
        """Return the address of each step: ``pages#7``, ``pages#7.inner``."""
        left, so_far = iter(numbers), list[str]()
        for step in self.steps:
            place = step.name + (f"#{next(left)}" if step.counted else "")
            so_far.append(f"{so_far[-1]}.{place}" if so_far else place)
        return so_far


class Signals:
    """All waiting nodes of one plan: made once per plan, O(nodes that wait and nodes that lead to them).

    :ivar waits: all of them. :ivar signals: by text, those that something is sent to.
    :ivar unbounded: the texts of signals that may wait for ever.
    """

    __slots__ = ("_numbered", "signals", "unbounded", "waits")

    def __init__(self, plan: Plan) -> None:
        self.waits = list(_waits(plan))
        signals = [found for found in self.waits if isinstance(found.wait, Signal)]
        self.signals = {found.text: found for found in signals}
        self.unbounded = [found.text for found in signals if not found.is_bounded]
        self._numbered = [(found.pattern(), found) for found in signals if found.is_numbered]
        for text in self._twice([found.text for found in signals]):
            raise UsageError(f"dag {plan.name!r} has several signals of the address {shown(text)}: rename a node")

    def _twice(self, texts: list[str]) -> Iterator[str]:
        yield from [text for text, count in Counter(texts).items() if count > 1]
        for text in texts:
            if "#" in text and any(pattern.fullmatch(text) for pattern, _ in self._numbered):
                yield text

    def find(self, address: str) -> tuple[Address, list[str]] | None:
        """Return the signal of an address, and the address of each step on the way; None if there is none."""
        found = self.signals.get(address)
        if found is not None and not found.is_numbered:
            return found, found.prefixes(())
        for pattern, numbered in self._numbered:
            match = pattern.fullmatch(address)
            if match is not None and numbered.has(match.groups()):
                return numbered, numbered.prefixes(match.groups())
        return None


def signals_of(plan: Plan) -> Signals:
    """Return the signals of a plan. O(1) but for the first time."""
    kept = plan._kept
    if kept.signals is None:
        kept.signals = Signals(plan)
    found: Signals = kept.signals
    return found


def check_waits(plan: Plan, config: Config, sends: bool) -> None:
    """Refuse a run whose nodes could not wait, or would wait for ever.

    :param sends: something can be sent to it.
    :raises UsageError: naming the nodes.
    """
    signals = signals_of(plan)
    if config.mode == "inline":
        names = _some([found.text for found in signals.waits])
        raise _final(
            f"dag {plan.name!r} cannot run under mode='inline', where nothing else goes on while a node waits: {names}"
        )
    if not sends and config.timeout is None and signals.unbounded:
        raise _final(
            f"dag {plan.name!r} would wait for ever, as nothing can be sent to this run: {_some(signals.unbounded)}. "
            "Run it by 'async with flow.start(...) as run', or give the signal a timeout=..."
        )


def _final(text: str) -> UsageError:
    error = UsageError(text)
    error.final = True  # the same if a node that starts the run is tried again
    return error


def _waits(plan: Plan) -> Iterator[Address]:
    """Yield every node that waits, with the way to it."""
    todo: list[tuple[Plan, tuple[Step, ...], bool]] = [(plan, (), False)]
    while todo:
        at, steps, bounded = todo.pop()
        nodes = at._nodes
        for i, wait in {} if nodes.routes is None else nodes.routes.waits.items():
            limited = bounded or not isinstance(wait, Signal) or wait.timeout is not None
            yield Address(wait, nodes.names[i], i, steps, limited)
        for i in sorted(nodes.holders, reverse=True):
            fn, binder = nodes.fns[i], nodes.binders[i]
            limit = binder.timeout or getattr(binder.fn, "timeout", None)  # of a map: its items'
            most = fn.most if isinstance(fn, Looped) else None
            step = Step(i, nodes.names[i], not isinstance(fn, Nested), most)
            todo.append((plan_within(fn), (*steps, step), bounded or limit is not None))


def place_of(path: tuple[str, ...]) -> str:
    """Return the address of a run, given its path through the runs around it: ``pages[7]`` is ``pages#7``."""
    return ".".join([re.sub(r"\[(\d+)\]$", r"#\1", place) for place in path])


def _some(names: list[str]) -> str:
    shown_ones = ", ".join(map(repr, names[:_SHOWN]))
    return f"{shown_ones} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown_ones


__all__ = ["Address", "Signals", "Step", "check_waits", "place_of", "signals_of"]
