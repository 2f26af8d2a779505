"""Cursors: where a question goes on behind the rows of an earlier answer.

*What has been delivered?* Each host sends its rows in the answer's order, and of each host a beginning of them is
delivered, whatever became of it: so the place of its last delivered row says it all, for a host that failed, was late
or was cut by a limit alike. A host of which every row has been delivered is **exhausted**, and not asked again.

*Why is a cursor short?* When a limit ends an answer, no host has more rows before the last one in order: one place,
the **default**, is that of all hosts but those with a place of their own. The default is the furthest place that any
answer has come to, so that it is right for exhausted hosts and for newcomers too.

*Why have some streams a place of their own?* A row is found again by what orders it, if that is the time it says. One
that was ordered otherwise (its stream has no times, or it stands far out of order) may have another place tomorrow;
its stream goes on by file and offset, which last.

*What are anchors?* The last delivered rows of the other streams. What is appended later, by a clock that was set
back, may have any times: a stream goes on there, and what is further ahead of it is not looked at. Anchors are the
first to be left out of a cursor that gets too long; what is appended far out of order may then move the rest.

A cursor belongs to one question: it holds a digest of all that decides which rows there are, and in which order. It
is text for a URL: base64 of a check sum and of compressed JSON. Lists of names compress well, and JSON is decoded
straight into its type: a small text that unpacks to much is given up at the first thing in it that does not fit.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Mapping, Set
from types import MappingProxyType
from typing import Final, NamedTuple

from msgspec import Struct, structs

from varlogd.errors import ProtocolError, QueryError
from varlogd.query.block import last_rows, order_key_at
from varlogd.wire.codec import decode_json, encode_cbor, encode_json
from varlogd.wire.gossip import Name
from varlogd.wire.limits import CURSOR_MAX_CHARS, KIB
from varlogd.wire.query import (
    Block,
    Entry,
    FileName,
    Ledger,
    LineFilter,
    Matcher,
    Nanoseconds,
    Offset,
    Outcome,
    Place,
    Query,
    StreamName,
)

VERSION: Final = 1
"""Of the form of a cursor. One of another version is refused: the question begins anew."""

PLAIN_MAX_BYTES: Final = 256 * KIB
"""A cursor unpacked: some thousand hosts, a few milliseconds to decode."""

CHECK_BYTES: Final = 4
"""The check sum: against slips in copying. It does not stop forgery, which can only choose where reading begins."""

DIGEST_BYTES: Final = 8

STREAM_PLACES_MAX: Final = 4096
"""Streams of one host with places of their own: more fit into no cursor, so no more are noted."""

ENDED: Final = frozenset({Outcome.ANSWERED, Outcome.TRUNCATED})
"""Outcomes of a host that came to the end of its work by itself."""


class Mark(Struct, frozen=True, array_like=True):
    """A place in the order of all rows: behind the row of this key (ns), host and stream that begins at ``offset`` in
    the text of ``file``."""

    key: Nanoseconds
    host: Name
    stream: StreamName = ""
    file: FileName = ""
    offset: Offset = 0


class HostPlace(NamedTuple):
    """Where one host goes on. Rows strictly behind ``after`` in the order (key, stream, position) are wanted, or all
    rows if it is None; a place without a stream lies before all streams of its key, in ascending order.

    But of the ``streams`` named here those rows are wanted that are strictly behind that file and offset, in the
    order of the stream, whatever their keys. ``anchors``: the last rows delivered of other streams, as far as known.
    """

    after: Place | None
    streams: Mapping[str, Place]
    anchors: Mapping[str, Place] = MappingProxyType({})


class Cursor(Struct, frozen=True, array_like=True):
    """``default``: where every host goes on that is not named; None: at the beginning. ``others``: places, and the
    hosts that go on there. ``streams``: by host, those with a place of their own. ``exhausted``: hosts that have
    nothing more. ``anchors``: by host, the last rows delivered of other streams."""

    version: int
    question: bytes
    newest_first: bool
    default: Mark | None = None
    others: tuple[tuple[Mark | None, tuple[Name, ...]], ...] = ()
    streams: dict[Name, tuple[Mark, ...]] = {}
    exhausted: tuple[Name, ...] = ()
    anchors: dict[Name, tuple[Mark, ...]] = {}

    def place_of(self, host: str) -> HostPlace | None:
        """Where ``host`` goes on; None if it is exhausted."""
        if host in self.exhausted:
            return None
        mark = self.marks().get(host, self.default)
        after = None if mark is None else _place_for(mark, host, newest_first=self.newest_first)
        streams, anchors = self.streams.get(host, ()), self.anchors.get(host, ())
        return HostPlace(after, _places_of(streams), _places_of(anchors))

    def marks(self) -> dict[str, Mark | None]:
        """The places of hosts that do not go on at the default."""
        return {host: mark for mark, hosts in self.others for host in hosts}


class _Question(Struct, frozen=True, array_like=True):
    """What decides which rows an answer has and their order. Only ever appended to, and never when at its default."""

    matchers: tuple[Matcher, ...]
    filters: tuple[LineFilter, ...]
    start_ns: int | None
    end_ns: int | None
    direction: str
    before: int
    after: int
    entries: bool


def question_digest(query: Query) -> bytes:
    """The same for two queries if one may go on where the other ended: limit, timeout and grace do not matter."""
    asked = _Question(
        query.matchers,
        query.filters,
        query.start_ns,
        query.end_ns,
        query.direction,
        query.before,
        query.after,
        query.entries,
    )
    return hashlib.blake2b(encode_cbor(asked), digest_size=DIGEST_BYTES).digest()


def encode_cursor(cursor: Cursor) -> str:
    """The text of a cursor, or an empty one if it would be too long."""
    plain = encode_json(cursor).encode()
    packed = zlib.compress(plain, 9)
    text = base64.urlsafe_b64encode(_check_sum(packed) + packed).rstrip(b"=").decode()
    return text if len(plain) <= PLAIN_MAX_BYTES and len(text) <= CURSOR_MAX_CHARS else ""


def decode_cursor(text: str) -> Cursor:
    """The cursor in ``text``. Raises QueryError if there is none."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        check, packed = data[:CHECK_BYTES], data[CHECK_BYTES:]
        if check != _check_sum(packed):
            raise ProtocolError("its check sum does not fit")
        unpacking = zlib.decompressobj()
        plain = unpacking.decompress(packed, PLAIN_MAX_BYTES)
        if not unpacking.eof or unpacking.unused_data:
            raise ProtocolError("it is longer than any cursor")
        cursor: Cursor = decode_json(plain.decode(), Cursor)
    except (ValueError, zlib.error, ProtocolError) as error:
        raise QueryError(f"this is no cursor, or not the whole of one ({error})") from None
    if cursor.version != VERSION:
        raise QueryError(f"the cursor is of version {cursor.version}, and this daemon knows {VERSION}: begin anew")
    return cursor


def cursor_of(query: Query) -> Cursor | None:
    """The cursor a query came with, if any. Raises QueryError for one that is garbled, of another question or of
    the other direction."""
    if not query.cursor:
        return None
    cursor = decode_cursor(query.cursor)
    turned_round = cursor.newest_first != (query.direction == "newest_first")
    if turned_round or cursor.question != question_digest(query):
        raise QueryError(
            "the cursor is of another question: "
            "matchers, filters, times, direction, entries and context must be the same"
        )
    return cursor


class Paging:
    """Notes what is delivered of one answer, and makes the cursor behind it.

    Raises QueryError if the query came with a cursor that is not its own.
    """

    def __init__(self, query: Query) -> None:
        self._query = query
        self._newest_first = query.direction == "newest_first"
        before = cursor_of(query) or Cursor(VERSION, question_digest(query), self._newest_first)
        self._before = before
        self._marks_before = before.marks()
        self._furthest: Mark | None = None
        self._last: dict[str, Mark] = {}
        self._streams = {host: {mark.stream: mark for mark in marks} for host, marks in before.streams.items()}
        self._anchors = {host: {mark.stream: mark for mark in marks} for host, marks in before.anchors.items()}
        self._crowded: set[str] = set()

    @property
    def exhausted(self) -> Set[str]:
        """Hosts that had nothing more when the answer before this one ended."""
        return frozenset(self._before.exhausted)

    def delivered(self, block: Block) -> None:
        """These rows have been given to the asker: the next, in its order, or some that came late."""
        hosts: dict[str, Mark] = {}
        streams: set[tuple[str, str]] = set()
        for index, source in last_rows(block):
            key, host, stream, position = order_key_at(block, index)
            mark = Mark(key, host, stream, source.file, max(0, position - source.base))
            if not hosts and not block.late:
                self._furthest = mark
            hosts.setdefault(host, mark)
            if (host, stream) not in streams:
                streams.add((host, stream))
                at = slice(8 * index, 8 * index + 8)
                self._note_stream(mark, irregular=bool(block.times) and block.times[at] != block.keys[at])
        self._last.update(hosts)

    def cursor(self, ledger: Ledger, told: Mapping[str, Entry], vouched: Set[str]) -> tuple[str, str]:
        """The text of the cursor behind this answer, empty if nothing is there; and why there is none although there
        is more, if so.

        ``told``: what those hosts said of their parts that ended them by themselves; ``vouched``: the hosts of which
        every row that is not behind the last one in order has been delivered.
        """
        exhausted = set(self.exhausted)
        marks = dict(self._marks_before)
        more = False
        for entry in ledger.members:
            if entry.host in exhausted or self._is_exhausted(entry, told.get(entry.host)):
                exhausted.add(entry.host)
                marks.pop(entry.host, None)
            else:
                marks[entry.host] = self._mark_of(entry, told.get(entry.host), entry.host in vouched)
                more = more or entry.outcome != Outcome.LEFT
        if not more:
            return "", ""
        return self._text(marks, exhausted)

    def _text(self, marks: Mapping[str, Mark | None], exhausted: Set[str]) -> tuple[str, str]:
        default = self._further(self._before.default, self._furthest)
        groups: dict[Mark | None, list[str]] = {}
        for host, mark in sorted(marks.items()):
            if mark != default:
                groups.setdefault(mark, []).append(host)
        cursor = Cursor(
            VERSION,
            self._before.question,
            self._newest_first,
            default,
            tuple((mark, tuple(hosts)) for mark, hosts in groups.items()),
            _by_host(self._streams, exhausted),
            tuple(sorted(exhausted)),
            _by_host(self._anchors, exhausted),
        )
        text = "" if self._crowded - exhausted else _encoded_with_anchors(cursor)
        return text, "" if text else self._why_none(cursor)

    def _why_none(self, cursor: Cursor) -> str:
        worst = (
            min(self._crowded) if self._crowded else max(cursor.streams, key=lambda host: len(cursor.streams[host]))
        )
        return f"there is more, and no cursor: too many places to name, most of them on {worst}"

    def _is_exhausted(self, entry: Entry, told: Entry | None) -> bool:
        """Whether every row of a host has been delivered: it ended without a budget, before its limit, in full."""
        if told is None or told.frontier is not None or entry.rows < told.rows:
            return False
        return self._query.limit is None or told.rows < self._query.limit

    def _mark_of(self, entry: Entry, told: Entry | None, vouched: bool) -> Mark | None:
        """Where a host that may have more goes on."""
        before = self._marks_before.get(entry.host, self._before.default)
        last = self._further(before, self._last.get(entry.host))  # an irregular row may be of any key
        if told is not None and told.frontier is not None and entry.rows >= told.rows:
            stop = told.frontier
            return self._further(last, Mark(stop.key, entry.host, stop.stream, stop.file, stop.offset))
        return self._further(before, self._furthest) if vouched else last

    def _further(self, known: Mark | None, new: Mark | None) -> Mark | None:
        """Of two places the one further on. Offsets in two files do not compare, but what is delivered later of one
        stream of one host is further on."""
        if known is None or new is None:
            return known or new
        old_key, new_key = (known.key, known.host, known.stream), (new.key, new.host, new.stream)
        turned_back = new_key > old_key if self._newest_first else new_key < old_key
        return known if turned_back else new

    def _note_stream(self, mark: Mark, *, irregular: bool) -> None:
        streams = self._streams.setdefault(mark.host, {})
        anchors = self._anchors.setdefault(mark.host, {})
        streams.pop(mark.stream, None)
        anchors.pop(mark.stream, None)  # the last come last
        if not irregular:
            anchors[mark.stream] = mark
            if len(anchors) > STREAM_PLACES_MAX:
                del anchors[next(iter(anchors))]
            return
        if mark.host in self._crowded:
            return
        streams[mark.stream] = mark
        if len(streams) > STREAM_PLACES_MAX:
            self._crowded.add(mark.host)
            streams.clear()


def _by_host(streams: Mapping[str, Mapping[str, Mark]], exhausted: Set[str]) -> dict[Name, tuple[Mark, ...]]:
    """The places of streams of hosts that are not exhausted."""
    return {host: tuple(marks.values()) for host, marks in sorted(streams.items()) if marks and host not in exhausted}


def _encoded_with_anchors(cursor: Cursor) -> str:
    """The text of a cursor with as many of each host's last anchors as fit; empty if it is too long without."""
    while not (text := encode_cursor(cursor)) and cursor.anchors:
        fewer = {host: marks[len(marks) // 2 + 1 :] for host, marks in cursor.anchors.items()}
        cursor = structs.replace(cursor, anchors={host: marks for host, marks in fewer.items() if marks})
    return text


def _places_of(marks: tuple[Mark, ...]) -> dict[str, Place]:
    return {mark.stream: _place_of(mark) for mark in marks}


def _place_of(mark: Mark) -> Place:
    return Place(key=mark.key, stream=mark.stream, file=mark.file, offset=mark.offset)


def _place_for(mark: Mark, host: str, *, newest_first: bool) -> Place:
    """A place as ``host`` sees it. Of its rows that have the key of another host's row either none or all have been
    given, by the order of names: so its place is between two keys."""
    if mark.host == host:
        return _place_of(mark)
    pending = host < mark.host if newest_first else host > mark.host
    return Place(key=mark.key + (pending == newest_first))


def _check_sum(packed: bytes) -> bytes:
    return hashlib.blake2b(packed, digest_size=CHECK_BYTES).digest()
