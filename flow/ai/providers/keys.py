"""A provider's key: :class:`Key`. It is in no repr, and what is shown is searched for it."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable
from inspect import isawaitable
from typing import Any, Final, Self, TypeAlias

KeySource: TypeAlias = str | Callable[[], str | Awaitable[str]] | None
"""A key, a function that returns it (or an awaitable of it), or None: an environment variable has it."""

SHORTEST: Final = 4
"""Characters of the shortest text that is hidden: shorter ones are no secrets, and parts of many words."""

REMEMBERED: Final = 8
"""Keys that are hidden: the newest ones. A function may return others and others, as those that expire."""

HIDDEN: Final = "***"

_SECRET: Final = ("key", "auth", "token", "secret", "cookie", "password", "credential", "signature")


class KeyMissing(Exception):
    """There is no key, or none that can be sent. The message says what to do; it does not hold the key."""


class Key:
    """Where a key comes from, and which texts are hidden because of it.

    :param variable: the environment variable that is read at the first request if ``source`` is None.
    :param required: whether requests make no sense without a key. :param also: other texts that are hidden.
    """

    __slots__ = ("_always", "_recent", "_required", "_source", "variable")

    def __init__(self, source: KeySource, variable: str, *, required: bool = True, also: Iterable[str] = ()) -> None:
        self._source = source
        self.variable = variable
        self._required = required
        self._always = _secrets(also)
        self._recent: dict[str, None] = {}  # the newest is the last

    async def text(self) -> str:
        """Return the key; empty if there is none, and none is needed.

        :raises KeyMissing: if one is needed, or a header cannot hold it.
        """
        source = self._source
        if source is None:
            source = os.environ.get(self.variable, "").strip()
            if source:
                self._source = source  # read once: the environment may change during a run
            elif self._required:
                raise KeyMissing(f"there is no key: set the environment variable {self.variable}, or give api_key=")
        key = source() if callable(source) else source
        if isawaitable(key):
            key = await key
        if not isinstance(key, str):
            raise KeyMissing(f"the function given as api_key= returned no text but {type(key).__name__}")
        key = key.strip()
        if not (key.isascii() and key.isprintable()):
            raise KeyMissing("the key has characters that no header can hold: it is most likely not a key")
        self.hide((key,))
        return key

    def hide(self, texts: Iterable[str]) -> None:
        """Remember what :meth:`redact` hides: values of header fields, and of ``Bearer x`` the ``x``. O(1) for each."""
        for text in _secrets(texts):
            self._recent.pop(text, None)
            self._recent[text] = None
        while len(self._recent) > REMEMBERED:
            del self._recent[next(iter(self._recent))]

    def redact(self, text: str) -> str:
        """Return ``text`` with ``***`` for every key in it, also where it is written as in a URL."""
        from urllib.parse import quote

        for secret in sorted({*self._always, *self._recent}, key=len, reverse=True):
            text = text.replace(secret, HIDDEN).replace(quote(secret, safe=""), HIDDEN)
        return text

    def __repr__(self) -> str:
        if self._source is None:
            return f"Key(from {self.variable})"
        return "Key(from a function)" if callable(self._source) else f"Key({HIDDEN if self._source else 'none'})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def __reduce__(self) -> Any:
        raise TypeError(
            "a key is not pickled: it would lie open in what comes of it. Make the provider where it is used"
        )


def _secrets(values: Iterable[str]) -> tuple[str, ...]:
    texts = (text for value in values for text in (value, value.rpartition(" ")[2]))
    return tuple(text for text in texts if len(text) >= SHORTEST)


def variable_of(name: str) -> str:
    """Return the environment variable that has the key of the provider ``name``: ``OPENAI_API_KEY``."""
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in name.upper()) + "_API_KEY"


def is_secret(field: str) -> bool:
    """Tell whether the header ``field`` is likely to hold something secret. O(len(field))."""
    name = field.lower()
    return any(word in name for word in _SECRET)


__all__ = ["HIDDEN", "Key", "KeyMissing", "KeySource", "is_secret", "variable_of"]
