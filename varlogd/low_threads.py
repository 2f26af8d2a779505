"""Threads of low priority: for work that must not slow down what this host is for.

A thread can lower its priority and never raise it again without privilege. trio lends its threads to whoever comes
next, also to look up names; so these are threads of our own, which do nothing else.
"""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import queue
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import trio

from varlogd.errors import Refused

log = logging.getLogger(__name__)

NICE: Final = 10
"""Half of what there is: a busy thread of the usual priority gets nine times as much of a core."""

IDLE_S: Final = 10.0
"""How long a thread waits for work before it ends."""

_IOPRIO_SET: Final = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "i686": 289, "armv7l": 314, "s390x": 282}
"""The number of the system call, which the C library has no function for."""

_THIS_THREAD: Final = (1, 0)  # IOPRIO_WHO_PROCESS, and of those the caller
_BEST_EFFORT_LAST: Final = 2 << 13 | 7
"""The last of those that are served at all on a busy disk: idle ones may wait for ever."""


class Unwanted(BaseException):
    """Raised in work that nobody wants any more: no error, and not to be caught by what catches errors."""


class Job:
    """A piece of work, and what becomes of it. ``done`` is set in trio's thread; only then there is a result."""

    def __init__(self, work: Callable[[Job], object], token: trio.lowlevel.TrioToken) -> None:
        self.done = trio.Event()
        self.is_unwanted = False
        self._work = work
        self._token = token
        self._result: object = None
        self._error: BaseException | None = None

    def run(self) -> None:
        """Do it, in whichever thread."""
        try:
            self._result = self._work(self)
        except BaseException as error:  # for who waits for it: `result` raises it
            self._error = error

    def announce(self) -> None:
        """Say that it has ended, to who waits for it."""
        with suppress(trio.RunFinishedError):  # nobody waits any more
            self._token.run_sync_soon(self.done.set)

    def failed_with(self, kind: type[BaseException]) -> bool:
        """Whether it has ended with such an exception."""
        return isinstance(self._error, kind)

    def result(self) -> object:
        """What it returned. Raises what it raised."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return self._result


class LowThreads:
    """As many threads as there is work at once. They do not keep the process alive."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0  # threads that wait and for which no job is on its way

    def start(self, job: Job) -> None:
        """Have a thread do it at once. Raises Refused where the system starts no more threads."""
        with self._lock:
            is_new = self._idle == 0
            self._idle -= not is_new
        if is_new:
            try:
                threading.Thread(target=self._work, name="varlogd scan", daemon=True).start()
            except RuntimeError as error:
                raise Refused(f"busy: this host starts no more threads ({error})") from error
        self._jobs.put(job)

    def _work(self) -> None:
        lower_priority()
        while (job := self._next()) is not None:
            job.run()
            with self._lock:
                self._idle += 1  # before who waits can come with the next
            job.announce()

    def _next(self) -> Job | None:
        try:
            return self._jobs.get(timeout=IDLE_S)
        except queue.Empty:
            with self._lock:
                if self._idle:
                    self._idle -= 1
                    return None
            return self._jobs.get()  # one is on its way: nobody else waits for it


def lower_priority() -> None:
    """Put this thread behind all others, on the CPU and on disks, as far as the system can."""
    if sys.platform != "linux":
        return
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
    except OSError as error:
        log.debug("the priority of scans cannot be lowered", extra={"fields": {"why": str(error)}})
    number = _IOPRIO_SET.get(platform.machine())
    if number is not None:
        libc: Any = ctypes.CDLL(None, use_errno=True)
        if libc.syscall(number, *_THIS_THREAD, _BEST_EFFORT_LAST):
            why = os.strerror(ctypes.get_errno())
            log.debug("the priority of reads cannot be lowered", extra={"fields": {"why": why}})
