"""Tools that a model may call: :func:`tool_of` makes one of a function or of a Dag."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, overload

import msgspec

from flow.ai.messages import ToolSpec
from flow.ai.parameters import Parameter, Parameters, of_function, of_plan, target_of
from flow.awaits import is_generator_function
from flow.config import Retry, Timeout
from flow.data.context import Context
from flow.errors import ConfigError, DefinitionError, a_kind, shown
from flow.graph.dag import Dag
from flow.plan.checks import policy_faults
from flow.plan.definition import Policy
from flow.plan.interface import sinks
from flow.signature import is_async_callable, location_of

if TYPE_CHECKING:
    from flow.plan.plan import Plan

MAX_CHARS: Final = 20_000
"""Characters of a result that a model is told, unless the tool says otherwise: about 5,000 tokens."""

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_NAME_RULE: Final = "providers take 1 to 64 letters of a to z, digits, '_' and '-'"


class Tool:
    """A function or a Dag that a model may call. Made by :func:`tool_of`; a call of it calls the function.

    :ivar spec: what a provider is given. :ivar fn: is called with what :meth:`given` returns.
    :ivar context: the parameter of ``fn`` that gets the Context of the call; empty if none does.
    :ivar is_async: ``fn`` returns something to await. :ivar plan: of a Dag; None of a function.
    :ivar needs_approval: a person has to agree to each call.
    :ivar retry, timeout, thread: as of a node. :ivar max_chars: of a result, that a model is told.
    :ivar location: ``file:line`` of the function, for messages.
    """

    __slots__ = (
        "_parameters", "context", "fn", "is_async", "location", "max_chars", "needs_approval", "plan", "retry", "spec",
        "thread", "timeout",
    )  # fmt: skip

    def __init__(
        self,
        spec: ToolSpec,
        fn: Callable[..., Any],
        parameters: Parameters,
        *,
        context: str = "",
        plan: Plan | None = None,
        policy: Policy,
        approve: bool = False,
        max_chars: int = MAX_CHARS,
        location: str = "",
    ) -> None:
        self.spec = spec
        self.fn = fn
        self.context = context
        self.plan = plan
        self.is_async = is_async_callable(fn)
        self.needs_approval = approve
        self.retry: Retry | None = policy.retry
        self.timeout: float | Timeout | None = policy.timeout
        self.thread: bool = policy.thread
        self.max_chars = max_chars
        self.location = location
        self._parameters = parameters

    @property
    def name(self) -> str:
        """What models call it."""
        return self.spec.name

    def read(self, arguments: str) -> dict[str, Any]:
        """Return the arguments that a model has written as JSON, each of the type of its parameter. O(length).

        :raises ValueError: listing all faults, in words that are written for the model.
        """
        return self._parameters.read(arguments)

    def given(self, ctx: Context, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return what ``fn`` is called with by name: the arguments, and the Context where it takes one."""
        return {**arguments, self.context: ctx} if self.context else dict(arguments)

    def told(self, value: Any) -> str:
        """Return what the model is told of a result: text as it is, else JSON, cut at ``max_chars``. O(size).

        What no JSON says is told by the beginning of its repr.
        """
        text = value if isinstance(value, str) else _as_json(value)
        text = text.encode("utf-8", "replace").decode()  # half of a surrogate pair fits into no request
        if len(text) <= self.max_chars:
            return text
        return f"{text[: self.max_chars]}\n[cut here: the first {self.max_chars:,} of {len(text):,} characters]"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.fn(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<tool {self.name!r} of {self.location}>"


def tool_of(
    fn: Callable[..., Any] | Dag | Tool,
    *,
    name: str | None = None,
    description: str | None = None,
    approve: bool = False,
    retry: Retry | None = None,
    timeout: float | Timeout | None = None,
    thread: bool = False,
    max_chars: int = MAX_CHARS,
) -> Tool:
    """Make a tool of a function, sync or async, or of a Dag. O(parameters).

    Of a function: the parameters are those of its signature, their types its annotations, and what the model is told of
    them stands in its docstring (Google, NumPy or Sphinx) or in ``Annotated[str, "..."]``. A parameter annotated as
    :class:`flow.Context` gets that of the call, and no model sees it. Of a Dag: its run inputs are the parameters. It
    runs as part of the run; its result is the output of the one node that no other takes, or a dict of several.

    :param fn: a Tool is returned as it is. :param name: for the model; else that of the function or Dag.
    :param description: for the model; else the docstring, without what it says of parameters.
    :param approve: a person has to agree to each call. :param retry, timeout, thread: as of a node.
    :param max_chars: of a result, that the model is told, at least 1.
    :raises ConfigError: with all faults.
    """
    if isinstance(fn, Tool):
        return fn
    if not isinstance(fn, Dag) and not callable(fn):
        raise ConfigError("a tool", [f"a tool is a function, a flow.Dag or what ai.tool returns, not {a_kind(fn)}"])
    read = _of_dag(fn) if isinstance(fn, Dag) else _of_function(fn)
    own = name is None
    name = read.name if name is None else name
    policy = Policy(retry=retry, timeout=timeout, thread=thread)
    faults = _name_faults(name, own) + read.faults + policy_faults(policy, is_async_callable(read.fn))
    if type(approve) is not bool:
        faults.append(f"approve must be True or False, not {shown(approve)}")
    if type(max_chars) is not int or max_chars < 1:
        faults.append(f"max_chars must be an integer of at least 1, not {shown(max_chars)}")
    if description is not None and not isinstance(description, str):
        faults.append(f"description must be a str or None, not {shown(description)}")
    parameters = None
    try:
        parameters = Parameters(read.parameters)
    except TypeError as error:
        faults += map(str, error.args)
    if faults or parameters is None:
        raise ConfigError(f"tool {shown(name)} ({read.location})", list(dict.fromkeys(faults)))
    spec = ToolSpec(name, read.description if description is None else description, parameters.schema)
    return Tool(
        spec, read.fn, parameters, context=read.context, plan=read.plan, policy=policy, approve=approve,
        max_chars=max_chars, location=read.location,
    )  # fmt: skip


class _Source(msgspec.Struct):
    """What a function or a Dag says of itself."""

    name: str
    location: str
    fn: Any
    description: str = ""
    parameters: Sequence[Parameter] = ()
    context: str = ""
    plan: Any = None
    faults: list[str] = msgspec.field(default_factory=list)


def _of_function(fn: Callable[..., Any]) -> _Source:
    parameters, context, said, faults = of_function(fn)
    if is_generator_function(fn):
        faults.append("it is a generator function: let it return a list")
    return _Source(_own_name(fn), location_of(fn), fn, said, parameters, context, None, faults)


def _of_dag(dag: Dag) -> _Source:
    location = f"dag {shown(dag.name)}"
    try:
        plan = dag.compile()
    except DefinitionError as error:
        return _Source(dag.name, location, _DagCall(None, ""), faults=list(error.faults))
    parameters, faults = of_plan(plan)
    context = "ctx"
    while any(p.name == context for p in parameters):
        context += "_"
    return _Source(dag.name, location, _DagCall(plan, context), "", parameters, context, plan, faults)


@overload
def tool(
    fn: Callable[..., Any] | Dag,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    approve: bool = False,
    retry: Retry | None = None,
    timeout: float | Timeout | None = None,
    thread: bool = False,
    max_chars: int = MAX_CHARS,
) -> Tool: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    approve: bool = False,
    retry: Retry | None = None,
    timeout: float | Timeout | None = None,
    thread: bool = False,
    max_chars: int = MAX_CHARS,
) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(fn: Any = None, /, **options: Any) -> Any:
    """Make a tool: ``@ai.tool``, ``@ai.tool(approve=True)`` or ``ai.tool(fn, ...)``, as :func:`tool_of`."""
    return partial(tool_of, **options) if fn is None else tool_of(fn, **options)


def tools_of(tools: Iterable[Callable[..., Any] | Dag | Tool]) -> tuple[Tool, ...]:
    """Make tools of functions, Dags and tools. :raises ConfigError: with all faults of all; names must differ."""
    found: list[Tool] = []
    faults: list[str] = []
    if not isinstance(tools, (list, tuple)):
        raise ConfigError("the list of tools", [f"it must be a list of functions, Dags and tools, not {a_kind(tools)}"])
    for one in tools:
        try:
            found.append(tool_of(one))
        except ConfigError as error:
            faults += [f"{error.what}: {fault}" for fault in error.faults]
    for name, count in Counter([one.name for one in found]).items():
        if count > 1:
            where = ", ".join([one.location for one in found if one.name == name])
            faults.append(
                f"{count} tools have the name {name!r} ({where}): give one another name, ai.tool(fn, name=...)"
            )
    if faults:
        raise ConfigError("the list of tools", faults)
    return tuple(found)


class _DagCall:
    """Runs a Dag as part of the run, and returns what its last nodes give."""

    __slots__ = ("_answered", "_context", "_plan")

    def __init__(self, plan: Any, context: str) -> None:
        self._plan = plan
        self._context = context
        self._answered = sinks(plan) if plan is not None else ()

    async def __call__(self, **given: Any) -> Any:
        ctx = given.pop(self._context)
        result = await ctx.execute(self._plan, given)
        found = {name: result[name] for name in self._answered if name in result}
        return next(iter(found.values()), None) if len(self._answered) == 1 else found

    def __repr__(self) -> str:
        return f"<{self._plan!r} as a tool>"


def _own_name(fn: Any) -> str:
    found = getattr(fn, "__name__", None) or getattr(target_of(fn), "__name__", "")
    return "" if found in ("<lambda>", "__call__") else str(found)


def _name_faults(name: Any, own: bool) -> list[str]:
    if own and not name:
        return ["it has no name of its own: name it, ai.tool(fn, name=...)"]
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        return [f"the name {shown(name)} is refused: {_NAME_RULE}{'; name it, ai.tool(fn, name=...)' if own else ''}"]
    return []


def _as_json(value: Any) -> str:
    try:
        return msgspec.json.encode(value, enc_hook=_plain).decode()
    except Exception:  # keys that are no text, a value within itself, a class whose methods raise
        return shown(value, 2_000)


def _plain(value: Any) -> Any:
    """Return what msgspec does not know as plain data: models of pydantic, and the repr of all else."""
    dump = getattr(value, "model_dump", None)
    return dump(mode="json") if callable(dump) and not isinstance(value, type) else shown(value, 500)


__all__ = ["MAX_CHARS", "Tool", "tool", "tool_of", "tools_of"]
