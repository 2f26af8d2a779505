"""One file that is followed: held open, read as it grows, known again by what was read of it.

A line that is not complete is held back. A line longer than the limit is given, cut, as soon as it exceeds it, and
its rest is skipped; so is the hole of NULs that a writer leaves at the start of a file that was truncated under it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from varlogd.errors import LogReadError
from varlogd.logs.catalogue import LogFile, reason
from varlogd.logs.files import OpenFiles, Unpacked
from varlogd.logs.identity import HEAD_BYTES, FileIdentity, identity_of
from varlogd.logs.opening import open_listed
from varlogd.logs.reader import Chunk, Text
from varlogd.wire.limits import LINE_MAX_BYTES

ANCHOR_BYTES: Final = 256
"""What is compared, before the place where reading stopped, to see that the file is still the one that was read."""

MARK_AT_BYTES: Final = 64 * HEAD_BYTES
"""An identity is made anew as its file grows, until it has a mark so far from the start: then it has a day's text."""

SHORTER: Final = "truncated while it was read"

FileKey = tuple[int, int]
"""Device and inode."""


class Truncated(LogReadError):
    """A file is shorter than what was seen of it, or another text."""


class Followed:
    """One file that is followed, as a `reader.Text`.

    ``offset`` is where the first line begins that was not given, ``base`` where in the stream the file begins.
    ``final``: nobody writes to it any more. ``rotated_at``: since when its stream's name stands for another.
    """

    def __init__(self, listed: LogFile, base: int, *, final: bool = False) -> None:
        self.listed = listed
        self.base = base
        self.final = final or bool(listed.packing)
        self.rotated_at: float | None = None
        self.offset = 0
        self.size_bytes = 0
        self._status: tuple[int, int] | None = None
        self._is_read = False
        self._anchor = b""
        self._skipping = False
        self._descriptor: int | None = None
        self._unpacked: Unpacked | None = None
        self._identity: FileIdentity | None = None

    @property
    def key(self) -> FileKey:
        """Which file it is, as long as it exists."""
        return (self.listed.device, self.listed.inode)

    @property
    def is_partial(self) -> bool:
        """Whether it has bytes that were not given: a line that is not complete."""
        return self.offset < self.size_bytes and not self._skipping

    @property
    def is_held(self) -> bool:
        """Whether it is open: then it can be read whatever happens to its name."""
        return self._descriptor is not None

    def identity(self) -> FileIdentity:
        """What it is known by, also when it has been truncated since. Raises LogReadError (Truncated)."""
        known = self._identity
        if known is None or known.mark_at < min(self.offset, MARK_AT_BYTES):
            known = self._identity = identity_of(self.listed, _Beginning(self, self.offset))
        return known

    def identity_of_all(self) -> FileIdentity:
        """What it is known by with all that it has now; it is held. Raises LogReadError (Truncated)."""
        return identity_of(self.listed, _Beginning(self, os.fstat(self.descriptor()).st_size))

    def last_identity(self) -> FileIdentity | None:
        """What it was known by when it was last read."""
        return self._identity

    def start_at(self, offset: int) -> None:
        """Begin with the first line that starts at ``offset`` or behind it. Raises LogReadError (Truncated)."""
        self.offset = offset
        if self.listed.packing and self._unpacked is None:  # once it is unpacked
            return
        size = min(offset, ANCHOR_BYTES)
        self._anchor = self.read_at(offset - size, size)
        self._skipping = bool(offset) and not self._anchor.endswith(b"\n")
        self.size_bytes = offset

    def start_behind_whole_lines(self) -> None:
        """Begin with the line that is not complete now, or with the next. Raises LogReadError (Truncated).

        One that is too long already is not begun with: its beginning is all that is ever given of it.
        """
        size = os.fstat(self.descriptor()).st_size
        start = max(0, size - LINE_MAX_BYTES)
        found = self.read_at(start, size - start).rfind(b"\n") + 1
        self.start_at(start + found if found or not start else size)

    @property
    def mtime_ns(self) -> int:
        """When it was last written to, as far as is known."""
        return self._status[1] if self._status else self.listed.mtime_ns

    def note_status(self, status: os.stat_result) -> bool:
        """Whether it has changed, by what the system says of it now."""
        told = (status.st_size, status.st_mtime_ns)
        changed, self._status = told != self._status, told
        self._is_read = self._is_read and not changed
        return changed

    def look(self) -> None:
        """See whether it has changed, if it is held."""
        if self._descriptor is not None:
            self.note_status(os.fstat(self._descriptor))

    def chunks(self, files: OpenFiles) -> Iterator[Chunk]:
        """The whole lines behind those given, if it has changed since. Raises LogReadError (Truncated), and what
        the check of ``files`` raises."""
        if self._is_read:
            return
        if self.listed.packing:
            self._unpack(files)
        else:
            self.descriptor()
            self.size_bytes = self.verify()
            self._skip_hole()
        while self.offset < self.size_bytes:
            data = self._read_on(min(LINE_MAX_BYTES, self.size_bytes - self.offset))
            chunk = self._beyond(data) if self._skipping else self._lines(data)
            if chunk is None:
                break
            if chunk.data:
                yield chunk
        self._is_read = True
        self.identity()

    def rest(self) -> Chunk | None:
        """The line that will not be completed any more. Raises LogReadError (Truncated)."""
        if not self.is_partial:
            return None
        start = self.offset
        data = self._read_on(min(LINE_MAX_BYTES, self.size_bytes - start))
        self._go_on_behind(data)
        return Chunk(start, data + b"\n", torn=True)

    def close(self) -> None:
        """Let go of it; it is opened again when it has changed."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        if self._unpacked is not None:
            self._unpacked.close()
            self._unpacked = None

    def descriptor(self) -> int:
        """A descriptor of the file. Raises LogReadError."""
        if self._descriptor is None:
            self._descriptor = open_listed(self.listed)
        return self._descriptor

    def read_at(self, offset: int, size_bytes: int) -> bytes:
        """See `reader.Text`; raises Truncated if there is less."""
        if self._unpacked is not None:
            return self._unpacked.read_at(offset, size_bytes)
        try:
            data = os.pread(self.descriptor(), size_bytes, offset)
        except OSError as error:
            raise LogReadError(reason(error)) from error
        if len(data) < size_bytes:
            raise Truncated(SHORTER)
        return data

    def expect(self, offset: int, size_bytes: int) -> None:
        """See `reader.Text`: what was just written is in memory."""

    def _read_on(self, size_bytes: int) -> bytes:
        """What stands behind the bytes read last, which are looked at in the same read: a file that was truncated
        since its size was seen may be as long again, with other text. Raises LogReadError (Truncated)."""
        anchor = self._anchor
        data = self.read_at(self.offset - len(anchor), len(anchor) + size_bytes)
        if not data.startswith(anchor):
            raise Truncated(SHORTER)
        return data[len(anchor) :]

    def _unpack(self, files: OpenFiles) -> None:
        unpacking = files.open(self.listed)
        while self._unpacked is None:
            try:
                next(unpacking)
            except StopIteration as end:
                self._unpacked = end.value
        self.start_at(min(self.offset, self._unpacked.size_bytes))
        self.size_bytes = self._unpacked.size_bytes

    def verify(self) -> int:
        """The size it has grown to; 0 if it is not held. Raises LogReadError (Truncated)."""
        if self._descriptor is None or self.listed.packing:
            return 0
        size = os.fstat(self._descriptor).st_size
        if size < self.size_bytes or self.read_at(self.offset - len(self._anchor), len(self._anchor)) != self._anchor:
            raise Truncated(SHORTER)
        return size

    def _skip_hole(self) -> None:
        if self.offset or not self.size_bytes or self.read_at(0, 1) != b"\0":
            return
        try:
            at = os.lseek(self.descriptor(), 0, os.SEEK_DATA)
        except OSError as error:  # ENXIO: nothing but a hole
            raise Truncated(SHORTER) from error
        text = b""
        while at < self.size_bytes and not text:
            data = self.read_at(at, min(LINE_MAX_BYTES, self.size_bytes - at))
            text = data.lstrip(b"\0")
            at += len(data) - len(text)
        self.start_at(at)
        self._skipping = False
        self.size_bytes = os.fstat(self.descriptor()).st_size

    def _beyond(self, data: bytes) -> Chunk:
        """Nothing of a line that was too long, up to its end."""
        start, end = self.offset, data.find(b"\n") + 1
        self._skipping = not end
        self._go_on_behind(data[:end] if end else data)
        return Chunk(start, b"")

    def _lines(self, data: bytes) -> Chunk | None:
        """The whole lines in ``data``; the cut beginning of one that is too long; None if it is a part of one."""
        start, end = self.offset, data.rfind(b"\n") + 1
        if end:
            data = data[:end] if end < len(data) else data
            self._go_on_behind(data)
            return Chunk(start, data)
        if self.size_bytes - start <= LINE_MAX_BYTES:
            return None
        self._go_on_behind(data)
        self._skipping = True
        cut = self.read_at(start + len(data), 1) != b"\n"
        return Chunk(start, data + b"\n", cut=cut, torn=cut)

    def _go_on_behind(self, data: bytes) -> None:
        self.offset += len(data)
        self._anchor = (self._anchor + data[-ANCHOR_BYTES:])[-ANCHOR_BYTES:]


class _Beginning:
    """The first bytes of a text."""

    def __init__(self, text: Text, size_bytes: int) -> None:
        self._text = text
        self.size_bytes = size_bytes

    def read_at(self, offset: int, size_bytes: int) -> bytes:
        """See `reader.Text`."""
        return self._text.read_at(offset, size_bytes)

    def expect(self, offset: int, size_bytes: int) -> None:
        """See `reader.Text`."""
