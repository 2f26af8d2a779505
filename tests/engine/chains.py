"""Real logs laid out as rotation chains on three hosts, and what is in them by another reckoning than varlogd's.

The lines are those of loghub, with CRLF line ends and all. Which line has which time is told here by `strptime`, with
the one format that each log has; the order of an answer by sorting all lines; what matches by `re` or GNU grep.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LOGHUB = Path(__file__).parents[2].parent / "shared" / "data" / "loghub"

PACK: Mapping[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd.compress,
}

NUMBERED = (".4.gz", ".3.gz", ".2.gz", ".1", "")
"""`delaycompress`: the newest that was rotated is plain."""

DATED = ("-20250101.bz2", "-20250102.xz", "-20250103.zst", "-20250104.gz", "-20250105", "")
"""`dateext`, after years in which everybody packed in another way."""

HOURLY = ("-2025010101.zst", "-2025010102.zst", "")


@dataclass(frozen=True)
class Line:
    """One line: where it stands, when it was written, and its bytes without the line end.

    ``number`` counts the lines of the stream, ``part`` the files of its chain, both from the oldest."""

    time_ns: int
    host: str
    stream: str
    number: int
    part: int
    text: bytes

    @property
    def shown(self) -> bytes:
        """As `varlog` shows it in a pipe."""
        return b"%s:%s: %s" % (self.host.encode(), self.stream.encode(), self.text)


@dataclass(frozen=True)
class Log:
    """One log: its stream's name, whose lines it has, what its times look like (and where), how it is rotated.
    ``year``: of a log that does not say. ``mixed``: lines of several nodes one after the other, put in order here."""

    stream: str
    file: str
    stamp: str
    suffixes: tuple[str, ...]
    fields: tuple[int, int] = (0, 2)
    year: int | None = None
    mixed: bool = False


@dataclass(frozen=True)
class Host:
    """A host to be: ``zone`` is that of the times in its logs."""

    name: str
    zone: str
    role: str
    logs: tuple[Log, ...]


HOSTS = (
    Host(
        "web1", "UTC", "web",
        (
            Log("apache/error.log", "Apache", "[%a %b %d %H:%M:%S %Y]", NUMBERED, (0, 5)),
            Log("auth.log", "OpenSSH", "%b %d %H:%M:%S", DATED, (0, 3), 2015),
        ),
    ),
    Host(
        "db1", "America/New_York", "db",
        (
            Log("syslog", "Linux", "%b %d %H:%M:%S", NUMBERED, (0, 3), 2005),
            Log("zookeeper/zk.log", "Zookeeper", "%Y-%m-%d %H:%M:%S,%f", DATED, mixed=True),
        ),
    ),
    Host(
        "app1", "Europe/Berlin", "app",
        (
            Log("hadoop/hdfs.log", "HDFS", "%y%m%d %H%M%S", NUMBERED),
            Log("hadoop/yarn.log", "Hadoop", "%Y-%m-%d %H:%M:%S,%f", HOURLY),
            Log("nova-api.log", "OpenStack", "%Y-%m-%d %H:%M:%S.%f", (".1", ""), (1, 3)),
            Log("spark.log", "Spark", "%y/%m/%d %H:%M:%S", DATED),
        ),
    ),
)  # fmt: skip


def lay_out(host: Host, root: Path) -> list[Line]:
    """Write a host's logs below ``root``, each file last changed when its last line was written; all lines."""
    return [line for log in host.logs for line in _written(host, log, root)]


def _written(host: Host, log: Log, root: Path) -> Iterator[Line]:
    zone = ZoneInfo(host.zone)
    lines = (LOGHUB / f"{log.file}_2k.log").read_bytes().removesuffix(b"\n").split(b"\n")
    if log.mixed:
        lines.sort(key=lambda line: _time_ns(line, log, zone))
    path = root / log.stream
    path.parent.mkdir(parents=True, exist_ok=True)
    share = -(-len(lines) // len(log.suffixes))
    for part, suffix in enumerate(log.suffixes):
        first = part * share
        mine = lines[first : first + share]
        times = [_time_ns(each, log, zone) for each in mine]
        for number, (time_ns, each) in enumerate(zip(times, mine, strict=True), first):
            yield Line(time_ns, host.name, log.stream, number, part, each.removesuffix(b"\r"))
        end = b"\n" if suffix else b""  # what is being written to has none, as loghub has it
        _write(path.with_name(path.name + suffix), b"\n".join(mine) + end, times[-1])


def _write(path: Path, text: bytes, time_ns: int) -> None:
    path.write_bytes(PACK.get(path.suffix, bytes)(text))
    os.utime(path, ns=(time_ns, time_ns))


def _time_ns(line: bytes, log: Log, zone: tzinfo) -> int:
    stamp = " ".join(line.decode("utf-8", "replace").split(None, 8)[slice(*log.fields)])
    if log.year is None:
        moment = datetime.strptime(stamp, log.stamp)
    else:
        moment = datetime.strptime(f"{log.year} {stamp}", f"%Y {log.stamp}")
    moment = moment.replace(tzinfo=zone)
    return round(moment.timestamp() * 1_000_000) * 1000


def in_order(lines: Sequence[Line], *, newest_first: bool = False) -> list[Line]:
    """The order of an answer: by time, and among equals by host, stream and position."""
    return sorted(lines, key=lambda line: (line.time_ns, line.host, line.stream, line.number), reverse=newest_first)
