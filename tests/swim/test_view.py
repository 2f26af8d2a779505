from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from varlogd.swim.state import State
from varlogd.swim.view import Base, View
from varlogd.wire.gossip import Claim


def claim(name: str, state: State, epoch: int = 1, incarnation: int = 0, address: str = "") -> Claim:
    return Claim(name, epoch, incarnation, state, address or f"{name}:1")


def view(members_max: int = 100) -> View:
    return View(claim("me", State.ALIVE), 0.0, members_max)


steps = st.lists(
    st.tuples(
        st.sampled_from(["me", "a", "b", "c", "d"]),
        st.sampled_from(list(State)),
        st.integers(1, 2),
        st.sampled_from(["p:1", "q:1", "r:1"]),
    ),
    max_size=30,
)


@given(steps)
def test_the_indexes_say_what_the_table_says(steps: list[tuple[str, State, int, str]]) -> None:
    table = view()
    for at, (name, state, epoch, address) in enumerate(steps):
        table.put(claim(name, state, epoch, address=address), float(at))
        others = [member for member in table.members.values() if member.name != "me"]
        assert sorted(table.live) == sorted(member.name for member in others if member.live)
        assert all(table.is_live(member.name) == member.live for member in others)
        assert table.count == len(table.live) + 1
        assert sorted(table.dead()) == sorted(member.name for member in others if member.state is State.DEAD)
        dates = [table.members[name].since for name in table.dead()]
        assert dates == sorted(dates)
        for place in ("p:1", "q:1", "r:1"):
            found = table.at(place)
            assert found is None or found.address == place
            if found is not None and not table.members[found.name].live:
                assert table.live_at(place) is None


@given(steps)
def test_a_view_with_a_base_is_like_one_that_was_told(steps: list[tuple[str, State, int, str]]) -> None:
    everybody = [claim(name, State.ALIVE) for name in ("a", "b", "me", "c")]
    base = Base(everybody, 0.0)
    based, told = (View(claim("me", State.ALIVE), 0.0, 100, begin) for begin in (base, None))
    for each in everybody:
        told.put(each, 0.0)
    for at, (name, state, epoch, address) in enumerate(steps, 1):
        for table in (based, told):
            table.put(claim(name, state, epoch, address=address), float(at))
            table.forget_departed(State.LEFT, before=at - 3.0)
        assert sorted(based.live) == sorted(told.live)
        assert [based.is_live(name) for name in "abcd"] == [told.is_live(name) for name in "abcd"]
        assert [based.at(place) for place in ("a:1", "p:1")] == [told.at(place) for place in ("a:1", "p:1")]
    assert dict(based.members) == dict(told.members)
    assert {each.name: each for each in based.claims()} == {each.name: each for each in told.claims()}
    assert bytes(based.digest) == bytes(told.digest)
    assert base.members == {each.name: Base([each], 0.0).members[each.name] for each in everybody}


def test_since_is_when_the_state_began() -> None:
    table = view()
    table.put(claim("a", State.ALIVE), 1.0)
    assert table.put(claim("a", State.ALIVE, incarnation=1), 2.0)[0].since == 1.0
    assert table.put(claim("a", State.SUSPECT, incarnation=1), 3.0)[0].since == 3.0
    assert table.put(claim("a", State.ALIVE, epoch=2), 4.0)[0].since == 4.0
    assert table.put(claim("a", State.ALIVE, epoch=3), 5.0)[0].since == 5.0


def test_the_departed_are_forgotten_in_time() -> None:
    table = view()
    for at, name in enumerate("abc"):
        table.put(claim(name, State.DEAD), float(at))
    table.put(claim("d", State.LEFT), 0.0)
    table.forget_departed(State.DEAD, before=2.0)
    assert set(table.members) == {"me", "c", "d"}
    table.forget_departed(State.LEFT, before=2.0)
    assert set(table.members) == {"me", "c"}
    assert table.at("a:1") is None


def test_the_longest_dead_make_room() -> None:
    table = view(members_max=4)
    table.put(claim("a", State.DEAD), 1.0)
    table.put(claim("b", State.DEAD), 2.0)
    assert table.make_room()
    table.put(claim("c", State.ALIVE), 3.0)
    assert table.make_room()
    assert set(table.members) == {"me", "b", "c"}


def test_the_living_do_not_make_room() -> None:
    table = view(members_max=2)
    table.put(claim("a", State.SUSPECT), 1.0)
    assert not table.make_room()
    assert set(table.members) == {"me", "a"}


def test_a_live_member_takes_over_an_address_and_a_dead_one_does_not() -> None:
    table = view()
    table.put(claim("old", State.ALIVE, address="p:1"), 1.0)
    table.put(claim("new", State.ALIVE, address="p:1"), 2.0)
    table.put(claim("old", State.DEAD, address="p:1"), 3.0)
    found = table.live_at("p:1")
    assert found is not None and found.name == "new"


def test_every_live_member_can_be_drawn() -> None:
    table, rng = view(), random.Random(1)
    for name in "abcdef":
        table.put(claim(name, State.ALIVE), 1.0)
    for name in "bd":
        table.put(claim(name, State.DEAD), 2.0)
    assert {rng.choice(table.live) for _ in range(200)} == set("acef")


def test_we_are_in_the_table_and_not_among_the_others() -> None:
    table = view()
    assert table.me.name == "me" and table.mine.name == "me"
    assert table.live == [] and not table.is_live("me")
    assert table.live_at("me:1") is None
