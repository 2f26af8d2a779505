"""Virtual time jumps, and a world that stops for ever is noticed."""

from __future__ import annotations

import time

import pytest
import trio

from simulations import clock
from simulations.clock import Deadlock, Livelock, run_virtually


def test_a_day_passes_at_once_and_in_order() -> None:
    woken: list[float] = []

    async def sleeper(seconds: float) -> None:
        await trio.sleep(seconds)
        woken.append(trio.current_time())

    async def main() -> float:
        async with trio.open_nursery() as nursery:
            for seconds in (86_400, 1, 3600):
                nursery.start_soon(sleeper, seconds)
        return trio.current_time()

    began = time.perf_counter()
    assert run_virtually(main) == 86_400
    assert woken == [1, 3600, 86_400]
    assert time.perf_counter() - began < 3600


def test_every_instant_is_looked_at_when_nothing_can_run_any_more() -> None:
    instants: list[tuple[float, int]] = []
    done = 0

    async def worker() -> None:
        nonlocal done
        for _ in range(3):
            await trio.sleep(1)
            for _ in range(5):
                await trio.lowlevel.checkpoint()
            done += 1

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker)
            nursery.start_soon(worker)

    run_virtually(main, lambda now: instants.append((now, done)))
    assert [look for look in dict(instants).items() if look[0] > 0][:2] == [(1, 2), (2, 4)]


def test_nothing_can_ever_happen() -> None:
    async def main() -> None:
        await trio.sleep(7)
        await trio.sleep_forever()

    with pytest.raises(Deadlock, match="after 7"):
        run_virtually(main)


def test_time_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "LOOKS_PER_INSTANT_MAX", 1000)

    async def main() -> None:
        while True:
            await trio.lowlevel.checkpoint()

    with pytest.raises(Livelock):
        run_virtually(main)


def test_an_interrupt_comes_alone() -> None:
    async def interrupted() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 1.0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_virtually(interrupted)


def test_other_troubles_stay_together() -> None:
    async def broken() -> None:
        async with trio.open_nursery():
            raise LookupError

    with pytest.raises(ExceptionGroup):
        run_virtually(broken)
