"""Many seeds on all cores: a sweep over a number of them, or a soak for some hours.

A job is a name (one of `MESHES`, or a scenario of Level 2), a seed and a number of nodes, so it travels to any
process and is replayed by one command.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count, islice, takewhile
from pathlib import Path
from typing import Final

from simulations.level1 import draw
from simulations.level1 import run as level1
from simulations.level1.plan import MeshPlan
from simulations.load import to_json
from simulations.plan import Plan
from simulations.progress import ProgressLine
from simulations.run import run
from simulations.scenarios import NODES_DEFAULT, NODES_MIN, plan_of
from simulations.shrink import shrink

MESH: Final = "mesh"
MESH_CHURN: Final = "mesh-churn"

MESHES: Final[Mapping[str, Callable[[int, int | None], MeshPlan]]] = {MESH: draw.draw, MESH_CHURN: draw.churned}
"""Level 1's drawn plans, by name: of a seed, and of a number of nodes if that is given."""

FAILURES_SHOWN: Final = 20

DAEMONS: Final = ("swarm", "twin", "blackout", "follow")
"""The scenarios of Level 2 that a soak runs, in turn: a swarm draws all but what the others are about."""

MESHES_A_DAEMON: Final = 10
"""In a soak; one of them with churn. A plan of Level 2 takes some ten times as long, so each level has about half of
the time."""

DAEMON_SIZES: Final = 6
"""Plans of Level 2 in a soak have from `NODES_MIN` nodes on so many different numbers of them."""

REGRESSIONS: Final = {
    MeshPlan: Path("tests/simulations/level1/regressions"),
    Plan: Path("tests/simulations/regressions"),
}
"""Where a soak leaves the plans that failed, by level: the tests run whatever is there."""


@dataclass(frozen=True)
class Job:
    """One run. ``nodes`` None: as the seed says (Level 1 alone)."""

    name: str
    seed: int
    nodes: int | None

    @property
    def replay(self) -> str:
        """The command that shows it again."""
        size = "" if self.nodes is None else f" --nodes {self.nodes}"
        return f"python -m simulations {self.name}{size} --seed {self.seed}"


@dataclass(frozen=True)
class Result:
    """``broken``: the first broken invariant, in words, or nothing. ``steps`` of its plan, ``sometimes`` reached."""

    job: Job
    broken: str
    sometimes: dict[str, int]


def do(job: Job) -> Result:
    """Run a job, in whatever process."""
    plan = planned(job)
    if isinstance(plan, MeshPlan):
        outcome = level1.run(plan)
        broken = [f"{first.name} at {first.at:.3f} s: {first.text}" for first in outcome.breaches[:1]]
        return Result(job, "".join(broken), dict(outcome.sometimes))
    report = run(plan)
    found = [f"{name} at {list_[0].at:.3f} s: {list_[0].text}" for name, list_ in report.breaches.items() if list_]
    return Result(job, "".join(found[:1]), dict(report.sometimes))


def planned(job: Job) -> Plan | MeshPlan:
    """What happens in a job."""
    if job.name in MESHES:
        return MESHES[job.name](job.seed, job.nodes)
    return plan_of(job.name, job.seed, NODES_DEFAULT if job.nodes is None else job.nodes)


def fresh(first: int) -> Iterator[Job]:
    """What a soak runs, from a seed on and without an end: mostly meshes, and plans of few daemons."""
    for seed in count(first):
        daemons, place = divmod(seed, MESHES_A_DAEMON + 1)
        if place:
            yield Job(MESH_CHURN if place == 1 else MESH, seed, None)
        else:
            turn, scenario = divmod(daemons, len(DAEMONS))
            yield Job(DAEMONS[scenario], seed, NODES_MIN + turn % DAEMON_SIZES)


def sweep(
    jobs: Iterable[Job], total: int | None, until: float = float("inf"), at_once: int | None = None
) -> Iterator[Result]:
    """Do jobs as they come, so many ``at_once`` (None: one a core), with a line of progress; begins none after
    ``until`` (monotonic)."""
    done, broken, line = 0, 0, ProgressLine()
    in_time = takewhile(lambda _job: time.monotonic() < until, jobs)
    processes = at_once or os.cpu_count() or 1
    # Ctrl-C is for this process, which ends the others.
    ignore = (signal.SIGINT, signal.SIG_IGN)
    try:
        with multiprocessing.get_context("spawn").Pool(processes, signal.signal, ignore) as pool:
            for result in _bounded(pool, in_time, 4 * processes):
                done += 1
                broken += bool(result.broken)
                line.show(f"{done}{'' if total is None else f' of {total}'} runs, {broken} broken")
                yield result
    finally:
        line.clear()


def _bounded(pool: multiprocessing.pool.Pool, jobs: Iterator[Job], at_once: int) -> Iterator[Result]:
    """As `imap_unordered`, but asks for a job only when one is wanted: jobs may come without an end."""
    while batch := list(islice(jobs, at_once)):
        yield from pool.imap_unordered(do, batch)


def summary(results: Iterable[Result]) -> tuple[list[str], list[Result]]:
    """What to tell of many runs, and those that broke something."""
    sometimes: Counter[str] = Counter()
    broken: list[Result] = []
    runs = 0
    for result in results:
        runs += 1
        sometimes.update(result.sometimes)
        if result.broken:
            broken.append(result)
    told = [f"BROKEN  {result.broken}\n        replay: {result.job.replay}" for result in broken[:FAILURES_SHOWN]]
    if len(broken) > FAILURES_SHOWN:
        told.append(f"... and {len(broken) - FAILURES_SHOWN} more")
    if sometimes:
        told.append("reached: " + ", ".join(f"{times} {what}" for what, times in sorted(sometimes.items())))
    return [*told, f"{runs} runs, {len(broken)} broke something"], broken


def keep(result: Result, folder: Path | None = None) -> Path:
    """Leave a plan that failed for the tests, cut down to the steps it takes; before that, as it is: cutting may be
    interrupted. ``folder`` None: where the tests of its level look."""
    plan = planned(result.job)
    folder = REGRESSIONS[type(plan)] if folder is None else folder
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"seed-{plan.seed}-{plan.nodes if isinstance(plan, MeshPlan) else len(plan.hosts)}.json"
    file.write_text(to_json(plan))
    file.write_text(to_json(shrink(plan, _fails)))
    return file


def _fails(plan: Plan | MeshPlan) -> bool:
    return not (level1.run(plan) if isinstance(plan, MeshPlan) else run(plan)).passed


def kept(results: Iterable[Result], folder: Path | None) -> Iterator[Result]:
    """The same results; each that broke something is kept once it is told: a soak may end before its time."""
    for result in results:
        yield result
        if result.broken:
            print(f"kept: {keep(result, folder)}", flush=True)
