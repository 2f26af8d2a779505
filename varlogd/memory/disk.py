"""A directory that one process at a time keeps small files in: what `memory` needs of a disk, and the real one.

The calls are those that decide what outlives a power failure, so that simulations can lose what was not synced: a
write is in the file after `sync`, a name is in the directory after `sync_names`, and a rename is one or the other,
never half. All of them block.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_OLD: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe must not make it wait
_MODE: Final = 0o600


class Disk(Protocol):
    """One directory. Every method but `close` may raise OSError; ``name`` is that of a file in it."""

    def lock(self) -> None:
        """Make the directory if need be, and take it. Raises BlockingIOError if another process holds it."""

    def read(self, name: str, size_max: int) -> bytes:
        """A file's content. Raises FileNotFoundError; and OSError for one that is larger, or no file."""

    def write(self, name: str, data: bytes) -> None:
        """Put this into a new file, in place of one of that name."""

    def sync(self, name: str) -> None:
        """Have a file's content outlive a power failure."""

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, in place of the one that had it."""

    def sync_names(self) -> None:
        """Have the names as they are outlive a power failure."""

    def close(self) -> None:
        """Give the directory up. May be called at any time, more than once."""


class Directory:
    """A directory of this host. The lock is on itself (``flock``): it needs no file, so a full disk can be locked,
    and the kernel lets go of it when the process ends, however it ends."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._fd = -1

    def lock(self) -> None:
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            raise OSError(error.errno, error.strerror, str(self._path)) from None  # flock itself names no file
        self._fd = fd

    def read(self, name: str, size_max: int) -> bytes:
        fd = os.open(name, _OLD, dir_fd=self._fd)
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(errno.EINVAL, "not a file", name)
            data = file.read(size_max + 1)
        if len(data) > size_max:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), name)
        return data

    def write(self, name: str, data: bytes) -> None:
        """A write that hung, was given up, and goes on after all has a file of its own: it must not end in the one
        that a later write has made, perhaps under another name since."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._fd)
        with os.fdopen(os.open(name, _NEW, _MODE, dir_fd=self._fd), "wb") as file:
            file.write(data)

    def sync(self, name: str) -> None:
        fd = os.open(name, _OLD, dir_fd=self._fd)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, old: str, new: str) -> None:
        os.replace(old, new, src_dir_fd=self._fd, dst_dir_fd=self._fd)

    def sync_names(self) -> None:
        os.fsync(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
