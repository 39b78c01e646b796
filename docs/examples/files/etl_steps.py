"""What etl.yaml calls."""

from collections import Counter
from typing import TypedDict

__all__ = ["clean", "rows", "store"]

calls: Counter[str] = Counter()
stored: list["Row"] = []


class Row(TypedDict):
    """One order."""

    source: str
    amount: float
    kept: bool


def rows(source: str) -> list[Row]:
    """Read a source, which answers at the second call."""
    calls[source] += 1
    if calls[source] % 2:
        raise ConnectionError(f"{source} does not answer")
    return [{"source": source, "amount": float(n), "kept": True} for n in range(len(source))]


def clean(row: list[Row], least: float) -> list[Row]:
    """Mark the orders of a batch that are too small."""
    return [{**one, "kept": one["amount"] >= least} for one in row]


def store(rows: list[Row]) -> float:
    """Store orders; return their sum."""
    stored.extend(rows)
    return sum(row["amount"] for row in rows)
