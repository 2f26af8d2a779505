"""Wall times that are there twice, in the night in which Berlin puts its clocks back: 2026-10-25, at 01:00 UTC."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.logs.texts import Bytes
from varlogd.logs.reader import Chunk
from varlogd.logs.times.seek import TimeSeek
from varlogd.logs.times.timestamps import HostZone, Timestamps
from varlogd.logs.times.timing import FileTimes

BACK = datetime(2026, 10, 25, 1, tzinfo=UTC)
FORWARD = datetime(2026, 3, 29, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
FORMATS = ["%Y-%m-%d %H:%M:%S", "%b %d %H:%M:%S", "%y%m%d %H%M%S"]


class Berlin(tzinfo):
    """Berlin's clock in 2026, so that the tests need no data of zones."""

    def utcoffset(self, moment: datetime | None) -> timedelta:
        assert moment is not None
        wall = moment.replace(tzinfo=None)
        begin, end = FORWARD.replace(tzinfo=None) + HOUR, BACK.replace(tzinfo=None) + 2 * HOUR
        if begin <= wall < begin + HOUR:  # the gap
            return (1 + moment.fold) * HOUR
        if end - HOUR <= wall < end:  # the fold
            return (2 - moment.fold) * HOUR
        return 2 * HOUR if begin <= wall < end else HOUR

    def dst(self, moment: datetime | None) -> timedelta | None:
        return None

    def tzname(self, moment: datetime | None) -> str:
        return "Berlin"


def wall_of(moment: datetime) -> datetime:
    return (moment + (2 if FORWARD <= moment < BACK else 1) * HOUR).replace(tzinfo=None)


def ns(moment: datetime) -> int:
    return round(moment.timestamp()) * 10**9


def log_of(moments: Iterable[datetime], stamp: str = FORMATS[0], width: int = 1) -> bytes:
    return "".join(f"{wall_of(moment).strftime(stamp)} {'x' * width}\n" for moment in moments).encode()


def times_in(data: bytes, mtime: datetime) -> FileTimes:
    times = FileTimes(Bytes(data), Berlin(), ns(mtime))
    times.learn(data.split(b"\n")[:64])
    return times


def dated(data: bytes, mtime: datetime) -> list[int | None]:
    lines = data.splitlines()
    offsets = [0]
    for line in lines:
        offsets.append(offsets[-1] + len(line) + 1)
    times = times_in(data, mtime)
    one_by_one = [times.at(offset, line) for offset, line in zip(offsets, lines, strict=False)]
    backwards = times_in(data, mtime)
    assert [backwards.at(offset, line) for offset, line in list(zip(offsets, lines, strict=False))[::-1]] == (
        one_by_one[::-1]
    )
    assert times_in(data, mtime).of_lines(offsets[:-1], lines) == one_by_one
    return one_by_one


def night(step_s: float, start: timedelta = -3 * HOUR, end: timedelta = 3 * HOUR) -> list[datetime]:
    count = int((end - start).total_seconds() / step_s)
    return [BACK + start + timedelta(seconds=int(step_s * number)) for number in range(count)]


@pytest.mark.parametrize("stamp", FORMATS)
@pytest.mark.parametrize("step_s", [3, 7, 600, 1500])
def test_the_second_pass_of_the_hour_is_an_hour_later(stamp: str, step_s: float) -> None:
    moments = night(step_s)
    assert dated(log_of(moments, stamp), moments[-1]) == [ns(moment) for moment in moments]


def test_a_file_that_begins_or_ends_in_the_fold() -> None:
    for start, end in ((0 * HOUR, 3 * HOUR), (-3 * HOUR, 0 * HOUR), (-HOUR, 0.9 * HOUR), (0.1 * HOUR, 0.9 * HOUR)):
        moments = night(10, start, end)
        assert dated(log_of(moments), moments[-1]) == [ns(moment) for moment in moments]


def test_one_pass_alone_is_told_by_its_neighbours() -> None:
    rest = night(60, -3 * HOUR, -HOUR), night(60, HOUR, 3 * HOUR)
    first, second = night(60, -HOUR, 0 * HOUR), night(60, 0 * HOUR, HOUR)
    for moments in ([*rest[0], *first[:30], *rest[1]], [*second, *rest[1]], [*rest[0], *first]):
        assert dated(log_of(moments), moments[-1]) == [ns(moment) for moment in moments]


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**32))
def test_times_rise_through_any_night(seed: int) -> None:
    random = Random(seed)
    moments, moment = [], BACK - random.uniform(1, 4) * HOUR
    while moment < BACK + random.uniform(1, 3) * HOUR:
        moments.append(moment.replace(microsecond=0))
        moment += timedelta(seconds=random.expovariate(1 / random.choice([1, 10, 10, 30])))
    found = dated(log_of(moments, width=random.choice([1, 200])), moments[-1])
    assert found == [ns(moment) for moment in moments]


def test_lines_with_a_zone_are_not_moved() -> None:
    moments = night(60)
    mixed = b"".join(log_of([moment]) + moment.strftime("%Y-%m-%dT%H:%M:%SZ y\n").encode() for moment in moments)
    assert dated(mixed, moments[-1]) == [ns(moment) for moment in moments for _ in range(2)]


@pytest.mark.parametrize("searched_hours", [-2, -0.7, -0.01, 0.5])
def test_a_file_that_is_followed_through_the_night(searched_hours: float) -> None:
    moments = night(20)
    data = log_of(moments)
    width = len(data) // len(moments)
    text = Bytes(data[: int((3 + searched_hours) * 180) * width])
    mtime = BACK + searched_hours * HOUR
    times = FileTimes(text, Berlin(), ns(mtime))
    for number, moment in enumerate(moments):
        line = data[number * width : (number + 1) * width - 1]
        if number * width >= len(text.data):
            text.data = data[: (number + 1) * width]
            times.changed(ns(moment))
        assert times.at(number * width, line) == ns(moment)


def test_chunks_and_seeking_know_the_place_in_the_file() -> None:
    moments = night(1)
    data = log_of(moments)
    width = len(data) // len(moments)
    text = Bytes(data)
    times = FileTimes(text, Berlin(), ns(moments[-1]))
    for hours in (-1.5, -0.5, 0.5, 1.5):
        number = int((3 + hours) * 3600)
        start = number * width
        part = data[start : start + 100 * width]
        chunk = Chunk(start, part)
        assert set(times.sample(chunk)) <= {ns(moment) for moment in moments[number : number + 100]}
        assert times.first_in(part, start) == ns(moments[number])
        assert times.last_in(part, 0, len(part), start) == ns(moments[number + 99])
        found = TimeSeek(text, times).sought(ns(moments[number]))
        assert not found.why
        assert found.low <= start <= found.high


def test_the_hour_that_does_not_exist_is_that_of_a_clock_not_put_forward() -> None:
    stamps = Timestamps(Berlin(), ns(BACK))
    assert stamps.of(b"2026-03-29 02:30:00 x") == ns(FORWARD + HOUR / 2)
    assert stamps.of(b"2026-03-29 01:59:59 x") == ns(FORWARD - timedelta(seconds=1))
    assert stamps.of(b"2026-03-29 03:00:00 x") == ns(FORWARD)
    assert not stamps.twice


def test_the_zone_of_the_host_has_both_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        time.tzset()
        stamps = Timestamps(HostZone(), ns(BACK))
        line = b"2026-10-25 02:30:00 x"
        assert stamps.of(line) == ns(BACK - HOUR / 2)
        assert stamps.wall(line) == (ns(BACK - HOUR / 2), ns(BACK + HOUR / 2))
        assert stamps.of(b"2026-03-29 02:30:00 x") == ns(FORWARD + HOUR / 2)
        assert len(stamps.twice) == 1
    finally:
        monkeypatch.undo()
        time.tzset()
