"""Following a journal that is written to: history and what is live have all of it, and nothing twice."""

from __future__ import annotations

import stat
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.logs.journals import Live, live_journal, logs_of
from varlogd.errors import QueryError
from varlogd.logs.following.follow import Follow
from varlogd.logs.journal.journalctl import Journalctl
from varlogd.query.block import Row, rows_of
from varlogd.wire.query import LineFilter, Notice, Place, Query

WAIT_S = 10.0
"""Longer than anything here takes on a loaded machine."""


@pytest.fixture
def live() -> Iterator[Live]:
    with live_journal() as made:
        yield made


def polled_until(follow: Follow, count: int) -> tuple[list[Row], list[Notice]]:
    """What polling gives, until it is so many rows."""
    rows: list[Row] = []
    notices: list[Notice] = []
    deadline = time.monotonic() + WAIT_S
    while len(rows) < count and time.monotonic() < deadline:
        news = follow.poll(time.monotonic())
        rows += [row for block in news.blocks for row in rows_of(block)]
        notices += news.notices
        if not news.more:
            time.sleep(0.005)
    return rows, notices


def history(follow: Follow) -> list[bytes]:
    with follow.history() as scan:
        return [row.line.partition(b": ")[2] for block in scan if block is not None for row in rows_of(block)]


def text_of(rows: list[Row]) -> list[str]:
    return [row.line.decode().partition(": ")[2] for row in rows]


APP = (LineFilter("|~", ("^(app|python)",)),)


def test_history_then_live_without_a_gap_or_a_repeat(live: Live) -> None:
    logs = logs_of(Journalctl(directory=live.wait_ready()))
    for number in range(50):
        live.write(f"old {number}")
    live.wait_taken("old 49")
    with closing(Follow(logs, Query(limit=1000, filters=APP), lambda: None)) as follow:
        for number in range(50):
            live.write(f"new {number}")
        before = [text.decode() for text in reversed(history(follow))]
        live.write("the last, with Authorization: Bearer abc")
        rows, notices = polled_until(follow, 101 - len(before))
        assert before + text_of(rows) == [
            *(f"old {number}" for number in range(50)),
            *(f"new {number}" for number in range(50)),
            "the last, with Authorization: Bearer ***",
        ]
        assert notices == []
        assert {row.stream for row in rows} == {"journal/other"}
        places = follow.places()
    live.write("while nobody followed")
    with closing(Follow(logs, Query(filters=APP), lambda: None, places)) as follow:
        live.write("and then")
        assert text_of(polled_until(follow, 2)[0]) == ["while nobody followed", "and then"]


def program(tmp_path: Path, script: str) -> Journalctl:
    path = tmp_path / "journalctl"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return Journalctl(str(path), tmp_path)


def test_a_journalctl_that_ends_is_told_and_started_again_behind_what_was_read(tmp_path: Path) -> None:
    """It writes the number of its run, and the cursor that it is to begin behind."""
    numbering = "0" * 31 + "a"
    script = f"""
        case "$*" in *--lines=1*) exit 0;; esac
        echo run >> {tmp_path}/runs
        run=$(wc -l < {tmp_path}/runs)
        for word in "$@"; do case $word in --after-cursor=*) behind=$word;; esac; done
        printf 'MESSAGE=%s %s\\n__REALTIME_TIMESTAMP=%s000000\\n__CURSOR=s={numbering};i=%s\\n\\n' \\
            "$run" "$behind" "$run" "$run"
        echo oh no >&2
    """
    follow = Follow(logs_of(program(tmp_path, script)), Query(), lambda: None)
    with closing(follow):
        assert history(follow) == []
        rows, notices = polled_until(follow, 1)
        deadline = time.monotonic() + WAIT_S
        while not notices and time.monotonic() < deadline:
            notices += follow.poll(time.monotonic()).notices
        assert [row.line for row in rows] == [b"1 "]
        assert [(notice.event, notice.stream) for notice in notices] == [("lost", "journal/")]
        assert "oh no" in notices[0].why
        assert follow.poll(time.monotonic()).blocks == []  # not at once
        later = time.monotonic() + 2
        news = follow.poll(later)
        while not news.blocks and time.monotonic() < deadline:
            news = follow.poll(later)
        assert [row.line for row in rows_of(news.blocks[0])] == [
            f"2 --after-cursor=s={numbering};i=1;t=f4240".encode()
        ]
        assert follow.places() == [Place(key=2 * 10**9, stream="journal/", file=numbering, offset=3)]


@pytest.mark.parametrize("file", ["x", "--output=json", "0" * 33, "0" * 31 + ";"])
def test_only_a_place_of_the_journals_is_handed_to_journalctl(tmp_path: Path, file: str) -> None:
    place = Place(key=0, stream="journal/", file=file, offset=1)
    with pytest.raises(QueryError):
        Follow(logs_of(program(tmp_path, "exit 0")), Query(), lambda: None, [place])
