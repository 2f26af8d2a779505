"""Connecting on the simulated wires: accepted, refused, black-holed, and by a kernel whose process stands still."""

from __future__ import annotations

import random

import pytest
import trio

from simulations.clock import run_virtually
from simulations.network import BACKLOG, SimulatedNetwork, Wires
from simulations.trace import Trace
from varlogd.errors import CannotListen, Unreachable

TWO_WAYS = (("a", "b"), ("b", "a"))


def two_hosts() -> tuple[Wires, SimulatedNetwork, SimulatedNetwork]:
    wires = Wires(("a", "b"), random.Random(1), Trace())
    return wires, SimulatedNetwork(wires, "a"), SimulatedNetwork(wires, "b")


def test_a_listener_accepts() -> None:
    async def main() -> None:
        _wires, a, b = two_hosts()
        (listener,), address = await b.listen("b:0")
        near = await a.connect(address)
        far = await listener.accept()
        await near.send_all(b"hello")
        assert await far.receive_some() == b"hello"

    run_virtually(main)


def test_nobody_listens_and_nobody_of_that_name() -> None:
    async def main() -> None:
        _wires, a, _b = two_hosts()
        with pytest.raises(Unreachable, match="refused"):
            await a.connect("b:8514")
        with pytest.raises(Unreachable, match="not known"):
            await a.connect("c:8514")

    run_virtually(main)


def test_a_port_is_listened_on_once_and_only_by_its_own_host() -> None:
    async def main() -> None:
        _wires, a, b = two_hosts()
        await b.listen("b:8514")
        with pytest.raises(CannotListen, match="in use"):
            await b.listen("b:8514")
        with pytest.raises(CannotListen, match="cannot assign"):
            await a.listen("b:8514")

    run_virtually(main)


def test_a_connect_into_a_cut_hangs_and_succeeds_with_the_next_attempt_after_it() -> None:
    async def main() -> None:
        wires, a, b = two_hosts()
        await b.listen("b:8514")
        wires.cut(TWO_WAYS)
        with trio.move_on_after(3) as scope:
            await a.connect("b:8514")
        assert scope.cancelled_caught
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def mend() -> None:
                await trio.sleep(2)
                wires.mend(TWO_WAYS)

            await a.connect("b:8514")
        assert trio.current_time() == pytest.approx(3 + 3, abs=0.01)  # attempts after 0, 1 and 3 s

    run_virtually(main)


def test_a_connect_into_a_cut_ends_by_itself() -> None:
    async def main() -> None:
        wires, a, _b = two_hosts()
        wires.cut(TWO_WAYS)
        with pytest.raises(Unreachable, match="timed out"):
            await a.connect("b:8514")
        assert trio.current_time() == pytest.approx(127)

    run_virtually(main)


def test_the_kernel_accepts_for_a_process_that_does_not_until_its_backlog_is_full() -> None:
    async def main() -> None:
        _wires, a, b = two_hosts()
        await b.listen("b:8514")
        for _ in range(BACKLOG):
            await a.connect("b:8514")
        with trio.move_on_after(3) as scope:
            await a.connect("b:8514")
        assert scope.cancelled_caught

    run_virtually(main)


def test_a_killed_process_refuses_and_resets_what_it_had_not_accepted() -> None:
    async def main() -> None:
        wires, a, b = two_hosts()
        await b.listen("b:8514")
        near = await a.connect("b:8514")
        b.kill()
        assert await near.receive_some() == b""
        await near.aclose()
        with pytest.raises(Unreachable, match="refused"):
            await a.connect("b:8514")
        assert wires.open_streams == []
        again = SimulatedNetwork(wires, "b")
        await again.listen("b:8514")
        await a.connect("b:8514")

    run_virtually(main)


def test_overlapping_cuts_end_with_the_last() -> None:
    async def main() -> None:
        wires, _a, _b = two_hosts()
        wires.cut(TWO_WAYS)
        wires.cut([("a", "b")])
        await trio.sleep(1)
        wires.mend(TWO_WAYS)
        assert wires.connected_since("a", "b") == float("inf")
        await trio.sleep(1)
        wires.mend([("a", "b")])
        assert wires.connected_since("a", "b") == 2

    run_virtually(main)


def test_a_lost_syn_is_repeated() -> None:
    async def main() -> None:
        wires, a, b = two_hosts()
        await b.listen("b:8514")
        wires.lose("b", 1.0)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def lose_no_more() -> None:
                await trio.sleep(2)
                wires.lose_no_more("b", 1.0)

            await a.connect("b:8514")
        assert trio.current_time() == pytest.approx(3, abs=0.01)  # attempts after 0, 1 and 3 s

    run_virtually(main)
