"""What pytest-benchmark collects: one test per case (:mod:`flow_bench.harness`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flow_bench.case import Case
    from flow_bench.harness import Session


def bench_case(case: Case, session: Session, benchmark: Any) -> None:
    """Measure one row."""
    session.run(case, benchmark)
