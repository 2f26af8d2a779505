"""What a scan has done, what it must tell, and whether it may go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

NOTES_MAX: Final = 100
"""Notes kept; of further ones only the number is told."""


class Account:
    """The account of one scan; may be read at any time.

    ``check`` is called with every piece of work, of at most 256 KiB, and may raise to end the scan. ``bytes_scanned``
    is log text read; ``work_bytes`` has unpacking in it too, and so measures how long ago a sign of life was due.
    ``redacted`` counts the secrets that were masked in what was read, whether or not it was asked for.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self.check = check
        self._notes: list[str] = []
        self._left_out = 0
        self._missing: list[str] = []
        self.bytes_scanned = 0
        self.work_bytes = 0
        self.redacted = 0

    def read(self, size_bytes: int) -> None:
        """So much log text is about to be read."""
        self.check()
        self.bytes_scanned += size_bytes
        self.work_bytes += size_bytes

    def unpacked(self, size_bytes: int) -> None:
        """So much has been unpacked."""
        self.check()
        self.work_bytes += size_bytes

    def note(self, text: str) -> None:
        """Something an asker must know, that leaves the answer whole."""
        if len(self._notes) < NOTES_MAX:
            self._notes.append(text)
        else:
            self._left_out += 1

    def missing(self, text: str) -> None:
        """Something that belongs to the answer and is not in it, and why."""
        self._missing.append(text)
        self.note(text)

    @property
    def notes(self) -> list[str]:
        """All notes so far."""
        return [*self._notes, f"and {self._left_out} more notes"] if self._left_out else list(self._notes)

    @property
    def truncated(self) -> str:
        """What the answer lacks, in one line; empty if it is whole."""
        if len(self._missing) > 1:
            return f"{self._missing[0]} (and {len(self._missing) - 1} more)"
        return self._missing[0] if self._missing else ""
