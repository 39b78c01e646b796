"""The actions that ship: functions that workflow files call by a name without a module, and that Python may call too.

::

    from flow.spec.actions import http, shell, sleep

    answer = await http.request("https://example.org/health")
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from flow.exports import at_first_use, only


class Shipped(NamedTuple):
    """One action that ships.

    :ivar module: where its function is, as ``attribute``. It is imported once the action is used.
    :ivar by_name: it may be called only where ``allow`` has its very name.
    :ivar needs: a package that it needs and that is an extra of the same name; else empty.
    """

    module: str
    attribute: str
    by_name: bool = False
    needs: str = ""

    def function(self) -> Callable[..., Any]:
        """Import the function."""
        found: Callable[..., Any] = getattr(import_module(self.module), self.attribute)
        return found

    @property
    def fault(self) -> str:
        """What must be installed first; else empty."""
        if not self.needs or find_spec(self.needs) is not None:
            return ""
        return f"it needs the package {self.needs}: pip install 'flow-dag[{self.needs}]'"


SHIPPED: Final[Mapping[str, Shipped]] = MappingProxyType({
    "fail": Shipped("flow.spec.actions.plain", "fail"),
    "http.request": Shipped("flow.spec.actions.http", "request", needs="httpx"),
    "json": Shipped("flow.spec.actions.plain", "json"),
    "json.parse": Shipped("flow.spec.actions.plain", "parse_json"),
    "log": Shipped("flow.spec.actions.plain", "log"),
    "shell.run": Shipped("flow.spec.actions.shell", "run", by_name=True),
    "sleep": Shipped("flow.spec.actions.plain", "sleep"),
})  # fmt: skip
"""The actions that ship, by the name that files use."""

if TYPE_CHECKING:
    from flow.spec.actions import http as http
    from flow.spec.actions import shell as shell
    from flow.spec.actions.plain import fail, json, log, parse_json, sleep
else:
    __getattr__ = at_first_use(
        "flow.spec.actions",
        {
            **dict.fromkeys(("fail", "json", "log", "parse_json", "sleep"), "flow.spec.actions.plain"),
            "http": "flow.spec.actions.http",
            "shell": "flow.spec.actions.shell",
        },
    )

__all__ = ["SHIPPED", "Shipped", "fail", "http", "json", "log", "parse_json", "shell", "sleep"]
__dir__ = only(__all__)
