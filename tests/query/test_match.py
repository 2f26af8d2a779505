"""Label matchers, and stream globs as one of them."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varlogd.errors import PatternError, QueryError
from varlogd.query.match import matches_host, matches_stream, stream_glob_matcher, validate
from varlogd.wire.query import LineFilter, Matcher, Query

LABELS = {"role": "web", "host": "web1", "stream": "nginx/access.log", "file": "/var/log/nginx/access.log"}


@pytest.mark.parametrize(
    ("label", "op", "value", "expected"),
    [
        ("role", "=", "web", True),
        ("role", "=", "we", False),
        ("role", "!=", "web", False),
        ("role", "=~", "web|db", True),
        ("role", "=~", "we", False),
        ("role", "=~", "eb", False),
        ("role", "!~", "we", True),
        ("role", "!~", "w.*", False),
        ("stream", "=~", "nginx/.*", True),
        ("file", "=", "/var/log/nginx/access.log", True),
        ("dc", "=", "", True),
        ("dc", "!=", "", False),
        ("dc", "=~", ".*", True),
        ("dc", "=~", ".+", False),
        ("dc", "!~", "eu", True),
    ],
)
def test_a_matcher(label: str, op: str, value: str, expected: bool) -> None:
    assert matches_stream([Matcher(label, op, value)], LABELS) is expected  # type: ignore[arg-type]


def test_all_matchers_must_match() -> None:
    web, elsewhere = Matcher("role", "=", "web"), Matcher("host", "=", "db1")
    assert matches_stream([], LABELS)
    assert matches_stream([web, web], LABELS)
    assert not matches_stream([web, elsewhere], LABELS)


def test_a_host_is_judged_by_what_is_known_of_it() -> None:
    only_there = [Matcher("stream", "=", "syslog"), Matcher("file", "=", "/x")]
    assert matches_host(only_there, "web1", {})
    assert matches_host([*only_there, Matcher("role", "=", "web")], "web1", {"role": "web"})
    assert not matches_host([*only_there, Matcher("role", "=", "db")], "web1", {"role": "web"})
    assert matches_host([Matcher("role", "!=", "db")], "web1", {})


@pytest.mark.parametrize("label", ["stream", "file", "source", "unit", "container", "pod", "namespace"])
def test_what_a_stream_may_know_is_for_its_host_to_judge(label: str) -> None:
    assert matches_host([Matcher(label, "=", "x")], "web1", {})
    assert matches_host([Matcher(label, "=", "x")], "web1", {label: "y"})
    assert not matches_host([Matcher("role", "=", "x")], "web1", {})


def test_the_name_wins_over_a_tag_called_host() -> None:
    assert matches_host([Matcher("host", "=", "web1")], "web1", {"host": "db1"})
    assert not matches_host([Matcher("host", "=", "db1")], "web1", {"host": "db1"})


def test_labels_beyond_ascii() -> None:
    assert matches_host([Matcher("ort", "=~", "M.nchen|K[a-z]ln")], "x", {"ort": "Koln"})
    assert matches_host([Matcher("ort", "=~", "Mü?nchen")], "x", {"ort": "München"})


def test_validate_refuses_what_cannot_be_answered() -> None:
    validate(Query())
    validate(
        Query(start_ns=1, end_ns=2, filters=(LineFilter("|~", ("a+", "b")),), matchers=(Matcher("a", "=~", "b"),))
    )
    with pytest.raises(PatternError) as caught:
        validate(Query(filters=(LineFilter("|~", ("ok", "a(b")),)))
    assert (caught.value.pattern, caught.value.offset) == ("a(b", 1)
    with pytest.raises(PatternError):
        validate(Query(matchers=(Matcher("host", "!~", "*"),)))
    with pytest.raises(QueryError, match="empty"):
        validate(Query(start_ns=2, end_ns=2))
    validate(Query(filters=(LineFilter("|=", ("a(b",)),), matchers=(Matcher("host", "=", "*"),)))


@pytest.mark.parametrize(
    ("glob", "matching", "others"),
    [
        (
            "access.log",
            ["access.log", "nginx/access.log", "a/b/access.log"],
            ["xaccess.log", "access.log/x", "accessxlog"],
        ),
        ("*.log", ["x.log", "nginx/access.log", ".log"], ["x.logs", "x.log/y"]),
        ("nginx/*", ["nginx/access.log", "a/nginx/x"], ["nginx/a/b", "nginx", "xnginx/a"]),
        ("nginx/**", ["nginx/access.log", "nginx/a/b"], ["nginx", "apache/x"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b", "z/a/b"], ["ab", "a/xb"]),
        ("**/b", ["b", "x/y/b"], ["xb"]),
        ("a**b", ["ab", "a/x/b"], ["a", "xab/c"]),
        ("x**/b", ["xa/c/b", "x/b"], ["x", "xb"]),
        ("?.log", ["a.log", "n/é.log", "日.log"], ["ab.log", ".log", "x/ab.log"]),
        ("[ab].log", ["a.log", "x/b.log"], ["c.log", "é.log"]),
        ("[!ab].log", ["c.log", "é.log"], ["a.log", "x/.log"]),
        ("[+-9]x", ["0x", ".x", "a/-x"], ["a/", "ax"]),
        ("a[/_]b", ["a_b"], ["a/b"]),
        ("[]]", ["]"], ["["]),
        ("[", ["[", "a/["], ["a"]),
        ("a+(b).log{1}", ["a+(b).log{1}"], ["aab.log"]),
        ("/srv/*.log", ["/srv/x.log"], ["srv/x.log", "/srv/a/x.log"]),
        ("süß*", ["a/süßes.log"], ["suss.log"]),
    ],
)
def test_stream_globs(glob: str, matching: list[str], others: list[str]) -> None:
    matcher = stream_glob_matcher([glob])
    assert (matcher.label, matcher.op) == ("stream", "=~")
    for name in matching:
        assert matches_stream([matcher], {"stream": name}), name
    for name in others:
        assert not matches_stream([matcher], {"stream": name}), name


def test_several_globs_are_one_matcher() -> None:
    matcher = stream_glob_matcher(["syslog", "nginx/*"])
    assert matches_stream([matcher], {"stream": "syslog"})
    assert matches_stream([matcher], {"stream": "nginx/error.log"})
    assert not matches_stream([matcher], {"stream": "auth.log"})


@pytest.mark.parametrize("glob", ["[é]", "[z-a]", "[/]"])
def test_a_class_that_cannot_match_is_refused(glob: str) -> None:
    with pytest.raises(PatternError):
        stream_glob_matcher([glob])


def test_too_many_globs_are_refused() -> None:
    with pytest.raises(QueryError, match="too many"):
        stream_glob_matcher(["x" * 100] * 100)


parts = st.text(alphabet="ab*?", min_size=1, max_size=4).filter(lambda part: "**" not in part)
names = st.text(alphabet="abc", min_size=1, max_size=4)


@settings(deadline=None)
@given(st.lists(parts, min_size=1, max_size=3), st.lists(names, min_size=1, max_size=4))
def test_globs_without_double_stars_are_those_of_pathlib(glob: list[str], name: list[str]) -> None:
    """`PurePath.match` of a relative pattern matches from the right, component by component."""
    matcher = stream_glob_matcher(["/".join(glob)])
    expected = PurePosixPath(*name).match("/".join(glob))
    assert matches_stream([matcher], {"stream": "/".join(name)}) == expected
