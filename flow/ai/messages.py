"""What goes to a model and what comes back: :class:`Request`, :class:`Reply` and their parts. Plain data, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]

Finish: TypeAlias = Literal["stop", "length", "tools", "filtered", "refused", "other"]
"""Why a model stopped. ``length``: at its most output tokens. ``tools``: it asks for tools."""


class Image(msgspec.Struct, frozen=True, tag="image"):
    """An image in a message: at a URL, or its bytes.

    :param media_type: of ``data``: ``image/png``, ...
    """

    url: str = ""
    data: bytes = b""
    media_type: str = ""


class Text(msgspec.Struct, frozen=True, tag="text"):
    """A text in a message, beside images."""

    text: str


Part: TypeAlias = Text | Image


class ToolCall(msgspec.Struct, frozen=True):
    """A tool that a model asks for.

    :ivar id: the provider's. :ivar arguments: as JSON text, as the model has written it.
    """

    id: str
    name: str
    arguments: str


class Kept(msgspec.Struct, frozen=True):
    """What a provider wants to be sent back with the tool calls of its model, unchanged: what that thought, signatures.

    :ivar value: as JSON text, in the form of the provider's protocol.
    :ivar provider: its name: nobody else is sent this. (Whoever asks a provider puts it in.)
    """

    value: str
    provider: str = ""


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message of a conversation.

    :ivar content: a text, or several parts.
    :ivar tool_calls: of an assistant. :ivar tool_call_id: of a tool: which call this answers.
    :ivar is_error: of a tool: it has failed, and the content says how.
    :ivar kept: of an assistant that calls tools: what goes back to its provider besides.
    """

    role: Role
    content: str | tuple[Part, ...] = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    is_error: bool = False
    kept: Kept | None = None


class ToolSpec(msgspec.Struct, frozen=True):
    """A tool, as a model is told of it. ``schema``: JSON Schema of its arguments, an object."""

    name: str
    description: str
    schema: Mapping[str, Any]


class OutputSpec(msgspec.Struct, frozen=True):
    """The form that a model's answer is to have. ``schema``: JSON Schema in strict form."""

    name: str
    schema: Mapping[str, Any]


class Request(msgspec.Struct, frozen=True):
    """One request to a model.

    :ivar model: by the provider's name of it. :ivar output: None is free text.
    :ivar max_output_tokens: None leaves it to the provider.
    :ivar options: further fields of the provider's request, as they are.
    """

    model: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    output: OutputSpec | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    options: Mapping[str, Any] = {}


class Tokens(msgspec.Struct, frozen=True):
    """What one request took, in tokens.

    :ivar input: all of them, those from the provider's cache included. :ivar cached: read from its cache.
    :ivar cache_write: written to its cache. :ivar output: all, those of reasoning included.
    :ivar estimated: counted or estimated here; else the provider has said so.
    """

    input: int = 0
    output: int = 0
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0
    estimated: bool = False


class Reply(msgspec.Struct, frozen=True):
    """A model's answer.

    :ivar tokens: None if the provider has not said it. :ivar model: as the provider names it in its answer.
    :ivar refusal: what the model says if it refuses.
    :ivar kept: what the provider wants back with the tool calls.
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish: Finish = "stop"
    tokens: Tokens | None = None
    model: str = ""
    id: str = ""
    refusal: str = ""
    kept: Kept | None = None


class Delta(msgspec.Struct, frozen=True):
    """A piece of a streamed answer.

    :ivar text: that goes on with what has come. :ivar reply: the whole answer, in the last piece alone.
    :ivar tokens: what is known of them so far, if the provider says it before its end.
    :ivar other: what the model has written besides: arguments of tools, what it thinks, a refusal. It is counted if the
        answer breaks off, and not passed on.
    """

    text: str = ""
    reply: Reply | None = None
    tokens: Tokens | None = None
    other: str = ""


NO_TOKENS: Final = Tokens()

MOST_TOKENS: Final = 2**40
"""Of one request: a number above that is none."""

__all__ = [
    "MOST_TOKENS", "NO_TOKENS", "Delta", "Finish", "Image", "Kept", "Message", "OutputSpec", "Part", "Reply", "Request",
    "Role", "Text", "Tokens", "ToolCall", "ToolSpec",
]  # fmt: skip
