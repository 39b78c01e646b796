"""The body of a request, read up to a limit and in time, and its JSON, strictly."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Mapping, MutableMapping
from itertools import accumulate, islice
from json import loads
from math import isinf
from types import coroutine
from typing import Any, Final, TypeAlias

import msgspec

from flow.errors import MAX_FAULTS_SHOWN, shown
from flow.http.problems import Fault, Problem

Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
"""What ASGI hands over to read a request by."""

CLOSE: Final = (b"connection", b"close")
"""Ends a connection whose request is not read to its end: what follows of it is no request."""

MAX_DIGITS: Final = 4_300
"""Digits of an integer that Python reads: the time of more is quadratic."""

FEW: Final = 2_000
"""Brackets that are looked at one by one (0.25 ms). A body that has more is looked at as a whole."""

MAX_NAMED: Final = 2**17
"""Bytes of a body whose duplicate members are listed: of 1 MB that would hold the event loop for 0.3 s."""

_STRING: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
"""A string, or the beginning of one that does not end: else a search would begin anew at each quote within it."""

_STRINGS: Final = re.compile(_STRING, re.DOTALL)
_BRACKETS: Final = re.compile(_STRING + rb"|[\[{]|[\]}]", re.DOTALL)
_LARGE: Final = re.compile(
    _STRING + rb"|(?<![\d.])-?\d(?:[\d.]*+[eE]\+?\d{2,}+|\d{300,}+(?:\.\d*+)?)", re.DOTALL
)  # the look behind: a number is looked at from its first digit on alone
_ESCAPES: Final = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_BYTE: Final = re.compile(r"(.*) \(byte (\d+)\)", re.DOTALL)

_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_STEPS: Final = bytes([1 if sign in b"[{" else 255 for sign in range(256)])
"""By sign, one level deeper or (255 is -1) less deep."""

_decode: Final = msgspec.json.Decoder().decode


class Gone(Exception):
    """The client has closed the connection: nobody waits for an answer."""


async def body_of(receive: Receive, headers: Mapping[bytes, bytes], limit: int, seconds: float) -> bytes:
    """Return the body of a request. No more than ``limit`` bytes and one chunk of it are ever in memory.

    A body that is there already costs one await and no timer.

    :param headers: of the request, by lower-case name.
    :param limit: in bytes.
    :param seconds: until when the body must have come whole, from the first moment on that it is waited for.
    :raises Problem: 413 if it is too large, before it is read where the request says so; 400 for a Content-Length that
        is no number; 415 if it is compressed; 408 if it does not come in time.
    :raises Gone: if the client has gone.
    """
    length = headers.get(b"content-length")
    if length is not None:
        if not length.isdigit():
            raise Problem(400, detail="Content-Length must be a number of bytes", headers=[CLOSE])
        if len(length) > 18 or int(length) > limit:
            raise _too_large(limit)
    if headers.get(b"content-encoding", b"").strip().lower() not in (b"", b"identity"):
        detail = "the body must not be compressed: send it without Content-Encoding"
        raise Problem(415, detail=detail, headers=[(b"accept-encoding", b"identity"), CLOSE])
    step = receive().__await__()
    try:
        waits = step.send(None)
    except StopIteration as done:
        message = done.value
    else:
        return await _in_time(_resumed(step, waits), receive, b"", limit, seconds)
    part: bytes = _part_of(message, limit)
    if not message.get("more_body", False):
        return part
    return await _in_time(receive(), receive, part, limit, seconds)


async def _in_time(
    first: Awaitable[MutableMapping[str, Any]], receive: Receive, begun: bytes, limit: int, seconds: float
) -> bytes:
    parts = bytearray(begun)
    try:
        async with asyncio.timeout(seconds):
            message = await first
            while True:
                parts += _part_of(message, limit - len(parts), limit)
                if not message.get("more_body", False):
                    return bytes(parts)
                message = await receive()
    except TimeoutError:
        detail = f"the body has not come whole within {seconds:g} s"
        raise Problem(408, detail=detail, headers=[CLOSE]) from None


@coroutine
def _resumed(step: Generator[Any, Any, Any], waits: Any) -> Generator[Any, Any, Any]:
    """Go on with an awaitable that was begun by hand, and waits: as ``yield from``, which can only begin one."""
    try:
        while True:
            try:
                sent = yield waits
            except BaseException as error:
                waits = step.throw(error)
            else:
                waits = step.send(sent)
    except StopIteration as done:
        return done.value


def _part_of(message: MutableMapping[str, Any], room: int, limit: int | None = None) -> bytes:
    if message["type"] == "http.disconnect":
        raise Gone
    part: bytes = message.get("body", b"")
    if len(part) > room:
        raise _too_large(room if limit is None else limit)
    return part


def _too_large(limit: int) -> Problem:
    return Problem(413, detail=f"the body is larger than {limit} bytes, the most that is taken", headers=[CLOSE])


def decoded(body: bytes, depth: int) -> Any:
    """Return the value of a body of JSON (RFC 8259). What parsers disagree about is refused, not guessed.

    O(body), and for a small one of few members no more than three counts besides the decoding.

    :param depth: how deep lists and objects may lie within each other; one of scalars alone is 1 deep.
    :raises Problem: 400, saying what and where (a byte from 0, or a JSON pointer): no JSON, no UTF-8, an empty body,
        nested too deep, a member twice, a number beyond every float or :data:`MAX_DIGITS`, half of a surrogate pair.
    """
    if body.count(b"[") + body.count(b"{") > depth and _is_deeper(body, depth):
        raise _refused(f"lists and objects are nested more than {depth} deep")
    try:
        value = _decode(body)
    except msgspec.MsgspecError as error:
        raise _refused(_cause(body, str(error))) from None
    except UnicodeDecodeError as error:
        raise _refused(f"it is not UTF-8 (byte {error.start})") from None
    except RecursionError:
        raise _refused("lists and objects are nested too deep") from None
    colons = body.count(b":")
    if colons:  # each member has one: if there are as many members, none was lost
        members = 0
        if type(value) is dict:
            members = len(value)
            for one in value.values():
                if type(one) is dict:
                    members += len(one)
        if members != colons:
            members = _members(value)
            if members != colons and _STRINGS.sub(b"", body).count(b":") != members:
                raise _duplicates(body)
    return value


def _is_deeper(body: bytes, depth: int) -> bool:
    """Tell whether brackets, but those in strings, are nested deeper: without recursion, in O(body)."""
    level = seen = 0
    for found in islice(_BRACKETS.finditer(body), FEW):
        sign = found[0]
        seen += 1
        if sign in b"[{":
            level += 1
            if level > depth:
                return True
        elif sign in b"]}":
            level -= 1
    if seen < FEW:
        return False
    steps = _STRINGS.sub(b"", body).translate(_STEPS, _NOT_BRACKETS)
    return max(accumulate(memoryview(steps).cast("b")), default=0) > depth


def _members(value: Any) -> int:
    """Count the members of all objects in ``value``. O(value), without recursion."""
    count = 0
    todo = [value]
    for at in todo:
        if type(at) is dict:
            count += len(at)
            todo += [one for one in at.values() if type(one) is dict or type(one) is list]
        elif type(at) is list:
            todo += [one for one in at if type(one) is dict or type(one) is list]
    return count


def _refused(cause: str) -> Problem:
    return Problem(400, detail=f"the body is not valid JSON: {cause}")


def _cause(body: bytes, said: str) -> str:
    """Say why a body is refused that msgspec has refused with the message ``said``. It repeats no value."""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return f"it is not UTF-8 (byte {error.start})"
    if not body.strip():
        return "it is empty"
    if body.startswith(b"\xef\xbb\xbf"):
        return "it begins with a byte order mark (byte 0)"
    if "out of range" in said:
        return _out_of_range(body)
    if "truncated" in said or "surrogate" in said:
        lone = next((found.start() for found in _ESCAPES.finditer(body) if found["lone"]), None)
        if lone is not None:
            return f"half of a surrogate pair (byte {lone})"
        return f"it ends within a value (byte {len(body)})"
    found = _BYTE.fullmatch(said.removeprefix("JSON is malformed: "))
    if found is None:
        return said
    at = int(found[2])
    if body[at : at + 3] == b"NaN" or body[at : at + 8] == b"Infinity" or body[at - 1 : at + 8] == b"-Infinity":
        return f"NaN and Infinity are no JSON (byte {at})"
    return f"{found[1]} (byte {at})"


def _out_of_range(body: bytes) -> str:
    for found in _LARGE.finditer(body):
        number = found[0]
        if number[:1] == b'"':
            continue
        digits = number.lstrip(b"-")
        if digits.isdigit():
            if len(digits) > MAX_DIGITS:
                return f"an integer of {len(digits)} digits; {MAX_DIGITS} are taken (byte {found.start()})"
        elif len(digits) < 10_000 and isinf(_float_of(digits)):
            return f"a number beyond every float (byte {found.start()})"
    return "a number out of range"


def _float_of(digits: bytes) -> float:
    try:
        return float(digits)
    except ValueError:  # not a number after all
        return 0.0


_Link: TypeAlias = "tuple[_Link, str] | None"
"""A place in a value: the place that it is in, and its name there. (Texts of all places would be quadratic.)"""


class _Pairs(list[tuple[str, Any]]):
    """The members of an object, all of them."""

    __slots__ = ()


def _duplicates(body: bytes) -> Problem:
    """Name every member that an object has twice. O(body), slow: only once there are some."""
    said = "the body has objects with several members of one name"
    if len(body) > MAX_NAMED:
        return Problem(400, detail=f"{said} (only those of smaller bodies are listed)")
    try:
        value = loads(body, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):  # unlike msgspec: nothing to be named then
        value = None
    faults: list[Fault] = []
    todo: list[tuple[_Link, Any]] = [(None, value)]
    for link, at in todo:
        if type(at) is _Pairs:
            times = Counter(name for name, _ in at)
            for name, count in times.items():
                if count > 1 and len(faults) < MAX_FAULTS_SHOWN:
                    faults.append(Fault(_pointer((link, name)), f"the object has {count} members {shown(name)}"))
            todo += [((link, name), one) for name, one in at if isinstance(one, list)]
        elif type(at) is list:
            todo += [((link, str(index)), one) for index, one in enumerate(at) if isinstance(one, list)]
        if len(faults) == MAX_FAULTS_SHOWN:
            break
    return Problem(400, detail=said, faults=faults)


def _pointer(link: _Link) -> str:
    """Return the JSON pointer (RFC 6901) of a place; of long names the beginnings."""
    parts = []
    while link is not None:
        link, name = link
        parts.append("/" + name[:255].replace("~", "~0").replace("/", "~1"))
    return "".join(reversed(parts))


__all__ = ["CLOSE", "FEW", "MAX_DIGITS", "Gone", "Receive", "body_of", "decoded"]
