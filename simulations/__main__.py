"""`python -m simulations [SCENARIO] [--nodes N] [--seed S]`: run a scenario and say whether everything held.

Exit status: 0 every invariant held, 1 one was broken (or the run cannot be repeated), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import random
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from simulations import compiled
from simulations.arguments import INTERRUPTED, check_writable, checked, parser, soak_parser
from simulations.level1 import run as level1
from simulations.level1 import show, table
from simulations.level1.plan import NODES_MAX as MESH_NODES_MAX
from simulations.level1.plan import MeshPlan
from simulations.load import load, to_json
from simulations.many import MESHES, Job, Result, fresh, kept, planned, summary, sweep
from simulations.page import page
from simulations.plan import Plan
from simulations.progress import ProgressLine, watched
from simulations.report import lines, story
from simulations.run import Report, end_of_run_s, run
from simulations.scenarios import NODES_DEFAULT, NODES_MIN
from simulations.story import Story

SEED_MAX = 1_000_000
"""Drawn seeds are below: short to type."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["table"]:
        return table.main(words[1:])
    if words[:1] == ["compiled"]:
        return compiled.main(words[1:])
    if not words:
        parser().print_help()
        return 0
    try:
        return _soak(words[1:]) if words[0] == "soak" else _asked(words)
    except (ValueError, OSError) as error:  # msgspec's errors are ValueErrors
        print(f"simulations: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("simulations: interrupted", file=sys.stderr)
        return INTERRUPTED


def _asked(words: Sequence[str]) -> int:
    asked = parser().parse_args(words)
    checked(asked)
    return _one(asked) if asked.sweep is None else _sweep(asked)


def _one(asked: argparse.Namespace) -> int:
    plan = _plan(asked)
    if asked.print_plan:
        print(to_json(plan), end="")
        return 0
    if asked.report is not None:
        check_writable(asked.report)
    print(f"seed {plan.seed}", flush=True)
    return _run_mesh(plan, asked) if isinstance(plan, MeshPlan) else _run(plan, asked)


def _run(plan: Plan, asked: argparse.Namespace) -> int:
    replay = _replay(asked, Job(plan.scenario, plan.seed, len(plan.hosts)))
    began = time.perf_counter()
    report = _watched_run(plan)
    took_s = time.perf_counter() - began
    for line in lines(report, replay):
        print(line)
    print(f"({took_s:.1f} s)", file=sys.stderr)
    if asked.report is not None:
        _draw(story(report), replay, asked.report)
    if report.passed:
        return 0
    print(_repeated(lambda: _watched_run(plan).digest, report.digest))
    return 1


def _run_mesh(plan: MeshPlan, asked: argparse.Namespace) -> int:
    outcome = _watched_mesh(plan)
    replay = _replay(asked, Job(asked.scenario, plan.seed, asked.nodes))
    for line in show.lines(outcome, replay):
        print(line)
    if asked.report is not None:
        _draw(show.story(outcome), replay, asked.report)
    if outcome.passed:
        return 0
    print(_repeated(lambda: _watched_mesh(plan).digest, outcome.digest))
    return 1


def _draw(told: Story, replay: str, file: Path) -> None:
    line = ProgressLine()
    line.show("measuring crashes and load for the report")
    try:
        text = page(told, replay)
    finally:
        line.clear()
    file.write_text(text)
    print(f"report: {file}")


def _watched_run(plan: Plan) -> Report:
    with watched(plan.steps, end_of_run_s(plan)) as watch:
        return run(plan, watch)


def _watched_mesh(plan: MeshPlan) -> level1.Outcome:
    with watched(plan.steps, level1.end_of_run_s(plan)) as watch:
        return level1.run(plan, watch=watch)


def _repeated(again: Callable[[], str], digest: str) -> str:
    """A failure is worth something only if it comes again."""
    if again() == digest:
        return "run again: the same trace"
    return "run again: ANOTHER TRACE. Something here is not deterministic; find that first"


def _sweep(asked: argparse.Namespace) -> int:
    first = random.randrange(SEED_MAX) if asked.seed is None else asked.seed
    nodes = _nodes(asked)
    jobs = [Job(asked.scenario, seed, nodes) for seed in range(first, first + asked.sweep)]
    print(f"seeds {first} to {first + asked.sweep - 1}", flush=True)
    return _many(sweep(jobs, len(jobs), at_once=asked.jobs))


def _many(results: Iterator[Result]) -> int:
    """Tell of many runs, or of those there were until they were interrupted; returns the exit status."""
    interrupted = False

    def until_interrupted() -> Iterator[Result]:
        nonlocal interrupted
        try:
            yield from results
        except KeyboardInterrupt:
            interrupted = True

    told, broken = summary(until_interrupted())
    print("\n".join([*told, "interrupted: no more were run"] if interrupted else told))
    if interrupted:
        return INTERRUPTED
    return 1 if broken else 0


def _soak(words: Sequence[str]) -> int:
    asked = soak_parser().parse_args(words)
    if asked.folder is not None:
        asked.folder.mkdir(parents=True, exist_ok=True)  # or there is no place for what fails: better told now
    first = random.randrange(SEED_MAX) * SEED_MAX if asked.seed is None else asked.seed
    print(f"seeds from {first}", flush=True)
    results = sweep(fresh(first), None, time.monotonic() + 3600 * asked.hours)
    return _many(kept(results, asked.folder))


def _plan(asked: argparse.Namespace) -> Plan | MeshPlan:
    if asked.plan is not None:
        return load(asked.plan)
    seed = random.randrange(SEED_MAX) if asked.seed is None else asked.seed
    nodes = _nodes(asked)
    return planned(Job(asked.scenario, seed, nodes))


def _nodes(asked: argparse.Namespace) -> int | None:
    """The number of nodes: None if a drawn plan says it itself. Raises ValueError for one out of bounds."""
    nodes: int | None = asked.nodes
    if asked.scenario not in MESHES:
        return NODES_DEFAULT if nodes is None else nodes
    if nodes is not None and not NODES_MIN <= nodes <= MESH_NODES_MAX:
        raise ValueError(f"--nodes is {NODES_MIN} to {MESH_NODES_MAX}, not {nodes}")
    return nodes


def _replay(asked: argparse.Namespace, job: Job) -> str:
    """The command that shows a run again: that of its plan's file, if it was asked for so, or of its job."""
    return job.replay if asked.plan is None else f"python -m simulations --plan {shlex.quote(str(asked.plan))}"


if __name__ == "__main__":
    sys.exit(main())
