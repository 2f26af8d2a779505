"""Telling people what becomes of members: the trio shell around `swim.damping`."""

from __future__ import annotations

from collections.abc import Callable, Collection

import trio

from varlogd.swim.damping import Damping, Told
from varlogd.swim.state import Member


class Telling:
    """``tell`` hears what there is to tell, synchronously: a loss while `change` runs, the rest from `run`."""

    def __init__(self, tell: Callable[[Told], None]) -> None:
        self._tell = tell
        self._damping = Damping()
        self._sooner = trio.Event()

    @property
    def flapping(self) -> Collection[str]:
        """The names of the members that flap now."""
        return self._damping.flapping

    def change(self, member: Member, previous: Member | None) -> None:
        """The view has changed."""
        for told in self._damping.change(trio.current_time(), member, previous):
            self._tell(told)
        self._sooner.set()

    async def run(self) -> None:
        """Tell what becomes due, until cancelled."""
        while True:
            self._sooner = trio.Event()
            with trio.move_on_at(self._damping.due):
                await self._sooner.wait()
            for told in self._damping.on_time(trio.current_time()):
                self._tell(told)
