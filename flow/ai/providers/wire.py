"""What a protocol of a provider is made of, without its transport: :class:`Wire` and :class:`Assembly`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

import msgspec

from flow.ai.messages import MOST_TOKENS, Delta, Kept, Reply, Request, Tokens

_S = TypeVar("_S", bound=msgspec.Struct)
_T = TypeVar("_T")


class Unreadable(ValueError):
    """What came is no answer of this protocol. The message says why."""


class Told(Exception):
    """An error stands where the answer should. ``args[0]`` is what it says: a value of JSON.

    :ivar tokens: what the request has taken all the same, if that is said. :ivar begun: a part of an answer has come.
    """

    def __init__(self, said: Any, tokens: Tokens | None = None, begun: bool = False) -> None:
        super().__init__(said)
        self.tokens = tokens if tokens is not None and (tokens.input or tokens.output) else None
        self.begun = begun or self.tokens is not None


class Assembly(Protocol):
    """Puts a streamed answer together."""

    def add(self, data: Any) -> Delta | None:
        """Take the data of one event, as JSON or as a value; return what of it is worth passing on.

        :raises Unreadable: if it is no event of this protocol. :raises Told: if it is an error.
        """
        ...

    @property
    def complete(self) -> bool:
        """Whether the provider has said why the model stopped: an answer that ends earlier is cut off."""
        ...

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        ...

    def reply(self) -> Reply:
        """Return the whole of it. :raises Unreadable: if it cannot be."""
        ...


class Wire(Protocol):
    """How a protocol writes requests and answers."""

    def body(self, request: Request, *, stream: bool) -> dict[str, Any]:
        """Return a request as a value of JSON. :raises Unreadable: for what the protocol cannot say."""
        ...

    def reply(self, data: Any, request: Request) -> Reply:
        """Read an answer, given as JSON or as a value. :raises Unreadable, Told: as :meth:`Assembly.add` does."""
        ...

    def assembly(self, request: Request) -> Assembly:
        """Return what takes the events of a streamed answer."""
        ...


def read(kind: type[_S], data: Any) -> _S:
    """Read ``data``, JSON or a value of it. :raises Unreadable: if it does not fit."""
    try:
        if isinstance(data, bytes):
            return msgspec.json.decode(data, type=kind)
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise Unreadable(f"the answer has another form than the protocol says: {error}") from None
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Unreadable(f"the answer is no JSON: {error}") from None


def kept_of(value: Any) -> Kept:
    """Return what is to be sent back, of a value. :raises Unreadable: for what is no JSON."""
    try:
        return Kept(msgspec.json.encode(value).decode())
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        raise Unreadable(f"what the model thought is no JSON: {error}") from None


def sent_back(kept: Kept | None, kind: type[_T]) -> _T | None:
    """Return what is sent back, as the protocol has written it. None if there is nothing, or nothing of this form.

    A conversation may come from anywhere, also from a client: what was made of it is not trusted.
    """
    try:
        return None if kept is None else msgspec.json.decode(kept.value, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def merged(body: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``body`` with the fields of ``options``, which come first. A field that is an object in both is merged."""
    found = dict(body)
    for name, value in options.items():
        own = found.get(name)
        both = isinstance(own, Mapping) and isinstance(value, Mapping)
        found[name] = {**own, **value} if both else value  # type: ignore[dict-item]
    return found


def count_in(usage: Any, name: str) -> int | None:
    """Return a number of tokens; None if there is none, or none that can be. Some servers write ``10.0``, ``"10"``."""
    value = usage.get(name) if isinstance(usage, Mapping) else None
    if type(value) is int and 0 <= value <= MOST_TOKENS:  # as most write it
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= len(str(MOST_TOKENS)):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and 0 <= value <= MOST_TOKENS and not isinstance(value, bool) else None


_MAGIC = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
)


def media_type(data: bytes) -> str:
    """Return the type of an image by its first bytes. :raises Unreadable: if it is none that models take."""
    found = next((kind for magic, kind in _MAGIC if data.startswith(magic)), "")
    if not found:
        raise Unreadable("an image of unknown type: give its media_type, such as image/png")
    return found


__all__ = [
    "Assembly", "Told", "Unreadable", "Wire", "count_in", "kept_of", "media_type", "merged", "read", "sent_back",
]  # fmt: skip
