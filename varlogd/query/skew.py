"""Clocks that are off, and rows in the order in which things happened all the same (``correct_skew``).

Rows are ordered by the times in them, as the clock of their host had it. Where the asked node has measured by how
much that clock is ahead of its own, and by more than the measurement may be wrong by, it moves the host's **keys**
back by that much. What the lines say, the ``times``, is never touched. All keys of a host move alike, so its own
order stays, and the merge, its frontier and its lateness work on corrected keys without knowing of it.

*When is a clock looked at?* When its host is asked. From then on the estimate is frozen, for rows of one host that
were moved differently would be out of order. One that had no estimate then is looked at anew when it is asked again,
and so is the other one of two that share a name.

*What of the time range?* It means the asked node's clock: each host is asked for that range as its own clock has it.
Only the asked node corrects; what the others are asked says nothing of it, so they may be older.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import Final

from msgspec import structs

from varlogd.errors import QueryError
from varlogd.query.block import moved
from varlogd.query.ledger import LedgerBook, Offset
from varlogd.wire.query import Ask, AskCount, AskMembers, Block, Query

US_PER_S: Final = 1_000_000
NS_PER_US: Final = 1000
_MIN_NS: Final = -(1 << 63)
_MAX_NS: Final = (1 << 63) - 1

NO_CURSOR: Final = (
    "there is more, and no cursor: with clocks corrected there is none, for clocks are measured anew for each "
    "question; bound it by times instead, or leave the clocks uncorrected"
)
"""Why an answer in corrected order cannot be gone on with."""


def check_skew(ask: Ask) -> None:
    """Raise QueryError if clocks cannot be corrected for this question."""
    if isinstance(ask, AskMembers) or not ask.query.correct_skew:
        return
    if ask.scope == "host":
        raise QueryError("one host's rows are in the order of its own clock: only those of the mesh are corrected")
    if isinstance(ask, AskCount):
        raise QueryError("a count is by each host's own clock: correct_skew is for rows")
    if ask.query.cursor:
        raise QueryError(
            "correct_skew does not go with a cursor, for clocks are measured anew for each question: "
            "bound it by times instead"
        )


class Skew:
    """By how much each host's rows are moved in one answer.

    ``asked``: the node that answers, whose clock is the measure. ``clock_of``: by how much a host's clock is ahead of
    it as far as is known now. ``wanted``: if not, nothing is moved and nothing told.
    """

    def __init__(self, asked: str, clock_of: Callable[[str], Offset | None], *, wanted: bool) -> None:
        self.wanted = wanted
        self._clock_of = clock_of
        self._ahead_us: dict[str, int] = {asked: 0}

    def look(self, host: str) -> bool:
        """Look at a host's clock, if that has not been known before; whether it has become known."""
        clock = self._clock_of(host) if self.wanted and host not in self._ahead_us else None
        if clock is None:
            return False
        offset_s, uncertainty_s = clock
        self._ahead_us[host] = round(offset_s * US_PER_S) if abs(offset_s) > uncertainty_s else 0
        return True

    def forget(self, host: str) -> None:
        """Another host goes by this name from now on: its clock is looked at when it is asked."""
        self._ahead_us.pop(host, None)

    def ahead_us(self, host: str) -> int | None:
        """By how much the host's clock is taken to be ahead: 0 if it is right as far as can be measured, None if it
        was not known when the host was asked."""
        return self._ahead_us.get(host)

    def moved(self, host: str, block: Block) -> Block:
        """Rows of the host with corrected keys. Raises ProtocolError for times that 64 bits do not hold then."""
        return moved(block, -self._ahead_ns(host))

    def question(self, host: str, query: Query) -> Query:
        """What the host is asked: for the range as its clock has it, and to correct nothing."""
        ahead_ns = self._ahead_ns(host)
        start_ns, end_ns = (
            None if bound is None else max(_MIN_NS, min(bound + ahead_ns, _MAX_NS))
            for bound in (query.start_ns, query.end_ns)
        )
        return structs.replace(query, start_ns=start_ns, end_ns=end_ns, correct_skew=False)

    def tell(self, book: LedgerBook, hosts: Iterable[str], unmoved: Container[str] = ()) -> None:
        """Write down in the ledger what was done with the rows of these hosts.

        ``unmoved``: those that were not known at first, so that some of their rows went out as they were.
        """
        if self.wanted:
            for host in hosts:
                book.corrected(host, None if host in unmoved else self.ahead_us(host))

    def _ahead_ns(self, host: str) -> int:
        return (self._ahead_us.get(host) or 0) * NS_PER_US
