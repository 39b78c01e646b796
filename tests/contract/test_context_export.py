"""ctx.export(), its bytes, and the Context that comes back: what is equal, what is refused, and how that is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any, NamedTuple

import msgspec
import pytest
from conftest import MODES, modes

import flow
from flow import Config, Context, DataConfig, MapResult, Status, WorkflowData
from flow.data import ContextExport
from flow.errors import DataError
from flow.testing import FakeClock, context

FORMS = ("json", "msgpack")


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def bytes_of(export: ContextExport, form: str, **hooks: Any) -> bytes:
    made: bytes = getattr(export, f"to_{form}")(**hooks)
    return made


def read(data: Any, form: str, **hooks: Any) -> ContextExport:
    found: ContextExport = getattr(ContextExport, f"from_{form}")(data, **hooks)
    return found


def again(export: ContextExport, form: str, **hooks: Any) -> ContextExport:
    return read(bytes_of(export, form), form, **hooks)


def export_of(**given: Any) -> ContextExport:
    return context(inputs=given).export()


def exported(ctx: Context) -> ContextExport:
    return ctx.export()


class Point(NamedTuple):
    x: int
    y: int


class Box:
    def __init__(self, inside: Any) -> None:
        self.inside = inside

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Box) and self.inside == other.inside


POINTS: dict[Any, Any] = {Point: list, Box: lambda box: {"inside": box.inside}, date: date.isoformat, tuple: list}
BACK: dict[Any, Any] = {
    Point: lambda found: Point(*found), Box: lambda found: Box(found["inside"]), date: date.fromisoformat, tuple: tuple,
}  # fmt: skip


class TestARunsContext:
    def dag(self) -> flow.Dag:
        dag = flow.Dag("shop")

        @dag.node
        def basket(ctx: Context, source: str) -> list[int]:
            ctx.data["read"] = {"from": source}
            return [1, 2]

        @dag.node(after="basket")
        async def look(ctx: Context) -> ContextExport:
            return ctx.export()

        dag.add("never", lambda look: None)
        return dag

    @pytest.mark.parametrize("mode", modes(*[name for name in MODES if name != "inline"]))
    def test_a_nodes(self, mode: dict[str, Any], backend: str, form: str) -> None:
        config = Config(clock=FakeClock(3.0), backend=backend, **mode)  # type: ignore[arg-type]
        found = flow.run(self.dag(), {"source": "db"}, config=config, run_id="r-1", targets="look")["look"]
        outputs = {} if mode.get("keep") else {"basket": [1, 2]}  # freed after its last reader
        assert (found.inputs, found.outputs, found.data) == ({"source": "db"}, outputs, {"read": {"from": "db"}})
        assert (found.item, found.child, found.version) == (None, False, 1)
        assert (found.system.run_id, found.system.node, found.system.workflow) == ("r-1", "look", "shop")
        assert again(found, form) == found

    def test_inline(self, form: str) -> None:
        dag = flow.Dag("shop")
        dag.add("one", lambda: 1)

        @dag.node(after="one")
        def look(ctx: Context) -> ContextExport:
            return ctx.export()

        found = flow.run(dag, config=Config(mode="inline"))["look"]
        assert found.outputs == {"one": 1}
        assert again(found, form) == found

    def test_an_items(self, mode: dict[str, Any], backend: str, form: str) -> None:
        dag = flow.Dag("shop")

        @dag.node
        def basket(ctx: Context) -> list[str]:
            ctx.data.set("shared", 1)
            ctx.data.set("gone", 1)
            return ["a", "b"]

        def sell(item: str, ctx: Context) -> ContextExport:
            ctx.data["mine"] = item
            del ctx.data["gone"]
            ctx.publish("sold", item)
            return ctx.export()

        dag.map("sold", sell, over="basket")
        config = Config(backend=backend, **mode)  # type: ignore[arg-type]
        for index, found in enumerate(flow.run(dag, config=config)["sold"]):
            assert (found.item, found.system.index, found.child) == ("ab"[index], index, True)
            assert found.data == {"shared": 1, "mine": "ab"[index]}  # what it has published is not merged yet
            assert "sold" not in found.outputs
            assert again(found, form) == found

    def test_a_nested_dags_holds_the_inner_run(self, mode: dict[str, Any], backend: str, form: str) -> None:
        inner = flow.Dag("inner")
        inner.add("deep", lambda x: x + 1)
        inner.add("look", exported, after="deep")
        dag = flow.Dag("outer")
        dag.add("x", lambda: 1)
        dag.add("nested", inner)
        found = flow.run(dag, config=Config(backend=backend, **mode))["nested"]["look"]  # type: ignore[arg-type]
        assert (found.inputs, found.outputs, found.system.workflow) == ({"x": 1}, {"deep": 2}, "inner")
        assert again(found, form) == found

    def test_outputs_of_dags_are_written_as_dicts(self, form: str) -> None:
        inner = flow.Dag("inner")
        inner.add("deep", lambda item: {"at": [item]})
        middle = flow.Dag("middle")
        middle.add("in_", inner)
        dag = flow.Dag("outer")
        dag.add("x", lambda: [1, 2])
        dag.add("nested", middle, needs={"item": "x"})
        dag.map("each", inner, over="x")
        dag.add("look", exported, after=["nested", "each"])
        found = flow.run(dag)["look"]
        read = again(found, form)
        assert read == found
        assert read.outputs["nested"] == {"in_": {"deep": {"at": [[1, 2]]}}}
        assert [type(one) for one in read.outputs["each"]] == [dict, dict]
        assert type(found.outputs["nested"]) is not dict  # the run's own is as it was

    def test_of_an_attempt_that_may_be_left_in_its_thread(self, form: str) -> None:
        dag = flow.Dag("d")

        def look(ctx: Context) -> ContextExport:
            ctx.data["x"] = 1
            return ctx.export()

        dag.add("look", look, thread=True, timeout=60.0, abandon_on_timeout=True)
        found = flow.run(dag)["look"]
        assert found.data == {"x": 1}
        assert again(found, form) == found

    def test_its_outputs_are_of_its_own_run_where_several_share_a_store(self) -> None:
        store = WorkflowData()
        first = flow.Dag("first")
        first.add("one", lambda: 1)
        second = flow.Dag("second")
        second.add("two", lambda: 2)

        @first.node(after="one")
        def look(ctx: Context) -> ContextExport:
            flow.run(second, data=store)
            return ctx.export()

        assert flow.run(first, data=store)["look"].outputs == {"one": 1}

    def test_it_continues_a_run_in_a_later_process(self, form: str) -> None:
        dag, calls = flow.Dag("shop"), []
        dag.add("one", lambda: calls.append("one") or 1)

        @dag.node
        def two(one: int, ctx: Context) -> int:
            ctx.data.increment("tries")
            exports.append(ctx.export())
            if len(exports) == 1:
                raise ConnectionError
            return one + 1

        exports: list[ContextExport] = []
        with pytest.raises(flow.RunError):
            flow.run(dag)
        left = again(exports[0], form)
        result = flow.run(dag, left.inputs, known=left.outputs, data=Context.from_export(left).data)
        assert (result["two"], calls, result.data["tries"]) == (2, ["one"], 2)


class TestTheValue:
    def test_its_dicts_are_its_own_and_its_values_the_runs(self) -> None:
        big = [1]
        ctx = context(inputs={"big": big})
        ctx.data["kept"] = big
        found = ctx.export()
        assert found.inputs["big"] is found.data["kept"] is big
        ctx.data["later"] = 1
        del found.inputs["big"]
        assert "later" not in found.data
        assert ctx.inputs["big"] is big

    def test_what_need_not_be_written_is_deleted(self, form: str) -> None:
        found = export_of(socket=object(), x=1)
        with pytest.raises(DataError):
            bytes_of(found, form)
        del found.inputs["socket"]
        assert again(found, form).inputs == {"x": 1}

    def test_its_repr_is_short_and_shows_no_values(self) -> None:
        assert repr(export_of(password="x" * 100)) == (
            "ContextExport(run_id='test', node='node', 1 input, 0 outputs, 0 keys)"
        )

    def test_what_is_written_says_what_it_is(self) -> None:
        found = json.loads(context(node="n", clock=FakeClock()).child([1], 4).export().to_json())
        date = "1970-01-01T00:00:00Z"
        assert found == {
            "format": "flow.context", "version": 1, "inputs": {}, "outputs": {}, "data": {}, "item": [1], "child": True,
            "show_values": True, "encoded": [],
            "system": {
                "workflow": "test", "run_id": "test", "node": "n", "attempt": 1, "index": 4, "start": date,
                "timestamp": date,
            },
        }  # fmt: skip

    def test_version_1_stays_readable(self) -> None:
        """Bytes that the first release has written: a change that cannot read them is another version."""
        kept = (
            b'{"format":"flow.context","system":{"workflow":"shop","run_id":"r","node":"n","attempt":2,"index":null,'
            b'"start":"2030-01-01T00:00:00Z","timestamp":"2030-01-01T00:00:01.5Z"},"inputs":{"x":1},"outputs":{"one":'
            b'[[1,2]]},"data":{"k":null},"item":null,"child":false,"show_values":true,"version":1,"encoded":'
            b'[[["outputs","one",0],"tuple"]]}'
        )
        found = ContextExport.from_json(kept, decode={tuple: tuple})
        assert found.system.timestamp - found.system.start == timedelta(seconds=1.5)
        assert (found.inputs, found.outputs, found.data) == ({"x": 1}, {"one": [(1, 2)]}, {"k": None})
        assert ContextExport.from_json(kept.decode(), decode={tuple: tuple}) == found


class TestImported:
    def test_a_root(self) -> None:
        ctx = context(run_id="r", node="n", attempt=3, inputs={"x": 1}, workflow="shop")
        ctx.data["k"] = [1]
        export = msgspec.structs.replace(ctx.export(), outputs={"one": 1})
        made = Context.from_export(export)
        assert (made.run_id, made.node, made.attempt, made.item, made.index) == ("r", "n", 3, None, None)
        assert (dict(made.inputs), made.data.items(), dict(made.data.outputs)) == ({"x": 1}, [("k", [1])], {"one": 1})
        assert made.system == export.system  # its time stands still
        assert made.export() == export
        made.data["k"] = 2
        assert ctx.data["k"] == export.data["k"] == [1]
        made.publish("k", 3)  # a node's own goes up at once
        assert made.data["k"] == 3
        with pytest.raises(TypeError):
            made.inputs["x"] = 2  # type: ignore[index]

    def test_a_child(self) -> None:
        parent = context()
        parent.data["shared"] = 1
        child = parent.child("item", 3)
        child.data["mine"] = 2
        export = child.export()
        made = Context.from_export(export)
        assert (made.item, made.index, made.data.items()) == ("item", 3, [("shared", 1), ("mine", 2)])
        assert made.export() == export
        made.data["later"] = 1
        made.publish("sum", 5)
        assert "sum" not in made.data  # as of any item: it goes up where it is gathered
        parent.gather([made])
        assert parent.data.items() == [("shared", 1), ("sum", 5)]

    def test_a_child_without_an_item_is_a_child(self, form: str) -> None:
        made = Context.from_export(again(context().child().export(), form))
        made.publish("k", 1)
        assert (made.export().child, made.data.items()) == (True, [])

    def test_children_of_it(self) -> None:
        made = Context.from_export(context(run_id="r").export())
        child = made.child("x", 0)
        child.publish("k", 1)
        made.gather([child])
        assert (child.run_id, made.data["k"]) == ("r", 1)

    def test_its_store_is_as_the_config_says(self) -> None:
        ctx = context()
        ctx.data["k"] = [1]
        made = Context.from_export(ctx.export(), DataConfig(memory="arena"))
        assert made.data.statistics().memory == "arena"
        assert made.data["k"] == [1] and made.data["k"] is not ctx.data["k"]
        ctx.data["open"] = print
        with pytest.raises(DataError, match="key 'open': a builtin_function_or_method is no plain data"):
            Context.from_export(ctx.export(), DataConfig(memory="arena"))

    def test_of_its_run_it_knows_the_outputs_alone(self) -> None:
        made = Context.from_export(msgspec.structs.replace(context().export(), outputs={"one": 1}))
        assert made.data.statuses == {"one": Status.COMPLETED}
        with pytest.raises(flow.UsageError, match=r"is_runnable\('one'\): this store is an imported Context's"):
            made.data.is_runnable("one")

    def test_a_node_can_be_called_with_it(self, form: str) -> None:
        def node(ctx: Context) -> str:
            return f"{ctx.data['greeting']} {ctx.inputs['name']}"

        ctx = context(inputs={"name": "ada"})
        ctx.data["greeting"] = "Hello"
        assert node(Context.from_export(again(ctx.export(), form))) == "Hello ada"

    def test_an_async_node_can_be_called_with_it(self, on_loop: Callable[..., Any]) -> None:
        made = Context.from_export(export_of(x=1))

        async def node(ctx: Context) -> int:
            async with ctx.released():
                return int(ctx.inputs["x"])

        assert on_loop(node, made) == 1

    @pytest.mark.parametrize("given", [b"{}", None, {}, context()])
    def test_what_is_no_export_is_refused(self, given: Any) -> None:
        with pytest.raises(flow.UsageError, match="from_export takes what export.. has returned, not"):
            Context.from_export(given)


class TestEncoders:
    def test_values_of_any_type_come_back(self, form: str) -> None:
        ctx = context(inputs={"at": Point(1, 2), "plain": [1]}, item={"when": date(2030, 1, 1)}, index=0)
        ctx.data["deep"] = [{"a": (1, Box([Point(3, 4), {"b": (5,)}]))}]
        export = msgspec.structs.replace(ctx.export(), outputs={"out": Box(Box(()))})
        assert read(bytes_of(export, form, encode=POINTS), form, decode=BACK) == export

    def test_what_is_encoded_is_not_changed(self, form: str) -> None:
        inner: list[Any] = [Point(1, 2)]
        given = {"a": inner, "b": Box(inner)}
        bytes_of(export_of(x=given), form, encode=POINTS)
        assert inner == [Point(1, 2)] and type(inner[0]) is Point and given["b"] == Box(inner)

    def test_exact_types_alone(self, form: str) -> None:
        with pytest.raises(DataError, match="a Point"):
            bytes_of(export_of(x=Point(1, 2)), form, encode={tuple: list})

    def test_a_plain_type_of_one_form(self) -> None:
        export = export_of(raw=b"\x00\xff")
        assert ContextExport.from_msgpack(export.to_msgpack()) == export
        hexed = export.to_json(encode={bytes: bytes.hex})
        assert ContextExport.from_json(hexed, decode={bytes: bytes.fromhex}) == export

    def test_the_errors_of_a_map_as_text(self, form: str) -> None:
        dag = flow.Dag("d")
        dag.map("each", lambda x: 1 // x, over="xs", on_error="collect")
        dag.add("look", exported, after="each")
        found = flow.run(dag, {"xs": [1, 0]})["look"]
        with pytest.raises(DataError, match="output 'each': a MapResult is no plain data"):
            bytes_of(found, form)
        data = bytes_of(found, form, encode={MapResult: MapResult.to_dict})
        outputs = read(data, form, decode={MapResult: dict}).outputs
        assert outputs["each"]["values"] == [1]

    def test_a_type_may_have_moved(self, form: str) -> None:
        data = bytes_of(export_of(x=Point(1, 2)), form, encode=POINTS)
        moved = {f"{__name__}.Point": lambda found: complex(*found)}
        assert read(data, form, decode=moved).inputs == {"x": 1 + 2j}

    def test_without_a_decoder_all_are_listed(self, form: str) -> None:
        ctx = context(inputs={"x": [Point(1, 2)]}, item=(1,), index=0)
        ctx.data["when"] = date(2030, 1, 1)
        data = bytes_of(ctx.export(), form, encode=POINTS)
        with pytest.raises(DataError) as caught:
            read(data, form, decode={tuple: tuple})
        point = f"{__name__}.Point"
        assert caught.value.faults == (
            f"input 'x' at [0] was written by an encoder of {point}: give decode={{{point}: function}}",
            "data key 'when' was written by an encoder of datetime.date: give decode={datetime.date: function}",
        )

    def test_what_a_hook_raises_is_raised_with_its_place(self, form: str) -> None:
        broken = {Point: lambda found: 1 // 0}
        with pytest.raises(ZeroDivisionError) as caught:
            bytes_of(export_of(x=Point(1, 2)), form, encode=broken)
        assert caught.value.__notes__ == [f"in the encoder of {__name__}.Point, for input 'x'"]
        with pytest.raises(ZeroDivisionError) as caught:
            read(bytes_of(export_of(x=[Point(1, 2)]), form, encode=POINTS), form, decode=broken)
        assert caught.value.__notes__ == [f"in the decoder of {__name__}.Point, for input 'x' at [0]"]

    @pytest.mark.parametrize("endless", [lambda point: point, lambda point: [point], lambda point: {"again": [point]}])
    def test_an_endless_encoder_is_told(self, endless: Any, form: str) -> None:
        with pytest.raises(DataError, match="input 'x': holds more than 200 levels, .* with what encoders"):
            bytes_of(export_of(x=Point(1, 2)), form, encode={Point: endless})

    def test_what_an_encoder_returns_must_be_plain(self, form: str) -> None:
        with pytest.raises(DataError, match="input 'x': a tuple would come back as a list"):
            bytes_of(export_of(x=Point(1, 2)), form, encode={Point: tuple})

    @pytest.mark.parametrize(
        ("encode", "says"),
        [
            ([Point], "encode must be a mapping, not "),
            ({"Point": list}, "encode has 'Point', which is no type"),
            ({Point: 1}, "encode has 1 for .*Point.*, which is no function"),
            ({dict: list}, "encode has dict, which is plain data and is written as it is"),
            ({str: list, 1: 2}, "encode has str, .*; encode has 1, which is no type"),
        ],
    )
    def test_faulty_encoders(self, encode: Any, says: str, form: str) -> None:
        with pytest.raises(flow.UsageError, match=f"^{says}.*: give encode={{type: function}}$"):
            bytes_of(export_of(x=1), form, encode=encode)

    def test_async_hooks(self, form: str) -> None:
        async def hook(value: Any) -> Any: ...

        with pytest.raises(flow.UsageError, match="encode has a function for .*Point.* that is async"):
            bytes_of(export_of(x=1), form, encode={Point: hook})
        with pytest.raises(flow.UsageError, match="decode has a function for 'a.Point' that is async"):
            read(bytes_of(export_of(x=1), form), form, decode={"a.Point": hook})


class TestRefused:
    def test_all_faults_with_how_to_write_them(self) -> None:
        ctx = context(inputs={"ids": {1}, "ok": 1}, item=[(1,)], index=0)
        ctx.data["open"] = {"deep": [print]}
        ctx.data["far"] = float("inf")
        export = msgspec.structs.replace(ctx.export(), outputs={"when": date(2030, 1, 1)})
        with pytest.raises(DataError) as caught:
            export.to_json()
        plain = "is no plain data (None, bool, int, float, str, bytes, list, dict)"
        assert caught.value.what == "the context cannot be written as JSON"
        assert caught.value.faults == (
            "item: a tuple at [0] would come back as a list: store list(...); an encoder can write it: "
            "encode={tuple: function}",
            "input 'ids': a set would come back as a list: store sorted(...) or list(...); an encoder can write it: "
            "encode={set: function}",
            f"output 'when': a date {plain}; an encoder can write it: encode={{datetime.date: function}}",
            f"data key 'open': a builtin_function_or_method at ['deep'][0] {plain}; an encoder can write it: "
            "encode={builtin_function_or_method: function}",
            "data key 'far': the float inf would come back as null: JSON has no such number",
        )

    @pytest.mark.parametrize(
        ("value", "says"),
        [
            ({1: 2}, "a dict has the key 1: keys must be str"),
            ({"a": "\ud800"}, r"a str at \['a'\] holds a lone surrogate"),
            ({"\ud800": 1}, "a key of the dict holds a lone surrogate"),
        ],
    )
    def test_in_both_forms(self, value: Any, says: str, form: str) -> None:
        with pytest.raises(DataError, match=f"input 'x': {says}"):
            bytes_of(export_of(x=value), form)

    def test_a_key_that_has_no_bytes(self, form: str) -> None:
        ctx = context()
        ctx.data["\ud800"] = 1
        with pytest.raises(DataError, match="data key .* holds a lone surrogate"):
            bytes_of(ctx.export(), form)

    def test_a_number_beyond_msgpack(self) -> None:
        export = export_of(x=[2**70])
        assert ContextExport.from_json(export.to_json()) == export
        with pytest.raises(DataError, match=r"input 'x': an int at \[0\] of 71 bits is too large for msgpack"):
            export.to_msgpack()

    def test_a_value_that_holds_itself(self, form: str) -> None:
        wide: list[Any] = []
        wide += [wide, wide, wide]
        for hooks in ({}, {"encode": POINTS}):
            with pytest.raises(DataError, match="input 'x': .*holds more than 200 levels, or itself"):
                bytes_of(export_of(x=wide), form, **hooks)

    def test_values_stay_out_of_messages(self, form: str) -> None:
        """With ``Config(show_values=False)``, also in a later process."""
        dag = flow.Dag("d")
        given = {"x": {"s3cret": (1,)}}

        @dag.node
        def look(x: Any, ctx: Context) -> ContextExport:
            return ctx.export()

        found = flow.run(dag, given, config=Config(show_values=False))["look"]
        with pytest.raises(DataError) as caught:
            bytes_of(found, form)
        assert "s3cret" not in str(caught.value)
        data = bytes_of(found, form, encode=POINTS)
        with pytest.raises(DataError) as caught:
            read(data, form)
        assert "s3cret" not in str(caught.value)
        kept = read(data, form, decode=BACK)
        assert kept == found
        made = Context.from_export(kept)
        made.data["n"] = "s3cret"
        with pytest.raises(flow.errors.WrongType) as wrong:
            made.data.get_int("n")
        assert "s3cret" not in str(wrong.value)
        assert made.export() == msgspec.structs.replace(kept, data={"n": "s3cret"})


def changed(**fields: Any) -> bytes:
    """What is written, with other fields; without those that are None."""
    found = json.loads(export_of(x=[1]).to_json()) | fields
    return json.dumps({name: value for name, value in found.items() if value is not None or name == "item"}).encode()


class TestForeignBytes:
    @pytest.mark.parametrize("data", [b"", b"\x00", b"\xff" * 9, b"[]", b"1", b"[" * 100_000, b"\x81" * 100_000])
    def test_bytes_that_are_something_else(self, data: bytes, form: str) -> None:
        with pytest.raises(DataError, match="^no context can be read from this (JSON|msgpack): it must be one object"):
            read(data, form)

    @pytest.mark.parametrize("data", [None, 1, [], {}])
    def test_what_is_no_bytes(self, data: Any, form: str) -> None:
        with pytest.raises(DataError, match="^no context can be read from this"):
            read(data, form)

    def test_a_stores_bytes(self, form: str) -> None:
        data = WorkflowData()
        data["k"] = 1
        with pytest.raises(DataError, match=r"a context's export\(\) has not written it$"):
            read(getattr(data, f"to_{form}")(), form)

    def test_the_other_form(self) -> None:
        with pytest.raises(DataError):
            ContextExport.from_json(export_of().to_msgpack())
        with pytest.raises(DataError):
            ContextExport.from_msgpack(export_of().to_json())

    @pytest.mark.parametrize("version", [0, 2, "1", None])
    def test_another_version(self, version: Any) -> None:
        with pytest.raises(DataError, match=f"it is of version {version!r}, and this flow reads version 1$"):
            ContextExport.from_json(changed(version=version))

    @pytest.mark.parametrize(
        "fields",
        [
            {"inputs": None}, {"data": []}, {"system": {}}, {"system": None}, {"child": "no"}, {"more": 1},
            {"encoded": [1]}, {"encoded": [[["inputs"]]]}, {"encoded": [[[1.5], "tuple"]]},
        ],
    )  # fmt: skip
    def test_a_part_is_missing_or_damaged(self, fields: dict[str, Any]) -> None:
        with pytest.raises(DataError, match="a part of it is missing or damaged: ValidationError: "):
            ContextExport.from_json(changed(**fields))

    @pytest.mark.parametrize("name", ["start", "timestamp"])
    def test_a_date_without_a_zone(self, name: str) -> None:
        system = json.loads(export_of().to_json())["system"] | {name: "2030-01-01T00:00:00"}
        with pytest.raises(DataError, match="a part of it is missing or damaged"):
            ContextExport.from_json(changed(system=system))

    @pytest.mark.parametrize(
        "at",
        [
            [], ["inputs"], ["system", "node"], ["inputs", "y"], ["inputs", "x", 1], ["inputs", "x", -1],
            ["inputs", "x", "0"], ["inputs", 0], ["inputs", "x", 0, "deep"], ["item", 0],
        ],
    )  # fmt: skip
    def test_a_place_that_is_none(self, at: list[Any]) -> None:
        with pytest.raises(DataError, match="an encoder is said to have written .*, which is no place in it"):
            ContextExport.from_json(changed(encoded=[[at, "tuple"]]), decode={tuple: tuple})

    def test_each_cut_is_told(self, form: str) -> None:
        data = bytes_of(export_of(x=[Point(1, 2)], y="text"), form, encode=POINTS)
        for end in range(len(data)):
            with pytest.raises(DataError):
                read(data[:end], form, decode=BACK)


class TestMadeByHand:
    """An export may be made of anything: what would not come back is refused, all of it at once."""

    def test_parts_of_any_type(self, form: str) -> None:
        broken: Any = ContextExport(1, 2, 3, 4, child=5, show_values=6, version=7)  # type: ignore[arg-type]
        for call in (lambda: bytes_of(broken, form), lambda: Context.from_export(broken)):
            with pytest.raises(DataError) as caught:
                call()
            said = str(caught.value)
            for part in (
                "system must be what ctx.system gives", "inputs must be a dict by name, not an int", "outputs must",
                "data must", "child must be True or False", "show_values must", "version must be 1, not 7",
            ):  # fmt: skip
                assert part in said
        assert "made by hand" in repr(broken)

    @pytest.mark.parametrize("part", ["inputs", "outputs", "data"])
    def test_keys_that_are_no_names(self, part: str, form: str) -> None:
        export = msgspec.structs.replace(export_of(x=1), **{part: {1: "one", (2,): "two"}})
        for call in (lambda: bytes_of(export, form), lambda: Context.from_export(export)):
            with pytest.raises(DataError) as caught:
                call()
            assert f"{part} has the key 1: keys must be str" in str(caught.value)
            assert f"{part} has the key (2,): keys must be str" in str(caught.value)

    def test_a_system_with_wrong_fields(self, form: str) -> None:
        export = export_of(x=1)
        naive = msgspec.structs.replace(export.system, attempt="first", start=export.system.start.replace(tzinfo=None))
        with pytest.raises(DataError, match="system must be what ctx.system gives"):
            bytes_of(msgspec.structs.replace(export, system=naive), form)
