"""TCP as an application sees it, between two simulated hosts.

A stream is two pipes. A pipe is a queue of segments on their way, each with the time of its arrival, and a
buffer of what has arrived and not been read. There is no task behind it: whoever looks first moves what is
due (`Pipe.settle`), and whoever waits, waits for the next arrival. What an application can observe of TCP:

* bytes arrive in order or not at all; a lost packet is a delay, for everything behind it as well: that of TCP's
  retransmissions, until one comes through (never sooner by later packets that arrive: the harsher case);
* a window: a writer waits while so many bytes are on their way or unread (back-pressure);
* a cut way holds the bytes back. Once it is mended they come with TCP's next retransmission, whose pauses
  have doubled since: after a long cut that can be as long again;
* a close sends the rest and an end of file; a close with unread bytes, and bytes for a socket that is gone,
  are answered by a reset. A reset is sent once: over a cut way it is lost, and the other end sits there
  half open until it writes.

Not modelled: bandwidth, and TCP's own give-up after a quarter of an hour.
"""

from __future__ import annotations

import math
import operator
import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Final

import trio

WINDOW_BYTES: Final = 256 * 1024
"""On their way or unread, before a writer waits. Linux grows to some MiB; less shows back-pressure sooner."""

SEGMENT_BYTES: Final = 16 * 1024
"""What travels, and is delayed, in one piece."""

RETRANSMIT_MIN_S: Final = 0.2
RETRANSMIT_MAX_S: Final = 120.0
"""Linux: the first pause before a retransmission, and the longest; each is twice the one before."""

LATENCY_S: Final = 0.000_2
"""One way between two hosts of a LAN."""

LOOPBACK_LATENCY_S: Final = 0.000_02

RETRANSMITS_MAX: Final = 15
"""Linux gives a connection up after so many; here the next one arrives."""

JITTER: Final = 1.0
"""A segment takes its latency and up to so many times as much again, drawn."""


class Sign(Enum):
    """What a segment without bytes says."""

    EOF = "eof"
    RESET = "reset"


@dataclass(slots=True)
class _Segment:
    """Bytes or a sign on the way; virtual times."""

    content: bytes | Sign
    sent_at: float
    arrives_at: float


class Way:
    """One direction between two hosts, as it is at present."""

    def __init__(self, src: str, dst: str, rng: random.Random) -> None:
        self.src = src
        self.dst = dst
        self.extra_s = 0.0
        self.whole_since = 0.0
        self.windows_filled = 0
        self._rng = rng
        self._latency_s = LOOPBACK_LATENCY_S if src == dst else LATENCY_S
        self._cuts = 0
        self._losses: list[float] = []  # shares, each of what the others let through
        self._pipes: dict[Pipe, None] = {}

    @property
    def open(self) -> bool:
        return self._cuts == 0

    @property
    def whole(self) -> bool:
        """Whether everything sent arrives, and at once."""
        return self.open and not self._losses

    def draw_s(self) -> float:
        """How long the next packet takes."""
        return self.extra_s + self._latency_s * (1.0 + JITTER * self._rng.random())

    def draw_lost(self) -> bool:
        """Whether the next packet is lost."""
        return any(self._rng.random() < share for share in self._losses)

    def draw_lost_s(self) -> float:
        """How long retransmissions take until one comes through; 0 if nothing is lost."""
        waited_s, pause_s = 0.0, RETRANSMIT_MIN_S
        for _attempt in range(RETRANSMITS_MAX):
            if not self.draw_lost():
                break
            waited_s += pause_s
            pause_s = min(2 * pause_s, RETRANSMIT_MAX_S)
        return waited_s

    def lose(self, share: float) -> None:
        """From now on so large a share of all packets is lost."""
        self._losses.append(share)

    def lose_no_more(self, share: float, now: float) -> None:
        """Undo one `lose`. What was lost comes with the next retransmission, if nothing else is in its way."""
        self._losses.remove(share)
        self._heal(now)
        if self.whole:
            for pipe in self._pipes:
                pipe.hasten(now)

    def _heal(self, now: float) -> None:
        if self.whole:
            self.whole_since = now

    def carry(self, pipe: Pipe) -> None:
        """A pipe is to be told of cuts."""
        self._pipes[pipe] = None

    def drop(self, pipe: Pipe) -> None:
        self._pipes.pop(pipe, None)

    def cut(self, now: float) -> None:
        """Nothing arrives any more, until as many `mend` as `cut`."""
        for pipe in self._pipes:
            pipe.settle(now)
        self._cuts += 1

    def mend(self, now: float) -> None:
        self._cuts -= 1
        if self._cuts:
            return
        self._heal(now)
        for pipe in self._pipes:
            pipe.retransmit(now)


class Pipe:
    """One direction of one connection."""

    def __init__(self, way: Way, note: Callable[[float, bytes], None]) -> None:
        self._way = way
        self._note = note
        self._flight: deque[_Segment] = deque()
        self._flying_bytes = 0
        self._arrived = bytearray()
        self.unserved = 0  # segments that have arrived since somebody last read
        self._wanted = True  # the receiving end has the socket open
        self.end: Sign | None = None  # what has arrived behind the last byte
        self.bounced_at = math.inf  # when the sender hears that the other end is gone
        self.readers = trio.lowlevel.ParkingLot()
        self.writers = trio.lowlevel.ParkingLot()
        self.sender_reads = self.readers  # where the sender waits for the other direction: `SimulatedStream`
        way.carry(self)

    @property
    def unread(self) -> bool:
        return bool(self._arrived)

    @property
    def room(self) -> int:
        """Bytes that may be sent at once."""
        return max(0, WINDOW_BYTES - self._flying_bytes - len(self._arrived))

    def send(self, content: bytes | Sign, now: float) -> None:
        """Send bytes or a sign."""
        self._note(now, content if isinstance(content, bytes) else content.value.encode())
        if content is Sign.RESET and not self._way.open:
            return
        lost_s = self._way.draw_lost_s()
        first = not self._flight
        earliest = 0.0 if first else self._flight[-1].arrives_at
        self._flight.append(_Segment(content, now, max(earliest, now + self._way.draw_s() + lost_s)))
        self._flying_bytes += _size(content)
        self._way.windows_filled += self.room == 0
        if first:
            self._wake_both()

    def settle(self, now: float) -> None:
        """Let arrive what is due."""
        while self._flight and self.next_arrival() <= now:
            segment = self._flight.popleft()
            self._flying_bytes -= _size(segment.content)
            self._arrive(segment)

    def next_arrival(self) -> float:
        """When the next segment arrives, as things are."""
        return self._flight[0].arrives_at if self._flight and self._way.open else math.inf

    def next_news(self) -> float:
        """When the sender may next hear something of the other end, as things are."""
        return self.bounced_at if self._wanted else min(self.bounced_at, self.next_arrival())

    def take(self, max_bytes: int) -> bytes:
        """Read from what has arrived."""
        data = bytes(self._arrived[:max_bytes])
        del self._arrived[: len(data)]
        self.unserved = 0
        self.writers.unpark_all()
        return data

    def refuse(self) -> None:
        """The receiving end has closed its socket."""
        self._wanted = False
        self._arrived.clear()
        self._wake_both()

    def retransmit(self, now: float) -> None:
        """The way is mended: the first segment comes with TCP's next attempt, and all others behind it."""
        if not self._flight:
            return
        arrival = self._next_attempt(now) + self._way.draw_s() + self._way.draw_lost_s()
        for segment in self._flight:
            segment.arrives_at = max(segment.arrives_at, arrival)
        self._wake_both()

    def hasten(self, now: float) -> None:
        """Nothing is lost any more: what waits for a later retransmission comes with the next one."""
        if not self._flight:
            return
        arrival = self._next_attempt(now) + self._way.draw_s()
        for segment in self._flight:
            segment.arrives_at = min(segment.arrives_at, arrival)
        self._wake_both()

    def _next_attempt(self, now: float) -> float:
        """When TCP next sends the first segment on its way again."""
        attempt, pause = self._flight[0].sent_at, RETRANSMIT_MIN_S
        while attempt < now:
            attempt += pause
            pause = min(2 * pause, RETRANSMIT_MAX_S)
        return attempt

    def retire(self) -> None:
        """Nobody at either end any more."""
        self._way.drop(self)

    def _wake_both(self) -> None:
        """What the two ends wait for may come at another time now: the receiver's bytes, the sender's reset."""
        self.readers.unpark_all()
        if not self._wanted:
            self.writers.unpark_all()
            self.sender_reads.unpark_all()

    def _arrive(self, segment: _Segment) -> None:
        if isinstance(segment.content, Sign):
            self.end = segment.content
        elif self._wanted:
            self._arrived += segment.content
            self.unserved += 1
        elif math.isinf(self.bounced_at):
            self.bounced_at = segment.arrives_at + self._way.draw_s()


def _size(content: bytes | Sign) -> int:
    return len(content) if isinstance(content, bytes) else 0


class SimulatedStream(trio.abc.HalfCloseableStream):
    """One end of a connection. ``on_close`` is called once, when this end is closed; ``on_read`` with how many
    segments have just been read, and says whether its process is busy with them for a while."""

    def __init__(
        self,
        name: str,
        outgoing: Pipe,
        incoming: Pipe,
        on_close: Callable[[SimulatedStream], None],
        on_read: Callable[[int], bool],
    ) -> None:
        self.name = name
        self.closed = False
        self._outgoing = outgoing
        self._incoming = incoming
        self._on_close = on_close
        self._on_read = on_read
        self._eof_sent = False
        self._broken = False
        self._busy: set[str] = set()
        outgoing.sender_reads = incoming.readers

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        at_most = WINDOW_BYTES if max_bytes is None else operator.index(max_bytes)
        if at_most < 1:
            raise ValueError("max_bytes must be at least 1")
        with self._alone("receive"):
            await trio.lowlevel.checkpoint()
            while True:
                if self.closed:
                    raise trio.ClosedResourceError("closed at this end")
                self._settle()
                if self._incoming.unread:
                    return await self._read(at_most)
                if self._broken:
                    raise trio.BrokenResourceError("connection reset by peer")
                if self._incoming.end is Sign.EOF:
                    return b""
                with trio.move_on_at(self._next_event()):
                    await self._incoming.readers.park()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with self._alone("send"):
            await trio.lowlevel.checkpoint()
            rest = bytes(data)
            self._check_writable()
            while rest:
                await self._wait_room()
                size = min(self._outgoing.room, SEGMENT_BYTES)
                self._outgoing.send(rest[:size], trio.current_time())
                rest = rest[size:]

    async def wait_send_all_might_not_block(self) -> None:
        with self._alone("send"):
            await trio.lowlevel.checkpoint()
            self._check_writable()
            await self._wait_room()

    async def send_eof(self) -> None:
        with self._alone("send"):
            await trio.lowlevel.checkpoint()
            if self.closed:
                raise trio.ClosedResourceError("closed at this end")
            if not self._eof_sent:
                self._eof_sent = True
                self._outgoing.send(Sign.EOF, trio.current_time())

    async def aclose(self) -> None:
        self.shut()
        await trio.lowlevel.checkpoint()

    def shut(self) -> None:
        """Close at once, as a kernel does for a process: what is sent still goes out, then an end or a reset."""
        if self.closed:
            return
        now = trio.current_time()
        self._settle()
        if self._incoming.unread:
            self._outgoing.send(Sign.RESET, now)
        elif not self._eof_sent:
            self._outgoing.send(Sign.EOF, now)
        self.vanish()

    def vanish(self) -> None:
        """Be gone without a word, as when the power fails."""
        if self.closed:
            return
        self.closed = True
        self._incoming.refuse()
        self._outgoing.writers.unpark_all()
        self._on_close(self)

    def retire(self) -> None:
        """Both ends are closed: nothing of the connection matters any more."""
        self._incoming.retire()
        self._outgoing.retire()

    async def _read(self, at_most: int) -> bytes:
        segments = self._incoming.unserved
        data = self._incoming.take(at_most)
        if self._on_read(segments):
            with trio.CancelScope(shield=True):  # the bytes are taken
                await trio.lowlevel.checkpoint()
        return data

    @contextmanager
    def _alone(self, what: str) -> Iterator[None]:
        if what in self._busy:
            raise trio.BusyResourceError(f"another task is in {what} on this stream")
        self._busy.add(what)
        try:
            yield
        finally:
            self._busy.discard(what)

    def _settle(self) -> None:
        now = trio.current_time()
        self._incoming.settle(now)
        self._outgoing.settle(now)
        if self._incoming.end is Sign.RESET or self._outgoing.bounced_at <= now:
            self._broken = True

    def _next_event(self) -> float:
        return min(self._incoming.next_arrival(), self._outgoing.next_news())

    def _check_writable(self) -> None:
        if self.closed or self._eof_sent:
            raise trio.ClosedResourceError("closed at this end")
        self._settle()
        if self._broken:
            raise trio.BrokenResourceError("connection reset by peer")

    async def _wait_room(self) -> None:
        self._check_writable()
        while not self._outgoing.room:
            with trio.move_on_at(self._next_event()):
                await self._outgoing.writers.park()
            self._check_writable()
