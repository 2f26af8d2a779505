"""How much is said: by each node, and by the mesh as a whole.

A goodbye is told to many members at once, and once in the life of a process: of a mesh in which many leave, again and
again, it says how often a plan makes them leave. So goodbyes are not counted, but for how many make one
(`varlogd.swim.core.GOODBYES_MAX`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple

from simulations.level1.world import World
from simulations.traffic import CALM_LOAD, LOAD_WINDOW_S, STORM_LOAD

NODE_STORM_LOAD: Final = 2 * STORM_LOAD
"""Messages a second of one node, always, beside `PER_MEMBER_LOAD`. What it begins itself is no more than 12: a probe
and three helpers for it, and gossip as `varlogd.swim.gossip` rations it. The rest is for those that ask: as a helper,
or a seed. In 1,600 drawn plans of up to 12 nodes the most was 25.6 (mesh, seed 800048)."""

PER_MEMBER_LOAD: Final = 0.5
"""And so much for each member of the mesh, five messages in ten seconds: a node that works off a backlog owes each of
them some acks, and corrects what each still says of it. In 35 drawn plans of 40 nodes the most was 29.9, of 60;
in 10 of 128 nodes 66.0 (seed 800005), of 104; goodbyes included."""


START_MESSAGES: Final = 16
"""What a start costs, and is not counted in the mean: it joins at three seeds, which answer; tells of itself in three
rounds to three members each; and compares its view. Where eight nodes started again twelve times in ten seconds, and
four of them ran at a time, the mean was 20.7 with all that (mesh, seed 941298), of 20."""


class _Counts(NamedTuple):
    """What had been sent by ``at``: node seconds until then, starts, and messages by the address of their node."""

    at: float
    node_s: float
    starts: int
    sent: dict[str, int]

    def load(self, before: _Counts) -> float:
        """Messages per node and second; where less than one node ran all the time, as if one had."""
        messages = sum(self.sent.values()) - sum(before.sent.values())
        messages = max(0, messages - START_MESSAGES * (self.starts - before.starts))
        return messages / max(LOAD_WINDOW_S, self.node_s - before.node_s)

    def busiest(self, before: _Counts) -> tuple[float, str]:
        """Messages a second at the address from which most were sent, by however many processes one after another."""
        sent = ((count - before.sent.get(address, 0), address) for address, count in self.sent.items())
        most, address = max(sent)
        return most / LOAD_WINDOW_S, address


class Loads:
    """Counts over `LOAD_WINDOW_S`. Each answer is what is wrong, in words."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._window = deque([self._count(0.0)])
        self._calm = self._window[0]

    def look(self) -> Iterator[str]:
        """To be asked often: what is too much, whatever happens."""
        now = self._count(self._node_s())
        self._window.append(now)
        while self._window[1].at <= now.at - LOAD_WINDOW_S:
            self._window.popleft()
        if now.at < self._window[0].at + LOAD_WINDOW_S:
            return  # what has begun it counts in the first that is whole
        most_of_one = NODE_STORM_LOAD + PER_MEMBER_LOAD * len(now.sent)
        yield from _too_much(self._window[0], now, STORM_LOAD, most_of_one)

    def begin_calm(self) -> None:
        """From now on nothing happens; there are `LOAD_WINDOW_S` until `end`."""
        self._calm = self._count(self._node_s())

    def end(self) -> Iterator[str]:
        """What is too much where all is calm: the mesh cannot be louder than its loudest node."""
        yield from _too_much(self._calm, self._count(self._node_s()), CALM_LOAD, CALM_LOAD)

    def _node_s(self) -> float:
        """Simulated so far: running nodes x seconds."""
        last = self._window[-1]
        running = sum(node.running for node in self._world.nodes.values())
        return last.node_s + running * (self._world.now - last.at)

    def _count(self, node_s: float) -> _Counts:
        sent = {address: node.sent - node.goodbyes for address, node in self._world.nodes.items()}
        return _Counts(self._world.now, node_s, sum(self._world.boots.values()), sent)


def _too_much(before: _Counts, now: _Counts, most: float, most_of_one: float) -> Iterator[str]:
    load = now.load(before)
    if load > most:
        yield f"{load:.1f} messages per node and second"
    load, address = now.busiest(before)
    if load > most_of_one:
        yield f"{load:.1f} messages a second from {address}"
