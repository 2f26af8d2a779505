"""What scanning alone costs: a log read from one end to the other, beside `rg` and `grep` over the same file.

    python tests/benchmarks/bench_scan.py [--mb 512] [--rounds 5]

The file is in the page cache. We read it in chunks of whole lines, as the reader of logs does, and ask the scanner
for the matching lines (``lines``) or for their number (``count``); a peer writes the lines into a pipe that is read
to its end and thrown away, or counts them (``-c``). A peer's start is part of its time, as is the compiling of a
pattern of ours. Every contender finds the same number of lines. Medians of rounds that take turns. By CPU is the same
ratio of processor time, which says more where others use the machine; our reading of the pipe is not in it.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from bench_logs import write_large_log
from report import Report, median

from varlogd.query.scanner import LineScanner
from varlogd.wire.limits import KIB
from varlogd.wire.query import LineFilter

READ_BYTES = 256 * KIB
"""As much as the reader of logs takes at once."""

GOALS = {"rg": 0.5, "rg, no literal": 1.0, "grep": 1.3}
"""How many times as fast as the peer we want to be."""


class Case(NamedTuple):
    """A filter, and the flags and the pattern by which peers have it."""

    name: str
    asked: LineFilter
    flags: str
    goal_rg: str = "rg"


LITERALS = ("task 77 of", "user99 from", "absent")

CASES = (
    Case("rare literal", LineFilter("|=", ("no such text",)), "-F"),
    Case("common literal", LineFilter("|=", ("/api/",)), "-F"),
    Case("alternation", LineFilter("|=", LITERALS), "-F"),
    Case("no case", LineFilter("|=", ("NO SUCH text",), ignore_case=True), "-F -i"),
    Case("no literal", LineFilter("|~", ("[0-9]{7}[a-f]",)), "", "rg, no literal"),
    Case("all but", LineFilter("!=", ("/api/",)), "-F -v"),
)


def chunks(log: Path) -> Iterator[bytes]:
    """The file in whole lines: what stands behind the last line feed of a read is read again with the next."""
    descriptor = os.open(log, os.O_RDONLY)
    try:
        at = 0
        while data := os.pread(descriptor, READ_BYTES, at):
            size = data.rindex(b"\n") + 1
            yield data[:size]
            at += size
    finally:
        os.close(descriptor)


def lines(scanner: LineScanner, log: Path) -> int:
    return sum(len(list(scanner.lines(chunk))) for chunk in chunks(log))


def count(scanner: LineScanner, log: Path) -> int:
    return sum(scanner.count(chunk) for chunk in chunks(log))


def peer(tool: str, case: Case, log: Path, *, counting: bool) -> int:
    """The lines that a peer finds; their number is told by itself if it counts, else by nobody: -1."""
    command = [tool, *case.flags.split(), *(word for text in case.asked.patterns for word in ("-e", text)), str(log)]
    command[1:1] = [*(["-E"] if tool == "grep" and not case.flags else []), *(["-c"] if counting else [])]
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        told = b""
        while data := process.stdout.read1(1 << 20):
            told = data
    if process.returncode > 1:
        raise SystemExit(f"{command} failed")
    return int(told or b"0") if counting else -1


class Taken(NamedTuple):
    """What a run took: until it was done, and of processors."""

    wall_s: float
    cpu_s: float


def taken_by(work: Callable[[], object], who: int) -> Taken:
    """``who``: our own processor time, or that of a child, without our reading of its pipe."""
    began, cpu_s = time.perf_counter(), _cpu_s(who)
    work()
    return Taken(time.perf_counter() - began, _cpu_s(who) - cpu_s)


def _cpu_s(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def measured(case: Case, log: Path, rounds: int, tools: list[str], *, counting: bool) -> dict[str, object]:
    """One line of a table: our speed, and how many times as fast as each peer we are."""
    ours = count if counting else lines
    found = ours(LineScanner([case.asked]), log)
    for tool in tools:
        if (theirs := peer(tool, case, log, counting=True)) != found:
            raise SystemExit(f"{case.name}: the scanner finds {found} lines, {tool} {theirs}")
    contenders: dict[str, Callable[[], object]] = {"varlogd": lambda: ours(LineScanner([case.asked]), log)}
    for tool in tools:
        contenders[tool] = lambda tool=tool: peer(tool, case, log, counting=counting)  # type: ignore[misc]
    times: dict[str, list[Taken]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, work in contenders.items():
            who = resource.RUSAGE_SELF if name == "varlogd" else resource.RUSAGE_CHILDREN
            times[name].append(taken_by(work, who))
    medians = {name: median([each.wall_s for each in taken]) or 0.0 for name, taken in times.items()}
    cpu = {name: median([each.cpu_s for each in taken]) or 0.0 for name, taken in times.items()}
    size = log.stat().st_size
    row: dict[str, object] = {"question": case.name, "lines found": found}
    row |= {f"{name} GB/s": round(size / 1e9 / taken, 2) for name, taken in medians.items()}
    for tool in tools:
        goal = GOALS[case.goal_rg if tool == "rg" else tool]
        ratio = medians[tool] / medians["varlogd"]
        row[f"× {tool}"] = round(ratio, 2)
        row[f"× {tool} by CPU"] = round(cpu[tool] / cpu["varlogd"], 2)
        row[f"goal {tool}"] = f"{goal:g} {'reached' if ratio >= goal else 'missed'}"
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=int, default=512, help="size of the log")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    report = Report("scan", f"the scanner over one log of {options.mb} MB in the page cache")
    tools = [tool for tool in ("rg", "grep") if shutil.which(tool)]
    for tool in {"rg", "grep"} - set(tools):
        report.skip(tool, "not installed")
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "app.log"
        report.say("writing the log")
        write_large_log(log, options.mb * 1_000_000)
        for key, title in (("lines", "Whole lines, thrown away by the reader"), ("count", "Their number")):
            report.say(title.lower())
            table = [measured(case, log, options.rounds, tools, counting=key == "count") for case in CASES]
            report.show(key, f"{title}: × is how many times as fast as the peer we are.", table)
    report.close()


if __name__ == "__main__":
    main()
