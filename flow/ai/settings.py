"""What :func:`flow.ai.llm` and :func:`flow.ai.agent` are given, checked: all that is wrong is told in one error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from flow.ai.budgets import Budget
from flow.ai.cache import Cache
from flow.ai.calling import Caller
from flow.ai.known import URLS
from flow.ai.limits import UsageLimits
from flow.ai.messages import Reply, Request
from flow.ai.models import Model, resolve
from flow.ai.prompts import Prompt
from flow.ai.rates import RateLimiter
from flow.ai.schemas import OutputType
from flow.ai.tools import Tool, tools_of
from flow.config import Retry
from flow.config.fields import is_int, is_number
from flow.errors import ConfigError, FlowError, Hints, shown
from flow.graph.dag import Dag
from flow.graph.options import NodeOptions
from flow.run.signals import signals_of

_SAID: Final[Mapping[str, str]] = {
    "model": "model", "models": "fallback_models", "messages": "messages", "tools": "tools", "functions": "tools",
    "stream": "stream", "response_format": "output", "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens", "max_output_tokens": "max_output_tokens",
}  # fmt: skip
"""Fields of a provider's request that a keyword says: limits, budgets and rates do not see them among ``options``."""

_MEANT: Final[Mapping[str, str]] = {
    "max_tokens": "max_output_tokens", "max_completion_tokens": "max_output_tokens", "temp": "temperature",
    "output_type": "output", "response_format": "output", "response_model": "output", "result_type": "output",
    "schema": "output", "instructions": "system", "system_prompt": "system", "user_prompt": "prompt",
    "usage_limits": "limits", "budgets": "budget", "rate_limit": "rate", "rate_limiter": "rate",
    "fallbacks": "fallback_models", "stop_sequences": "stop", "extra_body": "options", "model_settings": "options",
    "functions": "tools", "max_steps": "max_rounds", "max_turns": "max_rounds", "max_iterations": "max_rounds",
    "recursion_limit": "max_rounds", "streaming": "stream", "circuit_breaker": "breaker", "llm": "model",
    "memory": "messages", "history": "messages", "chat_history": "messages", "message_history": "messages",
    "interrupt_before": "approve", "interrupt_after": "approve", "interrupt_on": "approve",
}  # fmt: skip
"""Words of other tools for keywords of ours."""

_IN_RUN: Final = "a run is kept by its store: flow.run(dag, store=..., run_id=...)"
_IN_AGENT: Final = "calls of tools wait for a person in an ai.agent: approve="
_ELSEWHERE: Final[Mapping[str, str]] = {
    "checkpointer": _IN_RUN, "checkpoint": _IN_RUN, "checkpoints": _IN_RUN,
    "over": "add it to a Dag of its own, and dag.map(name, that_dag, over=...) asks for each item",
    "interrupt_before": _IN_AGENT, "interrupt_after": _IN_AGENT, "interrupt_on": _IN_AGENT, "approve": _IN_AGENT,
}  # fmt: skip
"""What is said of words whose place is not here."""


OPTIONS: Final = frozenset(NodeOptions.__annotations__) - {"thread", "executor", "abandon_on_timeout", "retry"}
"""Options of a node that make sense for one that waits for an answer."""

SHARED: Final[Mapping[str, Any]] = {
    "prompt": None, "system": None, "messages": None, "limits": None, "budget": None, "rate": None, "breaker": None,
    "retry": None, "fallback_models": (), "cache": None, "temperature": None, "max_output_tokens": None, "stop": (),
    "options": None, "stream": None, "repair": 1, "capture": False,
}  # fmt: skip
"""What both take, with the defaults."""

NODE: Final = "options of the node"
"""The key of these among what :meth:`Settings.split` returns."""


class Settings:
    """Reads the arguments of one call, and collects what is wrong with them.

    :param who: for messages: ``ai.llm 'summary'``.
    """

    __slots__ = ("faults", "who")

    def __init__(self, who: str, dag: Any) -> None:
        self.who = who
        self.faults: list[str] = []
        if not isinstance(dag, Dag):
            self.faults.append(f"the first argument is the flow.Dag that the node is added to, not {shown(dag)}")

    def check(self) -> None:
        """:raises ConfigError: listing every fault."""
        if self.faults:
            raise ConfigError(self.who, self.faults)

    def split(self, arguments: Mapping[str, Any], ours: Iterable[str]) -> dict[str, Any]:
        """Return what is in :data:`SHARED`, with its defaults, and under :data:`NODE` the options of a node.

        :param ours: the other keywords of the function, for hints.
        """
        self._policies(arguments)
        known = [*SHARED, *ours, *OPTIONS]
        unknown = [word for word in arguments if word not in known]
        given: dict[str, Any] = {word: arguments.get(word, default) for word, default in SHARED.items()}
        given[NODE] = {word: value for word, value in arguments.items() if word in OPTIONS}
        if unknown:
            from flow.keywords import Wrong  # here: only needed once something is wrong

            wrong = Wrong("node", known)
            wrong.given = arguments
            for word in unknown:
                meant = _MEANT.get(word)
                if meant in known:
                    hint = f" (did you mean {meant}=?)"
                elif word in _ELSEWHERE:
                    hint = f": {_ELSEWHERE[word]}"
                else:
                    hint = wrong.meant(word, arguments[word])
                self.faults.append(f"it takes no option {shown(word)}{hint}")
        return given

    def _policies(self, arguments: Mapping[str, Any]) -> None:
        """Note what is wrong with ``retry`` and ``fallback``: a node tells of the one later, and takes the other."""
        retry, other = arguments.get("retry"), arguments.get("fallback")
        if retry is not None and not isinstance(retry, Retry):
            hint = f": flow.Retry({retry})" if is_int(retry) and retry > 0 else ""
            self.faults.append(f"retry must be a flow.Retry, or None, not {shown(retry)}{hint}")
        others = other if isinstance(other, (list, tuple)) else (other,)
        if others and all(isinstance(one, Model) or _is_name(one) for one in others):
            text = "fallback is the output of a node that has failed, and these are models"
            self.faults.append(f"{text} (did you mean fallback_models=?)")

    def caller(self, model: Any, given: Mapping[str, Any]) -> Caller | None:
        """Return what makes the requests; None if something is wrong with it."""
        before = len(self.faults)
        others = self._listed("fallback_models", given["fallback_models"], "models")
        models = [self._tried("model", lambda: resolve(model))]
        models += [self._tried("fallback_models", partial(resolve, one)) for one in others]
        budget = given["budget"]
        budgets = () if budget is None else tuple(budget) if isinstance(budget, (list, tuple)) else (budget,)
        self._all_are("budget", budgets, Budget, "an ai.Budget, or a list of these")
        self._is("limits", given["limits"], UsageLimits, "an ai.UsageLimits")
        self._is("rate", given["rate"], RateLimiter, "an ai.RateLimiter")
        self._is("cache", given["cache"], Cache, "an ai.Cache")
        breaker = given["breaker"]
        if breaker is not None and not (callable(breaker) and callable(getattr(breaker, "settled", None))):
            self.faults.append(f"breaker must be a flow.Breaker, or None, not {shown(breaker)}")
        if given["stream"] is not None:
            self.flag("stream", given["stream"], ", or None")
        self.flag("capture", given["capture"])
        self.integer("repair", given["repair"], least=0, none=False)
        if len(self.faults) > before:
            return None
        settings = [given[word] for word in ("rate", "breaker", "cache", "stream", "capture")]
        return Caller(tuple(models), given["limits"], budgets, *settings)

    def request(self, given: Mapping[str, Any], output: OutputType | None, tools: Sequence[Tool]) -> Request:
        """Return what all requests of the node have in common: without a model, and without messages."""
        temperature, most, options = given["temperature"], given["max_output_tokens"], given["options"]
        if temperature is not None and (not is_number(temperature) or temperature < 0):
            self.faults.append(f"temperature must be a number >= 0, or None, not {shown(temperature)}")
        self.integer("max_output_tokens", most)
        stop = self._listed("stop", given["stop"], "texts")
        self._all_are("stop", stop, str, "a list of texts")
        if options is not None and not (isinstance(options, Mapping) and all(isinstance(key, str) for key in options)):
            self.faults.append(f"options are further fields of the provider's request, as a dict, not {shown(options)}")
            options = None
        self._check_options(options or {})
        specs = tuple([tool.spec for tool in tools])
        spec = None if output is None else output.spec
        return Request("", (), specs, spec, most, temperature, tuple(stop), dict(options or {}))

    def _check_options(self, options: Mapping[str, Any]) -> None:
        for field in options:
            if field in _SAID:
                text = f"options: {field!r} is said by {_SAID[field]}=, by which limits, budgets and rates go"
                self.faults.append(text)
            elif field in ("n", "best_of") and options[field] not in (None, 1):
                self.faults.append(
                    f"options: {field}={shown(options[field])} pays for answers that nobody reads: one is"
                )

    def output(self, output: Any) -> OutputType | None:
        """Return the type of the answer; None for a text, or a whole :class:`flow.ai.Reply`."""
        if output is str or output is Reply:
            return None
        made: OutputType | None = self._tried("output", lambda: OutputType(output))
        return made

    def tools(self, tools: Any) -> tuple[Tool, ...]:
        """Return what the model may call."""
        try:
            made = tools_of(tools if isinstance(tools, (list, tuple)) else self._listed("tools", tools, "functions"))
        except ConfigError as error:
            self.faults += error.faults
            return ()
        for tool in made:
            if tool.plan is not None and tool.plan._nodes.waits and tool.timeout is None:
                endless = signals_of(tool.plan).unbounded
                if endless:
                    waits = ", ".join(map(repr, endless))
                    self.faults.append(
                        f"tool {tool.name!r} is a Dag that waits for {waits}, and nothing can be sent into a tool: "
                        "let its calls wait, by approve=, or give the signal a timeout=..."
                    )
        return made

    def approved(self, tools: Sequence[Tool], approve: Any) -> frozenset[str]:
        """Return the names of those tools whose calls need approval. :param approve: names of these, or tools."""
        names = [tool.name for tool in tools]
        found = {tool.name for tool in tools if tool.needs_approval}
        for one in self._listed("approve", approve, "tools"):
            name = one if isinstance(one, str) else getattr(one, "name", None) or getattr(one, "__name__", None)
            if name in names:
                found.add(str(name))
            elif names:
                meant = Hints().nearest(name, names) if isinstance(name, str) else ""
                self.faults.append(f"approve names {shown(one)}, which is none of the tools{meant}")
            else:
                self.faults.append(f"approve names {shown(one)}, and there are no tools")
        return frozenset(found)

    def prompt(self, given: Mapping[str, Any]) -> Prompt | None:
        """Return what makes the messages; None if something is wrong with it."""
        if given["prompt"] is None and given["messages"] is None:
            self.faults.append("it needs a prompt=..., or messages=...")
            return None
        made: Prompt | None = self._tried("", lambda: Prompt(given["prompt"], given["system"], given["messages"]))
        return made

    def flag(self, word: str, value: Any, rest: str = "") -> None:
        """Note if that is neither True nor False."""
        if not isinstance(value, bool):
            self.faults.append(f"{word} must be True or False{rest}, not {shown(value)}")

    def integer(self, word: str, value: Any, least: int = 1, none: bool = True) -> None:
        """Note if that is no integer of at least so many. :param none: None is in order, too."""
        fits = none if value is None else is_int(value) and value >= least
        if not fits:
            rest = ", or None" if none else ""
            self.faults.append(f"{word} must be an integer of at least {least}{rest}, not {shown(value)}")

    def one_of(self, word: str, value: Any, words: Sequence[str]) -> None:
        """Note if that is none of these words."""
        if not (isinstance(value, str) and value in words):
            self.faults.append(f"{word} must be {' or '.join(map(repr, words))}, not {shown(value)}")

    def _tried(self, word: str, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except FlowError as error:
            self.faults.append(f"{word}: {error}" if word else str(error))
            return None

    def _listed(self, word: str, values: Any, what: str) -> list[Any]:
        if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
            self.faults.append(f"{word} must be a list of {what}, not {shown(values)}")
            return []
        return list(values)

    def _is(self, word: str, value: Any, kind: type[Any], what: str) -> None:
        if value is not None and not isinstance(value, kind):
            self.faults.append(f"{word} must be {what}, or None, not {shown(value)}")

    def _all_are(self, word: str, values: Sequence[Any], kind: type[Any], what: str) -> None:
        wrong = [value for value in values if not isinstance(value, kind)]
        if wrong:
            self.faults.append(f"{word} must be {what}, not {shown(wrong[0])}")


def _is_name(value: Any) -> bool:
    """Tell whether this is the name of a model, with its provider: no text that a node would have for an output."""
    prefix, colon, name = value.partition(":") if isinstance(value, str) else ("", "", "")
    return bool(colon) and prefix in URLS and bool(name) and " " not in name


__all__ = ["NODE", "SHARED", "Settings"]
