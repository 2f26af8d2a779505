"""`python -m simulations [SCENARIO] [--nodes N] [--seed S]`: run a scenario and say whether everything held.

Exit status: 0 every invariant held, 1 one was broken (or the run cannot be repeated), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import inspect
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path

from simulations import compiled
from simulations.level1 import run as level1
from simulations.level1 import show, table
from simulations.level1.draw import draw
from simulations.level1.page import page
from simulations.level1.plan import NODES_MAX as MESH_NODES_MAX
from simulations.level1.plan import MeshPlan
from simulations.level1.plan import to_json as mesh_to_json
from simulations.load import load
from simulations.many import MESH, REGRESSIONS, Job, Result, kept, summary, sweep
from simulations.plan import Plan, to_json
from simulations.report import lines
from simulations.run import run
from simulations.scenarios import NODES_MAX, NODES_MIN, SCENARIOS, plan_of

NODES_DEFAULT = 5
SEED_MAX = 1_000_000
"""Drawn seeds are below: short to type."""

INTERRUPTED = 130
"""Exit status after Ctrl-C, as of a shell: what was not run did not hold."""

MESH_TOLD = "Level 1: the membership core alone, some kinds of fault, drawn, at any time on any node."


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["table"]:
        return table.main(words[1:])
    if words[:1] == ["compiled"]:
        return compiled.main(words[1:])
    if words[:1] == ["soak"]:
        return _soak(words[1:])
    parser = _parser()
    asked = parser.parse_args(words)
    if asked.scenario is None and asked.plan is None:
        parser.print_help()
        return 0
    try:
        if asked.sweep is not None:
            return _sweep(asked)
        return _one(asked)
    except (ValueError, OSError) as error:  # msgspec's errors are ValueErrors
        print(f"simulations: {error}", file=sys.stderr)
        return 2


def _one(asked: argparse.Namespace) -> int:
    plan = _plan(asked)
    if asked.print_plan:
        print(mesh_to_json(plan) if isinstance(plan, MeshPlan) else to_json(plan), end="")
        return 0
    if isinstance(plan, MeshPlan):
        return _run_mesh(plan, asked)
    if asked.report is not None:
        raise ValueError("--report draws Level 1 runs: mesh, or a plan with level = 1")
    return _run(plan, asked.plan)


def _run(plan: Plan, file: Path | None) -> int:
    print(f"seed {plan.seed}", flush=True)
    began = time.perf_counter()
    report = run(plan)
    took_s = time.perf_counter() - began
    for line in lines(report, _replay(plan, file)):
        print(line)
    print(f"({took_s:.1f} s)", file=sys.stderr)
    if report.passed:
        return 0
    print(_repeated(lambda: run(plan).digest, report.digest))
    return 1


def _run_mesh(plan: MeshPlan, asked: argparse.Namespace) -> int:
    print(f"seed {plan.seed}", flush=True)
    outcome = level1.run(plan)
    size = "" if asked.nodes is None else f" --nodes {asked.nodes}"
    file: Path | None = asked.plan
    replay = f"python -m simulations {f'--plan {file}' if file else f'{MESH}{size} --seed {plan.seed}'}"
    for line in show.lines(outcome, replay):
        print(line)
    if asked.report is not None:
        asked.report.write_text(page(outcome, replay))
        print(f"report: {asked.report}")
    if outcome.passed:
        return 0
    print(_repeated(lambda: level1.run(plan).digest, outcome.digest))
    return 1


def _repeated(again: Callable[[], str], digest: str) -> str:
    """A failure is worth something only if it comes again."""
    if again() == digest:
        return "run again: the same trace"
    return "run again: ANOTHER TRACE. Something here is not deterministic; find that first"


def _sweep(asked: argparse.Namespace) -> int:
    if asked.scenario is None:
        raise ValueError("--sweep needs a scenario")
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
    parser = argparse.ArgumentParser(
        prog="python -m simulations soak",
        description="Run fresh seeds on all cores; leave each Level 1 failure, cut down, for the tests.",
    )
    parser.add_argument("--hours", type=float, default=1.0, metavar="H", help="how long (default 1)")
    parser.add_argument("--seed", type=int, metavar="S", help="the first seed (default: drawn)")
    parser.add_argument("--folder", type=Path, default=REGRESSIONS, help=f"for failures (default {REGRESSIONS})")
    asked = parser.parse_args(words)
    first = random.randrange(SEED_MAX) * SEED_MAX if asked.seed is None else asked.seed
    print(f"seeds from {first}", flush=True)
    fresh: Iterator[Job] = (Job(MESH, seed, None) for seed in count(first))
    results = sweep(fresh, None, time.monotonic() + 3600 * asked.hours)
    return _many(kept(results, asked.folder))


def _plan(asked: argparse.Namespace) -> Plan | MeshPlan:
    if asked.plan is not None:
        return load(asked.plan)
    seed = random.randrange(SEED_MAX) if asked.seed is None else asked.seed
    nodes = _nodes(asked)
    if asked.scenario == MESH:
        return draw(seed, nodes)
    return plan_of(asked.scenario, seed, nodes or NODES_DEFAULT)


def _nodes(asked: argparse.Namespace) -> int | None:
    """The number of nodes: None if a drawn plan says it itself. Raises ValueError for one out of bounds."""
    nodes: int | None = asked.nodes
    if asked.scenario != MESH:
        return NODES_DEFAULT if nodes is None else nodes
    if nodes is not None and not NODES_MIN <= nodes <= MESH_NODES_MAX:
        raise ValueError(f"--nodes is {NODES_MIN} to {MESH_NODES_MAX}, not {nodes}")
    return nodes


def _replay(plan: Plan, file: Path | None) -> str:
    if file is not None:
        return f"python -m simulations --plan {file}"
    return f"python -m simulations {plan.scenario} --nodes {len(plan.hosts)} --seed {plan.seed}"


def _at_least_one(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a number from 1 on, not {text}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    told = {name: inspect.getdoc(scenario) for name, scenario in SCENARIOS.items()} | {MESH: MESH_TOLD}
    width = max(map(len, told))
    scenarios = "\n".join(f"  {name:<{width}}  {sentence}" for name, sentence in told.items())
    parser = argparse.ArgumentParser(
        prog="python -m simulations",
        description="Run the real daemon on simulated hosts and a virtual clock, and check what must always hold.",
        epilog=f"scenarios:\n{scenarios}\n\nother commands, each with a --help of its own:\n"
        f"  {'table':<{width}}  Measure varlogd's membership beside SWIM and memberlist's rules.\n"
        f"  {'soak':<{width}}  Run fresh seeds for hours; what fails is kept for the tests.\n"
        f"  {'compiled':<{width}}  In front of a command: compile the core first, and run it twice as fast.\n\n"
        "exit status: 0 everything held, 1 something was broken, 2 wrong usage, 130 interrupted",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", nargs="?", choices=list(told), metavar="SCENARIO", help="one of those below")
    nodes_help = (
        f"how many hosts, {NODES_MIN} to {NODES_MAX} (default {NODES_DEFAULT});"
        f" of a mesh up to {MESH_NODES_MAX} (default: drawn)"
    )
    parser.add_argument("--nodes", type=int, metavar="N", help=nodes_help)
    parser.add_argument("--seed", type=int, metavar="S", help="the same seed gives the same run (default: drawn)")
    parser.add_argument("--sweep", type=_at_least_one, metavar="K", help="run K seeds that follow each other")
    parser.add_argument(
        "--jobs", type=_at_least_one, metavar="J", help="how many at once in a sweep (default: cores)"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="also write a page with pictures (mesh)")
    parser.add_argument("--print-plan", action="store_true", help="print what would happen, as JSON, and do nothing")
    plan_help = "run a plan: one that was printed, perhaps with less in it, or your own in TOML"
    parser.add_argument("--plan", type=Path, metavar="FILE", help=plan_help)
    return parser


if __name__ == "__main__":
    sys.exit(main())
