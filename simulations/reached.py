"""How often a run reached the states that make it worth its time ("sometimes" counters).

An invariant that holds says little if what could break it never happened: a sweep adds these up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from simulations.asking import Asked
from simulations.following import HUNG_UP, Followed
from simulations.trace import Event
from varlogd.wire.query import Outcome

_SAID: Final = {
    "member suspect": "suspected",
    "member dead": "declared dead",
    "member left": "left",
    "refuted": "refuted",
    "cut off": "cut off",
    "member flapping": "damped",
    "another node has this name": "name in conflict",
    "the clock went back": "epoch raised",
    "another node had this name": "name taken over",
    "state cannot be written": "state not written",
    "remembered": "remembered",
    "asker is dead": "question of a dead asker cancelled",
}
"""What a daemon logs, by how it begins, and what that means here."""


def reached(
    events: Iterable[Event],
    asks: Sequence[Asked],
    follows: Sequence[Followed],
    overheard: Counter[str],
    windows_filled: int,
) -> Counter[str]:
    """Counts, by what was reached."""
    found = Counter(overheard)
    for event in events:
        for words, meaning in _SAID.items() if event.host else ():
            found[meaning] += event.text.startswith(words)
    for asked in asks:
        _count_answer(found, asked)
    for followed in follows:
        found["followed to its end"] += followed.ending == HUNG_UP
        found["rows followed"] += len(followed.rows)
        found.update(f"told {notice.event}" for _, notice in followed.notices)
    found["window full"] += windows_filled
    return +found


def _count_answer(found: Counter[str], asked: Asked) -> None:
    ledger = asked.ledger
    if ledger is None:
        found["no ledger"] += 1
        return
    found["whole answer" if ledger.complete else "partial answer"] += 1
    found["answer in doubt"] += bool(ledger.doubt)
    found["limit reached"] += ledger.limit_reached
    for entry in ledger.members:
        found[f"host {entry.outcome}"] += 1
        found["cut in mid-row"] += entry.outcome == Outcome.FAILED and entry.rows > 0
        found["clock told"] += entry.offset_s is not None
