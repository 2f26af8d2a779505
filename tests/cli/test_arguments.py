"""The command line of varlog: words become one question."""

from __future__ import annotations

import pytest

from varlogd.cli.arguments import URL_DEFAULT, Command, parse, parse_matcher
from varlogd.errors import QueryError
from varlogd.wire.codec import decode_cbor, encode_cbor
from varlogd.wire.query import AskRows, LineFilter, Matcher


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


def test_options_and_streams_mix() -> None:
    plain = parsed("grep --limit 3 -l a=b NEW disorder.log other.log").query
    assert parsed("grep NEW --limit 3 disorder.log -l a=b other.log").query == plain
    assert plain.filters == (LineFilter("|~", ("NEW",)),)
    assert parsed("grep -i NEW disorder.log -F").query.filters == (LineFilter("|=", ("NEW",), ignore_case=True),)
    assert parsed("tail a.log -n 5 b.log").query == parsed("tail -n 5 a.log b.log").query
    assert parsed("files a.log -l a=b b.log").query == parsed("files -l a=b a.log b.log").query


@pytest.mark.parametrize(
    ("words", "patterns", "ignore_case"),
    [
        (["-e", "-x"], ("-x",), False),
        (["-e", "--limit"], ("--limit",), False),
        (["--regexp", "-x", "-e", "=y"], ("-x", "=y"), False),
        (["-ie", "-5"], ("-5",), True),
        (["-e", ""], ("",), False),
        (["-e-x"], ("-x",), False),
        (["-i", "--", "-x"], ("-x",), True),
        (["--", "-e"], ("-e",), False),
    ],
)
def test_a_pattern_may_begin_with_a_dash(words: list[str], patterns: tuple[str, ...], ignore_case: bool) -> None:
    query = parse(["grep", *words], {}).query
    assert query.filters == (LineFilter("|~", patterns, ignore_case),)
    assert query.matchers == ()


def test_after_two_dashes_words_are_streams() -> None:
    query = parse(["tail", "--", "-5"], {}).query
    assert (query.limit, len(query.matchers)) == (100, 1)
    assert parse(["grep", "x", "--", "-s"], {}).query.matchers != ()


def test_tail_takes_a_number_for_its_limit() -> None:
    query = parsed("tail -5 syslog").query
    assert (query.limit, query.matchers) == (5, parsed("tail syslog").query.matchers)


@pytest.mark.parametrize("line", ["grep x --since -15m --until -5m", "grep x --since=-15m --until=-5m"])
def test_a_time_ago_may_have_a_dash(line: str) -> None:
    query = parsed(line).query
    assert query.start_ns is not None
    assert query.end_ns is not None
    assert query.end_ns - query.start_ns == 600 * 10**9


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("grep", "usage: varlog grep"),
        ("tail -n x", "'x': a whole number of at least 1 is needed"),
        ("tail --timeout soon", "'soon': seconds are needed"),
        ("tail --since --json", "--since: expected one argument"),
        ("files -5", "unrecognized arguments: -5"),
        ("shout", "'shout'"),
    ],
)
def test_what_is_wrong_is_said(line: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed(line)
    assert says in capsys.readouterr().err


def test_the_help_has_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("--help")
    told = capsys.readouterr().out
    assert all(f"\n    {verb} " in told for verb in ("members", "files", "tail", "grep", "demo"))


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
    [
        "",
        "shout",
        "-- members",
        "grep",
        "grep -e",
        "grep x -5",
        "grep -n x",
        "files -5",
        "tail -n 0",
        "tail -0",
        "tail -n x",
        "members -- x",
        "tail -x",
        "tail --unheard-of a",
        "grep x --timeout 0",
        "grep x --timeout soon",
        "tail --newest-first --oldest-first",
    ],
)
def test_bad_words_end_with_status_2(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parsed(line)
    assert caught.value.code == 2
    assert capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "start_ns", "end_ns"),
    [
        ("--since @1e30", (1 << 63) - 1, None),
        ("--since 0001-01-01 --until 9999-12-31", -(1 << 63), (1 << 63) - 1),
        ("--until 999999999999d", None, -(1 << 63)),
    ],
)
def test_times_that_no_row_can_have_are_the_first_or_the_last(
    words: str, start_ns: int | None, end_ns: int | None
) -> None:
    query = parse(["grep", "x", *words.split()], {}).query
    assert (query.start_ns, query.end_ns) == (start_ns, end_ns)
    assert decode_cbor(encode_cbor(AskRows(query)), AskRows).query == query


@pytest.mark.parametrize("words", [["grep", "a\udcff"], ["tail", "\udcff.log"], ["tail", "-l", "host=\udcff"]])
def test_words_that_are_no_text(words: list[str]) -> None:
    with pytest.raises(QueryError, match="is not UTF-8"):
        parse(words, {})


def test_a_bad_time_says_what_is_good() -> None:
    with pytest.raises(QueryError, match="15m"):
        parsed("grep x --since yesterday")


@pytest.mark.parametrize("line", ["--help", "grep --help", "tail --help", "members --help", "files --help"])
def test_help_teaches(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parsed(line)
    assert caught.value.code == 0
    assert "varlog" in capsys.readouterr().out
