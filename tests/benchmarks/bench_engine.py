"""The log engine, each part beside its peers in the same run: one table of ratios, and one of bounds.

    python tests/benchmarks/bench_engine.py [--mb 1024] [--rounds 5] [--quick] [--only scan --only memory]

Every part is a script of its own as well, which says what it measures and how:

* **newest**, **seek** (`bench_logs.py`): the last lines, the newest matches, a stretch of time in the middle;
* **scan** (`bench_scan.py`): all of the log, as lines, as rows with times, as a count;
* **packed** (`bench_packed.py`): compressed logs, of a quarter of the size;
* **follow** (`bench_follow.py`): from write to screen over twenty daemons;
* **memory** (`bench_memory.py`): a daemon while four questions read all of the log at once.

Where others use the machine, processes and memory caches are shared with them: the ratio by CPU then says more than
that of times. Whether a goal is reached is said of the times.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import bench_follow
import bench_logs
import bench_memory
import bench_packed
import bench_scan
from logtext import write_large_log
from report import Report
from turns import Row

TOOLS: Final = ("rg", "grep", "tail", "tac", "awk", "zgrep", "zstdgrep", "xzgrep", "bzgrep")

PACKED_SHARE: Final = 4
"""The text of the compressed logs is this part of the plain one: xz and bzip2 take minutes for more."""

PARTS: Final = ("newest", "seek", "scan", "packed", "follow", "memory")


class Size(NamedTuple):
    """How much is measured."""

    log_bytes: int
    rounds: int
    hosts: int
    lines: int


QUICK: Final = Size(64_000_000, 2, 3, 100)
"""To see that everything runs. Its figures say little."""


class Tables:
    """Both tables, as they grow."""

    def __init__(self) -> None:
        self.ratios: list[Row] = []
        self.bounds: list[Row] = []


def measure(log: Path, size: Size, tables: Tables, report: Report) -> dict[str, Callable[[], None]]:
    """By its name, what measures a part over ``log`` and puts it into the tables."""

    def seek() -> None:
        tables.ratios += bench_logs.seek(log, size.rounds, report)
        tables.bounds += bench_logs.seek_reads(log)

    def packed() -> None:
        text_bytes = size.log_bytes // PACKED_SHARE
        tables.ratios += bench_packed.compared(log.parent, text_bytes, size.rounds, report)

    def newest() -> None:
        tables.ratios += bench_logs.newest(log, size.rounds, report)

    def scan() -> None:
        tables.ratios += bench_scan.compared(log, size.rounds, report)
        tables.bounds += bench_scan.least(log, size.rounds)

    def follow() -> None:
        tables.bounds += bench_follow.bounds(size.hosts, size.lines, report)

    def memory() -> None:
        tables.bounds += bench_memory.measured(log, report)

    return dict(zip(PARTS, (newest, seek, scan, packed, follow, memory), strict=True))


def show(tables: Tables, report: Report) -> None:
    """Both tables, and what of them is not as it should be."""
    if tables.ratios:
        title = "× is how many times as fast as the peer we are; the goal is the least it should be"
        report.show("ratios", title, tables.ratios)
    if tables.bounds:
        report.show("bounds", "Bounds", tables.bounds)
    judged = [row for row in (*tables.ratios, *tables.bounds) if row["reached"] is not None]
    missed = [row for row in judged if row["reached"] == "no"]
    report.note(f"\n  {len(judged) - len(missed)} of {len(judged)} goals are reached.")
    for row in missed:
        if "×" in row:
            report.note(f"missed: {row['question']}, {row['ours']}: {row['×']} × {row['peer']}, not {row['goal']}")
        else:
            report.note(f"missed: {row['what']}: {row['measured']} {row['unit']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=int, default=1024, help="size of the log")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--n", type=int, default=20, help="hosts that are followed")
    parser.add_argument("--quick", action="store_true", help="little of everything, to see that it runs")
    parser.add_argument("--only", action="append", choices=PARTS, help="a part (repeatable; default: all)")
    options = parser.parse_args()
    size = QUICK if options.quick else Size(options.mb * 1_000_000, options.rounds, options.n, 500)
    report = Report("engine", f"the log engine over one log of {size.log_bytes // 1_000_000} MB in the page cache")
    for tool in TOOLS:
        if shutil.which(tool) is None:
            report.skip(tool, "not installed")
    tables = Tables()
    with tempfile.TemporaryDirectory(prefix="varlogd-bench-") as directory:
        log = Path(directory) / "app.log"
        report.say("writing the log")
        write_large_log(log, size.log_bytes)
        parts = measure(log, size, tables, report)
        for name in options.only or PARTS:
            parts[name]()
    show(tables, report)
    report.close()


if __name__ == "__main__":
    main()
