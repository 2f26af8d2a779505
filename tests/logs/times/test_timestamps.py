"""Times of log lines in the formats that are in the field."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varlogd.logs.times.timestamps import CACHE_MAX, HostZone, Timestamps

MTIME = datetime(2026, 11, 22, 12, tzinfo=UTC)


def ns(moment: datetime, fraction_ns: int = 0) -> int:
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000 + fraction_ns


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


def stamps(zone: timezone | ZoneInfo | HostZone = UTC, latest: datetime = MTIME) -> Timestamps:
    return Timestamps(zone, ns(latest))


STRONG = [
    (b"2026-11-22T10:00:00Z x", ns(utc(2026, 11, 22, 10))),
    (b"2026-11-22 10:00:00 x", ns(utc(2026, 11, 22, 10))),
    (b"2026-11-22  10:00:00 x", ns(utc(2026, 11, 22, 10))),
    (b"2026-11-22T10:00:00.123456789+01:00 x", ns(utc(2026, 11, 22, 9), 123456789)),
    (b"2026-11-22T10:00:00,5-0130 x", ns(utc(2026, 11, 22, 11, 30), 500_000_000)),
    (b"2026-11-22T10:00:00.1234567891111Z", ns(utc(2026, 11, 22, 10), 123456789)),
    (b"2026-11-22 10:00:00 +0200 x", ns(utc(2026, 11, 22, 8))),
    (b"2026-11-22 10:00:00 UTC [123] LOG:", ns(utc(2026, 11, 22, 10))),
    (b"2026-11-22 10:00:00.25+02 postgres", ns(utc(2026, 11, 22, 8), 250_000_000)),
    (b"2026-11-22 10:00:00,123 - root - INFO - -5 degrees", ns(utc(2026, 11, 22, 10), 123_000_000)),
    (b"2026-11-22 10:00:00 -12345 is no zone", ns(utc(2026, 11, 22, 10))),
    (b"2026-11-22 10:00:00Zebra", ns(utc(2026, 11, 22, 10))),
    (b"[2026-11-22 10:00:00.5] x", ns(utc(2026, 11, 22, 10), 500_000_000)),
    (b'"2026-11-22T10:00:00Z","x"', ns(utc(2026, 11, 22, 10))),
    (b"2026/11/22 10:00:00 [error] 12#12: nginx", ns(utc(2026, 11, 22, 10))),
    (b"2026/11/22 10:00:00.000123 main.go:5: x", ns(utc(2026, 11, 22, 10), 123_000)),
    (b"<34>1 2003-10-11T22:14:15.003Z mymachine su - ID47 - x", ns(utc(2003, 10, 11, 22, 14, 15), 3_000_000)),
    (b"Jun 14 15:16:01 combo sshd[1]: x", ns(utc(2026, 6, 14, 15, 16, 1))),
    (b"Jun  4 15:16:01 combo x", ns(utc(2026, 6, 4, 15, 16, 1))),
    (b"<13>Jun 4 15:16:01.250 combo x", ns(utc(2026, 6, 4, 15, 16, 1), 250_000_000)),
    (b"Jun 14 2005 15:16:01: %ASA-6: x", ns(utc(2005, 6, 14, 15, 16, 1))),
    (b"[Sun Dec 04 04:47:44 2005] [notice] x", ns(utc(2005, 12, 4, 4, 47, 44))),
    (b"[Sun Dec 04 04:47:44.123456 2005] [core:notice] x", ns(utc(2005, 12, 4, 4, 47, 44), 123_456_000)),
    (b"Sun Dec  4 04:47:44 2005 x", ns(utc(2005, 12, 4, 4, 47, 44))),
    (b"2016-12-31T23:59:60Z a leap second", ns(utc(2017, 1, 1))),
    (b"1969-12-31T23:59:59.5Z before the epoch", -500_000_000),
    (b"2026-11-22T10:00:00.123456789Z stdout F in a container", ns(utc(2026, 11, 22, 10), 123456789)),
    (b"20261122T100000Z x", ns(utc(2026, 11, 22, 10))),
    (b"20261122 10:00:00.5 x", ns(utc(2026, 11, 22, 10), 500_000_000)),
    (b"20171223-22:15:29:606|Step|1|x", ns(utc(2017, 12, 23, 22, 15, 29), 606_000_000)),
    (b"20171223-22:15:35:11|Step|1|x", ns(utc(2017, 12, 23, 22, 15, 35), 11_000_000)),
    (b"2016-09-28 04:30:30, Info    CBS    x", ns(utc(2016, 9, 28, 4, 30, 30))),
    (b"22 Nov 2026 10:00:00,123 [main] INFO x", ns(utc(2026, 11, 22, 10), 123_000_000)),
    (b"22-Nov-2026 10:00:00.123 INFO [main] x", ns(utc(2026, 11, 22, 10), 123_000_000)),
    (b"[22-Nov-2026 10:00:00 UTC] PHP Warning: x", ns(utc(2026, 11, 22, 10))),
    (b"[22/Nov/2026:10:00:00 +0100] cups", ns(utc(2026, 11, 22, 9))),
    (b"I1122 10:00:00.123456   12 main.go:5] x", ns(utc(2026, 11, 22, 10), 123_456_000)),
    (b"E1231 10:00:00.123456   12 main.go:5] x", ns(utc(2025, 12, 31, 10), 123_456_000)),
    (b"W20261122 10:00:00.123456 12 main.cc:5] x", ns(utc(2026, 11, 22, 10), 123_456_000)),
    (b"F1122 10:00:00.123456   12 main.go:5] x", ns(utc(2026, 11, 22, 10), 123_456_000)),
    (b"Feb  1 10:00:00 host x", ns(utc(2026, 2, 1, 10))),
]

WEAK = [
    (b"081109 203615 148 INFO dfs.DataNode: x", ns(utc(2008, 11, 9, 20, 36, 15))),
    (b"081109  3:06:15 mysqld x", ns(utc(2008, 11, 9, 3, 6, 15))),
    (b"17/06/09 20:10:40 INFO spark x", ns(utc(2017, 6, 9, 20, 10, 40))),
    (b"1700000000 x", 1_700_000_000 * 10**9),
    (b"1700000000.129    145 10.0.0.1 TCP_MISS/200 squid", 1_700_000_000_129_000_000),
    (b"1700000000123 x", 1_700_000_000_123_000_000),
    (b'1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0" 200', ns(utc(2000, 10, 10, 20, 55, 36))),
    (b'::1 host user [10/Oct/2000:13:55:36.5 +0000] "GET"', ns(utc(2000, 10, 10, 13, 55, 36), 500_000_000)),
    (b"type=SYSCALL msg=audit(1364481363.243:24287): arch", 1_364_481_363_243_000_000),
    (b'{"msg":"at 2020-01-01T00:00:00Z","time":"2026-11-22T10:00:00.5Z"}', ns(utc(2026, 11, 22, 10), 500_000_000)),
    (b'{"level": "info", "ts": 1700000000.123456, "msg": "x"}', 1_700_000_000_123_456_000),
    (b'{"@timestamp":"2026-11-22T10:00:00+01:00"}', ns(utc(2026, 11, 22, 9))),
    (b"nova-api.log.1.2017-05-16_13:53:08 2017-05-16 00:00:00.008 25746 INFO", ns(utc(2017, 5, 16), 8_000_000)),
    (b"update-alternatives 2026-11-22 10:00:00: run with", ns(utc(2026, 11, 22, 10))),
    (b"time=2026-11-22T10:00:00Z level=info", ns(utc(2026, 11, 22, 10))),
    (b'time="2026-11-22T10:00:00Z" level=info', ns(utc(2026, 11, 22, 10))),
    (b"level=info ts=2026-11-22T10:00:00.5Z caller=a.go:1", ns(utc(2026, 11, 22, 10), 500_000_000)),
    (b"lvl=info opts=2001-01-01T00:00:00Z t=2026-11-22T10:00:00+0000 x", ns(utc(2026, 11, 22, 10))),
    (b"level=info timestamp=1700000000.25 x", 1_700_000_000_250_000_000),
    (b"date=2026-11-22 time=10:00:00 devname=x", ns(utc(2026, 11, 22, 10))),
    (b"1700000000123456 x", 1_700_000_000_123_456_000),
    (b"1700000000123456789 x", 1_700_000_000_123_456_789),
    (b"1700000000123.456 x", 1_700_000_000_123_456_000),
    (b'{"t":{"$date":"2026-11-22T10:00:00.123+00:00"},"s":"I"}', ns(utc(2026, 11, 22, 10), 123_000_000)),
    (b'{"level":30,"time":1700000000123,"msg":"x"}', 1_700_000_000_123_000_000),
    (b'{"req":{"time":0.5},"time":"2026-11-22T10:00:00Z"}', ns(utc(2026, 11, 22, 10))),
    (b'{"Level":"x","Timestamp": "2026-11-22T10:00:00Z"}', ns(utc(2026, 11, 22, 10))),
    (b'{"__REALTIME_TIMESTAMP":"1700000000123456"}', 1_700_000_000_123_456_000),
    (b'{"msg":"' + b"x" * 3000 + b'","ts":1700000000.25}', 1_700_000_000_250_000_000),
    (
        b'{"log":"{\\"time\\":\\"2020-01-01T00:00:00Z\\"}\\n","stream":"stdout","time":"2026-11-22T10:00:00.5Z"}',
        ns(utc(2026, 11, 22, 10), 500_000_000),
    ),
    (b'{"created":"2020-01-01T00:00:00Z","timestamp":"2026-11-22T10:00:00Z"}', ns(utc(2026, 11, 22, 10))),
    (b'{"time_local":"22/Nov/2026:10:00:00 +0100","status":200}', ns(utc(2026, 11, 22, 9))),
    (b"INFO:2026-11-22 10:00:00,123:root:x", ns(utc(2026, 11, 22, 10), 123_000_000)),
    (b"INFO:root:2026-11-22 10:00:00,123 x", ns(utc(2026, 11, 22, 10), 123_000_000)),
    (b"WARN  2026-11-22 10:00:00,123 [main] x", ns(utc(2026, 11, 22, 10), 123_000_000)),
    (b"[GIN] 2026/11/22 - 10:00:00 | 200 |", ns(utc(2026, 11, 22, 10))),
    (b"1234:M 22 Nov 2026 10:00:00.123 * Ready", ns(utc(2026, 11, 22, 10), 123_000_000)),
    (b"[pid: 1|app: 0] 127.0.0.1 () [Sun Nov 22 10:00:00 2026] GET /", ns(utc(2026, 11, 22, 10))),
    (b"10.0.0.1:5 [22/Nov/2026:10:00:00.655] http-in", ns(utc(2026, 11, 22, 10), 655_000_000)),
    (b"03-17 16:13:38.811  1702  2395 D WindowManager: x", ns(utc(2026, 3, 17, 16, 13, 38), 811_000_000)),
    (b"[10.30 16:49:06] some.exe - proxy:5070 open", ns(utc(2026, 10, 30, 16, 49, 6))),
    (b"- 1117838570 2005.06.03 R02 2005-06-03-15.42.50.675872 R02 x", 1_117_838_570 * 10**9),
    (b"134681 node-246 unix.hw state.x 1077804742 1 x", 1_077_804_742 * 10**9),
]

NONE = [
    b"",
    b" ",
    b"\tat com.example.Main(Main.java:5)",
    b"Traceback (most recent call last):",
    b"2026-13-22 10:00:00 no such month",
    b"2026-02-30T10:00:00Z no such day",
    b"2026-11-22 25:00:00 no such hour",
    b"2026-11-22 10:00:61 no such second",
    b"Jun 31 10:00:00 no such day in any year",
    b"Junk 14 10:00:00 x",
    b"2026-11-22T10:00:00+99:00 no such zone",
    b"x" * 300 + b" 2026-11-22T10:00:00Z",
    b"7000000000 an order",
    b"3999999999 is in the future",
    b"1700000000abc is a hash",
    b"1700000000-5 is an id",
    b"192.168.100.200 GET /",
    b"2026.11.22 is a version",
    b"10.15.7-20261122 is a build",
    b"20261122 bytes read",
    b"took 10:00:00 for 123456 rows",
    b"00:11:22:33:44:55 seen",
    b"W1122 of the W series",
    b'{"offset":1700000000,"msg":"x"}',
    b'{"msg":"\\"time\\":\\"2026-11-22T10:00:00Z\\""}',
    b"\tat x.y 2026-11-22 10:00:00",
    b"    2026-11-22T10:00:00Z indented",
]


@pytest.mark.parametrize(("line", "expected"), STRONG)
def test_a_time_at_the_start_of_a_line_needs_no_learning(line: bytes, expected: int) -> None:
    assert stamps().of(line) == expected
    assert stamps().of(line) == expected


@pytest.mark.parametrize(("line", "expected"), WEAK)
def test_other_times_are_learned(line: bytes, expected: int) -> None:
    times = stamps()
    assert times.of(line) is None
    assert times.learn([line, b"\tat x", b"\tat y"])
    assert times.of(line) == expected


@pytest.mark.parametrize("line", NONE)
def test_what_is_no_time(line: bytes) -> None:
    times = stamps()
    assert times.of(line) is None
    assert not times.learn([line])


def test_a_byte_order_mark_hides_no_time() -> None:
    times, first = stamps(), b"\xef\xbb\xbf2026-11-22T10:00:00Z x"
    assert times.of(first) == ns(utc(2026, 11, 22, 10))
    assert times.of_lines([first, b"2026-11-22T10:00:01Z x"] * 20)[0] == ns(utc(2026, 11, 22, 10))
    assert times.wall(b"\xef\xbb\xbf2026-11-22 10:00:00 x") is not None
    assert times.of(b"\xef\xbb\xbf") is None
    learned = stamps()
    assert learned.learn([b"081109 203615 148 INFO x"] * 4)
    assert learned.of(b"\xef\xbb\xbf081109 203615 148 INFO x") == ns(utc(2008, 11, 9, 20, 36, 15))


def test_a_rare_mention_of_a_date_is_not_learned() -> None:
    lines = [b"nothing here"] * 8 + [b"see 2026-11-22 10:00:00 for more"]
    times = stamps()
    assert not times.learn(lines)
    assert times.of(lines[-1]) is None


def test_what_continues_an_entry_is_not_dated_by_a_learned_format() -> None:
    entry = b"INFO  2026-11-22 10:00:00,123 [main] x"
    trace = [
        b"java.lang.IllegalStateException: at 2020-01-01 00:00:00",
        b"\tat some.where(2020-01-01 00:00:00)",
        b"Caused by: x: unparsable 2020-01-01 00:00:00",
    ]
    times = stamps()
    assert times.learn([entry, *trace, entry])
    assert times.of(entry) == ns(utc(2026, 11, 22, 10), 123_000_000)
    assert [times.of(line) for line in trace] == [None] * 3


def test_a_time_in_no_fixed_field_is_learned_where_nothing_else_is() -> None:
    lines = [b"[%s] 2026-11-22 10:00:00 x" % (b"worker " * count) for count in range(8)]
    times = stamps()
    assert times.learn(lines)
    assert {times.of(line) for line in lines} == {ns(utc(2026, 11, 22, 10))}


def test_strong_times_win_where_they_are_more() -> None:
    lines = [b"2026-11-22 10:00:00 a", b"2026-11-22 10:00:01 b", b"\tat [10/Oct/2000:13:55:36 -0700]"]
    times = stamps()
    assert times.learn(lines)
    assert times.of(lines[2]) is None


def test_strong_formats_may_be_mixed_with_a_learned_one() -> None:
    access = b'1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] "GET"'
    times = stamps()
    assert times.learn([access] * 3)
    assert times.of(b"2026-11-22T10:00:00Z") == ns(utc(2026, 11, 22, 10))
    assert times.of(access) == ns(utc(2000, 10, 10, 20, 55, 36))


def test_a_line_without_a_zone_is_in_that_of_the_host() -> None:
    berlin = stamps(ZoneInfo("Europe/Berlin"))
    assert berlin.of(b"2026-07-01 12:00:00 x") == ns(utc(2026, 7, 1, 10))
    assert berlin.of(b"2026-01-01 12:00:00 x") == ns(utc(2026, 1, 1, 11))
    assert berlin.of(b"Jul  1 12:00:00 x") == ns(utc(2026, 7, 1, 10))
    assert berlin.of(b"2026-07-01 12:00:00Z") == ns(utc(2026, 7, 1, 12))


@pytest.mark.parametrize(
    ("latest", "line", "expected"),
    [
        (utc(2026, 1, 1, 0, 5), b"Dec 31 23:59:00 x", utc(2025, 12, 31, 23, 59)),
        (utc(2026, 1, 1, 0, 5), b"Jan  1 00:04:00 x", utc(2026, 1, 1, 0, 4)),
        (utc(2025, 12, 31, 23, 59), b"Jan  1 00:00:30 x", utc(2026, 1, 1, 0, 0, 30)),  # clocks differ a little
        (utc(2025, 12, 31, 23, 59), b"Jan  2 00:00:30 x", utc(2025, 1, 2, 0, 0, 30)),
        (utc(2026, 11, 22), b"Feb 29 10:00:00 x", utc(2024, 2, 29, 10)),
        (utc(2026, 11, 22, 12), b"Nov 23 11:00:00 x", utc(2026, 11, 23, 11)),
        (utc(2026, 11, 22, 12), b"Nov 23 13:00:00 x", utc(2025, 11, 23, 13)),
    ],
)
def test_the_year_is_inferred_from_the_last_change(latest: datetime, line: bytes, expected: datetime) -> None:
    assert stamps(latest=latest).of(line) == ns(expected)


def test_a_file_that_is_followed_into_the_new_year() -> None:
    times = stamps(latest=utc(2025, 12, 31, 12))
    assert times.of(b"Dec 31 12:00:00 x") == ns(utc(2025, 12, 31, 12))
    assert times.of(b"Jan  3 10:00:00 x") == ns(utc(2025, 1, 3, 10))
    assert times.of_lines([b"Jan  3 10:00:00 x"]) == [ns(utc(2025, 1, 3, 10))]
    times.changed(ns(utc(2026, 1, 3, 11)))
    assert times.of(b"Jan  3 10:00:01 x") == ns(utc(2026, 1, 3, 10, 0, 1))
    assert times.of_lines([b"Jan  3 10:00:02 x"]) == [ns(utc(2026, 1, 3, 10, 0, 2))]


def test_new_year_far_east_of_utc() -> None:
    auckland = ZoneInfo("Pacific/Auckland")
    times = stamps(auckland, datetime(2026, 1, 1, 0, 10, tzinfo=auckland))
    assert times.of(b"Jan  1 00:05:00 x") == ns(datetime(2026, 1, 1, 0, 5, tzinfo=auckland))
    assert times.of(b"Dec 31 23:55:00 x") == ns(datetime(2025, 12, 31, 23, 55, tzinfo=auckland))


def test_the_zone_of_the_host_is_that_of_the_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    try:
        monkeypatch.setenv("TZ", "EST5EDT,M3.2.0,M11.1.0")
        time.tzset()
        times = stamps(HostZone())
        assert times.of(b"2026-07-01 12:00:00 x") == ns(utc(2026, 7, 1, 16))
        assert times.of(b"2026-01-01 12:00:00 x") == ns(utc(2026, 1, 1, 17))
    finally:
        monkeypatch.undo()
        time.tzset()


@settings(deadline=None)
@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)),
    st.integers(0, 999_999_999),
    st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
def test_any_rfc_3339_time_comes_back(moment: datetime, fraction_ns: int, zone: timezone) -> None:
    moment = moment.replace(microsecond=0, tzinfo=zone)
    text = moment.isoformat()
    line = f"{text[:19]}.{fraction_ns:09d}{text[19:]} x".encode()
    assert stamps().of(line) == ns(moment, fraction_ns)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_line(line: bytes) -> None:
    times = stamps()
    times.learn([line])
    times.of(line)


STAMPS = [
    b"2026-11-22T10:00:%02d%sZ",
    b"2026-11-22 10:00:%02d%s",
    b"[2026-11-22T10:00:%02d%s+01:00]",
    b"Nov 22 10:00:%02d%s",
    b"[Sun Nov 22 10:00:%02d%s 2026]",
    b"I1122 10:00:%02d%s",
    b"081109 2036%02d%s",
    b"1.2.3.4 - - [10/Oct/2000:13:55:%02d%s -0700]",
    b'{"a":1,"time":"2026-11-22T10:00:%02d%sZ"}',
    b'{"a":1,"ts":17000000%02d%s}',
    b"level=x ts=2026-11-22T10:00:%02d%s+0100",
    b"17000000%02d%s",
    b"20171223-22:15:%02d%s",
    b"INFO:2026-11-22 10:00:%02d%s",
]
FRACTIONS = [b"", b".5", b",123", b".123", b".000001", b".123456", b".123456789", b".1234567891", b":606", b"123"]
TAILS = [
    b"",
    b" x",
    b" - x",
    b" +0200 x",
    b" -5 x",
    b" GMT",
    b" GET",
    b" UTC",
    b"Z",
    b"+02",
    b":x",
    b",1",
    b".x",
    b"|",
    b"\r",
]


def test_digits_past_the_ninth_are_no_zone() -> None:
    lines = [b"Nov 22 10:00:00.1234567891 x", b"Nov 22 10:00:00.1234567891 +0200 x"]
    times = stamps()
    assert (
        times.of_lines(lines)
        == list(map(times.of, lines))
        == [ns(utc(2026, 11, 22, hour), 123456789) for hour in (10, 8)]
    )


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_many_lines_at_once_get_what_each_gets(data: st.DataObject) -> None:
    usual = data.draw(st.tuples(*map(st.sampled_from, (STAMPS, FRACTIONS, TAILS))))
    kinds = st.tuples(*map(st.sampled_from, (STAMPS, FRACTIONS, TAILS))) | st.just(usual)
    written = st.tuples(kinds, st.integers(0, 70)).map(lambda each: each[0][0] % (each[1], each[0][1]) + each[0][2])
    cut = st.tuples(written, st.integers(0, 40)).map(lambda each: each[0][: each[1]])
    lines = data.draw(st.lists(written | written | cut | st.binary(max_size=40), max_size=30))
    times = Timestamps(ZoneInfo("Europe/Berlin"), ns(MTIME))
    times.learn([usual[0] % (1, usual[1]) + usual[2]])
    expected = [times.of(line) for line in lines]
    for _ in range(2):
        assert times.of_lines(lines) == expected
    assert [times.of(line) for line in lines] == expected


@pytest.mark.parametrize(
    "stamp",
    [
        "%Y-%m-%d %H:%M:%S,@ - x",
        "%Y-%m-%d %H:%M:%S,@ GET x",
        "%Y-%m-%dT%H:%M:%S.@+01:00 x",
        "%y%m%d %H%M%S 148 INFO x",
        "%b %d %H:%M:%S host x",
        "[%a %b %d %H:%M:%S.@ %Y] [error] x",
        '10.0.0.1 - - [%d/%b/%Y:%H:%M:%S +0100] "GET"',
        '{"level":"info","time":"%Y-%m-%dT%H:%M:%S.@Z","msg":"x"}',
    ],
)
def test_lines_of_one_layout_are_read_by_it(stamp: str) -> None:
    moments = [utc(2026, 11, 22, 10) + timedelta(milliseconds=number) for number in range(3000)]
    lines = [f"{moment:{stamp}}".replace("@", f"{moment.microsecond // 1000:03d}").encode() for moment in moments]
    times = stamps()
    times.learn(lines[:64])
    expected = [times.of(line) for line in lines]
    calls = 0

    def counted(line: bytes) -> int | None:
        nonlocal calls
        calls += 1
        return of(line)

    of, times.of = times.of, counted  # type: ignore[method-assign]
    assert times.of_lines(lines) == expected
    assert calls < 10


def test_lines_of_many_layouts_are_read_one_by_one() -> None:
    lines = [b"x" * (number % 7 + 1) + b" 2026-11-22 10:00:00 y" for number in range(3000)]
    times = stamps()
    assert times.learn(lines[:64])
    for start in range(0, 3000, 100):
        assert set(times.of_lines(lines[start : start + 100])) == {ns(utc(2026, 11, 22, 10))}
    assert times._layouts_left == 0


@given(
    st.lists(
        st.tuples(st.integers(-4000, 4000), st.sampled_from(["%b %d %H:%M:%S h", "%Y-%m-%d %H:%M:%S"])), max_size=9
    ),
    st.sampled_from([utc(2026, 10, 25, 1), utc(2026, 3, 29, 1), utc(2026, 1, 1), utc(2026, 6, 1, 12, 0, 30)]),
    st.sampled_from([0, 1, 365]),
)
def test_what_was_read_before_changes_no_time(near: list[tuple[int, str]], at: datetime, days: int) -> None:
    latest = ns(at + timedelta(days=days))
    lines = [(at + timedelta(seconds=seconds)).strftime(written).encode() for seconds, written in near]
    lines += [line[:-4] + b"60 x" for line in lines if line[-1:].isdigit()]
    times = Timestamps(ZoneInfo("Europe/Berlin"), latest)
    alone = [Timestamps(ZoneInfo("Europe/Berlin"), latest).of(line) for line in lines]
    assert times.of_lines(lines) == alone
    assert list(map(times.of, lines)) == alone


def test_the_cache_is_bounded() -> None:
    times = stamps()
    start = utc(2026, 1, 1)
    for second in range(2 * CACHE_MAX + 10):
        moment = start + timedelta(seconds=second)
        assert times.of(f"{moment:%Y-%m-%d %H:%M:%S} x".encode()) == ns(moment)
    assert len(times._cache) <= CACHE_MAX
