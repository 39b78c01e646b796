"""/openapi.json: what the service says of itself is valid, whole, and what it does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from client import API, Got, serving
from faces import Order, Place, Strange, flows
from jsonschema import Draft202012Validator
from workflows import one, quick

import flow
from flow.http import Keys, Service, openapi
from flow.http.openapi.operations import OPERATIONS
from flow.http.routes import table


def document(workflows: Any, **options: Any) -> Any:
    options = {"keys": False, "root": "", **options}
    return json.loads(openapi.document(Service(workflows).workflows, **options))


def inputs_of(function: Any) -> Any:
    """The schema of what a Dag of one node takes."""
    return document({"one": one(function)})["components"]["schemas"]["one-inputs"]


def check(got: Got, method: str, path: str, told: Any) -> None:
    """Check that an answer is one that the document says of an operation."""
    responses = told["paths"][path][method.lower()]["responses"]
    assert str(got.status) in responses, (method, path, got)
    content = responses[str(got.status)].get("content")
    if content is None:
        assert not got.body
        return
    media = got.headers["content-type"].partition(";")[0]
    assert media in content, got
    if media.endswith("json"):
        schema = {**content[media]["schema"], "components": told["components"]}
        Draft202012Validator(schema).validate(got.json)


class Answer(msgspec.Struct):
    """Another class of a name that the service has too."""

    yes: bool


class TestDocument:
    def test_it_has_each_route(self) -> None:
        routes = {(entry.method, entry.path): entry.needs for entry in table()}
        assert routes.pop(("POST", f"{API}/workflows/{{name}}/runs")) == "run"  # each workflow has a path of its own
        assert {key: operation.needs for key, operation in OPERATIONS.items()} == routes

    def test_each_workflow_has_a_path(self) -> None:
        paths = document(flows())["paths"]
        assert {path for path in paths if path.endswith("/runs") and "workflows" in path} == {
            f"{API}/workflows/{name}/runs" for name in flows()
        }

    @pytest.mark.parametrize("keys", [False, True])
    def test_it_is_valid(self, keys: bool) -> None:
        schemathesis = pytest.importorskip("schemathesis")
        told = document({**flows(), "a_b.c+d": quick()}, keys=keys)
        schemathesis.openapi.from_dict(told).validate()
        ids = [operation["operationId"] for path in told["paths"].values() for operation in path.values()]
        assert len(ids) == len(set(ids))
        for name, schema in told["components"]["schemas"].items():
            assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"), name
            Draft202012Validator.check_schema(schema)
        known = {f"#/components/schemas/{name}" for name in told["components"]["schemas"]}
        assert set(refs(told)) <= known

    def test_its_version_and_its_server(self) -> None:
        told = document({"quick": quick()}, root="/flows")
        assert told["openapi"].startswith("3.1")
        assert told["info"]["version"] == flow.__version__
        assert told["servers"] == [{"url": "/flows"}]

    def test_keys(self) -> None:
        told = document({"quick": quick()}, keys=True)
        assert set(told["components"]["securitySchemes"]) == {"bearer", "key", "session"}
        run = told["paths"][f"{API}/workflows/quick/runs"]["post"]
        assert run["security"] == [{"bearer": []}, {"key": []}]  # no page can post by its session
        assert "401" in run["responses"]
        assert "security" not in told["paths"]["/live"]["get"]
        assert "securitySchemes" not in document({"quick": quick()})["components"]

    def test_a_service_with_a_store_has_no_targets(self) -> None:
        found = [document({"q": quick()}, stored=stored)["components"]["schemas"]["q-request"] for stored in (0, 1)]
        assert ["targets" in schema["properties"] for schema in found] == [True, False]


def refs(value: Any) -> Any:
    """Yield each reference."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if isinstance(value, dict) and isinstance(value.get("$ref"), str):
        yield value["$ref"]
    for part in parts:
        yield from refs(part)


class TestInputs:
    def test_types(self) -> None:
        schemas = document(flows())["components"]["schemas"]
        found = schemas["orders-inputs"]
        assert found["required"] == ["order", "day"]
        assert found["additionalProperties"] is False
        assert found["properties"]["day"] == {"type": "string", "format": "date"}
        assert found["properties"]["kind"] == {"enum": ["a", "b"], "default": "a"}
        assert found["properties"]["order"] == {"$ref": "#/components/schemas/Order"}
        assert schemas["Order"]["required"] == ["item", "to"]
        assert schemas["Place"]["properties"]["street"]["maxLength"] == 40
        assert schemas["Size"] == {"title": "Size", "enum": ["large", "small"]}
        assert schemas["orders-outputs"]["properties"]["told"]["type"] == "object"

    def test_a_secret_is_only_written(self) -> None:
        found = document(flows())["components"]["schemas"]["odd-inputs"]["properties"]["token"]
        assert found == {"type": "string", "writeOnly": True, "format": "password"}

    def test_no_default_of_a_secret_is_told(self) -> None:
        class Given(msgspec.Struct):
            token: Annotated[str, flow.Secret] = "hunter2"

        dag = flow.Dag("odd", inputs=Given)
        dag.add("node", lambda token: 1)
        assert b"hunter2" not in openapi.document(Service({"odd": dag}).workflows, keys=False, root="")

    def test_what_no_json_makes_fits_nothing(self) -> None:
        def node(strange: Strange, known: Place | Order, where: Path, anything: object) -> None: ...

        found = inputs_of(node)["properties"]
        assert found["strange"] == {"not": {}, "description": "of the type Strange"}
        assert set(found["known"]) == {"description"}  # msgspec cannot tell which of the two comes
        assert found["where"]["type"] == "string"
        assert set(found["anything"]) == {"description"}

    def test_a_default_that_is_no_json_is_not_told(self) -> None:
        def node(strange: Any = Strange()) -> None: ...

        assert inputs_of(node)["properties"]["strange"] == {}

    def test_classes_of_one_name(self) -> None:
        def other() -> Any:
            class Order(msgspec.Struct):
                x: int

            return Order

        def first(order: Order, answer: Answer) -> None: ...

        def second(order: Any) -> None: ...

        second.__annotations__["order"] = other()
        told = document({"first": one(first), "second": one(second)})
        schemas = told["components"]["schemas"]
        ways = [schemas[f"{name}-inputs"]["properties"]["order"]["$ref"] for name in ("first", "second")]
        assert [list(schemas[way.rpartition("/")[2]]["properties"])[0] for way in ways] == ["item", "x"]
        answer = schemas["first-inputs"]["properties"]["answer"]["$ref"].rpartition("/")[2]
        assert list(schemas[answer]["properties"]) == ["yes"]
        assert "outputs" in schemas["Answer"]["properties"]

    def test_a_plan_of_many_nodes_does_not_list_them(self) -> None:
        dag = flow.Dag("wide")
        for i in range(300):
            dag.add(f"n{i}", lambda: 1)
        assert len(openapi.document(Service({"wide": dag}).workflows, keys=False, root="")) < 100_000


class TestTold:
    def test_a_workflow(self) -> None:
        with serving(flows()) as client:
            got = client.get(f"{API}/workflows/orders").json
            listed = client.get(f"{API}/workflows").json["workflows"]
        assert got == listed[0]
        assert got["nodes"] == 2
        assert got["links"] == {
            "runs": f"{API}/workflows/orders/runs",
            "graph": f"{API}/workflows/orders/graph.svg",
        }
        inputs = Draft202012Validator(got["inputs"])
        order = {"item": "x", "to": {"street": "s"}, "size": "large"}
        assert inputs.is_valid({"order": order, "day": "2024-01-01"})
        assert not inputs.is_valid({"order": {**order, "size": "huge"}, "day": "2024-01-01"})
        assert not inputs.is_valid({"order": order})

    def test_what_signals_take(self) -> None:
        class Answer(msgspec.Struct):
            yes: bool

        page, dag = flow.Dag("page"), flow.Dag("book")
        page.signal("approve", type=Answer)
        page.add("text", lambda number, approve: number)
        dag.map("pages", page, over="numbers")
        dag.signal("title", type=str)
        dag.signal("anything", after="title")
        with serving({"book": dag, "quick": quick()}) as client:
            found = client.get(f"{API}/workflows/book").json["signals"]
            assert client.get(f"{API}/workflows/quick").json["signals"] == {}
        assert sorted(found) == ["anything", "pages#N.approve", "title"]
        approve, title = (Draft202012Validator(found[address]) for address in ("pages#N.approve", "title"))
        assert approve.is_valid({"yes": True}) and not approve.is_valid({"yes": 3}) and not approve.is_valid({})
        assert title.is_valid("x") and not title.is_valid(3)
        assert Draft202012Validator(found["anything"]).is_valid([None])

    def test_a_default_that_looks_like_a_reference_is_none(self) -> None:
        dag = flow.Dag("odd")

        @dag.node
        def it(given: dict[str, str] = {"$ref": "#/$defs/nothing"}) -> None:  # noqa: B006
            """Take it."""

        with serving({"odd": dag}) as client:
            inputs = client.get(f"{API}/workflows/odd").json["inputs"]
        assert inputs["properties"]["given"]["default"] == {"$ref": "#/$defs/nothing"} and "$defs" not in inputs

    def test_under_another_root(self) -> None:
        with serving({"quick": quick()}) as client:
            client.root = "/flows"
            assert client.get(f"{API}/workflows/quick").json["links"]["runs"] == f"/flows{API}/workflows/quick/runs"


class TestAnswers:
    """They are as the document says: those that random requests do not find."""

    def test_of_runs(self) -> None:
        with serving(flows()) as client:
            told = client.get("/openapi.json").json
            order = {"item": "x", "to": {"street": "s"}}
            path = f"{API}/workflows/{{}}/runs"
            check(
                client.start("orders", {"inputs": {"order": order, "day": "2024-01-01"}}),
                "POST",
                path.format("orders"),
                told,
            )
            check(client.start("orders", {"inputs": {"order": 1}}), "POST", path.format("orders"), told)
            check(client.start("broken", {"run_id": "b"}), "POST", path.format("broken"), told)
            asking = client.start("asking", {"run_id": "a"}, "?wait=0")
            check(asking, "POST", path.format("asking"), told)
            assert asking.status == 202
            check(client.start("odd", {"inputs": {"token": "sesame"}}), "POST", path.format("odd"), told)
            check(
                client.post(f"{API}/workflows/trigger", {"workflow": "later"}), "POST", f"{API}/workflows/trigger", told
            )
            for run_id, status in (("b", 200), ("a", 200), ("none", 404)):
                for one_run in (f"{API}/runs/{{id}}", f"{API}/workflows/status/{{id}}", "/runs/{id}"):
                    got = client.get(one_run.format(id=run_id))
                    assert got.status == status
                    check(got, "GET", one_run, told)
            check(client.get(f"{API}/runs/b/events"), "GET", f"{API}/runs/{{id}}/events", told)
            ended = client.get(f"{API}/runs/b/events", headers={"last-event-id": "x.end"})
            check(ended, "GET", f"{API}/runs/{{id}}/events", told)
            assert ended.status == 204
            for run_id, action, body in (
                ("a", "signals/approve", {"payload": "no bool"}), ("a", "signals/none", {"payload": 1}),
                ("a", "signals/approve", {"payload": True}), ("a", "cancel", {}), ("b", "cancel", {}),
                ("b", "retry", {}), ("none", "retry", {}),
            ):  # fmt: skip
                named = "signals/{address}" if "/" in action else action
                check(client.post(f"{API}/runs/{run_id}/{action}", body), "POST", f"{API}/runs/{{id}}/{named}", told)

    def test_of_the_service(self) -> None:
        with serving(flows()) as client:
            told = client.get("/openapi.json").json
            for method, path in OPERATIONS:
                if method == "GET" and "{id}" not in path:
                    got = client.get(path.format(name="orders"))
                    check(got, method, path, told)
                    assert got.status == (403 if path == "/login" else 200)

    def test_with_keys(self, tmp_path: Path) -> None:
        keys = Keys(str(tmp_path / "keys.json"))
        with serving(flows(), auth=keys) as client:
            told = json.loads(openapi.document(client.app.workflows, keys=True, root=""))  # type: ignore[attr-defined]
            for method, path in OPERATIONS:
                got = client.ask(method, path.format(name="orders", id="a", address="b"))
                if OPERATIONS[method, path].needs is not None:
                    assert got.status == 401
                check(got, method, path, told)
