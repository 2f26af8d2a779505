"""What is to happen in a run, as data: a plan can be printed, replayed anywhere, and shrunk by deleting steps.

A step happens at a virtual time; one with a duration is undone after it. The names of hosts are those of the
plan. Nothing here acts: `run` does what a plan says.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct


class Kill(Struct, frozen=True, tag="kill"):
    """SIGKILL: the process is gone at once, its kernel closes its sockets."""

    at_s: float
    host: str


class PowerOff(Struct, frozen=True, tag="power-off"):
    """The machine is gone: silence."""

    at_s: float
    host: str


class Start(Struct, frozen=True, tag="start"):
    """The daemon is started on a machine where it does not run (and the power comes back, if it was out)."""

    at_s: float
    host: str


class Leave(Struct, frozen=True, tag="leave"):
    """SIGTERM: the daemon leaves the mesh and ends."""

    at_s: float
    host: str


class Freeze(Struct, frozen=True, tag="freeze"):
    """SIGSTOP, and SIGCONT after ``duration_s``: neither sockets nor timers are looked at in between."""

    at_s: float
    host: str
    duration_s: float


class Partition(Struct, frozen=True, tag="partition"):
    """Hosts of different ``sides`` cannot reach each other. One host as a side: it can do no I/O but runs on."""

    at_s: float
    sides: tuple[tuple[str, ...], ...]
    duration_s: float


class OneWay(Struct, frozen=True, tag="one-way"):
    """Nothing arrives from ``src`` at ``dst``; the other direction works."""

    at_s: float
    src: str
    dst: str
    duration_s: float


class SlowNetwork(Struct, frozen=True, tag="slow-network"):
    """Everything from and to a host takes ``extra_s`` longer, each way."""

    at_s: float
    host: str
    extra_s: float
    duration_s: float


class SlowDisk(Struct, frozen=True, tag="slow-disk"):
    """Every step of a scan on these hosts takes ``extra_s`` longer."""

    at_s: float
    hosts: tuple[str, ...]
    extra_s: float
    duration_s: float


class FullDisk(Struct, frozen=True, tag="full-disk"):
    """The disks of these hosts take nothing more: what the daemons would remember is not written."""

    at_s: float
    hosts: tuple[str, ...]
    duration_s: float


Question = Literal["all", "errors", "newest", "oldest", "last-minutes"]
"""What is asked: see `asking.QUESTIONS`."""


class Ask(Struct, frozen=True, tag="ask"):
    """A question is put to the daemon of ``host`` by somebody on that machine, who hangs up after ``gone_after_s``
    (None: waits for the end)."""

    at_s: float
    host: str
    question: Question = "errors"
    timeout_s: float = 10.0
    gone_after_s: float | None = None


Step = Kill | PowerOff | Start | Leave | Freeze | Partition | OneWay | SlowNetwork | SlowDisk | FullDisk | Ask


class Plan(Struct, frozen=True):
    """One run. All hosts are started in the first seconds, before any step.

    Raises ValueError for a step about a host that is not among ``hosts``.
    """

    scenario: str
    seed: int
    hosts: tuple[str, ...]
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        for step in self.steps:
            if strangers := set(hosts_of(step)) - set(self.hosts):
                raise ValueError(f"{describe(step)}: there is no {', '.join(sorted(strangers))}")

    @property
    def settled_s(self) -> float:
        """When the last step is over."""
        return max((end_of(step) for step in self.steps), default=0.0)


def end_of(step: Step) -> float:
    """When a step has been undone, or has had its time."""
    if isinstance(step, Ask):
        return step.at_s + (step.timeout_s if step.gone_after_s is None else step.gone_after_s)
    return step.at_s + getattr(step, "duration_s", 0.0)


def hosts_of(step: Step) -> tuple[str, ...]:
    """The hosts that a step is about."""
    match step:
        case SlowDisk(_, hosts) | FullDisk(_, hosts):
            return hosts
        case Partition(_, sides):
            return tuple(host for side in sides for host in side)
        case OneWay(_, src, dst):
            return (src, dst)
        case _:
            return (step.host,)


def describe(step: Step) -> str:
    """A step in a few words."""
    match step:
        case Freeze(_, host, duration_s):
            return f"freeze {host} for {duration_s:g} s"
        case Partition(_, sides, duration_s):
            return f"partition {' | '.join(' '.join(side) for side in sides)} for {duration_s:g} s"
        case OneWay(_, src, dst, duration_s):
            return f"cut the way from {src} to {dst} for {duration_s:g} s"
        case SlowNetwork(_, host, extra_s, duration_s):
            return f"network of {host} slower by {extra_s:g} s for {duration_s:g} s"
        case SlowDisk(_, hosts, extra_s, duration_s):
            return f"disks of {' '.join(hosts)} slower by {extra_s:g} s a step for {duration_s:g} s"
        case FullDisk(_, hosts, duration_s):
            return f"disks of {' '.join(hosts)} full for {duration_s:g} s"
        case Ask(_, host, question, _, gone_after_s):
            return f"ask {host} for {question}" + ("" if gone_after_s is None else f", gone after {gone_after_s:g} s")
        case PowerOff(_, host):
            return f"power off {host}"
        case Kill(_, host) | Start(_, host) | Leave(_, host):
            return f"{type(step).__name__.lower()} {host}"


def to_json(plan: Plan) -> str:
    """A plan as JSON, a step a line."""
    head = {"scenario": plan.scenario, "seed": plan.seed, "hosts": plan.hosts}
    steps = ",\n".join("  " + msgspec.json.encode(step).decode() for step in plan.steps)
    return f'{msgspec.json.encode(head).decode()[:-1]},"steps":[\n{steps}\n]}}\n'


def from_json(text: str) -> Plan:
    """The plan in JSON text. Raises `msgspec.ValidationError` or `msgspec.DecodeError`."""
    return msgspec.json.decode(text, type=Plan)
