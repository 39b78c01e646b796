"""How much a request is let in with, where nothing else says it; and what stands for bounds where there are none."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from flow.ai.messages import Request
from flow.ai.models import Resolved


class Unbounded:
    """Stands for a reservation, and for a place within a rate, where there are none."""

    __slots__ = ()

    accounts: Mapping[str, str] = MappingProxyType({})

    async def __aenter__(self) -> Unbounded:
        return self

    async def __aexit__(self, *raised: object) -> None:
        return None

    def begin(self) -> None:
        """Nothing is reserved."""

    def settle(self, *taken: object) -> None:
        """Nothing is to be settled."""

    def refused(self, retry_after: float | None = None) -> None:
        """Nobody is to be told."""


UNBOUNDED: Final[Any] = Unbounded()


def most_of(model: Resolved) -> int | None:
    """Return the most output tokens of a request that says nothing of it; None if that is not known."""
    found: int | None = getattr(model.provider, "max_output_tokens", None) or model.max_output_tokens
    return found


def output_of(model: Resolved, request: Request, rate: Any, count: int) -> int:
    """Return the output tokens that a rate lets a request in with.

    Where nobody has said them, the most that the model writes; but that alone lets no request be refused.
    """
    if request.max_output_tokens is not None:
        return request.max_output_tokens
    minute = None if rate is None else rate.tokens_per_minute
    most = most_of(model) or 0
    return most if minute is None else min(most, max(0, minute - count))


__all__ = ["UNBOUNDED", "Unbounded", "most_of", "output_of"]
