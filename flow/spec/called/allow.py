"""Which functions a workflow file may name: :class:`Allow`. It decides by the written name, and imports nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from flow.errors import UsageError, listing, nearest, shown
from flow.spec.actions import SHIPPED
from flow.spec.called.written import part_fault, taken_apart

ALL: Final = "*"
_BELOW: Final = ".*"


class Allow:
    """What ``call``, ``map``, ``loop`` and the types of signals may name. Immutable.

    ========================== =====================================================================
    ``"deploy.steps:ship"``    this function
    ``"deploy.steps:*"``       all that module ``deploy.steps`` offers
    ``"deploy.*:*"``           all that the modules below ``deploy`` offer, at any depth; not ``deploy``
    ``"deploy.*:ship"``        the function ``ship`` of each of these modules
    ``"shell.run"``            the action of this name; the others are allowed without
    ========================== =====================================================================

    Without patterns nothing is allowed but the actions that ship, ``shell.run`` excepted.

    :param patterns: one pattern, or several.
    :raises UsageError: listing every pattern that is none.
    """

    __slots__ = ("_known", "patterns")

    def __init__(self, patterns: str | Iterable[str] | Allow = ()) -> None:
        self.patterns = tuple(dict.fromkeys(_given(patterns)))
        faults = [fault for pattern in self.patterns if (fault := _fault(pattern))]
        if faults:
            raise UsageError(listing("allow cannot be used", faults))
        self._known = frozenset(self.patterns)

    def allows(self, written: str) -> bool:
        """Tell whether a file may name this. O(parts of the name), however many patterns there are."""
        module, name, fault = taken_apart(written)
        return not fault and self._has(module, name)

    def fault(self, written: object) -> str:
        """Say why a file may not name this, and what to write instead; nothing if it may. Nothing is imported."""
        module, name, fault = taken_apart(written)
        if fault or self._has(module, name):
            return fault
        assert isinstance(written, str)
        close = nearest(written, self.patterns)
        return (
            f"{shown(written)} is not allowed{close}: if this file may run it, say --allow {written}, "
            f'or allow=["{written}"] where the file is loaded; a flow.toml beside the file has [spec] allow = [...]'
        )

    def _has(self, module: str, name: str) -> bool:
        known = self._known
        if not module:
            return not SHIPPED[name].by_name or name in known
        if not known:
            return False
        if f"{module}:{name}" in known or f"{module}:{ALL}" in known:
            return True
        at = module.rfind(".")
        while at > 0:
            above = module[:at] + _BELOW
            if f"{above}:{name}" in known or f"{above}:{ALL}" in known:
                return True
            at = module.rfind(".", 0, at)
        return False

    def __or__(self, other: Allow) -> Allow:
        return Allow(self.patterns + other.patterns)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Allow) and self._known == other._known

    def __hash__(self) -> int:
        return hash(self._known)

    def __repr__(self) -> str:
        return f"Allow({list(self.patterns)!r})"


def _given(patterns: Any) -> Iterator[Any]:
    if isinstance(patterns, (str, Allow)):
        yield from (patterns,) if isinstance(patterns, str) else patterns.patterns
        return
    if isinstance(patterns, (bytes, dict)) or not isinstance(patterns, Iterable):
        raise UsageError(f"allow is a list of patterns such as 'deploy.steps:*', not {shown(patterns)}")
    for pattern in patterns:  # one that cannot be hashed is told of here
        if not isinstance(pattern, str):
            raise UsageError(f"allow has patterns such as 'deploy.steps:*', not {shown(pattern)}")
        yield pattern


def _fault(pattern: str) -> str:
    """Say why ``pattern`` is none; nothing if it is."""
    if ":" not in pattern:
        return "" if pattern in SHIPPED else _no_name(pattern)
    module, _, name = pattern.partition(":")
    plain = module.removesuffix(_BELOW)
    if not plain or plain.startswith(ALL):
        return f"pattern {shown(pattern)} allows every module there is: name the module, as in 'deploy.steps:*'"
    if ALL in plain or (ALL in name and name != ALL):
        return f"pattern {shown(pattern)}: a '*' stands for a whole name after ':', or for modules as in 'deploy.*:*'"
    fault = taken_apart(f"{plain}:{'x' if name == ALL else name}").fault
    return f"pattern {shown(pattern)}: {fault}" if fault else ""


def _no_name(pattern: str) -> str:
    close = nearest(pattern, [name for name in SHIPPED if name != pattern])
    plain = pattern.removesuffix(_BELOW)
    if pattern and not any(part_fault(part) for part in plain.split(".")):
        close = f": {pattern + ':*'!r} allows all of it, {pattern + ':NAME'!r} one function{close}"
    return f"pattern {shown(pattern)} names no function{close or ': write module:function, or module:*'}"


__all__ = ["Allow"]
