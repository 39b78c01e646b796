"""ObjectPool: what is handed out, taken back, given up and refused."""

from __future__ import annotations

import sys
from threading import Thread
from typing import Any

import pytest
from memories import OWN

import flow
from flow.data.pool import ObjectPool, PoolStatistics
from flow.errors import ConfigError, UsageError


class Thing:
    """Something to pool."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.users = 0


def test_recycles_after_reset() -> None:
    pool = ObjectPool(Thing, reset=lambda thing: thing.rows.clear())
    with pool.acquire() as first:
        first.rows.append(1)
    with pool.acquire() as second:
        assert second is first
        assert second.rows == []
    assert pool.statistics() == PoolStatistics(created=1, reused=1, idle=1, in_use=0, discarded=0)


def test_without_reset_it_comes_as_it_was() -> None:
    pool = ObjectPool(Thing)
    thing = pool.get()
    thing.rows.append(1)
    pool.put(thing)
    assert pool.get().rows == [1]


def test_a_body_that_raises_discards() -> None:
    pool = ObjectPool(Thing, reset=lambda thing: pytest.fail("reset after a failed body"))
    for error in (ValueError("mine"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, pool.acquire():
            raise error
        assert caught.value is error
    assert pool.statistics() == PoolStatistics(created=2, reused=0, idle=0, in_use=0, discarded=2)


def test_a_reset_that_raises_discards() -> None:
    def reset(thing: Thing) -> None:
        raise ValueError("no reset")

    pool = ObjectPool(Thing, reset=reset)
    with pytest.raises(ValueError, match="no reset"), pool.acquire():
        pass
    assert pool.statistics() == PoolStatistics(1, 0, 0, 0, 1)


def test_a_factory_that_raises() -> None:
    pool: ObjectPool[Any] = ObjectPool(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        pool.get()
    assert pool.statistics() == PoolStatistics(0, 0, 0, 0, 0)


@pytest.mark.parametrize("capacity", [0, 1, 2])
def test_no_more_than_capacity_stay_idle(capacity: int) -> None:
    pool = ObjectPool(Thing, capacity=capacity)
    things = [pool.get() for _ in range(3)]
    assert len({id(thing) for thing in things}) == 3
    for thing in things:
        pool.put(thing)
    assert pool.statistics() == PoolStatistics(3, 0, capacity, 0, 3 - capacity)
    assert (pool.get() is things[2]) == (capacity > 0)  # the one used last, which the caches remember


def test_put_twice_is_refused() -> None:
    pool = ObjectPool(Thing)
    thing = pool.get()
    pool.put(thing)
    for again in (pool.put, pool.discard):
        with pytest.raises(UsageError, match="put back before, or it is not from this ObjectPool"):
            again(thing)
    assert pool.statistics().idle == 1


def test_a_stranger_is_refused() -> None:
    pool = ObjectPool(Thing)
    with pytest.raises(UsageError, match="is not in use"):
        pool.put(Thing())
    assert pool.statistics().idle == 0


def test_a_lease_serves_one_use_at_a_time() -> None:
    pool = ObjectPool(Thing)
    lease = pool.acquire()
    with lease as first:
        with pytest.raises(UsageError, match="entered already"), lease:
            pass
    with lease as second:
        assert second is first


def test_nested_uses_get_two_objects() -> None:
    pool = ObjectPool(Thing)
    with pool.acquire() as outer, pool.acquire() as inner:
        assert outer is not inner
        assert repr(pool) == "ObjectPool(0 idle, 2 in use)"
    assert repr(pool) == "ObjectPool(2 idle, 0 in use)"


def test_clear() -> None:
    pool = ObjectPool(Thing)
    with pool.acquire() as first:
        pass
    pool.clear()
    assert pool.get() is not first
    assert pool.statistics() == PoolStatistics(2, 0, 0, 1, 1)


def test_settings_all_faults() -> None:
    with pytest.raises(ConfigError) as caught:
        ObjectPool(3, reset=4, capacity=-1)  # type: ignore[arg-type]
    assert [fault.split()[0] for fault in caught.value.faults] == ["factory", "reset", "capacity"]


def test_threads_never_share_an_object() -> None:
    pool = ObjectPool(Thing, reset=lambda thing: thing.rows.clear(), capacity=3)
    wrong: list[str] = []

    def work(i: int) -> None:
        for n in range(300):
            with pool.acquire() as thing:
                thing.users += 1
                thing.rows.append(n)
                if thing.users != 1 or thing.rows != [n]:
                    wrong.append(f"{i}: {thing.users} users, rows {thing.rows}")
                thing.users -= 1

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [Thread(target=work, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert not wrong
    found = pool.statistics()
    assert found.created + found.reused == 8 * 300
    assert found.in_use == 0
    assert found.idle <= 3


@pytest.mark.parametrize("memory", ["standard", "slots", "arena", *OWN])
def test_stores_are_recycled_between_runs(memory: Any) -> None:
    dag = flow.Dag("d")

    @dag.node
    def count(ctx: flow.Context, n: int) -> int:
        assert "n" not in ctx.data
        ctx.data["n"] = n
        return n

    pool = flow.WorkflowData.pool(flow.DataConfig(memory=memory), capacity=1)
    seen = []
    for n in range(3):
        with pool.acquire() as data:
            result = flow.run(dag, {"n": n}, data=data)
            assert (data["n"], data.outputs["count"], result.data is data) == (n, n, True)
            seen.append(data)
    assert seen[0] is seen[1] is seen[2]
    assert (len(seen[0]), dict(seen[0].outputs), pool.statistics().created) == (0, {}, 1)


def test_pooled_slots_share_a_layout() -> None:
    pool = flow.WorkflowData.pool(flow.DataConfig(memory="slots"))
    with pool.acquire() as one, pool.acquire() as two:
        one["a"] = 1
        assert one is not two
        assert (one._layout is two._layout, len(one._layout)) == (True, 1)  # type: ignore[attr-defined]
