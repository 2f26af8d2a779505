"""The wires between simulated hosts, and `varlogd.mesh.network.Network` for each process on them.

A host is a machine with a kernel: while it has power, the kernel completes connects for a listening process
whether that runs or not, refuses them where nobody listens, and closes the sockets of a process that is
killed. Without power there is silence.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import trio

from simulations.streams import Pipe, SimulatedStream, Way
from simulations.trace import Trace
from varlogd.config import split_address
from varlogd.errors import CannotListen, NobodyListens, Unreachable
from varlogd.mesh.network import join_address

CONNECT_RETRY_S: Final = 1.0
"""Linux repeats an unanswered SYN after one second, then after twice the pause, ..."""

CONNECT_ATTEMPTS: Final = 7
"""... and gives up after the seventh, about two minutes."""

BACKLOG: Final = 128
"""Connections that wait to be accepted; past that a SYN is dropped."""

FIRST_FREE_PORT: Final = 32768
"""Where the kernel looks for a port when asked for port 0."""


class Wires:
    """All hosts, and everything between them."""

    def __init__(self, hosts: Iterable[str], rng: random.Random, trace: Trace) -> None:
        self._hosts = tuple(hosts)
        self._rng = rng
        self._trace = trace
        self._ways = {(src, dst): Way(src, dst, rng) for src in self._hosts for dst in self._hosts}
        self._dark: dict[str, None] = {}
        self._listeners: dict[tuple[str, int], SimulatedListener] = {}
        self._connections = 0
        self._open: dict[SimulatedStream, SimulatedStream] = {}  # one end -> the other

    @property
    def open_streams(self) -> list[str]:
        """Ends that a process holds open, by name."""
        return [stream.name for stream in self._open if not stream.closed]

    @property
    def windows_filled(self) -> int:
        """How often a writer had to wait for its reader."""
        return sum(way.windows_filled for way in self._ways.values())

    def way(self, src: str, dst: str) -> Way:
        return self._ways[src, dst]

    def connected_since(self, one: str, other: str) -> float:
        """Since when both directions between two hosts have let everything through; infinity if one does not."""
        ways = (self.way(one, other), self.way(other, one))
        return max(way.whole_since for way in ways) if all(way.whole for way in ways) else math.inf

    def add(self, host: str) -> None:
        """One more host; every way from and to it is whole."""
        self._hosts += (host,)
        for src, dst in [(host, host), *self.around(host)]:
            self._ways[src, dst] = Way(src, dst, self._rng)

    def knows(self, host: str) -> bool:
        return host in self._hosts

    def cut(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Cut the ways ``(src, dst)``."""
        for pair in pairs:
            self._ways[pair].cut(trio.current_time())

    def mend(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Undo one `cut` of each of these ways."""
        for pair in pairs:
            self._ways[pair].mend(trio.current_time())

    def slow_down(self, host: str, extra_s: float) -> None:
        """Every segment from or to a host takes so much longer than now (less, if negative)."""
        for src, dst in self.around(host):
            self._ways[src, dst].extra_s += extra_s

    def lose(self, host: str, share: float) -> None:
        """So large a share of all packets from and to a host is lost."""
        for pair in self.around(host):
            self._ways[pair].lose(share)

    def lose_no_more(self, host: str, share: float) -> None:
        """Undo one `lose`."""
        for pair in self.around(host):
            self._ways[pair].lose_no_more(share, trio.current_time())

    def darken(self, host: str) -> None:
        """The power fails: nothing leaves the host or reaches it. Its processes must `vanish` first."""
        if host not in self._dark:
            self._dark[host] = None
            self.cut(self.around(host))

    def lighten(self, host: str) -> None:
        """The power is back, if it was out."""
        if host in self._dark:
            del self._dark[host]
            self.mend(self.around(host))

    def is_dark(self, host: str) -> bool:
        """Whether a host has no power."""
        return host in self._dark

    def listen(self, listener: SimulatedListener) -> None:
        """Open a listener. Raises CannotListen if the port is in use."""
        at = (listener.host, listener.port)
        if at in self._listeners:
            raise CannotListen(f"listen: cannot listen on {join_address(*at)}: address already in use")
        self._listeners[at] = listener

    def unlisten(self, listener: SimulatedListener) -> None:
        if self._listeners.get((listener.host, listener.port)) is listener:
            del self._listeners[listener.host, listener.port]

    def listener_at(self, host: str, port: int) -> SimulatedListener | None:
        return self._listeners.get((host, port))

    def free_port(self, host: str) -> int:
        port = FIRST_FREE_PORT
        while (host, port) in self._listeners:
            port += 1
        return port

    def connection(
        self, client: SimulatedNetwork, server: SimulatedNetwork
    ) -> tuple[SimulatedStream, SimulatedStream]:
        """The two ends of a new connection, each owned by its process."""
        self._connections += 1
        name = f"{client.host}>{server.host}#{self._connections}"
        there = self._pipe(client.host, server.host, name)
        back = self._pipe(server.host, client.host, f"{name} back")
        near = SimulatedStream(name, there, back, lambda end: self._closed(end, client), client.on_read)
        far = SimulatedStream(f"{name} back", back, there, lambda end: self._closed(end, server), server.on_read)
        self._open[near], self._open[far] = far, near
        client.streams[near] = None
        server.streams[far] = None
        return near, far

    def _closed(self, end: SimulatedStream, owner: SimulatedNetwork) -> None:
        owner.streams.pop(end, None)
        other = self._open[end]
        if other.closed:
            del self._open[end], self._open[other]
            end.retire()

    def _pipe(self, src: str, dst: str, name: str) -> Pipe:
        return Pipe(self._ways[src, dst], lambda at, data: self._trace.wire(at, name, data))

    def around(self, host: str) -> Iterator[tuple[str, str]]:
        """All ways from and to a host."""
        for other in self._hosts:
            if other != host:
                yield host, other
                yield other, host


class SimulatedNetwork:
    """The network as one process on one host has it: a `varlogd.mesh.network.Network`."""

    def __init__(self, wires: Wires, host: str, on_read: Callable[[int], bool] = lambda _segments: False) -> None:
        """``on_read``: see `SimulatedStream`."""
        self.host = host
        self.on_read = on_read
        self.streams: dict[SimulatedStream, None] = {}
        self._wires = wires
        self._listeners: list[SimulatedListener] = []
        self._ended = False

    async def connect(self, address: str) -> trio.abc.Stream:
        """A stream to ``host:port``, after TCP's handshake: refused, timed out, or nothing for a long time."""
        host, port = split_address(address)
        if not self._wires.knows(host):
            raise Unreachable(f"{address}: name or service not known")
        pause = CONNECT_RETRY_S
        for _attempt in range(CONNECT_ATTEMPTS):
            if await self._round_trip(host):
                stream = self._accepted_by(self._wires.listener_at(host, port), address)
                if stream is not None:
                    return stream
            await trio.sleep(pause)
            pause *= 2
        raise Unreachable(f"{address}: connection timed out")

    async def listen(self, address: str) -> tuple[Sequence[trio.abc.Listener[trio.abc.Stream]], str]:
        host, port = split_address(address)
        if host != self.host:
            raise CannotListen(f"listen: cannot listen on {address}: cannot assign requested address")
        listener = SimulatedListener(self._wires, self, port or self._wires.free_port(host))
        self._wires.listen(listener)
        self._listeners.append(listener)
        await trio.lowlevel.checkpoint()
        return [listener], join_address(host, listener.port)

    def own_host(self, toward: str | None) -> str:
        return self.host

    def kill(self) -> None:
        """The process is gone; its kernel closes what it had open."""
        self._end(SimulatedStream.shut)

    def vanish(self) -> None:
        """The machine is gone: nobody closes anything."""
        self._end(SimulatedStream.vanish)

    def _end(self, close: Callable[[SimulatedStream], None]) -> None:
        self._ended = True
        for listener in self._listeners:
            listener.shut()
        for stream in list(self.streams):
            close(stream)

    async def _round_trip(self, host: str) -> bool:
        """Wait for an answer to a SYN; false if there will be none."""
        there, back = self._wires.way(self.host, host), self._wires.way(host, self.host)
        if not (there.open and back.open):
            return False
        await trio.sleep(there.draw_s() + back.draw_s())
        return there.open and back.open and not (there.draw_lost() or back.draw_lost())

    def _accepted_by(self, listener: SimulatedListener | None, address: str) -> SimulatedStream | None:
        """The near end, once the kernel over there has taken the connection; None if it dropped the SYN."""
        if self._ended:
            raise Unreachable(f"{address}: this process has been killed")
        if listener is None:
            raise NobodyListens(f"{address}: connection refused")
        if listener.full:
            return None
        near, far = self._wires.connection(self, listener.network)
        listener.put(far)
        return near


class SimulatedListener(trio.abc.Listener[trio.abc.Stream]):
    """A listening socket."""

    def __init__(self, wires: Wires, network: SimulatedNetwork, port: int) -> None:
        self.host = network.host
        self.port = port
        self.network = network
        self._wires = wires
        self._waiting: deque[SimulatedStream] = deque()
        self._closed = False
        self._acceptors = trio.lowlevel.ParkingLot()

    @property
    def full(self) -> bool:
        return len(self._waiting) >= BACKLOG

    def put(self, stream: SimulatedStream) -> None:
        """A connection that the kernel has completed."""
        self._waiting.append(stream)
        self._acceptors.unpark()

    async def accept(self) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        while not self._closed and not self._waiting:
            await self._acceptors.park()
        if self._closed:
            raise trio.ClosedResourceError("the listener is closed")
        return self._waiting.popleft()

    async def aclose(self) -> None:
        self.shut()
        await trio.lowlevel.checkpoint()

    def shut(self) -> None:
        """Close at once; what waited to be accepted is reset."""
        if self._closed:
            return
        self._closed = True
        self._wires.unlisten(self)
        for stream in self._waiting:
            stream.shut()
        self._waiting.clear()
        self._acceptors.unpark_all()
