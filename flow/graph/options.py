"""References to nodes, and the keywords of a Dag's methods."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, TypedDict

from flow.config import Retry, Timeout
from flow.errors import UsageError, shown
from flow.policy.admission import Admissions
from flow.policy.middleware import Middleware
from flow.types import NodeRef

Ref: TypeAlias = str | NodeRef[Any] | Callable[..., Any]
"""A node named by its name, by what :meth:`flow.Dag.add` returned, or by its decorated function."""

Sources: TypeAlias = Ref | Sequence[Ref]
"""The source of a map: one node or run input, or several that are zipped."""


Condition: TypeAlias = Literal["completed", "failed", "done"]
"""How a node in ``after`` must end, so that its edge is live."""


TEARDOWN: Final = "teardown: setup"
"""The option of a teardown that names its setup. No keyword of a caller's can have such a name."""


class PolicyOptions(TypedDict, total=False):
    """How a node is run, apart from its dependencies: the fields of :class:`flow.plan.definition.Policy`."""

    retry: Retry | None
    timeout: float | Timeout | None
    thread: bool
    executor: str | None
    continue_on_error: bool
    priority: int
    middleware: Sequence[Middleware]
    cost: float | None
    fallback: Any
    abandon_on_timeout: bool
    admission: Admissions | None
    join: Literal["all", "some", "none_failed", "done", "failed"] | int
    when: Callable[..., bool] | None
    cleanup: bool
    store: bool | Literal["pickle"]


class CommonOptions(PolicyOptions, total=False):
    """Keywords of every method of a Dag that adds a node; see :meth:`flow.Dag.add`."""

    after: Ref | Iterable[Ref] | Mapping[Any, Condition]
    replace: bool


class NodeOptions(CommonOptions, total=False):
    """Keywords of :meth:`flow.Dag.add` and :meth:`flow.Dag.node`; see there."""

    needs: Ref | Sequence[Ref] | Mapping[str, Ref] | None


class WaitOptions(TypedDict, total=False):
    """Keywords of :meth:`flow.Dag.signal` and :meth:`flow.Dag.timer`; see there."""

    after: Ref | Iterable[Ref] | Mapping[Any, Condition]
    join: Literal["all", "some", "none_failed", "done", "failed"] | int
    when: Callable[..., bool] | None
    fallback: Any
    continue_on_error: bool
    cost: float | None
    replace: bool


class ItemOptions(CommonOptions, total=False):
    """Keywords of :meth:`flow.Dag.map`; see there."""

    concurrency: int | Literal["auto"] | None
    batch_wait: float | None
    take: int | None
    pipelined: bool
    needs: Mapping[str, Ref] | None


class FoldOptions(CommonOptions, total=False):
    """Keywords of :meth:`flow.Dag.reduce`; see there."""

    needs: Mapping[str, Ref] | None


def unknown_options(place: str, name: Any, given: Mapping[str, Any], known: Collection[str]) -> UsageError:
    """Make one error that lists all options given to node ``name`` that are not ``known``.

    :param place: the method that takes them: a key of :data:`flow.keywords.PLACES`.
    """
    from flow.keywords import Wrong  # here: only needed once something is wrong

    return UsageError(Wrong(place, sorted(known)).refusal(f"node {shown(name)}", "option", given))


__all__ = [
    "TEARDOWN",
    "CommonOptions",
    "Condition",
    "FoldOptions",
    "ItemOptions",
    "NodeOptions",
    "PolicyOptions",
    "Ref",
    "Sources",
    "WaitOptions",
    "unknown_options",
]
