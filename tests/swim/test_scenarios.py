"""Whole meshes through what happens to meshes; and faults planted in the core, which these must find."""

from __future__ import annotations

import pytest

from varlogd.config import MembershipConfig
from varlogd.swim.beliefs import Beliefs
from varlogd.swim.directives import CutOff, JoinFailing, NameConflict, Reconnected, Refuted
from varlogd.swim.effects import Effects
from varlogd.swim.exchange import Exchange
from varlogd.swim.identity import Identity
from varlogd.swim.state import State, restate
from varlogd.swim.suspicion import Suspicions
from varlogd.wire.gossip import Delta, Gossip, Ping, PushPull

DETECTION_S = {2: 2.8, 3: 2.8, 5: 2.8, 20: 3.6}
"""From kill -9 until all survivors know, by the number of nodes, when the kernel resets connections."""

SILENT_DETECTION_S = {3: 6.0, 5: 12.0, 20: 12.0}
"""The same when nothing is heard of it, as when a host loses power. (The other of two nodes is then cut off.)"""

HEAL_S = 15.0


def survivors_know(net, names, gone, limit_s=60.0):
    """Seconds until every survivor holds every one that is gone dead."""
    rest = [name for name in names if name not in gone]
    took = net.run_until(lambda: net.agree(rest, State.DEAD, gone), limit_s)
    assert net.agree(rest, State.DEAD, gone)
    return took


def wrongly_dead(net, gone=()):
    return [(observer, name) for observer, name in net.ever(State.DEAD) if name not in gone]


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
        assert survivors_know(net, names, ["n1"]) <= DETECTION_S[nodes]
        net.run(20.0)
        assert wrongly_dead(net, ["n1"]) == []


@pytest.mark.parametrize("nodes", sorted(SILENT_DETECTION_S))
def test_a_silent_crash_is_known_to_all_in_time(mesh, nodes) -> None:
    for seed in range(10):
        net = mesh(seed, hints=False)
        names = net.boot_all(nodes)
        net.kill("n1")
        assert survivors_know(net, names, ["n1"]) <= SILENT_DETECTION_S[nodes]
        net.run(20.0)
        assert wrongly_dead(net, ["n1"]) == []


@pytest.mark.parametrize(("nodes", "gone", "most_s"), [(5, 2, DETECTION_S[5]), (5, 3, DETECTION_S[5]), (20, 10, 4.4)])
def test_several_that_crash_together_are_known_nearly_as_fast(mesh, nodes, gone, most_s) -> None:
    for seed in range(5):
        net = mesh(seed)
        names = net.boot_all(nodes)
        for name in names[1 : gone + 1]:
            net.kill(name)
        assert survivors_know(net, names, names[1 : gone + 1]) <= most_s


def test_the_last_survivor_learns_it_too(mesh) -> None:
    net = mesh(1)
    names = net.boot_all(5)
    for name in names[1:]:
        net.kill(name)
    assert survivors_know(net, names, names[1:]) <= 20.0


def test_a_restarted_node_is_not_shadowed_by_its_death(mesh) -> None:
    net = mesh(1)
    names = net.boot_all(5)
    net.kill("n1")
    survivors_know(net, names, ["n1"])
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
    assert wrongly_dead(net) == []


def test_a_restart_with_a_clock_that_went_back(mesh) -> None:
    net = mesh(1)
    names = net.boot_all(5)
    net.kill("n1")
    survivors_know(net, names, ["n1"])
    net.boot("n1", ["n0:1"], epoch=0)
    assert net.run_until(lambda: net.agree(names), 30.0) < 2.0
    assert net.core("n0").members["n1"].epoch == net.core("n1").me.epoch == 2


def test_two_nodes_with_one_name_do_not_fight(mesh) -> None:
    net = mesh(1)
    names = net.boot_all(4)
    twin = net.boot("n1", ["n0:1"], epoch=7, address="twin:1")
    net.run(120.0)
    assert {net.core(name).members["n1"].address for name in names if name != "n1"} == {"twin:1"}
    assert {net.core(name).members["n1"].epoch for name in names if name != "n1"} == {7}
    assert {net.core(name).members["n1"].metadata.twin for name in names if name != "n1"} == {"n1:1"}
    assert net.core("n1").me.metadata.twin == "twin:1"
    assert net.core("n1").me.epoch == 1 and twin.core.me.epoch == 7
    told = net.events("n1", NameConflict)
    assert told and set(told) == {NameConflict("twin:1")} and len(told) <= 3
    told = [event for _, event in twin.events if isinstance(event, NameConflict)]
    assert told and set(told) == {NameConflict("n1:1")} and len(told) <= 3
    assert (net.core("n1").conflicts, twin.core.conflicts) == (("twin:1",), ("n1:1",))
    net.kill("n1")
    net.run(240.0)
    assert twin.core.conflicts == ()
    assert net.agree(["n0", "n2", "n3"]) and twin.core.me.epoch == 7


def test_a_conflict_of_names_is_known_to_all_soon(mesh) -> None:
    net = mesh(1)
    names = net.boot_all(8)
    net.boot("n1", ["n0:1"], epoch=7, address="twin:1")
    others = [name for name in names if name != "n1"]

    def known() -> bool:
        return all(net.core(name).members["n1"].metadata.twin == "n1:1" for name in others)

    assert net.run_until(known, 60.0) < 4.0


@pytest.mark.parametrize(("end", "within_s"), [("leave", 3.0), ("kill", 12.0)])
def test_who_was_shadowed_takes_the_place_of_a_twin_that_is_gone(mesh, end, within_s) -> None:
    net = mesh(1)
    names = net.boot_all(8)
    net.boot("n1", ["n0:1"], epoch=7, address="twin:1")
    net.run(60.0)
    getattr(net, end)("twin")

    def succeeded() -> bool:
        held = [net.core(name).members["n1"] for name in names]
        return all((member.address, member.state) == ("n1:1", State.ALIVE) for member in held)

    assert net.run_until(succeeded, 60.0) < within_s
    net.run(60.0)
    assert net.agree(names) and {net.core(name).members["n1"].metadata.twin for name in names} == {""}


def test_of_two_that_were_shadowed_one_takes_the_place_and_the_other_is_still_known_of(mesh) -> None:
    """Both raised their epochs to the same, and one was not heard of any more."""
    net = mesh(1)
    names = net.boot_all(4)
    second = net.boot("n1", ["n0:1"], epoch=7, address="second:1")
    third = net.boot("n1", ["n0:1"], epoch=8_000, address="third:1")
    net.run(30.0)
    net.leave("third")
    net.run(120.0)
    heirs = {net.core("n1").me.epoch, second.core.me.epoch}
    assert len(heirs) == 2 and min(heirs) > third.core.me.epoch
    for name in (name for name in names if name != "n1"):
        held = net.core(name).members["n1"]
        assert (held.epoch, held.state) == (max(heirs), State.ALIVE)
        assert {held.address, held.metadata.twin} == {"n1:1", "second:1"}


# Nodes that are slow, stopped, or slandered


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
        assert wrongly_dead(net) == []
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
    return wrongly_dead(net, ["n1"])


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
        assert wrongly_dead(net, ["n1"]) == []
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
    assert wrongly_dead(net) == []


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
    assert wrongly_dead(net) == []


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
    assert wrongly_dead(net) == []


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
    assert wrongly_dead(net) == []
    net.loss = 0.0
    net.run(30.0)
    assert net.agree(names)


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
        assert [pair for pair in wrongly_dead(net, few) if pair[0] in many] == []


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
    assert wrongly_dead(net) == []
    net.boot("n1", ["n0:1"], epoch=2)
    assert net.run_until(lambda: net.agree(["n0"], State.DEAD, names[2:]), 60.0) <= 30.0
    assert not net.core("n0").cut_off


def test_when_all_others_are_killed_their_hosts_say_so_and_nobody_is_cut_off(mesh) -> None:
    net = mesh(1)
    names = net.boot_all(2)
    net.kill("n1")
    assert survivors_know(net, names, ["n1"]) <= DETECTION_S[2]
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
    assert wrongly_dead(net) == []


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


# Faults planted in the core: the checks above must find each


def frozen_run(mesh):
    net = mesh(3)
    net.boot_all(5)
    net.freeze("n1")
    net.run(3.0)
    net.thaw("n1")
    net.run(30.0)
    return wrongly_dead(net)


def woken_run(mesh):
    return [pair for seed in range(10) for pair in asleep_with_a_suspect(mesh, seed, 5, timers_first=True)]


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
        wrong += [pair for pair in wrongly_dead(net, few) if pair[0] not in few]
    return wrong


def alone_run(mesh):
    net = mesh(3)
    names = net.boot_all(6)
    net.split(["n1"], [name for name in names if name != "n1"])
    net.run(60.0)
    return wrongly_dead(net, ["n1"])


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
        (Identity, "hear", lambda self, claim, src: None, frozen_run),
        (Effects, "enter", lambda self, now: setattr(self, "now", now), woken_run),
        (Beliefs, "_doubts", lambda self, claim, held: False, lonely_run),
        (Exchange, "_call_absent", lambda self: None, split_run),
        (Suspicions, "_step", lambda self, suspicion: self._condemn(suspicion.claim), alone_run),
    ],
    ids=["no refutation", "no sense of sleep", "every death believed", "the dead never called", "deaf, and a judge"],
)
def test_a_planted_fault_is_found(mesh, monkeypatch, owner, method, fault, run) -> None:
    assert run(mesh) == []
    monkeypatch.setattr(owner, method, fault)
    assert run(mesh) != []


@pytest.mark.parametrize("nodes", [5, 40])
def test_an_idle_mesh_costs_each_node_the_same_however_large_it_is(mesh, nodes) -> None:
    """A ping and an ack an interval, each way; the digests ride on them, and nothing else is sent."""
    net = mesh(1)
    net.boot_all(nodes, settle_s=90.0)
    net.by_kind.clear()
    net.run(120.0)
    assert set(net.by_kind) == {"Ping", "Ack"}
    assert net.by_kind.total() / nodes / 120 == pytest.approx(2.0, abs=0.01)
