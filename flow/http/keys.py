"""Keys of a service: a file that holds only their hashes, and one-time links to its page with the sessions they begin.

A key is 32 random bytes. SHA-256 is right for such a secret: nobody can try 2**256 of them. The slow and salted hashes
that passwords need would only cost each request their time.
"""

from __future__ import annotations

import os
import shlex
import stat
import sys
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from hashlib import sha256
from hmac import compare_digest
from hmac import digest as hmac_digest
from logging import getLogger
from secrets import token_bytes, token_hex
from threading import Lock
from typing import Any, Final

import msgspec

from flow import files
from flow.config.fields import is_number
from flow.errors import MAX_PATH_SHOWN, ConfigError, StoreError, UsageError, nearest, printable, shown
from flow.logs import NAME, fields
from flow.store.sqlite.lock import FileLock
from flow.types import NAME_RULE, is_name

SCOPES: Final = ("read", "run", "admin")
"""What a key allows. Each includes those before it."""

INCLUDED: Final = {scope: frozenset(SCOPES[: index + 1]) for index, scope in enumerate(SCOPES)}
SESSION: Final = 12 * 3_600.0
"""Seconds that a session of the page lasts."""

LINK: Final = 600.0
"""Seconds within which a link must be opened."""

EVERY: Final = 1.0
"""Seconds between two looks at the file."""

WAIT: Final = 10.0
"""Seconds that a change waits for others."""

MAX_FILE: Final = 16 * 2**20
MAX_TEXT: Final = 256
"""Longest text of a key, a link or a session that is looked at: ours are shorter."""

_VERSION: Final = 1
_NO_DIGEST: Final = bytes(32)
"""What a key is compared with whose id there is not: no text that anybody knows has this hash."""

_LINK_CONTEXT: Final = b"flow link 1\0"
_SESSION_CONTEXT: Final = b"flow session 1\0"


class Key(msgspec.Struct, frozen=True):
    """Who asks. :ivar scopes: all that it may, of :data:`SCOPES`. :ivar created: in UTC, as ISO 8601."""

    id: str
    name: str
    scopes: frozenset[str]
    created: str = ""

    @property
    def scope(self) -> str:
        """The most that it may."""
        return SCOPES[len(self.scopes) - 1]


class _Row(msgspec.Struct, frozen=True):
    """A key as the file has it. :ivar hash: SHA-256 of the key's text, in hex."""

    id: str
    name: str
    scope: str
    hash: str
    created: str = ""


class _File(msgspec.Struct, frozen=True):
    """:ivar used: links that have been opened, by nonce, and until when they would be valid."""

    secret: str
    keys: list[_Row]
    version: int = _VERSION
    used: dict[str, int] = {}


_Known = dict[bytes, tuple[bytes, Key]]
"""By id, the hash and the key."""


class Keys:
    """The keys of a service. Made by :meth:`open` and :meth:`memory`; safe to be used by several threads.

    :param path: the file; empty for none.
    :param clock: seconds, as :func:`time.monotonic`. :param wall: seconds since 1970, as :func:`time.time`.
    """

    __slots__ = (
        "_clock", "_due", "_fault", "_known", "_lock", "_opened", "_path", "_rows", "_secret", "_stamp", "_used",
        "_wall",
    )  # fmt: skip

    def __init__(
        self, path: str, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._lock = Lock()
        self._clock = clock
        self._wall = wall
        self._stamp: tuple[int, ...] = ()
        self._fault = ""
        self._due = clock() + EVERY
        self._opened: dict[str, int] = {}  # links, where the file cannot be written
        self._take(_File(_text_of(token_bytes(32)), []))

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        *,
        create: bool = False,
    ) -> Keys:
        """Read a file of keys. O(keys).

        :param create: begin with no key where there is no file; :meth:`add` makes it then.
        :raises ConfigError: listing all that is wrong with the file. One that others can read is refused.
        :raises UsageError: if there is none.
        """
        keys = cls(files.name_of(path), clock, wall)
        if not (create and not os.path.lexists(keys._path)):
            keys._load()
        return keys

    @classmethod
    def memory(cls, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> Keys:
        """Make keys that no file holds: they, links and sessions end with the process."""
        return cls("", clock, wall)

    def verify(self, text: str | bytes) -> Key | None:
        """Return the key of this text, or None. O(1); it takes as long for an id that there is not.

        The file is looked at as by :meth:`refresh`: a key that was removed is refused.
        """
        if len(text) > MAX_TEXT:
            return None
        self.refresh()
        data = text.encode("utf-8", "replace") if isinstance(text, str) else text
        _, _, rest = data.partition(b"_")
        digest, key = self._known.get(rest.partition(b"_")[0], (_NO_DIGEST, None))
        return key if compare_digest(sha256(data).digest(), digest) else None

    def list(self) -> Sequence[Key]:
        """Return all keys, in the order in which they were added."""
        return [key for _, key in self._known.values()]

    def add(self, name: str, scope: str = "run") -> str:
        """Make a key, and return its text, which nothing can tell again: only its hash is kept.

        :raises ConfigError: for a name that is no name, and a scope that there is not; or if the file is faulty or
            cannot be written. :raises UsageError: for a name that a key has.
        """
        with self._changing():
            faults = [] if is_name(name) else [f"the name {shown(name)} is none: {NAME_RULE}"]
            if scope not in SCOPES:
                faults.append(f"the scope must be {', '.join(SCOPES[:-1])} or {SCOPES[-1]}, not {shown(scope)}")
            if faults:
                raise ConfigError("the key", faults)
            if any(name in (row.name, row.id) for row in self._rows):
                raise UsageError(f"there is a key {shown(name)} already: remove it first, or take another name")
            taken = {one for row in self._rows for one in (row.id, row.name)}
            id = next(one for one in iter(lambda: token_hex(6), "") if one not in taken)
            text = f"flow_{id}_{_text_of(token_bytes(32))}"
            created = datetime.fromtimestamp(self._wall(), UTC).isoformat(timespec="seconds")
            row = _Row(id, name, scope, sha256(text.encode()).hexdigest(), created)
            self._write([*self._rows, row])
        return text

    def remove(self, name_or_id: str) -> Key:
        """Remove a key, and return it. A service that reads the file refuses it within about a second.

        :raises UsageError: if there is none. :raises ConfigError: if the file is faulty or cannot be written.
        """
        with self._changing():
            gone = next((row for row in self._rows if name_or_id in (row.name, row.id)), None)
            if gone is None:
                hint = nearest(name_or_id, [row.name for row in self._rows])
                raise UsageError(f"there is no key {shown(name_or_id)}{hint}")
            self._write([row for row in self._rows if row is not gone])
        return _key_of(gone)

    def refresh(self) -> None:
        """Read the file again if it has changed. It is looked at once a second at most.

        If it has become faulty, or is gone, the keys stay as they were, and the log says so, once.
        """
        now = self._clock()
        if now < self._due or not self._path:
            return
        self._due = now + EVERY
        try:
            if _stamp_of(os.stat(self._path)) != self._stamp or self._fault:
                self._load()
            self._fault = ""
        except (OSError, ConfigError, UsageError) as error:
            fault = _cause(error)
            if fault != self._fault:
                self._fault = fault
                text = "the file of keys cannot be used as it is now; the keys read before stay valid: %s"
                getLogger(NAME).error(text, printable(fault), extra=fields())

    def link_token(self, scope: str = "read", seconds: float = LINK) -> str:
        """Make what a link to the page says: it begins one session, within ``seconds``.

        :raises ConfigError: for a scope that there is not, or no time.
        """
        faults = [] if scope in SCOPES else [f"the scope must be one of {', '.join(SCOPES)}, not {shown(scope)}"]
        if not is_number(seconds) or not 0 < seconds <= SESSION:
            faults.append(f"seconds must be a number > 0 and at most {SESSION:g}, not {shown(seconds)}")
        if faults:
            raise ConfigError("the link", faults)
        return self._signed(_LINK_CONTEXT, self._wall() + seconds, scope, token_hex(16))

    def redeem(self, token: str) -> str | None:
        """Return the cookie of a new session for the token of a link; None if it is not valid, too old, or used.

        That it is used stands in the file, so it is for all processes that have it. Where the file cannot be written,
        this process alone knows it.
        """
        found = self._parts(_LINK_CONTEXT, token)
        if found is None or not self._uses(found[1], int(token.partition(".")[0])):
            return None
        return self._signed(_SESSION_CONTEXT, self._wall() + SESSION, found[0], token_hex(8))

    def end_sessions(self) -> None:
        """End all sessions of the page, and let no link be opened that was made before.

        :raises ConfigError: if the file is faulty or cannot be written.
        """
        with self._changing():
            self._secret = token_bytes(32)
            self._write(self._rows, {})

    def session(self, cookie: str) -> Key | None:
        """Return the key that a session stands for, or None if it is none or has ended. O(1).

        Its id is that of the session: rates are counted by it.
        """
        found = self._parts(_SESSION_CONTEXT, cookie)
        return None if found is None else Key(f"page.{found[1]}", "page", INCLUDED[found[0]])

    # -- below: what is signed ---------------------------------------------------------------

    def _uses(self, nonce: str, until: int) -> bool:
        """Note that a link is opened; tell whether it is for the first time."""
        try:
            with self._changing():
                if nonce in self._used:
                    return False
                now = self._wall()
                self._write(self._rows, {n: end for n, end in self._used.items() if end > now} | {nonce: until})
        except ConfigError:  # a file that can only be read
            with self._lock:
                if nonce in self._opened or nonce in self._used:
                    return False
                self._opened[nonce] = until
        return True

    def _signed(self, context: bytes, until: float, scope: str, nonce: str) -> str:
        said = f"{int(until)}.{scope}.{nonce}"
        return f"{said}.{_text_of(hmac_digest(self._secret, context + said.encode(), 'sha256'))}"

    def _parts(self, context: bytes, text: str) -> tuple[str, str] | None:
        """Return scope and nonce of what :meth:`_signed` has made under this context, while it is valid."""
        if len(text) > MAX_TEXT or not text.isascii():
            return None
        said, _, signature = text.rpartition(".")
        wanted = _text_of(hmac_digest(self._secret, context + said.encode(), "sha256"))
        if not compare_digest(signature, wanted):
            return None
        until, scope, nonce = said.split(".")  # ours: nobody else could sign it
        return (scope, nonce) if self._wall() < int(until) else None

    # -- below: the file -----------------------------------------------------------------------

    def _take(self, found: _File) -> None:
        """Make these the keys."""
        self._rows = found.keys
        self._used = found.used
        self._secret = _bytes_of(found.secret)
        self._known: _Known = {row.id.encode(): (bytes.fromhex(row.hash), _key_of(row)) for row in found.keys}

    def _load(self) -> None:
        stamp, found = _read(self._path)
        self._take(found)
        self._stamp = stamp

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Exclude other changes, of other processes as well, and begin with what the file holds now."""
        with self._lock, _locked(self._path) if self._path else nullcontext():
            if self._path and os.path.lexists(self._path):
                self._load()
            yield

    def _write(self, rows: Sequence[_Row], used: Mapping[str, int] | None = None) -> None:
        found = _File(_text_of(self._secret), [*rows], used=dict(self._used if used is None else used))
        if self._path:
            self._stamp = _written(self._path, msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
        self._take(found)


def _key_of(row: _Row) -> Key:
    return Key(row.id, row.name, INCLUDED[row.scope], row.created)


def _text_of(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes_of(text: str) -> bytes:
    """The reverse; empty for what is no text of bytes."""
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return b""


def _stamp_of(found: os.stat_result) -> tuple[int, ...]:
    """What tells one version of a file from the next."""
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode


def _faulty(path: str, faults: Sequence[str]) -> ConfigError:
    return ConfigError(f"the file of keys {shown(path, MAX_PATH_SHOWN)}", faults)


@contextmanager
def _locked(path: str) -> Iterator[None]:
    """Exclude other processes from changing the file."""
    try:
        lock = FileLock(f"{os.path.realpath(path)}.lock", path)
    except (OSError, ValueError) as error:
        raise _faulty(path, [f"it cannot be locked: {_cause(error)}"]) from None
    try:
        try:
            lock.acquire(time.monotonic() + WAIT)
        except StoreError:
            raise _faulty(path, [f"others have been changing it for {WAIT:g} s: try again"]) from None
        try:
            yield
        finally:
            lock.release()
    finally:
        lock.close()


def _cause(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _read(path: str) -> tuple[tuple[int, ...], _File]:
    """Read a file of keys. :raises ConfigError: with all that is wrong with it. :raises UsageError: if it is gone."""
    try:
        with files.opened(path) as file:
            found = os.fstat(file.fileno())  # of the file that is read, not of one that takes its place
            data = file.read(MAX_FILE + 1)
    except FileNotFoundError:
        how = f"`flow keys add NAME --file {shlex.quote(path)}` makes it"
        raise UsageError(f"there is no file of keys {shown(path, MAX_PATH_SHOWN)}: {how}") from None
    except OSError as error:
        raise _faulty(path, [f"it cannot be read: {_cause(error)}"]) from None
    faults = []
    if os.name == "posix" and stat.S_IMODE(found.st_mode) & 0o077:
        faults.append(f"others can read or write it (mode {stat.S_IMODE(found.st_mode):o}): chmod 600 it")
    if len(data) > MAX_FILE:
        faults.append(f"it is larger than {MAX_FILE >> 20} MiB")
    else:
        kept, more = _checked(data)
        faults += more
        if not faults and kept is not None:
            return _stamp_of(found), kept
    raise _faulty(path, faults)


def _checked(data: bytes) -> tuple[_File | None, list[str]]:
    """Return what a file of keys says, and all that is wrong with it. No fault repeats a hash or the secret."""
    try:
        raw = msgspec.json.decode(data.removeprefix(files.BOM))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None, ["it is not JSON: `flow keys` writes it, nothing else should"]
    if not isinstance(raw, dict) or not isinstance(raw.get("keys"), list):
        return None, ['it is no file of keys: an object with "version", "secret" and "keys"']
    faults = []
    if raw.get("version") != _VERSION:
        faults.append(f"its version is {shown(raw.get('version'))}; this program reads {_VERSION}")
    secret = raw.get("secret")
    if not isinstance(secret, str) or len(_bytes_of(secret)) != 32:
        faults.append("secret must be 32 bytes as base64url")
    rows: list[_Row] = []
    for index, one in enumerate(raw["keys"]):
        row, more = _row_of(one, {part for row in rows for part in (row.id, row.name)})
        faults += [f"keys[{index}]: {fault}" for fault in more]
        rows += [] if row is None else [row]
    used = raw.get("used", {})
    if not isinstance(used, dict) or not all(type(until) is int for until in used.values()):
        faults.append("used must say of each link until when it would be valid")
    return (None if faults else _File(str(secret), rows, used=used)), faults


def _row_of(raw: Any, taken: set[str]) -> tuple[_Row | None, list[str]]:
    try:
        row = msgspec.convert(raw, _Row)
    except msgspec.ValidationError as error:
        return None, [str(error)]
    faults = []
    if not is_name(row.name):
        faults.append(f"the name {shown(row.name)} is none: {NAME_RULE}")
    if not row.id.isalnum() or not row.id.isascii():
        faults.append(f"the id {shown(row.id)} must be letters and digits")
    faults += [f"{shown(one)} names another key as well" for one in dict.fromkeys((row.id, row.name)) if one in taken]
    if row.scope not in SCOPES:
        faults.append(f"the scope must be one of {', '.join(SCOPES)}, not {shown(row.scope)}")
    if len(row.hash) != 64 or set(row.hash) - set("0123456789abcdef"):
        faults.append("hash must be SHA-256 as 64 hexadecimal digits")
    return row, faults


def _written(path: str, data: bytes) -> tuple[int, ...]:
    """Write the file whole or not at all, for its owner alone, and return its stamp. A link is followed."""
    target = os.path.realpath(path)
    draft = os.path.join(os.path.dirname(target), f".flow-{token_hex(8)}.tmp")
    try:
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                if sys.platform != "win32" and os.geteuid() == 0 and os.path.exists(target):  # a service's, by its root
                    before = os.stat(target)
                    os.fchown(file.fileno(), before.st_uid, before.st_gid)
            os.replace(draft, target)
        except BaseException:
            if os.path.lexists(draft):
                os.unlink(draft)
            raise
        return _stamp_of(os.stat(target))
    except OSError as error:
        raise _faulty(path, [f"it cannot be written: {_cause(error)}"]) from None


__all__ = ["INCLUDED", "LINK", "SCOPES", "SESSION", "Key", "Keys"]
