"""A provider's key: :class:`Key`. It is in no repr, and what is shown is searched for it: :class:`Sent`."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable
from inspect import isawaitable
from threading import Lock
from typing import Any, Final, Self, TypeAlias
from weakref import WeakSet

from flow.ai.providers.hiding import HIDDEN, SHORTEST, hidden

KeySource: TypeAlias = str | Callable[[], str | Awaitable[str]] | None
"""A key, a function that returns it (or an awaitable of it), or None: an environment variable has it."""

REMEMBERED: Final = 8
"""Secrets of requests that have ended which are hidden: the newest ones. A function may return others and others."""

_SECRET: Final = ("key", "auth", "token", "secret", "cookie", "password", "credential", "signature", "session")

_OPEN: Final = frozenset({"api-version", "version"})
"""Parameters of a query that are no secrets. All others are taken for some."""


class KeyMissing(Exception):
    """There is no key, or none that can be sent. The message says what to do; it does not hold the key."""


class Key:
    """Where a key comes from, and which texts are hidden because of it.

    :param variable: the environment variable that is read at the first request if ``source`` is None.
    :param required: whether requests make no sense without a key. :param also: other texts that are hidden.
    """

    __slots__ = ("_always", "_last", "_lock", "_recent", "_required", "_source", "_under_way", "variable")

    def __init__(self, source: KeySource, variable: str, *, required: bool = True, also: Iterable[str] = ()) -> None:
        self._source = source
        self.variable = variable
        self._required = required
        self._always = _secrets(also)
        self._recent: dict[str, None] = {}  # the newest is the last
        self._last: tuple[str, tuple[str, ...]] = ("", ())
        self._under_way: WeakSet[Sent] = WeakSet()
        self._lock = Lock()

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
        return key

    def request(self) -> Sent:
        """Return what remembers the secrets of a request."""
        sent = Sent(self)
        with self._lock:
            self._under_way.add(sent)
        return sent

    def secrets_of(self, key: str) -> tuple[str, ...]:
        """Return what is hidden of a key, and remember it: most keys are that of the request before. O(1)."""
        last = self._last
        if last[0] != key:
            last = self._last = (key, _secrets((key,)))
        self.hide(last[1])
        return last[1]

    def hide(self, texts: Iterable[str]) -> None:
        """Remember what is hidden after the request has ended, too. O(1) for each."""
        with self._lock:
            for text in texts:
                self._recent.pop(text, None)
                self._recent[text] = None
            while len(self._recent) > REMEMBERED:
                del self._recent[next(iter(self._recent))]

    def redact(self, text: str) -> str:
        """Return ``text`` with ``***`` for every secret in it: those of all requests under way, and the newest ones."""
        with self._lock:
            secrets = {*self._always, *self._recent, *(one for sent in self._under_way for one in sent.texts)}
        return hidden(text, secrets)

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


class Sent:
    """The secrets of one request: whatever any request shows as long as this is there hides them.

    :ivar texts: that are hidden.
    """

    __slots__ = ("__weakref__", "_key", "texts")

    def __init__(self, key: Key) -> None:
        self._key = key
        self.texts: tuple[str, ...] = ()

    async def key(self) -> str:
        """Return the key for this request, which is hidden from now on. :raises KeyMissing: see :meth:`Key.text`."""
        key = await self._key.text()
        self.texts = self._key.secrets_of(key)
        return key

    def hide(self, texts: Iterable[str]) -> None:
        """Hide values of header fields, of ``Bearer x`` also the ``x``, and what stands in a query."""
        found = _secrets(texts)
        self.texts = tuple(dict.fromkeys((*self.texts, *found)))
        self._key.hide(found)

    def hide_request(self, request: Any) -> None:
        """Hide what is secret in a request of an HTTP client: the client may have put there what we do not know."""
        fields = getattr(request, "headers", {})
        self.hide(value for field, value in fields.items() if is_secret(field))
        query = getattr(getattr(request, "url", None), "query", b"")
        self.hide(in_query(query.decode("ascii", "replace") if isinstance(query, bytes) else str(query)))

    def redact(self, text: str) -> str:
        """Return ``text`` with ``***`` for every secret in it."""
        return self._key.redact(text)


def _secrets(values: Iterable[str]) -> tuple[str, ...]:
    texts = (text for value in values for text in (value, value.rpartition(" ")[2], _password_of(value)))
    return tuple(text for text in texts if len(text) >= SHORTEST)


def _password_of(value: str) -> str:
    """Return the password in a header field of the kind ``Basic``; empty if it is none."""
    scheme, _, rest = value.partition(" ")
    if scheme.lower() != "basic":
        return ""
    from base64 import b64decode

    try:
        return b64decode(rest).decode("utf-8").partition(":")[2]
    except ValueError:
        return ""


def in_query(query: str) -> list[str]:
    """Return what may be secret in the query of a URL: each value, but that of ``api-version``. O(length)."""
    from urllib.parse import unquote, unquote_plus

    pairs = (part.partition("=") for part in query.split("&"))
    values = [value if equals else name for name, equals, value in pairs if name.lower() not in _OPEN]
    return [text for value in values for text in (value, unquote(value), unquote_plus(value))]


def variable_of(name: str) -> str:
    """Return the environment variable that has the key of the provider ``name``: ``OPENAI_API_KEY``."""
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in name.upper()) + "_API_KEY"


def is_secret(field: str) -> bool:
    """Tell whether the header ``field`` is likely to hold something secret. O(len(field))."""
    name = field.lower()
    return any(word in name for word in _SECRET)


__all__ = ["HIDDEN", "Key", "KeyMissing", "KeySource", "Sent", "in_query", "is_secret", "variable_of"]
