"""Rows on a screen and in a pipe: one line, entries, matches with their context, what matches."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varlogd.cli.row_lines import Matches, RowLines
from varlogd.errors import PatternError
from varlogd.query.block import Row
from varlogd.query.scanner import LineScanner
from varlogd.wire.query import LineFilter

S = 1_000_000_000
ROW = Row(S, "web1", "app.log", 7, S, b"GET / 200")


def row(*lines: str, late: bool = False, cut: bool = False, time: int | None = S) -> Row:
    return ROW._replace(line="\n".join(lines).encode(), late=late, cut=cut, time=time)


def wants(*patterns: str, op: str = "|~", ignore_case: bool = False) -> Matches:
    return Matches([LineFilter(op, patterns, ignore_case)])  # type: ignore[arg-type]


def marked(matches: Matches, line: str) -> str:
    """The line with what matches in brackets."""
    raw, parts, done = line.encode(), [], 0
    for start, end in matches.spans(raw):
        parts += [raw[done:start].decode(), "[", raw[start:end].decode(), "]"]
        done = end
    return "".join([*parts, raw[done:].decode()])


def test_an_entry_stands_indented_below_its_first_line() -> None:
    shown = RowLines().of(row("ERROR x", "Traceback:", "  File a"))
    assert shown == b"web1:app.log: ERROR x\n    Traceback:\n      File a\n"
    assert RowLines().of(row("a", "")) == b"web1:app.log: a\n    \n"


def test_context_is_shown_as_grep_shows_it() -> None:
    lines = RowLines(context=True, matches=wants("hit"))
    assert lines.of(row("before", "a hit", "between", "hit it", "after")) == (
        b"web1-app.log- before\nweb1:app.log: a hit\nweb1-app.log- between\n"
        b"web1:app.log: hit it\nweb1-app.log- after\n"
    )
    assert lines.of(row("hit")) == b"--\nweb1:app.log: hit\n", "between groups"


def test_without_context_nothing_stands_between_rows() -> None:
    lines = RowLines()
    assert lines.of(row("a")) + lines.of(row("b")) == b"web1:app.log: a\nweb1:app.log: b\n"


def test_with_context_what_does_not_match_is_what_was_asked_for() -> None:
    lines = RowLines(context=True, matches=wants("no", op="!~"))
    assert lines.of(row("no", "yes")) == b"web1-app.log- no\nweb1:app.log: yes\n"


def test_time_and_marks_are_those_of_the_line_the_row_is_of() -> None:
    lines = RowLines(context=True, matches=wants("hit"), times=True)
    assert lines.of(row("before", "hit 1", "hit 2", cut=True)) == (
        b"web1-app.log- before\nweb1:app.log:1970-01-01T00:00:01.000Z (cut): hit 1\nweb1:app.log: hit 2\n"
    )
    assert RowLines(times=True).of(row("x", time=None, late=True)) == b"web1:app.log:no time (late): x\n"
    unmatched = RowLines(context=True, matches=wants("hit")).of(row("a", "b", late=True))
    assert unmatched == b"web1-app.log (late)- a\nweb1-app.log- b\n", "a mark is never left out"


def test_what_matches_is_bright_on_a_terminal() -> None:
    lines = RowLines(color=True, escape=True, matches=wants("err", "x+"))
    shown = lines.of(row("an err\x1b and xx")).decode()
    assert shown.endswith("an \x1b[1;31merr\x1b[0m\\x1b and \x1b[1;31mxx\x1b[0m\n")
    assert "\x1b[1;31m" not in RowLines(escape=True, matches=wants("err")).of(row("err")).decode()


def test_raw_is_raw() -> None:
    assert RowLines().of(row("\x1b[31mred")) == b"web1:app.log: \x1b[31mred\n"
    assert RowLines(escape=True).of(row("\x1b[31mred")) == b"web1:app.log: \\x1b[31mred\n"


@pytest.mark.parametrize(
    ("matches", "line", "want"),
    [
        (wants("a", "ab"), "xabx", "x[ab]x"),
        (wants("a", "b"), "ab", "[ab]"),
        (wants("a"), "aXa", "[a]X[a]"),
        (wants("a*"), "bab", "b[a]b"),
        (wants(""), "abc", "abc"),
        (wants("$"), "abc", "abc"),
        (wants(""), "né", "né"),
        (wants("b*"), "éb", "é[b]"),
        (wants("^a"), "aa", "[a]a"),
        (wants("É", ignore_case=True), "café", "caf[é]"),
        (wants("caf."), "café", "[café]"),
        (wants("a.c", op="|="), "abc a.c", "abc [a.c]"),
        (wants("a", op="!~"), "abc", "abc"),
        (wants("a", op="!="), "abc", "abc"),
    ],
)
def test_what_matches(matches: Matches, line: str, want: str) -> None:
    assert marked(matches, line) == want


def test_a_bad_pattern_is_told_with_the_fault() -> None:
    with pytest.raises(PatternError, match="missing"):
        wants("a(b")


FILTERS = st.builds(
    LineFilter,
    st.sampled_from(("|=", "!=", "|~", "!~")),
    st.lists(st.text("abé.", max_size=3), min_size=1, max_size=3).map(tuple),
    st.booleans(),
)
LINES = st.text("abéÉAB. \x1b", max_size=12).map(str.encode) | st.binary(max_size=12).map(
    lambda line: line.replace(b"\n", b"").replace(b"\r", b"")
)


@given(st.lists(FILTERS, max_size=2), LINES)
def test_a_line_matches_here_if_it_does_on_its_host(filters: list[LineFilter], line: bytes) -> None:
    on_host = [found for _, found in LineScanner(filters).lines(line + b"\n")]
    assert Matches(filters).in_line(line) == (on_host == [line])


@given(FILTERS, LINES)
def test_color_changes_nothing_but_color(line_filter: LineFilter, line: bytes) -> None:
    matches = Matches([line_filter])
    spans = matches.spans(line)
    assert all(start < end for start, end in spans)
    assert all(end < start for (_, end), (start, _) in pairwise(spans))
    plain = RowLines(escape=True).of(ROW._replace(line=line))
    colored = RowLines(escape=True, color=True, matches=matches).of(ROW._replace(line=line))
    assert re.sub(rb"\x1b\[[0-9;]*m", b"", colored) == plain
