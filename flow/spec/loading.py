"""Read workflow files: from a path or a text to a compiled Dag."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from flow import files
from flow.errors import DefinitionError, SpecError, UsageError, printable, shown
from flow.expr import Place
from flow.graph.dag import Dag
from flow.signature import Parameter, Shape, Shaped
from flow.spec.called.allow import Allow
from flow.spec.called.imports import Imports
from flow.spec.called.written import taken_apart
from flow.spec.form.fields import fields_of, kind_of, read, table_of
from flow.spec.form.inputs import declared
from flow.spec.form.kinds import KINDS
from flow.spec.form.settings import config_of
from flow.spec.form.structs import Defaults
from flow.spec.nodes.build import Builder
from flow.spec.nodes.names import OUTPUTS, VARS
from flow.spec.nodes.outline import Outline
from flow.spec.nodes.parts import Part, read_part
from flow.spec.text.compose import compose
from flow.spec.text.expressions import value_of
from flow.spec.text.faults import Broken, Faults
from flow.spec.text.limits import MAX_BYTES, MAX_FAULTS, MAX_FILES, MAX_NESTED, Budget
from flow.spec.text.places import Source, Table
from flow.spec.text.values import Made
from flow.tracebacks import ends_at_user
from flow.types import NAME_RULE, is_name

_WORDS: Final = {
    "version": "flow: 1", "id": "name", "tasks": "nodes", "jobs": "nodes", "steps": "nodes", "states": "nodes",
    "input": "inputs", "parameters": "inputs", "params": "inputs", "arguments": "inputs", "env": "inputs, or vars",
    "variables": "vars", "output": "outputs", "results": "outputs", "options": "config", "settings": "config",
}  # fmt: skip
"""What other engines' words are here."""

_KEYS: Final = ("flow", "name", "description", "inputs", "vars", "config", "defaults", "nodes", "outputs")
_OF_NODE: Final = re.compile(r"node '(.*?)' \((?:<.*? as one node>|.*?:\d+|[^()]*)\):? ?(.*)", re.DOTALL)
_OF_CONDITION: Final = re.compile(r"(until|when) \(.*? at (\S+:\d+:\d+)\) (.*)", re.DOTALL)
_NO_SOURCE: Final = "which is neither a node nor a declared input"
_GIVE: Final = f"{_NO_SOURCE}: give it in 'with'"


@ends_at_user
def load(path: str | os.PathLike[str], *, allow: str | Iterable[str] | Allow = ()) -> Dag:
    """Read a workflow file, YAML or JSON, as a Dag, and compile it. O(size).

    :param path: the file. Files that it runs are looked for beside it, and never outside its folder.
    :param allow: which functions it may call: patterns as ``"deploy.steps:*"`` or ``"deploy.steps:ship"``. Their
        modules are imported.
    :raises SpecError: listing all faults, each with ``file:line:column``. :raises UsageError: without PyYAML.
    """
    name = files.name_of(path)
    return Session(allow).load(name)


@ends_at_user
def loads(
    text: str,
    *,
    name: str = "workflow",
    folder: str | os.PathLike[str] | None = None,
    allow: str | Iterable[str] | Allow = (),
) -> Dag:
    """As :func:`load`, of a text.

    :param name: what messages call it. :param folder: where the files are that it runs; None: it can run none.
    """
    return Session(allow).loads(text, name, None if folder is None else files.name_of(folder))


class Session:
    """One load: a file and those that it runs.

    :param allow: patterns of what may be called.
    :param imports: import what is called; else a stand-in takes its place, for checks.
    """

    def __init__(self, allow: str | Iterable[str] | Allow = (), imports: bool = True) -> None:
        self.found = Imports(Allow(allow))
        self.imports = imports
        self.causes: list[BaseException] = []
        self.open: list[str] = []  # files that are being read, each run by the one before
        self.loaded: dict[str, Dag | None] = {}
        self.faults: list[str] = []
        self.budget = Budget()
        self.shared: dict[Any, Any] = {}

    def load(self, path: str) -> Dag:
        """Read the outermost file."""
        try:
            text = self.read(path, path)
        except OSError as error:
            fault = f"{printable(path)}:1:1: it cannot be read: {error.strerror or error}"
            raise SpecError(os.path.basename(path), [fault]) from None
        self.open.append(os.path.realpath(path))
        return self.loads(text, path, os.path.dirname(path) or ".")

    def read(self, path: str, name: str) -> str:
        """Return the text of a file. :param name: what messages call it."""
        data = files.read(path, self.budget.bytes_left)
        self.budget.bytes_left -= len(data)
        return _decoded(data, name)

    def loads(self, text: str, name: str, folder: str | None) -> Dag:
        """Read the outermost text."""
        if not isinstance(text, str):
            raise UsageError(f"a workflow is a text, not {shown(text)}")
        text = str.__str__(text)
        if len(text) > MAX_BYTES:
            raise SpecError(name, [f"{printable(name)}:1:1: it is larger than {MAX_BYTES / 2**20:g} MiB"])
        dag = Loader(self, Source(name, text), folder).load()
        if dag is None or self.faults:
            stem = os.path.splitext(os.path.basename(name))[0]
            raise SpecError(stem, self.faults) from (self.causes[0] if self.causes else None)
        return dag

    def known(self, written: str) -> str:
        """Say what is wrong with a name that is not imported; nothing if it could be a function's."""
        allow = self.found.allow
        return allow.fault(written) if allow.patterns else taken_apart(written)[2]


def stand_in(*values: Any, **named: Any) -> Any:
    """Stand for a function that is not imported."""


class StandIn(Shaped):
    """Stands for the function of a loop, whose parameters are known by what the file says of them."""

    __slots__ = ("location", "names")

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.location = "not imported"

    def shape(self) -> Shape:
        return Shape(tuple([Parameter(name, (None,)) for name in self.names]), False, False, False)

    def __call__(self, *values: Any) -> Any:
        """Nothing calls it: a Dag with it is not run."""


def _decoded(data: bytes, path: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        byte = f"byte {data[error.start]:#04x}"
        text = f"{printable(path)}:{line}:{column}: the file is not UTF-8: {byte} cannot stand here"
        raise SpecError(os.path.basename(path), [text]) from None


class Loader:
    """Reads one file."""

    def __init__(self, session: Session, source: Source, folder: str | None) -> None:
        self.session = session
        self.source = source
        self.folder = folder
        self.faults = Faults(source, session.budget)
        self.table: Table

    def load(self) -> Dag | None:
        """Return the Dag; None if there are faults, which the session is told."""
        dag = None
        try:
            dag = self._read()
        except Broken:
            pass
        self.session.faults += self.faults.texts
        if self.session.faults or dag is None:
            return None
        try:
            dag.compile()
        except DefinitionError as error:
            self.session.faults += [self._placed(fault) for fault in error.faults[:MAX_FAULTS]]
            return None
        return dag

    def _read(self) -> Dag:
        faults = self.faults
        table = compose(faults)
        if not isinstance(table, Table):
            faults.stop(Place(1, 1, self.source.name), f"a workflow is a mapping, not {kind_of(table)}")
        self.table = table
        for key in table:
            if key not in _KEYS:
                hint = f": write {_WORDS[key]}" if key in _WORDS else faults.nearest(key, _KEYS)
                hint = hint or f"; there are {', '.join(_KEYS)}"
                faults.add(table.marks[key][0], f"a workflow has no key {shown(key)}{hint}")
        self._check_version()
        declares = declared(self._table("inputs"), faults)
        variables = self._entries("vars")
        defaults = self._defaults()
        parts, every = self._parts(defaults)
        outputs = None
        if self._table("outputs"):
            outputs = value_of(table["outputs"], table.marks["outputs"][1], faults)
        settings = self._table("config")
        dag = Dag(self._name(), config=None if settings is None else config_of(settings, faults))
        dag._definition.inputs = declares
        outline = Outline(parts, every, declares.names, [name for name, _ in variables], faults, self)
        Builder(dag, table, outline, variables, outputs, self).build()
        return dag

    def _check_version(self) -> None:
        version = self.table.get("flow")
        if "flow" not in self.table:
            if "version" in self.table:
                return  # it is told what to write
            self.faults.add(self.table.at, "a workflow begins with 'flow: 1', the version of its format")
        elif version != 1 or isinstance(version, bool):
            event = self.table.marks["flow"][1]
            self.faults.add(event, f"this reads version 1 of the format, not {shown(version)}: write flow: 1")

    def _name(self) -> str:
        name = self.table.get("name")
        if name is None:
            stem = os.path.splitext(os.path.basename(self.source.name))[0]
            return stem if is_name(stem) else "workflow"
        if not is_name(name):
            self.faults.add(self.table.marks["name"][1], f"{shown(name)} is no name of a workflow: {NAME_RULE}")
            return "workflow"
        return str(name)

    def _table(self, key: str) -> Table | None:
        if key not in self.table or self.table[key] is None:
            return None
        return table_of(self.table[key], self.table.marks[key][1], self.faults, key)

    def _entries(self, key: str) -> list[tuple[str, Made]]:
        table = self._table(key)
        if table is None:
            return []
        for name in table:
            wanted = "{} is no name of a variable: letters, digits and '_'"
            self.faults.check_identifier(name, table.marks[name][0], wanted)
        return [(name, value_of(value, table.marks[name][1], self.faults)) for name, value in table.items()]

    def _defaults(self) -> Table | None:
        table = self._table("defaults")
        if table is not None:
            before = self.faults.count
            read(table, Defaults, self.faults, "defaults")
            return table if self.faults.count == before else None  # told once, and not of each node
        return None

    def _parts(self, defaults: Table | None) -> tuple[dict[str, Part], list[str]]:
        faults, parts = self.faults, {}
        nodes = self._table("nodes")
        if nodes is None or not nodes:
            if not any(_WORDS.get(key) == "nodes" for key in self.table) and not self.table.get("nodes"):
                at = self.table.marks["nodes"][0] if "nodes" in self.table else self.table.at
                faults.add(at, "a workflow has 'nodes', one at least")
            return {}, []
        for name, value in nodes.items():
            key, event = nodes.marks[name]
            if defaults and isinstance(value, Table):
                value = _with_defaults(value, defaults)
            part = read_part(name, value, key, event, faults)
            if part is not None:
                parts[name] = part
        return parts, list(nodes)

    # -- what a file refers to ---------------------------------------------------------------

    @property
    def imports(self) -> bool:
        """True if what the file calls is imported."""
        return self.session.imports

    @property
    def shared(self) -> dict[Any, Any]:
        """What nodes share, in all files of the load."""
        return self.session.shared

    def inner(self, written: str, event: Any) -> Dag | None:
        """Return the Dag of a file that this one runs; None, with a fault, if it cannot be read."""
        session, faults = self.session, self.faults
        if self.folder is None:
            faults.add(event, "a file is looked for beside the file that runs it, and this is a text: give folder=")
            return None
        fault = _file_fault(written)
        if fault:
            faults.add(event, f"file {shown(written)} {fault}")
            return None
        path = os.path.normpath(os.path.join(self.folder, written))
        real, root = os.path.realpath(path), os.path.realpath(self.folder)
        if os.path.commonpath([root, real]) != root:
            fault = "lies outside of the folder of the file that runs it"
        if not fault and real in session.open:
            circle = [*session.open[session.open.index(real) :], real]
            names = " -> ".join([printable(os.path.basename(one)) for one in circle])
            fault = f"is being read already: the files run each other in a circle ({names})"
        if not fault and len(session.open) > MAX_NESTED:
            fault = f"is too far down: files run each other {MAX_NESTED} deep at most"
        if not fault and real not in session.loaded and len(session.loaded) >= MAX_FILES:
            fault = f"is one file too many: {MAX_FILES} are read at most"
        if fault:
            faults.add(event, f"file {shown(written)} {fault}")
            return None
        if real not in session.loaded:
            try:
                text = session.read(real, path)
            except OSError as error:
                near = faults.nearest(os.path.basename(path), _beside(path))
                why = f"{error.strerror or error}{near}"
                if error.errno == errno.EFBIG:
                    why = f"with the files before it, it is larger than {MAX_BYTES / 2**20:g} MiB"
                faults.add(event, f"file {shown(written)} cannot be read: {why}")
                return None
            except SpecError as error:
                session.faults += error.faults
                session.loaded[real] = None
                return None
            session.open.append(real)
            session.loaded[real] = Loader(session, Source(path, text), os.path.dirname(path) or ".").load()
            session.open.pop()
        return session.loaded[real]

    def callee(self, written: str, event: Any, is_type: bool = False, names: Sequence[str] = ()) -> Any:
        """Return what a node calls, or the type of a signal; None, with a fault, if it may not be named."""
        session = self.session
        if not session.imports:
            fault = session.known(written)
            if fault:
                self.faults.add(event, fault)
                return None
            return Any if is_type else StandIn(names) if names else stand_in
        found = session.found.type(written) if is_type else session.found.function(written)
        if found.fault:
            self.faults.add(event, found.fault)
            session.causes += [] if found.cause is None else [found.cause]
            return None
        return found.value

    def _placed(self, fault: str) -> str:
        """Put the place of a fault that compiling has found first."""
        own = [name for name in (VARS, OUTPUTS) if name in self.table]  # nodes that the file does not call so
        nodes = {name: self.table.marks[name] for name in own} | (self._table("nodes") or Table(None)).marks
        found = _OF_NODE.match(fault)
        name = found[1] if found is not None else next((name for name in nodes if f" {name} ->" in fault), "")
        if name in nodes:
            place = str(self.source.place(nodes[name][0]))
            if found is None:
                return f"{place}: {fault}"
            text = found[2]
            condition = _OF_CONDITION.match(text)
            if condition is not None:
                place, text = condition[2], f"{condition[1]} {condition[3]}"
            return f"{place}: node {name!r}: {text.replace(_NO_SOURCE, _GIVE)}"
        return f"{self.source.name}:1:1: {fault}"


def _with_defaults(table: Table, defaults: Table) -> Table:
    """Return a node's mapping with the defaults that its kind takes."""
    known = next((fields_of(cls) for kind, cls in KINDS.items() if kind in table), {})
    made = Table(table.at)
    made.templated = table.templated
    made.update(table)
    made.marks.update(table.marks)
    for key, value in defaults.items():
        if key in known and key not in table:
            made[key] = value
            made.marks[key] = defaults.marks[key]
    return made


def _file_fault(written: str) -> str:
    if not written or "\0" in written or len(written) > 1_000:
        return "is no name of a file"
    if os.path.isabs(written) or written.startswith(("/", "\\", "~")) or (len(written) > 1 and written[1] == ":"):
        return "is an absolute path: it is relative to the file that runs it"
    if ".." in re.split(r"[/\\]", written):
        return "lies outside of the folder of the file that runs it: '..' is not read"
    if not written.lower().endswith((".yaml", ".yml", ".json")):
        return "is no workflow file: it ends in .yaml, .yml or .json"
    return ""


def _beside(path: str) -> list[str]:
    try:
        found = os.listdir(os.path.dirname(path) or ".")[:1_000]
        return [name for name in found if name != os.path.basename(path)]
    except OSError:
        return []


__all__ = ["Session", "load", "loads"]
