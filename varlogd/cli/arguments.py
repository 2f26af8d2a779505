"""The words on `varlog`'s command line become one `Command`: raw arguments get their meaning here, once."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final, Literal

from varlogd import __version__
from varlogd.config import ADDRESS_DEFAULT
from varlogd.errors import QueryError
from varlogd.query.match import stream_glob_matcher
from varlogd.query.times import parse_time
from varlogd.wire.query import GRACE_DEFAULT_S, TIMEOUT_DEFAULT_S, Direction, LineFilter, Matcher, Query

TIME_MIN_NS: Final = -(1 << 63)
TIME_MAX_NS: Final = (1 << 63) - 1

_FILTER_OPS: Final[dict[tuple[bool, bool], Literal["|=", "!=", "|~", "!~"]]] = {
    (True, False): "|=",
    (True, True): "!=",
    (False, False): "|~",
    (False, True): "!~",
}
"""The line filter of (fixed strings, inverted)."""

_PATTERN_FLAG: Final = re.compile(r"-([Fiv]*)e|--regexp")
"""The next word is a pattern, whatever it looks like; other flags may be written together with -e."""

_TIME_FLAG: Final = re.compile(r"--(?:since|until)")
_AGO: Final = re.compile(r"-\d")
"""A time ago as some write it: -15m for 15m."""

_ROWS: Final = re.compile(r"-([0-9]+)")
"""-5, as the tail of every system has it."""

Verb = Literal["members", "files", "tail", "grep"]

TAIL_ROWS_DEFAULT = 100
ROWS_MAX_DIGITS = 18
"""Of a limit: more does not fit the message, and no logs have so many rows."""

URL_DEFAULT = f"ws://{ADDRESS_DEFAULT}"

_DESCRIPTION = """\
Ask any varlogd daemon for the logs of all hosts. Each host filters its own logs where they lie; one merged,
time-ordered answer comes back, and on stderr a ledger that says what became of every host's part."""

_EPILOG = """\
examples:
  varlog members                              who is in the mesh, and in what state
  varlog files -l role=web                    what can be asked for on the web hosts
  varlog tail -n 50 syslog                    the newest 50 lines of every host's syslog, in order of time
  varlog tail 'nginx/*.log' -l 'host=~web.*'  of some streams, on some hosts
  varlog grep -i error --since 15m            every host, every stream, the last quarter of an hour
  varlog grep -v -F DEBUG app.log --json      lines that do not contain a text, as one JSON object a line
  varlog grep 'status=5\\d\\d' --limit 20       the newest twenty matches

exit status: 0 whole and something found · 1 whole and nothing found · 2 error: a bad question, nobody to ask,
             no host or no stream of that name · 3 partial"""

_SELECTION = """\
A STREAM is a glob: * and ? stay within a path component, ** does not; it matches a stream's whole name or its
last components (`access.log` finds `nginx/access.log`). A MATCHER is LABEL=VALUE, LABEL!=VALUE, LABEL=~RE2 or
LABEL!~RE2 over the labels host, stream and every tag of the host. A TIME is 15m, 2h, 1d (that long ago),
2026-11-22T10:00:00 (this host's zone unless it names one), or @SECONDS since 1970."""


@dataclass(frozen=True)
class Command:
    """What is to be done. ``in_order``: rows are shown oldest first whatever order they are asked in (`tail`).
    ``streams`` and ``labels`` are the words that select, as they were typed."""

    verb: Verb
    url: str
    query: Query
    json: bool
    color: bool
    progress: bool
    in_order: bool
    streams: tuple[str, ...]
    labels: tuple[str, ...]


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> Command:
    """The command in ``argv``. Ends the process with status 2 and a message if it is none; raises QueryError for
    a bad time or matcher, and for words that are no text."""
    for word in argv:
        _check_text(word)
    parser, verbs = _parsers()
    verb = verbs.get(argv[0]) if argv else None
    if verb is None:
        parser.parse_args(argv)  # help, the version, or what is wrong
        parser.error("the COMMAND comes first")
    words, literal = _words(argv[0], argv[1:], verb)
    args = verb.parse_intermixed_args(words, argparse.Namespace(verb=argv[0]))
    _settle_words(args, literal, verb)
    return Command(
        verb=args.verb,
        url=args.url or environ.get("VARLOG_URL") or URL_DEFAULT,
        query=_query(args),
        json=args.json,
        color=_wants_color(args.color, environ),
        progress=sys.stderr is not None and sys.stderr.isatty() and not args.json,
        in_order=args.verb == "tail" and args.direction is None,
        streams=tuple(args.streams),
        labels=tuple(getattr(args, "label", ())),
    )


def _words(verb: str, words: Sequence[str], parser: argparse.ArgumentParser) -> tuple[list[str], list[str]]:
    """The words in a form that `argparse` understands as people mean them, and those after ``--``.

    It takes a value that begins with ``-`` for an option, so such a pattern or time is joined to its option; what it
    takes for a negative number is `tail`'s ``-5`` (``-n 5``) and a mistake elsewhere.
    """
    settled: list[str] = []
    left = iter(words)
    for word in left:
        if word == "--":
            break
        if verb == "grep" and (flag := _PATTERN_FLAG.fullmatch(word)):
            if flag[1]:
                settled.append(f"-{flag[1]}")
            pattern = next(left, None)
            settled.append("--regexp" if pattern is None else f"--regexp={pattern}")
        elif settled and _TIME_FLAG.fullmatch(settled[-1]) and _AGO.match(word):
            settled[-1] += f"={word}"
        elif not (rows := _ROWS.fullmatch(word)):
            settled.append(word)
        elif verb == "tail":
            settled.append(f"--limit={rows[1]}")
        else:
            parser.error(f"unrecognized arguments: {word}")
    return settled, list(left)


def _parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser of the first word, for its help, and the parser of the rest for each verb."""
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("varlog", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=shape)
    alone: dict[str, argparse.ArgumentParser] = {}
    parser.add_argument("--version", action="version", version=f"varlog {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=text, description=text, epilog=_SELECTION, formatter_class=shape)
        alone[name] = sub
        sub.add_argument("--url", metavar="URL", help=f"the daemon to ask (or VARLOG_URL; default {URL_DEFAULT})")
        sub.add_argument("--json", action="store_true", help="one JSON object a line, for scripts")
        sub.add_argument("--color", choices=("auto", "always", "never"), default="auto", help="default: auto")
        return sub

    verb("members", "The mesh as the asked daemon sees it.")
    _add_selection(verb("files", "What can be asked for: host, stream, size, newest entry."))
    tail = verb("tail", "The newest lines of streams over all hosts, in order of time.")
    _add_selection(tail)
    tail.add_argument(
        "-n",
        "--limit",
        type=_positive,
        default=TAIL_ROWS_DEFAULT,
        metavar="N",
        help=f"how many rows over all hosts (default {TAIL_ROWS_DEFAULT}); -N for short",
    )
    _add_range(tail)
    grep = verb("grep", "The lines that match, over all hosts, newest first.")
    grep.add_argument("-e", "--regexp", action="append", default=[], metavar="PATTERN", help="a pattern (repeatable)")
    grep.add_argument("words", nargs="*", metavar="PATTERN | STREAM", help="the pattern (unless -e), then streams")
    grep.add_argument("-F", "--fixed-strings", action="store_true", help="patterns are plain text, not RE2")
    grep.add_argument("-i", "--ignore-case", action="store_true", help="letters match in either case")
    grep.add_argument("-v", "--invert-match", action="store_true", help="the lines that match no pattern")
    grep.add_argument("--limit", type=_positive, metavar="N", help="the first N rows (default: all)")
    _add_selection(grep, with_streams=False)
    _add_range(grep)
    verbs.add_parser("demo", help="a mesh of real daemons on this machine, to see it work")
    return parser, alone


def _add_selection(sub: argparse.ArgumentParser, *, with_streams: bool = True) -> None:
    if with_streams:
        sub.add_argument("words", nargs="*", metavar="STREAM", help="globs of streams (default: all)")
    sub.add_argument(
        "-l",
        "--label",
        action="append",
        default=[],
        metavar="MATCHER",
        help="a label matcher such as role=web or 'host=~web.*' (repeatable: all must match)",
    )
    sub.add_argument(
        "--timeout",
        type=_seconds,
        default=TIMEOUT_DEFAULT_S,
        metavar="S",
        help=f"the deadline; whoever has not finished is late (default {TIMEOUT_DEFAULT_S:g})",
    )


def _add_range(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--since", metavar="TIME", help="no rows before this")
    sub.add_argument("--until", metavar="TIME", help="no rows from this on")
    order = sub.add_mutually_exclusive_group()
    for word in ("newest", "oldest"):
        order.add_argument(
            f"--{word}-first",
            dest="direction",
            action="store_const",
            const=f"{word}_first",
            help=f"show, and limit to, the {word} rows",
        )
    sub.add_argument(
        "--grace",
        type=_seconds,
        default=GRACE_DEFAULT_S,
        metavar="S",
        help=f"how long ready rows wait for a silent host (default {GRACE_DEFAULT_S:g})",
    )


def _settle_words(args: argparse.Namespace, literal: list[str], parser: argparse.ArgumentParser) -> None:
    """Without -e the first word of `grep` is the pattern; what is left are streams."""
    words: list[str] = [*getattr(args, "words", ()), *literal]
    if args.verb == "members" and words:
        parser.error(f"unrecognized arguments: {' '.join(words)}")
    if args.verb == "grep" and not args.regexp:
        if not words:
            parser.error("give a PATTERN, or -e PATTERN")
        args.regexp, words = [words[0]], words[1:]
    args.streams = words


def _check_text(word: str) -> None:
    try:
        word.encode()
    except UnicodeEncodeError:
        raise QueryError(f"{word!a} is not UTF-8; in a pattern a byte is written \\xff") from None


def _query(args: argparse.Namespace) -> Query:
    if args.verb == "members":
        return Query()
    now_ns, zone = time.time_ns(), datetime.now().astimezone().tzinfo
    assert zone is not None
    since, until = getattr(args, "since", None), getattr(args, "until", None)
    direction: Direction = getattr(args, "direction", None) or "newest_first"
    return Query(
        matchers=(
            *(parse_matcher(text) for text in args.label),
            *((stream_glob_matcher(args.streams),) if args.streams else ()),
        ),
        filters=_filters(args),
        start_ns=_bound_ns(since, now_ns, zone),
        end_ns=_bound_ns(until, now_ns, zone),
        limit=getattr(args, "limit", None),
        direction=direction,
        timeout_s=args.timeout,
        grace_s=getattr(args, "grace", GRACE_DEFAULT_S),
    )


def _bound_ns(text: str | None, now_ns: int, zone: tzinfo) -> int | None:
    """A bound of the time range. No row is outside of what 64 bits can say, so beyond that it is the same bound."""
    if not text:
        return None
    return max(TIME_MIN_NS, min(parse_time(text.removeprefix("-"), now_ns, zone), TIME_MAX_NS))


def _filters(args: argparse.Namespace) -> tuple[LineFilter, ...]:
    if args.verb != "grep":
        return ()
    op = _FILTER_OPS[args.fixed_strings, args.invert_match]
    return (LineFilter(op, tuple(args.regexp), args.ignore_case),)


def parse_matcher(text: str) -> Matcher:
    """``role=web``, ``host!=db1``, ``host=~web.*``, ``dc!~eu.*``. Raises QueryError."""
    label = text
    for index, char in enumerate(text):
        if char in "=!":
            label, rest = text[:index].strip(), text[index:]
            for op in ("=~", "!~", "!=", "="):
                if label and rest.startswith(op):
                    return Matcher(label, op, rest[len(op) :].strip().strip('"'))
            break
    raise QueryError(f"{text!r} is not a matcher: write LABEL=VALUE, LABEL!=VALUE, LABEL=~RE2 or LABEL!~RE2")


def _wants_color(choice: str, environ: Mapping[str, str]) -> bool:
    if choice != "auto":
        return choice == "always"
    return sys.stdout.isatty() and "NO_COLOR" not in environ and environ.get("TERM") != "dumb"


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= ROWS_MAX_DIGITS and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r}: a whole number of at least 1 is needed")
    return int(text)


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r}: seconds are needed, more than 0 and at most 3600")
    return number
