"""Private keys in several lines: where they are, and which lines may be part of one that goes on.

A block is a line with ``-----BEGIN … PRIVATE KEY-----``, a few header lines, the body, and a line with
``-----END …-----`` (RFC 7468; OpenSSL and OpenPGP have the headers). The body is *full* lines, which end in a word of
base64 of `FULL_MIN_CHARS` and more (what stands before it, as a logger's prefix, is let be), and then, just before
the end, one that may be *short*. So a line is one of few kinds, and a block is a pattern of kinds: ``bh*f+s?e``.

The body is secret if **either** mark is seen, for reading may begin or end within a block. So a run of such lines at
the far edge of what has been read is *open*: what comes next decides. Lines of base64 with neither mark are no key.
Where a whole reading is nothing else, both marks may be just outside, and it is taken for one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from varlogd.wire.limits import KIB

FULL_MIN_CHARS: Final = 60
"""All lines of a body but the last have 64 characters (PEM, OpenPGP) or more (OpenSSH: 70)."""

BLOCK_MAX_BYTES: Final = 32 * KIB
"""Longer runs of base64 are something else. A key of 16384 bits has 13 KiB, twice that with a logger's prefixes."""

MARK: Final = r"-----(?:BEGIN|END) [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
"""What begins and what ends a block."""

Span = tuple[int, int]
Body = tuple[Span, ...]
"""Where the secret words of one key are, a line each."""

_BEGIN: Final = b"-----BEGIN "
_END: Final = b"-----END "
_KEY: Final = b"PRIVATE KEY"
_HEADERS: Final = (b"Proc-Type:", b"DEK-Info:", b"Version:", b"Comment:", b"Hash:", b"Charset:", b"MessageID:")
_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_BEFORE: Final = (b" ", b"\t", b'"', b"'", b">", b"|", b":")
"""What may stand before the base64 of a line,"""
_AFTER: Final = b"\r\n\t \"',\\"
"""and behind it."""

_TORN_END: Final = re.compile(rb"""(?:^|[ \t"'>|:])(?:-{1,5}|-----E|-----EN|-----END|-----END [A-Z0-9 ]*)$""")
"""The last line of a text may be a part of the mark: its file may be one that is being written."""

# Kinds of lines: begin, end, header (or blank), full, short, other.
_BELOW_BEGIN: Final = re.compile("h{0,6}(f+(?:s(?=e))?)")
_BELOW_BEGIN_TO_EDGE: Final = re.compile("h{0,6}(f+(?:s(?=e|$))?)")
_ABOVE_END: Final = re.compile("((?:s(?=f))?f+)")  # upwards, as the next
_OPEN_END: Final = re.compile("(?:s(?=f))?f+(?:h{0,6}b)?|h{0,6}b")
_OPEN_START: Final = re.compile("h{0,6}f+(?:s?e|s$)?|s?e")
_BEGUN_BODY: Final = re.compile("sh{0,6}b")  # upwards
_SHORT_TO_EDGE: Final = re.compile("h{0,6}s")
_NOTHING_ELSE: Final = re.compile("(f+s?)$")


def bodies(text: bytes, marks: Sequence[Span], *, from_edge: bool, to_edge: bool) -> set[Body]:
    """The bodies of the keys in ``text``, which is whole lines with marks at ``marks``.

    ``from_edge``, ``to_edge``: nothing is known of what stands before ``text``, or behind it.
    """
    below = _BELOW_BEGIN_TO_EDGE if to_edge else _BELOW_BEGIN
    found = set()
    for start, end in marks:
        if text.startswith(_BEGIN, start):
            if text[end : _line_end(text, end)].strip(_AFTER):
                continue  # a line that speaks of one, or has all of it
            found.add(_body(text, below, _downwards(text, _line_end(text, end))))
        else:
            found.add(_body(text, _ABOVE_END, _upwards(text, _line_start(text, start))))
    if from_edge and to_edge and not marks:
        found.add(_body(text, _NOTHING_ELSE, _downwards(text, 0)))
    return found - {()}


def begun_body(text: bytes, start: int, end: int) -> Span | None:
    """Where the beginning of a body is, if the line at ``start:end``, which goes on, is the first of one."""
    _, kinds = _gathered(text, _upwards(text, end))
    return _word(text, start, end) if _BEGUN_BODY.match(kinds) else None


def open_end(text: bytes) -> int:
    """How many bytes at the end of ``text`` may be part of a key that goes on behind it."""
    lines, kinds = _gathered(text, _upwards(text, len(text)))
    match = _OPEN_END.match(kinds)
    size = len(text) - lines[match.end() - 1][0] if match else 0
    return size if size <= BLOCK_MAX_BYTES else 0


def open_start(text: bytes, *, to_edge: bool) -> int:
    """How many bytes at the beginning of ``text`` may be part of a key that begins before it."""
    lines, kinds = _gathered(text, _downwards(text, 0))
    if to_edge and _SHORT_TO_EDGE.fullmatch(kinds) and lines[-1][1] == len(text):
        return len(text)
    match = _OPEN_START.match(kinds)
    size = lines[match.end() - 1][1] if match else 0
    return size if size <= BLOCK_MAX_BYTES else 0


def _body(text: bytes, pattern: re.Pattern[str], lines: Iterator[Span]) -> Body:
    gathered, kinds = _gathered(text, lines)
    match = pattern.match(kinds)
    if match is None:
        return ()
    return tuple(sorted(_word(text, *line) for line in gathered[match.start(1) : match.end(1)]))


def _gathered(text: bytes, lines: Iterator[Span]) -> tuple[list[Span], str]:
    """Lines and their kinds, up to the second that is neither full nor a header; or a little more than a block."""
    gathered: list[Span] = []
    kinds = ""
    for line in lines:
        gathered.append(line)
        kinds += _kind(text, *line)
        if kinds.count("s") + kinds.count("o") > 1 or kinds[-1] in "be":
            break
        if abs(line[0] - gathered[0][0]) > BLOCK_MAX_BYTES:
            break
    return gathered, kinds


def _downwards(text: bytes, start: int) -> Iterator[Span]:
    """The lines of ``text`` from the one that begins at ``start``, each with its line feed."""
    while start < len(text):
        end = _line_end(text, start)
        yield start, end
        start = end


def _upwards(text: bytes, end: int) -> Iterator[Span]:
    """The lines of ``text`` from the one that ends at ``end``."""
    while end > 0:
        start = _line_start(text, end - 1)
        yield start, end
        end = start


def _line_end(text: bytes, at: int) -> int:
    return text.find(b"\n", at) + 1 or len(text)


def _line_start(text: bytes, at: int) -> int:
    return text.rfind(b"\n", 0, at) + 1


def _kind(text: bytes, start: int, end: int) -> str:
    first, last = _word(text, start, end)
    word = text[first:last]
    if not word:
        return "h"
    if end == len(text) and _TORN_END.search(text[start:end].rstrip(_AFTER)):
        return "e"
    if not word.strip(_BASE64):
        return "f" if len(word) >= FULL_MIN_CHARS and _is_mixed(word) else "s"
    line = text[start:end]
    if _KEY in line and _BEGIN in line:
        return "b" if line.rstrip(_AFTER).endswith(b"-----") and _END not in line else "o"
    if _KEY in line and _END in line:
        return "e"
    return "h" if any(header in line for header in _HEADERS) else "o"


def _is_mixed(word: bytes) -> bool:
    """Whether it has letters of both cases, and more: checksums, paths and names have not."""
    return word.lower() != word != word.upper() and not word.isalpha()


def _word(text: bytes, start: int, end: int) -> Span:
    """Where the last word of a line is, without quotes and the like around it."""
    line = text[start:end].rstrip(_AFTER)
    first = max(map(line.rfind, _BEFORE)) + 1
    return start + first, start + len(line)
