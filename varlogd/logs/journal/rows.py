"""Rows of the journal: what `journalctl` exports, taken apart, chosen, masked, filtered and put in order.

A row is what ``journalctl -o short`` shows behind the host's name, ``identifier[pid]: message``. A message may have
several lines, which are one row; filters see its line feeds as spaces.

**Streams.** An entry belongs to the unit it is about: ``UNIT`` where systemd itself speaks of one, else the unit that
wrote it; else to ``kernel`` or ``other``.

**Places.** An entry has a sequence number, which is its offset, in the numbering of one journal, which is its
file's identity. Rows are ordered by the time at which they were received, so little out of order that `JournalOrder`
mends it.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from itertools import accumulate, compress
from typing import Final, NamedTuple

from varlogd.errors import LogReadError
from varlogd.logs.account import Account
from varlogd.logs.asked import Asked
from varlogd.logs.journal.export import ExportParser, Fields
from varlogd.logs.journal.groups import Entry, JournalGroups, within_bounds
from varlogd.logs.journal.journalctl import Child
from varlogd.logs.journal.order import JournalOrder
from varlogd.logs.order import Held, Mark, ranked
from varlogd.logs.reader import Chunk, Steps
from varlogd.logs.secrets.redaction import Redactor
from varlogd.wire.limits import KIB, MIB, STREAM_MAX_CHARS
from varlogd.wire.query import Source

PREFIX: Final = "journal/"
KERNEL: Final = "kernel"
OTHER: Final = "other"
"""Streams of the journal that are no unit's."""

WAIT_S: Final = 0.05
"""How long one step waits for journalctl: a question that is cancelled ends that soon."""

WAITING_BYTES: Final = 256 * KIB
"""What a step counts for in which it found nothing: as a chunk in which nothing matches."""

NUMBER_BITS: Final = 44
"""Of a sequence number: for five hundred years of a thousand entries a second. With the eight bits before it a
position is a whole number in every JSON reader."""

GROUP_WAIT_BYTES: Final = 4 * MIB
"""Journal text after which a match waits for no more lines around it: until then the rows of all streams wait."""

COMPLAINTS_MAX: Final = 5
"""Lines of journalctl's that are passed on."""

_CURSOR: Final = re.compile(rb"s=([0-9a-f]+);i=([0-9a-f]{1,16})(?:;|$)")
_NUMBERING: Final = re.compile(r"[0-9a-f]+")
_SYSTEMD_PID: Final = b"1"
_UNREADABLE: Final = ("insufficient permissions", "You are currently not seeing messages")
_NO_COMPLAINT: Final = ("-- ", "No journal files were found", "Users in ", "Pass -q ")
_MICROSECOND_NS: Final = 1000

Labels = Mapping[str, str]


class At(NamedTuple):
    """An entry's place: the numbering, its number there, its time."""

    numbering: str
    position: int
    time_ns: int

    def has_reached(self, other: At) -> bool:
        """Whether an entry at ``other`` is not behind this one."""
        if self.numbering == other.numbering:
            return other.position <= self.position
        return other.time_ns <= self.time_ns


class JournalRows:
    """The rows of the journal under one question, as a `merge.Reader`."""

    def __init__(self, child: Child, entries: Entries, account: Account, redactor: Redactor | None) -> None:
        self.rows: list[Held] = []
        self.counted = 0
        self.labels: dict[str, Labels] = {}
        self._child = child
        self._account = account
        self._entries = entries
        self._sign = entries.sign
        self._order = JournalOrder()
        self._waiting: deque[Entry] = deque()  # those whose lines have not come out masked
        self._masked = b""
        self._taken_bytes = 0
        steps: Steps = self._chunks()
        if redactor is not None:
            steps = redactor.redacted(steps, account, backwards=self._sign < 0)
        self._steps = steps
        self._has_ended = False

    @property
    def streams(self) -> int:
        """How many streams there are rows of."""
        return len(self.labels)

    @property
    def floor(self) -> Mark:
        """See `merge.Reader`."""
        return (self._order.floor,)

    def advance(self) -> bool:
        """See `merge.Reader`."""
        if self._has_ended:
            return False
        for chunk in self._steps:
            if chunk is not None:
                self._take(chunk)
            return True
        self._has_ended = True
        self.rows += self._order.finish(self._labelled(self._entries.last_rows()))
        self._tell_of_end()
        return False

    def close(self) -> None:
        """See `merge.Reader`."""
        if not self._has_ended:
            self._has_ended = True
            tell(self._child, self._account)
        self._child.close()

    def _chunks(self) -> Generator[Chunk | None, None, None]:
        """The lines of the entries, as chunks of a text that has all of them in the order of time."""
        position = 0
        while (data := self._child.read(WAIT_S)) != b"":
            if data is None:
                self._account.unpacked(WAITING_BYTES)
                yield None
                continue
            entries = self._entries.of(data)
            size = sum(len(entry.text) for entry in entries)
            self._account.read(size)
            self._waiting += entries
            in_order = reversed(entries) if self._sign < 0 else entries
            text = b"".join(entry.text for entry in in_order)
            position += self._sign * size
            yield Chunk(min(position, position - self._sign * size), text) if text else None

    def _take(self, chunk: Chunk) -> None:
        """Make rows of the entries whose lines are all here."""
        backwards = self._sign < 0
        self._masked = chunk.data + self._masked if backwards else self._masked + chunk.data
        entries: list[Entry] = []
        taken = 0
        while self._waiting and taken + len(self._waiting[0].text) <= len(self._masked):
            entry = self._waiting.popleft()
            start = len(self._masked) - taken - len(entry.text) if backwards else taken
            entries.append(entry._replace(text=self._masked[start : start + len(entry.text)]))
            taken += len(entry.text)
        self._masked = self._masked[: len(self._masked) - taken] if backwards else self._masked[taken:]
        self._taken_bytes += taken
        rows = self._labelled(self._entries.rows(entries, self._taken_bytes, GROUP_WAIT_BYTES))
        self.rows += self._order.add(rows, self._entries.low(entries))

    def _labelled(self, rows: list[Held]) -> list[Held]:
        """Rows, of whose streams the labels are then known."""
        for row in rows:
            if row[4].stream not in self.labels:
                self.labels[row[4].stream] = self._entries.labels[row[4].stream]
        return rows

    def _tell_of_end(self) -> None:
        if short := self._entries.short:
            self._account.note(f"journal: {short} times lines around a match are fewer than there are: too far apart")
        status = self._child.status()
        told = tell(self._child, self._account)
        if status and not told:
            self._account.missing(f"journal: journalctl ended with {status}")
        elif not self._entries.are_whole:
            self._account.missing("journal: journalctl broke off")


class Entries:
    """What of the export a question wants, and the rows it makes.

    ``labels_of`` gives the labels of a unit's stream, None if it is not wanted; ``priorities``: of the entries that
    are (None: any); ``last``: no entry behind it is wanted.
    """

    def __init__(
        self,
        asked: Asked,
        labels_of: Callable[[str], Labels | None],
        priorities: frozenset[bytes] | None,
        last: At | None = None,
    ) -> None:
        self.sign = -1 if asked.backwards else 1
        self.labels: dict[str, Labels] = {}
        self._asked = asked
        self._labels_of = labels_of
        self._priorities = priorities
        self._last = last
        self._resume = asked.resume
        has_context = asked.query.before or asked.query.after
        self._groups = JournalGroups(asked.query) if has_context else None
        self._parser = ExportParser()
        self._read: Fields | None = None
        self._streams: dict[bytes, str] = {}  # of each unit, empty if it is not wanted
        self._sources: dict[tuple[str, str], Source] = {}

    @property
    def are_whole(self) -> bool:
        """Whether what has come was whole entries."""
        return self._parser.is_between_entries

    @property
    def read(self) -> At | None:
        """The last entry that came, wanted or not."""
        return None if self._read is None else place_of(self._read)

    def of(self, data: bytes) -> list[Entry]:
        """The entries that end in ``data`` and are wanted, but for the filters. Raises LogReadError."""
        entries = []
        for fields in self._parser.feed(data):
            self._read = fields
            if (entry := self._entry(fields)) is not None:
                entries.append(entry)
        return entries

    def _is_before_resume(self, stream: str, at: At) -> bool:
        """Whether an entry has been given already, by the cursor that the question came with."""
        if self._resume is None:
            return False
        own = self._resume.streams.get(stream)
        if own is not None and own.file == at.numbering:
            return self.sign * at.position <= self.sign * own.offset
        after = self._resume.after
        if after is None:
            return False
        there = (after.key, after.stream, after.offset + base_of(after.file))
        here = (at.time_ns, stream, at.position + base_of(at.numbering))
        return here >= there if self.sign < 0 else here <= there

    @property
    def short(self) -> int:
        """How many rows lack lines around them."""
        return 0 if self._groups is None else self._groups.short

    def low(self, entries: Sequence[Entry]) -> int | None:
        """The least place that is known: of these entries, and of rows that are still to come."""
        lows = [self.sign * entry.time_ns for entry in entries]
        if self._groups is not None and (floor := self._groups.floor) is not None:
            lows.append(floor)
        return min(lows, default=None)

    def rows(self, entries: Sequence[Entry], now: float, wait: float) -> list[Held]:
        """The rows of entries that pass the filters; ``now`` and ``wait`` are those of `JournalGroups.add`."""
        joined = b"".join(entry.text[:-1].replace(b"\n", b" ") + b"\n" for entry in entries)
        found = {start for start, _ in self._asked.scanner.lines(joined)}
        starts = accumulate((len(entry.text) for entry in entries), initial=0)
        passing = [start in found for _, start in zip(entries, starts, strict=False)]
        if self._groups is None:
            return list(map(self._row, compress(entries, passing)))
        return self._behind_resume(self._groups.add(entries, passing, now, wait))

    def last_rows(self) -> list[Held]:
        """The rows that nothing more can be added to, at the end."""
        return [] if self._groups is None else self._behind_resume(self._groups.rest())

    def _behind_resume(self, entries: list[Entry]) -> list[Held]:
        """The rows of groups that have not been given. All entries are read for them: where one began is not known
        of an entry within it."""
        places = [At(entry.source.file, entry.position - entry.source.base, entry.time_ns) for entry in entries]
        return [
            self._row(entry)
            for entry, at in zip(entries, places, strict=True)
            if not self._is_before_resume(entry.source.stream, at)
        ]

    def _row(self, entry: Entry) -> Held:
        rank = ranked(entry.source.stream, backwards=self.sign < 0)
        place, sequence = self.sign * entry.time_ns, self.sign * entry.position
        return (place, rank, sequence, entry.time_ns, entry.source, entry.text[:-1], entry.cut)

    def _entry(self, fields: Fields) -> Entry | None:
        stream = self._stream(fields)
        message = fields.get(b"MESSAGE")
        if not stream or message is None:
            return None
        if self._priorities is not None and fields.get(b"PRIORITY", b"") not in self._priorities:
            return None
        at = place_of(fields)
        if not self._asked.wants(at.time_ns) or (self._last is not None and not self._last.has_reached(at)):
            return None
        if self._groups is None and self._is_before_resume(stream, at):
            return None
        source = self._sources.get((stream, at.numbering))
        if source is None:
            source = Source(self._asked.host, stream, at.numbering, base_of(at.numbering))
            self._sources[stream, at.numbering] = source
        text, cut = within_bounds(_prefix(fields) + message.rstrip(b"\n") + b"\n")
        return Entry(source, source.base + at.position, at.time_ns, text, cut)

    def _stream(self, fields: Fields) -> str:
        """The stream of an entry; empty if it is not wanted."""
        unit = unit_of(fields)
        stream = self._streams.get(unit)
        if stream is None:
            labels = self._labels_of(unit_name(unit))
            stream = "" if labels is None else PREFIX + unit_name(unit)
            self._streams[unit] = stream
            if labels is not None:
                self.labels[stream] = labels
        return stream


def base_of(numbering: str) -> int:
    """Where the entries of a numbering begin among the positions of a stream: one host may have journals of several.
    0 for what is no numbering: a file's identity.

    Numberings are random, and a byte tells most of them apart. Where it does not, two rows have the same place only
    if stream, microsecond and number are the same as well; a page that ends between such two would leave one out.
    """
    return int(numbering[:2], 16) << NUMBER_BITS if _NUMBERING.fullmatch(numbering) else 0


def tell(child: Child, account: Account) -> bool:
    """Put into the account what a child has complained of; whether that is why something is missing."""
    said = [line for line in child.complaints() if not line.startswith(_NO_COMPLAINT)]
    unreadable = any(part in line for line in said for part in _UNREADABLE)
    if unreadable:
        account.missing("journal: this process may not read all of it (members of the group systemd-journal may)")
    for line in said[:COMPLAINTS_MAX]:
        if not any(part in line for part in _UNREADABLE):
            account.note(f"journal: {line}")
    return unreadable


def unit_of(fields: Fields) -> bytes:
    """The unit that an entry is about, or which else of the journal's streams it is of."""
    if fields.get(b"_PID") == _SYSTEMD_PID and b"UNIT" in fields:
        return fields[b"UNIT"]
    if fields.get(b"_TRANSPORT") == KERNEL.encode():
        return KERNEL.encode()
    return fields.get(b"_SYSTEMD_UNIT") or OTHER.encode()


def place_of(fields: Fields) -> At:
    """Where an entry is, by its cursor and its time. Raises LogReadError if it does not say."""
    cursor = _CURSOR.match(fields.get(b"__CURSOR", b""))
    time_us = fields.get(b"__REALTIME_TIMESTAMP", b"")
    if cursor is None or not time_us.isdigit():
        raise LogReadError("an entry of the journal without its place")
    numbering, position = cursor.groups()
    return At(numbering.decode(), int(position, 16), int(time_us) * _MICROSECOND_NS)


def _prefix(fields: Fields) -> bytes:
    """``identifier[pid]: ``, as far as they are known."""
    name = fields.get(b"SYSLOG_IDENTIFIER") or fields.get(b"_COMM") or b""
    pid = fields.get(b"_PID") or fields.get(b"SYSLOG_PID")
    if not name:
        return b""
    return b"%b[%b]: " % (name, pid) if pid else name + b": "


def unit_name(unit: bytes) -> str:
    """A unit's name; that of the rest, if it is none that can be shown."""
    name = unit.decode("utf-8", "backslashreplace")
    return name if name.isprintable() and len(name) < STREAM_MAX_CHARS // 2 else OTHER
