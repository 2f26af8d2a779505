from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from varlogd.swim.digest import Digest, bucket_of, mark_of
from varlogd.swim.state import State
from varlogd.swim.view import View
from varlogd.wire.gossip import DIGEST_BUCKETS, DIGEST_BYTES, Claim


def claim(name: str, epoch: int, incarnation: int, state: int) -> Claim:
    return Claim(name, epoch, incarnation, state, f"{name}:1")


claims = st.builds(
    claim, st.sampled_from([f"n{i}" for i in range(8)]), st.integers(1, 3), st.integers(0, 2), st.integers(0, 3)
)


def digest_of(*held: Claim) -> Digest:
    digest = Digest()
    for each in held:
        digest.add(each)
    return digest


@given(st.lists(claims, max_size=30))
def test_a_views_digest_is_that_of_what_it_holds_however_it_came_to_it(puts: list[Claim]) -> None:
    view = View(claim("me", 1, 0, State.ALIVE), 0.0, 6)
    for at, each in enumerate(puts):
        if view.claim(each.name) is not None or view.make_room():
            view.put(each, float(at))
    view.forget_departed(State.DEAD, before=len(puts) / 2)
    assert bytes(view.digest) == bytes(digest_of(*view.claims()))


@given(st.lists(claims, unique_by=lambda each: each.name), st.lists(claims, unique_by=lambda each: each.name))
def test_the_buckets_that_differ_are_those_with_members_that_differ(ours: list[Claim], theirs: list[Claim]) -> None:
    def ranks(held: list[Claim]) -> set[tuple[str, int, int, int]]:
        return {(each.name, each.epoch, each.incarnation, each.state) for each in held}

    expected = {bucket_of(name) for name, *_ in ranks(ours) ^ ranks(theirs)}
    assert set(digest_of(*ours).differing(bytes(digest_of(*theirs)))) == expected


def test_it_is_the_same_in_every_process_and_version() -> None:
    """Nodes compare them: these figures may never change."""
    assert mark_of(claim("web1", 1, 2, State.DEAD)) == 0x9C3F2269A804D6A2
    assert [bucket_of(name) for name in ("web1", "web2", "\ud800")] == [45, 23, 40]
    assert len(bytes(Digest())) == DIGEST_BYTES == 8 * DIGEST_BUCKETS
