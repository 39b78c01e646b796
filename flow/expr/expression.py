"""An expression: its source, the names that it uses, and its evaluation."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Collection, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Final, TypeAlias

from flow.errors import EvaluationError, ExpressionError, ExpressionSyntaxError, nearest, shown
from flow.expr.faults import Fault, Refusal, Steps
from flow.expr.functions import Functions
from flow.expr.library import STANDARD
from flow.expr.limits import MAX_CACHED, MAX_CACHED_SOURCE, MAX_STEPS
from flow.expr.places import Place
from flow.expr.reading import missing, short
from flow.expr.syntax.analysis import CODE, FIRST, analysed
from flow.expr.syntax.calls import PREFIX
from flow.expr.syntax.refusals import Source
from flow.expr.syntax.shapes import Analysis
from flow.expr.syntax.writer import INDEX, KEY, NAME, Spot, Use

_MISSING_HINT: Final = "; default(..., other) gives another value where there is none"
_Evaluate: TypeAlias = Callable[[Mapping[str, Any], Steps | None], Any]

_kept: dict[tuple[str, int], tuple[Functions, Analysis]] = {}


class Expression:
    """A checked expression.

    Two are equal if their sources and functions are. Pickled by these too. Immutable; safe to share between threads.

    :ivar source: the text.
    :ivar where: where its first character stands, or None.
    :ivar names: the names that it reads, each with the first keys read of it (of ``inputs.env`` and ``inputs["env"]``:
        ``env``), in the order of their use. A name that is read as a whole as well has that in :attr:`uses` alone.
    :ivar uses: every use of a name, with its place: :class:`Use`.
    :ivar calls: the functions that it calls.
    """

    __slots__ = ("__dict__", "_analysis", "_functions", "_names", "source", "where")

    def __init__(self, source: str, where: Place | None, functions: Functions, analysis: Analysis) -> None:
        self.source = source
        self.where = where
        self._functions = functions
        self._analysis = analysis
        self._names: dict[str, tuple[str, ...]] | None = None

    @property
    def names(self) -> Mapping[str, tuple[str, ...]]:
        """The names that it reads, each with the first keys that are read of it. Names of nodes whose status it asks
        for are in :attr:`uses` alone."""
        if self._names is None:
            self._names = names_of(self._analysis.uses)
        return self._names

    @property
    def uses(self) -> tuple[Use, ...]:
        """Every use of a name."""
        return self._analysis.uses

    @property
    def calls(self) -> frozenset[str]:
        """The functions that it calls."""
        return self._analysis.calls

    def evaluate(self, scope: Mapping[str, Any], steps: Steps | None = None, /) -> Any:
        """Return its value.

        The first call writes Python code for it; later ones run that.

        :param scope: the values of the names. ``now``, if ``now()`` is called: a function that returns the time.
        :param steps: those that are left of a larger whole, in a list of one; default: those of one evaluation.
        :raises EvaluationError: if it fails with these values. The cause is what a value's own code raised, if any.
        """
        kept: _Evaluate | None = self.__dict__.get("evaluate")
        if kept is not None:  # this method was looked up before the first call
            return kept(scope, steps)
        failed = partial(_failed, self.source, self.where, self._analysis)
        try:
            made: _Evaluate = _code(self._analysis, self._functions)(failed)
        except (RecursionError, MemoryError) as error:
            full = isinstance(error, RecursionError)
            raise self.error("the call stack is nearly full" if full else "there is not enough memory") from None
        self.__dict__["evaluate"] = made  # in place of this method
        return made(scope, steps)

    def __call__(self, /, **values: Any) -> Any:
        """Return its value: :meth:`evaluate` with the values of its names as arguments."""
        return self.evaluate(values)

    def place(self, line: int, column: int) -> Place:
        """Return the place of a character of the source, in the file if that is known."""
        return (self.where or Place()).at(line, column)

    def error(self, problem: str, line: int = 1, column: int = 1) -> EvaluationError:
        """Make the error of an evaluation, with the place."""
        return _error(problem, self.source, self.where, line, column)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Expression):
            return NotImplemented
        return self.source == other.source and self._functions == other._functions

    def __hash__(self) -> int:
        return hash((Expression, self.source))

    def __repr__(self) -> str:
        return f"Expression({shown(self.source)})"

    def __reduce__(self) -> tuple[Any, ...]:
        functions = None if self._functions is STANDARD else self._functions
        return _again, (self.source, self.where, functions)


def compile(
    source: str,
    *,
    where: Place | None = None,
    functions: Functions | None = None,
    names: Collection[str] | None = None,
) -> Expression:
    """Check a source, and return its expression. O(length).

    :param where: where its first character stands, for messages.
    :param functions: what it may call; default: :data:`STANDARD`.
    :param names: the names that there are; any other is refused. None takes every name.
    :raises ExpressionSyntaxError: if it is refused: it is too long, has what expressions do not have, or calls or names
        what there is not.
    """
    known = STANDARD if functions is None else functions
    if not isinstance(source, str):
        raise ExpressionSyntaxError(f"an expression is a str, not {type(source).__name__}")
    try:
        analysis = _analysis(str.__str__(source), known)
        if names is not None:
            check_names(analysis.uses, names)
    except Refusal as refusal:
        raise refused(refusal, source, where) from None
    return Expression(str.__str__(source), where, known, analysis)


def refused(refusal: Refusal, source: str, where: Place | None) -> ExpressionSyntaxError:
    """Make the error of a source."""
    line, column = refusal.line, refusal.column
    return ExpressionSyntaxError(refusal.problem, source, line, column, _in_file(where, line, column))


def check_names(uses: Collection[Use], names: Collection[str]) -> None:
    """Refuse a name that there is not. :raises Refusal: at the first."""
    for use in uses:
        if use.name not in names and not (use.by and use.name == "nodes"):
            raise Refusal(f"there is no name {shown(use.name)} here{nearest(use.name, names)}", use.line, use.column)


def names_of(uses: Collection[Use]) -> dict[str, tuple[str, ...]]:
    """Return the names that are read, each with its first keys."""
    found: dict[str, dict[str, None]] = {}
    for use in uses:
        if not use.by:
            keys = found.setdefault(use.name, {})
            if use.key is not None:
                keys[use.key] = None
    return {name: tuple(keys) for name, keys in found.items()}


def _in_file(where: Place | None, line: int, column: int) -> str:
    return str(where.at(line, column)) if where is not None and where.file else ""


def _again(source: str, where: Place | None, functions: Functions | None) -> Expression:
    return compile(source, where=where, functions=functions)


def _analysis(source: str, functions: Functions) -> Analysis:
    """Check a source, or take what is known of an equal one: files repeat themselves."""
    if len(source) > MAX_CACHED_SOURCE:
        return analysed(source, functions)
    key = source, id(functions)
    kept = _kept.get(key)
    if kept is not None and kept[0] is functions:
        return kept[1]
    analysis = analysed(source, functions)
    if len(_kept) >= MAX_CACHED:
        _kept.clear()
    _kept[key] = functions, analysis
    return analysis


def _code(analysis: Analysis, functions: Functions) -> Callable[..., Any]:
    """Compile the code of an expression. What it may name lies in one dict for all expressions with these functions.

    (By its ``__name__`` tracebacks see that the code is ours. No expression can name it: its names are in the scope.)
    """
    if not functions.code:
        calls = {PREFIX + name: one.call for name, one in functions.items()}
        functions.code = {"__name__": "flow.expr", **calls, **CODE}
    made: dict[str, Any] = {}
    exec(builtins.compile(analysis.code, "<expression>", "exec", dont_inherit=True), functions.code, made)
    found: Callable[..., Any] = made["made"]
    return found


def _error(problem: str, source: str, where: Place | None, line: int, column: int) -> EvaluationError:
    return EvaluationError(problem, source, line, column, _in_file(where, line, column))


def _failed(source: str, where: Place | None, analysis: Analysis, error: Exception) -> ExpressionError:
    """Make the error that an evaluation raises from what its code raised."""
    trace = error.__traceback__
    spot = analysis.spot(trace.tb_lineno - FIRST if trace is not None else 0)
    found = _error(_problem(error, spot, trace), source, where, *Source(source).at(spot.line, spot.offset))
    own = isinstance(error, (Fault, RecursionError, MemoryError)) or trace is None or trace.tb_next is None
    found.__cause__ = None if own else error
    found.__suppress_context__ = True
    return found


def _problem(error: Exception, spot: Spot, trace: TracebackType | None) -> str:
    """Say what went wrong at a spot."""
    if isinstance(error, Fault):
        return str(error)
    if isinstance(error, RecursionError):
        return "the values are nested too deeply"
    if isinstance(error, OverflowError):
        return "the number is too large for a float"
    if isinstance(error, MemoryError):
        return f"there is not enough memory, within {MAX_STEPS:,} steps"
    if isinstance(error, KeyError) and trace is not None and trace.tb_next is None:
        if spot.kind == KEY:
            return str(missing(trace.tb_frame.f_locals.get(spot.held), spot.key, is_written=True))
        if spot.kind == NAME:
            return _no_name(spot.key, trace.tb_frame.f_locals.get("s"))
    if isinstance(error, IndexError) and spot.kind == INDEX and trace is not None and trace.tb_next is None:
        return str(short(trace.tb_frame.f_locals.get(spot.held)))
    if isinstance(error, KeyError) and spot.kind == NAME:
        return _no_name(spot.key, None)
    return f"the code of a value, or of a function, raised {type(error).__name__}"


def _no_name(name: str, scope: Any) -> str:
    near = nearest(name, list(scope)) if isinstance(scope, Mapping) else ""
    return f"there is no name {shown(name)} here{near}{_MISSING_HINT}"
