"""Graphs of known shape, for benchmarks and tests: :func:`linear`, :func:`diamond`, :func:`tree`, ...

Every function returns a :class:`flow.Dag` of nodes ``n0 .. n{n-1}``, defined in topological order.
All run the same function ``fn``, sync or async, which receives the outputs of the node's
dependencies by position, in ascending order; so it should take ``*values`` as :func:`noop` does.
Building is O(nodes + edges).

The same arguments give the same graph on every platform and Python version. The only source of
randomness is ``random.Random(seed).random()``, whose sequence Python guarantees, and all arithmetic
on it is exact or correctly rounded (``+ * <``, never ``log`` or ``pow``, which differ by libm).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeAlias

from flow.config.fields import is_int, is_number
from flow.errors import ConfigError, shown
from flow.exports import only
from flow.graph.dag import Dag
from flow.tracebacks import ends_at_user

Draw: TypeAlias = Callable[[], float]

MOST: Final = 2**63 - 1
"""The most that any count may be, and the nodes of one graph: more cannot be counted in a list."""


def noop(*values: object) -> None:
    """Take any outputs and return None."""


@ends_at_user
def linear(n: int, *, fn: Callable[..., Any] = noop) -> Dag:
    """A chain of ``n`` nodes: ``n0 -> n1 -> ... -> n{n-1}``.

    :raises ConfigError: listing every argument that is out of range.
    """
    _refuse("linear", _faults(fn, n=n))
    return _build("linear", fn, n, ((i - 1,) if i else () for i in range(n)))


@ends_at_user
def diamond(n: int, *, fn: Callable[..., Any] = noop) -> Dag:
    """One node, then ``n - 2`` side by side, then one that needs them all. (Two nodes are a chain.)

    :raises ConfigError: listing every argument that is out of range.
    """
    _refuse("diamond", _faults(fn, n=n))
    return _build("diamond", fn, n, _diamond(n))


@ends_at_user
def tree(n: int, arity: int = 2, *, fn: Callable[..., Any] = noop) -> Dag:
    """A complete tree that fans out from ``n0``: node ``i`` needs node ``(i - 1) // arity``.

    :param arity: children of every inner node (the last one may have fewer).
    :raises ConfigError: listing every argument that is out of range.
    """
    _refuse("tree", _faults(fn, n=n, arity=arity))
    return _build("tree", fn, n, (((i - 1) // arity,) if i else () for i in range(n)))


@ends_at_user
def layered(layers: int, width: int, fan_in: int, seed: int = 0, *, fn: Callable[..., Any] = noop) -> Dag:
    """``layers`` layers of ``width`` nodes; each node needs ``fan_in`` random ones of the layer before.

    :param fan_in: exact number of dependencies, at most ``width`` (then it is all of them).
    :raises ConfigError: listing every argument that is out of range.
    """
    found = _faults(fn, layers=layers, width=width, fan_in=fan_in) + _seed_faults(seed)
    if is_int(width) and is_int(fan_in) and fan_in > width >= 1:
        found.append(f"fan_in must be at most width, {width}, not {shown(fan_in)}")
    if not found and layers * width > MOST:
        found.append(f"layers * width must be at most {MOST:,}, not {layers * width:,}")
    _refuse("layered", found)
    return _build("layered", fn, layers * width, _layered(layers, width, fan_in, _draw(seed)))


@ends_at_user
def random_dag(n: int, *, p: float, seed: int = 0, fn: Callable[..., Any] = noop) -> Dag:
    """Each pair ``i < j`` is an edge ``i -> j`` with probability ``p``: about ``p * n * (n - 1) / 2`` edges.

    O(nodes + edges * log(1 / p)), not O(pairs): it jumps from edge to edge.

    :raises ConfigError: listing every argument that is out of range.
    """
    found = _faults(fn, n=n) + _seed_faults(seed)
    if not is_number(p) or not 0 <= p <= 1:
        found.append(f"p must be a probability from 0 to 1, not {shown(p)}")
    _refuse("random_dag", found)
    return _build("random_dag", fn, n, _random(n, p, _draw(seed)))


@ends_at_user
def sparse_random(n: int, *, max_in_degree: int = 3, seed: int = 0, fn: Callable[..., Any] = noop) -> Dag:
    """Each node needs 0 to ``max_in_degree`` random earlier nodes, each number as likely.

    :raises ConfigError: listing every argument that is out of range.
    """
    _refuse("sparse_random", _faults(fn, n=n, max_in_degree=max_in_degree) + _seed_faults(seed))
    return _build("sparse_random", fn, n, _sparse(n, max_in_degree, _draw(seed)))


def _build(name: str, fn: Callable[..., Any], n: int, dependencies: Iterable[Sequence[int]]) -> Dag:
    dag = Dag(name)
    add = dag.add
    names = [f"n{i}" for i in range(n)]
    for node, upstream in zip(names, dependencies, strict=True):
        add(node, fn, needs=[names[i] for i in upstream])
    return dag


def _diamond(n: int) -> Iterator[Sequence[int]]:
    yield ()
    for _ in range(n - 2):
        yield (0,)
    if n > 1:
        yield range(1, n - 1) or (0,)


def _layered(layers: int, width: int, fan_in: int, draw: Draw) -> Iterator[Sequence[int]]:
    for _ in range(width):
        yield ()
    for start in range(0, (layers - 1) * width, width):
        for _ in range(width):
            yield [start + i for i in _sample(width, fan_in, draw)]


def _sparse(n: int, max_in_degree: int, draw: Draw) -> Iterator[Sequence[int]]:
    for i in range(n):
        yield _sample(i, min(i, int(draw() * (max_in_degree + 1))), draw)


def _random(n: int, p: float, draw: Draw) -> Iterator[Sequence[int]]:
    """Walk the pairs row by row; the gap to the next edge is geometric (Batagelj and Brandes 2005)."""
    powers = _powers(1.0 - p, n * (n - 1) // 2)
    column = _gap(draw(), powers)
    for row in range(n):
        upstream = []
        while column < row:
            upstream.append(column)
            column += 1 + _gap(draw(), powers)
        column -= row
        yield upstream


def _powers(q: float, most: int) -> list[tuple[int, float]]:
    """``(k, q**k)`` for ``k = ..., 4, 2, 1``: as many as gaps up to ``most`` need, or a float can tell apart."""
    powers = []
    k, power = 1, q
    while k <= most and power > 2.0**-53:  # no draw but 0.0 is smaller
        powers.append((k, power))
        k, power = 2 * k, power * power
    powers.reverse()
    return powers


def _gap(u: float, powers: Sequence[tuple[int, float]]) -> int:
    """The largest ``k`` with ``u < q**k``, bit by bit: ``floor(log(u) / log(q))`` without a logarithm."""
    gap, survival = 0, 1.0
    for k, power in powers:
        if u < survival * power:
            survival *= power
            gap += k
    return gap


def _sample(n: int, k: int, draw: Draw) -> list[int]:
    """``k`` distinct numbers below ``n``, ascending, every set as likely (Floyd 1987). O(k log k)."""
    chosen: set[int] = set()
    for i in range(n - k, n):
        pick = int(draw() * (i + 1))
        chosen.add(i if pick in chosen else pick)
    return sorted(chosen)


def _draw(seed: int) -> Draw:
    from random import Random  # here: the module takes milliseconds to import

    return Random(seed).random


def _faults(fn: object, **counts: object) -> list[str]:
    found = []
    for label, value in counts.items():
        if not (is_int(value) and value >= 1):  # type: ignore[operator]
            found.append(f"{label} must be an integer of at least 1, not {shown(value)}")
        elif value > MOST:  # type: ignore[operator]
            found.append(f"{label} must be at most {MOST:,}, not {shown(value)}")
    if not callable(fn):
        found.append(f"fn must be a function, not {shown(fn)}")
    return found


def _seed_faults(seed: object) -> list[str]:
    # Random drops a seed's sign: -1 would silently be 1.
    if is_int(seed) and seed >= 0:  # type: ignore[operator]
        return []
    return [f"seed must be an integer of at least 0, not {shown(seed)}"]


def _refuse(topology: str, faults: list[str]) -> None:
    if faults:
        raise ConfigError(f"topology {topology}", faults)


__all__ = ["diamond", "layered", "linear", "noop", "random_dag", "sparse_random", "tree"]
__dir__ = only(__all__)
