"""The gossip loop: the trio shell around the `swim` core.

The core decides, synchronously, what is to be done (directives); this loop does it: sends over `Links`,
keeps the timers (one heap, one task), and tells subscribers what changed. Time is `trio.current_time`.

On a busy machine a process that was not run for a while wakes with both: timers that are overdue, and what others
said meanwhile, unread in its sockets. A timer says that nothing came, so what came is read first.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final

import trio

from varlogd.mesh.links import Links
from varlogd.mesh.network import Network
from varlogd.mesh.transport import WebSocket
from varlogd.swim.core import Swim
from varlogd.swim.directives import Directive, EpochRaised, Event, Notify, Send, StartTimer, Timer
from varlogd.wire.gossip import GossipMessage, Hello, Metadata, Tags
from varlogd.wire.limits import PROTOCOL_VERSION

LEAVE_FLUSH_S: Final = 1.0
"""How long a leaver waits for its goodbye to be written: on a LAN it takes milliseconds."""

LATE_S: Final = 0.02
"""A timer that rings later than this rings late because this process was not run: usually it is 1 ms."""

CATCH_UP_S: Final = 0.01
"""For how long what came in meanwhile is read before late timers ring: tasks that can run take many turns in it."""

CATCH_UPS_MAX: Final = 5
"""How often, while messages keep coming in. Together a tenth of the default probe time-out, past which a process
counts as having slept."""


class GossipLoop:
    """Runs one core over one network. `on_event` hears of every change, synchronously: keep it short.

    ``wall_ns`` is the wall clock, in nanoseconds since 1970.
    """

    def __init__(
        self,
        swim: Swim,
        network: Network,
        links_max: int,
        wall_ns: Callable[[], int],
        on_event: Callable[[Event], None],
    ) -> None:
        self.swim = swim
        self._wall_ns = wall_ns
        self.links = Links(network, self._hello(), self, links_max)
        swim.prefer_connected(self.links.has, links_max)
        self._on_event = on_event
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = count()  # ties in time fire in the order they were started
        self._sooner = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Gossip until cancelled; started once the first messages are on their way."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.links.run)
            self._do(self.swim.start(self._now()))
            task_status.started()
            await self._run_timers()

    async def accept(self, websocket: WebSocket) -> None:
        """Serve an accepted websocket of `/gossip`."""
        await self.links.accept(websocket)

    async def leave(self) -> None:
        """Tell the mesh that this node goes, and give the news a bounded time to get out."""
        self._do(self.swim.leave(self._now()))
        with trio.move_on_after(LEAVE_FLUSH_S):
            await self.links.flush()

    def describe(self, metadata: Metadata, tags: Tags) -> None:
        """Say this of ourselves from now on."""
        self._do(self.swim.describe(self._now(), metadata, tags))

    def on_message(self, src: str, message: GossipMessage) -> None:
        self._do(self.swim.on_message(self._now(), src, message))

    def on_link_lost(self, address: str) -> None:
        self._do(self.swim.on_link_lost(self._now(), address))

    def on_unreachable(self, address: str, *, refused: bool) -> None:
        self._do(self.swim.on_unreachable(self._now(), address, refused=refused))

    def on_self_dialled(self, address: str) -> None:
        self._do(self.swim.on_self_dialled(self._now(), address))

    def _do(self, directives: Sequence[Directive]) -> None:
        for directive in directives:
            match directive:
                case Send(to, message):
                    if self.swim.cut_off:
                        self.links.renew(to)
                    self.links.send_nowait(to, message)
                case StartTimer(at, timer):
                    heapq.heappush(self._timers, (at, next(self._order), timer))
                    if self._timers[0][0] == at:
                        self._sooner.set()
                case Notify(event):
                    if isinstance(event, EpochRaised):
                        self.links.hello = self._hello()
                    self._on_event(event)

    def _now(self) -> float:
        """The moment of an entry into the core, which is told what the wall clock shows at it."""
        now = trio.current_time()
        self.swim.wall_ahead_us = (self._wall_ns() - round(now * 1e9)) // 1000
        return now

    def _hello(self) -> Hello:
        me = self.swim.me
        return Hello(PROTOCOL_VERSION, me.name, me.epoch, me.address)

    async def _run_timers(self) -> None:
        while True:
            self._sooner = trio.Event()
            due = self._timers[0][0] if self._timers else float("inf")
            with trio.move_on_at(due):
                await self._sooner.wait()
            if self._timers and trio.current_time() > self._timers[0][0] + LATE_S:
                await self._catch_up()
            now = self._now()
            while self._timers and self._timers[0][0] <= now:
                _at, _order, timer = heapq.heappop(self._timers)
                self._do(self.swim.on_timer(now, timer))

    async def _catch_up(self) -> None:
        """Let the links read what has come in."""
        for _ in range(CATCH_UPS_MAX):
            received = self.links.messages_received
            await trio.sleep(CATCH_UP_S)
            if self.links.messages_received == received:
                return
