"""The systemd journal, as streams beside the files: ``journal/nginx.service``, ``journal/kernel``, ``journal/other``.

One `journalctl` answers a question, whatever the number of units. It is told the units, the priorities, the time
range and the direction, and finds the entries by the journal's own index; filters, and what it cannot be told, are
judged here. A row is what ``journalctl -o short`` shows behind the host's name, ``identifier[pid]: message``; a
message may have several lines, which are one row, and filters see its line feeds as spaces.

**Streams.** An entry belongs to the unit it is about: ``UNIT`` where systemd itself speaks of one, else the unit that
wrote it; else to ``kernel`` or ``other``. **Priority** is an entry's and no stream's, so it is no label one could
list; yet a matcher is the one way to ask for it that needs no further words. So `PRIORITY_LABEL` is judged entry by
entry, and streams of files do not have it.

**Places.** An entry has a sequence number, which is its position, in the numbering of one journal, which is its
file's identity. Rows are ordered by the time at which they were received, so little out of order that `Order` mends
it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Final, NamedTuple

from varlogd.logs.account import Account
from varlogd.logs.catalogue import Served
from varlogd.logs.export import ExportParser, Fields
from varlogd.logs.journalctl import Child, Journalctl, lines_of, since, until
from varlogd.logs.order import Held, Mark, Order, ranked
from varlogd.logs.reader import Chunk, Steps
from varlogd.logs.redaction import Redactor
from varlogd.logs.sources import Listing
from varlogd.logs.stream import Asked
from varlogd.query.match import matches_stream
from varlogd.wire.limits import KIB, LINE_MAX_BYTES, MIB, STREAM_MAX_CHARS
from varlogd.wire.query import Matcher, Query, Source, StreamInfo

PREFIX: Final = "journal/"
KERNEL: Final = "kernel"
OTHER: Final = "other"
"""Streams of the journal that are no unit's."""

PRIORITY_LABEL: Final = "priority"
PRIORITIES: Final = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
"""The values of ``PRIORITY`` from 0 to 7, by the names that journalctl has for them."""

WAIT_S: Final = 0.05
"""How long one step waits for journalctl: a question that is cancelled ends that soon."""

WAITING_BYTES: Final = 256 * KIB
"""What a step counts for in which it found nothing: as a chunk in which nothing matches."""

UNITS_MAX_BYTES: Final = 1 * MIB
"""The names of all units together: some ten thousand."""

UNITS_TOLD_MAX: Final = 256
"""Units that journalctl is told by name; where more are wanted, it gives all and the others are left out here."""

COMPLAINTS_MAX: Final = 5
"""Lines of journalctl's that are passed on."""

_SYSTEMD_PID: Final = b"1"
_UNREADABLE: Final = ("insufficient permissions", "You are currently not seeing messages")
_NO_COMPLAINT: Final = ("-- ", "No journal files were found", "Users in ", "Pass -q ")
_MICROSECOND_NS: Final = 1000


class Chosen(NamedTuple):
    """What a question wants of the journal. ``units``: of these streams; None: of all, as far as they match."""

    units: frozenset[str] | None
    priorities: frozenset[bytes] | None


class JournalSource:
    """The journal of this host, as a `sources.LogSource`."""

    def __init__(
        self,
        host: str,
        tags: Mapping[str, str],
        journalctl: Journalctl,
        served: Served,
        redactor: Redactor | None = None,
    ) -> None:
        self._host = host
        self._tags = dict(tags)
        self._journalctl = journalctl
        self._served = served
        self._redactor = redactor

    def listing(self, query: Query, check: Callable[[], None]) -> Listing:
        """See `LogSource`."""
        account = Account(check)
        if absence := self._journalctl.absence():
            return Listing([], self._absence_told(query, absence))
        streams = [
            StreamInfo(
                host=self._host, stream=PREFIX + unit, files=0, size_bytes=0, newest_ns=None, labels=_known(unit)
            )
            for unit in sorted({*self._units(account), KERNEL, OTHER})
            if self.is_asked_for(unit, query)
        ]
        return Listing(streams, account.truncated)

    def readers(self, asked: Asked, account: Account, closing: ExitStack) -> list[JournalRows]:
        """See `Readable`."""
        if absence := self._journalctl.absence():
            if told := self._absence_told(asked.query, absence):
                account.missing(told)
            return []
        chosen = self.choose(asked.query, account)
        if chosen is None:
            return []
        options = [*_range(asked.query), *(["--reverse"] if asked.backwards else [])]
        child = self._journalctl.export(_matches(chosen), *options)
        closing.callback(child.close)
        return [JournalRows(self, child, asked, account, self._redactor)]

    def is_asked_for(self, unit: str, query: Query) -> bool:
        """Whether the stream of a unit is served, and chosen by ``query``'s matchers."""
        if not self._served.has_name(PREFIX + unit):
            return False
        return matches_stream(_without(query.matchers, PRIORITY_LABEL), self.labels_of(unit))

    def labels_of(self, unit: str) -> dict[str, str]:
        """The labels of the stream of a unit."""
        return {**self._tags, **_known(unit), "host": self._host, "stream": PREFIX + unit}

    def choose(self, query: Query, account: Account) -> Chosen | None:
        """What a question wants of the journal; None if nothing."""
        priorities = _priorities(query.matchers)
        elsewhere = _without(query.matchers, "stream", "unit", PRIORITY_LABEL)
        if priorities == frozenset() or not matches_stream(elsewhere, self.labels_of("")):
            return None
        if self._served.is_everything and len(elsewhere) == len(_without(query.matchers, PRIORITY_LABEL)):
            return Chosen(None, priorities)
        units = frozenset(unit for unit in self._candidates(query, account) if self.is_asked_for(unit, query))
        if not units:
            return None
        can_be_told = OTHER not in units and len(units) <= UNITS_TOLD_MAX
        return Chosen(units if can_be_told else None, priorities)

    def _candidates(self, query: Query, account: Account) -> set[str]:
        """The units among which the question chooses: the one it names, or all."""
        for matcher in query.matchers:
            if matcher.op == "=" and matcher.value and matcher.label in ("unit", "stream"):
                return {matcher.value.removeprefix(PREFIX)}
        return {*self._units(account), KERNEL, OTHER}

    def _units(self, account: Account) -> set[str]:
        """All units that the journal has entries of."""
        units: set[str] = set()
        with ExitStack() as stack:
            children = [stack.enter_context(closing(self._journalctl.values(of))) for of in ("_SYSTEMD_UNIT", "UNIT")]
            for child in children:
                for line in lines_of(child, UNITS_MAX_BYTES, WAIT_S):
                    account.check()
                    if line:
                        units.add(_unit_name(line))
                tell(child, account)
        return units

    def _absence_told(self, query: Query, absence: str) -> str:
        """That there is no journal, if the question names it: a host without one is no worse for it."""
        names = any(
            matcher.op in ("=", "=~") and matcher.value
            for matcher in query.matchers
            if matcher.label in ("unit", PRIORITY_LABEL) or _names_journal(matcher)
        )
        return f"journal: {absence}" if names else ""


class JournalRows:
    """The rows of the journal under one question, as a `merge.Reader`."""

    def __init__(
        self, source: JournalSource, child: Child, asked: Asked, account: Account, redactor: Redactor | None
    ) -> None:
        self.rows: list[Held] = []
        self.counted = 0
        self.labels: dict[str, dict[str, str]] = {}
        self._child = child
        self._account = account
        self._entries = Entries(source, asked)
        self._sign = -1 if asked.backwards else 1
        self._order = Order()
        self._waiting: deque[Entry] = deque()  # those whose lines have not come out masked
        self._masked = b""
        steps: Steps = self._chunks()
        if redactor is not None:
            steps = redactor.redacted(steps, account, backwards=asked.backwards)
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
        self.rows += self._order.finish([])
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
        rows = self._entries.rows(entries)
        for row in rows:
            if row[4].stream not in self.labels:
                self.labels[row[4].stream] = self._entries.labels_of(row[4].stream)
        low = min((self._sign * entry.time_ns for entry in entries), default=None)
        self.rows += self._order.add(rows, low)

    def _tell_of_end(self) -> None:
        status = self._child.status()
        told = tell(self._child, self._account)
        if status and not told:
            self._account.missing(f"journal: journalctl ended with {status}")
        elif not self._entries.are_whole:
            self._account.missing("journal: journalctl broke off")


class Entry(NamedTuple):
    """An entry that is wanted. ``text``: its line or lines, with a line feed at the end."""

    source: Source
    position: int
    time_ns: int
    text: bytes
    cut: bool


class Entries:
    """What of the export a question wants, and the rows it makes."""

    def __init__(self, source: JournalSource, asked: Asked) -> None:
        self._source = source
        self._asked = asked
        self._parser = ExportParser()
        self._priorities = _priorities(asked.query.matchers)
        self._wanted: dict[bytes, str] = {}  # the stream of a unit, empty if it is not wanted
        self._sources: dict[tuple[str, str], Source] = {}
        self._sign = -1 if asked.backwards else 1

    @property
    def are_whole(self) -> bool:
        """Whether what has come was whole entries."""
        return self._parser.is_between_entries

    def of(self, data: bytes) -> list[Entry]:
        """The entries that end in ``data`` and are wanted, but for the filters. Raises LogReadError."""
        return [entry for fields in self._parser.feed(data) if (entry := self._entry(fields)) is not None]

    def rows(self, entries: Sequence[Entry]) -> list[Held]:
        """The rows of entries that pass the filters. In what filters see a message's line feeds are spaces."""
        joined = b"".join(entry.text[:-1].replace(b"\n", b" ") + b"\n" for entry in entries)
        passing = {start for start, _ in self._asked.scanner.lines(joined)}
        rows, at = [], 0
        for entry in entries:
            if at in passing:
                rows.append(self._row(entry))
            at += len(entry.text)
        return rows

    def labels_of(self, stream: str) -> dict[str, str]:
        """The labels of a stream."""
        return self._source.labels_of(stream.removeprefix(PREFIX))

    def _row(self, entry: Entry) -> Held:
        rank = ranked(entry.source.stream, backwards=self._asked.backwards)
        place, sequence = self._sign * entry.time_ns, self._sign * entry.position
        return (place, rank, sequence, entry.time_ns, entry.source, entry.text[:-1], entry.cut)

    def _entry(self, fields: Fields) -> Entry | None:
        time_ns = int(fields.get(b"__REALTIME_TIMESTAMP", b"0")) * _MICROSECOND_NS
        stream = self._stream(fields)
        message = fields.get(b"MESSAGE")
        if not stream or message is None or not self._asked.wants(time_ns):
            return None
        if self._priorities is not None and fields.get(b"PRIORITY", b"") not in self._priorities:
            return None
        numbering, position = place_of(fields)
        line = _prefix(fields) + message.rstrip(b"\n")
        source = self._sources.get((stream, numbering))
        if source is None:
            source = self._sources[stream, numbering] = Source(self._asked.host, stream, numbering)
        return Entry(source, position, time_ns, line[:LINE_MAX_BYTES] + b"\n", len(line) > LINE_MAX_BYTES)

    def _stream(self, fields: Fields) -> str:
        """The stream of an entry; empty if it is not wanted."""
        unit = unit_of(fields)
        stream = self._wanted.get(unit)
        if stream is None:
            name = _unit_name(unit)
            stream = PREFIX + name if self._source.is_asked_for(name, self._asked.query) else ""
            self._wanted[unit] = stream
        return stream


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


def place_of(fields: Fields) -> tuple[str, int]:
    """The numbering that an entry is in, and its number there."""
    cursor = dict(
        part.partition("=")[::2] for part in fields.get(b"__CURSOR", b"").decode("ascii", "replace").split(";")
    )
    return cursor.get("s", ""), int(cursor.get("i", "0"), 16)


def _prefix(fields: Fields) -> bytes:
    """``identifier[pid]: ``, as far as they are known."""
    name = fields.get(b"SYSLOG_IDENTIFIER") or fields.get(b"_COMM") or b""
    pid = fields.get(b"_PID") or fields.get(b"SYSLOG_PID")
    if not name:
        return b""
    return b"%b[%b]: " % (name, pid) if pid else name + b": "


def _unit_name(unit: bytes) -> str:
    name = unit.decode("utf-8", "backslashreplace")
    return name if name.isprintable() and len(name) < STREAM_MAX_CHARS // 2 else OTHER


def _known(unit: str) -> dict[str, str]:
    """What the journal knows of a stream, as labels."""
    return {"source": "journal"} if unit in ("", KERNEL, OTHER) else {"source": "journal", "unit": unit}


def _without(matchers: Sequence[Matcher], *labels: str) -> list[Matcher]:
    return [matcher for matcher in matchers if matcher.label not in labels]


def _names_journal(matcher: Matcher) -> bool:
    return (matcher.label == "stream" and PREFIX in matcher.value) or (
        matcher.label == "source" and "journal" in matcher.value
    )


def _priorities(matchers: Sequence[Matcher]) -> frozenset[bytes] | None:
    """The values of ``PRIORITY`` that are wanted, the empty one for entries without; None: any."""
    asked = [matcher for matcher in matchers if matcher.label == PRIORITY_LABEL]
    if not asked:
        return None
    values = {str(number).encode(): name for number, name in enumerate(PRIORITIES)} | {b"": ""}
    return frozenset(value for value, name in values.items() if matches_stream(asked, {PRIORITY_LABEL: name}))


def _matches(chosen: Chosen) -> list[str]:
    """The same as journalctl's matches: of one field any, of several all, and any of what ``+`` parts."""
    priorities = (
        [] if chosen.priorities is None else [f"PRIORITY={value.decode()}" for value in sorted(chosen.priorities)]
    )
    if "PRIORITY=" in priorities:  # an entry without a field cannot be asked for
        priorities = []
    if chosen.units is None:
        return priorities
    units = sorted(chosen.units - {KERNEL})
    parts = [
        [f"_SYSTEMD_UNIT={unit}" for unit in units],
        ["_PID=1", *(f"UNIT={unit}" for unit in units)] if units else [],
        ["_TRANSPORT=kernel"] if KERNEL in chosen.units else [],
    ]
    told: list[str] = []
    for part in filter(None, parts):
        told += [*(["+"] if told else []), *part, *priorities]
    return told


def _range(query: Query) -> Iterator[str]:
    if query.start_ns is not None:
        yield since(query.start_ns)
    if query.end_ns is not None:
        yield until(query.end_ns)
