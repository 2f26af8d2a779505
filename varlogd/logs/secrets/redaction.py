"""Secrets are masked on the host that has them: nobody who asks gets them, nor can find them out.

Every byte of a secret becomes an asterisk, so that what stands around it keeps its place: offsets, lengths and the
number of lines stay as they are in the file, and cursors with them. It is done **before** lines are searched: if
filters saw the secret, a pattern that matches or does not would tell it, a character at a time.

**Cost.** Nearly all text has no secrets. Of each chunk it is first found out if any rule matches anywhere in it, in
one sweep; only then are the matching rules run to find where. A chunk without secrets comes out as it went in.

**Keys in several lines** (`key_blocks`) may lie across chunks. The lines at the far edge of a chunk that may belong
to one are held back until the next chunk has shown if they do; at most `key_blocks.BLOCK_MAX_BYTES` of them. So what
is masked, and how much is counted, does not depend on how the text was cut into chunks.

**A line without an end** (`Chunk.torn`: being written, or longer than is given) may end within a secret, which the
rules then do not know for one: its `@` or its length is missing. In such lines alone, what may have been begun is
masked too (`begun_rules`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from itertools import accumulate, chain
from typing import Final, Protocol

from varlogd.errors import PatternError
from varlogd.logs.account import Account
from varlogd.logs.asked import Asked
from varlogd.logs.catalogue import LogStream
from varlogd.logs.reader import Chunk, Steps, Transform
from varlogd.logs.secrets.key_blocks import MARK, Body, Span, begun_body, bodies, open_end, open_start
from varlogd.logs.secrets.rules import Rule, begun_rules, builtin_rules
from varlogd.query.pattern import GroupsPattern
from varlogd.query.vectors import PresentVectors, VectorsError
from varlogd.wire.limits import KIB

MASK: Final = b"*"

VECTORS_FROM_BYTES: Final = 64 * KIB
"""Text in which secrets are sought with hyperscan: to compile it takes a tenth of a second, once, and who only asks
for the last lines of a log need not wait for that."""


class Redactor:
    """The rules of this host: built-in ones, and ``own``, RE2 patterns by name. Raises PatternError for a bad one."""

    def __init__(self, own: Mapping[str, str], *, builtin: bool) -> None:
        self._own = tuple(Rule(name, GroupsPattern(text)) for name, text in own.items())
        self._builtin = builtin

    def transform_of(self, stream: LogStream, asked: Asked, account: Account) -> Transform:
        """What one stream's chunks go through: a `sources.TransformOf`."""
        return lambda steps: self.redacted(steps, account, backwards=asked.backwards)

    def redacted(self, steps: Steps, account: Account, *, backwards: bool) -> Steps:
        """The chunks of one file with their secrets masked; ``account`` counts them."""
        held: list[Chunk] = []
        at_start = True
        for chunk in steps:
            if chunk is None:
                yield None
                continue
            certain, held = _parted([*held, chunk], backwards=backwards, at_start=at_start)
            yield from self._masked(certain, account, backwards=backwards, at_start=at_start)
            at_start = at_start and not certain
            if not certain:
                yield None
        yield from self._masked(held, account, backwards=backwards, at_start=at_start, at_end=True)

    def mask(self, text: bytes) -> tuple[bytes, int]:
        """A text that stands for itself (a message of the journal), masked, and how many secrets were in it."""
        return self._mask(text, (), from_edge=False, to_edge=False)

    @cached_property
    def _gates(self) -> list[_Gate]:
        """The rules, each behind what says if it can match at all; with the built-in ones is the `_key_mark`."""
        gates: list[_Gate] = [_builtin_gate()] if self._builtin else []
        return [*gates, _Re2Gate(self._own)] if self._own else gates

    def _masked(
        self, chunks: Sequence[Chunk], account: Account, *, backwards: bool, at_start: bool, at_end: bool = False
    ) -> Iterator[Chunk]:
        """Mask chunks, given in the order of reading, as one text."""
        if not chunks:
            return
        in_order = chunks[::-1] if backwards else chunks
        text = b"".join(chunk.data for chunk in in_order) if len(chunks) > 1 else chunks[0].data
        from_edge, to_edge = (at_end, at_start) if backwards else (at_start, at_end)
        masked, count = self._mask(text, _torn_lines(in_order, text), from_edge=from_edge, to_edge=to_edge)
        account.redacted += count
        if count:
            in_order = _cut_up(in_order, masked)
        yield from reversed(in_order) if backwards else in_order

    def _mask(self, text: bytes, torn: Iterable[Span], *, from_edge: bool, to_edge: bool) -> tuple[bytes, int]:
        present = [rule for gate in self._gates for rule in gate.present(text)]
        spans = [span for rule in present if rule is not _key_mark() for span in _secrets(rule, text)]
        keys: set[Body] = set()
        if self._builtin:
            spans += [span for line in torn for span in _begun(text, *line)]
            marks = list(_key_mark().pattern.spans(text)) if _key_mark() in present else []
            keys = bodies(text, marks, from_edge=from_edge, to_edge=to_edge)
        if not spans and not keys:
            return text, 0
        apart = _apart(spans)
        return _covered(text, chain(apart, *keys)), len(apart) + len(keys)


class _Gate(Protocol):
    """Rules, and a quick way to say which of them may match in a text."""

    def present(self, text: bytes) -> Iterable[Rule]: ...


class _VectorGate:
    """All rules in one sweep. Raises VectorsError."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._vectors = PresentVectors([rule.pattern.text for rule in rules])

    def present(self, text: bytes) -> Iterable[Rule]:
        return (self._rules[number] for number in sorted(self._vectors.present(text)))


class _Re2Gate:
    """One pattern that matches where any rule does, and then each."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules

    def present(self, text: bytes) -> Iterable[Rule]:
        if self._any is not None and not self._any.is_in(text):
            return ()
        return (rule for rule in self._rules if rule.pattern.is_in(text))

    @cached_property
    def _any(self) -> GroupsPattern | None:
        try:
            return GroupsPattern("|".join(f"(?:{rule.pattern.text})" for rule in self._rules))
        except PatternError:  # too large together
            return None


class _BuiltinGate:
    """Short texts go through RE2, which is ready at once; long ones are worth the other engine."""

    def __init__(self) -> None:
        rules = builtin_rules()
        self._rules = (*rules, _key_mark())
        self._for_short = (_Re2Gate(rules), _Re2Gate([_key_mark()]))  # as one they were three times slower

    def present(self, text: bytes) -> Iterable[Rule]:
        gates = self._for_short if len(text) < VECTORS_FROM_BYTES else self._for_long
        return chain.from_iterable(gate.present(text) for gate in gates)

    @cached_property
    def _for_long(self) -> Sequence[_Gate]:
        try:
            return (_VectorGate(self._rules),)
        except VectorsError:  # four times slower; whoever asks is told of the engine by the scanner
            return self._for_short


_builtin_gate = cache(_BuiltinGate)
"""One for the process: its rules are always the same."""


@cache
def _key_mark() -> Rule:
    """What is no secret, and is sought in the same sweep: it tells that there are keys in several lines."""
    return Rule("mark of a key", GroupsPattern(MARK))


@cache
def _begun_gate() -> _Gate:
    return _Re2Gate(begun_rules())


def _parted(chunks: Sequence[Chunk], *, backwards: bool, at_start: bool) -> tuple[list[Chunk], list[Chunk]]:
    """Chunks, in the order of reading, whose keys are known, and those that wait for the next.

    The last one is cut in two, if need be, between two lines.
    """
    newest = chunks[-1]
    if newest.cut:
        return list(chunks), []
    in_order = chunks[::-1] if backwards else chunks
    text = b"".join(chunk.data for chunk in in_order) if len(chunks) > 1 else newest.data
    size = len(newest.data)
    open_bytes = open_start(text, to_edge=at_start) if backwards else open_end(text)
    if not open_bytes:
        return list(chunks), []
    if open_bytes >= size:
        return [], list(chunks)
    above, below = _cut_in_two(newest, open_bytes if backwards else size - open_bytes)
    certain, waiting = (below, above) if backwards else (above, below)
    return [*chunks[:-1], certain], [waiting]


def _cut_in_two(chunk: Chunk, at: int) -> tuple[Chunk, Chunk]:
    """The lines of a chunk before ``at`` in its data, and those from there on."""
    start, data, cut, starts, times, text_bytes, torn = chunk
    if not starts:
        return Chunk(start, data[:at], cut), Chunk(start + at, data[at:], cut, torn=torn)
    lines = data.count(b"\n", 0, at)
    middle = starts[lines]
    return (
        Chunk(start, data[:at], cut, starts[:lines], times[:lines], middle - start),
        Chunk(middle, data[at:], cut, starts[lines:], times[lines:], text_bytes - (middle - start), torn),
    )


def _cut_up(chunks: Sequence[Chunk], text: bytes) -> list[Chunk]:
    """The chunks with the bytes of ``text`` in place of theirs."""
    ends = accumulate(len(chunk.data) for chunk in chunks)
    return [chunk._replace(data=text[end - len(chunk.data) : end]) for chunk, end in zip(chunks, ends, strict=True)]


def _torn_lines(chunks: Iterable[Chunk], text: bytes) -> list[Span]:
    """Where in ``text``, which is that of ``chunks``, the lines stand that have no end."""
    torn, end = [], 0
    for chunk in chunks:
        end += len(chunk.data)
        if chunk.torn:
            torn.append((text.rfind(b"\n", 0, end - 1) + 1, end))
    return torn


def _begun(text: bytes, start: int, end: int) -> Iterator[Span]:
    """The secrets that begin in a line without an end, and may go on behind it."""
    line = text[start:end]
    for rule in _begun_gate().present(line):
        for first, last in _secrets(rule, line):
            yield start + first, start + last
    if (word := begun_body(text, start, end)) is not None:
        yield word


def _secrets(rule: Rule, text: bytes) -> Iterator[Span]:
    """What a rule finds; what is asterisks already is no secret."""
    for start, end in rule.pattern.spans(text):
        secret = text[start:end]
        if secret.strip(MASK) and rule.is_secret(secret):
            yield start, end


def _apart(spans: Iterable[Span]) -> list[Span]:
    """The same, with those that overlap made one."""
    apart: list[Span] = []
    for start, end in sorted(spans):
        if apart and start < apart[-1][1]:
            apart[-1] = (apart[-1][0], max(end, apart[-1][1]))
        else:
            apart.append((start, end))
    return apart


def _covered(text: bytes, spans: Iterable[Span]) -> bytes:
    covered = bytearray(text)
    for start, end in spans:
        covered[start:end] = MASK * (end - start)
    return bytes(covered)
