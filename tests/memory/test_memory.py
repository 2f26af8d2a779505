"""What a node remembers, through restarts, power failures and disks that fail; the daemon with it."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import pytest
import trio
import trio.testing

from simulations.disk import Handle, SimulatedDisk
from tests.daemons import Mesh, until
from tests.memory.test_remembered import member
from varlogd import client
from varlogd.config import Config
from varlogd.daemon import run
from varlogd.errors import Refused, StateDirTaken
from varlogd.memory.disk import Directory
from varlogd.memory.memory import DISK_WAIT_S, FILE, FILE_BAD, FILE_NEW, FRESH_S, SAVE_INTERVAL_S, Memory
from varlogd.memory.remembered import Known, Remembered, from_bytes, to_bytes
from varlogd.mesh.doubt import UNHEARD
from varlogd.swim.state import Member, State
from varlogd.wire.query import Ledger, Matcher, Query

T = TypeVar("T")

DAY_S = 86_400.0
US = 1_000_000


class Inline:
    """A runner without threads. The steps from ``hang_at`` on never end, those from ``refuse_at`` on are refused."""

    def __init__(self) -> None:
        self.steps = 0
        self.hang_at = self.refuse_at = 1 << 30

    def check(self) -> None: ...

    async def run(self, step: Callable[[], T], closing: ExitStack | None = None) -> T:
        self.steps += 1
        if self.steps >= self.hang_at:
            await trio.sleep_forever()
        if self.steps >= self.refuse_at:
            raise Refused("busy")
        await trio.lowlevel.checkpoint()
        return step()


class Node:
    """Boots of one node over one disk."""

    def __init__(self) -> None:
        self.disk = SimulatedDisk()
        self.clock = 1000
        self.runner = Inline()
        self.view: dict[str, Member] = {}

    def boot(self, name: str = "me") -> Memory:
        return Memory(name, self.disk.directory(""), self.runner, lambda: self.clock, DAY_S)

    def stored(self, name: str = "me") -> Remembered:
        return from_bytes(self.disk.names[FILE].data, name)

    def know(self, memory: Memory, *names: str) -> None:
        self.view = {"me": member("me", epoch=memory.epoch)} | {name: member(name) for name in names}
        memory.note()


async def test_the_epoch_is_on_disk_before_the_node_runs_and_rises_with_each_boot() -> None:
    node = Node()
    epochs = []
    for clock in (1000, 2000, 500, 500):
        node.clock = clock
        memory = node.boot()
        async with memory.kept():
            epochs.append(memory.epoch)
            assert node.disk.synced_names[FILE].synced == node.disk.names[FILE].data
            assert node.stored().epoch == memory.epoch
    assert epochs == [1000, 2000, 2001, 2002]


async def test_a_clock_that_went_back_is_told(caplog: pytest.LogCaptureFixture) -> None:
    node = Node()
    for clock in (1000, 999):
        assert "the clock went back" not in caplog.text
        node.clock = clock
        async with node.boot().kept():
            pass
    assert "the clock went back" in caplog.text


async def test_members_are_written_now_and_then_and_at_the_end(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    node = Node()
    memory = node.boot()
    async with memory.kept():
        node.know(memory)
        nursery.start_soon(memory.keep, lambda: node.view)
        await trio.testing.wait_all_tasks_blocked()
        node.know(memory, "a")
        await trio.sleep(SAVE_INTERVAL_S / 2)
        node.know(memory, "a", "b")
        assert node.stored().members == (), "at most every so often"
        await trio.sleep(SAVE_INTERVAL_S)
        assert {known.name for known in node.stored().members} == {"a", "b"}
        steps = node.runner.steps
        memory.note()
        await trio.sleep(3 * SAVE_INTERVAL_S)
        assert node.runner.steps == steps, "nothing new, nothing written"
        nursery.cancel_scope.cancel()
        node.know(memory, "a", "c")
    assert {known.name for known in node.stored().members} == {"a", "c"}
    memory = node.boot()
    async with memory.kept():
        assert set(memory.addresses) == {"a:1", "c:1"}


async def test_who_is_not_heard_of_after_a_restart_is_known_to_be_missing_for_a_day() -> None:
    node = Node()
    node.clock = 1_000_000 * US
    memory = node.boot()
    async with memory.kept(), trio.open_nursery() as nursery:
        nursery.start_soon(memory.keep, lambda: node.view)
        node.know(memory, "a", "b", "left")
        node.view["left"] = member("left", State.LEFT)
        node.view["dead"] = member("dead", State.DEAD, since=trio.current_time() - 90_000)
        assert memory.unheard(node.view) == []
        nursery.cancel_scope.cancel()
    node.clock += 3_000 * US
    for clock_back_s in (0, 100, 200):  # and later boots that hear of nobody do not put it off
        memory = node.boot()
        node.view = {"me": member("me")}
        async with memory.kept():
            assert sorted(memory.unheard(node.view)) == ["a", "b"]
            node.clock -= clock_back_s * US
            assert sorted(memory.unheard(node.view)) == ["a", "b"]
            node.clock += (clock_back_s + 86_398) * US
            assert memory.unheard(node.view | {"a": member("a", State.DEAD)}) == ["b"]
            assert memory.unheard(node.view) == ["a", "b"]
            node.clock += 3 * US
            assert memory.unheard(node.view) == []
            node.clock -= 86_401 * US


async def test_what_was_written_with_a_clock_at_its_beginning_is_read() -> None:
    node = Node()
    memory = node.boot()
    async with memory.kept(), trio.open_nursery() as nursery:
        nursery.start_soon(memory.keep, lambda: node.view)
        node.know(memory)
        node.view["dead"] = member("dead", State.DEAD, since=trio.current_time() - 3600)
        nursery.cancel_scope.cancel()
    assert [(known.name, known.lost_s) for known in node.stored().members] == [("dead", 0)]


async def test_who_was_lost_while_a_node_was_down_for_long_is_not_missed(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """Those that are up have forgotten the dead, so nobody can tell; but the file says that it is a day old."""
    node = Node()
    memory = node.boot()
    async with memory.kept():
        nursery.start_soon(memory.keep, lambda: node.view)
        for _ in range(5):
            node.know(memory, "a")
            node.clock += FRESH_S * US
            await trio.sleep(FRESH_S)
        node.disk.cut_off()  # it is killed
    assert 0 <= node.stored().members[0].lost_s - node.clock // US <= 2 * FRESH_S
    node.clock += (86_400 - FRESH_S) * US
    memory = node.boot()
    async with memory.kept():
        assert memory.unheard({}) == ["a"]
    node.clock += 3 * FRESH_S * US
    memory = node.boot()
    async with memory.kept():
        assert (memory.unheard({}), memory.addresses) == ([], ("a:1",))
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("steps", range(12))
async def test_power_may_go_at_any_step(steps: int) -> None:
    node = Node()
    async with node.boot().kept():
        pass
    node.clock = 2000
    node.runner.steps, node.runner.refuse_at = 0, steps + 1
    memory = node.boot()
    async with memory.kept():
        pass
    node.disk.cut_off()
    node.disk.lose_power()
    assert node.stored().epoch in (1000, 2000), "the old or the new, never half of one"
    node.runner.refuse_at = 1 << 30
    node.clock = 10
    memory = node.boot()
    async with memory.kept():
        assert memory.epoch in (1001, 2001)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x7fELF", to_bytes(Remembered("me", 5000, (Known("a", "a:1"),)))[:-9], to_bytes(Remembered("b", 5000))],
)
async def test_what_cannot_be_used_is_set_aside_and_told(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    node = Node()
    handle = node.disk.directory("")
    handle.write(FILE, data)
    memory = node.boot()
    async with memory.kept():
        assert (memory.epoch, memory.addresses) == (1000, ())
        assert node.stored().epoch == 1000
        assert node.disk.names[FILE_BAD].data == data
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "set aside" in record.getMessage()


async def test_a_full_disk_is_told_once_and_written_when_there_is_room(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    node = Node()
    async with node.boot().kept():
        pass
    before = node.disk.names[FILE].data
    node.disk.fillers = 1
    node.clock = 2000
    memory = node.boot()
    async with memory.kept():
        assert memory.epoch == 2000
        node.know(memory, "a")
        nursery.start_soon(memory.keep, lambda: node.view)
        await trio.sleep(5 * SAVE_INTERVAL_S)
        assert node.disk.names[FILE].data == before
        assert caplog.text.count("cannot be written") == 1
        assert "no space left" in str([vars(record).get("fields") for record in caplog.records])
        node.disk.fillers = 0
        await trio.sleep(SAVE_INTERVAL_S)
        assert [known.name for known in node.stored().members] == ["a"]
        assert "can be written again" in caplog.text
        nursery.cancel_scope.cancel()


async def test_a_disk_that_cannot_be_used_is_told_and_the_node_runs(caplog: pytest.LogCaptureFixture) -> None:
    class ReadOnly(Handle):
        def lock(self) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

    memory = Memory("me", ReadOnly(SimulatedDisk()), Inline(), lambda: 7, DAY_S)
    async with memory.kept():
        assert (memory.epoch, memory.addresses) == (7, ())
    assert "cannot be used" in caplog.text


@pytest.mark.parametrize("step", range(1, 8))
async def test_a_disk_that_hangs_holds_up_a_start_and_an_end_for_a_bounded_time(
    step: int, autojump_clock: trio.testing.MockClock
) -> None:
    node = Node()
    async with node.boot().kept():
        pass
    node.runner.steps, node.runner.hang_at = 0, step
    memory = node.boot()
    async with memory.kept():
        assert memory.epoch >= 1000
    assert trio.current_time() <= 2 * DISK_WAIT_S


async def test_without_a_directory_it_says_what_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    memory = Memory("me", None, Inline(), lambda: 7, DAY_S)
    async with memory.kept():
        assert (memory.epoch, memory.addresses) == (7, ())
        await memory.keep(dict)
    assert "only the seeds are called" in caplog.text


async def test_two_that_run_cannot_share_one(tmp_path: Path) -> None:
    first, second = (Memory("me", Directory(str(tmp_path)), Inline(), lambda: 7, DAY_S) for _ in range(2))
    async with first.kept():
        with pytest.raises(StateDirTaken, match="another varlogd"):
            async with second.kept():
                raise AssertionError
    async with Memory("me", Directory(str(tmp_path)), Inline(), lambda: 7, DAY_S).kept():
        assert (tmp_path / FILE).exists()
        assert not (tmp_path / FILE_NEW).exists()


async def test_a_daemon_finds_the_mesh_again_without_its_seed(mesh: Mesh, tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    for name in "ab":
        await mesh.boot(name)
    c = await mesh.boot("c", state_dir=state)
    await mesh.formed()
    epoch = c.daemon.members()["c"].epoch
    for name in "ca":
        mesh.hosts[name].daemon.stop()
        await mesh.hosts[name].ended.wait()
    c = await mesh.boot("c", join=[mesh.hosts["a"].address], state_dir=state)
    await until(lambda: c.sees("b") == mesh.hosts["b"].sees("c") == "alive")
    assert c.daemon.joined()
    assert c.daemon.members()["c"].epoch > epoch


async def test_after_a_restart_answers_are_partial_until_all_that_were_known_are_heard_of(
    mesh: Mesh, tmp_path: Path
) -> None:
    """All hosts lost power, and c is not up yet: nobody tells of it."""
    a = await mesh.boot("a", state_dir=str(tmp_path / "a"))
    for name in "bc":
        await mesh.boot(name)
    await mesh.formed()
    for host in list(mesh.hosts.values()):
        host.daemon.gossip.leave = nothing  # type: ignore[method-assign]
        host.daemon.stop()
        await host.ended.wait()
    mesh.hosts.clear()
    a = await mesh.boot("a", state_dir=str(tmp_path / "a"))
    b = await mesh.boot("b")
    await until(lambda: a.sees("b") == b.sees("a") == "alive")

    async def asked(*matchers: Matcher) -> Ledger:
        async with client.ask(a.address, Query(matchers=matchers)) as answer:
            assert [row async for row in answer]
            return answer.ledger

    ledger = await asked()
    assert not ledger.complete
    assert ledger.doubt == UNHEARD.format("c")
    assert (await asked(Matcher("host", "=~", "[ab]"))).complete
    c = await mesh.boot("c")
    await until(lambda: a.sees("c") == c.sees("b") == "alive")
    assert (await asked()).complete


async def nothing() -> None: ...


async def test_a_second_daemon_with_the_same_state_is_refused(mesh: Mesh, tmp_path: Path) -> None:
    await mesh.boot("a", state_dir=str(tmp_path / "state"))
    config = Config(name="b", listen="127.0.0.1:0", roots=(str(tmp_path),), state_dir=str(tmp_path / "state"))
    with pytest.raises(StateDirTaken):
        await run(config, lambda: config)


async def test_what_did_not_come_in_time_is_not_overwritten(autojump_clock: trio.testing.MockClock) -> None:
    class Slow(Inline):
        async def run(self, step: Callable[[], T], closing: ExitStack | None = None) -> T:
            if getattr(step, "args", ())[:1] == (FILE,):  # it is read
                await trio.sleep(DISK_WAIT_S + 1)
            return await super().run(step, closing)

    disk = SimulatedDisk()
    before = to_bytes(Remembered("me", 10**17, (Known("a", "a:1"),)))
    directory = disk.directory("")
    directory.lock()
    directory.write(FILE, before)
    directory.close()
    async with Memory("me", disk.directory(""), Slow(), lambda: 7, DAY_S).kept():
        pass
    directory = disk.directory("")
    directory.lock()
    assert directory.read(FILE, 1 << 20) == before
