"""Four everyday workflows: real functions on real data, and services that are stood in for by stated waits.

Each module has ``WAITS``, ``build(pause)``, ``INPUTS`` and ``WANTED``. A node's ``cost`` is what its waits add up
to, so the plan's critical path is the least time a run can take.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Wait:
    """How long a service takes to answer.

    :ivar seconds: of one call.
    :ivar in_a_row: calls of the node that cannot go on at once: retries, or items of a map over its concurrency.
    :ivar between: seconds from one of these to the next: the delay of a retry.
    """

    seconds: float
    in_a_row: int = 1
    between: float = 0.0

    @property
    def total(self) -> float:
        """Seconds from the node's start to its end."""
        return self.seconds * self.in_a_row + self.between * (self.in_a_row - 1)


def stated(**milliseconds: float) -> dict[str, Wait]:
    """Waits of single calls, by name."""
    return {name: Wait(one / 1_000) for name, one in milliseconds.items()}


class Pause:
    """What the functions call where a service would be: ``await pause("charge")``.

    :param waits: by name.
    :param scale: factor on all of them; with 0 nothing is waited for and nothing suspends.
    """

    def __init__(self, waits: Mapping[str, Wait], scale: float = 1.0) -> None:
        self.waits = waits
        self.scale = scale

    async def __call__(self, name: str) -> None:
        """Wait as long as is stated for ``name``."""
        seconds = self.waits[name].seconds * self.scale
        if seconds:
            await asyncio.sleep(seconds)

    def cost(self, name: str) -> float:
        """Seconds that the node with this wait takes at least."""
        return self.waits[name].total * self.scale

    def between(self, name: str) -> float:
        """Seconds from one call to the next."""
        return self.waits[name].between * self.scale
