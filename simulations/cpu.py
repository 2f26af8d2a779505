"""The processor of a node that is slow: what its process receives costs time, one message after another.

While it works one off, the process does nothing else: neither its timers nor its other links are looked at. What
piles up meanwhile is paid for as well, when it is read. (A backlog that is drained in no time would bring all
refutations at once, and hide the very effect that Lifeguard is about.)
"""

from __future__ import annotations

from contextvars import Context

import trio

from simulations.determinism import RunQueue


class Cpu:
    """That of one process. ``busy``: its tasks must not run now."""

    def __init__(self, queue: RunQueue, nursery: trio.Nursery, service_s: float) -> None:
        """``service_s``: for each segment received, 0 for a node that is not slow; ``nursery``: not the process's."""
        self.service_s = service_s
        self.busy = False
        self._queue = queue
        self._nursery = nursery
        self._busy_until = 0.0

    def charge(self, segments: int) -> bool:
        """So many segments have been read; says whether that takes time."""
        if not self.service_s:
            return False
        self._busy_until = max(trio.current_time(), self._busy_until) + segments * self.service_s
        if not self.busy:
            self.busy = True
            Context().run(self._nursery.start_soon, self._work_off)  # in the reader's context it would wait itself
        return True

    def rest(self) -> None:
        """Whatever it was busy with is done, or done with."""
        self._busy_until = 0.0
        self.busy = False
        self._queue.look_again()

    async def _work_off(self) -> None:
        await trio.sleep_until(self._busy_until)
        await trio.sleep_until(self._busy_until)  # tasks that were about to run then have read as well
        if self.busy:
            self.rest()
