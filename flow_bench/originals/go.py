"""The tables of Flow Orchestrator (Go).

What an operation does there is told from the code of its benchmarks that is published beside these figures
(``internal/workflow/benchmark``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from flow_bench.originals.table import Original, Ours, Source, Table

Beside: TypeAlias = Ours | dict[str, Ours] | str

FIGURES = """
BenchmarkDAGConstructionPerformance/DAGConstruction_10_Nodes-10 366826 3362 ns/op 2058 B/op 29 allocs/op
BenchmarkDAGConstructionPerformance/DAGConstruction_100_Nodes-10 62931 17930 ns/op 18381 B/op 215 allocs/op
BenchmarkDAGConstructionPerformance/DAGConstruction_1000_Nodes-10 6541 173131 ns/op 221292 B/op 2027 allocs/op
BenchmarkDAGConstructionPerformance/DAGConstruction_10000_Nodes-10 642 1943485 ns/op 1993987 B/op 20087 allocs/op
BenchmarkDAGConstructionPerformance/DAGTopologyCreation/LinearDAG-10 42685 27808 ns/op 20659 B/op 512 allocs/op
BenchmarkDAGConstructionPerformance/DAGTopologyCreation/DiamondDAG-10 29095 50106 ns/op 24325 B/op 711 allocs/op
BenchmarkDAGConstructionPerformance/DAGTopologyCreation/BinaryTreeDAG-10 38060 29031 ns/op 20660 B/op 512 allocs/op
BenchmarkDAGConstructionPerformance/DAGTopologyCreation/RandomDAG-10 4591 265029 ns/op 71105 B/op 3584 allocs/op
BenchmarkWorkflowDataConfigurations/Default_Size_10-10 46012 24592 ns/op 3674 B/op 118 allocs/op
BenchmarkWorkflowDataConfigurations/ReadOptimized_Size_10-10 49197 24272 ns/op 3670 B/op 118 allocs/op
BenchmarkWorkflowDataConfigurations/HighConcurrency_Size_10-10 48284 24123 ns/op 3659 B/op 118 allocs/op
BenchmarkWorkflowDataConfigurations/MetricsDisabled_Size_10-10 77787 15128 ns/op 3641 B/op 118 allocs/op
BenchmarkWorkflowDataConfigurations/MetricsSampled_Size_10-10 42456 27874 ns/op 3664 B/op 118 allocs/op
BenchmarkArenaAllocation/Size_8/Standard-10 134178489 8.409 ns/op 8 B/op 1 allocs/op
BenchmarkArenaAllocation/Size_8/Arena-10 79298865 14.63 ns/op 8 B/op 0 allocs/op
BenchmarkArenaAllocation/Size_64/Standard-10 66753661 16.37 ns/op 64 B/op 1 allocs/op
BenchmarkArenaAllocation/Size_64/Arena-10 61020696 22.04 ns/op 64 B/op 0 allocs/op
BenchmarkArenaAllocation/Size_256/Standard-10 13763095 86.89 ns/op 256 B/op 1 allocs/op
BenchmarkArenaAllocation/Size_256/Arena-10 27973005 45.88 ns/op 256 B/op 0 allocs/op
BenchmarkArenaAllocation/Size_1024/Standard-10 5933469 198.6 ns/op 1024 B/op 1 allocs/op
BenchmarkArenaAllocation/Size_1024/Arena-10 10028239 162.0 ns/op 1026 B/op 0 allocs/op
BenchmarkArenaAllocation/Size_4096/Standard-10 1908188 560.0 ns/op 4096 B/op 1 allocs/op
BenchmarkArenaAllocation/Size_4096/Arena-10 2671615 723.2 ns/op 4103 B/op 0 allocs/op
BenchmarkFocusedStringInterning/IndividualIntern-10 278716 4006 ns/op 0 B/op 0 allocs/op
BenchmarkFocusedStringInterning/BatchIntern-10 319123 3537 ns/op 1792 B/op 1 allocs/op
BenchmarkFocusedStringInterning/GlobalIntern-10 342747 3425 ns/op 0 B/op 0 allocs/op
BenchmarkFocusedStringInterning/GlobalBatchIntern-10 347761 3476 ns/op 1792 B/op 1 allocs/op
BenchmarkFocusedStringInterning/ArenaStringPoolIntern-10 435004 2934 ns/op 0 B/op 0 allocs/op
BenchmarkFocusedStringInterning/ArenaStringPoolBatchIntern-10 411831 3064 ns/op 1792 B/op 1 allocs/op
BenchmarkArenaReset/Count_10/NewArena-10 319143 3640 ns/op 65640 B/op 3 allocs/op
BenchmarkArenaReset/Count_10/ResetArena-10 8044204 149.6 ns/op 0 B/op 0 allocs/op
BenchmarkArenaReset/Count_100/NewArena-10 222246 5146 ns/op 65640 B/op 3 allocs/op
BenchmarkArenaReset/Count_100/ResetArena-10 826288 1395 ns/op 0 B/op 0 allocs/op
BenchmarkArenaReset/Count_1000/NewArena-10 69050 17592 ns/op 65640 B/op 3 allocs/op
BenchmarkArenaReset/Count_1000/ResetArena-10 86534 13857 ns/op 1 B/op 0 allocs/op
BenchmarkFocusedConcurrency/Light_10/DirectGoroutines-10 9628 125280 ns/op 1229 B/op 21 allocs/op
BenchmarkFocusedConcurrency/Light_10/LimitedConcurrency-10 3115 361852 ns/op 1419 B/op 22 allocs/op
BenchmarkFocusedConcurrency/Medium_100/DirectGoroutines-10 6879 165986 ns/op 12035 B/op 201 allocs/op
BenchmarkFocusedConcurrency/Medium_100/LimitedConcurrency-10 398 3027835 ns/op 13117 B/op 203 allocs/op
BenchmarkFocusedConcurrency/Heavy_1000/DirectGoroutines-10 2158 603042 ns/op 120250 B/op 2001 allocs/op
BenchmarkFocusedConcurrency/Heavy_1000/LimitedConcurrency-10 38 32678541 ns/op 133963 B/op 2049 allocs/op
BenchmarkScalability/Nodes_10-10 10000 100200 ns/op 112 B/op 2 allocs/op
BenchmarkScalability/Nodes_100-10 1000 1002000 ns/op 1120 B/op 20 allocs/op
BenchmarkScalability/Nodes_1000-10 100 10020000 ns/op 11200 B/op 200 allocs/op
BenchmarkScalability/ConcurrencyScaling/Workers=1-10 100 10020000 ns/op 1120 B/op 20 allocs/op
BenchmarkScalability/ConcurrencyScaling/Workers=2-10 200 5010000 ns/op 1120 B/op 20 allocs/op
BenchmarkScalability/ConcurrencyScaling/Workers=4-10 400 2505000 ns/op 1120 B/op 20 allocs/op
BenchmarkScalability/ConcurrencyScaling/Workers=8-10 800 1252500 ns/op 1120 B/op 20 allocs/op
BenchmarkScalability/ConcurrencyScaling/Workers=16-10 1600 626250 ns/op 1120 B/op 20 allocs/op
BenchmarkScalability/ConcurrencyScaling/Workers=32-10 3200 313125 ns/op 1120 B/op 20 allocs/op
BenchmarkWorkflowDataSetGet/Size_10-10 1901974 790.6 ns/op 48 B/op 4 allocs/op
BenchmarkWorkflowDataSetGet/Size_100-10 1962964 621.3 ns/op 48 B/op 4 allocs/op
BenchmarkWorkflowDataSetGet/Size_1000-10 1880221 631.0 ns/op 54 B/op 4 allocs/op
BenchmarkWorkflowDataDependencyResolution/Linear_Size_10-10 180638 6415 ns/op 0 B/op 0 allocs/op
BenchmarkWorkflowDataDependencyResolution/Linear_Size_100-10 6871 236719 ns/op 9 B/op 0 allocs/op
BenchmarkWorkflowDataDependencyResolution/Linear_Size_1000-10 86 15214251 ns/op 1125 B/op 4 allocs/op
BenchmarkWorkflowDataDependencyResolution/Diamond_Size_10-10 180734 6621 ns/op 0 B/op 0 allocs/op
BenchmarkWorkflowDataDependencyResolution/Diamond_Size_100-10 6862 172992 ns/op 9 B/op 0 allocs/op
BenchmarkWorkflowDataDependencyResolution/Diamond_Size_1000-10 85 13545006 ns/op 828 B/op 3 allocs/op
BenchmarkWorkflowDataArenaComparison/Size_10/Standard-10 70388 16929 ns/op 641 B/op 60 allocs/op
BenchmarkWorkflowDataArenaComparison/Size_10/Arena-10 66560 18286 ns/op 2779 B/op 87 allocs/op
BenchmarkWorkflowDataArenaComparison/Size_10/ArenaCustomBlock-10 65562 17926 ns/op 2781 B/op 87 allocs/op
BenchmarkWorkflowDataArenaComparison/Size_100/Standard-10 7035 171867 ns/op 6420 B/op 600 allocs/op
BenchmarkWorkflowDataArenaComparison/Size_100/Arena-10 6475 185446 ns/op 26743 B/op 813 allocs/op
BenchmarkWorkflowDataArenaComparison/Size_1000/Standard-10 619 2859790 ns/op 94691 B/op 8976 allocs/op
BenchmarkWorkflowDataArenaComparison/Size_1000/Arena-10 530 2482775 ns/op 434359 B/op 11008 allocs/op
"""
"""Name, iterations, and what one operation takes: as printed there."""

NOT_PRINTED = "no figure is printed"
SIZES = (10, 100, 1_000)
SHAPES = {"LinearDAG": "linear", "DiamondDAG": "diamond", "BinaryTreeDAG": "tree", "RandomDAG": "random p=0.3"}
ADD, ADD_AND_COMPILE = "Dag.add of every node", "Dag.add of every node, then compile"


def printed() -> dict[str, str]:
    """The figures per operation, by name."""
    found = {}
    for line in FIGURES.strip().splitlines():
        name, _, figures = line.split(" ", 2)
        found[name] = figures.replace("/op ", "/op, ")
    return found


_PRINTED = printed()


def _row(name: str, ours: Beside, does: str = "") -> Original:
    name = f"Benchmark{name}-10"
    return Original(name, _PRINTED.get(name, NOT_PRINTED), ours, does)


# -- graphs ----------------------------------------------------------------------------------


def _construction() -> Iterator[Original]:
    for nodes in (*SIZES, 10_000):
        ours = {
            label: Ours("dag", "definition", "definition, per node", label, nodes, "linear", nodes)
            for label in (ADD, ADD_AND_COMPILE)
        }
        yield _row(f"DAGConstructionPerformance/DAGConstruction_{nodes}_Nodes", ours)
    for name, shape in SHAPES.items():
        ours = {
            label: Ours("dag", "topologies", "topologies", f"{label}, per node", 100, shape, 100)
            for label in (ADD, ADD_AND_COMPILE)
        }
        yield _row(f"DAGConstructionPerformance/DAGTopologyCreation/{name}", ours)


def _resolution() -> Iterator[Original]:
    for name, shape in (("Linear", "linear"), ("Diamond", "diamond")):
        for nodes in SIZES:
            edges = nodes - 1 if shape == "linear" else 2 * nodes - 4
            asked, label = "is_runnable of every node, a third done", "Resolver, a third done, every node asked"
            yield _row(
                f"WorkflowDataDependencyResolution/{name}_Size_{nodes}",
                {
                    "a new Resolver, a third done, every node asked": Ours(
                        "dag", "resolution", "resolution, per edge", label, nodes, shape, edges
                    ),
                    "every node asked": Ours("dag", "asked", "resolution, per node asked", asked, nodes, shape, nodes),
                    "as many statuses set": _status("StatusTracker.set, per change", "status_tracking", nodes, nodes),
                },
            )


def _status(label: str, only: str, nodes: int, times: int = 1) -> Ours:
    return Ours("dag", only, "status tracking", label, nodes, "statuses", times)


# -- the store -------------------------------------------------------------------------------

MIX = "a new store, 10 keys and 5 nodes: set, get, status, output, JSON, all of it"
NOTED = "a key, a status and an output set + got for every node, per node"


def _configuration(label: str) -> Ours:
    return Ours("data", "configurations", MIX, label, 10)


def _configurations() -> Iterator[Original]:
    absent = "The setting is not in that version's code: the name stands for the default there."
    sampled = {f"{percent} % of the operations": f"metrics sampled, {percent} %" for percent in (1, 10, 20)}
    ours: dict[str, tuple[Beside, str]] = {
        "Default": (_configuration("default"), ""),
        "ReadOptimized": (_configuration("read_optimized"), f"{absent} Here: metrics off, and the dict's own get."),
        "HighConcurrency": (
            {
                "default": _configuration("default"),
                "locked=True": _configuration("high concurrency: a lock for each operation"),
            },
            f"{absent} It is no preset here: with the GIL the default takes no lock, so there is none to divide. "
            "With locked=True each operation takes one.",
        ),
        "MetricsDisabled": (_configuration("metrics_disabled"), ""),
        "MetricsSampled": (
            {what: _configuration(label) for what, label in sampled.items()},
            "1 % in the published code. Here the default counts and times nothing, and a sampled operation is timed.",
        ),
    }
    for name, (beside, does) in ours.items():
        yield _row(f"WorkflowDataConfigurations/{name}_Size_10", beside, does)


def _set_and_get() -> Iterator[Original]:
    for size in SIZES:
        label = "every key set, then every key got"
        ours = Ours("data", "keys", "set + get by number of keys, per key", label, size, "default")
        yield _row(f"WorkflowDataSetGet/Size_{size}", ours)


def _arena_or_standard() -> Iterator[Original]:
    for nodes in SIZES:
        for name, memory in (("Standard", "standard"), ("Arena", "arena"), ("ArenaCustomBlock", "arena, custom block")):
            protocols = ("kept", "reset", "new") if name == "Standard" else ("reset", "new")
            ours: Beside = {
                f"a store that is {protocol}": Ours("data", "arena", NOTED, memory, nodes, protocol, nodes)
                for protocol in protocols
            }
            yield _row(f"WorkflowDataArenaComparison/Size_{nodes}/{name}", ours)


# -- allocation ------------------------------------------------------------------------------

ONE, AGAIN = "allocations by bytes of each, per allocation", "an arena and 64 bytes added so many times, all of it"
INTERNED = "100 strings interned that were seen before, half of them repeated, all of it"


def _allocation() -> Iterator[Original]:
    def ours(label: str, size: int) -> Ours:
        return Ours("allocation", "single", ONE, label, size)

    for size in (8, 64, 256, 1_024, 4_096):
        standard = {
            "made, one byte written": ours("bytearray(size), one byte written", size),
            "copied": ours("bytes(source), a copy", size),
        }
        yield _row(f"ArenaAllocation/Size_{size}/Standard", standard)
        yield _row(f"ArenaAllocation/Size_{size}/Arena", ours("Arena.add(source), a copy", size))


def _interning() -> Iterator[Original]:
    def ours(label: str) -> Ours:
        return Ours("allocation", "interning", INTERNED, label, 100)

    python = "Here: the interpreter's own table, which has no bound."
    handles = "There a string comes back; here a number, the handle, from which a string is made when it is read."
    for name, beside, does in (
        ("IndividualIntern", ours("StringPool.intern, one by one"), ""),
        ("BatchIntern", ours("StringPool.intern_many"), ""),
        ("GlobalIntern", ours("sys.intern, one by one"), python),
        ("GlobalBatchIntern", ours("map(sys.intern)"), python),
        ("ArenaStringPoolIntern", ours("ArenaStrings.add, one by one"), handles),
        (
            "ArenaStringPoolBatchIntern",
            {
                "handles": ours("ArenaStrings.add_many"),
                "and strings again": ours("ArenaStrings.add_many, and each read back"),
            },
            handles,
        ),
    ):
        yield _row(f"FocusedStringInterning/{name}", beside, does)


def _reset() -> Iterator[Original]:
    for count in SIZES:
        for name, label in (("NewArena", "a new Arena each time"), ("ResetArena", "one Arena, reset each time")):
            yield _row(f"ArenaReset/Count_{count}/{name}", Ours("allocation", "reset", AGAIN, label, count))


# -- many at once ----------------------------------------------------------------------------


def _concurrency() -> Iterator[Original]:
    def ours(section: str, label: str, tasks: int) -> Ours:
        only = "four" if section.startswith("4") else "limits"
        return Ours("concurrency", only, section, label, tasks)

    for name, tasks in (("Light_10", 10), ("Medium_100", 100), ("Heavy_1000", 1_000)):
        for kind, bare, flow, at_once in (
            ("DirectGoroutines", "bare eager tasks", "flow, unbounded", "tasks at once"),
            ("LimitedConcurrency", "bare tasks, Semaphore(4)", "flow, limit=4", "4 tasks at a time"),
        ):
            beside = {
                f"{who}, {work}": ours(f"{at_once}: {work}", label, tasks)
                for who, label in (("bare asyncio", bare), ("flow", flow))
                for work in ("wait 100 us", "no-op")
            }
            yield _row(f"FocusedConcurrency/{name}/{kind}", beside)


def _scalability() -> Iterator[Original]:
    for nodes in SIZES:
        beside: Beside = {
            "every node run": Ours("workflow", "scalability", "scalability", "a chain of no-op nodes", nodes, "sync"),
            "each outcome known, no node run": Ours(
                "workflow", "scalability", "scalability", "the same, each outcome known: no node is called", nodes,
                "sync",
            ),
        }  # fmt: skip
        yield _row(f"Scalability/Nodes_{nodes}", beside)
    for workers in (1, 2, 4, 8, 16, 32):
        label, waiting = '99 no-op nodes after a known one, mode="workers"', "64 tasks that wait 1 ms"
        beside = {
            "99 no-op nodes": Ours("workflow", "workers", "workers", label, workers),
            waiting: Ours("concurrency", "workers", waiting, 'flow, mode="workers"', workers),
        }
        yield _row(f"Scalability/ConcurrencyScaling/Workers={workers}", beside)


# -- measured there without a printed figure -------------------------------------------------

SAVED, LOCK = "a store to bytes and back, a key and an output per node, all of it", "100 completions at one lock"


def _unprinted() -> Iterator[Original]:
    def saved(label: str, nodes: int) -> Ours:
        return Ours("data", "saved", SAVED, label, nodes)

    for nodes in SIZES:
        yield _row(
            f"NodeStatus/Size_{nodes}",
            {
                "set": _status("StatusTracker.set, per change", "status_tracking", nodes),
                "get": _status("tracker[name], per node", "status_reading", nodes),
            },
            "One status set and got.",
        )
    for nodes in SIZES:
        yield _row(
            f"SnapshotAndRestore/Size_{nodes}",
            {
                "to JSON and back": saved("to_json(), then from_json()", nodes),
                "a snapshot, without bytes": saved("snapshot(), then restore() into a new store", nodes),
            },
            "A snapshot there is JSON. Here it shares the values until the next write.",
        )
    for nodes in SIZES:
        yield _row(
            f"Serialization/Workflow_{nodes}Nodes/JSON_Save",
            {
                "a fresh buffer": saved("to_json(): a fresh buffer", nodes),
                "a fresh buffer, msgspec alone": saved("msgspec alone, unchecked: a fresh buffer", nodes),
                "a reused buffer, msgspec alone": saved("msgspec alone, unchecked: a reused buffer", nodes),
            },
            "There a file is written; here none. to_json() also looks for values that would not come back equal.",
        )
        yield _row(
            f"Serialization/Workflow_{nodes}Nodes/JSON_Load", saved("from_json()", nodes), "There a file is read."
        )
    yield _contention()
    yield from _scenarios()


def _contention() -> Original:
    def ours(label: str, times: int = 1) -> Ours:
        return Ours("concurrency", "contention", LOCK, label, 100, times=times)

    return _row(
        "FocusedConcurrency/HighContention",
        {
            "100 completions, each thread its own": ours("100 threads, each notes its own", 100),
            "100 completions, handed in and noted as a batch": ours("100 threads hand in, one notes the batch", 100),
            "100 threads that note nothing": ours("100 threads note nothing", 100),
            "locks taken, one by one": ours("locks taken: one by one"),
            "locks taken, batched": ours("locks taken: batched"),
        },
        "There 1,000 goroutines each add one to a counter under a mutex and sleep 10 us: no engine code. Here 100 "
        "completions are noted in a StatusTracker and a store, and the locks they take are counted.",
    )


def _scenarios() -> Iterator[Original]:
    for name, label, nodes in (
        ("E-CommerceCheckout", "e-commerce checkout", 12),
        ("ETLDataProcessing", "ETL", 13),
        ("APIOrchestration", "API orchestration", 10),
        ("ApprovalProcess", "approval", 10),
    ):
        yield _row(
            f"RealWorldScenarios/{name}",
            {
                "without waits": Ours("scenarios", "no_waits", "no waits", label, nodes),
                "with its waits": Ours("scenarios", "waits", "waits", label, nodes),
            },
            "There 5 or 6 nodes that set a key or two and wait for nothing. "
            f"Here {nodes} nodes that work (flow_bench/micro/workflows).",
        )


# -- what is recommended ---------------------------------------------------------------------

ADVICE = (
    (
        "Use arena allocation for workflows with 500+ nodes",
        'DataConfig(memory="arena"). Here an arena saves memory and never time: a node takes 5 to 6 times as long as '
        "with standard at 10, at 100 and at 1,000 nodes (python -m flow_bench data --only arena), for about a third of "
        "the bytes of small records (--only presets). Use it for very many small values that are kept, whatever the "
        "number of nodes.",
    ),
    ("Use standard allocation for small workflows (<100 nodes)", "The default, at every size."),
    (
        "Enable string interning for all workflows",
        'DataConfig(interning="pool"), which the preset production sets. No default: it saves bytes where strings '
        "repeat, and looking a string up costs more than keeping it (python -m flow_bench data --only memory; "
        "python -m flow_bench allocation --only interning).",
    ),
    (
        "Implement arena reset for repetitive workflow executions",
        "WorkflowData.reset(), WorkflowData.pool(), Arena.reset(). With 10 records a reset arena takes less time than "
        "a new one, with 1,000 the same (python -m flow_bench allocation --only reset).",
    ),
    (
        "Use direct goroutines for workflows with many lightweight tasks",
        "The default: without a limit every node that is ready is started.",
    ),
    ("Implement worker pools only when resource control is critical", 'Config(limit=...), or with mode="workers".'),
    (
        "Scale worker count based on available CPU cores (typically 2x logical cores)",
        "No such default. Nodes that compute share the GIL, so more workers do not make them faster "
        "(python -m flow_bench workflow --only workers). How many waits may overlap depends on what they wait for: "
        "Config(limit=...) for async nodes, Config(threads=...) for nodes in threads "
        "(python -m flow_bench concurrency --only workers).",
    ),
    ("Consider adaptive concurrency based on workflow characteristics", 'Config(limit="auto").'),
    (
        "Optimize dependency resolution algorithm for large workflows",
        "Each node has a count of the nodes it waits for, which each completion lowers: the time per edge does not "
        "grow from 10 to 1,000 nodes (python -m flow_bench dag --only resolution).",
    ),
    (
        "Consider caching dependency resolution results for repeated executions",
        "A plan keeps its order and each node's successors from run to run; after 2,000 runs code is generated for "
        "the order (python -m flow_bench core --only hot).",
    ),
    (
        "Implement incremental dependency resolution for dynamic workflows",
        "Resolver.add takes nodes while others are done (python -m flow_bench dag --only growing), and a Dag that has "
        "grown compiles what is new (--only compiling_again).",
    ),
    (
        "Use sampled metrics in production (10-20% sampling rate)",
        'DataConfig(metrics="sampled", sample_rate=0.1). Here counting everything, the default, takes less time than '
        "timing 10 or 20 % (python -m flow_bench data --only configurations). Sample to know latencies; 1 % tells them "
        "where operations are many.",
    ),
    ("Disable metrics for performance-critical workflows", 'DataConfig.preset("metrics_disabled").'),
    (
        "Implement conditional metrics based on workflow importance",
        "`Config(data=rule)`: a rule chooses each run's DataConfig (docs/from-flow-orchestrator.md).",
    ),
    (
        "Pre-allocate node capacity for known workflow sizes",
        "Measured, and not given: room for all names made beforehand would save less than 5 % of Dag.add. That is the "
        "difference of a dict and a list that grow and of those that need not "
        "(python -m flow_bench allocation --only room).",
    ),
    (
        "Avoid random DAG topologies when possible",
        "Nothing to avoid: a graph costs by its edges, and per edge a random one costs less than a chain "
        "(python -m flow_bench dag --only topologies).",
    ),
    (
        "Consider topology-specific optimizations for common patterns",
        "Code is generated for the sync stretches of any graph; a Dag of sync functions runs without an event loop.",
    ),
    (
        "Implement workflow caching for frequently executed workflows",
        "A Dag keeps its plan: compiling an unchanged one again returns the same plan "
        "(python -m flow_bench dag --only compiling_again). Results of runs are not cached: see docs/experiments.md.",
    ),
    (
        "Use topology-aware scheduling for complex workflows",
        'Config(order="critical_path") with cost= at the nodes; priority= at single nodes.',
    ),
    (
        "Consider specialized execution paths for common workflow patterns",
        "Chosen for each run by what the plan holds: no event loop for sync nodes, generated code for a hot plan, maps "
        "(Dag.map) for the same call of many items. See docs/performance.md.",
    ),
)

SOURCE = Source(
    "Flow Orchestrator (Go)",
    "10 cores (the `-10` behind each name); the processor is not stated",
    (
        Table(
            "DAG construction and topologies", tuple(_construction()),
            "There a graph is made by NewNode, AddNode and AddDependency, which check that names are new and known. "
            "Cycles are looked for later, in Validate, which is not timed. Dag.add does about that; compile checks "
            "everything and makes the order, and a Dag is compiled before it runs. Nothing is run.",
        ),
        Table(
            "WorkflowData configurations", tuple(_configurations()),
            "One operation uses a new store: 10 keys set and got, 5 statuses and 5 outputs set and got, and all of it "
            "written as JSON; keys and values are formatted within the operation. Here statuses are kept by a "
            "StatusTracker, which refuses illegal changes, and outputs are further keys of the store. No node is run.",
        ),
        Table(
            "Arena allocation", tuple(_allocation()),
            "There both sides make zeroed bytes and write one of them. An Arena here has no empty records: it copies "
            "bytes in and gives a handle, so a copy by bytes() stands beside it. Here both sides make as many as "
            "fill a block of 64 KB, and then drop them all, the arena too: each bears its share of making these.",
        ),
        Table(
            "String interning", tuple(_interning()),
            "One operation interns 100 strings. All have been interned before, there too: what is timed is finding "
            "them. (python -m flow_bench data --only memory times strings that are new.)",
        ),
        Table(
            "Arena reset", tuple(_reset()),
            "Both sides add so many records of 64 bytes; ResetArena resets before. There the bytes are left as they "
            "are, here they are copied in.",
        ),
        Table(
            "Direct and limited concurrency", tuple(_concurrency()),
            "No engine code runs in the original's rows: goroutines that sleep 100 us, and the same behind a channel "
            "of 4, so both are bound by the timer. asyncio's timer has a resolution of 1 ms on Linux: a wait of 100 us "
            "takes 1.1 ms here. The rows of no-ops say what starting and counting tasks costs without it. Beside bare "
            "asyncio stand runs of flow.",
        ),
        Table(
            "Scalability by nodes and workers", tuple(_scalability()),
            "These rows of the original execute nothing. Nodes_N marks every node completed before it calls the "
            "executor, which passes over all of them. The times by workers halve exactly, their iterations double "
            "exactly, and each row has 20 allocations, fewer than a goroutine for each of 99 nodes would take. (The "
            "published code would start these goroutines.) Here nodes are run. Beside the chains stands a run whose "
            "outcomes are all known, which calls no node either; known outcomes are checked one by one, so it takes "
            "longer than a run of no-ops.",
        ),
        Table(
            "Set and get", tuple(_set_and_get()),
            "One operation sets and gets one key of so many. There the key and the value are formatted within it.",
        ),
        Table(
            "Dependency resolution", tuple(_resolution()),
            "One operation sets the status of every node, a third of them to completed, and asks of every node whether "
            "it may run. There the question goes through the statuses of all nodes for names that stand for "
            "dependencies. The benchmark sets none, so no dependency is looked up, and the time grows with the square "
            "of the nodes. Here the dependencies are those of the graph, and the answers are checked. No node is run.",
        ),
        Table(
            "Arena beside standard", tuple(_arena_or_standard()),
            "One operation sets and gets a key, a status and an output for every node. There the arena is reset before "
            "each operation and the standard store never is: it overwrites what it holds. Here both are reset, both "
            "are new, and the standard store is also kept. A block of ArenaCustomBlock has 4,096 bytes for each 10 "
            "nodes, and 4,096 more. No node is run.",
        ),
        Table(
            "Measured there without a printed figure", tuple(_unprinted()),
            "The benchmarks are in the code; the analysis prints no figures of them.",
        ),
    ),
    ADVICE,
)  # fmt: skip
