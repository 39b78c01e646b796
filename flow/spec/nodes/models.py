"""Nodes of a file that ask language models: ``llm`` and ``agent``. :mod:`flow.ai` is loaded by the first of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from flow.errors import ConfigError, UsageError, shown
from flow.graph.dag import Dag
from flow.policy.breaker import Breaker
from flow.policy.scope import Reads
from flow.signature import Around
from flow.spec.form import structs
from flow.spec.form.answers import Schema
from flow.spec.form.fields import kind_of
from flow.spec.form.models import CacheOptions, ModelOptions
from flow.spec.nodes import around, steps
from flow.spec.nodes.options import Options
from flow.spec.nodes.parts import Part
from flow.spec.text.expressions import value_of
from flow.spec.text.places import Row, Table

_OUTPUTS: Final[Mapping[str, Any]] = {"string": str, "integer": int, "number": float, "boolean": bool}
_PLAIN: Final = (
    "fallback_models", "temperature", "max_output_tokens", "stop", "options", "stream", "repair", "capture",
    "on_truncated", "max_rounds", "on_limit", "concurrency", "conversation",
)  # fmt: skip
"""Keys that are keywords as they are."""

_WORD: Final = re.compile(r"[a-z_]+")
_PRICES: Final = ("input_price", "output_price", "cached_price", "cache_write_price")
_UNKNOWN: Final = "openai:any"
"""What stands in for a model that only a program names, where nothing is imported."""


class Asks(steps.AsyncCall):
    """An :class:`flow.spec.nodes.steps.AsyncCall` that asks a model. :ivar returns: the type of the answer."""

    __slots__ = ("returns",)

    def __repr__(self) -> str:
        return repr(self.fn)


class Rendered:
    """Calls what asks a model, with the texts that the file has rendered.

    :param call: what ``flow.ai.llm`` has made: it takes the Context, and then texts.
    """

    def __init__(self, call: Any) -> None:
        self._call = call
        self._names = _texts_of(call)

    async def __call__(self, ctx: Any, **texts: Any) -> Any:
        return await self._call(ctx, *[texts[name] for name in self._names])

    def __repr__(self) -> str:
        return repr(self._call)


class Framed(around.Prepared):
    """Renders what an agent is asked, gives what it has answered, and publishes from that.

    :param frame: what ``flow.ai.agent`` has put around its rounds. :param texts: what that is given, by name.
    """

    __slots__ = ("_frame", "_texts", "returns")

    def __init__(
        self, frame: Around, texts: Mapping[str, Any], reads: Reads, location: str,
        publishing: steps.Publishing | None,
    ) -> None:  # fmt: skip
        given = [texts[name] for name in _texts_of(frame)]
        super().__init__(given, reads, location, publishing, partial(frame.output, values=()))
        self._frame, self._texts = frame, texts
        self.returns = getattr(frame, "returns", ())

    def given(self, values: Sequence[Any]) -> Sequence[Any]:
        return self._frame.given(super().given(values))

    def __reduce__(self) -> tuple[Any, ...]:
        return Framed, (self._frame, self._texts, self.reads, self.location, self.publishing)


def _texts_of(asks: Any) -> list[str]:
    return [p.name for p in asks.shape().parameters if not p.is_context]


def add(to: Options, part: Part) -> None:
    """Add a node that asks a model. What is wrong with it is noted, and it is left out."""
    try:
        import flow.ai as ai
    except ImportError:
        to.faults.add(part.at(part.kind), f"{part.kind} needs flow.ai: pip install 'flow-dag[ai]'")
        return
    before = to.faults.count
    arguments = _Arguments(ai, to, part).read()
    if to.faults.count > before:
        return
    scratch = Dag(to.dag.name)
    try:
        (ai.llm if part.kind == "llm" else ai.agent)(scratch, part.name, **arguments)
    except ConfigError as error:
        for fault in error.faults:
            to.faults.add(_place_of(fault, part), f"{part.kind} {shown(part.name)}: {fault}")
        return
    made: Any = scratch._definition.fns[-1]
    given = part.given or {}
    reads = to.outline.reads_of(part, part.arguments, True)
    publishing = steps.Publishing(part.publish) if part.publish else None
    if part.kind == "llm":
        fn = Rendered(made)
        step = Asks(fn, steps.Arguments(given, fn), reads, part.location, "ctx", publishing)
        step.returns = getattr(made, "returns", ())
        to.put(part, step)
        return
    to.put(part, made, partial(_add_without_retry, to.dag))  # each request of an agent is tried again
    made.around = Framed(made.around, given, reads, part.location, publishing)


def _add_without_retry(dag: Dag, name: str, fn: Any, *, retry: Any = None, **options: Any) -> None:
    dag.add(name, fn, **options)


def _place_of(fault: str, part: Part) -> Any:
    """Return the event of the key that a fault is about; that of the kind, if it names none."""
    found = _WORD.match(fault)
    word = found[0] if found is not None else ""
    return part.at(next((key for key in (word, f"{word}s") if key in part.table), part.kind))


class _Arguments:
    """Makes of one node the keywords of ``flow.ai.llm`` or ``flow.ai.agent``."""

    def __init__(self, ai: Any, to: Options, part: Part) -> None:
        self._ai = ai
        self._to = to
        self._part = part
        self._spec, self._table = part.spec, part.table

    def read(self) -> dict[str, Any]:
        """Return them. What is wrong is noted."""
        spec, table, part = self._spec, self._table, self._part
        found: dict[str, Any] = {key: getattr(spec, key) for key in _PLAIN if key in table}
        found["model"] = self._model(getattr(spec, part.kind))
        if not self._to.references.imports:  # names that only programs know
            found["fallback_models"] = [_checked(one) for one in spec.fallback_models]
        found |= {name: _passing(name) for name in part.given or {}}
        self._check_values()
        if "output" in table:
            found["output"] = self._output(spec.output)
        if spec.retry is not None and part.kind == "agent":
            found["retry"] = self._to._retry(part)
        found |= self._settings()
        if part.kind == "agent":
            found["tools"] = [tool for tool in map(self._tool, range(len(spec.tools))) if tool is not None]
            if self._to.references.imports:
                found["approve"] = spec.approve
        return found

    def _check_values(self) -> None:
        """Note what cannot be a text, and expressions that are not read."""
        part = self._part
        for name, made in (part.given or {}).items():
            kinds = str if name == "system" else (str, list)
            if made.is_constant and not isinstance(made.value, kinds):
                what = "messages, as a list" if name == "messages" else "a text, or an expression"
                text = f"{name} of {part.kind} {shown(part.name)} is {what}, not {kind_of(self._table[name])}"
                self._to.faults.add(part.at(name), text)
        if "options" in self._table:
            options = value_of(self._table["options"], part.at("options"), self._to.faults, literal=True)
            if not options.is_constant:
                self._to.faults.add(part.at("options"), "options is a literal, and expressions are not read there")

    def _model(self, model: str | ModelOptions) -> Any:
        if isinstance(model, str) or len(_given(model, self._table[self._part.kind])) == 1:
            name = model if isinstance(model, str) else model.model
            return name if self._to.references.imports else _checked(name)
        provider, _, name = model.model.partition(":")
        if not name:
            event = self._table[self._part.kind].marks["model"][1]
            self._to.faults.add(event, f"a model of which more is said is provider:model, not {shown(model.model)}")
            return _UNKNOWN
        options = _given(model, self._table[self._part.kind])
        del options["model"]
        options = {key: _amount(one) if key in _PRICES else one for key, one in options.items()}
        return self._made(self._part.kind, self._ai.Model, {"provider": provider, "name": name, **options})

    def _settings(self) -> dict[str, Any]:
        """Return what limits the requests, and what they share."""
        ai, spec, table = self._ai, self._spec, self._table
        found: dict[str, Any] = {}
        if spec.limits is not None:
            found["limits"] = self._made("limits", ai.UsageLimits, _amounts(spec.limits, table["limits"]))
        if spec.budget is not None:
            listed = table["budget"] if isinstance(table["budget"], Row) else [table["budget"]]
            options = spec.budget if isinstance(spec.budget, list) else [spec.budget]
            each = [_amounts(one, at) for one, at in zip(options, listed, strict=True)]
            found["budget"] = [self._made("budget", ai.Budget, one, True) for one in each]
        if spec.rate is not None:
            found["rate"] = self._made("rate", ai.RateLimiter, _given(spec.rate, table["rate"]), True)
        if spec.breaker is not None:
            found["breaker"] = self._made("breaker", Breaker, _given(spec.breaker, table["breaker"]), True)
        if spec.cache:
            kept = _given(spec.cache, table["cache"]) if isinstance(spec.cache, CacheOptions) else {}
            found["cache"] = self._made("cache", ai.Cache, kept, True)
        return found

    def _made(self, key: str, make: Callable[..., Any], options: Mapping[str, Any], share: bool = False) -> Any:
        """Return what ``make`` makes; None, with faults, if it refuses.

        :param share: nodes that say the same have one, in all files of a load: a budget, a limiter, a cache.
        """
        try:
            return self._of_all(make, options) if share else make(**options)
        except (ConfigError, UsageError) as error:
            table = self._table[key]
            for fault in getattr(error, "faults", None) or [str(error)]:
                word = found[0] if (found := _WORD.match(fault)) is not None else ""
                event = table.marks[word][1] if isinstance(table, Table) and word in table else self._part.at(key)
                self._to.faults.add(event, f"{key} of {self._part.kind} {shown(self._part.name)}: {fault}")
            return None

    def _of_all(self, make: Callable[..., Any], options: Mapping[str, Any]) -> Any:
        shared = self._to.references.shared
        key = (make.__qualname__, msgspec.json.encode(sorted(options.items())))
        if key not in shared:
            shared[key] = make(**options)
        return shared[key]

    def _output(self, written: Any) -> Any:
        """Return the type of the answer."""
        event = self._part.at("output")
        if not isinstance(written, str):
            what = f"output of {self._part.kind} {shown(self._part.name)}"
            return Schema(self._to.faults, what, self._part.name).type(self._table["output"], event)
        if written in _OUTPUTS:
            return _OUTPUTS[written]
        if ":" not in written:
            near = self._to.faults.nearest(written, _OUTPUTS)
            text = f"there is no type {shown(written)}{near}; a class is module:Class, a schema is a mapping"
            self._to.faults.add(event, text)
            return str
        found = self._to.references.callee(written, event, is_type=True)
        return str if found is None or not self._to.references.imports else found

    def _tool(self, k: int) -> Any:
        """Return one tool; None if there is a fault, or if functions are not imported."""
        written, listed = self._spec.tools[k], self._table["tools"]
        if isinstance(written, structs.FileBody):
            return self._to.references.inner(written.file, listed[k].marks["file"][1])
        found = self._to.references.callee(written, listed.marks[k])
        return found if self._to.references.imports else None


def _passing(name: str) -> Callable[..., Any]:
    """Return what gives a text that has been rendered already."""
    return {"prompt": _prompt, "system": _system, "messages": _messages}[name]


def _prompt(prompt: Any) -> Any:
    return prompt


def _system(system: Any) -> Any:
    return system


def _messages(messages: Any) -> Any:
    return messages


def _given(spec: Any, table: Any) -> dict[str, Any]:
    """Return the fields that stand in the file: the others have the defaults of :mod:`flow.ai`."""
    return {key: getattr(spec, key) for key in spec.__struct_fields__ if key in table}


def _amounts(spec: Any, table: Any) -> dict[str, Any]:
    money = ("cost", "run", "hour", "day", "month")
    return {key: _amount(one) if key in money else one for key, one in _given(spec, table).items()}


def _amount(value: Any) -> Any:
    """Return an amount of money as text: a number of a file stands for its shortest text."""
    return str(value) if isinstance(value, (int, float)) else value


def _checked(model: str) -> str:
    return model if ":" in model else _UNKNOWN


def asks_model(fn: Any) -> bool:
    """Tell whether a node's function was made by :mod:`flow.ai`."""
    return any(type(one).__module__.startswith("flow.ai.") for one in (fn, getattr(fn, "around", None)))


__all__ = ["Asks", "Framed", "add", "asks_model"]
