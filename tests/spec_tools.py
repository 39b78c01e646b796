"""Tools and types that workflow files name, for nodes that ask language models."""

from __future__ import annotations

import msgspec

__all__ = ["Note", "fails", "search"]


class Note(msgspec.Struct):
    """A note about a page."""

    title: str
    words: int = 0


def search(query: str) -> str:
    """Look something up."""
    return f"found {query}"


def fails(query: str) -> str:
    """Look something up where nothing answers."""
    raise ConnectionError(query)
