"""Count what each program takes: ``python docs/compare/count.py`` prints the table of docs/compare/README.md, and with
the argument ``ai`` that of docs/compare/ai/README.md.

A line counts if code stands on it: blank lines, comments and docstrings do not. A statement over several lines counts
as several. ``work.py``, what all versions of a program share, is not counted.
"""

import ast
import io
import sys
import tokenize
from pathlib import Path

HERE = Path(__file__).parent
PROGRAMS = ("etl", "requests", "tools", "features", "cli")
PEERS = ("flow", "by_hand", "hamilton", "dask", "langgraph", "pydantic_graph")
TITLES = {
    "by_hand": "by hand",
    "hamilton": "Hamilton",
    "dask": "Dask",
    "langgraph": "LangGraph",
    "pydantic_graph": "pydantic-graph",
    "pydantic_ai": "pydantic-ai",
}
AI_PROGRAMS = ("summaries", "agent", "route", "extract")
AI_PEERS = ("flow", "langgraph", "pydantic_ai")
LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def lines(source: str) -> int:
    """How many physical lines of *source* hold code."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    code = {line for one in tokens if one.type not in LAYOUT for line in range(one.start[0], one.end[0] + 1)}
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if ast.get_docstring(node, clean=False) is not None:
            code -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return len(code)


def counts(folder: str = "") -> dict[str, dict[str, int]]:
    """Lines by program and peer; a version that is not there is left out.

    :param folder: beside this file: nothing, or ``ai``.
    """
    programs, peers = (AI_PROGRAMS, AI_PEERS) if folder else (PROGRAMS, PEERS)
    return {
        program: {
            peer: lines(path.read_text(encoding="utf-8"))
            for peer in peers
            if (path := HERE / folder / f"{program}_{peer}.py").exists()
        }
        for program in programs
    }


def table(folder: str = "") -> str:
    """The table in Markdown; what is shorter than flow's version is in bold."""
    peers = AI_PEERS if folder else PEERS
    rows = [
        "| program | " + " | ".join(TITLES.get(peer, peer) for peer in peers) + " |",
        "|---" * (len(peers) + 1) + "|",
    ]
    for program, found in counts(folder).items():
        cells = []
        for peer in peers:
            lines = found.get(peer)
            cells.append("" if lines is None else f"**{lines}**" if lines < found["flow"] else str(lines))
        rows.append(f"| {program} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table(*sys.argv[1:2]))
