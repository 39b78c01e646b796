"""Workflows in a web app of one's own: the service is an ASGI app, mounted beside the app's routes.

With FastAPI it is the same line: app.mount("/flows", service).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx
from starlette.applications import Starlette
from starlette.routing import Mount

import flow

dag = flow.Dag("quote")


@dag.node
def price(items: list[str]) -> int:
    return sum(len(item) * 10 for item in items)


@dag.node
def total(price: int, rate: int = 19) -> int:
    return price + price * rate // 100


service = flow.http.Service({"quote": dag}, hosts=["shop.example"])


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    await service.start()  # with a store: goes on with what the last process has left
    yield
    await service.drain(grace=30.0)


app = Starlette(routes=[Mount("/flows", service)], lifespan=lifespan)


async def ask() -> None:
    """Ask the app without a server: the same requests come over HTTP."""
    transport = httpx.ASGITransport(app=app)
    async with lifespan(app), httpx.AsyncClient(transport=transport, base_url="http://shop.example/flows") as client:
        runs = "/api/v1/workflows/quote/runs"
        answer = await client.post(runs, json={"inputs": {"items": ["lamp"]}, "run_id": "order-1"})
        print(answer.status_code, answer.json()["outputs"])
        wrong = await client.post(runs, json={"inputs": {"items": "lamp", "rat": 7}})
        faults = [f"{fault['pointer']}: {fault['detail']}" for fault in wrong.json()["errors"]]
        print(wrong.status_code, *faults, sep="\n  ")
        print((await client.get("/api/v1/runs/order-1")).json()["status"])


def main() -> None:
    asyncio.run(ask())


if __name__ == "__main__":
    main()
