from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varlogd.swim import dissemination
from varlogd.swim.dissemination import CLAIMS_PER_FRAME_MAX, PIGGYBACK_MAX_BYTES, Dissemination, fan_out, size_bytes
from varlogd.swim.state import State
from varlogd.wire.codec import encode_cbor
from varlogd.wire.gossip import Claim, Metadata
from varlogd.wire.limits import NAME_MAX_CHARS, TAG_MAX_CHARS, TAGS_MAX


def alive(name: str, incarnation: int = 0) -> Claim:
    return Claim(name, 1, incarnation, State.ALIVE, f"{name}:1")


def suspect(name: str, by: str, incarnation: int = 0) -> Claim:
    return Claim(name, 1, incarnation, State.SUSPECT, f"{name}:1", {}, by)


def drain(news: Dissemination, nodes: int) -> Counter[str]:
    sent: Counter[str] = Counter()
    while news:
        sent.update(claim.name for claim in news.take(nodes))
    return sent


@given(st.integers(1, 60), st.sampled_from([(1, 4), (5, 4), (9, 4), (10, 8), (98, 8), (99, 8), (100, 12)]))
def test_each_claim_is_sent_exactly_as_often_as_allowed(claims: int, size: tuple[int, int]) -> None:
    nodes, times = size
    news = Dissemination(4)
    for index in range(claims):
        news.queue(alive(f"n{index}"))
    assert drain(news, nodes) == {f"n{index}": times for index in range(claims)}
    assert news.take(nodes) == []


@pytest.mark.parametrize(("nodes", "members"), [(1, 3), (2, 3), (99, 3), (100, 4), (999, 4), (1000, 5), (10_000, 6)])
def test_a_larger_mesh_is_told_in_larger_steps(nodes: int, members: int) -> None:
    assert fan_out(3, nodes) == members


def test_least_sent_first_and_the_newest_among_equals() -> None:
    news = Dissemination(4)
    for index in range(CLAIMS_PER_FRAME_MAX):
        news.queue(alive(f"old{index}"))
    news.take(5)
    news.queue(alive("first"))
    news.queue(alive("second"))
    assert [claim.name for claim in news.take(5)][:2] == ["second", "first"]


def test_a_newer_claim_replaces_what_it_outranks() -> None:
    news = Dissemination(4)
    news.queue(suspect("a", "x"))
    news.queue(suspect("a", "y"))
    news.queue(alive("a", 1))
    assert news.take(5) == [alive("a", 1)]


def test_suspicions_of_several_accusers_stand_beside_each_other() -> None:
    news = Dissemination(4)
    news.queue(suspect("a", "x"))
    news.queue(suspect("a", "y"))
    assert {claim.by for claim in news.take(5)} == {"x", "y"}


def test_queueing_again_begins_again() -> None:
    news = Dissemination(1)
    news.queue(alive("a"))
    assert news.take(5) == [alive("a")]
    news.queue(alive("a"))
    assert news.take(5) == [alive("a")]


def test_peeking_does_not_count() -> None:
    news = Dissemination(1)
    news.queue(alive("a"))
    for _ in range(5):
        assert news.peek() == [alive("a")]
    assert drain(news, 5) == {"a": 1}


def test_a_frame_is_bounded_in_claims_and_bytes() -> None:
    news = Dissemination(4)
    for index in range(2 * CLAIMS_PER_FRAME_MAX):
        news.queue(alive(f"n{index}"))
    assert len(news.take(5)) == CLAIMS_PER_FRAME_MAX
    large = Dissemination(4)
    for index in range(20):
        large.queue(Claim(f"n{index}", 1, 0, State.ALIVE, "a:1", {f"{tag:0250}": "é" * 250 for tag in range(16)}))
    taken = large.take(5)
    assert 1 < len(taken) < 20
    assert sum(len(encode_cbor(claim)) for claim in taken) <= PIGGYBACK_MAX_BYTES


def test_one_claim_over_the_byte_limit_still_goes_out() -> None:
    wide = "\N{GRINNING FACE}"
    tags = {f"{index:03}" + wide * (TAG_MAX_CHARS - 3): wide * TAG_MAX_CHARS for index in range(TAGS_MAX)}
    claim = Claim(wide * NAME_MAX_CHARS, 1, 0, State.ALIVE, "a:1", tags)
    news = Dissemination(4)
    news.queue(alive("small"))
    news.queue(claim)
    assert size_bytes(claim) > PIGGYBACK_MAX_BYTES
    assert news.take(5) == [claim]


@given(
    st.text(max_size=NAME_MAX_CHARS),
    st.integers(0, (1 << 62) - 1),
    st.dictionaries(st.text(max_size=9), st.text(max_size=TAG_MAX_CHARS), max_size=TAGS_MAX),
)
def test_the_size_is_an_upper_bound(name: str, number: int, tags: dict[str, str]) -> None:
    claim = Claim(name, number, number, State.DEAD, name, tags, name, Metadata("v" * 24, "r" * 100, "c" * 24))
    assert len(encode_cbor(claim)) <= size_bytes(claim)


def test_what_waits_is_bounded_and_what_was_said_most_often_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dissemination, "NEWS_MAX", 10)
    news = Dissemination(4)
    for index in range(5):
        news.queue(alive(f"said{index}"))
    news.take(5)
    for index in range(8):
        news.queue(alive(f"new{index}"))
    assert {claim.name for claim in news.peek()} == {f"new{index}" for index in range(8)} | {"said1", "said0"}
    for index in range(20):
        news.queue(alive(f"newer{index}"))
    assert {claim.name for claim in news.peek()} == {f"newer{index}" for index in range(10, 20)}
