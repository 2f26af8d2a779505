"""What may stand on `varlog`'s command line, and the help that teaches it. What the words mean: `arguments`."""

from __future__ import annotations

import argparse
from typing import Final

from varlogd import __version__
from varlogd.config import ADDRESS_DEFAULT
from varlogd.query.times import duration_ns
from varlogd.wire.limits import CONTEXT_LINES_MAX
from varlogd.wire.query import GRACE_DEFAULT_S, TIMEOUT_DEFAULT_S

URL_DEFAULT: Final = f"ws://{ADDRESS_DEFAULT}"

TAIL_ROWS_DEFAULT: Final = 100
BUCKETS_DEFAULT: Final = 30
"""Lines of a histogram at most: with its heading it fits a terminal of some height."""

SPARKS_DEFAULT: Final = 50
"""Buckets side by side, where `--by` makes a line of them: names and counts fit beside them into 80 columns."""

ROWS_MAX_DIGITS: Final = 18
"""Of a limit: more does not fit the message, and no logs have so many rows."""

_DESCRIPTION = """\
Ask any varlogd daemon for the logs of all hosts. Each host filters its own logs where they lie; one merged,
time-ordered answer comes back, and on stderr a ledger that says what became of every host's part."""

_EPILOG = """\
examples:
  varlog members                              who is in the mesh, and in what state
  varlog files -l role=web                    what can be asked for on the web hosts
  varlog tail -n 50 syslog                    the newest 50 lines of every host's syslog, in order of time
  varlog tail -f 'nginx/*.log' -l role=web    and go on with what is written from now on
  varlog grep -i error --since 15m            every host, every stream, the last quarter of an hour
  varlog grep -C 2 'status=5\\d\\d' -m 20       the newest twenty matches, with two lines around each
  varlog count -i error --by host,stream      how many, and where
  varlog histogram -i error --since 6h        how many, and when

exit status: 0 whole and something found · 1 whole and nothing found · 2 error: a bad question, nobody to ask,
             no host or no stream of that name · 3 partial"""

_SELECTION = """
A STREAM is a glob: * and ? stay within a path component, ** does not; it matches a stream's whole name or its
last components (`access.log` finds `nginx/access.log`). A MATCHER is LABEL=VALUE, LABEL!=VALUE, LABEL=~RE2 or
LABEL!~RE2 over the labels host, stream, every tag of the host, and those `varlog files` shows of a stream (source,
unit, container …)."""

_TIMES = """
A TIME is 15m, 2h, 1d (that long ago), 2026-11-22T10:00:00 (this host's zone unless it names one), or @SECONDS
since 1970."""

_EXAMPLES: Final = {
    "members": """\
examples:
  varlog members                              everybody, as the asked daemon sees them
  varlog members --watch                      and every change, as it happens, until Ctrl-C
  varlog members --at-all                     do all daemons see the same?

RTT is the round trip of its probes, CLOCK by how much the member's clock is ahead of the asked daemon's, give or take
what follows. HEALTH is what each says of itself: 0/8 is well; the more, the less it trusts what it does not hear.
"flapping": it comes and goes (--watch shows each time all the same, the log of the daemon does not). "shared": two
nodes go by this name, and the mesh sees one of them.

Exit status 0, and 3 if the asked daemon has reason to doubt that it sees all: it has not joined, is cut off, or a
name is shared. --at-all: 0 if all agree, 1 if views differ, 3 if some view is not known, or in such doubt.
""",
    "files": """\
examples:
  varlog files                                all streams of all hosts, and files that cannot be read
  varlog files -l role=web 'nginx/*'          of some hosts, by glob
  varlog files -l source=journal              what comes from the systemd journal
""",
    "tail": """\
examples:
  varlog tail -n 50 syslog                    the newest 50 lines of all hosts' syslog
  varlog tail -f -l role=web                  the newest 100 of the web hosts, then live
  varlog tail -n 0 -f app.log                 only what is written from now on
  varlog tail --entries -n 5 app.log          the newest 5 entries, each with its stack trace

What follows (-f) until Ctrl-C says on stderr, after `***`, what becomes of hosts and what was dropped or lost.
""",
    "grep": """\
examples:
  varlog grep -i error --since 15m            every host, every stream, the last quarter of an hour
  varlog grep -C 3 OutOfMemory syslog         with three lines before and after each match
  varlog grep --entries NullPointer app.log   whole entries: the line with the time and its stack trace
  varlog grep -F '" 502 ' access.log -m 20    plain text rather than a pattern; the newest twenty
  varlog grep -e timeout -e refused           any of several patterns
  varlog grep -c error                        how many on each host: `varlog count` has more
  varlog grep --follow error                  matches as they are written

A PATTERN is RE2: no look-around and no back-references. Where an answer ends before its rows do (-m, a budget), the
ledger's last line is the command that goes on.
""",
    "count": """\
examples:
  varlog count -i error                       how many lines match on each host
  varlog count error --by stream --since 1d   in each stream, of the last day
  varlog count '' syslog --by host,stream     all lines: '' is a pattern that every line matches
  varlog count --entries Traceback app.log    entries rather than lines

The counting is done on the hosts: only numbers cross the network.
""",
    "histogram": """\
examples:
  varlog histogram -i error                   the last hour, all hosts together
  varlog histogram ' 50[234] ' --since 1d     the last day, in buckets of a fitting width
  varlog histogram error --by host            one line for each host
  varlog histogram error --since 6h --bucket 5m

Without a pattern all lines count. Buckets begin at multiples of their width in UTC, and so are shown.
""",
}

_ABOUT: Final = {
    "members": "The mesh as the asked daemon sees it.",
    "files": "What can be asked for: the streams of all hosts.",
    "tail": "The newest lines, in order of time; -f follows.",
    "grep": "The lines that match, newest first.",
    "count": "How many lines match, by host, stream or label.",
    "histogram": "How many lines match, over time.",
}

_USAGE: Final = {
    "members": "",
    "files": " [STREAM ...]",
    "tail": " [STREAM ...]",
    "grep": " PATTERN [STREAM ...]",
    "count": " [PATTERN [STREAM ...]]",
    "histogram": " [PATTERN [STREAM ...]]",
}

Verbs = dict[str, argparse.ArgumentParser]


class _Shape(argparse.RawDescriptionHelpFormatter):
    """Room for our flags beside what they mean."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)


def parsers() -> tuple[argparse.ArgumentParser, Verbs]:
    """The parser of the first word, for its help, and the parser of the rest for each verb."""
    shape = _Shape
    parser = argparse.ArgumentParser("varlog", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=shape)
    parser.add_argument("-V", "--version", action="version", version=f"varlog {__version__}")
    subparsers = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    verbs: Verbs = {}
    for name, about in _ABOUT.items():
        times = "" if name in ("members", "files") else _TIMES
        selection = "" if name == "members" else f"{_SELECTION}{times}"
        verbs[name] = subparsers.add_parser(
            name,
            usage=f"varlog {name} [OPTION ...]{_USAGE[name]}",
            help=about,
            description=about,
            epilog=f"{_EXAMPLES[name]}{selection}",
            formatter_class=shape,
            allow_abbrev=False,
        )
    _fill(verbs)
    subparsers.add_parser("demo", help="a mesh of real daemons on this machine, to see it work")
    return parser, verbs


def _fill(verbs: Verbs) -> None:
    _fill_members(verbs["members"])
    _add_words(verbs["files"], "STREAM", "globs of streams (default: all)")
    _add_words(verbs["tail"], "STREAM", "globs of streams (default: all)")
    _fill_tail(verbs["tail"])
    for name in ("grep", "count", "histogram"):
        _add_words(verbs[name], "PATTERN | STREAM", "the pattern (unless -e), then streams")
        _add_patterns(verbs[name])
    _fill_grep(verbs["grep"])
    for name in ("count", "histogram"):
        _fill_count(verbs[name], "host" if name == "count" else "")
    _fill_histogram(verbs["histogram"])
    for name in ("files", "tail", "grep", "count", "histogram"):
        _add_selection(verbs[name], timed=name != "files")
    for verb in verbs.values():
        verb.add_argument("--url", metavar="URL", help=f"the daemon to ask (or VARLOG_URL; default {URL_DEFAULT})")
        verb.add_argument("--json", action="store_true", help="one JSON object a line, for scripts")
        verb.add_argument("--color", choices=("auto", "always", "never"), default="auto", help="default: auto")


def _fill_members(members: argparse.ArgumentParser) -> None:
    mode = members.add_mutually_exclusive_group()
    for flag, about in (
        ("watch", "then every change, until Ctrl-C"),
        ("at-all", "ask all daemons; show differences"),
    ):
        mode.add_argument(
            f"--{flag}",
            dest="members",
            action="store_const",
            const=flag.replace("-", "_"),
            default="once",
            help=about,
        )


def _add_words(verb: argparse.ArgumentParser, metavar: str, text: str) -> None:
    verb.add_argument("words", nargs="*", metavar=metavar, help=text)


def _add_patterns(verb: argparse.ArgumentParser) -> None:
    add = verb.add_argument_group("what matches").add_argument
    add("-e", "--regexp", action="append", default=[], metavar="PATTERN", help="a pattern (repeatable)")
    add("-F", "--fixed-strings", action="store_true", help="patterns are plain text, not RE2")
    add("-i", "--ignore-case", action="store_true", help="letters match in either case")
    add("-v", "--invert-match", action="store_true", help="the lines that match no pattern")


def _fill_tail(tail: argparse.ArgumentParser) -> None:
    tail.add_argument(
        "-n",
        "--limit",
        type=whole_number,
        default=TAIL_ROWS_DEFAULT,
        metavar="N",
        help=f"how many rows over all hosts (default {TAIL_ROWS_DEFAULT}); -N for short",
    )
    tail.add_argument("-f", "--follow", action="store_true", help="go on with rows as they are written")
    _add_shape(tail)


def _fill_grep(grep: argparse.ArgumentParser) -> None:
    grep.add_argument("-m", "--limit", type=positive, metavar="N", help="the first N rows (default: all)")
    grep.add_argument("-c", "--count", action="store_true", help="how many on each host, as `varlog count`")
    grep.add_argument(
        "--follow", action="store_true", help="matches as they are written; with -m N after the N newest"
    )
    add = grep.add_argument_group("context").add_argument
    add("-A", "--after-context", type=context_lines, metavar="N", help="N lines after each match, too")
    add("-B", "--before-context", type=context_lines, metavar="N", help="N lines before each match, too")
    add("-C", "--context", type=context_lines, default=0, metavar="N", help="both")
    _add_shape(grep)


def _add_shape(verb: argparse.ArgumentParser) -> None:
    """What rows are and how they are shown, for the verbs that show rows."""
    _add_entries(verb)
    verb.add_argument("--times", action="store_true", help="show each row's time (UTC) before it")
    verb.add_argument(
        "--raw", action="store_true", help="send control characters to the terminal as they are (unsafe)"
    )
    verb.add_argument("--cursor", default="", metavar="TEXT", help="go on where an answer's ledger says it ended")
    verb.add_argument(
        "--correct-skew",
        action="store_true",
        help="order rows by their times less what the asked daemon measured its host's clock to be ahead",
    )
    order = verb.add_mutually_exclusive_group()
    for word in ("newest", "oldest"):
        order.add_argument(
            f"--{word}-first",
            dest="direction",
            action="store_const",
            const=f"{word}_first",
            help=f"show, and limit to, the {word} rows",
        )
    verb.add_argument(
        "--grace",
        type=seconds,
        default=GRACE_DEFAULT_S,
        metavar="S",
        help=f"how long ready rows wait for a silent host (default {GRACE_DEFAULT_S:g})",
    )


def _add_entries(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--entries", action="store_true", help="a row is an entry: a line with a time and those below it without"
    )


def _fill_count(verb: argparse.ArgumentParser, by_default: str) -> None:
    _add_entries(verb)
    default = f" (default: {by_default})" if by_default else ""
    verb.add_argument(
        "--by",
        type=labels,
        default=labels(by_default) if by_default else (),
        metavar="LABEL,…",
        help=f"count apart by these labels, such as host, stream, role, unit{default}",
    )


def _fill_histogram(verb: argparse.ArgumentParser) -> None:
    width = verb.add_mutually_exclusive_group()
    width.add_argument("--bucket", type=width_ns, metavar="WIDTH", help="how wide a bucket is: 10s, 5m, 1h, 1d")
    width.add_argument(
        "--buckets",
        type=positive,
        metavar="N",
        help=f"at most so many, of a fitting width (default {BUCKETS_DEFAULT}; with --by {SPARKS_DEFAULT})",
    )


def _add_selection(verb: argparse.ArgumentParser, *, timed: bool) -> None:
    add = verb.add_argument_group("which hosts, streams and times" if timed else "which hosts").add_argument
    add(
        "-l",
        "--label",
        action="append",
        default=[],
        metavar="MATCHER",
        help="a label matcher such as role=web or 'host=~web.*' (repeatable: all must match)",
    )
    if timed:
        add("--since", metavar="TIME", help="no rows before this")
        add("--until", metavar="TIME", help="no rows from this on")
    add(
        "--timeout",
        type=seconds,
        default=TIMEOUT_DEFAULT_S,
        metavar="S",
        help=f"the deadline; whoever has not finished is late (default {TIMEOUT_DEFAULT_S:g})",
    )


def whole_number(text: str) -> int:
    """A number of rows, 0 too. Raises ArgumentTypeError, as all that follow."""
    if not (text.isascii() and text.isdecimal() and len(text) <= ROWS_MAX_DIGITS):
        raise argparse.ArgumentTypeError(f"{text!r}: a whole number is needed")
    return int(text)


def positive(text: str) -> int:
    """A number of rows or buckets."""
    if not (text.isascii() and text.isdecimal() and len(text) <= ROWS_MAX_DIGITS and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r}: a whole number of at least 1 is needed")
    return int(text)


def context_lines(text: str) -> int:
    """A number of lines of context."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 9 and int(text) <= CONTEXT_LINES_MAX):
        raise argparse.ArgumentTypeError(f"{text!r}: a number of lines is needed, at most {CONTEXT_LINES_MAX}")
    return int(text)


def seconds(text: str) -> float:
    """A length of time that a question may take."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r}: seconds are needed, more than 0 and at most 3600")
    return number


def width_ns(text: str) -> int:
    """The width of a bucket."""
    width = duration_ns(text)
    if width is None or not 1_000_000 <= width < 1 << 62:
        raise argparse.ArgumentTypeError(f"{text!r}: a width is needed, such as 10s, 5m, 1h or 1d")
    return width


def labels(text: str) -> tuple[str, ...]:
    """Names of labels, each once."""
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r}: names of labels are needed, with commas between: host,stream")
    return names
