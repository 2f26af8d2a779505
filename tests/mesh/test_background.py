"""What is in the background ends with what it serves, and never hides what that raised."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from varlogd.errors import QueryError
from varlogd.mesh.background import background


async def test_its_tasks_end_with_the_body() -> None:
    ended = False

    async def serve() -> None:
        nonlocal ended
        try:
            await trio.sleep_forever()
        finally:
            ended = True

    async with background() as nursery:
        nursery.start_soon(serve)
        await trio.testing.wait_all_tasks_blocked()
        assert not ended
    assert ended


async def test_what_the_body_raises_comes_out_as_it_is_when_the_tasks_are_gone() -> None:
    ended: list[str] = []

    async def serve() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append("task")

    error = QueryError("as it is")
    with pytest.raises(QueryError) as caught:
        async with background() as nursery:
            nursery.start_soon(serve)
            await trio.testing.wait_all_tasks_blocked()
            raise error
    assert caught.value is error
    assert ended == ["task"]


async def test_a_fault_of_a_task_ends_the_body_and_comes_out_in_a_group() -> None:
    async def fail() -> None:
        raise LookupError("a fault")

    with pytest.raises(ExceptionGroup) as caught:
        async with background() as nursery:
            nursery.start_soon(fail)
            await trio.sleep_forever()
    assert isinstance(caught.value.exceptions[0], LookupError)


async def test_a_body_that_is_cancelled_is_cancelled() -> None:
    with trio.CancelScope() as scope:
        async with background() as nursery:
            nursery.start_soon(trio.sleep_forever)
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_a_task_may_end_the_body() -> None:
    async with background() as nursery:

        @nursery.start_soon
        async def end() -> None:
            nursery.cancel_scope.cancel()

        await trio.sleep_forever()
