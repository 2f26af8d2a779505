"""One stream followed through its rotations: what is appended to it, as chunks of whole lines, each exactly once.

**The file is held, the name is watched.** What is followed is a file, held open, and how far it has been read. A
rename leaves it as it is, so that its rest is read from it wherever it went; deleting it, or compressing it and then
deleting it, takes nothing from who holds it; and while it is held nothing else can get its inode. What its name says
is only looked at to notice that a rotation has happened. Then the chain is listed, the file is found in it again
(`identity`), and **what the chain has newer than it has not been read** (`following.known`): those files follow, from
old to new, each from its start, however many rotations there were since the last look.

**Truncation in place** (copytruncate) is the one thing that takes text from who holds it: the file is shorter than
what was read of it, or the bytes before the place where reading stopped are others. The rest is then in the copy,
which the chain has as a file with the same beginning; reading goes on in that at the same place, and then in the
truncated file from its start. What was written between the copy and the truncation is in no file, and nobody can
know if there was anything: so that is told every time, with the number of bytes where it is known.

**A line that is not complete is held back**, without a limit in time, while its file is written to: half a line would
be matched as one, and half a secret would not be known for one. It is given when its file has been rotated away, and
is final: at once for a copy or a compressed file; for one that was renamed or deleted `ROTATED_PAUSE_S` after that
was noticed, since a writer may still hold it, and complete it (who writes whole buffers always leaves such lines).
Newer files do not wait for that. What such a writer writes later still is given when it comes.

What is given of lines that are too long, and of holes, `logs.following.followed` says.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Final, NamedTuple

from varlogd.errors import LogReadError
from varlogd.logs.catalogue import LogFile, LogStream
from varlogd.logs.files import SPOOL_MAX_BYTES, OpenFiles
from varlogd.logs.following.followed import FileKey, Followed, Truncated
from varlogd.logs.following.known import KnownFiles, is_copy_of_all
from varlogd.logs.identity import FileIdentity, resolve
from varlogd.logs.reader import Chunk

ROTATED_PAUSE_S: Final = 1.0
"""How long the last, incomplete line of a file that was renamed or deleted may still be completed by its writer."""

LINGER_S: Final = 10.0
"""How long such a file is held and looked at: writers open the new one when they are told to, in a moment."""

COPY_PAUSE_S: Final = 0.15
"""How long the copy of a truncated file is sought: it is there before the truncation, but in the very moment in which
it is renamed or compressed a listing may miss it. So there is a second."""

IN_PLACE: Final = "truncated in place: what was written between its copy and the truncation is in no file"
NO_COPY: Final = "truncated, and no copy of it is there: what was written since it was last read is lost"
GONE: Final = "it is gone, and with it what was written since it was last read"


class Lost(NamedTuple):
    """Text that a rotation has lost, or may have: ``why`` says what happened, ``size_bytes`` how much at least."""

    why: str
    size_bytes: int = 0


class Tail:
    """One stream that is followed. ``lost``: what is to be told of it, until somebody takes it from there.

    Made by `begin`, `resume` or `new`. Then, again and again: `look` if there is anything to be done, `listed` with a
    new listing if it says so, and `read`. Times are of a steady clock, in seconds.
    """

    def __init__(self, stream: LogStream) -> None:
        self.stream = stream
        self.lost: list[Lost] = []
        self._queue: list[Followed] = []  # those being read, from old to new; the last is the current one
        self._lingering: list[Followed] = []  # read to their end, and perhaps still written to
        self._known = KnownFiles()
        self._at_name: FileKey | None = None
        self._truncated_at: float | None = None

    @classmethod
    def begin(cls, stream: LogStream) -> Tail:
        """Follow from the end of the last complete line."""
        tail = cls(stream)
        tail._known.see(stream.files)
        newest = stream.files[0] if stream.files else None
        if newest is not None and not newest.packing:
            file = tail._follow(newest, _size_of(stream.files[1:]))
            try:
                file.start_behind_whole_lines()
                file.identity()
            except LogReadError as error:
                file.close()
                tail._tell(f"{stream.name_of(newest)}: {error}")
        return tail

    @classmethod
    def resume(cls, stream: LogStream, identity: FileIdentity, offset: int) -> Tail:
        """Follow from the first line that starts at ``offset``, or behind it, of the file of that identity."""
        tail = cls(stream)
        found = resolve(identity, offset, stream)
        if found is None:
            tail = cls.begin(stream)
            tail._tell(
                "the file it stood in is not there any more: it goes on from now, and what was between is lost"
            )
            return tail
        index = stream.files.index(found)
        tail._known.see(stream.files[index:])
        file = tail._follow(found, _size_of(stream.files[index + 1 :]))
        try:
            file.start_at(offset)
        except LogReadError as error:
            tail._tell(f"{stream.name_of(found)}: {error}")
        tail._follow_all(stream.files[:index])
        return tail

    @classmethod
    def new(cls, stream: LogStream) -> Tail:
        """Follow a stream that was not there before, all of it."""
        tail = cls(stream)
        tail._follow_all(stream.files)
        return tail

    @property
    def current(self) -> Followed | None:
        """The file that its name stands for, as far as is known."""
        return self._queue[-1] if self._queue else None

    @property
    def is_truncated(self) -> bool:
        """Whether its file was truncated, so that its copy is to be found in a new listing."""
        return self._truncated_at is not None

    @property
    def identities(self) -> dict[FileKey, FileIdentity]:
        """What its plain files are known by."""
        followed = ((file.key, file.last_identity()) for file in self._queue)
        return self._known.identities | {key: identity for key, identity in followed if identity is not None}

    @property
    def first(self) -> Followed | None:
        """The file that is being read."""
        return self._queue[0] if self._queue else None

    @property
    def _followed(self) -> tuple[Followed, ...]:
        return (*self._queue, *self._lingering)

    def look(self) -> bool:
        """See what has changed; whether the chain must be listed."""
        for file in (*self._lingering, *self._queue[:-1]):
            file.look()
        current = self.current
        if current is None or self._truncated_at is not None:
            return self._truncated_at is not None
        try:
            status = os.lstat(current.listed.path)
        except OSError:
            at_name = None
        else:
            at_name = (status.st_dev, status.st_ino)
            if at_name == current.key and current.note_status(status) and not current.offset:
                return True  # whether it was truncated meanwhile can only be seen by the chain
        if at_name != current.key:
            current.look()
        told, self._at_name = self._at_name, at_name
        return at_name not in (current.key, told)

    def listed(self, stream: LogStream | None, now: float) -> None:
        """Take a new listing of its chain; None: nothing of it is there."""
        self.stream = stream or replace(self.stream, files=())
        chain = self.stream.files
        current = self.current
        if current is not None and self._truncated_at is None:
            try:
                current.verify()
            except LogReadError as error:
                self._truncated_at = now if isinstance(error, Truncated) else None
        if self._truncated_at is None:
            index = self._index_of_current(chain, now)
        elif (index := self._index_of_copy(chain)) is None and self._may_yet_be_found(now):
            return
        else:
            current = self._leave_truncated(chain, index)
        if current is not None and index is not None:
            self._read_before(current, self._copies(current, chain[index + 1 :]))
        newer = chain[:index] if index is not None else self._known.unknown(chain, self._followed)
        if newer and current is not None and current.rotated_at is None:
            current.rotated_at = now
        self._follow_all(newer)
        for grown, size_bytes in self._known.see_again(chain, self._followed):
            self._linger_again(grown, size_bytes, now)

    def read(self, now: float, files: OpenFiles) -> Iterator[tuple[Followed, Chunk]]:
        """What is new, in the order of the files. Raises what the check of ``files`` raises."""
        yield from self._read_lingering(now, files)
        while self._queue and (self._truncated_at is None or len(self._queue) > 1):
            file = self._queue[0]
            try:
                for chunk in file.chunks(files):
                    yield file, chunk
                if not self._is_left(file, now):
                    return
                if (file.final or file is self.current) and (rest := file.rest()):
                    yield file, rest
            except Truncated:
                self._truncated(file, now)
            except LogReadError as error:
                if self._cannot_read(file, error):
                    return
            else:
                self._leave(file, now)

    def close(self) -> None:
        """Let go of all files."""
        for file in self._followed:
            file.close()
        self._queue, self._lingering = [], []

    # --- which files ---

    def _index_of_current(self, chain: tuple[LogFile, ...], now: float) -> int | None:
        """Where the current file, or its compressed self, is in the chain; it is left if it is not there itself."""
        current = self.current
        if current is None:
            return None
        for index, file in enumerate(chain):
            if (file.device, file.inode) == current.key:
                current.listed = file
                return index
        if current.rotated_at is None:
            current.rotated_at = now
        try:
            identity = current.identity_of_all() if current.is_held else current.last_identity()
        except LogReadError:
            identity = current.last_identity()
        found = resolve(identity, 0, replace(self.stream, files=chain)) if identity else None
        if current.is_held:
            return None if found is None else chain.index(found)
        return self._go_on_in(found, chain)

    def _may_yet_be_found(self, now: float) -> bool:
        """Whether there is any text by which a copy can be known, and time to look for it."""
        current, since = self.current, self._truncated_at
        return bool(current and current.offset and since is not None and now < since + COPY_PAUSE_S)

    def _index_of_copy(self, chain: tuple[LogFile, ...]) -> int | None:
        """Where the copy of the current file, which has been truncated, is in the chain."""
        current = self.current
        assert current is not None
        identity = current.last_identity()
        others = tuple(file for file in chain if (file.device, file.inode) != current.key)
        found = resolve(identity, 0, replace(self.stream, files=others)) if identity else None
        return None if found is None else chain.index(found)

    def _leave_truncated(self, chain: tuple[LogFile, ...], index: int | None) -> Followed | None:
        """Go on in the copy of a file that was truncated, where there is one, and forget that it was read."""
        current = self._queue.pop()
        current.close()
        self._truncated_at = None
        unread = current.size_bytes - current.offset
        if index is None:
            self.lost.append(Lost(NO_COPY, unread))
            return None
        copy = self._follow(chain[index], current.base)
        copy.final = True
        self._start(copy, current.offset, unread)
        self.lost.append(Lost(IN_PLACE))
        return copy

    def _go_on_in(self, found: LogFile | None, chain: tuple[LogFile, ...]) -> int | None:
        """Go on in what the current file, which is gone and was not held, has become."""
        current = self._queue.pop()
        if found is None:
            self.lost.append(Lost(GONE))
            return None
        successor = self._follow(found, current.base)
        self._start(successor, current.offset, current.size_bytes - current.offset)
        return chain.index(found)

    def _start(self, file: Followed, offset: int, unread_bytes: int) -> None:
        """Begin in a copy where reading stopped in the original; a copy that is shorter has lost what was unread."""
        try:
            file.start_at(offset)
        except Truncated:
            self._queue.remove(file)
            file.close()
            if unread_bytes:
                self.lost.append(Lost(IN_PLACE, unread_bytes))
        except LogReadError as error:
            self._tell(str(error))

    def _copies(self, current: Followed, older: tuple[LogFile, ...]) -> tuple[LogFile, ...]:
        """Copies of a file that was truncated before they were read in it, which nothing else betrays."""
        unknown = () if current not in self._queue else self._known.unknown(older, self._followed)
        return tuple(
            file
            for file in unknown
            if file.size_bytes
            and not self._known.has_copied(file, self._followed)
            and not is_copy_of_all(file, current)
        )

    def _read_before(self, current: Followed, copies: tuple[LogFile, ...]) -> None:
        if not copies:
            return
        self._queue.remove(current)
        self._follow_all(copies)
        for file in self._queue:
            file.final = True
        self._queue.append(current)
        self._at_name = current.key
        self.lost.append(Lost(IN_PLACE))

    def _follow_all(self, newer: tuple[LogFile, ...]) -> None:
        """Follow files from their start, given from new to old."""
        for listed in reversed(newer):
            last = self.current
            file = self._follow(listed, last.base + last.size_bytes if last else 0)
            if not listed.packing:
                with suppress(LogReadError):  # what cannot be opened is told of when its turn comes
                    file.descriptor()

    def _follow(self, listed: LogFile, base: int) -> Followed:
        file = Followed(listed, base)
        self._at_name = file.key
        self._known.forget(file)
        self._queue.append(file)
        return file

    def _linger_again(self, listed: LogFile, offset: int, now: float) -> None:
        file = Followed(listed, max(0, (self.current.base if self.current else 0) - listed.size_bytes))
        file.rotated_at = now
        try:
            file.start_at(offset)
        except LogReadError:  # it has just gone the way of old files
            file.close()
            return
        self._lingering.append(file)

    # --- reading ---

    def _is_left(self, file: Followed, now: float) -> bool:
        """Whether a file, read to its last complete line, is done with: it is final, or away for long enough."""
        if file.final or file is not self.current:
            return True
        return file.rotated_at is not None and now >= file.rotated_at + LINGER_S

    def _leave(self, file: Followed, now: float) -> None:
        self._queue.remove(file)
        file.rotated_at = now if file.rotated_at is None else file.rotated_at
        self._known.remember_text(file)
        if self._queue:
            self._queue[0].base = file.base + file.size_bytes
        if file.final or not self._queue:
            self._forget(file)
        else:
            self._lingering.append(file)

    def _forget(self, file: Followed) -> None:
        """Let go of a file that has been read to its end."""
        self._known.remember(file)
        file.close()

    def _read_lingering(self, now: float, files: OpenFiles) -> Iterator[tuple[Followed, Chunk]]:
        for file in list(self._lingering):
            rotated_at = file.rotated_at or 0.0
            over = now >= rotated_at + LINGER_S
            try:
                for chunk in file.chunks(files):
                    yield file, chunk
                if now >= rotated_at + ROTATED_PAUSE_S and (rest := file.rest()):
                    yield file, rest
            except LogReadError:  # nothing that was written as it should be is in it
                over = True
            if over:
                self._lingering.remove(file)
                self._forget(file)

    def _truncated(self, file: Followed, now: float) -> None:
        if file is self.current:
            self._truncated_at = now
            return
        self.lost.append(Lost(NO_COPY, file.size_bytes - file.offset))
        self._queue.remove(file)
        file.close()

    def _cannot_read(self, file: Followed, error: LogReadError) -> bool:
        """Tell of a file that cannot be read, and go on behind it; whether there is nothing behind it."""
        if file is self.current and file.rotated_at is None:
            return True  # it may be back, or is found again with the next listing
        self._tell(f"{self.stream.name_of(file.listed)}: {error}")
        self._queue.remove(file)
        file.close()
        return False

    def _tell(self, why: str) -> None:
        self.lost.append(Lost(why))


def _size_of(files: tuple[LogFile, ...]) -> int:
    """Where in a stream the file behind these begins: see `logs.stream` on positions."""
    return sum(SPOOL_MAX_BYTES if file.packing else file.size_bytes for file in files)
