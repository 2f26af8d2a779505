"""The files of one scan, as texts to read anywhere, with few descriptors and bounded disk space.

A scan merges streams, so it has as many files under way as there are streams; it holds the descriptors of the
`OPEN_FILES_MAX` last read and opens others again when their turn comes (`open_listed` makes sure that it is the same
file). A compressed file cannot be read backwards: it is unpacked, when its turn comes, into the scan's *spool*, one
temporary file without a name, in extents that are used again once it has been read. Its size is bounded; what does
not fit is told (`Unpacked.note`), and so is damage: what could be unpacked is searched all the same.
"""

from __future__ import annotations

import os
import tempfile
from collections import OrderedDict
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, cast

from varlogd.errors import LogReadError
from varlogd.logs.account import Account
from varlogd.logs.catalogue import LogFile, reason
from varlogd.logs.opening import LogGone, compressed_since, open_listed
from varlogd.logs.packing import PIECE_BYTES, PackingError, unpacked
from varlogd.wire.limits import MIB

OPEN_FILES_MAX: Final = 32
"""Plain files held open by one scan. Many scans run at once, and a process often may open just 1,024."""

SPOOL_MAX_BYTES: Final = 2048 * MIB
"""What one scan may unpack to disk at the same time. The largest rotated logs unpack to about a gigabyte."""

EXTENT_BYTES: Final = 1 * MIB
"""The spool is given out in pieces of this size."""


class Plain:
    """A file read where it lies, up to the size it had when first opened.

    Raises LogReadError, also if it has been truncated since it was listed: what was in it may be in a copy now.
    """

    def __init__(self, files: OpenFiles, file: LogFile) -> None:
        self._files = files
        self._file = file
        self.size_bytes = os.fstat(files.descriptor(file)).st_size
        if self.size_bytes < file.size_bytes:
            files.forget(file)
            raise LogReadError("truncated since it was listed")
        self.note = ""

    def read_at(self, offset: int, size_bytes: int) -> bytes:
        """See `reader.Text`."""
        return self._files.read(self._files.descriptor(self._file), offset, size_bytes)

    def expect(self, offset: int, size_bytes: int) -> None:
        """See `reader.Text`."""
        os.posix_fadvise(self._files.descriptor(self._file), offset, size_bytes, os.POSIX_FADV_WILLNEED)

    def close(self) -> None:
        """Nothing more will be read."""
        self._files.forget(self._file)


class Unpacked:
    """A compressed file as its text; ``note`` says what of it is missing."""

    def __init__(self, files: OpenFiles) -> None:
        self._files = files
        self.extents: list[int] = []
        self.size_bytes = 0
        self.note = ""

    def read_at(self, offset: int, size_bytes: int) -> bytes:
        """See `reader.Text`."""
        parts = []
        while size_bytes > 0:
            index, within = divmod(offset, EXTENT_BYTES)
            size = min(size_bytes, EXTENT_BYTES - within)
            parts.append(self._files.read(self._files.spool(), self.extents[index] + within, size))
            offset, size_bytes = offset + size, size_bytes - size
        return b"".join(parts)

    def expect(self, offset: int, size_bytes: int) -> None:
        """It has just been written: the kernel has it."""

    def close(self) -> None:
        """Nothing more will be read: the space is free for others."""
        self._files.free(self.extents)
        self.extents = []


Opened = Plain | Unpacked


def beginning(file: LogFile, size_bytes: int) -> bytes:
    """The first bytes of a compressed file's text, or all if it has fewer (or is damaged behind them).

    No more is unpacked than that. Raises LogReadError.
    """
    data = b""
    with os.fdopen(open_listed(file), "rb") as packed, suppress(PackingError):
        for piece in unpacked(file.packing, packed, min(size_bytes, PIECE_BYTES)):
            data += piece
            if len(data) >= size_bytes:
                break
    return data[:size_bytes]


class OpenFiles:
    """All that one scan has open; ``close`` closes it."""

    def __init__(self, account: Account, spool_dir: Path | None = None) -> None:
        self._account = account
        self._spool_dir = spool_dir
        self._descriptors: OrderedDict[LogFile, int] = OrderedDict()
        self._spool: IO[bytes] | None = None
        self._spool_bytes = 0
        self._free: list[int] = []

    def open(self, file: LogFile) -> Generator[None, None, Opened]:
        """A file's text; a step for each piece that had to be unpacked. Raises LogReadError."""
        if file.packing:
            return (yield from self._unpack(file))
        try:
            return Plain(self, file)
        except LogGone:
            if (packed := compressed_since(file)) is None:
                raise
            return (yield from self._unpack(packed))

    def descriptor(self, file: LogFile) -> int:
        """A descriptor of a plain file, until the next call. Raises LogReadError."""
        if file in self._descriptors:
            self._descriptors.move_to_end(file)
            return self._descriptors[file]
        if len(self._descriptors) >= OPEN_FILES_MAX:
            os.close(self._descriptors.popitem(last=False)[1])
        self._descriptors[file] = descriptor = open_listed(file)
        return descriptor

    def forget(self, file: LogFile) -> None:
        """Close a plain file."""
        if file in self._descriptors:
            os.close(self._descriptors.pop(file))

    def read(self, descriptor: int, offset: int, size_bytes: int) -> bytes:
        """Exactly ``size_bytes`` bytes. Raises LogReadError, and what the scan's check raises."""
        self._account.read(size_bytes)
        try:
            data = os.pread(descriptor, size_bytes, offset)
        except OSError as error:
            raise LogReadError(reason(error)) from error
        if len(data) < size_bytes:
            raise LogReadError("became shorter while it was read")
        return data

    def spool(self) -> int:
        """The descriptor of the spool. Raises LogReadError if it cannot be made."""
        if self._spool is None:
            try:
                spool = tempfile.TemporaryFile(dir=self._spool_dir, buffering=0)  # noqa: SIM115 - `close` closes it
                self._spool = cast("IO[bytes]", spool)
            except OSError as error:
                raise LogReadError(f"nowhere to unpack it: {reason(error)}") from error
        return self._spool.fileno()

    def free(self, extents: list[int]) -> None:
        """Give extents of the spool back."""
        self._free += extents

    def close(self) -> None:
        """Close everything. To be called once nothing reads any more; may be called again."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    def _unpack(self, file: LogFile) -> Generator[None, None, Unpacked]:
        text = Unpacked(self)
        with os.fdopen(open_listed(file), "rb") as packed:
            try:
                for piece in unpacked(file.packing, packed):
                    self._account.unpacked(len(piece))
                    if not self._append(text, piece):
                        break
                    yield None
            except PackingError as error:
                text.note = f"damaged after {text.size_bytes} bytes: {str(error).lower()}"
        return text

    def _append(self, text: Unpacked, piece: bytes) -> bool:
        """Write a piece of an unpacked text behind what there is of it; false, with a note, if it does not fit."""
        while piece:
            within = text.size_bytes % EXTENT_BYTES
            if within == 0 and not self._extend(text):
                return False
            try:
                size = os.pwrite(self.spool(), piece[: EXTENT_BYTES - within], text.extents[-1] + within)
            except OSError as error:
                text.note = f"only {text.size_bytes} bytes of it could be unpacked: {reason(error)}"
                return False
            text.size_bytes += size
            piece = piece[size:]
        return True

    def _extend(self, text: Unpacked) -> bool:
        if self._free:
            text.extents.append(self._free.pop())
        elif self._spool_bytes < SPOOL_MAX_BYTES:
            text.extents.append(self._spool_bytes)
            self._spool_bytes += EXTENT_BYTES
        else:
            text.note = f"only {text.size_bytes} bytes of it were unpacked: the limit of {SPOOL_MAX_BYTES} is reached"
            return False
        return True
