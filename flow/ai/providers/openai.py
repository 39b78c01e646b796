"""Models behind OpenAI's chat completions, which many other servers speak: :class:`OpenAICompatible`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from flow.ai.providers.keys import KeySource
from flow.ai.providers.over_http import HTTPProvider
from flow.ai.providers.transport import CONNECT_SECONDS, MAX_BYTES, READ_SECONDS, Transport
from flow.ai.providers.wire_openai import ChatCompletions

BASE_URL: Final = "https://api.openai.com/v1"

_NAMES: Final[Mapping[str, str]] = {
    "api.openai.com": "openai",
    "openai.azure.com": "azure",
    "openrouter.ai": "openrouter",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral",
    "api.deepseek.com": "deepseek",
    "api.together.xyz": "together",
    "api.x.ai": "xai",
}
"""Providers by the end of their hosts' names."""

_NEWER: Final = frozenset({"openai", "azure"})
"""Those that want ``max_completion_tokens``: their newer models refuse ``max_tokens``, which all others know."""


class OpenAICompatible(HTTPProvider):
    """A provider that speaks chat completions: OpenAI, Azure, Ollama, vLLM, llama.cpp, OpenRouter, ...

    One object serves any number of calls at once, on asyncio and trio, in one event loop after another.

    :param base_url: requests go to ``/chat/completions`` below it. A query (``?api-version=...``) is kept.
    :param api_key: a text, or a function that returns one (or an awaitable of one), called for each request. None is
        the environment variable ``<NAME>_API_KEY``, read at the first request; servers other than OpenAI's may have
        none, and are asked without a key then. Empty: without a key, as if ``headers`` have the field for it.
    :param name: in usage, metrics and messages. None: known by the host, else the host itself.
    :param headers: further header fields.
    :param auth_header: the field that holds the key: ``authorization`` (as ``Bearer``), or another, as it is
        (``api-key`` for Azure).
    :param tokens_field: what the most output tokens are called. None: ``max_completion_tokens`` for OpenAI and Azure,
        else ``max_tokens``.
    :param timeout: seconds of silence within an answer after which it is given up.
    :param connect_timeout: seconds until there is a connection. :param max_bytes: longest body of an answer.
    :param client: an ``httpx2.AsyncClient`` to use instead of our own; it stays open.
    :raises ConfigError: for arguments that cannot be used; it has all faults.
    """

    def __init__(
        self,
        base_url: str = BASE_URL,
        api_key: KeySource = None,
        name: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        auth_header: str = "authorization",
        tokens_field: Literal["max_completion_tokens", "max_tokens"] | None = None,
        timeout: float = READ_SECONDS,
        connect_timeout: float = CONNECT_SECONDS,
        max_bytes: int = MAX_BYTES,
        client: Any = None,
    ) -> None:
        known = name_of(base_url)
        faults = []
        if tokens_field not in (None, "max_completion_tokens", "max_tokens"):
            faults.append("tokens_field must be 'max_completion_tokens' or 'max_tokens'")
        transport = Transport(
            known if name is None else name,
            below(base_url, "chat/completions"),
            api_key,
            required=known in _NAMES.values(),
            auth_header=auth_header,
            headers=headers,
            timeout=timeout,
            connect_timeout=connect_timeout,
            max_bytes=max_bytes,
            client=client,
            faults=faults,
        )
        super().__init__(ChatCompletions(tokens_field or tokens_field_of(known)), transport)


def name_of(base_url: object) -> str:
    """Return what the provider at a URL is called: by a table, else its host."""
    from urllib.parse import urlsplit

    try:
        host = (urlsplit(base_url).hostname or "") if isinstance(base_url, str) else ""
    except ValueError:
        host = ""
    known = (name for end, name in _NAMES.items() if host == end or host.endswith(f".{end}"))
    return next(known, host or "provider")


def tokens_field_of(name: str) -> str:
    """Return what a provider calls the most output tokens."""
    return "max_completion_tokens" if name in _NEWER else "max_tokens"


def below(base_url: Any, path: str) -> Any:
    """Return the URL of ``path`` below ``base_url``, with its query. What is no URL is returned as it is."""
    from urllib.parse import urlsplit, urlunsplit

    try:
        parts = urlsplit(base_url)
        return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{path}", fragment=""))
    except (ValueError, AttributeError, TypeError):
        return base_url


__all__ = ["BASE_URL", "OpenAICompatible", "below", "name_of", "tokens_field_of"]
