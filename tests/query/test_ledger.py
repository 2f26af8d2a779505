"""The ledger names exactly the view at the start, and calls an answer whole only if it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varlogd.query.ledger import NO_WORD, LedgerBook
from varlogd.wire.query import WHOLE, Entry, Ledger, Outcome

NAMES = st.text("abcdefgh", min_size=1, max_size=3)
GONE = st.tuples(st.sampled_from(("dead", "left")), st.integers(0, 10**19))
VIEWS = st.dictionaries(NAMES, st.none() | GONE, max_size=8)
OUTCOMES = st.sampled_from(sorted(set(Outcome) - {Outcome.LEFT}))


def close(book: LedgerBook, delivered: dict[str, int] | None = None, *, limit_reached: bool = False) -> Ledger:
    return book.close(delivered or {}, elapsed_s=1.5, limit_reached=limit_reached)


@given(VIEWS, st.data())
def test_one_entry_for_each_member_of_the_view_and_complete_only_if_all_are_whole(
    view: dict[str, tuple[str, int] | None], data: st.DataObject
) -> None:
    book = LedgerBook("web1", view)
    live = sorted(host for host, gone in view.items() if gone is None)
    told = {host: data.draw(OUTCOMES) for host in live if data.draw(st.booleans())}
    delivered = {host: data.draw(st.integers(0, 9)) for host in live if data.draw(st.booleans())}
    for host, outcome in told.items():
        book.told(Entry(host=host, outcome=outcome, rows=delivered.get(host, 0), why="because"))
    ledger = close(book, delivered)

    assert [entry.host for entry in ledger.members] == sorted(view)
    expected = {host: Outcome(gone[0]) if gone else told.get(host, Outcome.LATE) for host, gone in view.items()}
    assert {entry.host: entry.outcome for entry in ledger.members} == expected
    assert ledger.complete == all(outcome in WHOLE for outcome in expected.values())
    assert {entry.host: entry.rows for entry in ledger.members if entry.rows} == {
        host: rows for host, rows in delivered.items() if rows
    }
    assert ledger.rows == sum(delivered.values())
    assert {entry.host: entry.since_ns for entry in ledger.members} == {
        host: gone and gone[1] for host, gone in view.items()
    }


def test_what_a_member_tells_is_kept() -> None:
    book = LedgerBook("web1", {"web1": None})
    told = Entry(
        host="web1", outcome=Outcome.ANSWERED, rows=2, bytes_scanned=9, elapsed_s=0.5, streams=3, notes=("no times",)
    )
    book.told(told)
    ledger = close(book, {"web1": 2}, limit_reached=True)
    assert ledger == Ledger(complete=True, rows=2, elapsed_s=1.5, limit_reached=True, asked="web1", members=(told,))


def test_silence_is_late() -> None:
    (entry,) = close(LedgerBook("web1", {"web2": None})).members
    assert (entry.outcome, entry.why) == (Outcome.LATE, NO_WORD)


def test_an_outcome_is_final() -> None:
    book = LedgerBook("web1", {"web2": None, "web3": ("dead", 7)})
    book.told(Entry(host="web2", outcome=Outcome.FAILED, why="reset"))
    with pytest.raises(RuntimeError, match="web2 is failed"):
        book.told(Entry(host="web2", outcome=Outcome.ANSWERED))
    with pytest.raises(RuntimeError, match="web3 is dead"):
        book.told(Entry(host="web3", outcome=Outcome.ANSWERED))
    assert not close(book).complete


def test_rows_are_those_delivered_and_a_shortfall_is_a_failure() -> None:
    book = LedgerBook("web1", {"web2": None})
    book.told(Entry(host="web2", outcome=Outcome.ANSWERED, rows=10))
    short = close(book, {"web2": 9})
    assert (short.complete, short.rows, short.members[0].outcome) == (False, 9, Outcome.FAILED)
    assert "10 rows, and 9 arrived" in short.members[0].why
    cut = close(book, {"web2": 9}, limit_reached=True)
    assert (cut.complete, cut.rows, cut.members[0].outcome) == (True, 9, Outcome.ANSWERED)


def test_the_longest_wait_is_shown() -> None:
    book = LedgerBook("web1", {"web2": None})
    for waited_s in (0.5, 2.0, 1.0):
        book.waited("web2", waited_s)
    assert close(book).members[0].late_s == 2.0


def test_strangers_are_refused() -> None:
    book = LedgerBook("web1", {"web1": None})
    with pytest.raises(KeyError):
        book.told(Entry(host="web9", outcome=Outcome.ANSWERED))
    with pytest.raises(KeyError):
        book.waited("web9", 1.0)
    with pytest.raises(ValueError, match="web9"):
        close(book, {"web9": 1})


def test_only_dead_and_left_members_are_not_asked() -> None:
    with pytest.raises(ValueError, match="alive"):
        LedgerBook("web1", {"web2": ("alive", 1)})
    with pytest.raises(ValueError, match="web2 is late"):
        LedgerBook("web1", {"web2": ("late", 1)})


def test_a_view_in_doubt_is_never_complete() -> None:
    book = LedgerBook("a", {"a": None}, "nobody has answered us")
    book.told(Entry(host="a", outcome=Outcome.ANSWERED))
    ledger = book.close({}, elapsed_s=0, limit_reached=False)
    assert (ledger.complete, ledger.doubt) == (False, "nobody has answered us")


def test_a_clock_that_is_off_is_told_where_that_matters_and_is_beyond_doubt() -> None:
    book = LedgerBook("a", dict.fromkeys("abcd"))
    for host, offset in {"a": (0.05, 0.001), "b": (-3.0, 0.01), "c": (0.5, 0.6)}.items():
        book.clock(host, offset)
    ledger = book.close({}, elapsed_s=0, limit_reached=False)
    assert [(entry.offset_s, entry.uncertainty_s) for entry in ledger.members] == [
        (None, None),
        (-3.0, 0.01),
        (None, None),
        (None, None),
    ]
    with pytest.raises(KeyError):
        book.clock("x", (1.0, 0.0))
