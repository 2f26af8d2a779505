"""Hyperscan over a buffer against RE2 on each line, for every pattern that it is given."""

from __future__ import annotations

import itertools

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
