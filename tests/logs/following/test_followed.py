"""One file that is followed: what becomes of it while it is read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.logs.hosts import logs_of
from varlogd.logs.following.follow import Follow
from varlogd.query.block import rows_of
from varlogd.wire.limits import LINE_MAX_BYTES
from varlogd.wire.query import Query

LINES = 3 * LINE_MAX_BYTES // 64
"""Of 64 bytes: so many that a file of them is read in several reads."""


def lines_of(run: str) -> list[bytes]:
    return [f"2026-01-01T00:00:00Z {run} {number:06} {'x' * 80}"[:63].encode() for number in range(LINES)]


def text_of(run: str) -> bytes:
    return b"".join(line + b"\n" for line in lines_of(run))


class Rotating:
    """Copies and truncates a log as soon as something of it was read, and writes as much again at once."""

    def __init__(self, log: Path) -> None:
        self.follow: Follow | None = None
        self._log = log
        self._done = False

    def __call__(self) -> None:
        if self.follow is not None and self.follow.bytes_scanned and not self._done:
            self._done = True
            shutil.copy(self._log, f"{self._log}.1")
            self._log.write_bytes(text_of("second"))


@pytest.mark.usefixtures("nothing_left_open")
def test_a_file_truncated_and_as_long_again_before_it_is_read_on(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.touch()
    rotating = Rotating(log)
    follow = rotating.follow = Follow(logs_of(tmp_path), Query(), rotating)
    try:
        log.write_bytes(text_of("first"))
        news = [follow.poll(float(now)) for now in range(4)]
    finally:
        follow.close()
    rows = [row.line for each in news for block in each.blocks for row in rows_of(block)]
    assert rows == [*lines_of("first"), *lines_of("second")]
    assert [notice.event for each in news for notice in each.notices] == ["lost"]
