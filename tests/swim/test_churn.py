"""Many joins and leaves: what is left is the bounded tombstones, and after their time nothing."""

from __future__ import annotations

import gc
from array import array
from collections import deque
from collections.abc import Iterator

from varlogd.swim import core
from varlogd.swim.dissemination import NEWS_MAX
from varlogd.swim.state import State
from varlogd.swim.timing import RECENT_MAX
from varlogd.wire.gossip import Ack, Gossip, Ping

COMERS = 100_000
"""Two hundred times the tombstones."""
BATCH = 50
TOMBSTONES_MAX = 500


def held_by(root: object) -> int:
    """How many things the containers hold that can be reached from an object, without classes and modules."""
    seen, waiting, total = {id(root)}, [root], 0
    while waiting:
        each = waiting.pop()
        total += len(each) if isinstance(each, dict | list | set | deque | array) else 0
        for other in _parts(each):
            if id(other) not in seen:
                seen.add(id(other))
                waiting.append(other)
    return total


def _parts(each: object) -> Iterator[object]:
    for other in gc.get_referents(each):
        if not isinstance(other, type) and type(other).__name__ not in (
            "module",
            "function",
            "builtin_function_or_method",
        ):
            yield other


def live_on(node, seconds: float) -> None:
    """Time passes, and the member that stays answers."""
    for _ in range(round(seconds * 4)):
        node.run(0.25)
        for send in node.take(Ping):
            if send.to == "stays:1":
                node.hear("stays:1", Ack(send.message.seq, (), 1))


def test_they_leave_no_trace_but_bounded_tombstones(solo, monkeypatch) -> None:
    monkeypatch.setattr(core, "MEMBERS_MAX", TOMBSTONES_MAX + 1)
    node = solo("stays", left_remembered_s=300.0, dead_remembered_s=300.0)
    node.start()
    live_on(node, 30.0)
    before = held_by(node.core)
    for first in range(0, COMERS, BATCH):
        names = [f"c{index}" for index in range(first, first + BATCH)]
        node.hear("stays:1", Gossip(tuple(node.alive(name) for name in names)))
        for name in names[:3]:
            node.do(node.core.on_link_lost(node.now, f"{name}:1"))
            node.hear("stays:1", Gossip((node.said(name, State.SUSPECT, "stays"),)))
        for send in node.take(Ping):
            node.hear(send.to, Ack(send.message.seq, (), 1))
        node.hear("stays:1", Gossip(tuple(node.said(name, State.LEFT, "") for name in names)))
        if first % (20 * BATCH) == 0:
            live_on(node, 0.5)
    assert len(node.core.members) <= TOMBSTONES_MAX + 1
    assert node.core._view.live == ["stays"]
    assert held_by(node.core) - before <= 12 * TOMBSTONES_MAX + 8 * NEWS_MAX
    live_on(node, 310.0)
    assert set(node.core.members) == {"me", "stays"}
    assert held_by(node.core) <= before + 2 * RECENT_MAX + 100  # round trips


def test_the_measure_sees_what_it_should(solo) -> None:
    node = solo("a")
    before = held_by(node.core)
    node.core._prober._hint_allowed_at.update(dict.fromkeys(map(str, range(1000)), 1.0))
    assert held_by(node.core) >= before + 1000
