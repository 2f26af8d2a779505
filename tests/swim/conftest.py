"""A mesh of cores in one event heap: a virtual network with delay, loss, cuts, dead and frozen processes.

It is the smallest shell that keeps the core's contract. Every message is encoded and decoded on its way, and
at every step the ranks in the view of the node that acted may only have risen, but of whom it had forgotten.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count

import pytest

from varlogd.config import MembershipConfig
from varlogd.swim.core import Swim
from varlogd.swim.directives import Directive, Event, MemberChanged, Notify, Send, StartTimer, Timer
from varlogd.swim.state import Member, Rank, State, rank
from varlogd.wire.codec import decode_cbor, encode_cbor
from varlogd.wire.gossip import Claim, Gossip, GossipMessage

DIAL_TIMEOUT_S = 3.0
DELAY_S = (0.0002, 0.002)

Act = Callable[[float], list[Directive]]


@dataclass
class Process:
    """One process at one address."""

    core: Swim
    address: str
    running: bool = True
    frozen: bool = False
    backlog: list[Act] = field(default_factory=list)
    events: list[tuple[float, Event]] = field(default_factory=list)
    ranks: dict[str, Rank] = field(default_factory=dict)


class Mesh:
    """Nodes ``n0``, ``n1``, ... at ``n0:1``, ``n1:1``, ...

    ``hints=False``: the network never says that one is gone, as when a host loses power.
    """

    def __init__(self, seed: int, config: MembershipConfig | None = None, *, hints: bool = True) -> None:
        self.rng = random.Random(seed)
        self.config = config or MembershipConfig()
        self.hints = hints
        self.now = 1000.0
        self.loss = 0.0
        self.sent: Counter[str] = Counter()
        self.by_kind: Counter[str] = Counter()
        self.processes: dict[str, Process] = {}
        self.links: set[frozenset[str]] = set()
        self._cut: dict[str, int] = {}
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    # What a test does

    def boot(
        self,
        name: str,
        seeds: Iterable[str] = (),
        *,
        epoch: int = 1,
        address: str = "",
        known: Iterable[str] = (),
        **tags: str,
    ) -> Process:
        address = address or f"{name}:1"
        core = Swim(
            self.config,
            name=name,
            epoch=epoch,
            address=address,
            tags=tags,
            seeds=list(seeds),
            known=list(known),
            rng=random.Random(self.rng.getrandbits(64)),
            now=self.now,
        )
        process = self.processes[address] = Process(core, address)
        self._step(process, core.start)
        return process

    def boot_all(self, nodes: int, settle_s: float = 10.0) -> list[str]:
        """A settled mesh of so many nodes; returns their names."""
        names = [f"n{index}" for index in range(nodes)]
        for name in names:
            self.boot(name, [] if name == "n0" else ["n0:1"])
        self.run(settle_s)
        assert self.agree(names)
        for process in self.processes.values():
            process.events.clear()
        return names

    def run(self, seconds: float) -> None:
        self.run_until(lambda: False, seconds)

    def run_until(self, done: Callable[[], bool], limit_s: float) -> float:
        """Run until ``done`` or the limit; returns the seconds that passed."""
        start, end = self.now, self.now + limit_s
        while not done():
            if not self._heap or self._heap[0][0] > end:
                self.now = end
                break
            self.now, _, act = heapq.heappop(self._heap)
            act()
        return self.now - start

    def kill(self, name: str) -> None:
        """kill -9: the kernel resets its connections and refuses new ones."""
        address = f"{name}:1"
        self.processes[address].running = False
        peers = sorted(peer for link in self.links if address in link for peer in link - {address})
        for peer in peers:
            self.links.discard(frozenset((peer, address)))
            if self.hints and not self._is_cut(peer, address):
                self._later(
                    self._delay(), lambda peer=peer: self._tell(peer, lambda core: core.on_link_lost, address)
                )

    def break_link(self, name: str, other: str) -> None:
        """A link closes, with both ends well."""
        self.links.discard(frozenset((f"{name}:1", f"{other}:1")))
        for here, there in ((name, other), (other, name)):
            self._tell(f"{here}:1", lambda core: core.on_link_lost, f"{there}:1")

    def freeze(self, name: str) -> None:
        self.processes[f"{name}:1"].frozen = True

    def thaw(self, name: str, *, timers_first: bool = False) -> None:
        process = self.processes[f"{name}:1"]
        process.frozen = False
        backlog, process.backlog = process.backlog, []
        if timers_first:
            backlog.sort(key=lambda act: not hasattr(act, "is_timer"))
        for act in backlog:
            self._step(process, act)

    def split(self, *sides: Iterable[str]) -> None:
        """Between different sides nothing arrives any more."""
        self._cut = {f"{name}:1": index for index, side in enumerate(sides) for name in side}

    def heal(self) -> None:
        self._cut = {}

    def leave(self, name: str) -> None:
        self._step(self.processes[f"{name}:1"], self.core(name).leave)

    def tell(self, name: str, message: GossipMessage, src: str = "somebody:1") -> None:
        """A message from outside the mesh."""
        process = self.processes[f"{name}:1"]
        self._step(process, lambda now: process.core.on_message(now, src, message))

    # What a test looks at

    def core(self, name: str) -> Swim:
        return self.processes[f"{name}:1"].core

    def view(self, name: str) -> dict[str, State]:
        return {member.name: member.state for member in self.core(name).members.values()}

    def state(self, at: str, of: str) -> State | None:
        member = self.core(at).members.get(of)
        return None if member is None else member.state

    def agree(self, names: Iterable[str], state: State = State.ALIVE, of: Iterable[str] | None = None) -> bool:
        """Whether all ``names`` hold each ``of`` (default: each other) in this state."""
        names = list(names)
        return all(self.state(at, about) is state for at in names for about in (names if of is None else of))

    def changes(self, of: str | None = None) -> list[tuple[str, Member]]:
        """Every (observer, new belief) told so far, of one member or of all."""
        return [
            (process.core.me.name, event.member)
            for process in self.processes.values()
            for _, event in process.events
            if isinstance(event, MemberChanged) and of in (None, event.member.name)
        ]

    def ever(self, state: State, of: str | None = None) -> list[tuple[str, str]]:
        """Who was told that somebody was in this state."""
        return [(observer, member.name) for observer, member in self.changes(of) if member.state is state]

    def wrongly_dead(self, gone: Iterable[str] = ()) -> list[tuple[str, str]]:
        """Who has held whom dead, but for those that are ``gone``."""
        return [(observer, name) for observer, name in self.ever(State.DEAD) if name not in gone]

    def survivors_know(self, names: Iterable[str], gone: Sequence[str], limit_s: float = 60.0) -> float:
        """Seconds until every survivor holds every one that is ``gone`` dead."""
        rest = [name for name in names if name not in gone]
        took_s = self.run_until(lambda: self.agree(rest, State.DEAD, gone), limit_s)
        assert self.agree(rest, State.DEAD, gone)
        return took_s

    def events(self, name: str, kind: type[Event]) -> list[Event]:
        return [event for _, event in self.processes[f"{name}:1"].events if isinstance(event, kind)]

    # The world

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self.now + seconds, next(self._order), act))

    def _delay(self) -> float:
        return self.rng.uniform(*DELAY_S)

    def _is_cut(self, a: str, b: str) -> bool:
        return self._cut.get(a, -1) != self._cut.get(b, -1)

    def _tell(self, to: str, method: Callable[[Swim], Callable[[float, str], list[Directive]]], about: str) -> None:
        process = self.processes.get(to)
        if process is not None and process.running:
            self._step(process, lambda now: method(process.core)(now, about))

    def _step(self, process: Process, act: Act) -> None:
        """One entry into a core, or a place in the backlog of a frozen one."""
        if not process.running:
            return
        if process.frozen:
            process.backlog.append(act)
            return
        for directive in act(self.now):
            match directive:
                case Send(to, message):
                    self._send(process, to, message)
                case StartTimer(at, timer):
                    self._later(
                        max(0.0, at - self.now), lambda timer=timer: self._step(process, _Ring(process, timer))
                    )
                case Notify(event):
                    process.events.append((self.now, event))
        self._check(process)

    def _check(self, process: Process) -> None:
        ranks = {name: rank(member) for name, member in process.core.members.items()}
        for name, now in ranks.items():
            before = process.ranks.get(name)
            assert before is None or now >= before, f"{process.address}: {name} went back from {before} to {now}"
        process.ranks = ranks

    def _send(self, sender: Process, to: str, message: GossipMessage) -> None:
        assert to != "", "a message to nowhere"
        src = sender.address
        self.sent[sender.core.me.name] += 1
        self.by_kind[type(message).__name__] += 1
        arrives: GossipMessage = decode_cbor(encode_cbor(message), GossipMessage)
        if to == src:
            self._later(self._delay(), lambda: self._tell(src, lambda core: core.on_self_dialled, to))
        elif self._is_cut(src, to):
            self._later(DIAL_TIMEOUT_S, lambda: self._refuse(src, to, refused=False))
        elif to not in self.processes or not self.processes[to].running:
            self._later(self._delay(), lambda: self._refuse(src, to, refused=True))
        elif self.rng.random() >= self.loss:
            self.links.add(frozenset((src, to)))
            self._later(self._delay(), lambda: self.deliver(src, to, arrives))

    def deliver(self, src: str, to: str, message: GossipMessage) -> None:
        """A message arrives; a test may put itself in between."""
        process = self.processes[to]
        if not self._is_cut(src, to):
            self._step(process, lambda now: process.core.on_message(now, src, message))

    def _refuse(self, src: str, to: str, *, refused: bool) -> None:
        if self.hints:
            self._tell(src, lambda core: partial(core.on_unreachable, refused=refused), to)


class Solo:
    """One core, its timers run on demand, and everything it sends kept: for what exactly one node says.

    ``names`` are members that live at ``NAME:1``; the core has heard of them and has nothing left to say.
    """

    def __init__(
        self,
        *names: str,
        seeds: Iterable[str] = (),
        known: Iterable[str] = (),
        seed: int = 1,
        name: str = "me",
        **config: object,
    ) -> None:
        self.now = 100.0
        self.sends: list[Send] = []
        self.events: list[Event] = []
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = count()
        self.config = MembershipConfig(**config)
        self.core = Swim(
            self.config,
            name=name,
            epoch=5,
            address=f"{name}:1",
            tags={"role": "web"},
            seeds=list(seeds),
            known=list(known),
            rng=random.Random(seed),
            now=self.now,
        )
        if names:
            self.hear("x:1", Gossip(tuple(self.alive(name) for name in names)))

    def start(self) -> None:
        self.do(self.core.start(self.now))

    def hear(self, src: str, message: GossipMessage) -> None:
        self.do(self.core.on_message(self.now, src, message))

    def do(self, directives: list[Directive]) -> None:
        for directive in directives:
            match directive:
                case Send():
                    self.sends.append(directive)
                case StartTimer(at, timer):
                    heapq.heappush(self._timers, (max(at, self.now), next(self._order), timer))
                case Notify(event):
                    self.events.append(event)

    def run(self, seconds: float) -> None:
        """Run the timers of so many seconds, each in time."""
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            self.now, _, timer = heapq.heappop(self._timers)
            self.do(self.core.on_timer(self.now, timer))
        self.now = end

    def take(self, kind: type | None = None) -> list[Send]:
        """What has been sent since the last time, all or of one kind; the rest is forgotten."""
        sends, self.sends = self.sends, []
        return [send for send in sends if kind is None or isinstance(send.message, kind)]

    def state(self, name: str) -> State | None:
        member = self.core.members.get(name)
        return None if member is None else member.state

    @staticmethod
    def alive(name: str, incarnation: int = 0, epoch: int = 1) -> Claim:
        return Claim(name, epoch, incarnation, State.ALIVE, f"{name}:1")

    @staticmethod
    def said(name: str, state: State, by: str = "x", incarnation: int = 0, epoch: int = 1) -> Claim:
        return Claim(name, epoch, incarnation, state, f"{name}:1", {}, by)


class _Ring:
    """A timer's call, to be told apart from a message in a backlog."""

    is_timer = True

    def __init__(self, process: Process, timer: Timer) -> None:
        self.process = process
        self.timer = timer

    def __call__(self, now: float) -> list[Directive]:
        return self.process.core.on_timer(now, self.timer)


@pytest.fixture(scope="session")
def mesh() -> type[Mesh]:
    """The class `Mesh`: a test makes as many as it likes, each from a seed."""
    return Mesh


@pytest.fixture(scope="session")
def solo() -> type[Solo]:
    """The class `Solo`."""
    return Solo
