"""The mark of functions that workflow files may call: :func:`action`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar, overload

from flow.errors import UsageError, shown
from flow.spec.called.written import part_fault
from flow.tracebacks import ends_at_user

FnT = TypeVar("FnT", bound=Callable[..., Any])

MARK: Final = "__flow_action__"
"""The attribute that marks a function: the name that files use, or empty for the function's own name in its module.

It lies with the function, and in no registry: a module that is loaded again defines its functions anew.
"""


@overload
def action(fn: FnT, /) -> FnT: ...
@overload
def action(*, name: str | None = None) -> Callable[[FnT], FnT]: ...
@ends_at_user
def action(fn: Any = None, /, *, name: str | None = None) -> Any:
    """Let workflow files call a function that is not in its module's ``__all__``.

    ::

        @flow.action
        def ship(region: str) -> str: ...          # call: deploy.steps:ship

        @flow.action(name="rollback")
        async def undo(region: str) -> None: ...   # call: deploy.steps:rollback

    The function stays what it is, but for one attribute. A file may call it only where it is allowed to call that name
    as well (``allow=``). Put the decorator on top of others: what the module has under the name is what is called.

    :param name: what files call it in its module, a public name of ASCII letters, digits and underscores. Two
        functions of one name in a module are a fault of the file that names them.
    :raises UsageError: if it is no callable, takes no attributes, or ``name`` is no such name.
    """
    if name is not None and (fault := part_fault(name)):
        raise UsageError(f"action: name {fault}")
    if fn is None:
        return lambda marked: _mark(marked, name or "")
    return _mark(fn, name or "")


def _mark(fn: Any, name: str) -> Any:
    if not callable(fn):
        raise UsageError(f"action marks a function, not {shown(fn)}; a name is given as @flow.action(name=...)")
    try:
        setattr(fn, MARK, name)
    except Exception:  # builtins, methods, objects with __slots__
        raise UsageError(
            f"action cannot mark {shown(fn)}, which takes no attributes: "
            "call it in a function of your own, or list it in the module's __all__"
        ) from None
    return fn


def mark_of(value: Any) -> str | None:
    """Return the mark of a value of a module: None if it has none of its own."""
    try:
        found = vars(value).get(MARK)
    except Exception:  # without attributes, or an object whose attributes raise
        return None
    return found if isinstance(found, str) else None


__all__ = ["action", "mark_of"]
