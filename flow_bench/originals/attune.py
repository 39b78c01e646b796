"""The tables of Attune (Rust)."""

from __future__ import annotations

from flow_bench.originals.table import Original, Ours, Source, Table

CHILDREN = "one item's context over task results of 10 KB, ratio to no results"
COPIES = "a copy of the same results instead, ratio to a child"
ITEMS = "with-items over 100 results of 10 KB: contexts of all items made and held, ratio to children"
MEMORY = "memory of items' contexts over 100 results of 10 KB, at peak, traced"
EXAMPLES = "three examples over 100 results of 10 KB: whole runs in which nothing waits"
LOCK = "100 completions at one lock"
HANDOVER = "from a node's end to its dependant's start"
FILES = "comes with workflow files"


def _context(name: str, printed: str, results: int) -> Original:
    """A clone of a context with so many results."""
    ours = {
        "a child": Ours("context", "child", CHILDREN, f"ctx.child, {results} results"),
        "copy.copy instead": Ours("context", "child", COPIES, f"copy.copy, {results} results"),
        "copy.deepcopy instead": Ours("context", "child", COPIES, f"copy.deepcopy, {results} results"),
    }
    return Original(name, printed, ours)


def _items(items: int) -> dict[str, Ours]:
    """The contexts of so many items, and what may stand in their place."""
    labels = {
        "a child each": "a child each", "a deep copy each": "copy.deepcopy each",
        "a run that maps them": "a run that maps them",
    }  # fmt: skip
    return {what: Ours("context", "items", ITEMS, label, items) for what, label in labels.items()}


def _example(label: str, items: int) -> dict[str, Ours]:
    """A whole run, and the contexts alone, which is what the original's figure is of."""
    contexts = _items(items)
    del contexts["a run that maps them"]
    return {"the whole run": Ours("context", "examples", EXAMPLES, label, items), **contexts}


def _contention(label: str, times: int = 1) -> Ours:
    """A row of the contention's table; what is per completion makes up a hundred of them."""
    return Ours("concurrency", "contention", LOCK, label, 100, times=times)


def _handover(label: str) -> Ours:
    """How soon a node follows another."""
    return Ours("context", "handover", HANDOVER, label, 100)


CONTEXT = Table(
    "context clone",
    (
        _context("empty", "50 ns before (estimated), 97 ns after", 0),
        _context("10 tasks (100 KB)", "5,000 ns before (estimated), 98 ns after", 10),
        _context("50 (500 KB)", "25,000 ns before (estimated), 98 ns after", 50),
        _context("100 (1 MB)", "50,000 ns before (estimated), 100 ns after", 100),
        _context("500 (5 MB)", "250,000 ns before (estimated), 100 ns after", 500),
    ),
    "The figures before were not measured there. After, a clone copies references to what is shared. So does a child "
    "here, which is given its item and index too. A result is 10 KB of Python objects here: a dict with a list of 270 "
    "integers. A deep copy makes new dicts and lists of the same integers.",
)
WITH_ITEMS = Table(
    "with-items over 100 results (1 MB)",
    (
        Original("10 items", "500 us before (estimated), 1.6 us after", _items(10)),
        Original("100", "5,000 us before (estimated), 21 us after", _items(100)),
        Original("1,000", "50,000 us before (estimated), 211 us after", _items(1_000)),
        Original("10,000", "500,000 us before (estimated), 2,110 us after", _items(10_000)),
        Original(
            "Memory for 1,000 items", "1 MB + 40 bytes an item, instead of 1,000 MB",
            {
                "children": Ours("context", "memory", MEMORY, "1,000 items: ctx.child"),
                "a copy.copy each": Ours("context", "memory", MEMORY, "1,000 items: copy.copy"),
                "a copy.deepcopy each": Ours("context", "memory", MEMORY, "1,000 items: copy.deepcopy"),
            },
            "The figures here are bytes per item, on top of the results, which exist before. With `--quick`, deep "
            "copies for 1,000 items are not made.",
        ),
    ),
    "One operation makes the contexts of all items and holds them; no item is worked on. The original's 2,110 us are "
    "ten times its 211 us. A run that maps the items does more, and holds less: it runs the 100 nodes, and calls a "
    "function for each item with its Context and a result, after which the Context is let go. Each row here has the "
    "bytes at its peak beside it. Deep copies are measured up to where a sample would take 5 s (0.2 s with `--quick`), "
    "and extrapolated from there; the suite's own table says from how many items.",
)  # fmt: skip
EXAMPLE_RUNS = Table(
    "examples",
    (
        Original(
            "health check of 1,000 servers", "1 GB, 50 ms before; 40 KB, 0.21 ms after",
            _example("health check of 1,000 servers", 1_000),
            "Here: an async function per server, at most 100 at once, with a retry and a time limit; failures are "
            "collected and logged. `docs/examples/health_check.py` adds a network that takes its time.",
        ),
        Original(
            "notifications to 5,000 users", "5 GB, 250 ms, 20,000/s before; 200 KB, 1.05 ms, 4,761,905/s after",
            {
                **_example("notifications to 5,000 users, one per call", 5_000),
                "the whole run, 100 per call": Ours(
                    "context", "examples", EXAMPLES, "notifications to 5,000 users, 100 per call", 5_000
                ),
            },
            "Here: one call in ten fails at first and is repeated; each publishes what it sent. "
            "`docs/examples/notify.py` adds a service that takes its time.",
        ),
        Original(
            "10,000 log entries", "10 GB+, 500 ms before; 400 KB, 2.1 ms after",
            _example("10,000 log entries", 10_000),
            "Here: a generator makes the entries, of about 1 KB; a filter, a map and a reduction go through them one "
            "by one, so that few are held at a time. `docs/examples/log_entries.py` is much the same.",
        ),
    ),
    "The original's figures after are 210 ns and 40 bytes for each item: the cost of the contexts alone. No server is "
    "asked, no notification sent and no entry read in that time. The whole runs here do all of the work but wait for "
    "nobody; beside them stand the contexts alone, which is what to compare with. The rows have the "
    "bytes at the peak beside the time, and items per second (`per_s`) in the suite's own table.",
)  # fmt: skip
BESIDES = Table(
    "besides",
    (
        Original(
            "lock contention with 100 concurrent completions", "asked for, no figure",
            {
                "one by one": _contention("100 threads, each notes its own", 100),
                "batched": _contention("100 threads hand in, one notes the batch", 100),
                "one thread alone": _contention("one thread, one by one: nobody else wants the lock", 100),
                "locks taken, one by one": _contention("locks taken: one by one"),
                "locks taken, batched": _contention("locks taken: batched"),
                "locks taken in a run": _contention("locks taken: a run of 100 nodes in threads"),
            },
            "A completion here notes a status in a `StatusTracker` and an output in a `WorkflowData` with "
            "`locked=True`: a lock each, and as many in a batch, because neither has a call that notes many at once. "
            "Most of the time is the threads' waking up; the row of a thread alone says what noting takes. A run does "
            "neither: one thread notes whatever ends, and takes none of flow's locks. Those that are counted for a run "
            "of 100 nodes in threads belong to the standard library.",
        ),
        Original(
            "completion by events instead of a 100 ms poll", "asked for, no figure",
            {
                "sync": _handover("sync, without a loop"),
                "async, not suspended": _handover("async that does not suspend"),
                "async, after a wait": _handover("async that has waited"),
                "in a thread": _handover("sync in a thread"),
            },
            "Here: from the end of a node to the start of the node that waits for it. A poll every "
            "100 ms would add 0 to 100 ms to that.",
        ),
        Original("state written behind", "10 to 100 times fewer writes", "comes with stored runs: nothing is written"),
        Original(
            "context export and import",
            "asked for, no figure",
            "no row: `ctx.export()`, `Context.from_export` (docs/data.md)",
        ),
        Original("templates", "asked for, no figure", FILES),
        Original("nested JSON rendering", "asked for, no figure", f"{FILES}: it is a template's work"),
        Original("conditions", "asked for, no figure", f"{FILES}, as `when`"),
        Original(
            "publish", "asked for, no figure",
            Ours("context", "examples", EXAMPLES, "notifications to 5,000 users, one per call", 5_000),
            f"Here: `ctx.publish` in each item of the map, as part of the run. As the key of a task, it {FILES}.",
        ),
        Original(
            "item context", "asked for, no figure",
            Ours("context", "child", CHILDREN, "ctx.child, 100 results"),
            "Here: a Context with an item and its index, over what the run holds.",
        ),
    ),
)  # fmt: skip
ADVICE = (
    ("share the context among items instead of cloning it", "`ctx.child` and every map do: an item costs the same "
     "however much the run holds"),
    ("take the lock once for all that follows a completion", "a run takes none: one thread drives it"),
    ("wait for events, do not poll", "every driver is told of each end"),
    ("write the state of many completions at once", "comes with stored runs"),
)  # fmt: skip
SOURCE = Source("Attune (Rust)", "not stated", (CONTEXT, WITH_ITEMS, EXAMPLE_RUNS, BESIDES), ADVICE)
