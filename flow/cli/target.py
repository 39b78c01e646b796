"""From the word TARGET on the command line to the Dag, Plan or trace it means."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import os
import sys
import warnings
import zlib
from collections.abc import Callable, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeVar

import click

from flow import files
from flow.blame import where
from flow.cli.replay import Work
from flow.cli.workflow import is_workflow, load_workflow, see
from flow.errors import DefinitionError, DefinitionWarning, described, nearest
from flow.graph.dag import Dag
from flow.plan.plan import Plan
from flow.signature import takes_nothing

DEFAULT_NAME: Final = "dag"
FORMS: Final = (
    "TARGET is module:dag, file.py:dag, a workflow file (.yaml, .yml, .json) or a WfFormat trace (.json, .json.gz)"
)
T = TypeVar("T")


class TargetError(click.ClickException):
    """TARGET names nothing that can be run. Its cause, if any, is the user's own exception."""

    exit_code = 2


def is_trace(target: str) -> bool:
    """Tell whether ``target`` is to be read as a trace file. O(size of a file that may be a workflow instead)."""
    return target.lower().endswith((".json", ".json.gz")) and not is_workflow(target)


def load_trace(target: str, work: Work, scale: float, allow: Sequence[str]) -> Dag:
    """Load a trace as a Dag.

    :raises TargetError: if there is no such file, or anything is allowed. :raises TraceError: if it is no usable trace.
    """
    from flow.graph import traces

    _refuse_allow(target, allow)
    _existing(target)
    return traces.load(target, work=work, scale=scale)


def load(target: str, allow: Sequence[str] = (), imports: bool = True) -> Plan:
    """Compile what :func:`graph_of` gives.

    :raises TargetError, DefinitionError: as that.
    """
    graph = graph_of(target, allow, imports)
    if isinstance(graph, Plan):
        return graph
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DefinitionWarning)  # the commands print what the plan itself says
        return _guarded(f"compiling {target!r}", graph.compile)


def graph_of(target: str, allow: Sequence[str] = (), imports: bool = True) -> Dag | Plan:
    """Read a workflow file, or import what ``module:dag`` or ``file.py:dag`` names, and call it if it is a function.

    :param allow, imports: of workflow files: see :func:`flow.cli.workflow.load_workflow`.
    :raises TargetError: saying what is not there, or what the user's code raised and where.
    :raises DefinitionError: if the file, the Dag, or another that the user's code compiles, is faulty.
    """
    if is_workflow(target):
        _existing(target)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DefinitionWarning)
            return load_workflow(target, allow, imports)
    _refuse_allow(target, allow)
    place, name = split(target)
    if place.lower().endswith(".py"):
        module = _import_file(_existing(place))
    elif os.path.isfile(target):
        raise TargetError(f"{target!r} is neither Python, a workflow nor a trace: {FORMS}")
    elif all(part.isidentifier() for part in place.split(".")):
        module = _import_module(place)
    else:
        raise TargetError(f"there is no {target!r}: {FORMS}")
    return _guarded(f"reading {target!r}", lambda: _called(target, _attribute(place, module, name)))


def _refuse_allow(target: str, allow: Sequence[str]) -> None:
    """:raises TargetError: if ``--allow`` is given for something else than a workflow file."""
    if allow:
        raise TargetError(f"--allow is for workflow files (.yaml, .yml, .json), and {target!r} is none")


def split(target: str, splitdrive: Callable[[str], tuple[str, str]] = os.path.splitdrive) -> tuple[str, str]:
    """Return the file or module, and the name in it. The colon of a drive on Windows is none of these."""
    drive, rest = splitdrive(target)
    place, colon, name = rest.rpartition(":")
    return (drive + place, name) if colon else (target, DEFAULT_NAME)


def _existing(name: str) -> Path:
    path = Path(name)
    try:
        files.opened(name).close()
    except (FileNotFoundError, NotADirectoryError):
        raise TargetError(f"there is no file {name!r}{nearest(path.name, _beside(path))}") from None
    except IsADirectoryError:
        raise TargetError(f"{name!r} is a folder: {FORMS}") from None
    except OSError as error:
        raise TargetError(f"{name!r} cannot be read: {error.strerror}") from error
    return path


def _beside(path: Path) -> list[str]:
    try:
        return os.listdir(path.parent)
    except (OSError, ValueError):
        return []


def module_names(target: str) -> dict[str, str]:
    """Return what a workflow file beside ``target`` calls the module that it is imported as."""
    place, _ = split(target)
    return {_name_of(Path(place).resolve()): Path(place).stem} if place.lower().endswith(".py") else {}


def _name_of(path: Path) -> str:
    # Not its bare name: a json.py must not become the json of everyone else.
    return f"_flow_target_{path.stem}_{zlib.crc32(os.fsencode(path)):08x}"


def _import_file(path: Path) -> ModuleType:
    path = path.resolve()
    name = _name_of(path)
    loader = SourceFileLoader(name, str(path))  # whatever the case of its ending
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    see(str(path.parent))
    sys.modules[name] = module  # dataclasses, pickle and annotations look there
    try:
        _guarded(f"importing {str(path)!r}", lambda: loader.exec_module(module))
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _import_module(name: str) -> ModuleType:
    with contextlib.suppress(OSError):  # the current folder has been removed
        see(str(Path.cwd()))  # as `python -m` does
    try:
        return _guarded(f"importing module {name!r}", lambda: importlib.import_module(name))
    except TargetError as error:
        missing = error.__cause__
        if isinstance(missing, ModuleNotFoundError) and missing.name and f"{name}.".startswith(f"{missing.name}."):
            hint = f" (a file is named with its ending: {name}.py)" if os.path.isfile(f"{name}.py") else ""
            raise TargetError(f"there is no module {missing.name!r}{hint}: {FORMS}") from missing
        raise


def _attribute(place: str, module: ModuleType, name: str) -> Any:
    value: Any = module
    for part in name.split("."):
        try:
            value = getattr(value, part)
        except AttributeError as error:
            raise TargetError(_no_attribute(place, module, name)) from error
    return value


def _no_attribute(place: str, module: ModuleType, name: str) -> str:
    held = module.__dict__ if isinstance(module, ModuleType) else {}  # a module may put anything in its own place
    found = [key for key, value in held.items() if _is_graph(value)]
    text = f"{place} has no {name!r}{nearest(name, held)}" if name else f"{place}: a name must follow the ':'"
    if not found:
        return f"{text}; it defines no Dag"
    named = ", ".join(f"{place}:{key}" for key in found[:10])
    return f"{text}; the Dags in it: {named}{' ...' if len(found) > 10 else ''}"


def _called(target: str, value: Any) -> Dag | Plan:
    is_function = callable(value)
    if is_function:
        if not takes_nothing(value):
            raise TargetError(f"{target!r} takes arguments; only a function without any can stand for a Dag")
        value = _guarded(f"calling {target!r}", value)
    if _is_graph(value):
        graph: Dag | Plan = value
        return graph
    if inspect.iscoroutine(value):
        value.close()  # else Python warns that it was never awaited
        raise TargetError(f"{target!r} is async; only a plain function can stand for a Dag")
    verb = "returned" if is_function else "is"
    raise TargetError(f"{target!r} {verb} {type(value).__name__}, not a flow.Dag or flow.Plan")


def _is_graph(value: object) -> bool:
    return issubclass(type(value), (Dag, Plan))  # isinstance would ask the object, which may answer anything


def _guarded(doing: str, act: Callable[[], T]) -> T:
    """Run user code; what it raises becomes one line with its place."""
    try:
        return act()
    except (KeyboardInterrupt, DefinitionError, TargetError):
        raise
    except BaseException as error:  # SystemExit too: a script that calls sys.exit() at its end
        place = where(error)
        raise TargetError(f"{doing} failed: {described(error)}{f' ({place})' if place else ''}") from error
