"""Following this host's logs: what was there before, then what is written, without a gap or a repeat between.

**The seam.** When following begins, the end of every stream that is asked for is noted: which file it is, and where
its last complete line ends. History is a scan of what is before (`Follow.history`), of those very files, wherever a
rotation takes them meanwhile; what is live is what is behind.

**Polling.** `Follow.poll` asks the system for the size of each stream's current file, and reads those that have
grown. A chain is listed again when its name stands for another file; everything is, when a directory has changed,
and once in a while. That costs a few microseconds for a stream: less than a per cent of a core for some hundred
streams. Nothing is set up in the kernel that could overflow.

Everything here is synchronous and runs where its caller runs it, in bounded steps, as a scan does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from operator import itemgetter
from sys import maxsize
from typing import Final, NamedTuple, Protocol, runtime_checkable

from msgspec import structs

from varlogd.errors import LogReadError
from varlogd.logs.account import Account
from varlogd.logs.asked import Asked
from varlogd.logs.blocks import Blocks
from varlogd.logs.catalogue import Catalogue, LogStream
from varlogd.logs.following.as_it_was import FilesAsTheyWere, as_it_was
from varlogd.logs.following.live import LiveRows
from varlogd.logs.following.tail import Tail
from varlogd.logs.identity import FileIdentity
from varlogd.logs.order import Held
from varlogd.logs.scan import HostLogs, Scan
from varlogd.logs.sources import FileSource, Readable
from varlogd.logs.stream import StreamRows
from varlogd.query.match import validate
from varlogd.query.scanner import LineScanner
from varlogd.wire.limits import MIB
from varlogd.wire.query import Block, Notice, Place, Query

POLL_S: Final = 0.1
"""Between two looks at the files: what is written is on the screen in about a tenth of a second. A look at a hundred
streams takes half a millisecond."""

LIST_S: Final = 1.0
"""Between two listings of everything at the latest: it finds logs in directories that had none."""

LIST_MIN_S: Final = 0.2
"""Between two listings because a directory has changed: some programs make and remove files all the time."""

POLL_BYTES: Final = 1 * MIB
"""What one poll reads before it gives what it has."""

OPEN_MAX: Final = 512
"""Files that one follow holds open: those that were written to last. Others are opened again when they change, and
only a truncation or an inode used again within one poll could deceive it about these."""


class Polled(NamedTuple):
    """What is new: rows in the order of their keys, and what is to be told. ``more``: not all that there is."""

    rows: list[Held]
    notices: list[Notice]
    more: bool


class Followable(Readable, Protocol):
    """A source's streams from one moment on; what gives the rows of a question (`Readable`) gives those before it.

    ``asked`` is oldest first for what is new, and has no time range: what is written now is wanted.
    """

    def poll(self, now: float) -> Polled:
        """What has been written since the last call; a bounded step. ``now`` is a steady clock's, in seconds.

        A row's key is never less than that of the row before it in its stream. Raises what the account's check
        raises.
        """

    def places(self) -> list[Place]:
        """Where to go on, for each stream: at the first row that begins at ``offset`` in ``file`` or behind it."""

    def close(self) -> None:
        """Let go of everything; may be called again."""


@runtime_checkable
class FollowableSource(Protocol):
    """A source other than files that can be followed."""

    def follow(self, asked: Asked, account: Account, resume: Sequence[Place]) -> Followable:
        """Follow the streams that the question's matchers choose from now on, or from these places of theirs."""


class News(NamedTuple):
    """What `Follow.poll` gives: blocks of new rows, oldest first, and notices. ``more``: poll again at once."""

    blocks: list[Block]
    notices: list[Notice]
    more: bool


class Follow:
    """One question that is followed on this host, from the moment it is made. ``resume``: from these places, each of
    one stream; streams that none is of are new, unless a place without a stream says that they go on from now.

    ``check`` is called as by a scan, and may raise. Raises QueryError (PatternError) for a query that cannot be
    answered.
    """

    def __init__(self, logs: HostLogs, query: Query, check: Callable[[], None], resume: Sequence[Place] = ()) -> None:
        validate(query)
        self.rows = 0
        self._logs = logs
        self._query = query
        self._check = check
        self._account = Account(check)
        live = structs.replace(query, direction="oldest_first", start_ns=None, end_ns=None, limit=None, cursor="")
        asked = Asked(logs.host, live, LineScanner(query.filters), logs.zone, written=logs.written)
        self._followed: list[Followable] = []
        try:
            for source in logs.sources:
                if isinstance(source, FileSource):
                    self._followed.append(FollowedFiles(source, asked, self._account, resume))
                elif isinstance(source, FollowableSource):
                    self._followed.append(source.follow(asked, self._account, resume))
        except BaseException:
            self.close()
            raise

    @property
    def bytes_scanned(self) -> int:
        """Log text read since it is live."""
        return self._account.bytes_scanned

    @property
    def notes(self) -> list[str]:
        """What an asker must know of what is live."""
        return self._account.notes

    @property
    def missing(self) -> str:
        """What of it cannot be given, and why; empty if nothing."""
        return self._account.truncated

    def history(self) -> Scan:
        """The rows before the moment it was made, as the query wants them."""
        return self._logs.scan(self._query, self._check, self._followed)

    def poll(self, now: float) -> News:
        """What is new since the last call. Raises what ``check`` raises."""
        polled = [followed.poll(now) for followed in self._followed]
        rows = [row for each in polled for row in each.rows if self._wants(row)]
        rows.sort(key=_order_of)
        out = Blocks(backwards=False, rows_max=maxsize)
        blocks = [*out.add(rows), *out.rest()]
        self.rows += len(rows)
        notices = [notice for each in polled for notice in each.notices]
        return News(blocks, notices, any(each.more for each in polled))

    def places(self) -> list[Place]:
        """Where a follow that is to give the rest would ``resume``."""
        return [place for followed in self._followed for place in followed.places()]

    def close(self) -> None:
        """Let go of all files; may be called again."""
        for followed in self._followed:
            followed.close()

    def _wants(self, row: Held) -> bool:
        """Whether a row that says when it was written was written in the time range."""
        start_ns, time = self._query.start_ns, row[3]
        return start_ns is None or time is None or time >= start_ns


_order_of: Callable[[Held], tuple[int, str, int]] = itemgetter(0, 1, 2)


class FollowedFiles:
    """The file streams that a question is for, as a `Followable`."""

    def __init__(self, source: FileSource, asked: Asked, account: Account, resume: Sequence[Place] = ()) -> None:
        self._source = source
        self._asked = asked
        self._account = account
        self._closing = ExitStack()
        self._files = source.open_files(account, self._closing)
        self._notices: list[Notice] = []
        self._tails: dict[str, Tail] = {}
        self._live: dict[str, LiveRows] = {}
        self._pending: list[str] = []  # streams that are still to be read in this round
        self._listed_at: float | None = None
        self._directories: dict[str, int] = {}
        try:
            catalogue = self._list()
            for stream in catalogue.streams:
                self._begin(stream, _by_stream(resume), bool(resume))
        except BaseException:
            self.close()
            raise
        self._limit_open()
        self._before = as_it_was(catalogue, self._tails)

    def readers(self, asked: Asked, account: Account, closing: ExitStack) -> list[StreamRows]:
        """See `Followable`."""
        catalogue, identities = self._before
        files = FilesAsTheyWere(self._source, account, identities)
        closing.callback(files.close)
        return self._source.readers_of(catalogue, files, asked, account)

    def poll(self, now: float) -> Polled:
        """See `Followable`."""
        if not self._pending:
            self._look(now)
            self._pending = list(self._tails)
        rows: list[Held] = []
        until = self._account.bytes_scanned + POLL_BYTES
        self._read_pending(now, until, rows)
        if truncated := [name for name, tail in self._tails.items() if tail.is_truncated]:
            self._list_again(now)
            self._pending += truncated
            self._read_pending(now, until, rows)
        notices, self._notices = self._notices, []
        rows.sort(key=_order_of)
        return Polled(rows, notices, bool(self._pending))

    def places(self) -> list[Place]:
        """See `Followable`. A stream that has no plain file goes on with the next one it has."""
        return [self._place(name, tail) for name, tail in self._tails.items()]

    def close(self) -> None:
        """See `Followable`."""
        for tail in self._tails.values():
            tail.close()
        self._closing.close()

    # --- which streams ---

    def _list(self) -> Catalogue:
        """The streams that are asked for and can be read."""
        catalogue = self._source.catalogue(self._account.check)
        query = self._asked.query
        streams = tuple(stream for stream in catalogue.streams if self._source.is_asked_for(stream, query))
        directories = {os.path.dirname(file.path) for stream in catalogue.streams for file in stream.files}  # noqa: PTH120
        self._directories = {path: _changed_ns(path) for path in directories}
        return replace(catalogue, streams=streams)

    def _begin(self, stream: LogStream, places: Mapping[str, Place], resuming: bool) -> None:
        place = places.get(stream.name)
        if place is not None and place.file:
            tail = Tail.resume(stream, FileIdentity.parse(place.file), place.offset)
        elif place is None and resuming and "" not in places:
            tail = Tail.new(stream)
        else:
            tail = Tail.begin(stream)
        self._add(stream, tail)

    def _add(self, stream: LogStream, tail: Tail) -> None:
        self._tails[stream.name] = tail
        transforms = self._source.transforms_of(stream, self._asked, self._account)
        self._live[stream.name] = LiveRows(stream, self._asked, self._account, transforms)

    def _look(self, now: float) -> None:
        """See what has changed, and list everything again if that is what it takes."""
        wanted = [tail.look() for tail in self._tails.values()]
        since_s = LIST_S if self._listed_at is None else now - self._listed_at
        if any(wanted) or since_s >= LIST_S or (since_s >= LIST_MIN_S and self._has_new_names()):
            self._list_again(now)

    def _list_again(self, now: float) -> None:
        self._listed_at = now
        self._take_listing(self._list(), now)
        self._limit_open()

    def _has_new_names(self) -> bool:
        return any(_changed_ns(path) != told for path, told in self._directories.items())

    def _take_listing(self, catalogue: Catalogue, now: float) -> None:
        listed = {stream.name: stream for stream in catalogue.streams if stream.files}
        for name, tail in list(self._tails.items()):
            tail.listed(listed.get(name), now)
            if name not in listed and tail.current is None:
                tail.close()
                del self._tails[name], self._live[name]
        for name, stream in listed.items():
            if name not in self._tails:
                self._add(stream, Tail.new(stream))
                self._notices.append(Notice(host=self._asked.host, event="stream", stream=name))

    def _limit_open(self) -> None:
        """Close the files that were written to longest ago, if there are too many."""
        held = [file for tail in self._tails.values() if (file := tail.current) is not None and file.is_held]
        if len(held) > OPEN_MAX:
            held.sort(key=lambda file: file.mtime_ns)
            for file in held[:-OPEN_MAX]:
                file.close()

    # --- what is new ---

    def _read_pending(self, now: float, until: int, rows: list[Held]) -> None:
        while self._pending and self._account.bytes_scanned < until:
            if self._read(self._pending[-1], now, until, rows):
                self._pending.pop()

    def _read(self, name: str, now: float, until: int, rows: list[Held]) -> bool:
        """Read what is new of a stream; whether that was all."""
        tail, live = self._tails.get(name), self._live.get(name)
        if tail is None or live is None:
            return True
        whole = True
        for file, chunk in tail.read(now, self._files):
            rows += live.take(file, chunk, now)
            if self._account.bytes_scanned >= until:
                whole = False
                break
        rows += live.overdue(now)
        for lost in tail.lost:
            size = f": at least {lost.size_bytes} bytes" if lost.size_bytes else ""
            self._notices.append(Notice(host=self._asked.host, event="lost", stream=name, why=f"{lost.why}{size}"))
        tail.lost.clear()
        return whole

    def _place(self, name: str, tail: Tail) -> Place:
        file = tail.first
        try:
            identity = "" if file is None else str(file.identity())
        except LogReadError:
            identity = ""
        return Place(key=0, stream=name, file=identity, offset=file.offset if file and identity else 0)


def _changed_ns(directory: str) -> int:
    """When a directory got or lost a name."""
    try:
        return os.stat(directory).st_mtime_ns  # noqa: PTH116 - pathlib takes several times as long, and this is often
    except OSError:
        return 0


def _by_stream(places: Sequence[Place]) -> dict[str, Place]:
    return {place.stream: place for place in places}
