"""What models are asked, made of what a node gets: :class:`Prompt`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from flow.ai.contents import messages_of, system_of
from flow.ai.messages import Message
from flow.awaits import is_generator_function, unawaited
from flow.errors import UsageError, a_kind
from flow.expr import Expression, Place, Template
from flow.expr import template as checked
from flow.policy.expressed import Expressed
from flow.policy.scope import ALL, GONE
from flow.signature import (
    Parameter,
    Shape,
    Shaped,
    Source,
    by_position,
    is_async_callable,
    only_stars,
    said_of,
    shape_of,
)
from flow.tracebacks import users_line

Text: TypeAlias = "str | Expressed | Template | Callable[..., Any]"
"""A template, as its text or made already, or a function."""

_WORDS: Final = ("system", "messages", "prompt")


class Prompt(Shaped):
    """Makes the messages that a model is asked, of outputs of nodes and run inputs.

    Its parameters are what ``system``, ``messages`` and ``source`` read, each once. It stands where a node's function
    stands, or is called with values by position, in the order of :meth:`shape`, or by name. Each of the three is

    * a text with ``{{ expressions }}`` (:func:`flow.template`), into which values are put as they are: braces in a
      value are text. A template that is one expression and nothing else gives the expression's value.
    * a function, sync or async, whose parameters are looked up as those of any node are.

    :param source: what the model is asked: gives a text, a list of texts and :class:`flow.ai.Image` objects, or a list
        of messages. None if ``messages`` end with it.
    :param system: gives the text of the system message; without one, and if it gives None, there is none.
    :param messages: gives the messages between these two, or is a list of them: :class:`flow.ai.Message` objects or
        dicts of their fields.
    :raises ExpressionSyntaxError: if an expression is refused. :raises UsageError: if it is made of something else.
    :ivar location: where it was made, as ``file:line``, for messages.
    """

    __slots__ = ("_given", "_parts", "_shape", "location")

    def __new__(cls, source: Any = None, system: Any = None, messages: Any = None, *, location: str = "") -> Prompt:
        """Make an :class:`AsyncPrompt` if a function of it is async: the engine tells by the call."""
        is_async = any(is_async_callable(one) for one in (source, system, messages) if callable(one))
        return object.__new__(AsyncPrompt if is_async else cls)

    def __init__(
        self,
        source: Text | Sequence[Any] | None = None,
        system: Text | None = None,
        messages: Text | Sequence[Message | Mapping[str, Any]] | None = None,
        *,
        location: str = "",
    ) -> None:
        if source is None and messages is None:
            raise UsageError("a prompt is made of a text with {{ expressions }}, a function, or messages=...")
        self.location = location or users_line()
        self._given = (source, system, messages)
        given = dict(zip(_WORDS, (system, messages, source), strict=True))
        self._parts = tuple([(word, _read(word, one)) for word, one in given.items() if one is not None])
        self._shape, self._parts = _joined(self._parts, isinstance(self, AsyncPrompt))

    def shape(self) -> Shape:
        """Its parameters, the Context first if it takes one. All go by position; :data:`GONE` is no value."""
        return self._shape

    @property
    def needs_context(self) -> bool:
        """True if the first parameter gets the Context."""
        return any(p.is_context for p in self._shape.parameters)

    @property
    def __signature__(self) -> inspect.Signature:
        """Its parameters, for tools that show them: of ``inputs.x`` and ``nodes['x']`` with the name ``x``."""
        names: dict[str, inspect.Parameter] = {}
        for p in self._shape.parameters:
            name = p.name if p.name.isidentifier() else "ctx" if p.is_context else p.source_name
            if name.isidentifier():
                default = p.default[0] if p.default else inspect.Parameter.empty
                names[name] = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
        return inspect.Signature(list(names.values()), return_annotation=tuple[Message, ...])

    def __call__(self, *values: Any, **named: Any) -> Any:
        """Return the messages: a tuple of :class:`flow.ai.Message`.

        :raises EvaluationError: if an expression fails with these values.
        :raises UsageError: if a function returns what is no prompt.
        """
        values = values or self._by_name(named)
        made = {word: part.made(values) for word, part in self._parts}
        for word, one in made.items():
            if inspect.isawaitable(one):
                raise unawaited(f"{word}=", one)
        return _message_list(made)

    def _by_name(self, named: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return values by position. :raises TypeError: if names are missing or unknown."""
        known = {p.name: p for p in self._shape.parameters}
        missing = [name for name, p in known.items() if name not in named and not p.default]
        unknown = [name for name in named if name not in known]
        if missing or unknown:
            raise TypeError(f"a prompt takes {', '.join(known) or 'nothing'}; missing: {missing}, unknown: {unknown}")
        return tuple([named.get(name, GONE) for name in known])

    def __repr__(self) -> str:
        return f"<prompt made at {self.location}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self._given, self.location)


class AsyncPrompt(Prompt):
    """A :class:`Prompt` with an async function, whose call is awaited."""

    __slots__ = ()

    async def __call__(self, *values: Any, **named: Any) -> Any:
        values = values or self._by_name(named)
        made = {}
        for word, part in self._parts:
            one = part.made(values)
            made[word] = await one if inspect.isawaitable(one) else one
        return _message_list(made)


def _again(given: tuple[Any, Any, Any], location: str) -> Prompt:
    return Prompt(*given, location=location)


def _message_list(made: Mapping[str, Any]) -> tuple[Message, ...]:
    found = list(system_of(made.get("system")))
    for word in ("messages", "prompt"):
        found += messages_of(word, made.get(word))
    if not any(one.role != "system" for one in found):
        raise UsageError("a prompt has given no message but that of the system: the model is asked nothing")
    return tuple(found)


# -- its parts -------------------------------------------------------------------------------


class _Part:
    """What gives a text or messages. :ivar parameters: what it reads. :ivar at: their places in the whole."""

    __slots__ = ("at", "parameters")

    at: Sequence[int]
    parameters: Sequence[Parameter]

    def made(self, values: Sequence[Any]) -> Any:
        """Return what it gives. :param values: those of the whole."""
        raise NotImplementedError


class _Fixed(_Part):
    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value
        self.parameters = ()

    def made(self, values: Sequence[Any]) -> Any:
        return self._value


class _Rendered(_Part):
    __slots__ = ("_maker", "_text")

    def __init__(self, text: Template | Expression) -> None:
        self._text = text
        reads = Expressed(text, "").reads
        self.parameters = reads.parameters
        self._maker = reads.maker()

    def made(self, values: Sequence[Any]) -> Any:
        return self._text.evaluate(self._maker([values[at] for at in self.at]))


class _Called(_Part):
    __slots__ = ("_fn", "_gaps", "_names", "_shape")

    def __init__(self, word: str, fn: Callable[..., Any]) -> None:
        self._fn = fn
        self._shape = shape_of(fn)
        where = said_of(fn)
        if is_generator_function(fn):
            raise UsageError(f"{word}= is a generator function ({where}): let it return a list")
        if stars := only_stars(fn, self._shape):
            raise UsageError(f"{word}= takes {stars} alone ({where}), which nothing fills: name its parameters")
        self.parameters = self._shape.parameters
        self._names = [p.name for p in self.parameters if not p.keyword_only]

    def made(self, values: Sequence[Any]) -> Any:
        given = {p.name: values[at] for p, at in zip(self.parameters, self.at, strict=True)}
        missing = {name for name, value in given.items() if value is GONE}
        passed, gaps = by_position(self._names, self._shape.gaps, missing)
        first = [gaps[name] if name in gaps else given[name] for name in passed]
        rest = {name: value for name, value in given.items() if name not in missing and name not in passed}
        return self._fn(*first, **rest)


def _read(word: str, given: Any) -> _Part:
    """Read one of the three. :raises UsageError: if it is nothing that gives a text or messages."""
    if isinstance(given, str):
        return _Rendered(checked(given, functions=ALL, where=None if word == "prompt" else Place(file=word)))
    if isinstance(given, Expressed):
        return _Rendered(given.made)
    if isinstance(given, Template):
        return _Rendered(given)
    if callable(given):
        return _Called(word, given)
    if word != "system" and isinstance(given, (list, tuple)):
        return _Fixed(messages_of(word, given))
    what = "a text with {{ expressions }} or a function" + (", or a list of messages" if word != "system" else "")
    raise UsageError(f"{word}= is {what}, not {a_kind(given)}")


def _joined(parts: Iterable[tuple[str, _Part]], is_async: bool) -> tuple[Shape, tuple[tuple[str, _Part], ...]]:
    """Return the parameters of all parts, each once, and the parts, which know the places of theirs."""
    parts = tuple(parts)
    made: dict[Any, Parameter] = {}
    for p in sorted([p for _, part in parts for p in part.parameters], key=lambda p: not p.is_context):
        default = (GONE,) if p.is_left_out else p.default  # all go by position
        known = made.get(_meaning(p))
        if known is not None:
            if not (known.default and default):  # one of them cannot do without it
                default = ()
            elif known.default[0] is not default[0]:  # each has its own
                default = (GONE,)
        made[_meaning(p)] = msgspec.structs.replace(known or p, default=default, keyword_only=False)
    places = {meaning: at for at, meaning in enumerate(made)}
    for _, part in parts:
        part.at = [places[_meaning(p)] for p in part.parameters]
    return Shape(tuple(_told_apart(made.values())), False, False, is_async), parts


def _meaning(p: Parameter) -> Any:
    """Return what two parameters share if one value fills both."""
    if p.is_context:
        return "the Context"
    source = p.source or Source(p.name)
    return source.name, source.kind, source.condition, p.is_outcome


def _told_apart(parameters: Iterable[Parameter]) -> Iterator[Parameter]:
    """Yield parameters of which no two have one name: one may be how a node has ended, and one its output."""
    names: set[str] = set()
    for p in parameters:
        name = p.name
        while name in names:
            name += "'"
        names.add(name)
        yield p if name == p.name else msgspec.structs.replace(p, name=name, source=p.source or Source(p.name))


__all__ = ["AsyncPrompt", "Prompt"]
