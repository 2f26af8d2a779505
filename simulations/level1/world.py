"""Level 1: thousands of membership cores on one heap of events, without the daemon around them.

It keeps the contract of `varlogd.swim.directives` (sends, timers, news) and nothing else, so it is some hundred
times faster than Level 2 and shows what the protocol does, not what the daemon does. Chance comes from separate
streams, all from one seed: one for each life of a node, one for the network, one for the scheduler; a fault plan
has its own. So another latency does not change what a node draws. The same seed gives the same trace.

Every message that arrives has been encoded and decoded in a small mesh, and one of `CODED_SHARE` in a large one.
"""

from __future__ import annotations

import gc
import hashlib
import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from random import Random
from typing import Any, Final, Literal

from simulations.level1.network import Datagrams, Network, Streams
from simulations.level1.node import BACKLOG_MAX, BACKLOG_SERVICE_S, Arm, Birth, Node
from varlogd.config import MembershipConfig
from varlogd.swim.core import Swim
from varlogd.swim.directives import Directive, Event, MemberChanged, Notify, Send, StartTimer, Timer
from varlogd.swim.state import State
from varlogd.swim.view import Base
from varlogd.wire.codec import decode_cbor, encode_cbor
from varlogd.wire.gossip import Claim, GossipMessage, PushPull

CODED_NODES_MAX: Final = 32
"""Up to so many nodes every message is encoded and decoded."""

CODED_SHARE: Final = 64
"""In a larger mesh one message in so many: coding all would take most of the time."""

TOLD_NODES_MAX: Final = 256
"""Up to so many nodes each is told of all others by a message; in a larger mesh views begin with them, and share what
they hold: n messages of n claims would take minutes, and n views of n members gigabytes."""

START_SPAN_S: Final = 1.0
"""The processes of one mesh start within this time."""

GOODBYE_S: Final = 0.1
"""From a leave to the end of the process: its goodbye is written by then."""

Mode = Literal["datagram", "stream"]

Watcher = Callable[[float, Node, Event], None]
"""Hears of everything a core tells, at the virtual time of it."""

Overhearer = Callable[[Node, str, GossipMessage], None]
"""Hears of a message, at the node that receives or sends it, and of the address that it is from or for."""


def ours(config: MembershipConfig | None = None) -> Arm:
    """The membership that varlogd ships."""
    settings = config or MembershipConfig()

    def make(birth: Birth) -> Swim:
        return Swim(
            settings,
            name=birth.name,
            epoch=birth.epoch,
            address=birth.address,
            tags={},
            seeds=birth.seeds,
            rng=birth.rng,
            now=birth.now,
            base=birth.base,
        )

    return make


class World:
    """One simulated mesh. ``now`` is in virtual seconds from 0. Nodes are named n0, n1, ... at n0:1, n1:1, ..."""

    def __init__(self, seed: int | str, arm: Arm, *, mode: Mode = "datagram", traced: bool = True) -> None:
        self.now = 0.0
        self.seed = seed
        self.nodes: dict[str, Node] = {}  # by address
        self.boots: dict[str, int] = {}  # by address: that of its node, where the network finds it quickly
        self.powered: set[str] = set()  # the addresses of machines that have power
        self.sent: Counter[str] = Counter()  # by kind of message
        self.watchers: list[Watcher] = []
        self.listeners: list[Overhearer] = []  # of every message a core is given
        self.speakers: list[Overhearer] = []  # of every message a core wants sent
        self.entries = 0
        self._arm = arm
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = count()
        self._scheduler = Random(f"{seed}/scheduler")
        rng = Random(f"{seed}/network")
        self.network: Network = Datagrams(self, rng) if mode == "datagram" else Streams(self, rng)
        self._coded = count()
        self._hash = hashlib.blake2b(digest_size=16)
        self._traced = traced

    # Time

    def later(self, seconds: float, act: Callable[..., None], *arguments: object) -> None:
        """Call ``act`` in so many virtual seconds; what is due at one time happens in the order of asking."""
        heapq.heappush(self._heap, (self.now + seconds, next(self._order), act, arguments))

    def run(self, seconds: float) -> None:
        """Let so many virtual seconds pass."""
        self.run_until(_never, seconds)

    def run_until(self, done: Callable[[], bool], limit_s: float) -> float:
        """Let time pass until ``done`` (asked after every event) or the limit; returns the seconds that passed."""
        began, end = self.now, self.now + limit_s
        heap, pop = self._heap, heapq.heappop
        with _no_collector():
            while not done():
                if not heap or heap[0][0] > end:
                    self.now = end
                    break
                self.now, _, act, arguments = pop(heap)
                act(*arguments)
        return self.now - began

    @property
    def digest(self) -> str:
        """One word for everything that has happened so far."""
        return self._hash.hexdigest()

    def note(self, *what: object) -> None:
        """Make this part of the trace."""
        if self._traced:
            self._hash.update(f"{self.now!r} {what!r}\n".encode())

    # Processes

    def boot(
        self,
        name: str,
        seeds: Sequence[str] = (),
        *,
        address: str = "",
        start_s: float = 0.0,
        base: Base | None = None,
    ) -> Node:
        """Start a process ``start_s`` from now, on a new machine or on one where none runs, knowing ``base``."""
        address = address or f"{name}:1"
        before = self.nodes.get(address)
        boot = 1 if before is None else before.boot + 1
        rng = Random(f"{self.seed}/node/{address}/{boot}")
        node = Node(name, address, self._arm(Birth(name, boot, address, seeds, rng, self.now, base)), boot)
        if before is not None:
            node.sent, node.goodbyes, node.received = before.sent, before.goodbyes, before.received
            node.clock_ahead_s = before.clock_ahead_s
        self.nodes[address] = node
        self.boots[address] = boot
        self.powered.add(address)
        self.note("boot", name, address, boot)
        self.later(start_s, self._start, node)
        return node

    def boot_all(self, nodes: int, *, settled: bool = True, settle_s: float = 10.0) -> list[str]:
        """A mesh of so many nodes; returns their addresses.

        ``settled``: each knows all others before it starts, as it would by a push-pull, and has ``settle_s`` to
        calm down; else each knows only the first three, and finds the others.
        """
        names = [f"n{number}" for number in range(nodes)]
        seeds = [f"{name}:1" for name in names[:3]]
        everybody = tuple(Claim(name, 1, 0, State.ALIVE, f"{name}:1") for name in names)
        base = Base(everybody, self.now) if settled and nodes > TOLD_NODES_MAX else None
        with _no_collector():
            for name in names:
                self.boot(name, seeds, start_s=START_SPAN_S * self._scheduler.random(), base=base)
            if settled:
                self._introduce(PushPull(True, everybody), seeds[0])
        if settled:
            self.run(settle_s)
        return [f"{name}:1" for name in names]

    def _introduce(self, everybody: PushPull, src: str) -> None:
        """Tell this to all who do not begin with it."""
        for node in self.nodes.values():
            if len(node.core.members) < len(everybody.claims):
                self._do(node, node.core.on_message(self.now, src, everybody))

    def kill(self, address: str) -> None:
        """SIGKILL: the process is gone, its kernel says so to whoever has a link with it."""
        if self.nodes[address].running:
            self.note("kill", address)
            self.nodes[address].stop()
            self.network.killed(address)

    def power_off(self, address: str) -> None:
        """The machine is gone, without a word."""
        node = self.nodes[address]
        if address in self.powered:
            self.note("power off", address)
            node.stop()
            self.powered.remove(address)

    def restart(self, address: str, seeds: Sequence[str] = ()) -> None:
        """Start the process again where none runs, and the machine with it if it has no power."""
        node = self.nodes[address]
        if not node.running:
            self.boot(node.name, seeds, address=address)

    def leave(self, address: str) -> None:
        """SIGTERM: the process tells the others, and is gone a moment later."""
        node = self.nodes[address]
        if node.running:
            self.note("leave", address)
            before = node.sent
            self._do(node, node.core.leave(self._time(node)))
            node.goodbyes += node.sent - before
            self.later(GOODBYE_S, self._end, node)

    def freeze(self, address: str) -> None:
        """SIGSTOP, or a stalled machine."""
        self.nodes[address].frozen += 1

    def thaw(self, address: str) -> None:
        """SIGCONT: overdue timers run, and the backlog is worked off at a finite speed. Which of both first, is
        a matter of chance, as it is in a real event loop."""
        node = self.nodes[address]
        if not node.frozen:
            return
        node.frozen -= 1
        if node.frozen or not node.running:
            return
        overdue, node.overdue = node.overdue, []
        if self._scheduler.random() < 0.5:
            self._serve_one(node)
        for timer in overdue:
            self._ring(node, timer)
        self._serve_backlog(node)

    def block(self, address: str) -> None:
        """The paper's anomaly: from now on the process neither sends nor receives, though its timers run."""
        self.nodes[address].blocked += 1

    def unblock(self, address: str) -> None:
        """It is over: what has waited is sent and received, one after another."""
        node = self.nodes[address]
        if not node.blocked:
            return
        node.blocked -= 1
        if node.blocked or not node.running:
            return
        for place in range(len(node.outbox)):
            self.later(place * BACKLOG_SERVICE_S, self._release, node)
        self._serve_backlog(node)

    def jump_clock(self, address: str, seconds: float) -> None:
        """The clock that the process reads goes forward by so much; its timers with it."""
        node = self.nodes[address]
        node.clock_ahead_s += seconds
        self.note("clock", address, seconds)
        moved = [
            (max(self.now, at - seconds), order, act, arguments)
            if act == self._ring and arguments[0] is node
            else (at, order, act, arguments)
            for at, order, act, arguments in self._heap
        ]
        heapq.heapify(moved)
        self._heap[:] = moved

    # What the network asks and tells

    def is_running(self, address: str) -> bool:
        node = self.nodes.get(address)
        return node is not None and node.running

    def is_frozen(self, address: str) -> bool:
        node = self.nodes.get(address)
        return node is not None and node.frozen > 0

    def arrive(self, dst: str, src: str, message: GossipMessage) -> None:
        node = self.nodes.get(dst)
        if node is None or not node.running:
            return
        if next(self._coded) % CODED_SHARE == 0 or len(self.nodes) <= CODED_NODES_MAX:
            message = decode_cbor(encode_cbor(message), GossipMessage)
        if node.frozen or node.blocked or node.inbox or node.service_s:
            if len(node.inbox) < BACKLOG_MAX:
                node.inbox.append((src, message))
            self._serve_backlog(node)
            return
        self._receive(node, src, message)

    def unreachable(self, src: str, boot: int, dst: str, *, refused: bool) -> None:
        node = self._alive(src, boot)
        if node is not None and not node.blocked:
            self._do(node, node.core.on_unreachable(self._time(node), dst, refused=refused))

    def link_lost(self, node: str, boot: int, peer: str) -> None:
        here = self._alive(node, boot)
        if here is not None and not here.blocked:
            self._do(here, here.core.on_link_lost(self._time(here), peer))

    def self_dialled(self, node: str) -> None:
        here = self.nodes[node]
        if here.running and not here.frozen:
            self._do(here, here.core.on_self_dialled(self._time(here), node))

    # One entry into a core, and what it asks for

    def _alive(self, address: str, boot: int) -> Node | None:
        """The process that had a link, if it still is and can hear of it."""
        node = self.nodes.get(address)
        return node if node is not None and node.boot == boot and node.running and not node.frozen else None

    def _time(self, node: Node) -> float:
        return self.now + node.clock_ahead_s

    def _start(self, node: Node) -> None:
        if node.running:
            self._do(node, node.core.start(self._time(node)))

    def _end(self, node: Node) -> None:
        """The process of a leaver ends; its sockets are closed politely, which is a hint to nobody."""
        node.stop()

    def _ring(self, node: Node, timer: Timer) -> None:
        if not node.running:
            return
        if node.frozen:
            node.overdue.append(timer)
            return
        self._do(node, node.core.on_timer(self.now + node.clock_ahead_s, timer))

    def _receive(self, node: Node, src: str, message: GossipMessage) -> None:
        node.received += 1
        for listen in self.listeners:
            listen(node, src, message)
        self._do(node, node.core.on_message(self.now + node.clock_ahead_s, src, message))

    def _serve_backlog(self, node: Node) -> None:
        if node.inbox and not (node.serving or node.frozen or node.blocked):
            node.serving = True
            self.later(max(0.0, node.busy_until - self.now), self._serve, node)

    def _serve(self, node: Node) -> None:
        node.serving = False
        if node.frozen or node.blocked or not node.running:
            return
        self._serve_one(node)
        node.busy_until = self.now + (node.service_s or BACKLOG_SERVICE_S)
        self._serve_backlog(node)

    def _serve_one(self, node: Node) -> None:
        if node.inbox:
            self._receive(node, *node.inbox.popleft())

    def _release(self, node: Node) -> None:
        if node.outbox and node.running and not node.blocked:
            self._transmit(node, *node.outbox.popleft())

    def _do(self, node: Node, directives: list[Directive]) -> None:
        self.entries += 1
        for directive in directives:
            kind = type(directive)
            if kind is StartTimer:
                at = directive.at - node.clock_ahead_s  # type: ignore[union-attr]
                item = (at if at > self.now else self.now, next(self._order), self._ring, (node, directive.timer))  # type: ignore[union-attr]
                heapq.heappush(self._heap, item)
            elif kind is Send:
                self._send(node, directive.to, directive.message)  # type: ignore[union-attr]
            else:
                assert isinstance(directive, Notify)
                self._tell(node, directive.event)

    def _send(self, node: Node, to: str, message: GossipMessage) -> None:
        node.sent += 1
        kind = type(message).__name__
        self.sent[kind] += 1
        if self._traced:
            claims = len(getattr(message, "claims", ()))
            self._hash.update(f"{self.now!r} {node.name} {to} {kind} {claims}\n".encode())
        for listen in self.speakers:
            listen(node, to, message)
        if not node.blocked:
            self._transmit(node, to, message)
        elif len(node.outbox) < BACKLOG_MAX:
            node.outbox.append((to, message))

    def _transmit(self, node: Node, to: str, message: GossipMessage) -> None:
        if node.core.cut_off:
            self.network.renew(node.address, to)
        self.network.send(node.address, to, message)

    def _tell(self, node: Node, event: Event) -> None:
        if self._traced:
            self._hash.update(f"{self.now!r} {node.name} {event!r}\n".encode())
        for watch in self.watchers:
            watch(self.now, node, event)
        if isinstance(event, MemberChanged) and event.member.state is State.DEAD:
            self.network.closed(node.address, event.member.address)  # as the daemon does


def _never() -> bool:
    return False


@contextmanager
def _no_collector() -> Iterator[None]:
    """Millions of objects that live to the end: Python's collector would spend its time looking at them."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
