"""One plan on one mesh: let it settle, let the plan happen, heal, demand convergence, judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from simulations.invariants import HEAL_S
from simulations.level1.judge import Breach, Judge
from simulations.level1.network import between
from simulations.level1.node import Arm, Node
from simulations.level1.plan import (
    Block,
    Churn,
    ClockJump,
    Flap,
    Loss,
    MeshPlan,
    Reuse,
    RollingRestart,
    SlowNode,
    Step,
    describe,
)
from simulations.level1.world import World, ours
from simulations.plan import Freeze, Kill, Leave, OneWay, Partition, PowerOff, SlowNetwork, Start
from simulations.progress import Watch, nobody
from simulations.story import Belief, Beliefs
from simulations.victims import Victims
from varlogd.swim.directives import Event, MemberChanged
from varlogd.swim.state import State

SETTLE_S: Final = 8.0
"""Before the time of the plan begins."""

SEEDS: Final = 3


@dataclass(frozen=True)
class Outcome:
    """What came of a run. Times are the plan's. ``sometimes`` counts the states that make a run worth its time;
    ``load`` has (time, messages per node and second)."""

    plan: MeshPlan
    breaches: Sequence[Breach]
    sometimes: Mapping[str, int]
    beliefs: Sequence[Belief]
    happened: Sequence[tuple[float, str]]
    load: Sequence[tuple[float, float]]
    virtual_s: float
    digest: str

    @property
    def passed(self) -> bool:
        return not self.breaches


def end_of_run_s(plan: MeshPlan) -> float:
    """When a run is over, in the plan's time."""
    return plan.settled_s + HEAL_S


def run(plan: MeshPlan, arm: Arm | None = None, watch: Watch = nobody) -> Outcome:
    """Let a plan happen. The same plan gives the same outcome, in any process. ``watch`` is told how far it is."""
    world = World(plan.seed, arm or ours(), mode=plan.mode)
    world.boot_all(plan.nodes, settle_s=SETTLE_S)
    return _Run(plan, world, watch).outcome()


class _Run:
    def __init__(self, plan: MeshPlan, world: World, watch: Watch) -> None:
        self._plan = plan
        self._world = world
        self._watch = watch
        self._judge = Judge(world)
        self._zero = world.now
        self._beliefs = Beliefs()
        self._happened: list[tuple[float, str]] = []
        self._load: list[tuple[float, float]] = []
        self._extra_s: dict[str, list[float]] = {}
        self._losses: dict[str, list[float]] = {}
        self._seen = sum(world.sent.values())
        self._seeds = [f"{name}:1" for name in plan.hosts[:SEEDS]]
        world.watchers.append(self._believe)
        world.later(1.0, self._measure)
        for step in plan.steps:
            world.later(step.at_s, self._take, step)

    def outcome(self) -> Outcome:
        world = self._world
        world.run(end_of_run_s(self._plan))
        self._judge.finish()
        breaches = [Breach(found.name, found.at - self._zero, found.text) for found in self._judge.breaches]
        return Outcome(
            plan=self._plan,
            breaches=breaches,
            sometimes=self._judge.sometimes,
            beliefs=self._beliefs.all,
            happened=self._happened,
            load=self._load,
            virtual_s=world.now - self._zero,
            digest=world.digest,
        )

    def _believe(self, at: float, node: Node, event: Event) -> None:
        if isinstance(event, MemberChanged) and node.core.me.state is not State.LEFT:
            self._beliefs.hold(at - self._zero, node.name, event.member.name, event.member.state)

    def _measure(self) -> None:
        sent = sum(self._world.sent.values())
        nodes = max(1, sum(node.running for node in self._world.nodes.values()))
        self._load.append((self._world.now - self._zero, (sent - self._seen) / nodes))
        self._seen = sent
        self._watch(self._world.now - self._zero)
        self._world.later(1.0, self._measure)

    # What a step does

    def _take(self, step: Step) -> None:
        self._say(describe(step))
        match step:
            case Kill() | PowerOff() | Leave() | Start() | Reuse() | ClockJump():
                self._at_once(step)
            case RollingRestart(_, every_s, down_s):
                for place, host in enumerate(self._plan.hosts):
                    self._world.later(place * every_s, self._at_once, Kill(0, host))
                    self._world.later(place * every_s + down_s, self._at_once, Start(0, host))
            case Flap():
                self._flap(step, self._world.now + step.duration_s)
                self._world.later(step.duration_s, self._say, f"over: {describe(step)}")
            case Churn():
                self._churn(step, Victims(self._plan.seed, step), self._world.now)
                self._world.later(step.duration_s + step.down_s, self._say, f"over: {describe(step)}")
            case _:
                self._lasting(step)

    def _at_once(self, step: Kill | PowerOff | Leave | Start | Reuse | ClockJump) -> None:
        world, address = self._world, f"{step.host}:1"
        node = world.nodes[address]
        match step:
            case Kill() | PowerOff() | Leave():
                self._stop(node, step)
            case Start():
                self._boot(node, node.name)
            case Reuse(_, _, name):
                self._stop(node, PowerOff(0, step.host))
                if name not in {other.name for other in world.nodes.values()}:
                    self._boot(node, name)
            case ClockJump(_, _, seconds):
                if node.running:
                    world.jump_clock(address, seconds)
                    self._judge.shock(address)

    def _stop(self, node: Node, step: Kill | PowerOff | Leave) -> None:
        world = self._world
        if isinstance(step, PowerOff) and not node.running:
            world.power_off(node.address)
        if not _is_up(node):
            return
        if isinstance(step, Leave) and (node.frozen or node.blocked):
            return  # it does not hear of it
        self._judge.stopped(node, on_purpose=isinstance(step, Leave))
        {Kill: world.kill, PowerOff: world.power_off, Leave: world.leave}[type(step)](node.address)
        self._beliefs.end(world.now - self._zero, node.name)

    def _boot(self, node: Node, name: str) -> None:
        if not node.running:
            seeds = [seed for seed in self._seeds if seed != node.address]
            self._judge.started(self._world.boot(name, seeds, address=node.address))

    def _lasting(self, step: Freeze | Partition | OneWay | SlowNetwork | Block | SlowNode | Loss) -> None:
        """Do what lasts, and undo it after its time."""
        network = self._world.network
        match step:
            case Freeze(_, host, _):
                undo = self._on_process(host, "frozen")
            case Block(_, host, _):
                undo = self._on_process(host, "blocked")
            case SlowNode(_, host, service_s, _):
                undo = self._slow(host, service_s)
            case SlowNetwork(_, host, extra_s, _):
                undo = _added(network.extra_s, self._extra_s, f"{host}:1", extra_s)
            case Loss(_, host, share, _):
                undo = _added(network.node_loss, self._losses, f"{host}:1", share)
            case Partition(_, sides, _):
                cut = network.cut(between([[f"{host}:1" for host in side] for side in sides]))
                undo = _mend(self._world, cut)
            case OneWay(_, src, dst, _):
                cut = network.cut(_one_way(f"{src}:1", f"{dst}:1"))
                undo = _mend(self._world, cut)
        addresses = [f"{host}:1" for host in _touched(step)]
        for address in addresses:
            self._judge.disturb(address)
        self._world.later(step.duration_s, self._over, describe(step), undo, addresses)

    def _over(self, what: str, undo: Callable[[], None], addresses: Sequence[str]) -> None:
        self._say(f"over: {what}")
        undo()
        for address in addresses:
            self._judge.calm(address)

    def _on_process(self, host: str, what: str) -> Callable[[], None]:
        """Freeze or block this life of the process: a restart ends it."""
        world, address = self._world, f"{host}:1"
        node = world.nodes[address]
        begin, end = {"frozen": (world.freeze, world.thaw), "blocked": (world.block, world.unblock)}[what]
        begin(address)
        return lambda: end(address) if world.nodes[address] is node else None

    def _slow(self, host: str, service_s: float) -> Callable[[], None]:
        node = self._world.nodes[f"{host}:1"]
        node.service_s += service_s

        def undo() -> None:
            node.service_s = max(0.0, node.service_s - service_s)

        return undo

    def _flap(self, step: Flap, until: float, again: bool = False) -> None:
        now = self._world.now
        if now >= until:
            return
        what, address = f"{step.host} is cut off", f"{step.host}:1"
        if again:
            self._say(what)
        others = [f"{host}:1" for host in self._plan.hosts if host != step.host]
        cut = self._world.network.cut(between([[address], others]))
        down_s = min(step.down_s, until - now)
        self._judge.disturb(address)
        self._world.later(down_s, self._over, what, _mend(self._world, cut), [address])
        self._world.later(down_s + step.up_s, self._flap, step, until, True)

    def _churn(self, step: Churn, victims: Victims, began: float, number: int = 0) -> None:
        """Kill one, as the ``number``th, and see to its start and to the next."""
        if number * step.every_s >= step.duration_s:
            return
        world = self._world
        up = [host for host in self._plan.hosts if _is_up(world.nodes[f"{host}:1"])]
        host = victims.draw(up, self._plan.nodes)
        if host is not None:
            self._told(Kill(0, host))
            world.later(step.down_s, self._told, Start(0, host))
        next_at = began + (number + 1) * step.every_s
        world.later(next_at - world.now, self._churn, step, victims, began, number + 1)

    def _told(self, step: Kill | Start) -> None:
        self._say(describe(step))
        self._at_once(step)

    def _say(self, what: str) -> None:
        self._happened.append((self._world.now - self._zero, what))
        self._world.note(what)


def _is_up(node: Node) -> bool:
    """Whether it runs and does not mean to end."""
    return node.running and node.core.me.state is not State.LEFT


def _touched(step: Step) -> Sequence[str]:
    match step:
        case Partition(_, sides, _):
            return [host for side in sides for host in side]
        case OneWay(_, src, dst, _):
            return [src, dst]
        case RollingRestart() | Churn():
            return []
        case _:
            return [step.host]


def _one_way(here: str, there: str) -> Callable[[str, str], bool]:
    return lambda src, dst: src == here and dst == there


def _mend(world: World, cut: int) -> Callable[[], None]:
    return lambda: world.network.mend(cut)


def _added(
    table: dict[str, float], at_once: dict[str, list[float]], address: str, amount: float
) -> Callable[[], None]:
    """Put one more figure on a host; of several at a time (``at_once``) the worst counts."""
    figures = at_once.setdefault(address, [])
    figures.append(amount)
    table[address] = max(figures)

    def undo() -> None:
        figures.remove(amount)
        table[address] = max(figures, default=0.0)

    return undo
