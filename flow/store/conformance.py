"""What every :class:`flow.store.backend.Backend` must do, as tests that any test runner can run.

::

    class TestMine(store_suite(MyBackend)):  # with pytest
        pass


    store_suite(MyBackend)().check()  # without

Each test makes a backend of its own, which must be empty, and closes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from threading import Barrier, Thread
from typing import Any, Final, TypeVar

import msgspec

from flow.errors import DamagedRow, Fenced, StoreError, UnknownRun
from flow.run.accounts import Account, Balance, Reservation, Reserved
from flow.store.backend import (
    CANCELLED,
    COMPLETED,
    ENDED,
    FAILED,
    RUNNING,
    STATUSES,
    WAITING,
    Backend,
    Change,
    RunRow,
    Signal,
    digest_of,
)

THREADS: Final = 8
T = TypeVar("T")

_PLAIN: Final = Change(updated=1.0, owned=0.0)
_ODD_IDS: Final = (
    "A", "a", "a ", " a", "a\t", "é", "e\u0301", "a/b", "../a", "%2e%2e", "a%", "a_", "'; DROP TABLE run; --", '"a"',
    "a\n", "a\0b", "a\0c", "😀", "1", "01", "1.0", "a" * 10_240,
)  # fmt: skip


class _Suite:
    """What the tests have in common."""

    def check(self) -> None:
        """Run all tests. :raises AssertionError: with what the first one that fails has found."""
        for _, test in self.cases():
            test()

    def cases(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """Yield each test under its name."""
        for name in dir(self):
            if name.startswith("test_"):
                yield name, getattr(self, name)

    def opened(self) -> closing[Backend]:
        """Make an empty backend for a ``with`` block."""
        raise NotImplementedError


class _Rows(_Suite):
    def test_it_has_all_methods_and_a_name(self) -> None:
        with self.opened() as store:
            _holds(isinstance(store, Backend), "a backend has all methods of flow.store.backend.Backend")
            _holds(bool(store.name) and isinstance(store.name, str), "its name is what messages call it")

    def test_a_run_is_kept_as_it_was_given(self) -> None:
        row = RunRow(
            "r", "dag", b"\0shape", b"\xffin", WAITING, "host:1:2", 7, 1.5, 2.25, 3.125, 4.0, 5.5, True, "why\0", b"c"
        )
        with self.opened() as store:
            _same(store.create(row, b"structure"), None, "create() of a new run returns None")
            _same(store.row("r"), row, "row() returns all fields as they were given")
            stored = _there(store.load("r"))
            _same((stored.row, list(stored.journal), list(stored.signals)), (row, [], []), "load() of a new run")
            _same(store.shape(b"\0shape"), b"structure", "create() keeps the structure")

    def test_a_taken_id_changes_nothing(self) -> None:
        with self.opened() as store:
            first = _run(store, "r")
            other = RunRow("r", "other", b"other", b"inputs", FAILED, token=9)
            _same(store.create(other, b"other structure"), first, "create() of an id that is taken returns its row")
            _same(store.row("r"), first, "create() of an id that is taken changes nothing")
            _same(store.shape(b"other"), None, "create() of an id that is taken keeps no structure")

    def test_what_is_not_there_is_none(self) -> None:
        with self.opened() as store:
            _run(store, "r")
            for id in ("", "R", "r ", "r2"):
                _same((store.row(id), store.load(id)), (None, None), f"there is no run {id!r}")
            _same(store.shape(b"nothing"), None, "there is no such structure")

    def test_the_first_structure_of_a_digest_stays(self) -> None:
        with self.opened() as store:
            store.add_shape(b"d", b"one")
            store.add_shape(b"d", b"two")
            store.create(RunRow("r", "dag", b"d", b""), b"three")
            _same(store.shape(b"d"), b"one", "a structure stays as it was given first")

    def test_ids_are_told_apart(self) -> None:
        """Each odd id is a run of its own, or is refused with a StoreError."""
        with self.opened() as store:
            kept = []
            for id in _ODD_IDS:
                try:
                    _same(store.create(RunRow(id, id, b"s", b""), b""), None, f"{id[:20]!r} is an id of its own")
                except StoreError:
                    _same(store.row(id), None, "an id that is refused leaves nothing")
                else:
                    kept.append(id)
            for id in kept:
                store.write(id, 0, _PLAIN, id.encode())
            for id in kept:
                stored = _there(store.load(id))
                _same((stored.row.id, stored.row.dag), (id, id), "names come back as they were given")
                _same(list(stored.journal), [id.encode()], "each id has its own journal")
            _same({row.id for row in store.runs(limit=100)}, set(kept), "all of them are listed")


class _Claims(_Suite):
    def test_a_claim_raises_the_token(self) -> None:
        with self.opened() as store:
            row = _run(store, "r", status=WAITING)
            _run(store, "other")
            _same(store.claim("r", 0, "me", 20.0, 10.0), 1, "claim() returns the new token")
            expected = msgspec.structs.replace(row, status=RUNNING, owner="me", token=1, lease=20.0, updated=10.0)
            _same(store.row("r"), expected, "the run has its owner, lease, token and status then")
            _same(store.claim("r", 1, "you", 30.0, 11.0), 2, "who knows the token may claim again")
            _same(_there(store.row("other")).token, 0, "claim() changes no other run")

    def test_a_claim_with_another_token_changes_nothing(self) -> None:
        with self.opened() as store:
            _run(store, "r")
            store.claim("r", 0, "me", 20.0, 10.0)
            before = store.row("r")
            for token in (0, 2, -1):
                _same(store.claim("r", token, "you", 9.0, 9.0), None, f"claim() with token {token} instead of 1")
            _same(store.row("r"), before, "a claim that is refused changes nothing")
            _same(store.claim("none", 0, "you", 9.0, 9.0), None, "claim() of a run that is not there")

    def test_one_of_many_claims_wins(self) -> None:
        with self.opened() as store:
            _run(store, "r")
            got = _in_threads(lambda k: store.claim("r", 0, f"owner {k}", 1.0, 1.0))
            winners = [k for k, token in enumerate(got) if token is not None]
            _same(len(winners), 1, "of claims at the same time with the same token, exactly one wins")
            _same(_there(store.row("r")).owner, f"owner {winners[0]}", "the owner is who has won")


class _Writes(_Suite):
    def test_segments_come_back_in_order(self) -> None:
        segments = [b"", b"b", bytes(range(256)), b"a" * 1_000_000, b"", b"b"]
        with self.opened() as store:
            _run(store, "r")
            _run(store, "other")
            for k, segment in enumerate(segments):
                store.write("r", 0, _PLAIN, segment)
                store.write("other", 0, _PLAIN, b"%d" % k)
                store.write("r", 0, _PLAIN)  # adds none
            _same([bytes(s) for s in _there(store.load("r")).journal], segments, "the journal, in the order of writing")
            _same([bytes(s) for s in _there(store.load("other")).journal], [b"%d" % k for k in range(6)], "the other's")

    def test_a_change_changes_what_it_names(self) -> None:
        changes: list[tuple[Change, dict[str, Any]]] = [
            (Change(5.0, 2.0), {}),
            (Change(5.0, 2.0, lease=9.0), {"lease": 9.0}),
            (Change(5.0, 2.0, status=COMPLETED, ended=5.0), {"status": COMPLETED, "ended": 5.0}),
            (Change(5.0, 2.0, error="boom", counts=b"n"), {"error": "boom", "counts": b"n"}),
            (Change(5.0, 2.0, error="", counts=b""), {"error": "", "counts": b""}),
            (Change(5.0, 2.0, shape=b"new"), {"shape": b"new"}),
            (Change(5.0, 2.0, cancel=True), {"cancel": True}),
            (Change(5.0, 2.0, cancel=False), {"cancel": False}),
            (Change(5.0, 2.0, lease=0.0, ended=0.0), {"lease": 0.0, "ended": 0.0}),
            (Change(5.0, 2.0, released=True), {"owner": "", "lease": 0.0}),
            (Change(5.0, 2.0, 9.0, WAITING, released=True), {"owner": "", "lease": 0.0, "status": WAITING}),
        ]
        with self.opened() as store:
            for segment in (None, b"segment"):
                for k, (change, expected) in enumerate(changes):
                    values = {"owner": "me", "lease": 3.0, "ended": 4.0, "error": "old", "counts": b"old", "token": 3}
                    row = _run(store, f"{segment!r} {k}", cancel=True, **values)
                    store.write(row.id, 3, change, segment)
                    after = msgspec.structs.replace(row, updated=5.0, owned=2.0, **expected)
                    _same(store.row(row.id), after, f"the row after {change} (all else stays as it was)")

    def test_another_token_is_fenced(self) -> None:
        with self.opened() as store:
            _run(store, "r")
            store.claim("r", 0, "me", 1.0, 1.0)
            store.write("r", 1, _PLAIN, b"one")
            store.claim("r", 1, "you", 1.0, 1.0)
            store.write("r", 2, _PLAIN, b"two")
            before = store.load("r")
            for token in (0, 1, 3):
                for segment in (None, b"late"):
                    for change in (_PLAIN, Change(9.0, 9.0, status=FAILED, error="late", released=True)):
                        _raises(Fenced, "write() with another token", store.write, "r", token, change, segment)
                _raises(Fenced, "clear() with another token", store.clear, "r", token)
            _same(store.load("r"), before, "what is fenced changes nothing")
            store.write("r", 2, _PLAIN, b"three")
            _same([bytes(s) for s in _there(store.load("r")).journal], [b"one", b"two", b"three"], "its owner goes on")

    def test_a_run_that_is_gone_is_fenced(self) -> None:
        with self.opened() as store:
            _raises(Fenced, "write() to a run that is not there", store.write, "r", 0, _PLAIN, b"x")
            _raises(Fenced, "write() to a run that is not there", store.write, "r", 0, Change(1.0, 1.0, status=FAILED))
            _raises(Fenced, "clear() of a run that is not there", store.clear, "r", 0)
            _same(store.load("r"), None, "what is fenced adds no run")

    def test_clear_drops_the_journal_and_signals(self) -> None:
        with self.opened() as store:
            row = _run(store, "r", owner="me")
            _run(store, "other")
            for id in ("r", "other"):
                store.write(id, 0, Change(row.updated, row.owned), b"old")
                store.send(id, Signal("a", b"old", 1.0))
            store.take_signals("r", 0)
            store.clear("r", 0)
            stored = _there(store.load("r"))
            _same((stored.row, list(stored.journal), list(stored.signals)), (row, [], []), "clear() leaves the row")
            _same(len(_there(store.load("other")).journal), 1, "clear() leaves other runs as they are")
            _same(store.send("r", Signal("a", b"new", 2.0)), True, "an address is free again after clear()")
            _same(list(store.take_signals("r", 0)[0]), [Signal("a", b"new", 2.0)], "signals after clear() count from 0")
            store.write("r", 0, _PLAIN, b"new")
            _same([bytes(s) for s in _there(store.load("r")).journal], [b"new"], "the journal after clear()")

    def test_threads_lose_nothing(self) -> None:
        with self.opened() as store:
            for k in range(THREADS):
                _run(store, f"r{k}")

            def write(k: int) -> None:
                for i in range(25):
                    store.write(f"r{k}", 0, _PLAIN, b"own %d" % i)
                    store.write("r0", 0, _PLAIN, b"%d %d" % (k, i))

            _in_threads(write)
            for k in range(1, THREADS):
                own = [bytes(s) for s in _there(store.load(f"r{k}")).journal]
                _same(own, [b"own %d" % i for i in range(25)], "each thread's segments, in its order")
            shared = [bytes(s) for s in _there(store.load("r0")).journal]
            for k in range(THREADS):
                mine = [s for s in shared if s.startswith(b"%d " % k)]
                _same(mine, [b"%d %d" % (k, i) for i in range(25)], "of one run, each thread's segments in its order")

    def test_a_load_is_of_one_moment(self) -> None:
        with self.opened() as store:
            _run(store, "r")

            def work(k: int) -> None:
                for i in range(1, 51):
                    if k == 0:
                        store.write("r", 0, Change(float(i), float(i)), b"%d" % i)
                    elif k == 1:
                        stored = _there(store.load("r"))
                        _same(stored.row.owned, float(len(stored.journal)), "row and journal are of the same moment")

            _in_threads(work)


class _Signals(_Suite):
    def test_signals_come_once_and_in_order(self) -> None:
        sent = [Signal(f"address {9 - k}", b"%d" % k, float(9 - k)) for k in range(5)]
        with self.opened() as store:
            _run(store, "r")
            _run(store, "other")
            _same(store.take_signals("r", 0), ([], False), "nothing has been sent", _plain_signals)
            for k, signal in enumerate(sent):
                _same(store.send("r", signal), True, "send() of a new address")
                _same(list(store.take_signals("r", k)[0]), [signal], "only what came after those that were seen")
                _same(list(store.take_signals("r", k + 1)[0]), [], "nothing came after those that were seen")
            for seen in range(6):
                _same(list(store.take_signals("r", seen)[0]), sent[seen:], "signals in the order of their coming")
            _same(list(_there(store.load("r")).signals), sent, "load() has all signals")
            _same(list(store.take_signals("other", 0)[0]), [], "signals belong to their run")

    def test_an_address_takes_one_signal(self) -> None:
        with self.opened() as store:
            _run(store, "r")
            _run(store, "other")
            _same(store.send("r", Signal("a", b"one", 1.0)), True, "send() of a new address")
            _same(store.send("r", Signal("a", b"two", 2.0)), False, "send() to an address that has a signal")
            _same(list(store.take_signals("r", 0)[0]), [Signal("a", b"one", 1.0)], "the first one stays")
            _same(store.send("r", Signal("A", b"", 3.0)), True, "addresses differ by case")
            _same(store.send("other", Signal("a", b"", 3.0)), True, "addresses belong to their run")

    def test_an_address_is_free_again_after_a_signal_was_rejected(self) -> None:
        """It still counts as one that was seen."""
        with self.opened() as store:
            _run(store, "r")
            _same(store.send("r", Signal("ask", b"bad", 1.0)), True, "send() of a new address")
            for run, address in (("r", "ask"), ("r", "nothing"), ("none", "ask")):
                store.reject(run, address)
            _same(store.send("r", Signal("ask", b"good", 2.0)), True, "send() after reject() keeps the signal")
            _same([one.payload for one in store.take_signals("r", 1)[0]], [b"good"], "it comes after the rejected one")
            seen = ["\0" in one.address for one in store.take_signals("r", 0)[0]]
            _same(seen, [True, False], "a rejected signal has another address, with a NUL in it")

    def test_one_of_many_signals_is_kept(self) -> None:
        with self.opened() as store:
            _run(store, "r")
            got = _in_threads(lambda k: store.send("r", Signal("a", b"%d" % k, 1.0)))
            _same(sum(got), 1, "of signals to one address at the same time, one is kept")
            _same(list(store.take_signals("r", 0)[0]), [Signal("a", b"%d" % got.index(True), 1.0)], "the one it told")

    def test_unknown_runs_are_said(self) -> None:
        with self.opened() as store:
            _raises(UnknownRun, "send() to a run that is not there", store.send, "r", Signal("a", b"", 1.0))
            _raises(UnknownRun, "ask_to_cancel() of a run that is not there", store.ask_to_cancel, "r", 1.0)
            _raises(UnknownRun, "take_signals() of a run that is not there", store.take_signals, "r", 0)
            _run(store, "r")
            store.take_signals("r", 0)
            store.delete(["r"])
            _raises(UnknownRun, "take_signals() of a run that has been deleted", store.take_signals, "r", 0)

    def test_a_run_with_an_owner_is_asked_to_end(self) -> None:
        with self.opened() as store:
            row = _run(store, "r", owner="me", status=RUNNING)
            store.take_signals("r", 0)
            after = msgspec.structs.replace(row, cancel=True, updated=9.0)
            _same(store.ask_to_cancel("r", 9.0), after, "ask_to_cancel() returns the row: its owner ends it")
            _same(store.row("r"), after, "and that is what is kept")
            _same(store.take_signals("r", 0), ([], True), "take_signals() tells it", _plain_signals)

    def test_a_run_without_owner_is_cancelled(self) -> None:
        with self.opened() as store:
            for status in (RUNNING, WAITING):
                row = _run(store, status, status=status)
                after = msgspec.structs.replace(row, cancel=True, updated=9.0, status=CANCELLED, ended=9.0)
                after = msgspec.structs.replace(after, token=row.token + 1)
                _same(store.ask_to_cancel(status, 9.0), after, "a run that nobody owns is cancelled at once")
                _same(store.row(status), after, "and that is what is kept")

    def test_a_run_that_has_ended_stays_so(self) -> None:
        with self.opened() as store:
            for status in sorted(ENDED):
                row = _run(store, status, status=status, ended=2.0)
                _same(store.ask_to_cancel(status, 9.0), row, "a run that has ended is not cancelled")
                _same(store.row(status), row, "and nothing is changed")


class _Listing(_Suite):
    def test_the_latest_come_first(self) -> None:
        with self.opened() as store:
            rows = self._many(store)
            _same(list(store.runs()), rows, "runs(): by created, then id, descending, without inputs")
            _same(list(store.runs(limit=3)), rows[:3], "no more than the limit")
            _same(list(store.runs(limit=0)), [], "none with a limit of 0")

    def test_filters(self) -> None:
        with self.opened() as store:
            rows = self._many(store)
            for statuses in ((), (RUNNING,), (FAILED, WAITING), (FAILED, FAILED), STATUSES, ("none",)):
                for dag in (None, "one", "two", "none"):
                    for before in (None, (1.0, "r5"), (1.0, "r50"), (0.0, ""), (9.0, "")):
                        found = store.runs(statuses, dag, 4, before)
                        fit = [r for r in rows if (not statuses or r.status in statuses) and dag in (None, r.dag)]
                        fit = [r for r in fit if before is None or (r.created, r.id) < before]
                        _same(list(found), fit[:4], f"runs({statuses}, {dag!r}, 4, {before})")

    def test_pages_show_each_run_once(self) -> None:
        with self.opened() as store:
            rows, found = self._many(store), list[RunRow]()
            while page := store.runs((), None, 3, (found[-1].created, found[-1].id) if found else None):
                found += page
                _holds(len(found) <= len(rows), "pages end")
            _same(found, rows, "pages by created and id show each run once")

    def _many(self, store: Backend) -> list[RunRow]:
        """Add 20 runs, of which some are of the same moment, and return what a list of them shows."""
        rows = []
        for k in (7, 3, 19, 0, 11, 5, 16, 2, 9, 14, 1, 18, 4, 12, 6, 17, 8, 15, 10, 13):
            status, dag = STATUSES[k % len(STATUSES)], ("one", "two")[k % 2]
            rows.append(_run(store, f"r{k}", created=float(k // 5), status=status, dag=dag, inputs=b"large"))
        rows.sort(key=lambda row: (row.created, row.id), reverse=True)
        return [msgspec.structs.replace(row, inputs=b"") for row in rows]

    def test_delete(self) -> None:
        with self.opened() as store:
            for id in ("r", "s", "t"):
                _run(store, id)
                store.write(id, 0, _PLAIN, b"old")
                store.send(id, Signal("a", b"old", 1.0))
            _same(store.delete(["r", "s", "none", "r"]), 2, "delete() counts the runs that were there")
            _same([row.id for row in store.runs()], ["t"], "the others stay")
            _same((store.row("r"), store.load("r")), (None, None), "what is deleted is gone")
            _same(store.delete([]), 0, "nothing to delete")
            new = _run(store, "r")
            stored = _there(store.load("r"))
            _same((stored.row, list(stored.journal), list(stored.signals)), (new, [], []), "a new run of an old id")
            _same(len(_there(store.load("t")).journal), 1, "runs that stay keep their journal")

    def test_delete_many(self) -> None:
        with self.opened() as store:
            for k in range(250):
                _run(store, f"r{k}")
            _same(store.delete([f"r{k}" for k in range(249)]), 249, "delete() of many runs")
            _same([row.id for row in store.runs(limit=1000)], ["r249"], "the others stay")


class _Copies(_Suite):
    def test_copy(self) -> None:
        with self.opened() as store:
            source = _run(store, "r")
            store.write("r", 0, Change(source.updated, source.owned), b"one")
            store.send("r", Signal("a", b"", 1.0))
            row = msgspec.structs.replace(source, id="copy", token=4, created=5.0)
            _same(store.copy("r", row, [b"1", b"", b"3"]), True, "copy() to a new id")
            stored = _there(store.load("copy"))
            found = stored.row, [bytes(s) for s in stored.journal], list(stored.signals)
            _same(found, (row, [b"1", b"", b"3"], []), "the copy has the row and journal that were given")
            store.write("copy", 4, _PLAIN, b"4")
            _same([bytes(s) for s in _there(store.load("copy")).journal][3:], [b"4"], "and goes on")
            _same([bytes(s) for s in _there(store.load("r")).journal], [b"one"], "the run itself stays as it was")

    def test_copy_to_a_taken_id_changes_nothing(self) -> None:
        with self.opened() as store:
            _run(store, "r")
            _run(store, "taken")
            store.write("taken", 0, _PLAIN, b"own")
            before = store.load("taken")
            _same(store.copy("r", RunRow("taken", "other", b"", b""), [b"x"]), False, "copy() to an id that is taken")
            _same(store.load("taken"), before, "changes nothing")

    def test_copy_of_what_is_gone(self) -> None:
        with self.opened() as store:
            _raises(UnknownRun, "copy() of a run that is not there", store.copy, "r", RunRow("s", "d", b"", b""), [])
            _same(store.row("s"), None, "adds nothing")

    def test_counters(self) -> None:
        with self.opened() as store:
            _same(store.add("a", 0), 0, "a counter begins at 0")
            _same((store.add("a", 3), store.add("b", 1), store.add("a", -5)), (3, 1, -2), "counters and their sums")
            sums = [n for got in _in_threads(lambda k: [store.add("t", 1) for _ in range(20)]) for n in got]
            _same(sorted(sums), list(range(1, 20 * THREADS + 1)), "each addition sees all before it")


class _Accounts(_Suite):
    def test_an_amount_is_reserved_and_settled(self) -> None:
        accounts = [_account("day", 100), _account("month", 50)]
        with self.opened() as store:
            empty = [Balance("day", 0, 0), Balance("month", 0, 0)]
            _same(_reserved(store, "a", accounts, 30), ("a", empty, []), "reserve() on new accounts")
            before = [Balance("day", 0, 30), Balance("month", 0, 30)]
            _same(
                _reserved(store, "b", accounts[:1], 70),
                ("b", before[:1], []),
                "what is reserved counts, up to the limit",
            )
            after = [Balance("day", 20, 70), Balance("month", 20, 0)]
            _same(list(store.settle("a", accounts, 20, 1.0)), after, "settle() counts what was spent instead")
            after = [Balance("day", 120, 0), Balance("month", 20, 0)]
            _same(list(store.settle("b", accounts[:1], 100, 1.0)), after[:1], "what was spent may be more")
            _same(list(store.balances("")), after, "balances() returns all, by name")
            _same(list(store.balances("da")), after[:1], "or those whose names begin so")
            _same(list(store.balances("ay")), [], "and no others")

    def test_what_has_no_room_reserves_nothing(self) -> None:
        accounts = [_account("a", 100), _account("b", 50)]
        with self.opened() as store:
            _reserved(store, "one", accounts, 40)
            full = _reserved(store, "two", accounts, 11)
            _same(full, ("", [Balance("a", 0, 40), Balance("b", 0, 40)], []), "reserve() without room on one account")
            _same(list(store.balances("")), full[1], "changes nothing: what is missing is reserved, not spent")
            store.settle("one", accounts, 40, 1.0)
            _reserved(store, "two", accounts, 11)
            marked = [Balance("a", 40, 0), Balance("b", 40, 0, True)]
            _same(list(store.balances("")), marked, "where what is spent leaves no room, the account is marked")
            _same(_reserved(store, "free", accounts, 0), ("free", marked, []), "0 is never refused")

    def test_nothing_spent_leaves_no_trace(self) -> None:
        accounts = [_account("a", 100)]
        with self.opened() as store:
            _reserved(store, "one", accounts, 40)
            _same(list(store.settle("one", accounts, 0, 1.0)), [Balance("a", 0, 0)], "settle() with 0 releases")
            _same(list(store.settle("one", [*accounts, _account("gone", 1)], 0, 1.0)), [Balance("a", 0, 0)], "again")
            _same(_reserved(store, "one", accounts, 100)[0], "one", "all of it is free again")

    def test_what_was_spent_counts_without_a_reservation(self) -> None:
        accounts = [_account("a", 100), _account("b", 100)]
        with self.opened() as store:
            _same(list(store.settle("gone", accounts, 7, 1.0)), [Balance("a", 7, 0), Balance("b", 7, 0)], "settle()")
            _same(list(store.balances("")), [Balance("a", 7, 0), Balance("b", 7, 0)], "counts in any case")

    def test_a_reservation_ends_with_its_lease(self) -> None:
        accounts = [_account("a", 100)]
        with self.opened() as store:
            _reserved(store, "one", accounts, 60, lease=10.0)
            _reserved(store, "two", accounts, 40, lease=20.0)
            _same(_reserved(store, "three", accounts, 60, now=9.0)[0], "", "until its lease has passed it counts")
            ended = [Reservation("one", "host:1:1", "r", 60, 10.0)]
            full = _reserved(store, "three", accounts, 61, now=10.0)
            _same(full, ("", [Balance("a", 0, 40)], ended), "then no more, and reserve() tells of it")
            _same(_reserved(store, "three", accounts, 60, now=10.0, lease=99.0)[2], [], "once")
            store.renew(["two", "one"], 30.0)
            _same(list(store.balances("")), [Balance("a", 0, 100)], "renew() brings none back")
            _same(_reserved(store, "four", accounts, 1, now=29.0)[2], [], "and prolongs a lease")
            _same(_reserved(store, "four", accounts, 40, now=30.0)[0], "four", "until then")

    def test_a_reservation_ends_when_its_run_gets_another_owner(self) -> None:
        accounts = [_account("a", 100)]
        with self.opened() as store:
            _run(store, "r", owner="host:1:1")
            _reserved(store, "one", accounts, 60)
            _same(_reserved(store, "two", accounts, 60)[0], "", "while its owner has the run it counts")
            store.write("r", 0, Change(1.0, 0.0, released=True))
            _same(_reserved(store, "two", accounts, 60)[0], "", "and when that has let go of it")
            store.claim("r", 0, "host:2:2", 99.0, 1.0)
            found = _reserved(store, "two", accounts, 60, owner="host:2:2")
            _same((found[0], [ended.id for ended in found[2]]), ("two", ["one"]), "until another process takes it over")

    def test_what_is_known_to_be_spent(self) -> None:
        with self.opened() as store:
            for least, expected in ((30, 30), (20, 30), (50, 50)):
                account = msgspec.structs.replace(_account("a", 60), least=least)
                _same(_reserved(store, "x", [account], 11)[1][0].spent, expected, "Account.least raises what is spent")
                store.settle("x", [account], 0, 1.0)

    def test_accounts_go_when_their_time_is_over(self) -> None:
        with self.opened() as store:
            for until in (10.0, 40.0, 20.0):
                store.settle("x", [_account("kept", 100, until)], 1, 1.0)
                _reserved(store, "x", [_account("kept", 100, until)], 0)
                store.settle("x", [_account("kept", 100, until)], 0, 1.0)
            _reserved(store, "y", [_account("other", 1)], 1, now=39.0)
            _same(store.balances("kept")[0].spent, 3, "an account stays until the latest time that was said")

    def test_one_of_many_gets_the_last_room(self) -> None:
        with self.opened() as store:
            got = _in_threads(lambda k: [_reserved(store, f"{k}.{n}", [_account("a", 20)], 3)[0] for n in range(5)])
            taken = [id for ids in got for id in ids if id]
            _same(len(taken), 6, "reservations at the same time never exceed the limit")
            spent = _in_threads(lambda k: [store.settle(id, [_account("a", 20)], 2, 1.0) for id in taken[k::THREADS]])
            sums = sorted(balances[0].spent for settled in spent for balances in settled)
            _same(sums, [2, 4, 6, 8, 10, 12], "each settlement sees all before it")


class _Files(_Suite):
    def test_files(self) -> None:
        with self.opened() as store:
            for data in (b"", b"x", bytes(range(256)) * 2000):
                digest = store.put_file(data)
                _same(digest, digest_of(data), "the digest is BLAKE2b of 20 bytes")
                _same(bytes(store.get_file(digest)), data, "get_file() returns what was put")
                _same(store.put_file(data), digest, "the same again")
            _raises(DamagedRow, "get_file() of what is not there", store.get_file, digest_of(b"never put"))

    def test_files_go_with_their_last_run(self) -> None:
        with self.opened() as store:
            shared, own = store.put_file(b"shared"), store.put_file(b"own")
            for id, files in (("r", [shared, own]), ("s", [shared])):
                _run(store, id)
                store.write(id, 0, _PLAIN, b"", files)
            store.delete(["r"])
            _same(bytes(store.get_file(shared)), b"shared", "a file stays while a run refers to it")
            _raises(DamagedRow, "a file goes with the last run that refers to it", store.get_file, own)
            store.clear("s", 0)
            _raises(DamagedRow, "clear() lets go of files", store.get_file, shared)

    def test_a_copy_keeps_files(self) -> None:
        with self.opened() as store:
            digest = store.put_file(b"data")
            row = _run(store, "r")
            store.write("r", 0, _PLAIN, b"", [digest])
            store.copy("r", msgspec.structs.replace(row, id="copy"), [b"refers"])
            store.delete(["r"])
            _same(bytes(store.get_file(digest)), b"data", "a copy refers to the files of its run")
            store.delete(["copy"])
            _raises(DamagedRow, "and lets go of them", store.get_file, digest)

    def test_a_file_waits_for_its_run(self) -> None:
        """What has been put must not go before the write that refers to it has come."""
        with self.opened() as store:
            digest = store.put_file(b"data")
            for id in ("r", "s"):
                _run(store, id)
            store.write("r", 0, _PLAIN, b"", [digest])
            _same(store.put_file(b"data"), digest, "for another run")
            store.delete(["r"])
            _same(bytes(store.get_file(digest)), b"data", "a file that was put stays until it is referred to")
            store.write("s", 0, _PLAIN, b"", [digest])
            _same(bytes(store.get_file(digest)), b"data", "and after that")

    def test_a_file_that_is_gone_cannot_be_referred_to(self) -> None:
        with self.opened() as store:
            row = _run(store, "r")
            _raises(StoreError, "write() with a file that is gone", store.write, "r", 0, _PLAIN, b"x", [bytes(20)])
            stored = _there(store.load("r"))
            _same((stored.row, list(stored.journal)), (row, []), "changes nothing")

    def test_a_fenced_write_keeps_no_file(self) -> None:
        with self.opened() as store:
            digest = store.put_file(b"data")
            _run(store, "r")
            store.write("r", 0, _PLAIN, b"", [digest])
            _run(store, "s")
            _raises(Fenced, "write() with another token", store.write, "s", 5, _PLAIN, b"", [digest])
            store.delete(["r"])
            _raises(DamagedRow, "what is fenced refers to nothing", store.get_file, digest)

    def test_after_close_all_is_refused(self) -> None:
        with self.opened() as store:
            _run(store, "r")
            store.close()
            store.close()
            calls: list[tuple[Callable[..., object], tuple[object, ...]]] = [
                (store.create, (RunRow("s", "d", b"", b""), b"")), (store.row, ("r",)), (store.load, ("r",)),
                (store.shape, (b"",)), (store.add_shape, (b"", b"")), (store.claim, ("r", 0, "", 0.0, 0.0)),
                (store.write, ("r", 0, _PLAIN, b"")), (store.clear, ("r", 0)), (store.take_signals, ("r", 0)),
                (store.send, ("r", Signal("a", b"", 0.0))), (store.ask_to_cancel, ("r", 0.0)), (store.runs, ()),
                (store.delete, (["r"],)), (store.copy, ("r", RunRow("s", "d", b"", b""), [])), (store.add, ("a", 1)),
                (store.reserve, (Reservation("x", "", "", 1, 9.0), [], 1.0)), (store.settle, ("x", [], 1, 1.0)),
                (store.renew, (["x"], 1.0)), (store.balances, ("",)), (store.put_file, (b"",)),
                (store.get_file, (digest_of(b""),)),
            ]  # fmt: skip
            for call, arguments in calls:
                _raises(StoreError, "a call after close()", call, *arguments)


class StoreSuite(_Rows, _Claims, _Writes, _Signals, _Listing, _Copies, _Accounts, _Files):
    """All tests. :func:`store_suite` says of what."""


def store_suite(make: Callable[[], Backend]) -> type[StoreSuite]:
    """Return a class of tests of what ``make`` makes: an empty backend at each call.

    Inherit from it for pytest, or call its :meth:`check`. It holds for any backend that users write.
    """

    class Suite(StoreSuite):
        def opened(self) -> closing[Backend]:
            return closing(make())

    return Suite


def _run(store: Backend, id: str, **values: Any) -> RunRow:
    """Add a run and return its row."""
    row = RunRow(id, **{"dag": "dag", "shape": b"s", "inputs": b"in", **values})
    _same(store.create(row, b"structure"), None, "create() of a new run returns None")
    return row


def _account(name: str, limit: int, until: float = 1e12) -> Account:
    return Account(name, limit, until)


def _reserved(
    store: Backend,
    id: str,
    accounts: list[Account],
    amount: int,
    *,
    now: float = 1.0,
    lease: float = 100.0,
    owner: str = "host:1:1",
) -> tuple[str, list[Balance], list[Reservation]]:
    """Reserve for the run ``r``; return the parts of what comes of it."""
    found: Reserved = store.reserve(Reservation(id, owner, "r", amount, lease), accounts, now)
    return found.id, list(found.balances), list(found.ended)


def _holds(condition: bool, demand: str) -> None:
    if not condition:  # an assert would be left out by python -O
        raise AssertionError(demand)


def _same(found: object, expected: object, demand: str, normal: Callable[[Any], object] | None = None) -> None:
    found = found if normal is None else normal(found)
    expected = expected if normal is None else normal(expected)
    if found != expected:
        raise AssertionError(f"{demand}: expected {_short(expected)}, found {_short(found)}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 1000 else f"{text[:1000]}..."


def _plain_signals(found: tuple[Any, bool]) -> object:
    return list(found[0]), found[1]


def _there(value: T | None) -> T:
    if value is None:
        raise AssertionError("the run is there, and None was returned")
    return value


def _raises(kind: type[Exception], demand: str, call: Callable[..., object], *arguments: object) -> None:
    try:
        call(*arguments)
    except kind as error:
        _holds(bool(str(error)), f"{demand}: the message says what is wrong")
    else:
        raise AssertionError(f"{demand} raises {kind.__name__}; it raised nothing")


def _in_threads(work: Callable[[int], T]) -> list[T]:
    """Call ``work(0), work(1), ...`` at the same time, and return what they returned; raise what one has raised."""
    start, got, errors = Barrier(THREADS), dict[int, T](), list[BaseException]()

    def run(k: int) -> None:
        start.wait()
        try:
            got[k] = work(k)
        except BaseException as error:
            errors.append(error)

    threads = [Thread(target=run, args=(k,)) for k in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [got[k] for k in range(THREADS)]


__all__ = ["StoreSuite", "store_suite"]
