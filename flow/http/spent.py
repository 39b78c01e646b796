"""What calls of language models took in one run, as it is answered: :class:`RunUsage`."""

from __future__ import annotations

import msgspec

from flow.metrics.usage import Sums
from flow.usage import Usage


class RunUsage(msgspec.Struct):
    """What calls of language models took, in all and by node. What happens within a node counts to it."""

    total: Usage
    by_node: dict[str, Usage]


def run_usage(sums: Sums) -> RunUsage | None:
    """Return the sums of a run as they are answered; None if no node has reported anything. O(nodes)."""
    return RunUsage(sums.total, dict(sums)) if sums else None


def packed(sums: Sums) -> bytes:
    """Return the sums of a run as bytes, for :func:`unpacked`; none if no node has reported anything. O(nodes)."""
    return msgspec.msgpack.encode(run_usage(sums)) if sums else b""


def unpacked(data: bytes) -> RunUsage | None:
    """Return the sums of a run that were packed."""
    return _DECODE(data) if data else None


_DECODE = msgspec.msgpack.Decoder(RunUsage).decode

__all__ = ["RunUsage", "packed", "run_usage", "unpacked"]
