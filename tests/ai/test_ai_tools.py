"""Functions and Dags as tools: what models are told of them, what models write, and what they are told of results."""

from __future__ import annotations

import functools
import json
from typing import Annotated, Any, Literal

import anyio
import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import flow
from flow.ai.docstrings import documented
from flow.ai.parameters import MAX_ARGUMENTS
from flow.ai.tools import Tool, tool, tool_of, tools_of
from flow.errors import ConfigError


class Item(msgspec.Struct):
    """An item.

    Attributes:
        name: what it is called
    """

    name: str
    count: int = 1


class Cart:
    def __init__(self, owner: str, size: int = 2) -> None:
        self.size = size


class Filter(pydantic.BaseModel):
    field: str
    least: int = 0


def search(query: str, ctx: flow.Context, limit: int = 5, items: list[Item] | None = None, exact: bool = False) -> str:
    """Search the web.

    It finds pages.

    Args:
        query (str): What to look
            for: words.
        limit: Most hits.

    Returns:
        str: text.
    """
    return f"{query} {limit} {items} {exact} {ctx.node}"


_NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
_SCALARS = st.none() | st.booleans() | _NUMBERS | st.text(max_size=5)
_NAMES = st.sampled_from(["query", "limit", "items", "name"])
JSON = st.recursive(_SCALARS, lambda one: st.lists(one, max_size=3) | st.dictionaries(_NAMES, one, max_size=3))


def faults_of(*tools: Any, **options: Any) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        tool_of(*tools, **options)
    return list(raised.value.faults)


def refusal(made: Tool, arguments: str) -> str:
    with pytest.raises(ValueError) as raised:
        made.read(arguments)
    return str(raised.value)


class TestSpec:
    def test_of_a_function(self) -> None:
        made = tool_of(search)
        assert made.spec.name == "search"
        assert made.spec.description == "Search the web.\n\nIt finds pages."
        assert made.spec.schema == {
            "type": "object",
            "properties": {
                "query": {"description": "What to look for: words.", "type": "string"},
                "limit": {"description": "Most hits.", "type": "integer", "default": 5},
                "items": {"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/Item"}}, {"type": "null"}]},
                "exact": {"type": "boolean", "default": False},
            },
            "required": ["query"],
            "additionalProperties": False,
            "$defs": {
                "Item": {
                    "description": "An item.",
                    "type": "object",
                    "properties": {
                        "name": {"type": "string", "description": "what it is called"},
                        "count": {"type": "integer", "default": 1},
                    },
                    "required": ["name"],
                }
            },
        }
        assert list(made.spec.schema["properties"]) == ["query", "limit", "items", "exact"]
        Draft202012Validator.check_schema(made.spec.schema)

    def test_the_context_is_not_shown(self) -> None:
        made = tool_of(search)
        assert made.context == "ctx"
        assert "ctx" not in json.dumps(made.spec.schema)
        ctx: Any = object()
        assert made.given(ctx, {"query": "a"}) == {"query": "a", "ctx": ctx}

    def test_without_parameters(self) -> None:
        def now() -> str:
            """The time."""
            return "12:00"

        made = tool_of(now)
        assert made.spec.schema == {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
        assert made.read("") == made.read("{}") == made.read("null") == {}
        assert made() == "12:00"

    def test_without_annotations(self) -> None:
        made = tool_of(lambda a, b=2: (a, b), name="pair")
        assert made.spec.schema["properties"] == {"a": {}, "b": {"default": 2}}
        assert made.read('{"a": [1, {"b": null}]}') == {"a": [1, {"b": None}]}

    def test_words_in_annotations(self) -> None:
        def weather(
            city: Annotated[str, "where"],
            unit: Annotated[Literal["C", "F"], msgspec.Meta(description="of the answer")] = "C",
        ) -> str:
            """Tell the weather.

            :param city: not told, as the annotation says it.
            """
            return city + unit

        properties = tool_of(weather).spec.schema["properties"]
        assert properties["city"] == {"description": "where", "type": "string"}
        assert properties["unit"] == {"description": "of the answer", "enum": ["C", "F"], "default": "C"}

    def test_callables(self) -> None:
        class Shop:
            def price(self, of: str, in_: str = "EUR") -> str:
                """Tell a price.

                :param of: the thing
                """
                return of + in_

            def __call__(self, thing: str) -> str:
                """Buy a thing."""
                return thing

        method, bound = tool_of(Shop().price), tool_of(functools.partial(Shop().price, in_="USD"))
        assert method.spec.schema["properties"]["of"]["description"] == "the thing"
        assert (bound.name, list(bound.spec.schema["properties"])) == ("price", ["of"])
        assert bound(of="pen") == "penUSD"
        assert tool_of(Shop(), name="buy").spec.description == "Buy a thing."
        assert list(tool_of(Shop(), name="buy").spec.schema["properties"]) == ["thing"]

        @functools.wraps(search)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return search(*args, **kwargs)

        assert tool_of(wrapper).spec == tool_of(search).spec

    def test_types_around_the_function(self) -> None:
        class Place(msgspec.Struct):
            city: str

        def go(to: Place, times: int = 1) -> Place:
            return Place(to.city * times)

        assert tool_of(go).read('{"to": {"city": "Rome"}}') == {"to": Place("Rome")}
        bought = tool_of(Cart, name="cart")
        assert list(bought.spec.schema["properties"]) == ["owner", "size"]
        assert bought(**bought.read('{"owner": "ada"}')).size == 2

    def test_defaults_that_no_json_says(self) -> None:
        def take(a: Any = object(), b: Item = Item("pen")) -> Any:
            return a, b

        properties = tool_of(take).spec.schema["properties"]
        assert "default" not in properties["a"]
        assert properties["b"]["default"] == {"name": "pen", "count": 1}

    def test_as_a_decorator(self) -> None:
        @tool
        def one(a: int) -> int:
            """One."""
            return a + 1

        @tool(name="zwei", approve=True, description="Two.", retry=flow.Retry(2), timeout=3.0, thread=True, max_chars=9)
        def two(a: int) -> int:
            return a + 2

        assert (one.name, one(3), one.needs_approval, one.thread, one.retry, one.timeout) == (
            "one", 4, False, False, None, None,
        )  # fmt: skip
        assert (two.spec.name, two.spec.description, two(3)) == ("zwei", "Two.", 5)
        assert (two.needs_approval, two.retry, two.timeout, two.thread) == (True, flow.Retry(2), 3.0, True)
        assert tool_of(two) is two
        assert "test_ai_tools.py:" in repr(two)

    def test_async_functions(self) -> None:
        async def fetch(url: str) -> str:
            return url

        assert tool_of(fetch).is_async
        assert not tool_of(search).is_async
        assert faults_of(fetch, thread=True) == ["thread=True is for sync functions, and this one is async: drop it"]

    def test_pydantic_parameters(self) -> None:
        made = tool_of(lambda filters: filters, name="find")
        assert made.read('{"filters": 1}') == {"filters": 1}

        def find(filters: list[Filter]) -> int:
            return len(filters)

        assert tool_of(find).read('{"filters": [{"field": "a"}]}') == {"filters": [Filter(field="a")]}
        said = refusal(tool_of(find), '{"filters": [{"field": "a", "least": "x"}, {}]}')
        assert "filters[0].least: expected an integer" in said
        assert "filters[1].field: expected a string, and it is missing" in said


class TestRefused:
    def test_all_faults_of_one(self) -> None:
        def bad(a, /, *args, c: complex, d: Nowhere, e: list[complex] | None = None, **more):  # noqa: F821
            yield a

        assert faults_of(bad, approve="yes", max_chars=0, description=3, retry=3, timeout=-1) == [
            "parameter 'a' can be given by position alone, and a model gives names: drop the '/'",
            "*args has no names that a model could be told: name its parameters",
            "**more has no names that a model could be told: name its parameters",
            "parameter 'd': its annotation cannot be evaluated: NameError: name 'Nowhere' is not defined; "
            "what it names must be in the module",
            "it is a generator function: let it return a list",
            "retry must be a flow.Retry or None, not 3",
            "timeout must be a number of seconds > 0, not -1",
            "approve must be True or False, not 'yes'",
            "max_chars must be an integer of at least 1, not 0",
            "description must be a str or None, not 3",
            "parameter 'c': no JSON makes a value of the type complex",
            "parameter 'e[]': no JSON makes a value of the type complex",
        ]

    def test_outcomes_and_two_contexts(self) -> None:
        def two(a: flow.Context, b: flow.Context, c: flow.Outcome[int]) -> None:
            pass

        assert faults_of(two) == [
            "several parameters are annotated as a flow.Context: a, b",
            "parameter 'c' is annotated as a flow.Outcome, which no model can give",
        ]

    @pytest.mark.parametrize("name", ["a.b", "", "ä", "a" * 65, "a b", 3])
    def test_names(self, name: Any) -> None:
        assert "providers take 1 to 64 letters" in faults_of(search, name=name)[0]

    def test_all_faults_of_a_list(self) -> None:
        other = tool_of(lambda: 1, name="search")
        with pytest.raises(ConfigError) as raised:
            tools_of([search, lambda x: x, 3, flow.Dag("a.b"), other])  # type: ignore[list-item]
        said = list(raised.value.faults)
        assert [fault.partition(":")[0].partition(" (")[0] for fault in said] == [
            "tool ''", "a tool", "tool 'a.b'", "tool 'a.b'", "2 tools have the name 'search'",
        ]  # fmt: skip
        assert "it has no name of its own" in said[0]

    def test_no_list(self) -> None:
        with pytest.raises(ConfigError, match="a list of functions"):
            tools_of("search")
        assert tools_of([search, tool_of(lambda: 1, name="other")])[1].name == "other"


class TestRead:
    @pytest.mark.parametrize(
        ("written", "read"),
        [
            ('{"query": "a"}', {"query": "a"}),
            ('{"query": 3}', {"query": "3"}),
            ('{"query": "3", "limit": "4"}', {"query": "3", "limit": 4}),
            ('{"query": "a", "limit": 4.0}', {"query": "a", "limit": 4}),
            ('{"query": "a", "limit": "4.0"}', {"query": "a", "limit": 4}),
            ('{"query": "a", "limit": null}', {"query": "a"}),
            ('{"query": "a", "items": null}', {"query": "a", "items": None}),
            ('{"query": "a", "items": "null"}', {"query": "a", "items": None}),
            ('{"query": "a", "exact": "True"}', {"query": "a", "exact": True}),
            (
                json.dumps({"query": "a", "items": '[{"name": "b", "count": "2"}]'}),
                {"query": "a", "items": [Item("b", 2)]},
            ),
        ],
    )  # fmt: skip
    def test_lax_where_nothing_is_lost(self, written: str, read: dict[str, Any]) -> None:
        found = tool_of(search).read(written)
        assert found == read
        assert {name: type(one) for name, one in found.items()} == {name: type(one) for name, one in read.items()}

    @pytest.mark.parametrize(
        ("written", "said"),
        [
            ('{"query": 1.10}', "query: expected a string, got 1.1 (a number)"),
            ('{"query": true}', "query: expected a string, got true"),
            ('{"query": "a", "limit": "4.5"}', 'limit: expected an integer, got "4.5" (a string)'),
            ('{"query": "a", "limit": 4.5}', "limit: expected an integer, got 4.5 (a number)"),
            ('{"query": "a", "limit": "1e400"}', "limit: expected an integer"),
            ('{"query": "a", "limit": true}', "limit: expected an integer, got true"),
            ('{"query": "a", "exact": 1}', "exact: expected true or false, got 1 (an integer)"),
            ('{"query": "a", "exact": "yes"}', "exact: expected true or false"),
            ('{"query": "a", "items": {"name": "b"}}', "items: expected a list or null, got an object of 1"),
            ('{"query": "a", "items": "[1,"}', "items: expected a list or null"),
            ('{"query": "a", "ctx": 1}', "ctx: there is no such field"),
            ('{"query": null}', "query: expected a string, got null"),
            ("{}", "query: expected a string, and it is missing"),
            ("[]", "the arguments: expected an object, got an empty list"),
            ('{"query": "a"', "the arguments are no JSON: Expecting ',' delimiter (line 1, column 14)"),
            ('{"query": "a", "query": "b"}', "an object has the key 'query' 2 times"),
            ('{"query": NaN}', "NaN is no JSON"),
            (json.dumps({"query": "a", "x" * 10_000: 1}), "x" * 200 + ": there is no such field"),
        ],
    )
    def test_refused_where_it_is(self, written: str, said: str) -> None:
        assert said in refusal(tool_of(search), written)

    def test_all_faults_at_once(self) -> None:
        said = refusal(tool_of(search), '{"limit": "x", "items": [{"nam": "b"}], "exact": "maybe"}')
        assert said.splitlines() == [
            "the arguments do not fit: 5 faults",
            '  - limit: expected an integer, got "x" (a string)',
            "  - items[0].nam: there is no such field (did you mean 'name'?)",
            "  - items[0].name: expected a string, and it is missing",
            '  - exact: expected true or false, got "maybe" (a string)',
            "  - query: expected a string, and it is missing",
        ]

    def test_bounded(self) -> None:
        assert f"at most {MAX_ARGUMENTS:,} are read" in refusal(tool_of(search), " " * (MAX_ARGUMENTS + 1))

    def test_unions_keep_what_fits(self) -> None:
        def take(a: int | str, b: float | None = None, c: dict[str, int] | None = None) -> None:
            pass

        made = tool_of(take)
        assert made.read('{"a": "3", "b": "2.5", "c": {"x": "1"}}') == {"a": "3", "b": 2.5, "c": {"x": 1}}
        assert made.read('{"a": 3}') == {"a": 3}

    def test_enums(self) -> None:
        def take(a: Literal[1, 2], b: Literal["1", "2"] = "1") -> None:
            pass

        assert tool_of(take).read('{"a": "2", "b": 2}') == {"a": 2, "b": "2"}
        assert 'b: expected "1" or "2", got "3" (a string)' in refusal(tool_of(take), '{"a": 1, "b": "3"}')

    @settings(max_examples=100, deadline=None)
    @given(JSON)
    def test_what_the_schema_takes_is_read(self, value: Any) -> None:
        """Reading is laxer than the schema, and never stricter; whatever comes, there is a value or a ValueError."""
        made = tool_of(search)
        text = json.dumps(value)
        fits = value is not None and Draft202012Validator(made.spec.schema).is_valid(value)
        try:
            found = made.read(text)
        except ValueError:
            assert not fits
        else:
            assert found.keys() <= {"query", "limit", "items", "exact"}


class TestTold:
    @pytest.mark.parametrize(
        ("value", "said"),
        [
            ("text {}", "text {}"),
            (None, "null"),
            ({"a": [1, 2.5, True]}, '{"a":[1,2.5,true]}'),
            (Item("pen"), '{"name":"pen","count":1}'),
            (Filter(field="a"), '{"field":"a","least":0}'),
            ([Filter(field="a")], '[{"field":"a","least":0}]'),
            ("half \ud800", "half ?"),
        ],
    )
    def test_of_values(self, value: Any, said: str) -> None:
        assert tool_of(search).told(value) == said

    def test_of_what_no_json_says(self) -> None:
        class Odd:
            def __repr__(self) -> str:
                return "<odd>" * 1_000

        class Worse:
            def __repr__(self) -> str:
                raise RuntimeError("no")

        made = tool_of(search)
        assert made.told({"a": Odd()}).startswith('{"a":"<odd><odd>')
        assert len(made.told({"a": Odd()})) < 600
        assert isinstance(made.told(Worse()), str)
        circle: list[Any] = []
        circle.append(circle)
        assert made.told(circle) == "[[...]]"

    def test_cut(self) -> None:
        made = tool_of(search, max_chars=10)
        assert made.told("x" * 10) == "x" * 10
        assert made.told("x" * 11) == "x" * 10 + "\n[cut here: the first 10 of 11 characters]"


def pricing() -> flow.Dag:
    dag = flow.Dag("pricing")

    @dag.node
    def rate(currency: Literal["EUR", "USD"]) -> float:
        return 2.0 if currency == "USD" else 1.0

    @dag.node
    async def line(rate: float, amount: int = 1) -> str:
        await anyio.sleep(0)
        return f"{rate * amount:g}"

    return dag


class TestDags:
    @pytest.mark.parametrize("backend", ["asyncio", "trio"])
    def test_runs_as_part_of_the_run(self, backend: str) -> None:
        made = tool_of(pricing(), description="Prices.")
        assert made.spec.schema["properties"] == {
            "currency": {"enum": ["EUR", "USD"]},
            "amount": {"type": "integer", "default": 1},
        }
        assert made.spec.schema["required"] == ["currency"]
        assert made.is_async
        dag = flow.Dag("outer")
        seen: list[Any] = []

        @dag.node
        async def call(ctx: flow.Context) -> Any:
            return await made.fn(**made.given(ctx, made.read('{"currency": "USD", "amount": "3"}')))

        async def main() -> Any:
            return (await flow.execute(dag, config=flow.Config(observers=[seen.append])))["call"]

        assert anyio.run(main, backend=backend) == "6"
        assert {getattr(event, "node", None) for event in seen} >= {"call", "rate", "line"}

    def test_several_outputs(self) -> None:
        dag = flow.Dag("several")
        dag.add("a", lambda x: x)
        dag.add("b", lambda ctx: ctx + 1)  # an input that is called as the Context of tools is
        dag.add("c", lambda x: x, when=flow.expr("x > 100"))
        made = tool_of(dag)
        assert made.context == "ctx_"
        outer = flow.Dag("outer")

        @outer.node
        async def call(ctx: flow.Context) -> Any:
            return await made.fn(**made.given(ctx, made.read('{"x": 1, "ctx": 2}')))

        assert anyio.run(flow.execute, outer)["call"] == {"a": 1, "b": 3}

    def test_declared_inputs(self) -> None:
        class Inputs(msgspec.Struct):
            city: str
            days: int = 3

        dag = flow.Dag("trip", inputs=Inputs)
        dag.add("plan", lambda city, days: f"{city} {days}")
        made = tool_of(dag)
        assert made.spec.schema["properties"] == {"city": {"type": "string"}, "days": {"type": "integer", "default": 3}}
        assert "days: expected an integer" in refusal(made, '{"city": "Rome", "days": "x"}')

    def test_secret_inputs_are_not_shown(self) -> None:
        class Inputs(msgspec.Struct):
            key: Annotated[str, flow.Secret]
            q: str

        dag = flow.Dag("secret", inputs=Inputs)
        dag.add("a", lambda key, q: q)
        assert faults_of(dag) == ["input 'key' is secret, and a model cannot give it: give it a default"]

        class Defaulted(msgspec.Struct):
            q: str
            key: Annotated[str, flow.Secret] = "k"

        dag = flow.Dag("secret", inputs=Defaulted)
        dag.add("a", lambda key, q: q)
        assert list(tool_of(dag).spec.schema["properties"]) == ["q"]
        assert "key: there is no such field" in refusal(tool_of(dag), '{"q": "a", "key": "mine"}')

    def test_one_that_cannot_be_compiled(self) -> None:
        dag = flow.Dag("circle")
        dag.add("a", lambda b: b)
        dag.add("b", lambda a: a)
        assert any("cycle" in fault for fault in faults_of(dag))


GOOGLE = """Do it.

More
of it.

Args:
    one (int): the first,
        with more.
    two: the second: it has a colon.
    *three, four (str, optional): two of them.

    five: after a blank line.

Returns:
    six: no parameter.

Raises:
    ValueError: never.
"""
NUMPY = """Do it.

More
of it.

Parameters
----------
one : int
    the first,
    with more.
two
    the second: it has a colon.
*three, four : str, optional
    two of them.

five : int
    after a blank line.

Returns
-------
six : int
    no parameter.
"""
SPHINX = """Do it.

More
of it.

:param int one: the first,
    with more.
:param two: the second: it has a colon.
:type two: int
:param three, four: two of them.
:raises ValueError: never.
:param five: after a blank line.
:return: six
:rtype: int
"""


class TestDocstrings:
    @pytest.mark.parametrize("doc", [GOOGLE, NUMPY, SPHINX], ids=["google", "numpy", "sphinx"])
    def test_the_three_styles(self, doc: str) -> None:
        said, parameters = documented(doc)
        assert said == "Do it.\n\nMore\nof it."
        assert parameters == {
            "one": "the first, with more.",
            "two": "the second: it has a colon.",
            "three": "two of them.",
            "four": "two of them.",
            "five": "after a blank line.",
        }

    def test_several_in_one_line(self) -> None:
        assert documented("Do.\n\n:param a: this. :param b: that.") == ("Do.", {"a": "this.", "b": "that."})

    def test_what_only_looks_like_a_section(self) -> None:
        doc = "Note: this stays.\n\nExample text:\nstays too.\n:shrug: stays as well"
        assert documented(doc)[0].startswith("Note: this stays.\n\nExample text:\nstays too.")

    @given(st.text(st.sampled_from("abA: \n-:*()\t,"), max_size=300))
    def test_any_text(self, doc: str) -> None:
        said, parameters = documented(doc)
        assert len(said) <= len(doc) * 8 + 1
        assert all(isinstance(one, str) for one in parameters.values())
