"""Searching compressed logs, by this process, beside the tools that people know, in the same run.

    python tests/benchmarks/bench_packed.py [--mb 256] [--rounds 5]

One rotated log as gzip and as zstd leave it, in the page cache. A peer is a process that writes into a pipe, its
start in its time; every contender counts the same lines. Medians of rounds that take turns; MB are of the text.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from datetime import UTC
from pathlib import Path

from bench_logs import ask, run, scan, seconds_of, write_large_log
from report import Report, median, ms

from varlogd.logs.scan import HostLogs

PACKERS = {"gz": "gzip -6", "zst": "zstd -3 -q"}

PEERS = {
    "gz": {"zgrep": "zgrep -F {} $LOG", "rg -z": "rg -z -F {} $LOG"},
    "zst": {"zstdgrep": "zstdgrep -F {} $LOG", "rg -z": "rg -z -F {} $LOG"},
}

QUESTIONS = {"rare literal": "no such text", "common literal": "worker"}


def packed(log: Path, packing: str) -> Path:
    """The log as its packer leaves it."""
    subprocess.run([*PACKERS[packing].split(), "-k", "-f", str(log)], check=True)
    return log.with_name(f"{log.name}.{packing}")


def measured(name: str, packing: str, file: Path, text_bytes: int, rounds: int) -> dict[str, object]:
    """One line of the table: our median, our speed, and each peer's median as a multiple of ours."""
    text = QUESTIONS[name]
    logs, query = HostLogs("web1", {}, [file], zone=UTC), scan(text)
    rows, _ = ask(logs, query)
    peers = {who: cmd.format(f"'{text}'") for who, cmd in PEERS[packing].items() if shutil.which(cmd.split()[0])}
    for who, command in peers.items():
        if (found := run(command, file)) != rows:
            raise SystemExit(f"{packing}, {name}: varlogd finds {rows} lines, {who} {found}")
    ours: list[float] = []
    theirs: dict[str, list[float]] = {who: [] for who in peers}
    for _ in range(rounds):
        ours.append(seconds_of(lambda: ask(logs, query)))
        for who, command in peers.items():
            theirs[who].append(seconds_of(lambda command=command: run(command, file)))  # type: ignore[misc]
    own = median(ours) or 0.0
    ratios = {who: round((median(times) or 0.0) / own, 2) for who, times in theirs.items()}
    return {
        "packing": packing,
        "question": name,
        "rows": rows,
        "ms": ms(own),
        "MB/s": round(text_bytes / 1e6 / own),
        "peers' time / ours": "  ".join(f"{who} {ratio:g}" for who, ratio in ratios.items()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=int, default=256, help="size of the log, unpacked")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    report = Report("packed", f"one host, one compressed log of {options.mb} MB of text in the page cache")
    table = []
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "app.log.1"
        report.say("writing the log")
        write_large_log(log, options.mb * 1_000_000)
        for packing, command in PACKERS.items():
            if shutil.which(command.split()[0]) is None:
                report.skip(packing, f"no {command.split()[0]} here")
                continue
            report.say(packing)
            file = packed(log, packing)
            table += [measured(name, packing, file, log.stat().st_size, options.rounds) for name in QUESTIONS]
            file.unlink()
    report.show("packed", "Above 1 a peer is slower than varlogd, below 1 it is faster.", table)
    report.close()


if __name__ == "__main__":
    main()
