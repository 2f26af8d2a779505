"""Plans drawn from a seed: some kinds of fault are chosen first (swarm testing), then many faults of these kinds.

With all kinds in every plan the frequent ones would hide the rare: who is restarted all the time is never slow.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final, get_args

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
)
from simulations.level1.world import Mode
from simulations.plan import CHURN_MIN_S, Freeze, Kill, Leave, OneWay, Partition, PowerOff, SlowNetwork, Start

FAULTS_S: Final = 50.0
"""The faults of a drawn plan begin within this time."""

NODES: Final = (3, 4, 5, 6, 8, 12)
"""Sizes that are drawn: most of what can go wrong goes wrong in a few nodes."""


ROLLING_MAX: Final = 2
"""Rolling restarts in one plan. Eight at once, which is what eight draws may come to, start each process anew every
three seconds; what these say when they join is most of the load then, and a bound of it says nothing."""


def draw(seed: int, nodes: int | None = None) -> MeshPlan:
    """The plan of a seed; ``nodes`` is drawn as well unless given. The same seed gives the same plan."""
    return _drawn(Random(f"{seed}/plan/mesh"), seed, nodes, _faults)


def churned(seed: int, nodes: int | None = None) -> MeshPlan:
    """As `draw`; one process after another is killed and started again, with a fault or two beside."""
    return _drawn(Random(f"{seed}/plan/mesh-churn"), seed, nodes, _churn_and_faults)


def _drawn(
    rng: Random, seed: int, nodes: int | None, draw_steps: Callable[[Random, list[str]], list[Step]]
) -> MeshPlan:
    drawn = rng.choice(NODES)
    mode: Mode = rng.choice(get_args(Mode))
    nodes = drawn if nodes is None else nodes
    steps = draw_steps(rng, [f"n{number}" for number in range(nodes)])
    return MeshPlan(seed, nodes, tuple(sorted(steps, key=lambda step: step.at_s)), mode)


def _faults(rng: Random, hosts: list[str]) -> list[Step]:
    makers = rng.sample(MAKERS, rng.randint(1, len(MAKERS)))
    steps: list[Step] = []
    for _ in range(rng.randint(1, 8)):
        steps += rng.choice(makers)(rng, hosts, _time(rng, 0, FAULTS_S))
    rolling = [step for step in steps if isinstance(step, RollingRestart)]
    return [step for step in steps if step not in rolling[ROLLING_MAX:]]


def _churn_and_faults(rng: Random, hosts: list[str]) -> list[Step]:
    every_s = rng.choice((_time(rng, CHURN_MIN_S, 2), _time(rng, 2, 10)))
    steps: list[Step] = [Churn(_time(rng, 0, 5), _time(rng, 10, FAULTS_S), every_s, _length(rng))]
    for _ in range(rng.randint(0, 2)):
        steps += rng.choice(BESIDE_CHURN)(rng, hosts, _time(rng, 0, FAULTS_S))
    return steps


def _time(rng: Random, low: float, high: float) -> float:
    """In milliseconds: short to print."""
    return round(rng.uniform(low, high), 3)


def _length(rng: Random) -> float:
    return rng.choice((_time(rng, 0.1, 3), _time(rng, 3, 40)))


def _away(rng: Random, hosts: list[str], at_s: float) -> list[Step]:
    host = rng.choice(hosts)
    return [rng.choice((Kill, Leave, PowerOff))(at_s, host), Start(at_s + _length(rng), host)]


def _churn(rng: Random, hosts: list[str], at_s: float) -> list[Step]:
    """A third of all come and go for a while."""
    steps: list[Step] = []
    for host in rng.sample(hosts, max(1, len(hosts) // 3)):
        when = at_s
        for _ in range(rng.randint(2, 4)):
            steps.append(rng.choice((Kill, Leave, PowerOff))(when, host))
            steps.append(Start(when + _time(rng, 0.2, 8), host))
            when = round(steps[-1].at_s + _time(rng, 0.5, 10), 3)
    return steps


def _gone(rng: Random, hosts: list[str], at_s: float) -> list[Step]:
    return [rng.choice((Kill, Leave, PowerOff))(at_s, rng.choice(hosts))]


def _frozen(rng: Random, hosts: list[str], at_s: float) -> list[Step]:
    return [Freeze(at_s, rng.choice(hosts), _length(rng))]


def _blocked(rng: Random, hosts: list[str], at_s: float) -> list[Step]:
    return [Block(at_s, rng.choice(hosts), _length(rng))]


def _slow(rng: Random, hosts: list[str], at_s: float) -> list[Step]:
    return [SlowNode(at_s, rng.choice(hosts), _time(rng, 0.01, 0.3), _length(rng))]


def _parted(rng: Random, hosts: list[str], at_s: float) -> list[Step]:
    shuffled = rng.sample(hosts, len(hosts))
    place = rng.randint(1, len(hosts) - 1)
    sides = (tuple(sorted(shuffled[:place])), tuple(sorted(shuffled[place:])))
    if len(hosts) > 4 and rng.random() < 0.3 and len(sides[1]) > 1:  # some see both sides
        sides = (sides[0], sides[1][:-1])
    return [Partition(at_s, sides, _length(rng))]


def _deaf(rng: Random, hosts: list[str], at_s: float) -> list[Step]:
    src, dst = rng.sample(hosts, 2)
    return [OneWay(at_s, src, dst, _length(rng))]


def _flapping(rng: Random, hosts: list[str], at_s: float) -> list[Step]:
    return [Flap(at_s, rng.choice(hosts), _time(rng, 0.2, 8), _time(rng, 0.2, 8), _time(rng, 5, 40))]


def _lossy(rng: Random, hosts: list[str], at_s: float) -> list[Step]:
    return [Loss(at_s, rng.choice(hosts), round(rng.uniform(0.05, 0.8), 2), _length(rng))]


def _latency(rng: Random, hosts: list[str], at_s: float) -> list[Step]:
    return [SlowNetwork(at_s, rng.choice(hosts), _time(rng, 0.01, 0.4), _length(rng))]


def _reused(rng: Random, hosts: list[str], at_s: float) -> list[Step]:
    return [Reuse(at_s, rng.choice(hosts), f"new{rng.randrange(1000)}")]


def _jump(rng: Random, hosts: list[str], at_s: float) -> list[Step]:
    return [ClockJump(at_s, rng.choice(hosts), rng.choice((_time(rng, 0.5, 5), _time(rng, 5, 7200))))]


def _rolling(rng: Random, _hosts: list[str], at_s: float) -> list[Step]:
    return [RollingRestart(at_s, _time(rng, 0.05, 3), _time(rng, 0.1, 4))]


Maker = Callable[[Random, list[str], float], list[Step]]

MAKERS: Final[tuple[Maker, ...]] = (
    _away, _churn, _gone, _frozen, _blocked, _slow, _parted, _deaf, _flapping, _lossy, _latency, _reused, _jump,
    _rolling,
)  # fmt: skip
"""Each makes the steps of one fault."""

BESIDE_CHURN: Final = tuple(maker for maker in MAKERS if maker not in (_churn, _rolling))
"""Those that do not start processes all the time: what these say is a load of its own (`ROLLING_MAX`)."""
