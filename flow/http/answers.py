"""What is said of a run, as JSON: :class:`Answer`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from flow.data.mapresult import MapResult
from flow.errors import RunError, StoredError
from flow.http.problems import message_of, without_paths
from flow.run.plain import brief, dumped

if TYPE_CHECKING:
    from flow.run.result import Result

QUEUED: Final = "queued"
RUNNING: Final = "running"
WAITING: Final = "waiting"
COMPLETED: Final = "completed"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"

STATUSES: Final = (QUEUED, RUNNING, WAITING, COMPLETED, FAILED, CANCELLED)
"""Of a run. The last three are those of runs that have ended."""

ENDED: Final = frozenset((COMPLETED, FAILED, CANCELLED))


class NodeError(msgspec.Struct, frozen=True):
    """What a node failed with: the name of the exception's class, and its message. Never a traceback or a path."""

    type: str
    message: str


class Answer(msgspec.Struct, omit_defaults=True):
    """A run, as a request for it is answered.

    :ivar outputs: of the workflow: of the nodes that no other node takes, or of the targets that were asked for.
    :ivar errors: of the nodes that failed, by name; a completed run has got by without them.
    :ivar counts: nodes by status. :ivar seconds: from start to end.
    :ivar detail: what ended the run, if that was no node. :ivar waiting: the signals that it waits for.
    :ivar questions: by address that is waited for, what is asked there, where something is.
    """

    id: str
    status: str
    outputs: dict[str, Any]
    errors: dict[str, NodeError]
    counts: dict[str, int]
    seconds: float
    detail: str = ""
    waiting: tuple[str, ...] = ()
    questions: dict[str, Any] = {}


def stand_in(value: Any, masks: Any = None) -> Any:
    """Return what takes the place of an output that JSON cannot hold: plain data, or a short repr."""
    if isinstance(value, MapResult):
        told = value.to_dict()
        told["errors"] = {str(i): f"{type(error).__name__}: {message_of(error)}" for i, error in value.errors.items()}
        return told if masks is None else masks.value(told)
    if isinstance(value, Mapping):  # the outputs of a Dag within a Dag, for example
        return dict(value) if masks is None else masks.value(dict(value))
    fields = dumped(value)
    if fields is not None:
        return fields if masks is None else masks.value(fields)
    return _brief(value, masks)


def _brief(value: Any, masks: Any) -> str:
    """Return a short repr, without what it says of where files and objects lie."""
    text = brief(value)
    return _ADDRESS.sub("", without_paths(text if masks is None else masks.text(text), ()))


_ADDRESS: Final = re.compile(r" at 0x[0-9A-Fa-f]+")
_ENCODE: Final = msgspec.json.Encoder(enc_hook=stand_in).encode


def encoded(value: Any, masks: Any = None) -> msgspec.Raw:
    """Return an output as JSON; what that cannot hold as a short text. O(size)."""
    try:
        if masks is None:
            return msgspec.Raw(_ENCODE(value))
        value = masks.value(value)
        return msgspec.Raw(msgspec.json.encode(value, enc_hook=lambda part: stand_in(part, masks)))
    except Exception:  # keys that are no text, lone surrogates, cycles
        return msgspec.Raw(msgspec.json.encode(_brief(value, masks)))


def encoded_answer(answer: Answer, masks: Any = None) -> bytes:
    """Return an answer as JSON; outputs that JSON cannot hold as a short text. O(size)."""
    if masks is None:
        try:
            return _ENCODE(answer)
        except Exception:  # keys that are no text, lone surrogates, cycles
            pass
    outputs = {name: encoded(value, masks) for name, value in answer.outputs.items()}
    return msgspec.json.encode(msgspec.structs.replace(answer, outputs=outputs))


def errors_of(result: Result) -> dict[str, NodeError]:
    """Return what the nodes of a run failed with."""
    masks = result._run.masks
    return {name: error_of(error, masks) for name, error in result.errors.items()}


def error_of(error: BaseException, masks: Any = None) -> NodeError:
    """Return an exception as it is answered, without secrets."""
    if isinstance(error, StoredError):  # it says what the exception would have said
        kind = error.type.rpartition(".")[2]
        text = message_of(Exception(error.text.removeprefix(f"{kind}: "))) if error.text else kind
    else:
        kind, text = type(error).__name__, message_of(error)
    return NodeError(kind, text if masks is None else masks.text(text))


def outputs_of(result: Result, names: Iterable[str]) -> dict[str, Any]:
    """Return the outputs of these nodes, of those that have one."""
    outputs = result.outputs
    return {name: outputs[name] for name in names if name in outputs}


def ended(result: Result, run_id: str, names: Iterable[str], cancelled: bool = False) -> tuple[Answer, bytes]:
    """Return the answer of a run that has ended, and its JSON.

    :param names: of the nodes whose outputs are answered. :param cancelled: somebody has ended the run.
    """
    status = COMPLETED if result.ok else CANCELLED if cancelled else FAILED
    counts = {str(status): n for status, n in result.counts.items()}
    masks = result._run.masks
    answer = Answer(run_id, status, outputs_of(result, names), {}, counts, round(result.wall_time, 6))
    if status != COMPLETED or "failed" in counts:
        answer.errors = errors_of(result)
    if status != COMPLETED:
        detail = _detail(result.error(tolerated=False))
        answer.detail = detail if masks is None else masks.text(detail)
    return answer, encoded_answer(answer, masks)


def completed(run_id: str, outputs: dict[str, Any], counts: bytes, seconds: float) -> bytes:
    """Return the JSON of the :class:`Answer` of a run whose nodes have all completed: what most are. O(outputs).

    :param counts: as JSON.
    """
    try:
        data = _ENCODE(outputs)
    except Exception:
        data = msgspec.json.encode({name: encoded(value) for name, value in outputs.items()})
    head = b'{"id":"%s","status":"completed","outputs":%s,"errors":{},"counts":%s,"seconds":%.6f}'
    return head % (run_id.encode(), data, counts, seconds)


def _detail(error: RunError | None) -> str:
    """Say what ended a run, if that was no node."""
    return without_paths(error.message) if error is not None and (error.timed_out or not error.nodes) else ""


def failed(run_id: str, error: BaseException) -> tuple[Answer, bytes]:
    """Return the answer of a run that something else than its nodes has ended: its store, an exit of a node."""
    detail = f"{type(error).__name__}: {message_of(error)}"
    answer = Answer(run_id, FAILED, {}, {}, {}, 0.0, detail)
    return answer, encoded_answer(answer)


__all__ = [
    "CANCELLED", "COMPLETED", "ENDED", "FAILED", "QUEUED", "RUNNING", "STATUSES", "WAITING", "Answer", "NodeError",
    "completed", "encoded_answer", "ended", "error_of", "errors_of", "failed", "outputs_of",
]  # fmt: skip
