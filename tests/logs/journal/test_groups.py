"""Context in the journal, beside what ``grep -A -B`` would group in each stream of it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varlogd.logs.journal.groups import Entry, JournalGroups
from varlogd.wire.limits import LINE_MAX_BYTES, ROW_LINES_MAX
from varlogd.wire.query import Direction, Query, Source

DIRECTIONS: tuple[Direction, ...] = ("newest_first", "oldest_first")
Found = list[tuple[int, bytes, bool]]
"""Time of the match, text, cut."""


def entry(number: int, stream: str = "a", text: bytes = b"") -> Entry:
    return Entry(Source("web1", stream), number, number, text or b"%s %d\n" % (stream.encode(), number), False)


def grouped(entries: Sequence[Entry], passing: Sequence[bool], before: int, after: int) -> Found:
    """What grep would print of one stream between two separators, at the first match of each."""
    groups: list[list[int]] = []
    for index, passes in enumerate(passing):
        if not passes:
            continue
        start, end = max(0, index - before), min(len(entries), index + after + 1)
        if groups and start <= groups[-1][2]:
            groups[-1][2] = end
        else:
            groups.append([start, index, end])
    return [
        (entries[match].time_ns, b"".join(each.text for each in entries[start:end]), False)
        for start, match, end in groups
    ]


def found(
    entries: Sequence[Entry], passing: Sequence[bool], query: Query, sizes: Sequence[int] = (7,), wait: float = 1e9
) -> tuple[Found, JournalGroups]:
    """The rows, oldest first, of entries that come in pieces."""
    backwards = query.direction == "newest_first"
    steps = list(zip(entries, passing, strict=True))[:: -1 if backwards else 1]
    groups, rows, now = JournalGroups(query), [], 0
    while steps:
        size = sizes[now % len(sizes)]
        part, steps = steps[:size], steps[size:]
        now += len(part)
        rows += groups.add([each for each, _ in part], [passes for _, passes in part], now, wait)
        floor = groups.floor
        assert floor is None or all((-row.time_ns if backwards else row.time_ns) < floor for row in rows)
    rows += groups.rest()
    assert [row.time_ns for row in rows] == sorted((row.time_ns for row in rows), reverse=backwards)
    return [(row.time_ns, row.text, row.cut) for row in rows][:: -1 if backwards else 1], groups


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60),
    st.integers(0, 4),
    st.integers(0, 4),
    st.sampled_from(DIRECTIONS),
    st.lists(st.integers(1, 9), min_size=1),
)
def test_context_is_greps_in_every_stream(
    given_entries: list[tuple[str, bool]], before: int, after: int, direction: Direction, sizes: list[int]
) -> None:
    entries = [entry(number, stream) for number, (stream, _) in enumerate(given_entries)]
    wanted: Found = []
    for stream in "abc":
        own = [(each, passes) for each, (name, passes) in zip(entries, given_entries, strict=True) if name == stream]
        wanted += grouped([each for each, _ in own], [passes for _, passes in own], before, after)
    query = Query(before=before, after=after, direction=direction)
    rows, groups = found(entries, [passes for _, passes in given_entries], query, sizes)
    if before or after:
        assert rows == sorted(wanted)
    assert groups.short == 0


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_row_is_bounded_and_no_match_is_lost(direction: Direction) -> None:
    count = 2 * ROW_LINES_MAX + 10
    rows, _ = found([entry(number) for number in range(count)], [True] * count, Query(after=1, direction=direction))
    assert b"".join(text for _, text, _ in rows) == b"".join(b"a %d\n" % number for number in range(count))
    assert max(text.count(b"\n") for _, text, _ in rows) == ROW_LINES_MAX
    assert not any(cut for *_, cut in rows)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_context_too_large_is_cut_around_the_match(direction: Direction) -> None:
    entries = [entry(number, text=b"." * 100_000 + b"\n") for number in range(9)]
    entries[4] = entry(4, text=b"needle\n")
    ((time, text, cut),), _ = found(
        entries, [number == 4 for number in range(9)], Query(before=4, after=4, direction=direction)
    )
    assert (time, cut) == (4, True)
    assert b"\nneedle\n" in text or text.startswith(b"needle\n")
    assert len(text) - 1 <= LINE_MAX_BYTES


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_quiet_stream_holds_the_others_back_only_for_a_while(direction: Direction) -> None:
    entries = [entry(number, "b") for number in range(201)]
    entries[100] = entry(100, "a")
    query = Query(before=1, after=1, direction=direction)
    for wait, short in ((1000, 0), (50, 1)):
        groups = JournalGroups(query)
        steps = entries[::-1] if direction == "newest_first" else entries
        given_rows = [
            row
            for now, each in enumerate(steps)
            for row in groups.add([each], [each.source.stream == "a" or each.time_ns % 10 == 5], now, wait)
        ]
        assert (len(given_rows) > 15) == (short == 1)
        assert groups.short == short
        assert len(given_rows + groups.rest()) == 21
