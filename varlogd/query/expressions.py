"""RE2 patterns as expressions of hyperscan that find the same lines in a buffer of many lines.

The two read the same syntax with different meanings: in a buffer, ``\\s``, ``\\W``, ``[^a]`` and ``(?s).`` also
match line feeds, ``\\A`` and ``\\z`` are the ends of the buffer, and flags act otherwise. So a pattern is not handed
over as it is but put into the small language that both read alike: bytes, explicit sets of bytes, groups,
alternation, repetition, ``.``, ``^``, ``$``, ``\\b`` and ``\\B``.

- **Classes and escapes** become the set of bytes that RE2 says they match, which never has the line feed.
- **Flags** go: case is written out (``[kK]``), ``s`` and ``m`` mean nothing within one line, and ``U`` says which
  match is preferred, not if there is one.
- **Ends of the text** are ends of the line.

What is found is the *end of a line*: an expression takes the rest of the line with it, line feed and all, so that
hyperscan, which reports every end of every match, reports a line once. It has no ``$`` but at the end of an
expression; such a branch ends at the end of the line by itself, before the line feed. A pattern with another ``$``,
or with a line feed (which no line has), has no expressions here and is left to RE2.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from varlogd.query.pattern import Pattern, Piece, bytes_matching, escaped

SETS_KEPT_MAX: Final = 256
"""Sets of bytes remembered: patterns use the same few classes."""

_REST_OF_LINE: Final = rb"[^\n]*\n"
_OPERATORS: Final = frozenset(".^$|*+?")
_OPERATOR_TOKENS: Final = frozenset({b"*", b"+", b"?", b"|"})


class Expression(NamedTuple):
    """A hyperscan expression, to be compiled as multi-line; may match nothing at all only if it is ``bare``.

    Each match ends behind a line feed or, if it is ``bare``, right before one (or at the end of the buffer). ``size``
    is how many characters and sets it has with all repetitions written out: what compiling it takes. (RE2's program
    may be shorter by far, where alternatives begin alike.)
    """

    source: bytes
    bare: bool
    size: int


class _Untranslatable(Exception):
    """A piece that has no meaning here."""


def expressions_of(pattern: Pattern) -> tuple[Expression, ...] | None:
    """Expressions of which at least one matches in exactly the lines that ``pattern`` does; None if RE2 alone can."""
    try:
        branches = list(_branches(list(_tokens(pattern.pieces))))
    except _Untranslatable:
        return None
    if not any(b"$" in branch for branch in branches):
        return (_to_line_end(b"|".join(map(b"".join, branches)), sum(map(_size, branches))),)
    if any(b"$" in branch[:-1] for branch in branches):
        return None
    return tuple(_expression(branch) for branch in branches)


def _expression(branch: Sequence[bytes]) -> Expression:
    source = b"".join(branch)
    return Expression(source, True, _size(branch)) if branch[-1:] == [b"$"] else _to_line_end(source, _size(branch))


def _to_line_end(source: bytes, size: int) -> Expression:
    return Expression(b"(?:" + source + b")" + _REST_OF_LINE, False, size)


def _size(tokens: Iterable[bytes]) -> int:
    sizes = [0]
    last = 0  # the size of what a repetition would repeat
    for token in tokens:
        if token == b"(?:":
            sizes.append(0)
        elif token == b")":
            last = sizes.pop()
            sizes[-1] += last
        elif token.startswith(b"{"):
            times = max(int(bound) for bound in token[1:-1].split(b",") if bound)
            sizes[-1] += last * (times - 1)
            last *= times
        elif token not in _OPERATOR_TOKENS:
            last = 1
            sizes[-1] += last
    return sizes[0]


def _branches(tokens: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The tokens of each alternative that is in no group."""
    branch: list[bytes] = []
    depth = 0
    for token in tokens:
        depth += (token == b"(?:") - (token == b")")
        if token == b"|" and not depth:
            yield branch
            branch = []
        else:
            branch.append(token)
    yield branch


def _tokens(pieces: Sequence[Piece]) -> Iterator[bytes]:
    at = 0
    while at < len(pieces):
        piece = pieces[at]
        repeat = _repeat(pieces, at) if piece.text == "{" and piece.kind == "text" else ""
        if repeat:
            yield repeat.encode()
            at += len(repeat)
            continue
        yield from _translated(piece)
        at += 1


def _translated(piece: Piece) -> Iterator[bytes]:
    match piece.kind:
        case "open":
            yield b"(?:"
        case "close":
            yield b")"
        case "flags":
            return
        case "escape" | "class":
            yield _ESCAPES.get(piece.text) or _set(piece.text, piece.ignore_case)
        case "text" if piece.text in _OPERATORS:
            yield piece.text.encode()
        case _:
            for character in piece.text:
                yield _character(character, piece.ignore_case)


_ESCAPES: Final = {"\\A": b"^", "\\z": b"$", "\\b": rb"\b", "\\B": rb"\B", "\\C": b"."}


def _repeat(pieces: Sequence[Piece], at: int) -> str:
    """The ``{2,3}`` that begins at a brace; empty if the brace stands for itself."""
    text = ""
    for piece in pieces[at : at + len("{1000,1000}")]:
        text += piece.text if piece.kind == "text" else " "
        if piece.text == "}":
            break
    low, _, high = text[1:-1].partition(",")
    return text if text.endswith("}") and low.isdecimal() and (not high or high.isdecimal()) else ""


def _character(character: str, ignore_case: bool) -> bytes:
    if character == "\n":
        raise _Untranslatable
    if not character.isascii():
        return escaped(character, ignore_case)
    if not character.isalnum():
        return b"\\x%02x" % ord(character)
    if ignore_case and character.isalpha():
        return f"[{character.upper()}{character.lower()}]".encode()
    return character.encode()


@lru_cache(maxsize=SETS_KEPT_MAX)
def _set(source: str, ignore_case: bool) -> bytes:
    """The bytes that a class or an escape matches, as a class of ranges."""
    members = sorted(bytes_matching(source.encode(), ignore_case=ignore_case))
    if not members:
        raise _Untranslatable
    ranges: list[list[int]] = []
    for byte in members:
        if ranges and byte == ranges[-1][1] + 1:
            ranges[-1][1] = byte
        else:
            ranges.append([byte, byte])
    return b"[" + b"".join(b"\\x%02x-\\x%02x" % (low, high) for low, high in ranges) + b"]"
