"""Websockets, dialled and accepted: the only module that knows trio_websocket.

One port speaks two languages. The head of a request is read here; if it asks for an upgrade its bytes are
replayed into the websocket library, else it is answered as plain HTTP (`mesh.http`).

What the library leaves to its user is done here, once:

* its exceptions, and the sockets', become `errors` at this seam;
* its reader task runs guarded, so that no bytes from outside can end a nursery of ours, and a handshake
  whose peer hangs up fails at once instead of waiting for ever;
* a message is written whole or the socket is dropped, for a write cut in mid-frame corrupts the stream; and
  every write has a deadline;
* every close has a bound; so has what comes in (`mesh.watched`).
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import trio
import trio_websocket

from varlogd.auth import Admit, everybody
from varlogd.errors import Closed, RejectedHandshake, Unreachable, VarlogdError
from varlogd.mesh import http
from varlogd.mesh.background import background
from varlogd.mesh.network import Network
from varlogd.mesh.watched import WatchedStream, linger
from varlogd.wire.limits import (
    ANSWER_BUFFER_BYTES,
    CLOSE_TIMEOUT_S,
    DIAL_TIMEOUT_S,
    HEAD_TIMEOUT_S,
    QUESTION_BUFFER_BYTES,
    QUEUE_MESSAGES_MAX,
)

log = logging.getLogger(__name__)

FULL_TOLD_EVERY_S: Final = 10.0
"""That there are too many connections is told so often: whoever floods us does not fill the log as well."""

CLOSE_NORMAL = 1000
CLOSE_GOING_AWAY = 1001
CLOSE_PROTOCOL = 1002
CLOSE_ABNORMAL = 1006
CLOSE_POLICY = 1008
CLOSE_INTERNAL = 1011
CLOSE_BUSY = 1013
CLOSE_BAD_QUESTION = 4400


class WebSocket:
    """One open websocket. Sending and receiving may go on in two tasks; each in one at a time."""

    def __init__(
        self,
        connection: trio_websocket.WebSocketConnection,
        stream: WatchedStream,
        on_message: Callable[[], object] = lambda: None,
    ) -> None:
        """``on_message`` is called with each message that is received."""
        self._connection = connection
        self._stream = stream
        self._on_message = on_message
        stream.opened(client=connection.is_client)

    @property
    def subprotocol(self) -> str:
        return self._connection.subprotocol or ""

    async def send(self, data: bytes | str, timeout_s: float) -> None:
        """Write one message whole. Raises Closed; after ``timeout_s``, or if cancelled, the socket is dropped."""
        with trio.move_on_after(timeout_s) as scope:
            try:
                await self._connection.send_message(data)
            except trio_websocket.ConnectionClosed as error:
                raise _closed(error) from None
            except trio.Cancelled:
                await self.abort()
                raise
        if scope.cancelled_caught:
            raise Closed(CLOSE_ABNORMAL, f"nothing could be written for {timeout_s:g} s")

    async def receive(self) -> bytes | str:
        """The next message. Raises Closed."""
        try:
            message = await self._connection.get_message()
        except trio_websocket.ConnectionClosed as error:
            raise _closed(error) from None
        self._stream.renew()
        self._on_message()
        return message

    async def close(self, code: int = CLOSE_NORMAL, reason: str = "") -> None:
        """Say goodbye and close; bounded, and idempotent."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_TIMEOUT_S):
            await self._connection.aclose(code, reason[:120])
        await self.abort()

    async def abort(self) -> None:
        """Drop the socket at once: the peer sees it close without a word."""
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(self._stream)


def _closed(error: trio_websocket.ConnectionClosed) -> Closed:
    if error.reason is None:
        return Closed(CLOSE_ABNORMAL)
    return Closed(int(error.reason.code), error.reason.reason or "")


class _GuardedReader:
    """Stands where the library wants a nursery: runs its reader task and remembers how it ended."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._handshake = trio.CancelScope()
        self.ended = trio.Event()
        self.error: Exception | None = None

    def start_soon(self, task: Callable[[], Awaitable[None]]) -> None:
        self._nursery.start_soon(self._run, task)

    async def _run(self, task: Callable[[], Awaitable[None]]) -> None:
        try:
            await task()
        except Exception as error:
            self.error = error
        finally:
            self.ended.set()
            self._handshake.cancel()

    async def finish(self) -> None:
        """Let it answer a close, which it does by itself."""
        with trio.move_on_after(CLOSE_TIMEOUT_S):
            await self.ended.wait()

    async def unless_ended(self, handshake: Awaitable[Any]) -> Any:
        """The handshake's result, or None if the reader ended first: the library would wait for ever."""
        with self._handshake:
            return await handshake
        return None


@asynccontextmanager
async def open_websocket(
    network: Network, address: str, path: str, subprotocol: str, message_max_bytes: int
) -> AsyncIterator[WebSocket]:
    """A websocket to ``address``, dropped on the way out (close it first to say goodbye).

    Raises Unreachable or RejectedHandshake. Whatever the body raises comes out as it is, not in a group.
    """
    async with background() as nursery, _dialled(network, address) as (dialled, deadline):
        stream = WatchedStream(dialled, message_max_bytes)
        reader = _GuardedReader(nursery)
        connection = await reader.unless_ended(
            trio_websocket.wrap_client_stream(
                reader,  # type: ignore[arg-type]
                stream,  # type: ignore[arg-type]
                address,
                path,
                subprotocols=[subprotocol],
                message_queue_size=QUEUE_MESSAGES_MAX,
                max_message_size=message_max_bytes,
                receive_buffer_size=ANSWER_BUFFER_BYTES,
            )
        )
        if connection is None:
            raise _rejection(address, reader.error)
        deadline.deadline = float("inf")
        yield WebSocket(connection, stream)


@asynccontextmanager
async def _dialled(network: Network, address: str) -> AsyncIterator[tuple[trio.abc.Stream, trio.CancelScope]]:
    """A stream that is closed on the way out, under a dial deadline that the user lifts when it is done."""
    with trio.move_on_after(DIAL_TIMEOUT_S) as deadline:
        stream = await network.connect(address)
        try:
            yield stream, deadline
        finally:
            await trio.aclose_forcefully(stream)
    if deadline.cancelled_caught:
        raise Unreachable(f"{address}: no answer to the dial within {DIAL_TIMEOUT_S:g} s")


REJECTION_MAX_CHARS: Final = 200
"""Of the first line of what came instead of a handshake: ours fits, and a stranger's page is not shown in whole."""


def _rejection(address: str, error: Exception | None) -> Unreachable:
    if isinstance(error, trio_websocket.ConnectionRejected):
        lines = (error.body or b"").decode("utf-8", "replace").strip().splitlines() or [""]
        told = f": {lines[0][:REJECTION_MAX_CHARS]}" if lines[0] else ""
        return RejectedHandshake(f"{address}: HTTP {error.status_code}{told}")
    return RejectedHandshake(f"{address}: it closed the connection instead of speaking websocket")


Handler = Callable[[WebSocket], Awaitable[None]]


@dataclass(frozen=True)
class Route:
    """What listens under a path: its subprotocols (the first is used for a client that names none, if
    ``default``), the bound of one incoming message, the handler, and who is let in."""

    handler: Handler
    subprotocols: tuple[str, ...]
    message_max_bytes: int
    default: str | None = None
    admit: Admit = everybody


class Server:
    """Accepts connections, bounded in number, and hands each to its route; one's failure is its own.

    A connection is a *stranger's* until its first message has come. When there are too many, the one who has been a
    stranger longest goes; there is no limit to how many may try, and whoever has been heard is not disturbed.
    """

    def __init__(self, routes: Mapping[str, Route], pages: Mapping[str, http.Page], connections_max: int) -> None:
        self._routes = routes
        self._pages = pages
        self._connections_max = connections_max
        self._open = 0
        self._turned_away = 0
        self._tell_again_at = 0.0
        self._strangers: dict[trio.abc.Stream, trio.CancelScope] = {}  # the longest waiting first

    async def serve(self, listeners: Sequence[trio.abc.Listener[trio.abc.Stream]]) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            await trio.serve_listeners(self._connection, list(listeners), handler_nursery=nursery)

    async def _connection(self, stream: trio.abc.Stream) -> None:
        if self._open >= self._connections_max and not self._make_room():
            await trio.aclose_forcefully(stream)
            return
        self._open += 1
        try:
            with trio.CancelScope() as self._strangers[stream]:
                await self._speak(stream)
        except VarlogdError as error:
            log.debug("connection ended", extra={"fields": {"why": str(error)}})
        except Exception:
            log.exception("a connection's handler failed; the others go on")
        finally:
            self._open -= 1
            self._strangers.pop(stream, None)
            await trio.aclose_forcefully(stream)

    def _make_room(self) -> bool:
        """Hang up on the stranger who has waited longest, if there is one."""
        self._tell_full()
        if not self._strangers:
            return False
        self._strangers.pop(next(iter(self._strangers))).cancel()
        return True

    def _tell_full(self) -> None:
        self._turned_away += 1
        if trio.current_time() >= self._tell_again_at:
            self._tell_again_at = trio.current_time() + FULL_TOLD_EVERY_S
            log.warning(
                "too many connections: the silent are dropped, or newcomers refused",
                extra={"fields": {"open": self._open, "turned_away": self._turned_away}},
            )

    async def _speak(self, stream: trio.abc.Stream) -> None:
        head: bytes | None = None
        with trio.move_on_after(HEAD_TIMEOUT_S):
            head = await http.read_head(stream)
        if head is None:
            return
        request = http.parse_head(head)
        if not request.wants_websocket:
            await http.answer(stream, request, self._pages)
        elif not head.endswith(http.HEAD_END):  # the library would lose it
            await http.refuse(stream, 400, "wait for the answer to the handshake before you go on\n")
        elif request.from_web_page:
            await http.refuse(stream, 403, http.NO_WEB_PAGES)
        elif (route := self._routes.get(request.path.partition("?")[0])) is None:
            await http.refuse(stream, 404, http.HINT)
        elif refusal := route.admit(request.headers):
            await http.refuse(stream, 401, f"{refusal}\n")
        else:
            await self._upgrade(stream, head, route)

    async def _upgrade(self, accepted: trio.abc.Stream, head: bytes, route: Route) -> None:
        stream = WatchedStream(accepted, route.message_max_bytes, seen=head)
        try:
            async with background() as nursery:
                reader = _GuardedReader(nursery)
                heard = partial(self._strangers.pop, accepted, None)
                websocket = await self._handshake(reader, stream, route, heard)
                if websocket is not None:
                    await _handle(websocket, route.handler)
                    await reader.finish()
        finally:
            await linger(accepted)

    async def _handshake(
        self, reader: _GuardedReader, stream: WatchedStream, route: Route, heard: Callable[[], object]
    ) -> WebSocket | None:
        with trio.move_on_after(HEAD_TIMEOUT_S):
            request: trio_websocket.WebSocketRequest | None = await reader.unless_ended(
                trio_websocket.wrap_server_stream(
                    reader,  # type: ignore[arg-type]
                    stream,
                    message_queue_size=QUEUE_MESSAGES_MAX,
                    max_message_size=route.message_max_bytes,
                    receive_buffer_size=QUESTION_BUFFER_BYTES,
                )
            )
            if request is None:
                return None
            offered = request.proposed_subprotocols
            chosen = next((name for name in route.subprotocols if name in offered), None)
            if chosen is None and (offered or route.default is None):
                speaks = f"this speaks {', '.join(route.subprotocols)}; offered: {', '.join(offered) or 'none'}\n"
                await request.reject(400, body=speaks.encode())
                return None
            return WebSocket(await request.accept(subprotocol=chosen), stream, heard)
        return None


async def _handle(websocket: WebSocket, handler: Handler) -> None:
    """Run a handler; a peer that closes is no failure of it."""
    try:
        await handler(websocket)
    except Closed as closed:
        log.debug("peer closed", extra={"fields": {"why": str(closed)}})
    except Exception:
        await websocket.close(CLOSE_INTERNAL, "a fault of ours")
        raise
