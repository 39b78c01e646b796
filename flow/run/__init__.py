"""Drive a plan: inline or on an event loop, unbounded or bounded; and what it leaves behind.

Importing anything of it hands :mod:`flow.data.within` what runs a Dag for a Context.
"""

from __future__ import annotations

from flow.data.within import Execute, Run, nest_by


def _nesting() -> tuple[Run, Execute]:
    from flow.run.within import execute_within, run_within  # here: few runs nest by their contexts

    return run_within, execute_within


nest_by(_nesting)
