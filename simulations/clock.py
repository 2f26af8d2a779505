"""Virtual time.

trio asks its clock how long to sleep only when no task can run. That is the moment at which nothing more can
happen at the present instant: the clock then simply *is* at the next deadline, and trio need not sleep at
all. It is also the one moment at which the whole simulated world stands still between two instants, hence
the place to look at it, and to see that nothing will ever happen again (no deadline is left).

`trio.testing.MockClock` would do as much with several system calls a jump, and without these two hooks. The
price: `trio.testing.wait_all_tasks_blocked` never returns under this clock; nothing here may call it.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import trio

LOOKS_PER_INSTANT_MAX: Final = 500_000
"""Looks at the clock without any time passing, after which somebody must be turning in a circle: an instant
of a large mesh that heals takes some ten thousand."""


LAST_LOOKS: Final = 3
"""Times that trio may ask without a deadline before it is a deadlock: while it starts and ends it wakes itself
through a socket, which it sees after it has asked."""

T = TypeVar("T")


class Deadlock(RuntimeError):
    """No task can ever run again."""


class Livelock(RuntimeError):
    """Tasks keep each other running and time stands still."""


class VirtualClock(trio.abc.Clock):
    """Starts at 0. ``at_rest`` is called with the time at the end of every instant; ``give_up`` with a Deadlock or
    a Livelock, and must then cancel everything: trio does not survive an exception in its clock."""

    def __init__(self, at_rest: Callable[[float], None], give_up: Callable[[Deadlock | Livelock], None]) -> None:
        self._now = 0.0
        self._at_rest = at_rest
        self._give_up = give_up
        self._looks = 0
        self._last_looks = 0

    def start_clock(self) -> None:
        """Nothing to start."""

    def current_time(self) -> float:
        self._looks += 1
        if self._looks == LOOKS_PER_INSTANT_MAX:
            self._give_up(Livelock(f"time stands still at {self._now:.6f} s"))
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        self._at_rest(self._now)
        if math.isinf(deadline):
            self._last_looks += 1
            if self._last_looks == LAST_LOOKS:
                self._give_up(Deadlock(f"nothing can ever happen after {self._now:.6f} s"))
            return 0.0
        self._last_looks = 0
        if deadline > self._now:
            self._now, self._looks = deadline, 0
        return 0.0


def run_virtually(main: Callable[[], Awaitable[T]], at_rest: Callable[[float], None] = lambda _now: None) -> T:
    """`trio.run` on virtual time. Raises Deadlock or Livelock, and KeyboardInterrupt in no group."""
    troubles: list[Deadlock | Livelock] = []
    results: list[T] = []
    scope = trio.CancelScope()

    def give_up(trouble: Deadlock | Livelock) -> None:
        troubles.append(trouble)
        scope.cancel()

    async def guarded() -> None:
        with scope:
            results.append(await main())

    try:
        trio.run(guarded, clock=VirtualClock(at_rest, give_up))
    except BaseExceptionGroup as several:
        if several.subgroup(KeyboardInterrupt) is not None:
            raise KeyboardInterrupt from several  # as everywhere outside trio, it comes alone
        raise
    if troubles:
        raise troubles[0]
    return results[0]
