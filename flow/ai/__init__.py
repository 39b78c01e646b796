"""Nodes that ask language models (the extra ``ai``): models, tools, tokens, prices, budgets.

>>> from flow import ai
>>> dag = flow.Dag("reading")
>>> ai.llm(dag, "summary", model="openai:gpt-4.1-mini", prompt="Summarise:\\n{{ text }}", max_output_tokens=300)
>>> result = flow.run(dag, {"text": text})
>>> result["summary"], ai.usage(result).total.cost

:func:`agent` lets a model call tools, round by round. :class:`Scripted` answers in tests, without a network or a key.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from flow.exports import Room, at_first_use, only

if TYPE_CHECKING:
    from flow.ai.agent import agent
    from flow.ai.budgets import AccountStatistics, Alert, Budget
    from flow.ai.cache import Cache
    from flow.ai.conversation import Conversation
    from flow.ai.errors import (
        AccessDenied,
        AIError,
        BudgetExceeded,
        ConnectionFailed,
        LimitExceeded,
        OutputMismatch,
        ProviderError,
        ProviderUnavailable,
        QuotaExceeded,
        RateLimited,
        Refused,
        ReplyInvalid,
        RequestRejected,
        Truncated,
        UnknownModel,
    )
    from flow.ai.images import image
    from flow.ai.limits import UsageLimits
    from flow.ai.llm import llm
    from flow.ai.messages import (
        Delta,
        Image,
        Kept,
        Message,
        OutputSpec,
        Reply,
        Request,
        Text,
        Tokens,
        ToolCall,
        ToolSpec,
    )
    from flow.ai.models import Model, Resolved, models, resolve
    from flow.ai.prices import PriceTable, Rates, prices
    from flow.ai.prompts import Prompt
    from flow.ai.provider import Provider
    from flow.ai.providers.anthropic import Anthropic
    from flow.ai.providers.openai import OpenAICompatible
    from flow.ai.providers.scripted import Scripted
    from flow.ai.providers.sdk import from_sdk
    from flow.ai.rates import RateLimiter
    from flow.ai.rounds import Approval
    from flow.ai.schemas import OutputType
    from flow.ai.standins import no_requests, override
    from flow.ai.tokens import EstimatedTokens, OpenAITokens, TokenCounter
    from flow.ai.tools import Tool, tool
    from flow.ai.usage import UsageReport, usage
    from flow.usage import Usage
else:  # so that a type checker refuses what is not there
    __getattr__ = at_first_use(
        "flow.ai",
        {
            "AIError": "flow.ai.errors",
            "AccessDenied": "flow.ai.errors",
            "AccountStatistics": "flow.ai.budgets",
            "Alert": "flow.ai.budgets",
            "Anthropic": "flow.ai.providers.anthropic",
            "Approval": "flow.ai.rounds",
            "Budget": "flow.ai.budgets",
            "BudgetExceeded": "flow.ai.errors",
            "Cache": "flow.ai.cache",
            "ConnectionFailed": "flow.ai.errors",
            "Conversation": "flow.ai.conversation",
            "Delta": "flow.ai.messages",
            "EstimatedTokens": "flow.ai.tokens",
            "Image": "flow.ai.messages",
            "Kept": "flow.ai.messages",
            "LimitExceeded": "flow.ai.errors",
            "Message": "flow.ai.messages",
            "Model": "flow.ai.models",
            "OpenAICompatible": "flow.ai.providers.openai",
            "OpenAITokens": "flow.ai.tokens",
            "OutputMismatch": "flow.ai.errors",
            "OutputSpec": "flow.ai.messages",
            "OutputType": "flow.ai.schemas",
            "PriceTable": "flow.ai.prices",
            "Prompt": "flow.ai.prompts",
            "Provider": "flow.ai.provider",
            "ProviderError": "flow.ai.errors",
            "ProviderUnavailable": "flow.ai.errors",
            "QuotaExceeded": "flow.ai.errors",
            "RateLimited": "flow.ai.errors",
            "RateLimiter": "flow.ai.rates",
            "Rates": "flow.ai.prices",
            "Refused": "flow.ai.errors",
            "Reply": "flow.ai.messages",
            "ReplyInvalid": "flow.ai.errors",
            "Request": "flow.ai.messages",
            "RequestRejected": "flow.ai.errors",
            "Resolved": "flow.ai.models",
            "Scripted": "flow.ai.providers.scripted",
            "Text": "flow.ai.messages",
            "TokenCounter": "flow.ai.tokens",
            "Tokens": "flow.ai.messages",
            "Tool": "flow.ai.tools",
            "ToolCall": "flow.ai.messages",
            "ToolSpec": "flow.ai.messages",
            "Truncated": "flow.ai.errors",
            "UnknownModel": "flow.ai.errors",
            "Usage": "flow.usage",
            "UsageLimits": "flow.ai.limits",
            "UsageReport": "flow.ai.usage",
            "agent": "flow.ai.agent:agent",
            "from_sdk": "flow.ai.providers.sdk",
            "image": "flow.ai.images",
            "llm": "flow.ai.llm:llm",
            "models": "flow.ai.models:models",
            "no_requests": "flow.ai.standins:no_requests",
            "override": "flow.ai.standins:override",
            "prices": "flow.ai.prices:prices",
            "resolve": "flow.ai.models",
            "tool": "flow.ai.tools",
            "usage": "flow.ai.usage:usage",
        },
    )

__all__ = [
    "AIError",
    "AccessDenied",
    "AccountStatistics",
    "Alert",
    "Anthropic",
    "Approval",
    "Budget",
    "BudgetExceeded",
    "Cache",
    "ConnectionFailed",
    "Conversation",
    "Delta",
    "EstimatedTokens",
    "Image",
    "Kept",
    "LimitExceeded",
    "Message",
    "Model",
    "OpenAICompatible",
    "OpenAITokens",
    "OutputMismatch",
    "OutputSpec",
    "OutputType",
    "PriceTable",
    "Prompt",
    "Provider",
    "ProviderError",
    "ProviderUnavailable",
    "QuotaExceeded",
    "RateLimited",
    "RateLimiter",
    "Rates",
    "Refused",
    "Reply",
    "ReplyInvalid",
    "Request",
    "RequestRejected",
    "Resolved",
    "Scripted",
    "Text",
    "TokenCounter",
    "Tokens",
    "Tool",
    "ToolCall",
    "ToolSpec",
    "Truncated",
    "UnknownModel",
    "Usage",
    "UsageLimits",
    "UsageReport",
    "agent",
    "from_sdk",
    "image",
    "llm",
    "models",
    "no_requests",
    "override",
    "prices",
    "resolve",
    "tool",
    "usage",
]
__dir__ = only(__all__)
sys.modules[__name__].__class__ = Room
