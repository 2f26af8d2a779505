"""The scanner against its definition: every filter on every line, one at a time."""

from __future__ import annotations

import sys
import threading

import pytest
import re2
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from varlogd.errors import PatternError
from varlogd.query.scanner import BUFFER_MAX_BYTES, BUFFER_MIN_BYTES, NEAR_BYTES, RE2_FIRST_BYTES, LineScanner
from varlogd.wire.query import LineFilter

ATOMS = [
    "a",
    "b",
    "ab",
    ".",
    "^",
    "$",
    "^$",
    r"\s",
    r"\S",
    r"\W",
    r"\w",
    r"\b",
    r"\B",
    "[^a]",
    r"[\n]",
    "(?s)",
    "(?i)",
    "(?m)",
]
ATOMS += [
    "(?-m)",
    r"\A",
    r"\z",
    r"\C",
    "|",
    "(a|b)",
    "(?:b)",
    "a*",
    "b+?",
    ".*",
    "a{0,2}",
    r"\r",
    r"\x00",
    r"\Qa.\E",
    "é",
    "(?U)",
]
ATOMS += [r"\n", "(?i-m:^b$)", "[[:space:]]", "(?-s)."]
ATOMS += ["(?:", "(", ")", "*", "+", "?", "{", "}", "{2}", "{1,}", "{,2}", ",", "2", "k", "-", "]", "["]
ATOMS += [
    r"\pL",
    r"\PL",
    r"\p{Greek}",
    r"\x41",
    r"\x{e9}",
    r"\x0a",
    r"\101",
    r"\07",
    r"[^\s]",
    r"[\W]",
    r"[^\x00-\x7f]",
]
ATOMS += [
    r"\t",
    r"\v",
    r"[\x80-\xff]",
    "a$",
    "^a",
    "a$|b",
    "(a$|b)",
    "(?i:k)",
    "(?P<n>a)",
    "(?-i)",
    r"\D",
    r"\.",
    "#",
    " ",
]

patterns = st.lists(st.sampled_from(ATOMS), max_size=6).map("".join)
literals = st.text(alphabet="abA é\r\n.", max_size=4)
lines = st.lists(
    st.sampled_from(
        [
            *[b"a", b"b", b"A", b"B", b" ", b".", b"\r", b"\x00", b"\xff", b"\xe9", b"\x0b", b"k", b"2", b"{"],
            "é".encode(),
        ]
    ),
    max_size=8,
).map(b"".join)


@st.composite
def filters(draw: st.DrawFn) -> LineFilter:
    op = draw(st.sampled_from(["|=", "!=", "|~", "!~"]))
    texts = draw(st.lists(literals if op in ("|=", "!=") else patterns, min_size=1, max_size=3))
    return LineFilter(op, tuple(texts), draw(st.booleans()))


def scanner_of(asked: list[LineFilter], first_bytes: int) -> LineScanner:
    """A scanner that takes RE2 for so much text before it turns to hyperscan."""
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("varlogd.query.scanner.RE2_FIRST_BYTES", first_bytes)
            return LineScanner(asked)
    except PatternError:
        assume(False)
        raise


@pytest.mark.parametrize("first_bytes", [0, RE2_FIRST_BYTES])
@settings(deadline=None, max_examples=150)
@given(asked=st.lists(filters(), max_size=3), text=st.lists(lines, max_size=12))
def test_scanning_a_buffer_equals_re2_line_by_line(
    first_bytes: int, asked: list[LineFilter], text: list[bytes]
) -> None:
    scanner = scanner_of(asked, first_bytes)
    buffer = b"".join(line + b"\n" for line in text)
    expected = [found for found in _split(text) if all(_passes(one, found[1]) for one in asked)]
    assert list(scanner.lines(buffer)) == expected
    assert scanner.count(buffer) == len(expected)


@pytest.mark.parametrize("gap", [0, NEAR_BYTES - 5, NEAR_BYTES, 3 * NEAR_BYTES])
@pytest.mark.parametrize("newlines", [1, 7])
def test_a_literal_is_found_near_and_far(gap: int, newlines: int) -> None:
    filler = (b"." * (gap // newlines) + b"\n") * newlines
    buffer = b"needle 1\n" + filler + b"xx needle 2 needle\n" + filler + b"needle 3\n"
    found = list(LineScanner([LineFilter("|=", ("needle",))]).lines(buffer))
    assert [line for _, line in found] == [b"needle 1", b"xx needle 2 needle", b"needle 3"]
    assert all(buffer[start : start + len(line)] == line for start, line in found)


def test_the_longest_literal_drives_and_the_others_judge() -> None:
    scanner = LineScanner(
        [LineFilter("|~", ("b.r",)), LineFilter("|=", ("o",)), LineFilter("!=", ("no",)), LineFilter("|=", ("foo",))]
    )
    buffer = b"foo bar\nfoo no bar\nfoo\nfo bar\n"
    assert list(scanner.lines(buffer)) == [(0, b"foo bar")]


def test_costly_patterns_are_given_less_text_at_once() -> None:
    assert LineScanner([]).buffer_bytes == BUFFER_MAX_BYTES
    assert LineScanner([LineFilter("|~", ("ab+c",))]).buffer_bytes == BUFFER_MAX_BYTES
    costly = LineFilter("|~", ("[ab]{1000}",))
    assert LineScanner([costly]).buffer_bytes < BUFFER_MAX_BYTES
    assert LineScanner([costly] * 3).buffer_bytes == BUFFER_MIN_BYTES
    with pytest.raises(PatternError, match="too large: the filters are"):
        LineScanner([costly] * 5)


def test_of_literals_only_the_longest_counts() -> None:
    many = LineFilter("|=", tuple(f"{number:03}{'x' * 500}" for number in range(64)), ignore_case=True)
    scanner = LineScanner([many])
    assert scanner.buffer_bytes < BUFFER_MAX_BYTES
    assert list(scanner.lines(b"001" + b"X" * 500 + b"\n064\n")) == [(0, b"001" + b"X" * 500)]


def test_much_text_is_scanned_by_hyperscan_and_little_by_re2() -> None:
    pytest.importorskip("hyperscan", reason="this platform has no hyperscan")
    scanner = LineScanner([LineFilter("|~", ("ne+dle",)), LineFilter("!=", ("not",))])
    buffer = b"a needle\n" + b"." * (RE2_FIRST_BYTES - 20) + b"\nneedle, not\n"
    assert list(scanner.lines(buffer[:9])) == [(0, b"a needle")]
    assert scanner.engine == "re2"
    assert list(scanner.lines(buffer)) == [(0, b"a needle")]
    assert (scanner.engine, scanner.why_slow) == ("hyperscan", "")


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(a$|b)", "hyperscan has no expression for it"),
        (r"a\n|b", "hyperscan has no expression for it"),
        ("b|x(^|a)b", "hyperscan refuses it"),
        ("b|" + "c[ab]{400}d|" * 2, "too large for hyperscan"),
    ],
)
def test_what_hyperscan_cannot_do_re2_does_and_it_is_said(pattern: str, why: str) -> None:
    pytest.importorskip("hyperscan", reason="this platform has no hyperscan")
    scanner = scanner_of([LineFilter("|~", (pattern + "|zz",))], 0)
    assert list(scanner.lines(b"b\nx\n")) == [(0, b"b"), (2, b"x")][: 1 + (pattern[-1] == "|")]
    assert scanner.engine == "re2"
    assert scanner.why_slow.startswith(why)


def test_where_there_is_no_hyperscan_re2_does_all_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hyperscan", None)
    scanner = scanner_of([LineFilter("|~", ("b",))], 0)
    assert list(scanner.lines(b"a\nb\n")) == [(2, b"b")]
    assert scanner.count(b"a\nb\n") == 1
    assert scanner.engine == "re2"
    assert "hyperscan is not to be had here" in scanner.why_slow


def test_filters_that_want_something_are_swept_for_at_once() -> None:
    asked = [LineFilter("|=", ("a",)), LineFilter("|~", ("b+", "c$")), LineFilter("|=", ("X",), ignore_case=True)]
    buffer = b"axc\naxcc \nbxa\nxc\na b\r\nbbxaXb\r\n"
    scanner = scanner_of(asked, 0)
    assert [line for _, line in scanner.lines(buffer)] == [b"axc", b"bxa", b"bbxaXb"]
    assert scanner.count(buffer) == 3


def test_counting_all_but_some_lines() -> None:
    buffer = b"a\r\n\r\nb\r\nab\n\n"
    for first_bytes in (0, RE2_FIRST_BYTES):
        assert scanner_of([LineFilter("!=", ("a",)), LineFilter("!~", ("x",))], first_bytes).count(buffer) == 3
        assert scanner_of([LineFilter("!~", ("^$",))], first_bytes).count(buffer) == 3
    assert LineScanner([]).count(buffer) == 5


def test_a_scanner_may_go_from_thread_to_thread() -> None:
    scanner = scanner_of([LineFilter("|=", ("b",))], 0)
    counted: list[int] = []
    for _ in range(4):
        thread = threading.Thread(target=lambda: counted.append(scanner.count(b"a\nb\nbb\n" * 1000)))
        thread.start()
        thread.join()
    assert counted == [2000] * 4


def _split(text: list[bytes]) -> list[tuple[int, bytes]]:
    found, start = [], 0
    for line in text:
        found.append((start, line.removesuffix(b"\r")))
        start += len(line) + 1
    return found


def _passes(asked: LineFilter, line: bytes) -> bool:
    literal = asked.op in ("|=", "!=")
    found = any(_found(text, line, literal=literal, ignore_case=asked.ignore_case) for text in asked.patterns)
    return found == (asked.op in ("|=", "|~"))


def _found(text: str, line: bytes, *, literal: bool, ignore_case: bool) -> bool:
    """The oracle: RE2 as it comes, on one line. `é` is the only character here that is not ASCII."""
    if literal and not ignore_case:
        return "\n" not in text and text.encode() in line
    source = (re2.escape(text) if literal else text).encode().replace("é".encode(), rb"(?-i:\xc3\xa9)")
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.never_nl = True
    options.case_sensitive = not ignore_case
    return re2.search(source, line, options) is not None


@pytest.mark.parametrize("padding", [*range(0, 120, 7), 300, 5000])
def test_the_last_line_of_a_short_text_is_found_by_vectors_too(padding: int) -> None:
    scanner = LineScanner([LineFilter("|~", ("zz", "a$"))])
    for _ in range(10):  # until vectors have taken over, where there are any
        scanner.count(b"x\n" * 100_000)
    assert [line for _, line in scanner.lines(b"x" * padding + b"\n1a\n")] == [b"1a"]
