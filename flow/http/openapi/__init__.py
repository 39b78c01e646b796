"""What the service says of itself, for programs: ``/openapi.json``, and the schemas of workflows."""

from __future__ import annotations

from flow.http.openapi.document import document
from flow.http.openapi.schemas import told

__all__ = ["document", "told"]
