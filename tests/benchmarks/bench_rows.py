"""Rows a second from the hosts' files to the asker, merged in order, when every line of every host matches.

    python tests/benchmarks/bench_rows.py [--n 3] [--mb 30] [--rounds 3]

All daemons and the asker share the machine, so this is work per row more than speed per host. The lines of the
hosts interleave, which is the dear case: every row is decoded, sorted and encoded by the daemon that is asked.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import trio
from bed import VARLOGD, BedError, Mesh, bed, environment, url_of, varlog_command
from logtext import write_log
from report import Report, median

from varlogd import client
from varlogd.wire.query import LineFilter, Query

TIMEOUT_S = 300.0
EVERYTHING = Query(filters=(LineFilter("|~", ("",)),), timeout_s=TIMEOUT_S)
"""What `varlog grep ''` asks."""


def by_blocks(mesh: Mesh) -> int:
    """Rows received by the client library, a block at a time."""

    async def ask() -> int:
        async with client.ask(url_of(mesh.nodes[0]), EVERYTHING) as answer:
            return sum([len(rows) async for rows in answer.blocks()])

    return trio.run(ask)


def by_rows(mesh: Mesh) -> int:
    """Rows received by the client library, one at a time."""

    async def ask() -> int:
        count = 0
        async with client.ask(url_of(mesh.nodes[0]), EVERYTHING) as answer:
            async for _row in answer:
                count += 1
        return count

    return trio.run(ask)


def by_command(mesh: Mesh, out: Path, *flags: str) -> int:
    """Lines that `varlog grep ''` writes into a file, less those that are no rows."""
    command = varlog_command(mesh.nodes[0], "grep", "", f"--timeout={TIMEOUT_S:g}", *flags)
    with out.open("wb") as file:
        subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.PIPE, env=environment(), check=True
        )
    with out.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b"")) - ("--json" in flags)


def measure(n: int, size_mb: float, rounds: int, report: Report) -> None:
    with bed() as (processes, home):
        mesh = Mesh(VARLOGD, processes, home, n)
        size_bytes = int(size_mb * 1e6)
        lines = sum(write_log(node.root / "app.log", size_bytes, seed) for seed, node in enumerate(mesh.nodes))
        mesh.form()
        contenders: dict[str, Callable[[], int]] = {
            "client library, blocks": lambda: by_blocks(mesh),
            "client library, rows": lambda: by_rows(mesh),
            "varlog --json": lambda: by_command(mesh, home / "out", "--json"),
            "varlog": lambda: by_command(mesh, home / "out"),
        }
        took_s: dict[str, list[float]] = {title: [] for title in contenders}
        for number in range(rounds):
            for title, contender in contenders.items():
                took_s[title].append(_timed(title, contender, lines))
            report.say(f"round {number + 1} of {rounds}")
        rows: list[dict[str, object]] = [_row(title, seconds, lines) for title, seconds in took_s.items()]
        report.show("rows", f"{lines} rows of {n} hosts, merged; medians of {rounds} rounds", rows)


def _timed(title: str, contender: Callable[[], int], lines: int) -> float:
    began = time.perf_counter()
    received = contender()
    took_s = time.perf_counter() - began
    if received != lines:
        raise BedError(f"{title}: {received} rows of {lines}")
    return took_s


def _row(title: str, seconds: list[float], lines: int) -> dict[str, object]:
    middle = median(seconds) or 0.0
    return {"received by": title, "rows/s": round(lines / middle), "seconds": round(middle, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--n", type=int, default=3, help="hosts (default: %(default)s)")
    parser.add_argument("--mb", type=float, default=30.0, help="of log on every host (default: %(default)g)")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    chosen = parser.parse_args()
    report = Report("bench_rows", "rows a second, from files to the asker")
    measure(chosen.n, chosen.mb, chosen.rounds, report)
    report.close()


if __name__ == "__main__":
    main()
