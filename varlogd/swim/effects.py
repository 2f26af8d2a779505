"""What the parts of the core share: the present moment, chance, and the list of directives being written.

One entry into the core (a message, a timer, a hint) is: `enter` with its `now`, let the parts act, `drain`.

Alarms. A part asks to be called back and gets a token; the shell gets a `Timer` with that token. A token
works once, and dropping it is all that cancelling takes, so no part ever has to ask whether a timer is stale.

Sleep. The shell promises to bring timers in time. If one is overdue by more than a bound when anything at all
is brought in, then this process did not run in between (stopped, swapped out, starved): silence it "heard"
meanwhile proves nothing about others. `enter` says so, whatever the order in which the backlog comes in.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Final

from varlogd.swim.directives import Directive, Event, Notify, Send, StartTimer, Timer
from varlogd.wire.gossip import GossipMessage

Act = Callable[[], None]

RARELY_S: Final = 60.0
"""A condition that lasts is told once a minute: often enough to be seen in a log, too seldom to fill it."""


class Effects:
    """``lag_max_s`` is how overdue a timer may be before this process counts as having slept."""

    def __init__(self, rng: random.Random, now: float, lag_max_s: float) -> None:
        self.rng = rng
        self.now = now
        self._lag_max_s = lag_max_s
        self._directives: list[Directive] = []
        self._acts: dict[int, Act] = {}
        self._tokens = count(1)
        self._told_at: dict[type[Event], float] = {}
        self._due: list[float] = []  # a heap of the times at which the shell owes us a call

    def enter(self, now: float) -> bool:
        """Move on to ``now`` (never back); True if this process has slept."""
        if now > self.now:
            self.now = now
        due = self._due
        if not due or due[0] > self.now:
            return False
        slept = due[0] < self.now - self._lag_max_s
        while due and due[0] <= self.now:
            heapq.heappop(due)
        return slept

    def drain(self) -> list[Directive]:
        """What has been asked for since the last time, in order."""
        directives, self._directives = self._directives, []
        return directives

    def send(self, to: str, message: GossipMessage) -> None:
        """Ask for a message to be sent; a peer that told no address has none to be sent to."""
        if to:
            self._directives.append(Send(to, message))

    def notify(self, event: Event) -> None:
        self._directives.append(Notify(event))

    def notify_rarely(self, event: Event) -> None:
        """Tell of something that lasts: at most one event of a kind in `RARELY_S`."""
        told_at = self._told_at.get(type(event))
        if told_at is None or self.now >= told_at + RARELY_S:
            self._told_at[type(event)] = self.now
            self.notify(event)

    def alarm(self, at: float, what: str, act: Act) -> int:
        """Have ``act`` called at ``at`` or later. Returns a token for `disarm`."""
        token = next(self._tokens)
        self._acts[token] = act
        heapq.heappush(self._due, at)
        self._directives.append(StartTimer(at, Timer(what, token)))
        return token

    def disarm(self, token: int) -> None:
        """Forget an alarm; one that has rung or been disarmed before is no error."""
        self._acts.pop(token, None)

    def ring(self, timer: Timer) -> None:
        """A timer came back from the shell: act on it, once."""
        act = self._acts.pop(timer.token, None)
        if act is not None:
            act()

    def every(self, interval: Callable[[], float], what: str, act: Act) -> None:
        """Call ``act`` again and again, ``interval()`` seconds after each other, the first after a part of one.

        The random first phase keeps nodes that start together from acting together ever after.
        """
        self.alarm(self.now + interval() * self.rng.random(), what, partial(self._again, interval, what, act))

    def _again(self, interval: Callable[[], float], what: str, act: Act) -> None:
        self.alarm(self.now + interval(), what, partial(self._again, interval, what, act))
        act()

    def jittered(self, interval_s: float) -> float:
        """``interval_s``, give or take a tenth: periodic work of many nodes drifts apart."""
        return interval_s * self.rng.uniform(0.9, 1.1)
