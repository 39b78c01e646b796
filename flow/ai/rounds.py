"""The rounds of an agent: each asks the model, calls the tools that it asks for, and tells it what came of them.

All that goes from one node to another is plain data in structs, so that a store keeps it: a run that goes on asks
nothing again that it has an answer to.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import msgspec

from flow.ai.asking import Asking
from flow.ai.json_text import parsed
from flow.ai.messages import Message, ToolCall
from flow.ai.prompts import Prompt
from flow.ai.toolruns import ARGUMENTS, plan_of
from flow.ai.tools import Tool
from flow.config import Retry
from flow.data.context import Context
from flow.errors import RunError, StoreError, UsageError, described, shown
from flow.graph.dag import Dag
from flow.run.questions import QUESTION
from flow.run.signals import place_of
from flow.signature import Shape, Shaped, shape_of
from flow.usage import KIND

APPROVE: Final = "approve"
"""The node of a round in which calls wait for a person."""

ANSWER: Final = "answer"
"""The signal that such a call waits for."""

_CHANGED: Final = (
    "the answer that this round began with was not stored, since it repeats a secret; the model was asked again, and "
    "wants other calls than those that were made. Begin the run anew: on_conflict='restart', or another run_id"
)

_LAST: Final = "You have no tools left: this is the last round. Answer now, with what you know."


class Approval(msgspec.Struct, frozen=True):
    """What a person says of a call that waits for approval.

    :param yes: whether it may be made. :param by: who says so. :param comment: the model is told it, if it may not.
    """

    yes: bool
    by: str = ""
    comment: str = ""


class Talk(msgspec.Struct, frozen=True):
    """What a round begins with. ``spent``: the usage of all requests so far. ``rounds``: how many there were."""

    messages: tuple[Message, ...]
    spent: tuple[dict[str, Any], ...] = ()
    rounds: int = 0


class Turn(msgspec.Struct, frozen=True):
    """What a model says in one round.

    :ivar messages: its message, and those of repairs before it. :ivar calls: the tools that it asks for.
    :ivar spent: the usage of its requests, those of failed attempts included.
    """

    text: str
    messages: tuple[Message, ...]
    calls: tuple[ToolCall, ...] = ()
    spent: tuple[dict[str, Any], ...] = ()


class Asked(msgspec.Struct, frozen=True):
    """A call that a model asks for. ``at``: its place among those of its round."""

    at: int
    call: ToolCall


class Told(msgspec.Struct, frozen=True):
    """What the model is told of a call."""

    at: int
    message: Message


class Rounds:
    """The functions of the nodes of a round.

    :param guarded: names of tools whose calls need approval.
    :param most: rounds that there may be. :param answers: in the last one the model is told to answer.
    """

    __slots__ = ("_answers", "_asking", "_guarded", "_most", "_plans", "_tools")

    def __init__(
        self, asking: Asking, tools: Sequence[Tool], guarded: Collection[str], most: int, answers: bool
    ) -> None:
        self._asking = asking
        self._guarded = guarded
        self._tools: Mapping[str, Tool] = {tool.name: tool for tool in tools}
        self._plans = {tool.name: plan_of(tool) for tool in tools}
        self._most = most
        self._answers = answers

    def digest(self, prompt: Prompt) -> str:
        """Return a digest of what is asked."""
        return self._asking.digest(prompt)

    async def model(self, talk: Talk, ctx: Context) -> Turn:
        """Ask the model."""
        messages = talk.messages
        if self._answers and talk.rounds + 1 >= self._most:
            messages = (*messages, Message("user", _LAST))
        answer = await self._asking.answer(ctx, messages, talk.spent)
        spent = tuple(ctx.reported(KIND))
        return Turn(answer.reply.text, answer.messages, answer.reply.tool_calls, spent)

    def free(self, model: Turn) -> list[Asked]:
        """Return the calls that nobody has to approve, those that cannot be made included."""
        return [asked for asked in _asked(model) if not self._waits(asked)]

    def guarded(self, model: Turn) -> list[Asked]:
        """Return the calls that wait for a person."""
        return [asked for asked in _asked(model) if self._waits(asked)]

    def shown(self, item: Asked, ctx: Context) -> None:
        """Report what is to be approved, and the address that the answer is sent to."""
        path = getattr(ctx._scope.shared, "path", ())
        arguments = parsed(item.call.arguments)[0] or {}  # it can be made: they are an object, or blank
        told = {"address": place_of((*path, ANSWER)), "tool": item.call.name, "arguments": arguments}
        try:
            ctx.report(QUESTION, told)
        except UsageError:  # they are too much for a report: as the model has written them
            ctx.report(QUESTION, {**told, "arguments": item.call.arguments})

    async def called(self, item: Asked, ctx: Context) -> Told:
        """Call a tool. What is wrong with the call, and what the tool raises, is told to the model."""
        tool = self._tools.get(item.call.name)
        if tool is None:
            names = ", ".join(self._tools) or "none"
            return _told(item, f"There is no tool {shown(item.call.name)}. The tools are: {names}.", True)
        try:
            arguments = tool.read(item.call.arguments)
        except ValueError as error:
            return _told(item, str(error), True)
        try:
            result = await ctx.execute(self._plans[tool.name], {ARGUMENTS: arguments})
        except RunError as error:
            return _told(item, tool.told(_reason(error.exceptions)), True)
        if not result.ok:  # with Config(on_error="collect")
            return _told(item, tool.told(_reason(list(result.errors.values()))), True)
        return _told(item, tool.told(next(iter(result.values()))), False)

    async def decided(self, asked: Asked, decision: Mapping[str, Any], ctx: Context) -> Told:
        """Call a tool if it may be called."""
        approval: Approval = msgspec.convert(decision[ANSWER], Approval)
        if approval.yes:
            return await self.called(asked, ctx)
        who, why = f" by {approval.by}" if approval.by else "", f": {approval.comment}" if approval.comment else ""
        return _told(asked, f"This call was refused{who}{why}. Do not ask for it again as it is.", True)

    def talked(self, talk: Talk, model: Turn, tools: list[Told]) -> Talk:
        """Return what the next round begins with."""
        told = sorted(tools, key=lambda one: one.at)
        if [one.message.tool_call_id for one in told] != [call.id for call in model.calls]:
            raise StoreError(_CHANGED)
        messages = (*talk.messages, *model.messages, *[one.message for one in told])
        return Talk(messages, (*talk.spent, *model.spent), talk.rounds + 1)

    def talked_of_all(self, talk: Talk, model: Turn, tools: list[Told], approved: list[Told]) -> Talk:
        """As :meth:`talked`, where some calls wait for a person."""
        return self.talked(talk, model, [*tools, *approved])

    def _waits(self, asked: Asked) -> bool:
        tool = self._tools.get(asked.call.name)
        if tool is None or tool.name not in self._guarded:
            return False
        try:
            tool.read(asked.call.arguments)
        except ValueError:  # nobody is asked about a call that cannot be made
            return False
        return True


def _asked(model: Turn) -> list[Asked]:
    return [Asked(at, call) for at, call in enumerate(model.calls)]


def _told(item: Asked, content: str, is_error: bool) -> Told:
    return Told(item.at, Message("tool", content, tool_call_id=item.call.id, is_error=is_error))


def _reason(errors: Sequence[BaseException]) -> str:
    return "The tool has failed: " + "; ".join(described(error) for error in errors)


class _Step(Shaped):
    """What a node of a round calls.

    :ivar source: by which a store tells that it is another one now. (Not by its code: that is ours, and may be another
        in the next version.)
    """

    __slots__ = ("_fn", "_shape", "location", "returns", "source")

    def __init__(self, fn: Callable[..., Any], returns: Any, location: str, source: str = "") -> None:
        self._fn = fn
        self._shape = shape_of(fn)
        self.returns = (returns,)
        self.location = location
        self.source = f"flow.ai {fn.__name__} {source}"

    def shape(self) -> Shape:
        return self._shape

    def __call__(self, *values: Any) -> Any:
        return self._fn(*values)


class _AwaitedStep(_Step):
    """The same, of an async function."""

    __slots__ = ()

    async def __call__(self, *values: Any) -> Any:
        return await self._fn(*values)


def round_of(
    name: str, rounds: Rounds, prompt: Prompt, concurrency: int | None, waits: bool, retry: Retry | None
) -> Dag:
    """Return the Dag of one round.

    :param waits: some calls need approval. :param retry: of the node that asks the model.
    """
    dag, at = Dag(name), prompt.location
    dag.add("model", _AwaitedStep(rounds.model, Turn, at, rounds.digest(prompt)), retry=retry)
    dag.add("calls", _Step(rounds.free, list[Asked], at))
    dag.map("tools", _AwaitedStep(rounds.called, Told, at), over="calls", concurrency=concurrency)
    if not waits:
        dag.add("talked", _Step(rounds.talked, Talk, at), store=False)
        return dag
    asks = Dag("ask")
    asks.add("call", _Step(rounds.shown, None, at), store=False)  # who observes a run that goes on is told again
    asks.signal(ANSWER, type=Approval, after="call")
    dag.add("guarded", _Step(rounds.guarded, list[Asked], at))
    dag.map(APPROVE, asks, over="guarded", concurrency=None)
    decided, sources = _AwaitedStep(rounds.decided, Told, at), ["guarded", APPROVE]
    dag.map("approved", decided, over=sources, concurrency=concurrency, after="tools")
    dag.add("talked", _Step(rounds.talked_of_all, Talk, at), store=False)
    return dag


__all__ = ["ANSWER", "APPROVE", "Approval", "Rounds", "Talk", "Turn", "round_of"]
