"""The command line of varlog: words become one question."""

from __future__ import annotations

import pytest

from varlogd.cli.arguments import URL_DEFAULT, Command, parse, parse_matcher
from varlogd.errors import QueryError
from varlogd.wire.query import LineFilter, Matcher


def parsed(line: str, **environ: str) -> Command:
    return parse(line.split(), environ)


def test_which_daemon_to_ask() -> None:
    assert parsed("members").url == URL_DEFAULT
    assert parsed("members", VARLOG_URL="web1").url == "web1"
    assert parsed("members --url ws://x:1", VARLOG_URL="web1").url == "ws://x:1"


def test_tail_asks_newest_first_and_shows_in_order() -> None:
    command = parsed("tail -n 5 syslog")
    assert command.in_order
    assert command.query.direction == "newest_first"
    assert command.query.limit == 5
    assert command.query.matchers[0].label == "stream"
    assert parsed("tail").query.limit == 100
    assert parsed("tail").query.matchers == ()
    assert not parsed("tail --newest-first").in_order


@pytest.mark.parametrize(
    ("line", "want"),
    [
        ("grep err", LineFilter("|~", ("err",))),
        ("grep -e a -e b", LineFilter("|~", ("a", "b"))),
        ("grep -F -i a.b", LineFilter("|=", ("a.b",), ignore_case=True)),
        ("grep -v a", LineFilter("!~", ("a",))),
        ("grep -v -F a", LineFilter("!=", ("a",))),
    ],
)
def test_grep_patterns(line: str, want: LineFilter) -> None:
    query = parsed(line).query
    assert query.filters == (want,)
    assert query.limit is None
    assert query.matchers == ()


def test_words_after_the_pattern_are_streams() -> None:
    assert parsed("grep err app.log").query.matchers == parsed("grep -e err app.log").query.matchers
    assert parsed("grep err app.log").query.matchers[0].label == "stream"


def test_order_and_limit() -> None:
    query = parsed("grep x --oldest-first --limit 3").query
    assert (query.direction, query.limit) == ("oldest_first", 3)


def test_since_is_before_until() -> None:
    query = parsed("grep x --since 2h --until 1h").query
    assert query.start_ns is not None
    assert query.end_ns is not None
    assert query.end_ns - query.start_ns == 3600 * 10**9


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("role=web", Matcher("role", "=", "web")),
        ("host=~web.*", Matcher("host", "=~", "web.*")),
        ("dc!=eu", Matcher("dc", "!=", "eu")),
        ('dc!~"eu|us"', Matcher("dc", "!~", "eu|us")),
        ("x=", Matcher("x", "=", "")),
        ("x=a=b", Matcher("x", "=", "a=b")),
    ],
)
def test_matchers(text: str, want: Matcher) -> None:
    assert parse_matcher(text) == want


@pytest.mark.parametrize("text", ["", "web", "=web", "a!b"])
def test_what_is_no_matcher(text: str) -> None:
    with pytest.raises(QueryError, match="is not a matcher"):
        parse_matcher(text)


@pytest.mark.parametrize(
    "line",
    ["", "shout", "grep", "tail -n 0", "tail -n x", "grep x --timeout 0", "tail --newest-first --oldest-first"],
)
def test_bad_words_end_with_status_2(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parsed(line)
    assert caught.value.code == 2
    assert capsys.readouterr().err


def test_a_bad_time_says_what_is_good() -> None:
    with pytest.raises(QueryError, match="15m"):
        parsed("grep x --since yesterday")


@pytest.mark.parametrize("line", ["--help", "grep --help", "tail --help", "members --help", "files --help"])
def test_help_teaches(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parsed(line)
    assert caught.value.code == 0
    assert "varlog" in capsys.readouterr().out
