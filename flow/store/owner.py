"""Who drives a run: a process, by its host, its number and its beginning."""

from __future__ import annotations

import os
import socket
import time
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from flow.store.backend import RunRow

_STAT_START: Final = 19  # of the fields after the name, in /proc/<pid>/stat


def this_process() -> str:
    """Return ``host:pid:start`` of this process."""
    return _named(os.getpid())


@cache
def _named(pid: int) -> str:  # by number: after a fork it is another
    return f"{socket.gethostname()}:{pid}:{_start_of(pid) or int(time.time())}"


def is_gone(owner: str) -> bool:
    """Tell whether the process of this name is certainly no more. Of one of another host that cannot be seen."""
    host, _, rest = owner.rpartition(":")[0].rpartition(":")
    start = owner.rpartition(":")[2]
    if host != socket.gethostname() or not rest.isdigit():
        return False
    pid = int(rest)
    if pid == os.getpid():
        return owner != this_process()
    if os.name == "nt":  # there a signal of 0 ends the process
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    begun = _start_of(pid)
    return begun is not None and (begun == "dead" or begun != start)


def is_driven(row: RunRow) -> bool:
    """Tell whether a process drives a run, as far as can be seen."""
    return bool(row.owner) and row.lease > time.time() and not is_gone(row.owner)


def _start_of(pid: int) -> str | None:
    """When a process began, in ticks of the machine; "dead" if only its entry is left. None if that cannot be seen."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return "dead" if fields[0] in ("Z", "X") else fields[_STAT_START]


__all__ = ["is_driven", "is_gone", "this_process"]
