"""Containers' logs, through a scan."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tests.logs.hosts import OLDEST, at_ns, scanned
from varlogd.wire.query import LineFilter, Query

pytestmark = pytest.mark.usefixtures("nothing_left_open")


def test_containers_logs_are_unwrapped(tmp_path: Path) -> None:
    pod = "pods/shop_cart-0_0123-45/app"
    (tmp_path / pod).mkdir(parents=True)
    rotated = tmp_path / pod / "0.log.20260101-000002.gz"
    rotated.write_bytes(gzip.compress(b"2026-01-01T00:00:01.5Z stdout F first\n"))
    (tmp_path / pod / "0.log").write_text(
        "2026-01-01T00:00:02.000000007Z stdout P at the \n2026-01-01T00:00:02.1Z stdout F door\n"
        "2026-01-01T00:00:03+01:00 stderr F an hour before\n"
    )
    rows, scan = scanned(tmp_path, OLDEST)
    assert [(row.time, row.line) for row in rows][-2:] == [
        (at_ns(1.5), b"first"),
        (at_ns(2) + 7, b"at the door"),
    ]
    assert (len(rows), scan.truncated) == (3, "")
    found, _ = scanned(tmp_path, Query(filters=(LineFilter("|=", ("the door",)),), start_ns=at_ns(2)))
    assert [row.line for row in found] == [b"at the door"]
    wrapping, _ = scanned(tmp_path, Query(filters=(LineFilter("|=", ("stdout",)),)))
    assert wrapping == []
