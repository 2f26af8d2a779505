"""The command line of varlog: words become one question."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from typing import get_args

import pytest
from msgspec import structs

from varlogd.cli.arguments import Command, Verb, parse, parse_matcher
from varlogd.cli.buckets import Axis
from varlogd.cli.grammar import URL_DEFAULT
from varlogd.errors import QueryError
from varlogd.query.times import rfc3339
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
        ("tail -n x", "'x': a whole number is needed"),
        ("tail -n 0", "0 rows are none: that is for -f"),
        ("grep x -m 0", "'0': a whole number of at least 1 is needed"),
        ("grep x -C 1001", "'1001': a number of lines is needed, at most 1000"),
        ("grep x -c -m 5", "-c only counts, all of them: it does not go with --limit"),
        ("grep x -c -B 5", "-c only counts, all of them: it does not go with context"),
        ("tail -f --until 1h", "--follow has no end: it does not go with --until"),
        ("tail -f --oldest-first", "--follow has no end: it does not go with an order"),
        ("grep x --follow --cursor y", "--follow has no end: it does not go with --cursor"),
        ("grep x --correct-skew --cursor y", "--correct-skew has no next page: it does not go with --cursor"),
        ("grep x -c --correct-skew", "-c only counts, all of them: it does not go with --correct-skew"),
        ("count x --correct-skew", "unrecognized arguments: --correct-skew"),
        ("count x --by host,,stream", "'host,,stream': names of labels are needed"),
        ("count x --by a,b,c,d,e,f,g,h,i", "--by takes at most 8 labels"),
        ("histogram x --bucket 5", "'5': a width is needed, such as 10s"),
        ("histogram x --bucket 0s", "'0s': a width is needed, such as 10s"),
        ("histogram x --bucket 5m --buckets 3", "not allowed with argument"),
        ("count x --limit 3", "unrecognized arguments: --limit"),
        ("grep x --cur y", "unrecognized arguments: --cur"),
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
    assert all(
        f"\n    {verb} " in told for verb in ("members", "files", "tail", "grep", "count", "histogram", "demo")
    )


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


@pytest.mark.parametrize("line", ["--help", *(f"{verb} --help" for verb in get_args(Verb))])
def test_help_teaches(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parsed(line)
    assert caught.value.code == 0
    assert "varlog" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "before", "after"),
    [("-C 3", 3, 3), ("-A 1 -B2", 2, 1), ("-C 3 -A 0", 3, 0), ("", 0, 0), ("-iA5", 0, 5)],
)
def test_context(line: str, before: int, after: int) -> None:
    command = parsed(f"grep x {line}")
    assert (command.query.before, command.query.after) == (before, after)
    assert command.context == (line != "")


def test_rows_may_be_entries() -> None:
    for verb in ("grep x", "tail", "count x", "histogram x"):
        assert parsed(f"{verb} --entries").query.entries
        assert not parsed(verb).query.entries


def test_following() -> None:
    assert parsed("tail -f").query.limit == 100
    assert parsed("tail -fn5").query.limit == 5
    assert parsed("tail -0 -f").query.limit is None, "no history"
    assert parsed("grep x --follow").query.limit is None
    assert parsed("grep x --follow -m 5").query.limit == 5
    assert parsed("tail -f").follow
    assert not parsed("tail").follow


def test_counting() -> None:
    command = parsed("count -i a b.log --by stream,role")
    assert (command.verb, command.by, command.axis) == ("count", ("stream", "role"), None)
    assert command.query.filters == (LineFilter("|~", ("a",), ignore_case=True),)
    assert command.streams == ("b.log",)
    assert parsed("count").by == ("host",)
    assert parsed("count").query.filters == ()
    short = parsed("grep -c x b.log")
    assert short == replace(parsed("count x b.log"), words=short.words)
    assert parse(["grep", "-ice", "-x"], {}).query.filters == (LineFilter("|~", ("-x",), ignore_case=True),)


HOUR_NS = 3600 * 10**9


def test_a_histogram_has_two_ends_and_buckets_that_fit() -> None:
    command = parsed("histogram x")
    query, axis = command.query, command.axis
    assert command.by == ()
    assert axis is not None
    assert query.start_ns is not None
    assert query.end_ns is not None
    assert query.end_ns - query.start_ns == HOUR_NS
    assert axis.width_ns in (2 * 60 * 10**9, 5 * 60 * 10**9), "how the hour lies says which"
    assert axis.starts[0] <= query.start_ns < axis.starts[1]
    assert axis.starts[-1] < query.end_ns <= axis.starts[-1] + axis.width_ns


@pytest.mark.parametrize(
    ("line", "start", "end", "width_s"),
    [
        ("--until 2026-11-22T11:00Z", "10:00", "11:00", 120),
        ("--since 2026-11-22T05:00Z --until 2026-11-22T11:00Z", "05:00", "11:00", 900),
        ("--since 2026-11-22T05:00Z --until 2026-11-22T11:00Z --bucket 90s", "05:00", "11:00", 90),
        ("--since 2026-11-22T05:00Z --until 2026-11-22T11:00Z --buckets 6", "05:00", "11:00", 3600),
        ("--since 2026-11-22T05:00Z --until 2026-11-22T11:00Z --by host", "05:00", "11:00", 600),
    ],
)
def test_the_range_and_the_width_may_be_said(line: str, start: str, end: str, width_s: int) -> None:
    command = parsed(f"histogram x {line}")
    assert command.query.start_ns is not None
    assert command.query.end_ns is not None
    assert rfc3339(command.query.start_ns)[11:16] == start
    assert rfc3339(command.query.end_ns)[11:16] == end
    assert command.axis == Axis(command.query.start_ns, command.query.end_ns, width_s * 10**9)


def test_too_many_buckets() -> None:
    with pytest.raises(QueryError, match="buckets of 1s are more than 10,000"):
        parsed("histogram x --since 1d --bucket 1s")


def test_the_next_page_is_the_same_question() -> None:
    command = parse(
        ["grep", "-ie", "-x", "--since", "-15m", "--until=1m", "--cursor", "old", "-m5", "--", "-s", "a b"], {}
    )
    assert command.query.cursor == "old"
    words = command.next_page("-new")
    assert words[-4:] == ["--cursor=-new", "--", "-s", "a b"]
    assert "old" not in words
    time.sleep(0.002)  # another now
    again = parse(words, {})
    assert again.query == structs.replace(command.query, cursor="-new")
    assert parse(again.next_page(""), {}).query == structs.replace(command.query, cursor="")


@pytest.mark.parametrize("text", ["2026-11-22", "@1795000000.5", "2026-11-22T10:00:00.123456+01:00"])
def test_times_that_stay_are_not_rewritten(text: str) -> None:
    assert f"--since={text}" in parsed(f"tail --since {text}").words


def test_a_script_needs_no_pattern_engine_for_a_plain_question() -> None:
    """RE2 takes a fifth of the time of `varlog --help`."""
    code = "import sys; from varlogd.cli.arguments import parse; parse(sys.argv[1:], {}); print('re2' in sys.modules)"
    for words, loaded in (["tail", "-l", "role=web"], False), (["grep", "x", "app.log"], True):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, check=True)
        assert done.stdout.decode() == f"{loaded}\n"


def test_members_are_shown_once_or_watched_or_as_all_see_them() -> None:
    assert [parsed(words).members for words in ("members", "members --watch", "members --at-all")] == [
        "once",
        "watch",
        "at_all",
    ]
    with pytest.raises(SystemExit):
        parsed("members --watch --at-all")
