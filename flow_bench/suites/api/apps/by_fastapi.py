"""The same work as an app of FastAPI: models of pydantic, a key by a dependency, the run in the handler."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel

from flow_bench.suites.api import order, serving

KEY = serving.Secret()
PLAN = order.order().compile()


class Line(BaseModel):  # type: ignore[misc]
    """A line of an order."""

    name: str
    count: int
    price: float


class Inputs(BaseModel):  # type: ignore[misc]
    """An order."""

    customer: str
    lines: list[Line]
    note: str


class Asked(BaseModel):  # type: ignore[misc]
    """A request for a run."""

    inputs: Inputs


class Answer(BaseModel):  # type: ignore[misc]
    """A run that has ended."""

    id: str
    status: str
    outputs: dict[str, Any]
    errors: dict[str, str]
    counts: dict[str, int]
    seconds: float


bearer = HTTPBearer()


async def has_key(given: Annotated[HTTPAuthorizationCredentials, Depends(bearer)]) -> None:
    """Let in who has the key. Async, or a thread would be asked."""
    if not KEY.is_it(given.credentials):
        raise HTTPException(401, "a key that nobody has")


app = FastAPI()


@app.post(order.PATH, dependencies=[Depends(has_key)])  # type: ignore[untyped-decorator]
async def run(asked: Asked) -> Answer:
    """Run the workflow here: it takes less than a thread would."""
    inputs = asked.inputs
    result = order.run(PLAN, inputs.customer, inputs.lines, inputs.note)
    return Answer(
        id=result.run_id,
        status="completed" if result.ok else "failed",
        outputs={name: value for name, value in result.outputs.items() if name == "receipt"},
        errors={name: str(error) for name, error in result.errors.items()},
        counts={str(status): count for status, count in result.counts.items()},
        seconds=round(result.wall_time, 6),
    )


if __name__ == "__main__":
    serving.serve(app, KEY.text)
