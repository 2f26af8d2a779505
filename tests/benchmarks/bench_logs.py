"""One host's logs, read by this process, beside the tools that people know, over the same file in the same run.

    python tests/benchmarks/bench_logs.py [--mb 1024] [--rounds 5]

The file is in the page cache. A peer is a process that writes into a pipe, as in a terminal or a script; its start
is part of its time, as a thread's is not of ours: what is compared is what an asker waits for on one host. Every
contender counts the same lines. Medians of rounds that take turns.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import NamedTuple

from logtext import write_log
from report import Report, median, ms

from varlogd.logs.scan import HostLogs
from varlogd.query.block import row_count
from varlogd.wire.limits import MIB
from varlogd.wire.query import Direction, LineFilter, Query

PART_BYTES = 32 * MIB
"""The log is written this long, and then repeated with later hours."""


class Case(NamedTuple):
    """What is asked of varlogd, and of each peer as a shell command on ``$LOG``."""

    name: str
    query: Query
    peers: dict[str, str]


def scan(text: str, regex: bool = False, ignore_case: bool = False, limit: int | None = None) -> Query:
    """A query for lines with ``text`` in them; the whole file is read if there is no limit."""
    direction: Direction = "newest_first" if limit else "oldest_first"
    wanted = LineFilter("|~" if regex else "|=", (text,), ignore_case)
    return Query(filters=(wanted,), limit=limit, direction=direction)


CASES = (
    Case("last 100 lines", Query(limit=100), {"tail": "tail -n 100 $LOG"}),
    Case("newest 100 matches", scan("shard 25,", limit=100), {"tac | grep": "tac $LOG | grep -F -m 100 'shard 25,'"}),
    Case(
        "rare literal",
        scan("no such text"),
        {"grep": "grep -F 'no such text' $LOG", "rg": "rg -F 'no such text' $LOG"},
    ),
    Case("common literal", scan("worker"), {"grep": "grep -F worker $LOG", "rg": "rg -F worker $LOG"}),
    Case(
        "alternation",
        scan("task 77 of|user99 from|absent", regex=True),
        {"grep": "grep -E 'task 77 of|user99 from|absent' $LOG", "rg": "rg 'task 77 of|user99 from|absent' $LOG"},
    ),
    Case(
        "no case",
        scan("NO SUCH text", ignore_case=True),
        {"grep": "grep -F -i 'NO SUCH text' $LOG", "rg": "rg -F -i 'NO SUCH text' $LOG"},
    ),
    Case(
        "no literal",
        scan(r"[0-9]{7}[a-f]", regex=True),
        {"grep": "grep -E '[0-9]{7}[a-f]' $LOG", "rg": "rg '[0-9]{7}[a-f]' $LOG"},
    ),
    Case("every line", Query(direction="oldest_first"), {"cat": "cat $LOG"}),
)


def write_large_log(path: Path, size_bytes: int) -> None:
    """A log of about ``size_bytes`` with rising times, made of one part whose date is moved on."""
    write_log(path, min(size_bytes, PART_BYTES), seed=1)
    part = path.read_bytes()
    first_day = part[:10]
    last_day = part[part.rfind(b"\n", 0, len(part) - 1) + 1 :][:10]
    with path.open("wb") as out:
        for year in range(1971, 1971 + max(1, size_bytes // len(part))):
            moved = part.replace(b"\n" + first_day, b"\n%d-01-01" % year).replace(
                b"\n" + last_day, b"\n%d-01-02" % year
            )
            out.write(b"%d-01-01" % year + moved[10:])


def ask(logs: HostLogs, query: Query) -> tuple[int, int]:
    """Rows found and bytes read."""
    rows = 0
    with logs.scan(query, lambda: None) as running:
        for block in running:
            rows += row_count(block) if block is not None else 0
        return rows, running.bytes_scanned


def run(command: str, log: Path) -> int:
    """The lines that a peer writes."""
    shell = subprocess.run(
        ["bash", "-c", f"{command} | wc -l"],
        env={"LOG": str(log), "PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        capture_output=True,
        check=True,
    )
    return int(shell.stdout)


def seconds_of(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measured(case: Case, logs: HostLogs, log: Path, rounds: int) -> dict[str, object]:
    """One line of the table: our median, our speed, and each peer's median as a multiple of ours."""
    rows, read = ask(logs, case.query)
    peers = {name: command for name, command in case.peers.items() if shutil.which(name.split()[0])}
    for name, command in peers.items():
        if (found := run(command, log)) != rows:
            raise SystemExit(f"{case.name}: varlogd finds {rows} lines, {name} {found}")
    ours: list[float] = []
    theirs: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(rounds):
        ours.append(seconds_of(lambda: ask(logs, case.query)))
        for name, command in peers.items():
            theirs[name].append(seconds_of(lambda command=command: run(command, log)))  # type: ignore[misc]
    own = median(ours) or 0.0
    ratios = {name: round((median(times) or 0.0) / own, 2) for name, times in theirs.items()}
    return {
        "question": case.name,
        "rows": rows,
        "ms": ms(own),
        "MB read": round(read / 1e6, 2),
        "MB/s": round(read / 1e6 / own),
        "rows/s": round(rows / own),
        "peers' time / ours": "  ".join(f"{name} {ratio:g}" for name, ratio in ratios.items()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=int, default=1024, help="size of the log")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    report = Report("logs", f"one host, one log of {options.mb} MB in the page cache")
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "app.log"
        report.say("writing the log")
        write_large_log(log, options.mb * 1_000_000)
        logs = HostLogs("web1", {}, [log], zone=UTC)
        table = []
        for case in CASES:
            report.say(case.name)
            table.append(measured(case, logs, log, options.rounds))
    report.show("logs", "Above 1 a peer is slower than varlogd, below 1 it is faster.", table)
    report.close()


if __name__ == "__main__":
    main()
