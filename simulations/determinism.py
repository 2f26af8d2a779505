"""One seed, one trace: the switches that make trio and its libraries deterministic, and traps for the rest.

This is the only file that touches private names: trio's (`_TRIO_NAMES`, looked for by a test that sounds the
alarm when they go), wsproto's `os` (masks, nonces), trio_websocket's `random` (pings) and logging's `time`.

What else could make two runs differ is not patched but *trapped*: the wall clock, the operating system's
chance, real sockets, threads. A trap raises `Escaped` at the place that reached outside.

Freezing is here too, for it needs the scheduler: a frozen process (SIGSTOP, a stalled virtual machine) is one
whose tasks are never put to the run queue. Everything around goes on: bytes arrive in its buffers, its kernel
completes connects, its timers expire. When it thaws its tasks run, and find all that at once. (In a process
that is continued, trio would look at sockets first and at timers second; here a timer that expired meanwhile
wins over bytes that came after it. The harsher of the two.)
"""

from __future__ import annotations

import gc
import logging
import os
import random
import secrets
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Final

import trio
import trio_websocket._impl
import wsproto.frame_protocol
import wsproto.utilities

from varlogd.logs import identity
from varlogd.logs.identity import FileIdentity

_trio_run: Any = trio._core._run

_text_of: Final = FileIdentity.__str__

_TRIO_NAMES: Final = ("_ALLOW_DETERMINISTIC_SCHEDULING", "_r", "GLOBAL_RUN_CONTEXT")

_TRAPS: Final[tuple[tuple[Any, str], ...]] = (
    (time, "time"),
    (time, "time_ns"),
    (time, "monotonic"),
    (time, "monotonic_ns"),
    (time, "perf_counter"),
    (time, "sleep"),
    (os, "urandom"),
    (uuid, "uuid1"),
    (uuid, "uuid4"),
    (secrets, "token_bytes"),
    (secrets, "token_hex"),
    (secrets, "token_urlsafe"),
    (secrets, "randbits"),
    (secrets, "randbelow"),
    (secrets, "choice"),
    (random, "random"),
    (random, "randrange"),
    (random, "randint"),
    (random, "uniform"),
    (random, "choice"),
    (random, "shuffle"),
    (random, "sample"),
    (random, "getrandbits"),
    (socket.socket, "__init__"),
    (threading.Thread, "start"),
    (trio.to_thread, "run_sync"),  # a cached idle thread is not started
)


class Escaped(AssertionError):
    """Code in a simulation reached for the real world."""


@contextmanager
def seeded(rng: random.Random, wall_s: Callable[[], float]) -> Iterator[None]:
    """Chance in trio's scheduler and in the websocket libraries comes from ``rng``, log times from ``wall_s``. Which
    inode a file got is chance as well, and is not told: files are found again by their text."""
    chance = SimpleNamespace(urandom=rng.randbytes)
    virtual = SimpleNamespace(**{**vars(time), "time": wall_s, "time_ns": lambda: round(wall_s() * 1e9)})
    state = _trio_run._r.getstate()
    _trio_run._r.seed(rng.getrandbits(64))
    with ExitStack() as stack:
        stack.callback(_trio_run._r.setstate, state)
        for owner, name, value in (
            (_trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True),
            (wsproto.frame_protocol, "os", chance),
            (wsproto.utilities, "os", chance),
            (trio_websocket._impl, "random", rng),
            (logging, "time", virtual),
            (identity, "secret_key", lambda: bytes(32)),
            (FileIdentity, "__str__", lambda known: _text_of(replace(known, device=0, inode=0))),
        ):
            stack.enter_context(replaced(owner, name, value))
        stack.enter_context(_own_garbage())
        yield


@contextmanager
def trapped() -> Iterator[None]:
    """Reaching for the real world raises `Escaped`. Enter it inside `trio.run`, which itself opens a socket."""
    with ExitStack() as stack:
        for owner, name in _TRAPS:
            stack.enter_context(replaced(owner, name, _trap(f"{owner.__name__}.{name}")))
        yield


class RunQueue(deque[trio.lowlevel.Task]):
    """trio's run queue, but for the tasks of frozen processes, which wait beside it."""

    def __init__(self, tasks: Iterable[trio.lowlevel.Task], frozen: Callable[[trio.lowlevel.Task], bool]) -> None:
        super().__init__(tasks)
        self._frozen = frozen
        self._waiting: list[trio.lowlevel.Task] = []

    def append(self, task: trio.lowlevel.Task) -> None:
        if self._frozen(task):
            self._waiting.append(task)
        else:
            super().append(task)

    def look_again(self) -> None:
        """Let the tasks run that are no longer frozen."""
        waiting, self._waiting = self._waiting, []
        for task in waiting:
            self.append(task)


def install_run_queue(frozen: Callable[[trio.lowlevel.Task], bool]) -> RunQueue:
    """Put a `RunQueue` in place of the run queue of the present `trio.run`."""
    runner = _trio_run.GLOBAL_RUN_CONTEXT.runner
    runner.runq = RunQueue(runner.runq, frozen)
    queue: RunQueue = runner.runq
    return queue


@contextmanager
def _own_garbage() -> Iterator[None]:
    """No collection at a moment that depends on how much was allocated before: finalizers may schedule tasks."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def replaced(owner: Any, name: str, value: object) -> Iterator[None]:
    """``value`` in place of an attribute, for a while."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _trap(what: str) -> Callable[..., object]:
    def escape(*_args: object, **_kwargs: object) -> object:
        raise Escaped(f"{what} in a simulation: the result would not be determined by the seed")

    return escape
