"""The switches that make one seed give one trace: they are still there, they work, and nothing slips past."""

from __future__ import annotations

import gc
import logging
import os
import random
import secrets
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest
import trio
import trio_websocket._impl
import wsproto.frame_protocol
import wsproto.utilities

from simulations import determinism
from simulations.clock import run_virtually
from simulations.determinism import Escaped, install_run_queue, seeded, trapped


def test_the_private_names_are_still_there() -> None:
    """When this fails, trio or a websocket library has changed: look at `simulations/determinism.py` first."""
    trio_run: Any = trio._core._run
    for name in determinism._TRIO_NAMES:
        assert hasattr(trio_run, name), f"trio has no _core._run.{name} any more"
    assert isinstance(trio_run._r, random.Random)
    assert trio_run._ALLOW_DETERMINISTIC_SCHEDULING in (True, False)
    for module, name in (
        (wsproto.frame_protocol, "os"),
        (wsproto.utilities, "os"),
        (trio_websocket._impl, "random"),
        (logging, "time"),
    ):
        assert hasattr(module, name), f"{module.__name__} does not use {name} any more"


async def test_trio_still_has_one_run_queue() -> None:
    runner: Any = determinism._trio_run.GLOBAL_RUN_CONTEXT.runner
    assert hasattr(runner.runq, "append")
    assert hasattr(runner.runq, "clear")


def order_of_tasks(seed: int) -> list[int]:
    """In which order twenty tasks that are all runnable run, three times."""
    order: list[int] = []

    async def task(number: int) -> None:
        for _ in range(3):
            await trio.lowlevel.checkpoint()
            order.append(number)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(task, number)

    with seeded(random.Random(seed), lambda: 0.0):
        run_virtually(main)
    return order


def test_the_scheduler_follows_the_seed() -> None:
    assert order_of_tasks(1) == order_of_tasks(1)
    assert order_of_tasks(1) != order_of_tasks(2)


def test_masks_and_pings_follow_the_seed() -> None:
    def drawn(seed: int) -> tuple[bytes, bytes, int]:
        with seeded(random.Random(seed), lambda: 0.0):
            mask = wsproto.frame_protocol.os.urandom(4)
            return mask, wsproto.utilities.generate_nonce(), trio_websocket._impl.random.getrandbits(32)

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_everything_is_put_back() -> None:
    def state() -> list[object]:
        trio_run: Any = trio._core._run
        values = [getattr(owner, name) for owner, name in determinism._TRAPS]
        return [
            *values,
            trio_run._ALLOW_DETERMINISTIC_SCHEDULING,
            trio_run._r.getstate(),
            logging.time,
            gc.isenabled(),
        ]  # type: ignore[attr-defined]

    before = state()
    with seeded(random.Random(1), lambda: 0.0), trapped():
        assert state() != before
    assert state() == before


REACHES: dict[str, Callable[[], object]] = {
    "the wall clock": lambda: time.time(),
    "a real pause": lambda: time.sleep(0),
    "the kernel's chance": lambda: os.urandom(4),
    "a uuid": lambda: uuid.uuid4(),
    "a secret": lambda: secrets.token_bytes(4),
    "the global random": lambda: random.choice([1]),
    "a socket": lambda: socket.socket(),
    "a connection": lambda: socket.create_connection(("127.0.0.1", 1)),
    "a thread": lambda: threading.Thread(target=print).start(),
}


@pytest.mark.parametrize("reach", REACHES.values(), ids=REACHES)
def test_reaching_outside_raises(reach: Callable[[], object]) -> None:
    with trapped(), pytest.raises(Escaped):
        reach()


def test_a_worker_thread_is_outside_too() -> None:
    async def main() -> None:
        with trapped(), pytest.raises(Escaped, match="in a simulation"):
            await trio.to_thread.run_sync(subprocess.list2cmdline, [])

    trio.run(main)


def test_log_records_have_virtual_time() -> None:
    with seeded(random.Random(1), lambda: 1234.5), trapped():
        record = logging.getLogger("any").makeRecord("any", logging.INFO, "file", 1, "text", (), None)
    assert record.created == 1234.5


NODE: ContextVar[str] = ContextVar("NODE", default="")


def test_frozen_tasks_wait_and_thawed_ones_find_what_came_meanwhile() -> None:
    frozen: set[str] = set()
    log: list[tuple[float, str]] = []

    async def ticker(name: str) -> None:
        NODE.set(name)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tick, name)  # a child inherits

    async def tick(name: str) -> None:
        for _ in range(6):
            await trio.sleep(1)
            log.append((trio.current_time(), name))

    async def main() -> None:
        queue = install_run_queue(lambda task: task.context.get(NODE) in frozen)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ticker, "a")
            nursery.start_soon(ticker, "b")
            await trio.sleep(2.5)
            frozen.add("a")
            await trio.sleep(3)
            frozen.clear()
            queue.look_again()

    run_virtually(main)
    assert [at for at, name in log if name == "b"] == [1, 2, 3, 4, 5, 6]
    assert [at for at, name in log if name == "a"] == [1, 2, 5.5, 6.5, 7.5, 8.5]
