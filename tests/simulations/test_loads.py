"""What is too much: of one node, and of all, over a window that slides."""

from __future__ import annotations

from simulations.level1.judge import said
from simulations.level1.world import World, ours
from simulations.loads import (
    CALM_LOAD,
    LOAD_WINDOW_S,
    NODE_STORM_LOAD,
    PER_MEMBER_LOAD,
    START_MESSAGES,
    STORM_LOAD,
    Loads,
)

NODES = 4
MOST_OF_ONE = NODE_STORM_LOAD + PER_MEMBER_LOAD * NODES


def quiet() -> World:
    """A mesh in which nothing happens but what a test does."""
    world = World(1, ours())
    for number in range(NODES):
        world.boot(f"n{number}")
    return world


def all_say(world: World, messages: float) -> None:
    for node in world.nodes.values():
        node.sent += round(messages)


def test_one_node_is_judged_by_itself() -> None:
    world = quiet()
    loads = Loads(0.0, said(world))
    world.now = LOAD_WINDOW_S
    world.nodes["n2:1"].sent += round(MOST_OF_ONE * LOAD_WINDOW_S)
    assert list(loads.look(world.now, said(world))) == []
    world.nodes["n2:1"].sent += 1
    assert list(loads.look(world.now, said(world))) == ["42.1 messages a second from n2:1"]


def test_a_moment_is_judged_as_a_part_of_a_whole_window() -> None:
    """First seen in mesh, seed 800255: what a second began with was taken for what goes on all the time."""
    world = quiet()
    loads = Loads(0.0, said(world))
    all_say(world, STORM_LOAD * LOAD_WINDOW_S)
    for now in (1.0, LOAD_WINDOW_S):
        world.now = now
        assert list(loads.look(world.now, said(world))) == []


def test_all_are_judged_by_their_mean() -> None:
    world = quiet()
    loads = Loads(0.0, said(world))
    world.now = LOAD_WINDOW_S
    all_say(world, STORM_LOAD * LOAD_WINDOW_S)
    assert list(loads.look(world.now, said(world))) == []
    all_say(world, 1)
    assert list(loads.look(world.now, said(world))) == ["20.1 messages per node and second"]


def test_a_burst_is_found_wherever_it_lies_and_is_forgotten() -> None:
    world = quiet()
    loads = Loads(0.0, said(world))
    found = []
    for tenth in range(1, 41):
        world.now = tenth * LOAD_WINDOW_S / 10
        if tenth in (8, 12):  # no more than the bound in any ten seconds that begin with a multiple of ten
            world.nodes["n0:1"].sent += round(0.6 * MOST_OF_ONE * LOAD_WINDOW_S)
        found += [tenth for _ in loads.look(world.now, said(world))]
    assert found == list(range(12, 18))


def test_a_life_of_an_address_goes_on_where_the_last_one_ended() -> None:
    world = quiet()
    loads = Loads(0.0, said(world))
    world.now = LOAD_WINDOW_S
    for _ in range(2):
        world.nodes["n1:1"].sent += round(0.6 * MOST_OF_ONE * LOAD_WINDOW_S)
        world.kill("n1:1")
        world.restart("n1:1")
    assert list(loads.look(world.now, said(world))) == ["50.4 messages a second from n1:1"]


def test_when_all_is_calm_less_is_too_much() -> None:
    world = quiet()
    loads = Loads(0.0, said(world))
    assert list(loads.end()) == []
    world.now = LOAD_WINDOW_S
    all_say(world, CALM_LOAD * LOAD_WINDOW_S)
    assert [*loads.look(world.now, said(world)), *loads.end()] == []
    world.nodes["n3:1"].sent += 1
    assert list(loads.look(world.now, said(world))) == []
    assert list(loads.end()) == ["4.0 messages per node and second", "4.1 messages a second from n3:1"]


def test_goodbyes_are_not_counted() -> None:
    """First seen in mesh of 128 nodes, seed 800006: a third of them leave at once, again and again."""
    world = World(1, ours())
    world.boot_all(NODES)
    loads, before = Loads(world.now, said(world)), {node.name: node.sent for node in world.nodes.values()}
    for address in world.nodes:
        world.leave(address)
    for node in world.nodes.values():
        assert node.sent - before[node.name] == node.goodbyes == NODES - 1
    for node in world.nodes.values():
        node.sent += 1000
        node.goodbyes += 1000
    world.now = world.now + LOAD_WINDOW_S
    assert list(loads.look(world.now, said(world))) == []


def test_what_a_start_costs_is_not_counted_in_the_mean() -> None:
    """First seen in mesh, seed 941298."""
    world = quiet()
    loads = Loads(0.0, said(world))
    world.now = LOAD_WINDOW_S
    all_say(world, STORM_LOAD * LOAD_WINDOW_S)
    world.nodes["n1:1"].sent += START_MESSAGES
    assert list(loads.look(world.now, said(world))) == ["20.4 messages per node and second"]
    world.nodes["n1:1"].running = False
    world.restart("n1:1")
    assert list(loads.look(world.now, said(world))) == []
