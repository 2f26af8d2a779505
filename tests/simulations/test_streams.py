"""Simulated TCP: trio's own conformance test, and what cuts, closes and lost power do to a connection."""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing

from simulations.clock import run_virtually
from simulations.network import SimulatedNetwork, Wires
from simulations.streams import RETRANSMIT_MIN_S, WINDOW_BYTES, SimulatedStream
from simulations.trace import Trace

TWO_WAYS = (("a", "b"), ("b", "a"))


class Pair:
    """Two hosts and one connection between them."""

    def __init__(self) -> None:
        self.wires = Wires(("a", "b"), random.Random(1), Trace())
        self.client = SimulatedNetwork(self.wires, "a")
        self.server = SimulatedNetwork(self.wires, "b")
        self.near, self.far = self.wires.connection(self.client, self.server)


async def test_trio_takes_it_for_a_stream() -> None:
    async def plain() -> tuple[SimulatedStream, SimulatedStream]:
        pair = Pair()
        return pair.near, pair.far

    async def clogged() -> tuple[SimulatedStream, SimulatedStream]:
        pair = Pair()
        await pair.near.send_all(bytes(WINDOW_BYTES))
        await pair.far.send_all(bytes(WINDOW_BYTES))
        return pair.near, pair.far

    await trio.testing.check_half_closeable_stream(plain, clogged)


def test_bytes_take_time_and_keep_their_order() -> None:
    async def main() -> tuple[bytes, float]:
        pair = Pair()
        sent = bytes(range(256)) * 4096  # four windows
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.near.send_all, sent)
            got = b""
            while len(got) < len(sent):
                got += await pair.far.receive_some()
        assert got == sent
        return got, trio.current_time()

    assert run_virtually(main)[1] > 0


def test_a_writer_waits_for_its_reader() -> None:
    async def main() -> None:
        pair = Pair()
        with trio.move_on_after(5) as scope:
            await pair.near.send_all(bytes(WINDOW_BYTES + 1))
        assert scope.cancelled_caught

    run_virtually(main)


def test_a_cut_holds_bytes_back_and_a_mended_way_brings_them_with_a_retransmission() -> None:
    async def main() -> None:
        pair = Pair()
        await pair.near.send_all(b"before")
        await trio.sleep(1)
        pair.wires.cut(TWO_WAYS)
        await pair.near.send_all(b"during")
        assert await pair.far.receive_some() == b"before"  # it had arrived
        with trio.move_on_after(10) as scope:
            await pair.far.receive_some()
        assert scope.cancelled_caught
        pair.wires.mend(TWO_WAYS)
        mended_at = trio.current_time()
        assert await pair.far.receive_some() == b"during"
        waited_s = trio.current_time() - mended_at
        # the pauses 0.2, 0.4, ... have come to 12.6 s by now, of which 10 have passed
        assert waited_s == pytest.approx(sum(RETRANSMIT_MIN_S * 2**n for n in range(6)) - 10, abs=0.01)

    run_virtually(main)


def test_one_way_may_be_cut_alone() -> None:
    async def main() -> None:
        pair = Pair()
        pair.wires.cut([("b", "a")])
        await pair.near.send_all(b"there")
        assert await pair.far.receive_some() == b"there"
        await pair.far.send_all(b"back")
        with trio.move_on_after(10) as scope:
            await pair.near.receive_some()
        assert scope.cancelled_caught

    run_virtually(main)


def test_a_close_sends_the_rest_and_an_end() -> None:
    async def main() -> None:
        pair = Pair()
        await pair.near.send_all(b"last words")
        await pair.near.aclose()
        assert await pair.far.receive_some() == b"last words"
        assert await pair.far.receive_some() == b""
        await pair.far.aclose()
        assert pair.wires.open_streams == []

    run_virtually(main)


def test_a_killed_process_with_unread_bytes_resets() -> None:
    async def main() -> None:
        pair = Pair()
        await pair.near.send_all(b"never read")
        await trio.sleep(1)
        pair.server.kill()
        with pytest.raises(trio.BrokenResourceError):
            await pair.near.receive_some()
        with pytest.raises(trio.ClosedResourceError):
            await pair.far.receive_some()

    run_virtually(main)


def test_lost_power_is_silence_until_the_machine_is_back_and_then_a_reset() -> None:
    async def main() -> None:
        pair = Pair()
        pair.server.vanish()
        pair.wires.darken("b")
        await pair.near.send_all(b"hello?")
        with trio.move_on_after(20) as scope:
            await pair.near.receive_some()
        assert scope.cancelled_caught
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def power_returns() -> None:
                await trio.sleep(3)
                pair.wires.lighten("b")

            with pytest.raises(trio.BrokenResourceError):  # it was waiting all along
                await pair.near.receive_some()

    run_virtually(main)


def test_a_reset_lost_in_a_cut_leaves_a_half_open_connection_until_something_is_written() -> None:
    async def main() -> None:
        pair = Pair()
        await pair.near.send_all(b"never read")
        await trio.sleep(1)
        pair.wires.cut(TWO_WAYS)
        pair.server.kill()
        await trio.sleep(1)
        pair.wires.mend(TWO_WAYS)
        with trio.move_on_after(100) as scope:
            await pair.near.receive_some()
        assert scope.cancelled_caught
        await pair.near.send_all(b"still there?")
        with pytest.raises(trio.BrokenResourceError):
            await pair.near.receive_some()

    run_virtually(main)


def test_a_lost_packet_is_a_delay_and_comes_soon_once_nothing_is_lost_any_more() -> None:
    async def main() -> None:
        pair = Pair()
        pair.wires.lose("a", 1.0)
        pair.wires.lose("b", 0.5)
        await pair.near.send_all(b"first")
        await pair.near.send_all(b"second")
        with trio.move_on_after(5) as scope:
            await pair.far.receive_some()
        assert scope.cancelled_caught
        pair.wires.lose_no_more("a", 1.0)
        pair.wires.lose_no_more("b", 0.5)
        assert await pair.far.receive_some() == b"firstsecond"
        assert trio.current_time() == pytest.approx(RETRANSMIT_MIN_S * 31, abs=0.01)  # 1 + 2 + 4 + 8 + 16

    run_virtually(main)


def test_some_loss_delays_some() -> None:
    async def main() -> None:
        pair = Pair()
        pair.wires.lose("b", 0.3)
        late = 0
        for _ in range(100):
            began = trio.current_time()
            await pair.near.send_all(b"x")
            await pair.far.receive_some()
            late += trio.current_time() - began >= RETRANSMIT_MIN_S
        assert 15 <= late <= 45

    run_virtually(main)
