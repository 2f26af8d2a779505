"""The runner: turns, priorities, and steps that hang."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import trio

from tests.daemons import until
from varlogd import low_threads, world
from varlogd.errors import Refused
from varlogd.runner import ABANDONED_MAX, ThreadRunner


async def test_steps_of_several_questions_take_turns() -> None:
    """However many steps one question has, another waits for one of them at most."""
    runner = ThreadRunner(1)
    order: list[str] = []

    async def question(name: str) -> None:
        for _ in range(5):
            await runner.run(lambda: order.append(name))

    async with trio.open_nursery() as nursery:
        for name in "abc":
            nursery.start_soon(question, name)
    turns = ["".join(sorted(order[at : at + 3])) for at in range(0, 15, 3)]
    assert turns == ["abc"] * 5


async def test_no_more_steps_at_once_than_allowed() -> None:
    runner, lock = ThreadRunner(3), threading.Lock()
    running = most = 0

    def step() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.002)
        with lock:
            running -= 1

    async with trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(runner.run, step)
    assert most == 3


async def test_results_and_errors_come_back() -> None:
    runner = ThreadRunner(1)
    assert await runner.run(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await runner.run(lambda: 1 // 0)
    assert await runner.run(threading.get_ident) == await runner.run(threading.get_ident)  # not a thread a step


@pytest.mark.skipif(sys.platform != "linux", reason="a thread has a priority of its own on Linux")
async def test_steps_run_at_low_priority_in_threads_that_trio_lends_to_nobody() -> None:
    runner = ThreadRunner(2)

    def priority() -> tuple[int, int]:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id()), threading.get_ident()

    usual = os.getpriority(os.PRIO_PROCESS, 0)
    low, thread = await runner.run(priority)
    assert low == max(usual, low_threads.NICE)
    assert (await trio.to_thread.run_sync(priority))[0] == usual
    assert (await trio.to_thread.run_sync(priority))[1] != thread
    assert priority()[0] == usual


async def test_a_step_that_works_ends_when_nobody_wants_it() -> None:
    runner, began = ThreadRunner(1, abandon_s=60), threading.Event()

    def step() -> None:
        while True:
            began.set()
            runner.check()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(runner.run, step)
        await until(began.is_set)
        nursery.cancel_scope.cancel()
    assert runner.abandoned == 0
    assert await runner.run(lambda: 7) == 7


async def test_the_result_of_a_step_that_ends_all_the_same_is_not_lost() -> None:
    runner, began, may_end = ThreadRunner(1, abandon_s=60), threading.Event(), threading.Event()

    def step() -> str:
        began.set()
        may_end.wait()
        return "open file"

    results = []

    async def ask() -> None:
        results.append(await runner.run(step))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await until(began.is_set)
        nursery.cancel_scope.cancel()
        may_end.set()
    assert results == ["open file"]


@pytest.fixture
def hung() -> Iterator[threading.Event]:
    """What hung steps wait for; set when the test ends."""
    event = threading.Event()
    yield event
    event.set()


async def leave_behind(runner: ThreadRunner, hung: threading.Event, closing: ExitStack, closed: list[str]) -> None:
    """A question whose step hangs, and that is then cancelled."""
    began = threading.Event()

    def step() -> None:
        closing.callback(closed.append, "opened in it")
        began.set()
        hung.wait()
        closing.callback(closed.append, "opened behind")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(runner.run, step, closing)
        await until(began.is_set)
        nursery.cancel_scope.cancel()


async def test_a_step_that_hangs_is_left_behind_and_closes_what_it_used_when_it_ends(hung: threading.Event) -> None:
    runner, closed = ThreadRunner(1, abandon_s=0.01), list[str]()
    with ExitStack() as closing:
        closing.callback(closed.append, "opened before")
        await leave_behind(runner, hung, closing, closed)
        assert runner.abandoned == 1
    assert closed == []  # its thread may be using it
    assert await runner.run(lambda: 7) == 7  # its place is free
    hung.set()
    await until(lambda: len(closed) == 3)
    assert closed == ["opened in it", "opened before", "opened behind"]
    assert runner.abandoned == 0


async def test_only_so_many_are_left_behind(hung: threading.Event) -> None:
    runner = ThreadRunner(1, abandon_s=0.001)
    for _ in range(ABANDONED_MAX):
        await leave_behind(runner, hung, ExitStack(), [])
    with pytest.raises(Refused, match=f"busy: {ABANDONED_MAX} reads .* hang"):
        await runner.run(lambda: 7)
    hung.set()
    await until(lambda: runner.abandoned == 0)
    assert await runner.run(lambda: 7) == 7


async def test_threads_end_when_there_is_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(low_threads, "IDLE_S", 0.001)
    runner = world.ThreadRunner(4)
    async with trio.open_nursery() as nursery:
        for _ in range(200):
            nursery.start_soon(runner.run, lambda: None)
    mine = await runner.run(threading.current_thread)
    await until(lambda: not mine.is_alive())
    assert await runner.run(lambda: 7) == 7


async def test_where_no_more_threads_start_a_step_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch, pytest.raises(Refused, match="no more threads"):
        patch.setattr(threading.Thread, "start", start)
        await ThreadRunner(1).run(lambda: 1)
