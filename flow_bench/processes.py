"""What new processes are given, and what this one holds. Peers' workers import it, so it imports next to nothing."""

from __future__ import annotations

import os
import sys

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a new process that imports this package; ``more`` goes over this one's."""
    path = os.pathsep.join(filter(None, [_ROOT, os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, **more}


def resident_mb() -> float:
    """Resident memory in MB; its peak where the system does not tell."""
    return _told("VmRSS")


def peak_mb() -> float:
    """The most resident memory that there was, in MB."""
    return _told("VmHWM")  # unlike ru_maxrss, this does not start with the parent's


def _told(field: str) -> float:
    try:
        with open("/proc/self/status", encoding="ascii") as lines:
            return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(field))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
