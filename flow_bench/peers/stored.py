"""Where the workers of the durable suite have their stores, and how they call their runs."""

from __future__ import annotations

import os
from itertools import count

FOLDER = "FLOW_BENCH_STORES"
"""The variable that names the folder. The suite makes it and removes it: workers are killed."""
_NUMBERS = count(1)


def new_id() -> str:
    """Return what no run of this process and no file of any is called."""
    return f"run-{os.getpid()}-{next(_NUMBERS)}"


def new_file() -> str:
    return os.path.join(os.environ[FOLDER], f"{new_id()}.db")
