"""Count what each program takes: ``python docs/compare/count.py`` prints the table of docs/compare/README.md.

A line counts if code stands on it: blank lines, comments and docstrings do not. A statement over several lines counts
as several. ``work.py``, what all versions of a program share, is not counted.
"""

import ast
import io
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
}
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


def counts() -> dict[str, dict[str, int]]:
    """Lines by program and peer; a version that is not there is left out."""
    return {
        program: {
            peer: lines(path.read_text(encoding="utf-8"))
            for peer in PEERS
            if (path := HERE / f"{program}_{peer}.py").exists()
        }
        for program in PROGRAMS
    }


def table() -> str:
    """The table in Markdown; what is shorter than flow's version is in bold."""
    rows = [
        "| program | " + " | ".join(TITLES.get(peer, peer) for peer in PEERS) + " |",
        "|---" * (len(PEERS) + 1) + "|",
    ]
    for program, found in counts().items():
        cells = []
        for peer in PEERS:
            lines = found.get(peer)
            cells.append("" if lines is None else f"**{lines}**" if lines < found["flow"] else str(lines))
        rows.append(f"| {program} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
