"""Teardowns of a Dag: nodes that clean up after one node and all that depends on it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, Unpack, overload

from flow.graph.options import TEARDOWN, NodeOptions, Ref
from flow.graph.routes import Choices
from flow.tracebacks import ends_at_user
from flow.types import NodeRef

T = TypeVar("T")


class Teardowns(Choices):
    """The method of a Dag that adds teardowns."""

    __slots__ = ()

    @overload
    def teardown(
        self, name: str, fn: Callable[..., Coroutine[Any, Any, T]], *, of: Ref, **options: Unpack[NodeOptions]
    ) -> NodeRef[T]: ...

    @overload
    def teardown(self, name: str, fn: Callable[..., T], *, of: Ref, **options: Unpack[NodeOptions]) -> NodeRef[T]: ...

    @ends_at_user
    def teardown(self, name: str, fn: Any, *, of: Ref, **options: Any) -> NodeRef[Any]:
        """Add a node that runs once node ``of`` and all ordinary nodes that depend on it have ended.

        It runs whatever became of those, if ``of`` has completed, and is bypassed otherwise. It runs after a failure,
        a time limit, a cancellation and Ctrl-C as well, within ``Config.cleanup_timeout``.

        :param fn: a sync or async function, or a Dag. Its parameters need defaults, or the annotation ``flow.Outcome``;
            one that takes the output of ``of`` needs neither.
        :param of: the node to clean up after, its setup: no cleanup node and no teardown.
        :param options: as of :meth:`add`.
        :raises UsageError: for an option that there is not.
        """
        return self.add(name, fn, **{**options, TEARDOWN: of})


__all__ = ["Teardowns"]
