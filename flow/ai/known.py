"""The providers that have a prefix: ``openai:gpt-4.1-mini``. Their objects are made once, and shared."""

from __future__ import annotations

import os
from collections.abc import Mapping
from threading import Lock
from typing import Final

from flow.ai.errors import UnknownModel
from flow.ai.provider import Provider
from flow.errors import nearest, shown

URLS: Final[Mapping[str, str]] = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "cerebras": "https://api.cerebras.ai/v1",
    "deepseek": "https://api.deepseek.com/v1",
    "fireworks": "https://api.fireworks.ai/inference/v1",
    "gemini": "https://generativelanguage.googleapis.com/v1beta/openai",
    "groq": "https://api.groq.com/openai/v1",
    "lmstudio": "http://127.0.0.1:1234/v1",
    "mistral": "https://api.mistral.ai/v1",
    "moonshot": "https://api.moonshot.ai/v1",
    "ollama": "http://127.0.0.1:11434/v1",
    "openrouter": "https://openrouter.ai/api/v1",
    "perplexity": "https://api.perplexity.ai",
    "together": "https://api.together.xyz/v1",
    "vllm": "http://127.0.0.1:8000/v1",
    "xai": "https://api.x.ai/v1",
}
"""Where the providers are. The key of each is in the environment variable ``<PREFIX>_API_KEY``: ``XAI_API_KEY``."""

ELSEWHERE: Final[Mapping[str, str]] = {"openai": "OPENAI_BASE_URL", "anthropic": "ANTHROPIC_BASE_URL"}
"""Environment variables that say another URL, as the providers' own clients have them."""

_MADE: Final[dict[tuple[str, str], Provider]] = {}
_MAKING: Final = Lock()


def check_prefix(prefix: str, whole: str) -> None:
    """Refuse a prefix that means nothing. :param whole: what it is a part of, for the message.

    :raises UnknownModel: naming the nearest one.
    """
    if prefix not in URLS:
        text = f"{shown(whole)}: there is no provider {shown(prefix)}{nearest(prefix.lower(), URLS)}"
        others = "for others give ai.Model(provider=ai.OpenAICompatible(base_url=...), name=...)"
        raise UnknownModel(f"{text}; there are {', '.join(URLS)}; {others}")


def url_of(prefix: str) -> str:
    """Return where a provider is, also by what the environment says: see :data:`ELSEWHERE`, and ``OLLAMA_HOST``."""
    given = os.environ.get(ELSEWHERE.get(prefix, ""), "").strip()
    if prefix == "ollama" and (host := os.environ.get("OLLAMA_HOST", "").strip()):
        given = f"{host if '://' in host else f'http://{host}'}".rstrip("/") + "/v1"
    return given or URLS[prefix]


def provider_of(prefix: str) -> Provider:
    """Return the provider of a known prefix: one object for as long as its URL stays. From any thread.

    Its key is read from the environment at its first request.
    """
    key = prefix, url_of(prefix)
    with _MAKING:
        if key not in _MADE:
            _MADE[key] = _made(*key)
        return _MADE[key]


def _made(prefix: str, url: str) -> Provider:
    if prefix == "anthropic":
        from flow.ai.providers.anthropic import Anthropic  # here: the provider that is asked, and no other

        return Anthropic(base_url=url)
    from flow.ai.providers.openai import OpenAICompatible

    return OpenAICompatible(base_url=url, name=prefix)


__all__ = ["ELSEWHERE", "URLS", "check_prefix", "provider_of", "url_of"]
