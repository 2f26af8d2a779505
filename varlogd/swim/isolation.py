"""Whether it is the others that are silent, or this node that hears nobody.

Theory. One whose cable is pulled sees exactly what one sees whose mesh has lost power: nobody answers. Of two
nodes that can tell each other nothing neither can know which of them is cut off; so a node that hears from *nobody*
does not declare the others dead, one by one, but says of itself that it is cut off, and its suspicions wait. As soon
as anybody is heard they get a whole Min again: who does not answer then, while others do, is dead.

Any message from another node is a contact, and so is a dial that the host at the other end refused: the process
there is gone, but the network between us works. A minority on its side of a split still hears itself, and is not cut
off: it goes by the usual rules. A process that slept has not listened, which is no silence.
"""

from __future__ import annotations

from typing import Final

from varlogd.config import MembershipConfig
from varlogd.swim.directives import CutOff, Reconnected
from varlogd.swim.effects import Effects
from varlogd.swim.view import View

SILENT_INTERVALS: Final = 3
"""Probe intervals of silence from everybody before a node says that it is cut off, if a probe has failed as well.
Each node is probed about once an interval, and each of its own probes is answered: a single pause is no silence yet.
However long it is, nobody is condemned who became suspect in it."""


class Isolation:
    """When anybody was last heard, and what follows from it."""

    def __init__(self, config: MembershipConfig, effects: Effects, view: View) -> None:
        self._silence_s = SILENT_INTERVALS * config.probe_interval_s
        self._effects = effects
        self._view = view
        self._probe_failed = False
        self.heard_at = effects.now
        self.cut_off = False

    def listen(self) -> bool:
        """There was a sign of life from outside; true if that ends an isolation."""
        silent_s = self._effects.now - self.heard_at
        self.heard_at = self._effects.now
        self._probe_failed = False
        if not self.cut_off:
            return False
        self.cut_off = False
        self._effects.notify(Reconnected(silent_s))
        return True

    def sleep(self) -> None:
        """This process slept: it cannot know whether anybody spoke."""
        self.heard_at = self._effects.now
        self._probe_failed = False

    def probe_failed(self, sent_at: float) -> None:
        """A probe of that time has failed."""
        self._probe_failed = self._probe_failed or sent_at >= self.heard_at

    def check(self) -> None:
        """See whether the silence has lasted too long."""
        silent_s = self._effects.now - self.heard_at
        if self._probe_failed and silent_s >= self._silence_s:
            self._fall_silent()

    def silent_since(self, began: float) -> bool:
        """Whether nobody has been heard since then: if so this node is cut off, however short a time that is."""
        if not self.cut_off and self.heard_at <= began and self._view.live:
            self._fall_silent()
        return self.cut_off

    def _fall_silent(self) -> None:
        if not self.cut_off and self._view.live:
            self.cut_off = True
            self._effects.notify(CutOff(self._effects.now - self.heard_at))
