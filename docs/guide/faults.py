"""Print docs/spec-errors.md: ``python docs/guide/faults.py``.

Each file of docs/examples/faulty stands on the page with all that ``flow.spec.load`` says of it.
"""

import os
import sys
from pathlib import Path

import flow
from flow import spec

FAULTY = Path(__file__).resolve().parents[1] / "examples" / "faulty"
ALLOWED = ["shop:*", "shops:*"]

INTRODUCTION = """\
# Faults of workflow files

What is wrong with a [workflow file](files.md) is said before anything runs: in one `SpecError` of `flow.spec.load`, or
by `flow check`. Each fault has `file:line:column`, and what to write instead where that can be told. `error.faults`
lists them in the order of the file. Faults of the nodes together, such as cycles, are looked for once each node is in
order.

This page shows each kind once. It has the files of [`docs/examples/faulty`](examples/faulty), which call
[`shop.py`](examples/faulty/shop.py), and what `flow check --imports docs/examples/faulty` says of them. Without
`--imports` nothing is imported, and what a module offers, and the arguments of its functions, are not checked.
`python docs/guide/faults.py` prints the page.

An expression that is refused has the place of the character in the file, in whatever way its text is quoted. Faults
of a run are those of [any Dag](errors.md), and those of expressions name the file, line and column, too.
"""

SECTIONS = {
    "YAML": (
        "A file is one document of YAML 1.2. Indent with blanks, and put quotes around text with `: ` or `{{ }}` in "
        "it. JSON is read in the same way.",
        ["unclosed", "tab", "colon", "quotes", "braces", "keys", "twice", "alias", "merge-key", "tags", "documents"],
    ),
    "The workflow": (
        "",
        ["empty", "list", "version", "top-keys", "near", "inputs", "defaults", "config"],
    ),
    "Nodes": (
        "A node has one of the keys that make it a node of a kind. Words of other engines are told what they are here.",
        ["kinds", "words", "other-kinds", "options", "literals", "node-names", "no-nodes", "retry-if", "maps", "loops",
         "routes", "waiting", "publish"],
    ),
    "Expressions": (
        "",
        ["filters", "engines", "templates", "places", "when", "names", "not-here"],
    ),
    "The graph": (
        "A node that may be [bypassed](files.md#what-may-be-missing) has no output then. Who reads it all the same, "
        "says what to take instead.",
        ["itself", "cycle", "bypassed", "joins", "edges", "cleanup"],
    ),
    "What a file refers to": (
        "A name that is not allowed is not imported. Files are read in the folder of the first file, or below it.",
        ["allowed", "offered", "with", "without", "files", "circle"],
    ),
}  # fmt: skip


def faults_of(name: str) -> tuple[str, ...]:
    """Return what is wrong with a file of the current folder."""
    try:
        spec.load(name, allow=ALLOWED)
    except flow.errors.SpecError as error:
        return error.faults
    raise SystemExit(f"{name} has no fault")


def page() -> str:
    """Return the page. Changes the current folder meanwhile, since places are those of the names that are given."""
    parts = [INTRODUCTION]
    before = os.getcwd()
    os.chdir(FAULTY)
    sys.path.insert(0, str(FAULTY))
    try:
        for title, (about, names) in SECTIONS.items():
            parts.append(f"## {title}\n" + (f"\n{about}\n" if about else ""))
            for name in names:
                text = (FAULTY / f"{name}.yaml").read_text(encoding="utf-8")
                said = "\n".join(faults_of(f"{name}.yaml"))
                parts.append(f"```yaml\n{text}```\n\n```text\n{said}\n```\n")
    finally:
        os.chdir(before)
        sys.path.remove(str(FAULTY))
    return "\n".join(parts)


if __name__ == "__main__":
    print(page(), end="")
