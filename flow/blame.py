"""Say in one line what went wrong in the user's own code, and where: never in ours."""

from __future__ import annotations

import os
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
    """``file`` relative to the current folder if it is below it."""
    try:
        path = Path(file)
        here = Path.cwd()
        return str(path.relative_to(here)) if path.is_relative_to(here) else file
    except OSError:  # the current folder has been removed
        return file


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
