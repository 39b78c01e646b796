"""Answers that are there already: :class:`Cache`."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import msgspec

from flow.ai.entries import Entries, Entry, InFiles, InMemory
from flow.ai.messages import Reply, Request
from flow.ai.provider import Provider
from flow.config.fields import is_int, is_number
from flow.errors import ConfigError, shown
from flow.logs import log_broken

_ENCODER: Final = msgspec.msgpack.Encoder(order="deterministic", enc_hook=repr)


class CacheStatistics(msgspec.Struct, frozen=True):
    """What a cache has done so far: answers that were there, requests that it had to let through, and its entries."""

    hits: int
    misses: int
    entries: int


class _Flight:
    """A request that is being made, and those that wait for its answer."""

    __slots__ = ("done", "reply")

    def __init__(self, done: Any) -> None:
        self.done = done
        self.reply: Reply | None = None


class Cache:
    """Keeps the answers of models, by provider (name and URL), model and the whole request, options included.

    >>> answers = ai.Cache(ttl=3_600)
    >>> ai.llm(dag, "summary", model="openai:gpt-4.1-mini", prompt="{{ text }}", cache=answers)

    Of requests that are made at the same time on one event loop and are the same, one goes to the provider, and the
    others get its answer. If that one fails or is cancelled, the next of them asks. Answers that were cut off, were
    refused or do not have the form that was asked for are not kept, and neither are errors.

    A cache may be shared by nodes, Dags, runs and threads. In memory an answer costs what its text does. In a folder
    there is one file per answer, which only its owner may read. Keys are digests (BLAKE2b), in which nothing of the
    request can be read; the answers themselves stand in the files.

    :param ttl: seconds for which an answer holds; None is for ever.
    :param path: a folder, which processes may share; it is made if there is none. None keeps answers in memory.
    :param size: most answers; then the one goes that was used (in a folder: written) the longest ago.
    :param clock: the Unix time, for tests.
    :raises ConfigError: listing every setting that is out of range.
    """

    __slots__ = ("_clock", "_entries", "_flights", "_hits", "_misses", "_path", "_ttl")

    def __init__(
        self,
        ttl: float | None = None,
        path: str | os.PathLike[str] | None = None,
        size: int = 1_000,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        faults = []
        if ttl is not None and (not is_number(ttl) or ttl <= 0):
            faults.append(f"ttl must be a number of seconds > 0, or None for ever, not {shown(ttl)}")
        if not is_int(size) or size < 1:
            faults.append(f"size must be an integer of at least 1, not {shown(size)}")
        if path is not None and not isinstance(path, (str, os.PathLike)):
            faults.append(f"path must be that of a folder, or None for memory, not {shown(path)}")
        if not faults:
            self._ttl, self._clock, self._path = ttl, clock, path
            self._hits = self._misses = 0
            self._flights: dict[tuple[str, Any], _Flight] = {}
            try:
                self._entries: Entries = InMemory(size) if path is None else InFiles(Path(path), size)
            except OSError as error:
                faults.append(f"path {shown(os.fspath(path or ''))} cannot be used as a folder: {error.strerror}")
        if faults:
            raise ConfigError("ai.Cache", faults)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        place = "in memory" if self._path is None else f"in {shown(os.fspath(self._path))}"
        return f"<ai.Cache {place}: {self._hits} hits, {self._misses} misses>"

    def statistics(self) -> CacheStatistics:
        """Return what it has done so far, in this process."""
        return CacheStatistics(self._hits, self._misses, len(self))

    def clear(self) -> None:
        """Forget all answers. O(entries)."""
        self._entries.clear()

    async def reply(
        self,
        key: str,
        make: Callable[[], Awaitable[Reply]],
        keeps: Callable[[Reply], bool],
        released: Callable[[], AbstractAsyncContextManager[None]],
    ) -> tuple[Reply, bool]:
        """Return the answer under ``key``, and whether it was there; else that of ``make``.

        :param keeps: tells whether an answer is to be kept, and given to those that wait for it.
        :param released: what is entered while another request is waited for: it gives the slot of the node back, which
            that one may need.
        """
        from anyio import Event
        from anyio.lowlevel import current_token

        at = (key, current_token())
        while True:
            found = await self._read(key)
            if found is not None:
                self._hits += 1
                return found, True
            flight = self._flights.get(at)
            if flight is None:
                return await self._made(key, at, make, keeps, _Flight(Event())), False
            async with released():
                await flight.done.wait()
            if flight.reply is not None:
                self._hits += 1
                return flight.reply, True

    async def _made(
        self,
        key: str,
        at: tuple[str, Any],
        make: Callable[[], Awaitable[Reply]],
        keeps: Callable[[Reply], bool],
        flight: _Flight,
    ) -> Reply:
        self._flights[at] = flight
        self._misses += 1
        try:
            reply = await make()
            if keeps(reply):
                flight.reply = reply
                await self._write(key, reply)
        finally:
            del self._flights[at]
            flight.done.set()
        return reply

    async def _read(self, key: str) -> Reply | None:
        entry: Entry | None = await _called(self._entries, self._entries.read, key)
        if entry is None or (self._ttl is not None and self._clock() - entry.at >= self._ttl):
            return None
        return entry.reply

    async def _write(self, key: str, reply: Reply) -> None:
        try:
            await _called(self._entries, self._entries.write, key, Entry(self._clock(), reply))
        except OSError as error:  # the answer is there all the same
            log_broken("an answer could not be kept in %r", self, error=error)


async def _called(entries: Entries, method: Callable[..., Any], *arguments: Any) -> Any:
    if not entries.blocks:
        return method(*arguments)
    from anyio import to_thread

    return await to_thread.run_sync(method, *arguments)


def key_of(provider: Provider | str, request: Request) -> str:
    """Return the key of a request: 40 digits, the same for requests that say the same in another order of fields.

    :param provider: what answers, by its name and, where it has one, its ``place`` (a URL): two of one name are told
        apart. A text is a name alone.
    """
    name = provider if isinstance(provider, str) else provider.name
    place = getattr(provider, "place", "")
    data = _ENCODER.encode((name, place if isinstance(place, str) else "", request))
    return blake2b(data, digest_size=20, person=b"flow.ai").hexdigest()


__all__ = ["Cache", "CacheStatistics", "key_of"]
