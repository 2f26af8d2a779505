"""What is gathered while a run of Level 2 goes on, for its page: who held whom in which state, and how much was said.

It only looks on, so a run's trace is the same with and without.
"""

from __future__ import annotations

from typing import Final

from simulations.scene import Change, Scene
from simulations.story import Beliefs
from simulations.traffic import said
from varlogd.swim.state import State

LOAD_S: Final = 1.0
"""Over which messages are counted for the picture."""


class Chronicle:
    """``load``: (time, messages per node and second)."""

    def __init__(self) -> None:
        self.beliefs = Beliefs()
        self.load: list[tuple[float, float]] = []
        self._counted_at = 0.0
        self._messages = 0

    def look(self, scene: Scene, now: float) -> None:
        """To be asked often: counts messages when it is time."""
        if now >= self._counted_at + LOAD_S:
            self._count(scene, now)

    def hear(self, change: Change) -> None:
        """A node's view has changed. Whoever it has not heard of, it does not hold other than alive."""
        before = State.ALIVE if change.before is None else change.before.state
        if change.after is not None and change.after.state is not before:
            self.beliefs.hold(change.now, change.viewer.label, change.after.name, change.after.state)

    def _count(self, scene: Scene, now: float) -> None:
        now_said = said(scene)
        messages = sum(now_said.sent.values())
        node_s = max(1, now_said.running) * (now - self._counted_at)
        self.load.append((now, (messages - self._messages) / node_s))
        self._counted_at, self._messages = now, messages
