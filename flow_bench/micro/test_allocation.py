"""The allocation suite: an arena beside Python's own allocator, interning, and room that is made beforehand.

The same operations as in the tables of Flow Orchestrator: ``flow_bench/originals/go.toml``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import flow
from flow_bench.harness.contender import Operation, expect, fresh
from flow_bench.micro.case import Case, table
from flow_bench.micro.test_dag import BUILD, LARGE, as_in, graph

BYTES = (8, 64, 256, 1_024, 4_096)
BLOCK = 65_536
"""Bytes of an arena's block. An operation fills one, so that each allocation bears its share of opening it."""
COUNTS = (10, 100, 1_000)
SMALL = 64
"""Bytes of what is added to an arena that is new, or reset."""
STRINGS = 100
WORDS = (
    "node", "status", "pending", "running", "completed", "failed", "skipped", "workflow", "data", "input", "output",
    "error", "result", "id", "name",
)  # fmt: skip
"""Half of the strings are these, over and over."""


def pattern(size: int) -> bytes:
    """So many bytes that tell a copy from what was there before."""
    return bytes(k % 251 + 1 for k in range(size))


def make_plain(size: int, count: int, wanted: bytes) -> tuple[int, bool]:
    """Make zeroed bytes, and write one, as often as asked; return how many there are, and whether the last is right.

    What was made is dropped then: a sample that kept it all would time how the system gives out memory.
    """
    made = []
    for _ in range(count):
        memory = bytearray(size)
        memory[0] = 1
        made.append(memory)
    return len(made), made[-1] == wanted


def copy_plain(source: bytearray, count: int, wanted: bytes) -> tuple[int, bool]:
    """Copy bytes as often as asked."""
    made = [bytes(source) for _ in range(count)]
    return len(made), made[-1] == wanted


def add_all(source: bytes, count: int) -> tuple[int, bool]:
    """Make an arena and add bytes to it as often as asked."""
    arena = flow.memory.Arena(BLOCK)
    handles = [arena.add(source) for _ in range(count)]
    return len(arena), bytes(arena.view(handles[-1])) == source


PLAIN, COPY, ADD = "bytearray(size), one byte written", "bytes(source), a copy", "Arena.add(source), a copy"


@table
def test_single(quick: bool) -> Iterator[Case]:
    """Allocate."""
    for size in BYTES:
        count, source = BLOCK // size, pattern(size)
        operations: dict[str, Operation] = {
            PLAIN: partial(fresh(make_plain), size, count, b"\x01" + bytes(size - 1)),
            COPY: partial(fresh(copy_plain), bytearray(source), count, source),
            ADD: partial(add_all, source, count),
        }
        for label, operation in operations.items():
            yield Case(
                label, partial(partial, operation), expect((count, True)), fresh=True, per=count, size=size, unit="ns",
                section="allocations by bytes of each, per allocation",
            )  # fmt: skip


NEW, RESET = "a new Arena each time", "one Arena, reset each time"


Added = tuple[int, list[int], bytes]


def add_to(arena: flow.memory.Arena, source: bytes, count: int) -> Added:
    """Add bytes to an arena as often as asked; return how many it holds, the handles, and the last of the records.

    Not the arena: a sample that kept every new one would time how the system gives out memory.
    """
    handles = [arena.add(source) for _ in range(count)]
    held = len(arena)
    return held, handles, bytes(arena.view(handles[-1])) if held else b""


def reset_and_add(arena: flow.memory.Arena, source: bytes, count: int) -> Added:
    """Forget what the arena holds, then add to it."""
    arena.reset()
    return add_to(arena, source, count)


def new_and_add(source: bytes, count: int) -> Added:
    """Make an arena and add to it."""
    return add_to(flow.memory.Arena(BLOCK), source, count)


@table
def test_reset(quick: bool) -> Iterator[Case]:
    """Make an arena, or reset one."""
    source = pattern(SMALL)
    for count in COUNTS:
        operations = {
            NEW: partial(new_and_add, source, count),
            RESET: partial(reset_and_add, flow.memory.Arena(BLOCK), source, count),
        }
        section = f"an arena and {SMALL} bytes added so many times, all of it"
        for label, operation in operations.items():
            yield Case(label, partial(partial, operation), partial(_holds, source, count), section=section, size=count)


def _holds(source: bytes, count: int, made: Added) -> str | None:
    """Say what an arena does not hold of ``count`` times the source, or holds besides."""
    held, handles, last = made
    if held != count or len(set(handles)) != count:
        return f"the arena holds {held} records under {len(set(handles))} handles where {count} were added"
    return None if last == source else "the last record is not what was added"


def texts() -> list[str]:
    """Fresh objects: every other one is of fifteen words, the rest are all different."""
    made = [one for k in range(STRINGS // 2) for one in (WORDS[k % len(WORDS)], f"unique_string_{k}")]
    return ["".join(list(one)) for one in made]


INDIVIDUAL, BATCH = "StringPool.intern, one by one", "StringPool.intern_many"
GLOBAL, GLOBAL_BATCH = "sys.intern, one by one", "map(sys.intern)"
ARENA, ARENA_BATCH = "ArenaStrings.add, one by one", "ArenaStrings.add_many"
READ = "ArenaStrings.add_many, and each read back"


Intern = Callable[[list[str]], Sequence[Any]]


def interning() -> dict[str, Intern]:
    """Six ways to intern strings, each with a pool of its own, and one that makes strings again of the arena's."""
    one, many = flow.memory.StringPool(), flow.memory.StringPool()
    strings, batch, read = flow.memory.ArenaStrings(), flow.memory.ArenaStrings(), flow.memory.ArenaStrings()
    return {
        INDIVIDUAL: lambda given: [one.intern(text) for text in given],
        BATCH: many.intern_many,
        GLOBAL: lambda given: [sys.intern(text) for text in given],
        GLOBAL_BATCH: lambda given: list(map(sys.intern, given)),
        ARENA: lambda given: [strings.add(text) for text in given],
        ARENA_BATCH: batch.add_many,
        READ: lambda given: [read.get(handle) for handle in read.add_many(given)],
    }


@table
def test_interning(quick: bool) -> Iterator[Case]:
    """All strings have been seen before: what is timed is finding them."""
    kept, section = texts(), f"{STRINGS} strings interned that were seen before, half of them repeated, all of it"
    for label, intern in interning().items():
        seen, check = partial(_seen, intern, kept), partial(_interned, label, intern, kept)
        yield Case(label, seen, check, section=section, size=STRINGS)


def _seen(intern: Intern, kept: list[str]) -> Operation:
    intern(kept)
    return partial(intern, texts())


def _interned(label: str, intern: Intern, kept: list[str], found: Sequence[Any]) -> str | None:
    """Say for how many strings not the object (or the handle) came that stands for them; by value if read back."""
    wanted = intern(kept)
    if label == READ:
        wrong = sum(mine != text for mine, text in zip(found, kept, strict=True))
    elif label in (ARENA, ARENA_BATCH):
        wrong = sum(mine != handle for mine, handle in zip(found, wanted, strict=True))
        wrong += len(set(found)) != len(set(kept))
    else:
        wrong = sum(mine is not text for mine, text in zip(found, wanted, strict=True))
        wrong += list(found) != kept
    return f"{wrong} of {STRINGS} strings were not interned" if wrong else None


GROWN, ROOM = "a dict and a list, grown by each name", "the same, with room for all names"


def grow(names: Sequence[str]) -> tuple[dict[str, int], list[str]]:
    """Index names in a dict and keep them in a list, neither of which knows how many there will be."""
    index: dict[str, int] = {}
    kept: list[str] = []
    for k, name in enumerate(names):
        index[name] = k
        kept.append(name)
    return index, kept


def fill(index: dict[str, int], kept: list[str], names: Sequence[str]) -> tuple[dict[str, int], list[str]]:
    """The same in a dict and a list that need not grow."""
    for k, name in enumerate(names):
        index[name] = k
        kept[k] = name
    return index, kept


@table
def test_room(quick: bool) -> Iterator[Case]:
    """Beside all that ``Dag.add`` does: the difference of the other two is the most that a capacity could save it."""
    for nodes in (*COUNTS[1:], *([] if quick else [LARGE])):
        work = graph("linear", nodes)
        names = work.names
        kept = expect(({name: k for k, name in enumerate(names)}, names))
        shape: dict[str, Any] = {"section": "room for names made beforehand, per name", "fresh": True, "unit": "ns"}
        shape |= {"per": nodes, "size": nodes}
        yield Case(BUILD, partial(partial, work.dag, "sync"), as_in(work), **shape)
        yield Case(GROWN, partial(partial, grow, names), kept, **shape)
        yield Case(ROOM, partial(_with_room, names), kept, **shape)


def _with_room(names: Sequence[str]) -> Operation:
    return partial(fill, dict.fromkeys(names, -1), [""] * len(names), names)
