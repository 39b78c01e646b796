"""Images for models: :func:`image`."""

from __future__ import annotations

import re
from os import PathLike
from pathlib import Path
from typing import Any, Final

from flow.ai.messages import Image
from flow.errors import UsageError, a_kind, described, shown

MAX_BYTES: Final = 20_000_000
"""Bytes of an image. Providers take 5 to 20 MB."""

_BEGINNINGS: Final = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), "image/webp"),
)
_URL: Final = re.compile(r"(?:https?://\S|data:image/[a-z.+-]+;base64,)\S*", re.IGNORECASE)


def image(source: str | bytes | PathLike[str]) -> Image:
    """Make an image for a message. O(bytes).

    :param source: a URL (``https:``, ``http:`` or ``data:``), the bytes of a PNG, JPEG, GIF or WebP, or the path of a
        file with such bytes, as a :class:`pathlib.Path`. A str is never a path: texts may come from elsewhere, and a
        file that they name is sent to the provider.
    :raises UsageError: if it is none of these, too large, or cannot be read.
    """
    if isinstance(source, str):
        return whole(Image(url=source))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return whole(Image(data=bytes(source)))
    if not isinstance(source, PathLike):
        raise UsageError(f"an image is made of a URL, of bytes or of a pathlib.Path, not of {a_kind(source)}")
    try:
        with Path(source).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"the image {shown(str(source))} cannot be read: {described(error)}") from None
    return whole(Image(data=data))


def whole(given: Image) -> Image:
    """Return an image with the media type of its bytes. :raises UsageError: if it cannot be sent."""
    if bool(given.url) == bool(given.data):
        raise UsageError(
            "an image has either a URL or bytes" + (", not both" if given.url else ", and this one has none")
        )
    if given.url:
        if _URL.fullmatch(given.url) is None:
            hint = "; of a file: ai.image(pathlib.Path(...))" if "://" not in given.url else ""
            raise UsageError(
                f"the URL of an image begins with https:, http: or data:image/, not {shown(given.url)}{hint}"
            )
        return given
    if len(given.data) > MAX_BYTES:
        raise UsageError(f"an image has more than {MAX_BYTES:,} bytes: make it smaller")
    media_type = _media_type(given.data) or given.media_type
    if not media_type:
        raise UsageError("the bytes of an image are no PNG, JPEG, GIF or WebP")
    return given if media_type == given.media_type else Image(data=given.data, media_type=media_type)


def _media_type(data: bytes) -> str:
    """Return what the first bytes of an image say that it is, whatever it is called; empty if they say nothing."""
    for beginning, media_type in _BEGINNINGS:
        if beginning.match(data):
            return media_type
    return ""


__all__: list[Any] = ["MAX_BYTES", "image", "whole"]
