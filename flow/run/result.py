"""The result of a run: :class:`Result`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, ItemsView, Iterator, Mapping, ValuesView
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, overload

from flow.config.fields import is_one_of
from flow.draw.rich import Rich
from flow.errors import MissingOutput, NodeCancelled, RunError, UsageError, described, shown
from flow.plan.bynode import ByNode, always
from flow.reprs import counted
from flow.run.reports import Report, all_reports
from flow.run.state import PlanRun, output_test, shown_inputs
from flow.tracebacks import end_at_user, ends_at_user
from flow.types import NodeRef, Status

if TYPE_CHECKING:
    from flow.data.store import WorkflowData
    from flow.draw.picture import Picture
    from flow.run.adaptive import AdaptedLimit
    from flow.run.draw.svg import Bar, Section

T = TypeVar("T")
D = TypeVar("D")

_RAN: Final = (Status.COMPLETED, Status.FAILED)


class _Outputs(Mapping[str, Any]):
    """``get`` of a :class:`Result`, as type checkers see it: by reference the output's type is known."""

    __slots__ = ()

    if TYPE_CHECKING:

        @overload
        def get(self, ref: str, /) -> Any: ...
        @overload
        def get(self, ref: str, /, default: Any) -> Any: ...
        @overload
        def get(self, ref: NodeRef[T], /, default: None = None) -> T | None: ...
        @overload
        def get(self, ref: NodeRef[T], /, default: D) -> T | D: ...
        @overload
        def get(self, ref: Callable[..., Awaitable[T]], /, default: None = None) -> T | None: ...
        @overload
        def get(self, ref: Callable[..., Awaitable[T]], /, default: D) -> T | D: ...
        @overload
        def get(self, ref: Callable[..., T], /, default: None = None) -> T | None: ...
        @overload
        def get(self, ref: Callable[..., T], /, default: D) -> T | D: ...
        def get(self, ref: Any, /, default: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            """Return a node's output, ``default`` if it has none."""


class _Reporting:
    """What the nodes of a run have reported."""

    __slots__ = ()

    _run: PlanRun

    @property
    def reports(self) -> tuple[Report, ...]:
        """What nodes have reported (:meth:`flow.Context.report`), in the order in which it came. O(reports).

        Those of all runs within this one are among them. They are there for runs that failed or were cancelled, too,
        and a stored run that goes on has the earlier ones.
        """
        return all_reports(self._run)


class Result(_Outputs, _Reporting, Rich):
    """Outputs, statuses and errors of one run. A mapping from the completed nodes' names to outputs.

    ``result["users"]`` is an output; ``result[users]`` (the decorated function, or what
    ``Dag.add`` returned) is the same output with its type known. Looking one up is O(1).

    :ivar plan: the :class:`flow.Plan` that was run.
    :ivar wall_time: seconds from start to end.
    :ivar timed_out: True if the run's own time limit ended it.
    """

    __slots__ = ("_run", "plan")

    def __init__(self, run: PlanRun) -> None:
        self._run = run
        self.plan = run.plan

    # -- outputs -----------------------------------------------------------------------------

    @overload
    def __getitem__(self, ref: str, /) -> Any: ...
    @overload
    def __getitem__(self, ref: NodeRef[T], /) -> T: ...
    @overload
    def __getitem__(self, ref: Callable[..., Awaitable[T]], /) -> T: ...
    @overload
    def __getitem__(self, ref: Callable[..., T], /) -> T: ...

    def __getitem__(self, ref: Any, /) -> Any:
        """Return a node's output.

        :raises MissingOutput: (a KeyError) if there is no such node, it did not complete, or its output was
            freed (``Config.keep``); says why.
        """
        try:
            return _output(self, self._run, ref)
        except MissingOutput as error:
            end_at_user(error)
            raise

    def __iter__(self) -> Iterator[str]:
        return iter(self.outputs)

    def __len__(self) -> int:
        return len(self.outputs)

    def __contains__(self, ref: object) -> bool:
        return ref in self.outputs

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    def values(self) -> ValuesView[Any]:
        return self.outputs.values()

    def items(self) -> ItemsView[str, Any]:
        return self.outputs.items()

    @property
    def outputs(self) -> Mapping[str, Any]:
        """Outputs of the completed nodes, by name."""
        whole = self._run.counts.get(Status.COMPLETED) == len(self.plan)
        kept = self._run.config.keep == "all" and (self._run.journal is None or self._run.journal.known is None)
        has = always if whole and kept else output_test(self._run)
        return ByNode(self.plan, self._run.values.__getitem__, has)

    # -- how it went -------------------------------------------------------------------------

    @property
    def status(self) -> Mapping[str, Status]:
        """Every node's status."""
        return ByNode(self.plan, lambda i: self._run.status(i), always)

    @property
    def errors(self) -> dict[str, BaseException]:
        """The failed nodes' own exceptions, by name, in the order in which they failed."""
        return {self.plan.names[i]: error for i, error in self._run.errors.items()}

    @property
    def fallbacks(self) -> dict[str, Any]:
        """The exceptions of the nodes that took their ``fallback=``, by name.

        For a map, a dict of the exceptions of its items by index: ``{"price": error, "pages": {3: error}}``.
        """
        extras = self._run._extras
        return {} if extras is None else {self.plan.names[i]: found for i, found in extras.fallbacks.items()}

    @property
    def attempts(self) -> Mapping[str, int]:
        """Number of calls of each node that ran."""
        attempts, known = self._run.attempts, _known(self._run)
        ran = lambda i: self._run.status(i) in _RAN and i not in known  # noqa: E731
        return ByNode(self.plan, lambda i: attempts.get(i, 1), ran)

    @property
    @ends_at_user
    def durations(self) -> Mapping[str, float]:
        """Seconds from each node's first start to its last end; for runs with ``Config(timing=True)``.

        :raises UsageError: if the run did not record times.
        """
        started, finished = self._times()
        return ByNode(self.plan, lambda i: finished[i] - started[i], lambda i: finished[i] == finished[i])  # not NEVER

    @ends_at_user
    def spans(self) -> dict[str, tuple[float, float]]:
        """Start and end of each node that ran, in seconds since the run began (``Config(timing=True)``)."""
        started, finished = self._times()
        zero = self._run.started_at
        ran = [i for i, end in enumerate(finished) if end == end]  # not NEVER
        return {self.plan.names[i]: (started[i] - zero, finished[i] - zero) for i in ran}

    def _times(self) -> tuple[list[float], list[float]]:
        run = self._run
        if run.started is None or run.finished is None:
            raise UsageError("this run recorded no times: run it with Config(timing=True)")
        return run.started, run.finished

    @property
    def ok(self) -> bool:
        """True if every node completed, apart from failures that ``continue_on_error`` allows or a node has handled.

        It is False if the run timed out or was cancelled, if a failure was neither tolerated nor handled, or if a node
        was skipped because of a failure that was not handled. Bypassed nodes are in order.
        """
        return self._run.ok

    @property
    def counts(self) -> dict[Status, int]:
        """Number of nodes by status, for statuses that occur; the sum is ``len(plan)``."""
        return self._run.counts

    @property
    def waiting(self) -> tuple[str, ...]:
        """The signals that a durable run waits for which has returned for that (``on_wait="return"``); else empty."""
        return _waiting(self._run)

    @property
    def known(self) -> tuple[str, ...]:
        """The nodes whose outcomes were known before the run (``known=``). They were not called."""
        return _known_names(self._run)

    @property
    def limits(self) -> dict[str, AdaptedLimit]:
        """Reports of adaptive limits, by map; the limit of the nodes has the name "". Empty without adaptive limits."""
        extras = self._run._extras
        return {} if extras is None else {name: search.seen() for name, search in extras.limits.items()}

    @property
    def wall_time(self) -> float:
        """Seconds from start to end."""
        return self._run.wall_time

    @property
    def timed_out(self) -> bool:
        """True if the run's own time limit ended it."""
        return self._run.timed_out

    @property
    def abandoned(self) -> int:
        """Present number of calls that were abandoned in their threads (``abandon_on_timeout``) and still run."""
        extras = self._run._extras
        return 0 if extras is None else len(extras.abandoned)

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._run.run_id

    @property
    def inputs(self) -> Mapping[str, Any]:
        """The inputs the run was given, read-only; of secret ones ``***``."""
        return MappingProxyType(shown_inputs(self._run))

    @property
    def data(self) -> WorkflowData:
        """The store that the nodes saw as ``ctx.data``."""
        return self._run.data

    @ends_at_user
    def raise_for_errors(self) -> None:
        """Raise the :class:`flow.RunError` of this run, with tolerated errors too; nothing if :attr:`ok`."""
        raise_failure(self, tolerated=True)

    def error(self, *, tolerated: bool = True) -> RunError | None:
        """Return the :class:`flow.RunError` of this run; None if it is :attr:`ok`.

        :param tolerated: False leaves out failures that ``continue_on_error`` allows, and nodes skipped for these, as
            the error of :func:`flow.run` does.
        """
        return _error_of(self, self._run, tolerated)

    @ends_at_user
    def why(self, ref: Any, /) -> str:
        """Say in one sentence why a node ended as it did, and which node is responsible. O(nodes + edges).

        :raises UsageError: if there is no such node, naming the nearest ones.
        """
        from flow.run.why import why

        return why(self._run, self.plan.find(ref))

    # -- show --------------------------------------------------------------------------------

    def to_dict(self, *, outputs: bool = True) -> dict[str, Any]:
        """Return plain data for logs and JSON: errors as text, outputs as they are, without secrets (or left out)."""
        return _plain(self, self._run, outputs)

    @ends_at_user
    def timeline(self, format: Literal["mermaid", "svg"] = "mermaid") -> str:
        """Draw when each node ran (a Gantt chart), as Mermaid text or a self-contained SVG.

        Each attempt of a node that was retried has a bar of its own. With ``Config(timing=True)``, the items of a map
        stand below the nodes; of more than 50 items those that failed first and the slowest.

        :raises UsageError: if the run did not record times (``Config(timing=True)``).
        """
        from flow.run.draw import gantt, svg

        if not is_one_of(format, ("mermaid", "svg")):
            raise UsageError(f"a timeline is drawn as 'mermaid' or 'svg', not {shown(format)}")
        bars, (parts, left_out) = _bars_of(self), _sections_of(self._run)
        if format == "mermaid":
            return gantt.gantt(self.plan.name, bars, parts, left_out)
        idle = dict(self.counts)
        for bar in bars:
            idle[bar.status] = idle.get(bar.status, 0) - 1
        never = {status: n for status, n in idle.items() if n > 0}
        return svg.draw(self.plan.name, bars, self.wall_time, never, parts, left_out)

    @ends_at_user
    def graph(self, format: Literal["svg", "mermaid", "dot"] = "svg") -> str:
        """Draw the graph with each node's status: as a self-contained SVG, or as Mermaid or Graphviz text.

        The SVG tells times, attempts, known outcomes and fallbacks as well. Past 300 nodes it has a row per level.
        """
        return _graph(self, format)

    def _picture(self) -> Picture:
        from flow.run.card import picture_of

        return picture_of(self._run)

    def __repr__(self) -> str:
        return _shown(self)

    def _repr_html_(self) -> str:
        from flow.run.card import card

        return card(self._run, repr(self))


def _known(run: PlanRun) -> Mapping[int, Any]:
    extras = run._extras
    return {} if extras is None else extras.known


def _known_names(run: PlanRun) -> tuple[str, ...]:
    journal = run.journal
    if journal is None or journal.known is None:
        return tuple([run.nodes.names[i] for i in _known(run)])
    return (*journal.known.outputs, *journal.known.outcomes)


def _waiting(run: PlanRun) -> tuple[str, ...]:
    extras = run._extras
    return () if extras is None or extras.rests is None else extras.rests


def _bars_of(result: Result) -> list[Bar]:
    """A bar for each node that ran, by start."""
    from flow.run.draw.sections import attempts_of
    from flow.run.draw.svg import Bar

    extras, find, routes = result._run._extras, result.plan._nodes.index, result.plan._nodes.routes
    tries_of = {} if extras is None else extras.tries
    errors, status, attempts = result.errors, result.status, result.attempts
    bars = []
    for name, (start, end) in result.spans().items():
        tries = attempts.get(name, 1)
        notes = [f"{tries} attempts"] if tries > 1 else []
        notes += [described(errors[name])] if name in errors else []
        notes += ["waited"] if routes is not None and find[name] in routes.waits else []
        parts = attempts_of(tries_of.get(find[name], []), result._run.started_at, status[name])
        bars.append(Bar(name, start, end, status[name], "; ".join(notes), 1, parts))
    return sorted(bars, key=lambda bar: (bar.start, bar.end))


def _sections_of(run: PlanRun) -> tuple[list[Section], int]:
    """The items of maps and rounds of loops, in the order in which these began, and how many there are too many."""
    from flow.run.draw.sections import MAX_SECTIONS, section_of

    extras, names = run._extras, run.nodes.names
    maps = [] if extras is None else [(i, spans) for i, spans in extras.items.items() if spans.count]
    parts = [section_of(names[i], spans, run.started_at) for i, spans in maps[:MAX_SECTIONS]]
    return parts, len(maps) - len(parts)


def result_so_far(run: PlanRun) -> Result:
    """Return what an interrupted run leaves behind: what had not ended is cancelled. O(nodes)."""
    if run.wall_time != run.wall_time:  # it was interrupted before it began
        run.wall_time = 0.0
    if run.resolver is None:
        run.count_after(run.completed_ahead()).cancel_rest(taken=True)
    return Result(run)


def _output(result: Result, run: PlanRun, ref: Any) -> Any:
    try:
        i = result.plan.find(ref)
    except UsageError as error:
        raise MissingOutput(str(error)) from None
    if not run.has_output(i):
        raise MissingOutput(_why_missing(result, run, i))
    return run.values[i]


def _error_of(result: Result, run: PlanRun, tolerated: bool) -> RunError | None:
    plan = result.plan
    if result.ok or not (tolerated or run.timed_out or run.is_intolerable()):
        return None
    failed = [(plan.names[i], e) for i, e in run.errors.items() if tolerated or not _is_handled(run, i)]
    if run.nodes.cleans:  # what cleans up comes last
        failed.sort(key=lambda one: run.outlasts(plan._nodes.index[one[0]]))
    exceptions = [e for _, e in failed if isinstance(e, Exception)]
    names = [name for name, e in failed if isinstance(e, Exception)]
    part = f"{len(failed)} of {counted(len(plan), 'node')} failed"
    what = f"{part}: {_some(names)}" if failed else "the run was cancelled"
    if run.timed_out:
        limit = run.config.timeout if run.journal is None else run.journal.limit
        what = f"the run exceeded its limit of {limit:g} s" + (f"; {what}" if failed else "")
        exceptions.append(TimeoutError(f"run limit of {limit:g} s{_unfinished(result, '; not finished: ')}"))
    elif not run.is_intolerable():
        skipped = _some([name for name, status in result.status.items() if status is Status.SKIPPED])
        known = f"known as skipped, or skipped for that: {skipped}"
        what = f"{what}, which is tolerated; skipped for that: {skipped}" if failed else known
        exceptions = exceptions or [NodeCancelled(known)]
    elif not exceptions:
        exceptions.append(NodeCancelled(_unfinished(result, "not finished: ") or "the run was ended"))
    return RunError(f"dag {plan.name!r}: {what}", exceptions, result, names, run.timed_out)


def _is_handled(run: PlanRun, i: int) -> bool:
    return i in run.nodes.may_fail if run.resolver is None else run.resolver.is_handled(i)


def _unfinished(result: Result, before: str) -> str:
    """Name the nodes that were cancelled, after ``before``; nothing if none was."""
    names = [name for name, status in result.status.items() if status is Status.CANCELLED]
    return before + _some(names) if names else ""


def _shown(result: Result) -> str:
    counts = ", ".join(f"{n} {status}" for status, n in result.counts.items())
    verdict = "ok" if result.ok else "NOT OK"
    lines = [f"<Result of {result.plan.name!r}: {verdict}, {counts} in {duration(result.wall_time)}"]
    errors, fallbacks = list(result.errors.items()), list(result.fallbacks.items())
    lines += [f"  {name}: {described(error)}" for name, error in errors[:5]]
    if len(errors) > 5:
        lines.append(f"  ... and {counted(len(errors) - 5, 'more error')}")
    lines += [f"  {name}: {fell_back(found)}" for name, found in fallbacks[:5]]
    if len(fallbacks) > 5:
        lines.append(f"  ... and {counted(len(fallbacks) - 5, 'more fallback')}")
    if Status.BYPASSED in result.counts:
        bypassed = [name for name, status in result.status.items() if status is Status.BYPASSED]
        lines += [f"  {result.why(name)}" for name in bypassed[:5]]
        lines += [f"  ... and {len(bypassed) - 5} more bypassed"] if len(bypassed) > 5 else []
    return "\n".join(lines) + ">"


def _graph(result: Result, format: str) -> str:
    from flow.draw.svg import draw
    from flow.graph import render
    from flow.run.card import dead_edges

    if not is_one_of(format, ("svg", "mermaid", "dot")):
        raise UsageError(f"a graph is drawn as 'svg', 'mermaid' or 'dot', not {shown(format)}")
    if format == "svg":
        return draw(result._picture(), alone=True)
    run = result._run
    status = {i: run.status(i) for i in range(len(result.plan))}
    rounds = {} if run._extras is None else run._extras.rounds
    form: Literal["mermaid", "dot"] = "mermaid" if format == "mermaid" else "dot"
    return render.text_of(result.plan, form, status, dead_edges(run), rounds)


def _plain(result: Result, run: PlanRun, outputs: bool) -> dict[str, Any]:
    fallbacks, known, masks = result.fallbacks, _known(run), run.masks
    nodes: dict[str, dict[str, Any]] = {}
    spans = result.spans() if run.started is not None else {}
    rounds = {} if run._extras is None else run._extras.rounds
    for i, name in enumerate(result.plan.names):
        node: dict[str, Any] = {"status": str(run.status(i))}
        if i in known:
            node["known"] = True
        if i in run.attempts and run.status(i) in _RAN:
            node["attempts"] = run.attempts[i]
        if i in rounds:
            node["rounds"] = rounds[i]
        if i in run.errors:
            node["error"] = described(run.errors[i])
        if name in fallbacks:
            node["fallback"] = _in_words(fallbacks[name])
        if name in spans:
            node["started"], node["ended"] = spans[name]
        if outputs and run.has_output(i):
            node["output"] = run.values[i] if masks is None else masks.value(run.values[i])
        nodes[name] = node
    return {
        "run_id": result.run_id,
        "dag": result.plan.name,
        "ok": result.ok,
        "wall_time": result.wall_time,
        "counts": {str(status): n for status, n in result.counts.items()},
        "nodes": nodes,
    }


def raise_failure(result: Result, *, tolerated: bool) -> None:
    """Raise :meth:`Result.error`, if there is one."""
    error = result.error(tolerated=tolerated)
    try:
        if error is not None:
            raise error
    finally:
        del error  # its traceback holds this frame: no cycle


def fell_back(found: Any) -> str:
    """Return the exceptions before the fallbacks: that of a node, or those of a map's items by index."""
    if not isinstance(found, dict):
        return f"fallback after {described(found)}"
    index, error = next(iter(found.items()))
    more = f" and {counted(len(found) - 1, 'more item')}" if len(found) > 1 else ""
    return f"fallback for item {index}{more}, after {described(error)}"


def _in_words(found: Any) -> Any:
    return {str(k): described(e) for k, e in found.items()} if isinstance(found, dict) else described(found)


def _why_missing(result: Result, run: PlanRun, i: int) -> str:
    name, status = result.plan.names[i], run.status(i)
    if status is Status.COMPLETED and run.journal is not None and run.config.keep == "all":
        return f"node {name!r} completed, and its output is not stored (store=False): only a run that needs it has it"
    if status is Status.COMPLETED:
        return _why_freed(name, run.config.keep)
    error = run.errors.get(i)
    because = f": {described(error)}" if error is not None else ""
    if status is Status.SKIPPED:
        upstream = set(result.plan.ancestors(name))
        failed = [failed for failed in result.errors if failed in upstream]
        because = f" because {_some(failed)} failed upstream" if failed else ""
    return f"node {name!r} has no output: it is {status}{because}"


def _why_freed(name: str, keep: object) -> str:
    if keep == "targets":
        setting, remedy = "'targets'", f"make it one of the targets, or list what to keep: keep=[{name!r}, ...]"
    else:
        setting, remedy = "[...]", f"add {name!r} to that list"
    return f"node {name!r} completed, and its output was freed under Config(keep={setting}); to keep it, {remedy}"


def _some(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:5]))
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown


def duration(seconds: float) -> str:
    """``seconds`` as text, in s, ms or us."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} us"
