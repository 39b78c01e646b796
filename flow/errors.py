"""Every error `flow` raises, in one tree.

::

    FlowError                        catch-all
    ├── DefinitionError  ValueError  a Dag that cannot be compiled; lists every fault
    │   ├── CycleError               ... whose one fault is a cycle; ``cycle`` holds its path
    │   ├── SpecError                ... that a workflow file describes; each fault has its line and column
    │   └── DumpError                ... that no workflow file can describe; each fault has its node
    ├── ConfigError      ValueError  settings or a run id out of range; lists every fault
    │   └── UnknownSetting   TypeError   ... or given by a name that there is not
    ├── InputError       ValueError  run inputs missing or unknown
    ├── TraceError       ValueError  a file that is not a usable WfFormat trace
    ├── UsageError       RuntimeError  a call made at the wrong time or place
    │   ├── TransitionError          a status change that is not legal
    │   └── SignalError              what was sent to a run that does not take it; ``reason`` says why
    ├── MissingOutput    KeyError    an output asked for that the run did not produce
    ├── DataError        ValueError  data a store cannot hold or encode; lists every fault
    ├── MissingKey       KeyError    data asked for under a key the store does not hold
    ├── WrongType        TypeError   data of another type than the one asked for
    ├── NodeTimeout      TimeoutError  a node (or one attempt of it) exceeded its time
    ├── ThreadsExhausted RuntimeError  no thread is left: all are held by calls that were abandoned
    ├── BreakerOpen      RuntimeError  a breaker lets no attempt in; ``retry_after`` says when it will
    ├── NodeCancelled                a node ended itself by raising its loop's cancellation
    ├── LoopLimit        RuntimeError  a loop has run all the rounds that it may, and its condition does not hold
    ├── ActionFailed     RuntimeError  an action of a workflow file failed; ``data`` says more
    ├── ArgumentInvalid  TypeError   ``with`` of a workflow file passes what a parameter does not take
    ├── OutputInvalid    TypeError   a node returned what its ``validated`` middleware refuses
    ├── MapError         ExceptionGroup  several items of a map failed; ``indices`` says which
    ├── ExpressionError  ValueError  an expression or a template that cannot be used
    │   ├── ExpressionSyntaxError    ... because of its text: it is refused before anything runs
    │   └── EvaluationError          ... because of the values that it got
    ├── StoreError       RuntimeError  a store of durable runs cannot do what it was asked for
    │   ├── NotStorable  TypeError   a value that a store cannot keep; says where in the value
    │   ├── DamagedRow               what a store holds is not what was written; says which row
    │   ├── UnknownRun   KeyError    a run id that the store does not hold
    │   ├── RunConflict              a run id that is another run's: another dag, other inputs
    │   ├── RunOwned                 a run that another process is driving
    │   ├── Fenced                   another process has taken this run over
    │   └── DagChanged               a dag that no longer fits what a run of it has completed
    ├── StoredError                  what a node once raised, as a store has kept it
    ├── NodeAborted                  a node raised a BaseException that ends the run (observers see it)
    └── RunError         ExceptionGroup  a run that failed: the users' exceptions, and the partial Result
    BlockingNodeWarning  RuntimeWarning  a node held the event loop
    DefinitionWarning    UserWarning     a Dag that compiles, and is most likely not what was meant

A user's own exception is never wrapped or replaced: ``RunError`` is an
:class:`ExceptionGroup` of the very objects the nodes raised, so ``except* ValueError``
works, and each carries a note that names its node.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Final, TypeAlias

from flow.draw.rich import Rich
from flow.exports import only

Show: TypeAlias = Callable[[object], str]
"""How a message says a value: by :func:`shown`, or by its type alone."""

_CANCELLATIONS: Final = (("asyncio", "CancelledError"), ("trio", "Cancelled"))

MAX_FAULTS_SHOWN: Final = 50
"""Faults printed in a message; ``.faults`` always holds all of them."""

MAX_VALUE_SHOWN: Final = 80
"""Characters of a user's value that a message repeats."""

MAX_PATH_SHOWN: Final = 1_000
"""Characters of a file's path that a message repeats: to find the file all of it is needed."""

MAX_MESSAGE_SHOWN: Final = 200
"""Characters of an exception's message that a line repeats."""

MAX_NOTES: Final = 20
"""Notes that are added to one exception object."""

MAX_COMPARED: Final = 2_000
"""Known names that a wrong one is compared with."""

MAX_LIKELY: Final = 50
"""Of these, those that are compared in earnest."""

LEAST_ALIKE: Final = 0.6
"""How much of two names must be alike for one to be meant by the other."""

COMPARED_CHARACTERS: Final = 500_000
"""Characters of known names that are compared for one error, however many names in it are wrong."""


_HELD: Final = " (see .faults)"
"""Where an error holds the faults that its message leaves out."""

_CONTROL: Final = "[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
"""What a terminal acts upon instead of showing it: C0, DEL, C1, line separators, the direction of text; surrogates."""


class FlowError(Exception):
    """Base of every error this package raises."""


class DefinitionError(FlowError, ValueError):
    """A Dag cannot be compiled. All its faults are listed at once.

    :ivar faults: one sentence per fault, each naming the node and where it was defined.
    :ivar cycle: the names along one cycle, first name repeated at the end; empty if there is none.
    """

    _says = "dag {} cannot be compiled"

    def __init__(self, dag: str, faults: Sequence[str], cycle: Sequence[str] = ()) -> None:
        self.dag = dag
        self.faults = tuple(faults)
        self.cycle = tuple(cycle)
        super().__init__(listing(self._says.format(shown(dag)), self.faults, _HELD))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.dag, self.faults, self.cycle)


class CycleError(DefinitionError):
    """The Dag's only fault is a cycle; :attr:`cycle` holds the path of one."""


class SpecError(DefinitionError):
    """A workflow file cannot be loaded. Each of :attr:`faults` begins with ``file:line:column``."""

    _says = "workflow {} cannot be loaded"


class DumpError(DefinitionError):
    """A Dag cannot be written as a workflow file. Each of :attr:`faults` names the node and where it was defined."""

    _says = "dag {} cannot be written as a workflow file"


class ConfigError(FlowError, ValueError):
    """Settings out of range; :attr:`faults` lists every one."""

    def __init__(self, what: str, faults: Sequence[str]) -> None:
        self.what = what
        self.faults = tuple(faults)
        super().__init__(listing(f"{what} is not valid", self.faults, _HELD))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.what, self.faults)


class UnknownSetting(ConfigError, TypeError):
    """A setting was given by a name that there is not, or without one; :attr:`faults` lists all that is wrong."""


class InputError(FlowError, ValueError):
    """Run inputs are missing or unknown; :attr:`faults` lists every one."""

    def __init__(self, dag: str, faults: Sequence[str]) -> None:
        self.dag = dag
        self.faults = tuple(faults)
        super().__init__(listing(f"inputs of dag {shown(dag)} do not fit", self.faults, _HELD))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.dag, self.faults)


class TraceError(FlowError, ValueError):
    """A file is not a WfFormat trace that can be loaded."""


class UsageError(FlowError, RuntimeError):
    """A call that is legal, made at the wrong time or place.

    :ivar final: True if it would be the same if the node were tried again.
    """

    final = False


class TransitionError(UsageError):
    """A node's status was asked to change in a way the status machine forbids."""


class SignalError(UsageError):
    """A run did not take what was sent to it (:meth:`flow.RunHandle.send`).

    :ivar reason: "unknown": the run has no such signal; "invalid": the payload is not of its type; "sent": it has been
        sent before; "ended": its node or the run has ended.
    """

    def __init__(self, text: str, reason: str = "unknown") -> None:
        super().__init__(text)
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.reason)


class RouteError(FlowError, ValueError):
    """A router gave a key for which it has no node, or a merge got several outputs."""


class BreakerOpen(FlowError, RuntimeError):
    """A :class:`flow.Breaker` does not let an attempt in. It counts for no breaker.

    :ivar name: of the breaker; None if it has none.
    :ivar failures: how many in a row have opened it. :ivar failure: the last failure that counted, in words.
    :ivar retry_after: seconds until it lets an attempt in; 0.0 while one tries whether all is well again.
    """

    trips_breaker = False

    def __init__(self, name: str | None, failures: int, failure: str, retry_after: float) -> None:
        self.name = name
        self.failures = failures
        self.failure = failure
        self.retry_after = retry_after
        what = "the breaker" if name is None else f"breaker {name!r}"
        then = f"it lets an attempt in again in {retry_after:g} s"
        if not retry_after:
            then = "one attempt is being made now that tells whether it closes"
        count = f"after {failures} failure{'s' * (failures != 1)} in a row, the last: {failure}"
        super().__init__(f"{what} is open {count}; {then}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, self.failures, self.failure, self.retry_after)


class LoopLimit(FlowError, RuntimeError):
    """A loop has run ``max_iterations`` rounds, and its ``until`` has not returned True.

    :ivar loop: the node. :ivar rounds: how many it has run.
    """

    def __init__(self, loop: str, rounds: int, place: str) -> None:
        self.loop = loop
        self.rounds = rounds
        self._place = place
        super().__init__(
            f"loop {loop!r} has run {rounds} round{'s' * (rounds != 1)}, the most it may (max_iterations), and until "
            f"({place}) has returned False after each: raise max_iterations, or take the last round with "
            "on_limit='return'"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.loop, self.rounds, self._place)


class ExpressionError(FlowError, ValueError):
    """An expression or a template cannot be used. Its message says where, what is wrong and what to write instead.

    No message repeats a value: what an expression reads may be secret.

    :ivar problem: what is wrong, and what to do.
    :ivar source: the text of the expression.
    :ivar line: the line in that text, from 1.
    :ivar column: the character of that line, from 1.
    :ivar place: ``file:line:column``, where the expression comes from a file; else empty.
    """

    def __init__(self, problem: str, source: str = "", line: int = 1, column: int = 1, place: str = "") -> None:
        self.problem = problem
        self.source = source
        self.line = line
        self.column = column
        self.place = place
        lines = source.split("\n")
        text = lines[line - 1] if line <= len(lines) else ""
        start = max(0, min(column - MAX_VALUE_SHOWN // 2, len(text) - MAX_VALUE_SHOWN)) if column > 0 else 0
        part = text[start : start + MAX_VALUE_SHOWN]
        within = shown(("..." if start else "") + part + ("..." if text[start + MAX_VALUE_SHOWN :] else ""), 100)
        at = f"line {line}, column {column}" if len(lines) > 1 else f"column {column}"
        super().__init__(f"{place}: in {within}: {problem}" if place else f"expression {within}, {at}: {problem}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problem, self.source, self.line, self.column, self.place)


class ExpressionSyntaxError(ExpressionError):
    """The text of an expression or a template is refused, before anything runs."""


class EvaluationError(ExpressionError):
    """An expression failed with the values that it got."""


class MissingOutput(FlowError, KeyError):
    """An output was asked for that this run did not produce."""

    def __str__(self) -> str:  # KeyError would print the repr of its argument
        return str(self.args[0])


class DataError(FlowError, ValueError):
    """Data that a :class:`flow.WorkflowData` cannot hold, encode or decode.

    :ivar faults: one sentence per fault, each naming the key and where in its value the trouble stands.
    """

    def __init__(self, what: str, faults: Sequence[str]) -> None:
        self.what = what
        self.faults = tuple(faults)
        super().__init__(listing(what, self.faults, _HELD))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.what, self.faults)


class MissingKey(FlowError, KeyError):
    """A store was asked for a key it does not hold. Its message names the nearest that it did hold."""

    def __init__(self, text: str, key: object = None, known: Sequence[str] = ()) -> None:
        super().__init__(text)
        self._key = key
        self._known = known

    def __str__(self) -> str:  # now: comparing names takes milliseconds, and many a MissingKey is only caught
        if self._known:
            self.args = (self.args[0] + nearest(self._key, self._known),)
            self._known = ()
        return str(self.args[0])

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self),)


class WrongType(FlowError, TypeError):
    """A store holds a value of another type than the one asked for."""


class NodeTimeout(FlowError, TimeoutError):
    """A node, or one attempt of it, exceeded its time limit.

    :ivar overall: True if it was the node's overall limit, after which nothing is tried again.
    """

    overall = False


class ThreadsExhausted(FlowError, RuntimeError):
    """A node got no thread: all that its run may use are held by calls that were abandoned and have not returned.

    :ivar threads: how many these are (``Config.threads``).
    :ivar nodes: the nodes that hold them; an item of a map is ``name[index]``.
    """

    def __init__(self, threads: int, nodes: Sequence[str]) -> None:
        self.threads = threads
        self.nodes = tuple(nodes)
        more = f" and {len(self.nodes) - 5} more" if len(self.nodes) > 5 else ""
        held = ", ".join(map(repr, self.nodes[:5])) + more
        super().__init__(
            f"no thread is left (Config.threads={threads}): each is held by a call that was abandoned at its time "
            f"limit and has not returned, of {held}"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.threads, self.nodes)


class NodeCancelled(FlowError):
    """A node raised its event loop's cancellation, and was not cancelled."""


class OutputInvalid(FlowError, TypeError):
    """A node returned what its ``validated`` middleware does not allow."""


class ActionFailed(FlowError, RuntimeError):
    """An action that ships failed: ``fail``, an HTTP status that was not expected, an exit code other than 0.

    :ivar action: its name. :ivar data: what there is to know besides: the answer, or the outputs of the program.
    """

    def __init__(self, text: str, action: str = "", data: Any = None) -> None:
        super().__init__(text)
        self.action = action
        self.data = data

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.action, self.data)


class ArgumentInvalid(FlowError, TypeError):
    """A computed value of ``with`` in a workflow file does not fit the annotation of its parameter.

    No message repeats the value, which may be secret.

    :ivar node: the node. :ivar parameter: the parameter of its function.
    """

    def __init__(self, text: str, node: str = "", parameter: str = "") -> None:
        super().__init__(text)
        self.node = node
        self.parameter = parameter

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.node, self.parameter)


class StoreError(FlowError, RuntimeError):
    """A store of durable runs cannot do what it was asked for. Its message names the store and the cause."""


class NotStorable(StoreError, TypeError):
    """A value that a store cannot keep. Its message says where in the value the trouble stands, and what to do."""

    final = True  # the same if the node were tried again


class DamagedRow(StoreError):
    """What a store holds is not what was written. Its message names the run and the row."""


class UnknownRun(StoreError, KeyError):
    """A store was asked for a run that it does not hold."""

    def __str__(self) -> str:  # KeyError would print the repr of its argument
        return str(self.args[0])


class RunConflict(StoreError):
    """A run id belongs to another run: one of another dag, or with other inputs. Nothing was changed."""


class RunOwned(StoreError):
    """Another process is driving this run, or did so until a moment ago. Nothing was changed."""


class Fenced(StoreError):
    """Another process has taken this run over: what this one has done since is not stored."""


class DagChanged(StoreError):
    """A dag no longer fits what a stored run of it has completed. :attr:`faults` lists every node."""

    def __init__(self, dag: str, faults: Sequence[str]) -> None:
        self.dag = dag
        self.faults = tuple(faults)
        super().__init__(listing(f"dag {shown(dag)} does not fit the stored run", self.faults, _HELD))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.dag, self.faults)


class StoredError(FlowError):
    """What a node once raised, as a store has kept it: ``except*`` and handlers see this after a resume.

    :ivar type: the name of the exception's class, with its module unless that is ``builtins``.
    :ivar text: its message. :ivar traceback: its traceback, as text.
    :ivar final: True if its node is not tried again for it.
    """

    final = False

    def __init__(self, type: str, text: str, traceback: str = "") -> None:
        self.type = type
        self.text = text
        self.traceback = traceback
        super().__init__(f"{type}: {text}" if text else type)

    def __reduce__(self) -> tuple[Any, ...]:
        return StoredError, (self.type, self.text, self.traceback), _notes_of(self)


class NodeAborted(FlowError):
    """Tells observers of a BaseException (KeyboardInterrupt, SystemExit) that ends the run; the caller gets that."""


class MapError(FlowError, ExceptionGroup[Exception]):
    """Several items of a map failed: an :class:`ExceptionGroup` of their own exceptions, unchanged.

    :ivar indices: the items' indices, in the order of ``exceptions``.
    """

    indices: tuple[int, ...]

    def __new__(cls, message: str, exceptions: Sequence[Exception], indices: Sequence[int] = ()) -> MapError:
        self = super().__new__(cls, message, exceptions)
        self.indices = tuple(indices)
        return self

    def __init__(self, *args: Any) -> None:
        super().__init__(*args[:2])

    def derive(self, excs: Sequence[Exception]) -> MapError:  # type: ignore[override]
        """Keep the type when ``except*`` or ``split`` take a part of the group."""
        own = {id(leaf): i for exc, i in zip(self.exceptions, self.indices, strict=False) for leaf in leaves(exc)}
        return MapError(self.message, excs, [own[id(leaf)] for exc in excs if id(leaf := next(leaves(exc))) in own])

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message, self.exceptions, self.indices), _notes_of(self)


class RunError(FlowError, Rich, ExceptionGroup[Exception]):
    """A run failed.

    An :class:`ExceptionGroup` of the exceptions the nodes raised, unchanged, each with a note
    that names its node; ``except* KeyError`` therefore reaches a node's own KeyError.

    :ivar result: the partial :class:`flow.Result`: what completed, failed, was skipped or cancelled.
    :ivar nodes: names of the failed nodes, in the order of ``exceptions``.
    :ivar timed_out: True if the run's own time limit ended it.
    """

    result: Any
    nodes: tuple[str, ...]
    timed_out: bool

    def __new__(
        cls,
        message: str,
        exceptions: Sequence[Exception],
        result: Any = None,
        nodes: Sequence[str] = (),
        timed_out: bool = False,
    ) -> RunError:
        self = super().__new__(cls, message, exceptions)
        self.result = result
        self.nodes = tuple(nodes)
        self.timed_out = timed_out
        return self

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args[:2])

    def derive(self, excs: Sequence[Exception]) -> RunError:  # type: ignore[override]
        """Keep type and result when ``except*`` or ``split`` take a part of the group."""
        # split() rebuilds a group that a node raised, but keeps its leaves.
        own = {id(leaf): name for exc, name in zip(self.exceptions, self.nodes, strict=False) for leaf in leaves(exc)}
        nodes = [own[id(leaf)] for exc in excs if id(leaf := next(leaves(exc))) in own]
        return RunError(self.message, excs, self.result, nodes, self.timed_out)

    def _repr_html_(self) -> str:
        from flow.blame import item_of, where
        from flow.draw import html

        names = [*self.nodes, *[""] * len(self.exceptions)]  # the run's own has none
        first = zip(names, self.exceptions[: html.MAX_ROWS], strict=False)
        rows = [(name, described(error) + item_of(error), where(error)) for name, error in first]
        table = html.table("", ("node", "error", "at"), rows, len(self.exceptions))
        head = [html.title("RunError"), html.said(f"\u2717 {self.message}", "bad")]
        picture = "" if self.result is None else html.graph(self.result._picture())
        return html.card("\n".join([str(self), *map("  ".join, rows)]), head, table, picture)

    def __reduce__(self) -> tuple[Any, ...]:
        # The Result holds the plan and so the users' functions; only what travels is sent.
        return type(self), (self.message, self.exceptions, None, self.nodes, self.timed_out), _notes_of(self)


class BlockingNodeWarning(RuntimeWarning):
    """A node held the event loop longer than ``Config.blocking_after`` seconds."""


class DefinitionWarning(UserWarning):
    """A Dag compiles, and something in it is most likely not what was meant: see :meth:`flow.Plan.warnings`."""


class Hints:
    """Names that may have been meant, for all the wrong ones of one error.

    However many are wrong, no more than :data:`COMPARED_CHARACTERS` are compared: some 0.1 s, which an event loop may
    have to wait. The faults after that go without a hint.
    """

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = COMPARED_CHARACTERS

    @property
    def spent(self) -> bool:
        """True if there will be no more hints."""
        return self._left <= 0

    def nearest(self, name: object, known: Collection[object]) -> str:
        """Return ``" (did you mean 'x' or 'y'?)"`` for the names closest to ``name``, or nothing.

        O(known), and at most :data:`MAX_COMPARED` of them are compared in earnest.
        """
        if self._left <= 0 or not isinstance(name, str) or not 0 < len(name) <= 255:
            return ""
        name = str.__str__(name)
        self._left -= len(known) // 8  # looking through them takes time as well
        candidates = list(dict.fromkeys([str.__str__(k) for k in known if isinstance(k, str)]))
        for size in (2, 3, 4, 6, 8):  # among very many: those of about its length that begin or end alike
            if len(candidates) <= MAX_COMPARED:
                break
            head, tail, length = name[:size], name[-size:], len(name)
            alike = [k for k in candidates if abs(len(k) - length) <= 2 and (k.startswith(head) or k.endswith(tail))]
            candidates = alike or candidates[:MAX_COMPARED]
        close = [shown(k, 300) for k in self._closest(name, candidates[:MAX_COMPARED])]
        if not close:
            return ""
        *first, last = close
        return f" (did you mean {', '.join(first) + ' or ' if first else ''}{last}?)"

    def _closest(self, name: str, candidates: Sequence[str]) -> list[str]:
        """As :func:`difflib.get_close_matches`, which compares each that is likely at ten times the price."""
        from difflib import SequenceMatcher  # here: only needed once something is wrong
        from heapq import nlargest

        matcher = SequenceMatcher()
        matcher.set_seq2(name)

        def ratio_of(k: str) -> float:
            matcher.set_seq1(k)
            return matcher.ratio()

        likely = []
        for k in candidates:
            self._left -= len(k)
            matcher.set_seq1(k)
            if matcher.real_quick_ratio() >= LEAST_ALIKE and (ratio := matcher.quick_ratio()) >= LEAST_ALIKE:
                likely.append((ratio, k))
        likely = nlargest(MAX_LIKELY, likely)
        self._left -= 10 * sum(len(k) for _, k in likely)
        close = [(ratio_of(k), k) for _, k in likely]
        return [k for ratio, k in nlargest(3, close) if ratio >= LEAST_ALIKE]


def nearest(name: object, known: Collection[object]) -> str:
    """Return the hint for the one wrong name of an error; for several, share one :class:`Hints`."""
    return Hints().nearest(name, known)


def shown(value: object, most: int = MAX_VALUE_SHOWN) -> str:
    """Return ``repr(value)`` for a message: shortened, and safe if the repr itself fails.

    O(``most`` characters), however large a container, text or number is (:mod:`flow.reprs`).
    """
    from flow.reprs import beginning  # here: only needed once something is wrong

    # Of any str the characters, also of an Enum's; and no more of them than there is room for.
    text_length = str.__len__(value) if issubclass(type(value), str) else -1  # type: ignore[arg-type]
    part = value if text_length < 0 else str.__getitem__(value, slice(most + 1))  # type: ignore[index]
    text = beginning(part, most + 1)
    if len(text) <= most:
        return text
    length = f" ({text_length} characters)" if text_length >= 0 else ""
    return f"{text[: most - 20]}...{length}"


def shower(config: Any) -> Show:
    """Return what puts a user's value into a message: :func:`shown`; :func:`a_kind` where ``show_values`` is off."""
    return shown if config.show_values else a_kind


def printable(text: str, but: str = "") -> str:
    """Return ``text`` with its control characters escaped, all ``but`` these: they could rewrite the terminal."""
    escaped = re.compile(_CONTROL).sub  # here, and kept by re: to compile it takes 0.4 ms, which importing need not
    return escaped(lambda found: found[0] if found[0] in but else repr(found[0])[1:-1], text)


def a_kind(value: object) -> str:
    """Return ``value``'s type with its article, for a message: ``an int``."""
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def note(error: BaseException, text: str) -> None:
    """Add a note to a user's exception, if it takes one; an object raised again and again collects a few, each once."""
    try:
        notes = getattr(error, "__notes__", ())
        if len(notes) < MAX_NOTES and text not in notes:
            error.add_note(text)
    except Exception:  # a frozen dataclass, say
        return


def ends_tasks(error: BaseException) -> bool:
    """Tell whether ``error`` is what an event loop throws into a task to end it. A function that awaits nothing may
    raise one as well (by a cancelled future, say), and means no task of ours then."""
    found = [GeneratorExit, *[getattr(sys.modules.get(name), kind, None) for name, kind in _CANCELLATIONS]]
    return isinstance(error, tuple([kind for kind in found if isinstance(kind, type)]))


def described(error: BaseException) -> str:
    """Return ``"Type: first line"`` of an exception, shortened, and safe if its ``__str__`` fails."""
    if isinstance(error, BaseExceptionGroup):  # its own message counts, the first one within it says why
        inner = next(leaves(error))
        return f"{_first_line(error)}; {described(inner)}"[:MAX_MESSAGE_SHOWN]
    return _first_line(error)


def _first_line(error: BaseException) -> str:
    kind = type(error).__name__
    try:
        text = _message(error)
    except Exception:
        return f"{kind} (its message cannot be shown)"
    if isinstance(error, StoredError):
        kind, text = error.type, error.text
    line = next(filter(None, map(str.strip, text.lstrip()[: 4 * MAX_MESSAGE_SHOWN].splitlines())), "")
    if len(line) > MAX_MESSAGE_SHOWN:
        line = line[: MAX_MESSAGE_SHOWN - 3] + "..."
    return f"{kind}: {line}" if line else kind


def _message(error: BaseException) -> str:
    """``str(error)``, or its beginning where that would be the whole repr of what the exception was given."""
    if isinstance(error, SyntaxError):
        return str(error.msg)
    if type(error).__str__ in (BaseException.__str__, KeyError.__str__):
        from flow.reprs import beginning

        what: Any = error.args[0] if len(error.args) == 1 else error.args
        reprs = len(error.args) > 1 or type(error).__str__ is KeyError.__str__
        own: Any = type(what).__str__
        if error.args and (reprs or own in (object.__str__, bytes.__str__)):
            return beginning(what, MAX_MESSAGE_SHOWN + 1)
    return str(error)


def _notes_of(error: BaseException) -> dict[str, Any] | None:
    """The state to pickle besides an exception's arguments: its notes, if it has some."""
    notes = getattr(error, "__notes__", None)
    return {"__notes__": list(notes)} if notes else None


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the plain exceptions within ``error``, or itself. Iterative: groups may nest deeply."""
    todo = [error]
    while todo:
        at = todo.pop()
        if isinstance(at, BaseExceptionGroup):
            todo.extend(reversed(at.exceptions))
        else:
            yield at


def listing(headline: str, faults: Sequence[str], rest: str = "") -> str:
    """Return ``headline`` with what is wrong: one fault in its line, several below it.

    :param rest: where those are that are not shown.
    """
    if len(faults) == 1:
        return f"{headline}: {faults[0]}"
    lines = list(faults[:MAX_FAULTS_SHOWN])
    if len(faults) > len(lines):
        lines.append(f"... and {len(faults) - len(lines)} more{rest}")
    return f"{headline}: {len(faults)} faults" + "".join(f"\n  - {fault}" for fault in lines)


__all__ = [
    "ActionFailed",
    "ArgumentInvalid",
    "BlockingNodeWarning",
    "BreakerOpen",
    "ConfigError",
    "CycleError",
    "DagChanged",
    "DamagedRow",
    "DataError",
    "DefinitionError",
    "DumpError",
    "EvaluationError",
    "ExpressionError",
    "ExpressionSyntaxError",
    "Fenced",
    "FlowError",
    "InputError",
    "LoopLimit",
    "MapError",
    "MissingKey",
    "MissingOutput",
    "NodeAborted",
    "NodeCancelled",
    "NodeTimeout",
    "NotStorable",
    "OutputInvalid",
    "RouteError",
    "RunConflict",
    "RunError",
    "RunOwned",
    "SignalError",
    "SpecError",
    "StoreError",
    "StoredError",
    "ThreadsExhausted",
    "TraceError",
    "TransitionError",
    "UnknownRun",
    "UnknownSetting",
    "UsageError",
    "WrongType",
]
__dir__ = only(__all__)
