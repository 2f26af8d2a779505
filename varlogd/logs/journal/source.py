"""The systemd journal, as streams beside the files: ``journal/nginx.service``, ``journal/kernel``, ``journal/other``.

One `journalctl` answers a question, whatever the number of units. It is told the units, the priorities, the time
range and the direction, and finds the entries by the journal's own index; filters, and what it cannot be told, are
judged here (`rows`).

**Priority** is an entry's and no stream's, so it is no label one could list; yet a matcher is the one way to ask for
it that needs no further words. So `PRIORITY_LABEL` is judged entry by entry, and streams of files do not have it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Final, NamedTuple

from varlogd.logs.account import Account
from varlogd.logs.asked import Asked
from varlogd.logs.catalogue import Served
from varlogd.logs.journal.follow import FollowedJournal, resumed
from varlogd.logs.journal.journalctl import Journalctl, lines_of, since, until
from varlogd.logs.journal.rows import (
    KERNEL,
    OTHER,
    PREFIX,
    WAIT_S,
    At,
    Entries,
    JournalRows,
    Labels,
    tell,
    unit_name,
)
from varlogd.logs.secrets.redaction import Redactor
from varlogd.logs.sources import Listing
from varlogd.query.match import matches_stream
from varlogd.wire.limits import MIB
from varlogd.wire.query import Matcher, Place, Query, StreamInfo

PRIORITY_LABEL: Final = "priority"
PRIORITIES: Final = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
"""The values of ``PRIORITY`` from 0 to 7, by the names that journalctl has for them."""

JOURNAL: Final = PREFIX.rstrip("/")
"""The name under which a journal is listed whose streams are not known."""

UNITS_MAX_BYTES: Final = 1 * MIB
"""The names of all units together: some ten thousand."""

UNITS_TOLD_MAX: Final = 256
"""Units that journalctl is told by name; where more are wanted, it gives all and the others are left out here."""


CLOCK_BACK_NS: Final = 600 * 1_000_000_000
"""How far a clock may have been set back without an entry being missed: journalctl ends at the first that has left
the time range, so it is told one that ends later."""


class Chosen(NamedTuple):
    """What a question wants of the journal. ``units``: of these streams; None: of all, as far as they match."""

    units: frozenset[str] | None
    priorities: frozenset[bytes] | None


class JournalSource:
    """The journal of this host, as a `sources.LogSource`."""

    def __init__(
        self,
        host: str,
        tags: Mapping[str, str],
        journalctl: Journalctl,
        served: Served,
        redactor: Redactor | None = None,
    ) -> None:
        self._host = host
        self._tags = dict(tags)
        self._journalctl = journalctl
        self._served = served
        self._redactor = redactor

    def listing(self, query: Query, check: Callable[[], None]) -> Listing:
        """See `LogSource`."""
        account = Account(check)
        if absence := self._journalctl.absence():
            missing = self._absence_told(query, absence) if self._journalctl.has_journals() else ""
            return Listing(self._unread(absence, query), missing)
        units = self._units(account)
        if account.truncated and not units:
            return Listing(self._unread(account.truncated.removeprefix("journal: "), query), account.truncated)
        streams = [
            self._info(PREFIX + unit, _known(unit))
            for unit in sorted({*units, KERNEL, OTHER})
            if self.is_asked_for(unit, query)
        ]
        return Listing(streams, account.truncated)

    def readers(self, asked: Asked, account: Account, closing: ExitStack) -> list[JournalRows]:
        """See `Readable`."""
        return self.readers_up_to(None, asked, account, closing)

    def readers_up_to(self, last: At | None, asked: Asked, account: Account, closing: ExitStack) -> list[JournalRows]:
        """The same; nothing behind an entry."""
        if absence := self._journalctl.absence():
            if told := self._absence_told(asked.query, absence):
                tell_of_it = account.missing if self._journalctl.has_journals() else account.note
                tell_of_it(told)
            return []
        chosen = self.choose(asked.query, account)
        if chosen is None:
            return []
        options = [*_range(asked, last), *(["--reverse"] if asked.backwards else [])]
        child = self._journalctl.export(_matches(chosen), *options)
        closing.callback(child.close)
        return [JournalRows(child, self.entries(asked, last), account, self._redactor)]

    def entries(self, asked: Asked, last: At | None = None) -> Entries:
        """What of an export a question wants."""
        query = asked.query

        def labels_of(unit: str) -> Mapping[str, str] | None:
            return self.labels_of(unit) if self.is_asked_for(unit, query) else None

        return Entries(asked, labels_of, _priorities(query.matchers), last)

    def follow(self, asked: Asked, account: Account, resume: Sequence[Place]) -> FollowedJournal:
        """See `follow.FollowableSource`."""
        return FollowedJournal(self, self._journalctl, self._redactor, asked, account, resumed(resume))

    def is_asked_for(self, unit: str, query: Query) -> bool:
        """Whether the stream of a unit is served, and chosen by ``query``'s matchers."""
        if not self._served.has_name(PREFIX + unit):
            return False
        return matches_stream(_without(query.matchers, PRIORITY_LABEL), self.labels_of(unit))

    def labels_of(self, unit: str) -> dict[str, str]:
        """The labels of the stream of a unit."""
        return {**self._tags, **_known(unit), "host": self._host, "stream": PREFIX + unit}

    def choose(self, query: Query, account: Account) -> Chosen | None:
        """What a question wants of the journal; None if nothing."""
        priorities = _priorities(query.matchers)
        elsewhere = _without(query.matchers, "stream", "unit", PRIORITY_LABEL)
        if priorities == frozenset() or not matches_stream(elsewhere, self.labels_of("")):
            return None
        if self._served.is_everything and len(elsewhere) == len(_without(query.matchers, PRIORITY_LABEL)):
            return Chosen(None, priorities)
        units = frozenset(unit for unit in self._candidates(query, account) if self.is_asked_for(unit, query))
        if not units:
            return None
        can_be_told = OTHER not in units and len(units) <= UNITS_TOLD_MAX
        return Chosen(units if can_be_told else None, priorities)

    def _candidates(self, query: Query, account: Account) -> set[str]:
        """The units among which the question chooses: the one it names, or all."""
        for matcher in query.matchers:
            if matcher.op == "=" and matcher.value and matcher.label in ("unit", "stream"):
                return {matcher.value.removeprefix(PREFIX)}
        return {*self._units(account), KERNEL, OTHER}

    def _units(self, account: Account) -> set[str]:
        """All units that the journal has entries of."""
        units: set[str] = set()
        with ExitStack() as stack:
            children = [stack.enter_context(closing(self._journalctl.values(of))) for of in ("_SYSTEMD_UNIT", "UNIT")]
            for child in children:
                for line in lines_of(child, UNITS_MAX_BYTES, WAIT_S):
                    account.check()
                    if line:
                        units.add(unit_name(line))
                tell(child, account)
        return units

    def _unread(self, why: str, query: Query) -> list[StreamInfo]:
        """What is listed in the place of the journal's streams, if there are none or none that can be read."""
        labels = {**self._tags, **_known(""), "host": self._host, "stream": JOURNAL}
        served = any(map(self._served.has_name, (PREFIX + KERNEL, PREFIX + OTHER)))
        return [self._info(JOURNAL, _known(""), why)] if served and matches_stream(query.matchers, labels) else []

    def _info(self, stream: str, labels: Labels, note: str = "") -> StreamInfo:
        return StreamInfo(
            host=self._host, stream=stream, files=0, size_bytes=0, newest_ns=None, note=note, labels=dict(labels)
        )

    def _absence_told(self, query: Query, absence: str) -> str:
        """Why nothing of the journal is in an answer, if the question names it. An answer lacks something only if
        there are journals: where there are none, nothing could be in it."""
        names = any(
            matcher.op in ("=", "=~") and matcher.value
            for matcher in query.matchers
            if matcher.label in ("unit", PRIORITY_LABEL) or _names_journal(matcher)
        )
        return f"journal: {absence}" if names else ""


def _known(unit: str) -> dict[str, str]:
    """What the journal knows of a stream, as labels."""
    return {"source": "journal"} if unit in ("", KERNEL, OTHER) else {"source": "journal", "unit": unit}


def _without(matchers: Sequence[Matcher], *labels: str) -> list[Matcher]:
    return [matcher for matcher in matchers if matcher.label not in labels]


def _names_journal(matcher: Matcher) -> bool:
    return (matcher.label == "stream" and PREFIX in matcher.value) or (
        matcher.label == "source" and "journal" in matcher.value
    )


def _priorities(matchers: Sequence[Matcher]) -> frozenset[bytes] | None:
    """The values of ``PRIORITY`` that are wanted, the empty one for entries without; None: any."""
    asked = [matcher for matcher in matchers if matcher.label == PRIORITY_LABEL]
    if not asked:
        return None
    values = {str(number).encode(): name for number, name in enumerate(PRIORITIES)} | {b"": ""}
    return frozenset(value for value, name in values.items() if matches_stream(asked, {PRIORITY_LABEL: name}))


def _matches(chosen: Chosen) -> list[str]:
    """The same as journalctl's matches: of one field any, of several all, and any of what ``+`` parts."""
    priorities = (
        [] if chosen.priorities is None else [f"PRIORITY={value.decode()}" for value in sorted(chosen.priorities)]
    )
    if "PRIORITY=" in priorities:  # an entry without a field cannot be asked for
        priorities = []
    if chosen.units is None:
        return priorities
    units = sorted(chosen.units - {KERNEL})
    parts = [
        [f"_SYSTEMD_UNIT={unit}" for unit in units],
        ["_PID=1", *(f"UNIT={unit}" for unit in units)] if units else [],
        ["_TRANSPORT=kernel"] if KERNEL in chosen.units else [],
    ]
    told: list[str] = []
    for part in filter(None, parts):
        told += [*(["+"] if told else []), *part, *priorities]
    return told


def _range(asked: Asked, last: At | None) -> Iterator[str]:
    """The times between which everything is that a question wants, as options."""
    starts, ends = [asked.query.start_ns], [asked.query.end_ns, None if last is None else last.time_ns]
    resume = asked.resume
    grouped = asked.query.before or asked.query.after  # then rows are made as before, and those given left out
    if resume is not None and resume.after is not None and not resume.streams and not grouped:
        (ends if asked.backwards else starts).append(resume.after.key)
    if told := [start for start in starts if start is not None]:
        yield since(max(told) - (CLOCK_BACK_NS if asked.backwards else 0))
    if told := [end for end in ends if end is not None]:
        yield until(min(told) + (0 if asked.backwards else CLOCK_BACK_NS))
