"""The codec: what goes in comes out; what a stranger sends costs little and gets a clear error."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varlogd.errors import ProtocolError
from varlogd.wire.codec import decode_cbor, decode_json, encode_cbor, encode_json
from varlogd.wire.gossip import (
    DIGEST_BYTES,
    Ack,
    Claim,
    Delta,
    Gossip,
    Held,
    LinkMessage,
    Metadata,
    Nack,
    Ping,
    PushPull,
    Summary,
)
from varlogd.wire.limits import DEPTH_MAX, METADATA_MAX_BYTES
from varlogd.wire.query import Answer, Ask, AskMembers, AskRows, Entry, Ledger, LineFilter, Matcher, Outcome, Query

claims = st.builds(
    Claim,
    name=st.text(min_size=1, max_size=20),
    epoch=st.integers(0, 2**61),
    incarnation=st.integers(0, 2**61),
    state=st.integers(0, 3),
    address=st.text(max_size=30),
    tags=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    by=st.text(max_size=10),
    metadata=st.builds(Metadata, *[st.text(max_size=10)] * 3),
)
some_claims = st.lists(claims, max_size=4).map(tuple)
gossip = st.one_of(
    st.builds(Ping, seq=st.integers(0, 2**40), target=st.text(min_size=1, max_size=9), claims=some_claims),
    st.builds(Ack, seq=st.integers(0, 2**40), claims=some_claims, wall_us=st.integers(0, 2**61)),
    st.builds(Nack, seq=st.integers(0, 2**40)),
    st.builds(Gossip, claims=some_claims),
    st.builds(PushPull, reply=st.booleans(), claims=some_claims, digest=st.binary(max_size=DIGEST_BYTES)),
    st.builds(
        Summary,
        buckets=st.binary(max_size=64),
        held=st.lists(st.builds(Held, st.text(min_size=1, max_size=9), st.just(1), st.just(2), st.just(3))).map(
            tuple
        ),
    ),
    st.builds(Delta, claims=some_claims, wanted=st.lists(st.text(min_size=1, max_size=9)).map(tuple)),
)


@given(gossip)
def test_gossip_round_trip(message: object) -> None:
    assert decode_cbor(encode_cbor(message), LinkMessage) == message


def test_a_newer_peer_may_say_more() -> None:
    assert decode_cbor(cbor2.dumps([3, 7, "a field of tomorrow"]), LinkMessage) == Nack(7)


QUESTION = AskRows(
    Query(
        matchers=(Matcher("role", "=~", "web.*"),),
        filters=(LineFilter("|~", ("error", "é"), ignore_case=True),),
        start_ns=1,
        end_ns=2,
        limit=3,
        direction="oldest_first",
    )
)


def test_questions_travel_in_both_languages() -> None:
    assert decode_json(encode_json(QUESTION), Ask) == QUESTION
    assert decode_cbor(encode_cbor(QUESTION), Ask) == QUESTION


def test_the_ledger_travels() -> None:
    entries = tuple(Entry(host=str(index), outcome=outcome) for index, outcome in enumerate(Outcome))
    ledger = Ledger(complete=False, rows=1, elapsed_s=0.5, limit_reached=False, asked="a", members=entries)
    assert decode_cbor(encode_cbor(ledger), Answer) == ledger
    assert decode_json(encode_json(ledger), Answer) == ledger


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_protocol_error(data: bytes) -> None:
    for kind in (LinkMessage, Ask, Answer):
        try:
            decode_cbor(data, kind)
        except ProtocolError:
            continue


@given(st.text(max_size=200))
def test_any_text_is_a_message_or_a_protocol_error(data: str) -> None:
    for kind in (Ask, Answer):
        try:
            decode_json(data, kind)
        except ProtocolError:
            continue


TAGGED = [(0, "x"), (2, b"\x01"), (28, 1), (35, "(a+)+$"), (258, [1]), (9999, 1)]
"""A date, a big number, a shared value, a regular expression (which a naive decoder compiles), a set, nonsense."""


def nested(depth: int) -> bytes:
    return b"\x81" * depth + b"\x00"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        nested(DEPTH_MAX + 1),
        nested(100_000),
        b"\x9f\xff",  # an array of indefinite length
        b"\x5f\x41a\xff",  # bytes of indefinite length
        b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",  # an array that says it is huge
        b"\x5b\x7f\xff\xff\xff\xff\xff\xff\xff",  # bytes that say they are huge
        b"\xa2\x61a\x01\x61a\x02",  # one key twice
        cbor2.dumps([3, 7]) + b"\x00",  # something after the end
        *(cbor2.dumps([3, cbor2.CBORTag(tag, value)]) for tag, value in TAGGED),
    ],
)  # fmt: skip
def test_hostile_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_cbor(data, LinkMessage)


def test_errors_name_the_field() -> None:
    with pytest.raises(ProtocolError, match=r"\$\.query\.limit"):
        decode_json('{"type":"query","query":{"limit":0}}', Ask)
    with pytest.raises(ProtocolError, match="unknown field"):
        decode_json('{"type":"query","query":{"limt":1}}', Ask)


def test_metadata_is_bounded_in_bytes_also_from_a_stranger() -> None:
    largest = "é" * (METADATA_MAX_BYTES // 2)
    assert Metadata(role=largest).role == largest
    with pytest.raises(ValueError, match="at most"):
        Metadata(role=largest, version="1")
    claim = ["a", 1, 0, 0, "a:1", {}, "", [largest, "x", ""]]
    with pytest.raises(ProtocolError, match="metadata"):
        decode_cbor(cbor2.dumps([5, [claim]]), LinkMessage)


def test_a_claim_of_an_older_version_has_no_metadata() -> None:
    told = decode_cbor(cbor2.dumps([5, [["a", 1, 0, 0, "a:1", {}, ""]]]), LinkMessage)
    assert told == Gossip((Claim("a", 1, 0, 0, "a:1"),))


def test_a_plain_question_for_members_is_that_of_the_first_version() -> None:
    assert encode_json(AskMembers()) == '{"type":"members"}'
