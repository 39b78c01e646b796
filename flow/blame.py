"""Say in one line what went wrong in the user's own code, and where: never in ours."""

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
    """``file:line`` of the last frame in the user's code; if there is none, of what ours called; or nothing."""
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
    """``file``, or ``file:line``, relative to the current folder if it is below it; a notebook's cell is ``In[3]``."""
    cell = cell_of(file)
    if cell:
        return cell
    try:
        path = Path(file)
        here = Path.cwd()
        return str(path.relative_to(here)) if path.is_relative_to(here) else file
    except OSError:  # the current folder has been removed
        return file


def cell_of(file: str) -> str:
    """What IPython calls the cell that it has given the name of a file; nothing if it has not."""
    try:
        name_of = sys.modules["IPython"].get_ipython().compile.format_code_name
        name, _, line = file.rpartition(":")
        for found, after in ((name_of(file), ""), (name_of(name) if line.isdigit() else None, f":{line}")):
            if found is not None:
                return f"{found[1]}{after}"
    except Exception:  # there is no IPython, it runs no cells, or it is of another age
        return ""
    return ""


def item_of(error: BaseException) -> str:
    """Which item of a map it was, by the note that the map has put on its exception."""
    notes = [note for note in notes_of(error) if note.startswith(("in item ", "in the batch "))]
    return f" ({notes[0].removeprefix('in ').partition(' of map ')[0]})" if notes else ""


def notes_of(error: BaseException) -> list[str]:
    """The notes of a user's exception, which may have put anything in their place."""
    try:
        return [note for note in getattr(error, "__notes__", ()) if isinstance(note, str)]
    except Exception:
        return []
