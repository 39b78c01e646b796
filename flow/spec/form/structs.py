"""What a workflow file holds, as types: each key is a keyword of a method of :class:`flow.Dag`.

Files are checked against these types node by node, and ``flow schema`` prints the JSON Schema that is made from them.
A field of type Any is a value in which expressions may stand; all others are literals.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType, field

Name: TypeAlias = str
Condition: TypeAlias = Literal["completed", "failed", "done"]
After: TypeAlias = Name | list[Name] | dict[Name, Condition]
Join: TypeAlias = Literal["all", "some", "none_failed", "done", "failed"] | Annotated[int, Meta(ge=1)]
Seconds: TypeAlias = Annotated[float, Meta(gt=0, description="Seconds.")]
Expression: TypeAlias = Annotated[str, Meta(description="An expression, without {{ }}.")]
Callee: TypeAlias = Annotated[str, Meta(description="module:function, or the name of an action.")]
Type: TypeAlias = Literal["string", "integer", "number", "boolean", "array", "object", "any"]
Value: TypeAlias = Annotated[Any, Meta(description="A value; texts in it may hold {{ expressions }}.")]


class RetryOptions(Struct, forbid_unknown_fields=True):
    """How often, when and for which errors a node is tried again."""

    attempts: Annotated[int, Meta(ge=1, description="Calls in all, the first included.")] = 3
    delay: Annotated[float, Meta(ge=0, description="Seconds before the second attempt.")] = 0.1
    backoff: Literal["constant", "linear", "exponential"] = "exponential"
    multiplier: Annotated[float, Meta(ge=1)] = 2.0
    max_delay: Annotated[float, Meta(ge=0)] = 60.0
    jitter: Annotated[float, Meta(ge=0, le=1)] = 0.0
    retry_if: Annotated[
        str | list[str], Meta(description="Names of built-in exceptions, or module:Class; matched by name.")
    ] = "Exception"


class TimeoutOptions(Struct, forbid_unknown_fields=True):
    """How long a node may take: each attempt, and all of them together."""

    attempt: Seconds | None = None
    node: Seconds | None = None


class Input(Struct, forbid_unknown_fields=True):
    """One input of a workflow."""

    type: Type = "any"
    items: Input | UnsetType = UNSET
    enum: list[Any] | UnsetType = UNSET
    default: Any = UNSET
    required: bool | UnsetType = UNSET
    secret: bool = False
    description: str = ""
    minimum: float | UnsetType = UNSET
    maximum: float | UnsetType = UNSET
    min_length: Annotated[int, Meta(ge=0)] | UnsetType = UNSET
    max_length: Annotated[int, Meta(ge=0)] | UnsetType = UNSET
    pattern: str | UnsetType = UNSET


class Node(Struct, forbid_unknown_fields=True, kw_only=True):
    """What every node may say. :cvar VALUES: keys whose values its function is given, besides ``with``."""

    VALUES: ClassVar[tuple[str, ...]] = ()

    description: str = ""
    after: After = ()  # type: ignore[assignment]
    join: Join | UnsetType = UNSET
    when: Expression | None = None
    cost: Annotated[float, Meta(ge=0)] | None = None
    continue_on_error: bool = False


class Stored(Node, kw_only=True):
    """What nodes may say whose output durable runs store."""

    store: bool | Literal["pickle"] = True


class Publisher(Stored, kw_only=True):
    """What nodes may say whose output can be published."""

    publish: Annotated[dict[str, Value], Meta(description="Keys of the run's data; reads 'result'.")] = {}
    cleanup: bool = False
    teardown: Annotated[Name | UnsetType, Meta(description="The node whose teardown this is.")] = UNSET
    priority: int = 0


class Called(Publisher, kw_only=True):
    """What nodes may say that call something."""

    retry: RetryOptions | None = None
    timeout: Seconds | TimeoutOptions | None = None
    fallback: Any = UNSET
    thread: bool = False
    executor: str | None = None
    abandon_on_timeout: bool = False


Arguments: TypeAlias = Annotated[
    dict[str, Value] | UnsetType,
    Meta(description="Arguments by parameter; without it parameters named as nodes or inputs receive these."),
]


class CallNode(Called, kw_only=True):
    """Calls a function once."""

    call: Callee
    with_: Arguments = field(name="with", default=UNSET)


class FileBody(Struct, forbid_unknown_fields=True):
    """A workflow file in the place of a function."""

    file: str


class MapNode(Called, kw_only=True):
    """Calls a function, or runs a file, once per item."""

    map: Callee | FileBody
    over: Annotated[Any, Meta(description="The items: an expression in {{ }}, or a list.")]
    with_: Arguments = field(name="with", default=UNSET)
    concurrency: Annotated[int, Meta(ge=1)] | Literal["auto"] | None = 50
    batch_size: Annotated[int, Meta(ge=1)] | None = None
    batch_wait: Seconds | None = None
    on_error: Literal["fail", "collect", "skip"] = "fail"
    key: Expression | None = None
    take: Annotated[int, Meta(ge=0)] | None = None
    pipelined: bool = False


class RouteNode(Stored, kw_only=True):
    """Chooses which nodes run next."""

    route: Annotated[str, Meta(description="An expression that gives a key of 'to', or a list of keys.")]
    to: dict[str, Name]
    default: Name | None = None


class MergeNode(Struct, forbid_unknown_fields=True, kw_only=True):
    """Has the output of the one node among several that ran."""

    merge: list[Name]
    pick: Literal["first"] | None = None
    after: After = ()  # type: ignore[assignment]
    description: str = ""
    store: bool | Literal["pickle"] = True


class LoopNode(Called, kw_only=True):
    """Runs a function or a file in rounds, until a condition holds."""

    loop: Callee | FileBody
    until: Expression
    max_iterations: Annotated[int, Meta(ge=1)]
    with_: Arguments = field(name="with", default=UNSET)
    carry: Annotated[
        str | dict[str, Name] | None, Meta(description="Of a function its parameter; of a file its inputs by node.")
    ] = None
    on_limit: Literal["fail", "return"] = "fail"
    history: bool = False


class SignalOptions(Struct, forbid_unknown_fields=True):
    """What is sent to a signal."""

    type: Annotated[str, Meta(description="A type of inputs, or module:Class.")] = "any"


class SignalNode(Node, kw_only=True):
    """Waits until something is sent to it."""

    signal: SignalOptions | None
    timeout: Seconds | None = None
    fallback: Any = UNSET


class TimerOptions(Struct, forbid_unknown_fields=True):
    """When a timer ends: after so many seconds, or at a date with a time zone."""

    seconds: Annotated[float, Meta(ge=0)] | None = None
    at: str | None = None


class TimerNode(Node, kw_only=True):
    """Waits for a time."""

    timer: Annotated[float, Meta(ge=0)] | TimerOptions
    fallback: Any = UNSET


class SetNode(Publisher, kw_only=True):
    """Has values as its output, which expressions compute."""

    set: dict[str, Value]


class FileNode(Called, kw_only=True):
    """Runs another workflow file."""

    file: str
    with_: Arguments = field(name="with", default=UNSET)


class Defaults(Struct, forbid_unknown_fields=True, kw_only=True):
    """Options of all nodes that take them and do not say otherwise."""

    retry: RetryOptions | None = None
    timeout: Seconds | TimeoutOptions | None = None
    thread: bool = False
    executor: str | None = None
    abandon_on_timeout: bool = False
    continue_on_error: bool = False
    priority: int = 0
    store: bool | Literal["pickle"] = True
    join: Join | UnsetType = UNSET
    concurrency: Annotated[int, Meta(ge=1)] | Literal["auto"] | None = 50
    on_error: Literal["fail", "collect", "skip"] = "fail"


class Workflow(Struct, forbid_unknown_fields=True, kw_only=True):
    """A workflow file."""

    flow: Literal[1]
    nodes: dict[Name, Any]
    name: str = ""
    description: str = ""
    inputs: dict[str, Input | None] = {}
    vars: dict[str, Value] = {}
    config: dict[str, Any] = {}
    defaults: Defaults = field(default_factory=Defaults)
    outputs: dict[str, Value] = {}
