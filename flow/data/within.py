"""What a Context runs as part of its run: the types of that, and the functions that do it.

The Context lies below everything that runs a plan. So the room that runs plans hands its functions over here, when it
is imported (:func:`nest_by`). A run that nests nothing pays nothing for this.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, ItemsView, Iterator, Mapping, ValuesView
from typing import Any, Final, Literal, Protocol, TypeAlias, TypeVar, overload

from flow.data.reports import Report
from flow.types import NodeRef, Status

T = TypeVar("T")

Targets: TypeAlias = Any
"""One reference to a node (its name, what ``Dag.add`` returned, its function), or an iterable of them."""


class Runnable(Protocol):
    """A :class:`flow.Dag` or a :class:`flow.Plan`."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    def __iter__(self) -> Iterator[str]: ...

    def subgraph(self, *targets: Any) -> Any:
        """Return the part that leads to these nodes."""
        ...


class RunResult(Protocol):
    """What :meth:`flow.Context.run` and :meth:`flow.Context.execute` return: a :class:`flow.Result`.

    These are the members of a Result that most programs use, for type checkers; the object has all of them.
    """

    @overload
    def __getitem__(self, ref: str, /) -> Any: ...
    @overload
    def __getitem__(self, ref: NodeRef[T], /) -> T: ...
    @overload
    def __getitem__(self, ref: Callable[..., Awaitable[T]], /) -> T: ...
    @overload
    def __getitem__(self, ref: Callable[..., T], /) -> T: ...

    def __iter__(self) -> Iterator[str]: ...

    def __len__(self) -> int: ...

    def __contains__(self, ref: object, /) -> bool: ...

    def values(self) -> ValuesView[Any]:
        """Outputs of the completed nodes."""
        ...

    def items(self) -> ItemsView[str, Any]:
        """Outputs of the completed nodes, with the nodes' names."""
        ...

    @property
    def outputs(self) -> Mapping[str, Any]:
        """Outputs of the completed nodes, by name."""
        ...

    @property
    def status(self) -> Mapping[str, Status]:
        """Every node's status."""
        ...

    @property
    def errors(self) -> dict[str, BaseException]:
        """The failed nodes' own exceptions, by name."""
        ...

    @property
    def ok(self) -> bool:
        """True if every node ended as it should."""
        ...

    @property
    def reports(self) -> tuple[Report, ...]:
        """What nodes have reported in this run."""
        ...

    @property
    def run_id(self) -> str:
        """The id of this run, which is not that of the run around it."""
        ...

    def why(self, ref: Any, /) -> str:
        """Say in one sentence why a node ended as it did."""
        ...

    def to_dict(self, *, outputs: bool = True) -> dict[str, Any]:
        """Return plain data for logs and JSON."""
        ...

    def timeline(self, format: Literal["mermaid", "svg"] = "mermaid") -> str:
        """Draw when each node ran."""
        ...


Run: TypeAlias = Callable[[Any, Runnable, Mapping[str, Any] | None, Targets], RunResult]
"""Runs a Dag or Plan for a Context: called with the Context, the Dag, its inputs, its targets."""

Execute: TypeAlias = Callable[[Any, Runnable, Mapping[str, Any] | None, Targets], Awaitable[RunResult]]
"""As :data:`Run`, on the event loop of the Context's run."""

_nesting: Final[list[Callable[[], tuple[Run, Execute]]]] = []


def nest_by(give: Callable[[], tuple[Run, Execute]]) -> None:
    """Let contexts run Dags by what ``give`` returns, which is called at the first use of each."""
    _nesting[:] = [give]


def nesting() -> tuple[Run, Execute]:
    """Return what runs a Dag for a Context, without an event loop and on one."""
    return _nesting[0]()
