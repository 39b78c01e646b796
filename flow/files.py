"""Files that users name: read if they are plain files, and written whole or not at all.

Whatever is wrong with a path is an :class:`OSError` here, whose ``strerror`` says what.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO, Final

from flow.errors import shown

BOM: Final = b"\xef\xbb\xbf"
"""The byte order mark that some editors put before UTF-8; it is no part of the text."""


def name_of(path: object) -> str:
    """Return ``path`` as text. :raises TypeError: if it is neither text nor a path, as it says."""
    try:
        return os.fsdecode(path)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"its path must be a str or a Path, not {shown(path)}") from None


def opened(name: str) -> BinaryIO:
    """Open a regular file to be read. A pipe or a device may never end, or block at the opening."""
    mode = _mode(name)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a regular file", name)
    return open(name, "rb")


def read(name: str, most: int) -> bytes:
    """Read a regular file of up to ``most`` bytes, without its byte order mark."""
    with opened(name) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most / 2**20:g} MiB", name)
    return data.removeprefix(BOM)


def check_writable(name: str) -> None:
    """Refuse a file that :func:`write` could not write, as far as that can be told without writing."""
    target, is_device = _target(name)
    folder = os.path.dirname(target) or "."
    if is_device:
        if not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
        return
    if not stat.S_ISDIR(_mode(folder)):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder)
    if os.path.exists(target) and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "its folder cannot be written to", folder)


def write(name: str, text: str) -> None:
    """Write a file as UTF-8, whole or not at all: it replaces the present file when it is complete.

    A link is followed, permissions of what is there are kept; a device such as ``/dev/null`` is written to.
    """
    check_writable(name)
    data = text.encode("utf-8", "backslashreplace")
    target, is_device = _target(name)
    if is_device:
        with open(target, "wb") as device:
            device.write(data)
        return
    draft = os.path.join(os.path.dirname(target), f".flow-{os.urandom(8).hex()}.tmp")
    try:
        with open(draft, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(target):
            os.chmod(draft, stat.S_IMODE(os.stat(target).st_mode))
        os.replace(draft, target)
    except BaseException:
        if os.path.exists(draft):
            os.unlink(draft)
        raise


def _target(name: str) -> tuple[str, bool]:
    """What ``name`` stands for once links are followed, and whether that is a character device."""
    try:
        mode = _mode(name)
    except FileNotFoundError:
        return os.path.realpath(name), False
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    if not (stat.S_ISREG(mode) or stat.S_ISCHR(mode)):
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a regular file", name)
    return os.path.realpath(name), stat.S_ISCHR(mode)


def _mode(name: str) -> int:
    try:
        return os.stat(name).st_mode
    except UnicodeError:
        raise OSError(errno.EINVAL, "its path holds characters that no path can hold", name) from None
    except ValueError:  # each version of Python has its own words for it
        raise OSError(errno.EINVAL, "embedded null character in its path", name) from None
