"""soak_logrotate.py [--seconds 60] [--mode create …]: count rows while real logrotate turns the logs over.

Three daemons; below each a writer that numbers its lines, the first as fast as it can. Every second or so logrotate
rotates all of them, in one of its ways. Meanwhile the mesh is asked, and held to the writers' own numbers:

* **counted**: `count` finds at least what was written before it was asked, and at most what was when it had ended;
* **paged**: all marked rows, a page at a time by cursor, newest first: each number once, none left out;
* **followed**: every marked row written since, once.

When the writers have stopped, every file is read with plain tools: that is what is there to be found, and what is
found must be it. Only ``copytruncate`` may have lost lines by itself, between copy and truncation: they are in
no file; and an answer that was being read when a file was truncated or removed may lack rows, if its ledger says so
(the figures count these). Exit status 1 and the first fault if it is not so.
"""

from __future__ import annotations

import argparse
import gzip
import json
import mmap
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

import trio
from bed import VARLOGD, Mesh, Node, bed, need, url_of
from msgspec import structs

from varlogd import client
from varlogd.query.block import Row
from varlogd.wire.query import Ledger, LineFilter, Notice, Outcome, Query

MARK_EVERY: Final = 500
"""Every so manyth line is marked: few enough that whoever asks for them keeps pace with the writer."""

PAGE_ROWS: Final = 300
ROTATE_S: Final = 1.5
"""Between two rotations; compressing what was written in it takes about half of that."""

SLOW_LINES_S: Final = 3000
"""The pace of all writers but the first."""

SETTLE_S: Final = 2.0
"""Where so long after the last line nothing more comes to who follows, nothing will."""

TIMEOUT_S: Final = 300.0
"""Also the grace: a host that is slow to answer, as all are under a writer at full speed, is waited for."""

COUNT: Final = "count"
REOPENED: Final = "reopened"
"""Files in which a writer tells how many lines it has written, and that it has reopened its log."""

WAYS: Final = {
    "create": ("create",),
    "copytruncate": ("copytruncate",),
    "dateext": ("create", "dateext", "dateformat -%Y%m%d-%s"),
    "compress": ("create", "compress"),
    "delaycompress": ("create", "compress", "delaycompress"),
    "copytruncate-compress": ("copytruncate", "compress"),
}
"""The directives of logrotate for each way. ``copytruncate`` needs no word to the writer, all others do."""

COUNTED: Final = Query(timeout_s=TIMEOUT_S, grace_s=TIMEOUT_S)
MARKED: Final = Query(
    filters=(LineFilter("|=", (" MARK ",)),), limit=PAGE_ROWS, timeout_s=TIMEOUT_S, grace_s=TIMEOUT_S
)


class Fault(Exception):
    """Rows that are missing, that came twice, or that nobody wrote."""


# --- the writer: a process of its own -------------------------------------------------------------------------------


def write(log: Path, beside: Path, pace: int) -> None:
    """Write numbered lines to ``log`` until SIGTERM, reopening it after SIGHUP; both is told ``beside``."""
    state = {"going": True, "reopen": False}
    signal.signal(signal.SIGTERM, lambda *_: state.update(going=False))
    signal.signal(signal.SIGHUP, lambda *_: state.update(reopen=True))
    counted = Counted(beside / COUNT)
    out = _opened(log)
    began, number = time.monotonic(), 0
    while state["going"]:
        if state["reopen"]:
            state["reopen"] = False
            os.close(out)
            out = _opened(log)
            (beside / REOPENED).touch()
        number += 1
        os.write(out, _line(number))
        counted.set(number)
        if pace and number >= pace * (time.monotonic() - began):
            time.sleep(0.01)


def _opened(log: Path) -> int:
    return os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def _line(number: int) -> bytes:
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    mark = " MARK " if number % MARK_EVERY == 0 else " "
    return f"{stamp}.{int(now % 1 * 1e6):06}Z app[7]: INFO{mark}request done, status=200 number={number};\n".encode()


class Counted:
    """A number in shared memory: how many lines there are in the log."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(8))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 8)

    def set(self, number: int) -> None:
        self._memory[:8] = number.to_bytes(8, "little")

    def get(self) -> int:
        return int.from_bytes(self._memory[:8], "little")


# --- logrotate ------------------------------------------------------------------------------------------------------


@dataclass
class Host:
    """One daemon's log, who writes it and how it is rotated. What is not a log lies beside the root."""

    node: Node
    beside: Path
    way: str
    writer: subprocess.Popen[bytes] | None = None
    rotations: int = 0

    @property
    def log(self) -> Path:
        return self.node.root / "app.log"

    def written(self) -> int:
        return Counted(self.beside / COUNT).get()

    def configure(self) -> None:
        """Write logrotate's configuration. The writer has reopened its log before anything is compressed."""
        assert self.writer is not None
        ack = self.beside / REOPENED
        told = f"rm -f {ack}; kill -HUP {self.writer.pid}; until [ -e {ack} ]; do sleep 0.01; done"
        script = "" if "copytruncate" in WAYS[self.way] else f"postrotate\n{told}\nendscript\n"
        directives = "\n".join(WAYS[self.way])
        (self.beside / "rotate.conf").write_text(
            f"{self.log} {{\nrotate 999\nsu root root\n{directives}\n{script}}}\n"
        )

    def rotate(self) -> None:
        subprocess.run(
            ["logrotate", "--force", f"--state={self.beside / 'state'}", str(self.beside / "rotate.conf")], check=True
        )
        self.rotations += 1

    def lines(self) -> Iterator[bytes]:
        """The lines of all files there are, by plain means."""
        for path in sorted(self.node.root.iterdir()):
            with _plain(path) as file:
                yield from file

    def stop(self) -> None:
        assert self.writer is not None
        self.writer.terminate()
        self.writer.wait()


def _plain(path: Path) -> IO[bytes]:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def number_of(line: bytes) -> int | None:
    """Which line it is; None of one that was copied while it was written, and so is torn."""
    whole, end, _ = line.rstrip(b"\n").rpartition(b";")
    return int(whole.rpartition(b"number=")[2]) if end else None


def numbers_of(lines: Iterable[bytes]) -> list[int]:
    return [number for number in map(number_of, lines) if number is not None]


# --- what is asked meanwhile ----------------------------------------------------------------------------------------


@dataclass
class Run:
    """One way of rotating, while it is tried."""

    hosts: dict[str, Host]
    url: str
    lossy: bool
    going: bool = True
    settled: bool = False
    told: Counter[str] = field(default_factory=Counter)
    counts: int = 0
    pages: int = 0
    walks: int = 0
    followed: dict[str, list[int]] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)
    live: trio.Event = field(default_factory=trio.Event)

    async def rotate(self) -> None:
        while self.going:
            await trio.sleep(ROTATE_S)
            for host in self.hosts.values():
                await trio.to_thread.run_sync(host.rotate)

    async def count(self) -> None:
        """Every count lies between what was written before and after."""
        while self.going:
            before = {name: host.written() for name, host in self.hosts.items()}
            cells, ledger = await client.count(self.url, COUNTED, by=("host",))
            after = {name: host.written() for name, host in self.hosts.items()}
            whole = self._is_whole(ledger)
            for cell in cells:
                (name,) = cell.labels
                low = 0 if self.lossy or not whole else before[name]
                if not low <= cell.rows <= after[name] + 1:  # a line is written before it is counted
                    raise Fault(f"{name}: {cell.rows} rows counted, and {low} to {after[name]} lines written")
            self.counts += 1
            await trio.sleep(0.2)

    async def page(self) -> None:
        """Walk through all marked rows by cursor, again and again; `walk` says what is wrong with one."""
        while self.going:
            await self.walk()

    async def walk(self) -> dict[str, list[int]]:
        """All marked rows, the newest first, page by page: their numbers by host."""
        found: dict[str, list[int]] = {name: [] for name in self.hosts}
        before = {name: host.written() for name, host in self.hosts.items()}
        cursor, whole = "", True
        while True:
            rows, ledger = await _ask(self.url, cursor)
            whole &= self._is_whole(ledger)
            for row in rows:
                found[row.host] += numbers_of([row.line])
            self.pages += 1
            cursor = ledger.cursor
            if not cursor:
                break
        self.walks += 1
        for name, numbers in found.items():
            self._judge_walk(name, numbers, before[name] if whole else 0)
        return found

    def _is_whole(self, ledger: Ledger) -> bool:
        """Whether every host has answered in full. While files are rotated away under the reader, one may say that
        it has not."""
        partial = [entry for entry in ledger.members if entry.outcome != Outcome.ANSWERED]
        for entry in partial:
            if self.settled or entry.outcome != Outcome.TRUNCATED:
                raise Fault(f"{entry.host} is {entry.outcome}: {entry.why}")
            self.told[entry.why] += 1
        return not partial

    def _judge_walk(self, name: str, numbers: Sequence[int], written: int) -> None:
        twice = [number for number, times in Counter(numbers).items() if times > 1]
        if twice:
            raise Fault(f"{name}: paged, and {len(twice)} rows came twice, such as {twice[:3]}")
        missing = set(range(MARK_EVERY, written + 1, MARK_EVERY)) - set(numbers)
        if missing and not self.lossy:
            raise Fault(f"{name}: paged, and {len(missing)} rows did not come, such as {sorted(missing)[:3]}")

    async def follow(self) -> None:
        """Gather what comes after the start, until cancelled."""
        query = Query(filters=MARKED.filters, timeout_s=TIMEOUT_S)
        async with client.follow(self.url, query) as events:
            async for event in events:
                match event:
                    case Notice():
                        self.notices.append(event)
                    case list():
                        self._take(event)
                    case _:
                        self.live.set()

    async def wait_followed(self) -> None:
        """Return once nothing more comes to who follows."""
        before = -1
        while before != (now := sum(map(len, self.followed.values()))):
            before = now
            await trio.sleep(SETTLE_S)

    def _take(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.followed.setdefault(row.host, []).extend(numbers_of([row.line]))


async def _ask(url: str, cursor: str) -> tuple[list[Row], Ledger]:
    async with client.ask(url, structs.replace(MARKED, cursor=cursor)) as answer:
        rows = [row async for row in answer]
    return rows, answer.ledger


async def try_way(run: Run, seconds: float) -> dict[str, object]:
    """Rotate for so long, and judge; the figures."""
    began = {name: host.written() for name, host in run.hosts.items()}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.follow)
        await run.live.wait()
        live = {name: host.written() for name, host in run.hosts.items()}
        async with trio.open_nursery() as asking:
            asking.start_soon(run.rotate)
            asking.start_soon(run.count)
            asking.start_soon(run.page)
            await trio.sleep(seconds)
            run.going = False
        for host in run.hosts.values():
            host.stop()
        await run.wait_followed()
        nursery.cancel_scope.cancel()
    return await _judge(run, began, live)


async def _judge(run: Run, began: dict[str, int], live: dict[str, int]) -> dict[str, object]:
    run.settled = True
    walked = await run.walk()
    cells, _ = await client.count(run.url, COUNTED, by=("host",))
    counted = {cell.labels[0]: cell.rows for cell in cells}
    lost = 0
    for name, host in run.hosts.items():
        numbers = [number_of(line) for line in host.lines()]
        there = Counter(number for number in numbers if number is not None)
        lost += host.written() - len(there)
        if max(there.values()) > 1:
            raise Fault(f"{name}: logrotate itself has left lines twice")
        if counted[name] != len(numbers):
            raise Fault(f"{name}: {counted[name]} rows counted at the end, and there are {len(numbers)} lines")
        marked = {number for number in there if number % MARK_EVERY == 0}
        if set(walked[name]) != marked:
            raise Fault(
                f"{name}: {len(marked - set(walked[name]))} of {len(marked)} marked rows not found at the end"
            )
        _judge_followed(run, name, live[name], marked)
    if lost and not run.lossy:
        raise Fault(f"{lost} lines are in no file, and no way to rotate has lost them")
    lines = sum(host.written() for host in run.hosts.values())
    return {
        "way": next(iter(run.hosts.values())).way,
        "lines written": lines,
        "MB": round(
            sum(path.stat().st_size for host in run.hosts.values() for path in host.node.root.iterdir()) / 1e6
        ),
        "rotations": sum(host.rotations for host in run.hosts.values()),
        "lines in no file": lost,
        "told to be partial": dict(run.told),
        "counts": run.counts,
        "walks": run.walks,
        "pages": run.pages,
        "followed": sum(map(len, run.followed.values())),
        "notices": dict(Counter(notice.event for notice in run.notices)),
    }


def _judge_followed(run: Run, name: str, since: int, there: set[int]) -> None:
    """What is in a file now has been followed, once. Of what ``copytruncate`` lost some may have been seen before."""
    seen = Counter(run.followed.get(name, []))
    dropped = sum(notice.rows for notice in run.notices if notice.host == name and notice.event == "dropped")
    twice = [number for number, times in seen.items() if times > 1]
    missing = {number for number in there if number > since} - seen.keys()
    if twice:
        raise Fault(f"{name}: followed, and {len(twice)} rows came twice, such as {sorted(twice)[:3]}")
    if len(missing) > dropped:
        raise Fault(f"{name}: followed, and {len(missing)} rows did not come, such as {sorted(missing)[:3]}")


def try_one(way: str, seconds: float) -> dict[str, object]:
    with bed() as (processes, home):
        mesh = Mesh(VARLOGD, processes, home, 3)
        hosts = {}
        for node in mesh.nodes:
            (beside := home / "beside" / node.name).mkdir(parents=True)
            hosts[node.name] = host = Host(node, beside, way)
            pace = SLOW_LINES_S if hosts.keys() - {node.name} else 0
            me = [sys.executable, __file__, "--write", str(host.log), "--beside", str(beside), "--pace", str(pace)]
            host.writer = processes.start(me, home / "writers.log")
            host.configure()
        mesh.form()
        return trio.run(try_way, Run(hosts, url_of(mesh.nodes[0]), "copytruncate" in WAYS[way]), seconds)


def leaves(group: BaseExceptionGroup[Fault]) -> Iterator[BaseException]:
    for inner in group.exceptions:
        yield from leaves(inner) if isinstance(inner, BaseExceptionGroup) else (inner,)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--mode", action="append", choices=WAYS, help="repeatable (default: all)")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--beside", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--pace", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.write:
        write(args.write, args.beside, args.pace)
        return 0
    need("logrotate")
    faults: list[BaseException] = []
    for way in args.mode or WAYS:
        try:
            print(json.dumps(try_one(way, args.seconds)), flush=True)
        except* Fault as group:
            faults += leaves(group)
            print(f"FAULT: {way}: {faults[-1]}", flush=True)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
