"""Searching compressed logs, beside the tools that people know, in the same run.

    python tests/benchmarks/bench_packed.py [--mb 256] [--rounds 5]

One rotated log as its packer leaves it, in the page cache. We unpack into the spool and search there, as a host does
for `varlog grep` (rows: with times, positions and order) and for `varlog count`; a peer is a process that writes into
a pipe, its start in its time. All find the same number of lines.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from bench_scan import count, host_logs, question, rows
from logtext import write_large_log
from report import Report
from turns import Contender, Row, beside, in_turns, process

from varlogd.wire.query import LineFilter

GOAL: Final = 2.0
"""How many times as fast as zgrep we want to be."""

QUESTIONS: Final = {"rare literal": "no such text", "common literal": "worker"}

WAYS: Final = (("rows", rows, ("-F",)), ("count", count, ("-c", "-F")))
"""What is wanted of the lines, what gives it, and the flags by which peers do."""


class Packing(NamedTuple):
    """What packs, and what searches. ``goal``: for the first of those, if there is one; ``slow``: it is asked only
    one question, for that takes long."""

    suffix: str
    packer: Sequence[str]
    tools: Sequence[str]
    goal: float | None = None
    slow: bool = False


PACKINGS: Final = (
    Packing("gz", ("gzip", "-6"), ("zgrep", "rg -z"), GOAL),
    Packing("zst", ("zstd", "-3", "-q"), ("zstdgrep", "rg -z")),
    Packing("xz", ("xz", "-6"), ("xzgrep", "rg -z"), slow=True),
    Packing("bz2", ("bzip2", "-9"), ("bzgrep", "rg -z"), slow=True),
)


def packed(log: Path, packing: Packing) -> Path:
    """The log as its packer leaves it."""
    subprocess.run([*packing.packer, "-k", "-f", str(log)], check=True)
    return log.with_name(f"{log.name}.{packing.suffix}")


def _one(packing: Packing, name: str, file: Path, rounds: int) -> list[Row]:
    text = QUESTIONS[name]
    logs, query = host_logs(file), question(LineFilter("|=", (text,)))
    goals = {tool: packing.goal if tool == packing.tools[0] else None for tool in packing.tools}
    found: list[Row] = []
    for way, run, flags in WAYS[:1] if packing.slow else WAYS:
        contenders = {way: Contender(partial(run, logs, query))}
        for tool in packing.tools:
            if shutil.which(tool.split()[0]):
                contenders[tool] = process([*tool.split(), *flags, text, str(file)], counts="-c" in flags)
        what = f"{packing.suffix}, {name}"
        found += beside(what, way, goals, in_turns(what, contenders, rounds))
    return found


def compared(directory: Path, size_bytes: int, rounds: int, report: Report) -> list[Row]:
    """The rows of the table; ``size_bytes``: of the text."""
    log = directory / "app.log.1"
    write_large_log(log, size_bytes)
    found: list[Row] = []
    for packing in PACKINGS:
        if shutil.which(packing.packer[0]) is None:
            report.skip(packing.suffix, f"no {packing.packer[0]} here")
            continue
        report.say(f"packed: {packing.suffix}")
        file = packed(log, packing)
        for name in list(QUESTIONS)[:1] if packing.slow else QUESTIONS:
            found += _one(packing, name, file, rounds)
        file.unlink()
    log.unlink()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=int, default=256, help="size of the log, unpacked")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    report = Report("packed", f"one compressed log of {options.mb} MB of text in the page cache")
    with tempfile.TemporaryDirectory() as directory:
        found = compared(Path(directory), options.mb * 1_000_000, options.rounds, report)
    report.show("packed", "× is how many times as fast as the peer we are.", found)
    report.close()


if __name__ == "__main__":
    main()
