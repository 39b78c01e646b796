"""What the name of a model says of its tokens: its vocabulary, its images. Rules of providers, as of 2026."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Literal

from flow.ai.vocabulary import VocabularyName

_EARLIER_CLAUDE: Final = re.compile(r"^claude-(2|3|(opus|sonnet|haiku)-4([-.][0-6])?(-\d{8}|-v\d|-latest|@|$))")

_IMAGES: Final = tuple(
    (re.compile(pattern), most)
    for pattern, most in (
        (r"^gpt-4o-mini", 48_169),  # 2,833 and 8 tiles of 5,667
        (r"^gpt-4\.1-nano|^gpt-5-nano", 3_779), (r"^gpt-4\.1-mini|^gpt-5-mini|^o4-mini", 2_642),  # 1,536 patches
        (r"^(chatgpt-4o|gpt-4o|gpt-4-|gpt-4\.1|gpt-4\.5|gpt-5(-\d{4}|$)|o1|o3)", 1_445),  # 85 and 8 tiles of 170
        (r"^(gpt-|o\d|codex)", 15_000),  # a photograph of 12 million pixels
        (_EARLIER_CLAUDE.pattern, 1_700),
        (r"^claude", 4_800),
        (r"^gemini", 1_200),
    )
)  # fmt: skip

OTHER_IMAGES: Final = 5_000
"""Tokens of an image for models of which nothing is known."""


@lru_cache(1_000)
def image_tokens(model: str) -> int:
    """Return how many tokens an image is counted as: the most that one has at this model, by its provider's rules.

    Images are not looked at. OpenAI: 1,445 where it counts tiles (gpt-4o, gpt-4.1, gpt-5, o1, o3), 48,169 for
    gpt-4o-mini, 2,642 and 3,779 for small models that count patches, 15,000 for later ones. Anthropic: 1,700 up to
    Claude 4.6, 4,800 since. Gemini: 1,200. Others: 5,000.
    """
    name = plain(model)
    return next((most for pattern, most in _IMAGES if pattern.search(name)), OTHER_IMAGES)


_CL100K: Final = re.compile(r"gpt-4($|-)|gpt-3\.5|gpt-35|text-embedding-(3|ada-002)")
_O200K: Final = re.compile(r"(chatgpt-|gpt-)4o|gpt-4\.[15]|gpt-5|gpt-oss|o[134]($|-)")
_OF_OPENAI: Final = re.compile(r"gpt-|chatgpt|codex|o\d($|-)")


@lru_cache(1_000)
def kind_of(model: str) -> tuple[VocabularyName, bool] | Literal["claude", "later claude", "other"]:
    """Return the vocabulary of a model, and whether that is certain; or whose it is, if that is not known."""
    name = plain(model)
    if _CL100K.match(name):
        return "cl100k_base", True
    if _O200K.match(name):
        return "o200k_base", True
    if _OF_OPENAI.match(name):
        return "o200k_base", False
    if name.startswith("claude"):
        return "claude" if _EARLIER_CLAUDE.search(name) else "later claude"
    return "other"


def plain(model: str) -> str:
    """Return a model's own name: without who offers it (``openai/gpt-4o``), or who has tuned it (``ft:gpt-4o:me``)."""
    name = model.lower().rpartition("/")[2]
    if "claude" in name:  # us.anthropic.claude-...
        return name[name.index("claude") :].partition(":")[0]
    return name.split(":")[1] if name.startswith("ft:") else name.partition(":")[0]


__all__ = ["image_tokens", "kind_of", "plain"]
