"""What a model answers that goes by rules, so that every answer can be checked.

It speaks as chat completions do, without streaming. To a text it answers that text and :data:`ANSWERED`. Where a form
is asked for, it fills that in. Where tools are offered and none has been called yet, it asks for the first. A token is
a word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MODEL = "rules-1"
ANSWERED = "is answered"
INPUT_PRICE, OUTPUT_PRICE = "0.40", "1.60"
"""USD per million tokens."""


def text_of(message: Mapping[str, Any]) -> str:
    """Return the text of a message, of all its parts."""
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


def answer_to(text: str) -> str:
    """Return what the model answers to a text."""
    return f"{text} {ANSWERED}"


def form_for(schema: Mapping[str, Any], text: str) -> Any:
    """Return a value of a JSON Schema's type: strings are the text, numbers its length, lists have one of them."""
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            return {name: form_for(one, text) for name, one in schema.get("properties", {}).items()}
        case "array":
            return [form_for(schema["items"], text)]
        case "integer" | "number":
            return len(text)
        case "boolean":
            return True
        case _:
            return text


def message_for(request: Mapping[str, Any], encode: Any) -> tuple[dict[str, Any], str]:
    """Return the message that answers a request, and why the model stops.

    :param encode: returns a value as JSON text.
    """
    messages: Sequence[Mapping[str, Any]] = request["messages"]
    text = next(text_of(one) for one in reversed(messages) if one["role"] == "user")
    tools = request.get("tools")
    if tools and not any(one["role"] == "tool" for one in messages):
        function = tools[0]["function"]
        arguments = encode(form_for(function["parameters"], text))
        call = {"id": "call-1", "type": "function", "function": {"name": function["name"], "arguments": arguments}}
        return {"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls"
    form = request.get("response_format")
    if form and form["type"] == "json_schema":
        return {"role": "assistant", "content": encode(form_for(form["json_schema"]["schema"], text))}, "stop"
    return {"role": "assistant", "content": answer_to(text)}, "stop"


def reply_to(request: Mapping[str, Any], number: int, encode: Any) -> dict[str, Any]:
    """Return the body that answers a request, with what it took in tokens."""
    message, finish = message_for(request, encode)
    asked = sum(len(text_of(one).split()) for one in request["messages"])
    given = len((message["content"] or "").split()) or 1
    usage = {"prompt_tokens": asked, "completion_tokens": given, "total_tokens": asked + given}
    choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
    return {
        "id": f"chatcmpl-{number}", "object": "chat.completion", "created": 1_700_000_000, "model": MODEL,
        "choices": [choice], "usage": usage,
    }  # fmt: skip
