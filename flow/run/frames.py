"""The frames that an exception of a node shows and holds: the user's, and none of ours.

An exception keeps every frame that it passed. Each frame keeps its local variables and its caller. So our frames would
stand first in each traceback, and would hold the run whose Result holds the exception: a cycle that only the garbage
collector could break.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import CodeType, TracebackType
from typing import Any, Final

from flow.errors import leaves
from flow.signature import code_of
from flow.tracebacks import OURS, Frames, package_of, users_of

MAX_RAISES: Final = 10
"""Places at which one exception object has been raised that its traceback shows."""


def keep_users_frames(error: BaseException, fn: Any) -> None:
    """Remove all frames but the user's from the traceback of an exception that a node's function raised.

    Tracebacks of its causes lose our frames too, if they passed through our code. An object that is raised
    again and again keeps one traceback per place. O(length of the traceback).
    """
    code = code_of(fn)
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        if at is error or _begins_with_ours(at.__traceback__):
            # The base's own method: an exception may be frozen, or have another of this name.
            BaseException.with_traceback(at, _rebuilt(_raises(at.__traceback__, code)))
        elif at.__traceback__ is not None:
            return  # it was raised outside, and the run is part of how it is dealt with
        at = at.__cause__ or at.__context__


def let_go(error: BaseException) -> None:
    """At the end of a run, let our frames that have called the user's let go of what they hold. O(depth of the calls).

    (The callers of a frame in a traceback are held by it, whether the traceback shows them or not.)
    """
    for leaf in leaves(error):
        traceback = leaf.__traceback__
        frame = None if traceback is None else traceback.tb_frame.f_back
        while frame is not None:
            if package_of(frame) == OURS:
                try:
                    frame.clear()
                except RuntimeError:  # it has not ended: a run around this one
                    break
            frame = frame.f_back


def _begins_with_ours(traceback: TracebackType | None) -> bool:
    return traceback is not None and package_of(traceback.tb_frame) == OURS


def _raises(traceback: TracebackType | None, code: CodeType | None) -> list[Frames]:
    """Return the user's frames of each raise of the exception, the last raise first, each place once."""
    found: dict[Sequence[Any], Frames] = {}
    for frames in _apart(traceback):
        users = users_of(frames, code)
        if users:
            found.setdefault(tuple([(at.tb_frame.f_code, at.tb_lineno) for at in users]), users)
        if len(found) == MAX_RAISES:
            break
    return list(found.values())


def _apart(traceback: TracebackType | None) -> Iterator[Frames]:
    """Yield the frames of each raise, the last one first: where an earlier one begins is marked (:func:`_rebuilt`)."""
    frames: Frames = []
    at = traceback
    while at is not None:
        if at.tb_lasti & 1 and frames:
            yield frames
            frames = []
        frames.append(at)
        at = at.tb_next
    yield frames


def _rebuilt(raises: Sequence[Frames]) -> TracebackType | None:
    """Chain the frames anew, the first of each raise marked: the next raise of the same object puts others before it.

    The mark is an odd ``tb_lasti``. Instructions stand at even places, and a lookup of a place halves it first.
    """
    chain: TracebackType | None = None
    for frames in reversed(raises):
        for at in reversed(frames):
            mark = at is frames[0]
            chain = TracebackType(chain, at.tb_frame, at.tb_lasti & ~1 | mark, at.tb_lineno)
    return chain
