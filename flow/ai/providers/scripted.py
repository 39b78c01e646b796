"""A provider without a network, for tests: :class:`Scripted`."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping
from inspect import isawaitable
from threading import Lock
from typing import Any, Final, TypeAlias

import msgspec

from flow.ai.errors import AIError
from flow.ai.messages import Delta, Message, Reply, Request, Text, Tokens
from flow.errors import UsageError, a_kind, described

IMAGE_TOKENS: Final = 100
"""What an image counts."""

Scriptable: TypeAlias = Any
"""A text; a value that becomes JSON (a dict, a list, a Struct, a dataclass, a pydantic model); a :class:`Reply`; an
exception to raise; or a function ``(Request) -> any of these``, also an async one.
"""

_PIECES: Final = r"\s*\S+|\s+$"


class Scripted:
    """Answers requests with what it was given, one after another: the same each time, without a network or a key.

    >>> from flow.ai.messages import Message, Request
    >>> from flow.ai.providers.scripted import Scripted
    >>> provider = Scripted("Paris", {"city": "Rome"})
    >>> provider.requests
    []

    A function that comes last answers all further requests too; else one more than there are replies is an error.

    Tokens are counted in words: what stands between white space, in all texts of the request, and in the arguments of
    calls of tools. An image is 100. The output is the words of the answer, with one for the name of each call. An
    answer longer than the request's ``max_output_tokens`` is cut there, and its ``finish`` is ``length``. A
    :class:`Reply` is not cut, and keeps tokens that it has.

    :param replies: see :data:`Scriptable`. :param name: in usage, metrics and messages.
    :ivar requests: what was asked, in the order of coming.
    """

    def __init__(self, *replies: Scriptable, name: str = "scripted") -> None:
        self._replies = replies
        self._name = name
        self._lock = Lock()  # nodes may ask from several threads
        self.requests: list[Request] = []

    @property
    def name(self) -> str:
        """What it is called in usage, metrics and messages."""
        return self._name

    async def complete(self, request: Request) -> Reply:
        """Answer a request. :raises UsageError: if there are no more replies. Else what the script says."""
        scripted = self._next(request)
        while callable(scripted) and not isinstance(scripted, type):
            scripted = scripted(request)
            if isawaitable(scripted):
                scripted = await scripted
        if isinstance(scripted, type) and issubclass(scripted, BaseException):
            scripted = scripted(f"{self._name}: scripted")
        if isinstance(scripted, BaseException):
            raise scripted
        if isinstance(scripted, Reply):
            return _completed(scripted, request)
        return _cut(_completed(Reply(_text(scripted, self._name)), request), request)

    async def stream(self, request: Request) -> AsyncIterator[Delta]:
        """Answer word by word; the last piece has the whole reply."""
        reply = await self.complete(request)
        for piece in re.findall(_PIECES, reply.text):
            yield Delta(piece)
        yield Delta(reply=reply, tokens=reply.tokens)

    def headroom(self) -> Mapping[str, float]:
        """Return nothing: a script has no rates."""
        return {}

    def _next(self, request: Request) -> Scriptable:
        with self._lock:
            self.requests.append(request)
            at = len(self.requests) - 1
        if at < len(self._replies):
            return self._replies[at]
        last = self._replies[-1] if self._replies else None
        if callable(last) and not isinstance(last, type):
            return last
        raise ScriptOver(self._name, len(self._replies), at + 1)

    def __repr__(self) -> str:
        return f"Scripted({len(self._replies)} replies, name={self._name!r})"


class ScriptOver(UsageError, AIError):
    """A scripted provider was asked more often than it has replies."""

    def __init__(self, name: str, replies: int, asked: int) -> None:
        super().__init__(name, replies, asked)

    def __str__(self) -> str:
        name, replies, asked = self.args
        return f"{name} has {replies} replies, and was asked {asked} times: give it more, or a function as the last one"


def _text(scripted: Scriptable, name: str) -> str:
    if isinstance(scripted, str):
        return scripted
    dump: Callable[[], str] | None = getattr(scripted, "model_dump_json", None)
    try:
        return dump() if callable(dump) else msgspec.json.encode(scripted).decode()
    except Exception as error:
        raise UsageError(f"{name}: {a_kind(scripted)} cannot be a reply: {described(error)}") from error


def _completed(reply: Reply, request: Request) -> Reply:
    """Add what a reply leaves out."""
    changes: dict[str, Any] = {} if reply.model else {"model": request.model}
    if reply.tokens is None:
        changes["tokens"] = Tokens(sum(map(_size, request.messages)), _words(reply.text) + _of_calls(reply))
    if reply.tool_calls and reply.finish == "stop":
        changes["finish"] = "tools"
    return msgspec.structs.replace(reply, **changes)


def _cut(reply: Reply, request: Request) -> Reply:
    most = request.max_output_tokens
    if most is None or reply.tokens is None or reply.tokens.output <= most:
        return reply
    text = "".join(re.findall(_PIECES, reply.text)[:most])
    tokens = msgspec.structs.replace(reply.tokens, output=most)
    return msgspec.structs.replace(reply, text=text, tokens=tokens, finish="length")


def _size(message: Message) -> int:
    content = (Text(message.content),) if isinstance(message.content, str) else message.content
    texts = sum(_words(part.text) if isinstance(part, Text) else IMAGE_TOKENS for part in content)
    return texts + sum(1 + _words(call.arguments) for call in message.tool_calls)


def _of_calls(reply: Reply) -> int:
    return sum(1 + _words(call.arguments) for call in reply.tool_calls)


def _words(text: str) -> int:
    return len(text.split())


__all__ = ["IMAGE_TOKENS", "ScriptOver", "Scriptable", "Scripted"]
