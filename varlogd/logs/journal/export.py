"""systemd's journal export format: fields, an entry after another, taken apart as they come.

A field is a line ``NAME=value``, or, if its value is not plain text, a line ``NAME``, the length of the value as a
little-endian 64-bit number, the value and a line feed. An empty line ends an entry. (systemd, "Journal Export
Formats".)

Nearly all entries are plain text and are taken at a stroke: up to the next empty line, if every line before it has
a ``=``. A value may have any length; of one longer than `VALUE_MAX_BYTES` the beginning is kept, and no more is ever
held in memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from varlogd.errors import LogReadError
from varlogd.wire.limits import KIB, LINE_MAX_BYTES

VALUE_MAX_BYTES: Final = LINE_MAX_BYTES + KIB
"""What is kept of a value: a line at its limit, and what tells that there was more."""

NAME_MAX_BYTES: Final = 256
"""A field's name; the journal allows 64 characters."""

Fields = dict[bytes, bytes]
"""One entry. Of a field that comes several times the last value."""

_LENGTH_BYTES: Final = 8
_PLAIN_FIELD: Final = re.compile(rb"([^=\n]*)=([^\n]*)")
_HEAD_MAX_BYTES: Final = NAME_MAX_BYTES + 1 + _LENGTH_BYTES


class ExportParser:
    """Takes bytes as they come and gives the entries that are whole."""

    def __init__(self) -> None:
        self._buffer = b""
        self._at = 0
        self._entry: Fields = {}
        self._skipping = 0  # bytes that are still to come of a binary value too long, its line feed included
        self._in_long_line = False  # the rest of a line too long is still to come

    def feed(self, data: bytes) -> Iterator[Fields]:
        """The entries that ``data`` ends. Raises LogReadError for what is not the export format."""
        self._buffer = self._buffer[self._at :] + data
        self._at = 0
        while self._at < len(self._buffer):
            entry = self._plain_entry() if self._is_between_fields and not self._entry else None
            if entry is not None:
                yield entry
            elif not self._step():
                return
            elif self._buffer.startswith(b"\n", self._at) and self._is_between_fields:
                self._at += 1
                entry, self._entry = self._entry, {}
                if entry:
                    yield entry

    @property
    def is_between_entries(self) -> bool:
        """Whether all that has come was whole entries."""
        return not self._entry and self._at == len(self._buffer) and self._is_between_fields

    @property
    def _is_between_fields(self) -> bool:
        return not self._skipping and not self._in_long_line

    def _plain_entry(self) -> Fields | None:
        """The entry at hand, if all of it is here and is plain text."""
        end = self._buffer.find(b"\n\n", self._at)
        if end < 0:
            return None
        found = _PLAIN_FIELD.findall(self._buffer, self._at, end)
        if len(found) != self._buffer.count(b"\n", self._at, end) + 1:
            return None  # a line without "=": a binary value, of which this may have been a part
        self._at = end + 2
        return dict(found)

    def _step(self) -> bool:
        """Take a field, or what there is of a long one; false if nothing can be done before more has come."""
        if self._skipping:
            skipped = min(self._skipping, len(self._buffer) - self._at)
            self._at += skipped
            self._skipping -= skipped
            return True
        end = self._buffer.find(b"\n", self._at)
        if self._in_long_line:
            self._in_long_line = end < 0
            self._at = len(self._buffer) if end < 0 else end + 1
            return True
        if end == self._at:
            return True
        if end < 0:
            return self._long_line()
        line = self._buffer[self._at : end]
        if b"=" not in line:
            return self._binary(line, end + 1)
        self._keep(*_field(line))
        self._at = end + 1
        return True

    def _long_line(self) -> bool:
        """A line whose end has not come: what is too much of it is let go."""
        line = self._buffer[self._at : self._at + _HEAD_MAX_BYTES + VALUE_MAX_BYTES]
        if len(line) < _HEAD_MAX_BYTES + VALUE_MAX_BYTES:
            return False
        self._keep(*_field(line))
        self._at = len(self._buffer)
        self._in_long_line = True
        return True

    def _binary(self, name: bytes, start: int) -> bool:
        """A value of the length that stands at ``start``."""
        if len(name) > NAME_MAX_BYTES:
            raise LogReadError("the journal's export is not in its format")
        length = int.from_bytes(self._buffer[start : start + _LENGTH_BYTES], "little")
        start += _LENGTH_BYTES
        if start + min(length + 1, VALUE_MAX_BYTES) > len(self._buffer):
            return False
        self._keep(name, self._buffer[start : start + min(length, VALUE_MAX_BYTES)])
        self._at = min(start + length + 1, len(self._buffer))
        self._skipping = start + length + 1 - self._at
        return True

    def _keep(self, name: bytes, value: bytes) -> None:
        self._entry[name] = value[:VALUE_MAX_BYTES]


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, is_one, value = line.partition(b"=")
    if not is_one:
        raise LogReadError("the journal's export is not in its format")
    return name, value
