"""The files of a chain that are not followed, as they were last seen: what tells a new file from one with a new name.

A rotation gives old files other names, and makes copies and compressed ones of them; none of that is to be read
again. A file is known again by its inode, if nothing was written to it since; by its inode and its text, if
something was; and **a compressed copy by its text alone**, which begins as that of a file that is followed or known,
or lately was. Whatever is in the chain before the first that is known is new.

The file that has the stream's own name is never known by its text: a new one may well begin as the old one did.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from pathlib import Path
from typing import Final, NamedTuple

from varlogd.errors import LogReadError
from varlogd.logs.catalogue import LogFile, LogStream
from varlogd.logs.following.followed import FileKey, Followed
from varlogd.logs.identity import FileIdentity, resolve
from varlogd.logs.rotation import place_of

LEFT_MAX: Final = 8
"""Files read to their end that are known again by their text: as many rotations as may come between two listings."""


class _Seen(NamedTuple):
    """A file as it was last seen; ``identity`` if it may still be written to."""

    size_bytes: int
    mtime_ns: int
    identity: FileIdentity | None = None


class KnownFiles:
    """What is known of one chain's files. ``followed`` is always all that are followed at the time."""

    def __init__(self) -> None:
        self._seen: dict[FileKey, _Seen] = {}
        self._left: deque[FileIdentity] = deque(maxlen=LEFT_MAX)  # of those read to their end

    @property
    def identities(self) -> dict[FileKey, FileIdentity]:
        """What those are known by that may still be written to."""
        return {key: seen.identity for key, seen in self._seen.items() if seen.identity is not None}

    def see(self, chain: tuple[LogFile, ...]) -> None:
        """Know files that are not to be read. Opens each that is not compressed."""
        for file in chain:
            identity = None if file.packing else _identity_of(file)
            self._seen[file.which] = _Seen(file.size_bytes, file.mtime_ns, identity)

    def see_again(self, chain: tuple[LogFile, ...], followed: Collection[Followed]) -> list[tuple[LogFile, int]]:
        """Know what is in the chain now, and no more; those that were written to, and how long each was before."""
        keys = {file.key for file in followed}
        seen: dict[FileKey, _Seen] = {}
        grown: list[tuple[LogFile, int]] = []
        for listed in chain:
            if listed.which in keys:
                continue
            before = self._seen.get(listed.which) if self._has(listed) else None
            seen[listed.which] = _Seen(listed.size_bytes, listed.mtime_ns, before.identity if before else None)
            if before and before.size_bytes < listed.size_bytes and not listed.packing:
                grown.append((listed, before.size_bytes))
        self._seen = seen
        return grown

    def forget(self, file: Followed) -> None:
        """A file is followed, and known by that."""
        self._seen.pop(file.key, None)

    def remember_text(self, file: Followed) -> None:
        """A file was read to its end: copies of it may come."""
        if identity := file.last_identity():
            self._left.append(identity)

    def remember(self, file: Followed) -> None:
        """A file is not followed any more: know it as it was left."""
        size = file.listed.size_bytes if file.listed.packing else file.size_bytes
        self._seen[file.key] = _Seen(size, file.mtime_ns, file.last_identity())

    def unknown(self, chain: tuple[LogFile, ...], followed: Collection[Followed]) -> tuple[LogFile, ...]:
        """The files newer than all that were known when the chain was last listed.

        The one that has the stream's own name now never was known by another, even if its inode was.
        """
        keys = {file.key for file in followed}
        for index, file in enumerate(chain):
            is_rotated = any(place_of(Path(file.path).name).age)
            is_known = file.which in keys or self._has(file)
            if is_rotated and (is_known or (file.packing and self.has_copied(file, followed))):
                return chain[:index]
        return chain

    def has_copied(self, file: LogFile, followed: Collection[Followed]) -> bool:
        """Whether it is a copy, compressed or not, of a file that is, or lately was, followed or known."""
        identities = [identity for each in followed for identity in (each.last_identity(), _identity_now(each))]
        identities += [*self._left, *(seen.identity for seen in self._seen.values())]
        return any(identity and _is_that_of(identity, file) for identity in identities)

    def _has(self, file: LogFile) -> bool:
        """Whether it is the one that had its inode before, perhaps with something added to it."""
        seen = self._seen.get(file.which)
        if seen is None:
            return False
        if (seen.size_bytes, seen.mtime_ns) == (file.size_bytes, file.mtime_ns):
            return True
        return seen.identity is not None and _is_that_of(seen.identity, file)


def is_copy_of_all(listed: LogFile, current: Followed) -> bool:
    """Whether a file has no more text than the one that is followed: the copy before the truncation."""
    copy = Followed(listed, 0)
    try:
        if listed.packing:
            return False
        return copy.identity_of_all().is_of(current)
    except LogReadError:
        return False
    finally:
        copy.close()


def _is_that_of(identity: FileIdentity, file: LogFile) -> bool:
    """Whether a file, in a chain that has no other, has that identity."""
    return resolve(identity, 0, LogStream(file.path, file.path, (file,))) is not None


def _identity_now(file: Followed) -> FileIdentity | None:
    """What a file that is held is known by with what of it was not given yet."""
    try:
        return file.identity_of_all() if file.is_held and file.is_partial else None
    except LogReadError:
        return None


def _identity_of(listed: LogFile) -> FileIdentity | None:
    file = Followed(listed, 0)
    try:
        return file.identity_of_all()
    except LogReadError:
        return None
    finally:
        file.close()
