"""The view that nodes have of their run.

Importing anything of it hands :mod:`flow.data.store` what chooses the classes of stores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flow.data.context import Context
from flow.data.key import Key
from flow.data.mapresult import MapResult
from flow.data.store import Snapshot, WorkflowData, choose_classes_by
from flow.data.system import System
from flow.exports import at_first_use, only

if TYPE_CHECKING:
    from flow.config import DataConfig
    from flow.data.exported import ContextExport
    from flow.data.slots import Layout


def _first_class(config: DataConfig, layout: Layout | None) -> type[WorkflowData]:
    """Choose the class of the first store, and leave those after it to :func:`flow.data.kinds.store_class`."""
    from flow.data.kinds import store_class  # here: a run that makes no store needs none of its modules

    choose_classes_by(store_class)
    return store_class(config, layout)


choose_classes_by(_first_class)

if not TYPE_CHECKING:  # so that a type checker refuses what is not there
    __getattr__ = at_first_use("flow.data", {"ContextExport": "flow.data.exported"})

__all__ = ["Context", "ContextExport", "Key", "MapResult", "Snapshot", "System", "WorkflowData"]
__dir__ = only(__all__)
