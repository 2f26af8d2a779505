"""Hyperscan over a buffer against RE2 on each line, for every pattern that it is given."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from varlogd.errors import PatternError
from varlogd.query.expressions import expressions_of
from varlogd.query.pattern import Pattern, compile_pattern
from varlogd.query.vectors import LineVectors, VectorsError

pytest.importorskip("hyperscan", reason="this platform has no hyperscan")

SINGLE = [
    "a",
    "b",
    "k",
    "K",
    "s",
    "2",
    "-",
    "é",
    "É",
    "ß",
    "{",
    "}",
    ",",
    "#",
    " ",
    r"\.",
    r"\x41",
    r"\x{e9}",
    r"\101",
]
SETS = [".", r"\s", r"\S", r"\w", r"\W", r"\d", r"\D", r"\pL", r"\PL", r"\p{Greek}", r"\C", r"\v", r"\r", r"\x00"]
SETS += [
    "[^a]",
    "[a-k]",
    r"[\W]",
    r"[^\s]",
    r"[\n]",
    r"[^\x00-\x7f]",
    "[[:^alpha:]]",
    r"[\x80-\xff]",
    "[]a]",
    "[^]a]",
]
EDGES = ["^", "$", r"\A", r"\z", r"\b", r"\B"]
QUANTIFIERS = ["", "", "", "*", "+", "?", "*?", "{2}", "{1,}", "{0,3}", "{,2}"]
OPENINGS = ["(", "(?:", "(?i:", "(?-i:", "(?s:", "(?m:", "(?-m:", "(?P<n>", "(?U:", "(?i-s:"]
FLAGS = ["", "", "", "(?i)", "(?-i)", "(?s)", "(?m)", "(?-m)", "(?U)", r"\Qa.\E"]

atoms = st.builds(str.__add__, st.sampled_from(SINGLE + SETS + SETS + EDGES), st.sampled_from(QUANTIFIERS))


def _composed(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    sequences = st.builds(str.__add__, st.sampled_from(FLAGS), st.lists(inner, max_size=3).map("".join))
    alternatives = st.lists(sequences, min_size=1, max_size=3).map("|".join)
    groups = st.builds("{}{}){}".format, st.sampled_from(OPENINGS), alternatives, st.sampled_from(QUANTIFIERS))
    return sequences | alternatives | groups


patterns = st.recursive(atoms, _composed, max_leaves=8)
BYTES = [
    b"a",
    b"b",
    b"k",
    b"K",
    b"s",
    b"S",
    b"2",
    b"-",
    b"A",
    b"{",
    b"}",
    b",",
    b"#",
    b" ",
    b".",
    b"_",
    b"\r",
    b"\x0b",
]
BYTES += [b"\x00", b"\xff", b"\xe9", b"\xc9", b"\xb5", b"\t", "é".encode(), "É".encode(), "ß".encode(), b"{,2}"]
lines = st.lists(st.sampled_from(BYTES), max_size=6).map(b"".join)


def compiled(text: str, *, ignore_case: bool) -> tuple[Pattern, LineVectors]:
    try:
        pattern = compile_pattern(text, ignore_case=ignore_case)
        return pattern, LineVectors([expressions_of(pattern) or assume(False)])
    except (PatternError, VectorsError):
        assume(False)
        raise


@settings(deadline=None, max_examples=300)
@given(patterns, st.booleans(), st.lists(lines, min_size=1, max_size=12))
def test_the_lines_found_are_those_that_re2_finds_one_by_one(text: str, ignore_case: bool, rows: list[bytes]) -> None:
    pattern, vectors = compiled(text, ignore_case=ignore_case)
    ends = itertools.accumulate(len(row) + 1 for row in rows)
    expected = [end for row, end in zip(rows, ends, strict=True) if pattern.found_in(row)]
    assert vectors.line_ends(b"".join(row + b"\n" for row in rows)) == expected


def test_a_process_that_scans_little_does_not_load_the_engine() -> None:
    said = "from varlogd.query.scanner import LineScanner as S; from varlogd.wire.query import LineFilter as F; "
    said += "list(S([F('|~', ('a+b',))]).lines(b'ab\\n')); import sys; sys.exit('hyperscan' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", said], check=False).returncode == 0


def test_what_ends_in_the_last_line_is_found_and_nothing_behind_it() -> None:
    _, vectors = compiled("a*$", ignore_case=False)
    assert vectors.line_ends(b"a\n\nba\n") == [2, 3, 6]


def test_alternatives_that_end_differently_give_each_line_once_and_in_order() -> None:
    _, vectors = compiled("a$|b|c", ignore_case=False)
    assert vectors.line_ends(b"ba\na\nbc\nb\nx\na\n") == [3, 5, 8, 10, 14]


@pytest.mark.parametrize(
    "text",
    [r"\Ab", r"b\z", r"(?s)a.b", r"(?-m)^b", r"(?-m)b$", r"a\sb", r"a\Wb", "a[^x]b", r"a\Cb", r"[\W\S]b", "^$"],
)
def test_no_match_spans_lines_and_every_line_is_a_text_of_its_own(text: str) -> None:
    pattern, vectors = compiled(text, ignore_case=False)
    rows = [b"a", b"b", b"", b"ab", b"a b", b"b", b"a", b""]
    ends = itertools.accumulate(len(row) + 1 for row in rows)
    expected = [end for row, end in zip(rows, ends, strict=True) if pattern.found_in(row)]
    assert vectors.line_ends(b"\n".join(rows) + b"\n") == expected


def test_sets_have_to_match_in_the_same_line() -> None:
    texts = ("a", "b$|^c", "d")
    sets = [expressions_of(compile_pattern(text)) or () for text in texts]
    assert LineVectors(sets).line_ends(b"adb\nabd\nda c\ncad\nad\nb\n") == [4, 17]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("abc", 3),
        ("(ab|c){2,5}d", 16),
        ("a{3}", 3),
        ("x{2,}", 2),
        (r"[a-z]+\d.", 3),
        ("(a{10}b){10}", 110),
        ("a$|b", 3),
    ],
)
def test_the_size_of_an_expression_is_that_of_its_repetitions_written_out(text: str, size: int) -> None:
    assert sum(each.size for each in expressions_of(compile_pattern(text)) or ()) == size
