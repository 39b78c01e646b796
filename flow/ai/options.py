"""The keywords that :func:`flow.ai.llm` and :func:`flow.ai.agent` share, for type checkers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypedDict

from flow.ai.budgets import Budget
from flow.ai.cache import Cache
from flow.ai.limits import UsageLimits
from flow.ai.messages import Message
from flow.ai.models import Model
from flow.ai.rates import RateLimiter
from flow.config import Retry, Timeout
from flow.graph.options import Condition, Ref
from flow.policy.breaker import Breaker
from flow.policy.middleware import Middleware


class PlacedOptions(TypedDict, total=False):
    """Options of a node, as of :meth:`flow.Dag.add`; but those that say where a function runs."""

    after: Ref | Iterable[Ref] | Mapping[Any, Condition]
    needs: Ref | Sequence[Ref] | Mapping[str, Ref] | None
    replace: bool
    timeout: float | Timeout | None
    continue_on_error: bool
    priority: int
    middleware: Sequence[Middleware]
    cost: float | None
    fallback: Any
    admission: Any
    join: Literal["all", "some", "none_failed", "done", "failed"] | int
    when: Callable[..., bool] | None
    cleanup: bool
    store: bool | Literal["pickle"]


class AskOptions(PlacedOptions, total=False):
    """How a model is asked; see :func:`flow.ai.llm`."""

    prompt: str | Callable[..., Any] | Sequence[Any] | None
    system: str | Callable[..., Any] | None
    messages: Sequence[Message | Mapping[str, Any]] | Callable[..., Any] | None
    limits: UsageLimits | None
    budget: Budget | Sequence[Budget] | None
    rate: RateLimiter | None
    breaker: Breaker | None
    retry: Retry | None
    fallback_models: Sequence[str | Model]
    cache: Cache | None
    temperature: float | None
    max_output_tokens: int | None
    stop: Sequence[str]
    options: Mapping[str, Any] | None
    stream: bool | None
    repair: int
    capture: bool


__all__ = ["AskOptions", "PlacedOptions"]
