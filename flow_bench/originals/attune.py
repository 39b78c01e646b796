"""The tables of Attune (Rust)."""

from __future__ import annotations

from flow_bench.originals.table import Source

SOURCE = Source("Attune (Rust)", "not stated", ())
