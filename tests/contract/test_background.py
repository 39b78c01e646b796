"""A coroutine in the background, on every event loop."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from flow.clock import on_asyncio
from flow.run.background import in_background


async def gives() -> int:
    await anyio.sleep(0)
    return 5


async def raises() -> int:
    await anyio.sleep(0)
    raise ValueError("no")


class Lasting:
    """Waits for ever, and notes that it has been cancelled; its clearing up awaits."""

    def __init__(self) -> None:
        self.begun = self.cleared = False

    async def __call__(self) -> None:
        self.begun = True
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0)
            self.cleared = True


async def until_begun(lasting: Lasting) -> None:
    while not lasting.begun:
        await anyio.sleep(0)


class TestJoin:
    @pytest.mark.anyio
    async def test_a_value(self) -> None:
        background = in_background(gives)
        await background.join()
        assert (background.ended, background.value, background.error, background.cancelled) == (True, 5, None, False)

    @pytest.mark.anyio
    async def test_an_error_is_kept(self) -> None:
        background = in_background(raises)
        await background.join()
        assert background.ended
        assert str(background.error) == "no"
        assert not background.cancelled

    @pytest.mark.anyio
    async def test_a_cancelled_caller_leaves_nothing_behind(self) -> None:
        lasting = Lasting()
        background = in_background(lasting)
        await until_begun(lasting)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await background.join()
        assert scope.cancelled_caught
        assert lasting.cleared
        assert background.ended
        assert background.cancelled


class TestEnd:
    @pytest.mark.anyio
    async def test_it_cancels_and_waits(self) -> None:
        lasting = Lasting()
        background = in_background(lasting)
        await until_begun(lasting)
        await background.end()
        assert lasting.cleared
        assert (background.value, background.error, background.cancelled) == (None, None, True)

    @pytest.mark.anyio
    async def test_before_its_first_step(self) -> None:
        background = in_background(Lasting())
        await background.end()
        assert background.cancelled

    @pytest.mark.anyio
    async def test_after_its_end(self) -> None:
        background = in_background(gives)
        await background.join()
        await background.end()
        assert (background.value, background.cancelled) == (5, False)


@pytest.mark.anyio
async def test_a_waiter_that_is_cancelled_ends_nothing_else() -> None:
    lasting = Lasting()
    background = in_background(lasting)
    await until_begun(lasting)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await background.wait()
    assert scope.cancelled_caught
    assert not background.ended
    await background.end()


@pytest.mark.anyio
async def test_a_cancellation_that_comes_twice_does_not_leave_it_behind() -> None:
    lasting = Lasting()
    background = in_background(lasting)
    await until_begun(lasting)
    async with anyio.create_task_group() as group:
        group.start_soon(background.join)
        await anyio.sleep(0)
        group.cancel_scope.cancel()
        group.cancel_scope.cancel()
    assert lasting.cleared


@pytest.mark.anyio
async def test_a_group_of_cancellations_is_one_and_errors_beside_it_are_kept() -> None:
    async def fails_when_cancelled() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("in the clearing up")

    async def nursery(*bodies: Lasting) -> None:
        async with anyio.create_task_group() as group:
            for body in bodies:
                group.start_soon(body)

    lasting = Lasting()
    background = in_background(lambda: nursery(lasting))
    await until_begun(lasting)
    await background.end()
    assert (background.error, background.cancelled) == (None, True)

    lasting = Lasting()
    background = in_background(lambda: nursery(lasting, fails_when_cancelled))  # type: ignore[arg-type]
    await until_begun(lasting)
    await anyio.sleep(0)
    await background.end()
    assert isinstance(background.error, ExceptionGroup)
    assert background.error.subgroup(ValueError) is not None


@pytest.mark.anyio
async def test_a_cancellation_that_comes_while_another_ends_it_is_not_lost() -> None:
    class Slow(Lasting):
        async def __call__(self) -> None:
            try:
                await super().__call__()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(0.05)

    slow = Slow()
    background = in_background(slow)
    await until_begun(slow)
    after = False

    async def ends() -> None:
        nonlocal after
        await background.end()
        assert background.ended
        await anyio.lowlevel.checkpoint()
        after = True

    if on_asyncio():
        task = asyncio.ensure_future(ends())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        async with anyio.create_task_group() as group:
            group.start_soon(ends)
            await anyio.sleep(0.01)
            group.cancel_scope.cancel()
    assert not after
    assert slow.cleared
