"""Faults on a Level 1 mesh, as data: the kinds of `simulations.plan` that fit, and those that need no daemon.

A plan prints as JSON or is written by hand as TOML, replays anywhere, and shrinks by deleting steps. Hosts are
named n0, n1, ...; whatever a step asks of a host in whatever state is either done or has no effect.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from simulations import plan as level2
from simulations.level1.world import Mode
from simulations.plan import Freeze, Kill, Leave, OneWay, Partition, PowerOff, SlowNetwork, Start

NODES_MAX: Final = 4096
"""A view is some dictionaries: N of them with N entries take 230 bytes x N x N, 4 GB at this size."""

Share = Annotated[float, Meta(ge=0, le=1)]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]


class Block(Struct, frozen=True, tag="block"):
    """The Lifeguard paper's anomaly: a process can neither send nor receive for a while, though its timers run."""

    at_s: float
    host: str
    duration_s: Seconds


class SlowNode(Struct, frozen=True, tag="slow-node"):
    """A process takes so long for each message it receives; more than come in between, and they pile up."""

    at_s: float
    host: str
    service_s: Seconds
    duration_s: Seconds


class Loss(Struct, frozen=True, tag="loss"):
    """So large a share of all packets from and to a host is lost (over streams: comes late)."""

    at_s: float
    host: str
    share: Share
    duration_s: Seconds


class Flap(Struct, frozen=True, tag="flap"):
    """A host is cut off for ``down_s``, reachable for ``up_s``, and so on."""

    at_s: float
    host: str
    down_s: Annotated[float, Meta(gt=0, le=3600)]
    up_s: Annotated[float, Meta(gt=0, le=3600)]
    duration_s: Seconds


class Reuse(Struct, frozen=True, tag="reuse"):
    """A machine is gone and its address is given to another one, on which a node of another name starts."""

    at_s: float
    host: str
    name: str


class ClockJump(Struct, frozen=True, tag="clock-jump"):
    """The clock that a process goes by is so much later all at once, as after a suspended machine."""

    at_s: float
    host: str
    seconds: Seconds


class RollingRestart(Struct, frozen=True, tag="rolling-restart"):
    """All processes are killed and started again ``down_s`` later, one every ``every_s``."""

    at_s: float
    every_s: Annotated[float, Meta(ge=0.01, le=3600)]
    down_s: Seconds


Step = (
    Kill
    | PowerOff
    | Start
    | Leave
    | Freeze
    | Partition
    | OneWay
    | SlowNetwork
    | Block
    | SlowNode
    | Loss
    | Flap
    | Reuse
    | ClockJump
    | RollingRestart
)


class MeshPlan(Struct, frozen=True):
    """One run on a settled mesh. Raises ValueError for a step about a host that there is not."""

    seed: int
    nodes: Annotated[int, Meta(ge=2, le=NODES_MAX)]
    steps: tuple[Step, ...]
    mode: Mode = "stream"
    level: Annotated[int, Meta(ge=1, le=1)] = 1

    def __post_init__(self) -> None:
        names = set(self.hosts)
        for step in self.steps:
            if strangers := set(hosts_of(step)) - names:
                raise ValueError(f"{describe(step)}: there is no {', '.join(sorted(strangers))}")
            if isinstance(step, Reuse) and step.name in names:
                raise ValueError(f"{describe(step)}: {step.name} is another host's name")

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(f"n{number}" for number in range(self.nodes))

    @property
    def settled_s(self) -> float:
        """When the last step is over."""
        return max((end_of(step, self.nodes) for step in self.steps), default=0.0)


def end_of(step: Step, nodes: int) -> float:
    """When a step has been undone, or has had its time."""
    if isinstance(step, RollingRestart):
        return step.at_s + nodes * step.every_s + step.down_s
    return step.at_s + float(getattr(step, "duration_s", 0.0))


def hosts_of(step: Step) -> tuple[str, ...]:
    """The hosts that a step names."""
    match step:
        case Partition(_, sides):
            return tuple(host for side in sides for host in side)
        case OneWay(_, src, dst):
            return (src, dst)
        case RollingRestart():
            return ()
        case _:
            return (step.host,)


def describe(step: Step) -> str:
    """A step in a few words."""
    match step:
        case Block(_, host, duration_s):
            return f"block {host} for {duration_s:g} s"
        case SlowNode(_, host, service_s, duration_s):
            return f"{host} takes {service_s:g} s a message for {duration_s:g} s"
        case Loss(_, host, share, duration_s):
            return f"{host} loses {100 * share:g} % for {duration_s:g} s"
        case Flap(_, host, down_s, up_s, duration_s):
            return f"{host} off {down_s:g} s, on {up_s:g} s, for {duration_s:g} s"
        case Reuse(_, host, name):
            return f"{host} is gone, its address is now that of {name}"
        case ClockJump(_, host, seconds):
            return f"the clock of {host} jumps by {seconds:g} s"
        case RollingRestart(_, every_s, down_s):
            return f"restart all, one every {every_s:g} s, down for {down_s:g} s"
        case _:
            return level2.describe(step)


def to_json(plan: MeshPlan) -> str:
    """A plan as JSON, a step a line."""
    head = {"level": 1, "seed": plan.seed, "nodes": plan.nodes, "mode": plan.mode}
    steps = ",\n".join("  " + msgspec.json.encode(step).decode() for step in plan.steps)
    return f'{msgspec.json.encode(head).decode()[:-1]},"steps":[\n{steps}\n]}}\n'
