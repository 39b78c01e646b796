"""Saved runs: one file each in the folder ``benchmark-results``, JSON or the same in a ``.tar.gz``, by name."""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
import zlib
from datetime import UTC, datetime
from pathlib import Path
from time import time
from typing import Any

import msgspec

FOLDER = Path("benchmark-results")
"""In the current folder; ``scripts/benchmark.sh`` runs in the repository's."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
JSON, ARCHIVE = ".json", ".tar.gz"
MOST = 100_000_000
"""Bytes that a run in an archive may have: a whole one has a few millions."""


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
    make_folder()
    data = json.dumps(document).encode()
    written = path.with_name(f".{path.name}.new")  # so that a full disk leaves the run that was there
    try:
        if path.name.endswith(ARCHIVE):
            member = tarfile.TarInfo(f"{document['name']}{JSON}")
            member.size = len(data)
            member.mtime = int(time())
            with tarfile.open(written, "w:gz") as archive:
                archive.addfile(member, io.BytesIO(data))
        else:
            written.write_bytes(data)
        written.replace(path)
    except OSError as error:
        raise NotSaved(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        written.unlink(missing_ok=True)
    return path


def make_folder() -> None:
    """Make the folder of saved runs. :raises NotSaved: if it cannot be made."""
    try:
        FOLDER.mkdir(exist_ok=True)
    except OSError as error:
        raise NotSaved(f"the folder {FOLDER} cannot be made: {error.strerror or error}") from None


def saved() -> list[Path]:
    """All saved runs, the oldest first."""
    found = [path for path in FOLDER.glob("[!.]*") if path.name.endswith((JSON, ARCHIVE))]
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
            other = "other " if but and saved() else ""
            raise NotSaved(f"nothing to compare with: no {other}run is saved in {FOLDER}; make one with run --save")
        path = runs[-1]
    elif not path.is_file():
        path = _by_name(name_or_file)
    try:
        documents = _in_archive(path) if path.name.endswith(ARCHIVE) else [json.loads(path.read_text("utf-8"))]
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise NotSaved(f"{path} is not a .tar.gz, or is damaged: {error}") from None
    except OSError as error:
        raise NotSaved(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise NotSaved(f"{path} is not JSON: {error}") from None
    faults = [_fault(one) for one in documents]
    if all(faults):
        what = faults[0] if faults else "there is no JSON file in it"
        raise NotSaved(
            f"{path} is not a run of flow_bench: {what}. Give a file that 'run --json' or 'run --save' has written"
        )
    runs_in = [one for one, fault in zip(documents, faults, strict=True) if not fault]
    newest: dict[str, Any] = max(runs_in, key=_date)
    return {"machine": {}, "settings": {}, "passes": 1, **newest}


class _Row(msgspec.Struct):
    suite: str
    section: str
    label: str
    nodes: int
    topology: str
    unit: str
    figure: float | None


class _Run(msgspec.Struct):
    """What is needed of a run for comparing it."""

    name: str
    rows: list[_Row]
    machine: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    passes: int = 1


def _fault(document: Any) -> str:
    """Say why this is no run; nothing if it is one."""
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema is not None and schema != 1:
        return f"its schema is {schema!r}, and this flow_bench reads 1"
    try:
        msgspec.convert(document, _Run)
    except msgspec.ValidationError as error:
        return str(error)
    return "" if schema == 1 else "it says no schema"


def _date(document: dict[str, Any]) -> datetime:
    """When it was measured; long ago if it does not say so."""
    try:
        found = datetime.fromisoformat(document["machine"]["date"])
    except (KeyError, TypeError, ValueError):
        return datetime.min.replace(tzinfo=UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _by_name(name: str) -> Path:
    path = path_of(name)
    found = [one for one in saved() if one in (path, FOLDER / f"{name}{ARCHIVE}")]
    if found:
        return found[-1]
    names = ", ".join(name_of(path) for path in saved()) or "none"
    raise NotSaved(f"no run is saved as {name!r}, nor is there such a file; saved in {FOLDER}: {names}")


def _in_archive(path: Path) -> list[Any]:
    """Every JSON file in an archive, read without being unpacked. :raises OSError: if its checksum is wrong."""
    found = []
    with gzip.open(path) as whole:
        with tarfile.open(fileobj=whole, mode="r:") as archive:
            for member in archive:
                if not member.isfile() or not member.name.endswith(JSON):
                    continue
                if member.size > MOST:
                    raise NotSaved(f"{path} holds {member.name!r} of {member.size / 1e6:,.0f} MB: no run is as large")
                file = archive.extractfile(member)
                assert file is not None  # of a file there is one
                found.append(json.load(file))
        while whole.read(1 << 20):  # the checksum stands at the end
            pass
    return found
