"""Extract, transform, load: one Dag inlined twice (include), another run as a single node (add)."""

import flow

Rows = list[int]
SOURCES = {"north": [3, -1, 4], "south": [2, 9]}

extract = flow.Dag("extract")


@extract.node
def read(source: str) -> Rows:
    return SOURCES[source]


@extract.node
def clean(read: Rows) -> Rows:
    return [row for row in read if row >= 0]


quality = flow.Dag("quality")
quality.add("worst", lambda rows: min(rows))
quality.add("count", lambda rows: len(rows))


def merged(*parts: Rows) -> Rows:
    return [row for part in parts for row in part]


def build() -> flow.Dag:
    dag = flow.Dag("etl")
    for name in SOURCES:
        source = dag.add(f"{name}.source", lambda name=name: name)
        dag.include(extract, prefix=name, inputs={"source": source})
    dag.add("merge", merged, needs=[f"{name}.clean" for name in SOURCES])
    dag.add("quality", quality, needs={"rows": "merge"})

    @dag.node
    def store(merge: Rows, quality: dict[str, int]) -> str:
        return f"stored {quality['count']} rows of {sum(map(len, SOURCES.values()))}, worst value {quality['worst']}"

    return dag


def main() -> None:
    plan = build().compile()
    print(", ".join(name for name in plan if not name.endswith(".source")))
    print(flow.run(plan)["store"])
    part = flow.run(plan, targets=["north.clean"])
    print(f"only north: {len(part['north.clean'])} rows, {len(part)} of {len(plan)} nodes ran")


if __name__ == "__main__":
    main()
