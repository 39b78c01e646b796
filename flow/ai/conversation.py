"""An agent's answer with the messages that led to it: :class:`Conversation`."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from flow.ai.messages import Message

T = TypeVar("T")


class Conversation(msgspec.Struct, Generic[T], frozen=True):
    """What :func:`flow.ai.agent` gives with ``conversation=True``.

    :ivar answer: of the type that ``output=`` says. :ivar messages: all, from the prompt to the last answer, with the
        calls of tools and what came of them: what ``messages=`` of a further request takes. Without the system's at
        their beginning: that request has its own.
    """

    answer: T
    messages: tuple[Message, ...]


def without_system(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return messages without those of the system that they begin with. O(messages)."""
    at = next((at for at, one in enumerate(messages) if one.role != "system"), len(messages))
    return messages[at:]


__all__ = ["Conversation", "without_system"]
