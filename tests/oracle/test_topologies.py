"""Topologies against brute-force oracles, and pinned: a seed means the same graph for ever."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import combinations
from random import Random
from typing import Any

import pytest
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st

from flow.errors import ConfigError
from flow.graph import topologies
from flow.graph.dag import Dag

SIZES = st.integers(1, 60)
SEEDS = st.integers(0, 2**64)


def edges(dag: Dag) -> list[tuple[int, int]]:
    return [(int(a[1:]), int(b[1:])) for a, b in dag.compile().edges]


def short(dag: Dag) -> str:
    return " ".join(f"{a}>{b}" for a, b in edges(dag))


def digest(dag: Dag) -> str:
    return hashlib.sha256(short(dag).encode()).hexdigest()[:16]


def upstream(dag: Dag) -> list[list[int]]:
    return [list(deps) for deps in dag.compile()._nodes.dependencies]


def assert_well_formed(dag: Dag, n: int) -> None:
    """Named in order, topologically defined, dependencies ascending and passed as data, in that order."""
    plan = dag.compile()
    assert list(plan.names) == [f"n{i}" for i in range(n)]
    assert list(plan._nodes.order) == list(range(n))
    for i, deps in enumerate(plan._nodes.dependencies):
        assert list(deps) == sorted(set(deps))
        assert all(0 <= d < i for d in deps)
        assert tuple(plan._nodes.arguments[i]) == tuple(deps)


@given(SIZES)
def test_linear(n: int) -> None:
    dag = topologies.linear(n)
    assert_well_formed(dag, n)
    assert edges(dag) == [(i, i + 1) for i in range(n - 1)]


@given(SIZES)
def test_diamond(n: int) -> None:
    dag = topologies.diamond(n)
    assert_well_formed(dag, n)
    middle = range(1, n - 1)
    expected = {(0, i) for i in middle} | {(i, n - 1) for i in middle}
    assert set(edges(dag)) == (expected or ({(0, 1)} if n == 2 else set()))
    assert dag.compile().width == max(1, n - 2)


@given(SIZES, st.integers(1, 5))
def test_tree(n: int, arity: int) -> None:
    dag = topologies.tree(n, arity)
    assert_well_formed(dag, n)
    children: list[int] = [0] * n
    for a, b in edges(dag):
        assert a == (b - 1) // arity
        children[a] += 1
    assert len(edges(dag)) == n - 1
    assert all(count in (0, arity) for count in children[: (n - 1) // arity])
    assert sum(0 < count < arity for count in children) <= 1


@given(st.integers(1, 8), st.integers(1, 8), st.data(), SEEDS)
def test_layered(layers: int, width: int, data: st.DataObject, seed: int) -> None:
    fan_in = data.draw(st.integers(1, width))
    dag = topologies.layered(layers, width, fan_in, seed)
    assert_well_formed(dag, layers * width)
    for i, deps in enumerate(upstream(dag)):
        assert len(deps) == (fan_in if i >= width else 0)
        assert all(d // width == i // width - 1 for d in deps)
    assert dag.compile().depth == layers


@given(SIZES, st.floats(0, 1), SEEDS)
def test_random_dag_is_acyclic_and_repeatable(n: int, p: float, seed: int) -> None:
    dag = topologies.random_dag(n, p=p, seed=seed)
    assert_well_formed(dag, n)
    assert edges(topologies.random_dag(n, p=p, seed=seed)) == edges(dag)


@given(SIZES, st.integers(1, 8), SEEDS)
def test_sparse_random_keeps_its_bound_and_is_repeatable(n: int, bound: int, seed: int) -> None:
    dag = topologies.sparse_random(n, max_in_degree=bound, seed=seed)
    assert_well_formed(dag, n)
    assert max(map(len, upstream(dag))) <= bound
    assert edges(topologies.sparse_random(n, max_in_degree=bound, seed=seed)) == edges(dag)


@pytest.mark.parametrize(("p", "count"), [(0, 0), (0.0, 0), (1, 780), (1.0, 780), (5e-324, 0)])
def test_random_dag_at_the_ends_of_p(p: float, count: int) -> None:
    assert len(edges(topologies.random_dag(40, p=p))) == count


@examples(200)
@given(st.floats(0.0009765625, 0.999), SEEDS)
def test_random_dag_walks_the_pairs_as_inverse_transform_sampling_does(p: float, seed: int) -> None:
    """Oracle: one draw u per run of pairs; the run goes on while u < q**k, tried k by k."""
    draw = Random(seed).random  # noqa: S311
    n = 25
    pairs = [(a, b) for b in range(n) for a in range(b)]
    powers = {1: 1.0 - p}
    k = 1
    while k <= len(pairs):
        powers[2 * k] = powers[k] * powers[k]
        k *= 2
    expected = []
    at = 0
    while at < len(pairs):
        u, gap = draw(), 0
        while u < survival(gap + 1, powers) and at + gap < len(pairs):
            gap += 1
        at += gap
        if at < len(pairs):
            expected.append(pairs[at])
        at += 1
    assert edges(topologies.random_dag(n, p=p, seed=seed)) == expected


def survival(k: int, powers: dict[int, float]) -> float:
    """q**k as the product of its binary powers, largest first."""
    product = 1.0
    for bit in sorted(powers, reverse=True):
        if k & bit:
            product *= powers[bit]
    return product


def test_random_dag_has_each_edge_as_often_as_p_says() -> None:
    n, p, rounds = 6, 0.3, 2000
    seen = dict.fromkeys(combinations(range(n), 2), 0)
    for seed in range(rounds):
        for edge in edges(topologies.random_dag(n, p=p, seed=seed)):
            seen[edge] += 1
    deviation = (rounds * p * (1 - p)) ** 0.5
    assert all(abs(count - rounds * p) < 4.5 * deviation for count in seen.values()), seen


def test_samples_are_uniform() -> None:
    draw = Random(3).random  # noqa: S311
    rounds = 6000
    seen = dict.fromkeys(combinations(range(4), 2), 0)
    for _ in range(rounds):
        seen[tuple(topologies._sample(4, 2, draw))] += 1  # type: ignore[index]
    deviation = (rounds / 6 * 5 / 6) ** 0.5
    assert all(abs(count - rounds / 6) < 4.5 * deviation for count in seen.values()), seen


def test_a_sample_never_reaches_its_bound() -> None:
    largest = 1.0 - 2.0**-53  # the largest draw there is
    for n in (1, 2, 3, 7, 1000, 2**20, 2**20 + 1, 10**9 + 7):
        assert topologies._sample(n, 1, lambda: largest) == [n - 1]


PINNED: list[tuple[Callable[[], Dag], str]] = [
    (lambda: topologies.diamond(5), "0>1 0>2 0>3 1>4 2>4 3>4"),
    (lambda: topologies.tree(6, 3), "0>1 0>2 0>3 1>4 1>5"),
    (lambda: topologies.layered(3, 3, 2, seed=7), "0>3 2>3 0>4 1>4 1>5 2>5 3>6 4>6 3>7 4>7 3>8 5>8"),
    (lambda: topologies.random_dag(6, p=0.4, seed=1), "0>3 1>3 2>3 2>4 0>5 2>5 3>5 4>5"),
    (lambda: topologies.sparse_random(6, seed=5), "0>1 0>2 1>2 3>4 0>5 3>5"),
]

PINNED_DIGESTS: list[tuple[Callable[[], Dag], int, str]] = [
    (lambda: topologies.layered(20, 50, 4, seed=11), 3800, "6c32ea5372a4af02"),
    (lambda: topologies.random_dag(300, p=0.05, seed=12), 2276, "153d4cb1666dc972"),
    (lambda: topologies.random_dag(50_000, p=1e-6, seed=14), 1222, "43c55ac7876eabe7"),
    (lambda: topologies.sparse_random(1000, max_in_degree=5, seed=13), 2495, "6f64df5f6f6971da"),
]


@pytest.mark.parametrize(("make", "expected"), PINNED)
def test_pinned_edges(make: Callable[[], Dag], expected: str) -> None:
    assert short(make()) == expected


@pytest.mark.parametrize(("make", "count", "expected"), PINNED_DIGESTS)
def test_pinned_digests(make: Callable[[], Dag], count: int, expected: str) -> None:
    dag = make()
    assert (len(edges(dag)), digest(dag)) == (count, expected)


def test_seeds_differ() -> None:
    assert len({digest(topologies.sparse_random(50, seed=seed)) for seed in range(20)}) == 20


def test_nodes_run_the_given_function() -> None:
    async def work(*values: Any) -> int:
        return len(values)

    plan = topologies.linear(3, fn=work).compile()
    assert plan._nodes.fns == [work] * 3
    assert list(plan._nodes.is_async) == [1, 1, 1]
    assert topologies.linear(3).compile()._nodes.fns == [topologies.noop] * 3
    assert topologies.noop(1, 2) is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    ("call", "faults"),
    [
        (lambda: topologies.linear(0), ["n must be an integer of at least 1, not 0"]),
        (lambda: topologies.linear(True), ["n must be an integer of at least 1, not True"]),
        (lambda: topologies.linear(3.0), ["n must be an integer of at least 1, not 3.0"]),  # type: ignore[arg-type]
        (lambda: topologies.linear(-1, fn=None), ["n must be", "fn must be a function, not None"]),  # type: ignore[arg-type]
        (lambda: topologies.diamond("3"), ["n must be an integer of at least 1, not '3'"]),  # type: ignore[arg-type]
        (lambda: topologies.tree(0, 0), ["n must be", "arity must be an integer of at least 1, not 0"]),
        (lambda: topologies.layered(0, 0, 0, -1), ["layers must", "width must", "fan_in must", "seed must"]),
        (lambda: topologies.layered(2, 3, 4), ["fan_in must be at most width, 3, not 4"]),
        (lambda: topologies.random_dag(0, p=2.0, seed=1.5), ["n must", "seed must", "p must be"]),  # type: ignore[arg-type]
        (lambda: topologies.random_dag(3, p=float("nan")), ["p must be a probability from 0 to 1, not nan"]),
        (lambda: topologies.random_dag(3, p=-0.1), ["p must be a probability from 0 to 1, not -0.1"]),
        (lambda: topologies.random_dag(3, p=True), ["p must be a probability from 0 to 1, not True"]),
        (lambda: topologies.sparse_random(3, max_in_degree=0), ["max_in_degree must be an integer"]),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused_all_at_once(call: Callable[[], Dag], faults: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        call()
    assert len(caught.value.faults) == len(faults)
    for fault, expected in zip(caught.value.faults, faults, strict=True):
        assert fault.startswith(expected)
    assert caught.value.what.startswith("topology ")
    assert isinstance(caught.value, ValueError)
