"""Requests and answers as Anthropic's messages write them: values of JSON, no I/O."""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec

from flow.ai.messages import Delta, Finish, Image, Message, Part, Reply, Request, Text, Tokens, ToolCall
from flow.ai.providers.wire import Told, Unreadable, count_in, kept_of, media_type, merged, read, sent_back

Structured: TypeAlias = Literal["format", "tool"]
"""How a form is asked for: ``output_config.format``, or a tool that the model has to use, which older models know."""

_FINISH: Final[Mapping[str, Finish]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tools",
    "refusal": "refused",
}


class _Thought(msgspec.Struct, omit_defaults=True):
    """A block that is sent back as it came."""

    type: Literal["thinking", "redacted_thinking"]
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None


_Order: TypeAlias = list[_Thought | int | None]
"""The blocks of an answer in their order, which must stay: a thought, so many characters of its text, or a call."""

_THOUGHTS: Final = ("thinking", "redacted_thinking")


_THOUGHT, _TEXT, _CALL = "a thought", "b text", "c call"
"""Kinds of blocks, in the order of those of one index."""


class _Stop(msgspec.Struct):
    explanation: str | None = None


class _Block(msgspec.Struct):
    """A block of an answer. :ivar written: the input of a call as JSON text, where it came in pieces."""

    type: str = ""
    text: str | None = None
    id: str | None = None
    name: str | None = None
    input: Any = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    written: str | None = None


class _Answer(msgspec.Struct):
    type: str | None = None
    id: str | None = None
    model: str | None = None
    content: list[_Block] | None = None
    stop_reason: str | None = None
    stop_details: _Stop | None = None
    usage: Any = None
    error: Any = None


class _Piece(msgspec.Struct):
    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None
    stop_details: _Stop | None = None


class _Event(msgspec.Struct):
    type: str = ""
    index: int = 0
    message: _Answer | None = None
    content_block: _Block | None = None
    delta: _Piece | None = None
    usage: Any = None
    error: Any = None


class Messages:
    """The protocol of ``/v1/messages``.

    :param max_output_tokens: of requests that say nothing of it: the protocol wants a number.
    """

    def __init__(self, max_output_tokens: int, structured: Structured = "format") -> None:
        self._max_output_tokens = max_output_tokens
        self._structured = structured

    def body(self, request: Request, *, stream: bool) -> dict[str, Any]:
        """Return a request as a value of JSON. O(n) in its size."""
        body: dict[str, Any] = {
            "model": request.model,
            "max_tokens": request.max_output_tokens or self._max_output_tokens,
            "messages": _turns(one for one in request.messages if one.role != "system"),
        }
        system = [block for one in request.messages if one.role == "system" for block in _blocks(one.content)]
        if system:
            body["system"] = system[0]["text"] if len(system) == 1 and "text" in system[0] else system
        tools = [
            {"name": one.name, "description": one.description, "input_schema": one.schema} for one in request.tools
        ]
        if request.output is not None and self._structured == "tool":
            form = request.output
            tools.append({"name": form.name, "description": "Give the answer.", "input_schema": form.schema})
            # With other tools the model chooses; without, it has to give the answer.
            body["tool_choice"] = {"type": "any"} if request.tools else {"type": "tool", "name": form.name}
        elif request.output is not None:
            body["output_config"] = {"format": {"type": "json_schema", "schema": request.output.schema}}
        if tools:
            body["tools"] = tools
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if request.stop:
            body["stop_sequences"] = list(request.stop)
        if stream:
            body["stream"] = True
        return merged(body, request.options)

    def reply(self, data: Any, request: Request) -> Reply:
        """Read a whole answer."""
        answer = read(_Answer, data)
        if answer.error:
            raise Told(answer.error, _tokens(answer.usage), bool(answer.content))
        if answer.content is None:
            raise Unreadable("the answer has no content")
        return _reply(answer, answer.content, _tokens(answer.usage), self._form_of(request))

    def assembly(self, request: Request) -> Events:
        """Return what takes the events of a streamed answer."""
        return Events(self._form_of(request))

    def _form_of(self, request: Request) -> str:
        return request.output.name if request.output is not None and self._structured == "tool" else ""


class Events:
    """A streamed answer, put together: see :class:`flow.ai.providers.wire.Assembly`.

    :param form: the tool whose input is the answer; empty if there is none.
    """

    def __init__(self, form: str) -> None:
        self._form = form
        self._answer = _Answer()
        self._usage: dict[str, Any] = {}
        self._begun = False
        # By index and kind: a text may have the index of a call where a server counts wrongly.
        self._parts: dict[tuple[int, str], tuple[_Block, list[str]]] = {}
        self._signatures: dict[int, list[str]] = {}
        self.ended = False

    @property
    def complete(self) -> bool:
        return self._answer.stop_reason is not None

    def add(self, data: Any) -> Delta | None:
        event = read(_Event, data)
        if event.type == "error" or event.error:
            raise Told(event.error, begun=self._begun)
        self._begun = self._begun or event.type != "ping"
        if event.type == "content_block_delta":
            return self._grow(event)
        if event.type == "message_start" and event.message is not None:
            self._answer = event.message
            return self._used(event.message.usage)
        if event.type == "content_block_start" and event.content_block is not None:
            return self._begin(event.index, event.content_block)
        if event.type == "message_delta":
            if event.delta is not None:
                self._answer.stop_reason = event.delta.stop_reason or self._answer.stop_reason
                self._answer.stop_details = event.delta.stop_details or self._answer.stop_details
            return self._used(event.usage)
        if event.type == "message_stop":
            self.ended = True
        return None  # a ping, the end of a block, or what did not exist when this was written

    def _begin(self, index: int, block: _Block) -> Delta | None:
        if block.type == "tool_use":
            whole = msgspec.json.encode(block.input).decode() if block.input else ""
            self._parts[index, _CALL] = (block, [whole] if whole else [])
            if block.name == self._form:
                return self._said(whole) if whole else None
            return Delta(other=(block.name or "") + whole)
        if block.type in _THOUGHTS:
            self._parts[index, _THOUGHT] = (block, [block.thinking] if block.thinking else [])
            return Delta(other=block.thinking) if block.thinking else None
        return self._say(index, block.text) if block.type == "text" and block.text else None

    def _grow(self, event: _Event) -> Delta | None:
        piece = event.delta
        if piece is None:
            return None
        if piece.signature:
            self._signatures.setdefault(event.index, []).append(piece.signature)
        if piece.thinking:
            if (event.index, _THOUGHT) in self._parts:
                self._parts[event.index, _THOUGHT][1].append(piece.thinking)
            return Delta(other=piece.thinking)
        if piece.text and piece.type in ("text_delta", None):
            return self._say(event.index, piece.text)
        found = self._parts.get((event.index, _CALL))
        if not piece.partial_json or found is None:
            return None
        found[1].append(piece.partial_json)
        text = piece.partial_json
        return self._said(text) if found[0].name == self._form else Delta(other=text)

    def _say(self, index: int, text: str) -> Delta | None:
        self._parts.setdefault((index, _TEXT), (_Block("text"), []))[1].append(text)
        return Delta(other=text) if self._form else self._said(text)

    def _said(self, text: str) -> Delta:
        return Delta(text, tokens=_tokens(self._usage))

    def _used(self, usage: Any) -> Delta | None:
        """Keep what is known of the usage: each number is the sum so far."""
        if not isinstance(usage, Mapping):
            return None
        self._usage.update((field, value) for field, value in usage.items() if value is not None)
        tokens = _tokens(self._usage)
        return None if tokens is None else Delta(tokens=tokens)

    def reply(self) -> Reply:
        return _reply(self._answer, list(self._blocks()), _tokens(self._usage), self._form)

    def _blocks(self) -> Iterator[_Block]:
        """Yield the blocks as an answer has them that comes as a whole."""
        for (index, kind), (block, parts) in sorted(self._parts.items(), key=lambda one: one[0]):
            whole = "".join(parts)
            if kind == _TEXT:
                yield _Block("text", text=whole)
            elif kind == _CALL:
                yield _Block("tool_use", id=block.id, name=block.name, written=whole or "{}")
            else:
                signature = "".join([block.signature or "", *self._signatures.get(index, ())])
                has_text, is_signed = block.thinking is not None or parts, block.signature is not None or signature
                thinking = whole if has_text else None
                yield _Block(block.type, thinking=thinking, signature=signature if is_signed else None, data=block.data)


def _reply(answer: _Answer, blocks: Sequence[_Block], tokens: Tokens | None, form: str) -> Reply:
    finish: Finish = _FINISH.get(answer.stop_reason or "", "other")
    text = "".join(block.text or "" for block in blocks if block.type == "text")
    asked = [block for block in blocks if block.type == "tool_use"]
    calls = [ToolCall(one.id or f"call_{i}", one.name or "", _arguments(one)) for i, one in enumerate(asked)]
    given = [call for call in calls if form and call.name == form]
    order: _Order | None = None
    if given:
        text = given[0].arguments
        calls = [call for call in calls if call.name != form]
        finish = "stop" if finish == "tools" and not calls else finish
    elif calls and any(block.type in _THOUGHTS for block in blocks):
        order = [_placed(block) for block in blocks if block.type in ("text", "tool_use", *_THOUGHTS)]
    refusal = ""
    if finish == "refused":
        refusal = (
            (answer.stop_details and answer.stop_details.explanation) or text or "the provider has stopped the answer"
        )
    kept = None if order is None else kept_of(order)
    return Reply(text, tuple(calls), finish, tokens, answer.model or "", answer.id or "", refusal, kept)


def _arguments(call: _Block) -> str:
    return msgspec.json.encode(call.input or {}).decode() if call.written is None else call.written


def _placed(block: _Block) -> _Thought | int | None:
    if block.type == "text":
        return len(block.text or "")
    if block.type == "tool_use":
        return None
    kind: Any = block.type
    return _Thought(kind, block.thinking, block.signature, block.data)


def _tokens(usage: Any) -> Tokens | None:
    """Return what was used; None if it is not said, or cannot be: no server lowers a bill by numbers below 0."""
    fresh, made = count_in(usage, "input_tokens"), count_in(usage, "output_tokens")
    parts = [
        0 if usage.get(field) is None else count_in(usage, field)
        for field in ("cache_read_input_tokens", "cache_creation_input_tokens")
        if isinstance(usage, Mapping)
    ]
    if fresh is None or made is None or None in parts:
        return None
    cached, written = parts
    assert cached is not None
    assert written is not None
    thought = count_in(usage.get("output_tokens_details"), "thinking_tokens") or 0
    return Tokens(
        input=fresh + cached + written,
        output=made,
        cached=cached,
        cache_write=written,
        reasoning=min(thought, made),
    )


def _turns(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Return the turns of user and assistant. All results of tools are in the user's turn after the calls."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        role = "assistant" if message.role == "assistant" else "user"
        blocks = _result(message) if message.role == "tool" else _said(message)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    for turn in turns:
        content = turn["content"]
        if len(content) == 1 and content[0]["type"] == "text":
            turn["content"] = content[0]["text"]
    return turns


def _said(message: Message) -> list[dict[str, Any]]:
    """Return the blocks of a message: where its model has thought before it called tools, in their order."""
    calls = [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": _input(call)} for call in message.tool_calls
    ]
    content = message.content
    order = sent_back(message.kept, _Order) if calls and isinstance(content, str) else None
    if order is None or not isinstance(content, str):
        return _blocks(content) + calls
    blocks, at, made = list[dict[str, Any]](), 0, 0
    for one in order:
        if isinstance(one, _Thought):
            blocks.append(msgspec.to_builtins(one))
        elif one is None:
            blocks += calls[made : made + 1]
            made += 1
        else:
            blocks += _blocks(content[at : at + max(0, one)])
            at += max(0, one)
    # A history may have been changed since: nothing of the message is lost.
    return blocks + _blocks(content[at:]) + calls[made:]


def _result(message: Message) -> list[dict[str, Any]]:
    content: Any = message.content if isinstance(message.content, str) else _blocks(message.content)
    found: dict[str, Any] = {"type": "tool_result", "tool_use_id": message.tool_call_id, "content": content}
    if message.is_error:
        found["is_error"] = True
    return [found]


def _input(call: ToolCall) -> Any:
    """Return a call's arguments as an object. A model that has written none is shown what it wrote."""
    try:
        found = msgspec.json.decode(call.arguments)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {"unreadable": call.arguments}


def _blocks(content: str | tuple[Part, ...]) -> list[dict[str, Any]]:
    """Return a message's content; texts that are empty are left out, which the protocol refuses."""
    parts: tuple[Part, ...] = (Text(content),) if isinstance(content, str) else content
    return [_block(part) for part in parts if not isinstance(part, Text) or part.text]


def _block(part: Part) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    return {"type": "image", "source": _source(part)}


def _source(image: Image) -> dict[str, str]:
    if not image.url:
        kind = image.media_type or media_type(image.data)
        return {"type": "base64", "media_type": kind, "data": b2a_base64(image.data, newline=False).decode()}
    if not image.url.startswith("data:"):
        return {"type": "url", "url": image.url}
    kind, comma, data = image.url.removeprefix("data:").partition(",")
    if not comma or not kind.endswith(";base64"):
        raise Unreadable("an image's data URL must be data:<type>;base64,<data>")
    return {"type": "base64", "media_type": kind.removesuffix(";base64"), "data": data}


__all__ = ["Events", "Messages", "Structured"]
