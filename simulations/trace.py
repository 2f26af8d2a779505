"""What happened, in order: a list for people, and a digest of everything for machines.

The digest covers every event here and every byte on the simulated wires with its time, so two runs with one
digest were the same run.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What sort of thing happened; `report` chooses what to show by it."""

    FAULT = "fault"  # done by the plan
    MEMBER = "member"  # membership, as a node logs it
    ASK = "ask"  # a question put or answered
    LOG = "log"  # any other log line of a daemon
    BROKEN = "broken"  # an invariant


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened ``at`` (virtual seconds) on ``host`` ("" for the world as a whole)."""

    at: float
    host: str
    kind: Kind
    text: str


class Trace:
    """Append only."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.wire_bytes = 0
        self.wire_writes = 0
        self._digest = hashlib.sha256()

    def add(self, at: float, host: str, kind: Kind, text: str) -> None:
        """Note an event."""
        self.events.append(Event(at, host, kind, text))
        self._digest.update(f"{at!r} {host} {kind.value} {text}\n".encode())

    def wire(self, at: float, stream: str, data: bytes) -> None:
        """Note bytes written to a stream."""
        self.wire_bytes += len(data)
        self.wire_writes += 1
        self._digest.update(f"{at!r} {stream} {len(data)}\n".encode())
        self._digest.update(data)

    @property
    def digest(self) -> str:
        """One word for all that has happened so far."""
        return self._digest.hexdigest()[:32]
