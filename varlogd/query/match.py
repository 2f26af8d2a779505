"""Label matchers: which hosts and which streams a query is for.

A stream's labels are its member's tags, then what its source knows of it (`ON_THE_HOST`), then ``host``: the later
win over the earlier of the same name. As in Prometheus and LogQL, a label that is absent counts as the empty string,
and ``=~`` matches from end to end.

The asked node knows a member's name and tags but not its streams. It judges the matchers of tags and of ``host``, so
that ``role="web"`` asks nobody without such a tag, and leaves the labels that a stream may have to the host. These
have fixed names: were any label a stream's, each question would go to all hosts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from varlogd.errors import PatternError, QueryError
from varlogd.query.cursor import cursor_of
from varlogd.query.pattern import Pattern, compile_pattern
from varlogd.query.scanner import LineScanner
from varlogd.wire.limits import PATTERN_MAX_CHARS
from varlogd.wire.query import ON_THE_HOST, Matcher, Query

COMPILED_MAX: Final = 64
"""Label patterns kept compiled: a query's matchers are judged once a member and once a stream."""


def validate(query: Query) -> None:
    """Raise QueryError (PatternError for a pattern) if ``query`` cannot be answered as it is put."""
    if query.start_ns is not None and query.end_ns is not None and query.start_ns >= query.end_ns:
        raise QueryError("the time range is empty: it ends where it begins, or before")
    for matcher in query.matchers:
        if matcher.op in ("=~", "!~"):
            _pattern(matcher.value)
    cursor_of(query)
    LineScanner(query.filters)


def matches_host(matchers: Sequence[Matcher], host: str, tags: Mapping[str, str]) -> bool:
    """Whether a member may have streams that match, as far as its name and tags tell."""
    labels = {**tags, "host": host}
    return all(_matches(matcher, labels) for matcher in matchers if matcher.label not in ON_THE_HOST)


def matches_stream(matchers: Sequence[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether a stream with these labels matches them all. Raises PatternError for a bad ``=~`` or ``!~``."""
    return all(_matches(matcher, labels) for matcher in matchers)


def stream_glob_matcher(globs: Sequence[str]) -> Matcher:
    """One matcher for the streams whose name matches any of ``globs`` (at least one), whole or from a ``/`` on.

    ``*``, ``?`` and ``[…]`` stop at a ``/``; ``**`` crosses it, and ``**/`` also stands for nothing. So
    ``access.log`` and ``*.log`` match ``nginx/access.log``. Raises QueryError if they are too long together,
    PatternError for a ``[…]`` that is empty or goes beyond ASCII.
    """
    value = "(?s)(?:.*/)?(?:" + "|".join(map(_glob_regex, globs)) + ")"
    if len(value) > PATTERN_MAX_CHARS:
        raise QueryError(f"too many stream names: together over {PATTERN_MAX_CHARS} characters")
    return Matcher("stream", "=~", value)


def _matches(matcher: Matcher, labels: Mapping[str, str]) -> bool:
    value = labels.get(matcher.label, "")
    match matcher.op:
        case "=":
            return value == matcher.value
        case "!=":
            return value != matcher.value
        case "=~":
            return _pattern(matcher.value).is_all_of(value.encode())
        case "!~":
            return not _pattern(matcher.value).is_all_of(value.encode())


@lru_cache(maxsize=COMPILED_MAX)
def _pattern(text: str) -> Pattern:
    return compile_pattern(text)


_WIDE: Final = r"[\xc0-\xff][\x80-\xbf]*"
"""One character of UTF-8 beyond ASCII: patterns match bytes."""

_WILDCARDS: Final = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": rf"(?:[^/\x80-\xff]|{_WIDE})"}
"""Longest first."""

_SPECIAL: Final = frozenset("\\.+*?()|[]{}^$")


def _glob_regex(glob: str) -> str:
    parts, at = [], 0
    while at < len(glob):
        part, at = _glob_part(glob, at)
        parts.append(part)
    return "".join(parts)


def _glob_part(glob: str, at: int) -> tuple[str, int]:
    """The pattern for what stands at ``at``, and where the next part begins. A ``[`` without ``]`` is itself."""
    wildcard = next((wild for wild in _WILDCARDS if glob.startswith(wild, at)), "")
    if wildcard == "**/" and at and glob[at - 1] != "/":
        wildcard = "**"
    if wildcard:
        return _WILDCARDS[wildcard], at + len(wildcard)
    if glob[at] == "[":
        first = at + 1 + glob.startswith(("!", "^"), at + 1)
        end = glob.find("]", first + 1)
        if end > 0:
            return _glob_class(glob, first, end), end + 1
    return "\\" + glob[at] if glob[at] in _SPECIAL else glob[at], at + 1


def _glob_class(glob: str, first: int, end: int) -> str:
    """The pattern for ``[…]``, whose members stand in ``glob[first:end]``."""
    members = _members(glob, first, end)
    if glob[first - 1] != "[":
        return "(?:[^" + "".join(f"\\x{code:02x}" for code in sorted(members | {ord("/")})) + rf"\x80-\xff]|{_WIDE})"
    members.discard(ord("/"))
    if not members:
        raise PatternError(glob, first, "nothing is in this […]: a range runs from low to high, and / never matches")
    return "[" + "".join(f"\\x{code:02x}" for code in sorted(members)) + "]"


def _members(glob: str, first: int, end: int) -> set[int]:
    codes: set[int] = set()
    at = first
    while at < end:
        last = at + 2 if at + 2 < end and glob[at + 1] == "-" else at
        if not glob[at : last + 1].isascii():
            raise PatternError(glob, at, "only ASCII in […]: give two names instead")
        codes.update(range(ord(glob[at]), ord(glob[last]) + 1))
        at = last + 1
    return codes
