"""What a daemon costs while nobody asks: CPU, memory, messages; varlogd, then Serf, each alone on a loopback.

    python tests/benchmarks/bench_idle.py [--n 20] [--seconds 30]

CPU is that of all threads (utime and stime of /proc/PID/stat). RSS counts shared pages in full; PSS divides them
among those who share them, and twenty daemons on one machine share the interpreter. Packets are the loopback's
own count, TCP's acknowledgements included; messages are TCP segments with data (`ss`) and UDP datagrams. As root the
meshes get a network namespace of their own, so that nobody else's packets are counted; else they are.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bed import VARLOGD, Kind, Mesh, Node, Skip, bed, private_loopback
from logtext import write_log
from peer_serf import serf
from report import Report, median, percentile

SETTLE_S = 15.0
"""From a formed mesh to the first look: by then the news of who has joined has ceased to travel."""

LOG_BYTES = 1_000_000

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Look:
    """Counts at one moment: CPU seconds of each node, packets and bytes on the loopback, messages."""

    at: float
    cpu_s: dict[str, float]
    packets: int
    sent_bytes: int
    messages: int | None


def look(mesh: Mesh) -> Look:
    cpu_s = {node.name: _cpu_s(node) for node in mesh.nodes}
    sent_bytes, packets = _sent()
    return Look(time.monotonic(), cpu_s, packets, sent_bytes, _messages())


def _cpu_s(node: Node) -> float:
    fields = Path(f"/proc/{node.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def _sent() -> tuple[int, int]:
    """Bytes and packets that the loopback has carried."""
    line = next(
        line for line in Path("/proc/self/net/dev").read_text().splitlines() if line.strip().startswith("lo:")
    )
    fields = line.split()
    return int(fields[9]), int(fields[10])


def _messages() -> int | None:
    """TCP segments with data sent over connections that are open, and UDP datagrams sent; None without `ss`."""
    if shutil.which("ss") is None:
        return None
    sockets = subprocess.run(["ss", "-tin"], capture_output=True, text=True, check=True).stdout
    lines = [
        line.split() for line in Path("/proc/self/net/snmp").read_text().splitlines() if line.startswith("Udp: ")
    ]
    datagrams = int(dict(zip(*lines, strict=True))["OutDatagrams"])
    return datagrams + sum(int(count) for count in re.findall(r"data_segs_out:(\d+)", sockets))


def _memory_mb(node: Node, key: str) -> float:
    """A line of /proc/PID/smaps_rollup, in MB."""
    text = Path(f"/proc/{node.pid}/smaps_rollup").read_text()
    return int(next(line for line in text.splitlines() if line.startswith(f"{key}:")).split()[1]) * 1024 / 1e6


def measure(kind: Kind, n: int, seconds: float, report: Report) -> dict[str, object]:
    """A row of the table."""
    with bed() as (processes, home):
        mesh = Mesh(kind, processes, home, n)
        for number, node in enumerate(mesh.nodes):
            write_log(node.root / "app.log", LOG_BYTES, seed=number)
        report.say(f"{kind.title}: formed in {mesh.form():.1f} s; settling")
        time.sleep(SETTLE_S)
        before = look(mesh)
        report.say(f"{kind.title}: watching for {seconds:g} s")
        time.sleep(seconds)
        after = look(mesh)
        return cost(mesh, before, after)


def cost(mesh: Mesh, before: Look, after: Look) -> dict[str, object]:
    """What a node cost between two looks, as a row of a table."""
    took_s, n = after.at - before.at, len(mesh.nodes)
    cpu_pct = [100 * (after.cpu_s[name] - before.cpu_s[name]) / took_s for name in before.cpu_s]
    messages = None if before.messages is None or after.messages is None else after.messages - before.messages

    def memory_mb(key: str, of: Callable[[list[float]], float | None]) -> float:
        return round(of([_memory_mb(node, key) for node in mesh.nodes]) or 0.0, 1)

    return {
        "daemon": mesh.kind.title,
        "CPU %, mean": round(sum(cpu_pct) / n, 2),
        "CPU %, max": round(max(cpu_pct), 2),
        "RSS MB": memory_mb("Rss", median),
        "RSS MB, max": memory_mb("Rss", lambda all_mb: percentile(all_mb, 100)),
        "PSS MB": memory_mb("Pss", median),
        "messages/s": None if messages is None else round(messages / took_s / n, 2),
        "packets/s": round((after.packets - before.packets) / took_s / n, 2),
        "bytes/s": round((after.sent_bytes - before.sent_bytes) / took_s / n),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--n", type=int, default=20, help="daemons (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=30.0, help="to watch each mesh (default: %(default)g)")
    chosen = parser.parse_args()
    report = Report("bench_idle", "what a daemon costs while nobody asks")
    if not private_loopback():
        report.note("no network namespace of our own: packets and messages are the whole machine's")
    rows = [measure(VARLOGD, chosen.n, chosen.seconds, report)]
    try:
        rows.append(measure(serf(), chosen.n, chosen.seconds, report))
    except Skip as skip:
        report.skip("Serf", str(skip))
    report.show("idle", f"One idle daemon of {chosen.n}, over {chosen.seconds:g} s", rows)
    report.close()


if __name__ == "__main__":
    main()
