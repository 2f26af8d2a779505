"""`python -m simulations table`: ours beside SWIM and memberlist, under the same faults, on the same seeds.

Each trial is one job of a process pool; what is printed does not depend on how many work at once.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from simulations.arguments import INTERRUPTED, at_least_one
from simulations.level1.rows import DATAGRAMS, OURS, SIZES, STREAMS, SWIM, Row, Sizes, Verdict, contenders, rows
from simulations.progress import ProgressLine

Job = tuple[str, str, int, int]
"""(row, contender, trial, seed)."""

FIRST_SEED: Final = 1

CHECKED: Final = (SWIM, STREAMS)
"""Who is run where goals are checked: what ships, and whom some of its goals are relative to."""

BEAT_S: Final = 1.0
"""How often the line on the terminal is written anew while a trial takes its time: some take hours."""


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit status: 0 whatever is reached, but 1 if it is to check and a goal is not; 2 for
    wrong usage, 130 if it is interrupted."""
    asked = _parser().parse_args(arguments)
    sizes = _sizes(asked)
    table = rows(sizes)
    wanted = asked.rows.split(",") if asked.rows else list(table)
    chosen = [row for key, row in table.items() if any(key == word or key.startswith(f"{word}-") for word in wanted)]
    if not chosen:
        print(f"simulations: no such row; there are {', '.join(table)}", file=sys.stderr)
        return 2
    seeds = range(asked.seed, asked.seed + sizes.seeds)
    names = [name for name in contenders() if name in asked.only]
    began = time.perf_counter()
    todo = _todo(chosen, names, seeds)
    found: dict[Job, Any] = {}
    try:
        _run(todo, asked.size, _overrides(asked), asked.jobs, found)
    except KeyboardInterrupt:
        chosen = [row for row in chosen if all(job in found for job in todo if job[0] == row.key)]
    verdicts = judged(chosen, names, found)
    for line in lines(verdicts, names) if chosen else ():
        print(line)
    print(f"({time.perf_counter() - began:.0f} s)", file=sys.stderr)
    if len(found) < len(todo):
        told = f"interrupted: {len(found)} of {len(todo)} trials ran; rows that are not whole are left out"
        print(told, file=sys.stderr)
        return INTERRUPTED
    return _check(verdicts) if asked.only == CHECKED else 0


def _check(verdicts: Sequence[Verdict]) -> int:
    """Tell the goals that what ships does not reach; returns the exit status."""
    missed = [verdict for verdict in verdicts if verdict.goal and not verdict.reached.get(STREAMS)]
    for verdict in missed:
        told = f"not reached: {verdict.measure}: {verdict.given.get(STREAMS)}, where the goal is {verdict.goal}"
        print(told, file=sys.stderr)
    return 1 if missed else 0


def judged(chosen: Sequence[Row], names: Sequence[str], found: dict[Job, Any]) -> list[Verdict]:
    """What the results say, line by line of the table."""
    verdicts: list[Verdict] = []
    for row in chosen:
        results = {
            name: [result for job, result in sorted(found.items()) if job[:2] == (row.key, name)]
            for name in names
            if _is_run(row, name)
        }
        verdicts += row.judge(results)
    return verdicts


def lines(verdicts: Sequence[Verdict], names: Sequence[str]) -> Iterator[str]:
    """The table, as Markdown."""
    heads = ["measure", "to beat", *names, "goal", "reached"]
    cells = [heads]
    for verdict in verdicts:
        given = [verdict.given.get(name, "") for name in names]
        cells.append([verdict.measure, verdict.to_beat, *given, verdict.goal, _reached(verdict)])
    widths = [max(len(line[column]) for line in cells) for column in range(len(heads))]
    for number, line in enumerate(cells):
        yield "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        if number == 0:
            yield "|" + "|".join("-" * (width + 2) for width in widths) + "|"


def _is_run(row: Row, name: str) -> bool:
    return row.only is None or name in row.only


def _reached(verdict: Verdict) -> str:
    if not verdict.reached:
        return ""
    if all(verdict.reached.values()):
        return "yes"
    if not any(verdict.reached.values()):
        return "no"
    return "datagrams only" if verdict.reached.get(DATAGRAMS) else "streams only"


def _todo(chosen: Sequence[Row], names: Sequence[str], seeds: Sequence[int]) -> list[Job]:
    return [
        (row.key, name, trial, seed)
        for row in reversed(chosen)  # those that take longest come last in the table: they begin first
        for trial in range(len(row.trials))
        for name in reversed(names)
        for seed in seeds
        if _is_run(row, name)
    ]


def _run(todo: Sequence[Job], size: str, overrides: dict[str, Any], jobs: int, found: dict[Job, Any]) -> None:
    """Run all jobs, tell each result as it comes, and put it into ``found``, which holds what there is if this is
    interrupted."""
    line = ProgressLine()
    line.show(f"0 of {len(todo)} trials")
    try:
        with multiprocessing.get_context("spawn").Pool(jobs, _begin, (size, overrides), maxtasksperchild=8) as pool:
            results = pool.imap_unordered(_trial, todo)
            while len(found) < len(todo):
                try:
                    job, result = results.next(BEAT_S)
                except multiprocessing.TimeoutError:
                    line.show(f"{len(found)} of {len(todo)} trials")
                    continue
                found[job] = result
                line.clear()
                print(_told(job, result), file=sys.stderr, flush=True)
                line.show(f"{len(found)} of {len(todo)} trials")
    finally:
        line.clear()


def _told(job: Job, result: Any) -> str:
    """One trial, so that hours are not lost with those that come after it."""
    key, name, trial, seed = job
    return f"{key}, {name}, trial {trial}, seed {seed}: {result}"


_sizes_here: list[Sizes] = []
"""In a worker: the sizes of this run. Rows hold functions, which do not travel between processes."""


def _begin(size: str, overrides: dict[str, Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that ends the others
    _sizes_here[:] = [replace(SIZES[size], **overrides)]


def _trial(job: Job) -> tuple[Job, Any]:
    key, name, trial, seed = job
    return job, rows(_sizes_here[0])[key].trials[trial](contenders()[name], seed)


_NUMBERS: Final[dict[str, tuple[str, Callable[[str], Any]]]] = {
    "grid_nodes": ("nodes of the Lifeguard grid", at_least_one),
    "idle_nodes": ("nodes of the idle meshes, with commas", lambda text: tuple(map(at_least_one, text.split(",")))),
    "crash_nodes": ("nodes of the mesh with a crash", at_least_one),
    "cold_nodes": ("nodes that start at once", at_least_one),
    "faulty_nodes": ("nodes of which 1 %% are faulty", at_least_one),
    "split_nodes": ("nodes of the mesh that is split", at_least_one),
    "split_s": ("seconds that the split lasts", float),
    "rolling_nodes": ("nodes that are restarted", at_least_one),
    "seeds": ("runs of each, with seeds that follow each other", at_least_one),
}


def _sizes(asked: argparse.Namespace) -> Sizes:
    return replace(SIZES[asked.size], **_overrides(asked))


def _overrides(asked: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(asked, name) for name in _NUMBERS if getattr(asked, name) is not None}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m simulations table",
        description="Measure varlogd's membership beside SWIM and memberlist's rules, under the same faults.",
        epilog=f"columns: {STREAMS} is what ships; {DATAGRAMS} meets the others under their own conditions",
    )
    size_help = "how large the meshes are: quick (a minute), middle (the default), full (hours)"
    parser.add_argument("--size", choices=list(SIZES), default="middle", help=size_help)
    parser.add_argument("--quick", dest="size", action="store_const", const="quick", help="the same as --size quick")
    parser.add_argument("--rows", metavar="ROW,...", help="only these: grid, idle, crash, cold, flip, lossy, ...")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--only-ours", dest="only", action="store_const", const=OURS, help="without the others")
    check_help = "only what ships, beside SWIM, and exit status 1 if it does not reach a goal"
    only.add_argument("--check", dest="only", action="store_const", const=CHECKED, help=check_help)
    parser.set_defaults(only=tuple(contenders()))
    parser.add_argument("--seed", type=int, default=FIRST_SEED, metavar="S", help="the first seed (default 1)")
    parser.add_argument("--jobs", type=at_least_one, default=os.cpu_count() or 1, metavar="J", help="at once")
    for name, (told, kind) in _NUMBERS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar="X", help=told)
    return parser
