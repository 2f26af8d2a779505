"""The network between simulated processes, message by message.

Two kinds of link, since they fail differently:

* `Datagrams`: a lost message is lost, and nobody is told anything. What the papers assume.
* `Streams`: what varlogd runs on. A lost packet is a *delay*, for everything behind it as well; messages of one
  direction keep their order; a cut holds them back, and the mended way brings them with TCP's next
  retransmission. The first message dials; a dial may be refused, or time out; a link that breaks is told to the
  other end, unless the network is cut or the machine has no power.

Not modelled: bandwidth, and a bound on the number of links (`links_max`).
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Set
from random import Random
from typing import Final, Protocol

from varlogd.wire.gossip import GossipMessage

LATENCY_MIN_S: Final = 0.0002
LATENCY_MAX_S: Final = 0.002
"""One way between two hosts: a LAN, and a process that is not always scheduled at once."""

DIAL_TIMEOUT_S: Final = 3.0
"""As `varlogd.mesh.transport.DIAL_TIMEOUT_S`: until a dial that nobody answers is given up."""

SYN_RETRY_S: Final = 1.0
"""TCP's first retransmission of the packet that dials."""

HELLO_TIMEOUT_S: Final = 5.0
"""As `varlogd.wire.limits.HELLO_TIMEOUT_S`: a kernel may accept for a process that stands still."""

RETRANSMIT_MIN_S: Final = 0.2
RETRANSMIT_MAX_S: Final = 120.0
"""Linux: the first pause before a retransmission, and the longest; each is twice the one before."""

SILENT_LINK_S: Final = 5.0
"""As `varlogd.mesh.links.SILENT_LINK_S`: how long a link is dumb before a node that hears nobody dials anew."""

OUTBOX_MAX: Final = 64
"""As `varlogd.mesh.links.OUTBOX_MESSAGES_MAX`: messages that wait for a dial; the oldest gives way."""

HELD_MAX: Final = 1024
"""Messages that a cut way holds back: what a kernel's send buffer takes of small ones."""


class World(Protocol):
    """What a network needs of the world it is in."""

    now: float

    @property
    def boots(self) -> Mapping[str, int]:
        """By address: how often a process has been started there."""

    @property
    def powered(self) -> Set[str]:
        """The addresses of machines that have power."""

    def later(self, seconds: float, act: Callable[..., None], *arguments: object) -> None: ...
    def arrive(self, dst: str, src: str, message: GossipMessage) -> None: ...
    def unreachable(self, src: str, boot: int, dst: str, *, refused: bool) -> None: ...
    def link_lost(self, node: str, boot: int, peer: str) -> None: ...
    def self_dialled(self, node: str) -> None: ...
    def is_running(self, address: str) -> bool: ...
    def is_frozen(self, address: str) -> bool: ...


class Network:
    """Delay, loss and cuts: what both kinds have in common. Addresses, not names, throughout."""

    def __init__(self, world: World, rng: Random) -> None:
        self._world = world
        self._rng = rng
        self._cuts: dict[int, Callable[[str, str], bool]] = {}
        self._cut_count = 0
        self.loss = 0.0  # of every message
        self.node_loss: dict[str, float] = {}  # of every message from or to one address
        self.extra_s: dict[str, float] = {}  # delay of every message from or to one address
        self.released_at = -math.inf  # when TCP last gave out what it had held back

    def cut(self, cuts: Callable[[str, str], bool]) -> int:
        """From now on nothing gets from a to b where ``cuts(a, b)``. Returns what `mend` takes."""
        self._cut_count += 1
        self._cuts[self._cut_count] = cuts
        return self._cut_count

    def mend(self, number: int) -> None:
        """Undo one cut; other cuts stay."""
        del self._cuts[number]

    def is_cut(self, src: str, dst: str) -> bool:
        """Whether nothing gets from ``src`` to ``dst``."""
        for cuts in self._cuts.values():  # noqa: SIM110  a generator costs more than most cuts
            if cuts(src, dst):
                return True
        return False

    def is_held_up(self, src: str, dst: str) -> bool:
        """Whether what ``src`` has sent to ``dst`` waits to be sent again, as TCP does long after a cut is mended."""
        return False

    def send(self, src: str, dst: str, message: GossipMessage) -> None:
        """A message sets out, now."""
        raise NotImplementedError

    def killed(self, address: str) -> None:
        """A process is gone, and its kernel closes its sockets."""

    def closed(self, src: str, dst: str) -> None:
        """``src`` closes its link to ``dst``, on purpose."""

    def renew(self, src: str, dst: str) -> None:
        """``src`` hears nobody: its link to ``dst`` is closed if either way has been dumb for long."""

    def _delay_s(self, src: str, dst: str) -> float:
        delay_s = LATENCY_MIN_S + (LATENCY_MAX_S - LATENCY_MIN_S) * self._rng.random()
        if self.extra_s:
            delay_s += self.extra_s.get(src, 0.0) + self.extra_s.get(dst, 0.0)
        return delay_s

    def _is_lost(self, src: str, dst: str) -> bool:
        if not self.loss and not self.node_loss:
            return False
        arrives = (1 - self.loss) * (1 - self.node_loss.get(src, 0.0)) * (1 - self.node_loss.get(dst, 0.0))
        return self._rng.random() >= arrives


class Datagrams(Network):
    """Each message for itself."""

    def send(self, src: str, dst: str, message: GossipMessage) -> None:
        if src == dst:
            self._world.later(self._delay_s(src, dst), self._world.self_dialled, src)
        elif not (self._cuts and self.is_cut(src, dst)) and not self._is_lost(src, dst):
            self._world.later(self._delay_s(src, dst), self._world.arrive, dst, src, message)


class _Link:
    """One connection: ``up`` once both ends have said hello; what is sent before waits in ``outbox``."""

    __slots__ = ("outbox", "up")

    def __init__(self) -> None:
        self.up = False
        self.outbox: deque[tuple[_Way, GossipMessage]] = deque(maxlen=OUTBOX_MAX)


class _Way:
    """One direction of a connection; ``src_boot`` and ``dst_boot``: which life of each end it belongs to."""

    __slots__ = ("dst", "dst_boot", "held", "held_since", "last_arrival", "link", "src", "src_boot")

    def __init__(self, link: _Link, src: str, dst: str, src_boot: int, dst_boot: int) -> None:
        self.link = link
        self.src, self.dst = src, dst
        self.src_boot, self.dst_boot = src_boot, dst_boot
        self.last_arrival = 0.0
        self.held: deque[GossipMessage] | None = None  # what waits for the retransmission of its first
        self.held_since = 0.0


_NOTHING: Final[deque[tuple[_Way, GossipMessage]]] = deque(maxlen=0)
"""Of every link that is up: an empty deque of its own takes 600 bytes."""


class Streams(Network):
    """One connection for each pair of processes that talk, used in both directions."""

    def __init__(self, world: World, rng: Random) -> None:
        super().__init__(world, rng)
        self._ways: defaultdict[str, dict[str, _Way]] = defaultdict(dict)  # by sender and receiver

    def send(self, src: str, dst: str, message: GossipMessage) -> None:
        if src == dst:
            self._world.later(self._delay_s(src, dst), self._world.self_dialled, src)
            return
        way = self._ways[src].get(dst)
        if way is None or way.src_boot != self._world.boots[src]:
            way = self._dial(src, dst)
        if way.link.up:
            self._transmit(way, message)
        else:
            way.link.outbox.append((way, message))

    def killed(self, address: str) -> None:
        for peer, way in list(self._ways[address].items()):
            self._forget(address, peer)
            if way.link.up and not self.is_cut(address, peer):
                self._lose(peer, way.dst_boot, address)

    def closed(self, src: str, dst: str) -> None:
        self._forget(src, dst)

    def renew(self, src: str, dst: str) -> None:
        if self._is_dumb(src, dst) or self._is_dumb(dst, src):
            self._forget(src, dst)

    def is_held_up(self, src: str, dst: str) -> bool:
        way = self._ways[src].get(dst)
        return way is not None and bool(way.held)

    def _is_dumb(self, src: str, dst: str) -> bool:
        return self.is_held_up(src, dst) and self._world.now >= self._ways[src][dst].held_since + SILENT_LINK_S

    def _dial(self, src: str, dst: str) -> _Way:
        boots = self._world.boots
        link, src_boot, dst_boot = _Link(), boots[src], boots.get(dst, 0)
        way = self._ways[src][dst] = _Way(link, src, dst, src_boot, dst_boot)
        back = self._ways[dst][src] = _Way(link, dst, src, dst_boot, src_boot)
        self._world.later(2 * self._delay_s(src, dst), self._answer, way, back, SYN_RETRY_S)
        return way

    def _answer(self, way: _Way, back: _Way, retry_s: float) -> None:
        """What becomes of a dial; with nobody there to say so, it is tried again until the time is over."""
        world, link, src, dst = self._world, way.link, way.src, way.dst
        if self._ways[src].get(dst) is not way or link.up:
            return
        if self.is_cut(src, dst) or self.is_cut(dst, src) or dst not in world.powered or self._is_lost(src, dst):
            self._retry(way, back, retry_s, DIAL_TIMEOUT_S)
        elif world.is_frozen(dst):
            self._retry(way, back, retry_s, HELLO_TIMEOUT_S)
        elif not world.is_running(dst):
            self._give_up(way, refused=True)
        else:
            link.up = True
            way.dst_boot = back.src_boot = world.boots[dst]
            waiting, link.outbox = link.outbox, _NOTHING
            for onto, message in waiting:
                self._transmit(onto, message)

    def _retry(self, way: _Way, back: _Way, retry_s: float, limit_s: float) -> None:
        if retry_s > limit_s:
            self._give_up(way, refused=False)
        else:
            self._world.later(retry_s, self._answer, way, back, 2 * retry_s + SYN_RETRY_S)

    def _give_up(self, way: _Way, *, refused: bool) -> None:
        self._forget(way.src, way.dst)
        self._world.unreachable(way.src, way.src_boot, way.dst, refused=refused)

    def _transmit(self, way: _Way, message: GossipMessage) -> None:
        world, src, dst = self._world, way.src, way.dst
        if way.held:
            if len(way.held) < HELD_MAX:
                way.held.append(message)
        elif (self._cuts and self.is_cut(src, dst)) or self._is_lost(src, dst):
            way.held, way.held_since = deque([message]), world.now
            world.later(RETRANSMIT_MIN_S, self._retransmit, way, RETRANSMIT_MIN_S)
        elif dst not in world.powered:
            return  # nobody acknowledges it, and nobody says so
        elif way.dst_boot != world.boots.get(dst, 0):
            self._forget(src, dst)  # the machine is back and knows nothing of this connection
            self._lose(src, way.src_boot, dst)
        else:
            self._arrive_in_order(way, message)

    def _retransmit(self, way: _Way, paused_s: float) -> None:
        """The first of those held back sets out once more; if it arrives, the others follow."""
        if not way.held or self._ways[way.src].get(way.dst) is not way:
            return
        if self.is_cut(way.src, way.dst) or self._is_lost(way.src, way.dst):
            pause_s = min(2 * paused_s, RETRANSMIT_MAX_S)
            self._world.later(pause_s, self._retransmit, way, pause_s)
            return
        held, way.held = way.held, None
        self.released_at = self._world.now
        self._arrive_in_order(way, held.popleft())
        for message in held:
            self._transmit(way, message)

    def _arrive_in_order(self, way: _Way, message: GossipMessage) -> None:
        arrival = self._world.now + self._delay_s(way.src, way.dst)
        if arrival < way.last_arrival:
            arrival = way.last_arrival
        way.last_arrival = arrival
        self._world.later(arrival - self._world.now, self._deliver, way, message)

    def _deliver(self, way: _Way, message: GossipMessage) -> None:
        if way.dst_boot == self._world.boots.get(way.dst, 0):
            self._world.arrive(way.dst, way.src, message)

    def _lose(self, node: str, boot: int, peer: str) -> None:
        self._world.later(self._delay_s(peer, node), self._world.link_lost, node, boot, peer)

    def _forget(self, a: str, b: str) -> None:
        way = self._ways[a].pop(b, None)
        if way is not None:  # what waits is lost; and it refers to the way, in a cycle that nobody would collect
            way.link.outbox = _NOTHING
        self._ways[b].pop(a, None)


def between(sides: Iterable[Iterable[str]]) -> Callable[[str, str], bool]:
    """A cut between different sides; who is on no side reaches everybody."""
    side_of = {address: number for number, side in enumerate(sides) for address in side}

    def cuts(src: str, dst: str) -> bool:
        one, other = side_of.get(src), side_of.get(dst)
        return one is not None and other is not None and one != other

    return cuts
