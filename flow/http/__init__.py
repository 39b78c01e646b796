"""A service of Dags and workflow files over HTTP (the extra ``http``): :class:`Service`, an ASGI app.

>>> service = flow.http.Service({"report": dag})

``flow serve module:dag`` starts it, :class:`Server` does so in a program. :mod:`flow.http.routes` is the table of what
it answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flow.exports import at_first_use, only

if TYPE_CHECKING:
    from flow.http.keys import Key, Keys
    from flow.http.limits import Limits, Rate
    from flow.http.server.server import Server, Serving
    from flow.http.service import Service
else:  # so that a type checker refuses what is not there
    __getattr__ = at_first_use(
        "flow.http",
        {
            "Key": "flow.http.keys",
            "Keys": "flow.http.keys",
            "Limits": "flow.http.limits",
            "Rate": "flow.http.limits",
            "Server": "flow.http.server.server",
            "Serving": "flow.http.server.server",
            "Service": "flow.http.service",
        },
    )

__all__ = ["Key", "Keys", "Limits", "Rate", "Server", "Service", "Serving"]
__dir__ = only(__all__)
