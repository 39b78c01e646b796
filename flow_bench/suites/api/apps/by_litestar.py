"""The same work as an app of Litestar: structs of msgspec, a key by a guard, the run in the handler."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Litestar, post
from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException
from litestar.handlers import BaseRouteHandler

from flow_bench.suites.api import order, serving

KEY = serving.Secret()
PLAN = order.order().compile()


class Inputs(msgspec.Struct):
    """An order."""

    customer: str
    lines: list[order.Line]
    note: str


class Asked(msgspec.Struct):
    """A request for a run."""

    inputs: Inputs


class Answer(msgspec.Struct):
    """A run that has ended."""

    id: str
    status: str
    outputs: dict[str, Any]
    errors: dict[str, str]
    counts: dict[str, int]
    seconds: float


def has_key(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Let in who has the key."""
    scheme, _, given = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not KEY.is_it(given):
        raise NotAuthorizedException("a key that nobody has")


@post(order.PATH, guards=[has_key], status_code=200)  # type: ignore[untyped-decorator]
async def run(data: Asked) -> Answer:
    """Run the workflow here: it takes less than a thread would."""
    inputs = data.inputs
    result = order.run(PLAN, inputs.customer, inputs.lines, inputs.note)
    return Answer(
        id=result.run_id,
        status="completed" if result.ok else "failed",
        outputs={name: value for name, value in result.outputs.items() if name == "receipt"},
        errors={name: str(error) for name, error in result.errors.items()},
        counts={str(status): count for status, count in result.counts.items()},
        seconds=round(result.wall_time, 6),
    )


app = Litestar([run])

if __name__ == "__main__":
    serving.serve(app, KEY.text)
