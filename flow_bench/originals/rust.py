"""The tables of AI Workflow Engine (Rust)."""

from __future__ import annotations

from flow_bench.originals.table import Source

SOURCE = Source("AI Workflow Engine (Rust)", "Apple M2 Pro, 10 cores", ())
