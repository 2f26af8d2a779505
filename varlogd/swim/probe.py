"""Finding out who does not answer: SWIM's failure detector (Das, Gupta, Motivala 2002, section 3.1).

Theory. Every interval a node probes the next member of a shuffled ring, so that each is probed once per round
and the load is the same whatever the size of the mesh. A probe has two stages: a *direct* ping, and if that
fails an *indirect* one through k other members, whose way to the target may be better than ours. A probe that
fails makes a suspicion, never a death.

A helper (see `relay`) that cannot reach the target either says so with a nack (Lifeguard). When all helpers
have nacked the probe has failed at once, and we know that at least our way to the helpers is sound; for every
nack that is missing the fault may be ours, and the local health score gets worse.

The direct stage lasts as long as nearly every answer of that member has taken lately (the 99th percentile of its
round trips, see `timing`), within bounds; the helpers have the rest of the interval, and are told how long that is.
So a bad way is gone around early, and a slow target still has the whole interval. Both stages are multiplied by the
local health. Where nobody can help the direct stage is the only one, and lasts for the whole probe time-out.

Hints from the shell (a link broke, a dial was refused) move a probe forward: to now, or to its second stage.
They never decide one, so a flapping link costs messages and not lives. A link that breaks because the process
behind it died makes its neighbours probe at once (in a large mesh some of them, drawn), and each refused dial makes
a helper look for itself: enough of them reach their own verdict within milliseconds, and their agreement shortens the
suspicion to Min.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Final

from varlogd.config import MembershipConfig
from varlogd.swim.effects import Effects
from varlogd.swim.health import LocalHealth
from varlogd.swim.isolation import Isolation
from varlogd.swim.state import State
from varlogd.swim.timing import MICROSECONDS, Timings
from varlogd.swim.view import View
from varlogd.wire.gossip import Ack, Claim, Ping, PingReq
from varlogd.wire.limits import MEMBERS_MAX

DIRECT_MIN_S: Final = 0.1
"""The least time for the direct stage, whatever was measured: pauses of a Python process are a part of this, and on a
LAN, where answers take 1 ms, they are all of it. It is not spent twice: the helpers' time grows by what it saves."""

LOOKERS_PER_CONFIRMATION: Final = 2
"""Of those who hear of a suspicion so many look for themselves, on average, for each confirmation that counts. If
they are too few (less than three of six: 6 % of cases) the probes in turn do the rest."""

SOUNDINGS: Final = 3
"""Members probed out of turn for a witness: one answer is enough, and half of the mesh may be gone."""

HELPERS_FOR_REFUSED: Final = 1
"""Helpers asked about one whose host refused the dial: it is gone, or a firewall refuses us and not the others, and
one of these can tell. All that had a link with a killed process ask at the same moment."""

MILLISECONDS: Final = 1000
"""In a second."""

Piggyback = Callable[[str], tuple[Claim, ...]]
"""The claims to put on a message to an address."""


class Ring:
    """The order of probing: a fresh shuffle of the live members each round, newcomers put in at random places."""

    def __init__(self, view: View, rng: random.Random) -> None:
        self._view = view
        self._rng = rng
        self._round: list[str] = []  # those still to come, the next one last

    def add(self, name: str) -> None:
        """A newcomer: at a random place in this round, so that one that never lived is found within a round."""
        self._round.insert(self._rng.randint(0, len(self._round)), name)

    def remove(self, name: str) -> None:
        """One that is gone: should it be back within the round, it has a new place, and no more than that one."""
        if name in self._round:
            self._round.remove(name)

    def next(self, skip: Callable[[str], bool]) -> str | None:
        """The next live member for which ``skip`` is false; None if a whole round has none."""
        for _ in range(2):  # what is left of this round, and a whole new one
            while self._round:
                name = self._round.pop()
                if not skip(name):
                    return name
            self._round = list(self._view.live)
            self._rng.shuffle(self._round)
        return None


class _Probe:
    """One probe in flight. ``target`` is what we held of the member at its start; a failure accuses that."""

    __slots__ = (
        "alarm",
        "alone_until",
        "asked",
        "deadline",
        "indirect",
        "sent_at",
        "seq",
        "target",
        "unreachable",
        "waiting",
    )

    def __init__(self, seq: int, target: Claim, sent_at: float, alone_until: float, deadline: float) -> None:
        self.seq = seq
        self.target = target
        self.sent_at = sent_at
        self.alone_until = alone_until  # how long it is waited for where nobody can help
        self.deadline = deadline
        self.alarm = 0
        self.unreachable = False
        self.indirect = False
        self.asked: tuple[str, ...] = ()  # addresses of the helpers; one that nacked may still relay a late ack
        self.waiting: set[str] = set()  # those that have not nacked


class Prober:
    """All probes of this node.

    ``accuse`` is told what a failed one was about, and when it was sent, ``isolation`` when an answered one was;
    ``digest`` is what goes with a ping to one that is well, to compare views.
    """

    def __init__(
        self,
        config: MembershipConfig,
        effects: Effects,
        view: View,
        health: LocalHealth,
        timings: Timings,
        piggyback: Piggyback,
        accuse: Callable[[Claim, float], None],
        isolation: Isolation,
        digest: Callable[[], bytes],
    ) -> None:
        self._config = config
        self._effects = effects
        self._view = view
        self._health = health
        self._timings = timings
        self._piggyback = piggyback
        self._accuse = accuse
        self._isolation = isolation
        self._digest = digest
        self._sounded_at = -math.inf
        self.ring = Ring(view, effects.rng)
        # Numbers start anywhere, so that an answer to an earlier life of this node is not taken for one to this.
        self._seqs = count(effects.rng.getrandbits(48))
        self._by_seq: dict[int, _Probe] = {}
        self._by_name: dict[str, _Probe] = {}
        self._hint_allowed_at: dict[str, float] = {}

    def start(self) -> None:
        """Probe from now on, one member an interval, at a random phase."""
        self._effects.every(self.interval_s, "probe", self._probe_next)

    def interval_s(self) -> float:
        """The probe interval, lengthened by bad local health."""
        return self._config.probe_interval_s * self._slowness

    @property
    def _slowness(self) -> int:
        """By what intervals and time-outs are multiplied. Who is cut off condemns nobody: it need not be slow to
        accuse, and should be quick to find out when somebody is there again."""
        return 1 if self._isolation.cut_off else self._health.multiplier

    def next_seq(self) -> int:
        """A number no other ping of this node has."""
        return next(self._seqs)

    def hint(self, name: str) -> None:
        """There is reason to think that this member is gone: probe it now, out of turn.

        Twice within a probe time-out is once too often: the second waits, lest a flapping link makes a storm.
        """
        if name in self._by_name or not self._view.is_live(name):
            return
        now = self._effects.now
        allowed_at = self._hint_allowed_at.get(name, now)
        if allowed_at > now + self._config.probe_timeout_s:
            return  # one is waiting already
        self._hint_allowed_at[name] = max(now, allowed_at) + self._config.probe_timeout_s
        if allowed_at <= now:
            self._probe(name)
        else:
            self._effects.alarm(allowed_at, "hint", partial(self._probe, name))

    def look_too(self, name: str, among: int = MEMBERS_MAX) -> None:
        """Something is up with this member, and all of us know, or so many: some see for themselves, drawn so that
        enough can confirm it.

        Else the confirmations would come in only as each prober's turn comes, about one an interval.
        """
        wanted = LOOKERS_PER_CONFIRMATION * self._config.suspicion_confirmations
        if self._effects.rng.random() * min(self._view.count, among) < wanted:
            self.hint(name)

    def sound(self) -> bool:
        """Probe a few members out of turn, to find out whether this node is heard and hears; not too often."""
        now = self._effects.now
        if now < self._sounded_at + self._config.probe_timeout_s:
            return False
        self._sounded_at = now
        live = self._view.live
        for name in self._effects.rng.sample(live, min(SOUNDINGS, len(live))):
            self._probe(name)
        return True

    def on_ack(self, src: str, ack: Ack) -> None:
        """An answer, from the target or through a helper. One that was slow, but direct, is measured all the same."""
        probe = self._by_seq.get(ack.seq)
        if probe is None:
            return
        direct = src == probe.target.address
        if direct or src in probe.asked:
            self._end(probe)
            self._health.better()
            self._isolation.answer(probe.sent_at)
        if direct:
            wall_s = ack.wall_us / MICROSECONDS if ack.wall_us else None
            self._timings.add(probe.target.name, probe.sent_at, self._effects.now, wall_s, ack.slowness)

    def on_nack(self, seq: int, src: str) -> None:
        """A helper could not reach the target either."""
        probe = self._by_seq.get(seq)
        if probe is not None and src in probe.waiting:
            self._lose_helper(probe, src)

    def on_unreachable(self, address: str, refused: bool) -> None:
        """A dial failed, or was ``refused``: direct probes go to their second stage, helpers there are lost."""
        for probe in list(self._by_seq.values()):
            if address in probe.waiting:
                self._lose_helper(probe, address)
            elif probe.target.address == address and not probe.indirect:
                probe.unreachable = True
                self._ask_helpers(probe, HELPERS_FOR_REFUSED if refused else math.inf)

    def abandon(self) -> None:
        """This process slept: what was in flight proves nothing."""
        for probe in list(self._by_seq.values()):
            self._end(probe)

    def forget(self, name: str) -> None:
        """The member takes part no more: a probe of it is of no use."""
        self.ring.remove(name)
        self._hint_allowed_at.pop(name, None)
        probe = self._by_name.get(name)
        if probe is not None:
            self._end(probe)

    def _probe_next(self) -> None:
        name = self.ring.next(skip=self._by_name.__contains__)
        if name is not None:
            self._probe(name)

    def _probe(self, name: str) -> None:
        target = self._view.claim(name)
        if target is None or name in self._by_name or not self._view.is_live(name):
            return
        now = self._effects.now
        multiplier, timeout_s = self._slowness, self._config.probe_timeout_s
        probe = _Probe(self.next_seq(), target, now, now + timeout_s * multiplier, now + self.interval_s())
        self._by_seq[probe.seq] = self._by_name[name] = probe
        direct_s = min(timeout_s, max(DIRECT_MIN_S, self._timings.rtt_p99_s(name))) * multiplier
        probe.alarm = self._effects.alarm(now + direct_s, "ping", partial(self._ask_helpers, probe))
        digest = self._digest() if target.state == State.ALIVE else b""
        self._effects.send(target.address, Ping(probe.seq, name, self._piggyback(target.address), digest))

    def _ask_helpers(self, probe: _Probe, most: float = math.inf) -> None:
        """The direct stage failed: ask as many as configured, or at ``most`` so many."""
        self._effects.disarm(probe.alarm)
        helpers = self._choose_helpers(probe.target, most)
        if not helpers:
            self._wait_alone(probe)
            return
        probe.indirect = True
        probe.asked = helpers
        probe.waiting = set(helpers)
        probe.alarm = self._effects.alarm(probe.deadline, "ping-req", partial(self._fail, probe))
        name, address = probe.target.name, probe.target.address
        wait_ms = max(1, round((probe.deadline - self._effects.now) * MILLISECONDS))
        for helper in helpers:
            self._effects.send(helper, PingReq(probe.seq, name, address, self._piggyback(helper), wait_ms))

    def _wait_alone(self, probe: _Probe) -> None:
        """Nobody can help: the direct stage is all there is, and lasts longer, unless nobody is there to answer."""
        if probe.unreachable or self._effects.now >= probe.alone_until:
            self._fail(probe)
        else:
            probe.alarm = self._effects.alarm(probe.alone_until, "ping", partial(self._fail, probe))

    def _choose_helpers(self, target: Claim, most: float) -> tuple[str, ...]:
        others = [self._view.members[name] for name in self._view.live if name != target.name]
        able = [other.address for other in others if other.state is State.ALIVE and other.address != target.address]
        return tuple(self._effects.rng.sample(able, int(min(self._config.indirect_probes, most, len(able)))))

    def _lose_helper(self, probe: _Probe, helper: str) -> None:
        probe.waiting.remove(helper)
        if not probe.waiting:
            self._fail(probe)

    def _fail(self, probe: _Probe) -> None:
        self._end(probe)
        if probe.asked:
            self._health.worse(len(probe.waiting))
        elif not probe.unreachable:
            self._health.worse()
        self._accuse(probe.target, probe.sent_at)

    def _end(self, probe: _Probe) -> None:
        self._effects.disarm(probe.alarm)
        del self._by_seq[probe.seq]
        del self._by_name[probe.target.name]
