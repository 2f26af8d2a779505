"""The scenarios: each makes a plan from a seed. Its docstring is what people are told about it.

The first steps come when the mesh has found itself; each scenario asks before, during and after its faults, and
some questions are slow enough (`SlowDisk`) for the fault to happen in the middle of them. Times are drawn, so
that seeds meet every phase of the protocol.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final, get_args

from simulations.level1 import draw
from simulations.plan import (
    Ask,
    ClockJump,
    Follow,
    Freeze,
    FullDisk,
    Kill,
    Leave,
    OneWay,
    Partition,
    Plan,
    PowerOff,
    Question,
    SlowDisk,
    SlowNetwork,
    Start,
    Step,
    Twin,
)

NODES_MIN: Final = 3
"""A mesh with somebody to ask indirectly."""

NODES_DEFAULT: Final = 5

NODES_MAX: Final = 200
"""One process and Python: 64 nodes take minutes already."""

WARM_S: Final = 8.0
"""By then every host has joined."""

SLOW_STEP_S: Final = 0.4
"""A step of a scan on a slow disk: a question then takes seconds."""

Scenario = Callable[[random.Random, tuple[str, ...]], list[Step]]


def crash(rng: random.Random, hosts: tuple[str, ...]) -> list[Step]:
    """One process is killed and one machine loses power, each in the middle of a question; both come back."""
    asked, killed, dark = rng.sample(hosts, 3)
    kill_s = WARM_S + _draw(rng, 2, 4)
    dark_s = kill_s + _draw(rng, 15, 20)
    back_s = dark_s + _draw(rng, 22, 30)
    return [
        Ask(WARM_S, asked, "all"),
        *_slow_answers(rng, hosts, kill_s, asked),
        Kill(kill_s, killed),
        *_asks_around(rng, asked, kill_s),
        *_slow_answers(rng, hosts, dark_s, asked),
        PowerOff(dark_s, dark),
        *_asks_around(rng, asked, dark_s),
        Start(back_s, killed),
        Start(back_s + _draw(rng, 0, 3), dark),
        *_asks_around(rng, killed, back_s),
        *_killed_asker(rng, hosts, back_s + 25, asked),
    ]


def split(rng: random.Random, hosts: tuple[str, ...]) -> list[Step]:
    """The network falls into two parts for a while, with questions on both sides; then one way alone is cut."""
    shuffled = rng.sample(hosts, len(hosts))
    cut = rng.randint(1, len(hosts) // 2)
    few, many = sorted(shuffled[:cut]), sorted(shuffled[cut:])
    split_s = WARM_S + _draw(rng, 2, 4)
    length_s = _draw(rng, 15, 45)
    one_way_s = split_s + length_s + _draw(rng, 30, 40)
    src, dst = rng.sample(hosts, 2)
    return [
        Ask(WARM_S, many[0], "all"),
        *_slow_answers(rng, hosts, split_s, many[0]),
        Partition(split_s, (tuple(few), tuple(many)), length_s),
        *_asks_around(rng, many[-1], split_s),
        *_asks_around(rng, few[0], split_s),
        Ask(split_s + length_s - 0.5, few[0], "errors"),
        *_asks_around(rng, many[0], split_s + length_s),
        Ask(split_s + length_s + 25, few[-1], "all"),
        OneWay(one_way_s, src, dst, _draw(rng, 2, 8)),
        *_asks_around(rng, dst, one_way_s),
    ]


def hang(rng: random.Random, hosts: tuple[str, ...]) -> list[Step]:
    """A process stands still: shortly, then for long, then while it is the one that is asked; a network is slow."""
    asked, frozen, slow = rng.sample(hosts, 3)
    short_s = WARM_S + _draw(rng, 2, 4)
    long_s = short_s + _draw(rng, 20, 25)
    length_s = _draw(rng, 18, 30)
    asked_s = long_s + length_s + _draw(rng, 20, 25)
    slow_s = asked_s + _draw(rng, 20, 25)
    return [
        Ask(WARM_S, asked, "all"),
        *_slow_answers(rng, hosts, short_s, asked),
        Freeze(short_s, frozen, _draw(rng, 1.0, 3.0)),
        *_asks_around(rng, asked, short_s),
        *_slow_answers(rng, hosts, long_s, asked),
        Freeze(long_s, frozen, length_s),
        *_asks_around(rng, asked, long_s),
        *_asks_around(rng, frozen, long_s + length_s),
        *_slow_answers(rng, hosts, asked_s, asked),
        Freeze(asked_s, asked, _draw(rng, 4, 12)),
        SlowNetwork(slow_s, slow, _draw(rng, 0.05, 0.3), _draw(rng, 5, 15)),
        *_asks_around(rng, asked, slow_s),
    ]


def churn(rng: random.Random, hosts: tuple[str, ...]) -> list[Step]:
    """For a minute hosts are killed, leave, lose power and come back, a third of them at once; askers come and go."""
    steps: list[Step] = []
    free_at = dict.fromkeys(hosts, WARM_S)
    at_s = WARM_S + 2
    while at_s < WARM_S + 62:
        idle = [host for host in hosts if free_at[host] <= at_s]
        if len(idle) > max(1, len(hosts) * 2 // 3):
            victim = rng.choice(idle)
            away_s = rng.choice((_draw(rng, 0.2, 3), _draw(rng, 5, 30)))
            steps.append(rng.choice((Kill, Leave, PowerOff))(at_s, victim))
            steps.append(Start(at_s + away_s, victim))
            free_at[victim] = at_s + away_s + _draw(rng, 5, 15)
        gone_after_s = rng.choice((None, None, _draw(rng, 0.01, 1.5)))
        asked = rng.choice(hosts)
        if gone_after_s is not None:
            steps.append(SlowDisk(at_s, hosts, SLOW_STEP_S, 3.0))
        steps.append(Ask(at_s + _draw(rng, -0.5, 1), asked, _question(rng), gone_after_s=gone_after_s))
        at_s += _draw(rng, 0.5, 4)
    return steps


def blackout(rng: random.Random, hosts: tuple[str, ...]) -> list[Step]:
    """All hosts lose power and come back one by one, perhaps into a split network; some stay away for long."""
    dark_s = WARM_S + _draw(rng, 12, 25)  # by then most have written down whom they know
    back = rng.sample(hosts, rng.randint(2, len(hosts)))
    up_s = {host: dark_s + _draw(rng, 3, 40) for host in back}
    late_s = {host: dark_s + _draw(rng, 70, 100) for host in hosts if host not in back and rng.random() < 0.5}
    steps: list[Step] = [PowerOff(dark_s + _draw(rng, 0, 1), host) for host in hosts]
    steps += [Start(at_s, host) for host, at_s in {**up_s, **late_s}.items()]
    if rng.random() < 0.5:
        cut = rng.randint(1, len(back) - 1)
        steps.append(Partition(dark_s + 2, (tuple(back[:cut]), tuple(back[cut:])), _draw(rng, 30, 60)))
    for host in rng.choices(back, k=8):
        steps.append(Ask(up_s[host] + _draw(rng, 1, 80), host, _question(rng)))
    return steps


def twin(rng: random.Random, hosts: tuple[str, ...]) -> list[Step]:
    """A cloned machine: two or three nodes go by one name for a while, whose clocks differ; one may be restarted."""
    shared, *others = rng.sample(hosts, len(hosts))
    at_s, length_s = WARM_S + _draw(rng, 2, 10), _draw(rng, 5, 60)
    over_s = at_s + length_s
    steps: list[Step] = [_twin_of(rng, shared, at_s, length_s)]
    if rng.random() < 0.3:
        also_at_s = _draw(rng, at_s, over_s)
        steps.append(_twin_of(rng, shared, also_at_s, _draw(rng, 1, over_s - also_at_s + 5)))
    if rng.random() < 0.5:
        end_s = at_s + _draw(rng, 0, length_s)
        steps.append(rng.choice((Kill, Leave, PowerOff))(end_s, shared))
        steps.append(Start(end_s + rng.choice((_draw(rng, 0.2, 3), _draw(rng, 5, 40))), shared))
    for asked in (rng.choice(others), shared):
        steps += _asks_around(rng, asked, at_s)
        steps.append(Ask(_draw(rng, at_s, over_s), asked, _question(rng)))
    return [*steps, *_asks_around(rng, rng.choice(others), over_s)]


def _twin_of(rng: random.Random, host: str, at_s: float, length_s: float) -> Twin:
    clock_s = rng.choice((0.0, _draw(rng, -7200, 7200)))
    return Twin(at_s, host, length_s, rng.choice(("leave", "kill")), clock_s, rng.random() < 0.5)


def follow(rng: random.Random, hosts: tuple[str, ...]) -> list[Step]:
    """Somebody follows all logs for a minute and more, at two hosts, while a few things befall these and others."""
    steps: list[Step] = [
        Follow(WARM_S + _draw(rng, 0, 4), host, _draw(rng, 60, 100)) for host in rng.sample(hosts, 2)
    ]
    for _ in range(rng.randint(2, 5)):
        steps += rng.choice(MAKERS)(rng, list(hosts), WARM_S + _draw(rng, 5, 40))
    return [*steps, *(Ask(WARM_S + _draw(rng, 5, 50), rng.choice(hosts), _question(rng)) for _ in range(5))]


def swarm(rng: random.Random, hosts: tuple[str, ...]) -> list[Step]:
    """Some kinds of fault, drawn, then many faults of these kinds at any time and on any host, with questions."""
    makers = rng.sample(MAKERS, rng.randint(1, len(MAKERS)))
    steps: list[Step] = []
    for _ in range(rng.randint(3, 12)):
        at_s = WARM_S + _draw(rng, 2, 50)
        steps += rng.choice(makers)(rng, list(hosts), at_s)
    for _ in range(rng.randint(5, 20)):
        gone_after_s = rng.choice((None, None, _draw(rng, 0.01, 3)))
        at_s = WARM_S + _draw(rng, 0, 60)
        steps.append(Ask(at_s, rng.choice(hosts), _question(rng), gone_after_s=gone_after_s))
    return steps


def _some_disks(rng: random.Random, hosts: Sequence[str]) -> tuple[str, ...]:
    return tuple(rng.sample(hosts, rng.randint(1, len(hosts))))


def _slow_disks(rng: random.Random, hosts: Sequence[str], at_s: float) -> list[Step]:
    return [SlowDisk(at_s, _some_disks(rng, hosts), _draw(rng, 0.05, 1), _draw(rng, 1, 20))]


def _full_disks(rng: random.Random, hosts: Sequence[str], at_s: float) -> list[Step]:
    """Somebody is restarted before there is room again: what it last remembered is old, or nothing."""
    full, length_s = _some_disks(rng, hosts), _draw(rng, 5, 40)
    back_s = at_s + _draw(rng, 1, length_s)
    victim = rng.choice(full)
    return [
        FullDisk(at_s, full, length_s),
        rng.choice((Kill, Leave, PowerOff))(at_s + 0.5, victim),
        Start(back_s, victim),
    ]


def _clocks(rng: random.Random, hosts: Sequence[str], at_s: float) -> list[Step]:
    """A wall clock that is off by little or much, either way, and perhaps is set right later."""
    host = rng.choice(hosts)
    by_s = rng.choice((-1, 1)) * rng.choice((_draw(rng, 0.01, 2), _draw(rng, 2, 7200)))
    right = [ClockJump(at_s + _draw(rng, 1, 40), host, -by_s)] if rng.random() < 0.5 else []
    return [ClockJump(at_s, host, by_s), *right]


Maker = Callable[[random.Random, list[str], float], Sequence[Step]]

MAKERS: Final[tuple[Maker, ...]] = (*draw.MAKERS, _slow_disks, _full_disks, _clocks)
"""Each makes the steps of one fault: Level 1's kinds, and those that take a whole daemon."""

SCENARIOS: Final[Mapping[str, Scenario]] = {
    "crash": crash,
    "split": split,
    "hang": hang,
    "churn": churn,
    "blackout": blackout,
    "twin": twin,
    "follow": follow,
    "swarm": swarm,
}


def plan_of(scenario: str, seed: int, nodes: int) -> Plan:
    """The plan of a scenario. Raises ValueError for a number of nodes out of bounds, KeyError for the name."""
    if not NODES_MIN <= nodes <= NODES_MAX:
        raise ValueError(f"--nodes is {NODES_MIN} to {NODES_MAX}, not {nodes}")
    width = len(str(nodes))
    hosts = tuple(f"n{number:0{width}}" for number in range(1, nodes + 1))
    steps = SCENARIOS[scenario](random.Random(f"{seed}/plan/{scenario}"), hosts)
    return Plan(scenario, seed, hosts, tuple(sorted(steps, key=lambda step: step.at_s)))


def _asks_around(rng: random.Random, host: str, at_s: float) -> list[Step]:
    """Questions just after something happened, while it is being noticed, and when it should be known."""
    return [Ask(at_s + _draw(rng, *span), host, _question(rng)) for span in ((0.0, 0.1), (0.5, 2.0), (9.0, 12.0))]


def _slow_answers(rng: random.Random, hosts: tuple[str, ...], at_s: float, asked: str) -> list[Step]:
    """One question that is being answered when something happens at ``at_s``, and one whose asker has just gone."""
    began_s = at_s - _draw(rng, 0.2, 1.2)
    return [
        SlowDisk(began_s - 0.1, hosts, SLOW_STEP_S, 4.0),
        Ask(began_s, asked, "errors"),
        Ask(began_s, asked, "all", gone_after_s=_draw(rng, 0.05, at_s - began_s + 0.5)),
    ]


def _killed_asker(rng: random.Random, hosts: tuple[str, ...], at_s: float, asked: str) -> list[Step]:
    """The asked node itself is killed in the middle of its question, and comes back."""
    return [*_slow_answers(rng, hosts, at_s, asked), Kill(at_s, asked), Start(at_s + _draw(rng, 3, 20), asked)]


def _draw(rng: random.Random, low: float, high: float) -> float:
    """A time, in milliseconds: short to print."""
    return round(rng.uniform(low, high), 3)


def _question(rng: random.Random) -> Question:
    chosen: Question = rng.choice(get_args(Question))
    return chosen
