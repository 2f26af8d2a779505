"""Experiments on one mesh: each takes an arm and a seed and returns figures. `table` runs them beside each other.

All start from a settled mesh, unless they are about how a mesh comes to be. The faults and their times come from
the seed alone, so each arm meets the same ones.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from random import Random
from typing import Final

from simulations.level1.network import between
from simulations.level1.node import Arm, Node
from simulations.level1.world import Mode, World
from varlogd.swim.damping import Damping
from varlogd.swim.directives import Event, MemberChanged
from varlogd.swim.state import State

SETTLE_S: Final = 40.0
"""After a start: the comparing of views that follows it is over, and the mesh is idle."""

GRID_S: Final = 120.0
"""One run of the Lifeguard paper's experiment."""

CRASH_AT_S: Final = 30.0
"""When, in such a run, one well node loses power: the run measures its detection as well."""


@dataclass(frozen=True)
class Contender:
    """One membership to measure, and the links it runs over. ``gossip_s``: its gossip interval; ``damped``: what it
    tells subscribers goes through `swim.damping`."""

    name: str
    arm: Arm
    mode: Mode
    gossip_s: float
    damped: bool = False


@dataclass
class Deaths:
    """Who declared whom dead, and when."""

    world: World
    said: list[tuple[float, str, str]] = field(default_factory=list)  # (at, observer's address, subject's)

    def __post_init__(self) -> None:
        self.world.watchers.append(self._watch)

    def _watch(self, at: float, node: Node, event: Event) -> None:
        if isinstance(event, MemberChanged) and event.member.state is State.DEAD:
            self.said.append((at, node.address, event.member.address))

    def of(self, subject: str) -> list[float]:
        """When it was declared dead, by one observer after another."""
        return [at for at, _, about in self.said if about == subject]


class Subscribers:
    """What each node tells its subscribers: of one that comes and goes, once, that it does, and no more."""

    def __init__(self, world: World) -> None:
        self._damping: dict[str, Damping] = {}
        world.watchers.append(self._watch)

    def _watch(self, at: float, node: Node, event: Event) -> None:
        if isinstance(event, MemberChanged):
            damping = self._damping.setdefault(node.address, Damping())
            damping.on_time(at)
            damping.change(at, event.member, event.previous)

    def flapping(self, node: Node, now: float) -> Collection[str]:
        """The names of those that this node's subscribers were told to come and go, and not that they are steady."""
        damping = self._damping.get(node.address)
        if damping is None:
            return ()
        damping.on_time(now)
        return damping.flapping


def _mesh(contender: Contender, seed: int | str, nodes: int, *, settle_s: float = SETTLE_S) -> World:
    world = World(seed, contender.arm, mode=contender.mode, traced=False)
    world.boot_all(nodes, settle_s=settle_s)
    return world


# The Lifeguard paper's experiment


@dataclass(frozen=True)
class Cell:
    """C nodes, each blocked for D seconds, then well for I, again and again."""

    slow: int
    blocked_s: float
    well_s: float


@dataclass(frozen=True)
class GridResult:
    """``false_positives``: deaths declared of nodes that were never slow, by any observer; ``at_healthy``: those by
    observers that never were slow either. ``first_s``: from the crash of a well node to its first death."""

    false_positives: int
    at_healthy: int
    first_s: float
    all_s: float
    sent: int


def lifeguard(contender: Contender, seed: int, nodes: int, cell: Cell) -> GridResult:
    """One cell of the grid; ``all_s`` is infinite if not all that never were slow have seen the crash."""
    world = _mesh(contender, f"{seed}/{cell}", nodes, settle_s=15.0)
    rng = Random(f"{seed}/plan/{cell}")
    addresses = list(world.nodes)
    slow = set(rng.sample(addresses, cell.slow))
    crashed = rng.choice([address for address in addresses if address not in slow])
    deaths, began, sent = Deaths(world), world.now, sum(world.sent.values())
    for address in sorted(slow):
        world.later(0.0, _cycle, world, address, cell, began + GRID_S)
    world.later(CRASH_AT_S, world.power_off, crashed)
    world.run(GRID_S + cell.blocked_s + 10.0)
    crash = began + CRASH_AT_S
    wrong = [(by, of) for at, by, of in deaths.said if of not in slow and (of != crashed or at < crash)]
    seen = [at - crash for at, by, of in deaths.said if of == crashed and by not in slow and at >= crash]
    everybody = len(seen) >= nodes - cell.slow - 1
    return GridResult(
        false_positives=len(wrong),
        at_healthy=sum(by not in slow for by, _ in wrong),
        first_s=min(seen, default=float("inf")),
        all_s=max(seen) if everybody else float("inf"),
        sent=sum(world.sent.values()) - sent,
    )


def _cycle(world: World, address: str, cell: Cell, until: float) -> None:
    if world.now >= until:
        return
    world.block(address)
    world.later(cell.blocked_s, world.unblock, address)
    world.later(cell.blocked_s + cell.well_s, _cycle, world, address, cell, until)


# Load and speed


def idle_load(contender: Contender, seed: int, nodes: int, seconds: float = 30.0) -> float:
    """Messages that a node sends per second in a mesh where nothing happens."""
    world = _mesh(contender, seed, nodes, settle_s=SETTLE_S)
    before = sum(world.sent.values())
    world.run(seconds)
    return (sum(world.sent.values()) - before) / nodes / seconds


@dataclass(frozen=True)
class Spread:
    """A crash: seconds until the first, and until all survivors, hold the node dead; gossip rounds in between."""

    first_s: float
    all_s: float
    rounds: float


def crash_known(contender: Contender, seed: int, nodes: int, *, power: bool = True) -> Spread:
    """One node loses power (or is killed); infinite if that is not known to all within two minutes."""
    world = _mesh(contender, seed, nodes, settle_s=SETTLE_S)
    deaths, began = Deaths(world), world.now
    victim = Random(f"{seed}/plan").choice(list(world.nodes))
    (world.power_off if power else world.kill)(victim)
    world.run_until(lambda: len(deaths.said) >= nodes - 1, 120.0)
    at = deaths.of(victim)
    if len(at) < nodes - 1:
        return Spread(min(at, default=float("inf")) - began, float("inf"), float("inf"))
    return Spread(at[0] - began, at[-1] - began, (at[-1] - at[0]) / contender.gossip_s)


def cold_start(contender: Contender, seed: int, nodes: int, limit_s: float = 300.0) -> tuple[float, float]:
    """Seconds until every node knows every other, all starting within a second with three seeds; and messages that
    a node sent meanwhile. Infinite if they do not within the limit."""
    world = World(seed, contender.arm, mode=contender.mode, traced=False)
    known = _Known(world)
    world.boot_all(nodes, settled=False, settle_s=0.0)
    took_s = world.run_until(lambda: known.pairs >= nodes * (nodes - 1), limit_s)
    done = known.pairs >= nodes * (nodes - 1)
    return (took_s if done else float("inf")), sum(world.sent.values()) / nodes


class _Known:
    """How many (observer, other) pairs there are of which the observer holds the other live."""

    def __init__(self, world: World) -> None:
        self.pairs = 0
        world.watchers.append(self._watch)

    def _watch(self, _at: float, _node: Node, event: Event) -> None:
        if isinstance(event, MemberChanged):
            was_live = event.previous is not None and event.previous.live
            self.pairs += event.member.live - was_live


# Faults that memberships are known to handle badly


@dataclass(frozen=True)
class Faulty:
    """``healthy_removed``: deaths of healthy nodes declared by healthy ones; ``out``: the share of (healthy
    observer, faulty node) pairs in which subscribers are not told that the faulty one is well (it is held dead, or
    told to come and go), at the worst moment of the fault's last cycle; ``dead``: in which it is held dead;
    ``flaps``: deaths of faulty nodes, per observer and faulty node."""

    healthy_removed: int
    out: float
    dead: float
    flaps: float


FLIP_S: Final = 20.0
"""Of a flip-flopping node: so long cut off, then so long well, as in the Rapid paper (section 7)."""


def flip_flop(contender: Contender, seed: int, nodes: int, cycles: int = 3) -> Faulty:
    """1 % of the nodes (at least one) receive nothing for 20 s, then everything for 20 s, and so on."""
    world = _mesh(contender, seed, nodes)
    watch = _Watch(contender, world, seed)
    shares = (0.0, 0.0)
    for _ in range(cycles):
        cut = world.network.cut(lambda _src, dst: dst in watch.bad)
        world.run(FLIP_S)
        shares = watch.shares()
        world.network.mend(cut)
        world.run(FLIP_S)
    return watch.result(*shares)


def lossy(contender: Contender, seed: int, nodes: int, seconds: float = 120.0) -> Faulty:
    """1 % of the nodes (at least one) lose 80 % of what they send and receive."""
    world = _mesh(contender, seed, nodes)
    watch = _Watch(contender, world, seed)
    world.network.node_loss.update(dict.fromkeys(sorted(watch.bad), 0.8))
    world.run(seconds)
    return watch.result(*watch.shares())


class _Watch:
    """Draws the faulty ones, 1 % and at least one, and sees what the others make of them."""

    def __init__(self, contender: Contender, world: World, seed: int) -> None:
        self._world = world
        addresses = list(world.nodes)
        self.bad = frozenset(Random(f"{seed}/plan").sample(addresses, max(1, len(addresses) // 100)))
        self._names = [world.nodes[address].name for address in sorted(self.bad)]
        self._healthy = [node for node in world.nodes.values() if node.address not in self.bad]
        self._deaths = Deaths(world)
        self._subscribers = Subscribers(world) if contender.damped else None

    def shares(self) -> tuple[float, float]:
        """The shares of pairs ``out`` and ``dead``, as in `Faulty`, at this moment."""
        out = dead = 0
        for node in self._healthy:
            gone = {name for name in self._names if not _is_live(node, name)}
            flapping = self._subscribers.flapping(node, self._world.now) if self._subscribers else ()
            dead += len(gone)
            out += len(gone.union(flapping).intersection(self._names))
        pairs = len(self._healthy) * len(self._names)
        return out / pairs, dead / pairs

    def result(self, out: float, dead: float) -> Faulty:
        """What it comes to, with those shares."""
        by_healthy = [of for _, by, of in self._deaths.said if by not in self.bad]
        wrong = sum(of not in self.bad for of in by_healthy)
        pairs = len(self._healthy) * len(self._names)
        return Faulty(wrong, out, dead, (len(by_healthy) - wrong) / pairs)


def _is_live(node: Node, name: str) -> bool:
    member = node.core.members.get(name)
    return member is not None and member.live


def split_heals(contender: Contender, seed: int, nodes: int, split_s: float, limit_s: float = 180.0) -> float:
    """Seconds from the end of a 50/50 split to one view of all; infinite if there is none within the limit."""
    world = _mesh(contender, seed, nodes)
    addresses = Random(f"{seed}/plan").sample(list(world.nodes), nodes)
    cut = world.network.cut(between([addresses[: nodes // 2], addresses[nodes // 2 :]]))
    world.run(split_s)
    known = _Known(world)
    known.pairs = sum(_live_others(node) for node in world.nodes.values())
    world.network.mend(cut)
    took_s = world.run_until(lambda: known.pairs >= nodes * (nodes - 1), limit_s)
    return took_s if known.pairs >= nodes * (nodes - 1) else float("inf")


def _live_others(node: Node) -> int:
    return sum(member.live for member in node.core.members.values()) - 1


DOWN_S: Final = 0.5
"""From the end of a process to its next start, in a rolling restart."""


@dataclass(frozen=True)
class Rolled:
    """``stuck``: (observer, node) pairs a minute later in which a running node is not held live; ``settled_s``:
    from the last restart to views that are all true, if they are within a minute."""

    stuck: int
    settled_s: float


def rolling_restart(contender: Contender, seed: int, nodes: int, per_s: float = 10.0) -> Rolled:
    """Every process is killed and started again, one after another, so many a second."""
    world = _mesh(contender, seed, nodes)
    addresses = list(world.nodes)
    for place, address in enumerate(addresses):
        world.later(place / per_s, world.kill, address)
        world.later(place / per_s + DOWN_S, world.restart, address, _seeds(addresses, address))
    world.run(nodes / per_s + DOWN_S)
    settled_s = float("inf")
    for second in range(61):
        stuck = sum(nodes - 1 - _live_others(node) for node in world.nodes.values())
        settled_s = float("inf") if stuck else min(settled_s, second)
        world.run(1.0)
    return Rolled(stuck, settled_s)


def _seeds(addresses: list[str], but: str) -> list[str]:
    return [address for address in addresses[:4] if address != but][:3]
