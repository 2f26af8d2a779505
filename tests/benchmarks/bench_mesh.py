"""Membership beside Serf's: forming, crashes, leaves, pauses, a node that comes and goes, and what it all costs.

    python tests/benchmarks/bench_mesh.py [--n 5 --n 10 --n 20] [--trials 5] [--cycles 8] [--seconds 20]

For each N, a mesh of varlogd daemons and one of Serf agents, each on its defaults:

- **idle**, each alone on the loopback: CPU, memory, messages and bytes (`bench_idle`);
- then both beside each other: **forming**; one member **stopped** (SIGSTOP) for 3 s and for 10 s: who is said to be
  dead, and by whom; one member that is **stopped for 6 s and runs for 0.5 s**, again and again: what healthy members
  tell people of it; **kill -9** and **leave** of random members: until the first and until all know (`bench_detect`).

The last table holds them against goals. Times and deaths are what nodes hold; lines are what they tell people.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import bench_idle
from bed import VARLOGD, Kind, Mesh, Node, Processes, Skip, Word, bed, look_for, private_loopback
from bench_detect import WORDS, Times, trial
from peer_serf import serf
from report import Report, median, percentile

STOPS_S = (3.0, 10.0)
"""A pause that a busy host makes, and one that is taken for a death by all."""

AFTER_STOP_S = 12.0
"""How long deaths are still counted after a pause: the longest suspicion of twenty nodes that one alone has."""

CYCLE_S = (6.0, 0.5)
"""Stopped, running: dead for all each time, and back."""

LINES_MAX = 6
"""What a healthy member may tell of one that comes and goes, however often: suspect, dead, up, suspect, flapping, and
one to spare."""

LEAVE_KNOWN_S = 0.4
OF_SERF = 0.5
CPU_PCT = 1.0
MEMORY_MB = 60.0
"""The goals: a leave known to all; a crash known to all, of Serf's time; an idle daemon's CPU, and its RSS."""


@dataclass
class Part:
    """What was measured of one mesh. ``stopped``: for each pause, deaths said of the stopped node and of others."""

    formed_s: float = 0.0
    cost: dict[str, object] = field(default_factory=dict)
    times: dict[Word, Times] = field(default_factory=lambda: {word: Times() for word in WORDS})
    stopped: dict[float, tuple[int, int]] = field(default_factory=dict)
    lines_max: int = 0
    deaths: int = 0
    others_dead: int = 0


def stop_for(meshes: Sequence[Mesh], seconds: float, report: Report) -> Iterator[tuple[Mesh, tuple[int, int]]]:
    """Stop the second node of each mesh for so long; the deaths said of it and of others until some time later."""
    nodes = [mesh.nodes[1] for mesh in meshes]
    before = [len(mesh.false_deaths) for mesh in meshes]
    _stand_still(meshes, nodes, seconds)
    look_for(meshes, AFTER_STOP_S)
    for mesh, node, count in zip(meshes, nodes, before, strict=True):
        deaths = mesh.false_deaths[count:]
        own = sum(death.name == node.name for death in deaths)
        for observer, said in Counter(death.observer for death in deaths if death.name != node.name).items():
            report.say(f"{mesh.kind.title}: {observer} held {said} dead that were well, with {node.name} stopped")
        yield mesh, (own, len(deaths) - own)


def _stand_still(meshes: Sequence[Mesh], nodes: Sequence[Node], seconds: float) -> None:
    for mesh, node in zip(meshes, nodes, strict=True):
        mesh.stand_still(node)
    look_for(meshes, seconds)
    for mesh, node in zip(meshes, nodes, strict=True):
        mesh.go_on(node)


def come_and_go(meshes: Sequence[Mesh], cycles: int, parts: dict[str, Part]) -> None:
    """Have the third node of each mesh come and go; what the others, who are well, tell of it and hold."""
    nodes = [mesh.nodes[2] for mesh in meshes]
    told = [len(mesh.told) for mesh in meshes]
    deaths = [len(mesh.false_deaths) for mesh in meshes]
    stopped_s, runs_s = CYCLE_S
    for _ in range(cycles):
        _stand_still(meshes, nodes, stopped_s)
        look_for(meshes, runs_s)
    look_for(meshes, AFTER_STOP_S)
    for mesh, node, lines, false in zip(meshes, nodes, told, deaths, strict=True):
        part = parts[mesh.kind.title]
        of_it = Counter(observer for observer, about in mesh.told[lines:] if about == node.name != observer)
        part.lines_max = max(of_it.values(), default=0)
        part.deaths = sum(death.name == node.name for death in mesh.false_deaths[false:])
        part.others_dead = len(mesh.false_deaths[false:]) - part.deaths


def measure(n: int, chosen: argparse.Namespace, kinds: Sequence[Kind], report: Report) -> dict[str, Part]:
    """All of it for one N."""
    rng = random.Random(chosen.seed)
    parts = {kind.title: Part() for kind in kinds}
    for kind in kinds:
        parts[kind.title].cost = bench_idle.measure(kind, n, chosen.seconds, report)
    with bed() as (processes, home):
        _beside_each_other(n, chosen, _formed(n, kinds, processes, home, parts, report), parts, rng, report)
    return parts


def _formed(
    n: int, kinds: Sequence[Kind], processes: Processes, home: Path, parts: dict[str, Part], report: Report
) -> list[Mesh]:
    meshes = [Mesh(kind, processes, home, n) for kind in kinds]
    for mesh in meshes:
        parts[mesh.kind.title].formed_s = mesh.form()
        report.say(f"{n} nodes: {mesh.kind.title} formed in {parts[mesh.kind.title].formed_s:.1f} s")
    return meshes


def _beside_each_other(
    n: int,
    chosen: argparse.Namespace,
    meshes: Sequence[Mesh],
    parts: dict[str, Part],
    rng: random.Random,
    report: Report,
) -> None:
    for seconds in STOPS_S:
        report.say(f"{n} nodes: one is stopped for {seconds:g} s")
        for mesh, deaths in stop_for(meshes, seconds, report):
            parts[mesh.kind.title].stopped[seconds] = deaths
    report.say(f"{n} nodes: one comes and goes, {chosen.cycles} times")
    come_and_go(meshes, chosen.cycles, parts)
    for mesh in meshes:
        mesh.wait_formed()
    for word in WORDS:
        for number in range(chosen.trials):
            trial(meshes, word, rng, {title: part.times[word] for title, part in parts.items()})
            report.say(f"{n} nodes: trial {number + 1} of {chosen.trials}, {WORDS[word]}")


def show(n: int, parts: dict[str, Part], report: Report) -> None:
    """The tables of one N."""
    report.show(f"idle_n{n}", f"{n} nodes: one idle daemon", [part.cost for part in parts.values()])
    for word, title in WORDS.items():
        rows = [part.times[word].row(kind) for kind, part in parts.items()]
        report.show(f"{word}_n{n}", f"{n} nodes, {title}: seconds until the others know", rows)
    rows = [_pauses_row(kind, part) for kind, part in parts.items()]
    report.show(f"pauses_n{n}", f"{n} nodes: forming, one stopped, and one that comes and goes", rows)


def _pauses_row(title: str, part: Part) -> dict[str, object]:
    row: dict[str, object] = {"mesh": title, "formed s": round(part.formed_s, 1)}
    for seconds, (own, others) in part.stopped.items():
        row[f"dead, {seconds:g} s: it"] = own
        row[f"dead, {seconds:g} s: others"] = others
    return row | {"cycles: deaths": part.deaths, "of others": part.others_dead, "lines, most": part.lines_max}


def goals(n: int, parts: dict[str, Part]) -> Iterator[dict[str, object]]:
    """Each goal, what was measured, and whether it is reached; "–" where there is no Serf to compare with."""
    ours, peer = parts["varlogd"], parts.get("serf")
    crash, peer_crash = median(ours.times["dead"].all), peer and median(peer.times["dead"].all)
    most_s = OF_SERF * peer_crash if peer_crash else None
    yield _goal(n, "kill -9, all know, median s", crash, peer_crash, most_s)
    leave, peer_leave = (part and percentile(part.times["left"].all, 100) for part in (ours, peer))
    yield _goal(n, "leave, all know, max s", leave, peer_leave, LEAVE_KNOWN_S)
    short, long = STOPS_S
    peer_short = sum(peer.stopped[short]) if peer else None
    yield _goal(n, f"stopped {short:g} s: deaths said", sum(ours.stopped[short]), peer_short, peer_short)
    yield _goal(
        n, f"stopped {long:g} s: healthy ones said dead", ours.stopped[long][1], peer and peer.stopped[long][1], 0
    )
    yield _goal(n, "comes and goes: lines a member", ours.lines_max, peer and peer.lines_max, LINES_MAX)
    yield _goal(n, "comes and goes: healthy ones said dead", ours.others_dead, peer and peer.others_dead, 0)
    for what, most in (("CPU %, mean", CPU_PCT), ("RSS MB, max", MEMORY_MB)):
        yield _goal(n, f"idle, {what}", ours.cost[what], peer and peer.cost[what], most)


def _goal(n: int, what: str, ours: object, peer: object, most: float | None) -> dict[str, object]:
    reached = None if most is None or ours is None else "yes" if float(str(ours)) <= most else "NO"
    row = {"n": n, "what": what, "varlogd": ours, "serf": peer, "at most": most, "reached": reached}
    return {key: round(value, 2) if isinstance(value, float) else value for key, value in row.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--n", type=int, action="append", help="nodes (repeatable; default: 5, 10 and 20)")
    parser.add_argument("--trials", type=int, default=5, help="of kill -9 and of leave (default: %(default)s)")
    parser.add_argument("--cycles", type=int, default=8, help="of the one that comes and goes (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="to watch idle daemons (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=1, help="of who is struck, and when (default: %(default)s)")
    chosen = parser.parse_args()
    report = Report("bench_mesh", "membership beside Serf's")
    if not private_loopback():
        report.note("no network namespace of our own: packets, bytes and messages are the whole machine's")
    kinds = [VARLOGD]
    try:
        kinds.append(serf())
    except Skip as skip:
        report.skip("Serf", str(skip))
    reached: list[dict[str, object]] = []
    for n in chosen.n or (5, 10, 20):
        parts = measure(n, chosen, kinds, report)
        show(n, parts, report)
        reached += goals(n, parts)
    report.show("goals", "Goals", reached)
    report.close()


if __name__ == "__main__":
    main()
