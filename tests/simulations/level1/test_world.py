"""Level 1: what the world does to processes, and that one seed gives one trace."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulations.level1.node import BACKLOG_SERVICE_S
from simulations.level1.world import TOLD_NODES_MAX, Mode, World, ours
from varlogd.swim.directives import Event, MemberChanged, Refuted
from varlogd.swim.state import State
from varlogd.wire.gossip import Ping

ROOT = Path(__file__).parents[3]
MODES: tuple[Mode, ...] = ("datagram", "stream")


def mesh(nodes: int = 6, mode: Mode = "stream", seed: int = 1) -> World:
    world = World(seed, ours(), mode=mode)
    world.boot_all(nodes)
    return world


def held(world: World, at: str, of: str) -> State | None:
    member = world.nodes[f"{at}:1"].core.members.get(of)
    return None if member is None else member.state


def told(world: World, kind: type[Event]) -> list[tuple[str, Event]]:
    found: list[tuple[str, Event]] = []
    world.watchers.append(lambda _at, node, event: found.append((node.name, event)) if type(event) is kind else None)
    return found


@pytest.mark.parametrize("mode", MODES)
def test_a_mesh_that_was_introduced_agrees_and_one_that_was_not_finds_itself(mode: Mode) -> None:
    for settled in (True, False):
        world = World(3, ours(), mode=mode)
        world.boot_all(8, settled=settled)
        world.run(5)
        for node in world.nodes.values():
            assert {member.state for member in node.core.members.values()} == {State.ALIVE}
            assert len(node.core.members) == 8


def test_a_large_mesh_begins_settled_and_finds_a_crash() -> None:
    nodes = TOLD_NODES_MAX + 1
    world = World(3, ours(), mode="stream", traced=False)
    world.boot_all(nodes, settle_s=2.0)
    cores = [node.core for node in world.nodes.values()]
    assert {len(core.members) for core in cores} == {nodes}
    found = told(world, MemberChanged)
    world.run(1.0)
    assert found == []
    world.kill("n7:1")
    world.run(12.0)
    assert {held(world, core.me.name, "n7") for core in cores if core.me.name != "n7"} == {State.DEAD}


@pytest.mark.parametrize("mode", MODES)
def test_a_crash_is_known_and_a_restart_too(mode: Mode) -> None:
    world = mesh(mode=mode)
    world.power_off("n2:1")
    world.run(15)
    assert {held(world, at, "n2") for at in ("n0", "n1", "n3")} == {State.DEAD}
    world.restart("n2:1", ["n0:1"])
    world.run(10)
    assert {held(world, at, "n2") for at in ("n0", "n1", "n3")} == {State.ALIVE}
    assert world.nodes["n2:1"].boot == 2
    assert world.nodes["n0:1"].core.members["n2"].epoch == 2


def test_a_kill_is_known_sooner_over_streams_than_a_power_cut() -> None:
    world = mesh()
    died = told(world, MemberChanged)
    at = world.now
    world.kill("n2:1")
    took_s = world.run_until(lambda: any(e.member.state is State.DEAD for _, e in died), 20)  # type: ignore[attr-defined]
    assert took_s < 4
    assert world.now == at + took_s


def test_a_leaver_has_left_and_is_never_dead() -> None:
    world = mesh()
    changes = told(world, MemberChanged)
    world.leave("n2:1")
    world.run(20)
    assert held(world, "n0", "n2") is State.LEFT
    assert not any(event.member.state is State.DEAD for _, event in changes)  # type: ignore[attr-defined]
    assert not world.nodes["n2:1"].running


def test_a_short_freeze_is_refuted() -> None:
    world = mesh()
    refuted = told(world, Refuted)
    world.freeze("n2:1")
    world.run(3)
    world.thaw("n2:1")
    world.run(10)
    assert {held(world, at, "n2") for at in ("n0", "n1", "n3")} == {State.ALIVE}
    assert {name for name, _ in refuted} <= {"n2"}


def test_a_blocked_process_runs_its_timers_and_drains_at_a_finite_speed() -> None:
    world = mesh()
    world.block("n2:1")
    node = world.nodes["n2:1"]
    received, sent = node.received, node.sent
    world.run(6)
    assert node.received == received
    assert node.sent > sent
    waiting = len(node.inbox)
    assert waiting > 5
    world.unblock("n2:1")
    world.run(BACKLOG_SERVICE_S * 3.5)
    assert 0 < node.received - received <= 5


def test_a_slow_process_answers_late() -> None:
    world = mesh()
    slow = world.nodes["n2:1"]
    slow.service_s = 0.2
    before = slow.received
    for number in range(3):
        world.arrive("n2:1", "n0:1", Ping(number, "n2"))
    world.run(0.1)
    assert slow.received - before == 1
    world.run(0.2)
    assert slow.received - before == 2


def test_a_clock_that_jumps_brings_timers_forward_and_kills_nobody() -> None:
    world = mesh()
    changes = told(world, MemberChanged)
    world.jump_clock("n2:1", 3600.0)
    world.run(30)
    dead = [event for _, event in changes if event.member.state is State.DEAD]  # type: ignore[attr-defined]
    assert dead == []


def test_faults_that_overlap_end_one_by_one() -> None:
    world = mesh()
    for _ in range(2):
        world.freeze("n1:1")
        world.block("n2:1")
    world.thaw("n1:1")
    world.unblock("n2:1")
    assert world.nodes["n1:1"].frozen == 1
    assert world.nodes["n2:1"].blocked == 1


TRACE = """
from simulations.level1.world import World, ours
world = World({seed}, ours(), mode={mode!r})
world.boot_all(70, settled=False, settle_s=0)
world.run(3)
world.power_off("n5:1"); world.freeze("n6:1"); world.network.loss = 0.1
world.run(6)
world.thaw("n6:1")
world.run(2)
print(world.digest)
"""


@pytest.mark.parametrize("mode", MODES)
def test_the_same_seed_gives_the_same_trace_in_any_process(mode: Mode) -> None:
    def trace(hash_seed: str, seed: int = 1) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", TRACE.format(seed=seed, mode=mode)]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    assert trace("1") == trace("2")
    assert trace("1") != trace("1", seed=2)
