"""Formats by configuration."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varlogd.errors import QueryError
from varlogd.logs.times.timestamps import Timestamps
from varlogd.logs.times.written import FORMAT_MAX_CHARS, WrittenFormats, check_format

MTIME_NS = int(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()) * 10**9


def ns(*parts: int, fraction_ns: int = 0, zone: timezone = UTC) -> int:
    return int(datetime(*parts, tzinfo=zone).timestamp()) * 10**9 + fraction_ns  # type: ignore[arg-type, misc]


def read(written: str, line: bytes) -> int | None:
    check_format(written)
    return Timestamps(UTC, MTIME_NS, written).of(line)


@pytest.mark.parametrize(
    ("written", "line", "expected"),
    [
        ("%d.%m.%Y %H:%M:%S", b"22.11.2026 10:00:05 x", ns(2026, 11, 22, 10, 0, 5)),
        ("%d.%m.%Y %H:%M:%S,%f", b"22.11.2026 10:00:05,25 x", ns(2026, 11, 22, 10, 0, 5, fraction_ns=250_000_000)),
        ("%m/%d/%Y %I:%M:%S %p", b"11/22/2026 12:30:00 AM x", ns(2026, 11, 22, 0, 30)),
        ("%m/%d/%Y %I:%M:%S %p", b"11/22/2026 12:30:00 pm x", ns(2026, 11, 22, 12, 30)),
        ("%m/%d/%y %I:%M %p", b"1/2/26  3:04 PM x", ns(2026, 1, 2, 15, 4)),
        ("[%b %e %H:%M:%S.%f %Y]", b"[Nov  2 10:00:05.000001 2026] x", ns(2026, 11, 2, 10, 0, 5, fraction_ns=1000)),
        ("%A, %d %B %Y %T", b"Sunday, 22 November 2026 10:00:05", ns(2026, 11, 22, 10, 0, 5)),
        ("%a %d %b %F", b"", None),
        ("%Y%j %H%M%S", b"2026326 100005 x", ns(2026, 11, 22, 10, 0, 5)),
        ("%F %T.%L", b"2026-11-22 10:00:05.123456", None),
        ("%F %T.%3f", b"2026-11-22 10:00:05.123 x", ns(2026, 11, 22, 10, 0, 5, fraction_ns=123_000_000)),
        ("%F %T.%N%z", b"2026-11-22 10:00:05.123456789+01:00", ns(2026, 11, 22, 9, 0, 5, fraction_ns=123_456_789)),
        ("%F %T %Z", b"2026-11-22 10:00:05 UTC x", ns(2026, 11, 22, 10, 0, 5)),
        ("%F %T %Z", b"2026-11-22 10:00:05 CET x", ns(2026, 11, 22, 10, 0, 5)),
        ("%s", b"1700000000 x", 1_700_000_000 * 10**9),
        ("@%s.%f:", b"@1700000000.5: x", 1_700_000_000_500_000_000),
        ("%%%d/%m %R", b"%22/11 10:05 x", ns(2026, 11, 22, 10, 5)),
        ("%d/%m %H:%M", b"23/12 10:05 of the year before", ns(2025, 12, 23, 10, 5)),
        ("*%d.%m.%Y %H:%M:%S", b"host app[1]: 22.11.2026 10:00:05 x", ns(2026, 11, 22, 10, 0, 5)),
        ("*%d.%m.%Y %H:%M:%S", b"22.11.2026 10:00:05 x", ns(2026, 11, 22, 10, 0, 5)),
        ("*%d.%m.%Y %H:%M:%S", b"\tat 22.11.2026 10:00:05 x", None),
        ("%d.%m.%Y %H:%M:%S", b"x 22.11.2026 10:00:05", None),
        ("%d.%m.%Y %H:%M:%S", b"32.11.2026 10:00:05", None),
        ("%d.%m.%Y %H:%M:%S", b"22.11.2026 25:00:05", None),
        ("%I:%M %p %d %m", b"13:00 PM 22 11", None),
        ("%Y%j %H%M", b"2026366 1000", None),
    ],
)
def test_a_format_by_configuration(written: str, line: bytes, expected: int | None) -> None:
    if written == "%a %d %b %F":
        with pytest.raises(ValueError, match="twice"):
            check_format(written)
        return
    assert read(written, line) == expected


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("", "1 to"),
        ("%Y" * FORMAT_MAX_CHARS, "1 to"),
        ("%Y-%m-%d", "no hour and minute"),
        ("%H:%M:%S", "no day and month"),
        ("%Y %d %H:%M", "no day and month"),
        ("%j %H:%M", "no day and month"),
        ("%m-%d %I:%M", "no hour and minute"),
        ("%m-%d %H:%M %Q", "%Q is not supported"),
        ("%m-%d %H:%M %c", "%c is not supported"),
        ("%m-%d %H:%M %", "single %"),
        ("%m-%d %m %H:%M", "same directive twice"),
        ("%m-%d %H:%M:%S.%f %f", "two fractions"),
        ("%s %Y", "cannot stand with"),
    ],
)
def test_what_is_no_format_is_refused_with_a_reason(written: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_format(written)


def test_no_other_format_is_tried() -> None:
    times = Timestamps(UTC, MTIME_NS, "%d.%m.%Y %H:%M")
    assert times.of(b"2026-11-22T10:00:00Z") is None
    assert not times.learn([b"2026-11-22T10:00:00Z", b"081109 203615 x"])
    assert times.learn([b"22.11.2026 10:00 x"])


def test_of_several_globs_that_match_a_stream_the_first_counts() -> None:
    formats = WrittenFormats({"/var/log/app/*.log": "%d.%m.%Y %H:%M", "/var/log/**": "%s"})
    assert formats.of("/var/log/app/x.log") == "%d.%m.%Y %H:%M"
    assert formats.of("/var/log/app/deep/x.log") == "%s"
    assert formats.of("/srv/x.log") is None
    with pytest.raises(ValueError, match="no hour"):
        WrittenFormats({"*": "%Y-%m-%d"})
    with pytest.raises(QueryError):
        WrittenFormats({"[é]": "%s"})


def test_many_lines_at_once() -> None:
    lines = [f"{day:02d}.11.2026 10:00:05,{day:03d} x".encode() for day in range(1, 29)] * 3 + [b"", b"\tat x"]
    times = Timestamps(UTC, MTIME_NS, "%d.%m.%Y %H:%M:%S,%f")
    assert times.of_lines(lines) == list(map(times.of, lines))
    assert times.of_lines(lines)[0] == ns(2026, 11, 1, 10, 0, 5, fraction_ns=1_000_000)


@settings(deadline=None)
@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)),
    st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
    st.sampled_from(
        ["%d.%m.%Y %H:%M:%S.%f %z", "%a %d %b %Y %I:%M:%S.%f %p %z", "%j/%Y %T.%6f%z", "%B %d, %Y %T %z %f"]
    ),
)
def test_what_strftime_writes_is_read(moment: datetime, zone: timezone, written: str) -> None:
    moment = moment.replace(tzinfo=zone)
    line = moment.strftime(written.replace("%6f", "%f")).encode() + b" x"
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    assert read(written, line) == ((since.days * 86_400 + since.seconds) * 10**6 + since.microseconds) * 1000


@settings(deadline=None)
@given(st.text(max_size=30), st.binary(max_size=60))
def test_any_text_is_a_format_or_refused(written: str, line: bytes) -> None:
    try:
        check_format(written)
    except ValueError:
        return
    read(written, line)
