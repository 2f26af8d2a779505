"""The ledger: what became of every member's part of one answer.

The book is opened with the members known at the start and closed exactly once. Between the two each member
is told of at most once, by whoever knows; what nobody told is *late*. So the ledger names exactly the view at
the start, silence never passes for completeness, and rows are those delivered, whatever a member says it sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import structs

from varlogd.wire.limits import NOTE_MAX_CHARS
from varlogd.wire.query import WHOLE, Entry, Ledger, Outcome

Gone = tuple[str, int]
"""Of a member that is not asked: its state, ``dead`` or ``left``, and since when (ns)."""

SKEW_SHOWN_S: Final = 0.1
"""Clocks that are further apart are told: rows of hosts that work together then come in an order that misleads."""

NOT_MEASURED: Final = "its clock had not been measured when it was asked: rows are where that had them, uncorrected"
"""What is noted of a host where clocks were to be corrected."""

Offset = tuple[float, float]
"""By how much a clock is ahead, give or take what, in seconds."""

NO_WORD: Final = "no word from it"
"""Why a member of which nothing was told is late."""


class LedgerBook:
    """The ledger of one question while it is asked.

    ``asked``: the node that answers; ``view``: every member the question chooses, by name, with None for a
    live one; ``doubt``: why that may not be all, if so. Raises ValueError for a state that is neither ``dead``
    nor ``left``.
    """

    def __init__(self, asked: str, view: Mapping[str, Gone | None], doubt: str = "") -> None:
        self._asked = asked
        self._doubt = doubt
        self._entries: dict[str, Entry | None] = {host: gone and _gone(host, *gone) for host, gone in view.items()}
        self._clocks: dict[str, Offset] = {}
        self._corrected_us: dict[str, int | None] = {}
        self._waited_s = dict.fromkeys(view, 0.0)

    def clock(self, host: str, offset: Offset) -> None:
        """A member's clock is ahead by so much; the ledger tells it if that matters and is beyond doubt.

        Raises KeyError for a member that was not in the view.
        """
        if host not in self._entries:
            raise KeyError(host)
        if abs(offset[0]) > max(SKEW_SHOWN_S, offset[1]):
            self._clocks[host] = offset

    def corrected(self, host: str, ahead_us: int | None) -> None:
        """A member's rows are moved back by so much, for its clock is ahead; None: they are not, for it has not been
        measured. Raises KeyError for a member that was not in the view."""
        if host not in self._entries:
            raise KeyError(host)
        self._corrected_us[host] = ahead_us

    def told(self, entry: Entry) -> None:
        """Write down a member's outcome, which is final: a second one is a fault of ours (RuntimeError).

        Raises KeyError for a member that was not in the view.
        """
        known = self._entries[entry.host]
        if known is not None:
            raise RuntimeError(f"{entry.host} is {known.outcome} in this ledger, and cannot become {entry.outcome}")
        self._entries[entry.host] = entry

    def waited(self, host: str, waited_s: float) -> None:
        """Rows of others have waited for ``host`` this long in one go; the ledger shows the longest such wait.

        Raises KeyError for a member that was not in the view.
        """
        self._waited_s[host] = max(self._waited_s[host], waited_s)

    def close(self, delivered: Mapping[str, int], *, elapsed_s: float, limit_reached: bool) -> Ledger:
        """The ledger, in the order of names. ``delivered``: the rows given to the asker, by the host they are of.

        A member that says it sent more than was delivered, where the asker's own limit is not the reason,
        has failed. Raises ValueError if rows of a host outside the view were delivered.
        """
        if strangers := delivered.keys() - self._entries.keys():
            raise ValueError(f"rows of {', '.join(sorted(strangers))}, not in this ledger")
        entries = tuple(
            self._closed(host, delivered.get(host, 0), limit_reached=limit_reached) for host in sorted(self._entries)
        )
        return Ledger(
            complete=not self._doubt and all(entry.outcome in WHOLE for entry in entries),
            rows=sum(entry.rows for entry in entries),
            elapsed_s=elapsed_s,
            limit_reached=limit_reached,
            asked=self._asked,
            members=entries,
            doubt=self._doubt,
        )

    def _closed(self, host: str, rows: int, *, limit_reached: bool) -> Entry:
        entry = self._entries[host] or Entry(host=host, outcome=Outcome.LATE, why=NO_WORD)
        if entry.outcome == Outcome.ANSWERED and entry.rows > rows and not limit_reached:
            why = f"it says it sent {entry.rows} rows, and {rows} arrived"
            entry = structs.replace(entry, outcome=Outcome.FAILED, why=why)
        offset_s, uncertainty_s = self._clocks.get(host, (None, None))
        return structs.replace(
            entry,
            rows=rows,
            late_s=self._waited_s[host],
            notes=(*entry.notes, *self._unmeasured(host)),
            offset_s=offset_s,
            uncertainty_s=uncertainty_s,
            corrected_us=self._corrected_us.get(host),
        )

    def _unmeasured(self, host: str) -> tuple[str, ...]:
        return (NOT_MEASURED,) if self._corrected_us.get(host, 0) is None else ()


def clipped(text: str) -> str:
    """A reason or a note, as much of it as one may take."""
    return text if len(text) <= NOTE_MAX_CHARS else text[: NOTE_MAX_CHARS - 1] + "…"


def clipped_entry(entry: Entry) -> Entry:
    """An entry as a ledger takes it, however much a host has to say; of notes left out the number is told."""
    why = clipped(entry.why)
    room = NOTE_MAX_CHARS - len(why)
    notes: list[str] = []
    for note in entry.notes:
        room -= len(note)
        if room < 0:
            notes.append(f"and {len(entry.notes) - len(notes)} more notes")
            break
        notes.append(note)
    return structs.replace(entry, why=why, notes=tuple(notes))


def _gone(host: str, state: str, since_ns: int) -> Entry:
    outcome = Outcome(state)
    if outcome not in (Outcome.DEAD, Outcome.LEFT):
        raise ValueError(f"{host} is {state}: only dead and left members are not asked")
    return Entry(host=host, outcome=outcome, since_ns=since_ns)
