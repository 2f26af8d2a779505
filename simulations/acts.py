"""What the steps of a plan do to the simulated hosts, and how what lasts is undone.

A step names a place; it befalls whoever is there (`Reuse` gives a place to another host). Whatever a step asks of
a host in whatever state is either done or has no effect, so that plans can be shrunk by deleting steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations

import trio

from simulations.host import Phase, SimulatedHost
from simulations.network import Wires
from simulations.plan import (
    Block,
    Churn,
    ClockJump,
    Fault,
    Flap,
    Freeze,
    FullDisk,
    Kill,
    Leave,
    Loss,
    OneWay,
    Partition,
    PowerOff,
    Reuse,
    RollingRestart,
    SlowDisk,
    SlowNetwork,
    SlowNode,
    Start,
    Twin,
    describe,
    hosts_of,
)
from simulations.victims import Victims

Undo = Callable[[], None]


class Acts:
    """Does what steps say. ``there``: who is at each place; ``move_in`` makes a host of this name at a place, or
    None if there is one of that name; ``clone`` makes a twin of the host at a place, at a new one, with
    or without its state; ``say`` hears of what is over, and of what a step does bit by bit; ``seed`` is that
    of the plan."""

    def __init__(
        self,
        wires: Wires,
        there: dict[str, SimulatedHost],
        move_in: Callable[[str, str], SimulatedHost | None],
        clone: Callable[[str, bool], SimulatedHost],
        say: Callable[[str], None],
        seed: int,
    ) -> None:
        self._wires = wires
        self._there = there
        self._move_in = move_in
        self._clone = clone
        self._say = say
        self._seed = seed

    async def take(self, step: Fault | SlowDisk | FullDisk | Twin) -> None:
        """Do a step, to its end."""
        match step:
            case Kill() | PowerOff() | Leave() | ClockJump():
                self._at_once(step)
            case Start(_, place):
                await self._there[place].start()
            case Reuse(_, place, name):
                await self._reuse(place, name)
            case RollingRestart(_, every_s, down_s):
                async with trio.open_nursery() as nursery:
                    for number, place in enumerate(self._there):
                        nursery.start_soon(self._restart, place, number * every_s, down_s)
            case Flap():
                await self._flap(step)
            case Churn():
                await self._churn(step)
            case Twin():
                await self._twin(step)
            case _:
                undo = self._begin(step)
                await trio.sleep(step.duration_s)
                self._say(f"over: {describe(step)}")
                undo()

    def _at_once(self, step: Kill | PowerOff | Leave | ClockJump) -> None:
        host = self._there[step.host]
        match step:
            case Kill():
                host.kill()
            case PowerOff():
                host.power_off()
            case Leave():
                host.leave()
            case ClockJump(_, _, seconds):
                host.set_clock(seconds)

    async def _reuse(self, place: str, name: str) -> None:
        self._there[place].power_off()
        newcomer = self._move_in(place, name)
        if newcomer is not None:
            self._there[place] = newcomer
            await newcomer.start()

    async def _twin(self, step: Twin) -> None:
        twin = self._clone(step.host, step.state)
        twin.set_clock(step.clock_s)
        over = self._disturbed([step.host], {"leave": twin.leave, "kill": twin.kill}[step.end])
        await twin.start()
        await trio.sleep(step.duration_s)
        self._say(f"over: {describe(step)}")
        over()

    async def _restart(self, place: str, after_s: float, down_s: float) -> None:
        await trio.sleep(after_s)
        self._there[place].kill()
        await trio.sleep(down_s)
        await self._there[place].start()

    async def _flap(self, step: Flap) -> None:
        until = trio.current_time() + step.duration_s
        while trio.current_time() < until:
            mend = self._cut(self._wires.around(step.host), [step.host])
            await trio.sleep_until(min(until, trio.current_time() + step.down_s))
            mend()
            await trio.sleep_until(min(until, trio.current_time() + step.up_s))
        self._say(f"over: {describe(step)}")

    async def _churn(self, step: Churn) -> None:
        began, victims = trio.current_time(), Victims(self._seed, step)
        async with trio.open_nursery() as nursery:
            number = 0
            while number * step.every_s < step.duration_s:
                await trio.sleep_until(began + number * step.every_s)
                up = [place for place, host in self._there.items() if host.phase is Phase.UP]
                place = victims.draw(up, len(self._there))
                if place is not None:
                    self._say(describe(Kill(0, place)))
                    self._there[place].kill()
                    nursery.start_soon(self._start_again, place, step.down_s)
                number += 1
            await trio.sleep_until(began + step.duration_s + step.down_s)
        self._say(f"over: {describe(step)}")

    async def _start_again(self, place: str, down_s: float) -> None:
        await trio.sleep(down_s)
        self._say(describe(Start(0, place)))
        await self._there[place].start()

    def _begin(
        self, step: Freeze | Partition | OneWay | SlowNetwork | Block | SlowNode | Loss | SlowDisk | FullDisk
    ) -> Undo:
        """Do what lasts; the result undoes it."""
        wires = self._wires
        match step:
            case SlowDisk(_, places, extra_s):
                return self._on_disks(places, lambda host, sign: host.slow_disk(sign * extra_s))
            case FullDisk(_, places):
                return self._on_disks(places, lambda host, sign: host.fill_disk(sign))
            case Freeze(_, place):
                return self._disturbed([place], self._there[place].freeze())
            case SlowNode(_, place, service_s):
                return self._disturbed([place], self._there[place].slow_node(service_s))
            case SlowNetwork(_, place, extra_s):
                wires.slow_down(place, extra_s)
                return self._disturbed([place], lambda: wires.slow_down(place, -extra_s))
            case Loss(_, place, share):
                wires.lose(place, share)
                return self._disturbed([place], lambda: wires.lose_no_more(place, share))
            case Block(_, place):
                return self._cut(wires.around(place), [place])
            case OneWay(_, src, dst):
                return self._cut([(src, dst)], [src, dst])
            case Partition(_, sides):
                return self._cut(_across(sides), hosts_of(step))

    def _on_disks(self, places: Sequence[str], change: Callable[[SimulatedHost, int], None]) -> Undo:
        hosts = [self._there[place] for place in places]

        def each(sign: int) -> None:
            for host in hosts:
                change(host, sign)

        each(1)
        return lambda: each(-1)

    def _cut(self, pairs: Iterable[tuple[str, str]], places: Sequence[str]) -> Undo:
        ways = list(pairs)
        self._wires.cut(ways)
        return self._disturbed(places, lambda: self._wires.mend(ways))

    def _disturbed(self, places: Sequence[str], undo: Undo) -> Undo:
        """Remember which places are touched by a fault until it is undone."""
        troubles = [self._there[place].troubles for place in places]
        for trouble in troubles:
            trouble.disturb()

        def over() -> None:
            undo()
            for trouble in troubles:
                trouble.calm()

        return over


def _across(sides: Sequence[Sequence[str]]) -> list[tuple[str, str]]:
    """The ways between hosts of different sides."""
    return [pair for one, other in combinations(sides, 2) for a in one for b in other for pair in ((a, b), (b, a))]
