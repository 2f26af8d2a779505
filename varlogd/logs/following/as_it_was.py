"""This host's files as they were at one moment, to be read later: the history of who follows.

Nothing is read that was written after that moment, and what is rotated meanwhile is found again: a file by its inode,
or its text in the copy or the compressed file that became of it.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace

from varlogd.errors import LogReadError
from varlogd.logs.account import Account
from varlogd.logs.catalogue import Catalogue, LogFile, LogStream
from varlogd.logs.files import Opened, OpenFiles, Plain
from varlogd.logs.following.followed import FileKey
from varlogd.logs.following.tail import Tail
from varlogd.logs.identity import FileIdentity, resolve
from varlogd.logs.sources import FileSource

Identities = dict[FileKey, tuple[FileIdentity, str]]
"""Of plain files: what they were when following began, and of which stream."""


def as_it_was(catalogue: Catalogue, tails: Mapping[str, Tail]) -> tuple[Catalogue, Identities]:
    """A catalogue in which files end where following begins, and what those files are known by."""
    streams: list[LogStream] = []
    identities: Identities = {}
    for stream in catalogue.streams:
        tail = tails[stream.name]
        identities.update((key, (identity, stream.name)) for key, identity in tail.identities.items())
        current = tail.current
        ends = {current.key: current.offset} if current else {}
        files = (
            replace(file, size_bytes=ends.get((file.device, file.inode), file.size_bytes)) for file in stream.files
        )
        if filled := tuple(file for file in files if file.size_bytes):
            streams.append(replace(stream, files=filled))
    return replace(catalogue, streams=tuple(streams)), identities


class FilesAsTheyWere(OpenFiles):
    """Files of which nothing is read that was written later; those that are rotated meanwhile are found again."""

    def __init__(self, source: FileSource, account: Account, identities: Identities) -> None:
        super().__init__(account, source.spool_dir)
        self._source = source
        self._check = account.check
        self._identities = identities

    def open(self, file: LogFile) -> Generator[None, None, Opened]:
        """See `OpenFiles`."""
        if file.packing:
            return (yield from super().open(file))
        text: Opened | None = self._the_same(file)
        if text is None:
            text = yield from super().open(self._found_again(file))
        text.size_bytes = min(text.size_bytes, file.size_bytes)
        return text

    def _the_same(self, file: LogFile) -> Plain | None:
        """The text of a file, if it still begins as it did."""
        known = self._identities.get((file.device, file.inode))
        if known is None:
            return Plain(self, file)
        try:
            text = Plain(self, file)
            if text.size_bytes >= file.size_bytes and known[0].is_of(text):
                return text
            text.close()
        except LogReadError:
            self.forget(file)
        return None

    def _found_again(self, file: LogFile) -> LogFile:
        identity, name = self._identities[(file.device, file.inode)]
        streams = self._source.catalogue(self._check).streams
        stream = next((stream for stream in streams if stream.name == name), None)
        found = resolve(identity, file.size_bytes, stream) if stream else None
        if found is None:
            raise LogReadError("rotated away while it was searched")
        return found
