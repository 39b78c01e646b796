"""Functions in other processes: an executor of one's own, by its name."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import flow


def primes_in(bounds: tuple[int, int]) -> int:
    """At the top of a module, where the other processes can import it."""
    return sum(n > 1 and all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(*bounds))


def build() -> flow.Dag:
    dag = flow.Dag("primes")
    dag.add("bounds", lambda parts, last: [(k * last // parts, (k + 1) * last // parts) for k in range(parts)])
    dag.map("counts", primes_in, over="bounds", executor="pool", retry=flow.Retry(2))
    dag.add("total", sum, needs=["counts"])
    return dag


def main() -> None:
    dag = build()
    inputs = {"parts": 4, "last": 40_000}
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        config = flow.Config(executors={"pool": pool})
        result = flow.run(dag, inputs, config=config)
        print(f"{result['counts']}: {result['total']} primes below 40000")

        dag.add("wrong", lambda total: total, executor="pool")
        try:
            flow.run(dag, inputs, config=config)
        except flow.UsageError as error:
            print("refused:", "node 'wrong'" in str(error), "cannot be pickled" in str(error))


if __name__ == "__main__":  # each process imports this file, and must not run this part
    main()
