"""Other models in the place of those that nodes were defined with, for tests: :func:`override`, :func:`no_requests`."""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from threading import Lock
from types import TracebackType
from typing import Any, Final

import msgspec

from flow.ai.errors import AIError
from flow.ai.models import Model, Resolved, resolve
from flow.ai.prices.catalogue import Listed
from flow.ai.prices.table import Entry
from flow.ai.provider import Provider
from flow.ai.providers.scripted import Scripted
from flow.errors import UsageError, a_kind


class _StandIn(Resolved):
    """A model that another provider answers for. What it costs, and what counts for it, is as it was."""

    __slots__ = ("_real",)

    def __init__(self, real: Resolved, provider: Provider) -> None:
        super().__init__(msgspec.structs.replace(real._given, provider=provider))
        self._real = real

    def _entry(self) -> Entry | None:
        return self._real._entry()

    def _listed(self) -> Listed | None:
        return self._real._listed()


class Override:
    """Has one model or provider answer for others, within a ``with``: see :func:`override`."""

    __slots__ = ("_of", "_with")

    def __init__(self, model: Any, of: frozenset[str] | None) -> None:
        self._with: Resolved | Provider = resolve(model) if isinstance(model, (str, Model)) else model
        self._of = of

    def answers_for(self, model: Resolved) -> bool:
        """Tell whether it stands in for this one."""
        return self._of is None or model.label in self._of

    def of(self, model: Resolved) -> Resolved:
        """Return what answers for this one."""
        return self._with if isinstance(self._with, Resolved) else _StandIn(model, self._with)

    def has(self, provider: Provider) -> bool:
        """Tell whether this object is what it has answer."""
        given = self._with._given.provider if isinstance(self._with, Resolved) else self._with
        return given is provider

    def __enter__(self) -> None:
        _overrides.set((self, *_overrides.get()))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        left = list(_overrides.get())  # no token: a fixture may end in another context than it has begun in
        if self in left:
            left.remove(self)
        _overrides.set(tuple(left))


_overrides: ContextVar[tuple[Override, ...]] = ContextVar("flow.ai.override", default=())
"""The innermost first."""


def override(model: str | Model | Provider, *, of: str | Model | Iterable[str | Model] | None = None) -> Override:
    """Have another model answer, in a ``with``: also for nodes that were defined long before, with a real one.

    >>> with ai.override(ai.Scripted("Paris")):
    ...     flow.run(dag, {"country": "France"})

    It holds for runs that are started within the block, and for all that they do: in maps, agents, tools and their
    threads. (It is a context variable: a thread or a service that runs already does not see it.) Of blocks within
    blocks the innermost counts. Caches, limits, budgets, rates and breakers act as ever; a cache takes the name of the
    provider that answers. ``fallback_models`` are models as well: each is stood in for.

    :param model: a provider, as :class:`flow.ai.Scripted`: it gets the name of the model that was to be asked, and
        prices and counts of tokens are that model's. Or another model as a whole: ``"provider:model"``, a name of
        :func:`flow.ai.models`, a :class:`flow.ai.Model`.
    :param of: the model that it stands in for, or several; None is all.
    :raises UnknownModel: for a name that there is not. :raises UsageError: for anything else.
    """
    if not isinstance(model, (str, Model)) and (
        isinstance(model, type) or not all(hasattr(model, name) for name in ("name", "complete", "stream"))
    ):
        raise UsageError(f"override takes a provider, as ai.Scripted(...), or a model, not {a_kind(model)}")
    if of is None:
        return Override(model, None)
    names = [of] if isinstance(of, (str, Model)) else list(of)
    return Override(model, frozenset([resolve(one).label for one in names]))


class RequestRefused(UsageError, AIError):
    """A real model was to be asked within :func:`no_requests`. No other attempt is made."""


_refusing: set[object] = set()
_REFUSING: Final = Lock()


class NoRequests:
    """Refuses requests to real providers, within a ``with``: see :func:`no_requests`."""

    __slots__ = ()

    def __enter__(self) -> None:
        with _REFUSING:
            _refusing.add(self)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with _REFUSING:
            _refusing.discard(self)


def no_requests() -> NoRequests:
    """Refuse every request to a real provider, in a ``with``, for the whole process: a net for tests.

    >>> @pytest.fixture(autouse=True)
    ... def no_requests():
    ...     with ai.no_requests():
    ...         yield

    A node that would make one fails with a :class:`flow.UsageError`, whatever its ``retry`` and ``fallback_models``.
    :class:`flow.ai.Scripted`, provider objects that :func:`override` has put in, and answers of a cache go through.
    """
    return NoRequests()


def stand_in(model: Resolved) -> Resolved:
    """Return what is asked in the place of a model: that itself, where nothing stands in for it."""
    for one in _overrides.get():
        if one.answers_for(model):
            return one.of(model)
    return model


def check_allowed(model: Resolved) -> None:
    """:raises RequestRefused: if this is a real model, and :func:`no_requests` holds."""
    if not _refusing:
        return
    provider = model._given.provider
    if isinstance(provider, Scripted):
        return
    if not isinstance(provider, str) and any(one.has(provider) for one in _overrides.get()):
        return
    do = "with ai.override(ai.Scripted(...)): has another provider answer"
    raise RequestRefused(f"{model.label} was to be asked, within ai.no_requests(): {do}")


__all__ = ["NoRequests", "Override", "RequestRefused", "check_allowed", "no_requests", "override", "stand_in"]
