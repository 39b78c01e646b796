"""What nodes that ask language models say in a file, as types: keywords of ``flow.ai.llm`` and ``flow.ai.agent``."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType, field

from flow.spec.form.structs import Callee, FileBody, Publisher, RetryOptions, Seconds, TimeoutOptions, Value

Amount: TypeAlias = Annotated[str | float, Meta(description="USD, as in '0.05'.")]
Price: TypeAlias = Annotated[str | float, Meta(description="USD per million tokens.")]
Count: TypeAlias = Annotated[int, Meta(ge=1)]
OnUnknown: TypeAlias = Annotated[
    Literal["refuse", "ignore"], Meta(description="What is done where the cost of a request is not known.")
]


class ModelOptions(Struct, forbid_unknown_fields=True):
    """A model, and what is known of it."""

    model: Annotated[str, Meta(description="provider:model, as openai:gpt-4.1-mini, or a name of ai.models.")]
    input_price: Annotated[Price | None, Meta(description="Of input, in USD per million tokens.")] = None
    output_price: Annotated[Price | None, Meta(description="Of output, in USD per million tokens.")] = None
    cached_price: Annotated[Price | None, Meta(description="Of input read from the provider's cache.")] = None
    cache_write_price: Annotated[Price | None, Meta(description="Of input written to that cache.")] = None
    max_output_tokens: Annotated[Count | None, Meta(description="The most that it writes in one answer.")] = None
    context: Annotated[Count | None, Meta(description="Tokens of its context window.")] = None


class LimitsOptions(Struct, forbid_unknown_fields=True):
    """The most that one call of the node may use."""

    requests: Annotated[Count | None, Meta(description="Most requests to providers.")] = None
    input_tokens: Annotated[Count | None, Meta(description="Most tokens of all requests.")] = None
    output_tokens: Annotated[Count | None, Meta(description="Most tokens of all answers.")] = None
    total_tokens: Annotated[Count | None, Meta(description="Most tokens of both.")] = None
    cost: Annotated[Amount | None, Meta(description="Most USD.")] = None
    on_unknown: OnUnknown = "refuse"


class BudgetOptions(Struct, forbid_unknown_fields=True):
    """How much may be spent in a run, and by all runs in this process in an hour, a day and a month."""

    run: Annotated[Amount | None, Meta(description="Most USD in one run.")] = None
    hour: Annotated[Amount | None, Meta(description="Most USD in each hour.")] = None
    day: Annotated[Amount | None, Meta(description="Most USD in each day of UTC.")] = None
    month: Annotated[Amount | None, Meta(description="Most USD in each month of UTC.")] = None
    name: Annotated[str, Meta(description="What messages and alerts call it.")] = "default"
    by: Annotated[str | None, Meta(description="What has an account of its own: workflow, node, or a text.")] = None
    alerts: Annotated[list[float], Meta(description="Fractions of the limits at which the run reports it.")] = field(
        default_factory=lambda: [0.5, 0.8, 1.0]
    )
    on_unknown: OnUnknown = "refuse"


class RateOptions(Struct, forbid_unknown_fields=True):
    """How many requests and tokens the provider is sent."""

    requests_per_minute: Annotated[Count | None, Meta(description="Most requests in a minute.")] = None
    tokens_per_minute: Annotated[Count | None, Meta(description="Most tokens in a minute.")] = None
    concurrency: Annotated[Count | None, Meta(description="Most requests at once.")] = None
    name: Annotated[str | None, Meta(description="What messages call it.")] = None


class BreakerOptions(Struct, forbid_unknown_fields=True):
    """When the provider is not asked for a while."""

    failures: Annotated[int, Meta(ge=1, description="Failures after which nobody asks.")] = 5
    successes: Annotated[int, Meta(ge=1, description="Successes after which all ask again.")] = 2
    seconds: Annotated[float, Meta(gt=0, description="Seconds for which nobody asks.")] = 60.0
    name: Annotated[str | None, Meta(description="Breakers of one name are one, in this process.")] = None


class CacheOptions(Struct, forbid_unknown_fields=True):
    """Answers that are kept in this process."""

    ttl: Annotated[Seconds | None, Meta(description="Seconds for which an answer holds; without it, for ever.")] = None
    size: Annotated[int, Meta(ge=1, description="Most answers that are kept.")] = 1_000


Model: TypeAlias = Annotated[
    str | ModelOptions, Meta(description="provider:model, as openai:gpt-4.1-mini; a name of ai.models; or a mapping.")
]


class AskingNode(Publisher, kw_only=True):
    """What nodes may say that ask a language model."""

    VALUES: ClassVar = ("prompt", "system", "messages")

    prompt: Annotated[Value, Meta(description="What the model is asked; may hold {{ expressions }}.")] = UNSET
    system: Annotated[Value, Meta(description="What it is told before; may hold {{ expressions }}.")] = UNSET
    messages: Annotated[
        Value, Meta(description="Messages before the prompt: a list of {role, content}, or an expression.")
    ] = UNSET
    output: Annotated[
        str | dict[str, Any] | UnsetType,
        Meta(description="string, integer, number, boolean, module:Class, or a JSON Schema."),
    ] = UNSET
    limits: Annotated[LimitsOptions | None, Meta(description="The most that one call of the node may use.")] = None
    budget: Annotated[
        BudgetOptions | list[BudgetOptions] | None,
        Meta(description="How much may be spent; nodes that say it share it."),
    ] = None
    rate: Annotated[RateOptions | None, Meta(description="How fast the provider is asked.")] = None
    breaker: Annotated[BreakerOptions | None, Meta(description="When the provider is not asked for a while.")] = None
    cache: Annotated[CacheOptions | bool, Meta(description="Keep answers in this process.")] = False
    fallback_models: Annotated[list[str], Meta(description="Asked in this order if the ones before fail.")] = field(
        default_factory=list
    )
    temperature: Annotated[float | None, Meta(description="0 or more: how much chance there is in answers.")] = None
    max_output_tokens: Annotated[Count | None, Meta(description="Most tokens of one answer.")] = None
    stop: Annotated[list[str], Meta(description="Texts at which the model stops.")] = field(default_factory=list)
    options: Annotated[dict[str, Any], Meta(description="Further fields of the provider's request.")] = field(
        default_factory=dict
    )
    stream: Annotated[bool | None, Meta(description="Emit the answer piece by piece.")] = None
    repair: Annotated[int, Meta(ge=0, description="How often it is told that its answer has another form.")] = 1
    capture: Annotated[bool, Meta(description="Report what is asked and answered.")] = False
    retry: RetryOptions | None = None
    timeout: Seconds | TimeoutOptions | None = None
    fallback: Any = UNSET


class LlmNode(AskingNode, kw_only=True):
    """Asks a language model."""

    llm: Model
    on_truncated: Annotated[
        Literal["fail", "keep"], Meta(description="What a text that was cut off does: fail, or be kept as it is.")
    ] = "fail"


class AgentNode(AskingNode, kw_only=True):
    """Lets a language model call tools until it has an answer."""

    agent: Model
    tools: Annotated[list[Callee | FileBody], Meta(description="What the model may call.")] = field(
        default_factory=list
    )
    approve: Annotated[list[str], Meta(description="Tools whose calls wait for a person.")] = field(
        default_factory=list
    )
    max_rounds: Annotated[int, Meta(ge=1, description="Most requests, one after the other.")] = 8
    on_limit: Annotated[
        Literal["fail", "answer"],
        Meta(description="If it still asks for tools: fail, or answer in a last round without."),
    ] = "fail"
    concurrency: Annotated[Count | None, Meta(description="Most tools at once; null is all.")] = 4
    conversation: Annotated[
        bool, Meta(description="Give the answer, and the messages that led to it: answer and messages.")
    ] = False


KINDS: Final[dict[str, type[Any]]] = {"llm": LlmNode, "agent": AgentNode}
"""Their kinds, by the key that makes a node one."""

__all__ = ["KINDS", "AgentNode", "AskingNode", "BudgetOptions", "CacheOptions", "LlmNode", "ModelOptions"]
