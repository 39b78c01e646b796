"""The functions that an expression may call: what each is named, takes and does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from types import FunctionType
from typing import Any, Final, NamedTuple, TypeVar

from flow.errors import UsageError, shown
from flow.types import MISSING

FnT = TypeVar("FnT", bound=Callable[..., Any])

PLAIN: Final = "plain"
STEPS: Final = "steps"
SCOPE: Final = "scope"
NODES: Final = "nodes"
GIVEN: Final = (PLAIN, STEPS, SCOPE, NODES)

_VARARGS: Final = 0x04
_VARKEYWORDS: Final = 0x08


class Function(NamedTuple):
    """One function.

    :ivar name: what expressions call.
    :ivar call: what is called.
    :ivar given: what ``call`` gets besides the arguments, as its first one:

        ``"plain"`` nothing; ``"steps"`` the steps that are left, from which it takes what it uses; ``"scope"`` the
        values that the expression is evaluated with; ``"nodes"`` these too, and each argument must be the name of a
        node (``validate``, ``nodes["build-image"]``), which it gets as text, without its value being read.
    :ivar parameters: names of the parameters, without ``*args``.
    :ivar required: how many of these have no default.
    :ivar rest: the name of ``*args``; empty if there is none. Parameters with defaults then go by name alone.
    :ivar any_keywords: it takes any other argument by name.
    :ivar signature: as the docs show it. :ivar about: one sentence.
    """

    name: str
    call: Callable[..., Any]
    given: str
    parameters: tuple[str, ...]
    required: int
    rest: str
    any_keywords: bool
    signature: str
    about: str

    def fault(self, count: int, keywords: tuple[str, ...]) -> str:
        """Say what is wrong with a call with so many arguments by position, and these by name; nothing if it fits."""
        by_position = self.parameters[: self.required] if self.rest else self.parameters
        for n, name in enumerate(keywords):
            if name in keywords[:n] or name in by_position[:count]:
                return f"{self.name} gets {name!r} twice"
            if name not in self.parameters and not self.any_keywords:
                return f"{self.name} has no argument {shown(name)}: it is {self.signature}"
        named = () if self.any_keywords else keywords
        missing = [name for name in self.parameters[count : self.required] if name not in named]
        if missing:
            return f"{self.name} needs {missing[0]!r} too: it is {self.signature}"
        if count > len(by_position) and not self.rest:
            return f"{self.name} takes at most {len(by_position)} arguments, not {count}: it is {self.signature}"
        return ""


def function(call: Callable[..., Any], *, name: str = "", given: str = PLAIN, about: str = "") -> Function:
    """Describe a function for expressions.

    It must be pure: the same arguments, the same value, and nothing else done. It says what is wrong by raising
    :class:`flow.expr.Fault`, which gets the place of the call.

    :param call: a Python function; its parameters are those of the call.
    :param name: default: that of ``call``, without underscores at its end.
    :param given: see :class:`Function`.
    :param about: one sentence; default: the first of its docstring.
    :raises UsageError: if it is no plain Python function, its name is no public one, or ``given`` is unknown.
    """
    if not isinstance(call, FunctionType) or given not in GIVEN:
        raise UsageError(f"a function of expressions is a Python function, and given= one of {', '.join(GIVEN)}")
    name = name or call.__name__.rstrip("_")
    if not name.isidentifier() or name.startswith("_"):
        raise UsageError(f"{shown(name)} is no name of a function of expressions")
    code = call.__code__
    names = code.co_varnames[: code.co_argcount][0 if given == PLAIN else 1 :]
    only = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    defaults = dict(zip(reversed(names), reversed(call.__defaults__ or ()), strict=False))
    defaults.update(call.__kwdefaults__ or {})
    at = code.co_argcount + code.co_kwonlyargcount
    rest = code.co_varnames[at] if code.co_flags & _VARARGS else ""
    shown_ = [_parameter(n, defaults) for n in names] + ([f"*{rest}"] if rest else [])
    shown_ += [_parameter(n, defaults) for n in only]
    any_keywords = bool(code.co_flags & _VARKEYWORDS)
    about = about or (call.__doc__ or "").partition("\n")[0]
    signature = f"{name}({', '.join(shown_ + (['...=...'] if any_keywords else []))})"
    required = sum(n not in defaults for n in names)
    return Function(name, call, given, names + only, required, rest, any_keywords, signature, about)


def _parameter(name: str, defaults: Mapping[str, Any]) -> str:
    if name not in defaults:
        return name
    default = defaults[name]
    if default is MISSING:
        return f"[{name}]"
    return f"{name}={_NAMES[default] if default is None or isinstance(default, bool) else repr(default)}"


_NAMES: Final = {None: "null", True: "true", False: "false"}


class Functions(Mapping[str, Function]):
    """The functions that expressions may call, by name. Immutable.

    :param functions: several of one name: the last counts.
    """

    def __init__(self, *functions: Function) -> None:
        self._by_name = {one.name: one for one in functions}
        self.code: dict[str, Any] = {}
        """What generated code of expressions with these functions uses: filled by its writer."""
        self.reserved: Collection[str] = ()
        self.shapes: dict[str, Any] = {}
        """What is known of sources that differ in names and numbers alone: :mod:`flow.expr.syntax.shapes`."""

    def extended(self, *functions: Function) -> Functions:
        """Return these functions and others."""
        return Functions(*self._by_name.values(), *functions)

    def __getitem__(self, name: str) -> Function:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Functions) and self._by_name == other._by_name)

    def __hash__(self) -> int:
        return hash(frozenset(self._by_name))

    def __repr__(self) -> str:
        return f"<{len(self)} functions of expressions>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Functions, tuple(self._by_name.values())


def collector(into: list[Function]) -> Callable[..., Callable[[FnT], FnT]]:
    """Make the decorator by which a module of the library lists its functions."""

    def listed(given: str = PLAIN, name: str = "") -> Callable[[FnT], FnT]:
        def add(call: FnT) -> FnT:
            into.append(function(call, given=given, name=name))
            return call

        return add

    return listed
