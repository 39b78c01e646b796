"""Models behind Anthropic's messages: :class:`Anthropic`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flow.ai.providers.keys import KeySource
from flow.ai.providers.openai import below
from flow.ai.providers.over_http import HTTPProvider
from flow.ai.providers.transport import CONNECT_SECONDS, MAX_BYTES, READ_SECONDS, Transport
from flow.ai.providers.wire_anthropic import Messages, Structured
from flow.config.fields import is_int

BASE_URL: Final = "https://api.anthropic.com"

VERSION: Final = "2023-06-01"
"""Of the protocol; ``headers={"anthropic-version": ...}`` says another.

The next one, 2026-10-21, refuses ``temperature``; this one leaves that to the models. Answers have the same form.
"""

MAX_OUTPUT_TOKENS: Final = 4_096
"""Of requests that say nothing of it: the protocol wants a number."""


class Anthropic(HTTPProvider):
    """Anthropic's models, and servers that speak the same protocol.

    One object serves any number of calls at once, on asyncio and trio, in one event loop after another.

    :param api_key: a text, or a function that returns one (or an awaitable of one), called for each request. None is
        the environment variable ``ANTHROPIC_API_KEY``, read at the first request.
    :param base_url: requests go to ``/v1/messages`` below it.
    :param name: in usage, metrics and messages. :param headers: further header fields (``anthropic-beta``, ...).
    :param auth_header: the field that holds the key: ``x-api-key``, or ``authorization`` (as ``Bearer``).
    :param max_output_tokens: of requests that say nothing of it. Budgets reserve for so many.
    :param structured: how ``output=`` is asked for: ``format`` is the protocol's own way; ``tool`` a tool that the
        model has to use, for models that do not know the former.
    :param timeout: seconds of silence within an answer after which it is given up.
    :param connect_timeout: seconds until there is a connection. :param max_bytes: longest body of an answer.
    :param client: an ``httpx2.AsyncClient`` to use instead of our own; it stays open.
    :raises ConfigError: for arguments that cannot be used; it has all faults.
    """

    def __init__(
        self,
        api_key: KeySource = None,
        base_url: str = BASE_URL,
        name: str = "anthropic",
        *,
        headers: Mapping[str, str] | None = None,
        auth_header: str = "x-api-key",
        max_output_tokens: int = MAX_OUTPUT_TOKENS,
        structured: Structured = "format",
        timeout: float = READ_SECONDS,
        connect_timeout: float = CONNECT_SECONDS,
        max_bytes: int = MAX_BYTES,
        client: Any = None,
    ) -> None:
        faults = []
        if not is_int(max_output_tokens) or max_output_tokens < 1:
            faults.append("max_output_tokens must be an integer of at least 1")
        if structured not in ("format", "tool"):
            faults.append("structured must be 'format' or 'tool'")
        transport = Transport(
            name,
            below(base_url, "v1/messages"),
            api_key,
            required=True,
            auth_header=auth_header,
            headers=headers,
            defaults={"anthropic-version": VERSION},
            timeout=timeout,
            connect_timeout=connect_timeout,
            max_bytes=max_bytes,
            client=client,
            faults=faults,
        )
        super().__init__(Messages(max_output_tokens, structured), transport)
        self.max_output_tokens = max_output_tokens


__all__ = ["BASE_URL", "MAX_OUTPUT_TOKENS", "VERSION", "Anthropic"]
