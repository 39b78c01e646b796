"""Which parser connections have: httptools, or h11."""

from __future__ import annotations

from typing import Any


def protocol() -> Any:
    """Return the class of connections: by httptools where that is installed, else by h11, which is slower.

    :raises ImportError: if uvicorn is not installed.
    """
    try:
        from flow.http.server.by_httptools import HttptoolsConnection
    except ModuleNotFoundError as error:
        if error.name != "httptools":
            raise
        from flow.http.server.by_h11 import H11Connection

        return H11Connection
    return HttptoolsConnection


__all__ = ["protocol"]
