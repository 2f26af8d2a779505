"""Meshes that are split and healed, and nodes that hear nobody at all: they say so, and bury nobody."""

from __future__ import annotations

import pytest

from varlogd.config import MembershipConfig
from varlogd.swim.beliefs import Beliefs
from varlogd.swim.directives import CutOff, Reconnected
from varlogd.swim.exchange import Exchange
from varlogd.swim.state import State
from varlogd.swim.suspicion import Suspicions

HEAL_S = 15.0


# Splits


@pytest.mark.parametrize(("nodes", "split_s"), [(4, 30.0), (10, 120.0), (20, 30.0), (6, 1200.0)])
def test_a_split_in_half_heals(mesh, nodes, split_s) -> None:
    for seed in range(3):
        net = mesh(seed)
        names = net.boot_all(nodes)
        left, right = names[: nodes // 2], names[nodes // 2 :]
        net.split(left, right)
        net.run(split_s)
        assert net.agree(left, State.DEAD, right) and net.agree(right, State.DEAD, left)
        assert net.agree(left) and net.agree(right)
        net.heal()
        assert net.run_until(lambda net=net, names=names: net.agree(names), 120.0) <= HEAL_S
        net.run(60.0)
        assert net.agree(names)


def test_when_the_dead_are_forgotten_a_split_heals_through_the_seeds(mesh) -> None:
    net = mesh(1, MembershipConfig(dead_remembered_s=60.0))
    names = net.boot_all(10)
    left, right = names[:5], names[5:]  # of the right, all have a seed on the left
    net.split(left, right)
    net.run(300.0)
    assert {state for name in left for state in net.view(name).values()} == {State.ALIVE}
    assert [set(net.view(name)) for name in right] == [set(right)] * 5
    net.heal()
    assert net.run_until(lambda: net.agree(names), 120.0) <= HEAL_S


def come_up_in_pieces(mesh, split_s, **config):
    """Four that remember each other, and have no seeds, come up in a split, which heals."""
    net = mesh(1, MembershipConfig(**config))
    left, right = ["n0", "n1"], ["n2", "n3"]
    net.split(left, right)
    for name in (*left, *right):
        net.boot(name, known=[f"{other}:1" for other in (*left, *right) if other != name])
    net.run(split_s)
    assert net.agree(left) and net.agree(right) and net.state("n0", "n2") is None
    net.heal()
    net.run_until(lambda: net.agree([*left, *right]), 60.0)
    return net.agree([*left, *right])


def test_pieces_that_came_up_in_a_split_without_seeds_meet(mesh) -> None:
    assert come_up_in_pieces(mesh, 300.0)
    assert not come_up_in_pieces(mesh, 300.0, dead_remembered_s=60.0)


def test_the_return_of_a_minority_that_buried_everybody_buries_nobody(mesh) -> None:
    """The second flaw: what two held dead while they were on their own must not spread."""
    for seed in range(10):
        net = mesh(seed)
        names = net.boot_all(6)
        few, many = ["n1", "n2"], ["n0", "n3", "n4", "n5"]
        net.split(few, many)
        net.run(15.0 + seed)
        assert net.agree(few, State.DEAD, many)
        net.heal()
        assert net.run_until(lambda net=net, names=names: net.agree(names), 60.0) <= HEAL_S
        net.run(30.0)
        assert [pair for pair in net.wrongly_dead(few) if pair[0] in many] == []


# Cut off


def cut_off_and_back(net, alone, others, away_s):
    """One node loses its network for so long; afterwards all is as it was. Returns how long it took to say so."""
    net.split([alone], others)
    took_s = net.run_until(lambda: net.core(alone).cut_off, 30.0)
    assert net.core(alone).cut_off and not any(net.core(name).cut_off for name in others[1:])
    net.run(away_s)
    assert net.ever(State.DEAD) == [(other, alone) for other, _ in net.ever(State.DEAD)]
    net.heal()
    assert net.run_until(lambda: net.agree([alone, *others]), 60.0) <= HEAL_S
    net.run(60.0)
    assert net.agree([alone, *others]) and not net.core(alone).cut_off
    assert [observer for observer, _ in net.ever(State.DEAD) if observer == alone] == []
    (cut,), (back,) = net.events(alone, CutOff), net.events(alone, Reconnected)
    assert back.silent_s >= cut.silent_s >= 3.0
    return took_s


@pytest.mark.parametrize(
    ("nodes", "away_s"), [(3, 0.0), (6, 0.0), (20, 0.0), (3, 40.0), (6, 40.0), (20, 40.0), (3, 600.0), (6, 600.0)]
)
def test_a_node_that_hears_nobody_says_so_and_buries_nobody(mesh, nodes, away_s) -> None:
    for seed in range(3):
        net = mesh(seed)
        names = net.boot_all(nodes)
        assert cut_off_and_back(net, "n1", [name for name in names if name != "n1"], away_s) <= 5.0


@pytest.mark.parametrize("hints", [True, False])
def test_of_two_nodes_without_a_network_each_is_cut_off(mesh, hints) -> None:
    for seed in range(5):
        net = mesh(seed, hints=hints)
        names = net.boot_all(2)
        net.split(["n0"], ["n1"])
        net.run(120.0)
        assert net.core("n0").cut_off and net.core("n1").cut_off
        assert net.state("n0", "n1") is net.state("n1", "n0") is State.SUSPECT
        net.heal()
        assert net.run_until(lambda net=net, names=names: net.agree(names), 60.0) <= HEAL_S
        assert net.ever(State.DEAD) == []


def test_when_a_whole_side_loses_power_the_last_one_cannot_tell_it_from_being_cut_off(mesh) -> None:
    net = mesh(1, hints=False)
    names = net.boot_all(5)
    for name in names[1:]:
        net.kill(name)
    net.run(300.0)
    assert net.core("n0").cut_off
    assert net.wrongly_dead() == []
    net.boot("n1", ["n0:1"], epoch=2)
    assert net.run_until(lambda: net.agree(["n0"], State.DEAD, names[2:]), 60.0) <= 30.0
    assert not net.core("n0").cut_off


def test_when_all_others_are_killed_their_hosts_say_so_and_nobody_is_cut_off(mesh) -> None:
    net = mesh(1)
    names = net.boot_all(2)
    net.kill("n1")
    assert net.survivors_know(names, ["n1"]) <= 2.8
    net.run(60.0)
    assert not net.core("n0").cut_off
    assert net.events("n0", CutOff) == []


def test_two_on_their_side_of_a_split_are_not_cut_off(mesh) -> None:
    net = mesh(1)
    names = net.boot_all(6)
    net.split(names[:2], names[2:])
    net.run(60.0)
    assert net.agree(names[:2], State.DEAD, names[2:])
    assert not any(net.events(name, CutOff) for name in names)


def test_a_node_that_was_stopped_was_not_cut_off(mesh) -> None:
    for seed in range(5):
        net = mesh(seed)
        names = net.boot_all(4)
        net.freeze("n1")
        net.run(30.0)
        net.thaw("n1", timers_first=seed % 2 == 0)
        net.run(60.0)
        assert net.agree(names)
        assert net.events("n1", CutOff) == []


def test_a_split_shorter_than_a_suspicion_leaves_no_trace(mesh) -> None:
    net = mesh(1)
    names = net.boot_all(10)
    net.split(names[:5], names[5:])
    net.run(2.0)
    net.heal()
    net.run(30.0)
    assert net.agree(names)
    assert net.wrongly_dead() == []


# Faults planted in the core: the checks above must find each


def lonely_run(mesh):
    wrong = []
    for seed in range(10):
        net = mesh(seed)
        names = net.boot_all(6)
        few = ["n1", "n2"]
        net.split(few, [name for name in names if name not in few])
        net.run(15.0 + seed)
        net.heal()
        net.run(60.0)
        wrong += [pair for pair in net.wrongly_dead(few) if pair[0] not in few]
    return wrong


def alone_run(mesh):
    net = mesh(3)
    names = net.boot_all(6)
    net.split(["n1"], [name for name in names if name != "n1"])
    net.run(60.0)
    return net.wrongly_dead(["n1"])


def split_run(mesh):
    net = mesh(3)
    names = net.boot_all(4)
    net.split(names[:2], names[2:])
    net.run(600.0)
    net.heal()
    net.run(60.0)
    return [] if net.agree(names) else ["still split"]


@pytest.mark.parametrize(
    ("owner", "method", "fault", "run"),
    [
        (Beliefs, "_doubts", lambda self, claim, held: False, lonely_run),
        (Exchange, "_call_absent", lambda self: None, split_run),
        (Suspicions, "_step", lambda self, suspicion: self._condemn(suspicion.claim), alone_run),
    ],
    ids=["every death believed", "the dead never called", "deaf, and a judge"],
)
def test_a_planted_fault_is_found(mesh, monkeypatch, owner, method, fault, run) -> None:
    assert run(mesh) == []
    monkeypatch.setattr(owner, method, fault)
    assert run(mesh) != []
