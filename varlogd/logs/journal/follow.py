"""Following the journal: `journalctl` in its own follow mode, from the entry behind the last that history has.

What parts history from what is live is the last entry that there is when following begins: history goes up to it, and
the live journalctl is told to begin behind it. Both go by the journal's own order, so there is nothing between them
and nothing twice. Should the live one end, that is told, and another goes on behind the last entry that was read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack, closing
from typing import Final, Protocol

from varlogd.errors import LogReadError, QueryError
from varlogd.logs.account import Account
from varlogd.logs.asked import Asked
from varlogd.logs.following.follow import Polled
from varlogd.logs.following.live import ROW_PAUSE_S
from varlogd.logs.journal.groups import Entry
from varlogd.logs.journal.journalctl import Child, Journalctl
from varlogd.logs.journal.rows import PREFIX, WAIT_S, At, Entries, JournalRows, tell
from varlogd.logs.order import Held
from varlogd.logs.secrets.redaction import Redactor
from varlogd.wire.limits import MIB
from varlogd.wire.query import Notice, Place

POLL_BYTES: Final = 1 * MIB
"""What one poll reads of the export."""

RESTART_S: Final = 1.0
"""Between two starts: a journalctl that ends at once is not started at every poll."""

_MICROSECOND_NS: Final = 1000
_NUMBERING: Final = re.compile(r"[0-9a-f]{32}")


class Source(Protocol):
    """What is followed: the part of `journal.JournalSource` that is needed here."""

    def readers_up_to(
        self, last: At | None, asked: Asked, account: Account, closing: ExitStack
    ) -> list[JournalRows]: ...

    def entries(self, asked: Asked) -> Entries: ...


def resumed(places: Sequence[Place]) -> At | None:
    """Behind which entry to go on; None: behind the last there is. Raises QueryError for what is no such place."""
    for place in places:
        if place.stream == PREFIX and place.file:
            if not _NUMBERING.fullmatch(place.file) or place.offset < 1:
                raise QueryError("a place that is not one of this host's journal")
            return At(place.file, place.offset - 1, place.key)
    return None


class FollowedJournal:
    """The journal under one question from one moment on, as a `follow.Followable`."""

    def __init__(
        self,
        source: Source,
        journalctl: Journalctl,
        redactor: Redactor | None,
        asked: Asked,
        account: Account,
        resume: At | None,
    ) -> None:
        self._source = source
        self._journalctl = journalctl
        self._redactor = redactor
        self._asked = asked
        self._account = account
        self._last = resume or last_entry(journalctl, source.entries(asked), account)
        self._begun = self._last
        self._entries = source.entries(asked)
        self._child: Child | None = None
        self._started_at: float | None = None
        self._keys: dict[str, int] = {}

    def readers(self, asked: Asked, account: Account, closing: ExitStack) -> list[JournalRows]:
        """See `follow.Followable`."""
        return [] if self._begun is None else self._source.readers_up_to(self._begun, asked, account, closing)

    def poll(self, now: float) -> Polled:
        """See `follow.Followable`."""
        if self._child is None and not self._start(now):
            return Polled([], [], more=False)
        entries: list[Entry] = []
        notices: list[Notice] = []
        left = POLL_BYTES
        while left > 0 and self._child is not None and (data := self._child.read(0)) is not None:
            left -= len(data)
            try:
                entries += self._entries.of(data)
            except LogReadError as error:
                notices.append(self._ended(str(error)))
            else:
                if not data:
                    notices.append(self._ended("journalctl ended"))
        self._last = self._entries.read or self._last
        return Polled(self._rows(entries, now), notices, more=left <= 0)

    def places(self) -> list[Place]:
        """See `follow.Followable`. The journal has one for all its streams."""
        if self._last is None:
            return []
        numbering, position, time_ns = self._last
        return [Place(key=time_ns, stream=PREFIX, file=numbering, offset=position + 1)]

    def close(self) -> None:
        """See `follow.Followable`."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def _start(self, now: float) -> bool:
        """Start a journalctl, if there is a journal and the last was not just started."""
        if self._started_at is not None and now - self._started_at < RESTART_S:
            return False
        self._started_at = now
        if self._journalctl.absence():
            return False
        # Of a journal that is still empty it would follow this boot, and end because it knows none.
        behind = ["--merge"] if self._last is None else [f"--after-cursor={_cursor(self._last)}"]
        self._entries = self._source.entries(self._asked)
        self._child = self._journalctl.export([], "--follow", "--no-tail", *behind)
        return True

    def _ended(self, why: str) -> Notice:
        assert self._child is not None
        tell(self._child, self._account)
        said = self._child.complaints()
        self.close()
        why = f"{why}: {said[0]}" if said else why
        return Notice(host=self._asked.host, event="lost", stream=PREFIX, why=f"{why}; started again")

    def _rows(self, entries: list[Entry], now: float) -> list[Held]:
        """The rows of entries, masked; in each stream their keys do not fall."""
        self._account.read(sum(len(entry.text) for entry in entries))
        rows = [self._raised(row) for row in self._entries.rows(self._masked(entries), now, ROW_PAUSE_S)]
        return sorted(rows, key=lambda row: row[:3])

    def _masked(self, entries: list[Entry]) -> list[Entry]:
        if self._redactor is None or not entries:
            return entries
        text, count = self._redactor.mask(b"".join(entry.text for entry in entries))
        self._account.redacted += count
        masked, at = [], 0
        for entry in entries:
            masked.append(entry._replace(text=text[at : at + len(entry.text)]))
            at += len(entry.text)
        return masked

    def _raised(self, row: Held) -> Held:
        stream = row[4].stream
        key = self._keys[stream] = max(row[0], self._keys.get(stream, row[0]))
        return (key, *row[1:])


def last_entry(journalctl: Journalctl, entries: Entries, account: Account) -> At | None:
    """The last entry that there is."""
    if journalctl.absence():
        return None
    with closing(journalctl.export([], "--lines=1")) as child:
        while (data := child.read(WAIT_S)) != b"":
            account.check()
            entries.of(data or b"")
        tell(child, account)
    return entries.read


def _cursor(at: At) -> str:
    """As journalctl has it. The time is for a journal of which no file of that numbering is left."""
    return f"s={at.numbering};i={at.position:x};t={at.time_ns // _MICROSECOND_NS:x}"
