"""A slow processor: every segment costs time, and the process does nothing else meanwhile."""

from __future__ import annotations

import random

import trio

from simulations.clock import run_virtually
from simulations.cpu import Cpu
from simulations.determinism import install_run_queue
from simulations.network import SimulatedNetwork, Wires
from simulations.trace import Trace


def test_it_is_charged_one_after_another() -> None:
    async def main() -> None:
        queue = install_run_queue(lambda _task: False)
        async with trio.open_nursery() as nursery:
            cpu = Cpu(queue, nursery, 2.0)
            assert cpu.charge(1)
            assert cpu.charge(2)
            assert cpu.busy
            await trio.sleep(5.9)
            assert cpu.busy
            await trio.sleep(0.2)
            assert not cpu.busy
            cpu.service_s = 0.0
            assert not cpu.charge(5)

    run_virtually(main)


def test_what_it_was_busy_with_can_be_over_at_once() -> None:
    async def main() -> None:
        queue = install_run_queue(lambda _task: False)
        async with trio.open_nursery() as nursery:
            cpu = Cpu(queue, nursery, 100.0)
            cpu.charge(1)
            cpu.rest()
            assert not cpu.busy
            cpu.service_s = 1.0
            cpu.charge(300)
            await trio.sleep(200)
            assert cpu.busy

    run_virtually(main)


def test_a_process_that_reads_does_nothing_else_until_it_has_worked_it_off() -> None:
    async def main() -> None:
        cpus: list[Cpu] = []
        process: dict[trio.lowlevel.Task, None] = {}
        queue = install_run_queue(lambda task: task in process and cpus[0].busy)
        happened: list[tuple[str, int]] = []

        async def tick() -> None:
            process[trio.lowlevel.current_task()] = None
            for _ in range(10):
                await trio.sleep(0.5)
                happened.append(("tick", round(trio.current_time())))

        async def read(stream: trio.abc.ReceiveStream) -> None:
            process[trio.lowlevel.current_task()] = None
            while data := await stream.receive_some():
                happened.append((data.decode(), round(trio.current_time())))

        async with trio.open_nursery() as nursery:
            cpus.append(Cpu(queue, nursery, 3.0))
            wires = Wires(("a", "b"), random.Random(1), Trace())
            client, server = SimulatedNetwork(wires, "a"), SimulatedNetwork(wires, "b", cpus[0].charge)
            near, far = wires.connection(client, server)
            nursery.start_soon(tick)
            nursery.start_soon(read, far)
            await trio.sleep(1.2)
            await near.send_all(b"x")
            await near.send_all(b"y")
            await near.send_eof()
        while_busy = sorted(happened[2:6], key=lambda found: found[::-1])
        assert while_busy == [("tick", 4), ("x", 4), ("tick", 7), ("y", 7)]

    run_virtually(main)
