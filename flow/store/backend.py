"""What keeps durable runs: the protocol :class:`Backend`, and the records that it takes and gives.

A backend knows nothing of dags: of each run it keeps one :class:`RunRow` and a journal, which is a list of segments
(bytes). All methods may be called from any thread. Times are Unix times in seconds and always come from the caller,
never from functions of the database.

Who may write: each claim of a run raises its fencing ``token``. What is written names the token of the writer, and is
refused (:class:`flow.errors.Fenced`) in the same transaction if the run has a higher one by then.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from hashlib import blake2b
from typing import Final, Protocol, runtime_checkable

import msgspec

from flow.run.accounts import Account, Balance, Reservation, Reserved

RUNNING: Final = "running"
WAITING: Final = "waiting"
COMPLETED: Final = "completed"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"

STATUSES: Final = (RUNNING, WAITING, COMPLETED, FAILED, CANCELLED)
"""Of a run. One that is *running* may have lost its process, one that is *waiting* needs none."""

ENDED: Final = frozenset({COMPLETED, FAILED, CANCELLED})


def digest_of(data: bytes) -> bytes:
    """Return the digest under which files are kept: BLAKE2b, 20 bytes. O(data)."""
    return blake2b(data, digest_size=20).digest()


class RunRow(msgspec.Struct, frozen=True):
    """One run, without its journal.

    :ivar id: its run id. :ivar dag: the name of its dag.
    :ivar shape: the digest under which :meth:`Backend.shape` has the structure of its dag.
    :ivar inputs: encoded by who writes it; the backend does not look into it.
    :ivar owner: who drives it, ``host:pid:start``; "" if nobody does.
    :ivar token: the fencing token: a random number at first, and one more at each further claim.
    :ivar lease: until when its owner counts as alive, unless it renews that.
    :ivar owned: seconds that its processes have owned it.
    :ivar cancel: somebody has asked for its end.
    :ivar error: in one line, the node that failed first, and what it failed with.
    :ivar counts: nodes by status at the end, encoded by who writes it.
    """

    id: str
    dag: str
    shape: bytes
    inputs: bytes
    status: str = RUNNING
    owner: str = ""
    token: int = 0
    lease: float = 0.0
    created: float = 0.0
    updated: float = 0.0
    ended: float = 0.0
    owned: float = 0.0
    cancel: bool = False
    error: str = ""
    counts: bytes = b""


class Change(msgspec.Struct, frozen=True):
    """What one write changes in the row of a run. None leaves it as it is.

    :ivar released: the owner lets go of the run: its owner becomes "", its lease 0.
    """

    updated: float
    owned: float
    lease: float | None = None
    status: str | None = None
    ended: float | None = None
    error: str | None = None
    counts: bytes | None = None
    shape: bytes | None = None
    cancel: bool | None = None
    released: bool = False


class Signal(msgspec.Struct, frozen=True):
    """What somebody has sent to a signal of a run. ``payload`` is encoded by who sends it."""

    address: str
    payload: bytes
    at: float


class Stored(msgspec.Struct, frozen=True):
    """All that there is of one run, as of one moment. ``journal`` is in the order of writing."""

    row: RunRow
    journal: Sequence[bytes]
    signals: Sequence[Signal]


@runtime_checkable
class Backend(Protocol):
    """What keeps durable runs. Every method is atomic, and raises :class:`flow.errors.StoreError` if it cannot be done.

    An error names the backend and the cause, and comes within 5 s.
    """

    @property
    def name(self) -> str:
        """What messages call it: the path of a file, say."""
        ...

    def create(self, row: RunRow, shape: bytes, segment: bytes | None = None) -> RunRow | None:
        """Add a run, and its structure unless that is there. If the id is taken, change nothing and return its row.

        :param segment: the first of its journal.
        """
        ...

    def row(self, run: str) -> RunRow | None:
        """Return the row of a run; None if there is none."""
        ...

    def load(self, run: str) -> Stored | None:
        """Return all of a run, as of one moment; None if there is none."""
        ...

    def shape(self, digest: bytes) -> bytes | None:
        """Return the structure that was given with this digest (``RunRow.shape``)."""
        ...

    def add_shape(self, digest: bytes, shape: bytes) -> None:
        """Keep a structure, unless it is there."""
        ...

    def claim(self, run: str, token: int, owner: str, lease: float, now: float) -> int | None:
        """Make ``owner`` the run's owner and raise its token by one, if that is still ``token``; its status is running.

        :return: the new token; None if the run is gone or another has claimed it meanwhile: nothing is changed then.
        """
        ...

    def write(
        self, run: str, token: int, change: Change, segment: bytes | None = None, files: Collection[bytes] = ()
    ) -> None:
        """Add a segment to the journal of a run and change its row, in one transaction.

        :param files: digests of files (:meth:`put_file`) that the segment refers to: the run keeps them.
        :raises Fenced: if the run is gone, or its token is not ``token``. Nothing is changed then.
        :raises DamagedRow: if one of the files is not there. Nothing is changed then.
        """
        ...

    def clear(self, run: str, token: int) -> None:
        """Drop the journal, the signals and the file references of a run. :raises Fenced: as :meth:`write`."""
        ...

    def take_signals(self, run: str, seen: int) -> tuple[Sequence[Signal], bool]:
        """Return the signals of a run after the first ``seen``, in the order of their coming, and ``RunRow.cancel``.

        A run asks this again and again while it waits: nothing new must cost next to nothing.

        :raises UnknownRun: if there is no such run.
        """
        ...

    def send(self, run: str, signal: Signal) -> bool:
        """Keep a signal for a run. False if one of its address is there already; nothing is changed then.

        :raises UnknownRun: if there is no such run.
        """
        ...

    def reject(self, run: str, address: str) -> None:
        """Note that a run has not taken what was sent to this address: another signal may be sent there.

        It goes on to count as one of the signals (:meth:`take_signals`), under another address, which has a NUL in it.
        """
        ...

    def ask_to_cancel(self, run: str, now: float) -> RunRow:
        """Note that a run is to end, unless it has ended; return its row after that.

        A run that has no owner is cancelled at once: its status says so, and its token is raised, so that who was about
        to claim it does not.

        :raises UnknownRun: if there is no such run.
        """
        ...

    def runs(
        self,
        statuses: Collection[str] = (),
        dag: str | None = None,
        limit: int = 100,
        before: tuple[float, str] | None = None,
    ) -> Sequence[RunRow]:
        """Return rows of runs, the latest first (by ``created``, then ``id``, both descending), without ``inputs``.

        :param statuses: only those; () is all.
        :param before: only what comes after this ``(created, id)`` in that order.
        """
        ...

    def delete(self, runs: Collection[str]) -> int:
        """Delete these runs with all that belongs to them; return how many there were. Files that no run refers to go.

        Each run goes whole or not at all. One whose lease has not passed is the caller's to spare.
        """
        ...

    def copy(self, run: str, row: RunRow, journal: Sequence[bytes]) -> bool:
        """Add ``row`` as a new run with this journal, which refers to files of ``run``. False if its id is taken.

        :raises UnknownRun: if there is no run ``run``.
        """
        ...

    def add(self, counter: str, amount: int) -> int:
        """Add ``amount`` to a counter that all processes share (0 at first), and return the sum."""
        ...

    def reserve(self, reservation: Reservation, accounts: Sequence[Account], now: float) -> Reserved:
        """Reserve an amount on all of these accounts, in one transaction; on none if one has no room for it.

        Reservations on them count no more, and are removed, once their lease has passed, or the run that they are for
        is here and another process has become its owner. An account that is not there is made. What is spent on it is
        raised to ``Account.least``, and it is kept until ``Account.until``, or longer if it was before. Accounts whose
        time is over may go. An amount of 0 is never refused. From the first amount on for which what is spent leaves
        no room, an account is marked (``Balance.refused``).
        """
        ...

    def settle(self, id: str, accounts: Sequence[Account], amount: int, now: float) -> Sequence[Balance]:
        """End a reservation, and add ``amount`` to what is spent on these accounts; return their balances after that.

        The amount counts whether the reservation is still there or not, and accounts that are gone are made for it.
        With 0 none is made, and those that are gone are left out.
        """
        ...

    def renew(self, ids: Collection[str], lease: float) -> None:
        """Prolong the leases of these reservations. One that is gone stays so."""
        ...

    def balances(self, beginning: str) -> Sequence[Balance]:
        """Return the accounts whose names begin so, by name. Reservations whose lease has passed may count in them."""
        ...

    def put_file(self, data: bytes) -> bytes:
        """Keep ``data`` under its digest (:func:`digest_of`), safe before this returns, and return the digest.

        It stays until a run refers to it (:meth:`write`), or this backend is closed.
        """
        ...

    def get_file(self, digest: bytes) -> bytes:
        """Return what has this digest. :raises DamagedRow: if it is gone, or is not what was written."""
        ...

    def close(self) -> None:
        """Let go of everything. Calls after this raise StoreError; closing again does nothing."""
        ...


__all__ = [
    "CANCELLED", "COMPLETED", "ENDED", "FAILED", "RUNNING", "STATUSES", "WAITING", "Account", "Backend", "Balance",
    "Change", "Reservation", "Reserved", "RunRow", "Signal", "Stored", "digest_of",
]  # fmt: skip
