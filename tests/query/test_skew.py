"""Corrected clocks: rows are moved, what they say is not, and the merge is by corrected times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.query.test_merge import Play, all_rows, on_time, plays
from varlogd.errors import ProtocolError, QueryError
from varlogd.query.block import Row, block_of, check_block, rows_of
from varlogd.query.ledger import NOT_MEASURED, LedgerBook, Offset
from varlogd.query.merge import Merge
from varlogd.query.skew import Skew, check_skew
from varlogd.wire.codec import decode_cbor, encode_cbor
from varlogd.wire.query import Ask, AskCount, AskFollow, AskRows, Entry, Outcome, Query

US = 1000
S_US = 1_000_000

offsets = st.integers(-30, 30).map(lambda key: key / 1e6)
"""Seconds: as far apart, in keys of a microsecond, as the rows of a play are."""


def skew_of(clocks: dict[str, Offset | None]) -> Skew:
    skew = Skew("web1", clocks.get, wanted=True)
    for host in clocks:
        skew.look(host)
    return skew


@given(
    plays(),
    st.fixed_dictionaries({"web2": offsets, "web3": offsets, "web4": offsets}),
    st.none() | st.integers(1, 60),
)
def test_the_merge_is_by_corrected_times_and_falsifies_none(
    play: Play, ahead_s: dict[str, float], limit: int | None
) -> None:
    """The oracle: every row of every host, sorted by its time less its host's offset."""
    skew = skew_of({host: (offset_s, 0.0) for host, offset_s in ahead_s.items()})
    merge = Merge(play.blocks, play.direction, limit)
    emitted: list[Row] = []
    for host, said in play.steps():
        wide = said and block_of([row._replace(key=row.key * US, time=row.key * US) for row in rows_of(said)])
        blocks = merge.end(host) if wide is None else merge.push(host, skew.moved(host, wide))
        for one in blocks:
            check_block(one, play.direction)
        emitted += all_rows(blocks)

    def corrected(row: Row) -> tuple[int, str, str, int]:
        return (row.key * US - round(ahead_s.get(row.host, 0.0) * S_US) * US, row.host, row.stream, row.position)

    expected = sorted(play.rows, key=corrected, reverse=play.direction == "newest_first")[:limit]
    assert [row.time for row in emitted] == [row.key * US for row in expected]
    assert [on_time(row)._replace(key=row.time or 0) for row in emitted] == [
        row._replace(key=row.key * US, time=row.key * US) for row in expected
    ]


def test_a_row_without_a_time_is_moved_and_still_has_none() -> None:
    moved = skew_of({"b": (3.0, 0.1)}).moved("b", block_of([Row(10**10, "b", "s", 0, None, b"x")]))
    assert rows_of(moved) == [Row(7 * 10**9, "b", "s", 0, None, b"x")]


def test_a_time_at_the_end_of_64_bits_is_refused_rather_than_put_elsewhere() -> None:
    with pytest.raises(ProtocolError, match="too far away"):
        skew_of({"b": (3.0, 0.1)}).moved("b", block_of([Row(-(1 << 63), "b", "s", 0, 1, b"x")]))


def test_only_what_is_beyond_doubt_is_corrected_and_nothing_is_claimed_of_the_unknown() -> None:
    skew = skew_of({"web1": (9.0, 0.0), "off": (-2.5, 0.1), "near": (0.02, 0.03), "unknown": None})
    assert [skew.ahead_us(host) for host in ("web1", "off", "near", "unknown")] == [0, -2_500_000, 0, None]
    book = LedgerBook("web1", dict.fromkeys(("web1", "off", "unknown")))
    book.told(Entry(host="unknown", outcome=Outcome.ANSWERED, notes=("a note",)))
    skew.tell(book, ("web1", "off", "unknown"))
    ledger = book.close({}, elapsed_s=0, limit_reached=False)
    assert {entry.host: (entry.corrected_us, entry.notes) for entry in ledger.members} == {
        "web1": (0, ()), "off": (-2_500_000, ()), "unknown": (None, ("a note", NOT_MEASURED)),
    }  # fmt: skip
    with pytest.raises(KeyError):
        book.corrected("x", 0)


def test_of_rows_some_of_which_went_out_before_the_clock_was_known_no_correction_is_claimed() -> None:
    skew = skew_of({"late": (3.0, 0.1)})
    book = LedgerBook("a", {"late": None})
    book.told(Entry(host="late", outcome=Outcome.ANSWERED))
    skew.tell(book, ("late",), unmoved={"late"})
    (entry,) = book.close({}, elapsed_s=0, limit_reached=False).members
    assert (entry.corrected_us, entry.notes) == (None, (NOT_MEASURED,))


def test_an_estimate_is_frozen_once_it_is_there() -> None:
    clocks: dict[str, Offset | None] = {"b": None}
    skew = Skew("a", clocks.get, wanted=True)
    assert not skew.look("b")
    clocks["b"] = (1.0, 0.1)
    assert skew.ahead_us("b") is None  # until it is asked again
    assert skew.look("b")
    clocks["b"] = (5.0, 0.1)
    assert not skew.look("b")
    assert skew.ahead_us("b") == 1_000_000


def test_a_host_is_asked_for_the_range_as_its_own_clock_has_it_and_may_be_older_than_the_flag() -> None:
    asked = Query(start_ns=5 * 10**9, end_ns=(1 << 63) - 1, limit=3, correct_skew=True)
    question = skew_of({"b": (2.0, 0.1)}).question("b", asked)
    assert question == Query(start_ns=7 * 10**9, end_ns=(1 << 63) - 1, limit=3)
    assert b"correct_skew" not in encode_cbor(AskRows(question))
    assert decode_cbor(encode_cbor(AskRows(asked)), Ask) == AskRows(asked)


def test_nothing_is_moved_or_told_that_was_not_asked_for() -> None:
    skew = Skew("a", lambda _host: (2.0, 0.1), wanted=False)
    assert not skew.look("b")
    block = block_of([Row(1, "b", "s", 0, 1, b"x")])
    assert skew.moved("b", block) is block
    book = LedgerBook("a", {"b": None})
    skew.tell(book, ("b",))
    [entry] = book.close({}, elapsed_s=0, limit_reached=False).members
    assert (entry.corrected_us, entry.notes) == (None, ())


@pytest.mark.parametrize(
    "ask",
    [
        AskRows(Query(correct_skew=True, cursor="x")),
        AskRows(Query(correct_skew=True), scope="host"),
        AskFollow(Query(correct_skew=True), scope="host"),
        AskCount(Query(correct_skew=True)),
    ],
)
def test_what_cannot_be_corrected_is_refused(ask: Ask) -> None:
    with pytest.raises(QueryError):
        check_skew(ask)
