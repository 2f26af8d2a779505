"""A node's memory on disk (`state_dir`): which boot the last one was, and whom it knew.

- **The epoch.** A restarted node must outrank its own death. Its clock sees to that, unless it went back; so the
  epoch is above the stored one too, and is on disk before anybody hears of it.
- **The members.** A node that comes up calls those that it knew beside its seeds: it finds the mesh again when all
  seeds are down, or have moved. And it knows who has not been heard of since: where all hosts of a site lost power,
  and some are up, nobody else tells of the others.

**A file is never half written**: what is new goes into a file of its own, is synced, and then takes the name. It is
written when there is something new, at most every `SAVE_INTERVAL_S`, once an hour otherwise, and at the end.

**Nothing here is needed to run.** A file that cannot be used is set aside, a disk that is full or does not answer is
told of, and the node goes on as one that has no `state_dir`. Only a directory that another process uses is refused:
two of one memory would have one name.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import trio
from msgspec import structs

from varlogd.errors import Refused, StateDirTaken, StateError
from varlogd.memory.disk import Disk
from varlogd.memory.remembered import STATE_MAX_BYTES, Known, Remembered, from_bytes, next_epoch, remember, to_bytes
from varlogd.runner import Runner
from varlogd.swim.state import Member
from varlogd.swim.timing import MICROSECONDS

log = logging.getLogger(__name__)

FILE: Final = "mesh.state"
FILE_NEW: Final = "mesh.state.new"
FILE_BAD: Final = "mesh.state.bad"
"""What could not be used; a later one takes its place, so there is at most one."""

SAVE_INTERVAL_S: Final = 10.0
"""Between two writes. A member that joined in the last seconds before a crash is found through any other, so this
need not be short; and a mesh in turmoil does not wear out a flash card."""

FRESH_S: Final = 3600
"""The longest time between two writes, so that after one that was down for long it is known who was lost so long ago
that nobody needs to tell of them any more."""

DISK_WAIT_S: Final = 5.0
"""How long a start or an end waits for the disk: a dead NFS server must not keep a node from either."""

View = Callable[[], Mapping[str, Member]]


class Memory:
    """One node's. `kept` it around everything else; ``disk`` None: it remembers nothing."""

    def __init__(
        self, name: str, disk: Disk | None, runner: Runner, clock: Callable[[], int], lost_remembered_s: float
    ) -> None:
        """``clock``: the epoch that a boot at this moment would have by itself, microseconds since 1970;
        ``lost_remembered_s``: how long one that is not heard of is known to be missing."""
        self._name = name
        self._disk = disk
        self._runner = runner
        self._clock = clock
        self._lost_remembered_s = lost_remembered_s
        self._view: View | None = None
        self._earlier: Sequence[Known] = ()
        self._written = b""
        self._held = self._failing = False
        self._is_recalled = False
        self._news = trio.Event()
        self.epoch = clock()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where members were when this node last knew, newest first."""
        return tuple(known.address for known in self._earlier)

    def unheard(self, view: Mapping[str, Member]) -> list[str]:
        """Whom this node knew when it last ran, and has not heard of since, if that is not too long ago."""
        since_s = self._now_s() - self._lost_remembered_s
        return [known.name for known in self._earlier if known.name not in view and known.lost_s > since_s]

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Recall what there is, and set ``epoch``; write what is new on the way out, unless that is an error.

        Raises StateDirTaken if another process has this memory.
        """
        try:
            await self._recall()
            yield
            with trio.move_on_after(DISK_WAIT_S):
                await self._save()
        finally:
            if self._disk is not None:
                self._disk.close()

    def note(self) -> None:
        """Something changed that may be worth remembering."""
        self._news.set()

    async def keep(self, view: View) -> None:
        """Write what is new in ``view`` from time to time, until cancelled. Says so where it cannot."""
        if self._disk is None:
            log.info(
                "nothing is remembered: after a restart only the seeds are called, only the clock tells boots apart"
            )
            return
        self._view = view
        while True:
            with trio.move_on_after(FRESH_S):
                await self._news.wait()
            self._news = trio.Event()
            await self._save()
            await trio.sleep(SAVE_INTERVAL_S)

    async def _recall(self) -> None:
        with trio.move_on_after(DISK_WAIT_S) as waiting:
            await self._take_hold()
            last = await self._read()
            self._is_recalled = True
            self.epoch = next_epoch(self._clock(), last.epoch if last else None)
            if last is not None:
                now_s = self._now_s()  # nobody was lost in the future, whatever the clock says
                self._earlier = [
                    structs.replace(known, lost_s=min(known.lost_s or now_s, now_s)) for known in last.members
                ]
                told = {"members": len(last.members), "file": FILE}
                log.info("remembered", extra={"fields": told})
                if self.epoch == last.epoch + 1:
                    log.warning(
                        "the clock went back since the last boot: epoch raised",
                        extra={"fields": {"epoch": self.epoch}},
                    )
            await self._save()
        if waiting.cancelled_caught:
            if not self._held:
                self._disk = None
            log.error(
                "state_dir does not answer: going on without what it may hold",
                extra={"fields": {"waited_s": DISK_WAIT_S}},
            )

    async def _take_hold(self) -> None:
        if self._disk is None:
            return
        try:
            await self._runner.run(self._disk.lock)
            self._held = True
        except BlockingIOError as error:
            raise StateDirTaken(f"state_dir: another varlogd uses {error.filename}: give each its own") from None
        except (OSError, Refused) as error:
            log.error("state_dir cannot be used: nothing is remembered", extra={"fields": {"why": _why(error)}})
            self._disk = None

    async def _read(self) -> Remembered | None:
        disk = self._disk
        if disk is None:
            return None
        try:
            return from_bytes(await self._runner.run(partial(disk.read, FILE, STATE_MAX_BYTES)), self._name)
        except FileNotFoundError:
            return None
        except (OSError, StateError, Refused) as error:
            fields = {"file": FILE, "why": _why(error), "kept_as": FILE_BAD}
            log.error("what this node remembered cannot be used: set aside", extra={"fields": fields})
        try:
            await self._runner.run(partial(disk.rename, FILE, FILE_BAD))
        except (OSError, Refused) as error:
            log.error("it cannot be set aside", extra={"fields": {"file": FILE, "why": _why(error)}})
        return None

    async def _save(self) -> None:
        if not self._is_recalled:  # what is there, and did not come in time, is better than what we have
            return
        disk, data = self._disk, to_bytes(self._now())
        if disk is None or data == self._written:
            return
        try:
            for step in (
                partial(disk.write, FILE_NEW, data),
                partial(disk.sync, FILE_NEW),
                partial(disk.rename, FILE_NEW, FILE),
                disk.sync_names,
            ):
                await self._runner.run(step)
        except (OSError, Refused) as error:
            if not self._failing:
                log.error("state cannot be written; trying on", extra={"fields": {"why": _why(error)}})
            self._failing = True
            self._news.set()
            return
        if self._failing:
            log.info("state can be written again")
        self._failing = False
        self._written = data

    def _now(self) -> Remembered:
        """What is to be remembered at this moment."""
        if self._view is None:
            return Remembered(self._name, self.epoch, tuple(self._earlier))
        view = self._view()
        self._earlier = [known for known in self._earlier if known.name not in view]  # of whom has been heard since
        return remember(self._name, view, self._earlier, self._lost_s)

    def _now_s(self) -> int:
        return self._clock() // MICROSECONDS

    def _lost_s(self, member: Member) -> int:
        """Of one that is live: a time by which this will have been written again, the same for an hour."""
        if member.live:
            return (self._now_s() // FRESH_S + 2) * FRESH_S
        return max(0, self._now_s() - round(trio.current_time() - member.since))  # the clock may have gone back


def _why(error: Exception) -> str:
    return (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)
