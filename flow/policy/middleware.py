"""Middleware: ``(next, ctx) -> result`` callables around a node, sync or async.

``next()`` calls the rest of the chain. Around an async node it returns an
awaitable: an ``async def`` middleware awaits it, a plain one may hand it on. An ``async def``
middleware makes the node it wraps async. The first in a list is the outermost; a Dag's come
outside a node's own. A node without middleware is called directly.

With the package: :func:`logged`, :func:`timed`, :func:`validated`, each for sync and async nodes.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from flow.awaits import NEVER_AWAITED, UNAWAITED, is_unawaited, unawaited
from flow.data.context import Context
from flow.errors import OutputInvalid, UsageError, shown
from flow.exports import only
from flow.logs import fields, reason_of
from flow.signature import is_async_callable
from flow.tracebacks import ends_at_user

if TYPE_CHECKING:
    import logging

Next = Callable[[], Any]
Middleware = Callable[[Next, Context], Any]


def is_awaitable(value: object) -> bool:
    """Tell whether ``value`` can be awaited."""
    return hasattr(value, "__await__")


def compose(
    call: Callable[..., Any], is_async: bool, layers: tuple[Middleware, ...], context: Callable[[], Context]
) -> Callable[..., Any]:
    """Wrap ``call`` in ``layers``. The result is async if ``call`` or any layer is."""
    inside_async = is_async
    steps: list[tuple[Middleware, bool]] = []  # innermost first; True: its next() must be awaitable
    for layer in reversed(layers):
        layer_async = is_async_callable(layer)
        steps.append((layer, layer_async and not inside_async))
        inside_async = inside_async or layer_async

    def chain(*values: Any) -> Any:
        ctx = context()
        step: Next = partial(call, *values)
        for layer, lift in steps:
            step = partial(layer, partial(_awaited, step) if lift else step, ctx)
        return step()

    if not inside_async or is_async_callable(layers[0]):
        return chain
    return settled(chain)  # a plain outermost layer may return the awaitable, or a value of its own


def settled(call: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """Make ``call``, which may return an awaitable or not, an async callable."""

    async def awaited(*values: Any) -> Any:
        return await _awaited(partial(call, *values))

    return awaited


async def _awaited(step: Next) -> Any:
    result = step()
    return await result if is_awaitable(result) else result


def around(
    next: Next, done: Callable[[Any], Any], failed: Callable[[BaseException], object] = lambda _: None
) -> Any:
    """Call ``next``, sync or async, and pass its result through ``done`` or its error to ``failed``.

    The three middleware below use it. Use it to write middleware for both kinds of node.

    :raises UsageError: if ``done`` or ``failed`` is async: nothing would await it.
    """
    try:
        result = next()
    except BaseException as error:
        _told(failed, error)
        raise
    if is_awaitable(result):
        return _around_awaitable(result, done, failed)
    return _told(done, result)


def _told(fn: Callable[[Any], Any], value: Any) -> Any:
    """Return ``fn(value)``. :raises UsageError: if that is an awaitable, which nothing would await."""
    result = fn(value)
    if result.__class__ in NEVER_AWAITED and result is not value:
        raise unawaited("around(next, done, failed)", result)
    return result


async def _around_awaitable(
    result: Awaitable[Any], done: Callable[[Any], Any], failed: Callable[[BaseException], object]
) -> Any:
    try:
        value = await result
    except BaseException as error:
        _told(failed, error)
        raise
    return _told(done, value)


@ends_at_user
def timed(record: Callable[[str, float], object]) -> Middleware:
    """Middleware that calls ``record(node, seconds)`` after each attempt, failed ones included.

    :raises UsageError: if ``record`` is no function, or async.
    """
    if not callable(record):
        raise UsageError(f"timed(record): record must be a function of node and seconds, not {shown(record)}")
    if is_unawaited(record):
        raise UsageError(f"timed(record): record {UNAWAITED}, not {shown(record)}")

    def timing(next: Next, ctx: Context) -> Any:
        started = time.perf_counter()

        def stop(value: Any) -> Any:
            record(ctx.node, time.perf_counter() - started)
            return value

        return around(next, stop, stop)

    return timing


def logged(logger: logging.Logger | str = "flow", level: int = 20) -> Middleware:
    """Middleware that logs each attempt's start, end with seconds, and error: of single nodes.

    All events of a run are logged by :func:`flow.observe.logging`, with the same attributes of the records.

    :param level: ``logging.INFO`` by default.
    """
    import logging

    log = logging.getLogger(logger) if isinstance(logger, str) else logger

    def logging_(next: Next, ctx: Context) -> Any:
        extra = fields(None, ctx.run_id, ctx.node, None, ctx.attempt)
        log.log(level, "run %s: node %s started (attempt %d)", ctx.run_id, ctx.node, ctx.attempt, extra=extra)
        started = time.perf_counter()

        def done(value: Any) -> Any:
            seconds = time.perf_counter() - started
            log.log(level, "run %s: node %s finished in %.6f s", ctx.run_id, ctx.node, seconds, extra=extra)
            return value

        def failed(error: BaseException) -> None:
            masks = ctx._masks()
            if masks is not None:
                masks.conceal(error)
            log.log(level, "run %s: node %s raised %s", ctx.run_id, ctx.node, reason_of(error), extra=extra)

        return around(next, done, failed)

    return logging_


def validated(schema: Any) -> Middleware:
    """Middleware that checks outputs against a type, or against one type per node name.

    ``validated(list[int])`` on a node, ``validated({"users": list[int]})`` on a Dag. Types are
    those of ``msgspec.convert`` in strict mode; any other class is an ``isinstance`` check. The
    output itself is passed on unchanged.

    :raises OutputInvalid: from the node, which then fails; the message says where it does not fit.
    """

    def validating(next: Next, ctx: Context) -> Any:
        if not isinstance(schema, Mapping):
            expected = schema
        elif ctx.node in schema:
            expected = schema[ctx.node]
        else:
            return next()

        def done(value: Any) -> Any:
            if type(expected) is type and isinstance(value, expected):
                return value
            try:
                msgspec.convert(value, expected, dec_hook=_by_isinstance)
            except msgspec.ValidationError as error:
                show = ctx._show()
                why = str(error) if show is shown else _without_values(error)
                raise OutputInvalid(f"node {ctx.node!r} returned {show(value)}: {why}") from None
            return value

        return around(next, done)

    return validating


def _without_values(error: msgspec.ValidationError) -> str:
    """What does not fit, and where, if that says nothing of the value but types and sizes."""
    text, at, place = str(error).rpartition(" - at ")
    plain = error.__cause__ is None and (text or place).startswith(("Expected ", "Object missing required field"))
    return str(error) if plain else f"Invalid value{at}{place if at else ''}"


def _by_isinstance(expected: type, value: Any) -> Any:
    if isinstance(value, expected):
        return value
    raise msgspec.ValidationError(f"Expected `{expected.__name__}`, got `{type(value).__name__}`")


__all__ = ["Middleware", "Next", "logged", "timed", "validated"]
__dir__ = only(__all__)
