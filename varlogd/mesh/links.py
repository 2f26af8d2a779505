"""Links: the websockets that carry gossip, one for each peer, used in both directions.

A link is found by its peer's *advertised address*, which each side says in its hello; so a peer that
cannot be dialled is reached over the link it opened itself. Sending never blocks and never fails: a message
for a peer without a link starts a dial in a task of its own and waits in that link's bounded outbox.

Each link has one writer (a frame cut in the middle corrupts a websocket) and one reader. Three things are
told upwards, and all three are hints, none a verdict: a link that broke, a dial that failed, and a dial that
reached ourselves. A link that either side closes on purpose (1000, 1001) is not a hint at all.

When two nodes dial each other at once, both see two links. The one dialled by the smaller address stays; the
other is closed by the node that dialled it, once its outbox is empty, so no message is lost over it. If that node
does not (it has given up the first meanwhile, or is gone) its other end closes it a while later, unless it is the
only one by then. A link whose peer dials anew, or after a reboot, is closed here: its other end is gone, perhaps
without a word (lost power).
"""

from __future__ import annotations

import logging
import math
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import trio

from varlogd.errors import Closed, NobodyListens, ProtocolError, RejectedHandshake, Unreachable
from varlogd.mesh.network import Network
from varlogd.mesh.transport import CLOSE_GOING_AWAY, CLOSE_NORMAL, CLOSE_PROTOCOL, WebSocket, open_websocket
from varlogd.wire.codec import decode_cbor, encode_cbor
from varlogd.wire.gossip import Ack, GossipMessage, Hello, LinkMessage, Nack, Ping, PingReq
from varlogd.wire.limits import (
    GOSSIP_FRAME_MAX_BYTES,
    GOSSIP_SUBPROTOCOL,
    GOSSIP_WRITE_TIMEOUT_S,
    HELLO_TIMEOUT_S,
    PROTOCOL_VERSION,
)

log = logging.getLogger(__name__)

OUTBOX_MESSAGES_MAX: Final = 64
"""Messages of a kind that wait for one peer. Gossip tolerates loss, so the oldest gives way, and is counted."""

PROBES: Final = (Ping, Ack, Nack, PingReq)
"""What is written first: somebody waits for it with a watch in hand, and a whole view before it takes its time."""

SILENT_LINK_S: Final = 5.0
"""How long a ping over a link may have gone without a word from the peer before `renew` gives the link up: more than
a dial takes, so none is given up while it is dialled."""

LAST_WORDS_S: Final = 15.0
"""For how long one that is held dead is still heard on the link there was. A refutation that was on its way comes
within seconds, however busy the machine; a link whose other end has lost power costs 20 KB meanwhile."""

SPARE_LINK_S: Final = 5.0
"""How long a link that its dialler should close is left to it: more than a dial takes, at whose end both sides know
which link stays."""

GOSSIP_PATH: Final = "/gossip"

_ON_PURPOSE: Final = (CLOSE_NORMAL, CLOSE_GOING_AWAY)


class LinkEvents(Protocol):
    """What links tell the loop above them. Addresses are advertised ones, or a seed's as configured."""

    def on_message(self, src: str, message: GossipMessage) -> None: ...
    def on_link_lost(self, address: str) -> None: ...
    def on_unreachable(self, address: str, *, refused: bool) -> None: ...
    def on_self_dialled(self, address: str) -> None: ...


class _Link:
    """One peer's outbox and, once the dial has succeeded, its websocket."""

    def __init__(self, address: str, dialler: str, epoch: int | None = None) -> None:
        self.address = address
        self.dialler = dialler
        self.epoch = epoch  # the peer's, once it has said hello
        self._probes: deque[GossipMessage] = deque(maxlen=OUTBOX_MESSAGES_MAX)
        self._others: deque[GossipMessage] = deque(maxlen=OUTBOX_MESSAGES_MAX)
        self.wake = trio.Event()
        self.drained = trio.Event()
        self.drained.set()
        self.retiring = False
        self.retire_at = math.inf
        self.asked_at: float | None = None  # when the first ping went out since the peer was last heard
        self.scope = trio.CancelScope()

    def post(self, message: GossipMessage) -> bool:
        """Queue a message; false if the oldest of its kind had to give way."""
        outbox = self._probes if isinstance(message, PROBES) else self._others
        fits = len(outbox) < OUTBOX_MESSAGES_MAX
        if self.asked_at is None and isinstance(message, Ping):
            self.asked_at = trio.current_time()
        outbox.append(message)
        if self.drained.is_set():
            self.drained = trio.Event()
        self.wake.set()
        return fits

    def take(self) -> GossipMessage | None:
        """The next message to write, those of probes first; None if there is none."""
        outbox = self._probes or self._others
        return outbox.popleft() if outbox else None

    def retire(self) -> None:
        """Close once the outbox is empty."""
        self.retiring = True
        self.wake.set()

    def crosses(self, other: _Link) -> bool:
        """Whether two links to one peer were dialled from its two ends. If not, the peer has given up the older."""
        return self.dialler != other.dialler and (self.epoch == other.epoch or None in (self.epoch, other.epoch))

    def yields_to(self, other: _Link) -> bool:
        """Which of two links to one peer goes: that of an earlier boot, else the larger dialler's."""
        if self.epoch is not None and other.epoch is not None and self.epoch != other.epoch:
            return self.epoch < other.epoch
        return self.dialler > other.dialler


class Links:
    """All links of this node. `run` owns their tasks; the other methods may be called while it runs."""

    def __init__(self, network: Network, hello: Hello, events: LinkEvents, links_max: int) -> None:
        self._network = network
        self.hello = hello
        """What this node says of itself to the next peer; replaced when its epoch is raised."""
        self._events = events
        self._links_max = links_max
        self._links: OrderedDict[str, _Link] = OrderedDict()  # the least recently used first
        self._aliases: dict[str, str] = {}  # a dialled address (a seed's name) -> the advertised one
        self._nursery: trio.Nursery | None = None
        self.messages_sent = 0
        self.messages_received = 0
        self.messages_dropped = 0

    def __len__(self) -> int:
        return len(self._links)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the links until cancelled."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    def send_nowait(self, to: str, message: GossipMessage) -> None:
        """Send to the peer at an address, over the link there is or one dialled now."""
        if self._nursery is None:
            return
        address = self._aliases.get(to, to)
        link = self._links.get(address)
        if link is None:
            link = _Link(address, dialler=self.hello.address)
            self._keep(link)
            self._nursery.start_soon(self._dial, link)
        self._links.move_to_end(address)
        if not link.post(message):
            self.messages_dropped += 1
            log.debug("outbox full: dropped the oldest message", extra={"fields": {"peer": address}})

    def has(self, to: str) -> bool:
        """Whether there is an open link with this address."""
        link = self._links.get(self._aliases.get(to, to))
        return link is not None and link.epoch is not None

    def drop(self, address: str) -> None:
        """A member is dead: the next message to it dials anew. What it says on the link there was is still heard, for
        `LAST_WORDS_S`: one that lives need not dial to refute its death, which takes a busy machine long."""
        link = self._links.get(address)
        if link is not None:
            self._forget(link)
            link.scope.deadline = trio.current_time() + LAST_WORDS_S

    def renew(self, to: str) -> None:
        """Close the link to a peer from which nothing has come for long though it was pinged.

        Worth it for a node that hears nobody: after a cut TCP sends what waits with its next retransmission, whose
        pauses have doubled all along, so that the link may stay dumb for as long again. A new dial finds the way at
        once. (Whoever else is silent is declared dead, and then called anew.)
        """
        address = self._aliases.get(to, to)
        link = self._links.get(address)
        if link is not None and link.asked_at is not None and trio.current_time() >= link.asked_at + SILENT_LINK_S:
            self._forget(link)
            link.scope.cancel()

    async def flush(self) -> None:
        """Return when every outbox has been written; the caller bounds the time."""
        for link in list(self._links.values()):
            await link.drained.wait()

    async def accept(self, websocket: WebSocket) -> None:
        """Serve an accepted websocket of `/gossip` until it ends."""
        try:
            peer = await self._greet(websocket, answer=True)
        except ProtocolError as error:
            await websocket.close(CLOSE_PROTOCOL, str(error))
            return
        link = _Link(peer.address, dialler=peer.address, epoch=peer.epoch)
        self._keep(link)
        await self._carry(link, websocket)

    async def _dial(self, link: _Link) -> None:
        dialled = link.address
        try:
            async with open_websocket(
                self._network, dialled, GOSSIP_PATH, GOSSIP_SUBPROTOCOL, GOSSIP_FRAME_MAX_BYTES
            ) as websocket:
                peer = await self._greet(websocket, answer=False)
                if not self._rename(link, peer):
                    return
                if peer.address != dialled:
                    self._aliases[dialled] = peer.address
                await self._carry(link, websocket)
        except (Unreachable, ProtocolError) as error:
            log.debug("dial failed", extra={"fields": {"peer": dialled, "why": str(error)}})
            self._forget(link)
            if dialled not in self._links:
                refused = isinstance(error, NobodyListens | RejectedHandshake)
                self._events.on_unreachable(dialled, refused=refused)
        except Exception:  # whatever a peer made of us, it ends with its link
            log.exception("a link failed through a fault of ours", extra={"fields": {"peer": dialled}})
            self._forget(link)

    async def _greet(self, websocket: WebSocket, *, answer: bool) -> Hello:
        """Exchange hellos: the dialler speaks first. Raises Closed, and ProtocolError for anything else."""
        mine = encode_cbor(self.hello)
        if not answer:
            await websocket.send(mine, GOSSIP_WRITE_TIMEOUT_S)
        peer: Hello | GossipMessage | None = None
        with trio.move_on_after(HELLO_TIMEOUT_S):
            peer = _decode(await websocket.receive())
        if not isinstance(peer, Hello) or peer.protocol != PROTOCOL_VERSION:
            raise ProtocolError(f"no hello of protocol {PROTOCOL_VERSION}")
        if answer:
            await websocket.send(mine, GOSSIP_WRITE_TIMEOUT_S)
        return peer

    def _rename(self, link: _Link, peer: Hello) -> bool:
        """File a dialled link under what its peer calls itself; false if that is ourselves."""
        dialled = link.address
        if peer == self.hello:
            self._forget(link)
            self._events.on_self_dialled(dialled)
            return False
        link.epoch = peer.epoch
        if peer.address != dialled:
            self._forget(link)
            link.address = peer.address
            self._keep(link)
        return True

    async def _carry(self, link: _Link, websocket: WebSocket) -> None:
        """Read and write until either ends; a link that nobody closed on purpose was lost."""
        lost: list[bool] = []
        try:
            with link.scope:
                async with trio.open_nursery() as nursery:

                    async def until_it_ends(half: Callable[[_Link, WebSocket], Awaitable[bool]]) -> None:
                        lost.append(await half(link, websocket))
                        nursery.cancel_scope.cancel()

                    nursery.start_soon(until_it_ends, self._write)
                    nursery.start_soon(until_it_ends, self._read)
        finally:
            self._forget(link)
        if lost and lost[0] and link.address not in self._links:
            self._events.on_link_lost(link.address)

    async def _write(self, link: _Link, websocket: WebSocket) -> bool:
        """Write the outbox as it fills; true if the link broke, false if it was closed on purpose."""
        try:
            while True:
                while (message := link.take()) is not None:
                    await websocket.send(encode_cbor(message), GOSSIP_WRITE_TIMEOUT_S)
                    self.messages_sent += 1
                link.drained.set()
                if link.retiring or trio.current_time() >= link.retire_at:
                    await websocket.close(CLOSE_NORMAL, "one link is enough")
                    return False
                link.wake = trio.Event()
                with trio.move_on_at(link.retire_at):
                    await link.wake.wait()
        except Closed as closed:
            return closed.close_code not in _ON_PURPOSE

    async def _read(self, link: _Link, websocket: WebSocket) -> bool:
        """Deliver what comes; true if the link broke, false if it was closed on purpose."""
        try:
            while True:
                message = _decode(await websocket.receive())
                if isinstance(message, Hello):
                    raise ProtocolError("a second hello")
                self.messages_received += 1
                link.asked_at = None
                self._note_use(link)
                self._events.on_message(link.address, message)
        except Closed as closed:
            return closed.close_code not in _ON_PURPOSE
        except ProtocolError as error:
            log.warning("peer broke the protocol", extra={"fields": {"peer": link.address, "why": str(error)}})
            await websocket.close(CLOSE_PROTOCOL, str(error))
            return True

    def _note_use(self, link: _Link) -> None:
        """A message came over it. If it is the only one, or was given up with its member, it is as good as ever;
        unless we dial anew: then its other end closes it."""
        other = self._links.get(link.address)
        given_up = link.scope.deadline < math.inf
        if not link.retiring and (other is None or (given_up and link.crosses(other))):
            link.scope.deadline = math.inf
            self._keep(link)
        elif other is not None:
            self._links.move_to_end(link.address)

    def _keep(self, link: _Link) -> None:
        """File a link: one a peer, and the least recently used one goes when there are too many."""
        other = self._links.get(link.address)
        if other is not None:
            stays, goes = (other, link) if link.yields_to(other) else (link, other)
            self._links[link.address] = stays
            while (message := goes.take()) is not None:
                stays.post(message)
            stays.retire_at = math.inf
            if goes.dialler == self.hello.address or not goes.crosses(stays):
                goes.retire()
            else:
                goes.retire_at = trio.current_time() + SPARE_LINK_S
                goes.wake.set()
            return
        self._links[link.address] = link
        link.retire_at = math.inf
        if len(self._links) > self._links_max:
            _address, oldest = self._links.popitem(last=False)
            oldest.retire()

    def _forget(self, link: _Link) -> None:
        if self._links.get(link.address) is link:
            del self._links[link.address]
            self._aliases = {name: address for name, address in self._aliases.items() if address != link.address}


def _decode(data: bytes | str) -> Hello | GossipMessage:
    if isinstance(data, str):
        raise ProtocolError("gossip is binary")
    message: Hello | GossipMessage = decode_cbor(data, LinkMessage)
    return message
