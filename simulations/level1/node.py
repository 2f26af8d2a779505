"""One simulated process: a core, and what may be wrong with the process and the machine around it.

Four ways of not answering, which a failure detector must tell apart:

    stopped     the process is gone; where the machine has power the kernel is still there to say so
    frozen      SIGSTOP, a stalled machine: neither messages nor timers are looked at
    blocked     the paper's anomaly: timers run, and nothing is sent or received meanwhile
    cut off     the network's doing (`network`): the process itself is well

A process that is slow works its messages off one after another, ``service_s`` each. What has piled up while it
was frozen or blocked is worked off at a finite speed as well: a backlog that is drained in no time would bring
all refutations at once, and hide the very effect that Lifeguard is about.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final, Protocol

from varlogd.swim.directives import Directive, Timer
from varlogd.swim.state import Member
from varlogd.swim.view import Base
from varlogd.wire.gossip import Claim, GossipMessage, Nack, Summary

BACKLOG_SERVICE_S: Final = 0.001
"""To work off one message of a backlog: decoding one with a few claims, in Python, on a busy host."""

BACKLOG_MAX: Final = 4096
"""Messages that wait, in both directions: what a kernel's buffers hold (some hundred KB). More are lost."""


class Core(Protocol):
    """What the world drives: `varlogd.swim.core.Swim`, or another membership with the same face."""

    @property
    def members(self) -> Mapping[str, Member]: ...
    @property
    def me(self) -> Member: ...
    @property
    def cut_off(self) -> bool: ...
    def start(self, now: float) -> list[Directive]: ...
    def on_message(self, now: float, src: str, message: GossipMessage) -> list[Directive]: ...
    def on_timer(self, now: float, timer: Timer) -> list[Directive]: ...
    def on_link_lost(self, now: float, address: str) -> list[Directive]: ...
    def on_unreachable(self, now: float, address: str, *, refused: bool) -> list[Directive]: ...
    def on_self_dialled(self, now: float, address: str) -> list[Directive]: ...
    def leave(self, now: float) -> list[Directive]: ...


@dataclass(frozen=True)
class Birth:
    """What a process knows when it starts."""

    name: str
    epoch: int
    address: str
    seeds: Sequence[str]
    rng: Random
    now: float
    base: Base | None = None
    """Everybody, where a large mesh is to begin settled. An arm may ignore it, and is told of them all."""


Arm = Callable[[Birth], Core]
"""Makes the core of a process: which membership a run is about."""


@dataclass(eq=False, slots=True)
class Node:
    """One process on one machine, at one address. ``boot`` counts its starts."""

    name: str
    address: str
    core: Core
    boot: int = 1
    running: bool = True
    frozen: int = 0  # how many faults freeze it
    blocked: int = 0
    service_s: float = 0.0
    clock_ahead_s: float = 0.0
    sent: int = 0
    goodbyes: int = 0  # of those
    received: int = 0
    busy_until: float = 0.0
    serving: bool = False
    inbox: deque[tuple[str, GossipMessage]] = field(default_factory=deque)
    outbox: deque[tuple[str, GossipMessage]] = field(default_factory=deque)
    overdue: list[Timer] = field(default_factory=list)  # timers of a frozen process

    @property
    def epoch(self) -> int:
        """The epoch it has now; higher than it was started with if the mesh remembered a later one."""
        return self.core.me.epoch

    def stop(self) -> None:
        """The process is gone, and what it had in hand with it."""
        self.running = False
        self.inbox.clear()
        self.outbox.clear()
        self.overdue.clear()


def claims_of(message: GossipMessage) -> tuple[Claim, ...]:
    """What a message says of members in so many words."""
    return () if isinstance(message, Nack | Summary) else message.claims
