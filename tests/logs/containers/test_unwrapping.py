"""Lines out of containers' logs: as they were written, however the log is read."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varlogd.logs.containers.labels import Wrapping
from varlogd.logs.containers.unwrapping import GAP_MAX_BYTES, unwrapping
from varlogd.logs.containers.wrapping import time_ns, times_ns
from varlogd.logs.reader import BytesText, Chunk, Pace, backwards, forwards
from varlogd.wire.limits import LINE_MAX_BYTES

FIRST_NS = 1_475_713_029_669_794_202  # 2016-10-06T00:17:09.669794202Z


Line = tuple[int, int | None, bytes, bool]
"""Where it begins, when it was written, its text, whether it is cut."""


def lines_of(text: bytes, wrapping: Wrapping, chunk_bytes: int, *, newest_first: bool) -> list[Line]:
    """The unwrapped lines in the order of the text."""
    read = backwards if newest_first else forwards
    steps = read(BytesText(text), Pace(chunk_bytes, chunk_bytes))
    lines: list[Line] = []
    for chunk in unwrapping(wrapping, backwards=newest_first)(steps):
        if chunk is not None:
            assert chunk.data
            found = _lines(chunk)
            lines = [*found, *lines] if newest_first else [*lines, *found]
    return lines


def _lines(chunk: Chunk) -> list[Line]:
    data = chunk.data.split(b"\n")
    assert data.pop() == b""
    assert not (chunk.cut and len(data) > 1)
    assert len(chunk.starts) == len(chunk.times) == len(data)
    return [(*each, chunk.cut) for each in zip(chunk.starts, chunk.times, data, strict=True)]


def at(number: int) -> str:
    seconds, ns = divmod(FIRST_NS + number, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ns:09}Z"


def docker(number: int, stream: str, text: str, goes_on: bool) -> bytes:
    return json.dumps({"log": text + "\n" * (not goes_on), "stream": stream, "time": at(number)}).encode() + b"\n"


def cri(number: int, stream: str, text: str, goes_on: bool) -> bytes:
    return f"{at(number)} {stream} {'P' if goes_on else 'F'} {text}\n".encode()


WRAP = {"docker": docker, "cri": cri}
WRAPPINGS: list[Wrapping] = ["docker", "cri"]

payloads = st.lists(
    st.tuples(
        st.sampled_from(["stdout", "stderr"]),
        st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=8), min_size=1),
    ),
    max_size=12,
)


@st.composite
def logs(draw: st.DrawFn) -> tuple[Wrapping, bytes, list[Line]]:
    """A log in which lines of two streams are written in pieces, interleaved; and its lines where they begin."""
    wrapping: Wrapping = draw(st.sampled_from(WRAPPINGS))
    queues: dict[str, list[tuple[int, str, bool]]] = {"stdout": [], "stderr": []}
    for line, (stream, pieces) in enumerate(draw(payloads)):
        queues[stream] += [(line, piece, number < len(pieces) - 1) for number, piece in enumerate(pieces)]
    text, number = b"", 0
    whole: dict[int, Line] = {}
    while any(queues.values()):
        stream = draw(st.sampled_from([stream for stream, queue in queues.items() if queue]))
        line, piece, goes_on = queues[stream].pop(0)
        start, time_ns, before, _ = whole.get(line, (len(text), FIRST_NS + number, b"", False))
        whole[line] = (start, time_ns, before + piece.encode(), False)
        text += WRAP[wrapping](number, stream, piece, goes_on)
        number += 1
    return wrapping, text, sorted(whole.values())


@settings(deadline=None)
@given(logs(), st.integers(1, 400), st.booleans(), st.booleans())
def test_lines_come_out_as_they_were_written(
    log: tuple[Wrapping, bytes, list[Line]], chunk_bytes: int, newest_first: bool, ended: bool
) -> None:
    wrapping, text, expected = log
    found = lines_of(text if ended else text[:-1], wrapping, chunk_bytes, newest_first=newest_first)
    if newest_first:
        assert found == expected
    assert sorted(found) == expected


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["stdout", "stderr", "raw"]),
            st.booleans(),
            st.sampled_from([0, 5, GAP_MAX_BYTES // 2, GAP_MAX_BYTES - 50, GAP_MAX_BYTES, LINE_MAX_BYTES // 4]),
        ),
        max_size=14,
    ),
    st.sampled_from(WRAPPINGS),
    st.sampled_from([100, 5000, 16384]),
)
def test_any_log_gives_the_same_lines_in_both_directions(
    made: list[tuple[str, bool, int]], wrapping: Wrapping, chunk_bytes: int
) -> None:
    first = WRAP[wrapping](0, "stdout", "first", False)
    last = WRAP[wrapping](99, "stdout", "last", False)
    text = b""
    for number, (stream, goes_on, size) in enumerate(made):
        raw = f"raw {number}\n".encode()
        text += raw if stream == "raw" else WRAP[wrapping](number, stream, f"{number}" * size, goes_on)
    whole = first + text + last
    expected = sorted(lines_of(whole, wrapping, LINE_MAX_BYTES, newest_first=False))
    assert sorted(lines_of(whole, wrapping, chunk_bytes, newest_first=False)) == expected
    assert sorted(lines_of(whole, wrapping, chunk_bytes, newest_first=True)) == expected
    assert lines_of(whole, wrapping, LINE_MAX_BYTES, newest_first=True) == expected


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("wrapping", ["docker", "cri"])
def test_a_line_without_end_is_cut_in_bounded_memory(wrapping: Wrapping, newest_first: bool) -> None:
    pieces = [f"{number:05}" + "x" * 16_000 for number in range(60)]
    text = b"".join(WRAP[wrapping](number, "stdout", piece, number < 59) for number, piece in enumerate(pieces))
    text += WRAP[wrapping](60, "stdout", "next", False)
    found = lines_of(text, wrapping, 65_536, newest_first=newest_first)
    assert found[0] == (0, FIRST_NS, "".join(pieces).encode()[:LINE_MAX_BYTES], True)
    assert [(line, cut) for _, _, line, cut in found[1:]] == [(b"next", False)]


@pytest.mark.parametrize("newest_first", [False, True])
def test_pieces_far_from_one_another_are_lines(newest_first: bool) -> None:
    other = b"".join(cri(number, "stderr", "e" * 1000, False) for number in range(50))
    text = cri(0, "stdout", "prompt> ", True) + other + cri(99, "stdout", "text", False)
    lines = [line for _, _, line, _ in lines_of(text, "cri", 4096, newest_first=newest_first)]
    assert sorted(lines)[-2:] == [b"prompt> ", b"text"]
    assert len(lines) == 52


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("wrapping", ["docker", "cri"])
def test_what_is_not_wrapped_is_given_as_it_is(wrapping: Wrapping, newest_first: bool) -> None:
    bad = [
        b"",
        b"plain text",
        b"{",
        b'{"log": 1, "time": "2016-10-06T00:17:09Z"}',
        b'{"log": "\xff", "time": "2016-10-06T00:17:09Z"}',
        b'{"log": "\\ud800", "time": "2016-10-06T00:17:09Z"}',
        b'{"a": ' + b"[" * 5000,
        b"2016-13-06T00:17:09Z stdout F x",
        b"2016-10-06T00:17:09Z stdin F x",
        b"2016-10-06T00:17:09Z stdout F",
        b"2999-10-06T00:17:09Z stdout F x",
        b"\xff stdout F x",
    ]
    good = WRAP[wrapping](1, "stdout", "good", False)
    text = good + b"\n".join(bad) + b"\n" + good
    lines = lines_of(text, wrapping, 300_000, newest_first=newest_first)
    assert [line for _, _, line, _ in lines] == [b"good", *bad, b"good"]
    assert [time_ns for _, time_ns, _, _ in lines[1:-1]] == [None] * len(bad)
    starts = [start for start, _, _, _ in lines]
    assert starts == [0, *(len(good) + len(b"".join(each + b"\n" for each in bad[:n])) for n in range(len(bad) + 1))]


@pytest.mark.parametrize("newest_first", [False, True])
def test_a_file_that_is_not_wrapped_at_all_goes_through(newest_first: bool) -> None:
    text = b"2026-01-01 00:00:00 a\nb\n" * 100
    steps = list((backwards if newest_first else forwards)(BytesText(text), Pace(256, 256)))
    assert list(unwrapping("cri", backwards=newest_first)(iter(steps))) == steps


def test_several_lines_in_one_docker_line() -> None:
    entry = {"log": "a\nb\nc", "stream": "stdout", "time": at(0)}
    text = json.dumps(entry).encode() + b"\n" + docker(1, "stdout", "d", False)
    expected = [(0, FIRST_NS, b"a", False), (1, FIRST_NS, b"b", False), (2, FIRST_NS, b"cd", False)]
    assert lines_of(text, "docker", 1000, newest_first=False) == expected
    assert lines_of(text, "docker", 1000, newest_first=True) == expected


def test_a_wrapped_line_too_long_to_be_read_is_cut() -> None:
    text = cri(0, "stdout", "x" * (LINE_MAX_BYTES + 5), False) + cri(1, "stdout", "y", False)
    for newest_first in (False, True):
        (_, time_ns, line, cut), last = lines_of(text, "cri", 65_536, newest_first=newest_first)
        assert (time_ns, cut, set(line)) == (FIRST_NS, True, set(b"x"))
        assert last[1:] == (FIRST_NS + 1, b"y", False)


@given(
    st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1)),
    st.integers(0, 10**9 - 1),
    st.integers(-14 * 60, 14 * 60),
)
def test_times(when: datetime, ns: int, offset: int) -> None:
    when = when.replace(microsecond=0)
    epoch = datetime(1970, 1, 1)
    expected = (when - epoch) // timedelta(seconds=1) * 10**9
    second = f"{when:%Y-%m-%dT%H:%M:%S}".rjust(19, "0")
    assert time_ns(f"{second}Z") == expected
    digits = f"{ns:09}".rstrip("0")
    sign, (hours, minutes) = "+-"[offset < 0], divmod(abs(offset), 60)
    zoned = f"{second}.{digits or '0'}{sign}{hours:02}:{minutes:02}"
    assert time_ns(zoned) == expected + int((digits or "0").ljust(9, "0")) - offset * 60 * 10**9


@pytest.mark.parametrize(
    "text",
    ["", "Z", "2016-10-06", "2016-10-06T00:17:09", "2016-10-06T00:17:09 01:00", "2016-10-06T00:17:09.1_0Z", "x" * 30],
)
def test_what_is_no_time(text: str) -> None:
    assert time_ns(text) is None


@given(
    st.lists(
        st.sampled_from(
            [
                "2016-10-06T00:17:09.5Z",
                "2016-10-06T00:17:09.25Z",
                "2016-10-06T00:17:09Z",
                "",
                "2016-10-06T00:17:10.000000001Z",
                "2016-10-06T00:17:09.5+01:00",
                "2016-10-06T00:17:09.1_0Z",
                "Z",
                ".",
            ]
        )
    )
)
def test_times_of_many_lines_are_those_of_each(texts: list[str]) -> None:
    assert times_ns(texts) == [time_ns(text) for text in texts]
