"""Codecs of the user's: the protocol, and what finds the one for a value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from flow.errors import ConfigError, shown
from flow.store.codec.shipped import SHIPPED
from flow.store.codec.tags import LONGEST
from flow.types import is_name

PLAIN = frozenset({type(None), bool, int, float, str, list, dict, tuple})
"""Types that no codec is asked about: they are written by msgpack at once."""


@runtime_checkable
class Codec(Protocol):
    """Writes values of some types in a form of their own, and reads it. Its methods may be called from any thread.

    Besides these it has ``types``, a tuple of classes whose instances it writes (those of subclasses too), or a method
    ``handles(value) -> bool``, or both. Within containers and records it is asked about what msgpack has no way for;
    of values that are no part of another, about all but None, bool, int, float, str, list, dict and tuple.
    """

    @property
    def name(self) -> str:
        """A name of 1 to 32 characters, which is stored with each value: what finds the codec when that is read."""
        ...

    def encode(self, value: Any) -> bytes:
        """Return the value as bytes. What this raises fails the node."""
        ...

    def decode(self, data: bytes) -> Any:
        """Return the value. It must not run code that ``data`` names."""
        ...


class Registry:
    """Codecs by name and by type. :raises ConfigError: listing what is wrong with them."""

    __slots__ = ("_asked", "_by_type", "named")

    def __init__(self, codecs: Sequence[Codec]) -> None:
        faults = list(faults_of(codecs))
        if faults:
            raise ConfigError("codecs", faults)
        self.named: dict[str, Codec] = {codec.name: codec for codec in codecs}
        self._by_type: dict[type, Codec] = {}
        for codec in reversed(codecs):  # the first of two
            self._by_type.update(dict.fromkeys(getattr(codec, "types", ()), codec))
        self._asked = [codec for codec in codecs if callable(getattr(codec, "handles", None))]

    def of(self, value: Any) -> Codec | None:
        """Return the codec for a value: by the nearest class of its type, else the first that says it handles it."""
        if self._by_type:
            for kind in type.__dict__["__mro__"].__get__(type(value)):
                found = self._by_type.get(kind)
                if found is not None:
                    return found
        for codec in self._asked:
            if codec.handles(value):  # type: ignore[attr-defined]
                return codec
        return None


def faults_of(codecs: Any) -> Iterator[str]:
    """Say what is wrong with codecs, one sentence each."""
    if not isinstance(codecs, Sequence) or isinstance(codecs, (str, bytes)):
        yield f"codecs must be a list, not {shown(codecs)}"
        return
    names: set[str] = set()
    for codec in codecs:
        name = getattr(codec, "name", None)
        if not isinstance(name, str) or not is_name(name) or len(name.encode()) > LONGEST:
            yield f"the name of {shown(codec)} must be 1 to {LONGEST} letters, digits and '_.-', not {shown(name)}"
        elif name in SHIPPED:
            yield f"{name!r} is the name of a codec that ships: give yours another"
        elif name in names:
            yield f"two codecs are called {name!r}"
        else:
            names.add(name)
        yield from _faults_of(codec, shown(name))


def _faults_of(codec: Any, name: str) -> Iterator[str]:
    for method in ("encode", "decode"):
        if not callable(getattr(codec, method, None)):
            yield f"codec {name} has no method {method}"
    types = getattr(codec, "types", ())
    if not isinstance(types, tuple) or not all(isinstance(kind, type) for kind in types):
        yield f"types of codec {name} must be a tuple of classes, not {shown(types)}"
    elif PLAIN.intersection(types):
        plain = ", ".join(sorted(kind.__name__ for kind in PLAIN.intersection(types)))
        yield f"codec {name} is for {plain}, which is written by msgpack"
    elif not types and not callable(getattr(codec, "handles", None)):
        yield f"codec {name} has neither types nor a method handles: nothing says what it is for"


__all__ = ["PLAIN", "Codec", "Registry"]
