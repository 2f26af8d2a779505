"""A host's logs made for a test, and scanned."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

from varlogd.logs.scan import HostLogs, Scan
from varlogd.query.block import Row, rows_of
from varlogd.wire.query import Query

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
NEWEST = Query()
OLDEST = Query(direction="oldest_first")


def at_ns(seconds: float) -> int:
    """A time, in seconds since `EPOCH`."""
    return int(EPOCH.timestamp()) * 10**9 + round(seconds * 10**6) * 1000


def line(seconds: float, text: str = "x") -> str:
    """A line of a log, written at that time."""
    return f"{(EPOCH + timedelta(seconds=seconds)).strftime('%Y-%m-%dT%H:%M:%S.%fZ')} {text}\n"


def make(root: Path, *names: str) -> None:
    """Files below ``root``, each with its name as its only line."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name + "\n")


def logs_of(root: Path) -> HostLogs:
    """The logs under ``root`` of a host called web1."""
    return HostLogs("web1", {"role": "web"}, [root], zone=UTC)


def scanned(root: Path, query: Query = NEWEST) -> tuple[list[Row], Scan]:
    """All rows, and the scan they came out of."""
    with logs_of(root).scan(query, lambda: None) as scan:
        return [row for block in scan if block is not None for row in rows_of(block)], scan


def first_block(scan: Scan) -> list[Row]:
    """The rows of the first block."""
    block = None
    while block is None:
        block = next(scan)
    return rows_of(block)


@contextmanager
def chunks_of(size: int | None) -> Iterator[None]:
    """Have chunks of ``size`` bytes, however many streams there are."""
    with ExitStack() as stack:
        if size is not None:
            for name in ("sources.CHUNK_MIN_BYTES", "stream.CHUNK_FIRST_BYTES", "times.timing.CHUNK_FIRST_BYTES"):
                stack.enter_context(mock.patch(f"varlogd.logs.{name}", size))
            stack.enter_context(mock.patch("varlogd.logs.sources.HELD_MAX_BYTES", 1))
        yield
