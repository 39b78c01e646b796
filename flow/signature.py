"""Read a callable's parameters once, cheaply.

``inspect.signature`` is slow; a plain ``def`` is read from its code object instead, and methods
and partials from the function they hold.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from functools import partial
from types import CodeType, FunctionType, MethodType
from typing import Any, Final, Literal

import msgspec

from flow.annotations import PLAIN, Names, annotations_of, means_context, means_outcome
from flow.awaits import COROUTINE, is_coroutine_function, may_return_awaitable
from flow.errors import Show, shown
from flow.types import ABSENT, MISSING

VARARGS: Final = 0x04
VARKEYWORDS: Final = 0x08


class Source(msgspec.Struct, frozen=True):
    """What provides the value of a parameter that says so itself.

    :ivar name: of the node or run input.
    :ivar kind: "node" or "input"; empty if it may be either, a node first.
    :ivar condition: of the edge from a node whose Outcome the parameter gets; empty: "done"; "handled": "done" too,
        and the node handles a failure of that one.
    """

    name: str
    kind: Literal["", "node", "input"] = ""
    condition: str = ""


class Parameter(msgspec.Struct, frozen=True):
    """One parameter of a node's function. ``default`` holds a 1-tuple, or nothing if it has none.

    It is :data:`flow.types.ABSENT` where the parameter must be left out of the call if nothing fills it: the default
    that a signature shows need not be the object that the function has for it.

    :ivar source: what fills it; None: what has its name, by the usual rule.
    """

    name: str
    default: tuple[Any, ...] = ()
    keyword_only: bool = False
    is_context: bool = False
    is_outcome: bool = False
    source: Source | None = None

    @property
    def source_name(self) -> str:
        """The name of the node or run input that fills it."""
        return self.name if self.source is None else self.source.name

    @property
    def is_left_out(self) -> bool:
        """True if the call leaves it out when nothing fills it."""
        return bool(self.default) and self.default[0] is ABSENT


class Shape(msgspec.Struct, frozen=True):
    """The facts about a callable that the compiler needs to wire it.

    :ivar parameters: variadic ones excluded.
    :ivar exact: how many positional needs leave nothing to infer; -1 if no number does.
    :ivar takes_any: ``*args`` alone: any number of positional needs leaves nothing to infer.
    :ivar inferred: what to look up when a node gives no needs; None if that takes more than
        passing each value by position.
    :ivar lifted: it is no ``async def`` itself but may return an awaitable (see :func:`may_return_awaitable`).
    :ivar gaps: of the parameters that can only be passed by position, what to pass where a later one is filled and this
        one is not.
    """

    parameters: tuple[Parameter, ...]
    varargs: bool
    varkeywords: bool
    is_async: bool
    exact: int = -1
    takes_any: bool = False
    inferred: tuple[str, ...] | None = None
    lifted: bool = False
    gaps: tuple[Any, ...] = ()

    @property
    def defaults(self) -> tuple[Any, ...]:
        """The values of those parameters that have one: of the last ones, if ``inferred``."""
        return tuple([value for p in self.parameters for value in p.default])

    @property
    def positional(self) -> tuple[Parameter, ...]:
        """The parameters that values can be passed to by position, Context excluded."""
        return tuple([p for p in self.parameters if not (p.keyword_only or p.is_context)])


class Placed:
    """What a node calls that is ours, and stands for a line of the user's.

    :ivar location: that line, as ``file:line``.
    """

    __slots__ = ()

    location: str


class Shaped(Placed):
    """What a node calls that is ours, and says itself which parameters it has. All go by position.

    :ivar returns: the type of what it returns, as an annotation says it, in a 1-tuple; nothing if that is not known.
    """

    __slots__ = ()

    returns: tuple[Any, ...] = ()

    def shape(self) -> Shape:
        """Its parameters."""
        raise NotImplementedError


class Written(Shaped):
    """An expression or a template in a function's place.

    :ivar text: what the user has written, for messages and pictures.
    :ivar direct: a plain function that does the same, for calls by position. It cannot be pickled.
    """

    __slots__ = ()

    text: str
    direct: Any


def is_text(fn: Any) -> bool:
    """Tell whether ``fn`` is an expression or template, for messages. (By type: an object may raise when asked.)"""
    return issubclass(type(fn), Written)


def direct_of(fn: Any) -> Any:
    """Return what is called in the place of ``fn`` where that is done often, and only in this process."""
    return fn.direct if is_text(fn) else fn


class Around(Shaped):
    """What is done before and after a composite runs; its parameters take the place of the composite's own.

    :ivar sources: the parameters whose values a map goes over as they are.
    :ivar secret: the parameters of which secret inputs of the composite are made.
    """

    __slots__ = ()

    sources: Sequence[str] = ()
    secret: Collection[str] = ()

    def given(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return what the composite is called with, of the values of the parameters."""
        raise NotImplementedError

    def output(self, made: Any, values: Sequence[Any]) -> Any:
        """Return the node's output, of what the composite has made."""
        raise NotImplementedError


class Composite:
    """What stands where a node's function stands and is not to be called: binding the node to a run replaces it.

    :ivar around: what is done before and after it; None if nothing is.
    """

    __slots__ = ()

    around: Around | None

    @property
    def is_async(self) -> bool:
        """True if what replaces it returns an awaitable."""
        raise NotImplementedError

    @property
    def turns(self) -> bool:
        """True if it has a loop, which may take long: on an event loop it is awaited, and lets that turn."""
        return False

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

    __slots__ = ("_turns", "around", "inputs", "plan")

    def __init__(self, plan: Any) -> None:
        self.plan = plan
        self.around: Around | None = None
        self.inputs: tuple[str, ...] = tuple(plan.inputs)
        inner = [binder.fn for binder in plan._nodes.binders.values()]
        self._turns = any(issubclass(type(fn), Composite) and fn.turns for fn in inner)

    @classmethod
    def of(cls, dag: Any) -> Nested:
        """Compile ``dag`` as it is now. :raises DefinitionError: if it cannot be."""
        return cls(dag.compile())

    @property
    def is_async(self) -> bool:
        return not self.plan.all_sync

    @property
    def turns(self) -> bool:
        return self._turns

    def __repr__(self) -> str:
        return f"<{self.plan!r} as one node>"

    def shape(self) -> Shape:
        """The run inputs as parameters."""
        if self.around is not None:
            return wrapped(self.around, self.is_async)
        required = set(self.plan.required_inputs)
        parameters = tuple(Parameter(name, () if name in required else (ABSENT,)) for name in self.inputs)
        # Neither exact nor inferred: always wired with care, which gives it the Binder it needs.
        return Shape(parameters, False, False, self.is_async)


def wrapped(around: Around, is_async: bool) -> Shape:
    """Return the shape of a composite that something is done around."""
    return msgspec.structs.replace(around.shape(), is_async=is_async)


def shape_of(fn: Any) -> Shape:
    """Read ``fn``'s parameters. A callable without a readable signature takes ``*args`` only.

    :raises TypeError: for a partial that binds more than its function takes.
    """
    if type(fn) is FunctionType:
        if not fn.__dict__:
            return _from_code(fn)
        if not ("__wrapped__" in fn.__dict__ or "__signature__" in fn.__dict__):
            return _lift(_from_code(fn), fn)
    elif isinstance(fn, (Composite, Shaped)):
        return fn.shape()
    elif type(fn) is MethodType and type(fn.__func__) is FunctionType:
        inner = shape_of(fn.__func__)
        if inner.parameters or inner.varargs:
            rest, gaps = inner.parameters[1:], inner.gaps[1:]
            return _lift(_shape(rest, inner.varargs, inner.varkeywords, inner.is_async, gaps), fn)
    elif type(fn) is partial and _Placeholder not in map(type, fn.args):
        return _lift(_from_partial(fn), fn)
    return _lift(_from_inspect(fn), fn)


def _lift(shape: Shape, fn: Any) -> Shape:
    if not may_return_awaitable(fn):
        return shape
    # wired with care, which gives it the Binder that awaits what comes
    return Shape(shape.parameters, shape.varargs, shape.varkeywords, is_async=True, lifted=True, gaps=shape.gaps)


def is_async_callable(fn: Any) -> bool:
    """Tell whether calling ``fn`` gives something to await (through partials, methods and ``__call__``)."""
    if issubclass(type(fn), Composite):  # not isinstance: an object may raise when asked for its class
        return bool(fn.is_async)
    return is_coroutine_function(fn) or may_return_awaitable(fn)


def takes_nothing(fn: Callable[..., Any]) -> bool:
    """Tell whether ``fn`` can be called without arguments. Slow: for functions that are no nodes."""
    return _binds(fn)


def takes_one(fn: Callable[..., Any]) -> bool:
    """Tell whether ``fn`` can be called with one value. Slow, as :func:`takes_nothing`."""
    try:
        return _binds(fn, None)
    except Exception:  # an object whose attributes raise: calling will tell
        return True


def _binds(fn: Callable[..., Any], *values: Any) -> bool:
    import inspect

    try:
        inspect.signature(fn).bind(*values)
    except TypeError:
        return False
    except ValueError:  # builtins without a signature: calling will tell
        return True
    return True


def identity_of(fn: Any) -> Any:
    """Return a hashable that two references share if they are one function.

    Its id; but a method object is made anew at each access, so for methods the ids of both halves.
    """
    return (id(fn.__self__), id(fn.__func__)) if type(fn) is MethodType else id(fn)


def is_same(fn: Any, other: Any) -> bool:
    """Tell whether two references are one function (see :func:`identity_of`)."""
    return fn is other or (type(fn) is MethodType and identity_of(fn) == identity_of(other))


def qualname_of(fn: Any) -> str:
    """Return what a callable calls itself; nothing if it has no name."""
    try:
        found = getattr(fn, "__qualname__", None) if callable(fn) else None
    except Exception:  # an object whose attributes raise
        return ""
    return str.__str__(found) if isinstance(found, str) else ""


def namesake(fn: Any, names: Container[str]) -> str:
    """Say that a node has the name of ``fn``, which no node runs: a cell that ran again has made another function."""
    name = getattr(fn, "__name__", None) if type(fn) is FunctionType else None
    return f" (node {name!r} runs another function: name it by {name!r})" if name is not None and name in names else ""


def location_of(fn: Any, show: Show = shown) -> str:
    """Return ``"file.py:12"`` for where ``fn`` was defined, or what ``show`` says of it: its repr.

    A notebook's cell is ``"In[3]:12"``.
    """
    if issubclass(type(fn), Composite):
        if fn.around is not None:
            return str(fn.around.location)
        inner = getattr(fn, "fn", None)  # of a map
        return str(fn.location) if inner is None else location_of(inner, show)
    if issubclass(type(fn), Placed):
        return str(fn.location)
    code = code_of(fn)
    if code is not None:
        return f"{_cell_of(code.co_filename) or code.co_filename}:{code.co_firstlineno}"
    return show(fn)


def said_of(fn: Any, show: Show = shown) -> str:
    """Return :func:`location_of`, and before it the text of what is written as text."""
    place = location_of(fn, show)
    return f"{shown(fn.text)} at {place}" if is_text(fn) else place


def only_stars(fn: Any, shape: Shape) -> str:
    """Return ``*args`` or ``**kwargs`` if a function has no parameter but these, which nothing fills; else nothing."""
    code = code_of(fn)
    if code is None or shape.parameters:
        return ""
    if shape.varargs and code.co_flags & VARARGS:
        return "*args"
    return "**kwargs" if shape.varkeywords and code.co_flags & VARKEYWORDS else ""


def remedy_of(fn: Any) -> str:
    """Say how ``fn`` can do without a value that may not come."""
    return "write default(..., other) around it" if issubclass(type(fn), Shaped) else "give it a default"


def _cell_of(file: str) -> str:
    """What a notebook calls the cell: its file is a temporary one that nobody can open. Nothing outside notebooks."""
    if "IPython" not in sys.modules:
        return ""
    from flow.blame import cell_of  # here: its imports take time, and few programs need it

    return cell_of(file)


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
    if isinstance(fn, Placed):  # ours: it stands for a line of the user's
        return None
    if isinstance(fn, type):  # where its constructor is written, if it is in Python
        return getattr(getattr(fn, "__init__", None), "__code__", None)
    return getattr(fn, "__code__", None) or getattr(getattr(type(fn), "__call__", None), "__code__", None)  # noqa: B004


def _from_code(fn: FunctionType) -> Shape:
    code = fn.__code__
    flags = code.co_flags
    count = code.co_argcount
    size = count + code.co_kwonlyargcount
    parameters = _parameters(fn, code.co_varnames[:size], count) if size else ()
    return _shape(parameters, flags & VARARGS != 0, flags & VARKEYWORDS != 0, flags & COROUTINE != 0)


def _parameters(fn: FunctionType, names: tuple[str, ...], count: int) -> tuple[Parameter, ...]:
    contexts, outcomes = _special_names(fn)
    defaults: Mapping[str, Any] = fn.__kwdefaults__ or {}
    if not (defaults or contexts or outcomes or fn.__defaults__ or len(names) > count):  # the shortest way, for most
        return tuple(map(Parameter, names))
    if fn.__defaults__:
        defaults = {**defaults, **dict(zip(reversed(names[:count]), reversed(fn.__defaults__), strict=False))}
    return tuple([
        Parameter(name, (defaults[name],) if name in defaults else (), i >= count, name in contexts, name in outcomes)
        for i, name in enumerate(names)
    ])  # fmt: skip


def _special_names(fn: FunctionType) -> tuple[Collection[str], Collection[str]]:
    """The parameters that are annotated as our Context, and as our Outcome."""
    names = None
    contexts, outcomes = [], []
    for name, annotation in annotations_of(fn).items():
        if type(annotation) not in PLAIN:
            names = names or Names(fn)
            if means_context(annotation, names):
                contexts.append(name)
            elif means_outcome(annotation, fn):
                outcomes.append(name)
    return contexts, outcomes


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
            parameters.append(Parameter(p.name, p.default, keyword_only, p.is_context, p.is_outcome, p.source))
    varargs = inner.varargs and not settled
    return _shape(tuple(parameters), varargs, inner.varkeywords, inner.is_async, inner.gaps[given:])


def _from_inspect(fn: Callable[..., Any]) -> Shape:
    import inspect

    try:
        signature = inspect.signature(fn)
    except Exception:  # some builtins have none, and a hostile __signature__ may raise anything
        return _shape((), True, False, is_async_callable(fn))
    kinds = inspect.Parameter
    names = Names(fn)
    shown_ones = list(signature.parameters.values())
    parameters = [
        Parameter(
            p.name,
            () if p.default is p.empty else (ABSENT,),
            p.kind is kinds.KEYWORD_ONLY,
            means_context(p.annotation, names),
            means_outcome(p.annotation, fn),
        )
        for p in shown_ones
        if p.kind not in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)
    ]
    found = {p.kind for p in shown_ones}
    positional = [p for p in shown_ones if p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
    only = [k for k, p in enumerate(positional, 1) if p.kind is kinds.POSITIONAL_ONLY or not _takes_by_name(fn, p.name)]
    gaps = tuple([MISSING if p.default is p.empty else p.default for p in positional[: max(only, default=0)]])
    varargs, varkeywords = kinds.VAR_POSITIONAL in found, kinds.VAR_KEYWORD in found
    return _shape(tuple(parameters), varargs, varkeywords, is_async_callable(fn), gaps)


def _takes_by_name(fn: Any, name: str) -> bool:
    """Tell whether ``fn`` itself takes ``name`` by keyword: a wrapper of ``*args`` shows more than it takes."""
    if type(fn) is not FunctionType or fn.__code__.co_flags & VARKEYWORDS:
        return True
    code = fn.__code__
    return name in code.co_varnames[code.co_posonlyargcount : code.co_argcount + code.co_kwonlyargcount]


def by_position(
    names: Sequence[str], gaps: Sequence[Any], missing: Container[str]
) -> tuple[Sequence[str], dict[str, Any]]:
    """Decide how to call a function without the parameters ``missing``, which nothing fills.

    :param names: of its positional parameters; ``gaps`` as in :class:`Shape`.
    :return: those that are passed by position (the others by name), and values for the missing ones among them.
    """
    count = max([k for k, _ in enumerate(gaps, 1) if names[k - 1] not in missing], default=0)
    while count < len(names) and names[count] not in missing:
        count += 1
    passed = names[:count]
    return passed, {name: gap for name, gap in zip(passed, gaps, strict=False) if name in missing}


def _shape(
    parameters: tuple[Parameter, ...], varargs: bool, varkeywords: bool, is_async: bool, gaps: tuple[Any, ...] = ()
) -> Shape:
    left_out = False
    for p in parameters:
        if p.keyword_only or p.is_context or p.is_outcome:
            return Shape(parameters, varargs, varkeywords, is_async, gaps=gaps)
        left_out = left_out or p.is_left_out
    inferred = None if left_out else tuple([p.name for p in parameters]) if parameters else ()
    exact = -1 if varargs else len(parameters)
    return Shape(parameters, varargs, varkeywords, is_async, exact, varargs and not parameters, inferred, gaps=gaps)


def _placeholder_type() -> Any:
    import functools

    return type(getattr(functools, "Placeholder", ABSENT))  # 3.14: a gap left in a partial's positions


_Placeholder: Final = _placeholder_type()
