"""What prompts give, as messages: :func:`messages_of`, :func:`system_of`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from flow.ai.images import whole
from flow.ai.messages import Image, Message, Part, Text
from flow.errors import UsageError, a_kind
from flow.expr.plain import in_text


def system_of(value: Any) -> tuple[Message, ...]:
    """Return the system message of a text; none if there is no text. :raises UsageError: if it is something else."""
    if value is None or value == "":
        return ()
    text = in_text(value)
    if text is None:
        raise _refused("system", "a text", value)
    return (Message("system", text),)


def messages_of(word: str, value: Any) -> tuple[Message, ...]:
    """Return messages of what a prompt gives. O(size).

    :param word: the argument that has given it, for messages.
    :param value: a text, an image, a message, or a list: of texts and images, or of messages. None is no message.
    :raises UsageError: if it is something else.
    """
    if value is None:
        return ()
    if isinstance(value, (Message, Mapping)):
        return (_message(word, value),)
    if isinstance(value, (list, tuple)):
        if value and all(isinstance(one, (Message, Mapping)) for one in value):
            return tuple([_message(word, one) for one in value])
        if word == "messages" and value:
            raise _refused(word, "a list of messages", value)
        return (Message("user", _parts(word, value)),) if value else ()
    if isinstance(value, (Image, Text)):
        return (Message("user", _parts(word, [value])),)
    text = in_text(value)
    if text is None or word == "messages":
        raise _refused(
            word, "a list of messages" if word == "messages" else "a text, or a list of texts and images", value
        )
    return (Message("user", text),)


def _message(word: str, value: Message | Mapping[str, Any]) -> Message:
    if isinstance(value, Message):
        found = value
    else:
        try:
            found = msgspec.convert(value, Message)
        except msgspec.ValidationError as error:
            raise _final(f"{word}: a message has the fields role and content: {error}") from None
    if isinstance(found.content, str):
        return found
    return msgspec.structs.replace(found, content=_parts(word, found.content))


def _parts(word: str, values: Sequence[Any]) -> tuple[Part, ...]:
    found: list[Part] = []
    for value in values:
        if isinstance(value, str):
            found.append(Text(str.__str__(value)))
        elif isinstance(value, Text):
            found.append(value)
        elif isinstance(value, Image):
            found.append(whole(value))
        else:
            raise _refused(word, "a list of texts and images, or of messages", values, value)
    return tuple(found)


def _refused(word: str, what: str, value: Any, one: Any = None) -> UsageError:
    within = f" that holds {a_kind(one)}" if one is not None else ""
    kind = "null (None)" if value is None else a_kind(value)
    return _final(
        f"{word}= must give {what}, and it has given {kind}{within}: in a text write json(x) or join(x, ', ')"
    )


def _final(text: str) -> UsageError:
    """Make an error that would be the same if the node were tried again."""
    error = UsageError(text)
    error.final = True
    return error


__all__ = ["messages_of", "system_of"]
