"""Ways to ask the suite's model.

A module here, or one of :mod:`flow_bench.peers` called ``asked_...``, has a class ``Caller``, which is made with the
base URL of the model's server. Its ``ask(text)`` is one call to the model, and its ``work(text)`` is an agent with
the tool :func:`look_up`: two calls, and the tool's. Both return the model's last answer.
"""

from __future__ import annotations

from typing import Final

KEY: Final = "no-key-is-needed"
looked_up: list[str] = []
"""What the tool was asked for."""


def look_up(word: str) -> str:
    """Look a word up."""
    looked_up.append(word)
    return f"{word} stands in the book"
