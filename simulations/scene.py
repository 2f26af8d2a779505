"""What an invariant is shown of the simulated world, and what an invariant is.

An invariant is shown every change of a node's view, looks at the whole world a few times a second and at the
end, and judges every question, and all that was followed, when it is over. It returns the ways in which it is
broken, in words; it changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from simulations.asking import Asked
from simulations.following import Followed
from simulations.host import SimulatedHost
from simulations.network import Wires
from simulations.talk import Talk
from simulations.writing import LiveLog
from varlogd.swim.state import Member

DETECTION_S: Final = 20.0
"""From a crash to its being known everywhere."""


class Change(NamedTuple):
    """A node's view of one member changed."""

    now: float
    viewer: SimulatedHost
    before: Member | None
    after: Member | None


class Scene(Protocol):
    """The whole world, as an invariant may look at it. ``twins`` go by the names of some of the ``hosts``.
    ``written``: what is written while somebody follows, by host; empty where nobody does."""

    hosts: dict[str, SimulatedHost]
    twins: list[SimulatedHost]
    wires: Wires
    asks: list[Asked]
    follows: list[Followed]
    written: dict[str, LiveLog]
    talk: Talk

    @property
    def own_faults(self) -> Sequence[tuple[float, str, str]]:
        """Failures of a daemon's own: when, on which host, what."""
        ...


@dataclass(frozen=True)
class Breach:
    """An invariant is broken: when, how, and on which hosts."""

    at: float
    text: str
    hosts: tuple[str, ...]


class Invariant:
    """The base: nothing is ever wrong. ``name`` and ``promise`` are shown to people."""

    name = ""
    promise = ""

    def on_change(self, scene: Scene, change: Change) -> Iterator[Breach]:
        yield from ()

    def on_look(self, scene: Scene, now: float) -> Iterator[Breach]:
        yield from ()

    def on_answer(self, scene: Scene, asked: Asked, now: float) -> Iterator[Breach]:
        yield from ()

    def on_hang_up(self, scene: Scene, followed: Followed, now: float) -> Iterator[Breach]:
        yield from ()

    def at_end(self, scene: Scene, now: float) -> Iterator[Breach]:
        """Healed, and every daemon still running."""
        yield from ()

    def after_stop(self, scene: Scene, now: float) -> Iterator[Breach]:
        """Every daemon has been stopped."""
        yield from ()
