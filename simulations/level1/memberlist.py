"""The one to beat: SWIM by the rules of HashiCorp's memberlist, as far as its papers and documentation tell them.

It has the face of `varlogd.swim.core.Swim` and speaks the same messages, so the same world can run either. From
the SWIM and Lifeguard papers (arXiv 1707.00788) and memberlist's documented LAN configuration:

* a probe each second: ping, after 500 ms three helpers, at the end of the interval a suspicion;
* suspicion: Min = mult * max(1, log10 n) * interval, shortened from Max = 6 * Min by mult - 2 confirmations;
* dissemination: 200 ms, to 3 members, 4 * ceil(log10(n + 1)) times, in packets of 1400 bytes, and on probes;
* push-pull of the whole state with a random live member every 30 s, rarer in a large mesh; the dead in it count
  as suspects;
* the dead are gossiped to for 30 s more, and then forgotten: nobody calls them.

Lifeguard's three parts can be switched off one by one, down to plain SWIM.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count
from types import MappingProxyType
from typing import Final

from simulations.level1.memberlist_rules import Broadcasts, Rules, Suspicion
from simulations.level1.node import Arm, Birth, claims_of
from varlogd.swim.directives import Directive, MemberChanged, Notify, Refuted, Send, StartTimer, Timer
from varlogd.swim.state import STATES, Member, State, restate
from varlogd.wire.gossip import Ack, Claim, Gossip, GossipMessage, Nack, Ping, PingReq, PushPull

HEALTH_MAX: Final = 8
NACK_AFTER: Final = 0.8
PUSH_PULL_SCALE_NODES: Final = 32
"""Beyond so many nodes the pause between push-pulls grows with log2 of their number."""


def arm(rules: Rules | None = None) -> Arm:
    """A membership by these rules."""
    return partial(Memberlist, rules or Rules())


@dataclass(slots=True, eq=False)
class _Probe:
    target: Claim
    asked: int = 0
    nacks: int = 0


class Memberlist:
    """One node. All methods as `varlogd.swim.core.Swim`'s."""

    def __init__(self, rules: Rules, birth: Birth) -> None:
        self._rules = rules
        self._rng = birth.rng
        self._now = birth.now
        self._name = birth.name
        self._seeds = [seed for seed in birth.seeds if seed != birth.address]
        self._out: list[Directive] = []
        self._acts: dict[int, Callable[[], None]] = {}
        self._tokens = count(1)
        self._seqs = count(birth.rng.getrandbits(32))
        self._queue = Broadcasts()
        self._health = 0
        self._left = False
        self._claims: dict[str, Claim] = {}
        self._members: dict[str, Member] = {}
        self._order: list[str] = []  # the probe ring, and what is drawn from
        self._next = 0
        self._live = 0
        self._probes: dict[int, _Probe] = {}
        self._relays: dict[int, tuple[str, int]] = {}
        self._suspicions: dict[str, Suspicion] = {}
        self._put(Claim(birth.name, 0, 1, State.ALIVE, birth.address))

    @property
    def cut_off(self) -> bool:
        return False  # it never says so

    @property
    def members(self) -> Mapping[str, Member]:
        return MappingProxyType(self._members)

    @property
    def me(self) -> Member:
        return self._members[self._name]

    def start(self, now: float) -> list[Directive]:
        return self._run(now, self._begin)

    def on_message(self, now: float, src: str, message: GossipMessage) -> list[Directive]:
        return self._run(now, partial(self._receive, src, message))

    def on_timer(self, now: float, timer: Timer) -> list[Directive]:
        return self._run(now, self._acts.pop(timer.token, _nothing))

    def on_link_lost(self, now: float, address: str) -> list[Directive]:
        return []  # probes go as datagrams: there is no link

    def on_unreachable(self, now: float, address: str, *, refused: bool) -> list[Directive]:
        return []

    def on_self_dialled(self, now: float, address: str) -> list[Directive]:
        return []

    def leave(self, now: float) -> list[Directive]:
        return self._run(now, self._say_goodbye)

    def _run(self, now: float, act: Callable[[], None]) -> list[Directive]:
        if self._left:
            return []
        self._now = now
        act()
        out, self._out = self._out, []
        return out

    def _begin(self) -> None:
        rules, rng = self._rules, self._rng
        self._queue.put(self._mine)
        self._alarm(rules.probe_interval_s * rng.random(), "probe", self._probe_next)
        self._alarm(rules.gossip_interval_s * rng.random(), "gossip", self._gossip)
        self._alarm(rules.push_pull_interval_s * rng.random(), "push-pull", self._push_pull)
        if self._seeds and self._live == 1:
            self._join()

    def _join(self) -> None:
        if self._live > 1:
            return
        for seed in self._seeds:
            self._send(seed, PushPull(False, tuple(self._claims.values())))
        self._alarm(self._rules.join_retry_s, "join", self._join)

    def _say_goodbye(self) -> None:
        claim = restate(self._mine, State.LEFT, self._name)
        self._put(claim)
        self._queue.put(claim)
        for _ in range(self._rules.retransmit_mult):  # it stays until its goodbye has been sent some times
            self._gossip_once()
        self._left = True

    # Probing

    def _probe_next(self) -> None:
        interval_s = self._rules.probe_interval_s
        target = self._next_target()
        if target is None:
            self._alarm(interval_s, "probe", self._probe_next)
            return
        scale = self._health + 1 if self._rules.lha_probe else 1
        seq = next(self._seqs)
        self._probes[seq] = _Probe(target)
        self._alarm(self._rules.probe_timeout_s * scale, "ping", partial(self._ask_helpers, seq))
        self._alarm(interval_s * scale, "probe", partial(self._end_probe, seq))
        claims = self._piggyback()
        if target.state == State.SUSPECT and self._rules.buddy:
            claims = (target, *(claim for claim in claims if claim.name != target.name))
        self._send(target.address, Ping(seq, target.name, claims))

    def _next_target(self) -> Claim | None:
        for _ in range(len(self._order) + 1):
            if self._next >= len(self._order):
                self._reset_ring()
            claim = self._claims[self._order[self._next]]
            self._next += 1
            if claim.name != self._name and claim.state <= State.SUSPECT:
                return claim
        return None

    def _reset_ring(self) -> None:
        """At the end of a round the order is drawn anew, and who has been dead for long is forgotten."""
        before = self._now - self._rules.gossip_to_the_dead_s
        for name in [name for name, held in self._members.items() if not held.live and held.since < before]:
            if name != self._name:
                del self._members[name], self._claims[name]
        self._order = list(self._claims)
        self._rng.shuffle(self._order)
        self._next = 0

    def _ask_helpers(self, seq: int) -> None:
        probe = self._probes.get(seq)
        if probe is None:
            return
        target = probe.target
        for helper in self._some(self._rules.indirect_checks, {target.name}, State.ALIVE):
            probe.asked += 1
            self._send(helper.address, PingReq(seq, target.name, target.address, self._piggyback()))

    def _end_probe(self, seq: int) -> None:
        """The interval is over; whoever has not answered by now is suspected."""
        probe = self._probes.pop(seq, None)
        if probe is not None:
            missed = probe.asked - probe.nacks if probe.asked else 1
            self._health = min(HEALTH_MAX, self._health + missed)
            self._suspect(restate(probe.target, State.SUSPECT, self._name))
        self._probe_next()

    def _on_ack(self, seq: int) -> None:
        if self._probes.pop(seq, None) is not None:
            # The timer that ends the probe stays: it starts the next one.
            self._health = max(0, self._health - 1)
        elif seq in self._relays:
            asker, asker_seq = self._relays.pop(seq)
            self._send(asker, Ack(asker_seq, self._piggyback()))

    def _on_ping_req(self, src: str, request: PingReq) -> None:
        seq = next(self._seqs)
        self._relays[seq] = (src, request.seq)
        if self._rules.lha_probe:
            self._alarm(NACK_AFTER * self._rules.probe_timeout_s, "nack", partial(self._nack, seq))
        self._alarm(self._rules.probe_interval_s, "relay", partial(self._end_relay, seq))
        self._send(request.address, Ping(seq, request.target, self._piggyback()))

    def _nack(self, seq: int) -> None:
        if seq in self._relays:
            asker, asker_seq = self._relays[seq]
            self._send(asker, Nack(asker_seq))

    def _end_relay(self, seq: int) -> None:
        self._relays.pop(seq, None)

    # Messages

    def _receive(self, src: str, message: GossipMessage) -> None:
        whole = isinstance(message, PushPull)
        for claim in claims_of(message):
            self._hear(claim, whole=whole)
        match message:
            case Ping(seq, target):
                if target == self._name:
                    self._send(src, Ack(seq, self._piggyback()))
            case Ack(seq):
                self._on_ack(seq)
            case Nack(seq):
                if seq in self._probes:
                    self._probes[seq].nacks += 1
            case PingReq():
                self._on_ping_req(src, message)
            case PushPull(False):
                self._send(src, PushPull(True, tuple(self._claims.values())))

    def _gossip(self) -> None:
        self._alarm(self._rules.gossip_interval_s, "gossip", self._gossip)
        self._gossip_once()

    def _gossip_once(self) -> None:
        if not self._queue:
            return
        for there in self._some(self._rules.gossip_nodes, set(), State.SUSPECT, also_dead=True):
            if claims := self._piggyback():
                self._send(there.address, Gossip(claims))

    def _push_pull(self) -> None:
        scale = max(0, math.ceil(math.log2(max(1, self._live)) - math.log2(PUSH_PULL_SCALE_NODES))) + 1
        self._alarm(self._rules.push_pull_interval_s * scale, "push-pull", self._push_pull)
        for there in self._some(1, set(), State.ALIVE):
            self._send(there.address, PushPull(False, tuple(self._claims.values())))

    def _piggyback(self) -> tuple[Claim, ...]:
        if not self._queue:
            return ()
        return self._queue.take(self._rules.retransmit_mult * math.ceil(math.log10(self._live + 1)))

    # Beliefs

    def _hear(self, claim: Claim, *, whole: bool) -> None:
        if claim.state == State.ALIVE:
            self._alive(claim)
        elif claim.state == State.SUSPECT or (claim.state == State.DEAD and whole):
            self._suspect(restate(claim, State.SUSPECT, claim.by))
        else:
            self._dead(claim)

    def _alive(self, claim: Claim) -> None:
        held = self._claims.get(claim.name)
        if claim.name == self._name:
            if claim.incarnation > self._mine.incarnation:
                self._refute(claim)
        elif held is None or claim.incarnation > held.incarnation:
            self._adopt(claim)

    def _suspect(self, claim: Claim) -> None:
        held = self._claims.get(claim.name)
        if held is None or claim.incarnation < held.incarnation or held.state > State.SUSPECT:
            return
        if claim.name == self._name:
            self._refute(claim)
        elif held.state == State.ALIVE:
            self._adopt(claim)
            self._start_suspicion(claim)
        elif self._rules.lha_suspicion:
            self._confirm(claim)

    def _dead(self, claim: Claim) -> None:
        held = self._claims.get(claim.name)
        if held is None or claim.incarnation < held.incarnation or held.state > State.SUSPECT:
            return
        if claim.name == self._name:
            self._refute(claim)
        else:
            self._adopt(claim)

    def _refute(self, claim: Claim) -> None:
        incarnation = max(claim.incarnation, self._mine.incarnation) + 1
        self._health = min(HEALTH_MAX, self._health + 1)
        mine = Claim(self._name, 0, incarnation, State.ALIVE, self._mine.address)
        self._put(mine)
        self._queue.put(mine)
        self._out.append(Notify(Refuted(claim.by, incarnation)))

    def _start_suspicion(self, claim: Claim) -> None:
        rules = self._rules
        min_s = rules.suspicion_mult * max(1.0, math.log10(max(1, self._live))) * rules.probe_interval_s
        needed = int(rules.suspicion_mult) - 2 if rules.lha_suspicion else 0
        needed = 0 if self._live - 2 < needed else needed
        suspicion = Suspicion(claim, self._now, min_s, rules.suspicion_max_mult * min_s, needed, {claim.by})
        self._suspicions[claim.name] = suspicion
        self._arm_suspicion(suspicion)

    def _confirm(self, claim: Claim) -> None:
        suspicion = self._suspicions.get(claim.name)
        if suspicion is None or claim.by in suspicion.accusers or len(suspicion.accusers) > suspicion.needed:
            return
        suspicion.accusers.add(claim.by)
        self._acts.pop(suspicion.token, None)
        self._arm_suspicion(suspicion)
        self._queue.put(claim)

    def _arm_suspicion(self, suspicion: Suspicion) -> None:
        rest_s = max(0.0, suspicion.began + suspicion.timeout_s() - self._now)
        verdict = restate(suspicion.claim, State.DEAD, self._name)
        suspicion.token = self._alarm(rest_s, "suspicion", partial(self._dead, verdict))

    def _adopt(self, claim: Claim) -> None:
        suspicion = self._suspicions.pop(claim.name, None)
        if suspicion is not None:
            self._acts.pop(suspicion.token, None)
        previous = self._members.get(claim.name)
        member = self._put(claim)
        self._queue.put(claim)
        if previous is None:
            self._order.insert(self._rng.randint(0, len(self._order)), claim.name)
        if previous is None or previous.state is not member.state:
            self._out.append(Notify(MemberChanged(member, previous)))

    def _put(self, claim: Claim) -> Member:
        previous = self._members.get(claim.name)
        state = STATES[claim.state]
        same = previous is not None and previous.state is state
        since = previous.since if same and previous is not None else self._now
        member = Member(claim.name, 0, claim.incarnation, state, claim.address, claim.tags, since)
        self._live += member.live - (previous is not None and previous.live)
        self._claims[claim.name] = claim
        self._members[claim.name] = member
        return member

    # Small things

    @property
    def _mine(self) -> Claim:
        return self._claims[self._name]

    def _some(self, number: int, but: set[str], worst: State, *, also_dead: bool = False) -> list[Claim]:
        """So many members drawn from those in a state up to ``worst``; fewer if luck does not find them."""
        chosen: dict[str, Claim] = {}
        for _ in range(min(3 * len(self._order), 30)):
            claim = self._claims[self._rng.choice(self._order)]
            if claim.name == self._name or claim.name in but:
                continue
            lately = also_dead and self._members[claim.name].since > self._now - self._rules.gossip_to_the_dead_s
            if claim.state <= worst or lately:
                chosen[claim.name] = claim
            if len(chosen) == number:
                break
        return list(chosen.values())

    def _alarm(self, seconds: float, what: str, act: Callable[[], None]) -> int:
        token = next(self._tokens)
        self._acts[token] = act
        self._out.append(StartTimer(self._now + seconds, Timer(what, token)))
        return token

    def _send(self, to: str, message: GossipMessage) -> None:
        if to:
            self._out.append(Send(to, message))


def _nothing() -> None:
    pass
