"""One request of a node to a model: everything that happens around it, in one order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import msgspec
from msgspec.structs import replace

from flow.ai.bounds import UNBOUNDED, most_of, output_of
from flow.ai.budgets import hold
from flow.ai.cache import Cache, key_of
from flow.ai.errors import RateLimited, ReplyInvalid
from flow.ai.limits import UsageLimits, check
from flow.ai.messages import Kept, Message, Reply, Request
from flow.ai.models import Resolved, prepared
from flow.ai.prices import Rates
from flow.ai.rates import enter
from flow.ai.spending import Spending, is_providers_fault, report, token_faults, warn_unknown
from flow.ai.standins import check_allowed, stand_in
from flow.ai.tokens import counted
from flow.data.context import Context
from flow.errors import BreakerOpen, a_kind, described, note, shown
from flow.logs import log_broken
from flow.usage import KIND


class Session:
    """What one attempt of a node shares between its requests.

    :param earlier: the usage of requests that count to the same limits, besides those of this node.
    :param keeps: tells whether an answer may be kept by a cache.
    :ivar told: pieces of an answer have been emitted.
    """

    __slots__ = ("ctx", "earlier", "keeps", "told")

    def __init__(self, ctx: Context, keeps: Callable[[Reply], bool], earlier: Sequence[Mapping[str, Any]] = ()) -> None:
        self.ctx, self.keeps, self.earlier = ctx, keeps, earlier
        self.told = False


class Caller(msgspec.Struct, frozen=True):
    """Makes the requests of one node.

    For each: look into the cache; count its tokens; check the limits; wait for the rate; reserve in the budgets (what
    waits is not to keep others from their money); ask the breaker; ask the provider; settle it all by what it has
    taken; report that. A request that was answered from the cache, or that one of these refuses, has gone to no
    provider.

    :ivar models: the model, then those that are asked where one has failed by its provider's fault.
    :ivar rate: of the first model's provider; and so is ``breaker``.
    :ivar streams: whether answers come in pieces; None: where somebody may be listening, and they are texts.
    :ivar captures: requests and answers are reported as they are.
    """

    models: tuple[Resolved, ...]
    limits: UsageLimits | None = None
    budgets: tuple[Any, ...] = ()
    rate: Any = None
    breaker: Any = None
    cache: Cache | None = None
    streams: bool | None = None
    captures: bool = False

    async def ask(self, session: Session, request: Request) -> Reply:
        """Return the answer of the first model that gives one.

        Each model is asked once: another attempt of the node begins with the first one again. If all have failed, the
        error is the first one after which another attempt makes sense, or else the last one.

        :param request: its ``model`` is put in here.
        """
        failed: list[Exception] = []
        models = [stand_in(model) for model in self.models]
        for at, model in enumerate(models, 1):
            is_first = self.models[at - 1].provider_name == self.models[0].provider_name
            asked = replace(request, model=model.name, messages=_of_provider(request.messages, model.provider_name))
            try:
                return await self._kept(session, model, asked, is_first)
            except Exception as error:
                failed.append(error)
                if at == len(self.models) or not self._passes(error):
                    break
        told = self._told(models, failed)
        try:
            raise told
        finally:
            del failed, told  # the traceback holds this frame: no cycle

    def _told(self, models: Sequence[Resolved], failed: list[Exception]) -> Exception:
        """Return the error that tells of all models that have failed."""
        told = failed[-1]
        if self._passes(told):
            told = next((error for error in failed if getattr(error, "retryable", True)), told)
        for model, error in zip(models, failed, strict=False):
            if error is not told:
                note(told, f"{model.label} has failed, too: {described(error)}")
        return told

    def _passes(self, error: Exception) -> bool:
        """Tell whether the next model may answer."""
        return is_providers_fault(error) or isinstance(error, BreakerOpen)

    async def _kept(self, session: Session, model: Resolved, request: Request, is_first: bool) -> Reply:
        """Return an answer of the cache, if there is one.

        :param is_first: the model is one of the provider that rate and breaker are for.
        """
        if self.cache is None:
            return await self._made(session, model, request, is_first)
        ctx = session.ctx
        key = key_of(model.provider, request)
        reply, was_there = await self.cache.reply(
            key, lambda: self._made(session, model, request, is_first), session.keeps, ctx.released
        )
        if was_there:
            report(ctx, model, requests=0, cached=True)
            if self._streams(ctx, request):
                _begin(session)
                _tell(session, reply.text)
            self._capture(ctx, model, request, reply)
        return reply

    async def _made(self, session: Session, model: Resolved, request: Request, is_first: bool) -> Reply:
        """Ask a provider, within what limits it."""
        check_allowed(model)
        ctx = session.ctx
        counts = self.limits is not None or bool(self.budgets) or self.rate is not None
        await prepared(model, counting=counts)
        rates = model.rates_for(request.options)
        count = (await counted(model.counter, request))[0] if counts else None
        most: Decimal | None = None
        if self.limits is not None or self.budgets:
            request, most = self._limited(session, model, request, rates, count or 0)
        rate, breaker = (self.rate, self.breaker) if is_first else (None, None)
        holding = hold(ctx, self.budgets, most) if self.budgets else UNBOUNDED
        entering: Any = UNBOUNDED
        if rate is not None:
            entering = enter(ctx, rate, (count or 0) + output_of(model, request, rate, count or 0))
        async with entering as entered, holding as held:
            await _admitted(ctx, breaker)
            spending = Spending(ctx, model, request, rates, count)
            held.begin()
            try:
                reply = await self._answered(session, spending, model, request)
                taken, cost = spending.answered(reply)
            except BaseException as error:
                taken, cost = spending.broken(error)
                held.settle(cost if spending.was_free(error) else most)
                entered.settle(taken.input + taken.output, _headroom(model, rate))
                if isinstance(error, RateLimited):
                    entered.refused(error.retry_after)
                _settled(ctx, breaker, error)
                spending.report(taken, cost, held.accounts, most, error)
                raise
            if cost is None and self.budgets:
                warn_unknown(model, most)
            held.settle(cost)
            entered.settle(taken.input + taken.output, _headroom(model, rate))
            _settled(ctx, breaker, None)
            spending.report(taken, cost, held.accounts, most)
        self._capture(ctx, model, request, reply)
        return reply

    def _limited(
        self, session: Session, model: Resolved, request: Request, rates: Rates | None, count: int
    ) -> tuple[Request, Decimal | None]:
        """Return the request with the most output tokens that its limits leave it, and what it may cost.

        :raises LimitExceeded: if they leave none.
        """
        output = request.max_output_tokens
        said = output is not None
        most = most_of(model)

        def within(allowed: int | None) -> int | None:
            """What is left of a limit may be more than the model writes: only what the node says may be."""
            return allowed if said or allowed is None or most is None else min(allowed, most)

        def cost(allowed: int | None) -> Decimal | None:
            return None if rates is None else rates.most(count, most if allowed is None else within(allowed))

        if self.limits is not None:
            reported = [*session.earlier, *session.ctx.reported(KIND)]
            output = within(check(self.limits, reported, count, output, cost, f"node {session.ctx.node!r}"))
            request = replace(request, max_output_tokens=output)
        return request, cost(output) if self.budgets else None

    async def _answered(self, session: Session, spending: Spending, model: Resolved, request: Request) -> Reply:
        ctx, provider = session.ctx, model.provider
        if not self._streams(ctx, request):
            return _whole(await provider.complete(request), model)
        reply: Any = None
        _begin(session)
        async with _closing(provider.stream(request)) as deltas:
            async for delta in deltas:
                spending.came(delta)
                if delta.text:
                    _tell(session, delta.text)
                if delta.reply is not None:
                    reply = delta.reply
        return _whole(reply, model)

    def _streams(self, ctx: Context, request: Request) -> bool:
        if self.streams is not None:
            return self.streams
        config: Any = getattr(ctx._scope.shared, "config", None)
        return request.output is None and bool(getattr(config, "observers", ()))

    def _capture(self, ctx: Context, model: Resolved, request: Request, reply: Reply) -> None:
        if self.captures:
            ctx.report(
                "exchange",
                {
                    "provider": model.provider.name,
                    "model": model.name,
                    "messages": msgspec.to_builtins([replace(one, kept=None) for one in request.messages]),
                    "reply": msgspec.to_builtins(replace(reply, kept=None)),
                },
            )


def _whole(reply: Any, model: Resolved) -> Reply:
    """:raises ReplyInvalid: if that is no answer: providers may be the user's own."""
    if reply is None:
        ended = "its stream has ended without its whole answer"
    elif not isinstance(reply, Reply):
        ended = f"it gave {a_kind(reply)} for an answer"
    elif reply.tokens is not None and (found := token_faults(reply.tokens)):
        ended = found
    elif reply.kept is None:
        return reply
    elif not isinstance(reply.kept, Kept) or not isinstance(reply.kept.value, str):
        ended = f"kept of its answer is an ai.Kept of a text, not {shown(reply.kept)}"
    else:
        return replace(reply, kept=replace(reply.kept, provider=model.provider_name))
    raise ReplyInvalid(f"{model.label}: {ended}", provider=model.provider_name, model=model.name)


def _of_provider(messages: tuple[Message, ...], provider: str) -> tuple[Message, ...]:
    """Return the messages without what other providers want back: its form is theirs, and so are its signatures."""
    if all(one.kept is None for one in messages):
        return messages
    return tuple(
        one if one.kept is None or one.kept.provider == provider else replace(one, kept=None) for one in messages
    )


def _headroom(model: Resolved, rate: Any) -> Mapping[str, float]:
    """Return what the provider says is left, for the rate limiter, if there is one: reading that takes time."""
    told: Any = None if rate is None else getattr(model.provider, "headroom", None)
    try:
        return {} if told is None else told()
    except Exception:  # of a provider of the user's own: the answer is there all the same
        log_broken("what provider %r says is left cannot be read", model.provider_name)
        return {}


def _begin(session: Session) -> None:
    """Let the text that is emitted begin anew: an answer before, in the same attempt, was not taken."""
    if session.told:
        session.ctx.emit("text", "")
        session.told = False


def _tell(session: Session, text: str) -> None:
    session.ctx.emit("text", text, append=True)
    session.told = True


async def _admitted(ctx: Context, breaker: Any) -> None:
    """Ask a breaker, and wait for it without a slot."""
    made: Any = None if breaker is None else breaker(ctx)
    if hasattr(made, "__await__"):
        async with ctx.released():
            await made


def _settled(ctx: Context, breaker: Any, error: BaseException | None) -> None:
    if breaker is not None:
        breaker.settled(ctx, error)


@asynccontextmanager
async def _closing(pieces: AsyncIterator[Any]) -> AsyncIterator[AsyncIterator[Any]]:
    """Close an async generator that is left halfway."""
    try:
        yield pieces
    finally:
        close = getattr(pieces, "aclose", None)
        if close is not None:
            await close()


__all__ = ["Caller", "Session"]
