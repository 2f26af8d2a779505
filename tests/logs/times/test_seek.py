"""Seeking by time, beside reading everything."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from random import Random
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.logs.hosts import at_ns, line
from tests.logs.texts import Bytes, Made
from varlogd.logs.times.seek import DISORDER_MAX_BYTES, READS_MAX, RESOLUTION_BYTES, Sought, TimeSeek
from varlogd.logs.times.timing import FileTimes
from varlogd.wire.limits import KIB, MIB

MTIME_NS = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp()) * 10**9
DISORDER = 1 * KIB
"""What the small texts here have of it."""


def seek_in(text: Bytes | Made) -> TimeSeek:
    return TimeSeek(text, FileTimes(text, UTC, MTIME_NS))


def small(data: bytes, bound_ns: int) -> Sought:
    """Sought with bounds that are as small as the text."""
    with (
        patch.multiple("varlogd.logs.times.probe", PROBE_BYTES=256, STEPS_MAX=3),
        patch.multiple("varlogd.logs.times.seek", PROBE_BYTES=256, DISORDER_MAX_BYTES=DISORDER, RESOLUTION_BYTES=256),
    ):
        return seek_in(Bytes(data)).sought(bound_ns)


def dated(data: bytes, start: int, end: int) -> Iterator[tuple[int, int | None]]:
    """Where each line between two places begins, and its time, or that of the line above: by reading everything."""
    times = FileTimes(Bytes(data), UTC, MTIME_NS)
    above = None
    at = start
    for text in data[start:end].splitlines(keepends=True):
        above = times.of(text) or above
        yield at, above
        at += len(text)


def in_range(data: bytes, part: tuple[int, int], low_ns: int, high_ns: int) -> list[int]:
    return [at for at, time in dated(data, *part) if time is not None and low_ns <= time < high_ns]


@pytest.mark.parametrize("share", [0, 0.0001, 0.3, 0.5, 0.77, 0.99999, 1])
def test_few_small_reads_find_a_bound_in_a_gigabyte(share: float) -> None:
    text = Made(1024 * MIB)
    wanted = int((text.count - 1) * share)
    found = seek_in(text).sought(at_ns(wanted / 100))
    assert not found.why
    assert found.reads == len(text.reads) <= READS_MAX
    assert max(text.reads) <= 16 * KIB
    assert found.low <= wanted * text.width <= found.high
    assert found.high - found.low <= 2 * DISORDER_MAX_BYTES + RESOLUTION_BYTES + 32 * KIB


def test_a_second_bound_uses_what_the_first_has_seen() -> None:
    text = Made(1024 * MIB)
    seek = seek_in(text)
    first = seek.sought(at_ns(text.count // 2 / 100))
    second = seek.sought(at_ns((text.count // 2 + 100) / 100))
    assert second.reads < first.reads // 2


@pytest.mark.parametrize(("seconds", "low", "high"), [(-1, 0, DISORDER_MAX_BYTES), (10**8, -DISORDER_MAX_BYTES, 0)])
def test_bounds_beyond_the_text(seconds: int, low: int, high: int) -> None:
    text = Made(64 * MIB)
    found = seek_in(text).sought(at_ns(seconds))
    assert abs(found.low - (low % text.size_bytes)) <= 16 * KIB
    assert abs(found.high - (high or text.size_bytes)) <= 16 * KIB


def test_an_empty_text_and_one_without_times() -> None:
    assert seek_in(Bytes(b"")).sought(at_ns(0)) == Sought(0, 0, 0)
    plain = Bytes(b"no time in this line\n" * 20_000)
    found = seek_in(plain).sought(at_ns(0))
    assert found == Sought(0, plain.size_bytes, plain.reads, "no line with a time was found in it")
    assert plain.reads <= READS_MAX


def test_a_clock_set_back_is_read_in_full() -> None:
    lines = [line(second, "x" * 100) for second in (*range(20_000), *range(10_000, 30_000))]
    data = "".join(lines).encode()
    found = seek_in(Bytes(data)).sought(at_ns(25_000))
    assert (found.low, found.high) == (0, len(data))
    assert "step back" in found.why


def test_a_stretch_without_times_costs_precision_only() -> None:
    data = "".join(line(second) for second in range(50_000)).encode()
    hole = b"no time in this line\n" * 200_000
    middle = data.index(b"\n", len(data) // 2) + 1
    whole = data[:middle] + hole + data[middle:]
    times = list(dated(whole, 0, len(whole)))
    for seconds in (1000, 24_000, 26_000, 49_000):
        found = seek_in(Bytes(whole)).sought(at_ns(seconds))
        assert not found.why
        assert found.reads <= READS_MAX
        wanted = next(at for at, time in times if time is not None and time >= at_ns(seconds))
        read_from = next(at for at, time in dated(whole, found.low, len(whole)) if time is not None)
        assert read_from <= wanted


def test_a_weak_format_is_learned_from_what_the_search_reads() -> None:
    data = b"".join(b'{"n":%d,"ts":%d}\n' % (number, 1_700_000_000 + number) for number in range(100_000))
    text = Bytes(data)
    found = seek_in(text).sought(1_700_050_000 * 10**9)
    assert not found.why
    assert text.reads <= READS_MAX
    assert found.low < data.index(b'{"n":50000') < found.high
    assert found.high - found.low < MIB


def test_many_long_stack_traces_do_not_cost_more_reads() -> None:
    trace = b"\tat some.where(Some.java:1)\n" * 6000
    data = b"".join(line(second).encode() + trace for second in range(200))
    for seconds in range(0, 200, 7):
        text = Bytes(data)
        found = seek_in(text).sought(at_ns(seconds))
        assert not found.why
        assert found.reads == text.reads <= READS_MAX
        assert found.low <= seconds * len(data) // 200 <= found.high
        assert found.high - found.low < len(data) // 2


def entries(random: Random) -> list[tuple[int, bytes]]:
    """Entries of all kinds with rising times: with and without more lines, long ones, CRLF, blank lines."""
    made, second = [], 0.0
    for number in range(random.randrange(1, 400)):
        second += random.choice([0, 0, 0.001, 1, 1, 1, 60, 3600])
        text = line(second, f"{number} " + "x" * random.choice([0, 10, 40, 40, 90])).encode()
        more = random.choices([0, 1, 5, 60, 300], [60, 20, 5, 0.3, 0.2])[0]
        text += b"\tat some.where(Some.java:%d)\n" % number * more
        if random.random() < 0.01:
            text += b"y" * random.randrange(6000) + b"\n"
        if random.random() < 0.1:
            text += b"\n"
        if random.random() < 0.2:
            text = text.replace(b"\n", b"\r\n")
        made.append((at_ns(second), text))
    return made


def is_within(made: list[tuple[int, bytes]], disorder_bytes: int) -> bool:
    """Whether no two entries that are so far apart are in the wrong order."""
    offset, places = 0, []
    for time, text in made:
        places.append((offset, time))
        offset += len(text)
    return all(
        some[1] <= later[1]
        for number, some in enumerate(places)
        for later in places[number + 1 :]
        if later[0] - some[0] >= disorder_bytes
    )


def disordered(made: list[tuple[int, bytes]], random: Random) -> list[tuple[int, bytes]]:
    """Some entries moved back by up to eight places, or as many as keep them within the bound."""
    for places in (8, 4, 2):
        keys = [number + random.uniform(0, places) * (random.random() < 0.2) for number in range(len(made))]
        shuffled = [entry for _, entry in sorted(zip(keys, made, strict=True), key=lambda pair: pair[0])]
        if is_within(shuffled, DISORDER):
            return shuffled
    return made


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2**32))
def test_what_is_sought_is_what_reading_everything_finds(seed: int) -> None:
    random = Random(seed)
    made = disordered(entries(random), random)
    head = b"above the first time\n" * random.choice([0, 0, 3, 100])
    data = head + b"".join(text for _, text in made)
    if random.random() < 0.5:
        data = data.removesuffix(b"\n")
    low_ns, high_ns = sorted(random.choice(made)[0] + random.choice([-1, 0, 1]) for _ in range(2))
    start, end = small(data, low_ns), small(data, high_ns)
    for found in (start, end):  # the small probes of this test may all meet the long beginning and the long lines
        assert found.why in ("", "no line with a time was found in it")
        assert not found.why or (found.low, found.high) == (0, len(data))
    part = (start.low, end.high)
    assert in_range(data, part, low_ns, high_ns) == in_range(data, (0, len(data)), low_ns, high_ns)
    for place in (start.low, end.high):
        assert place in (0, len(data)) or data[place - 1 : place] == b"\n"


def test_the_disorder_here_is_real() -> None:
    """The texts above do have lines out of order, or the test of them would show little."""
    out_of_order = 0
    for seed in range(50):
        random = Random(seed)
        made = disordered(entries(random), random)
        out_of_order += any(some[0] > later[0] for some, later in pairwise(made))
    assert out_of_order > 20
