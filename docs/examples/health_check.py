"""Ask 1,000 servers how they are, at most 100 at once; some are down, some answer only when asked again."""

from collections import Counter

import anyio

import flow


class Network:
    """Servers that answer after a while, or do not; it notes how many are asked at once."""

    def __init__(self) -> None:
        self.now = self.most = 0

    async def ask(self, server: int, attempt: int) -> int:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await anyio.sleep(0.0005 * (1 + server % 3))
            if server % 250 == 7:
                raise ConnectionRefusedError(f"srv-{server} is down")
            if server % 100 == 42 and attempt == 1:
                raise TimeoutError(f"srv-{server} did not answer")
            return 200 if server % 50 else 503
        finally:
            self.now -= 1


def build(network: Network) -> flow.Dag:
    dag = flow.Dag("health")
    dag.add("servers", lambda: range(1000))

    async def check(server: int, ctx: flow.Context) -> int:
        return await network.ask(server, ctx.attempt)

    retry = flow.Retry(2, delay=0.001, retry_if=TimeoutError)
    dag.map("checks", check, over="servers", concurrency=100, on_error="collect", retry=retry, timeout=30.0)

    @dag.node
    def report(checks: flow.MapResult[int]) -> str:
        by_status = ", ".join(f"{count} x {status}" for status, count in sorted(Counter(checks).items()))
        down = ", ".join(str(error) for error in checks.errors.values())
        return f"{checks.completed} of {len(checks)} answered: {by_status}\n{checks.failed} failed: {down}"

    return dag


def main() -> None:
    network = Network()
    result = flow.run(build(network))
    print(result["report"])
    print("never more than 100 at once:", network.most <= 100)


if __name__ == "__main__":
    main()
