"""One node's membership: SWIM with Lifeguard's extensions, as a pure state machine.

Events and the time `now` go in; directives (send this, wake me then, tell them that) come out, in order. There
is no clock, no socket and no task here, and chance comes from the `random.Random` that is handed in, so a run
is determined by its inputs.

The parts, each with its own theory at the top of its file:

    state          what is believed of a member, and which of two claims wins
    view           the member table                      beliefs      which claims are taken in
    identity       answering what is said of ourselves
    probe, relay   who does not answer                   suspicion    from not answering to dead
    dissemination  which news there is to pass on        gossip       to whom it goes, and how often
    corrections    putting right who is behind
    join           getting into the mesh                 exchange     views compared: what gossip missed, healing
    timing         round trips, and others' clocks       isolation    whether it is we who hear nobody
    effects        now, chance, alarms, and the directives being written

Everything heard or found out passes through `beliefs`, and what is believed from then on comes to `_adopted`, which
draws the consequences.

Papers: SWIM (Das, Gupta, Motivala 2002); Lifeguard (Dadgar, Phillips, Currey 2017, arXiv 1707.00788).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from varlogd.config import MembershipConfig
from varlogd.swim.beliefs import Beliefs
from varlogd.swim.corrections import Corrections
from varlogd.swim.directives import Directive, MemberChanged, Timer
from varlogd.swim.dissemination import Dissemination
from varlogd.swim.effects import Effects
from varlogd.swim.exchange import Exchange
from varlogd.swim.gossip import Gossiper
from varlogd.swim.health import LocalHealth
from varlogd.swim.identity import Identity
from varlogd.swim.isolation import Isolation
from varlogd.swim.join import Join
from varlogd.swim.probe import Prober
from varlogd.swim.relay import Relays
from varlogd.swim.state import COUNT_MAX, Member, State, restate
from varlogd.swim.suspicion import Suspicions
from varlogd.swim.timing import MICROSECONDS, Timing, Timings
from varlogd.swim.view import Base, View
from varlogd.wire.gossip import (
    UNTOLD,
    Ack,
    Claim,
    Delta,
    Gossip,
    GossipMessage,
    Metadata,
    Nack,
    Ping,
    PingReq,
    PushPull,
    Summary,
    Tags,
)
from varlogd.wire.limits import MEMBERS_MAX

GOODBYES_MAX: Final = 256
"""Members a leaver tells itself: more links than that are not opened for a goodbye; gossip reaches the others."""


class Swim:
    """One node's part in the mesh.

    ``name`` and ``epoch`` (one boot; later ones higher, for example the time) identify it, ``address`` is where
    others reach it, ``tags`` and ``metadata`` travel with it. ``seeds`` are addresses to join through, ``known``
    those at which members were when it last ran, tried beside them; its own is ignored. ``base``: members it knows
    from the beginning, in simulations.
    ``rng`` is the only source of chance; ``now`` counts seconds from anywhere and never goes back.

    Every method that takes ``now`` returns the directives to carry out, in order, and raises nothing whatever
    a decodable message says. ``src`` and ``address`` are advertised addresses, as in the peer's hello.
    """

    def __init__(
        self,
        config: MembershipConfig,
        *,
        name: str,
        epoch: int,
        address: str,
        tags: Mapping[str, str],
        seeds: Sequence[str],
        known: Sequence[str] = (),
        rng: random.Random,
        now: float,
        metadata: Metadata = UNTOLD,
        base: Base | None = None,
    ) -> None:
        self._config = config
        self._name = name
        self.wall_ahead_us: int | None = None
        """The wall clock, in microseconds since 1970, less ``now`` in microseconds, as of the present entry. Whoever
        drives the core keeps it up to date; None: untold, and then no clock is compared."""
        self._left = False
        self._links_max = MEMBERS_MAX
        self._effects = Effects(rng, now, lag_max_s=config.probe_timeout_s)
        self._corrections = Corrections(self._effects, name)
        me = Claim(name, epoch, 0, State.ALIVE, address, dict(tags), "", metadata)
        self._view = View(me, now, MEMBERS_MAX, base)
        self._news = Dissemination(config.retransmit_factor)
        self._gossiper = Gossiper(config, self._effects, self._view, self._news, lambda: self._suspicions)
        self._health = LocalHealth()
        self._identity = Identity(self._effects, self._view, self._health, self._announce, self._news.queue)
        self._timings = Timings()
        self._isolation = Isolation(config, self._effects, self._view, self._sound)
        self._prober = Prober(
            config,
            self._effects,
            self._view,
            self._health,
            self._timings,
            self._gossiper.piggyback,
            lambda target, sent_at: self._beliefs.accuse(target, sent_at),
            self._isolation,
            lambda: self._exchange.due_digest(),
        )
        self._relays = Relays(config, self._effects, self._gossiper.piggyback, self._prober.next_seq)
        self._suspicions = Suspicions(
            config,
            self._effects,
            self._view,
            self._isolation,
            self._sound,
            self._warn,
            lambda suspected: self._beliefs.condemn(suspected),
        )
        self._beliefs = Beliefs(
            self._effects,
            self._view,
            self._news,
            self._corrections,
            self._identity,
            self._isolation,
            self._suspicions,
            self._prober.hint,
            self._is_newcomer,
            self._adopted,
        )
        seeds, known = ([other for other in others if other != address] for others in (seeds, known))
        self._join = Join(config, self._effects, seeds, known, self._call)
        self._exchange = Exchange(config, self._effects, self._view, self._join.sought)

    @property
    def members(self) -> Mapping[str, Member]:
        """Everybody known, by name, ourselves included: a live, read-only view."""
        return self._view.members

    @property
    def me(self) -> Member:
        """This node as it presents itself."""
        return self._view.me

    @property
    def joined(self) -> bool:
        """Whether another member has been known, or there is nobody to look for."""
        return self._join.joined_at is not None

    @property
    def conflicts(self) -> tuple[str, ...]:
        """The addresses of other nodes that have gone by our name lately. Each of them is told too."""
        return self._identity.conflicts

    @property
    def cut_off(self) -> bool:
        """Whether nobody at all is heard, so that what is held of the others says nothing of them."""
        return self._isolation.cut_off

    @property
    def heard_at(self) -> float:
        """When there was last a sign of life from outside."""
        return self._isolation.heard_at

    def timing(self, name: str) -> Timing | None:
        """What probes have measured of a live member; None until it has answered one."""
        ahead_s = None if self.wall_ahead_us is None else self.wall_ahead_us / MICROSECONDS
        return self._timings.of(name, self._effects.now, ahead_s)

    def prefer_connected(self, connected: Callable[[str], bool], links_max: int) -> None:
        """Gossip rather with members that have a link: ``connected`` says whether there is one with an address.

        ``links_max`` is how many this node, and others like it, keep.
        """
        self._gossiper.connected = connected
        self._links_max = links_max

    @property
    def local_health(self) -> int:
        """How much this node mistrusts its own ears: 0 (well) to 8."""
        return self._health.score

    def start(self, now: float) -> list[Directive]:
        """Begin: call the seeds, and set the clocks going. Once."""
        return self._run(now, self._start)

    def on_message(self, now: float, src: str, message: GossipMessage) -> list[Directive]:
        """A message came from the node at ``src``."""
        return self._run(now, partial(self._receive, src, message))

    def on_timer(self, now: float, timer: Timer) -> list[Directive]:
        """A timer's time has come; one that is no longer of use does nothing."""
        return self._run(now, partial(self._effects.ring, timer))

    def on_link_lost(self, now: float, address: str) -> list[Directive]:
        """A link with the node at ``address`` closed: a reason to probe it now, and no more than that."""
        return self._run(now, partial(self._hint, address))

    def on_unreachable(self, now: float, address: str, *, refused: bool = False) -> list[Directive]:
        """Nobody could be reached at ``address``: whoever waits for an answer from there waits in vain.

        ``refused``: the host there said so itself, so the network works; otherwise nothing may have come back.
        """
        return self._run(now, partial(self._give_up, address, refused))

    def on_self_dialled(self, now: float, address: str) -> list[Directive]:
        """``address`` turned out to be our own: it is no seed, and no other member is there."""
        return self._run(now, partial(self._disregard, address))

    def describe(self, now: float, metadata: Metadata, tags: Tags | None = None) -> list[Directive]:
        """What this node says of itself from now on (``tags`` None: the same tags): if it is new, a higher
        incarnation tells it, soon and not often (see `identity`)."""
        return self._run(now, partial(self._identity.describe, metadata, tags))

    def leave(self, now: float) -> list[Directive]:
        """Leave the mesh on purpose: tell the others, and from then on answer nothing. Once."""
        return self._run(now, self._say_goodbye)

    def _run(self, now: float, act: Callable[[], None]) -> list[Directive]:
        """Every entry. A process that was itself asleep condemns nobody; whatever came in, news goes out soon."""
        if self._left:
            return []
        if self._effects.enter(now):
            self._prober.abandon()
            self._relays.abandon()
            self._suspicions.postpone()
            self._isolation.sleep()
        act()
        if not self._left:
            self._gossiper.arm()
        return self._effects.drain()

    def _start(self) -> None:
        self._news.queue(self._view.mine)
        if self._view.live:
            self._join.succeed()
        self._join.start()
        self._prober.start()
        self._isolation.start()
        self._exchange.start()

    # Messages

    def _receive(self, src: str, message: GossipMessage) -> None:
        self._make_contact()
        if not isinstance(message, (Nack, Summary)):  # a union would be made anew for each message
            self._listen(src, message)
        self._respond(src, message)
        if self._corrections:
            self._put_right(src, message)

    def _put_right(self, src: str, message: GossipMessage) -> None:
        if isinstance(message, PushPull | Delta):
            self._corrections.take()  # a whole view is compared, and not put right claim by claim
        else:
            self._corrections.send(src)

    def _make_contact(self) -> None:
        if self._isolation.listen():
            self._suspicions.postpone()

    def _listen(self, src: str, message: Ping | Ack | PingReq | Gossip | PushPull | Delta) -> None:
        """Take in the claims that came with a message."""
        if not message.claims:
            return
        hearsay = isinstance(message, PushPull | Delta)
        # What a newcomer is told when it joins, the others know already.
        news = self.joined or not (isinstance(message, PushPull) and message.reply)
        for claim in message.claims:
            self._beliefs.hear(claim, src=src, hearsay=hearsay, news=news)

    def _respond(self, src: str, message: GossipMessage) -> None:
        match message:
            case Ping():
                if message.digest:
                    self._exchange.summarize(src, message.digest)
                else:
                    self._exchange.meet(src)
                if message.target == self._name:
                    claims = (*self._corrections.take(), *self._gossiper.piggyback(src))
                    self._effects.send(src, Ack(message.seq, claims, self._wall_us(), self._health.multiplier))
            case Ack():
                self._prober.on_ack(src, message)
                self._relays.on_ack(message.seq, src)
            case Nack():
                self._prober.on_nack(message.seq, src)
            case PingReq():
                self._relays.on_ping_req(src, message)
            case PushPull() | Summary() | Delta():
                self._compare(src, message)

    def _compare(self, src: str, message: PushPull | Summary | Delta) -> None:
        match message:
            case PushPull(False, _, b""):
                self._exchange.answer(src)
            case PushPull(False, _, digest):
                self._exchange.summarize(src, digest)
            case Summary():
                self._exchange.reconcile(src, message, newcomer=self._is_newcomer())
            case Delta(_, wanted):
                self._exchange.supply(src, wanted)

    def _wall_us(self) -> int:
        """What our wall clock shows now; 0, which means untold, where we do not know it."""
        if self.wall_ahead_us is None:
            return 0
        return max(0, min(round(self._effects.now * MICROSECONDS) + self.wall_ahead_us, COUNT_MAX))

    # Consequences

    def _is_newcomer(self) -> bool:
        joined_at = self._join.joined_at
        return joined_at is None or self._effects.now < joined_at + self._config.push_pull_interval_s

    def _adopted(self, claim: Claim, member: Member, previous: Member | None) -> None:
        """This claim is what is believed from now on."""
        if _differ(member, previous):
            self._effects.notify(MemberChanged(member, previous))
        if member.state is State.SUSPECT:
            self._suspicions.start(claim)
            if claim.by != self._name:
                self._prober.look_too(claim.name)
        else:
            self._suspicions.drop(claim.name)
        was_live = previous is not None and previous.live
        if member.live and not was_live:
            self._prober.ring.add(claim.name)
            if claim.address != self._view.mine.address:  # whoever was here before us is nobody to have joined
                self._join.succeed()
        elif was_live and not member.live:
            self._prober.forget(claim.name)
        if previous is not None and _is_elsewhere(member, previous):
            self._timings.forget(claim.name)
        if _revived(member, previous):
            self._exchange.hasten()
        self._suspicions.recount()

    # What this node says itself

    def _warn(self, suspected: Claim) -> None:
        """Tell a suspect once more, directly. Its ack brings the refutation; as a probe it does not count."""
        ping = Ping(self._prober.next_seq(), suspected.name, self._gossiper.piggyback(suspected.address))
        self._effects.send(suspected.address, ping)

    def _announce(self, mine: Claim) -> None:
        """Our own claim changed: others may be about to declare us dead, so it does not wait for the tick."""
        self._news.queue(mine)
        self._gossiper.spread()

    def _say_goodbye(self) -> None:
        previous = self._view.me
        claim = restate(self._view.mine, State.LEFT, "")
        member, _ = self._view.put(claim, self._effects.now)
        self._left = True
        self._effects.notify(MemberChanged(member, previous))
        live = self._view.live
        told = self._effects.rng.sample(live, min(GOODBYES_MAX, len(live)))
        addresses = [self._view.members[name].address for name in told]
        # Who was called may know us, though we do not know them; and a twin is not among those we know by name.
        for address in [*addresses, *self._join.under_way, *self._identity.conflicts]:
            self._effects.send(address, Gossip((claim,)))

    def _sound(self) -> None:
        """Find out whether anybody hears us and is heard. The host of one that is dead may say so by a refusal."""
        if self._prober.sound():
            self._exchange.call_one()

    # Hints

    def _call(self, address: str) -> None:
        self._exchange.call(address)

    def _hint(self, address: str) -> None:
        """Whoever lives at this address may be gone: see for ourselves, if our word would still add anything."""
        claim = self._view.live_at(address)
        if claim is not None and self._suspicions.would_count(claim.name, self._name):
            self._prober.look_too(claim.name, among=self._links_max)

    def _disregard(self, address: str) -> None:
        self._join.drop(address)
        self._give_up(address, refused=False)

    def _give_up(self, address: str, refused: bool) -> None:
        if refused and self._is_from_outside(address):
            self._make_contact()
            self._isolation.answer(self._effects.now)
        self._relays.on_unreachable(address)
        self._prober.on_unreachable(address, refused)
        self._hint(address)

    def _is_from_outside(self, address: str) -> bool:
        """Whether a refusal by this address tells that the network works: our own host refuses with the cable out.

        Unless all of the mesh is on one host, and there is no cable.
        """
        here, members = _host(self._view.me.address), self._view.members
        return _host(address) != here or all(_host(members[name].address) == here for name in self._view.live)


def _host(address: str) -> str:
    return address.rpartition(":")[0]


def _revived(member: Member, previous: Member | None) -> bool:
    """Whether one that was held dead was alive all along: views had come apart, as in a split."""
    return previous is not None and previous.state is State.DEAD and member.live and member.epoch == previous.epoch


def _is_elsewhere(member: Member, previous: Member) -> bool:
    """Whether what was measured of a member says nothing of it any more."""
    return not member.live or (member.epoch, member.address) != (previous.epoch, previous.address)


def _differ(member: Member, previous: Member | None) -> bool:
    """Whether a change is worth telling: a higher incarnation alone is not."""
    if previous is None:
        return True
    now = (member.state, member.epoch, member.address, member.tags)
    return now != (previous.state, previous.epoch, previous.address, previous.tags)
