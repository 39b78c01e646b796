"""The layered layout: what holds for every graph."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from conftest import examples
from hypothesis import given
from hypothesis import strategies as st

from flow.draw.layout import BEND, Edge, Layers, bends_of, crossings, placed, untangle

GAP = 11.0
CLOSE = 1e-6


@st.composite
def graphs(draw: Any) -> tuple[list[int], list[Edge], list[float]]:
    """Levels, edges and sizes of a random graph, whose nodes may stand before what they need."""
    count = draw(st.integers(1, 24))
    edges: list[Edge] = []
    for i in range(1, count):
        for d in sorted(draw(st.sets(st.integers(0, i - 1), max_size=3))):
            edges.append((d, i, draw(st.booleans())))
    renamed = draw(st.permutations(range(count)))
    levels = [0] * count
    for d, i, _ in edges:
        levels[i] = max(levels[i], levels[d] + 1)
    by_name = [0] * count
    for i, level in enumerate(levels):
        by_name[renamed[i]] = level
    sizes = draw(st.lists(st.floats(20, 200), min_size=count, max_size=count))
    return by_name, [(renamed[d], renamed[i], data) for d, i, data in edges], sizes


def laid_out(levels: list[int], edges: list[Edge], sizes: list[float]) -> tuple[Layers, list[float]]:
    layers = Layers(levels, edges)
    untangle(layers)
    return layers, placed(layers, sizes, GAP)


@examples(150)
@given(graphs())
def test_each_item_is_on_its_level_and_links_go_one_level_down(graph: Any) -> None:
    levels, edges, sizes = graph
    layers, middle = laid_out(*graph)
    level = {item: k for k, row in enumerate(layers.rows) for item in row}
    assert sorted(level) == list(range(len(middle)))
    assert [level[i] for i in range(len(levels))] == levels
    assert len(middle) - len(levels) == bends_of(levels, edges)
    for (upstream, downstream, _), route in zip(edges, layers.routes, strict=True):
        assert (route[0], route[-1]) == (upstream, downstream)
        assert all(item >= len(levels) for item in route[1:-1])
        assert [level[item] for item in route] == list(range(levels[upstream], levels[downstream] + 1))
        assert all(b in layers.down[a] and a in layers.up[b] for a, b in pairwise(route))


@examples(150)
@given(graphs())
def test_nothing_overlaps_so_no_edge_passes_through_a_box(graph: Any) -> None:
    """Edges are curves between two levels, and pass a level at a bend's place only: that is free."""
    levels, _, sizes = graph
    layers, middle = laid_out(*graph)
    count = len(levels)
    half = [size / 2 for size in sizes] + [BEND / 2] * (len(middle) - count)
    for row in layers.rows:
        for a, b in pairwise(row):
            free = middle[b] - half[b] - middle[a] - half[a]
            assert free > (GAP if a < count or b < count else 0) - CLOSE
    assert abs(min(middle[row[0]] - half[row[0]] for row in layers.rows)) < CLOSE


@examples(150)
@given(graphs())
def test_sweeps_never_make_it_worse_and_are_the_same_each_time(graph: Any) -> None:
    levels, edges, _ = graph
    before = crossings(Layers(levels, edges))
    layers, middle = laid_out(*graph)
    assert crossings(layers) <= before
    again, middle_again = laid_out(*graph)
    assert (layers.rows, middle) == (again.rows, middle_again)


@examples(100)
@given(graphs())
def test_crossings_are_counted(graph: Any) -> None:
    layers = Layers(graph[0], graph[1])
    place = {item: k for row in layers.rows for k, item in enumerate(row)}
    found = 0
    for row in layers.rows:
        links = [(place[a], place[b]) for a in row for b in layers.down[a]]
        found += sum(a < c and b > d for a, b in links for c, d in links)
    assert crossings(layers) == found


def test_sweeps_untangle() -> None:
    """Two ladders, interleaved the wrong way round: without sweeps their rungs cross."""
    levels = [0, 0, 0, 0, 1, 1, 1, 1]
    edges = [(i, 7 - i, True) for i in range(4)]
    layers = Layers(levels, edges)
    assert crossings(layers) == 6
    untangle(layers)
    assert crossings(layers) == 0


def test_edges_of_one_node_and_kind_share_their_bends() -> None:
    edges = [(0, 1, True), (1, 2, True), (2, 3, True), (0, 2, True), (0, 3, True), (1, 3, False)]
    layers = Layers([0, 1, 2, 3], edges)
    assert len(layers.up) == 4 + 2 + 1
    assert layers.routes[3] == [0, 4, 2] and layers.routes[4] == [0, 4, 5, 3]


def test_a_long_edge_is_straight_where_there_is_room() -> None:
    chain = [(i, i + 1, True) for i in range(5)]
    layers, middle = laid_out([0, 1, 2, 3, 4, 5], [*chain, (0, 5, True)], [40.0] * 6)
    bends = layers.routes[-1][1:-1]
    assert len(bends) == 4 and len({middle[item] for item in bends}) == 1
    assert len({round(middle[i], 6) for i in range(1, 5)}) == 1


def test_one_chain_is_one_line() -> None:
    _, middle = laid_out([0, 1, 2], [(0, 1, True), (1, 2, True)], [30.0, 90.0, 50.0])
    assert middle == [45.0, 45.0, 45.0]
