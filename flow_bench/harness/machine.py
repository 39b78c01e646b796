"""The machine that figures were taken on."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import flow
from flow_bench.harness.processes import cores

LIBRARIES = ("anyio", "msgspec", "trio", "uvloop")


def facts() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "cpu": _cpu_model(),
        "cores": cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "flow": flow.__version__,
        "libraries": {name: _version(name) for name in LIBRARIES},
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else [],
        "commit": commit(),
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def commit() -> str:
    """The commit of this code, with ``-dirty`` if files differ from it; empty if there is no telling."""
    return _output("git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude=*")


def _output(*command: str) -> str:
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    if sys.platform == "darwin" and (name := _output("sysctl", "-n", "machdep.cpu.brand_string")):
        return name
    return platform.processor() or "unknown CPU"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"


def heading(found: dict[str, Any]) -> str:
    """Machine facts in two lines."""
    libraries = ", ".join(f"{name} {version}" for name, version in found["libraries"].items())
    load = " ".join(f"{value:.2f}" for value in found["load"])
    return (
        f"{found['python']}, flow {found['flow']}, {libraries}\n"
        f"{found['cpu']}, {found['cores']} cores, {found['system']}, load average {load}"
    )
