"""The command ``flow``: run, tune, show and check a Dag or a workflow trace (the extra ``cli``).

Exit codes: 0 ok; 1 the run failed, the target has faults, or a result could not be written; 2 wrong
usage (a bad target or option, a missing file); 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and exit; returns 2 if its libraries are not installed, 130 if interrupted before that."""
    try:
        import click  # noqa: F401
    except ImportError:
        print("the command line of flow needs click and rich: pip install 'flow-dag[cli]'", file=sys.stderr)
        return 2
    try:
        from flow.cli.terminal import opened_streams

        opened_streams()
        from flow.cli.commands import cli
    except KeyboardInterrupt:
        return 130
    cli.main(None if arguments is None else list(arguments), prog_name="flow")
    return 0  # cli.main exits


__all__ = ["main"]
