"""Secret run inputs: how they are marked, and how their texts are masked wherever a run shows or stores something.

A run with secret inputs has one :class:`Masks`, which knows their texts. What is shown is text, so masking is a search
for these texts, as they are and as they are usually written: in a repr, in JSON, in a URL, in base64. A text that a
program has changed in another way (reversed, cut, hashed) is not found.

What is too large to be looked through, or cannot be copied, is masked as a whole. Nothing here raises, whatever the
values and exceptions do, and nothing recurses.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from types import MemberDescriptorType
from typing import Any, Final, get_args

import msgspec

Secret: Final = msgspec.Meta(extra={"secret": True}, extra_json_schema={"writeOnly": True})
"""Marks a run input as secret: ``token: Annotated[str, flow.Secret]`` in the class given to ``flow.Dag(inputs=...)``.

Nodes get its value. Errors, events, logs, pictures, the Result and exports show ``***`` in its place.
"""

MASK: Final = "***"
"""What stands where a secret was."""

MIN_LENGTH: Final = 4
"""Characters of a text that is masked. Shorter ones would be found in most words."""

MAX_TEXTS: Final = 1_000
"""Texts of the secret inputs of one run: each costs time at every search."""

MAX_PARTS: Final = 10_000
"""Parts of one value that are looked at; a larger one is masked as a whole."""

MAX_ERRORS: Final = 10_000
"""Exceptions that are looked at behind one: causes, contexts, groups."""

_HEAD: Final = 24
"""Characters by which a text is found; what follows is masked as far as it goes on. Messages cut long texts."""

_CUT: Final = ("...", "\u2026")

_PLAIN: Final = (list, tuple, set, frozenset, deque)
_LEFT: Final = frozenset((bool, type(None)))


def is_secret(hint: Any) -> bool:
    """Tell whether a type is marked by :data:`Secret`, or a part of it: of a union, of a list. O(its parts)."""
    found, looked = [hint], 0
    while found and looked < MAX_PARTS:
        at = found.pop()
        looked += 1
        if isinstance(at, msgspec.Meta):
            if (at.extra or {}).get("secret") is True:
                return True
        elif not isinstance(at, str):  # a Literal's
            found += at if isinstance(at, (list, tuple)) else get_args(at)
    return False


def unmarked(hint: Any) -> Any:
    """Return a type without :data:`Secret`, if nothing but that is written beside it."""
    metadata = getattr(hint, "__metadata__", ())
    return hint.__origin__ if metadata and all(one is Secret for one in metadata) else hint


def texts_in(values: Iterable[Any]) -> frozenset[str]:
    """Return the texts to mask of secret values, in containers and records as well. O(parts).

    :raises ValueError: if there are more than :data:`MAX_TEXTS`, or more than :data:`MAX_PARTS` values to look at.
    """
    texts: set[str] = set()
    found, seen, looked = list(values), dict[int, Any](), 0  # which live as long as their ids are used
    while found:
        at = found.pop()
        looked += 1
        parts = _parts(at) if id(at) not in seen else []
        if parts is not None:
            seen[id(at)] = at
            found += parts
        elif len(text := _text_of(at)) >= MIN_LENGTH:
            texts.add(text)
        if len(texts) > MAX_TEXTS or looked > MAX_PARTS or len(found) > MAX_PARTS:
            raise ValueError(f"over {MAX_TEXTS:,} texts, or {MAX_PARTS:,} values, cannot be masked")
    return frozenset(texts)


class Masks:
    """The texts that a run does not show. Its search is made at the first use.

    :ivar texts: those of the secret inputs.
    """

    __slots__ = ("_by_head", "_search", "texts")

    def __init__(self, texts: frozenset[str]) -> None:
        self.texts = texts
        self._search: re.Pattern[str] | None = None
        self._by_head: Mapping[str, tuple[str, ...]] = {}

    def text(self, text: str) -> str:
        """Return ``text`` with each secret masked, also the beginning of one that is cut off by dots at the end."""
        if not self.texts:
            return text
        search = self._search or self._made()
        parts: list[str] = []
        at = 0
        while found := search.search(text, at):
            start = found.start()
            parts += [text[at:start], MASK]
            at = max(_end(text, start, form) for form in self._by_head[found[0]])
        if parts:
            text = "".join([*parts, text[at:]])
        return self._without_beginning(text) if text.endswith(_CUT) else text

    def value(self, value: Any, mappings: type = Mapping) -> Any:
        """Return ``value``, or a copy of it with each secret masked: of texts, bytes, containers and records.

        Containers of the user's own types become plain ones in a copy. Other objects stay. O(parts).

        :param mappings: the type of those that are copied.
        """
        try:
            return self._copy(value, mappings) if self.texts else value
        except Exception:  # of the value's own methods
            return MASK

    def named(self, values: Mapping[str, Any], secret: Collection[str]) -> dict[str, Any]:
        """Return run inputs with the ``secret`` ones masked, whatever they are."""
        return {name: MASK if name in secret else self.value(value) for name, value in values.items()}

    def conceal(self, error: BaseException) -> None:
        """Mask what an exception says: its arguments, attributes and notes, and those of its causes and parts.

        The object stays the same; only what has a secret in it is put in its place. O(parts).
        """
        mask = partial(self.value, mappings=dict)  # others are more than what they hold: a Result, a store
        found, seen = [error], set[int]()
        while found and len(seen) < MAX_ERRORS:
            at = found.pop()
            if id(at) not in seen:
                seen.add(id(at))
                for place in _places_of(at):
                    try:
                        found += place(mask)
                    except Exception:  # a read-only attribute
                        continue
                found += _behind(at)

    # -- how ---------------------------------------------------------------------------------

    def _made(self) -> re.Pattern[str]:
        """Make the search."""
        by_head: dict[str, set[str]] = {}
        for text in self.texts:
            for form in _forms(text):
                by_head.setdefault(form[:_HEAD], set()).add(form)
        heads = sorted(by_head, key=len, reverse=True)  # of two at one place the longer one is found
        self._by_head = {head: tuple(forms) for head, forms in by_head.items()}
        self._search = re.compile("|".join(map(re.escape, heads)))
        return self._search

    def _without_beginning(self, text: str) -> str:
        """Mask what stands before the dots at the end of ``text``, if a secret begins like that."""
        dots = next(dots for dots in _CUT if text.endswith(dots))
        body, most = text[: -len(dots)], 0
        for head in self._by_head:
            for size in range(min(len(head) - 1, len(body)), max(most, MIN_LENGTH - 1), -1):
                if body.endswith(head[:size]):
                    most = size
                    break
        return body[: len(body) - most] + MASK + dots if most else text

    def _leaf(self, value: Any) -> Any:
        """As :meth:`value`, of what has no parts."""
        text = _text_of(value)
        if isinstance(value, (int, float)):
            return MASK if text in self.texts else value
        masked = self.text(text) if text else text
        if masked == text:
            return value
        return masked.encode("utf-8", "surrogateescape") if isinstance(value, (bytes, bytearray)) else masked

    def _copy(self, value: Any, mappings: type) -> Any:
        """Copy the containers and records in ``value`` that a secret is in, the innermost first."""
        done: dict[int, Any] = {}
        begun: dict[int, list[Any]] = {}  # the parts, which live as long as their ids are used
        stack, left, hit = [value], MAX_PARTS, False
        while stack:
            at = stack[-1]
            key = id(at)
            if key in done:
                stack.pop()
                continue
            parts = begun.get(key)
            if parts is None:
                parts = _parts(at, mappings, keys=True)
                if parts is None:
                    done[key] = made = self._leaf(at)
                    begun[key] = []
                    hit = hit or made is not at
                    continue
                left -= len(parts) + 1
                if left < 0:
                    return MASK
                begun[key] = parts
                stack += [part for part in parts if id(part) not in begun]
                continue
            stack.pop()
            made = [done.get(id(part), MASK) for part in parts]  # masked: what holds itself
            same = all(new is part for new, part in zip(made, parts, strict=True))
            done[key] = at if same else _joined(at, made)
        return done[id(value)] if hit else value


# -- values ---------------------------------------------------------------------------------


def _said() -> tuple[type, ...]:
    from decimal import Decimal
    from pathlib import PurePath
    from uuid import UUID

    return str, bytes, bytearray, int, float, Decimal, PurePath, UUID


_SAID: Final = _said()
"""Types of values without parts that have a text."""


def _text_of(value: Any) -> str:
    if type(value) in _LEFT or not isinstance(value, _SAID):
        return ""
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "surrogateescape")
    if isinstance(value, str):
        return str.__str__(value)
    try:
        return str(value)
    except Exception:  # an integer of over 4,300 digits, a subclass
        return ""


def _parts(value: Any, mappings: type = Mapping, keys: bool = False) -> list[Any] | None:
    """Return what a container or record holds; None of anything else.

    :param mappings: the type of mappings. :param keys: those of a mapping, too.
    """
    kind = type(value)
    if issubclass(kind, (str, bytes, BaseException)):
        return None
    if issubclass(kind, _PLAIN):
        return list(islice(value, MAX_PARTS + 1))
    if issubclass(kind, mappings):
        pairs = islice(value.items(), MAX_PARTS + 1)
        return [part for pair in pairs for part in (pair if keys else pair[1:])]
    names = _names(value)
    return None if names is None else [getattr(value, name) for name in names]


def _names(value: Any) -> list[str] | None:
    """Return the names of what a record holds, more than its fields if it has a ``__dict__``; None if it is none."""
    kind = type(value)
    declared: tuple[str, ...] | None
    if hasattr(kind, "__dataclass_fields__"):
        from dataclasses import fields

        declared = tuple(field.name for field in fields(kind))
    else:
        declared = getattr(kind, "__struct_fields__", getattr(kind, "__record_fields__", None))
    if declared is None:
        return None
    held = dict.fromkeys((*declared, *getattr(value, "__dict__", ())))
    return [name for name in held if hasattr(value, name)]


def _joined(value: Any, parts: list[Any]) -> Any:
    """Return a copy of a container or record with these parts."""
    kind = type(value)
    for plain in (list, tuple, set, frozenset):
        if issubclass(kind, plain):
            return plain(parts)
    if issubclass(kind, deque):
        return deque(parts, value.maxlen)
    if issubclass(kind, Mapping):
        return dict(zip(parts[::2], parts[1::2], strict=True))
    if hasattr(kind, "__struct_fields__"):
        made, put = value.__copy__(), msgspec.structs.force_setattr
    else:
        made, put = object.__new__(kind), object.__setattr__
    for name, part in zip(_names(value) or (), parts, strict=True):
        put(made, name, part)
    return made


def _forms(text: str) -> set[str]:
    """Return a text as it may be written. Without base64 forms that are short."""
    from base64 import b64encode
    from json import dumps
    from urllib.parse import quote, quote_plus

    raw = text.encode("utf-8", "surrogatepass")
    forms = {text, repr(text)[1:-1], dumps(text)[1:-1], dumps(text, ensure_ascii=False)[1:-1]}
    forms.update((quote(raw), quote(raw, safe=""), quote_plus(raw)))
    for shift in range(3):  # it may stand anywhere in what is encoded: "user:password"
        code = b64encode(bytes(shift) + raw).decode()
        first, whole = -(-8 * shift // 6), (shift + len(raw)) * 8 // 6
        for form in (code[first:], code[first:].rstrip("="), code[first:whole]):
            if len(form) > MIN_LENGTH:
                forms.update((form, form.replace("+", "-").replace("/", "_")))
    return {form for form in forms if len(form) >= MIN_LENGTH}


def _end(text: str, start: int, form: str) -> int:
    """Return where ``form``, whose beginning stands at ``start``, ends in ``text``."""
    if text.startswith(form, start):
        return start + len(form)
    there = text[start : start + len(form)]
    return start + next((n for n, (a, b) in enumerate(zip(there, form, strict=False)) if a != b), len(there))


# -- exceptions -----------------------------------------------------------------------------

_base: Final[Any] = BaseException.__dict__
_attributes: Final[Callable[[Any], dict[str, Any]]] = _base["__dict__"].__get__
_members_of: Final = BaseExceptionGroup.__dict__["exceptions"].__get__

Place = Callable[[Callable[[Any], Any]], list[BaseException]]
"""Masks one place of an exception, by a function; returns the exceptions that it holds."""


def _places_of(error: BaseException) -> Iterator[Place]:
    """Yield the places of an exception that may say something."""

    def arguments(mask: Callable[[Any], Any]) -> list[BaseException]:
        old = _base["args"].__get__(error)
        new = [mask(one) for one in old[:MAX_PARTS]]
        if any(one is not was for one, was in zip(new, old, strict=False)):
            _base["args"].__set__(error, tuple(new))
        return [one for one in new if isinstance(one, BaseException)]

    def attributes(mask: Callable[[Any], Any]) -> list[BaseException]:
        held = _attributes(error)
        pairs = list(islice(held.items(), MAX_PARTS))
        for name, old in pairs:
            new = mask(old)
            if new is not old:
                dict.__setitem__(held, name, new)  # not by the exception, which may be frozen
        return [old for _, old in pairs if isinstance(old, BaseException)]

    def slot(place: MemberDescriptorType, mask: Callable[[Any], Any]) -> list[BaseException]:
        old = place.__get__(error)
        new = mask(old)
        if new is not old:
            place.__set__(error, new)
        return []

    yield arguments
    yield attributes
    for kind in type.__dict__["__mro__"].__get__(type(error)):  # of OSError, SyntaxError, and of classes with slots
        for name, place in vars(kind).items():
            if type(place) is MemberDescriptorType and not name.startswith("__"):
                yield lambda mask, place=place: slot(place, mask)  # type: ignore[misc]


def _behind(error: BaseException) -> list[BaseException]:
    """Return the exceptions that an exception shows besides itself."""
    cause, context = _base["__cause__"].__get__(error), _base["__context__"].__get__(error)
    found = [one for one in (cause, context) if one is not None]
    if issubclass(type(error), BaseExceptionGroup):
        found += _members_of(error)[:MAX_ERRORS]
    return found


__all__ = ["MASK", "MIN_LENGTH", "Masks", "Secret", "is_secret", "texts_in", "unmarked"]
