"""How long a line takes from its writer to who follows: varlogd over all hosts beside `tail -F` on one.

    python tests/benchmarks/bench_follow.py [--n 20] [--lines 500]

Every line says when it was written, and is written to the log of a host chosen at random. One follows all hosts as
`varlog tail -f` does (`client.follow`), and is beside it given the lines of one host by `tail -F`. Then what it costs
to follow logs to which nothing is written: the time that one poll takes, as a share of a core at the rate of polls.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import trio
from bed import VARLOGD, Mesh, Node, bed, url_of
from report import Report, ms, percentile
from turns import Row, bound

from varlogd import client
from varlogd.logs.following.follow import LIST_S, POLL_S, Follow
from varlogd.logs.scan import HostLogs
from varlogd.wire.query import Live, Query

LOG = "app.log"

PAUSE_S = 0.01
"""Between two lines, on average."""

WAIT_S = 10.0
"""For lines that have not come yet, at the end."""

P99_MAX_MS = 250.0
"""From write to screen, of all lines but one of a hundred."""

POLLS = 100
"""Polls of which the cost is measured: ten seconds of following."""


def write_lines(nodes: Sequence[Node], lines: int, chance: random.Random) -> None:
    """Write lines that say when they were written."""
    logs = [(node.root / LOG).open("a", buffering=1) for node in nodes]
    for _ in range(lines):
        time.sleep(chance.expovariate(1 / PAUSE_S))
        chance.choice(logs).write(f"{time.time_ns()} a line of a log\n")
    for log in logs:
        log.close()


def warm_up(nodes: Sequence[Node]) -> None:
    """A line for each host: its daemon then has learned the format, which twenty at once on few cores do slowly."""
    for node in nodes:
        with (node.root / LOG).open("a") as log:
            log.write(f"{time.time_ns()} the first line\n")


def age_s(line: bytes) -> float:
    return (time.time_ns() - int(line.split()[0])) / 1e9


async def followed(mesh: Mesh, lines: int, chance: random.Random) -> list[float]:
    """The ages of all lines when they come."""
    ages: list[float] = []
    warm = 0
    async with client.follow(url_of(mesh.nodes[0]), Query()) as events:
        async for event in events:
            if isinstance(event, Live):
                warm_up(mesh.nodes)
            warm += len(event) if isinstance(event, list) else 0
            if warm == len(mesh.nodes):
                writer = threading.Thread(target=write_lines, args=(mesh.nodes, lines, chance))
                writer.start()
                break
        with trio.move_on_after(lines * PAUSE_S * 2 + WAIT_S):
            async for event in events:
                if isinstance(event, list):
                    ages += [age_s(row.line) for row in event]
                if len(ages) == lines:
                    break
    writer.join()
    return ages


def tailed(node: Node, lines: int, chance: random.Random) -> list[float]:
    """The same by `tail -F`, of one host."""
    command = ["tail", "-n", "0", "-F", str(node.root / LOG)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as tail:
        assert tail.stdout is not None
        time.sleep(0.5)  # it does not say when it has begun
        writer = threading.Thread(target=write_lines, args=([node], lines, chance))
        writer.start()
        ages = [age_s(tail.stdout.readline()) for _ in range(lines)]
        writer.join()
        tail.kill()
    return ages


def idle_cost(home: Path, streams: int) -> dict[str, object]:
    """What it costs to follow so many streams to which nothing is written."""
    root = home / f"idle-{streams}"
    root.mkdir()
    for number in range(streams):
        (root / f"{number}.log").write_text("2026-01-01T00:00:00Z a line\n")
    follow = Follow(HostLogs("here", {}, [root]), Query(), lambda: None)
    try:
        follow.poll(0.0)
        began = time.process_time()
        for number in range(1, POLLS + 1):
            follow.poll(number * POLL_S)
        took_s = time.process_time() - began
    finally:
        follow.close()
    share = took_s / (POLLS * POLL_S)
    return {"streams": streams, "one poll ms": ms(took_s / POLLS), "of a core %": round(100 * share, 2)}


def latencies(title: str, ages: list[float], lines: int) -> dict[str, object]:
    return {
        "followed by": title,
        "p50 ms": ms(percentile(ages, 50)),
        "p99 ms": ms(percentile(ages, 99)),
        "most ms": ms(max(ages, default=0.0)),
        "lines": len(ages),
        "missing": lines - len(ages),
    }


def followed_and_tailed(n: int, lines: int, report: Report) -> list[dict[str, object]]:
    """The latencies of following ``n`` hosts, and of `tail -F` on one of them."""
    chance = random.Random(0)
    with bed() as (processes, home):
        mesh = Mesh(VARLOGD, processes, home, n)
        for node in mesh.nodes:
            (node.root / LOG).touch()
        report.say(f"{n} hosts: starting daemons")
        mesh.form()
        time.sleep(2)
        return [
            latencies(f"varlogd, {n} hosts", trio.run(followed, mesh, lines, chance), lines),
            latencies("tail -F, one host", tailed(mesh.nodes[0], lines, chance), lines),
        ]


def bounds(n: int, lines: int, report: Report) -> list[Row]:
    """Rows of a table of bounds: what may take `P99_MAX_MS`."""
    ours, tail = followed_and_tailed(n, lines, report)
    who = ours["followed by"]
    return [
        bound(f"follow: {who}, p50", cast("float | None", ours["p50 ms"]), None, "ms"),
        bound(f"follow: {who}, p99", cast("float | None", ours["p99 ms"]), P99_MAX_MS, "ms"),
        bound(f"follow: {who}, lines missing", cast("int", ours["missing"]), 0, "lines"),
        bound(f"follow: {tail['followed by']}, p99", cast("float | None", tail["p99 ms"]), None, "ms"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--n", type=int, default=20, help="hosts (default: %(default)s)")
    parser.add_argument("--lines", type=int, default=500, help="lines written (default: %(default)s)")
    chosen = parser.parse_args()
    report = Report("bench_follow", "latency of following")
    rows = followed_and_tailed(chosen.n, chosen.lines, report)
    report.show(f"follow_n{chosen.n}", f"From write to screen, {chosen.lines} lines", rows)
    with bed() as (_, home):
        costs = [idle_cost(home, streams) for streams in (100, 1000)]
    report.show("follow_idle", f"Following what does not change; all is listed every {LIST_S:g} s", costs)
    report.close()


if __name__ == "__main__":
    main()
