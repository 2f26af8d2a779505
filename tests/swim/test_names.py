"""Two live nodes of one name, and three: all are told, none fights, and who was shadowed takes a free place."""

from __future__ import annotations

import pytest

from varlogd.swim.directives import NameConflict
from varlogd.swim.state import State


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

    assert net.run_until(known, 60.0) < 0.5


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
