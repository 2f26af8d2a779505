"""How long `tail -n 100` over all hosts takes: varlogd beside ClusterShell over kept ssh connections, and Serf.

    python tests/benchmarks/bench_tail.py [--n 5 --n 20] [--reps 50]

Every host has a log of 50 MB. In each round all contenders take a turn, in an order that rotates:

* **varlogd, library**: `varlogd.client.ask` in a process that is kept, a new websocket (and event loop) a question;
* **varlogd, command**: the whole process `varlog tail -n 100`;
* **ClusterShell**: the whole process `clush … 'tail -n 100 FILE'`;
* **Serf**: `serf query` with a handler that does `tail -n 100 FILE | tail -c 900` (all that fits in an answer). Its
  command ends with a time-out, so it is timed to its first answer, its last, and its end; in every fifth round.

varlogd's answer is the newest hundred rows of all hosts in order of time; the others' is what each host has, as it
comes. An answer that is not whole is counted, and its time left out.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import trio
from bed import VARLOGD, Mesh, Processes, Skip, bed, environment, url_of, varlog_command
from logtext import write_log
from peer_serf import query_tail, serf
from peer_ssh import clustershell
from report import Report, median, ms, percentile

from varlogd import client
from varlogd.wire.query import Query

ROWS = 100
LOG_BYTES = 50_000_000
LOG = "app.log"
SETTLE_S = 3.0
SERF_EVERY = 5
"""A Serf query takes seconds to end, whatever the answer."""

CLUSTERSHELL = "ClusterShell, kept connections"


class Incomplete(Exception):
    """An answer that is not whole."""


Timed = Callable[[], dict[str, float]]
"""One question; the seconds to each of its milestones. Raises Incomplete."""


def by_library(mesh: Mesh) -> Timed:
    async def ask() -> None:
        async with client.ask(url_of(mesh.nodes[0]), Query(limit=ROWS)) as answer:
            rows = [row async for row in answer]
        if len(rows) != ROWS or not answer.ledger.complete:
            raise Incomplete(f"{len(rows)} rows, complete: {answer.ledger.complete}")

    def timed() -> dict[str, float]:
        began = time.perf_counter()
        trio.run(ask)
        return {"varlogd, library": time.perf_counter() - began}

    return timed


def by_command(title: str, command: Sequence[str], lines: int) -> Timed:
    def timed() -> dict[str, float]:
        began = time.perf_counter()
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, env=environment(), check=False)
        took_s = time.perf_counter() - began
        if done.returncode != 0 or done.stdout.count(b"\n") != lines:
            raise Incomplete(f"{title}: status {done.returncode}, {done.stdout.count(10)} lines of {lines}")
        return {title: took_s}

    return timed


def by_serf(mesh: Mesh) -> Timed:
    def timed() -> dict[str, float]:
        times = query_tail(mesh.nodes[0])
        if times.answers < len(mesh.nodes):
            raise Incomplete(f"Serf: {times.answers} answers of {len(mesh.nodes)}")
        return {
            "Serf query, first answer": times.first_s,
            "Serf query, last answer": times.last_s,
            "Serf query, command ends": times.ended_s,
        }

    return timed


def measure(n: int, reps: int, report: Report) -> None:
    with bed() as (processes, home), ExitStack() as stack:
        mesh = Mesh(VARLOGD, processes, home, n)
        report.say(f"{n} hosts: making logs")
        for number, node in enumerate(mesh.nodes):
            write_log(node.root / LOG, LOG_BYTES, seed=number)
        report.say(f"{n} hosts: starting daemons")
        mesh.form()
        contenders = {
            "library": by_library(mesh),
            "command": by_command("varlogd, command", varlog_command(mesh.nodes[0], "tail", f"-n{ROWS}"), ROWS),
        }
        contenders |= peers(mesh, processes, home, stack, report)
        time.sleep(SETTLE_S)
        show(n, reps, *rounds(contenders, reps, report), report)


def peers(mesh: Mesh, processes: Processes, home: Path, stack: ExitStack, report: Report) -> dict[str, Timed]:
    """The contenders that can take part here."""
    found: dict[str, Timed] = {}
    try:
        hosts = [node.host for node in mesh.nodes]
        shell = stack.enter_context(clustershell(processes, home / "ssh", hosts))
        for node in mesh.nodes:
            (home / "hosts" / node.host).symlink_to(node.root)
        remote = f"set -- $SSH_CONNECTION; tail -n {ROWS} {home}/hosts/$3/{LOG}"  # $3: the address that was dialled
        found["clustershell"] = by_command(CLUSTERSHELL, shell.command(remote), ROWS * len(hosts))
    except Skip as skip:
        report.skip("ClusterShell", str(skip))
    try:
        agents = Mesh(serf(tail_of=LOG), processes, home, len(mesh.nodes))
        agents.form()
        found["serf"] = by_serf(agents)
    except Skip as skip:
        report.skip("Serf", str(skip))
    return found


def rounds(
    contenders: dict[str, Timed], reps: int, report: Report
) -> tuple[dict[str, list[float]], dict[str, list[str]]]:
    """Every contender's times, and what was wrong with its other answers. One unmeasured round comes first."""
    times: dict[str, list[float]] = defaultdict(list)
    wrong: dict[str, list[str]] = defaultdict(list)
    names = list(contenders)
    for number in range(-1, reps):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            if name == "serf" and number % SERF_EVERY:
                continue
            try:
                took = contenders[name]()
            except Incomplete as error:
                wrong[name].append(str(error))
                continue
            for milestone, seconds in took.items() if number >= 0 else ():
                times[milestone].append(seconds)
        if number % 10 == 0:
            report.say(f"round {number} of {reps}")
    return times, wrong


def show(n: int, reps: int, times: dict[str, list[float]], wrong: dict[str, list[str]], report: Report) -> None:
    base = median(times.get(CLUSTERSHELL, []))
    rows: list[dict[str, object]] = []
    for title, seconds in times.items():
        middle = median(seconds)
        ratio = round(middle / base, 2) if middle is not None and base else None
        p99 = ms(percentile(seconds, 99))
        rows.append(
            {
                "asked by": title,
                "median ms": ms(middle),
                "p99 ms": p99,
                "of ClusterShell": ratio,
                "runs": len(seconds),
            }
        )
    report.show(f"tail_n{n}", f"tail -n {ROWS} over {n} hosts, {reps} rounds", rows)
    for name, errors in wrong.items():
        report.note(f"{name}: {len(errors)} answers were not whole, such as: {errors[0]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--n", type=int, action="append", help="hosts (repeatable; default: 5 and 20)")
    parser.add_argument("--reps", type=int, default=50, help="rounds (default: %(default)s)")
    chosen = parser.parse_args()
    report = Report("bench_tail", "latency of the newest rows of all hosts")
    for n in chosen.n or (5, 20):
        measure(n, chosen.reps, report)
    report.close()


if __name__ == "__main__":
    main()
