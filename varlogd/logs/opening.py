"""From a listing to the very file that was listed, wherever a rotation has put it meanwhile.

A file is opened without following a link, and must then be the one that was listed (device and inode). One that has
been renamed since is found by its inode in its directory, **if it can be that file**: the inode of a deleted file is
soon given to another, mostly the next one of the same chain. One that has been compressed is found by its time of
change, which compressors keep. What stands beside a file is looked for in the directory that was listed, and nowhere
else, whatever its path has come to mean.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from varlogd.errors import LogReadError
from varlogd.logs.catalogue import LogFile, last_part, reason
from varlogd.logs.rotation import place_of

_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class LogGone(LogReadError):
    """A file is not in its directory any more."""


def open_listed(file: LogFile) -> int:
    """A descriptor of the very file that was listed, also if a rotation has renamed it in its directory since.

    Raises LogReadError: it may not be read, or LogGone.
    """
    with suppress(FileNotFoundError):
        return _open_that(file, file.path)
    try:
        with os.scandir(Path(file.path).parent) as entries:
            for entry in entries:
                if entry.inode() == file.inode and _may_be(file, entry):
                    return _open_that(file, entry.path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise LogReadError(reason(error)) from error
    raise LogGone("gone since it was listed")


def _may_be(file: LogFile, entry: os.DirEntry[str]) -> bool:
    """Whether what has a listed file's inode can be that file, renamed: inodes of deleted files are used again, soon
    by the next file of the chain. But rotation only ever gives names that are further back."""
    was, is_now = place_of(last_part(file.path)), place_of(entry.name)
    same_chain = (was.base, was.packing) == (is_now.base, is_now.packing)
    return same_chain and is_now.age >= was.age and entry.stat(follow_symlinks=False).st_size >= file.size_bytes


def compressed_since(file: LogFile) -> LogFile | None:
    """What became of a plain file that is gone since it was listed, if it was compressed: one of its chain, in its
    directory, with its time of change, which compressors keep; or, if it was still written to, the next time."""
    if file.packing:
        return None
    was = place_of(last_part(file.path))
    is_newest = was == place_of(was.base)
    times = {file.mtime_ns, file.mtime_ns // 1000 * 1000, file.mtime_ns // 10**9 * 10**9}
    found = [
        other
        for other in chain_of(file)
        if other.packing and (other.mtime_ns in times or (is_newest and other.mtime_ns > file.mtime_ns))
    ]
    return min(found, key=lambda each: each.mtime_ns, default=None)


def chain_of(file: LogFile) -> list[LogFile]:
    """The files of a listed file's chain that are in its directory now, in no order; none if that cannot be listed
    or is not where it was."""
    directory, _, name = file.path.rpartition("/")
    base, found = place_of(name).base, []
    with suppress(OSError), _directory(directory) as descriptor, os.scandir(descriptor) as entries:
        for entry in entries:
            place = place_of(entry.name)
            if place.base == base and entry.is_file(follow_symlinks=False):
                status = entry.stat(follow_symlinks=False)
                found.append(LogFile.of(f"{directory}/{entry.name}", status, place.packing))
    return found


@contextmanager
def _directory(path: str) -> Iterator[int]:
    """A descriptor of the directory that was listed under ``path``. Raises OSError, also if the path now leads
    elsewhere: a listed path has no links, so one on the way was put there since, and may lead out of the roots."""
    descriptor = os.open(path or "/", _DIRECTORY)
    try:
        if Path(f"/proc/self/fd/{descriptor}").readlink() != Path("/", path.lstrip("/")):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        yield descriptor
    finally:
        os.close(descriptor)


def _open_that(file: LogFile, path: str) -> int:
    """Raises FileNotFoundError if ``path`` is no longer the file that was listed."""
    try:
        descriptor = os.open(path, _FILE)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO):
            raise FileNotFoundError(path) from error
        raise LogReadError(reason(error)) from error
    if file.is_that_of(os.fstat(descriptor)):
        return descriptor
    os.close(descriptor)
    raise FileNotFoundError(path)
