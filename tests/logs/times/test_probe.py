"""Small reads for lines with times."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random

import pytest

from tests.logs.hosts import at_ns, line
from tests.logs.texts import Bytes
from varlogd.logs.times.probe import PROBE_BYTES, STEPS_MAX, Line, Probe
from varlogd.logs.times.timing import FileTimes

MTIME_NS = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp()) * 10**9


def probe_of(data: bytes) -> Probe[int]:
    text = Bytes(data)
    return Probe(text, FileTimes(text, UTC, MTIME_NS).of_lines)


def made(seed: int) -> tuple[bytes, list[Line[int]]]:
    """A text, with a zone in its stamps that must not be cut off, and the lines in it that have a time."""
    random = Random(seed)
    data, lines = b"", []
    for second in range(400):
        lines.append(Line(len(data), at_ns(second)))
        stamp = line(second + 2 * 3600).encode().replace(b"Z x", b"+02:00 x")
        data += stamp.replace(b"\n", b"x" * random.randrange(60) + b"\n") + b"\tat x\n" * random.choice([0, 0, 0, 9])
    return data, lines


@pytest.mark.parametrize("seed", range(4))
def test_the_first_line_with_a_time_from_any_place_is_found_and_none_is_misread(seed: int) -> None:
    data, lines = made(seed)
    probe = probe_of(data)
    for offset in range(0, len(data), 37):
        found = probe.lines_from(offset)
        expected = [each for each in lines if each.offset >= offset]
        assert found == expected[: len(found)]
        assert bool(found) == bool(expected)
    assert probe.lines_from(lines[7].offset)[0] == lines[7]


def test_long_stretches_are_stepped_over_up_to_a_bound() -> None:
    short, long = b"y" * (30 * PROBE_BYTES) + b"\n", b"y" * (80 * PROBE_BYTES) + b"\n"
    data = line(0).encode() + short + line(1).encode() + long + line(2).encode()
    probe = probe_of(data)
    assert probe.lines_from(1)[0].time == at_ns(1)
    reads = probe.reads
    assert reads <= STEPS_MAX
    assert probe.lines_from(data.index(line(1).encode()) + 1) == []
    assert probe.reads == reads + STEPS_MAX


@pytest.mark.parametrize("seed", range(4))
def test_a_border_is_found_exactly(seed: int) -> None:
    data, lines = made(seed)
    for number in range(0, len(lines) + 1, 23):
        border = at_ns(number)
        before, behind = probe_of(data).border(lambda time, at=border: time >= at, 0, len(data))  # type: ignore[misc]
        assert before == (lines[number - 1] if number else None)
        assert behind == (lines[number] if number < len(lines) else None)
