"""The codec of stored values: :class:`Codecs`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from enum import Enum
from typing import Any, Final, TypeVar

import msgspec
from msgspec.msgpack import Decoder, Encoder, Ext

from flow.errors import DamagedRow, FlowError, NotStorable, StoreError, described, shown
from flow.store.codec import tags
from flow.store.codec.copying import replaced
from flow.store.codec.loose import loosely
from flow.store.codec.places import a, cycle_in, place_of
from flow.store.codec.protocol import PLAIN, Codec, Registry
from flow.store.codec.shipped import SHIPPED, shipped_for
from flow.store.codec.special import NOT_ONE, Later, as_annotated, read, special

T = TypeVar("T")

MAX_DECODERS: Final = 512
"""Annotations whose decoder is kept."""

COPIED: Final = 4_096
"""Bytes up to which a copy is cheaper than a view."""

_STACK: Final = 64 * 2**20
"""Bytes of stack of a thread that reads a deep value: more than who wrote it had. (CPython 3.14 counts bytes.)"""

_INSTEAD: Final = "return what can be stored, give the store a codec for it (codecs=), or say store=False on the node"
_NO_PICKLE: Final = "it was written by pickle, which neither this store nor the node allows: say pickle=True"


class _Refused(Exception):
    """A part of a value that cannot be encoded, and why."""

    def __init__(self, part: Any, why: str, cause: Exception | None = None) -> None:
        super().__init__(why)
        self.part = part
        self.cause = cause


class Codecs:
    """Encodes values for a store, and decodes them by an annotation. Safe to use from several threads.

    :param codecs: of the user's, by type. :param pickle: values that nothing else can write may be pickled.
    :raises ConfigError: listing what is wrong with the codecs.
    """

    __slots__ = ("_decoders", "_pack", "_registry", "_unpack", "pickle")

    def __init__(self, codecs: Sequence[Codec] = (), pickle: bool = False) -> None:
        self._registry = Registry(codecs)
        self.pickle = pickle
        self._pack: Callable[[Any], bytes] = Encoder(enc_hook=self._written).encode
        self._unpack: Callable[[Any], Any] = Decoder(ext_hook=self._read).decode
        self._decoders: dict[Any, Callable[[Any], Any] | None] = {}

    @property
    def plain(self) -> tuple[Collection[type], Callable[[Any], bytes], bytes]:
        """The types of plain data, what encodes such data or raises, and its tag: :meth:`encode`, written out."""
        return PLAIN, self._pack, tags.MSGPACK

    # -- writing -----------------------------------------------------------------------------

    def encode(self, value: Any, pickle: bool = False) -> bytes:
        """Return ``value`` as bytes: a tag, and what the tag says. O(size), in C for plain data.

        :param pickle: what nothing else can write may be pickled, for this value.
        :raises NotStorable: if it cannot be written, naming the place in it.
        """
        try:
            if type(value) in PLAIN:
                return tags.MSGPACK + self._pack(value)
            return self._other(value)
        except Exception as error:
            return self._second(value, error, pickle or self.pickle)

    def _other(self, value: Any) -> bytes:
        """Encode what is no plain data: by its own codec, if it has one."""
        kind: Any = type(value)
        if kind is bytes:
            return b"".join((tags.BYTES, value))
        if issubclass(kind, BaseException):  # before msgspec, to which a dataclass is no more than that
            return tags.MSGPACK + self._pack(special(value, self._part))
        codec = self._codec_for(value)
        if codec is not None:
            return _head(codec.name) + self._by(codec, value)
        packed: bytes = self._pack(value)
        return tags.MSGPACK + packed

    def _second(self, value: Any, error: Exception, pickle: bool) -> bytes:
        """Encode what has just failed with ``error``: with what msgspec refuses replaced, or by pickle.

        :raises NotStorable: if that fails as well.
        """
        try:
            if isinstance(error, (OverflowError, UnicodeEncodeError)):  # an int beyond 64 bits, a lone surrogate
                return tags.MSGPACK + self._pack(replaced(value, self._written))
        except Exception as second:
            error = second
        reason = ""
        if pickle:
            try:
                return tags.PICKLE + _pickled(value)
            except Exception as unpicklable:
                reason = f"; nor can it be pickled: {described(unpicklable)}"
        raise _refusal(value, error, reason) from (error.cause if isinstance(error, _Refused) else error)

    def _part(self, value: Any) -> bytes:
        """Encode a part of an extension."""
        try:
            return self._pack(value)
        except (OverflowError, UnicodeEncodeError):
            return self._pack(replaced(value, self._written))

    def _written(self, value: Any) -> Any:
        """Return what msgspec writes in the place of what it has no way for."""
        if type(value) is Later:
            return value.ext
        try:
            codec = self._codec_for(value)
            if codec is not None:
                return Ext(tags.BY_CODEC, _head(codec.name)[1:] + self._by(codec, value))
            found = special(value, self._part)
        except (_Refused, RecursionError, OverflowError, UnicodeEncodeError):
            raise
        except Exception as error:  # of the value's own methods
            raise _Refused(value, f"looking at it raised {described(error)}", error) from error
        if found is NOT_ONE:
            raise _Refused(value, "")
        return found

    def _codec_for(self, value: Any) -> Codec | None:
        codec = self._registry.of(value)
        return shipped_for(type(value)) if codec is None else codec

    def _by(self, codec: Codec, value: Any) -> bytes:
        data: Any
        try:
            data = codec.encode(value)
        except Exception as error:
            raise _Refused(value, f"codec {codec.name!r} cannot write it: {described(error)}", error) from error
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise _Refused(value, f"codec {codec.name!r} has returned {a(data)}, not bytes")
        return bytes(data)

    # -- reading -----------------------------------------------------------------------------

    def decode(self, data: bytes | memoryview, hint: Any = Any, pickle: bool = False) -> Any:
        """Return the value that :meth:`encode` was given, as far as its ``hint`` (an annotation) tells what it was.

        A value that does not fit the hint comes back as without one. O(size).

        :param pickle: a pickled value may be read.
        :raises DamagedRow: if the data is nothing that :meth:`encode` has made.
        :raises StoreError: if it takes a codec that there is not, or that fails, or pickle, and that is not allowed.
        """
        try:
            return self._decoded(data, hint, pickle)
        except RecursionError:
            return self.within_depth(lambda: self._decoded(data, hint, pickle))

    def within_depth(self, decode: Callable[[], T]) -> T:
        """Call ``decode``; if there is not enough stack left for it, in a thread, which has a whole one."""
        try:
            return decode()
        except RecursionError:
            pass
        from concurrent.futures import ThreadPoolExecutor
        from threading import stack_size

        with ThreadPoolExecutor(1) as pool:
            before = stack_size(_STACK)
            try:
                future = pool.submit(decode)  # which starts the thread
            finally:
                stack_size(before)
            try:
                return future.result()
            except RecursionError:
                raise StoreError("a stored value nests too deeply to be read: raise sys.setrecursionlimit") from None

    def _decoded(self, data: bytes | memoryview, hint: Any, pickle: bool) -> Any:
        tag = data[:1]
        if tag == tags.MSGPACK:
            return self.unpacked(body_of(data), hint)
        body = bytes(memoryview(data)[1:])
        if tag == tags.BYTES:
            return body
        if tag == tags.NAMED:
            return self._by_name(body)
        if tag == tags.PICKLE:
            if not (pickle or self.pickle):
                raise StoreError(f"a value cannot be read: {_NO_PICKLE}")
            return _unpickled(body)
        raise DamagedRow("a value is damaged: it has no known tag" if tag else "a value is damaged: it is empty")

    def unpacked(self, body: Any, hint: Any) -> Any:
        """Decode msgpack, without its tag, by a hint. :raises: as :meth:`decode`, and RecursionError."""
        typed = None if hint is Any else self.typed(hint)
        if typed is not None:
            try:
                return typed(body)
            except (RecursionError, StoreError):
                raise
            except Exception:  # it does not fit, or its class refuses it
                pass
        try:
            found = self._plain(body)
        except (RecursionError, FlowError):
            raise
        except Exception as error:
            raise DamagedRow(f"a value is damaged: {described(error)}") from error
        return found if hint is Any else _as_hinted(found, hint)

    def _plain(self, body: Any) -> Any:
        try:
            return self._unpack(body)
        except msgspec.DecodeError as error:
            if "hashable" not in str(error):
                raise
            return loosely(body, self._unpack)

    def typed(self, hint: Any) -> Callable[[Any], Any] | None:
        """Return what decodes msgpack as ``hint`` or raises; None if msgspec knows no way for this hint."""
        try:
            return self._decoders[hint]
        except KeyError:
            pass
        except Exception:  # it cannot be hashed
            return self._new_decoder(hint)
        if len(self._decoders) >= MAX_DECODERS:
            self._decoders = {}  # (another thread may still look into the former)
        made = self._decoders[hint] = self._new_decoder(hint)
        return made

    def _new_decoder(self, hint: Any) -> Callable[[Any], Any] | None:
        try:
            return Decoder(hint, dec_hook=as_annotated, ext_hook=self._read).decode
        except Exception:  # a union of two classes, a type that is none
            return None

    def _read(self, code: int, data: memoryview) -> Any:
        """Return what an extension stands for."""
        if code == tags.BY_CODEC:
            return self._by_name(bytes(data))
        found = read(code, data, self._plain)
        return Ext(code, bytes(data)) if found is NOT_ONE else found

    def _by_name(self, body: bytes) -> Any:
        size = body[0] if body else 0
        if not 0 < size < len(body):
            raise DamagedRow("a value is damaged: it has no codec's name")
        name = body[1 : 1 + size].decode("utf-8", "replace")
        codec = self._registry.named.get(name, SHIPPED.get(name))
        if codec is None:
            raise StoreError(f"a value was written by a codec {shown(name)}, which this store does not have: add it")
        try:
            return codec.decode(body[1 + size :])
        except (RecursionError, StoreError):
            raise
        except Exception as error:
            raise StoreError(f"codec {name!r} cannot read what it has written: {described(error)}") from error


def body_of(data: bytes | memoryview) -> Any:
    """Return what follows the tag."""
    return data[1:] if len(data) < COPIED else memoryview(data)[1:]


def _head(name: str) -> bytes:
    written = name.encode()
    return tags.NAMED + bytes([len(written)]) + written


def _as_hinted(found: Any, hint: Any) -> Any:
    """Return a plainly decoded value as ``hint``, if it can be one; else as it is.

    For what msgpack has of itself no type for: a field that is an int beyond 64 bits, a member of an Enum that is no
    int and no text.
    """
    try:
        if isinstance(hint, type) and issubclass(hint, Enum):
            return hint(tuple(found) if type(found) is list else found)
        return msgspec.convert(found, hint, dec_hook=as_annotated)
    except RecursionError:
        raise
    except Exception:
        return found


def _pickled(value: Any) -> bytes:
    """Pickle a value, and see that it can be read again: nobody could help it later."""
    import pickle

    data = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    pickle.loads(data)
    return data


def _unpickled(data: bytes) -> Any:
    import pickle

    try:
        return pickle.loads(data)
    except RecursionError:
        raise
    except Exception as error:
        raise StoreError(f"a pickled value cannot be read: {described(error)}") from error


def _refusal(value: Any, error: Exception, reason: str) -> NotStorable:
    """Return the error that names the part of ``value`` which ``error`` is about."""
    if isinstance(error, _Refused):
        why = f": {error}" if str(error) else ", which no codec is for"
        text = f"{place_of(value, error.part)}: {a(error.part)}{why}"
    elif isinstance(error, RecursionError):
        cycle = cycle_in(value)
        text = f"{cycle} holds itself" if cycle else f"value: {a(value)} nests too deeply"
    else:
        text = f"value: {a(value)} cannot be written: {described(error)}"
    return NotStorable(f"{text}{reason}: {_INSTEAD}")


__all__ = ["Codecs", "body_of"]
