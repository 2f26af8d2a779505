"""The stream below a websocket, over memory and a virtual clock."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from varlogd.mesh.watched import WatchedStream, linger
from varlogd.wire.limits import CLOSE_TIMEOUT_S, QUEUE_MESSAGES_MAX

CLOSE = b"\x88\x02"
MASKED_CLOSE = b"\x88\x82\0\0\0\0"
PROTOCOL, POLICY = (1002).to_bytes(2, "big"), (1008).to_bytes(2, "big")


async def test_what_was_seen_comes_first_once() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    stream = WatchedStream(ours, 100, seen=b"GET /")
    await theirs.send_all(b" more")
    assert await stream.receive_some(3) == b"GET"
    assert await stream.receive_some() == b" /"
    assert await stream.receive_some() == b" more"


async def test_it_ends_when_no_message_is_taken_and_goes_on_when_one_is() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    stream = WatchedStream(ours, 10)
    stream.opened(client=False)
    allowed = 10 * (QUEUE_MESSAGES_MAX + 2)
    for _ in range(3):
        await theirs.send_all(b"x" * allowed)
        assert len(await stream.receive_some(allowed)) == allowed
        stream.renew()
    await theirs.send_all(b"x" * allowed)
    assert await stream.receive_some(allowed)
    await theirs.send_all(b"x")
    assert await stream.receive_some() == b""
    assert await theirs.receive_some() == CLOSE + POLICY


@pytest.mark.parametrize(("client", "close"), [(False, CLOSE), (True, MASKED_CLOSE)])
async def test_it_is_not_closed_without_a_word(client: bool, close: bytes) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    stream = WatchedStream(ours, 100)
    stream.opened(client=client)
    await stream.send_all(b"\x81\x01x")
    await stream.aclose()
    assert await theirs.receive_some() == b"\x81\x01x" + close + PROTOCOL
    assert await theirs.receive_some() == b""


async def test_one_word_is_enough_and_before_the_handshake_there_is_none() -> None:
    for said in (CLOSE + POLICY, b""):
        ours, theirs = trio.testing.memory_stream_pair()
        stream = WatchedStream(ours, 100)
        if said:
            stream.opened(client=False)
            await stream.send_all(said)
        await stream.aclose()
        assert (await theirs.receive_some() if said else b"") == said
        assert await theirs.receive_some() == b""


async def test_to_be_closed_by_force_takes_no_word_and_no_time() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    stream = WatchedStream(ours, 100)
    stream.opened(client=False)
    await trio.aclose_forcefully(stream)
    assert await theirs.receive_some() == b""


async def test_the_close_waits_for_the_frame_before_it_but_not_for_ever(
    autojump_clock: trio.testing.MockClock,
) -> None:
    blocked = trio.Event()

    class Stuck(trio.abc.Stream):
        closed = False

        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            blocked.set()
            await trio.sleep_forever()

        async def wait_send_all_might_not_block(self) -> None:
            await trio.sleep_forever()

        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            await trio.sleep_forever()
            raise AssertionError

        async def aclose(self) -> None:
            Stuck.closed = True

    stream = WatchedStream(Stuck(), 100)
    stream.opened(client=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, b"\x81\x01x")
        await blocked.wait()
        began = trio.current_time()
        await stream.aclose()
        assert Stuck.closed
        assert trio.current_time() - began == pytest.approx(CLOSE_TIMEOUT_S)
        nursery.cancel_scope.cancel()


async def test_lingering_ends_with_the_peer_or_after_a_while(autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(linger, ours)
        await theirs.send_all(b"I am still talking")
        assert await theirs.receive_some() == b"", "we have said all"
        await theirs.aclose()
    ours, theirs = trio.testing.memory_stream_pair()
    began = trio.current_time()
    await linger(ours)
    assert trio.current_time() - began == pytest.approx(CLOSE_TIMEOUT_S)
    await ours.aclose()
    await linger(ours)
