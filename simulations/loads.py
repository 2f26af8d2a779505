"""How much is said: by each node, and by the mesh as a whole, over a window that slides.

A goodbye is told to many members at once, and once in the life of a process: of a mesh in which many leave, again and
again, it says how often a plan makes them leave. So Level 1, where a mesh may be large, leaves goodbyes out; how many
make one is bounded (`varlogd.swim.core.GOODBYES_MAX`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

CALM_LOAD: Final = 4.0
STORM_LOAD: Final = 20.0
"""Messages per node and second: at the end, when nothing has happened for long, and always."""

LOAD_WINDOW_S: Final = 10.0
"""Over which load is counted."""

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


class Said(NamedTuple):
    """What has been said so far: messages, by where they came from; how many processes run, and have been started."""

    running: int
    starts: int
    sent: Mapping[str, int]


class _Counts(NamedTuple):
    """What had been said by ``at``; node seconds until then."""

    at: float
    node_s: float
    said: Said

    def load(self, before: _Counts) -> float:
        """Messages per node and second; where less than one node ran all the time, as if one had."""
        messages = sum(self.said.sent.values()) - sum(before.said.sent.values())
        of_starts = START_MESSAGES * (self.said.starts - before.said.starts)
        return max(0, messages - of_starts) / max(LOAD_WINDOW_S, self.node_s - before.node_s)

    def busiest(self, before: _Counts) -> tuple[float, str]:
        """Messages a second from where most came from, by however many processes one after another."""
        most, place = max((count - before.said.sent.get(place, 0), place) for place, count in self.said.sent.items())
        return most / LOAD_WINDOW_S, place


class Loads:
    """Counts over `LOAD_WINDOW_S`, from ``now`` on. Each answer is what is wrong, in words."""

    def __init__(self, now: float, said: Said) -> None:
        self._window = deque([_Counts(now, 0.0, said)])

    def look(self, now: float, said: Said) -> Iterator[str]:
        """To be asked often: what is too much, whatever happens."""
        last = self._window[-1]
        self._window.append(_Counts(now, last.node_s + said.running * (now - last.at), said))
        while self._window[1].at <= now - LOAD_WINDOW_S:
            self._window.popleft()
        yield from self._too_much(STORM_LOAD, NODE_STORM_LOAD + PER_MEMBER_LOAD * len(said.sent))

    def end(self) -> Iterator[str]:
        """What is too much where all has been calm since the window of the last look began: the mesh cannot be louder
        than its loudest node."""
        yield from self._too_much(CALM_LOAD, CALM_LOAD)

    def _too_much(self, most: float, most_of_one: float) -> Iterator[str]:
        before, now = self._window[0], self._window[-1]
        if now.at < before.at + LOAD_WINDOW_S:
            return  # what has begun it counts in the first that is whole
        load = now.load(before)
        if load > most:
            yield f"{load:.1f} messages per node and second"
        load, place = now.busiest(before)
        if load > most_of_one:
            yield f"{load:.1f} messages a second from {place}"
