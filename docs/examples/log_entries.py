"""Go through 10,000 log entries that a generator reads one by one: only what is kept takes memory."""

import tracemalloc
from collections.abc import Iterator

import flow

SERVICES = ("api", "billing", "search")
dag = flow.Dag("log")
Times = dict[str, list[int]]


@dag.node
def entries(count: int) -> Iterator[str]:
    for k in range(count):
        status = 500 if k % 40 == 0 else 200
        yield f"{SERVICES[k % 3]} {status} {k % 97 + k % 3} ms " + f"request {k} " * 80


def failed(entry: str) -> bool:
    return entry.split(" ", 2)[1] == "500"


def parse(entry: str) -> tuple[str, int]:
    service, _, milliseconds, _ = entry.split(" ", 3)
    return service, int(milliseconds)


def by_service(so_far: Times, failure: tuple[str, int]) -> Times:
    service, milliseconds = failure
    return {**so_far, service: [*so_far.get(service, []), milliseconds]}


dag.filter("failures", failed, over="entries")
dag.map("parsed", parse, over="failures")
dag.reduce("times", by_service, over="parsed", start=Times())
dag.map("report", lambda times: f"{len(times)} failed, slowest {max(times)} ms", over="times")  # a dict: by its keys


def main() -> None:
    tracemalloc.start()
    result = flow.run(dag, {"count": 10_000})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    print(f"{len(result['failures'])} of 10000 entries failed")
    for service, line in result["report"].items():
        print(f"{service}: {line}")
    print("10 MB of entries went through; held at a time, less than 3 MB:", peak < 3_000_000)


if __name__ == "__main__":
    main()
