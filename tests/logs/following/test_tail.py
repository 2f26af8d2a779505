"""A stream that is truncated again and again while what was written before is still being read."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.logs.hosts import logs_of
from varlogd.logs.following.follow import POLL_BYTES, Follow, News
from varlogd.query.block import rows_of
from varlogd.wire.query import Query

LONG = 2 * POLL_BYTES // 40
"""So many lines that they take more than one poll."""


def lines_of(run: str, count: int) -> list[bytes]:
    return [f"2026-01-01T00:00:00Z {run} {number:06} {'x' * 40}".encode() for number in range(count)]


def write(log: Path, lines: list[bytes]) -> None:
    with log.open("ab") as out:
        out.writelines(line + b"\n" for line in lines)


def copy_and_truncate(log: Path, copies: int) -> None:
    """As logrotate does it: ``copies`` there are already."""
    for number in range(copies, 0, -1):
        Path(f"{log}.{number}").rename(f"{log}.{number + 1}")
    shutil.copy(log, f"{log}.1")
    log.write_bytes(b"")


def given(news: News) -> list[bytes]:
    return [row.line for block in news.blocks for row in rows_of(block)]


@pytest.mark.usefixtures("nothing_left_open")
def test_copies_that_were_made_before_a_file_was_read_are_not_left_out(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.touch()
    wanted = {run: lines_of(run, count) for run, count in (("one", LONG), ("two", 20), ("three", 30), ("four", 10))}
    follow = Follow(logs_of(tmp_path), Query(), lambda: None)
    try:
        write(log, wanted["one"][:100])
        rows = given(follow.poll(0.0))
        write(log, wanted["one"][100:])
        copy_and_truncate(log, 0)
        write(log, wanted["two"])
        first = follow.poll(2.0)
        assert first.more, "the copy is not read to its end"
        copy_and_truncate(log, 1)
        write(log, wanted["three"])
        news = [first]
        while news[-1].more:
            news.append(follow.poll(2.1))
        copy_and_truncate(log, 2)
        write(log, wanted["four"])
        news += [follow.poll(float(now)) for now in range(4, 8)]
    finally:
        follow.close()
    rows += [row for each in news for row in given(each)]
    assert Counter(rows) == Counter(line for lines in wanted.values() for line in lines)
