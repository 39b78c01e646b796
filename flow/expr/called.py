"""The room is called to make a function of an expression: ``flow.expr("inputs.env == 'prod'")``."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

from flow.tracebacks import ends_at_user


class Room(ModuleType):
    """The type of the module ``flow.expr``."""

    @ends_at_user
    def __call__(self, source: str) -> Any:
        """Check an expression, and return it as a function of what it reads: for ``when=``, ``until=``, ``key=``.

        :raises ExpressionSyntaxError: if it is refused.
        """
        # what expressions read of a run is no matter of this room, and is loaded when it is asked for
        return import_module("flow.policy.expressed").expression(source)
