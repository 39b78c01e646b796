"""Read a callable's parameters once, cheaply.

``inspect.signature`` is slow; a plain ``def`` is read from its code object instead, and methods
and partials from the function they hold.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from types import CodeType, FunctionType, GenericAlias, MethodType, UnionType
from typing import Any, Final, Union

import msgspec

from flow.data.context import Context
from flow.errors import Show, shown

COROUTINE: Final = 0x80 | 0x100  # inspect.CO_COROUTINE | CO_ITERABLE_COROUTINE
_ASYNC_GENERATOR: Final = 0x200
VARARGS: Final = 0x04
_VARKEYWORDS: Final = 0x08
_UNSET: Final = object()
PLAIN: Final = frozenset({type, type(None), GenericAlias})
"""Types of annotations that never mean our Context, which most are: ``int``, ``None``, ``list[int]``."""
TELLING: Final = frozenset({"__wrapped__", "__signature__", "__partialmethod__", "_is_coroutine_marker"})
"""Attributes by which a function takes or returns something else than its code says."""


class Parameter(msgspec.Struct, frozen=True):
    """One parameter of a node's function. ``default`` holds a 1-tuple, or nothing if it has none."""

    name: str
    default: tuple[Any, ...] = ()
    keyword_only: bool = False
    is_context: bool = False


class Shape(msgspec.Struct, frozen=True):
    """What the compiler must know of a callable to wire it.

    :ivar parameters: variadic ones excluded.
    :ivar exact: how many positional needs leave nothing to infer; -1 if no number does.
    :ivar takes_any: ``*args`` alone: any number of positional needs leaves nothing to infer.
    :ivar inferred: what to look up when a node gives no needs; None if that takes more than
        passing each value by position.
    :ivar lifted: it is no ``async def`` itself but may return an awaitable (see :func:`may_return_awaitable`).
    """

    parameters: tuple[Parameter, ...]
    varargs: bool
    varkeywords: bool
    is_async: bool
    exact: int = -1
    takes_any: bool = False
    inferred: tuple[str, ...] | None = None
    lifted: bool = False

    @property
    def defaults(self) -> tuple[Any, ...]:
        """The values of those parameters that have one: of the last ones, if ``inferred``."""
        return tuple([value for p in self.parameters for value in p.default])

    @property
    def positional(self) -> tuple[Parameter, ...]:
        """The parameters that values can be passed to by position, Context excluded."""
        return tuple([p for p in self.parameters if not (p.keyword_only or p.is_context)])


class Composite:
    """What stands where a node's function stands and is not to be called: binding the node to a run replaces it."""

    __slots__ = ()

    @property
    def is_async(self) -> bool:
        """True if what replaces it returns an awaitable."""
        raise NotImplementedError

    @property
    def location(self) -> str:
        """Where it was defined, for messages."""
        return repr(self)

    def shape(self) -> Shape:
        """Its parameters. :raises TypeError: if it has none that make sense."""
        raise NotImplementedError

    def __call__(self, *values: Any) -> Any:
        """Only there so that it passes for a callable."""
        raise AssertionError(f"{self!r} is run by its driver")


class Nested(Composite):
    """A compiled Dag standing where a node's function stands; its parameters are the Dag's run inputs."""

    __slots__ = ("inputs", "plan")

    UNSET: Final = _UNSET
    """Passed for an optional input that the outer run does not provide."""

    def __init__(self, plan: Any) -> None:
        self.plan = plan
        self.inputs: tuple[str, ...] = tuple(plan.inputs)

    @classmethod
    def of(cls, dag: Any) -> Nested:
        """Compile ``dag`` as it is now. :raises DefinitionError: if it cannot be."""
        return cls(dag.compile())

    @property
    def is_async(self) -> bool:
        return not self.plan.all_sync

    def __repr__(self) -> str:
        return f"<{self.plan!r} as one node>"

    def shape(self) -> Shape:
        """The run inputs as parameters."""
        required = set(self.plan.required_inputs)
        parameters = tuple(Parameter(name, () if name in required else (_UNSET,)) for name in self.inputs)
        # Neither exact nor inferred: always wired with care, which gives it the Binder it needs.
        return Shape(parameters, False, False, self.is_async)


def shape_of(fn: Callable[..., Any]) -> Shape:
    """Read ``fn``'s parameters. A callable without a readable signature takes ``*args`` only.

    :raises TypeError: for a partial that binds more than its function takes.
    """
    if type(fn) is FunctionType:
        if not fn.__dict__:
            return _from_code(fn)
        if not ("__wrapped__" in fn.__dict__ or "__signature__" in fn.__dict__):
            return _lift(_from_code(fn), fn)
    elif isinstance(fn, Composite):
        return fn.shape()
    elif type(fn) is MethodType and type(fn.__func__) is FunctionType:
        inner = shape_of(fn.__func__)
        if inner.parameters or inner.varargs:
            return _lift(_shape(inner.parameters[1:], inner.varargs, inner.varkeywords, inner.is_async), fn)
    elif type(fn) is partial and _Placeholder not in map(type, fn.args):
        return _lift(_from_partial(fn), fn)
    return _lift(_from_inspect(fn), fn)


def _lift(shape: Shape, fn: Any) -> Shape:
    if not may_return_awaitable(fn):
        return shape
    # wired with care, which gives it the Binder that awaits what comes
    return Shape(shape.parameters, shape.varargs, shape.varkeywords, is_async=True, lifted=True)


def is_async_callable(fn: Any) -> bool:
    """Tell whether calling ``fn`` gives something to await (through partials, methods and ``__call__``)."""
    if isinstance(fn, Composite):
        return fn.is_async
    return _is_coroutine_function(fn) or may_return_awaitable(fn)


def is_async_generator(fn: Any) -> bool:
    """Tell whether calling ``fn`` gives an async generator."""
    code = getattr(fn, "__code__", None) if type(fn) is FunctionType else None
    return code is not None and bool(code.co_flags & _ASYNC_GENERATOR)


def may_return_awaitable(fn: Any) -> bool:
    """Tell whether ``fn`` is no ``async def`` but stands for one.

    So are plain wrappers around one (``functools.wraps``), callables that
    ``inspect.markcoroutinefunction`` marked, and ``AsyncMock``. What they return is awaited if it can be.
    """
    if isinstance(fn, Composite) or _is_coroutine_function(fn):
        return False
    while isinstance(fn, partial):
        fn = fn.func
    if isinstance(fn, MethodType):
        fn = fn.__func__
    if type(fn) is FunctionType and TELLING.isdisjoint(fn.__dict__):
        return False
    inner = fn
    for _ in range(100):  # a __wrapped__ may lead back to itself
        try:
            inner = inner.__wrapped__
        except Exception:
            break
        if _is_coroutine_function(inner):
            return True
    try:
        if getattr(fn, "_is_coroutine_marker", None) is None and getattr(fn, "__code__", None) is None:
            return False
    except Exception:  # an object whose attributes raise
        return False
    from inspect import iscoroutinefunction

    return iscoroutinefunction(fn)


def takes_nothing(fn: Callable[..., Any]) -> bool:
    """Tell whether ``fn`` can be called without arguments. Slow: for functions that are no nodes."""
    import inspect

    try:
        inspect.signature(fn).bind()
    except TypeError:
        return False
    except ValueError:  # builtins without a signature: calling will tell
        return True
    return True


def _is_coroutine_function(fn: Any) -> bool:
    while isinstance(fn, partial):
        fn = fn.func
    if isinstance(fn, MethodType):
        fn = fn.__func__
    if not isinstance(fn, FunctionType):
        fn = getattr(type(fn), "__call__", None)  # noqa: B004  the function behind it, not a test
    code = getattr(fn, "__code__", None)
    return isinstance(code, CodeType) and bool(code.co_flags & COROUTINE)


def identity_of(fn: Any) -> Any:
    """Return a hashable that two references share if they are one function.

    Its id; but a method object is made anew at each access, so for methods the ids of both halves.
    """
    return (id(fn.__self__), id(fn.__func__)) if type(fn) is MethodType else id(fn)


def is_same(fn: Any, other: Any) -> bool:
    """Tell whether two references are one function (see :func:`identity_of`)."""
    return fn is other or (type(fn) is MethodType and identity_of(fn) == identity_of(other))


def location_of(fn: Any, show: Show = shown) -> str:
    """Return ``"file.py:12"`` for where ``fn`` was defined, or what ``show`` says of it: its repr."""
    if isinstance(fn, Composite):
        inner = getattr(fn, "fn", None)  # of a map
        return fn.location if inner is None else location_of(inner, show)
    code = code_of(fn)
    if code is not None:
        return f"{code.co_filename}:{code.co_firstlineno}"
    return show(fn)


def code_of(fn: Any) -> CodeType | None:
    """Return the code that a call of ``fn`` comes to, through partials and wrappers; None if it is not Python's."""
    try:
        code = _code_within(fn)
    except Exception:  # an object whose attributes raise
        return None
    return code if isinstance(code, CodeType) else None


def _code_within(fn: Any) -> Any:
    for _ in range(100):  # a __wrapped__ may lead back to itself
        inner = fn.func if isinstance(fn, partial) else getattr(fn, "__wrapped__", fn)
        if inner is fn:
            break
        fn = inner
    if isinstance(fn, type):  # where its constructor is written, if it is in Python
        return getattr(getattr(fn, "__init__", None), "__code__", None)
    return getattr(fn, "__code__", None) or getattr(getattr(type(fn), "__call__", None), "__code__", None)  # noqa: B004


def _from_code(fn: FunctionType) -> Shape:
    code = fn.__code__
    flags = code.co_flags
    count = code.co_argcount
    size = count + code.co_kwonlyargcount
    parameters = _parameters(fn, code.co_varnames[:size], count) if size else ()
    return _shape(parameters, flags & VARARGS != 0, flags & _VARKEYWORDS != 0, flags & COROUTINE != 0)


def _parameters(fn: FunctionType, names: tuple[str, ...], count: int) -> tuple[Parameter, ...]:
    contexts = _context_names(fn)
    defaults: Mapping[str, Any] = fn.__kwdefaults__ or {}
    if not (defaults or contexts or fn.__defaults__ or len(names) > count):  # the shortest way, for most
        return tuple(map(Parameter, names))
    if fn.__defaults__:
        defaults = {**defaults, **dict(zip(reversed(names[:count]), reversed(fn.__defaults__), strict=False))}
    return tuple([
        Parameter(name, (defaults[name],) if name in defaults else (), i >= count, name in contexts)
        for i, name in enumerate(names)
    ])  # fmt: skip


def _context_names(fn: FunctionType) -> Collection[str]:
    scope = fn.__globals__
    return [name for name, a in annotations_of(fn).items() if type(a) not in PLAIN and means_context(a, scope)]


def _from_partial(fn: partial[Any]) -> Shape:
    """A partial's keywords are settled: no node or input provides them. What stands behind one goes by keyword."""
    inner = shape_of(fn.func)
    given = len(fn.args)
    open_positions = sum(not p.keyword_only for p in inner.parameters)
    if given > open_positions and not inner.varargs:
        raise TypeError(f"the partial binds {given} positional values, but its function takes {open_positions}")
    parameters = []
    settled = False
    for p in inner.parameters[min(given, open_positions) :]:
        if p.name in fn.keywords:
            settled = True
        else:
            keyword_only = p.keyword_only or settled
            parameters.append(Parameter(p.name, p.default, keyword_only, p.is_context))
    return _shape(tuple(parameters), inner.varargs and not settled, inner.varkeywords, inner.is_async)


def _from_inspect(fn: Callable[..., Any]) -> Shape:
    import inspect

    try:
        signature = inspect.signature(fn)
    except Exception:  # some builtins have none, and a hostile __signature__ may raise anything
        return _shape((), True, False, is_async_callable(fn))
    kinds = inspect.Parameter
    scope = getattr(inspect.unwrap(fn), "__globals__", {})
    parameters = [
        Parameter(
            p.name,
            () if p.default is p.empty else (p.default,),
            p.kind is kinds.KEYWORD_ONLY,
            means_context(p.annotation, scope),
        )
        for p in signature.parameters.values()
        if p.kind not in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)
    ]
    found = {p.kind for p in signature.parameters.values()}
    return _shape(tuple(parameters), kinds.VAR_POSITIONAL in found, kinds.VAR_KEYWORD in found, is_async_callable(fn))


def _shape(parameters: tuple[Parameter, ...], varargs: bool, varkeywords: bool, is_async: bool) -> Shape:
    for p in parameters:
        if p.keyword_only or p.is_context:
            return Shape(parameters, varargs, varkeywords, is_async)
    inferred = tuple([p.name for p in parameters]) if parameters else ()
    exact = -1 if varargs else len(parameters)
    return Shape(parameters, varargs, varkeywords, is_async, exact, varargs and not parameters, inferred)


def annotations_of(fn: FunctionType) -> dict[str, Any]:
    """Return what a function's parameters, and ``"return"``, are annotated with."""
    try:
        return fn.__annotations__
    except Exception:  # 3.14 evaluates lazily: a name only known to type checkers
        from annotationlib import Format, get_annotations  # type: ignore[import-not-found,unused-ignore]

        return dict(get_annotations(fn, format=Format.FORWARDREF))


def means_context(annotation: Any, scope: Mapping[str, Any]) -> bool:
    """Tell whether an annotation means our Context: itself, in a union, or as text (``from __future__``)."""
    if annotation is Context:
        return True
    if isinstance(annotation, str):
        if annotation in scope:
            return scope[annotation] is Context
        if annotation.isidentifier():
            return annotation == "Context"
        return any(_names_context(part, scope) for part in annotation.strip("'\"").split("|"))
    if isinstance(annotation, UnionType) or getattr(annotation, "__origin__", None) is Union:
        return Context in annotation.__args__
    forward = getattr(annotation, "__forward_arg__", None)
    return isinstance(forward, str) and _names_context(forward, scope)


def _names_context(text: str, scope: Mapping[str, Any]) -> bool:
    first, *rest = text.strip("'\" ").removeprefix("Optional[").rstrip("]").split(".")
    if first not in scope:  # imported for type checkers only, or local: go by the name
        return (rest or [first])[-1] == "Context"
    value = scope[first]
    for attribute in rest:
        value = getattr(value, attribute, None)
    return value is Context


def _placeholder_type() -> Any:
    import functools

    return type(getattr(functools, "Placeholder", _UNSET))  # 3.14: a gap left in a partial's positions


_Placeholder: Final = _placeholder_type()
