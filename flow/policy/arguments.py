"""Call a function without optional parameters that neither a node nor an input fills.

A default that a signature shows need not be what the function does without that argument: numpy's ufuncs and builtins
show other ones, and a wrapper looks at what it was given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from flow.signature import Shape, by_position


class Optionals(msgspec.Struct, frozen=True):
    """The positional parameters of a function of which some may be missing.

    :ivar names: in order, the Context's included.
    :ivar gaps: as in :class:`flow.signature.Shape`.
    """

    names: tuple[str, ...]
    gaps: tuple[Any, ...]


def optionals_of(shape: Shape) -> Optionals:
    """Return what a function of this shape may be called without."""
    return Optionals(tuple([p.name for p in shape.parameters if not p.keyword_only]), shape.gaps)


def leaving_out(
    fn: Callable[..., Any],
    optionals: Optionals,
    keywords: Sequence[str],
    context: str | None,
    make_context: Callable[[], Any],
    given: Sequence[bool],
) -> Callable[..., Any]:
    """Return what calls ``fn`` with those of the values it gets that are there.

    :param keywords: of the last values.
    :param context: the parameter that gets what ``make_context`` makes.
    :param given: by value, whether it is there.
    """
    names = [name for name in optionals.names if name != context]
    count = len(names)
    end = len(given) - len(keywords)
    at = {**dict(enumerate(names)), **dict(enumerate(keywords, end))}  # what is between them is for *args
    missing = {name for k, name in at.items() if not given[k]}
    positions, gaps = by_position(optionals.names, optionals.gaps, missing)
    filled = {name: k for k, name in at.items() if given[k]}
    size = len(positions)
    if context is None and not gaps and end == count and filled.keys() == set(positions):
        return lambda *values: fn(*values[:size])

    def call(*values: Any) -> Any:
        named = gaps | {name: values[k] for name, k in filled.items()}
        if context is not None:
            named[context] = make_context()
        return fn(*[named.pop(name) for name in positions], *values[count:end], **named)

    return call
