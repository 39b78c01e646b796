"""A model that answers by rules, as a server of chat completions: what the programs beside this file talk to.

It answers as openai's servers do, on a port of the loopback: `with model.Server() as server:`. What it has been asked,
and what that costs by the list prices of gpt-4.1-mini, it
counts itself. A token is four
characters. It takes 2 ms for a summary.
"""

import json
import re
import threading
import time
from collections import Counter
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

INPUT, OUTPUT = Decimal("0.40") / 1_000_000, Decimal("1.60") / 1_000_000
"""USD per token."""


class Server:
    """A server that runs.

    :ivar busy: of every so many requests for a summary, one is answered by 429 at first; 0 is none.
    :ivar asked: how often each kind of request was answered.
    :ivar spent: in USD. :ivar most: requests in flight at the same time.
    """

    def __init__(self, busy: int = 0) -> None:
        self.busy, self.asked, self.spent = busy, Counter[str](), Decimal(0)
        self.in_flight = self.most = self._summaries = 0
        self._refused: set[str] = set()
        self._lock = threading.Lock()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, answer = owner.answered(request)
                streams = status == 200 and request.get("stream")
                body = pieces(answer) if streams else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/event-stream" if streams else "application/json")
                self.send_header("Content-Length", str(len(body)))
                if status == 429:
                    self.send_header("Retry-After", "0.01")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"

    def __enter__(self) -> "Server":
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def answered(self, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """The status and the body for a request."""
        with self._lock:
            self.in_flight += 1
            self.most = max(self.most, self.in_flight)
            if self.busy and self._is_refused(text_of(request["messages"])):
                self.in_flight -= 1
                return 429, {"error": {"message": "too many requests", "type": "requests", "code": "rate_limit"}}
        if "is refused" in text_of(request["messages"]):
            self.in_flight -= 1
            return 400, {"error": {"message": "this document is refused", "type": "invalid_request_error"}}
        kind, message = reply_to(request)
        if kind == "summary":
            time.sleep(0.002)
        asked, given = tokens(request["messages"]), tokens([message])
        with self._lock:
            self.in_flight -= 1
            self.asked[kind] += 1
            self.spent += asked * INPUT + given * OUTPUT
        finish = "tool_calls" if "tool_calls" in message else "stop"
        choice = {"index": 0, "message": {"role": "assistant", "content": None, **message}, "finish_reason": finish}
        usage = {"prompt_tokens": asked, "completion_tokens": given, "total_tokens": asked + given}
        about = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000, "model": "gpt-4.1-mini"}
        return 200, {**about, "choices": [choice], "usage": usage}

    def _is_refused(self, text: str) -> bool:
        self._summaries += "Summarise" in text and text not in self._refused
        if "Summarise" not in text or self._summaries % self.busy or text in self._refused:
            return False
        self._refused.add(text)
        return True


def pieces(answer: dict[str, Any]) -> bytes:
    """The same answer as a stream, in one piece."""
    (choice,) = answer["choices"]
    delta = {**choice["message"]}
    if "tool_calls" in delta:
        delta["tool_calls"] = [{"index": at, **call} for at, call in enumerate(delta["tool_calls"])]
    about = {**answer, "object": "chat.completion.chunk", "usage": None}
    piece = {**about, "choices": [{"index": 0, "delta": delta, "finish_reason": choice["finish_reason"]}]}
    last = {**about, "choices": [], "usage": answer["usage"]}
    return "".join(f"data: {json.dumps(one)}\n\n" for one in (piece, last)).encode() + b"data: [DONE]\n\n"


def tokens(messages: list[dict[str, Any]]) -> int:
    """How many tokens these messages are."""
    return sum(len(json.dumps(one.get("content") or one.get("tool_calls"))) // 4 for one in messages)


def text_of(messages: list[dict[str, Any]]) -> str:
    """All that a person or the program has said."""
    found = []
    for message in messages:
        content = message.get("content") or ""
        parts = [content] if isinstance(content, str) else [part.get("text", "") for part in content]
        found += parts if message["role"] in ("user", "system") else []
    return "\n".join(found)


def reply_to(request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """What kind of request it is, and the message that answers it."""
    messages, text = request["messages"], text_of(request["messages"])
    names = [tool["function"]["name"] for tool in request.get("tools", [])]
    if "find_order" in names:
        return "agent", agent_reply(text, [one for one in messages if one["role"] == "tool"])
    if "invoice" in text.lower():
        tried = "Correct" in text or any(one["role"] == "assistant" for one in messages)
        return "extract", formed(request, {"number": "F-17", "total": 120 if tried else -120, "currency": "EUR"})
    if "classify" in text.lower():
        kinds = {"charged": "billing", "crashes": "technical"}
        kind = next((kind for word, kind in kinds.items() if word in text), "other")
        return "classify", formed(request, {"kind": kind})
    if "summarise" in text.lower():
        number = re.search(r"document (\d+)", text)
        return "summary", {"content": f"A summary of document {number[1] if number else '?'}"}
    who = next((one for one in ("billing", "technical") if one in text), "general")
    return who, {"content": f"An answer of the {who} desk"}


def agent_reply(text: str, told: list[dict[str, Any]]) -> dict[str, Any]:
    """It looks for the order, asks for a refund, and says what came of it."""
    if not told:
        return called("find_order", {"number": 7}, 1)
    if len(told) == 1:
        return called("refund", {"number": 7, "amount": 30}, 2)
    done = "refunded 30" in str(told[-1]["content"])
    return {"content": "Order 7 is refunded" if done else "Order 7 is not refunded"}


def called(name: str, arguments: dict[str, Any], number: int) -> dict[str, Any]:
    """A message that asks for a tool."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"tool_calls": [{"id": f"call-{number}", "type": "function", "function": function}]}


def formed(request: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """A value in the form that is asked for: the answer itself, or the arguments of the one tool there is."""
    if request.get("response_format"):
        return {"content": json.dumps(value)}
    return called(request["tools"][0]["function"]["name"], value, 1)
