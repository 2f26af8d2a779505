"""The memberlist-rules arm keeps the rules it is named after."""

from __future__ import annotations

import math

import pytest

from simulations.level1 import memberlist
from simulations.level1.memberlist_rules import Broadcasts, Rules, Suspicion, swim
from simulations.level1.network import between
from simulations.level1.node import Arm
from simulations.level1.world import World
from varlogd.swim.directives import MemberChanged
from varlogd.swim.state import State
from varlogd.wire.gossip import Claim

ARMS = {"memberlist": memberlist.arm(), "swim": memberlist.arm(swim())}


def mesh(arm: Arm, nodes: int = 12) -> World:
    world = World(1, arm)
    world.boot_all(nodes)
    return world


def states(world: World, of: str) -> set[State | None]:
    found = set()
    for node in world.nodes.values():
        if node.running and node.name != of:
            member = node.core.members.get(of)
            found.add(None if member is None else member.state)
    return found


@pytest.mark.parametrize("arm", ARMS.values(), ids=ARMS)
def test_it_finds_itself_from_seeds(arm: Arm) -> None:
    world = World(1, arm)
    world.boot_all(12, settled=False)
    world.run(40)
    assert all(len(node.core.members) == 12 for node in world.nodes.values())


@pytest.mark.parametrize("arm", ARMS.values(), ids=ARMS)
def test_a_crash_is_dead_after_the_suspicion_and_forgotten_half_a_minute_later(arm: Arm) -> None:
    world = mesh(arm)
    world.power_off("n3:1")
    world.run(5)
    assert State.DEAD not in states(world, "n3")
    world.run(15)
    assert states(world, "n3") == {State.DEAD}
    world.run(60)
    assert states(world, "n3") == {None}


def test_a_leaver_has_left_and_a_restarted_node_is_back() -> None:
    world = mesh(ARMS["memberlist"])
    world.leave("n3:1")
    world.run(5)
    assert states(world, "n3") == {State.LEFT}
    world.kill("n4:1")
    world.run(20)
    world.restart("n4:1", ["n0:1"])
    world.run(10)
    assert states(world, "n4") == {State.ALIVE}


def test_a_short_block_is_refuted() -> None:
    world = mesh(ARMS["memberlist"])
    world.block("n3:1")
    world.run(4)
    world.unblock("n3:1")
    world.run(20)
    assert states(world, "n3") == {State.ALIVE}
    assert world.nodes["n3:1"].core.me.incarnation > 1


def test_after_a_long_split_nobody_calls_the_others() -> None:
    world = mesh(ARMS["memberlist"])
    addresses = list(world.nodes)
    cut = world.network.cut(between([addresses[:6], addresses[6:]]))
    world.run(200)
    world.network.mend(cut)
    world.run(120)
    assert {len(node.core.members) for node in world.nodes.values()} == {6}


def test_swim_has_one_time_out_and_lifeguard_a_shrinking_one() -> None:
    claim = Claim("x", 0, 1, State.SUSPECT, "x:1", {}, "a")
    lone = Suspicion(claim, 0.0, 8.0, 48.0, 2, {"a"})
    assert lone.timeout_s() == 48
    lone.accusers.add("b")
    assert lone.timeout_s() == pytest.approx(48 - 40 * math.log(2) / math.log(3))
    lone.accusers.add("c")
    assert lone.timeout_s() == 8
    assert Suspicion(claim, 0.0, 8.0, 48.0, 0, {"a"}).timeout_s() == 8
    assert not swim().lha_suspicion
    assert Rules().suspicion_mult == 4


def test_broadcasts_go_out_so_often_the_least_sent_first() -> None:
    queue = Broadcasts()
    for number in range(25):
        queue.put(Claim(f"n{number}", 0, 1, State.ALIVE))
    first = queue.take(3)
    assert [claim.name for claim in first[:2]] == ["n24", "n23"]
    assert len(first) == 20
    assert {claim.name for claim in queue.take(3)[:5]} == {f"n{number}" for number in range(5)}
    queue.put(Claim("n7", 0, 2, State.ALIVE))
    assert queue.take(3)[0].incarnation == 2
    for _ in range(5):
        queue.take(3)
    assert len(queue) == 0


def test_some_changes_are_told() -> None:
    world = mesh(ARMS["swim"])
    told: list[MemberChanged] = []
    world.watchers.append(lambda _at, _node, event: told.append(event) if isinstance(event, MemberChanged) else None)
    world.power_off("n3:1")
    world.run(20)
    assert [event.member.state for event in told].count(State.DEAD) == 11
