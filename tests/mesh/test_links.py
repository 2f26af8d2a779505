"""Links between nodes, over real sockets."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio

from varlogd.errors import Closed
from varlogd.mesh import links
from varlogd.mesh.links import GOSSIP_PATH, Links
from varlogd.mesh.network import TcpNetwork
from varlogd.mesh.transport import CLOSE_NORMAL, CLOSE_PROTOCOL, Route, Server, WebSocket, open_websocket
from varlogd.wire.codec import encode_cbor
from varlogd.wire.gossip import Claim, Gossip, GossipMessage, Hello, Nack, Ping
from varlogd.wire.limits import GOSSIP_FRAME_MAX_BYTES, GOSSIP_SUBPROTOCOL, PROTOCOL_VERSION

NETWORK = TcpNetwork()


class Node:
    """Links with a server before them, and a diary of what they tell."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.address = ""
        self.links: Links
        self.scope = trio.CancelScope()
        self._tell, self.heard = trio.open_memory_channel[tuple[str, object]](1000)

    def on_message(self, src: str, message: GossipMessage) -> None:
        self._tell.send_nowait((src, message))

    def on_link_lost(self, address: str) -> None:
        self._tell.send_nowait((address, "lost"))

    def on_unreachable(self, address: str, *, refused: bool) -> None:
        self._tell.send_nowait((address, "refused" if refused else "unreachable"))

    def on_self_dialled(self, address: str) -> None:
        self._tell.send_nowait((address, "self"))

    async def run(
        self, links_max: int = 10, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        listeners, self.address = await NETWORK.listen("127.0.0.1:0")
        self.links = Links(NETWORK, Hello(PROTOCOL_VERSION, self.name, 1, self.address), self, links_max)
        server = Server(
            {GOSSIP_PATH: Route(self.links.accept, (GOSSIP_SUBPROTOCOL,), GOSSIP_FRAME_MAX_BYTES)}, {}, 100
        )
        with self.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.serve, listeners)
                await nursery.start(self.links.run)
                task_status.started()

    async def hear(self) -> tuple[str, object]:
        with trio.fail_after(5):
            return await self.heard.receive()

    def quiet(self) -> bool:
        return self.heard.statistics().current_buffer_used == 0


@asynccontextmanager
async def nodes(*names: str, links_max: int = 10) -> AsyncIterator[list[Node]]:
    async with trio.open_nursery() as nursery:
        made = [Node(name) for name in names]
        for node in made:
            await nursery.start(node.run, links_max)
        yield made
        nursery.cancel_scope.cancel()


async def test_one_link_serves_both_directions() -> None:
    async with nodes("a", "b") as (a, b):
        a.links.send_nowait(b.address, Nack(1))
        assert await b.hear() == (a.address, Nack(1))
        dials = b.links.messages_sent
        b.links.send_nowait(a.address, Nack(2))
        assert await a.hear() == (b.address, Nack(2))
        assert dials == 0
        assert len(a.links) == len(b.links) == 1


async def test_messages_wait_for_the_dial_in_order() -> None:
    async with nodes("a", "b") as (a, b):
        for seq in range(20):
            a.links.send_nowait(b.address, Nack(seq))
        assert [await b.hear() for _ in range(20)] == [(a.address, Nack(seq)) for seq in range(20)]


async def test_probes_are_written_before_gossip_that_waits() -> None:
    async with nodes("a", "b") as (a, b):
        for seq in range(5):
            a.links.send_nowait(b.address, Gossip((Claim("n", seq, 0, 0, "n:1"),)))
        for seq in range(70):
            a.links.send_nowait(b.address, Ping(seq, "b"))
        heard = [(await b.hear())[1] for _ in range(69)]
        assert heard[:64] == [Ping(seq, "b") for seq in range(6, 70)]
        assert [message.claims[0].epoch for message in heard[64:]] == list(range(5))  # type: ignore[attr-defined]


async def test_two_that_dial_each_other_at_once_keep_one_link_and_lose_nothing() -> None:
    async with nodes("a", "b") as (a, b):
        for seq in range(5):
            a.links.send_nowait(b.address, Nack(seq))
            b.links.send_nowait(a.address, Nack(seq))
        assert sorted([(await b.hear())[1].seq for _ in range(5)]) == list(range(5))  # type: ignore[attr-defined]
        assert sorted([(await a.hear())[1].seq for _ in range(5)]) == list(range(5))  # type: ignore[attr-defined]
        await trio.testing.wait_all_tasks_blocked(0.05)
        a.links.send_nowait(b.address, Nack(9))
        assert await b.hear() == (a.address, Nack(9))
        assert a.quiet()
        assert b.quiet(), "closing the spare link is no news"


async def test_a_killed_peer_is_a_lost_link_and_then_unreachable() -> None:
    async with nodes("a", "b") as (a, b):
        a.links.send_nowait(b.address, Nack(1))
        await b.hear()
        b.scope.cancel()
        assert await a.hear() == (b.address, "lost")
        a.links.send_nowait(b.address, Nack(2))
        assert await a.hear() == (b.address, "refused")


async def test_dialling_oneself_is_noticed() -> None:
    async with nodes("a") as (a,):
        alias = a.address.replace("127.0.0.1", "localhost")
        a.links.send_nowait(alias, Nack(1))
        assert await a.hear() == (alias, "self")


async def test_a_seed_by_another_name_is_filed_under_its_own() -> None:
    async with nodes("a", "b") as (a, b):
        alias = b.address.replace("127.0.0.1", "localhost")
        a.links.send_nowait(alias, Nack(1))
        assert await b.hear() == (a.address, Nack(1))
        b.links.send_nowait(a.address, Nack(2))
        assert await a.hear() == (b.address, Nack(2))
        a.links.send_nowait(alias, Nack(3))
        assert await b.hear() == (a.address, Nack(3))
        assert len(a.links) == len(b.links) == 1


async def test_too_many_links_close_the_least_recently_used_and_it_is_no_news() -> None:
    async with nodes("a", "b", "c", "d", links_max=2) as (a, b, c, d):
        for peer in (b, c, b, d):
            a.links.send_nowait(peer.address, Nack(1))
            await peer.hear()
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert len(a.links) == 2
        assert c.quiet()
        a.links.send_nowait(c.address, Nack(2))
        assert await c.hear() == (a.address, Nack(2))


async def test_dropping_a_dead_member_is_no_news_and_the_next_message_dials() -> None:
    async with nodes("a", "b") as (a, b):
        a.links.send_nowait(b.address, Nack(1))
        await b.hear()
        a.links.drop(b.address)
        assert len(a.links) == 0
        a.links.send_nowait(b.address, Nack(2))
        assert await b.hear() == (a.address, Nack(2))
        assert len(a.links) == len(b.links) == 1
        assert a.quiet() and b.quiet()


async def test_one_held_dead_is_heard_on_the_link_there_was_which_is_good_again() -> None:
    async with nodes("a", "b") as (a, b):
        a.links.send_nowait(b.address, Nack(1))
        await b.hear()
        a.links.drop(b.address)
        b.links.send_nowait(a.address, Nack(2))
        assert await a.hear() == (b.address, Nack(2))
        assert len(a.links) == 1
        a.links.send_nowait(b.address, Nack(3))
        assert await b.hear() == (a.address, Nack(3))
        assert a.quiet() and b.quiet()


async def test_one_held_dead_that_says_no_more_loses_its_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("varlogd.mesh.links.LAST_WORDS_S", 0.05)
    async with nodes("a", "b") as (a, b):
        a.links.send_nowait(b.address, Nack(1))
        await b.hear()
        a.links.drop(b.address)
        assert await b.hear() == (a.address, "lost")
        a.links.send_nowait(b.address, Nack(2))
        assert await b.hear() == (a.address, Nack(2))
        assert a.quiet()


async def test_a_link_that_is_silent_though_its_peer_was_pinged_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with nodes("a", "b") as (a, b):
        a.links.renew(b.address)  # there is none
        a.links.send_nowait(b.address, Ping(1, a.address))
        await b.hear()
        a.links.renew(b.address)  # it has not been silent for long
        monkeypatch.setattr(links, "SILENT_LINK_S", 0.0)
        b.links.send_nowait(a.address, Nack(1))
        await a.hear()
        a.links.renew(b.address)  # it was heard since
        a.links.send_nowait(b.address, Nack(2))
        a.links.renew(b.address)  # nothing was asked
        assert await b.hear() == (a.address, Nack(2))
        a.links.send_nowait(b.address, Ping(2, a.address))
        await b.hear()
        a.links.renew(b.address)
        assert await b.hear() == (a.address, "lost")
        assert a.quiet()


@pytest.mark.parametrize("dialler", ["a", "b"])
async def test_one_held_dead_that_is_dialled_while_it_speaks_has_one_link_in_the_end(dialler: str) -> None:
    async with nodes("a", "b") as (a, b):
        first, second = (a, b) if dialler == "a" else (b, a)
        first.links.send_nowait(second.address, Nack(1))
        await second.hear()
        a.links.drop(b.address)
        a.links.send_nowait(b.address, Nack(2))
        b.links.send_nowait(a.address, Nack(3))
        assert await b.hear() == (a.address, Nack(2))
        assert await a.hear() == (b.address, Nack(3))
        await trio.testing.wait_all_tasks_blocked(0.05)
        for here, there in ((a, b), (b, a)):
            here.links.send_nowait(there.address, Nack(4))
            assert await there.hear() == (here.address, Nack(4))
        assert len(a.links) == len(b.links) == 1
        assert a.quiet() and b.quiet()


async def test_a_stranger_without_a_hello_is_sent_away() -> None:
    async with nodes("a") as (a,), AsyncExitStack() as stack:
        for first in (encode_cbor(Nack(1)), b"garbage", "text"):
            websocket = await stack.enter_async_context(
                open_websocket(NETWORK, a.address, GOSSIP_PATH, GOSSIP_SUBPROTOCOL, 1000)
            )
            await websocket.send(first, 5)
            try:
                await websocket.receive()
            except Closed as closed:
                assert closed.close_code == CLOSE_PROTOCOL
            else:
                raise AssertionError("a stranger was greeted")
        assert a.quiet()


async def test_garbage_after_the_hello_ends_the_link_with_its_reason() -> None:
    async with (
        nodes("a") as (a,),
        open_websocket(NETWORK, a.address, GOSSIP_PATH, GOSSIP_SUBPROTOCOL, 1000) as websocket,
    ):
        await websocket.send(encode_cbor(Hello(PROTOCOL_VERSION, "x", 1, "127.0.0.1:1")), 5)
        await websocket.receive()
        await websocket.send(b"\x81\x18\x63", 5)
        try:
            await websocket.receive()
        except Closed as closed:
            assert closed.close_code == CLOSE_PROTOCOL
            assert "not a message" in closed.reason
        assert await a.hear() == ("127.0.0.1:1", "lost")


async def test_a_full_outbox_drops_the_oldest_and_counts() -> None:
    async with nodes("a", "b") as (a, b):
        for seq in range(70):
            a.links.send_nowait(b.address, Nack(seq))
        got = [(await b.hear())[1] for _ in range(64)]
        assert got == [Nack(seq) for seq in range(6, 70)]
        assert a.links.messages_dropped == 6


@asynccontextmanager
async def dialled_by(peer: Hello, node: Node) -> AsyncIterator[WebSocket]:
    """A link that a peer of the test's own making has dialled and greeted."""
    async with open_websocket(
        NETWORK, node.address, GOSSIP_PATH, GOSSIP_SUBPROTOCOL, GOSSIP_FRAME_MAX_BYTES
    ) as websocket:
        await websocket.send(encode_cbor(peer), 5)
        await websocket.receive()
        yield websocket


@pytest.mark.parametrize("later_epoch", [1, 2])
async def test_the_link_of_a_peer_that_dials_anew_is_closed_though_it_never_said_goodbye(later_epoch: int) -> None:
    """It lost power, or its goodbye was lost: nothing will ever come from the old link's other end."""
    address = "127.0.0.1:1"
    async with nodes("a") as (a,):
        async with (
            dialled_by(Hello(PROTOCOL_VERSION, "b", 1, address), a) as old,
            dialled_by(Hello(PROTOCOL_VERSION, "b", later_epoch, address), a) as new,
        ):
            with trio.fail_after(5), pytest.raises(Closed) as closed:
                await old.receive()
            assert closed.value.close_code == CLOSE_NORMAL
            a.links.send_nowait(address, Nack(7))
            assert await new.receive() == encode_cbor(Nack(7))
            assert len(a.links) == 1
        assert await a.hear() == (address, "lost")


@pytest.mark.parametrize("is_needed", [False, True])
async def test_a_link_that_its_dialler_should_close_is_closed_later_unless_it_is_the_only_one(
    is_needed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Links were dialled from both ends, and the peer, which closes the one it dialled, had given up the other."""
    monkeypatch.setattr(links, "SPARE_LINK_S", 60.0 if is_needed else 0.05)
    async with nodes("one", "other") as both:
        a, b = sorted(both, key=lambda node: node.address)  # the one whose own dial stays, and its peer
        a.links.send_nowait(b.address, Nack(1))
        await b.hear()
        async with dialled_by(Hello(PROTOCOL_VERSION, b.name, 1, b.address), a) as spare:
            if is_needed:
                b.scope.cancel()
                assert await a.hear() == (b.address, "lost")
            await spare.send(encode_cbor(Nack(2)), 5)
            assert await a.hear() == (b.address, Nack(2))
            a.links.send_nowait(b.address, Nack(3))
            with trio.fail_after(5):
                if is_needed:
                    assert await spare.receive() == encode_cbor(Nack(3))
                    assert a.links._links[b.address].retire_at == math.inf
                    return
                assert await b.hear() == (a.address, Nack(3))  # one is enough
                with pytest.raises(Closed) as closed:
                    await spare.receive()
        assert closed.value.close_code == CLOSE_NORMAL
        assert a.quiet()


async def test_a_fault_of_ours_ends_the_link_that_brought_it_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    """Whichever side dialled it: what a peer says may meet a fault of ours, and must not end the daemon."""
    async with nodes("a", "b", "c") as (a, b, c):
        a.links.send_nowait(b.address, Nack(1))
        c.links.send_nowait(a.address, Nack(1))
        await b.hear()
        await a.hear()

        def fail(src: str, message: GossipMessage) -> None:
            raise RuntimeError(f"a fault of ours, with {src}")

        a.on_message = fail  # type: ignore[method-assign]
        for peer in (b, c):
            peer.links.send_nowait(a.address, Nack(2))
            assert await peer.hear() == (a.address, "lost")
        del a.on_message
        for peer in (b, c):
            a.links.send_nowait(peer.address, Nack(3))
            assert await peer.hear() == (a.address, Nack(3))
    assert caplog.text.count("RuntimeError: a fault of ours, with") == 2
