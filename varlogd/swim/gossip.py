"""Sending news on: what rides on a message, to whom news goes by itself, and how often.

Theory. While there is news, every interval some members drawn at random are told of it (Demers et al. 1987, "rumor
mongering"), so that it reaches all n in some log(n) intervals. What is said of members rides on probes as well (SWIM,
section 4.1). A member that is held suspect is told so before all else, that it can refute at once (Lifeguard, "buddy
system").

A dial costs more than a message, and in a mesh of more members than a node keeps links with, most of those drawn
would have to be dialled. So of some that are drawn those with a link come first, but for one: the graph of links
might have islands, and the one that is wholly random is a bridge.

In a storm, when something new happens all the time, a node that always has something to say would send its fan-out
every interval, whatever that holds. So intervals with news are rationed like the tokens of a bucket: `BURST_TICKS`
may follow each other, and after that there is one in `STORM_INTERVALS`. The messages are then fewer and fuller.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from varlogd.config import MembershipConfig
from varlogd.swim.dissemination import Dissemination, fan_out
from varlogd.swim.effects import Effects
from varlogd.swim.state import State
from varlogd.swim.suspicion import Suspicions
from varlogd.swim.view import View
from varlogd.wire.gossip import Claim, Gossip

BURST_TICKS: Final = 6
"""Intervals with news that may follow each other: a piece of news is spent in three or four, and a start or a split
that heals brings more than one. (With 10 a mesh of 300 starts 0.2 s sooner, and storms are a fifth louder.)"""

STORM_INTERVALS: Final = 8
"""In a storm news goes out once in so many intervals: with the defaults that is 4 messages a second, or 5 while there
is a suspect to be told. (With 6, twelve nodes that restart and split at once sent 20.1 messages each and second.)"""

CANDIDATES: Final = 8
"""Members drawn for each that is told: where one in eight has a link most of those told have."""


class Gossiper:
    """Spreads ``news``. ``suspicions`` gives those of this node, which are made after this."""

    def __init__(
        self,
        config: MembershipConfig,
        effects: Effects,
        view: View,
        news: Dissemination,
        suspicions: Callable[[], Suspicions],
    ) -> None:
        self._config = config
        self._effects = effects
        self._view = view
        self._news = news
        self._suspicions = suspicions
        self.connected: Callable[[str], bool] | None = None
        """Whether there is a link with an address; None where nobody knows."""
        self._is_armed = False
        self._ticks = BURST_TICKS / 2  # that may be spent; a newcomer has little to tell but itself
        self._counted_at = effects.now

    def piggyback(self, to: str) -> tuple[Claim, ...]:
        """The claims for a message to this address.

        What one that is suspect or gone is told beside that does not count as sent: it may well be deaf, and the news
        would be spent on it.
        """
        there = self._view.at(to)
        if there is None or there.state == State.ALIVE:
            return tuple(self._news.take(self._view.count)) if self._news else ()
        return (there, *(claim for claim in self._news.peek() if claim is not there))

    def arm(self) -> None:
        """See to it that news goes out soon, if there is any and somebody to tell."""
        if self._is_armed or not self._news or len(self._view.live) <= len(self._suspicions()):
            return
        self._is_armed = True
        wait_s = self._effects.jittered(self._config.gossip_interval_s)
        self._effects.alarm(self._effects.now + max(wait_s, self._until_allowed_s()), "gossip", self._tick)

    def spread(self) -> None:
        """Send news now."""
        for name in self._audience():
            if not self._news:
                return
            address = self._view.members[name].address
            self._effects.send(address, Gossip(self.piggyback(address)))

    def _tick(self) -> None:
        self._is_armed = False
        self._until_allowed_s()
        self._ticks -= 1
        self.spread()

    def _until_allowed_s(self) -> float:
        """Count what may be spent by now; how long it takes until that is a whole tick."""
        tick_s = STORM_INTERVALS * self._config.gossip_interval_s
        now = self._effects.now
        self._ticks = min(BURST_TICKS, self._ticks + (now - self._counted_at) / tick_s)
        self._counted_at = now
        return max(0.0, 1 - self._ticks) * tick_s

    def _audience(self) -> list[str]:
        """Some members at random, and one suspect: it is the one with the most urgent reason to hear news."""
        rng, suspects = self._effects.rng, self._suspicions()
        alive = self._view.live
        if suspects:
            names = suspects.names()
            alive = [name for name in alive if name not in names]
        chosen = self._draw(alive, fan_out(self._config.gossip_fanout, self._view.count))
        return [*chosen, rng.choice(list(suspects))] if suspects else chosen

    def _draw(self, alive: list[str], most: int) -> list[str]:
        """So many of these, or all: one at random, and the others rather from those with a link."""
        rng, connected, members = self._effects.rng, self.connected, self._view.members
        if connected is None:
            return rng.sample(alive, min(most, len(alive)))
        drawn = rng.sample(alive, min(CANDIDATES * most, len(alive)))
        return drawn[:1] + sorted(drawn[1:], key=lambda name: not connected(members[name].address))[: most - 1]
