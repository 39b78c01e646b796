"""Durable runs: a run that dies goes on where it was, by the same call (``flow.run(..., run_id=, store=)``).

>>> store = flow.store.open("runs.db")
>>> flow.run(dag, {"day": "monday"}, run_id="monday", store=store)

Importing it is cheap: a name is imported where a program first uses it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flow.exports import at_first_use, only

if TYPE_CHECKING:
    from flow.store.backend import Backend, Change, RunRow, Signal, Stored
    from flow.store.codec import Codec
    from flow.store.opening import memory, open
    from flow.store.store import Store
else:
    __getattr__ = at_first_use(
        "flow.store",
        {
            "Backend": "flow.store.backend",
            "Change": "flow.store.backend",
            "Codec": "flow.store.codec",
            "RunRow": "flow.store.backend",
            "Signal": "flow.store.backend",
            "Store": "flow.store.store",
            "Stored": "flow.store.backend",
            "memory": "flow.store.opening",
            "open": "flow.store.opening",
        },
    )

__all__ = ["Backend", "Change", "Codec", "RunRow", "Signal", "Store", "Stored", "memory", "open"]
__dir__ = only(__all__)
