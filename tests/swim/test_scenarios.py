"""Whole meshes through what happens to meshes: members join, crash, come back and leave, and the load of it."""

from __future__ import annotations

import pytest

from varlogd.swim.directives import JoinFailing
from varlogd.swim.state import State
from varlogd.wire.gossip import Delta, PushPull

DETECTION_S = {2: 2.8, 3: 2.8, 5: 2.8, 20: 3.6}
"""From kill -9 until all survivors know, by the number of nodes, when the kernel resets connections."""

SILENT_DETECTION_S = {3: 6.0, 5: 12.0, 20: 12.0}
"""The same when nothing is heard of it, as when a host loses power. (The other of two nodes is then cut off.)"""


# Joining


def test_all_join_through_one_seed(mesh) -> None:
    net = mesh(1)
    names = [f"n{index}" for index in range(20)]
    for name in names:
        net.boot(name, [] if name == "n0" else ["n0:1"], role="web", number=name)
    assert net.run_until(lambda: net.agree(names), 30.0) < 3.0
    assert net.core("n3").members["n7"].tags == {"role": "web", "number": "n7"}
    assert all(net.core(name).joined for name in names)


def test_a_dead_first_seed_does_not_matter(mesh) -> None:
    net = mesh(1)
    net.boot("n0")
    net.boot("n1", ["nobody:1", "n0:1"])
    net.run(0.5)
    assert net.agree(["n0", "n1"])
    assert net.events("n1", JoinFailing) == []


def test_with_only_dead_seeds_it_keeps_trying_says_so_and_joins_when_one_appears(mesh) -> None:
    net = mesh(1)
    net.boot("n1", ["n0:1", "n9:1"])
    net.run(200.0)
    assert not net.core("n1").joined
    failing = net.events("n1", JoinFailing)
    assert failing[0] == JoinFailing(("n0:1", "n9:1"), 1)
    assert 3 <= len(failing) <= 4
    net.boot("n0")
    assert net.run_until(lambda: net.agree(["n0", "n1"]), 30.0) < 6.0
    assert net.core("n1").joined


def test_a_seed_that_is_the_node_itself_is_found_out(mesh) -> None:
    net = mesh(1)
    net.boot("n0", ["n0:1"])
    assert net.core("n0").joined


def test_islands_meet_when_their_common_seed_comes_up(mesh) -> None:
    net = mesh(1)
    net.boot("a0", ["seed:1"])
    net.boot("a1", ["a0:1", "seed:1"])
    net.boot("b0", ["seed:1"])
    net.boot("b1", ["b0:1", "seed:1"])
    net.run(60.0)
    assert net.agree(["a0", "a1"]) and net.agree(["b0", "b1"])
    assert net.state("a0", "b0") is None
    net.boot("seed")
    assert net.run_until(lambda: net.agree(["a0", "a1", "b0", "b1", "seed"]), 60.0) < 30.0


# Crashes


@pytest.mark.parametrize("nodes", sorted(DETECTION_S))
def test_a_crash_is_known_to_all_in_time(mesh, nodes) -> None:
    for seed in range(10):
        net = mesh(seed)
        names = net.boot_all(nodes)
        net.kill("n1")
        assert net.survivors_know(names, ["n1"]) <= DETECTION_S[nodes]
        net.run(20.0)
        assert net.wrongly_dead(["n1"]) == []


@pytest.mark.parametrize("nodes", sorted(SILENT_DETECTION_S))
def test_a_silent_crash_is_known_to_all_in_time(mesh, nodes) -> None:
    for seed in range(10):
        net = mesh(seed, hints=False)
        names = net.boot_all(nodes)
        net.kill("n1")
        assert net.survivors_know(names, ["n1"]) <= SILENT_DETECTION_S[nodes]
        net.run(20.0)
        assert net.wrongly_dead(["n1"]) == []


@pytest.mark.parametrize(("nodes", "gone", "most_s"), [(5, 2, DETECTION_S[5]), (5, 3, DETECTION_S[5]), (20, 10, 4.4)])
def test_several_that_crash_together_are_known_nearly_as_fast(mesh, nodes, gone, most_s) -> None:
    for seed in range(5):
        net = mesh(seed)
        names = net.boot_all(nodes)
        for name in names[1 : gone + 1]:
            net.kill(name)
        assert net.survivors_know(names, names[1 : gone + 1]) <= most_s


def test_the_last_survivor_learns_it_too(mesh) -> None:
    net = mesh(1)
    names = net.boot_all(5)
    for name in names[1:]:
        net.kill(name)
    assert net.survivors_know(names, names[1:]) <= 20.0


def test_a_restarted_node_is_not_shadowed_by_its_death(mesh) -> None:
    net = mesh(1)
    names = net.boot_all(5)
    net.kill("n1")
    net.survivors_know(names, ["n1"])
    net.boot("n1", ["n0:1"], epoch=2)
    assert net.run_until(lambda: net.agree(names), 30.0) < 2.0
    net.run(60.0)
    assert net.agree(names)
    assert {net.core(name).members["n1"].epoch for name in names} == {2}


def test_a_node_that_restarts_at_once_is_never_dead(mesh) -> None:
    net = mesh(1)
    names = net.boot_all(5)
    net.kill("n1")
    net.run(0.3)
    net.boot("n1", ["n0:1"], epoch=2)
    net.run(30.0)
    assert net.agree(names)
    assert net.wrongly_dead() == []


def test_a_restart_with_a_clock_that_went_back(mesh) -> None:
    net = mesh(1)
    names = net.boot_all(5)
    net.kill("n1")
    net.survivors_know(names, ["n1"])
    net.boot("n1", ["n0:1"], epoch=0)
    assert net.run_until(lambda: net.agree(names), 30.0) < 2.0
    assert net.core("n0").members["n1"].epoch == net.core("n1").me.epoch == 2


# Leaving


def test_a_leaver_is_never_dead_anywhere(mesh) -> None:
    for seed in range(10):
        net = mesh(seed)
        names = net.boot_all(8)
        net.leave("n1")
        net.run(0.01)
        net.kill("n1")
        rest = [name for name in names if name != "n1"]
        assert net.run_until(lambda net=net, rest=rest: net.agree(rest, State.LEFT, ["n1"]), 30.0) <= 1.0
        net.run(120.0)
        assert net.ever(State.DEAD) == []
        assert net.agree(rest, State.LEFT, ["n1"])


def test_a_leaver_whose_goodbye_reached_one_only_is_still_never_dead(mesh) -> None:
    net = mesh(1)
    names = net.boot_all(8)
    net.split(["n1", "n2"], [name for name in names if name not in ("n1", "n2")])
    net.leave("n1")
    net.run(0.01)
    net.heal()
    net.kill("n1")
    net.run(120.0)
    assert net.ever(State.DEAD) == []
    assert net.agree([name for name in names if name != "n1"], State.LEFT, ["n1"])


def test_one_that_left_comes_back(mesh) -> None:
    net = mesh(1)
    names = net.boot_all(5)
    net.leave("n1")
    net.run(0.01)
    net.kill("n1")
    net.run(30.0)
    net.boot("n1", ["n0:1"], epoch=2)
    assert net.run_until(lambda: net.agree(names), 30.0) < 2.0


# Load


def test_an_idle_mesh_is_quiet(mesh) -> None:
    net = mesh(1)
    names = net.boot_all(20, settle_s=60.0)
    net.sent.clear()
    net.by_kind.clear()
    net.run(120.0)
    assert max(net.sent.values()) / 120 <= 4.0
    assert net.by_kind["Gossip"] == 0
    assert len(names) == 20


def test_a_storm_is_bounded(mesh) -> None:
    net = mesh(1)
    names = net.boot_all(20)
    for disturb in (lambda: net.split(names[:10], names[10:]), net.heal):
        net.sent.clear()
        disturb()
        net.run(30.0)
        assert max(net.sent.values()) / 30 <= 20.0


def test_gossip_about_one_change_is_limited(mesh) -> None:
    """Each node passes a claim on at most 4 x ceil(log10(11)) = 8 times."""
    net = mesh(1)
    names = net.boot_all(10, settle_s=30.0)
    passed = dict.fromkeys(names, 0)
    deliver = net.deliver

    def count(src, to, message):
        if not isinstance(message, PushPull | Delta):
            passed[src.partition(":")[0]] += sum(claim.name == "new" for claim in getattr(message, "claims", ()))
        return deliver(src, to, message)

    net.deliver = count
    net.boot("new", ["n0:1"])
    passed["new"] = 0
    net.run(30.0)
    assert all(0 < times <= 8 for times in passed.values())


@pytest.mark.parametrize("nodes", [5, 40])
def test_an_idle_mesh_costs_each_node_the_same_however_large_it_is(mesh, nodes) -> None:
    """A ping and an ack an interval, each way; the digests ride on them, and nothing else is sent."""
    net = mesh(1)
    net.boot_all(nodes, settle_s=90.0)
    net.by_kind.clear()
    net.run(120.0)
    assert set(net.by_kind) == {"Ping", "Ack"}
    assert net.by_kind.total() / nodes / 120 == pytest.approx(2.0, abs=0.01)
