"""Models behind OpenAI's chat completions, which many other servers speak: :class:`OpenAICompatible`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal
from urllib.parse import urlsplit, urlunsplit

from flow.ai.providers.keys import Key, KeySource
from flow.ai.providers.over_http import HTTPProvider
from flow.ai.providers.transport import CONNECT_SECONDS, MAX_BYTES, READ_SECONDS, Transport
from flow.ai.providers.wire_openai import ChatCompletions
from flow.errors import ConfigError

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
        none, and are asked without a key then. Empty: without a key.
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
        check_key(api_key)
        if name is not None and not (isinstance(name, str) and name):
            raise ConfigError("name", ["it must be a text that is not empty"])
        if tokens_field not in (None, "max_completion_tokens", "max_tokens"):
            raise ConfigError("tokens_field", ["it must be 'max_completion_tokens' or 'max_tokens'"])
        known = name_of(base_url)
        field = tokens_field or tokens_field_of(known)
        called = name or known
        transport = Transport(
            called,
            below(base_url, "chat/completions"),
            Key(api_key, variable_of(called), required=known in _NAMES.values()),
            auth=(auth_header.lower(), "Bearer " if auth_header.lower() == "authorization" else ""),
            fields=headers or {},
            timeout=timeout,
            connect_timeout=connect_timeout,
            max_bytes=max_bytes,
            client=client,
        )
        super().__init__(ChatCompletions(field), transport)


def check_key(api_key: object) -> None:
    """:raises ConfigError: if this can be no key. It is not in the message."""
    if not (api_key is None or isinstance(api_key, str) or callable(api_key)):
        fault = "it must be a text, a function that returns one, or None for the environment variable"
        raise ConfigError("api_key", [fault])


def name_of(base_url: object) -> str:
    """Return what the provider at a URL is called: by a table, else its host."""
    try:
        host = (urlsplit(base_url).hostname or "") if isinstance(base_url, str) else ""
    except ValueError:
        host = ""
    known = (name for end, name in _NAMES.items() if host == end or host.endswith(f".{end}"))
    return next(known, host or "provider")


def tokens_field_of(name: str) -> str:
    """Return what a provider calls the most output tokens."""
    return "max_completion_tokens" if name in _NEWER else "max_tokens"


def variable_of(name: str) -> str:
    """Return the environment variable that has the key of the provider ``name``: ``OPENAI_API_KEY``."""
    return re.sub("[^A-Z0-9]+", "_", name.upper()) + "_API_KEY"


def below(base_url: Any, path: str) -> Any:
    """Return the URL of ``path`` below ``base_url``, with its query. What is no URL is returned as it is."""
    try:
        parts = urlsplit(base_url)
        return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{path}", fragment=""))
    except (ValueError, AttributeError, TypeError):
        return base_url


__all__ = ["BASE_URL", "OpenAICompatible", "below", "check_key", "name_of", "tokens_field_of", "variable_of"]
