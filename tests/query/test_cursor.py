"""Cursors: their text, what question they belong to, where each host goes on. Paging with them: tests/mesh."""

from __future__ import annotations

import zlib
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from varlogd.errors import QueryError
from varlogd.query import cursor as cursors
from varlogd.query.block import Row, block_of
from varlogd.query.cursor import (
    PLAIN_MAX_BYTES,
    VERSION,
    Cursor,
    HostPlace,
    Mark,
    Paging,
    cursor_of,
    decode_cursor,
    encode_cursor,
    question_digest,
)
from varlogd.query.match import validate
from varlogd.wire.codec import encode_json
from varlogd.wire.limits import CURSOR_MAX_CHARS
from varlogd.wire.query import Entry, Ledger, LineFilter, Matcher, Outcome, Place, Query

QUERY = Query(matchers=(Matcher("unit", "=", "ssh"),), filters=(LineFilter("|=", ("x",)),), end_ns=99)

NAMES = st.text(min_size=1, max_size=8)
MARKS = st.builds(
    Mark,
    key=st.integers(-(1 << 63), (1 << 63) - 1),
    host=NAMES,
    stream=st.text(max_size=8),
    file=st.text(max_size=8),
    offset=st.integers(0, (1 << 62) - 1),
)
CURSORS = st.builds(
    Cursor,
    version=st.just(VERSION),
    question=st.just(question_digest(QUERY)),
    newest_first=st.booleans(),
    default=st.none() | MARKS,
    others=st.lists(st.tuples(st.none() | MARKS, st.lists(NAMES, min_size=1, max_size=3).map(tuple)), max_size=3).map(
        tuple
    ),
    streams=st.dictionaries(NAMES, st.lists(MARKS, max_size=3).map(tuple), max_size=3),
    exhausted=st.lists(NAMES, max_size=3).map(tuple),
)


@given(CURSORS)
def test_a_cursor_comes_back_from_its_text(cursor: Cursor) -> None:
    text = encode_cursor(cursor)
    assert decode_cursor(text) == cursor
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), "fit for a URL"
    if cursor.newest_first:
        assert cursor_of(structs.replace(QUERY, cursor=text)) == cursor


@pytest.mark.parametrize("newest_first", [False, True])
def test_a_cursor_that_says_the_other_direction_than_its_question_is_refused(newest_first: bool) -> None:
    query = Query(direction="oldest_first" if newest_first else "newest_first")
    forged = Cursor(VERSION, question_digest(query), newest_first)
    with pytest.raises(QueryError, match="another question"):
        validate(structs.replace(query, cursor=encode_cursor(forged)))
    validate(structs.replace(query, cursor=encode_cursor(structs.replace(forged, newest_first=not newest_first))))


GOOD = encode_cursor(Cursor(VERSION, question_digest(QUERY), newest_first=True, default=Mark(5, "a", "s", "f", 7)))


@given(st.data())
def test_a_garbled_cursor_is_refused(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(GOOD) - 1))
    put = data.draw(st.text(alphabet="AZaz09-_ ~é=\n", max_size=2))
    garbled = GOOD[:at] + put + GOOD[at + 1 :]
    if garbled != GOOD:
        try:
            assert decode_cursor(garbled) == decode_cursor(GOOD), "the last bits of base64 say nothing"
        except QueryError as error:
            assert "cursor" in str(error)


@given(st.text(max_size=60))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(QueryError, match="no cursor"):
        decode_cursor(text)


def packed(plain: bytes) -> str:
    """The text of a cursor that unpacks to this."""
    body = zlib.compress(plain, 9)
    return urlsafe_b64encode(cursors._check_sum(body) + body).rstrip(b"=").decode()


def plain_of(cursor: Cursor) -> bytes:
    return encode_json(cursor).encode()


@pytest.mark.parametrize(
    "plain",
    [
        plain_of(Cursor(VERSION, b"", newest_first=True)) + b" " * PLAIN_MAX_BYTES,
        b"[" * 30_000_000,
        b"[" * 100_000,
        b"\xff\x00",
        b"",
        b"[]",
        b"{}",
        plain_of(Cursor(VERSION, b"", newest_first=True)) + b"0",
        plain_of(Cursor(VERSION, b"", newest_first=True, default=Mark(1 << 63, "a"))),
        plain_of(Cursor(VERSION, b"", newest_first=True, default=Mark(1, ""))),
        plain_of(Cursor(VERSION, b"", newest_first=True, default=Mark(1, "a", offset=-1))),
    ],
    ids=lambda plain: f"{len(plain)} bytes {plain[:4].hex()}",
)
def test_a_bomb_is_refused(plain: bytes) -> None:
    with pytest.raises(QueryError, match="no cursor"):
        decode_cursor(packed(plain))


def test_a_cursor_of_another_version_is_refused() -> None:
    text = encode_cursor(Cursor(2, question_digest(QUERY), newest_first=True))
    with pytest.raises(QueryError, match="version 2"):
        decode_cursor(text)


@pytest.mark.parametrize(
    "change",
    [
        {"matchers": ()},
        {"filters": (LineFilter("|=", ("y",)),)},
        {"filters": (LineFilter("|=", ("x",), ignore_case=True),)},
        {"start_ns": 1},
        {"end_ns": 98},
        {"direction": "oldest_first"},
        {"before": 1},
        {"after": 1},
        {"entries": True},
    ],
)
def test_a_cursor_of_another_question_is_refused(change: dict[str, Any]) -> None:
    validate(structs.replace(QUERY, cursor=GOOD))
    with pytest.raises(QueryError, match="another question"):
        validate(structs.replace(QUERY, cursor=GOOD, **change))


def test_how_long_and_how_many_is_no_other_question() -> None:
    validate(structs.replace(QUERY, cursor=GOOD, limit=7, timeout_s=3.0, grace_s=0.5))


@pytest.mark.parametrize(
    ("newest_first", "host", "after"),
    [
        (True, "b", Place(key=5, stream="s", file="f", offset=7)),
        (False, "b", Place(key=5, stream="s", file="f", offset=7)),
        (True, "a", Place(key=6)),  # rows of key 5 are still to come: they are behind b's
        (True, "c", Place(key=5)),  # they have been given: below 5 it goes on
        (False, "a", Place(key=6)),  # they have been given: from 6 it goes on
        (False, "c", Place(key=5)),
    ],
)
def test_a_place_as_a_host_sees_it(newest_first: bool, host: str, after: Place) -> None:
    cursor = Cursor(VERSION, b"", newest_first, default=Mark(5, "b", "s", "f", 7))
    assert cursor.place_of(host) == HostPlace(after, {})


def test_hosts_with_places_of_their_own() -> None:
    own, stream = Mark(1, "a", "s", "f", 2), Mark(8, "a", "u", "g", 3)
    cursor = Cursor(
        VERSION, b"", True, Mark(5, "b"), ((own, ("a",)), (None, ("c", "d"))), {"a": (stream,)}, ("e",)
    )  # fmt: skip
    place = cursor.place_of("a")
    assert place == HostPlace(
        Place(key=1, stream="s", file="f", offset=2), {"u": Place(key=8, stream="u", file="g", offset=3)}
    )
    assert cursor.place_of("c") == cursor.place_of("d") == HostPlace(None, {})
    assert cursor.place_of("e") is None
    assert cursor.place_of("newcomer") == HostPlace(Place(key=5), {})


def ledger_of(*entries: Entry) -> Ledger:
    return Ledger(complete=True, rows=0, elapsed_s=0.0, limit_reached=True, asked="a", members=entries)


def entry_of(host: str, rows: int = 0, outcome: Outcome = Outcome.ANSWERED) -> Entry:
    return Entry(host=host, outcome=outcome, rows=rows)


def test_a_whole_answer_has_no_cursor() -> None:
    paging = Paging(Query())
    paging.delivered(block_of([Row(5, "a", "s", 0, 5, b"x")]))
    told = {"a": entry_of("a", 1), "b": entry_of("b")}
    ledger = ledger_of(*told.values(), entry_of("c", outcome=Outcome.LEFT))
    assert paging.cursor(ledger, told, frozenset()) == ("", "")


def test_a_thousand_hosts_that_have_more_are_one_place() -> None:
    paging = Paging(Query(limit=1))
    paging.delivered(block_of([Row(5, "web1", "s", 0, 5, b"x")]))
    hosts = [f"web{number}" for number in range(1000)]
    text, _ = paging.cursor(ledger_of(*map(entry_of, hosts)), {}, frozenset(hosts))
    assert len(text) < 100


def test_a_thousand_hosts_with_places_of_their_own_fit() -> None:
    paging = Paging(Query())
    hosts = [f"web{number}.example.net" for number in range(1000)]
    for number, host in enumerate(hosts):
        paging.delivered(
            structs.replace(block_of([Row(number * 997, host, "nginx/access.log", 0, 5, b"x")]), late=True)
        )
    text, why = paging.cursor(ledger_of(*(entry_of(host, 1, Outcome.FAILED) for host in hosts)), {}, frozenset())
    assert 0 < len(text) <= CURSOR_MAX_CHARS
    assert not why


def test_who_is_out_of_sight_for_a_page_keeps_its_place() -> None:
    own, far = Mark(7, "b", "s"), Mark(3, "a", "s")
    before = Cursor(VERSION, question_digest(Query()), True, far, ((own, ("b",)),), {"b": (own,)}, ("c",))
    paging = Paging(Query(cursor=encode_cursor(before)))
    text, _ = paging.cursor(ledger_of(entry_of("a", outcome=Outcome.DEAD)), {}, frozenset())
    assert decode_cursor(text) == before


def test_newcomers_begin_where_the_furthest_page_has_come_to() -> None:
    own, far = Mark(7, "b", "s"), Mark(3, "a", "s")
    before = Cursor(VERSION, question_digest(Query()), True, far, ((own, ("b",)),))
    paging = Paging(Query(limit=1, cursor=encode_cursor(before)))
    paging.delivered(block_of([Row(5, "b", "s", 0, 5, b"x")]))
    text, _ = paging.cursor(ledger_of(entry_of("a"), entry_of("b", 1)), {}, frozenset("ab"))
    cursor = decode_cursor(text)
    assert cursor.place_of("newcomer") == HostPlace(Place(key=3), {})
    assert cursor.place_of("a") == HostPlace(Place(key=3, stream="s"), {})
    assert cursor.place_of("b") == HostPlace(Place(key=5, stream="s"), {}, {"s": Place(key=5, stream="s")})


def crowd(paging: Paging, streams: int) -> tuple[str, str]:
    for number in range(streams):
        row = Row(number, "evil", f"{number * 0x9E3779B97F4A7C15 % (1 << 64):x}", 0, None, b"x")
        paging.delivered(block_of([row]))
    return paging.cursor(ledger_of(entry_of("evil", streams, Outcome.FAILED)), {}, frozenset())


def test_a_cursor_that_would_be_too_long_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    text, why = crowd(Paging(Query()), 10)
    assert text
    assert not why
    text, why = crowd(Paging(Query()), 3000)
    assert not text
    assert "there is more" in why
    assert "evil" in why
    monkeypatch.setattr(cursors, "STREAM_PLACES_MAX", 5)
    paging = Paging(Query())
    text, why = crowd(paging, 10)
    assert not text
    assert "evil" in why
    assert sum(map(len, paging._streams.values())) <= 5, "what is noted is bounded"
