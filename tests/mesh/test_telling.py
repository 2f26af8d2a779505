"""What is told of members, on the clock."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from tests.swim.test_damping import as_
from varlogd.mesh.telling import Telling
from varlogd.swim.damping import BATCH_S, Told
from varlogd.swim.state import State


async def test_a_death_is_told_while_it_is_seen_and_the_rest_from_the_task(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    told: list[tuple[float, Told]] = []
    telling = Telling(lambda each: told.append((trio.current_time(), each)))
    nursery.start_soon(telling.run)
    began = trio.current_time()
    telling.change(as_(State.ALIVE), None)
    assert told == []
    await trio.sleep(2 * BATCH_S)
    assert told == [(began + BATCH_S, Told("changed", as_(State.ALIVE)))]
    telling.change(as_(State.DEAD), as_(State.ALIVE))
    assert told[1][1].member.state is State.DEAD
    nursery.cancel_scope.cancel()


async def test_one_that_flaps_is_said_to_until_it_is_steady(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    told: list[str] = []
    telling = Telling(lambda each: told.append(each.what))
    nursery.start_soon(telling.run)
    for _ in range(9):
        for before, after in ((State.ALIVE, State.SUSPECT), (State.SUSPECT, State.ALIVE)):
            telling.change(as_(after), as_(before))
            await trio.sleep(1)
    assert told.count("flapping") == 1
    assert list(telling.flapping) == ["a"]
    await trio.sleep(1000)
    assert told[-1] == "steady"
    assert not telling.flapping
    nursery.cancel_scope.cancel()
