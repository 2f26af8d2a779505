"""What must always hold of the gossip itself: an accused node answers, and nobody says too much."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from simulations.host import Phase
from simulations.loads import CALM_LOAD, LOAD_WINDOW_S, NODE_STORM_LOAD, PER_MEMBER_LOAD, STORM_LOAD, Loads, Said
from simulations.scene import Breach, Invariant, Scene

REFUTE_S: Final = 1.0
"""From hearing that one is suspected to saying that one lives."""


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
        f"over {LOAD_WINDOW_S:g} s no node sends more than {NODE_STORM_LOAD:g} messages a second, and"
        f" {PER_MEMBER_LOAD:g} for each, nor all {STORM_LOAD:g} on average, starts apart;"
        f" {CALM_LOAD:g} when all is calm"
    )

    def __init__(self) -> None:
        self._loads = Loads(0.0, Said(0, 0, {}))
        self._over = False  # at the end all say goodbye at once, to all: of 16 that is more than what is allowed

    def on_look(self, scene: Scene, now: float) -> Iterator[Breach]:
        if not self._over:
            yield from (Breach(now, text, ()) for text in self._loads.look(now, said(scene)))

    def at_end(self, _scene: Scene, now: float) -> Iterator[Breach]:
        self._over = True
        yield from (Breach(now, f"{text}, though all is calm", ()) for text in self._loads.end())


def said(scene: Scene) -> Said:
    """What all processes have said so far."""
    hosts = [*scene.hosts.values(), *scene.twins]
    return Said(
        running=sum(host.process is not None for host in hosts),
        starts=sum(len(host.processes) for host in hosts),
        sent={host.label: sum(process.messages for process in host.processes) for host in hosts},
    )
