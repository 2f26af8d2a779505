from __future__ import annotations

from functools import reduce
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varlogd.swim.state import State, merge, rank, restate
from varlogd.wire.gossip import Claim, Metadata

# Few values, so that ties and near misses are common.
claims = st.builds(
    Claim,
    name=st.just("web1"),
    epoch=st.integers(0, 2),
    incarnation=st.integers(0, 2),
    state=st.integers(0, 3),
    address=st.sampled_from(["a:1", "b:1"]),
    tags=st.dictionaries(st.sampled_from("xy"), st.sampled_from("01"), max_size=2),
)


def belief(claim: Claim) -> tuple[object, ...]:
    """What a claim says, without who says it."""
    return (rank(claim), claim.address, claim.tags)


@given(claims, claims)
def test_merge_is_commutative(a: Claim, b: Claim) -> None:
    assert belief(merge(a, b)) == belief(merge(b, a))


@given(claims, claims, claims)
def test_merge_is_associative(a: Claim, b: Claim, c: Claim) -> None:
    assert belief(merge(merge(a, b), c)) == belief(merge(a, merge(b, c)))


@given(claims, claims)
def test_merge_is_idempotent_and_keeps_what_is_held(a: Claim, b: Claim) -> None:
    merged = merge(a, b)
    assert merge(a, a) is a
    assert merge(merged, b) is merged
    assert merge(merged, a) is merged


@given(claims, claims)
def test_a_rank_never_goes_back(a: Claim, b: Claim) -> None:
    assert rank(merge(a, b)) == max(rank(a), rank(b))


@given(st.lists(claims, min_size=1, max_size=4))
def test_the_order_of_arrival_makes_no_difference(heard: list[Claim]) -> None:
    ends = {str(belief(reduce(merge, order, heard[0]))) for order in permutations(heard)}
    assert len(ends) == 1


@pytest.mark.parametrize(
    ("winner", "loser"),
    [
        ((1, 0, State.SUSPECT), (1, 0, State.ALIVE)),
        ((1, 0, State.DEAD), (1, 0, State.SUSPECT)),
        ((1, 0, State.LEFT), (1, 0, State.DEAD)),
        ((1, 1, State.ALIVE), (1, 0, State.DEAD)),  # refuted
        ((2, 0, State.ALIVE), (1, 9, State.LEFT)),  # restarted
    ],
)
def test_precedence(winner: tuple[int, int, State], loser: tuple[int, int, State]) -> None:
    won, lost = (Claim("web1", epoch, incarnation, state, "a:1") for epoch, incarnation, state in (winner, loser))
    assert merge(lost, won) is won
    assert merge(won, lost) is won


def test_restating_changes_the_state_and_the_speaker_only() -> None:
    claim = Claim("web1", 3, 2, State.ALIVE, "a:1", {"role": "web"})
    assert restate(claim, State.SUSPECT, "web2") == Claim("web1", 3, 2, 1, "a:1", {"role": "web"}, "web2")


def test_metadata_is_kept_in_another_state_and_breaks_ties() -> None:
    claim = Claim("web1", 3, 2, State.ALIVE, "a:1", {}, "", Metadata("1", "web", "abc"))
    assert restate(claim, State.DEAD, "web2").metadata == claim.metadata
    other = Claim("web1", 3, 2, State.ALIVE, "a:1", {}, "", Metadata("2"))
    assert merge(claim, other) == merge(other, claim) == other
