"""How much a service takes and keeps: :class:`Limits` and :class:`Rate`."""

from __future__ import annotations

from typing import Final

from flow.config.fields import Settings, is_int, is_number
from flow.errors import ConfigError, shown


class Rate(Settings, frozen=True):
    """Requests per key, and without keys per address: ``count`` in ``seconds``, ``burst`` of them at once.

    >>> flow.http.Limits(rate=flow.http.Rate.per_minute(60, burst=10))

    :param burst: requests that may come at once after a pause; None is ``count``.
    :raises ConfigError: listing every setting that is out of range.
    """

    count: int
    seconds: float = 60.0
    burst: int | None = None

    def __post_init__(self) -> None:
        faults = []
        if not is_int(self.count) or self.count < 1:
            faults.append(f"count must be an integer of at least 1, not {shown(self.count)}")
        if not is_number(self.seconds) or self.seconds <= 0:
            faults.append(f"seconds must be a number > 0, not {shown(self.seconds)}")
        if self.burst is not None and (not is_int(self.burst) or self.burst < 1):
            faults.append(f"burst must be an integer of at least 1, or None for count, not {shown(self.burst)}")
        if faults:
            raise ConfigError("Rate", faults)

    @classmethod
    def per_minute(cls, count: int = 60, burst: int | None = 10) -> Rate:
        """Return ``count`` requests a minute. The defaults are those of the AI Workflow Engine: 60, 10 at once."""
        return cls(count, 60.0, burst)


class Limits(Settings, frozen=True, kw_only=True):
    """What one service (with ``--workers``, one worker) takes at once, and what it keeps.

    :param body: bytes of a request's body.
    :param depth: how deep its JSON is nested: lists and objects within each other.
    :param body_seconds: until when a body must have come whole, from its first byte on.
    :param head_seconds: until when the head of a request must have come whole; and idle connections are closed after
        ``keep_alive`` seconds.
    :param wait: seconds that a request waits for the end of a run; the answer is 202 then, and the run goes on.
    :param rate: of requests; None is as many as come.
    :param runs: runs that go on at once. A run that only waits for signals or times does not count.
    :param queue: runs that wait for one of these places; what comes then is answered 503.
    :param live: runs that have not ended, those that wait included; what comes then is answered 503.
    :param connections: that are open at once; a further one is closed.
    :param quick: seconds below which a run of sync functions counts as quick, so that the next one is called in the
        handler of its request; 0 keeps all of them in threads.
    :param threads: runs at once that have a thread each: those of sync nodes that take over 1 ms.
    :param finished: ended runs that are kept in memory, where there is no store.
    :param finished_bytes: bytes of their answers.
    :param streams: streams of events that are read at once.
    :raises ConfigError: listing every setting that is out of range.
    """

    body: int = 2**20
    depth: int = 64
    body_seconds: float = 30.0
    head_seconds: float = 10.0
    keep_alive: float = 75.0
    wait: float = 60.0
    rate: Rate | None = None
    runs: int = 1_000
    queue: int = 1_000
    live: int = 10_000
    connections: int = 10_000
    quick: float = 1e-3
    threads: int = 8
    finished: int = 10_000
    finished_bytes: int = 32 * 2**20
    streams: int = 100

    def __post_init__(self) -> None:
        faults = []
        for name, least in _INTEGERS.items():
            value = getattr(self, name)
            if not is_int(value) or value < least:
                faults.append(f"{name} must be an integer of at least {least}, not {shown(value)}")
        for name in ("body_seconds", "head_seconds", "keep_alive", "wait"):
            value = getattr(self, name)
            if not is_number(value) or value <= 0:
                faults.append(f"{name} must be a number of seconds > 0, not {shown(value)}")
        if not is_number(self.quick) or self.quick < 0:
            faults.append(f"quick must be a number of seconds >= 0, not {shown(self.quick)}")
        if self.rate is not None and not isinstance(self.rate, Rate):
            faults.append(f"rate must be a flow.http.Rate or None, not {shown(self.rate)}")
        if faults:
            raise ConfigError("Limits", faults)


_INTEGERS: Final = {
    "body": 1, "depth": 1, "runs": 1, "queue": 0, "live": 1, "connections": 1, "threads": 1, "finished": 0,
    "finished_bytes": 0, "streams": 0,
}  # fmt: skip
"""By name of an integer, the least that it may be."""

__all__ = ["Limits", "Rate"]
