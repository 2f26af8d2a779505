"""Patterns: what is accepted, what is refused and where the caret points."""

from __future__ import annotations

import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from varlogd.errors import PatternError
from varlogd.query.pattern import GroupsPattern, any_of, compile_pattern
from varlogd.wire.limits import PATTERN_MAX_CHARS

# Each pattern with `▸` before the character at fault.
REFUSED = [
    "a▸(b",
    "a▸)b",
    "x▸)(",
    "▸((a)",
    "((a)▸(",
    "a(b)▸(c",
    r"\(▸(",
    "[(]▸(",
    r"\Q(\E▸(",
    "é▸(",
    "é(é)▸(é",
    "日本▸)",
    "▸[a-",
    "x▸[^",
    "▸[]",
    "[▸z-a]",
    "[▸[:foo:]]",
    "a*▸*",
    "éé*▸*",
    "a+▸+b**",
    "a{1,2}{3▸}",
    "▸*a",
    "a(▸*b)",
    "a|▸+",
    r"▸\1",
    r"ab\d[a-▸\d]",
    r"é▸\Z",
    r"a▸\E",
    "x▸(?=a)",
    "▸(?<=a)b",
    "▸(?!x)",
    "▸(?i",
    "▸(?P<n",
    "a▸{1001}",
    "(a{1000})▸{1000}",
    "a▸{2,1}",
    r"▸\pX",
    r"x▸\p{Foo}",
    "a▸\\",
    "é▸\\",
    "[ab▸é]",
    "[^▸é]",
    "x▸\ud800",
]


@pytest.mark.parametrize("marked", REFUSED)
def test_the_caret_points_at_the_character_at_fault(marked: str) -> None:
    offset = marked.index("▸")
    with pytest.raises(PatternError) as caught:
        compile_pattern(marked.replace("▸", ""))
    assert caught.value.offset == offset
    assert caught.value.reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a(b", "missing )"),
        ("a)b", "unexpected )"),
        ("a**", "bad repetition operator: **"),
        (r"\1", r"invalid escape sequence: \1"),
        ("(?=a)", "invalid perl operator: (?="),
        ("[a-", "missing ]"),
        (r"\x{", "incomplete escape sequence"),
    ],
)
def test_the_reason_names_what_is_wrong(text: str, reason: str) -> None:
    with pytest.raises(PatternError) as caught:
        compile_pattern(text)
    assert caught.value.reason == reason


def test_a_pattern_too_large_is_refused() -> None:
    with pytest.raises(PatternError, match="too large"):
        compile_pattern("[a-z]{1000}" * 9)  # RE2 itself would take it
    with pytest.raises(PatternError, match="too large"):
        compile_pattern("[a-z]{1000}" * 372)
    with pytest.raises(PatternError, match="longer than"):
        compile_pattern("x" * (PATTERN_MAX_CHARS + 1))


def test_the_longest_literal_fits_in_either_case() -> None:
    text = "é" * PATTERN_MAX_CHARS
    assert compile_pattern(text, literal=True).found_in(text.encode())
    pattern = compile_pattern("k" * PATTERN_MAX_CHARS, literal=True, ignore_case=True)
    assert pattern.found_in(b"K" * PATTERN_MAX_CHARS)


def test_patterns_too_large_only_together_are_refused() -> None:
    texts = [f"[{letter}z]{{900}}" for letter in "abcdefghij"]
    with pytest.raises(PatternError, match="10 patterns are too large together"):
        any_of([compile_pattern(text) for text in texts], texts)


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("é", "café".encode(), True),
        ("é", b"\xe9", False),
        ("^é{2}$", "éé".encode(), True),
        ("^é?x", b"\xc3x", False),
        ("(?i)É", "é".encode(), True),
        ("(?i)é", b"\xe3\xa9\xbb", False),  # Latin-1 folds C3 to E3: half of another character
        ("(?i:x)é", "É".encode(), False),
        ("(?i-i:é)", "É".encode(), False),
        ("((?i)x)é", "XÉ".encode(), False),
        (r"\Qé*\E", "é*".encode(), True),
        (r"a\Qb)", b"ab)", True),
        (r"\xff", b"\xff", True),
        (".", b"\x80", True),
        ("a.c", b"a\x00c", True),
        ("a\nb", b"a\nb", False),
        (r"a[^x]b", b"a\nb", False),
    ],
)
def test_patterns_match_bytes(text: str, line: bytes, found: bool) -> None:
    assert compile_pattern(text).found_in(line) is found


def test_ignore_case_reaches_beyond_ascii() -> None:
    assert compile_pattern("straße Ärger", ignore_case=True, literal=True).found_in("STRAßE äRGER".encode())
    assert compile_pattern("ärger$", ignore_case=True).found_in("ÄRGER".encode())


def test_a_whole_match_needs_both_ends() -> None:
    pattern = compile_pattern("web|db")
    assert pattern.is_all_of(b"web")
    assert not pattern.is_all_of(b"web1")
    assert not pattern.is_all_of(b"xdb")


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("^a$", True),
        (r"(?s)a.\b", True),
        (r"\Aa", False),
        (r"a\z", False),
        (r"\C", False),
        ("(?-m)^a", False),
        ("(?i-sm:^a)", False),
        ("(?m-i)^a", True),
        (r"\\A", True),
        (r"\Q\A\E", True),
        (r"[\\A]", True),
    ],
)
def test_patterns_that_speak_of_the_whole_text_are_known(text: str, spans: bool) -> None:
    assert compile_pattern(text).spans_lines is spans


@pytest.mark.parametrize(
    ("text", "sees"),
    [
        ("a.c|[$]", False),
        (r"\Q$\E", False),
        ("^a", False),
        ("a$", True),
        (r"a\b", True),
        (r"a\B", True),
        (r"a\z", True),
    ],
)
def test_patterns_that_see_what_follows_are_known(text: str, sees: bool) -> None:
    assert compile_pattern(text).sees_end is sees


@settings(deadline=None)
@given(st.text(alphabet=r"ab()[]{}*+?|\^$.-:<>P=!imsQE1,é" + "\n", max_size=30))
def test_any_text_compiles_or_says_where_not(text: str) -> None:
    try:
        compile_pattern(text)
    except PatternError as error:
        assert 0 <= error.offset < max(1, len(text))
        assert not _accepted_by_re2(text) or not text.isascii()
    else:
        assert _accepted_by_re2(text)


@settings(deadline=None)
@given(st.text(max_size=30), st.booleans(), st.binary(max_size=60))
def test_a_literal_is_found_where_its_bytes_are(text: str, in_it: bool, line: bytes) -> None:
    needle = text.encode()
    line = line + needle + line if in_it else line
    expected = needle in line and b"\n" not in needle
    assert compile_pattern(text, literal=True).found_in(line) == expected


def _accepted_by_re2(text: str) -> bool:
    options = re2.Options()
    options.log_errors = False
    options.never_nl = True
    options.encoding = re2.Options.Encoding.LATIN1
    try:
        re2.compile(text.encode(), options)
    except re2.error:
        return False
    return True


def test_groups_are_found_in_every_line_and_all_of_it_where_there_are_none() -> None:
    text = b"a=1 b=22\nb=333\na=4"
    assert list(GroupsPattern(r"b=(\d)(\d*)|a=(\d)").spans(text)) == [
        (2, 3),
        (6, 7),
        (7, 8),
        (11, 12),
        (12, 14),
        (17, 18),
    ]
    assert list(GroupsPattern(r"b=\d+").spans(text)) == [(4, 8), (9, 14)]
    assert list(GroupsPattern(r"^a=\d$").spans(text)) == [(15, 18)]
    assert list(GroupsPattern(r"22\s(.*)").spans(text)) == []


@pytest.mark.parametrize("text", [r"\Aa", r"a*", r"(?-m)^a", "("])
def test_patterns_whose_groups_cannot_be_found_in_many_lines_are_refused(text: str) -> None:
    with pytest.raises(PatternError):
        GroupsPattern(text)
