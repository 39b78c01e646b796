"""A node that lets a model call tools until it has an answer: :func:`agent`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, TypeVar, Unpack, overload

from flow.ai.asking import Asking
from flow.ai.conversation import Conversation, without_system
from flow.ai.messages import Reply
from flow.ai.models import Model
from flow.ai.options import AskOptions
from flow.ai.prompts import AsyncPrompt, Prompt
from flow.ai.rounds import Rounds, Talk, Turn, round_of
from flow.ai.schemas import OutputType
from flow.ai.settings import NODE, Settings
from flow.errors import shown
from flow.graph.dag import Dag
from flow.policy.looping import Looped
from flow.signature import Around, Shape
from flow.tracebacks import ends_at_user
from flow.types import NodeRef, is_name

T = TypeVar("T")

_OURS: Final = ("model", "tools", "max_rounds", "output", "concurrency", "on_limit", "approve", "conversation")


class _Framed(Around):
    """Makes the first messages of an agent, and gives what the model has answered in the last round."""

    __slots__ = ("_output", "_prompt", "_whole", "location", "returns")

    def __init__(self, prompt: Prompt, output: OutputType | None, returns: Any, whole: bool) -> None:
        self._prompt, self._output, self._whole = prompt, output, whole
        self.location = prompt.location
        self.returns = (Conversation[returns] if whole else returns,)

    def shape(self) -> Shape:
        return self._prompt.shape()

    def given(self, values: Sequence[Any]) -> Sequence[Any]:
        return [Talk(self._prompt(*values))]

    def output(self, made: Any, values: Sequence[Any]) -> Any:
        turn: Turn = made["model"]
        answer = turn.text if self._output is None else self._output.decode(turn.text)
        if not self._whole:
            return answer
        talk: Talk = made["talked"]
        return Conversation(answer, without_system(talk.messages))


@overload
def agent(
    dag: Dag, name: str, *, model: str | Model, tools: Iterable[Any] = (), max_rounds: int = 8,
    concurrency: int | None = 4, on_limit: Literal["fail", "answer"] = "fail", approve: Iterable[Any] = (),
    conversation: Literal[False] = False, **options: Unpack[AskOptions],
) -> NodeRef[str]: ...  # fmt: skip


@overload
def agent(
    dag: Dag, name: str, *, model: str | Model, output: type[T], tools: Iterable[Any] = (), max_rounds: int = 8,
    concurrency: int | None = 4, on_limit: Literal["fail", "answer"] = "fail", approve: Iterable[Any] = (),
    conversation: Literal[False] = False, **options: Unpack[AskOptions],
) -> NodeRef[T]: ...  # fmt: skip


@overload
def agent(
    dag: Dag, name: str, *, model: str | Model, output: Any, tools: Iterable[Any] = (), max_rounds: int = 8,
    concurrency: int | None = 4, on_limit: Literal["fail", "answer"] = "fail", approve: Iterable[Any] = (),
    conversation: Literal[False] = False, **options: Unpack[AskOptions],
) -> NodeRef[Any]: ...  # fmt: skip


@overload
def agent(
    dag: Dag, name: str, *, model: str | Model, tools: Iterable[Any] = (), max_rounds: int = 8,
    concurrency: int | None = 4, on_limit: Literal["fail", "answer"] = "fail", approve: Iterable[Any] = (),
    conversation: Literal[True], **options: Unpack[AskOptions],
) -> NodeRef[Conversation[str]]: ...  # fmt: skip


@overload
def agent(
    dag: Dag, name: str, *, model: str | Model, output: type[T], tools: Iterable[Any] = (), max_rounds: int = 8,
    concurrency: int | None = 4, on_limit: Literal["fail", "answer"] = "fail", approve: Iterable[Any] = (),
    conversation: Literal[True], **options: Unpack[AskOptions],
) -> NodeRef[Conversation[T]]: ...  # fmt: skip


@overload
def agent(
    dag: Dag, name: str, *, model: str | Model, output: Any, tools: Iterable[Any] = (), max_rounds: int = 8,
    concurrency: int | None = 4, on_limit: Literal["fail", "answer"] = "fail", approve: Iterable[Any] = (),
    conversation: Literal[True], **options: Unpack[AskOptions],
) -> NodeRef[Conversation[Any]]: ...  # fmt: skip


@ends_at_user
def agent(
    dag: Dag,
    name: str,
    *,
    model: Any,
    tools: Any = (),
    max_rounds: Any = 8,
    output: Any = str,
    concurrency: Any = 4,
    on_limit: Any = "fail",
    approve: Any = (),
    conversation: Any = False,
    **arguments: Any,
) -> NodeRef[Any]:
    """Add a node that lets a model call tools, round by round, until it has an answer. That is the node's output.

    The node is a :meth:`loop <flow.Dag.loop>`. In each round the node ``model`` asks the model; ``tools`` is a map over
    the calls that it asks for, and tells it what came of them. A tool that fails, one that there is not, and arguments
    that are wrong fail nothing: the model is told. Each of these is an event of the run, at the path ``research#2``.
    A durable run goes on in the middle of a round, and pays for no answer again.

    :param tools: functions, Dags, or what :func:`flow.ai.tool` makes of them.
    :param max_rounds: most rounds, 1 at least.
    :param output: ``str`` gives the text of the last answer, another type a value of it.
    :param limits: of all rounds together. What tools ask of models themselves is not in it; a budget counts all.
    :param retry: of each request to the model. (Of a tool: ``ai.tool(retry=...)``.)
    :param concurrency: tools that are called at once in a round; None is all.
    :param on_limit: if the model still asks for tools in the last round: "fail" fails with a
        :class:`flow.errors.LoopLimit`; "answer" tells it before that round to answer without tools, and fails if it
        does not.
    :param approve: tools, or their names, whose calls wait for a person; ``ai.tool(approve=True)`` says the same. The
        run then reports the ``tool``, its ``arguments`` and the ``address`` under the kind ``question``, also each time
        that it goes on later (``Result.reports``), and waits for an :class:`flow.ai.Approval` at that address:
        ``research#1.approve#0.answer``: round 1, its first such call. Other calls of the round are not
        held up. What was refused is told to the model.
    :param conversation: True gives a :class:`flow.ai.Conversation`: the answer, and all messages, which ``messages=``
        of a further request takes.
    :param arguments: ``model``, ``prompt``, ``system``, ``messages``, ``budget``, ``rate``, ``breaker``,
        ``fallback_models``, ``cache``, ``temperature``, ``max_output_tokens``, ``stop``, ``options``, ``stream``,
        ``repair`` and ``capture`` as of :func:`flow.ai.llm`, each of every request; and the options of a node, which
        are those of the whole loop: a ``timeout`` covers all rounds and the waiting for persons.
    :raises ConfigError: listing all that is wrong with the arguments. Nothing is added then.
    """
    settings = Settings(f"ai.agent {shown(name)}", dag)
    given = settings.split(arguments, _OURS)
    caller = settings.caller(model, given)
    made, kind = settings.tools(tools), settings.output(output)
    guarded = settings.approved(made, approve)
    request = settings.request(given, kind, made)
    settings.integer("max_rounds", max_rounds, none=False)
    settings.integer("concurrency", concurrency)
    settings.one_of("on_limit", on_limit, ("fail", "answer"))
    settings.flag("conversation", conversation)
    if output is Reply:
        settings.faults.append("output: an agent gives its answer, as a text or a value, and no ai.Reply")
    prompting = settings.prompt(given)
    if isinstance(prompting, AsyncPrompt):
        settings.faults.append("the prompts of an agent are plain functions: let a node before it do what is awaited")
    settings.check()
    assert caller is not None
    assert prompting is not None
    rounds = Rounds(Asking(caller, request, kind, given["repair"]), made, guarded, max_rounds, on_limit == "answer")
    body = round_of(name if is_name(name) else "agent", rounds, prompting, concurrency, bool(guarded), given["retry"])
    carry: dict[str, Any] = {"talk": "talked"}
    ref = dag.loop(name, body, until=_has_answered, max_iterations=max_rounds, carry=carry, **given[NODE])
    _looped(dag, name).around = _Framed(prompting, kind, output, conversation)
    return ref


def _has_answered(model: Turn) -> bool:
    return not model.calls


def _looped(dag: Dag, name: str) -> Looped:
    """Return what was just added under this name."""
    definition = dag._definition
    at = len(definition.names) - 1 if definition.names[-1] == name else definition.names.index(name)
    looped: Any = definition.fns[at]
    return looped  # type: ignore[no-any-return]


__all__ = ["agent"]
