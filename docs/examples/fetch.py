"""Fetch twelve pages, at most four at once, each tried up to three times; one never answers."""

import anyio

import flow


class Server:
    """A server that is down for one page and slow for all; it notes how many ask at once."""

    def __init__(self) -> None:
        self.now = self.most = 0

    async def get(self, page: str) -> str:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await anyio.sleep(0.002)
            if page == "page7":
                raise ConnectionError(f"{page} does not answer")
            return f"<{page}>"
        finally:
            self.now -= 1


def build(server: Server, pages: list[str]) -> flow.Dag:
    dag = flow.Dag("fetch")

    async def fetch(ctx: flow.Context) -> str:
        return await server.get(ctx.node)

    retry = flow.Retry(3, delay=0.5, retry_if=ConnectionError)
    for page in pages:
        dag.add(page, fetch, retry=retry, timeout=10)
    dag.add("index", lambda *texts: len(texts), needs=pages)
    return dag


def main() -> None:
    server, clock = Server(), flow.testing.FakeClock()
    pages = [f"page{k}" for k in range(1, 13)]
    config = flow.Config(limit=4, on_error="collect", clock=clock)
    result = flow.run(build(server, pages), config=config)
    print(f"{len(result)} of {len(pages)} pages, at most {server.most} at once")
    for page, error in result.errors.items():
        print(f"{page}: {result.attempts[page]} attempts, {type(error).__name__}: {error}")
    first, second = clock.slept
    print(f"waited {first:g} s, then {second:g} s (of a clock that is not real)")
    print("index", result.status["index"])


if __name__ == "__main__":
    main()
