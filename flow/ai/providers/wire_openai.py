"""Requests and answers as OpenAI's chat completions write them: values of JSON, no I/O."""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from flow.ai.messages import Delta, Finish, Kept, Message, Part, Reply, Request, Text, Tokens, ToolCall
from flow.ai.providers.wire import Told, Unreadable, count_in, kept_of, media_type, merged, read, sent_back

DONE: Final = b"[DONE]"

_FINISH: Final[Mapping[str, Finish]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tools",
    "function_call": "tools",
    "content_filter": "filtered",
}


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class _Call(msgspec.Struct):
    id: str | None = None
    index: int | None = None
    function: _Function | None = None
    extra_content: Any = None


class _Piece(msgspec.Struct):
    text: str | None = None


class _Said(msgspec.Struct):
    content: str | list[_Piece] | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None
    reasoning: Any = None
    reasoning_content: Any = None
    reasoning_details: Any = None


class _Choice(msgspec.Struct):
    index: int | None = None
    message: _Said | None = None
    delta: _Said | None = None
    finish_reason: str | None = None


class _Answer(msgspec.Struct):
    """An answer, or a piece of a streamed one. What servers leave out although they should not is optional here."""

    id: str | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None


class ChatCompletions:
    """The protocol of ``/chat/completions``.

    :param tokens_field: what the most output tokens are called: ``max_completion_tokens`` or ``max_tokens``.
    """

    def __init__(self, tokens_field: str) -> None:
        self._tokens_field = tokens_field

    def body(self, request: Request, *, stream: bool) -> dict[str, Any]:
        """Return a request as a value of JSON. O(n) in its size."""
        body: dict[str, Any] = {"model": request.model, "messages": [_message(one) for one in request.messages]}
        if request.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {"name": one.name, "description": one.description, "parameters": one.schema},
                }
                for one in request.tools
            ]
        if request.output is not None:
            form = {"name": request.output.name, "strict": True, "schema": request.output.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        if request.max_output_tokens is not None:
            body[self._tokens_field] = request.max_output_tokens
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if request.stop:
            body["stop"] = list(request.stop)
        if stream:
            body["stream"] = True
            body["stream_options"] = {"include_usage": True}
        return merged(body, request.options)

    def reply(self, data: Any, request: Request) -> Reply:
        """Read a whole answer."""
        answer = _read(data)
        choice = _first(answer)
        if choice is None or choice.message is None:
            raise Unreadable("the answer has no choices[0].message")
        said = choice.message
        calls = tuple(
            ToolCall(call.id or f"call_{i}", call.function.name or "", _arguments(call.function))
            for i, call in enumerate(said.tool_calls or ())
            if call.function is not None
        )
        texts = _text(said.content), said.refusal or ""
        extras = [call.extra_content for call in said.tool_calls or () if call.function is not None]
        kept = _kept(said.reasoning_content, said.reasoning_details, extras)
        return _reply(answer, choice.finish_reason, *texts, calls, _tokens(answer.usage), kept)

    def assembly(self, request: Request) -> Chunks:
        """Return what takes the events of a streamed answer."""
        return Chunks()


class Chunks:
    """A streamed answer, put together: see :class:`flow.ai.providers.wire.Assembly`."""

    def __init__(self) -> None:
        self._answer = _Answer()
        self._texts: list[str] = []
        self._refusals: list[str] = []
        self._calls: list[tuple[int, _Call, list[str]]] = []
        self._places: dict[int, int] = {}  # by index, of the newest call of it
        self._thoughts: list[str] = []
        self._details: list[Any] = []
        self._finish: str | None = None
        self._tokens: Tokens | None = None
        self._begun = False
        self.ended = False

    @property
    def complete(self) -> bool:
        return self._finish is not None

    def add(self, data: Any) -> Delta | None:
        if data == DONE:
            self.ended = True
            return None
        answer = _read(data, self._begun)
        kept = self._answer
        kept.id, kept.model = kept.id or answer.id, kept.model or answer.model
        self._tokens = tokens = _tokens(answer.usage) or self._tokens
        choice = _first(answer)
        if choice is None:
            return None
        self._begun = True
        self._finish = choice.finish_reason or self._finish
        said = choice.delta or choice.message
        if said is None:
            return None
        for call in said.tool_calls or ():
            self._add_call(call)
        if said.refusal:
            self._refusals.append(said.refusal)
        if isinstance(said.reasoning_content, str):
            self._thoughts.append(said.reasoning_content)
        if isinstance(said.reasoning_details, list):
            self._details += said.reasoning_details
        text, other = _text(said.content), _other(said)
        if not text and not other:
            return None
        self._texts.append(text)
        return Delta(text, tokens=tokens, other=other)

    def _add_call(self, call: _Call) -> None:
        """Add a piece of a call. Its index says of which; servers that send none send each call in one piece.

        Google's counts wrongly: calls of one index and of different ids are different ones.
        """
        place = None if call.index is None else self._places.get(call.index)
        if place is not None and call.id and self._calls[place][1].id not in (None, "", call.id):
            place = None
        if place is None:
            place = len(self._calls)
            at = place if call.index is None else call.index
            self._places[at] = place
            self._calls.append((at, call, []))
        _, kept, parts = self._calls[place]
        kept.extra_content = kept.extra_content or call.extra_content
        if call.function is None:
            return
        if kept is not call:
            kept.id = kept.id or call.id
            kept.function = kept.function or _Function()
            kept.function.name = kept.function.name or call.function.name
        parts.append(_arguments(call.function, ""))

    def reply(self) -> Reply:
        asked = sorted(self._calls, key=lambda one: one[0])  # those of one index stay in their order
        calls = tuple(
            ToolCall(call.id or f"call_{i}", (call.function and call.function.name) or "", "".join(parts) or "{}")
            for i, (_, call, parts) in enumerate(asked)
        )
        text, refusal = "".join(self._texts), "".join(self._refusals)
        thoughts = "".join(self._thoughts) if self._thoughts else None
        kept = _kept(thoughts, _joined(self._details), [call.extra_content for _, call, _ in asked])
        return _reply(self._answer, self._finish, text, refusal, calls, self._tokens, kept)


def _read(data: Any, begun: bool = False) -> _Answer:
    answer = read(_Answer, data)
    if answer.error:
        choice = _first(answer)
        said = None if choice is None else choice.message or choice.delta
        came = said is not None and bool(_text(said.content) or _other(said))
        raise Told(answer.error, _tokens(answer.usage), begun or came)
    return answer


def _first(answer: _Answer) -> _Choice | None:
    return next((one for one in answer.choices or () if not one.index), None)


def _reply(
    answer: _Answer, reason: str | None, text: str, refusal: str, calls: tuple[ToolCall, ...], tokens: Tokens | None,
    kept: Kept | None,
) -> Reply:  # fmt: skip
    finish: Finish = _FINISH.get(reason or "", "other")
    if refusal:
        finish = "refused"
    elif calls and finish in ("stop", "other"):  # of servers that say "stop" whenever the model stops
        finish = "tools"
    return Reply(text, calls, finish, tokens, answer.model or "", answer.id or "", refusal, kept if calls else None)


class _Back(msgspec.Struct, omit_defaults=True):
    """What services beside OpenAI want back with tool calls, or refuse the results.

    :ivar reasoning_content: of DeepSeek and Moonshot, also if it is empty. :ivar reasoning_details: of OpenRouter.
    :ivar extra_content: of Google: a signature, for each call.
    """

    reasoning_content: str | None = None
    reasoning_details: list[Any] | None = None
    extra_content: list[Any] | None = None


def _kept(thoughts: Any, details: Any, extras: list[Any]) -> Kept | None:
    back = _Back(
        thoughts if isinstance(thoughts, str) else None,
        details if isinstance(details, list) and details else None,
        extras if any(extras) else None,
    )
    return None if back == _Back() else kept_of(back)


def _joined(details: Sequence[Any]) -> list[Any]:
    """Put pieces of a streamed list together: those of one index, type and id are one entry, whose texts go on."""
    found: dict[str, dict[str, Any]] = {}
    texts: dict[tuple[str, str], list[str]] = {}
    for at, piece in enumerate(details):
        if not isinstance(piece, dict):
            continue
        index = piece.get("index")
        key = f"{f'at {at}' if index is None else index} {piece.get('type')} {piece.get('id')}"
        entry = found.setdefault(key, {})
        for field, value in piece.items():
            if field in ("text", "summary", "data") and isinstance(value, str):
                texts.setdefault((key, field), []).append(value)
            if value is not None or field not in entry:
                entry[field] = value
    for (key, field), parts in texts.items():
        found[key][field] = "".join(parts)
    return list(found.values())


def _text(content: str | Sequence[_Piece] | None) -> str:
    if isinstance(content, str):
        return content
    return "".join(piece.text or "" for piece in content or ())


def _other(said: _Said) -> str:
    """Return what the model has written besides its text."""
    functions = [call.function for call in said.tool_calls or () if call.function is not None]
    parts = [said.refusal, said.reasoning_content or said.reasoning]
    parts += [part for one in functions for part in (one.name, _arguments(one, ""))]
    return "".join(part for part in parts if isinstance(part, str))


def _arguments(function: _Function, none: str = "{}") -> str:
    found = function.arguments
    if isinstance(found, dict):
        return msgspec.json.encode(found).decode()
    return found or none


def _tokens(usage: Any) -> Tokens | None:
    """Return what was used; None if it is not said, or cannot be: no server lowers a bill by numbers below 0."""
    taken, made = count_in(usage, "prompt_tokens"), count_in(usage, "completion_tokens")
    if taken is None or made is None:
        return None
    read_, written = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    cached = min(count_in(read_, "cached_tokens") or 0, taken)
    return Tokens(
        input=taken,
        output=made,
        cached=cached,
        cache_write=min(count_in(read_, "cache_write_tokens") or 0, taken - cached),
        reasoning=min(count_in(written, "reasoning_tokens") or 0, made),
    )


def _message(message: Message) -> dict[str, Any]:
    content: Any = message.content
    if not isinstance(content, str):
        content = [_part(one) for one in content]
    found: dict[str, Any] = {"role": message.role, "content": content}
    if message.tool_calls:
        found["content"] = content or None
        found["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
        back = sent_back(message.kept, _Back)
        if back is not None:
            _put_back(found, back)
    if message.role == "tool":
        found["tool_call_id"] = message.tool_call_id
    return found


def _put_back(message: dict[str, Any], back: _Back) -> None:
    for call, extra in zip(message["tool_calls"], back.extra_content or (), strict=False):
        if extra is not None:
            call["extra_content"] = extra
    if back.reasoning_content is not None:
        message["reasoning_content"] = back.reasoning_content
    if back.reasoning_details is not None:
        message["reasoning_details"] = back.reasoning_details


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    url = (
        part.url
        or f"data:{part.media_type or media_type(part.data)};base64,{b2a_base64(part.data, newline=False).decode()}"
    )
    return {"type": "image_url", "image_url": {"url": url}}


__all__ = ["DONE", "ChatCompletions", "Chunks"]
