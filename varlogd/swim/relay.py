"""Probing on behalf of others: the helper's side of an indirect probe (SWIM section 3.1, Lifeguard's nack).

A helper pings the target and passes the ack on. If the target cannot be reached, or has not answered when
80 % of the time that the asker waits is over, the helper says so with a nack, so that the asker can tell "the target
is silent" from "everybody is silent". An ack that comes after the nack is still passed on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from varlogd.config import MembershipConfig
from varlogd.swim.effects import Effects
from varlogd.swim.health import MULTIPLIER_MAX
from varlogd.swim.probe import MILLISECONDS, Piggyback
from varlogd.wire.gossip import Ack, Nack, Ping, PingReq

NACK_AFTER: Final = 0.8
"""The part of the asker's time-out after which a helper nacks: the nack must arrive before the asker gives up."""

RELAYS_MAX: Final = 1024
"""Indirect probes in hand at once. A mesh of thousands in which half are dead asks one node for some hundred a
second; past this a helper nacks at once, which is true: it did not hear the target."""


@dataclass(slots=True)
class _Relay:
    """One probe on behalf of ``asker`` (an address), who calls it ``asker_seq``."""

    seq: int
    asker: str
    asker_seq: int
    address: str
    nacked: bool = False


class Relays:
    """All probes this node makes for others. ``next_seq`` numbers pings, uniquely among all of this node's."""

    def __init__(
        self, config: MembershipConfig, effects: Effects, piggyback: Piggyback, next_seq: Callable[[], int]
    ) -> None:
        self._config = config
        self._effects = effects
        self._piggyback = piggyback
        self._next_seq = next_seq
        self._by_seq: dict[int, _Relay] = {}

    def on_ping_req(self, src: str, request: PingReq) -> None:
        """Probe the target for the asker at ``src``."""
        if len(self._by_seq) >= RELAYS_MAX:
            self._effects.send(src, Nack(request.seq))
            return
        relay = _Relay(self._next_seq(), src, request.seq, request.address)
        self._by_seq[relay.seq] = relay
        now, told_s = self._effects.now, request.wait_ms / MILLISECONDS
        wait_s = min(told_s, self._config.probe_interval_s * MULTIPLIER_MAX)
        nack_s = NACK_AFTER * (wait_s or self._config.probe_timeout_s)
        self._effects.alarm(now + nack_s, "nack", partial(self._nack, relay))
        self._effects.alarm(now + (wait_s or self._config.probe_interval_s), "relay", partial(self._end, relay))
        self._effects.send(relay.address, Ping(relay.seq, request.target, self._piggyback(relay.address)))

    def on_ack(self, seq: int, src: str) -> None:
        """The target answered: pass it on."""
        relay = self._by_seq.get(seq)
        if relay is not None and src == relay.address:
            self._end(relay)
            self._effects.send(relay.asker, Ack(relay.asker_seq, self._piggyback(relay.asker)))

    def on_unreachable(self, address: str) -> None:
        """A dial was refused: nobody needs to wait for the rest of the time-out."""
        for relay in self._by_seq.values():
            if relay.address == address:
                self._nack(relay)

    def abandon(self) -> None:
        """This process slept: the askers have long given up, and a nack now would be a lie."""
        self._by_seq.clear()

    def _nack(self, relay: _Relay) -> None:
        if relay.seq in self._by_seq and not relay.nacked:
            relay.nacked = True
            self._effects.send(relay.asker, Nack(relay.asker_seq))

    def _end(self, relay: _Relay) -> None:
        self._by_seq.pop(relay.seq, None)
