"""Durable runs in one SQLite database, on the standard library's module: :class:`SqliteBackend`."""

from __future__ import annotations

from flow.store.sqlite.backend import SqliteBackend

__all__ = ["SqliteBackend"]
