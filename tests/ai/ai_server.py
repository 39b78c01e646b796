"""A server on the loopback that speaks as OpenAI and Anthropic do, scripted: what tests and benchmarks ask instead.

::

    with serving("fine", Answer(status=429, headers={"retry-after": "2"})) as server:
        provider = OpenAICompatible(server.openai, "key")     # or Anthropic("key", server.anthropic)
        ...
        server.requests, server.usage

The same as a process, which prints its URL in one line: ``python tests/ai/ai_server.py --port 0 --words 20``.
``GET /_usage`` returns the totals as JSON, ``GET /_requests`` when what was asked, ``POST /_reset`` forgets both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeAlias


@dataclass(frozen=True)
class Usage:
    """Tokens, as the server says and counts them."""

    input: int = 0
    output: int = 0
    cached: int = 0
    reasoning: int = 0
    requests: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(a + b for a, b in zip(asdict(self).values(), asdict(other).values(), strict=True)))


@dataclass(frozen=True)
class Asked:
    """One request that has come."""

    path: str
    headers: Mapping[str, str]
    body: Any
    at: float = 0.0

    @property
    def anthropic(self) -> bool:
        return self.path.split("?")[0].endswith("/messages")

    @property
    def stream(self) -> bool:
        return bool(self.body.get("stream"))

    @property
    def key(self) -> str:
        """The key that came with it, wherever that was."""
        found = self.headers.get("x-api-key") or self.headers.get("api-key") or self.headers.get("authorization", "")
        return found.removeprefix("Bearer ")

    @property
    def texts(self) -> list[str]:
        """The texts of all messages, the system's first."""
        contents = [self.body.get("system", ""), *(one.get("content") for one in self.body.get("messages", ()))]
        return [text for content in contents for text in _texts_of(content)]


def _texts_of(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content] if content else []
    blocks = content if isinstance(content, list) else []
    return [text for block in blocks for text in _texts_of(block.get("text") or block.get("content"))]


@dataclass(frozen=True)
class Answer:
    """What is answered to one request.

    :param calls: tools that are asked for: (name, arguments). :param usage: None: words of the texts are counted.
    :param finish: as the protocol says it; empty: what fits. :param error: (code, message) of a status from 300 on.
    :param body: these bytes, instead of all that. :param delay: seconds before it. :param pause: between pieces.
    :param pieces: of the text when it is streamed; empty: its words.
    :param cut: the connection is cut after so many events of a stream, or bytes of a body.
    :param end: a stream ends properly after so many events. :param hold: it waits there for :meth:`Server.release`.
    """

    text: str = "fine"
    calls: tuple[tuple[str, Any], ...] = ()
    usage: Usage | None = None
    finish: str = ""
    refusal: str = ""
    status: int = 200
    error: tuple[str, str] = ("", "")
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str | None = None
    delay: float = 0.0
    pause: float = 0.0
    pieces: tuple[str, ...] = ()
    cut: int | None = None
    end: int | None = None
    hold: int | None = None

    def used(self, asked: Asked) -> Usage:
        """What is billed: nothing for an error."""
        if self.status >= 300:
            return Usage(requests=1)
        words = Usage(
            sum(len(t.split()) for t in asked.texts), len((self.text or self.refusal).split()) + len(self.calls)
        )
        return replace(self.usage or words, requests=1)

    def split(self) -> tuple[str, ...]:
        return self.pieces or tuple(word + " " for word in self.text.split(" ")[:-1]) + (self.text.split(" ")[-1],)


Script: TypeAlias = "str | Answer | Callable[[Asked], str | Answer]"


def limited(retry_after: str = "2", message: str = "slow down", **fields: Any) -> Answer:
    """The answer that too many requests get."""
    return Answer(status=429, error=("rate_limit_exceeded", message), headers={"retry-after": retry_after}, **fields)


class Server:
    """What runs. :ivar url: its root. :ivar openai: a ``base_url`` for OpenAI's clients. :ivar anthropic: likewise.

    :ivar requests: what was asked, in the order of coming. :ivar usage: all that was billed.
    :ivar connections: how many were made. :ivar lost: how many clients have left before their answer's end.
    """

    def __init__(self, script: tuple[Script, ...]) -> None:
        self.url = ""
        self.requests: list[Asked] = []
        self.usage = Usage()
        self.served: list[tuple[Asked, Usage]] = []
        self.connections = 0
        self.lost = 0
        self._script = script
        self._next = 0
        self._gate = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._open: set[_Connection] = set()

    @property
    def openai(self) -> str:
        return f"{self.url}/v1"

    @property
    def anthropic(self) -> str:
        return self.url

    def release(self) -> None:
        """Let what is held go on, now and later."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._gate.set)

    def reset(self) -> None:
        """Forget what was asked and used."""
        self.requests.clear()
        self.served.clear()
        self.usage = Usage()

    def answer(self, asked: Asked) -> Answer:
        """Choose the answer: the script's next; a function that is its last answers all further ones too."""
        self.requests.append(asked)
        last = self._script[-1] if self._script else (lambda asked: "fine")
        if self._next < len(self._script):
            found: Any = self._script[self._next]
            self._next += 1
        elif callable(last):
            found = last
        else:
            found = Answer(status=501, error=("script", f"the script has {len(self._script)} answers, and no more"))
        found = found(asked) if callable(found) else found
        answer = Answer(found) if isinstance(found, str) else found
        used = answer.used(asked)
        self.served.append((asked, used))
        self.usage += used
        return answer

    async def _start(self, port: int) -> asyncio.AbstractServer:
        loop = self._loop = asyncio.get_running_loop()
        listening = await loop.create_server(lambda: _Connection(self), "127.0.0.1", port, backlog=4096)
        self.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        return listening


class _Connection(asyncio.Protocol):
    """Reads requests with a content-length, one after another, and writes their answers."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.came = b""
        self.task: asyncio.Task[None] | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.server.connections += 1
        self.server._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.server._open.discard(self)
        if self.task is not None and not self.task.done():
            self.server.lost += 1
            self.task.cancel()

    def data_received(self, data: bytes) -> None:
        self.came += data
        head, blank, rest = self.came.partition(b"\r\n\r\n")
        if not blank:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = int(headers.get("content-length", 0))
        if len(rest) < size:
            return
        self.came = rest[size:]
        method, path, _ = first.split(" ", 2)
        if path.startswith("/_"):
            self._send(200, {}, json.dumps(self._told(path)).encode(), "application/json")
            return
        asked = Asked(path, headers, json.loads(rest[:size] or b"{}"), time.monotonic())
        answer = self.server.answer(asked)
        streams = asked.stream and answer.status < 300 and answer.body is None
        if streams or answer.delay or answer.hold is not None:
            self.task = asyncio.get_running_loop().create_task(self._slowly(asked, answer, streams))
        else:
            self._at_once(asked, answer)

    def _told(self, path: str) -> Any:
        server = self.server
        if path == "/_reset":
            server.reset()
        if path == "/_requests":
            return [{"at": one.at, "model": one.body.get("model"), **asdict(used)} for one, used in server.served]
        return asdict(server.usage)

    def _at_once(self, asked: Asked, answer: Answer) -> None:
        body = answer.body
        if body is None:
            body = json.dumps(_whole(asked, answer) if answer.status < 300 else _error(asked, answer)).encode()
        kind = "application/json" if answer.content_type is None else answer.content_type
        self._send(answer.status, answer.headers, body, kind, answer.cut)

    def _send(self, status: int, headers: Mapping[str, str], body: bytes, kind: str, cut: int | None = None) -> None:
        fields = {"content-type": kind, "content-length": str(len(body)), **headers} if kind else {
            "content-length": str(len(body)), **headers
        }  # fmt: skip
        self.transport.write(_head(status, fields) + (body if cut is None else body[:cut]))
        if cut is not None:
            self.transport.close()

    async def _slowly(self, asked: Asked, answer: Answer, streams: bool) -> None:
        if answer.delay:
            await asyncio.sleep(answer.delay)
        if not streams:
            if answer.hold is not None:
                await self.server._gate.wait()
            self._at_once(asked, answer)
            return
        kind = "text/event-stream; charset=utf-8" if answer.content_type is None else answer.content_type
        self.transport.write(_head(200, {"content-type": kind, "transfer-encoding": "chunked", **answer.headers}))
        for i, event in enumerate([*_events(asked, answer), None]):
            if i == answer.hold:
                await self.server._gate.wait()
            if i == answer.cut:
                self.transport.close()
                return
            if event is None or i == answer.end:
                break
            data = event if isinstance(event, bytes) else _event(asked, event)
            self.transport.write(b"%x\r\n%s\r\n" % (len(data), data))
            if answer.pause:
                await asyncio.sleep(answer.pause)
        self.transport.write(b"0\r\n\r\n")


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {'OK' if status < 300 else 'Not so'}", *(f"{k}: {v}" for k, v in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _event(asked: Asked, event: dict[str, Any]) -> bytes:
    name = f"event: {event['type']}\n" if asked.anthropic else ""
    return f"{name}data: {json.dumps(event)}\n\n".encode()


def _error(asked: Asked, answer: Answer) -> dict[str, Any]:
    code, message = answer.error
    if asked.anthropic:
        return {"type": "error", "error": {"type": code, "message": message}}
    return {"error": {"message": message, "type": code, "param": None, "code": code}}


def _whole(asked: Asked, answer: Answer) -> dict[str, Any]:
    used = answer.used(asked)
    if asked.anthropic:
        texts = [{"type": "text", "text": answer.text}] if answer.text else []
        return {
            **_message(asked, _used_anthropic(used)),
            "content": texts + [_tool_use(i, call) for i, call in enumerate(answer.calls)],
            "stop_reason": _stop_reason(answer),
            "stop_details": {"type": "refusal", "explanation": answer.refusal} if answer.refusal else None,
        }
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None, "refusal": answer.refusal or None}
    if answer.calls:
        message["tool_calls"] = [_function(i, call) for i, call in enumerate(answer.calls)]
    choice = {"index": 0, "message": message, "finish_reason": _finish_reason(answer)}
    return {**_completion(asked, "chat.completion"), "choices": [choice], "usage": _used_openai(used)}


def _events(asked: Asked, answer: Answer) -> Iterator[dict[str, Any] | bytes]:
    return _events_anthropic(asked, answer) if asked.anthropic else _events_openai(asked, answer)


def _events_openai(asked: Asked, answer: Answer) -> Iterator[dict[str, Any] | bytes]:
    start = {**_completion(asked, "chat.completion.chunk"), "usage": None}

    def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        return {**start, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

    yield chunk({"role": "assistant", "content": ""})
    if answer.refusal:
        yield chunk({"refusal": answer.refusal})
    for piece in answer.split() if answer.text else ():
        yield chunk({"content": piece})
    for i, call in enumerate(answer.calls):
        whole = _function(i, call)
        text = whole["function"]["arguments"]
        yield chunk({"tool_calls": [{**whole, "index": i, "function": {"name": call[0], "arguments": ""}}]})
        for part in (text[: len(text) // 2], text[len(text) // 2 :]):
            yield chunk({"tool_calls": [{"index": i, "function": {"arguments": part}}]})
    yield chunk({}, _finish_reason(answer))
    if (asked.body.get("stream_options") or {}).get("include_usage"):
        yield {**start, "choices": [], "usage": _used_openai(answer.used(asked))}
    yield b"data: [DONE]\n\n"


def _events_anthropic(asked: Asked, answer: Answer) -> Iterator[dict[str, Any] | bytes]:
    used = answer.used(asked)
    started = {**_used_anthropic(used), "output_tokens": 1}
    yield {"type": "message_start", "message": {**_message(asked, started), "content": [], "stop_reason": None}}
    yield {"type": "ping"}
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    if answer.text:
        pieces = [{"type": "text_delta", "text": piece} for piece in answer.split()]
        blocks.append(({"type": "text", "text": ""}, pieces))
    for i, call in enumerate(answer.calls):
        text = json.dumps(call[1])
        parts = ["", text[: len(text) // 2], text[len(text) // 2 :]]
        deltas = [{"type": "input_json_delta", "partial_json": part} for part in parts]
        blocks.append(({**_tool_use(i, call), "input": {}}, deltas))
    for index, (block, deltas) in enumerate(blocks):
        yield {"type": "content_block_start", "index": index, "content_block": block}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    details = {"type": "refusal", "explanation": answer.refusal} if answer.refusal else None
    ending = {"stop_reason": _stop_reason(answer), "stop_sequence": None, "stop_details": details}
    yield {"type": "message_delta", "delta": ending, "usage": {"output_tokens": used.output}}
    yield {"type": "message_stop"}


def _completion(asked: Asked, kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": asked.body.get("model")}


def _message(asked: Asked, usage: dict[str, Any]) -> dict[str, Any]:
    model = asked.body.get("model")
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": model, "stop_sequence": None, "usage": usage,
    }  # fmt: skip


def _function(i: int, call: tuple[str, Any]) -> dict[str, Any]:
    arguments = call[1] if isinstance(call[1], str) else json.dumps(call[1])
    return {"id": f"call_{i}", "type": "function", "function": {"name": call[0], "arguments": arguments}}


def _tool_use(i: int, call: tuple[str, Any]) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_{i}", "name": call[0], "input": call[1]}


def _used_openai(used: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": used.input,
        "completion_tokens": used.output,
        "total_tokens": used.input + used.output,
        "prompt_tokens_details": {"cached_tokens": used.cached},
        "completion_tokens_details": {"reasoning_tokens": used.reasoning},
    }


def _used_anthropic(used: Usage) -> dict[str, Any]:
    return {
        "input_tokens": used.input - used.cached,
        "cache_read_input_tokens": used.cached,
        "cache_creation_input_tokens": 0,
        "output_tokens": used.output,
        "output_tokens_details": {"thinking_tokens": used.reasoning},
    }


def _finish_reason(answer: Answer) -> str:
    return answer.finish or ("tool_calls" if answer.calls else "stop")


def _stop_reason(answer: Answer) -> str:
    usual = "refusal" if answer.refusal else "tool_use" if answer.calls else "end_turn"
    return {"length": "max_tokens", "stop": "end_turn"}.get(answer.finish, answer.finish) or usual


@contextmanager
def serving(*script: Script) -> Iterator[Server]:
    """Run a server in a thread. Without a script it answers ``fine``."""
    server = Server(script)
    began, ending = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        listening = await server._start(0)
        began.set()
        await ending.wait()
        listening.close()
        for connection in list(server._open):
            connection.transport.abort()
        await asyncio.sleep(0)

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run, name="ai-server", daemon=True)
    thread.start()
    if not began.wait(10):
        raise RuntimeError("the server has not started")
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(ending.set)
        thread.join(10)


async def _serve_for_ever(port: int, script: tuple[Script, ...]) -> None:
    server = Server(script)
    listening = await server._start(port)
    print(server.url, flush=True)
    await listening.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--words", type=int, default=8, help="of each answer")
    parser.add_argument("--input-tokens", type=int, help="that each answer says; else words are counted")
    parser.add_argument("--output-tokens", type=int, help="likewise")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between the pieces of a stream")
    said = parser.parse_args()
    answer = Answer(" ".join(["word"] * said.words), delay=said.delay, pause=said.pause)

    def script(asked: Asked) -> Answer:
        counted = answer.used(asked)
        taken = counted.input if said.input_tokens is None else said.input_tokens
        made = counted.output if said.output_tokens is None else said.output_tokens
        return replace(answer, usage=Usage(taken, made))

    try:
        asyncio.run(_serve_for_ever(said.port, (script,)))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
