"""The page for people: the latest runs, and one run. Plain HTML: no script, and nothing from elsewhere."""

from __future__ import annotations

from flow.http.page.graph import graph
from flow.http.page.listing import index
from flow.http.page.refused import refused
from flow.http.page.sheet import run

__all__ = ["graph", "index", "refused", "run"]
