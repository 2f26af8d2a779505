"""The words on `varlog`'s command line become one `Command`: raw arguments get their meaning here, once."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final, Literal

from varlogd.cli.buckets import Axis, fitting_width_ns
from varlogd.cli.grammar import BUCKETS_DEFAULT, SPARKS_DEFAULT, URL_DEFAULT, parsers
from varlogd.errors import QueryError
from varlogd.query.times import SECOND_NS, parse_time, rfc3339
from varlogd.wire.limits import COUNT_LABELS_MAX
from varlogd.wire.query import GRACE_DEFAULT_S, Direction, LineFilter, Matcher, Query

TIME_MIN_NS: Final = -(1 << 63)
TIME_MAX_NS: Final = (1 << 63) - 1

CLOCK_STEP_NS: Final = 1_000_000
"""What `now` is rounded down to, so that a time "15m ago" can be written out in full, for the next page."""

HISTOGRAM_SINCE_NS: Final = 3600 * SECOND_NS
"""How far back a histogram goes unless told."""

_FILTER_OPS: Final[dict[tuple[bool, bool], Literal["|=", "!=", "|~", "!~"]]] = {
    (True, False): "|=",
    (True, True): "!=",
    (False, False): "|~",
    (False, True): "!~",
}
"""The line filter of (fixed strings, inverted)."""

_PATTERN_FLAG: Final = re.compile(r"-([Fivc]*)e|--regexp")
"""The next word is a pattern, whatever it looks like; other flags may be written together with -e."""

_TIME_FLAG: Final = re.compile(r"--(?:since|until)")
"""What comes next is a time, also if written as some write one that is so long ago: -15m for 15m."""

_ROWS: Final = re.compile(r"-([0-9]+)")
"""-5, as the tail of every system has it."""

Verb = Literal["members", "files", "tail", "grep", "count", "histogram"]
_WITH_PATTERNS: Final = frozenset({"grep", "count", "histogram"})


@dataclass(frozen=True)
class Command:
    """What is to be done.

    ``members``: once, watched, or as all daemons see them. ``in_order``: rows are shown oldest first whatever order
    they are asked in (`tail`). ``follow``: and then those that are written. ``times``: show each row's; ``raw``:
    control characters go to the terminal as they are. ``by`` and ``axis``: of a count. ``streams`` and ``labels`` are
    the words that select, as they were typed; ``words`` and ``literal`` (those after ``--``) the whole question,
    without a cursor and with times that stay.
    """

    verb: Verb
    members: Literal["once", "watch", "at_all"]
    url: str
    query: Query
    json: bool
    color: bool
    progress: bool
    in_order: bool
    follow: bool
    times: bool
    raw: bool
    by: tuple[str, ...]
    axis: Axis | None
    streams: tuple[str, ...]
    labels: tuple[str, ...]
    words: tuple[str, ...]
    literal: tuple[str, ...]

    @property
    def pattern(self) -> str:
        """The one pattern that is asked for, or an empty text."""
        patterns = [pattern for each in self.query.filters for pattern in each.patterns]
        return patterns[0] if len(patterns) == 1 else ""

    @property
    def context(self) -> bool:
        """Whether rows come with lines around them."""
        return bool(self.query.before or self.query.after)

    def next_page(self, cursor: str) -> list[str]:
        """The words that put the same question from ``cursor`` on."""
        return [*self.words, f"--cursor={cursor}", *(("--", *self.literal) if self.literal else ())]


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> Command:
    """The command in ``argv``. Ends the process with status 2 and a message if it is none; raises QueryError for
    a bad time or matcher, and for words that are no text."""
    for word in argv:
        _check_text(word)
    parser, verbs = parsers()
    verb = verbs.get(argv[0]) if argv else None
    if verb is None:
        parser.parse_args(argv)  # help, the version, or what is wrong
        parser.error("the COMMAND comes first")
    words, literal = _words(argv[0], argv[1:], verb)
    args = argparse.Namespace(**{**_ABSENT, **vars(verb.parse_intermixed_args(words)), "verb": argv[0]})
    _settle_words(args, literal, verb)
    _check_together(args, verb)
    return _command(args, words, literal, environ)


_ABSENT: Final[Mapping[str, object]] = {
    "words": (), "regexp": (), "label": (), "since": None, "until": None, "direction": None, "limit": None,
    "grace": GRACE_DEFAULT_S, "entries": False, "cursor": "", "after_context": None, "before_context": None,
    "correct_skew": False, "context": 0, "follow": False, "times": False, "raw": False, "count": False, "by": (),
    "bucket": None, "buckets": None, "members": "once",
}  # fmt: skip
"""What a flag says where the verb has none of that name."""


def _command(
    args: argparse.Namespace, words: Sequence[str], literal: Sequence[str], environ: Mapping[str, str]
) -> Command:
    clock = _Clock()
    if args.verb == "histogram":
        clock.close_range(args)
    query = _query(args, clock)
    return Command(
        verb="count" if args.count else args.verb,
        members=args.members,
        url=args.url or environ.get("VARLOG_URL") or URL_DEFAULT,
        query=query,
        json=args.json,
        color=_wants_color(args.color, environ),
        progress=sys.stderr is not None and sys.stderr.isatty() and not args.json,
        in_order=args.verb == "tail" and args.direction is None,
        follow=args.follow,
        times=args.times,
        raw=args.raw,
        by=("host",) if args.count else args.by,
        axis=_axis(args, query),
        streams=tuple(args.streams),
        labels=tuple(args.label),
        words=(args.verb, *clock.settled(words)),
        literal=tuple(literal),
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
        if verb in _WITH_PATTERNS and (flag := _PATTERN_FLAG.fullmatch(word)):
            if flag[1]:
                settled.append(f"-{flag[1]}")
            pattern = next(left, None)
            settled.append("--regexp" if pattern is None else f"--regexp={pattern}")
        elif settled and _TIME_FLAG.fullmatch(settled[-1]) and not word.startswith("--"):
            settled[-1] += f"={word}"
        elif not (rows := _ROWS.fullmatch(word)):
            settled.append(word)
        elif verb == "tail":
            settled.append(f"--limit={rows[1]}")
        else:
            parser.error(f"unrecognized arguments: {word}")
    return settled, list(left)


def _settle_words(args: argparse.Namespace, literal: list[str], parser: argparse.ArgumentParser) -> None:
    """Without -e the first word of `grep` is the pattern, and that of `count` if there is one; the others are
    streams."""
    words: list[str] = [*args.words, *literal]
    if args.verb == "members" and words:
        parser.error(f"unrecognized arguments: {' '.join(words)}")
    if args.verb in _WITH_PATTERNS and not args.regexp:
        if args.verb == "grep" and not words:
            parser.error("give a PATTERN, or -e PATTERN")
        args.regexp, words = words[:1], words[1:]
    args.streams = words


def _check_together(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """End with what is wrong if flags contradict each other."""
    for verdict in _contradictions(args):
        parser.error(verdict)


def _contradictions(args: argparse.Namespace) -> Iterator[str]:
    context = args.context or args.after_context or args.before_context
    shaped = {
        "--limit": args.limit, "--cursor": args.cursor, "context": context, "--follow": args.follow,
        "an order": args.direction, "--times": args.times, "--raw": args.raw,
        "--correct-skew": args.correct_skew,
    }  # fmt: skip
    if args.count:
        yield from (f"-c only counts, all of them: it does not go with {flag}" for flag, on in shaped.items() if on)
    if args.correct_skew and args.cursor:
        yield "--correct-skew has no next page: it does not go with --cursor; bound it with --since and --until"
    if args.follow:
        bounded = {"--until": args.until, "--cursor": args.cursor, "an order": args.direction}
        yield from (f"--follow has no end: it does not go with {flag}" for flag, on in bounded.items() if on)
    elif args.limit == 0:
        yield "0 rows are none: that is for -f, to see only what is new"
    if len(args.by) > COUNT_LABELS_MAX:
        yield f"--by takes at most {COUNT_LABELS_MAX} labels"


def _check_text(word: str) -> None:
    try:
        word.encode()
    except UnicodeEncodeError:
        raise QueryError(f"{word!a} is not UTF-8; in a pattern a byte is written \\xff") from None


class _Clock:
    """What times on the command line mean: one `now` for all of them, and this host's zone."""

    def __init__(self) -> None:
        self._now_ns = time.time_ns() // CLOCK_STEP_NS * CLOCK_STEP_NS
        zone = datetime.now().astimezone().tzinfo
        assert zone is not None
        self._zone: tzinfo = zone

    def bound_ns(self, text: str | None) -> int | None:
        """A bound of the time range. No row is outside of what 64 bits can say, so beyond that it is the same."""
        return None if text is None else self._at(text, self._now_ns)

    def close_range(self, args: argparse.Namespace) -> None:
        """A histogram needs both ends: up to now, from an hour before the end, unless told."""
        args.until = args.until or self._written(self._now_ns)
        if args.since is None:
            until_ns = self.bound_ns(args.until)
            assert until_ns is not None
            args.since = self._written(until_ns - HISTOGRAM_SINCE_NS)

    def settled(self, words: Sequence[str]) -> Iterator[str]:
        """The words without a cursor and with times that mean the same whenever they are read."""
        left = iter(words)
        for word in left:
            flag, joined, value = word.partition("=")
            if flag == "--cursor":
                if not joined:
                    next(left, None)
            elif joined and _TIME_FLAG.fullmatch(flag):
                yield f"{flag}={self._lasting(value)}"
            else:
                yield word

    def _lasting(self, text: str) -> str:
        at_ns = self._at(text, self._now_ns)
        relative = at_ns != self._at(text, self._now_ns - SECOND_NS)
        return self._written(at_ns) if relative else text

    def _at(self, text: str, now_ns: int) -> int:
        return max(TIME_MIN_NS, min(parse_time(text.removeprefix("-"), now_ns, self._zone), TIME_MAX_NS))

    @staticmethod
    def _written(at_ns: int) -> str:
        return rfc3339(at_ns)[:23] + "Z"


def _query(args: argparse.Namespace, clock: _Clock) -> Query:
    if args.verb == "members":
        return Query()
    direction: Direction = args.direction or "newest_first"
    return Query(
        matchers=_matchers(args),
        filters=_filters(args),
        start_ns=clock.bound_ns(args.since),
        end_ns=clock.bound_ns(args.until),
        limit=args.limit or None,
        direction=direction,
        timeout_s=args.timeout,
        grace_s=args.grace,
        before=args.context if args.before_context is None else args.before_context,
        after=args.context if args.after_context is None else args.after_context,
        entries=args.entries,
        cursor=args.cursor,
        correct_skew=args.correct_skew,
    )


def _matchers(args: argparse.Namespace) -> tuple[Matcher, ...]:
    chosen = tuple(parse_matcher(text) for text in args.label)
    if not args.streams:
        return chosen
    from varlogd.query.match import stream_glob_matcher  # which loads RE2

    return (*chosen, stream_glob_matcher(args.streams))


def _filters(args: argparse.Namespace) -> tuple[LineFilter, ...]:
    if not args.regexp:
        return ()
    op = _FILTER_OPS[args.fixed_strings, args.invert_match]
    return (LineFilter(op, tuple(args.regexp), args.ignore_case),)


def _axis(args: argparse.Namespace, query: Query) -> Axis | None:
    """The buckets of a histogram. Raises QueryError where there would be too many."""
    if args.verb != "histogram":
        return None
    assert query.start_ns is not None
    assert query.end_ns is not None
    most = args.buckets or (SPARKS_DEFAULT if args.by else BUCKETS_DEFAULT)
    width_ns = args.bucket or fitting_width_ns(query.start_ns, query.end_ns, most)
    return Axis.over(query.start_ns, query.end_ns, width_ns)


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
