"""An answer that is whole, was not refused, and has the form that was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from flow.ai.calling import Caller, Session
from flow.ai.errors import OutputMismatch, Refused, Truncated
from flow.ai.identity import digest_of
from flow.ai.messages import Message, Reply, Request
from flow.ai.prompts import AsyncPrompt, Prompt
from flow.ai.schemas import OutputType
from flow.data.context import Context
from flow.errors import shown
from flow.signature import Parameter, Shape, Shaped

REPAIR = "{fault}\n\nWrite the whole answer again, in the form that was asked for, without any words around it."
"""What a model is told about an answer that has another form."""


class Answer(msgspec.Struct, frozen=True):
    """What a model has answered.

    :ivar value: of the type that was asked for; without one, the text. None if it asks for tools.
    :ivar messages: those that it took: the last one is the model's, and those before it are of repairs.
    """

    value: Any
    reply: Reply
    messages: tuple[Message, ...]


class Asking(msgspec.Struct, frozen=True):
    """How a node asks a model.

    :ivar request: all requests' common part. :ivar output: the type of the answer; None for a text.
    :ivar repair: how often a model is told what is wrong with the form of its answer.
    :ivar keeps_truncated: a text that ends at its most output tokens is taken as it is.
    """

    caller: Caller
    request: Request
    output: OutputType | None
    repair: int
    keeps_truncated: bool = False

    async def answer(self, ctx: Context, messages: Sequence[Message], earlier: Sequence[Any] = ()) -> Answer:
        """Ask, and ask again for another form of the answer if it has not the right one.

        :param earlier: the usage of requests that count to the same limits, besides those of this node.
        :raises Refused: if the model refuses. :raises Truncated: if its answer is not whole.
        :raises OutputMismatch: if the answer has another form, after all repairs.
        """
        session = Session(ctx, self._is_fit, earlier)
        taken: list[Message] = []
        for left in range(self.repair, -1, -1):
            request = msgspec.structs.replace(self.request, messages=(*messages, *taken))
            reply = await self.caller.ask(session, request)
            self._check(reply)
            taken.append(Message("assistant", reply.text, reply.tool_calls, kept=reply.kept))
            if reply.tool_calls:
                return Answer(None, reply, tuple(taken))
            if self.output is None:
                return Answer(reply.text, reply, tuple(taken))
            try:
                return Answer(self.output.decode(reply.text), reply, tuple(taken))
            except OutputMismatch as error:
                if not left and ctx._show() is not shown:  # Config(show_values=False): faults repeat values
                    raise OutputMismatch("the answer does not have the form that was asked for", error.text) from None
                if not left:
                    raise
                taken.append(Message("user", REPAIR.format(fault=error)))
        raise AssertionError("the last round returns or raises")

    def digest(self, prompt: Prompt) -> str:
        """Return a digest of what is asked."""
        return digest_of([model.label for model in self.caller.models], self.request, prompt)

    def _is_fit(self, reply: Reply) -> bool:
        """Tell whether an answer is one that a cache may keep."""
        if reply.finish not in ("stop", "tools") or reply.refusal:
            return False
        try:
            if self.output is not None and not reply.tool_calls:
                self.output.decode(reply.text)
        except OutputMismatch:
            return False
        return True

    def _check(self, reply: Reply) -> None:
        """:raises Refused: or Truncated, if there is no whole answer."""
        model = reply.model or "the model"
        if reply.refusal or reply.finish == "refused":
            raise Refused(f"{model} has refused to answer", reply.refusal or reply.text)
        if reply.finish == "filtered":
            raise Refused(f"the provider's filter has ended the answer of {model}", reply.text)
        if reply.finish == "length" and not self.keeps_truncated:
            most = self.request.max_output_tokens
            raise Truncated(
                f"the answer of {model} was cut off at its most output tokens"
                f"{'' if most is None else f' ({most:,} at most)'}: raise max_output_tokens or the limits"
                f"{', or take it as it is by on_truncated=' + repr('keep') if self.output is None else ''}",
                reply.text,
            )


class LlmCall(Shaped):
    """What an ``llm`` node calls.

    :param whole: its output is the :class:`flow.ai.Reply`.
    :ivar source: a digest of what it asks, by which a store tells that it is another node now.
    """

    __slots__ = ("_asking", "_prompt", "_shape", "_whole", "location", "returns", "source")

    def __init__(self, asking: Asking, prompt: Prompt, returns: Any, whole: bool) -> None:
        self._asking, self._prompt, self._whole = asking, prompt, whole
        parameters = prompt.shape().parameters
        if not prompt.needs_context:
            parameters = (Parameter("the Context", is_context=True), *parameters)
        self._shape = Shape(parameters, False, False, True)
        self.location = prompt.location
        self.returns = (returns,)
        self.source = asking.digest(prompt)

    def shape(self) -> Shape:
        return self._shape

    async def __call__(self, *values: Any) -> Any:
        prompt = self._prompt
        messages = prompt(*values) if prompt.needs_context else prompt(*values[1:])
        if isinstance(prompt, AsyncPrompt):
            messages = await messages
        answer = await self._asking.answer(values[0], messages)
        return answer.reply if self._whole else answer.value

    def __repr__(self) -> str:
        return f"<request to {self._asking.caller.models[0].label}>"


__all__ = ["Answer", "Asking", "LlmCall"]
