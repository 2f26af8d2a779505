"""How much memory a daemon takes while four questions read one long log at once.

    python tests/benchmarks/bench_memory.py [--mb 1024]

A daemon whose log has this size is asked by four processes at the same time: `varlog grep` of a common literal, of a
rare one, of all lines but some, and `varlog count`. All of them read all of the log. What counts is the daemon's peak
(`VmHWM`, with the interpreter and all libraries), from before the questions until the last one has been answered; an
asker who does not read its answer for a while is another case, and comes first.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Final

from bed import Node, daemon_over, environment, varlog_command
from logtext import write_large_log
from report import Report
from turns import Row, bound

PEAK_MAX_MB: Final = 100
"""What a daemon may take at the most."""

TIMEOUT: Final = "--timeout=600"
"""The most that a daemon allows."""

QUESTIONS: Final = (
    ("grep", "-F", "worker", TIMEOUT),
    ("grep", "-F", "no such text", TIMEOUT),
    ("grep", "-F", "-v", "no such text", TIMEOUT),
    ("count", "-F", "worker", TIMEOUT),
)

SLOW_S: Final = 5.0
"""How long an asker reads nothing."""


def status_mb(node: Node, key: str) -> float:
    """A figure of `/proc/PID/status`."""
    lines = Path(f"/proc/{node.pid}/status").read_text().splitlines()
    (found,) = (line.split()[1] for line in lines if line.startswith(f"{key}:"))
    return round(int(found) * 1024 / 1e6, 1)


def reset_peak(node: Node) -> None:
    """Have the peak counted from now on."""
    Path(f"/proc/{node.pid}/clear_refs").write_text("5")


def ask_at_once(node: Node, report: Report) -> None:
    """Ask all of them, and throw away their answers but for what the askers say of them at the end."""
    askers = [
        subprocess.Popen(
            varlog_command(node, *words), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment()
        )
        for words in QUESTIONS
    ]
    for words, asker in zip(QUESTIONS, askers, strict=True):
        said = asker.communicate()[1].decode().strip()
        report.note(f"{' '.join(words)}: {said or f'ended with {asker.returncode}'}")


def ask_slowly(node: Node) -> None:
    """Ask for all lines, and read nothing of them for a while."""
    command = varlog_command(node, *QUESTIONS[2])
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment()) as asker:
        assert asker.stdout is not None
        asker.stdout.readline()
        time.sleep(SLOW_S)
        asker.kill()


def measured(log: Path, report: Report) -> list[Row]:
    """The rows of the table of bounds."""
    report.say("memory")
    with daemon_over(log) as node:
        before = status_mb(node, "VmRSS")
        peaks = []
        for ask in (partial(ask_slowly, node), partial(ask_at_once, node, report)):
            reset_peak(node)
            ask()
            peaks.append(status_mb(node, "VmHWM"))
    return [
        bound("memory: a daemon before any question", before, None, "MB"),
        bound("memory: peak while an asker does not read", peaks[0], PEAK_MAX_MB, "MB"),
        bound("memory: peak while four questions read all", peaks[1], PEAK_MAX_MB, "MB"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=int, default=1024, help="size of the log")
    options = parser.parse_args()
    report = Report("memory", f"a daemon and four questions at once over one log of {options.mb} MB")
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "app.log"
        write_large_log(log, options.mb * 1_000_000)
        report.show("memory", "Memory of a daemon", measured(log, report))
    report.close()


if __name__ == "__main__":
    main()
