"""What is to happen in a run, as data: a plan can be printed, replayed anywhere, and shrunk by deleting steps.

A step happens at a virtual time; one with a duration is undone after it. The names of hosts are those of the
plan. Nothing here acts: `run` does what a plan says.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Share = Annotated[float, Meta(ge=0, le=1)]

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
"""A host's name: a label of the DNS and what is usual beside. It is part of addresses and names a folder of logs."""


class Kill(Struct, frozen=True, forbid_unknown_fields=True, tag="kill"):
    """SIGKILL: the process is gone at once, its kernel closes its sockets."""

    at_s: Seconds
    host: str


class PowerOff(Struct, frozen=True, forbid_unknown_fields=True, tag="power-off"):
    """The machine is gone: silence."""

    at_s: Seconds
    host: str


class Start(Struct, frozen=True, forbid_unknown_fields=True, tag="start"):
    """The daemon is started on a machine where it does not run (and the power comes back, if it was out)."""

    at_s: Seconds
    host: str


class Leave(Struct, frozen=True, forbid_unknown_fields=True, tag="leave"):
    """SIGTERM: the daemon leaves the mesh and ends."""

    at_s: Seconds
    host: str


class Freeze(Struct, frozen=True, forbid_unknown_fields=True, tag="freeze"):
    """SIGSTOP, and SIGCONT after ``duration_s``: neither sockets nor timers are looked at in between."""

    at_s: Seconds
    host: str
    duration_s: Seconds


class Partition(Struct, frozen=True, forbid_unknown_fields=True, tag="partition"):
    """Hosts of different ``sides`` cannot reach each other. One host as a side: it can do no I/O but runs on."""

    at_s: Seconds
    sides: tuple[tuple[str, ...], ...]
    duration_s: Seconds


class OneWay(Struct, frozen=True, forbid_unknown_fields=True, tag="one-way"):
    """Nothing arrives from ``src`` at ``dst``; the other direction works."""

    at_s: Seconds
    src: str
    dst: str
    duration_s: Seconds


class SlowNetwork(Struct, frozen=True, forbid_unknown_fields=True, tag="slow-network"):
    """Everything from and to a host takes ``extra_s`` longer, each way."""

    at_s: Seconds
    host: str
    extra_s: Seconds
    duration_s: Seconds


class Block(Struct, frozen=True, forbid_unknown_fields=True, tag="block"):
    """The Lifeguard paper's anomaly: a process can neither send nor receive for a while, though its timers run."""

    at_s: Seconds
    host: str
    duration_s: Seconds


class SlowNode(Struct, frozen=True, forbid_unknown_fields=True, tag="slow-node"):
    """A process takes so long for each message it receives; more than come in between, and they pile up."""

    at_s: Seconds
    host: str
    service_s: Seconds
    duration_s: Seconds


class Loss(Struct, frozen=True, forbid_unknown_fields=True, tag="loss"):
    """So large a share of all packets from and to a host is lost (over streams: comes late)."""

    at_s: Seconds
    host: str
    share: Share
    duration_s: Seconds


class Flap(Struct, frozen=True, forbid_unknown_fields=True, tag="flap"):
    """A host is cut off for ``down_s``, reachable for ``up_s``, and so on."""

    at_s: Seconds
    host: str
    down_s: Annotated[float, Meta(gt=0, le=3600)]
    up_s: Annotated[float, Meta(gt=0, le=3600)]
    duration_s: Seconds


class Reuse(Struct, frozen=True, forbid_unknown_fields=True, tag="reuse"):
    """A machine is gone and its address is given to another one, on which a node of another name starts."""

    at_s: Seconds
    host: str
    name: str


class ClockJump(Struct, frozen=True, forbid_unknown_fields=True, tag="clock-jump"):
    """A clock is so much later all at once: at Level 1 the one that a process goes by, as after a suspended machine;
    at Level 2 the wall clock of a host, which may go back as well."""

    at_s: Seconds
    host: str
    seconds: Annotated[float, Meta(ge=-86_400, le=86_400)]


class RollingRestart(Struct, frozen=True, forbid_unknown_fields=True, tag="rolling-restart"):
    """All processes are killed and started again ``down_s`` later, one every ``every_s``."""

    at_s: Seconds
    every_s: Annotated[float, Meta(ge=0.01, le=3600)]
    down_s: Seconds


CHURN_MIN_S: Final = 0.5
"""Between two kills of one churn. Faster, what processes say when they start, again and again, is most of the load,
and a bound of it says nothing: with one each 0.2 s it is 20.4 messages per node and second among 8 nodes, of 20."""


class Churn(Struct, frozen=True, forbid_unknown_fields=True, tag="churn"):
    """For ``duration_s``, every ``every_s``, the process of one host that is up is killed, and started again after
    ``down_s``. Which one is drawn (`victims`); never are more than half of all hosts down by it."""

    at_s: Seconds
    duration_s: Seconds
    every_s: Annotated[float, Meta(ge=CHURN_MIN_S, le=3600)]
    down_s: Seconds


class SlowDisk(Struct, frozen=True, forbid_unknown_fields=True, tag="slow-disk"):
    """Every step of a scan on these hosts takes ``extra_s`` longer."""

    at_s: Seconds
    hosts: tuple[str, ...]
    extra_s: Seconds
    duration_s: Seconds


class FullDisk(Struct, frozen=True, forbid_unknown_fields=True, tag="full-disk"):
    """The disks of these hosts take nothing more: what the daemons would remember is not written."""

    at_s: Seconds
    hosts: tuple[str, ...]
    duration_s: Seconds


class Twin(Struct, frozen=True, forbid_unknown_fields=True, tag="twin"):
    """A machine was cloned: on another one, with the same logs, a daemon of the same name starts, whose clock is
    ahead by ``clock_s``; after ``duration_s`` it ends as a `Leave` or a `Kill` does. ``state``: what the daemon of
    ``host`` remembers on its disk was cloned with it."""

    at_s: Seconds
    host: str
    duration_s: Seconds
    end: Literal["leave", "kill"] = "leave"
    clock_s: Annotated[float, Meta(ge=-86_400, le=86_400)] = 0.0
    state: bool = False


Question = Literal["all", "errors", "newest", "oldest", "last-minutes"]
"""What is asked: see `asking.QUESTIONS`."""


class Ask(Struct, frozen=True, forbid_unknown_fields=True, tag="ask"):
    """A question is put to the daemon of ``host`` by somebody on that machine, who hangs up after ``gone_after_s``
    (None: waits for the end)."""

    at_s: Seconds
    host: str
    question: Question = "errors"
    timeout_s: Seconds = 10.0
    gone_after_s: Seconds | None = None


class Follow(Struct, frozen=True, forbid_unknown_fields=True, tag="follow"):
    """Somebody on that machine has the daemon of ``host`` follow all logs, from now on, and hangs up after
    ``duration_s``. In a plan with such a step the hosts write new lines meanwhile (`writing`)."""

    at_s: Seconds
    host: str
    duration_s: Seconds


Fault = (
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
    | Churn
)
"""What can befall a mesh: both levels know it."""

Step = Fault | SlowDisk | FullDisk | Twin | Ask | Follow


class Plan(Struct, frozen=True, forbid_unknown_fields=True):
    """One run. All hosts are started in the first seconds, before any step.

    Raises ValueError for hosts that are none, have no proper name or are named twice, for a step about a host that is
    not among them or about nobody, and for a scenario that is not a printable word.
    """

    scenario: str
    seed: int
    hosts: tuple[str, ...]
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        if not self.scenario or not self.scenario.isprintable():
            raise ValueError(f"scenario is a word or some, printable, not {self.scenario!a}")
        if not self.hosts:
            raise ValueError("hosts: there are none")
        _check_names("hosts", self.hosts)
        check(self.steps, self.hosts)

    @property
    def settled_s(self) -> float:
        """When the last step is over."""
        return max((end_of(step, len(self.hosts)) for step in self.steps), default=0.0)


def check(steps: Iterable[Step], hosts: Iterable[str]) -> None:
    """Raises ValueError for a step about a host that there is not or about none, that gives away a name in use, that
    has a host on two sides, or that parts nobody."""
    names = set(hosts)
    for step in steps:
        _check_names(step.__struct_config__.tag, hosts_of(step))
        _check_some(step)
        if strangers := set(hosts_of(step)) - names:
            raise ValueError(f"{describe(step)}: there is no {', '.join(sorted(strangers))}")
        if isinstance(step, Reuse):
            _check_names("reuse", (step.name,))
            if step.name in names:
                raise ValueError(f"{describe(step)}: {step.name} is another host's name")


def _check_some(step: Step) -> None:
    """Raises ValueError for a step that befalls nobody: else a slip in a plan would pass for survived."""
    match step:
        case Partition(_, sides) if len(sides) < 2 or not all(sides):
            raise ValueError(f"partition: sides are two lists of hosts or more, none of them empty, not {sides}")
        case SlowDisk(_, hosts) | FullDisk(_, hosts) if not hosts:
            raise ValueError(f"{step.__struct_config__.tag}: hosts: there are none")
        case _:
            pass


def _check_names(where: object, names: Iterable[str]) -> None:
    """Raises ValueError for a name that is none and for one that is there twice."""
    for name, times in Counter(names).items():
        if NAME.fullmatch(name) is None:
            raise ValueError(f"{where}: a host's name is 1 to 63 letters, digits, '-', '_' or '.', not {name!a}")
        if times > 1:
            raise ValueError(f"{where}: {name} is named twice")


def end_of(step: Step, nodes: int) -> float:
    """When a step has been undone, or has had its time."""
    match step:
        case Ask():
            return step.at_s + (step.timeout_s if step.gone_after_s is None else step.gone_after_s)
        case RollingRestart():
            return step.at_s + nodes * step.every_s + step.down_s
        case Churn():
            return step.at_s + step.duration_s + step.down_s
        case _:
            return step.at_s + float(getattr(step, "duration_s", 0.0))


def hosts_of(step: Step) -> tuple[str, ...]:
    """The hosts that a step names."""
    match step:
        case SlowDisk(_, hosts) | FullDisk(_, hosts):
            return hosts
        case Partition(_, sides):
            return tuple(host for side in sides for host in side)
        case OneWay(_, src, dst):
            return (src, dst)
        case RollingRestart() | Churn():
            return ()
        case _:
            return (step.host,)


def describe(step: Step) -> str:
    """A step in a few words."""
    match step:
        case Ask(_, host, question, _, gone_after_s):
            return f"ask {host} for {question}" + ("" if gone_after_s is None else f", gone after {gone_after_s:g} s")
        case Kill(_, host) | PowerOff(_, host) | Start(_, host) | Leave(_, host):
            return f"{str(step.__struct_config__.tag).replace('-', ' ')} {host}"
        case Follow(_, host, duration_s):
            return f"follow all logs at {host} for {duration_s:g} s"
        case Reuse(_, host, name):
            return f"{host} is gone, its address is now that of {name}"
        case Twin(_, host, duration_s):
            return f"another node goes by the name of {host} for {duration_s:g} s"
        case ClockJump(_, host, seconds):
            return f"the clock of {host} jumps by {seconds:g} s"
        case RollingRestart(_, every_s, down_s):
            return f"restart all, one every {every_s:g} s, down for {down_s:g} s"
        case Churn(_, duration_s, every_s, down_s):
            return f"kill one every {every_s:g} s, down for {down_s:g} s, for {duration_s:g} s"
        case _:
            return f"{_describe_lasting(step)} for {step.duration_s:g} s"


Lasting = Freeze | Partition | OneWay | SlowNetwork | Block | SlowNode | Loss | Flap | SlowDisk | FullDisk
"""What is undone after its ``duration_s``."""


def _describe_lasting(step: Lasting) -> str:
    match step:
        case Freeze(_, host) | Block(_, host):
            return f"{type(step).__name__.lower()} {host}"
        case Partition(_, sides):
            return f"partition {' | '.join(' '.join(side) for side in sides)}"
        case OneWay(_, src, dst):
            return f"cut the way from {src} to {dst}"
        case SlowNetwork(_, host, extra_s):
            return f"network of {host} slower by {extra_s:g} s"
        case SlowDisk(_, hosts, extra_s):
            return f"disks of {' '.join(hosts)} slower by {extra_s:g} s a step"
        case FullDisk(_, hosts):
            return f"disks of {' '.join(hosts)} full"
        case SlowNode(_, host, service_s):
            return f"{host} takes {service_s:g} s a message"
        case Loss(_, host, share):
            return f"{host} loses {100 * share:g} %"
        case Flap(_, host, down_s, up_s):
            return f"{host} off {down_s:g} s, on {up_s:g} s,"


def to_json(plan: Plan) -> str:
    """A plan as JSON, a step a line."""
    head = {"scenario": plan.scenario, "seed": plan.seed, "hosts": plan.hosts}
    steps = ",\n".join("  " + msgspec.json.encode(step).decode() for step in plan.steps)
    return f'{msgspec.json.encode(head).decode()[:-1]},"steps":[\n{steps}\n]}}\n'


def from_json(text: str) -> Plan:
    """The plan in JSON text. Raises `msgspec.ValidationError` or `msgspec.DecodeError`."""
    return msgspec.json.decode(text, type=Plan)
