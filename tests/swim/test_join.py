from __future__ import annotations

from itertools import pairwise

from varlogd.config import MembershipConfig
from varlogd.swim.directives import Joined, JoinFailing
from varlogd.swim.join import KNOWN_AT_ONCE
from varlogd.swim.state import State
from varlogd.wire.gossip import Gossip, PushPull


def called(node):
    return sorted({send.to for send in node.take(PushPull) if not send.message.reply})


def test_without_seeds_a_node_is_alone_by_choice(solo) -> None:
    node = solo()
    node.start()
    assert node.core.joined
    assert node.events == [Joined()]
    node.run(100.0)
    assert node.take() == []


def test_all_seeds_are_called_at_once_and_the_own_address_is_none(solo) -> None:
    node = solo(seeds=["a:1", "me:1", "b:1", "a:1"])
    node.start()
    assert called(node) == ["a:1", "b:1"]
    assert not node.core.joined


def test_the_own_address_as_the_only_seed_is_no_seed(solo) -> None:
    node = solo(seeds=["me:1"])
    node.start()
    assert node.core.joined


def test_the_remembered_are_called_beside_the_seeds_a_few_at_a_time(solo) -> None:
    known = [f"k{number}:1" for number in range(KNOWN_AT_ONCE + 2)]
    node = solo(seeds=["a:1", known[1]], known=[*known, "me:1", known[0]])
    node.start()
    first = called(node)
    node.run(2 * MembershipConfig().join_retry_s)
    second = called(node)
    others = sorted(set(known) - {known[1]})
    assert first == sorted(["a:1", known[1], *others[:KNOWN_AT_ONCE]])
    assert set(second) > {"a:1", known[1], others[-1]}
    assert not node.core.joined


def test_one_without_seeds_that_remembers_others_has_joined_when_one_answers(solo) -> None:
    node = solo(known=["a:1", "b:1"])
    node.start()
    assert (called(node), node.core.joined) == (["a:1", "b:1"], False)
    node.hear("b:1", PushPull(True, (node.alive("b"),)))
    assert node.core.joined


def test_one_without_seeds_gives_up_on_the_remembered_when_the_dead_are_forgotten(solo) -> None:
    node = solo(known=["a:1"], dead_remembered_s=60)
    node.start()
    node.run(59)
    assert set(called(node)) == {"a:1"}
    assert not node.core.joined
    node.run(10)
    assert node.core.joined
    node.take()
    node.run(100)
    assert node.take() == []


def test_the_own_address_among_the_remembered_is_nobody_to_look_for(solo) -> None:
    node = solo(known=["nat:1"])
    node.start()
    assert not node.core.joined
    node.do(node.core.on_self_dialled(node.now, "nat:1"))
    assert node.core.joined


def test_an_answer_from_one_is_enough(solo) -> None:
    node = solo(seeds=["a:1", "b:1"])
    node.start()
    node.hear("a:1", PushPull(True, (node.alive("a"), node.core._view.mine)))
    assert node.core.joined
    assert node.events.count(Joined()) == 1
    assert node.state("a") is State.ALIVE


def test_being_called_by_another_is_joining_too(solo) -> None:
    node = solo(seeds=["a:1"])
    node.start()
    node.hear("b:1", PushPull(False, (node.alive("b"),)))
    assert node.core.joined


def test_an_answer_that_names_nobody_but_us_is_not(solo) -> None:
    node = solo(seeds=["a:1"])
    node.start()
    node.hear("a:1", PushPull(True, (node.core._view.mine,)))
    node.hear("a:1", PushPull(True, (node.said("b", State.DEAD),)))
    assert not node.core.joined


def test_attempts_back_off_to_a_bound_and_go_on_for_ever(solo) -> None:
    node = solo(seeds=["a:1"], reconnect_interval_s=86400.0)
    node.start()
    times = []
    for _ in range(3000):
        if called(node):
            times.append(node.now)
        node.run(0.1)
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert 0.8 <= pauses[0] <= 1.2
    assert 1.7 <= pauses[1] <= 2.3
    assert all(4.4 <= pause <= 5.6 for pause in pauses[3:])
    assert len(times) > 55


def test_failing_is_told_after_the_first_attempt_and_then_rarely(solo) -> None:
    node = solo(seeds=["a:1", "b:1"])
    node.start()
    node.run(0.5)
    assert node.events == []
    node.run(1.0)
    assert node.events == [JoinFailing(("a:1", "b:1"), 1)]
    node.run(600.0)
    assert 10 <= len(node.events) <= 11


def test_no_more_attempts_once_joined(solo) -> None:
    node = solo(seeds=["a:1"])
    node.start()
    node.hear("a:1", Gossip((node.alive("a"),)))
    node.events.clear()
    node.take()
    node.run(10.0)
    assert not any(isinstance(event, JoinFailing) for event in node.events)
    assert len(called(node)) <= 5  # a young view is compared, no more


def test_a_seed_that_is_ourselves_is_dropped(solo) -> None:
    node = solo(seeds=["alias:1", "a:1"])
    node.start()
    node.take()
    node.do(node.core.on_self_dialled(node.now, "alias:1"))
    assert not node.core.joined
    node.run(1.5)
    assert called(node) == ["a:1"]
    node.do(node.core.on_self_dialled(node.now, "a:1"))
    assert node.core.joined
    assert node.events.count(Joined()) == 1


def test_a_goodbye_goes_to_those_whose_answer_was_awaited(solo) -> None:
    """They have heard of us: without it they would take us for dead."""
    node = solo(seeds=["a:1"], known=["b:1"])
    node.start()
    node.take()
    node.do(node.core.leave(node.now))
    goodbyes = node.take(Gossip)
    assert {send.to for send in goodbyes} == {"a:1", "b:1"}
    assert all(send.message.claims[0].state == State.LEFT for send in goodbyes)


def test_a_goodbye_goes_to_no_seed_that_was_called_before_joining(solo) -> None:
    node = solo(seeds=["a:1", "b:1"])
    node.start()
    node.hear("b:1", PushPull(True, (node.alive("b"),)))
    node.take()
    node.do(node.core.leave(node.now))
    assert {send.to for send in node.take(Gossip)} == {"b:1"}
