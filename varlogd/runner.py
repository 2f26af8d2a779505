"""Where blocking work is done (files, scans): in threads of low priority, one bounded step at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final, Protocol, TypeVar, cast

import trio

from varlogd.errors import Refused
from varlogd.low_threads import Job, LowThreads, Unwanted

log = logging.getLogger(__name__)

T = TypeVar("T")

ABANDON_S: Final = 1.0
"""How long a step may go on that nobody wants any more. One that works notices within a chunk, in milliseconds; a
slow disk takes some tenths of a second for one."""

ABANDONED_MAX: Final = 8
"""Steps left behind at once. Each holds a thread, and the files of its question."""


class Runner(Protocol):
    """Where work that blocks is done: files, decompression, scanning."""

    def check(self) -> None:
        """Called by the work now and then, at least once a chunk; raises when nobody wants it any more."""
        ...

    async def run(self, step: Callable[[], T], closing: ExitStack | None = None) -> T:
        """The result of one bounded step of work.

        ``closing``: what the step uses. If the step hangs and is left behind, the runner takes it, and closes it when
        the step has ended after all. Raises Refused when nothing more can be begun.
        """
        ...


class ThreadRunner:
    """Steps in threads of its own, at most ``steps_max`` at once; the rest wait in the order they came, so that the
    steps of several questions take turns.

    **Priority.** Its threads are of low priority, for CPU and for disks, and so are the programs that they start: on
    a host whose main work is another, logs wait. A thread cannot take that back, so they are used for nothing else.

    **Steps that hang** (a disk that is gone, a dead NFS server) cannot be ended. One that nobody wants any more is
    left behind after `ABANDON_S`; what asked for it goes on without. Its place is free for others, and as they may
    hang just so, no more steps are begun once `ABANDONED_MAX` are left behind, until one of them has ended.
    """

    def __init__(self, steps_max: int, abandon_s: float = ABANDON_S) -> None:
        self._limiter = trio.CapacityLimiter(steps_max)
        self._threads = LowThreads()
        self._abandon_s = abandon_s
        self._current = threading.local()
        self.abandoned = 0

    def check(self) -> None:
        job: Job | None = getattr(self._current, "job", None)
        if job is not None and job.is_unwanted:
            raise Unwanted

    async def run(self, step: Callable[[], T], closing: ExitStack | None = None) -> T:
        async with self._limiter:
            if self.abandoned >= ABANDONED_MAX:
                raise Refused(f"busy: {self.abandoned} reads of this host's logs hang, and no more are begun")
            job = Job(self._step(step), trio.lowlevel.current_trio_token())
            self._threads.start(job)
            try:
                await job.done.wait()
            except trio.Cancelled:
                if not await self._has_ended(job, closing) or job.failed_with(Unwanted):
                    raise
        return cast("T", job.result())

    def _step(self, step: Callable[[], T]) -> Callable[[Job], T]:
        def run(job: Job) -> T:
            self._current.job = job
            try:
                return step()
            finally:
                self._current.job = None

        return run

    async def _has_ended(self, job: Job, closing: ExitStack | None) -> bool:
        """Have a step that nobody wants end; else leave it behind."""
        job.is_unwanted = True
        with trio.move_on_after(self._abandon_s, shield=True):
            await job.done.wait()
        if job.done.is_set():
            return True
        self.abandoned += 1
        log.warning("a read hangs: its thread is left behind", extra={"fields": {"left_behind": self.abandoned}})
        used = ExitStack() if closing is None else closing.pop_all()
        trio.lowlevel.spawn_system_task(self._bury, job, used, closing)
        return False

    async def _bury(self, job: Job, used: ExitStack, closing: ExitStack | None) -> None:
        """Close what a step that was left behind has used, when it has ended: also what it has opened since."""
        await job.done.wait()
        self.abandoned -= 1
        for stack in (used, closing):
            if stack is not None:
                stack.close()
