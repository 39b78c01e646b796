"""What new processes are given, and what processes hold. Peers' workers import it, so it imports next to nothing."""

from __future__ import annotations

import os
import sys

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a new process that imports this package; ``more`` goes over this one's."""
    path = os.pathsep.join(filter(None, [_ROOT, os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, **more}


def resident(pid: int | None = None) -> int:
    """Bytes of resident memory of a process; of this one by default.

    A process that psutil would make heavier is looked at by another one.
    """
    import psutil

    return int(psutil.Process(pid).memory_info().rss)


def peak_mb() -> float:
    """The most resident memory that this process has had, in MB."""
    if sys.platform == "win32":
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / 1e6
    try:  # psutil does not tell; and unlike ru_maxrss, this does not start with the parent's
        with open("/proc/self/status", encoding="ascii") as lines:
            return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):  # macOS, the BSDs
        import resource
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def cores() -> int:
    """How many processors this process may use: a container or ``taskset`` may leave it fewer than there are."""
    import psutil

    process = psutil.Process()
    allowed = process.cpu_affinity() if hasattr(process, "cpu_affinity") else None  # macOS has none
    return len(allowed) if allowed else psutil.cpu_count() or 1
