"""A training pipeline that fails at night, and goes on in the morning: what has completed is not computed again."""

import tempfile
from pathlib import Path

import flow

called: list[str] = []
memory = {"GB": 8}
dag = flow.Dag("training")


@dag.node
def files() -> list[str]:
    called.append("files")
    return ["january.csv", "february.csv", "march.csv"]


def features(file: str) -> dict[str, int]:
    called.append(f"features of {file}")
    return {"size": len(file), "vowels": sum(file.count(vowel) for vowel in "aeiou")}


dag.map("features", features, over="files", retry=flow.Retry(3))


@dag.node
def model(features: list[dict[str, int]]) -> float:
    called.append("model")
    if memory["GB"] < 16:
        raise MemoryError("the model does not fit")
    return sum(row["vowels"] for row in features) / sum(row["size"] for row in features)


@dag.node
def report(model: float) -> str:
    return f"{model:.2f} vowels per letter"


def run(path: Path) -> str:
    """What a scheduler calls each night, and a person in the morning: the same line."""
    with flow.store.open(path) as store:
        return flow.run(dag, run_id="2026-03-02", store=store, on_conflict="retry")[report]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "runs.db")
        try:
            run(path)
        except flow.RunError as error:
            print(f"night: {error.exceptions[0]!r} after {len(called)} calls")
        called.clear()
        memory["GB"] = 32
        print(f"morning: {run(path)}; called: {', '.join(called)}")


if __name__ == "__main__":
    main()
