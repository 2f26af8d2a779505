"""Patterns: what an asker may search for, compiled by RE2 and by nothing else.

RE2 runs in time linear in the text, whatever the pattern, and lets other threads run meanwhile; the standard
library's `re` does neither, so an asker's pattern never reaches it. This is the only module that imports `re2`.

**Bytes.** A log line is bytes, often not UTF-8. RE2 therefore reads lines as Latin-1, one byte a character, and a
pattern becomes bytes too: a character beyond ASCII stands for its UTF-8 bytes *as a group*, so that ``é+`` repeats
both of them and ``(?i)é`` finds É. In a character class it would stand for either byte alone and match half
characters; that is refused rather than answered wrongly.

**Lines.** A pattern is judged on one line, which holds no line feed (``never_nl``: nothing matches one). Searching a
buffer of many lines at once with ``(?m)`` gives the same lines, unless the pattern speaks of the text as a whole
(``\\A``, ``\\z``, ``(?-m)``) or of any byte (``\\C``): `Pattern.spans_lines` says so.

**Cost.** Where RE2's automaton outgrows its memory it falls back to a slower one whose time is the program's size
times the text's (up to 9 ns an instruction and byte, measured): so the size is bounded, and
`Pattern.program_size` lets a scanner cut its text into smaller pieces.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import re2

from varlogd.errors import PatternError
from varlogd.wire.limits import MIB, PATTERN_MAX_CHARS

PATTERN_MEMORY_BYTES: Final = 2 * MIB
"""RE2's memory for one pattern. Less makes common alternations slow, 8 MiB (its default) accepts patterns that need
minutes for 256 KiB of text."""

PROGRAM_SIZE_MAX: Final = 4096
"""Instructions in one pattern with operators: 16 KiB of text then take at most some 0.6 s. Literals may have more: of
them few are alive at once."""


class Pattern:
    """A compiled pattern. ``source`` is RE2 text that stands on its own: it can be wrapped in a group. ``pieces`` is
    what an asker's text was made of; empty for several patterns in one."""

    def __init__(
        self, source: bytes, *, ignore_case: bool, literal: bool, spans_lines: bool, pieces: tuple[Piece, ...] = ()
    ) -> None:
        self.source = source
        self.pieces = pieces
        self.ignore_case = ignore_case
        self.literal = literal
        self.spans_lines = spans_lines
        self._regexp = _compile(source, ignore_case=ignore_case)
        self.program_size: int = self._regexp.programsize
        if self.program_size > PROGRAM_SIZE_MAX and not literal:
            raise re2.error(b"pattern too large - compile failed")

    @property
    def sees_end(self) -> bool:
        """Whether what follows a match may undo it."""
        return any(map(_looks_behind, self.pieces))

    def found_in(self, line: bytes) -> bool:
        """Whether the pattern matches anywhere in ``line``."""
        return self._regexp.search(line) is not None

    def spans(self, line: bytes) -> Iterator[tuple[int, int]]:
        """The parts of ``line`` that match, from left to right, none overlapping; some may be empty."""
        for match in self._regexp.finditer(line):
            yield match.span()

    def is_all_of(self, value: bytes) -> bool:
        """Whether the pattern matches ``value`` from end to end."""
        return self._regexp.fullmatch(value) is not None

    def first_in(self, text: bytes, start: int) -> int:
        """Where the first match at or after ``start`` begins in a text of many lines; -1 if there is none."""
        match = self._regexp.search(text, start)
        return -1 if match is None else match.start()

    def over_lines(self) -> LinesPattern:
        """The same pattern for a buffer of many lines; only where `spans_lines` is true."""
        return LinesPattern(self.source, ignore_case=self.ignore_case)


class LinesPattern:
    """A pattern that finds the matching lines of a whole buffer in one sweep."""

    def __init__(self, source: bytes, *, ignore_case: bool) -> None:
        # The tail takes the rest of the line, so that a line is reported once however often it matches.
        self._regexp = _compile(b"(?m)(?:" + source + rb")[^\n]*", ignore_case=ignore_case)

    def ends(self, text: bytes) -> Iterator[tuple[int, int]]:
        """For each line of ``text`` that matches: where a match begins in it, and where the line ends.

        ``text`` is whole lines, each closed by a line feed. Now and then a line is given twice in a row.
        """
        for match in self._regexp.finditer(text, 0, len(text) - 1):
            yield match.span()


class GroupsPattern:
    """A pattern of many lines that says where its groups are, or all of it where it has none."""

    def __init__(self, text: str) -> None:
        """Raises PatternError, also for a pattern that speaks of the text as a whole or matches the empty text."""
        pattern = compile_pattern(text)
        if not pattern.spans_lines:
            raise PatternError(text, 0, r"\A, \z, \C and (?-m) cannot be used here: lines are searched many at once")
        if pattern.found_in(b""):
            raise PatternError(text, 0, "it matches the empty text")
        self._regexp = _compile(b"(?m)(?:" + pattern.source + b")", ignore_case=False, captures=True)
        self.text = text

    def is_in(self, text: bytes) -> bool:
        """Whether it matches in any line of ``text``."""
        return self._regexp.search(text) is not None

    def spans(self, text: bytes) -> Iterator[tuple[int, int]]:
        """Where in ``text`` each group of each match is that took part in it."""
        groups = range(1, self._regexp.groups + 1) if self._regexp.groups else range(1)
        for match in self._regexp.finditer(text):
            for group in groups:
                start, end = match.span(group)
                if start < end:
                    yield start, end


def compile_pattern(text: str, *, ignore_case: bool = False, literal: bool = False) -> Pattern:
    """The compiled pattern of an asker's text: RE2 syntax, or the text itself if ``literal``.

    Raises PatternError, pointing at the character at fault.
    """
    _check_text(text)
    scanned = [Piece("quote", 0, text, ignore_case)] if literal else list(_pieces(text, ignore_case))
    source = b"".join(map(_source, scanned))
    try:
        if not literal:
            _refuse_wide_classes(text, scanned)
        spans_lines = not any(map(_speaks_of_the_text, scanned))
        pieces = tuple(scanned)
        return Pattern(source, ignore_case=ignore_case, literal=literal, spans_lines=spans_lines, pieces=pieces)
    except re2.error as error:
        raise _explain(text, error.args[0], scanned) from error


def any_of(patterns: Sequence[Pattern], texts: Sequence[str]) -> Pattern:
    """One pattern that matches where any of ``patterns`` does: all literal or none, one case, of ``texts``."""
    first = patterns[0]
    if len(patterns) == 1:
        return first
    source = b"|".join(b"(?:" + pattern.source + b")" for pattern in patterns)
    spans_lines = all(pattern.spans_lines for pattern in patterns)
    try:
        return Pattern(source, ignore_case=first.ignore_case, literal=first.literal, spans_lines=spans_lines)
    except re2.error as error:
        raise PatternError(texts[-1], 0, f"{len(texts)} patterns are too large together") from error


def bytes_matching(source: bytes, *, ignore_case: bool) -> set[int]:
    """The bytes that a class or an escape for one byte matches; the line feed is not among them (``never_nl``)."""
    regexp = _compile(source, ignore_case=ignore_case)
    return {match.start() for match in regexp.finditer(bytes(range(256)))}


def _compile(source: bytes, *, ignore_case: bool, captures: bool = False) -> re2._Regexp:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = PATTERN_MEMORY_BYTES
    options.never_nl = True
    options.never_capture = not captures
    options.log_errors = False
    options.case_sensitive = not ignore_case
    try:
        return re2.compile(source, options)
    finally:
        re2.purge()  # the library would keep 128 programs and their automata long after their queries


def _check_text(text: str) -> None:
    if len(text) > PATTERN_MAX_CHARS:
        raise PatternError(text[:80] + "…", 80, f"longer than {PATTERN_MAX_CHARS} characters")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        shown = text.encode(errors="replace").decode()
        raise PatternError(shown, error.start, "a surrogate is not a character") from error


# --- the pieces of a pattern: enough of RE2's syntax to tell escapes, classes and groups apart, and no more ---


class Piece(NamedTuple):
    """A piece of a pattern: ``open``, ``close``, ``flags``, ``class``, ``escape``, ``quote`` (\\Q…\\E) or ``text``.

    ``ignore_case`` is what flags and groups before it made of it.
    """

    kind: str
    start: int
    text: str
    ignore_case: bool


def _pieces(text: str, ignore_case: bool) -> Iterator[Piece]:
    """The pieces of a pattern in order, also of one that RE2 refuses."""
    cases = [ignore_case]
    start = 0
    while start < len(text):
        kind, end = _piece_at(text, start)
        piece = text[start:end]
        if kind == "flags":
            cases[-1] = _flagged(piece, cases[-1])
        elif kind == "open":
            cases.append(_flagged(piece, cases[-1]))
        elif kind == "close" and len(cases) > 1:
            cases.pop()
        elif kind == "quote":
            piece = piece[2:].removesuffix("\\E")
        yield Piece(kind, start, piece, cases[-1])
        start = end


def _piece_at(text: str, start: int) -> tuple[str, int]:
    match text[start]:
        case "\\" if text.startswith("\\Q", start):
            end = text.find("\\E", start + 2)
            return "quote", len(text) if end < 0 else end + 2
        case "\\":
            return "escape", _escape_end(text, start)
        case "[":
            return "class", _class_end(text, start)
        case "(":
            return _group_at(text, start)
        case ")":
            return "close", start + 1
    return "text", start + 1


def _escape_end(text: str, start: int) -> int:
    """Where ``\\n``, ``\\pL``, ``\\p{Greek}``, ``\\x41``, ``\\x{e9}`` or ``\\101`` ends."""
    letter = text[start + 1 : start + 2]
    if letter in ("p", "P", "x") and text.startswith("{", start + 2):
        end = text.find("}", start)
        return len(text) if end < 0 else end + 1
    if letter and letter in "01234567":
        end = start + 2
        while end < start + 4 and text[end : end + 1] in tuple("01234567"):
            end += 1
        return end
    return start + {"p": 3, "P": 3, "x": 4}.get(letter, 2)


def _group_at(text: str, start: int) -> tuple[str, int]:
    if not text.startswith("(?", start):
        return "open", start + 1
    if text.startswith(("(?P<", "(?<"), start):
        end = text.find(">", start)
        return "open", len(text) if end < 0 else end + 1
    end = start + 2
    while end < len(text) and text[end] in "imsU-":
        end += 1
    if text.startswith(")", end):
        return "flags", end + 1
    return "open", end + 1 if text.startswith(":", end) else start + 2


def _class_end(text: str, start: int) -> int:
    at = start + 1
    at += text.startswith("^", at)
    at += text.startswith("]", at)
    while at < len(text) and text[at] != "]":
        if text[at] == "\\":
            at += 2
        elif text.startswith("[:", at) and (end := text.find(":]", at + 2)) >= 0:
            at = end + 2
        else:
            at += 1
    return at + 1


def _flagged(group: str, ignore_case: bool) -> bool:
    """What ``(?i)`` or ``(?i-s:`` makes of the case; other groups change nothing."""
    if not group.startswith("(?") or group == "(?":
        return ignore_case
    on, _, off = group[2:].partition("-")
    return (ignore_case or "i" in on) and "i" not in off


def _speaks_of_the_text(piece: Piece) -> bool:
    """Whether a piece means something else in a buffer of many lines than in one line."""
    if piece.kind == "escape":
        return piece.text in ("\\A", "\\z", "\\C")
    return piece.kind in ("flags", "open") and "m" in piece.text.partition("-")[2]


def _looks_behind(piece: Piece) -> bool:
    """Whether a piece asks what stands behind it."""
    if piece.kind == "escape":
        return piece.text in ("\\b", "\\B", "\\z")
    return piece.kind == "text" and piece.text == "$"


def _source(piece: Piece) -> bytes:
    """A piece as RE2 bytes: characters beyond ASCII become groups, quoted text becomes escaped text."""
    if piece.text.isascii() and piece.kind != "quote":
        return piece.text.encode()
    if piece.kind in ("quote", "text"):
        return b"".join(escaped(character, piece.ignore_case) for character in piece.text)
    return piece.text.encode()


def escaped(character: str, ignore_case: bool) -> bytes:
    """An expression, for RE2 and in hyperscan's syntax too, of one character; of either case of one beyond ASCII."""
    if character.isascii():
        source: bytes = re2.escape(character.encode())
        return source
    cases = {character, character.lower(), character.upper()} if ignore_case else {character}
    forms = (b"".join(b"\\x%02x" % byte for byte in form.encode()) for form in sorted(cases) if len(form) == 1)
    return b"(?-i:" + b"|".join(forms) + b")"


def _refuse_wide_classes(text: str, pieces: Sequence[Piece]) -> None:
    for piece in pieces:
        if piece.kind == "class" and not piece.text.isascii():
            at = next(index for index, character in enumerate(piece.text) if not character.isascii())
            reason = "a class matches single bytes: outside ASCII write (?:a|é)"
            raise PatternError(text, piece.start + at, reason)


# --- errors: RE2 says what is wrong; where it is, is for us to find ---


def _explain(text: str, message: bytes, pieces: Sequence[Piece]) -> PatternError:
    """The error of a text that RE2 refused with ``message``: its kind, then mostly the fragment at fault."""
    if message.startswith(b"pattern too large"):
        return PatternError(text, 0, "too large: RE2 needs too long a program for it")
    kind, fragment = _parted(message)
    if kind == b"missing )":
        return PatternError(text, _unmatched(pieces), "missing )")
    raw = text.encode()
    offset = len(raw[: _fault(raw)].decode("utf-8", "ignore"))
    if kind == b"invalid UTF-8":  # RE2's word for an escape that the end of the pattern cuts off
        return PatternError(text, offset, "incomplete escape sequence")
    shown = "" if kind in _TOLD_THE_REST else fragment.decode("utf-8", "replace")
    return PatternError(text, offset, ": ".join(filter(None, (kind.decode(), shown))))


_TOLD_THE_REST: Final = frozenset({b"missing ]", b"unexpected )"})
"""Kinds whose fragment is not the fault but all the rest of the pattern, or all of it."""


def _unmatched(pieces: Sequence[Piece]) -> int:
    """Where the innermost group begins that nothing closes."""
    opened = []
    for piece in pieces:
        if piece.kind == "open":
            opened.append(piece.start)
        elif piece.kind == "close":
            opened.pop()
    return opened[-1]


def _fault(raw: bytes) -> int:
    """Where RE2 stumbles over ``raw``.

    It reads from left to right: the shortest beginning that it refuses for the same reason ends in the fault.
    """
    kind, fragment = _parted(_refusal(raw))
    if kind == b"missing ]":
        return len(raw) - len(fragment)
    low, high = 1, len(raw)
    while low < high:
        middle = (low + high) // 2
        found, of = _parted(_refusal(raw[:middle]))
        if found == kind and (of == fragment or kind in _TOLD_THE_REST):
            high = middle
        else:
            low = middle + 1
    if kind in (b"unexpected )", b"bad repetition operator"):  # the later one of the two at odds
        return high - 1
    return raw.rfind(fragment, 0, high) if fragment else high - 1


def _parted(message: bytes) -> tuple[bytes, bytes]:
    """RE2's message as its kind and the fragment of the pattern it is about."""
    kind, _, fragment = message.partition(b": ")
    return kind, fragment


def _refusal(raw: bytes) -> bytes:
    """What RE2 says against a pattern; empty if nothing."""
    try:
        _compile(raw, ignore_case=False)
    except re2.error as error:
        message: bytes = error.args[0]
        return message
    return b""
