"""Modules of this package that measure in a process of their own, and print one JSON value."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from flow_bench.harness.contender import Refused
from flow_bench.harness.processes import environment


def child(module: str, *arguments: str | int) -> Any:
    """Run a module of this package in a new process and return the JSON it prints."""
    command = [sys.executable, "-m", f"flow_bench.{module}", *map(str, arguments)]
    done = subprocess.run(command, env=environment(), check=False, capture_output=True, text=True)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise Refused(" ".join(command[3:]), last)
    return json.loads(done.stdout)


def answer(*functions: Callable[..., Any]) -> None:
    """Entry of such a module: call the function that the first argument names, and print what it returns."""
    name, *arguments = sys.argv[1:]
    given = [int(argument) if argument.isdigit() else argument for argument in arguments]
    print(json.dumps({function.__name__: function for function in functions}[name](*given)))
