"""A plain file's text that outlives its truncation: when ``copytruncate`` cuts a file off while it is read, reading
goes on in the copy.

The copy is known by the identity that the file had when it was opened, and must be as long as it was then. In one
that is compressed already, or shorter because lines were written between copy and truncation, reading does not go on:
it fails as it would have, and that is told.
"""

from __future__ import annotations

from varlogd.errors import LogReadError
from varlogd.logs.catalogue import LogFile, LogStream, last_part
from varlogd.logs.files import OpenFiles, Plain
from varlogd.logs.identity import FileIdentity, resolve
from varlogd.logs.opening import chain_of
from varlogd.logs.rotation import place_of


class Lasting:
    """The text of a listed file, which is open as ``text`` and has that identity. See `reader.Text`."""

    def __init__(self, files: OpenFiles, listed: LogFile, text: Plain, identity: FileIdentity) -> None:
        self._files = files
        self._listed = listed
        self._text = text
        self._identity = identity
        self.size_bytes = text.size_bytes

    def read_at(self, offset: int, size_bytes: int) -> bytes:
        """Exactly the bytes asked for. Raises LogReadError."""
        try:
            return self._text.read_at(offset, size_bytes)
        except LogReadError:
            copy = resolve(self._identity, self.size_bytes, _copies(self._listed))
            if copy is None:
                raise
        self._text.close()
        self._listed, self._text = copy, Plain(self._files, copy)
        return self._text.read_at(offset, size_bytes)

    def expect(self, offset: int, size_bytes: int) -> None:
        """A hint that these bytes will be read soon."""
        self._text.expect(offset, size_bytes)

    def close(self) -> None:
        """Nothing more will be read."""
        self._text.close()


def _copies(file: LogFile) -> LogStream:
    """The other plain files of a file's chain there are now, in no order."""
    others = tuple(other for other in chain_of(file) if not other.packing and other.which != file.which)
    return LogStream(place_of(last_part(file.path)).base, file.path, others)
