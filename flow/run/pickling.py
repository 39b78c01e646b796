"""Finds nodes that cannot be sent to another process or interpreter, before any node runs."""

from __future__ import annotations

import sys
from typing import Any

from flow.errors import described
from flow.policy.bind import Binder
from flow.policy.mapping import Mapped
from flow.signature import Composite, is_async_callable


def pickles(executor: Any) -> bool:
    """Tell whether ``executor`` sends what it is given to another process or interpreter."""
    for module, name in (("process", "ProcessPoolExecutor"), ("interpreter", "InterpreterPoolExecutor")):
        kind = getattr(sys.modules.get(f"concurrent.futures.{module}"), name, None)
        if kind is not None and isinstance(executor, kind):
            return True
    return False


def why_not_pickled(executor: Any, fn: Any, binder: Binder | None) -> str:
    """Say why the sync function of a node cannot be sent by ``executor``; nothing if it can, or need not be.

    :param fn: a function, or the map that calls one. O(size of what it holds).
    """
    if not pickles(executor):
        return ""
    if isinstance(fn, Mapped):
        takes_context, fn = fn.roles.context is not None, fn.fn
    else:
        takes_context = binder is not None and binder.context != -1
    if isinstance(fn, Composite) or is_async_callable(fn):
        return ""
    if takes_context:
        return "it takes the Context, which cannot leave this process"
    import pickle  # here: few runs use processes

    try:
        pickle.dumps(fn)
    except Exception as error:  # of the function's own __reduce__, too
        return f"its function cannot be pickled ({described(error)}): define it at the top of a module"
    return ""
