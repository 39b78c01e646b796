"""The options that nodes of a file share, as keywords of the methods of a Dag."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from flow.config import Retry, Timeout
from flow.errors import ExpressionSyntaxError
from flow.expr import Expression
from flow.graph.dag import Dag
from flow.graph.options import TEARDOWN
from flow.policy.expressed import Expressed
from flow.spec.form import structs
from flow.spec.nodes.outline import Outline, References
from flow.spec.nodes.parts import Part
from flow.spec.nodes.retries import Retried, exception_fault
from flow.spec.text.expressions import value_of
from flow.spec.text.places import Row

_AS_THEY_ARE: Final = frozenset({
    "priority", "cost", "thread", "executor", "continue_on_error", "abandon_on_timeout", "cleanup",
    "store",
})  # fmt: skip


class Options:
    """Adds nodes with their options.

    :param outline: the file. :param references: gives what nodes call.
    """

    def __init__(self, dag: Dag, outline: Outline, references: References) -> None:
        self.dag = dag
        self.outline = outline
        self.references = references
        self.faults = outline.faults
        self._retries: dict[tuple[Any, ...], Retry] = {}  # those that are equal are one

    def put(self, part: Part, fn: Any, add: Callable[..., Any] | None = None, **options: Any) -> None:
        """Add a node with the options that all kinds share.

        :param fn: what it calls; None if it calls nothing. :param add: the method that adds it.
        """
        spec, table, add = part.spec, part.table, add or self.dag.add
        for key in table:
            if key in _AS_THEY_ARE:
                options[key] = getattr(spec, key)
        if "fallback" in table:
            options["fallback"] = self._fallback(part)
        if "retry" in table and spec.retry is not None:
            options["retry"] = self._retry(part)
        if "timeout" in table and spec.timeout is not None and part.kind != "signal":
            timeout = spec.timeout
            long = isinstance(timeout, structs.TimeoutOptions)
            options["timeout"] = Timeout(timeout.attempt, timeout.node) if long else timeout
        join = self.outline.joins.join.get(part.name, "all")
        if join != "all":
            options["join"] = join
        when = self.expressed(part.when)
        if when is not None:
            options["when"] = when
        after = self._after(part)
        if after:
            options["after"] = after
        if "teardown" in table:
            options[TEARDOWN] = spec.teardown  # not by the method, which adds no map and no loop
        if fn is None:
            add(part.name, **options)
        else:
            add(part.name, fn, **options)

    def put_wait(self, part: Part, add: Callable[..., Any], **options: Any) -> None:
        """Add a node that waits. It stands in the file, and not in the program that loads it."""
        self.put(part, None, add, **options)
        self.dag._definition.fns[-1].define_at(part.location)

    def expressed(self, made: Expression | None) -> Expressed | None:
        """Return a bare expression as a function of what it reads; None, with a fault, if no run can give that."""
        if made is None:
            return None
        try:
            return Expressed(made, str(made.where))
        except ExpressionSyntaxError as error:
            place = made.place(error.line, error.column)
            if not self.faults.knows(place):  # checking its names may have told
                self.faults.add(place, error.problem)
            return None

    def _fallback(self, part: Part) -> Any:
        made = value_of(part.table["fallback"], part.at("fallback"), self.faults, literal=True)
        if not made.is_constant:
            self.faults.add(part.at("fallback"), "fallback is a literal, and expressions are not read there")
        return made.value

    def _after(self, part: Part) -> Any:
        after = after_of(part.spec.after)
        read = self.outline.reads[part.name]
        if not read.data:
            return after
        more = self.outline.publishers(read, part.name)
        if isinstance(after, dict):
            return {**dict.fromkeys(more, "completed"), **after}
        return tuple(dict.fromkeys((*after, *more)))

    def _retry(self, part: Part) -> Retry:
        spec, table = part.spec.retry, part.table["retry"]
        names = (spec.retry_if,) if isinstance(spec.retry_if, str) else tuple(spec.retry_if)
        key = spec.attempts, spec.delay, spec.backoff, spec.multiplier, spec.max_delay, spec.jitter, names
        known = self._retries.get(key)
        if known is not None:
            return known
        faulty = False
        for k, name in enumerate(names):
            fault = exception_fault(name, self.faults.budget.hints)
            if fault:
                faulty = True
                written, event = table["retry_if"], table.marks["retry_if"][1]
                self.faults.add(written.marks[k] if isinstance(written, Row) else event, f"retry_if: {fault}")
        made = Retry(*key[:-1], Retried(names))
        if not faulty:
            self._retries[key] = made
        return made


def after_of(after: Any) -> Any:
    """Return the ``after`` of a file as a tuple of names, or a mapping of them to conditions."""
    return dict(after) if isinstance(after, dict) else (after,) if isinstance(after, str) else tuple(after)


__all__ = ["Options", "after_of"]
