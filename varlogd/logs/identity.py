"""Which file it is: an identity that stays with a log through its rotations, and with nothing else.

A name says little: ``x.log`` is another file after each rotation. Device and inode say more, but an inode is used
again, a compressed copy has another one, and copytruncate leaves the inode to what is written next. So a file is
known by **its text** as well: by a hash of how it begins (its *head*), and of the bytes before a place further on
(its *mark*), since logs that begin with the same banner soon differ. Both are of the text, unpacked, and a log only
grows at its end: hence ``x.log``, ``x.log.1`` and ``x.log.1.gz`` are one, and so is the copy that copytruncate made,
while a file that was truncated and written anew, or that got the inode of another, is not.

`resolve` finds a file again in its chain. It goes by device and inode first, then by text, and says None rather than
guess: where nothing fits, or where several do.

**What can still fool it.** Two texts that are the same in the first `HEAD_BYTES` and in the `MARK_BYTES` before the
mark (at `MARK_AT_MAX_BYTES`, or where the text ended when the identity was made) are one to it. Lines with a time in
them make that impossible in practice; a log without times that repeats itself at every start can do it, as long as it
has grown past the offset again on the same inode. An identity made of an empty file is nothing but its inode, and one
made of a very short file little more.

**What it must not tell.** An asker sees identities in cursors and may make up others, so a plain hash would confirm
guesses of what stands in a log, secrets that are masked included. The hashes are keyed by what no asker knows.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Final

from varlogd.errors import LogReadError, QueryError
from varlogd.logs.catalogue import LogFile, LogStream, reason
from varlogd.logs.files import beginning
from varlogd.logs.opening import open_listed
from varlogd.logs.reader import BytesText, Text
from varlogd.wire.limits import KIB, MIB

HEAD_BYTES: Final = 1 * KIB
"""How much of a text's beginning is hashed, if it has so much: some ten lines."""

MARK_BYTES: Final = 256
"""How much is hashed before the mark: a line or two."""

MARK_AT_MAX_BYTES: Final = 1 * MIB
"""The furthest place of a mark. A compressed file is unpacked so far to look at it: some milliseconds."""

HEADS_KEPT: Final = 1024
"""Heads of compressed files kept in memory, 1 KiB each: they do not change, and cost an open and a decompressor."""

COPY_MAX_NS: Final = 60 * 10**9
"""How long after the last line of a log a copy of it may be written at most, to be taken for one in the making."""

_DIGEST_BYTES: Final = {"head": 12, "mark": 4}
"""A false match of heads is then less likely than a broken disk; a mark only tells apart what has the same head."""

MACHINE_ID: Final = Path("/etc/machine-id")
"""What systemd calls confidential, and wants hashed with a key before it is used. The same after a restart."""

_FORM: Final = re.compile(
    r"(?P<device>[0-9a-f]{1,16})-(?P<inode>[0-9a-f]{1,16})-(?P<head_bytes>[0-9a-f]{1,3})-(?P<head>[0-9a-f]{24})"
    r"-(?P<mark_at>[0-9a-f]{1,6})-(?P<mark>[0-9a-f]{8})"
)
_NUMBERS: Final = ("device", "inode", "head_bytes", "mark_at")


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """What is known of one file. ``head`` hashes its first ``head_bytes``, ``mark`` what stands before ``mark_at``.

    ``str`` gives its text form, of less than 90 characters, and `parse` reads it. Two identities of one file that
    grew in between need not be equal: ask `is_of`.
    """

    device: int
    inode: int
    head_bytes: int
    head: str
    mark_at: int
    mark: str

    def __str__(self) -> str:
        return f"{self.device:x}-{self.inode:x}-{self.head_bytes:x}-{self.head}-{self.mark_at:x}-{self.mark}"

    @classmethod
    def parse(cls, text: str) -> FileIdentity:
        """The identity of that text form. Raises QueryError if it is none: it comes from an asker."""
        if (form := _FORM.fullmatch(text)) is not None:
            device, inode, head_bytes, mark_at = (int(form[name], 16) for name in _NUMBERS)
            if head_bytes <= HEAD_BYTES and mark_at <= MARK_AT_MAX_BYTES:
                return cls(device, inode, head_bytes, form["head"], mark_at, form["mark"])
        raise QueryError("the cursor names a file in a form that this host does not know")

    def is_on(self, file: LogFile) -> bool:
        """Whether ``file`` has this device and inode. Alone it proves nothing: inodes are used again."""
        return (file.device, file.inode) == (self.device, self.inode)

    def is_of(self, text: Text) -> bool:
        """Whether ``text`` is that file's, which may have grown. Reads 1.3 KiB; raises LogReadError."""
        if text.size_bytes < max(self.head_bytes, self.mark_at):
            return False
        if _hash("head", text.read_at(0, self.head_bytes)) != self.head:
            return False
        start = max(0, self.mark_at - MARK_BYTES)
        return _hash("mark", text.read_at(start, self.mark_at - start)) == self.mark


def identity_of(file: LogFile, text: Text) -> FileIdentity:
    """The identity of a listed file, whose text is open. Reads 1.3 KiB; raises LogReadError."""
    head_bytes = min(HEAD_BYTES, text.size_bytes)
    mark_at = min(MARK_AT_MAX_BYTES, text.size_bytes)
    start = max(0, mark_at - MARK_BYTES)
    return FileIdentity(
        file.device,
        file.inode,
        head_bytes,
        _hash("head", text.read_at(0, head_bytes)),
        mark_at,
        _hash("mark", text.read_at(start, mark_at - start)),
    )


def resolve(
    identity: FileIdentity, offset: int, stream: LogStream, check: Callable[[], None] = lambda: None
) -> LogFile | None:
    """The file of a chain that has this identity and, if it is not compressed, a text of at least ``offset`` bytes.

    The file on the same inode, if its text fits; else the only other one whose text fits. None if there is none, or
    more than one, or if a file that could be it cannot be read. Costs one open and 1.3 KiB a file, and up to 1 MiB
    of unpacking for each compressed one with the same head; calls ``check`` for each.
    """
    on_it = next((file for file in stream.files if identity.is_on(file)), None)
    if on_it is not None and _fits(identity, offset, on_it):
        return on_it
    if not identity.head_bytes:  # any text begins with nothing
        return None
    found = []
    for file in stream.files:
        check()
        if file is not on_it and _fits(identity, offset, file):
            found.append(file)
    return found[0] if len(found) == 1 else None


def without_copy(stream: LogStream) -> LogStream:
    """The stream without its second newest file, if that is a copy of the newest one, which ``copytruncate`` has not
    truncated yet: else all of it would be there twice. Costs two opens where both were written lately."""
    if len(stream.files) < 2:
        return stream
    newest, second = stream.files[:2]
    if newest.packing or second.packing or second.mtime_ns < newest.mtime_ns - COPY_MAX_NS:
        return stream
    if second.size_bytes and not _is_copy(second, newest):
        return stream
    return replace(stream, files=(newest, *stream.files[2:]))


def _is_copy(file: LogFile, original: LogFile) -> bool:
    try:
        with _Opened(file) as text, _Opened(original) as other:
            return identity_of(file, text).is_of(other)
    except LogReadError:
        return False


def _fits(identity: FileIdentity, offset: int, file: LogFile) -> bool:
    try:
        if file.packing:
            return _is_packed_of(identity, file)
        with _Opened(file) as text:
            return text.size_bytes >= offset and identity.is_of(text)
    except LogReadError:
        return False


def _is_packed_of(identity: FileIdentity, file: LogFile) -> bool:
    if _hash("head", _packed_head(file)[: identity.head_bytes]) != identity.head:
        return False
    return identity.is_of(BytesText(beginning(file, max(identity.head_bytes, identity.mark_at))))


@lru_cache(maxsize=HEADS_KEPT)
def _packed_head(file: LogFile) -> bytes:
    """The key has device, inode, size and time of change in it: one that is still being written is another."""
    return beginning(file, HEAD_BYTES)


class _Opened:
    """A plain file as a text, for as long as it is looked at."""

    def __init__(self, file: LogFile) -> None:
        self._descriptor = open_listed(file)
        self.size_bytes = os.fstat(self._descriptor).st_size

    def __enter__(self) -> _Opened:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def read_at(self, offset: int, size_bytes: int) -> bytes:
        try:
            data = os.pread(self._descriptor, size_bytes, offset)
        except OSError as error:
            raise LogReadError(reason(error)) from error
        if len(data) < size_bytes:
            raise LogReadError("became shorter while it was read")
        return data

    def expect(self, offset: int, size_bytes: int) -> None:
        """So little needs no announcing."""


def _hash(what: str, data: bytes) -> str:
    return blake2b(data, digest_size=_DIGEST_BYTES[what], key=secret_key()).hexdigest()


@lru_cache(maxsize=1)
def secret_key() -> bytes:
    """The key of this host's hashes: from the machine's id, or of this process alone where it has none."""
    try:
        secret = MACHINE_ID.read_bytes().strip()
    except OSError:
        secret = b""
    return blake2b(secret or os.urandom(32), digest_size=32, person=b"varlogd identity").digest()
