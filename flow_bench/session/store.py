"""Saved runs: JSON files in the folder ``.benchmarks``, by name."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

FOLDER = Path(".benchmarks")
"""In the current folder; ``scripts/benchmark.sh`` runs in the repository's."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")


class NotSaved(Exception):
    """There is no such run, or it cannot be read; the message says what there is."""


def path_of(name: str) -> Path:
    """Where the run of that name is kept.

    :raises NotSaved: if it cannot be a name: letters, digits and ``. _ + -`` only, a letter or digit first.
    """
    if not NAME.fullmatch(name) or name.endswith(".json"):
        raise NotSaved(f"{name!r} cannot be a run's name: letters, digits and . _ + - only, not a file's (.json)")
    return FOLDER / f"{name}.json"


def default_name(machine: dict[str, Any]) -> str:
    """Date and commit."""
    date = datetime.fromisoformat(machine["date"]).strftime("%Y%m%d-%H%M%S")
    return "-".join(filter(None, [date, machine["commit"]]))


def save(document: dict[str, Any]) -> Path:
    """Keep a run under its name, in place of one that was kept under it before."""
    path = path_of(document["name"])
    FOLDER.mkdir(exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def saved() -> list[Path]:
    """All saved runs, the oldest first."""
    return sorted(FOLDER.glob("*.json"), key=lambda path: (path.stat().st_mtime, path.name))


def load(name_or_file: str, *, but: str = "") -> dict[str, Any]:
    """Return a saved run by name or file; the newest if empty, other than the one called ``but``.

    :raises NotSaved: if there is none, or the file holds something else.
    """
    path = Path(name_or_file)
    if not name_or_file:
        runs = [path for path in saved() if path.stem != but]
        if not runs:
            raise NotSaved(f"nothing to compare with: no run is saved in {FOLDER}; make one with run --save")
        path = runs[-1]
    elif not path.is_file():
        path = path_of(name_or_file)
        if not path.is_file():
            names = ", ".join(path.stem for path in saved()) or "none"
            raise NotSaved(f"no run is saved as {name_or_file!r}, nor is there such a file; saved in {FOLDER}: {names}")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NotSaved(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise NotSaved(f"{path} is not JSON: {error}") from None
    if not isinstance(document, dict) or document.get("schema") != 1 or "rows" not in document:
        raise NotSaved(f"{path} is not a run of flow_bench: give a file that 'run --json' or 'run --save' has written")
    return document
