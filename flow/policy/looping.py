"""What stands where a node's function stands and runs a Dag again and again: a loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from flow.errors import shown
from flow.reprs import counted
from flow.signature import Around, Composite, Nested, Shape, location_of, wrapped


class Until(msgspec.Struct, frozen=True):
    """The function that ends a loop: called after each round with the values at ``slots`` of the round's run.

    :ivar slots: as in a plan: a node's output, or (below 0) a run input; None where the default is to be taken.
    :ivar names: of its parameters, one per slot.
    :ivar count: how many parameters go by position, the one for the Context included; the others go by keyword.
    :ivar defaults: of those parameters that have one, by place in ``slots``: 1-tuples.
    :ivar context: the parameter that gets the Context, empty if none does; ``context_at`` is its place.
    :ivar plain: values by position and nothing else.
    """

    fn: Callable[..., Any]
    slots: tuple[int | None, ...]
    names: tuple[str, ...]
    count: int
    defaults: Mapping[int, tuple[Any, ...]]
    context: str
    context_at: int
    plain: bool


class Looped(Composite):
    """A Dag that is run until a condition holds (:meth:`flow.Dag.loop`). Its parameters are the Dag's run inputs.

    :ivar fn: the body as the user gave it: a function, or a :class:`flow.signature.Nested`.
    :ivar body: the Dag that is run in each round; a function is the only node of one. None if there is a fault.
    :ivar until: says after each round whether it was the last one. None as ``body``.
    :ivar carried: run inputs of the body that take an output of the round before, and that output's slot.
    :ivar output: the slot of the one node whose output is a round's; None if all outputs are.
    :ivar returns: at ``most`` rounds the last one is taken, though ``until`` has not said so.
    :ivar history: the outputs of all rounds are given.
    :ivar found: what is wrong, one sentence each.
    """

    __slots__ = ("around", "body", "carried", "fn", "found", "history", "most", "output", "returns", "until")

    def __init__(self, fn: Any, body: Nested | None, most: int, returns: bool, history: bool) -> None:
        self.fn = fn
        self.body = body
        self.around: Around | None = None
        self.most = most
        self.returns = returns
        self.history = history
        self.until: Until | None = None
        self.carried: tuple[tuple[str, int], ...] = ()
        self.output: int | None = None
        self.found: tuple[str, ...] = ()

    @property
    def is_async(self) -> bool:
        return self.body is not None and self.body.is_async

    @property
    def turns(self) -> bool:
        return True

    @property
    def location(self) -> str:
        return location_of(self.fn)

    def shape(self) -> Shape:
        """The run inputs of the body as parameters."""
        if self.around is not None:
            return wrapped(self.around, self.is_async)
        return Shape((), True, True, False) if self.body is None else self.body.shape()

    def faults(self) -> list[str]:
        """Say what is wrong with it, one sentence each; empty if nothing is."""
        return list(self.found)

    def said(self) -> list[str]:
        """Return what a picture says of it: the most rounds, and the nodes of a Dag."""
        nodes = [] if self.body is None or self.output is not None else [counted(len(self.body.plan), "node")]
        return [f"up to {counted(self.most, 'round')}", *nodes]

    def __repr__(self) -> str:
        return f"<loop of {shown(self.fn)}, at most {self.most} rounds>"


__all__ = ["Looped", "Until"]
