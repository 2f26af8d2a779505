"""Whether it is the others that are silent, or this node that hears nobody.

Theory. One whose cable is pulled sees exactly what one sees whose mesh has lost power: nobody answers. Of two
nodes that can tell each other nothing neither can know which of them is cut off; so a node that hears from *nobody*
does not declare the others dead, one by one, but says of itself that it is cut off, and its suspicions wait. As soon
as anybody is heard they get a whole Min again: who does not answer then, while others do, is dead.

Any message from another node is a contact, and so is a dial that the host at the other end refused: the process
there is gone, but the network between us works. A minority on its side of a split still hears itself, and is not cut
off: it goes by the usual rules. A process that slept has not listened, which is no silence.

A contact says that there is somebody, and not that we hear what is said *now*. One that was blocked works off what
has piled up, and is blocked again: it has heard much, all of it old, and not the refutations that came behind it. An
*answer* shows more: ears and mouth have worked since that ping was sent. So a verdict wants a **witness**: somebody,
whoever it is, has answered a ping of about the time at which the suspect was told for the last time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from varlogd.config import MembershipConfig
from varlogd.swim.directives import CutOff, Reconnected
from varlogd.swim.effects import Effects
from varlogd.swim.view import View

SILENT_INTERVALS: Final = 3
"""Probe intervals of silence from everybody before a node says that it is cut off; in the last of them it asked some
members out of turn, in vain. Each node is probed about once an interval, and each of its own probes is answered: a
single pause is no silence yet. However long it is, nobody is condemned who became suspect in it."""


class Isolation:
    """When anybody was last heard, and what follows from it. ``sound`` probes a few members out of turn."""

    def __init__(self, config: MembershipConfig, effects: Effects, view: View, sound: Callable[[], None]) -> None:
        self._interval_s = config.probe_interval_s
        self._patience_s = (SILENT_INTERVALS - 1) * config.probe_interval_s
        self._effects = effects
        self._view = view
        self._sound = sound
        self._has_sounded = False  # in this silence
        self.heard_at = effects.now
        self.cut_off = False
        self.answered_at = -math.inf
        """When the latest ping that has been answered was sent, or a dial was refused."""

    def start(self) -> None:
        """Look after the silence from now on."""
        self._effects.alarm(self.heard_at + self._patience_s, "silence", self._look)

    def listen(self) -> bool:
        """There was a sign of life from outside; true if that ends an isolation."""
        silent_s = self._effects.now - self.heard_at
        self._end_silence()
        if not self.cut_off:
            return False
        self.cut_off = False
        self._effects.notify(Reconnected(silent_s))
        return True

    def answer(self, sent_at: float) -> None:
        """A ping of that time has been answered, or a dial refused then."""
        self.answered_at = max(self.answered_at, sent_at)

    def sleep(self) -> None:
        """This process slept: it cannot know whether anybody spoke. Who was cut off before still is."""
        if not self.cut_off:
            self._end_silence()

    def silent_since(self, began: float) -> bool:
        """Whether nobody has been heard since then: if so this node is cut off, however short a time that is."""
        if self.heard_at <= began:
            self._fall_silent()
        return self.cut_off

    def _end_silence(self) -> None:
        self.heard_at = self._effects.now
        self._has_sounded = False

    def _look(self) -> None:
        """One alarm for all messages: it rings when the silence could be long enough, and looks when the last was."""
        now, patient_until = self._effects.now, self.heard_at + self._patience_s
        if now < patient_until:
            self._effects.alarm(patient_until, "silence", self._look)
            return
        if self._has_sounded:
            self._fall_silent()
        elif self._view.live:
            self._has_sounded = True
            self._sound()
        self._effects.alarm(now + self._interval_s, "silence", self._look)

    def _fall_silent(self) -> None:
        if not self.cut_off and self._view.live:
            self.cut_off = True
            self._effects.notify(CutOff(self._effects.now - self.heard_at))
