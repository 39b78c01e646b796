"""The page of what cannot be shown: a problem, for people."""

from __future__ import annotations

from flow.http.page.parts import document, text
from flow.http.problems import Problem


def refused(problem: Problem, root: str) -> bytes:
    """Return a problem as a page. :param root: the path before the service."""
    faults = "".join([f"<li>{text(fault.detail)}</li>" for fault in problem.faults])
    parts = [
        f"<h1>{problem.status} {text(problem.title)}</h1>",
        f"<p>{text(problem.detail)}</p>" if problem.detail else "",
        f"<ul>{faults}</ul>" if faults else "",
    ]
    if problem.status == 401:
        parts.append("<p>This page opens by a one-time link: <code>flow keys link</code> prints one.</p>")
    return document(f"{problem.status} {problem.title}", parts, root, None)


__all__ = ["refused"]
