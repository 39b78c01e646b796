"""What the run itself tells one of its contexts: :class:`System`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import msgspec

from flow.errors import UsageError

_UNIX_ZERO: Final = datetime(1970, 1, 1, tzinfo=UTC)


class System(msgspec.Struct, frozen=True, gc=False):
    """What the run tells a context: ``ctx.system``, made anew at each access.

    In a Dag that is a node, all of it is that of the inner run.

    :ivar workflow: the Dag's name.
    :ivar run_id: the run's id.
    :ivar node: the node's name; for an item, the map's.
    :ivar attempt: 1 for the first call, 2 for the first retry, and so on.
    :ivar index: the place of the item, from 0; None for a node.
    :ivar start: when the run started, in UTC.
    :ivar timestamp: when ``ctx.system`` was read, in UTC and by the run's clock. So ``timestamp - start`` is the time
        that the run has taken until then, whatever happens to the machine's date meanwhile.
    """

    workflow: str
    run_id: str
    node: str
    attempt: int
    index: int | None
    start: Annotated[datetime, msgspec.Meta(tz=True)]
    timestamp: Annotated[datetime, msgspec.Meta(tz=True)]


def dated(seconds: float) -> datetime:
    """Return the date, in UTC, of so many seconds of Unix time.

    :raises UsageError: if a date cannot say it: of a clock that counts from a far epoch.
    """
    try:
        return _UNIX_ZERO + timedelta(seconds=seconds)
    except (OverflowError, ValueError):  # (a ValueError if it is not a number)
        raise UsageError(
            f"the run's clock stands at {seconds} s of Unix time, which is no date of the years 1 to 9999: set the "
            "clock's epoch (the Unix time of its zero)"
        ) from None
