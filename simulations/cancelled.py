"""Work ends with its asker: judged for each question by itself, whoever else goes on asking.

A host knows of each question that it answers on behalf of which daemon that is, and what was asked; so work for one
asker is told from that for others. Where one daemon was asked the same several times, no more of them may be worked
on than have askers left.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from simulations.asking import Asked
from simulations.following import Followed
from simulations.host import SimulatedHost
from simulations.scene import DETECTION_S, Breach, Invariant, Scene
from varlogd.swim.state import State
from varlogd.wire.query import AskMembers, AskPart, Query

CANCEL_S: Final = 1.0
"""From an asker's end to the end of all work for it, where the network brings the news."""

_Work = tuple[str, Query | None]
"""The daemon that was asked, and what; None: to follow. That it asks for again when a link breaks, perhaps before the
host over there has seen it break, so it may be worked on more than once."""


class Cancelled(Invariant):
    name = "cancellation"
    promise = (
        f"no host works for an asker that has been gone for {CANCEL_S:g} s, whoever else asks"
        f" (where the network hid it: since the asked node is known to be dead, and {DETECTION_S:g} s at most, but"
        " for a host that is cut off itself, and holds nobody dead)"
    )

    def on_look(self, scene: Scene, now: float) -> Iterator[Breach]:
        for host in (*scene.hosts.values(), *scene.twins):
            for work, times in _work(host).items():
                wanted = [asked for asked in _asked(scene, work) if _work_ends_by(scene, asked, host) >= now]
                if not wanted or (work[1] is not None and times > len(wanted)):
                    yield Breach(now, f"{host.name} still works on a question that {work[0]} was asked", (host.name,))


def _work(host: SimulatedHost) -> Counter[_Work]:
    """What a host works on, and how many times."""
    questions = host.running.questions if host.running is not None else ()
    return Counter(
        (ask.asker or host.name, ask.query if isinstance(ask, AskPart) else None)
        for ask in questions
        if not isinstance(ask, AskMembers)
    )


def _asked(scene: Scene, work: _Work) -> Sequence[Asked | Followed]:
    """Those for whom it may be done."""
    name, query = work
    if query is None:
        return [followed for followed in scene.follows if followed.step.host == name]
    return [asked for asked in scene.asks if asked.step.host == name and asked.query == query]


def _work_ends_by(scene: Scene, asked: Asked | Followed, worker: SimulatedHost) -> float:
    """When a host must have stopped working for a question: never, while its asker is there."""
    if asked.ended_at is None:
        return math.inf
    ended_at = asked.ended_at
    disturbed_at = max(host.disturbed_at for host in scene.hosts.values())
    hidden = disturbed_at >= asked.began_at or any(host.calm_since > asked.began_at for host in scene.hosts.values())
    if not hidden:
        return ended_at + CANCEL_S
    latest = max(ended_at, disturbed_at, worker.cut_off_at) + DETECTION_S
    held = worker.process and worker.process.view.get(asked.step.host)
    if held and held.state is State.DEAD:
        return min(latest, max(ended_at, held.since) + CANCEL_S)
    return latest
