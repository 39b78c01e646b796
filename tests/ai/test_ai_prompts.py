"""Prompts: what they read, what they give, and what is refused."""

from __future__ import annotations

import functools
import inspect
import pickle
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flow
from flow.ai.images import MAX_BYTES, image
from flow.ai.messages import Image, Message, Text
from flow.ai.prompts import AsyncPrompt, Prompt
from flow.errors import EvaluationError, ExpressionSyntaxError

PNG = b"\x89PNG\r\n\x1a\n...."
JPEG = b"\xff\xd8\xff\xe0...."
GIF = b"GIF89a...."
WEBP = b"RIFF\x00\x01\x02\x03WEBPVP8 "


def asked(dag: flow.Dag, inputs: dict[str, Any], backend: str = "asyncio") -> Any:
    async def main() -> Any:
        return (await flow.execute(dag, inputs))["ask"]

    return anyio.run(main, backend=backend)


def test_a_template() -> None:
    prompt = Prompt("Summarise in {{ upper(lang) }}:\n{{ text }}", system="You are {{ inputs.tone }}.")
    dag = flow.Dag("asks")
    dag.add("text", lambda: "A text.")
    dag.add("ask", prompt)
    assert flow.run(dag, {"lang": "en", "tone": "dry"})["ask"] == (
        Message("system", "You are dry."),
        Message("user", "Summarise in EN:\nA text."),
    )


@given(st.text(st.characters(codec="utf-8")))
def test_values_are_not_interpreted(text: str) -> None:
    text = "{{ secret }}" + text + "\\{{ {% if %}"
    assert Prompt("<{{ x }}>")(text) == (Message("user", f"<{text}>"),)
    assert Prompt(lambda x: f"<{x}>")(text) == (Message("user", f"<{text}>"),)
    assert Prompt("a", system="{{ x }}")(text)[0] == Message("system", text)


def test_braces_in_a_template() -> None:
    assert Prompt(r"\{{ x }}")() == (Message("user", "{{ x }}"),)
    assert Prompt("no expression")() == (Message("user", "no expression"),)


def test_templates_that_are_made_already() -> None:
    text = flow.template("{{ x }}!")
    assert Prompt(text)(3) == Prompt(text.made)(3) == (Message("user", "3!"),)  # type: ignore[arg-type]


class TestFunctions:
    def test_parameters_are_those_of_the_node(self) -> None:
        def prompt(text: str, *, lang: str = "en", ctx: flow.Context) -> str:
            return f"{ctx.node} {lang} {text}"

        dag = flow.Dag("asks")
        dag.add("text", lambda: "A text.")
        dag.add("ask", Prompt(prompt))
        assert flow.run(dag)["ask"] == (Message("user", "ask en A text."),)
        assert flow.run(dag, {"lang": "de"})["ask"] == (Message("user", "ask de A text."),)

    def test_defaults_stay_the_functions_own(self) -> None:
        first = lambda x="first": x  # noqa: E731
        second = lambda y, x="second": f"{x} {y}"  # noqa: E731
        prompt = Prompt(second, system=first)
        dag = flow.Dag("asks")
        dag.add("ask", prompt)
        assert [one.content for one in flow.run(dag, {"y": 1})["ask"]] == ["first", "second 1"]
        assert [one.content for one in flow.run(dag, {"y": 1, "x": "given"})["ask"]] == ["given", "given 1"]

    def test_what_one_needs_is_needed(self) -> None:
        prompt = Prompt("{{ x }}", system=lambda x="none": f"x is {x}")
        dag = flow.Dag("asks")
        dag.add("ask", prompt)
        with pytest.raises(flow.errors.InputError, match="x"):
            flow.run(dag)

    def test_positional_and_partial(self) -> None:
        def prompt(a: int, b: int = 2, /, c: int = 3, *, d: int = 4) -> str:
            return f"{a} {b} {c} {d}"

        dag = flow.Dag("asks")
        dag.add("ask", Prompt(functools.partial(prompt, d=5)))
        assert flow.run(dag, {"a": 1, "c": 9})["ask"][0].content == "1 2 9 5"

        class Asker:
            def __call__(self, a: int) -> str:
                return str(a)

            def ask(self, a: int, b: int = 7) -> str:
                return f"{a} {b}"

        assert Prompt(Asker())(1) == (Message("user", "1"),)
        dag = flow.Dag("asks")
        dag.add("ask", Prompt(Asker().ask))
        assert flow.run(dag, {"a": 1})["ask"][0].content == "1 7"

    def test_an_outcome_beside_the_value(self) -> None:
        def system(a: flow.Outcome[str]) -> str:
            return f"a has {a.status}"

        prompt = Prompt("{{ failed(a) }} {{ b }}", system=system)
        assert len({p.name for p in prompt.shape().parameters}) == len(prompt.shape().parameters)
        dag = flow.Dag("asks")
        dag.add("a", lambda: 1 / 0)
        dag.add("ask", prompt)
        result = flow.run(dag, {"b": 1}, config=flow.Config(on_error="collect"))
        assert [one.content for one in result["ask"]] == ["a has failed", "true 1"]

    @pytest.mark.parametrize("backend", ["asyncio", "trio"])
    def test_async(self, backend: str) -> None:
        async def prompt(text: str, times: int = 2) -> str:
            await anyio.sleep(0)
            return text * times

        made = Prompt(prompt, system="Be {{ mood }}.")
        assert isinstance(made, AsyncPrompt)
        assert made.shape().is_async
        dag = flow.Dag("asks")
        dag.add("ask", made)
        found = asked(dag, {"text": "ab", "mood": "kind"}, backend)
        assert found == (Message("system", "Be kind."), Message("user", "abab"))

    def test_what_nothing_awaits_is_told(self) -> None:
        async def later() -> str:
            return "x"

        with pytest.raises(flow.UsageError, match="prompt=.*async"):
            Prompt(lambda: later())()


class TestContents:
    @pytest.mark.parametrize(
        ("given", "contents"),
        [
            ("text", ["text"]),
            (3, ["3"]),
            (True, ["true"]),
            (["a", Image(data=PNG)], [(Text("a"), Image(data=PNG, media_type="image/png"))]),
            (("a", Text("b")), [(Text("a"), Text("b"))]),
            (Image(url="https://a.b/c.png"), [(Image(url="https://a.b/c.png"),)]),
            (Message("user", "a"), ["a"]),
            ([Message("user", "a"), {"role": "assistant", "content": "b"}], ["a", "b"]),
            ({"role": "user", "content": [{"type": "text", "text": "a"}]}, [(Text("a"),)]),
            ([Message("user", (Text("a"), Image(data=GIF)))], [(Text("a"), Image(data=GIF, media_type="image/gif"))]),
        ],
    )
    def test_what_a_function_may_give(self, given: Any, contents: list[Any]) -> None:
        assert [one.content for one in Prompt(lambda: given)()] == contents
        assert [one.content for one in Prompt("{{ x }}")(given)] == contents

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            (None, "the model is asked nothing"),
            ([], "the model is asked nothing"),
            (object(), "prompt= must give a text, or a list of texts and images, and it has given an object"),
            ([1], "given a list that holds an int"),
            ([Message("user", "a"), "b"], "given a list that holds a Message"),
            ({"a": 1}, "prompt: a message has the fields role and content: "),
            ({"role": "boss", "content": "a"}, "Invalid enum value 'boss'"),
            (Image(), "an image has either a URL or bytes"),
        ],
    )
    def test_what_it_may_not_give(self, given: Any, said: str) -> None:
        with pytest.raises(flow.UsageError) as raised:
            Prompt(lambda: given)()
        assert said in str(raised.value)

    def test_what_is_wrong_for_good_is_not_tried_again(self) -> None:
        calls = []
        dag = flow.Dag("asks")
        dag.add("ask", Prompt(lambda: calls.append(1) or [1]), retry=flow.Retry(3, delay=0.0))
        with pytest.raises(flow.RunError):
            flow.run(dag)
        assert calls == [1]

    def test_messages_stand_between(self) -> None:
        earlier = [Message("user", "a"), {"role": "assistant", "content": "b"}]
        for prompt, values in (
            (Prompt("c", system="s", messages=earlier), ()),
            (Prompt("c", system="s", messages="{{ history }}"), (earlier,)),
            (Prompt("c", system="s", messages=lambda history: history), (earlier,)),
        ):
            assert [(one.role, one.content) for one in prompt(*values)] == [
                ("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c"),
            ]  # fmt: skip
        assert [one.content for one in Prompt(messages="{{ history }}")(earlier)] == ["a", "b"]
        assert [one.content for one in Prompt([Message("user", "a")])()] == ["a"]
        with pytest.raises(flow.UsageError, match="messages= must give a list of messages, and it has given a str"):
            Prompt("c", messages="{{ history }}")("text")

    def test_no_system(self) -> None:
        for system in (None, "", lambda: None):
            assert Prompt("a", system=system)() == (Message("user", "a"),)
        with pytest.raises(flow.UsageError, match="system= must give a text, and it has given a list"):
            Prompt("a", system=lambda: ["b"])()


class TestRefused:
    def test_expressions(self) -> None:
        with pytest.raises(ExpressionSyntaxError) as raised:
            Prompt("a\nb {{ x")
        same = pytest.raises(ExpressionSyntaxError, flow.template, "a\nb {{ x")
        assert str(raised.value) == str(same.value)
        assert (raised.value.line, raised.value.column) == (2, 3)
        with pytest.raises(ExpressionSyntaxError, match=r"^system:2:9: "):
            Prompt("a", system="a\nb {{ 1 + }}")
        with pytest.raises(ExpressionSyntaxError, match="no key 'nothing' in system"):
            Prompt("{{ system.nothing }}")

    def test_at_run_time_the_node_is_named(self) -> None:
        dag = flow.Dag("asks")
        dag.add("ask", Prompt("a\n{{ x.y }}", system="{{ s }}"))
        with pytest.raises(flow.RunError) as raised:
            flow.run(dag, {"x": {"z": 1}, "s": "a"})
        (error,) = raised.value.exceptions
        assert isinstance(error, EvaluationError)
        assert "there is no key 'y' in a dict" in str(error)
        assert error.column == 3
        assert error.__notes__[0].startswith("in node 'ask' (")
        assert "test_ai_prompts.py" in error.__notes__[0]

    def test_unknown_names_are_named_when_the_dag_is_compiled(self) -> None:
        dag = flow.Dag("asks", inputs=["text"])
        dag.add("ask", Prompt("{{ text }} {{ lang }}"))
        with pytest.raises(flow.DefinitionError, match="'lang', which is neither a node nor a declared input"):
            dag.compile()

    @pytest.mark.parametrize(
        ("make", "said"),
        [
            (lambda: Prompt(), "a prompt is made of"),
            (
                lambda: Prompt(3),
                "prompt= is a text with {{ expressions }} or a function, or a list of messages, not an int",
            ),
            (lambda: Prompt("a", system=["b"]), "system= is a text with {{ expressions }} or a function, not a list"),
            (lambda: Prompt("a", messages=3), "messages= is a text"),
            (lambda: Prompt("a", messages=[3]), "messages= must give a list of messages"),
            (lambda: Prompt(lambda *a: "x"), "prompt= takes *args alone"),
            (lambda: Prompt("a", system=lambda **k: "x"), "system= takes **kwargs alone"),
        ],
    )
    def test_what_is_no_prompt(self, make: Any, said: str) -> None:
        with pytest.raises(flow.UsageError) as raised:
            make()
        assert said in str(raised.value)

    def test_generators(self) -> None:
        def prompt(x: int) -> Any:
            yield x

        with pytest.raises(flow.UsageError, match="prompt= is a generator function"):
            Prompt(prompt)

    def test_names_that_are_missing(self) -> None:
        prompt = Prompt("{{ a }} {{ default(b, 2) }}")
        assert prompt(a=1) == (Message("user", "1 2"),)
        with pytest.raises(TypeError, match=r"missing: \['a'\], unknown: \['c'\]"):
            prompt(c=1)


def test_the_signature() -> None:
    def system(tone: str = "dry", *, ctx: flow.Context) -> str:
        return tone

    prompt = Prompt("{{ text }} {{ inputs.lang }} {{ nodes['a'] }}", system=system)
    assert list(inspect.signature(prompt).parameters) == ["ctx", "tone", "text", "a", "lang"]
    assert inspect.signature(prompt).parameters["tone"].default == "dry"
    assert prompt.needs_context
    assert not Prompt("{{ text }}").needs_context


def test_pickled() -> None:
    prompt = Prompt("{{ x }}", system=flow.template("{{ y }}"), messages=[Message("user", "a")])
    again = pickle.loads(pickle.dumps(prompt))
    assert again(y=1, x=2) == prompt(y=1, x=2)
    assert again.location == prompt.location


class TestImages:
    @pytest.mark.parametrize(
        ("data", "kind"), [(PNG, "image/png"), (JPEG, "image/jpeg"), (GIF, "image/gif"), (WEBP, "image/webp")]
    )
    def test_bytes_and_files(self, data: bytes, kind: str, tmp_path: Path) -> None:
        path = tmp_path / "image.bin"
        path.write_bytes(data)
        assert image(data) == image(bytearray(data)) == image(path) == Image(data=data, media_type=kind)

    def test_what_the_bytes_say_wins(self) -> None:
        prompt = Prompt(lambda: [Image(data=PNG, media_type="image/gif")])
        assert prompt()[0].content[0] == Image(data=PNG, media_type="image/png")
        assert Prompt(lambda: Image(data=b"<svg/>", media_type="image/svg+xml"))()[0].content[0].media_type

    @pytest.mark.parametrize("url", ["https://a.b/c", "http://a/b?c", "data:image/png;base64,AAAA"])
    def test_urls(self, url: str) -> None:
        assert image(url) == Image(url=url)

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ("/etc/passwd", "of a file: ai.image(pathlib.Path(...))"),
            ("file:///etc/passwd", "begins with https:"),
            ("data:text/html,x", "begins with https:"),
            ("https:// a", "begins with https:"),
            (b"RIFF....WAVE", "no PNG, JPEG, GIF or WebP"),
            (b"", "either a URL or bytes"),
            ("", "either a URL or bytes"),
            (3, "not of an int"),
            (PNG + b"x" * MAX_BYTES, "more than 20,000,000 bytes"),
            (Path("/nowhere/at/all.png"), "cannot be read: FileNotFoundError"),
        ],
        ids=lambda given: str(given)[:20],
    )
    def test_refused(self, given: Any, said: str) -> None:
        with pytest.raises(flow.UsageError) as raised:
            image(given)
        assert said in str(raised.value)
