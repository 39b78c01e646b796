"""The request that a service prints at its start: its inputs fit, whatever their types are."""

from __future__ import annotations

import datetime
import enum
import json
from typing import Annotated, Literal

import msgspec

import flow
from flow.http.server.sample import curl_of, inputs_for
from flow.http.values import Inputs


class Colour(enum.Enum):
    RED = "red"


class Part(msgspec.Struct):
    name: str
    count: Annotated[int, msgspec.Meta(ge=5)]
    note: str = ""


class Order(msgspec.Struct):
    parts: list[Part]
    colour: Colour
    day: datetime.date
    at: datetime.datetime
    ratio: Annotated[float, msgspec.Meta(gt=0, le=0.5)]
    kind: Literal["a", "b"]
    pair: tuple[int, str]
    by_name: dict[str, int]
    perhaps: int | None
    code: Annotated[str, msgspec.Meta(min_length=6)]
    steps: Annotated[int, msgspec.Meta(multiple_of=10)]
    given: str = "as it is"
    tags: list[str] = msgspec.field(default_factory=lambda: ["x"])


def test_plausible_inputs_fit_their_types() -> None:
    dag = flow.Dag("order", inputs=Order)

    @dag.node
    def node(parts: list[Part], colour: Colour) -> int:
        return len(parts)

    inputs = inputs_for(dag.compile())
    assert set(inputs) == set(Order.__struct_fields__)
    assert (inputs["given"], inputs["tags"]) == ("as it is", ["x"])
    Inputs(dag.compile()).read(json.loads(json.dumps(inputs)))  # else it raises a Problem


def test_a_name_with_signs_is_quoted_and_no_secret_is_shown() -> None:
    class Login(msgspec.Struct):
        token: Annotated[str, flow.Secret] = "that is mine"

    dag = flow.Dag("a#b", inputs=Login)

    @dag.node
    def node(token: str) -> int:
        return len(token)

    line = curl_of("http://127.0.0.1:1", "a#b", dag.compile(), "$FLOW_KEY")
    assert "/workflows/a%23b/runs" in line
    assert '-H "Authorization: Bearer $FLOW_KEY"' in line
    assert "mine" not in line
