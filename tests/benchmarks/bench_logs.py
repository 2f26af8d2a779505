"""The newest of a long log, and a stretch of time in its middle, beside the tools that people know.

    python tests/benchmarks/bench_logs.py [--mb 1024] [--rounds 5]

The file is in the page cache. "here" is the host's logs read by this process; "daemon" is the same asked of a daemon
by the client library, a new websocket for every question, for information. A peer is a process that writes into a
pipe; its start is part of its time. All find the same number of lines.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import trio
from bed import daemon_over, url_of
from bench_scan import host_logs, plain_text, rows
from logtext import write_large_log
from report import Report
from turns import Contender, Row, beside, bound, in_turns, process, shell

from varlogd import client
from varlogd.logs.times.seek import READS_MAX, TimeSeek
from varlogd.logs.times.timing import FileTimes
from varlogd.wire.query import LineFilter, Query

NEWEST: Final = 100

MATCHES: Final = {"of every fifth line": "worker", "of one line in 1,300": "shard 25,"}
"""The matches are looked for in some 64 KiB, or in some 16 MB: what it costs to begin, and to search."""

TIMES_AS_FAST: Final = 20.0
"""What the newest lines, and the newest matches, are to be."""

SHORT_ROUNDS: Final = 20
"""For one round of others: what takes a hundred microseconds has to be measured often."""

STRETCH_S: Final = 10

AWK: Final = "awk -v from={0} -v to={1} '$1 >= from && $1 < to' \"$1\""


def asked_of(url: str, query: Query) -> int:
    """The rows that a daemon gives."""

    async def ask() -> int:
        async with client.ask(url, query) as answer:
            return sum([len(block) async for block in answer.blocks()])

    return trio.run(ask)


def newest(log: Path, rounds: int, report: Report) -> list[Row]:
    """The newest lines and the newest matches."""
    report.say("newest")
    cases = {f"last {NEWEST} lines": (Query(limit=NEWEST), process(["tail", "-n", str(NEWEST), str(log)]))}
    for often, text in MATCHES.items():
        query = Query(filters=(LineFilter("|=", (text,)),), limit=NEWEST)
        peer = shell(f"tac \"$1\" | grep -F -m {NEWEST} '{text}'", log)
        cases[f"newest {NEWEST} matches {often}"] = (query, peer)
    logs = host_logs(log)
    found = []
    with daemon_over(log) as node:
        for question, (query, peer) in cases.items():
            tool = "tac | grep -m" if query.filters else "tail"
            contenders = {
                "here": Contender(partial(rows, logs, query)),
                "daemon": Contender(partial(asked_of, url_of(node), query), None),
                tool: peer,
            }
            taken = in_turns(question, contenders, rounds * SHORT_ROUNDS)
            found += beside(question, "here", {tool: TIMES_AS_FAST}, taken)
            found += beside(question, "daemon", {tool: None}, taken)
    return found


class Middle:
    """Ten seconds in the middle of a log: as a question, as the beginning of its lines, and as two of their times."""

    def __init__(self, log: Path) -> None:
        with log.open("rb") as file:
            file.seek(log.stat().st_size // 2)
            file.readline()
            time = file.readline().split()[0].decode()
        self.prefix = time[:18]  # up to the tens of the seconds
        self.start = datetime.fromisoformat(f"{self.prefix}0+00:00").astimezone(UTC)
        self.start_ns = int(self.start.timestamp()) * 1_000_000_000
        self.end_ns = self.start_ns + STRETCH_S * 1_000_000_000
        end = datetime.fromtimestamp(self.end_ns // 1_000_000_000, UTC)
        self.bounds = (f"{self.prefix}0", end.strftime("%Y-%m-%dT%H:%M:%S"))


def seek(log: Path, rounds: int, report: Report) -> list[Row]:
    """The rows of a stretch of time, beside what searches all of the log for them."""
    report.say("seek")
    middle = Middle(log)
    logs = host_logs(log)
    linear = Query(filters=(LineFilter("|~", (f"^{middle.prefix}",)),))
    contenders = {
        "here": Contender(partial(rows, logs, Query(start_ns=middle.start_ns, end_ns=middle.end_ns))),
        "varlogd, all of it": Contender(partial(rows, logs, linear)),
        "grep": process(["grep", f"^{middle.prefix}", str(log)]),
        "awk": shell(AWK.format(*middle.bounds), log),
    }
    question = f"{STRETCH_S} s in the middle"
    return beside(question, "here", dict.fromkeys(list(contenders)[1:]), in_turns(question, contenders, rounds))


def seek_reads(log: Path) -> list[Row]:
    """How many small reads found both ends of that stretch, and how much of the log was then read."""
    middle = Middle(log)
    with ExitStack() as closing:
        text = plain_text(log, closing)
        sought = TimeSeek(text, FileTimes(text, UTC, log.stat().st_mtime_ns))
        reads = [sought.sought(bound_ns).reads for bound_ns in (middle.start_ns, middle.end_ns)]
    query = Query(start_ns=middle.start_ns, end_ns=middle.end_ns)
    with host_logs(log).scan(query, lambda: None) as scan:
        list(scan)
        read = scan.bytes_scanned
    return [
        bound("seek: small reads for the start", reads[0], READS_MAX, "reads"),
        bound("seek: further ones for the end", reads[1], READS_MAX, "reads"),
        bound("seek: read in all", round(read / 1e6, 2), None, "MB"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=int, default=1024, help="size of the log")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    report = Report("logs", f"one log of {options.mb} MB in the page cache, in parts")
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "app.log"
        report.say("writing the log")
        write_large_log(log, options.mb * 1_000_000)
        found = [*newest(log, options.rounds, report), *seek(log, options.rounds, report)]
        report.show("logs", "× is how many times as fast as the peer we are.", found)
        report.show("reads", "How seeking reads", seek_reads(log))
    report.close()


if __name__ == "__main__":
    main()
