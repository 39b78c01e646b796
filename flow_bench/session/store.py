"""Saved runs: one file each in the folder ``benchmark-results``, JSON or the same in a ``.tar.gz``, by name."""

from __future__ import annotations

import io
import json
import re
import tarfile
from datetime import datetime
from pathlib import Path
from time import time
from typing import Any

FOLDER = Path("benchmark-results")
"""In the current folder; ``scripts/benchmark.sh`` runs in the repository's."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
JSON, ARCHIVE = ".json", ".tar.gz"


class NotSaved(Exception):
    """There is no such run, or it cannot be read; the message says what there is."""


def path_of(name: str) -> Path:
    """Where the run of that name is kept: in a JSON file, or in an archive if the name ends with ``.tar.gz``.

    :raises NotSaved: if it cannot be a name: letters, digits and ``. _ + -`` only, a letter or digit first.
    """
    if not NAME.fullmatch(name) or name.endswith(JSON):
        raise NotSaved(
            f"{name!r} cannot be a run's name: letters, digits and . _ + - only, not a file's ({JSON}); "
            f"with {ARCHIVE} at its end the run is kept compressed"
        )
    return FOLDER / (name if name.endswith(ARCHIVE) else f"{name}{JSON}")


def name_of(path: Path) -> str:
    """The run's name: the file's without its suffix."""
    return path.name.removesuffix(ARCHIVE).removesuffix(JSON)


def default_name(machine: dict[str, Any]) -> str:
    """Date and commit."""
    date = datetime.fromisoformat(machine["date"]).strftime("%Y%m%d-%H%M%S")
    return "-".join(filter(None, [date, machine["commit"]]))


def save(document: dict[str, Any], name: str = "") -> Path:
    """Keep a run, in place of one that was kept under its name before.

    :param name: as :func:`path_of` takes it: the document's own, which is the default, or that and ``.tar.gz``.
    """
    path = path_of(name or document["name"])
    FOLDER.mkdir(exist_ok=True)
    data = json.dumps(document).encode()
    if path.name.endswith(ARCHIVE):
        member = tarfile.TarInfo(f"{document['name']}{JSON}")
        member.size = len(data)
        member.mtime = int(time())
        with tarfile.open(path, "w:gz") as archive:
            archive.addfile(member, io.BytesIO(data))
    else:
        path.write_bytes(data)
    return path


def saved() -> list[Path]:
    """All saved runs, the oldest first."""
    found = [*FOLDER.glob(f"*{JSON}"), *FOLDER.glob(f"*{ARCHIVE}")]
    return sorted(found, key=lambda path: (path.stat().st_mtime, path.name))


def load(name_or_file: str, *, but: str = "") -> dict[str, Any]:
    """Return a saved run by name or file; the newest if empty, other than the one called ``but``.

    Of an archive with several runs in it, such as one of the whole folder, the newest is taken.

    :raises NotSaved: if there is none, or the file holds something else.
    """
    path = Path(name_or_file)
    if not name_or_file:
        runs = [path for path in saved() if name_of(path) != but]
        if not runs:
            raise NotSaved(f"nothing to compare with: no run is saved in {FOLDER}; make one with run --save")
        path = runs[-1]
    elif not path.is_file():
        path = _by_name(name_or_file)
    try:
        documents = _in_archive(path) if path.name.endswith(ARCHIVE) else [json.loads(path.read_text("utf-8"))]
    except OSError as error:
        raise NotSaved(f"{path} cannot be read: {error.strerror or error}") from None
    except (tarfile.TarError, EOFError) as error:
        raise NotSaved(f"{path} is not a .tar.gz: {error}") from None
    except ValueError as error:
        raise NotSaved(f"{path} is not JSON: {error}") from None
    runs_in = [one for one in documents if isinstance(one, dict) and one.get("schema") == 1 and "rows" in one]
    if not runs_in:
        raise NotSaved(f"{path} is not a run of flow_bench: give a file that 'run --json' or 'run --save' has written")
    if len(runs_in) == 1:
        return runs_in[0]
    return max(runs_in, key=lambda one: datetime.fromisoformat(one["machine"]["date"]))


def _by_name(name: str) -> Path:
    path = path_of(name)
    for found in (path, FOLDER / f"{name}{ARCHIVE}"):
        if found.is_file():
            return found
    names = ", ".join(name_of(path) for path in saved()) or "none"
    raise NotSaved(f"no run is saved as {name!r}, nor is there such a file; saved in {FOLDER}: {names}")


def _in_archive(path: Path) -> list[Any]:
    """Every JSON file in an archive, read without being unpacked."""
    found = []
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() and member.name.endswith(JSON) else None
            if file is not None:
                found.append(json.load(file))
    return found
