"""Tell what calling a function gives: something to await, a generator, or neither."""

from __future__ import annotations

from functools import partial
from types import AsyncGeneratorType, CodeType, CoroutineType, FunctionType, MethodType
from typing import Any, Final

from flow.errors import UsageError, shown

COROUTINE: Final = 0x80 | 0x100  # inspect.CO_COROUTINE | CO_ITERABLE_COROUTINE
GENERATOR: Final = 0x20
ASYNC_GENERATOR: Final = 0x200
TELLING: Final = frozenset({
    "__wrapped__", "__signature__", "__partialmethod__", "_is_coroutine_marker", "_is_coroutine",
})  # fmt: skip
"""Attributes by which a function takes or returns something else than its code says."""

NEVER_AWAITED: Final = frozenset({CoroutineType, AsyncGeneratorType})
"""Return types of an ``async def``: without an await, its body never runs."""

UNAWAITED: Final = "is async, and nothing awaits what it returns: give a plain function"
"""The fault of an async callable (:func:`is_unawaited`) in a place that only calls it."""


def discard(made: Any) -> None:
    """Close a coroutine or generator that will not be resumed: else Python warns that it was never awaited."""
    close = getattr(made, "close", None)  # (an async generator that has not begun needs none)
    if close is not None:
        close()


def unawaited(where: str, made: Any) -> UsageError:
    """Return the error for a function that was called and gave something to await, which is closed."""
    discard(made)
    return UsageError(f"{where}: its function {UNAWAITED}: it returned {shown(made)}")


def is_maker(given: Any, module: str) -> bool:
    """Tell whether it is a public function or class of ``module``, of ours, which makes what it was given for."""
    if type(given) not in (type, FunctionType) or "." in given.__qualname__:
        return False
    return f"{given.__module__}.".startswith(f"{module}.")


def is_unawaited(fn: Any) -> bool:
    """Tell whether ``fn`` is of no use where it is only called: an ``async def``, or what stands for one."""
    return bool(_flags(fn) & (COROUTINE | ASYNC_GENERATOR)) or may_return_awaitable(fn)


def is_coroutine_function(fn: Any) -> bool:
    """Tell whether ``fn`` is an ``async def``, also as a partial, a method, or by its ``__call__``."""
    return bool(_flags(fn) & COROUTINE)


def is_generator_function(fn: Any) -> bool:
    """Tell whether calling ``fn`` gives a generator, sync or async, and runs nothing of it."""
    return bool(_flags(fn) & (GENERATOR | ASYNC_GENERATOR)) and not _flags(fn) & COROUTINE


def is_async_generator(fn: Any) -> bool:
    """Tell whether calling ``fn`` gives an async generator."""
    return bool(_flags(fn) & ASYNC_GENERATOR)


def may_return_awaitable(fn: Any) -> bool:
    """Tell whether ``fn`` is no ``async def`` but stands for one.

    So are plain wrappers around one (``functools.wraps``), callables that
    ``inspect.markcoroutinefunction`` marked, and ``AsyncMock``. What they return is awaited if it can be.
    """
    if is_coroutine_function(fn):
        return False
    fn = _behind(fn)
    if type(fn) is FunctionType and TELLING.isdisjoint(fn.__dict__):
        return False
    if type(fn) is FunctionType and "_is_coroutine" in fn.__dict__:  # 3.11: an autospecced async function
        return True
    inner: Any = fn
    for _ in range(100):  # a __wrapped__ may lead back to itself
        try:
            inner = inner.__wrapped__
        except Exception:
            break
        if is_coroutine_function(inner):
            return True
    try:
        if getattr(fn, "_is_coroutine_marker", None) is None and getattr(fn, "__code__", None) is None:
            return False
    except Exception:  # an object whose attributes raise
        return False
    from inspect import iscoroutinefunction

    return iscoroutinefunction(fn)


def _behind(fn: Any) -> Any:
    """The callable behind partials and a method. By type: an object may raise when asked for its class."""
    while issubclass(type(fn), partial):
        fn = fn.func
    return fn.__func__ if type(fn) is MethodType else fn


def _flags(fn: Any) -> int:
    """The flags of the code that calling ``fn`` begins with; 0 if that is not written in Python."""
    fn = _behind(fn)
    if type(fn) is not FunctionType:
        fn = getattr(type(fn), "__call__", None)  # noqa: B004  the function behind it, not a test
    code = getattr(fn, "__code__", None)
    return code.co_flags if isinstance(code, CodeType) else 0
