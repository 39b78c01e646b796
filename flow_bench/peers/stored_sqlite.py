"""A loop by hand over the nodes, with a row in SQLite and a commit after each."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from flow_bench.peers.graph import Graph
from flow_bench.peers.stored import new_file, new_id


class Built:
    """The nodes in order, the database, and the run that was made last."""

    def __init__(self, graph: Graph) -> None:
        self.nodes = list(graph.nodes())
        self.path = new_file()
        self.sql = sqlite3.connect(self.path, isolation_level=None)
        self.sql.execute("PRAGMA journal_mode = WAL")
        self.sql.execute("PRAGMA synchronous = NORMAL")
        self.sql.execute("CREATE TABLE outcome (run TEXT, name TEXT, output BLOB, PRIMARY KEY (run, name))")
        self.last = ""


def build(graph: Graph) -> Built:
    return Built(graph)


def run(built: Built) -> dict[str, Any]:
    outputs: dict[str, Any] = {}
    built.last = new_id()
    for name, function, needs in built.nodes:
        outputs[name] = function(*[outputs[need] for need in needs])
        row = (built.last, name, msgspec.msgpack.encode(outputs[name]))
        built.sql.execute("INSERT INTO outcome VALUES (?, ?, ?)", row)
    return outputs


def stored(built: Built) -> int:
    other = sqlite3.connect(built.path)
    found = other.execute("SELECT count(*) FROM outcome WHERE run = ?", (built.last,)).fetchone()[0]
    other.close()
    return int(found)
