"""What the documentation says is what happens: its code runs, its commands print what is shown.

* A ```` ```python ```` block runs, with the blocks before it on its page. ``expression  # -> repr`` and
  ``print(...)  # -> what it prints`` are compared. A ```` ```text ```` block right after it is all that it
  prints. ``python no-run`` is left out.
* A block whose first line is a comment with the name of a file (``# deploy.yaml``, ``# steps.py``, ``# flow.toml``) is
  that file: the blocks of its page, and its commands, run in a folder that has it. Another ```` ```yaml ```` block is a
  part of a workflow, and is read as one.
* In a ```` ```console ```` block each ``$ flow ...`` or ``$ python -m flow ...`` prints what follows it; what
  was measured (the seconds of ``flow run``) may differ. Other commands are left out.
* Every program in docs/examples prints what is listed here.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import linecache
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import ROOT

DOCS = ROOT / "docs"
PAGES = [page for page in (ROOT / "README.md", *sorted(DOCS.glob("*.md"))) if page.exists()]
FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (?P<name>[\w./-]+\.(?:ya?ml|py|toml))\n")
EXPECTED = re.compile(r"#\s*->\s*(?P<value>.+)$")
MEASURED = re.compile(r"[\d.]+(?:e[+-]?\d+)? (?:us|ms|s)\b|[\d.]+%")


class Block(NamedTuple):
    """One fenced block; ``follows`` if nothing but blank lines stands between it and the block before."""

    info: str
    body: str
    line: int
    follows: bool


def file_of(block: Block) -> str:
    """Return the name of the file that a block is; empty if it is none."""
    found = FILE.match(block.body) if block.info in ("yaml", "python", "toml") else None
    return found["name"] if found is not None else ""


def folder_of(page: Path, tmp_path: Path) -> Path:
    """Return where the code of a page runs: the root, or a folder with the files that the page shows."""
    blocks = [block for block in blocks_of(page) if file_of(block)]
    for block in blocks:
        path = tmp_path / file_of(block)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.body, encoding="utf-8")
    return tmp_path if blocks else ROOT


@pytest.fixture
def modules_of_pages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Let the modules that a page shows be imported, and forgotten afterwards: also those that it writes itself.

    Those of other tests may have the same names: they are there again afterwards.
    """
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in modules_of_tests():
        monkeypatch.delitem(sys.modules, name)
    before = set(sys.modules)
    models = importlib.import_module("flow.ai.models")
    monkeypatch.setattr(models, "_names", models._names)  # names that a page gives are those of the process
    yield
    for name in modules_of_tests():
        if name not in before:
            del sys.modules[name]


def modules_of_tests() -> list[str]:
    """Return the names of the modules that tests and pages have made, or that are programs of docs."""
    made, docs, ours = tempfile.gettempdir(), str(ROOT / "docs"), str(ROOT)
    files = {name: getattr(module, "__file__", None) or "" for name, module in list(sys.modules.items())}
    return [name for name, at in files.items() if at.startswith(docs if at.startswith(ours) else made)]


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    blocks, end = [], 0
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 2
        follows = bool(blocks) and not text[end : found.start()].strip()
        blocks.append(Block(found["info"].strip(), found["body"], line, follows))
        end = found.end()
    return blocks


def checked(code: str) -> ast.Module:
    """Make each top-level ``expression  # -> repr`` a comparison."""
    lines = code.splitlines()
    tree = ast.parse(code)
    for k, statement in enumerate(tree.body):
        found = EXPECTED.search(lines[(statement.end_lineno or 1) - 1])
        if found is None:
            continue
        assert isinstance(statement, ast.Expr), f"'# ->' must follow an expression: {found.string}"
        is_print = isinstance(statement.value, ast.Call) and ast.unparse(statement.value.func) == "print"
        if is_print:
            statement.value.func = ast.Name("_Printed_", ast.Load())  # type: ignore[attr-defined]
        call = ast.parse(f"_same_({ast.unparse(statement.value)}, {found['value'].strip()!r})")
        tree.body[k] = ast.increment_lineno(call.body[0], statement.lineno - 1)
    return tree


class Printed:
    """What ``print`` would print: stands in for it where that is compared."""

    def __init__(self, *values: object) -> None:
        self.text = " ".join(map(str, values))

    def __repr__(self) -> str:
        return self.text


def run_block(block: Block, name: str, namespace: dict[str, Any]) -> str:
    """Run the block; return what it printed. Line numbers are those of the block, as readers count them."""
    linecache.cache[name] = (len(block.body), None, block.body.splitlines(keepends=True), name)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(checked(block.body), name, "exec", dont_inherit=True), namespace)
    return out.getvalue()


@pytest.mark.usefixtures("modules_of_pages")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run(page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(folder_of(page, tmp_path))
    place = ""

    def same(value: object, expected: str) -> None:
        assert repr(value) == expected, place

    namespace: dict[str, Any] = {"__name__": "example", "_same_": same, "_Printed_": Printed}
    printed: str | None = None
    for block in blocks_of(page):
        place = f"{page.name}:{block.line}"
        if block.info == "text" and block.follows and printed is not None:
            assert printed.rstrip() == block.body.rstrip(), place
            printed = None
            continue
        assert not printed, f"what the block before {place} prints is not shown"
        runs = block.info == "python" and not file_of(block)
        printed = run_block(block, "example.py", namespace) if runs else None
    assert not printed


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "spec-errors.md"], ids=lambda page: page.name)
def test_yaml_blocks_are_workflows(page: Path) -> None:
    """One with a name is used by a later block; another one is a part of a file, without faults."""
    blocks = blocks_of(page)
    for k, block in enumerate(blocks):
        if block.info == "yaml" and (name := file_of(block)):
            users = [later for later in blocks[k + 1 :] if name in later.body]
            assert users, f"{page.name}:{block.line}: no later block uses this one"
        elif block.info == "yaml":
            from flow.spec.loading import Session

            pytest.importorskip("yaml", reason="PyYAML is not installed: pip install -e '.[spec]'")
            assert Session(imports=False).loads(f"flow: 1\n{block.body}", f"{page.name}:{block.line}", None)


def commands_of(page: Path) -> list[Any]:
    commands = []
    for block in blocks_of(page):
        if block.info == "console":
            for part in re.split(r"^\$ ", block.body, flags=re.MULTILINE)[1:]:
                command, _, output = part.partition("\n")
                if command.startswith(("flow ", "python -m flow ")):
                    commands.append(pytest.param(page, command, output, id=f"{page.name}-{command}"))
    return commands


@pytest.mark.usefixtures("modules_of_pages")
@pytest.mark.parametrize(("page", "command", "output"), [c for page in PAGES for c in commands_of(page)])
def test_commands_print_what_is_shown(
    page: Path, command: str, output: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    testing = pytest.importorskip("click.testing")
    from flow.cli.commands import cli

    monkeypatch.chdir(folder_of(page, tmp_path))
    words = shlex.split(command.removeprefix("python -m "))
    printed = testing.CliRunner().invoke(cli, words[1:], terminal_width=80, prog_name="flow").output
    if words[1] == "run":
        printed, output = MEASURED.sub("(time)", printed), MEASURED.sub("(time)", output)
    assert [line.rstrip() for line in printed.splitlines()] == [line.rstrip() for line in output.splitlines()]


def test_every_option_is_documented() -> None:
    pytest.importorskip("click")
    from flow.cli.commands import cli

    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    options = {o for command in cli.commands.values() for p in command.params for o in (*p.opts, *p.secondary_opts)}
    missing = sorted(o for o in options if o.startswith("--") and f"`{o}" not in text and f"/ {o}`" not in text)
    assert not missing


def test_links_lead_somewhere() -> None:
    broken = []
    for page in (*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "SECURITY.md"):
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)  # code may index and call
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            path, _, anchor = link.partition("#")
            if "://" in link:
                continue
            target = page.parent / path if path else page
            anchors = [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings(target)] if anchor else []
            if not target.exists() or (anchor and anchor not in anchors):
                broken.append(f"{page.name}: {link}")
    assert not broken


def headings(page: Path) -> list[str]:
    text = FENCE.sub("", page.read_text(encoding="utf-8")) if page.exists() else ""
    return re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)


PRINTED = {
    "report": """\
{1: 1.0, 2: 2.0, 3: 3.0}
published 3 scores after 2 attempts
completed True
""",
    "fetch": """\
11 of 12 pages, at most 4 at once
page7: 3 attempts, ConnectionError: page7 does not answer
waited 0.5 s, then 1 s (of a clock that is not real)
index skipped
""",
    "etl": """\
north.read, north.clean, south.read, south.clean, merge, quality, store
stored 4 rows of 5, worst value 2
only north: 2 rows, 3 of 9 nodes ran
""",
    "replay": """\
22 nodes, depth 3, width 11
critical path 1005.9 s of 6996.8 s in all
1 at a time: 6996.8 s
4 at a time: 1818.9 s
8 at a time: 1005.9 s
all at once: 1005.9 s
""",
    "live": """\
load: pending -> ready
load: ready -> running
load: running -> ready
load: ready -> running
load: running -> completed
train: pending -> ready
train: ready -> running
train: running -> failed
report: pending -> skipped
2 retries or failures: load (OSError), train (ValueError)
completed 1, failed 1, skipped 1, done True
""",
    "health_check": """\
996 of 1000 answered: 976 x 200, 20 x 503
4 failed: srv-7 is down, srv-257 is down, srv-507 is down, srv-757 is down
never more than 100 at once: True
""",
    "notify": """\
4851 of 5000 sent in 49 calls, 49 bounced: user99 ... user4999
not reached: users 4000 to 4099: the mail service is busy
waited 7 times before a retry (of a clock that is not real)
""",
    "log_entries": """\
250 of 10000 entries failed
api: 84 failed, slowest 96 ms
billing: 83 failed, slowest 96 ms
search: 83 failed, slowest 98 ms
10 MB of entries went through; held at a time, less than 3 MB: True
""",
    "processes": """\
[1229, 1033, 983, 958]: 4203 primes below 40000
refused: True True
""",
    "agent": """\
turn 1: chose calls, tools said ['tea costs 3', 'coffee costs 6']
turn 2: chose calls, tools said ['6 of tea are left']
turn 3: chose answer, tools said nothing
tea costs 3; coffee costs 6; 6 of tea are left
""",
    "ai_assistant": """\
refund {'number': 7, 'amount': 30}? yes
Your money is on its way (3 requests, paid [(7, 30)])
refund {'number': 7, 'amount': 30}? no
I am sorry: This call was refused by Bob: done. Do not ask for it again as it is. (3 requests, paid [(7, 30)])
""",
    "ai_extraction": """\
F-17 120.5 due 2026-04-01
what the model was told: the answer does not have the form that was asked for: day: Invalid RFC3339 encoded date
not found: the answer is not the JSON that was asked for: Expecting value (line 1, column 1)
2 requests, and 2 for the other text
""",
    "ai_summaries": """\
1.00 USD: 200 of 200, 200 requests, 0.01440 USD spent
0.01 USD: 137 of 200, 137 requests, 0.00986 USD spent
About document 0
""",
    "ai_triage": """\
I was charged twice: we charge once {'about': 1, 'billing': 1}
The app does crash: restart it {'about': 1, 'technical': 1}
What is this?: a person will answer {'about': 1}
""",
    "approval": """\
paid 20 (pay_at_once)
paid 500, Ann says yes (approve)
refused by Bob (approve)
refused by nobody (approve)
not sent: what was sent to 'approve' is not of its type Approval: Expected `bool`, got `str` - at `$.yes`
""",
    "approval_later": """\
monday: waiting for approve approve
tuesday: Ann is heard: True
tuesday: Bob is heard: False
wednesday: invoice-1: invoice over 500: Ann says yes
still waiting: invoice-2 (drafted [500, 90])
""",
    "mounted": """\
200 {'total': 47}
422
  /inputs/items: Expected `array`, got `str`
  /inputs/rat: there is no such input (did you mean 'rate'?)
completed
""",
    "training": """\
night: MemoryError('the model does not fit') after 5 calls
morning: 0.22 vowels per letter; called: model
""",
    "saga": """\
nothing fails: have a nice trip; in order: True
payment fails: no trip: hotel 17 undone, flight 17 undone; in order: True
hotel fails: no trip: flight 17 undone; in order: True
flight fails: no trip: nothing to undo; in order: False
node 'undo_flight' was bypassed: its condition (when) said no
""",
    "optional_steps": """\
800 wide, noise 1, caption: none; left out: smooth, shrink, caption; in order: True
1000 wide, noise 1, caption: none; left out: smooth, caption; in order: True
1000 wide, noise 1, caption: none; left out: nothing; in order: True
node 'caption' failed: ConnectionError: the captions service does not answer; this is tolerated
""",
    "middleware": """\
{'price': 20, 'total': 60}
{'price': 20, 'total': 60}
price called once, total timed 2 times
node 'price' returned 'twenty': Expected `int`, got `str`
""",
}


@pytest.mark.parametrize("path", sorted((DOCS / "examples").glob("*.py")), ids=lambda p: p.stem)
def test_example_prints(path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(path.parent))  # where another process can import it, too
    monkeypatch.delitem(sys.modules, path.stem, raising=False)
    if path.stem == "mounted":
        pytest.importorskip("starlette", reason="Starlette is not installed: pip install -e '.[http]'")
    try:
        importlib.import_module(path.stem).main()
    finally:
        sys.modules.pop(path.stem, None)
    assert capsys.readouterr().out == PRINTED[path.stem]


def test_examples_are_short_and_listed() -> None:
    names = {path.stem: len(path.read_text(encoding="utf-8").splitlines()) for path in (DOCS / "examples").glob("*.py")}
    assert names.keys() == PRINTED.keys()
    assert max(names.values()) <= 60
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    assert [name for name in names if f"examples/{name}.py" not in index] == []
