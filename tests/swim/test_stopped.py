"""Nodes that are slow, stopped, or slandered: nobody who is well dies of it, and nobody who slept condemns."""

from __future__ import annotations

import pytest

from varlogd.config import MembershipConfig
from varlogd.swim.directives import Refuted
from varlogd.swim.effects import Effects
from varlogd.swim.identity import Identity
from varlogd.swim.state import State, restate
from varlogd.wire.gossip import Gossip, Ping


@pytest.mark.parametrize("nodes", [3, 5, 8, 20])
def test_a_node_stopped_for_three_seconds_is_not_declared_dead(mesh, nodes) -> None:
    suspected = 0
    for seed in range(12 if nodes < 20 else 5):
        net = mesh(seed)
        names = net.boot_all(nodes, settle_s=10.0 + seed / 12)
        net.freeze("n1")
        net.run(3.0)
        suspected += bool(net.ever(State.SUSPECT, "n1"))
        net.thaw("n1", timers_first=seed % 2 == 0)
        assert net.run_until(lambda net=net, names=names: net.agree(names), 30.0) <= 2.0
        net.run(20.0)
        assert net.wrongly_dead() == []
    assert suspected > 0


def asleep_with_a_suspect(mesh, seed, nodes, timers_first):
    """n1 holds n0 suspect and has given it the last warning; n0 answers, and n1 is stopped before it hears that."""
    net = mesh(seed)
    names = net.boot_all(nodes)
    net.freeze("n0")
    net.run_until(lambda: net.state("n1", "n0") is State.SUSPECT, 10.0)
    net.run(2.2)
    assert net.state("n1", "n0") is State.SUSPECT
    net.freeze("n1")
    net.thaw("n0")
    net.run(60.0)
    net.thaw("n1", timers_first=timers_first)
    net.run(30.0)
    assert net.agree(names)
    return net.wrongly_dead(["n1"])


@pytest.mark.parametrize("timers_first", [True, False])
@pytest.mark.parametrize("nodes", [2, 5])
def test_a_node_that_wakes_condemns_nobody(mesh, nodes, timers_first) -> None:
    for seed in range(10):
        assert asleep_with_a_suspect(mesh, seed, nodes, timers_first) == []


def test_a_node_that_slept_while_all_went_well_condemns_nobody(mesh) -> None:
    for seed in range(10):
        net = mesh(seed)
        names = net.boot_all(5)
        net.run(net.rng.random())
        net.freeze("n1")
        net.run(net.rng.uniform(0.5, 60.0))
        net.thaw("n1", timers_first=seed % 2 == 0)
        net.run(30.0)
        assert net.wrongly_dead(["n1"]) == []
        assert net.agree(names)


def test_false_accusations_are_refuted(mesh) -> None:
    net = mesh(1)
    names = net.boot_all(5)
    for accused in names[1:]:
        net.tell("n0", Gossip((restate(net.core(accused)._view.mine, State.SUSPECT, "somebody"),)))
    assert net.ever(State.SUSPECT)
    assert net.run_until(lambda: net.agree(names), 10.0) <= 1.0
    assert all(net.events(name, Refuted) for name in names[1:])
    net.run(30.0)
    assert net.wrongly_dead() == []


def test_an_accuser_that_missed_the_refutation_is_told_again(mesh) -> None:
    """The first flaw of the textbook protocol: a suspicion of an old incarnation used to meet silence."""
    net = mesh(1)
    names = net.boot_all(5)
    old = net.core("n1")._view.mine
    net.tell("n1", Gossip((restate(old, State.SUSPECT, "somebody"),)))
    net.run(10.0)
    late = net.boot("late", ["n0:1"])
    net.run(5.0)
    late.core._view.put(old, net.now)  # as if it had heard nothing since
    late.ranks.clear()
    net.tell("late", Gossip((restate(old, State.SUSPECT, "somebody"),)))
    assert net.state("late", "n1") is State.SUSPECT
    assert net.run_until(lambda: net.agree([*names, "late"]), 5.0) <= 1.0
    net.run(30.0)
    assert net.wrongly_dead() == []


def test_a_suspect_that_gossip_does_not_reach_is_told_before_it_is_condemned(mesh) -> None:
    """The third flaw: nothing but the last warning gets through to n1 here."""
    net = mesh(1, MembershipConfig(probe_interval_s=4.0, suspicion_alpha=0.5))
    names = net.boot_all(6, settle_s=60.0)
    sent = net.deliver
    warned = []

    def only_bare_pings(src, to, message):
        if to != "n1:1" or src == "n1:1":
            return sent(src, to, message)
        if isinstance(message, Ping) and message.claims and message.claims[0].state == State.SUSPECT:
            warned.append(net.now)
            return sent(src, to, message)
        return None

    net.deliver = only_bare_pings
    accusation = restate(net.core("n1")._view.mine, State.SUSPECT, "somebody")
    start = net.now
    net.tell("n0", Gossip((accusation,)))
    net.run_until(lambda: bool(net.events("n1", Refuted)), 60.0)
    assert warned and net.now - start <= 12.0
    net.deliver = sent
    net.run(60.0)
    assert net.agree(names)
    assert net.wrongly_dead() == []


def test_broken_links_between_healthy_nodes_harm_nobody(mesh) -> None:
    net = mesh(1)
    names = net.boot_all(5)
    for _ in range(200):
        net.break_link(*net.rng.sample(names, 2))
        net.run(0.1)
    assert net.changes() == []


def test_a_lossy_network_kills_nobody(mesh) -> None:
    net = mesh(1)
    names = net.boot_all(8)
    net.loss = 0.1
    net.run(300.0)
    assert net.wrongly_dead() == []
    net.loss = 0.0
    net.run(30.0)
    assert net.agree(names)


# Faults planted in the core: the checks above must find each


def frozen_run(mesh):
    net = mesh(3)
    net.boot_all(5)
    net.freeze("n1")
    net.run(3.0)
    net.thaw("n1")
    net.run(30.0)
    return net.wrongly_dead()


def woken_run(mesh):
    return [pair for seed in range(10) for pair in asleep_with_a_suspect(mesh, seed, 5, timers_first=True)]


@pytest.mark.parametrize(
    ("owner", "method", "fault", "run"),
    [
        (Identity, "hear", lambda self, claim, src: None, frozen_run),
        (Effects, "enter", lambda self, now: setattr(self, "now", now), woken_run),
    ],
    ids=["no refutation", "no sense of sleep"],
)
def test_a_planted_fault_is_found(mesh, monkeypatch, owner, method, fault, run) -> None:
    assert run(mesh) == []
    monkeypatch.setattr(owner, method, fault)
    assert run(mesh) != []
