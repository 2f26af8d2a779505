"""What reading a whole log costs: from the scanner alone to rows with their times, beside `rg` and `grep`.

    python tests/benchmarks/bench_scan.py [--mb 1024] [--rounds 5]

The file is in the page cache. The same filter is asked three ways, each beside what a peer has for it:

* **lines**: the scanner over the file, in chunks as the logs read them; every line that passes is handed on as bytes.
  A peer writes the lines into a pipe that is read to its end;
* **rows**: `HostLogs.scan`, what a host does for `varlog grep`: every line that passes has its time, its position and
  its place in the order of all, and is in a block ready to be sent. A peer does the same as before, so it does less;
* **count**: `HostLogs.count`, what a host does for `varlog count`. A peer counts too (``-c``).

Below stands the least that it can take: to read the file without looking at it, and to have the engine search it too.
Of a line that is found no more is known then than where it ends, for which the engine calls Python.

A peer's start is part of its time, as the compiling of the pattern is of ours. All find the same number of lines.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from logtext import write_large_log
from report import Report, ms
from turns import Contender, Row, beside, bound, in_turns, process

from varlogd.logs.account import Account
from varlogd.logs.files import OpenFiles, Plain
from varlogd.logs.reader import CHUNK_FIRST_BYTES, CHUNK_MAX_BYTES, Pace, forwards
from varlogd.logs.scan import HostLogs
from varlogd.logs.sources import FileSource
from varlogd.query.block import row_count
from varlogd.query.expressions import expressions_of
from varlogd.query.pattern import compile_pattern
from varlogd.query.scanner import LineScanner
from varlogd.query.vectors import LineVectors
from varlogd.wire.query import AskCount, Direction, LineFilter, Query

GOALS: Final = {"rg": 0.5, "grep": 1.3}
"""How many times as fast as the peer we want to be."""

GOALS_NO_LITERAL: Final = {"rg": 1.0, "grep": 1.3}
"""The same for a pattern without a literal."""


class Case(NamedTuple):
    """A filter, and the flags by which peers have it."""

    name: str
    asked: LineFilter
    flags: str
    goals: dict[str, float] = GOALS


CASES = (
    Case("rare literal", LineFilter("|=", ("no such text",)), "-F"),
    Case("common literal", LineFilter("|=", ("worker",)), "-F"),
    Case("alternation", LineFilter("|~", ("task 77 of|user99 from|absent",)), "-E"),
    Case("no case", LineFilter("|=", ("NO SUCH text",), ignore_case=True), "-F -i"),
    Case("no literal", LineFilter("|~", ("[0-9]{7}[a-f]",)), "-E", GOALS_NO_LITERAL),
    Case("all but", LineFilter("!=", ("worker",)), "-F -v"),
)


def host_logs(log: Path) -> HostLogs:
    """A host that has one log."""
    return HostLogs("web1", {}, [log], zone=UTC)


def plain_text(log: Path, closing: ExitStack) -> Plain:
    """A file as the logs open it."""
    source = host_logs(log).sources[0]
    assert isinstance(source, FileSource)
    files = OpenFiles(Account(lambda: None))
    closing.callback(files.close)
    return Plain(files, source.catalogue(lambda: None).streams[0].files[0])


def lines(asked: LineFilter, log: Path) -> int:
    """The scanner alone."""
    scanner = LineScanner([asked])
    with ExitStack() as closing:
        return sum(len(list(scanner.lines(data))) for data in _chunks(plain_text(log, closing), scanner))


def _chunks(text: Plain, scanner: LineScanner) -> Iterator[bytes]:
    for chunk in forwards(text, Pace(CHUNK_FIRST_BYTES, scanner.buffer_bytes)):
        if chunk is not None:
            yield chunk.data


def rows(logs: HostLogs, query: Query) -> int:
    """Rows in blocks; how many."""
    with logs.scan(query, lambda: None) as scan:
        return sum(row_count(block) for block in scan if block is not None)


def count(logs: HostLogs, query: Query) -> int:
    """Only their number."""
    counting = logs.count(AskCount(query), lambda: None)
    while counting.step():
        pass
    return counting.rows


def question(asked: LineFilter, direction: Direction = "oldest_first") -> Query:
    """A question for every line of a log that passes a filter."""
    return Query(filters=(asked,), direction=direction)


def peers(case: Case, log: Path, *, counting: bool = False) -> dict[str, Contender]:
    """Those that are installed."""
    texts = [word for text in case.asked.patterns for word in ("-e", text)]
    found = {}
    for tool in case.goals:
        flags = [flag for flag in case.flags.split() if tool == "grep" or flag != "-E"]  # rg's -E is the encoding
        command = [tool, *(["-c"] if counting else []), *flags, *texts, str(log)]
        if shutil.which(tool):
            found[tool] = process(command, counts=counting)
    return found


def compared(log: Path, rounds: int, report: Report) -> list[Row]:
    """The rows of the table."""
    logs = host_logs(log)
    found: list[Row] = []
    for case in CASES:
        report.say(f"scan: {case.name}")
        query = question(case.asked)
        ours = {
            "lines": Contender(partial(lines, case.asked, log)),
            "rows": Contender(partial(rows, logs, query)),
        }
        taken = in_turns(case.name, ours | peers(case, log), rounds)
        for way in ours:
            found += beside(case.name, way, case.goals, taken)
        ours = {"count": Contender(partial(count, logs, query))}
        taken = in_turns(case.name, ours | peers(case, log, counting=True), rounds)
        found += beside(case.name, "count", case.goals, taken)
    return found


def least(log: Path, rounds: int) -> list[Row]:
    """What reading alone takes of a processor, and reading and searching: rows of the table of bounds."""
    contenders = {"scan: to read it, and no more": Contender(partial(_read, log, lambda _: None))}
    for name, text in {"rare": "no such text", "common": "worker"}.items():
        expressions = expressions_of(compile_pattern(text, literal=True))
        assert expressions is not None
        search = LineVectors([expressions]).line_ends
        contenders[f"scan: to search it for a {name} literal"] = Contender(partial(_read, log, search))
    taken = in_turns("least", contenders, rounds)
    return [bound(what, ms(each.cpu_s), None, "CPU ms") for what, each in taken.items()]


def _read(log: Path, look: Callable[[bytes], object]) -> int:
    with log.open("rb", buffering=0) as file:
        for offset in range(0, log.stat().st_size, CHUNK_MAX_BYTES):
            look(os.pread(file.fileno(), CHUNK_MAX_BYTES, offset))
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=int, default=1024, help="size of the log")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    report = Report("scan", f"one log of {options.mb} MB in the page cache, read from one end to the other")
    for tool in GOALS:
        if shutil.which(tool) is None:
            report.skip(tool, "not installed")
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "app.log"
        report.say("writing the log")
        write_large_log(log, options.mb * 1_000_000)
        found = compared(log, options.rounds, report)
        bounds = least(log, options.rounds)
    report.show("scan", "× is how many times as fast as the peer we are.", found)
    report.show("least", "The least that it can take", bounds)
    report.close()


if __name__ == "__main__":
    main()
