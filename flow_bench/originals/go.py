"""The tables of Flow Orchestrator (Go)."""

from __future__ import annotations

from flow_bench.originals.table import Source

SOURCE = Source("Flow Orchestrator (Go)", "10 cores (the `-10` behind each name); the processor is not stated", ())
