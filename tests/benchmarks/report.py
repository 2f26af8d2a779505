"""What a benchmark prints: the machine and how busy it was, the command line, tables, and a line of JSON at the end.

A figure without its circumstances cannot be compared, so they travel with it: cores, Python, and how much of the
machine others took before the run and during it.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import shlex
import statistics
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from varlogd import __version__
from varlogd.cli.terminal import table

LOOK_S = 1.0
"""How long the machine is watched before a run."""


class Report:
    """One run of one benchmark. Made when nothing of it has been started yet; `close` it when all has ended."""

    def __init__(self, name: str, about: str) -> None:
        self._name = name
        self._circumstances: dict[str, object] = {
            "command": shlex.join([Path(sys.executable).name, *sys.argv]),
            "cores": os.cpu_count(),
            "python": f"{platform.python_implementation()} {platform.python_version()}",
            "kernel": platform.release(),
            "varlogd": __version__,
            "others_before_pct": _busy_pct(_cpu_ticks(), LOOK_S),
        }
        self._ticks, self._own_s = _cpu_ticks(), _own_cpu_s()
        self._figures: dict[str, object] = {}
        self._skipped: list[str] = []
        print(f"# {name}: {about}")
        for key, value in self._circumstances.items():
            print(f"  {key:<18} {value}")
        sys.stdout.flush()

    def skip(self, who: str, why: str) -> None:
        """Say that a contender takes no part."""
        self._skipped.append(f"{who}: {why}")
        print(f"  skipped: {who}: {why}", flush=True)

    def say(self, text: str) -> None:
        """Progress, on stderr: a run takes minutes."""
        print(f"  … {text}", file=sys.stderr, flush=True)

    def show(self, key: str, title: str, rows: Sequence[Mapping[str, object]]) -> None:
        """A table, whose rows are kept under ``key`` for the JSON."""
        self._figures[key] = list(rows)
        print(f"\n{title}\n")
        header = list(rows[0])
        cells = [[_shown(row.get(column)) for column in header] for row in rows]
        print("\n".join(f"  {line}" for line in table([header, *cells])), flush=True)

    def note(self, text: str) -> None:
        """A sentence under a table."""
        print(f"  {text}", flush=True)

    def close(self) -> None:
        """The line of JSON. All processes of the run have been waited for."""
        self._circumstances["others_pct"] = _busy_pct(self._ticks, own_s=_own_cpu_s() - self._own_s)
        told = {"benchmark": self._name, **self._circumstances, "skipped": self._skipped, "figures": self._figures}
        print(
            f"\n  Others took {told['others_pct']} % of the machine during the run.\n{json.dumps(told)}", flush=True
        )


def _shown(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _busy_pct(since: tuple[int, int], look_s: float = 0.0, own_s: float = 0.0) -> float:
    """How much of all cores has been in use ``since``, less ``own_s`` CPU seconds, in percent."""
    time.sleep(look_s)
    total, idle = (now - then for now, then in zip(_cpu_ticks(), since, strict=True))
    busy = total - idle - own_s * os.sysconf("SC_CLK_TCK")
    return round(100 * max(0.0, busy) / max(1, total), 1)


def _own_cpu_s() -> float:
    """CPU seconds of this process and of those it has waited for, with theirs."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _cpu_ticks() -> tuple[int, int]:
    """All ticks and idle ones since boot: `/proc/stat`, user to steal; idle and iowait are idle."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(ticks), ticks[3] + ticks[4]


def percentile(values: Iterable[float], percent: float) -> float | None:
    """The nearest-rank percentile; None of nothing. The 99th of fewer than a hundred values is the largest."""
    ranked = sorted(values)
    if not ranked:
        return None
    return ranked[max(0, -int(-percent * len(ranked) // 100) - 1)]


def median(values: Sequence[float]) -> float | None:
    """The median; None of nothing."""
    return statistics.median(values) if values else None


def ms(seconds: float | None) -> float | None:
    """Seconds as milliseconds, rounded for a table."""
    return None if seconds is None else round(seconds * 1000, 2)
