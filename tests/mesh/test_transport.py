"""One port, two languages, and strangers of every kind, over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
import trio

from varlogd.auth import Headers
from varlogd.errors import Closed, RejectedHandshake, Unreachable
from varlogd.mesh import http
from varlogd.mesh.network import TcpNetwork, dialled_address, join_address
from varlogd.mesh.transport import (
    CLOSE_ABNORMAL,
    CLOSE_NORMAL,
    CLOSE_POLICY,
    Route,
    Server,
    WebSocket,
    open_websocket,
)
from varlogd.mesh.watched import WatchedStream
from varlogd.wire.limits import HEAD_MAX_BYTES, QUESTION_BUFFER_BYTES

NETWORK = TcpNetwork()
MESSAGE_MAX = 1000


async def echo(websocket: WebSocket) -> None:
    while True:
        await websocket.send(await websocket.receive(), 5)


async def explode(websocket: WebSocket) -> None:
    await websocket.receive()
    raise RuntimeError("a fault in a handler")


@asynccontextmanager
async def served(connections_max: int = 100) -> AsyncIterator[str]:
    routes = {
        "/echo": Route(echo, ("echo.v2", "echo.v1"), MESSAGE_MAX),
        "/any": Route(echo, ("echo.v1",), MESSAGE_MAX, default="echo.v1"),
        "/explode": Route(explode, ("echo.v1",), MESSAGE_MAX),
    }
    server = Server(routes, {"/healthz": lambda: (200, "ok\n"), "/sick": lambda: (503, "no\n")}, connections_max)
    listeners, address = await NETWORK.listen("127.0.0.1:0")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve, listeners)
        yield address
        nursery.cancel_scope.cancel()


async def raw(address: str, data: bytes) -> bytes:
    """What the server says to these bytes before it closes."""
    stream = await NETWORK.connect(address)
    answer = b""
    async with stream:
        await stream.send_all(data)
        while more := await stream.receive_some():
            answer += more
    return answer


def opened(address: str, path: str = "/echo", subprotocol: str = "echo.v1"):  # type: ignore[no-untyped-def]
    return open_websocket(NETWORK, address, path, subprotocol, MESSAGE_MAX)


async def test_messages_go_both_ways_and_the_subprotocol_is_agreed() -> None:
    async with served() as address, opened(address) as websocket:
        assert websocket.subprotocol == "echo.v1"
        for message in ("text", b"\x00\xff", "é" * 100):
            await websocket.send(message, 5)
            assert await websocket.receive() == message
        await websocket.close()


async def test_plain_http_on_the_same_port() -> None:
    async with served() as address:
        assert (await raw(address, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")).endswith(b"\r\n\r\nok\n")
        assert b" 503 " in await raw(address, b"GET /sick HTTP/1.1\r\nHost: x\r\n\r\n")
        other = await raw(address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 404 " in other
        assert http.HINT.encode() in other
        assert not (await raw(address, b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n")).endswith(b"ok\n")
        assert b" 405 " in await raw(address, b"DELETE / HTTP/1.1\r\nHost: x\r\n\r\n")


@pytest.mark.parametrize(
    ("garbage", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello \r\n\r\n", b" 400 "),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b" 400 "),
        (b"\r\n\r\n", b" 400 "),
        (b"GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n", b" 400 "),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * HEAD_MAX_BYTES, b" 431 "),
    ],
)
async def test_garbage_gets_an_answer_and_disturbs_nobody(garbage: bytes, status: bytes) -> None:
    async with served() as address, opened(address) as websocket:
        assert status in (await raw(address, garbage)).split(b"\r\n")[0]
        await websocket.send("still here", 5)
        assert await websocket.receive() == "still here"


async def test_the_wrong_path_and_the_wrong_subprotocol_say_what_is_right() -> None:
    async with served() as address:
        with pytest.raises(RejectedHandshake, match="404"):
            async with opened(address, "/nowhere"):
                pass
        with pytest.raises(RejectedHandshake, match=r"this speaks echo\.v2, echo\.v1; offered: chess"):
            async with opened(address, subprotocol="chess"):
                pass


async def test_a_route_may_want_to_know_who_it_is() -> None:
    def known(headers: Headers) -> str | None:
        return None if headers.get("authorization") == "Bearer swordfish" else "show a token that is known here"

    server = Server({"/": Route(echo, ("x",), MESSAGE_MAX, admit=known)}, {}, 10)
    listeners, address = await NETWORK.listen("127.0.0.1:0")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve, listeners)
        with pytest.raises(RejectedHandshake, match="401: show a token"):
            async with opened(address, "/", "x"):
                pass
        ask = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nAuthorization: %s\r\n\r\n"
        assert b" 401 " in await raw(address, ask % b"Bearer trout")
        assert b" 401 " not in await raw(address, ask % b"Bearer swordfish")
        nursery.cancel_scope.cancel()


async def test_a_message_over_the_limit_closes_with_1009() -> None:
    async with served() as address, opened(address) as websocket:
        await websocket.send("x" * (MESSAGE_MAX + 1), 5)
        with pytest.raises(Closed) as caught:
            await websocket.receive()
        assert caught.value.close_code == 1009


async def test_a_handler_that_fails_ends_its_own_connection_only(caplog: pytest.LogCaptureFixture) -> None:
    async with served() as address, opened(address) as other:
        async with opened(address, "/explode") as websocket:
            await websocket.send("now", 5)
            with pytest.raises(Closed):
                await websocket.receive()
        await other.send("fine", 5)
        assert await other.receive() == "fine"
    assert "a connection's handler failed" in caplog.text


async def test_errors_of_the_body_come_out_as_they_are() -> None:
    async with served() as address:
        with pytest.raises(KeyError):
            async with opened(address):
                raise KeyError("mine")


async def test_nobody_listens() -> None:
    listeners, address = await NETWORK.listen("127.0.0.1:0")
    for listener in listeners:
        await listener.aclose()
    with pytest.raises(Unreachable, match="refused"):
        async with opened(address):
            pass


async def test_something_else_listens() -> None:
    async def hang_up(stream: trio.abc.Stream) -> None:
        await stream.receive_some(1)
        await stream.aclose()

    listeners, address = await NETWORK.listen("127.0.0.1:0")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, hang_up, listeners)
        with pytest.raises(RejectedHandshake, match="instead of speaking websocket"):
            async with opened(address):
                pass
        nursery.cancel_scope.cancel()


async def test_a_dial_that_nobody_answers_ends(autojump_clock: trio.testing.MockClock) -> None:
    class Silent:
        async def connect(self, address: str) -> trio.abc.Stream:
            return trio.testing.memory_stream_pair()[0]

    with pytest.raises(Unreachable, match="no answer to the dial"):
        async with open_websocket(Silent(), "nobody:1", "/", "x", MESSAGE_MAX):  # type: ignore[arg-type]
            pass


async def test_a_web_page_is_refused_whatever_it_asks_for() -> None:
    async with served() as address:
        for path in ("/echo", "/any", "/nowhere"):
            request = (
                f"GET {path} HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\nUpgrade: websocket\r\n\r\n"
            )
            answer = await raw(address, request.encode())
            assert b" 403 " in answer
            assert http.NO_WEB_PAGES.encode() in answer


def frame(opcode: int, payload: bytes = b"", *, final: bool = True) -> bytes:
    """A short frame of a client; it is masked with zeros."""
    return bytes([0x80 * final | opcode, 0x80 | len(payload)]) + b"\0\0\0\0" + payload


TEXT, CONTINUATION, PING, PONG = 1, 0, 9, 10


@pytest.mark.parametrize(
    ("first", "again"),
    [
        (b"", frame(PONG)),
        (b"", frame(PING, b"x" * 100)),
        (frame(TEXT, final=False), frame(CONTINUATION, final=False)),
    ],
    ids=["pongs", "pings", "fragments"],
)
async def test_a_flood_without_a_message_is_told_off_and_holds_nobody_up(first: bytes, again: bytes) -> None:
    async with (
        served() as address,
        opened(address) as other,
        opened(address) as flooded,
        trio.open_nursery() as nursery,
    ):

        async def flood() -> None:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await flooded._stream._stream.send_all(first)
                while True:
                    await flooded._stream._stream.send_all(again * 500)

        async def speak() -> None:
            while True:
                await other.send("and I", 5)
                assert await other.receive() == "and I"

        nursery.start_soon(flood)
        nursery.start_soon(speak)
        with trio.fail_after(20), pytest.raises(Closed) as caught:
            await flooded.receive()
        # It is told after all the pongs, if it has read those before the server hangs up.
        assert caught.value.close_code in (
            (CLOSE_POLICY, CLOSE_ABNORMAL) if again[0] & 15 == PING else (CLOSE_POLICY,)
        )
        nursery.cancel_scope.cancel()


async def test_little_of_what_a_stranger_sends_is_taken_apart_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else runs meanwhile."""
    reads: list[int | None] = []
    receive_some = WatchedStream.receive_some

    async def recorded(stream: WatchedStream, max_bytes: int | None = None) -> bytes | bytearray:
        reads.append(max_bytes)
        return await receive_some(stream, max_bytes)

    async with served() as address, opened(address) as websocket:
        monkeypatch.setattr(WatchedStream, "receive_some", recorded)
        await websocket.send("x", 5)
        await websocket.receive()
    assert min(size for size in reads if size) == QUESTION_BUFFER_BYTES == 4096


async def test_messages_may_go_on_for_ever_and_pings_between_them() -> None:
    async with served() as address, opened(address) as websocket:
        for _ in range(200):
            await websocket._stream._stream.send_all(frame(PING, b"x" * 125))
            await websocket.send("x" * 900, 5)
            assert len(await websocket.receive()) == 900


async def test_when_full_the_longest_idle_stranger_goes_and_members_stay() -> None:
    async with served(connections_max=3) as address, opened(address) as member:
        await member.send("in", 5)
        assert await member.receive() == "in"
        strangers = [await NETWORK.connect(address) for _ in range(2)]
        for stranger in strangers:
            await stranger.send_all(b"GET / HT")
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert (await raw(address, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")).endswith(b"ok\n")
        assert await strangers[0].receive_some() == b""
        await member.send("still in", 5)
        assert await member.receive() == "still in"
        for stranger in strangers:
            await stranger.aclose()


async def test_whoever_has_not_said_a_word_is_a_stranger_after_the_handshake_too() -> None:
    async with served(connections_max=3) as address, opened(address) as member, AsyncExitStack() as stack:
        await member.send("in", 5)
        assert await member.receive() == "in"
        silent = [await stack.enter_async_context(opened(address)) for _ in range(2)]
        newcomer = await stack.enter_async_context(opened(address))
        await newcomer.send("me too", 5)
        assert await newcomer.receive() == "me too"
        with pytest.raises(Closed):
            await silent[0].receive()
        await silent[1].send("I speak", 5)
        assert await silent[1].receive() == "I speak"
        with pytest.raises(Unreachable):  # now all have spoken
            await stack.enter_async_context(opened(address))


async def test_close_says_why() -> None:
    async def goodbye(websocket: WebSocket) -> None:
        await websocket.close(CLOSE_NORMAL, "that is all")

    server = Server({"/": Route(goodbye, ("x",), MESSAGE_MAX)}, {}, 10)
    listeners, address = await NETWORK.listen("127.0.0.1:0")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve, listeners)
        async with opened(address, "/", "x") as websocket:
            with pytest.raises(Closed) as caught:
                await websocket.receive()
        assert (caught.value.close_code, caught.value.reason) == (1000, "that is all")
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("address", ["127.0.0.1:80", "[::1]:80", "a.host:1"])
def test_addresses_round_trip(address: str) -> None:
    assert join_address(*dialled_address(address)) == address


@pytest.mark.parametrize("address", ["", "host", ":80", "host:", "host:x", "host:70000"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(Unreachable):
        dialled_address(address)
