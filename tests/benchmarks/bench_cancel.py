"""How soon the work stops on every host after Ctrl-C: varlogd beside grep by ClusterShell.

    python tests/benchmarks/bench_cancel.py [--n 10] [--trials 10]

Every host has several large logs (the same ones, by hard links), and the question matches nothing, so that all
of them read for some seconds. A while after the start SIGINT is sent to `varlog grep`, and every daemon's count of
bytes read (`rchar` in /proc/PID/io) is watched every few milliseconds: a host has stopped when it last read. Then
`grep` searches the same files through ClusterShell, which gets the same Ctrl-C, and the greps left over are counted.
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bed import VARLOGD, Mesh, Node, Skip, bed, environment, varlog_command
from logtext import write_log
from peer_ssh import ClusterShell, clustershell
from report import Report, median, ms, percentile

FILES = 4
"""Logs of every host: enough reading to outlast a trial."""

GREP_TIMES = 5
"""`grep` is given all of them so many times over, so that those left over are still there to be counted."""

STARTED_S = 0.8
"""Before Ctrl-C, and up to half of it more at random: by then every host reads."""

AT_WORK_S = 0.2
"""A host that has read nothing for so long before Ctrl-C was not at work: it is counted, and has no time."""

WATCHED_S = 1.5
"""After Ctrl-C. Whoever still reads in the last third of it has not stopped."""

SAMPLE_S = 0.002

COUNTED_S = (0.0, 1.0, 3.0)
"""How long after ClusterShell's end its greps are counted."""

CLUSTERSHELL_TRIALS = 3


class Reading:
    """Who of some processes reads: when each one's count of bytes read last grew, and when ``asker`` ended."""

    def __init__(self, nodes: Sequence[Node], asker: subprocess.Popen[bytes]) -> None:
        self.last = {node.pid: 0.0 for node in nodes}
        self.asker_ended = 0.0
        self._asker = asker
        self._read_bytes = {pid: _read_bytes(pid) for pid in self.last}

    def watch(self, seconds: float) -> None:
        """Watch for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for pid in self.last:
                read_bytes = _read_bytes(pid)
                if read_bytes != self._read_bytes[pid]:
                    self._read_bytes[pid], self.last[pid] = read_bytes, time.monotonic()
            if not self.asker_ended and self._asker.poll() is not None:
                self.asker_ended = time.monotonic()
            time.sleep(SAMPLE_S)


def _read_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/io").read_text().split()[1])


@dataclass(frozen=True)
class Stopped:
    """One Ctrl-C of `varlog`: seconds to the last read of every host that was at work and stopped, and to the end of
    the command; how many were not at work, and how many have not stopped."""

    hosts_s: list[float]
    command_s: float
    idle: int
    reading_on: int


def cancel_varlog(mesh: Mesh, rng: random.Random) -> Stopped:
    command = varlog_command(mesh.nodes[0], "grep", secrets.token_hex(16))
    process = _start(command)
    reading = Reading(mesh.nodes, process)
    reading.watch(_some_time(rng))
    at = time.monotonic()
    process.send_signal(signal.SIGINT)
    at_work = [pid for pid, last in reading.last.items() if last > at - AT_WORK_S]
    reading.watch(WATCHED_S)
    process.kill()
    process.wait()
    after_s = [max(0.0, reading.last[pid] - at) for pid in at_work]
    stopped = [seconds for seconds in after_s if seconds < WATCHED_S * 2 / 3]
    command_s = reading.asker_ended - at
    return Stopped(stopped, command_s, len(mesh.nodes) - len(at_work), len(after_s) - len(stopped))


def cancel_clustershell(shell: ClusterShell, files: str, rng: random.Random) -> tuple[list[int], float]:
    """How many greps run on at each of `COUNTED_S` after ClusterShell's end; seconds from Ctrl-C to that end."""
    token = secrets.token_hex(16)
    process = _start(shell.command(f"grep -c {token} {files}"))
    time.sleep(_some_time(rng))
    at = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.wait()
    ended = time.monotonic()
    left: list[int] = []
    for seconds in COUNTED_S:
        time.sleep(max(0.0, ended + seconds - time.monotonic()))
        left.append(len(_greps(token)))
    for pid in _greps(token):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return left, ended - at


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    null = subprocess.DEVNULL
    return subprocess.Popen(command, stdin=null, stdout=null, stderr=null, env=environment(), process_group=0)


def _some_time(rng: random.Random) -> float:
    return STARTED_S * (1 + rng.random() / 2)


def _greps(token: str) -> list[int]:
    """The greps for this token, which is nobody else's."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdecimal() else []
            if words[:1] == [b"grep"] and token.encode() in words:
                found.append(int(entry.name))
    return found


def measure(n: int, trials: int, size_mb: int, report: Report) -> None:
    rng = random.Random(n)
    with bed() as (processes, home):
        mesh = Mesh(VARLOGD, processes, home, n)
        report.say("making logs")
        _make_logs(mesh, size_mb * 1_000_000)
        report.say("starting daemons")
        mesh.form()
        stopped = []
        for number in range(trials):
            stopped.append(cancel_varlog(mesh, rng))
            report.say(f"trial {number + 1} of {trials}")
        _show_varlogd(n, stopped, report)
        try:
            with clustershell(processes, home / "ssh", [node.host for node in mesh.nodes]) as shell:
                files = f"{mesh.nodes[0].root}/*.log " * GREP_TIMES
                left = [cancel_clustershell(shell, files, rng) for _ in range(CLUSTERSHELL_TRIALS)]
                _show_clustershell(n, left, report)
        except Skip as skip:
            report.skip("ClusterShell", str(skip))


def _make_logs(mesh: Mesh, size_bytes: int) -> None:
    """The first node's logs; those of the others are the same files, which costs no disk."""
    first = mesh.nodes[0].root
    write_log(first / "app0.log", size_bytes, seed=1)
    for number in range(1, FILES):
        shutil.copyfile(first / "app0.log", first / f"app{number}.log")
    for node in mesh.nodes[1:]:
        for number in range(FILES):
            (node.root / f"app{number}.log").hardlink_to(first / f"app{number}.log")


def _show_varlogd(n: int, stopped: Sequence[Stopped], report: Report) -> None:
    hosts_s = [seconds for one in stopped for seconds in one.hosts_s]
    slowest_s = [max(one.hosts_s) for one in stopped if one.hosts_s]
    row: dict[str, object] = {
        "a host stops, median ms": ms(median(hosts_s)),
        "p99 ms": ms(percentile(hosts_s, 99)),
        "max ms": ms(percentile(hosts_s, 100)),
        "all stop, median ms": ms(median(slowest_s)),
        "command ends, median ms": ms(median([one.command_s for one in stopped])),
        "stops": len(hosts_s),
        "not at work": sum(one.idle for one in stopped),
        "never stopped": sum(one.reading_on for one in stopped),
    }
    report.show("varlogd", f"varlog grep, Ctrl-C, {n} hosts, {len(stopped)} trials", [row])


def _show_clustershell(n: int, left: Sequence[tuple[list[int], float]], report: Report) -> None:
    rows: list[dict[str, object]] = [
        {
            "trial": number,
            "command ends, ms": ms(ended_s),
            **{f"greps {after_s:g} s later": count for after_s, count in zip(COUNTED_S, counts, strict=True)},
        }
        for number, (counts, ended_s) in enumerate(left, 1)
    ]
    report.show("clustershell", f"grep by ClusterShell, Ctrl-C, {n} hosts: remote greps that run on", rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--n", type=int, default=10, help="hosts (default: %(default)s)")
    parser.add_argument("--trials", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--size-mb", type=int, default=300, help="of each log (default: %(default)s)")
    chosen = parser.parse_args()
    report = Report("bench_cancel", "how soon the work stops on every host after Ctrl-C")
    measure(chosen.n, chosen.trials, chosen.size_mb, report)
    report.close()


if __name__ == "__main__":
    main()
