"""What must always hold of the gossip itself: an accused node answers, and nobody says too much."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from simulations.host import Phase
from simulations.scene import Breach, Invariant, Scene

REFUTE_S: Final = 1.0
"""From hearing that one is suspected to saying that one lives."""

CALM_LOAD: Final = 4.0
STORM_LOAD: Final = 20.0
"""Messages per node and second: at the end, when nothing has happened for long, and always."""

LOAD_WINDOW_S: Final = 10.0
"""Over which load is counted."""


class Refutation(Invariant):
    name = "refutation"
    promise = f"a member that hears itself suspected says that it lives within {REFUTE_S:g} s"

    def on_look(self, scene: Scene, now: float) -> Iterator[Breach]:
        for host in scene.hosts.values():
            process = host.running
            since = scene.talk.accused.since(process) if process is not None else None
            well = host.phase is Phase.UP and max(host.stood_still_at, host.calm_since) <= now - REFUTE_S
            if process is not None and since is not None and well and now > since + REFUTE_S:
                scene.talk.accused.forgive(process)
                yield Breach(
                    now, f"{host.name} was told at {since:.3f} that it is suspected, and says nothing", (host.name,)
                )


class Load(Invariant):
    name = "load"
    promise = (
        f"no more than {STORM_LOAD:g} messages a node and second over {LOAD_WINDOW_S:g} s, and {CALM_LOAD:g} at the"
        " end, when all is calm"
    )

    def __init__(self) -> None:
        self._node_s = 0.0  # simulated so far: running daemons x seconds
        self._window = deque([(0.0, 0.0, 0)])  # (now, node seconds, messages), of the last `LOAD_WINDOW_S`

    def on_look(self, scene: Scene, now: float) -> Iterator[Breach]:
        running = sum(host.process is not None for host in scene.hosts.values())
        self._node_s += running * (now - self._window[-1][0])
        self._window.append((now, self._node_s, scene.messages))
        while self._window[1][0] <= now - LOAD_WINDOW_S:
            self._window.popleft()
        if self._load > STORM_LOAD:
            yield Breach(now, f"{self._load:.1f} messages a node and second", ())

    def at_end(self, scene: Scene, now: float) -> Iterator[Breach]:
        if self._load > CALM_LOAD:
            yield Breach(now, f"{self._load:.1f} messages a node and second, though all is calm", ())

    @property
    def _load(self) -> float:
        """Over the window; where less than one daemon ran all through it, as if one had."""
        (_began, before_s, before), (_now, node_s, messages) = self._window[0], self._window[-1]
        return (messages - before) / max(LOAD_WINDOW_S, node_s - before_s)
