"""The place in the user's own code that an exception comes from, and its item: for one line of a report."""

from __future__ import annotations

import os
import sys
import sysconfig
import traceback
from pathlib import Path
from typing import Final

_OURS: Final = str(Path(__file__).resolve().parent) + os.sep
_LIBRARIES: Final = tuple(
    {sysconfig.get_path(kind) + os.sep for kind in ("stdlib", "platstdlib", "purelib", "platlib")} | {"<frozen "}
)


def where(error: BaseException) -> str:
    """Return ``file:line`` of the last frame in the user's code; without one, of the last library that we called."""
    if isinstance(error, SyntaxError) and isinstance(error.filename, str) and error.lineno:
        return f"{shortened(error.filename)}:{error.lineno}"
    last = ""
    last_of_user = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        if file.startswith(_OURS):
            last = ""
            continue
        last = f"{shortened(file)}:{line}"
        if not file.startswith(_LIBRARIES):
            last_of_user = last
    return last_of_user or last


def shortened(file: str) -> str:
    """Return ``file`` or ``file:line``, relative to the current folder if below it; a notebook's cell as ``In[3]``."""
    cell = cell_of(file)
    if cell:
        return cell
    try:
        here = os.getcwd().rstrip(os.sep) + os.sep  # not pathlib: a picture has a place for each of its nodes
    except OSError:  # the current folder has been removed
        return file
    return file[len(here) :] if os.path.normcase(file).startswith(os.path.normcase(here)) else file


def cell_of(file: str) -> str:
    """Return IPython's name of the cell that was compiled as ``file``; an empty text for other files."""
    try:
        name_of = sys.modules["IPython"].get_ipython().compile.format_code_name
        name, _, line = file.rpartition(":")
        for found, after in ((name_of(file), ""), (name_of(name) if line.isdigit() else None, f":{line}")):
            if found is not None:
                return f"{found[1]}{after}"
    except Exception:  # no IPython, no cells, or another version
        return ""
    return ""


def item_of(error: BaseException) -> str:
    """Return the failed item of a map, as the note of the map on its exception names it."""
    notes = [note for note in notes_of(error) if note.startswith(("in item ", "in the batch "))]
    return f" ({notes[0].removeprefix('in ').partition(' of map ')[0]})" if notes else ""


def notes_of(error: BaseException) -> list[str]:
    """Return the notes of an exception. A user's exception may have any object in their place."""
    try:
        return [note for note in getattr(error, "__notes__", ()) if isinstance(note, str)]
    except Exception:
        return []
