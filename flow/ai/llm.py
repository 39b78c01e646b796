"""One node that asks a model: :func:`llm`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal, TypeVar, Unpack, overload

from flow.ai.asking import Asking, LlmCall
from flow.ai.messages import Reply
from flow.ai.models import Model
from flow.ai.options import AskOptions
from flow.ai.settings import NODE, Settings
from flow.errors import shown
from flow.graph.dag import Dag
from flow.tracebacks import ends_at_user
from flow.types import NodeRef

T = TypeVar("T")

_OURS: Final = ("model", "output", "tools", "on_truncated")


@overload
def llm(
    dag: Dag, name: str, *, model: str | Model, tools: Iterable[Any] = (),
    on_truncated: Literal["fail", "keep"] = "fail", **options: Unpack[AskOptions],
) -> NodeRef[str]: ...  # fmt: skip


@overload
def llm(
    dag: Dag, name: str, *, model: str | Model, output: type[T], tools: Iterable[Any] = (),
    on_truncated: Literal["fail", "keep"] = "fail", **options: Unpack[AskOptions],
) -> NodeRef[T]: ...  # fmt: skip


@overload
def llm(
    dag: Dag, name: str, *, model: str | Model, output: Any, tools: Iterable[Any] = (),
    on_truncated: Literal["fail", "keep"] = "fail", **options: Unpack[AskOptions],
) -> NodeRef[Any]: ...  # fmt: skip


@ends_at_user
def llm(
    dag: Dag,
    name: str,
    *,
    model: Any,
    output: Any = str,
    tools: Any = (),
    on_truncated: Any = "fail",
    **arguments: Any,
) -> NodeRef[Any]:
    """Add a node that asks a model, and whose output is its answer.

    What the prompts read are the node's parameters: outputs of nodes of these names, else run inputs.

    Each request, in this order: the cache is asked, the limits are checked, the budgets reserve what it may cost, the
    rate is waited for (without a slot), the breaker is asked, the provider is asked. Then all are settled by what it
    has taken, and that is reported: see :func:`flow.ai.usage`. Of a request without a whole answer (a cut connection,
    a time limit, a cancellation) the tokens are an estimate, and budgets count what was reserved for it.

    :param model: ``"provider:model"``, a name of :func:`flow.ai.models`, or a :class:`flow.ai.Model`.
    :param prompt: a text with ``{{ expressions }}``, or a function; :class:`flow.ai.Prompt` says what it may return.
    :param system: the same, for what the model is told before all else.
    :param messages: messages that come before the prompt: a list, or a function that returns one.
    :param output: ``str`` gives the text. Another type gives a value of it (:class:`flow.ai.OutputType` says which
        there are). ``ai.Reply`` gives the whole answer.
    :param tools: what the model is told that it may ask for. It takes ``output=ai.Reply``, which has what it asks for:
        nothing here calls tools (:func:`flow.ai.agent` does).
    :param limits: of this node: all its attempts and repairs together; of a node of a map's Dag, for each item.
    :param budget: an :class:`flow.ai.Budget`, or several. :param rate: how fast the provider of ``model`` may be asked.
    :param breaker: a :class:`flow.Breaker`: while it is open, that provider is not asked.
    :param retry: how to try again. Errors that another attempt cannot help (a refused request, a quota, a limit) are
        not tried again, and the pause is at least what the provider asks for.
    :param fallback_models: each is asked, in this order and in the same attempt, if the one before it has failed by its
        provider's fault: not if the request itself was refused, nor for a budget or a limit. The next attempt begins
        with ``model`` again.
    :param cache: where answers are that are there already.
    :param max_output_tokens: of one answer; ``limits`` lower it to what they leave.
    :param options: further fields of the provider's request. What a keyword says (``max_tokens``, ``tools``, ...), and
        more than one answer (``n``), is refused.
    :param stream: emit the answer piece by piece, under the key ``text`` (:func:`flow.stream`); the output is the whole
        all the same. None does so for texts, where somebody observes the run.
    :param repair: how often the model is told what is wrong with the form of its answer, and asked again.
    :param on_truncated: for an answer that ends at its most output tokens: "fail" (:class:`flow.ai.Truncated`), or
        "keep", for texts.
    :param capture: report what is asked and answered, under the kind ``exchange``. By default it is kept nowhere.
    :param node_options: as of :meth:`flow.Dag.add`: ``after``, ``needs``, ``when``, ``timeout``, ``fallback``,
        ``continue_on_error``, ``store``, ``cost``, ``priority``, ...
    :raises ConfigError: listing all that is wrong with the arguments. Nothing is added then.
    """
    settings = Settings(f"ai.llm {shown(name)}", dag)
    given = settings.split(arguments, _OURS)
    caller = settings.caller(model, given)
    made, kind = settings.tools(tools), settings.output(output)
    request = settings.request(given, kind, made)
    settings.one_of("on_truncated", on_truncated, ("fail", "keep"))
    if on_truncated == "keep" and kind is not None:
        settings.faults.append("on_truncated='keep' is for texts: a part of a value is no value")
    if made and output is not Reply:
        text = "tools: an llm calls none. Take output=ai.Reply, which has what the model asks for, or ai.agent"
        settings.faults.append(text)
    prompting = settings.prompt(given)
    settings.check()
    assert caller is not None
    assert prompting is not None
    asking = Asking(caller, request, kind, given["repair"], on_truncated == "keep")
    call = LlmCall(asking, prompting, output, output is Reply)
    return dag.add(name, call, retry=given["retry"], **given[NODE])


__all__ = ["llm"]
