"""What a simulated host reads and writes: its logs' disk, as time that work takes, and the daemon's memory.

The latter is a simulated disk with a page cache: what was not synced does not outlive a power failure.

A killed process leaves all that it wrote, for that is the kernel's; but it writes no more and holds no lock. When
the power goes, a file has the content of its last sync (none, if there was none), and the directory the names of its
last sync: a name that was given to a file before the file was synced comes back empty, as on a real one.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, TypeVar

import trio

T = TypeVar("T")

STEP_S: Final = (0.000_2, 0.002)
"""Shortest and longest step of blocking work, drawn: a chunk from memory, and one from a disk."""

SCANS_MAX: Final = 4
"""Steps at once on one host: the daemon's own default."""


class InlineRunner:
    """Blocking work in the loop itself, after a drawn virtual time: a thread would take real time, in which a
    virtual clock runs away. A `varlogd.world.Runner`."""

    def __init__(self, rng: random.Random) -> None:
        self.extra_s = 0.0
        self._rng = rng
        self._limiter = trio.CapacityLimiter(SCANS_MAX)

    def check(self) -> None:
        """Nobody can have changed their mind: no time passes during a step. `run` is where it is noticed."""

    async def run(self, step: Callable[[], T], closing: ExitStack | None = None) -> T:
        async with self._limiter:
            await trio.sleep(self._rng.uniform(*STEP_S) + self.extra_s)
            return step()


@dataclass
class _File:
    data: bytes = b""
    synced: bytes = b""


class SimulatedDisk:
    """One directory of a host. Raises OSError as a real one does; while it has ``fillers`` it takes nothing more."""

    def __init__(self) -> None:
        self.fillers = 0
        self.holder: Handle | None = None
        self.names: dict[str, _File] = {}
        self.synced_names: dict[str, _File] = {}
        self._handles: list[Handle] = []

    def directory(self, _path: str) -> Handle:
        """The directory for one boot of the daemon: a `varlogd.memory.disk.Disk`."""
        handle = Handle(self)
        self._handles.append(handle)
        return handle

    def copy(self, other: SimulatedDisk) -> None:
        """Hold what is on the other one now, all of it synced."""
        self.names = {name: _File(file.data, file.data) for name, file in other.names.items()}
        self.synced_names = dict(self.names)

    def cut_off(self) -> None:
        """The process is gone: whatever it would still do does not reach the disk."""
        for handle in self._handles:
            handle.close()
        self._handles.clear()

    def lose_power(self) -> None:
        """Keep what was synced."""
        self.names = dict(self.synced_names)
        for file in self.names.values():
            file.data = file.synced


class Handle:
    """A `varlogd.memory.disk.Disk`, open for one process."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self._disk: SimulatedDisk | None = disk
        self.read_back = b""  # what it was given last

    def lock(self) -> None:
        disk = self._open()
        if disk.holder is not None:
            raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK))
        disk.holder = self

    def read(self, name: str, size_max: int) -> bytes:
        data = self._file(name).data
        if len(data) > size_max:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), name)
        self.read_back = data
        return data

    def write(self, name: str, data: bytes) -> None:
        disk = self._open()
        disk.names[name] = file = _File()
        if disk.fillers:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
        file.data = data

    def sync(self, name: str) -> None:
        file = self._file(name)
        file.synced = file.data

    def rename(self, old: str, new: str) -> None:
        self._file(old)
        names = self._open().names
        names[new] = names.pop(old)

    def sync_names(self) -> None:
        disk = self._open()
        disk.synced_names = dict(disk.names)

    def close(self) -> None:
        if self._disk is not None and self._disk.holder is self:
            self._disk.holder = None
        self._disk = None

    def _open(self) -> SimulatedDisk:
        if self._disk is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._disk

    def _file(self, name: str) -> _File:
        file = self._open().names.get(name)
        if file is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return file
