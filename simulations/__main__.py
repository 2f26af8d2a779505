"""`python -m simulations [SCENARIO] [--nodes N] [--seed S]`: run a scenario and say whether everything held.

Exit status: 0 every invariant held, 1 one was broken (or the run cannot be repeated), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import inspect
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from simulations.level1 import table
from simulations.plan import Plan, from_json, to_json
from simulations.report import lines
from simulations.run import Report, run
from simulations.scenarios import NODES_MAX, NODES_MIN, SCENARIOS, plan_of

NODES_DEFAULT = 5
SEED_MAX = 1_000_000
"""Drawn seeds are below: short to type."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["table"]:
        return table.main(words[1:])
    parser = _parser()
    asked = parser.parse_args(words)
    if asked.scenario is None and asked.plan is None:
        parser.print_help()
        return 0
    try:
        plan = _plan(asked)
    except (ValueError, OSError) as error:  # msgspec's errors are ValueErrors
        print(f"simulations: {error}", file=sys.stderr)
        return 2
    if asked.print_plan:
        print(to_json(plan), end="")
        return 0
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
    print(_repeated(plan, report))
    return 1


def _repeated(plan: Plan, report: Report) -> str:
    """A failure is worth something only if it comes again."""
    if run(plan).digest == report.digest:
        return "run again: the same trace"
    return "run again: ANOTHER TRACE. Something here is not deterministic; find that first"


def _plan(asked: argparse.Namespace) -> Plan:
    if asked.plan is not None:
        try:
            return from_json(asked.plan.read_text())
        except msgspec.MsgspecError as error:
            raise ValueError(f"{asked.plan}: not a plan: {error}") from error
    seed = random.randrange(SEED_MAX) if asked.seed is None else asked.seed
    return plan_of(asked.scenario, seed, asked.nodes)


def _replay(plan: Plan, file: Path | None) -> str:
    if file is not None:
        return f"python -m simulations --plan {file}"
    return f"python -m simulations {plan.scenario} --nodes {len(plan.hosts)} --seed {plan.seed}"


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, SCENARIOS))
    told = "\n".join(f"  {name:<{width}}  {inspect.getdoc(scenario)}" for name, scenario in SCENARIOS.items())
    parser = argparse.ArgumentParser(
        prog="python -m simulations",
        description="Run the real daemon on simulated hosts and a virtual clock, and check what must always hold.",
        epilog=f"scenarios:\n{told}\n\nexit status: 0 everything held, 1 something was broken, 2 wrong usage",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", nargs="?", choices=list(SCENARIOS), metavar="SCENARIO", help="one of those below")
    nodes_help = f"how many hosts, {NODES_MIN} to {NODES_MAX} (default {NODES_DEFAULT})"
    parser.add_argument("--nodes", type=int, default=NODES_DEFAULT, metavar="N", help=nodes_help)
    parser.add_argument("--seed", type=int, metavar="S", help="the same seed gives the same run (default: drawn)")
    parser.add_argument("--print-plan", action="store_true", help="print what would happen, as JSON, and do nothing")
    parser.add_argument(
        "--plan", type=Path, metavar="FILE", help="run a plan that was printed, perhaps with less in it"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
