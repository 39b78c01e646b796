"""Config(show_values=False): no message or note of ours repeats a value of the user's."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any, Literal

import msgspec
import pytest
from conftest import collected, modes

import flow
from flow import Context

SECRET = "hunter2"
HIDDEN: dict[str, Any] = {"show_values": False}


class Plain:
    """Not known to msgspec."""


class Account(msgspec.Struct, forbid_unknown_fields=True):
    kind: Literal["free", "paid"] = "free"
    size: Annotated[int, msgspec.Meta(ge=1)] = 1

    def __post_init__(self) -> None:
        if self.size == 7:
            raise ValueError(f"Expected `no {SECRET}`")


def said(error: BaseException | None) -> str:
    """All that is said of an error, and of what it holds or came from, but for the user's own messages."""
    assert error is not None
    found = [*getattr(error, "__notes__", ()), str(error), repr(error)]
    for inner in (*getattr(error, "exceptions", ()), error.__cause__):
        if inner is not None:
            found.append(said(inner))
    return "\n".join(found)


def bad(item: Any) -> None:
    raise ValueError("no")


def same(item: Any) -> Any:
    return item


async def abad(item: Any) -> None:
    raise ValueError("no")


def mapped(fn: Any = bad, items: Any = (SECRET,), **options: Any) -> flow.Dag:
    dag = flow.Dag("d")
    dag.add("x", items if callable(items) else lambda: items)
    dag.map("m", fn, over="x", **options)
    return dag


def one(fn: Any, **options: Any) -> flow.Dag:
    dag = flow.Dag("d")
    dag.add("m", fn, **options)
    return dag


def returns(value: Any, schema: Any) -> flow.Dag:
    return one(lambda: value, middleware=[flow.middleware.validated(schema)])


def reduced(fn: Any, items: Any) -> flow.Dag:
    dag = flow.Dag("d")
    dag.add("x", lambda: items)
    dag.reduce("m", fn, over="x", start=0)
    return dag


async def aitems() -> AsyncIterator[str]:
    yield SECRET
    yield SECRET


def unequal(ctx: Context) -> None:
    ctx.data["k"] = SECRET
    ctx.data.get_int("k")


def added(ctx: Context) -> None:
    ctx.data["k"] = SECRET
    ctx.data.increment("k")


def within_item(item: Any, ctx: Context) -> None:
    ctx.data["k"] = item
    ctx.data.get_bool("k")


def repeated(item: Any, ctx: Context) -> None:
    raise LookupError(repr(ctx))


def exported(ctx: Context) -> None:
    ctx.data["k"] = {SECRET: {1, 2}}
    ctx.data.to_json()


def unasked(ctx: Context) -> None:
    """It may ask for the store."""


async def folds(a: Any, b: Any) -> Any:
    return a


MESSAGES: dict[str, tuple[Callable[[], flow.Dag], str]] = {
    "item": (mapped, "in item 0 (a str) of map 'm'"),
    "item, async": (lambda: mapped(abad), "in item 0 (a str) of map 'm'"),
    "item of another type": (lambda: mapped(items=[{1: SECRET}]), "in item 0 (a dict) of map 'm'"),
    "batch": (lambda: mapped(items=[SECRET], batch_size=2), "in the batch from item 0 (a list) of map 'm'"),
    "item tried again": (lambda: mapped(retry=flow.Retry(2, delay=0)), "in item 0 (a str) of map 'm', attempt 2"),
    "stage": (lambda: _stage(), "in item 0 (a str) of map 'n'"),
    "key": (lambda: mapped(key=bad), "from the map's key= for item 0 (a str)"),
    "same key": (lambda: mapped(same, [SECRET, SECRET], key=str), "items 0 and 1 (a str) have the same key a str"),
    "same key, async": (lambda: mapped(same, aitems, key=str), "items 0 and 1 (a str) have the same key a str"),
    "no source": (lambda: mapped(items=SECRET), "map 'm' cannot go over 'x': it is a str: to go over its parts"),
    "no results of a batch": (lambda: mapped(lambda item: SECRET, [1, 2], batch_size=2), "per item: got a str"),
    "no results to flatten": (lambda: _flat(), "needs a list of results per item: got a str"),
    "nothing to fold": (lambda: reduced(lambda a, b: a, SECRET), "reduce cannot go over 'x': it is a str: to"),
    "nothing to fold, async": (lambda: reduced(folds, SECRET), "reduce cannot go over 'x': it is a str: to"),
    "output": (lambda: returns([SECRET], list[int]), "node 'm' returned a list: Expected `int`, got `str` - at `$[0]`"),
    "output of another class": (lambda: returns(SECRET, Plain), "node 'm' returned a str: Expected `Plain`, got `str`"),
    "output, of a choice": (lambda: returns({"kind": SECRET}, Account), "a dict: Invalid value - at `$.kind`"),
    "output, of no choice": (lambda: returns(SECRET, Literal["a"]), "node 'm' returned a str: Invalid value"),
    "output, unknown field": (lambda: returns({SECRET: 1}, Account), "node 'm' returned a dict: Invalid value"),
    "output, out of range": (lambda: returns({"size": 0}, Account), "a dict: Expected `int` >= 1 - at `$.size`"),
    "output, refused by itself": (lambda: returns({"size": 7}, Account), "node 'm' returned a dict: Invalid value"),
    "type in the store": (lambda: one(unequal), "key 'k' holds a str, not an int"),
    "sum in the store": (lambda: one(added), "key 'k' cannot be incremented: it holds a str, not an int"),
    "type in an item's store": (lambda: mapped(within_item), "key 'k' holds a str, not a bool"),
    "keys within a value": (lambda: one(exported), "key 'k': a set at [a str] would come back as a list"),
    "a Context": (lambda: mapped(repeated), "item=a str, index=0"),
    "a function with a value": (lambda: one(functools.partial(int, SECRET + "x")), "in node 'm' (a partial)"),
    "a map of one": (lambda: mapped(functools.partial(int, base=10), [SECRET]), "in item 0 (a str) of map 'm'"),
}


def _stage() -> flow.Dag:
    dag = mapped(lambda item: item)
    dag.map("n", bad, over="m", pipelined=True)
    return dag


def _flat() -> flow.Dag:
    dag = flow.Dag("d")
    dag.add("x", lambda: [1])
    dag.flat_map("m", lambda item: SECRET, over="x")
    return dag


def errors_of(name: str, backend: str, **settings: Any) -> list[BaseException]:
    return list(collected(MESSAGES[name][0](), backend, clock=flow.testing.FakeClock(), **settings).errors.values())


OWN = {"a function with a value", "a map of one"}
"""Where the exception's own message, which is not ours, has the value."""


@pytest.mark.parametrize("settings", modes("auto", "tasks", "observed"))
@pytest.mark.parametrize("name", MESSAGES)
def test_the_type_is_said_instead(name: str, settings: dict[str, Any], backend: str) -> None:
    text = "\n".join(said(error) for error in errors_of(name, backend, **HIDDEN, **settings))
    assert MESSAGES[name][1] in text
    notes = [note for error in errors_of(name, backend, **HIDDEN, **settings) for note in error.__notes__]
    assert SECRET not in ("\n".join(notes) if name in OWN else text)


@pytest.mark.parametrize("name", MESSAGES)
def test_by_default_the_value_is_said(name: str, backend: str) -> None:
    text = "\n".join(said(error) for error in errors_of(name, backend))
    assert SECRET in text or name == "output, out of range" and "{'size': 0}" in text


def test_in_a_dag_within_and_its_maps(backend: str) -> None:
    dag = flow.Dag("outer")
    dag.add("inner", mapped())
    (error,) = collected(dag, backend, **HIDDEN).errors.values()
    assert "in item 0 (a str)" in said(error) and SECRET not in said(error)


def test_what_a_collecting_map_says(backend: str) -> None:
    result = collected(mapped(items=[SECRET, SECRET], on_error="collect"), backend, **HIDDEN)
    errors = result["m"]
    with pytest.raises(flow.errors.MapError) as caught:
        errors.raise_for_errors()
    assert SECRET not in said(caught.value) + repr(errors) + repr(result) + str(result.to_dict(outputs=False))


def test_inputs_that_are_no_mapping() -> None:
    with pytest.raises(flow.InputError) as caught:
        flow.run(one(lambda x: x), [SECRET], config=flow.Config(**HIDDEN))  # type: ignore[arg-type]
    assert str(caught.value) == "inputs of dag 'd' do not fit: inputs must be a mapping by parameter name, not a list"


def test_inputs_of_tune() -> None:
    def secret() -> Iterator[str]:
        yield SECRET

    with pytest.raises(flow.errors.ConfigError) as caught:
        flow.tune(one(lambda x: x), {"x": secret()}, config=flow.Config(**HIDDEN))
    assert "by the first of many runs (a generator)" in str(caught.value)


class TestStores:
    """A store goes by its own settings; the one that a run makes for itself by the run's as well."""

    def test_a_store_of_its_own(self) -> None:
        data = flow.WorkflowData(flow.DataConfig(**HIDDEN))
        data["k"] = SECRET
        for refused in (
            lambda: data.get_int("k"),
            lambda: data.increment("k"),
            lambda: data.increment("n", SECRET),  # type: ignore[arg-type]
            lambda: data.child().get_float("k"),
            lambda: data.child().increment("k"),
            lambda: data.clone().get_bool("k"),
            lambda: flow.WorkflowData.from_json(data.to_json(), flow.DataConfig(**HIDDEN)).get_int("k"),
        ):
            with pytest.raises(flow.errors.WrongType) as caught:
                refused()
            assert "a str" in str(caught.value) and SECRET not in str(caught.value)

    def test_numbers_too_large(self) -> None:
        data = flow.WorkflowData(flow.DataConfig(**HIDDEN))
        data["n"] = 10**400
        with pytest.raises(flow.errors.WrongType, match="key 'n' holds an int, which is too large"):
            data.get_float("n")
        with pytest.raises(flow.errors.WrongType, match=r"cannot be incremented: an int \+ a float is no float"):
            data.increment("n", 0.5)

    @pytest.mark.parametrize("memory", ["standard", "arena"])
    def test_what_cannot_be_encoded(self, memory: Any) -> None:
        data = flow.WorkflowData(flow.DataConfig(memory=memory, **HIDDEN))
        for value in ({SECRET: [(1,)]}, {"a": {(SECRET,): 1}}):
            with pytest.raises(flow.errors.DataError) as caught:
                data["k"] = value
                data.to_msgpack()
            assert "[a str]" in str(caught.value) and SECRET not in str(caught.value)

    def test_by_default_all_is_said(self) -> None:
        data = flow.WorkflowData()
        data["k"] = SECRET
        with pytest.raises(flow.errors.WrongType, match=SECRET):
            data.get_int("k")

    def test_the_runs_own_settings_are_kept_but_for_that(self) -> None:
        config = flow.DataConfig(metrics="off", memory="slots")
        result = flow.run(one(unasked), config=flow.Config(data=config, **HIDDEN))
        with pytest.raises(flow.errors.WrongType) as caught:
            result.data["n"] = SECRET
            result.data.get_int("n")
        assert SECRET not in str(caught.value)

    def test_a_store_that_is_given_goes_by_its_own(self) -> None:
        data = flow.WorkflowData()
        result = flow.run(one(unequal), config=flow.Config(on_error="collect", **HIDDEN), data=data)
        assert SECRET in str(result.errors["m"])

    def test_it_travels_with_a_pickle(self) -> None:
        import pickle

        data = flow.WorkflowData(flow.DataConfig(**HIDDEN))
        data["k"] = SECRET
        with pytest.raises(flow.errors.WrongType, match="holds a str, not"):
            pickle.loads(pickle.dumps(data)).get_int("k")


def test_names_are_no_values() -> None:
    with pytest.raises(flow.errors.MissingKey, match="user"):
        flow.WorkflowData(flow.DataConfig(**HIDDEN))["user"]
    with pytest.raises(flow.InputError, match="user"):
        flow.run(one(lambda: 1), {"user": 1}, config=flow.Config(**HIDDEN))


def test_a_context_made_by_hand_shows_its_item() -> None:
    assert f"item={SECRET!r}" in repr(flow.testing.context(item=SECRET, index=0))
