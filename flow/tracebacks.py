"""The frames that an error shows: the user's, and none of ours.

A traceback of a definition or usage error ends at the user's line that made the mistake. Each public function that
refuses wrong calls has this in its own body::

    except OUR_ERRORS as error:
        end_at_user(error)
        raise

The bare ``raise`` adds no frame: the next frame that CPython puts into the traceback is that of the caller. ``raise
error`` would add the frame of the function itself, as would another function that raises. A ``try`` costs nothing until
an error comes.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from functools import wraps
from types import CodeType, FrameType, TracebackType
from typing import Any, Final, ParamSpec, TypeAlias, TypeVar

from flow.errors import BlockingNodeWarning, DefinitionWarning, FlowError

P = ParamSpec("P")
R = TypeVar("R")

OURS: Final = "flow"

OUR_ERRORS: Final = (FlowError, DefinitionWarning, BlockingNodeWarning)
"""Also the warnings, which are errors where the user wants them to be (``python -W error``)."""

_MACHINERY: Final = frozenset({OURS, "anyio", "asyncio", "concurrent", "outcome", "threading", "trio"})
"""Packages that lead from a run to a node's function. (Generated code is of our name too.)"""

Frames: TypeAlias = list[TracebackType]


def ends_at_user(method: Callable[P, R]) -> Callable[P, R]:
    """Decorate a public function that is rarely called: tracebacks of its errors end at the line of its caller."""

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except OUR_ERRORS as error:
            end_at_user(error)
            raise

    return call


def end_at_user(error: BaseException) -> None:
    """Take our frames out of the traceback of ``error``, which is about to leave a public function.

    Frames of user code that we have called (a factory, a hook) stay. O(length of the traceback).
    """
    frames: Frames = []
    at = error.__traceback__
    while at is not None:
        frames.append(at)
        at = at.tb_next
    chain: TracebackType | None = None
    for at in reversed(users_of(frames)):
        chain = TracebackType(chain, at.tb_frame, at.tb_lasti, at.tb_lineno)
    BaseException.with_traceback(error, chain)


def users_of(frames: Frames, code: CodeType | None = None) -> Frames:
    """Return the frames without ours, and without those of libraries between ours and the user's.

    Frames of these libraries that the user's function has called stay, as does a node's function from such a library.

    :param code: the code object of the node's function.
    """
    users: Frames = []
    between: Frames = []
    for at in [*frames, None]:
        if at is not None and at.tb_frame.f_code is not code and package_of(at.tb_frame) in _MACHINERY:
            between.append(at)
            continue
        if between and package_of(between[0].tb_frame) != OURS:  # called by the user's; ours took part in the waiting
            users += [called for called in between if package_of(called.tb_frame) != OURS]
        between = []
        if at is not None:
            users.append(at)
    return users


def package_of(frame: FrameType) -> Any:
    """Return the name of the package that a frame's code stands in; None if it has none."""
    name = frame.f_globals.get("__name__")
    return name.partition(".")[0] if isinstance(name, str) else None


def warn_user(text: str, category: type[Warning]) -> None:
    """Issue a warning at the line of the user's code that called us."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and package_of(frame) == OURS:
        level, frame = level + 1, frame.f_back
    warnings.warn(text, category, stacklevel=level)


def users_line() -> str:
    """Return the line of the user's that has called us, as ``file:line``."""
    frame = sys._getframe(1)
    while frame.f_back is not None and package_of(frame) == OURS:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
