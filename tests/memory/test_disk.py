"""A directory for one process at a time: the real one, and what the simulated one loses with the power."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from simulations.disk import SimulatedDisk
from varlogd.memory.disk import Directory, Disk


@pytest.fixture(params=["real", "simulated"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    """A directory that is held."""
    found: Disk = Directory(str(tmp_path)) if request.param == "real" else SimulatedDisk().directory("")
    found.lock()
    request.addfinalizer(found.close)
    return found


def test_what_is_written_is_read_and_renaming_replaces(disk: Disk) -> None:
    disk.write("old", b"old")
    disk.write("new", b"a long text")
    disk.write("new", b"new")
    disk.sync("new")
    assert disk.read("new", 3) == b"new"
    disk.rename("new", "old")
    disk.sync_names()
    assert disk.read("old", 10) == b"new"
    with pytest.raises(FileNotFoundError):
        disk.read("new", 10)


def test_what_is_not_there_or_too_large_is_an_error(disk: Disk) -> None:
    disk.write("large", b"1234")
    with pytest.raises(OSError, match="large"):
        disk.read("large", 3)
    for use in (lambda: disk.read("none", 3), lambda: disk.sync("none"), lambda: disk.rename("none", "other")):
        with pytest.raises(FileNotFoundError):
            use()


def test_a_write_that_hung_and_was_given_up_does_not_end_in_the_file_of_a_later_one(tmp_path: Path) -> None:
    disk = Directory(str(tmp_path))
    disk.lock()
    disk.write("new", b"")
    with (tmp_path / "new").open("r+b", buffering=0) as hung:  # opened for what it has not written yet
        disk.write("new", b"later")
        disk.rename("new", "file")
        hung.write(b"the earlier, longer text")
    assert disk.read("file", 100) == b"later"
    disk.close()


def test_one_holds_it_until_it_is_closed(tmp_path: Path) -> None:
    path = str(tmp_path / "deep" / "state")
    simulated = SimulatedDisk()
    for first, second in (
        (Directory(path), Directory(path)),
        (simulated.directory(path), simulated.directory(path)),
    ):
        first.lock()
        with pytest.raises(BlockingIOError):
            second.lock()
        second.close()
        first.close()
        first.close()
        third = Directory(path) if isinstance(first, Directory) else simulated.directory(path)
        third.lock()
        third.close()
    assert (tmp_path / "deep" / "state").stat().st_mode & 0o777 == 0o700


def test_links_and_pipes_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"precious")
    (tmp_path / "link").symlink_to("elsewhere")
    os.mkfifo(tmp_path / "pipe")
    disk = Directory(str(tmp_path))
    disk.lock()
    for use in (lambda: disk.read("link", 99), lambda: disk.sync("link"), lambda: disk.read("pipe", 99)):
        with pytest.raises(OSError):
            use()
    disk.write("link", b"x")  # takes the place of the link itself
    assert not (tmp_path / "link").is_symlink()
    disk.close()
    assert (tmp_path / "elsewhere").read_bytes() == b"precious"


def test_power_takes_what_was_not_synced() -> None:
    disk = SimulatedDisk()
    handle = disk.directory("")
    handle.write("kept", b"kept")
    handle.sync("kept")
    handle.sync_names()
    handle.write("kept", b"changed")
    handle.write("unnamed", b"synced")
    handle.sync("unnamed")
    disk.lose_power()
    assert handle.read("kept", 99) == b"kept"
    with pytest.raises(FileNotFoundError):
        handle.read("unnamed", 99)
    handle.write("early", b"a name before its content")
    handle.sync_names()
    disk.lose_power()
    assert handle.read("early", 99) == b""


def test_a_process_that_is_gone_writes_no_more() -> None:
    disk = SimulatedDisk()
    handle = disk.directory("")
    handle.lock()
    handle.write("file", b"written")
    disk.cut_off()
    with pytest.raises(OSError):
        handle.write("file", b"late")
    after = disk.directory("")
    after.lock()
    assert after.read("file", 99) == b"written"
