"""Types as strict JSON Schema, and answers read as values of them."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
import math
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NotRequired, TypedDict, TypeVar

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from msgspec import UNSET, Meta, Struct, UnsetType

import flow
from flow.ai.errors import OutputMismatch
from flow.ai.json_text import MAX_TEXT
from flow.ai.reading import MAX_DEPTH, MAX_FOUND, Read
from flow.ai.schemas import OutputType

# -- the rules of the strict form, checked by themselves ---------------------------------------

KEYWORDS = {
    "type", "enum", "anyOf", "$ref", "$defs", "description", "properties", "required", "additionalProperties", "items",
    "pattern", "format", "multipleOf", "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "minItems",
    "maxItems",
}  # fmt: skip
TYPES = {"string", "number", "integer", "boolean", "null", "object", "array"}


def broken_rules(root: dict[str, Any]) -> list[str]:
    """What of a schema OpenAI would refuse in strict mode."""
    found: list[str] = []
    if root.get("type") != "object":
        found.append("the root is no object")
    todo: list[tuple[str, Any]] = [("", root), *[(f"$defs.{k}", v) for k, v in root.get("$defs", {}).items()]]
    while todo:
        at, schema = todo.pop()
        if not isinstance(schema, dict) or not schema:
            found.append(f"{at}: empty or no schema")
            continue
        found += [f"{at}: keyword {k}" for k in schema if k not in KEYWORDS]
        if "$defs" in schema and at:
            found.append(f"{at}: $defs within")
        if "$ref" in schema:
            name = schema["$ref"].removeprefix("#/$defs/")
            if name not in root.get("$defs", {}):
                found.append(f"{at}: {schema['$ref']} leads nowhere")
            if len(schema) > 1:
                found.append(f"{at}: keywords beside $ref")
            continue
        if "anyOf" in schema:
            if not at or "type" in schema:
                found.append(f"{at}: anyOf at the root, or beside a type")
            todo += [(f"{at}|{n}", one) for n, one in enumerate(schema["anyOf"])]
            continue
        kinds = schema.get("type")
        kinds = {kinds} if isinstance(kinds, str) else set(kinds or ())
        if not kinds or not kinds <= TYPES:
            found.append(f"{at}: type {kinds}")
        if "object" in kinds:
            if schema.get("additionalProperties") is not False:
                found.append(f"{at}: open object")
            if schema.get("required") != list(schema.get("properties", {"?": 0})):
                found.append(f"{at}: not all required")
            todo += [(f"{at}.{name}", one) for name, one in schema["properties"].items()]
        if "array" in kinds:
            todo.append((f"{at}[]", schema.get("items")))
    used = json.dumps(root)
    return found + [
        f"$defs.{name} is used nowhere" for name in root.get("$defs", {}) if f'"#/$defs/{name}"' not in used
    ]


def test_the_rules_find_what_is_broken() -> None:
    assert broken_rules({"type": "object", "properties": {"a": {"title": "A"}}, "required": []})
    assert not broken_rules({"type": "object", "properties": {}, "required": [], "additionalProperties": False})


# -- random types ------------------------------------------------------------------------------


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
PLAIN: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers(-(2**60), 2**60)),
    (float, st.floats(allow_nan=False, allow_infinity=False)),
    (bool, st.booleans()),
    (str, TEXT),
    (Literal["a", "b", 3], st.sampled_from(["a", "b", 3])),
    (Color, st.sampled_from(Color)),
    (Level, st.sampled_from(Level)),
    (Annotated[int, Meta(ge=0, le=10)], st.integers(0, 10)),
]
FORMATTED: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (bytes, st.binary(max_size=8)),
    (uuid.UUID, st.uuids()),
    (datetime.date, st.dates()),
    (datetime.datetime, st.datetimes(timezones=st.just(datetime.UTC))),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
]
HASHABLE = [PLAIN[0], PLAIN[3]]
COUNT = iter(range(10**9))


@st.composite
def types(draw: Any, leaves: list[Any], depth: int = 3, optional: bool = True) -> tuple[Any, st.SearchStrategy[Any]]:
    """A type, and what makes values of it."""
    kinds = ["leaf", "leaf"]
    if depth:
        kinds += ["list", "set", "pair", "struct", "struct", "dataclass", "typeddict", *["optional"] * optional]
    match draw(st.sampled_from(kinds)):
        case "leaf":
            return draw(st.sampled_from(leaves))
        case "list":
            kind, values = draw(types(leaves, depth - 1))
            return list[kind], st.lists(values, max_size=3)
        case "set":
            kind, values = draw(st.sampled_from(HASHABLE))
            return set[kind], st.sets(values, max_size=3)
        case "pair":
            kind, values = draw(types(leaves, depth - 1))
            return tuple[kind, kind], st.tuples(values, values)
        case "optional":
            kind, values = draw(types(leaves, depth - 1, optional=False))
            return kind | None, st.none() | values
        case form:
            names = draw(st.lists(st.sampled_from(["a", "b", "c", "type", "title", "value"]), unique=True, max_size=4))
            fields = {name: draw(types(leaves, depth - 1)) for name in names}
            defaulted = {n for n in names if form != "typeddict" and draw(st.booleans())}
            return made(form, fields, {n: draw(fields[n][1]) for n in defaulted})


def made(form: str, fields: dict[str, Any], defaults: dict[str, Any]) -> tuple[Any, st.SearchStrategy[Any]]:
    name = f"Made{next(COUNT)}"
    kinds = {n: kind for n, (kind, _) in fields.items()}
    values = st.fixed_dictionaries({n: one for n, (_, one) in fields.items()})
    if form == "typeddict":
        return TypedDict(name, kinds), values  # type: ignore[operator]
    order = sorted(kinds, key=lambda n: n in defaults)
    if form == "struct":
        made_default = lambda value: msgspec.field(default_factory=lambda: value)  # noqa: E731
        cls: Any = msgspec.defstruct(
            name, [(n, kinds[n], made_default(defaults[n])) if n in defaults else (n, kinds[n]) for n in order]
        )
    else:
        plain = lambda value: dataclasses.field(default_factory=lambda: value)  # noqa: E731
        cls = dataclasses.make_dataclass(
            name, [(n, kinds[n], plain(defaults[n])) if n in defaults else (n, kinds[n]) for n in order]
        )
    return cls, values.map(lambda given: cls(**given))


def written(output: OutputType, value: Any) -> Any:
    """The JSON of a value as a model is to write it."""
    encoded = json.loads(msgspec.json.encode(value))
    return {"value": encoded} if list(output.spec.schema["properties"]) == ["value"] and output._wraps else encoded


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_values_of_random_types_come_back(data: Any) -> None:
    kind, values = data.draw(types(PLAIN + FORMATTED))
    output = OutputType(kind)
    assert broken_rules(dict(output.spec.schema)) == []
    for _ in range(3):
        value = data.draw(values)
        text = json.dumps(written(output, value))
        assert output.decode(text) == value
        Draft202012Validator(output.spec.schema).validate(json.loads(text))


SCALARS = st.none() | st.booleans() | st.integers(-20, 20) | st.floats(-9, 9) | st.sampled_from(["a", "red", "", "3"])


def changed(data: Any, value: Any, deletes: bool) -> Any:
    """A value of JSON in which one thing is other than it was."""
    if isinstance(value, dict) and value and data.draw(st.booleans()):
        name = data.draw(st.sampled_from(sorted(value)))
        if deletes and data.draw(st.booleans()):
            return {n: one for n, one in value.items() if n != name}
        return {**value, name: changed(data, value[name], deletes)}
    if isinstance(value, dict) and data.draw(st.booleans()):
        return {**value, "extra": 1}
    if isinstance(value, list) and value and data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(value) - 1))
        return [*value[:at], changed(data, value[at], deletes), *value[at + 1 :]]
    return data.draw(SCALARS | st.lists(SCALARS, max_size=3) | st.fixed_dictionaries({"a": SCALARS}))


def accepts(output: OutputType, text: str) -> bool:
    try:
        output.decode(text)
    except OutputMismatch as error:
        assert error.text == text
        return False
    return True


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_the_schema_takes_what_decode_takes(data: Any) -> None:
    kind, values = data.draw(types(PLAIN))
    output = OutputType(kind)
    value = changed(data, written(output, data.draw(values)), deletes=False)
    text = json.dumps(value)
    assert accepts(output, text) == Draft202012Validator(output.spec.schema).is_valid(value), output.spec.schema


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_decode_takes_no_less_where_fields_are_missing(data: Any) -> None:
    kind, values = data.draw(types(PLAIN))
    output = OutputType(kind)
    value = changed(data, written(output, data.draw(values)), deletes=True)
    if Draft202012Validator(output.spec.schema).is_valid(value):
        assert accepts(output, json.dumps(value))


# -- one by one --------------------------------------------------------------------------------


class Item(Struct):
    """An item of an order.

    :param name: what it is called.
    :param price: in EUR.
    """

    name: Annotated[str, Meta(min_length=2)]
    price: Annotated[float, Meta(ge=0)]
    tags: list[str] = []
    color: Color = Color.RED
    note: str | None = "none"
    count: int | UnsetType = UNSET


class Cat(Struct, tag=True):
    lives: int


class Dog(Struct, tag=True):
    name: str


T = TypeVar("T")


class Box(Struct, Generic[T]):
    item: T


@dataclasses.dataclass
class Unfit:
    a: complex
    b: dict[str, int]


class Unfitting(Struct):
    inner: list[Unfit]
    other: Any
    third: tuple[int, dict[int, str]]


class Torn(Struct):
    one: list[Box[int] | Unfit]


class Tearing(Struct):
    inner: Torn


class Tree(Struct):
    """A tree."""

    name: str
    kids: list[Tree] = []
    best: Tree | None = None


def refusal(kind: Any, text: str) -> str:
    with pytest.raises(OutputMismatch) as raised:
        OutputType(kind).decode(text)
    return str(raised.value)


class TestDecode:
    def test_null_for_a_default(self) -> None:
        item = OutputType(Item).decode(
            '{"name": "pen", "price": 2, "tags": null, "color": null, "note": null, "count": null}'
        )
        assert item == Item("pen", 2.0, [], Color.RED, None, UNSET)  # note is None: it may be

    def test_fields_with_defaults_may_be_missing(self) -> None:
        assert OutputType(Item).decode('{"name": "pen", "price": 2}') == Item("pen", 2.0)

    def test_all_faults_at_once(self) -> None:
        said = refusal(
            list[Item],
            '{"value": [{"name": "p", "price": "2", "tags": ["a", 1], "colour": "red"}, 3, '
            '{"price": -1, "name": "ab"}]}',
        )
        assert said.splitlines() == [
            "the answer does not have the form that was asked for: 6 faults",
            "  - value[0].name: expected at least 2 characters, got 1",
            '  - value[0].price: expected a number, got "2" (a string)',
            "  - value[0].tags[1]: expected a string, got 1 (an integer)",
            "  - value[0].colour: there is no such field (did you mean 'color'?)",
            "  - value[1]: expected an object, got 3 (an integer)",
            "  - value[2].price: expected at least 0, got -1 (an integer)",
        ]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "it is empty"),
            (" \n", "it is empty"),
            ("Here it is: {}", "Expecting value (line 1, column 1)"),
            ('{"a": 1} and more', "Extra data (line 1, column 10)"),
            ('{"a": 1, "a": 2}', "an object has the key 'a' 2 times"),
            ('{"a": NaN}', "NaN is no JSON"),
            ('{"a": -Infinity}', "-Infinity is no JSON"),
            ('{"a": 1e999}', "the number 1e999 is beyond every float"),
            ('{"a": ' + "1" * 2_000 + "}", "an integer has 2,000 digits"),
            ('{"a": "\\ud800"}', "half of a surrogate pair"),
            ("[" * 100_000, "nested too deep"),
            ('"' + "a" * MAX_TEXT + '"', f"at most {MAX_TEXT:,} are read"),
            ("```json\n{}", "Expecting value"),
            ("```python\n{}\n```", "Expecting value"),
        ],
    )
    def test_no_json(self, text: str, said: str) -> None:
        assert said in refusal(Item, text)

    @pytest.mark.parametrize(
        "text",
        [
            '```json\n{"value": 3}\n```',
            '\n ```\n{"value": 3}\n```  \n',
            '```JSON\r\n{"value": 3}\n```',
            '{"value": 3.0}',
        ],
    )
    def test_a_fence_and_blanks(self, text: str) -> None:
        found = OutputType(int).decode(text)
        assert found == 3
        assert type(found) is int

    def test_the_text_that_is_kept_is_bounded(self) -> None:
        with pytest.raises(OutputMismatch) as raised:
            OutputType(int).decode("x" * 1_000_000)
        assert len(raised.value.text) == 100_000

    def test_deep_values_are_refused(self) -> None:
        text = '{"name": "a", "best": ' * (MAX_DEPTH + 1) + "null" + "}" * (MAX_DEPTH + 1)
        assert f"nested more than {MAX_DEPTH} deep" in refusal(Tree, text)

    def test_values_are_shown_in_short(self) -> None:
        said = refusal(int, json.dumps({"value": "x" * 10_000}))
        assert len(said) < 300

    def test_many_faults_are_told_in_part(self) -> None:
        said = refusal(list[int], json.dumps({"value": ["x"] * 900}))
        assert said.splitlines()[-1] == "  - and 880 more"

    def test_faults_that_the_class_finds(self) -> None:
        class Even(Struct):
            n: int

            def __post_init__(self) -> None:
                if self.n % 2:
                    raise ValueError("n must be even")

        assert refusal(Even, '{"n": 3}').endswith("the answer: n must be even")
        assert refusal(list[Even], '{"value": [{"n": 3}]}').endswith("value[0]: n must be even")

    def test_formats(self) -> None:
        assert "value: Invalid RFC3339 encoded date" in refusal(datetime.date, '{"value": "tomorrow"}')
        assert OutputType(Path).decode('{"value": "/tmp/a"}') == Path("/tmp/a")

    def test_patterns(self) -> None:
        kind = Annotated[str, Meta(pattern="^[a-z]+$")]
        assert "matching regex" in refusal(kind, '{"value": "A1"}')
        assert OutputType(kind).spec.schema["properties"]["value"]["pattern"] == "^[a-z]+$"

    def test_tagged_unions(self) -> None:
        output = OutputType(Cat | Dog)
        assert output.decode('{"value": {"type": "Dog", "name": "Rex"}}') == Dog("Rex")
        assert refusal(Cat | Dog, '{"value": {"type": "Cow"}}').endswith(
            'value.type: expected "Cat" or "Dog", got "Cow" (a string)'
        )
        assert refusal(Cat | Dog, '{"value": {"name": "Rex"}}').endswith(
            'value.type: expected "Cat" or "Dog", and it is missing'
        )
        assert refusal(Cat | Dog, '{"value": {"type": "Dog"}}').endswith(
            "value.name: expected a string, and it is missing"
        )

    def test_unions_of_plain_types(self) -> None:
        output = OutputType(int | float | str | None)
        for value in (3, 3.5, "3", None, 2.0):
            found = output.decode(json.dumps({"value": value}))
            assert found == value
            assert type(found) is type(value)
        assert refusal(int | str, '{"value": []}').endswith("value: expected an integer or a string, got an empty list")

    def test_true_is_no_number(self) -> None:
        assert "expected an integer, got true" in refusal(int, '{"value": true}')
        assert "expected 1, got true" in refusal(Literal[1], '{"value": true}')

    def test_named_tuples_of_several_types(self) -> None:
        kind = tuple[int, str]
        assert OutputType(kind).decode('{"value": [1, "a"]}') == (1, "a")
        assert "value[0]: expected an integer" in refusal(kind, '{"value": ["a", "a"]}')
        assert "expected a list of 2, got 3" in refusal(kind, '{"value": [1, "a", "b"]}')
        assert "2 values in this order: integer, string" in json.dumps(OutputType(kind).spec.schema)


class TestSchema:
    def test_of_a_struct(self) -> None:
        assert OutputType(Item).spec == msgspec.convert(
            {
                "name": "Item",
                "schema": {
                    "description": "An item of an order.",
                    "type": "object",
                    "properties": {
                        "name": {"description": "(at least 2 characters)", "type": "string"},
                        "price": {"description": "in EUR.", "type": "number", "minimum": 0},
                        "tags": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]},
                        "color": {"anyOf": [{"$ref": "#/$defs/Color"}, {"type": "null"}]},
                        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                        "count": {"type": ["integer", "null"]},
                    },
                    "required": ["name", "price", "tags", "color", "note", "count"],
                    "additionalProperties": False,
                    "$defs": {"Color": {"type": "string", "enum": ["blue", "red"]}},
                },
            },
            type(OutputType(Item).spec),
        )

    def test_descriptions_of_meta_win(self) -> None:
        class Told(Struct):
            """Told.

            :param a: of the docstring.
            """

            a: Annotated[int, Meta(description="of Meta")]
            b: Annotated[Item, Meta(description="an item")]

        properties = OutputType(Told).spec.schema["properties"]
        assert properties["a"]["description"] == "of Meta"
        assert properties["b"] == {"description": "an item", "anyOf": [{"$ref": "#/$defs/Item"}]}

    @pytest.mark.parametrize(
        "kind", [Item, Cat | Dog, Tree, list[Tree], Tree | None, Literal["a"], int, Color, None, bool]
    )
    def test_follows_the_rules(self, kind: Any) -> None:
        assert broken_rules(dict(OutputType(kind).spec.schema)) == []

    def test_recursion(self) -> None:
        schema = OutputType(Tree).spec.schema
        assert schema["$defs"]["Tree"]["properties"]["kids"]["anyOf"][0]["items"] == {"$ref": "#/$defs/Tree"}
        value = {
            "name": "a",
            "kids": [{"name": "b", "kids": [], "best": None}],
            "best": {"name": "c", "kids": None, "best": None},
        }
        Draft202012Validator(schema).validate(value)
        assert OutputType(Tree).decode(json.dumps(value)) == Tree("a", [Tree("b")], Tree("c"))

    def test_a_field_of_one_value_is_not_null(self) -> None:
        class Kind(Struct):
            kind: Literal["x"] = "x"

        schema = OutputType(Kind).spec.schema
        assert schema["properties"]["kind"] == {"enum": ["x"], "type": "string"}
        assert OutputType(Kind).decode('{"kind": "x"}') == Kind()

    def test_renamed_fields(self) -> None:
        class Renamed(Struct, rename="camel"):
            first_name: str

        output = OutputType(Renamed)
        assert list(output.spec.schema["properties"]) == ["firstName"]
        assert output.decode('{"firstName": "Ada"}') == Renamed("Ada")

    def test_keys_of_a_typed_dict_keep_their_order(self) -> None:
        class Thought(TypedDict):
            reasoning: str
            answer: int
            extra: NotRequired[str]

        output = OutputType(Thought)
        assert list(output.spec.schema["properties"]) == ["reasoning", "answer", "extra"]
        assert output.decode('{"reasoning": "r", "answer": 1, "extra": null}') == {"reasoning": "r", "answer": 1}

    def test_times(self) -> None:
        class At(Struct):
            a: datetime.datetime
            b: list[datetime.datetime | None]
            c: datetime.time | None = None

        properties = OutputType(At).spec.schema["properties"]
        assert properties["a"] == {"type": "string", "format": "date-time"}
        assert properties["b"]["items"]["anyOf"][0] == {"type": "string", "format": "date-time"}
        assert properties["c"]["anyOf"][0] == {"type": "string", "format": "time"}

    def test_what_strict_form_has_no_keyword_for_is_said(self) -> None:
        said = json.dumps(OutputType(tuple[Annotated[str, Meta(max_length=5)], bytes]).spec.schema)
        assert "at most 5 characters" in said
        assert "in base64" in said
        assert "each once" in json.dumps(OutputType(set[int]).spec.schema)

    def test_attrs_and_generics(self) -> None:
        @attrs.define
        class Point:
            x: int
            y: int = 3

        assert OutputType(Point).decode('{"x": 1, "y": null}') == Point(1, 3)
        assert OutputType(Box[int]).decode('{"item": 3}') == Box(3)
        assert OutputType(Box[int]).spec.name == "answer"

    @pytest.mark.parametrize(
        ("kind", "said"),
        [
            (dict, "output=dict has no schema: a mapping has keys of its own"),
            (dict[str, int], "use a list of objects that have the key as a field"),
            (Any, "it may be anything"),
            (list, "[]: it may be anything"),
            (complex, "no JSON makes a value of the type complex"),
            (Tree | int | Item, "must be tagged"),
            ("Item", "is not supported"),
            (3, "is not supported"),
        ],
    )
    def test_types_without_a_schema(self, kind: Any, said: str) -> None:
        with pytest.raises(flow.UsageError) as raised:
            OutputType(kind)
        assert said in str(raised.value)

    def test_all_places_without_a_schema(self) -> None:
        with pytest.raises(flow.UsageError) as raised:
            OutputType(Unfitting)
        lines = str(raised.value).splitlines()
        assert lines[0] == "output=Unfitting has no schema: 4 faults"
        assert [line.partition(": ")[0] for line in lines[1:]] == [
            "  - inner[].a", "  - inner[].b", "  - other", "  - third[]",
        ]  # fmt: skip

    def test_the_place_of_a_union_that_cannot_be(self) -> None:
        with pytest.raises(flow.UsageError, match=r"output=Tearing has no schema: inner\.one: Type unions"):
            OutputType(Tearing)

    def test_names_for_providers(self) -> None:
        assert OutputType(Item).spec.name == "Item"
        assert OutputType(list[Item]).spec.name == "answer"
        assert OutputType(type("Größe", (Struct,), {"__annotations__": {}})).spec.name == "Gr_e"


# -- pydantic ----------------------------------------------------------------------------------


class Part(pydantic.BaseModel):
    """A part."""

    size: int = pydantic.Field(description="in mm", gt=1)


class Whole(pydantic.BaseModel):
    parts: list[Part]
    best: Part | None = None
    more: Whole | None = None
    unit: Literal["mm"] = "mm"
    day: datetime.date | None = None

    @pydantic.field_validator("parts")
    @classmethod
    def check(cls, parts: list[Part]) -> list[Part]:
        if len(parts) == 3:
            raise ValueError("three are too many")
        return parts


class Lone(pydantic.BaseModel):
    part: Part


class Meow(pydantic.BaseModel):
    kind: Literal["cat"]
    lives: int


class Bark(pydantic.BaseModel):
    kind: Literal["dog"]
    name: str


class Left(pydantic.BaseModel):
    one: Left | Right | None = None


class Right(pydantic.BaseModel):
    one: Left | Right | None = None


Left.model_rebuild()


class Pets(pydantic.BaseModel):
    pets: list[Annotated[Meow | Bark, pydantic.Field(discriminator="kind")]]


class TestPydantic:
    def test_comes_back(self) -> None:
        value = Whole(parts=[Part(size=2)], best=Part(size=3), more=Whole(parts=[]), day=datetime.date(2026, 1, 2))
        output = OutputType(Whole)
        assert broken_rules(dict(output.spec.schema)) == []
        Draft202012Validator(output.spec.schema).validate(json.loads(value.model_dump_json()))
        assert output.decode(value.model_dump_json()) == value

    def test_within_other_types(self) -> None:
        class Crate(Struct):
            lone: Lone
            wholes: list[Whole]
            part: Part | None = None

        output = OutputType(list[Crate])
        assert broken_rules(dict(output.spec.schema)) == []
        value = [Crate(Lone(part=Part(size=2)), [Whole(parts=[Part(size=4)])])]
        text = msgspec.json.encode({"value": value}, enc_hook=lambda one: one.model_dump(mode="json")).decode()
        assert output.decode(text) == value
        Draft202012Validator(output.spec.schema).validate(json.loads(text))

    def test_all_faults(self) -> None:
        said = refusal(Whole, '{"parts": [{"size": 1}, {"size": "x"}, {}], "best": {"size": 3, "x": 1}, "unit": "cm"}')
        assert [line.strip(" -").partition(":")[0] for line in said.splitlines()[1:]] == [
            "parts[0].size", "parts[1].size", "parts[2].size", "best.x", "unit",
        ]  # fmt: skip

    def test_faults_of_validators(self) -> None:
        text = json.dumps({"parts": [{"size": 2}] * 3})
        assert refusal(Whole, text).endswith("parts: Value error, three are too many")
        assert refusal(list[Whole], f'{{"value": [{text}]}}').endswith(
            "value[0].parts: Value error, three are too many"
        )

    def test_discriminated_unions(self) -> None:
        output = OutputType(Pets)
        assert broken_rules(dict(output.spec.schema)) == []
        assert output.decode('{"pets": [{"kind": "dog", "name": "Rex"}]}').pets == [Bark(kind="dog", name="Rex")]
        assert refusal(Pets, '{"pets": [{"kind": "cow"}]}').endswith(
            'pets[0].kind: expected "cat" or "dog", got "cow" (a string)'
        )

    def test_descriptions(self) -> None:
        part = OutputType(Part).spec.schema
        assert part["description"] == "A part."
        assert part["properties"]["size"] == {"description": "in mm", "type": "integer", "exclusiveMinimum": 1}

    def test_no_schema(self) -> None:
        class Open(pydantic.BaseModel):
            names: dict[str, int]
            anything: Any

        with pytest.raises(flow.UsageError, match="2 faults") as raised:
            OutputType(Open)
        assert "names: a mapping" in str(raised.value)

    def test_unions_of_classes_are_told_what_to_write_instead(self) -> None:
        for kind in (Left | Right, list[Meow | Bark], Left | int):
            with pytest.raises(flow.UsageError, match="Write one class with a field that is the union"):
                OutputType(kind)

    def test_classes_that_take_more_are_closed(self) -> None:
        class Loose(pydantic.BaseModel, extra="allow"):
            a: int

        output = OutputType(Loose)
        assert output.spec.schema["additionalProperties"] is False
        assert output.decode('{"a": 1}') == Loose(a=1)
        assert refusal(Loose, '{"a": 1, "b": 2}').endswith("b: there is no such field; there are: a")

    def test_unions_that_nothing_tells_apart_end(self) -> None:
        """Each level has two forms, and what is wrong stands at the bottom: 2**60 ways to read it."""

        text = '{"one": ' * 60 + "3" + "}" * 60
        assert "too many forms" in refusal(Left, text)


@pytest.mark.parametrize(
    "value", [{"rows": ["x"] * 5_000}, {f"field{i}": i for i in range(5_000)}, {"rows": [{"a": "x"}] * 5_000}]
)
def test_reading_ends_after_many_faults(value: Any) -> None:
    """The rest would take long, and nobody is told of it."""

    class Rows(Struct):
        rows: list[int]

    read = Read(OutputType(Rows)._form.defs, closed=True)
    read.value(OutputType(Rows)._schema, value)
    assert MAX_FOUND <= len(read.faults) <= MAX_FOUND + 1
    with pytest.raises(OutputMismatch) as caught:
        OutputType(Rows).decode(json.dumps(value))
    *told, last = str(caught.value).splitlines()[1:]
    assert len(told) == 20
    assert last.startswith("  - and at least 98")


def test_numbers_keep_their_value() -> None:
    assert OutputType(float).decode('{"value": 1e22}') == 1e22
    assert OutputType(int).decode('{"value": 123456789012345678901234567890}') == 123456789012345678901234567890
    assert math.copysign(1, OutputType(float).decode('{"value": -0.0}')) == -1.0
