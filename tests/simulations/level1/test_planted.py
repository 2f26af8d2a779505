"""Faults planted in the core, each of which the judge must find: they test the tests.

Some are patched into the core; most are done to its messages by a `Sick` core around it, through its public face.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from msgspec import structs

from simulations.level1.judge import PROMISES
from simulations.level1.node import Birth
from simulations.level1.plan import Block, MeshPlan, Reuse, Step
from simulations.level1.run import run
from simulations.level1.world import Mode, ours
from simulations.plan import Freeze, Kill, Leave, Partition, PowerOff, Start
from varlogd.swim import beliefs, core, exchange, identity, isolation, probe
from varlogd.swim.directives import Directive, MemberChanged, Notify, Send, Timer
from varlogd.swim.state import Member, State
from varlogd.wire.gossip import Ack, Claim, GossipMessage, Nack, Summary

NODES = 10
HOSTS = tuple(f"n{number}" for number in range(NODES))

FREEZE: tuple[Step, ...] = (Freeze(2, "n3", 8.0),)
SHORT_FREEZE: tuple[Step, ...] = (Freeze(2, "n3", 3.5),)
POWER_OFF: tuple[Step, ...] = (PowerOff(2, "n3"),)
SPLIT: tuple[Step, ...] = (Partition(2, (HOSTS[:3], HOSTS[3:]), 40.0),)
LEAVE: tuple[Step, ...] = (Leave(2, "n3"),)
BLOCK: tuple[Step, ...] = (Block(2, "n3", 4.0),)
RESTART: tuple[Step, ...] = (Kill(2, "n3"), Start(2.1, "n3"))
MOVE: tuple[Step, ...] = (Reuse(2, "n4", "new"), Reuse(10, "n4", "newer"), Reuse(20, "n3", "new"))
UNHEARD: tuple[Step, ...] = (Partition(2, (HOSTS[7:8], HOSTS[:7] + HOSTS[8:]), 0.9), Kill(2, "n5"), Start(2.1, "n5"))
"""While n5 tells of its restart, n7 hears nobody, and not for long enough that anybody is suspected."""
CALM: tuple[Step, ...] = (Start(40, "n0"),)

Warp = Callable[[core.Swim, Directive], list[Directive]]


class Sick:
    """A core whose directives pass through ``warp`` on their way out."""

    def __init__(self, well: Any, warp: Warp) -> None:
        self._well = well
        self._warp = warp

    @property
    def members(self) -> Mapping[str, Member]:
        return self._well.members  # type: ignore[no-any-return]

    @property
    def me(self) -> Member:
        return self._well.me  # type: ignore[no-any-return]

    @property
    def cut_off(self) -> bool:
        return self._well.cut_off  # type: ignore[no-any-return]

    def _out(self, directives: list[Directive]) -> list[Directive]:
        return [warped for directive in directives for warped in self._warp(self._well, directive)]

    def start(self, now: float) -> list[Directive]:
        return self._out(self._well.start(now))

    def on_message(self, now: float, src: str, message: GossipMessage) -> list[Directive]:
        return self._out(self._well.on_message(now, src, message))

    def on_timer(self, now: float, timer: Timer) -> list[Directive]:
        return self._out(self._well.on_timer(now, timer))

    def on_link_lost(self, now: float, address: str) -> list[Directive]:
        return self._out(self._well.on_link_lost(now, address))

    def on_unreachable(self, now: float, address: str, *, refused: bool) -> list[Directive]:
        return self._out(self._well.on_unreachable(now, address, refused=refused))

    def on_self_dialled(self, now: float, address: str) -> list[Directive]:
        return self._out(self._well.on_self_dialled(now, address))

    def leave(self, now: float) -> list[Directive]:
        return self._out(self._well.leave(now))


class Outdated(Sick):
    """A core that shows ``what`` of each member as it first heard it; the member itself it treats as it is."""

    def __init__(self, well: Any, what: str) -> None:
        super().__init__(well, self._note)
        self._what = what
        self._first: dict[str, Member] = {}

    @property
    def members(self) -> Mapping[str, Member]:
        return {name: self._shown(member) for name, member in super().members.items()}

    def _shown(self, member: Member) -> Member:
        first = self._first.get(member.name, member)
        return structs.replace(member, **{self._what: getattr(first, self._what)})

    def _note(self, _core: core.Swim, directive: Directive) -> list[Directive]:
        if isinstance(directive, Notify) and isinstance(directive.event, MemberChanged):
            self._first.setdefault(directive.event.member.name, directive.event.member)
        return [directive]


class FallsSilent:
    """n3, after some thirty seconds, acknowledges no ping any more and does not defend itself."""

    def __init__(self) -> None:
        self.acks = 0

    def __call__(self, well: core.Swim, directive: Directive) -> list[Directive]:
        if well.me.name != "n3" or not isinstance(directive, Send):
            return [directive]
        self.acks += isinstance(directive.message, Ack)
        if self.acks < 30:
            return [directive]
        if isinstance(directive.message, Ack):
            return []
        return _without(directive, lambda claim: claim.name == "n3")


def never_of_itself(well: core.Swim, directive: Directive) -> list[Directive]:
    if not isinstance(directive, Send):
        return [directive]
    return _without(directive, lambda claim: claim.name == well.me.name and claim.state == State.ALIVE)


def no_news(_core: core.Swim, directive: Directive) -> list[Directive]:
    return _without(directive, lambda _claim: True) if isinstance(directive, Send) else [directive]


def never_to_the_dead(well: core.Swim, directive: Directive) -> list[Directive]:
    if not isinstance(directive, Send):
        return [directive]
    gone = [member for member in well.members.values() if member.address == directive.to and not member.live]
    return [] if gone else [directive]


def no_goodbye(_core: core.Swim, directive: Directive) -> list[Directive]:
    return (
        _without(directive, lambda claim: claim.state == State.LEFT) if isinstance(directive, Send) else [directive]
    )


def twelve_times(_core: core.Swim, directive: Directive) -> list[Directive]:
    return [directive] * 12 if isinstance(directive, Send) else [directive]


def three_times(_core: core.Swim, directive: Directive) -> list[Directive]:
    return [directive] * 3 if isinstance(directive, Send) else [directive]


def five_times_by_one(well: core.Swim, directive: Directive) -> list[Directive]:
    return [directive] * 5 if well.me.name == "n3" and isinstance(directive, Send) else [directive]


class Bursts:
    """n3 says thirty things, of some two a second, forty times each, and is well again after that."""

    def __init__(self) -> None:
        self.sends = 0

    def __call__(self, well: core.Swim, directive: Directive) -> list[Directive]:
        if well.me.name != "n3" or not isinstance(directive, Send):
            return [directive]
        self.sends += 1
        return [directive] * 40 if 30 <= self.sends < 60 else [directive]


def back_again(_core: core.Swim, directive: Directive) -> list[Directive]:
    """A view that takes every change back."""
    if isinstance(directive, Notify) and isinstance(directive.event, MemberChanged) and directive.event.previous:
        return [directive, Notify(MemberChanged(directive.event.previous, directive.event.member))]
    return [directive]


def _without(send: Send, unwanted: Callable[[Claim], bool]) -> list[Directive]:
    if isinstance(send.message, Nack | Summary):
        return [send]
    claims = tuple(claim for claim in send.message.claims if not unwanted(claim))
    return [Send(send.to, structs.replace(send.message, claims=claims))]


WARPED: dict[str, tuple[Warp, tuple[Step, ...], str]] = {
    "n3 falls silent": (FallsSilent(), CALM, "accuracy"),
    "never a word of itself": (never_of_itself, SHORT_FREEZE, "refutation"),
    "never a word of itself, blocked": (never_of_itself, BLOCK, "refutation"),
    "no news": (no_news, POWER_OFF, "completeness"),
    "never to the dead": (never_to_the_dead, SPLIT, "heal"),
    "no goodbye": (no_goodbye, LEAVE, "goodbye"),
    "everything twelve times": (twelve_times, CALM, "load"),
    "everything three times": (three_times, CALM, "load"),
    "everything five times, by one": (five_times_by_one, CALM, "load"),
    "one that bursts": (Bursts(), CALM, "load"),
    "every change taken back": (back_again, SHORT_FREEZE, "monotone"),
}


def broken(steps: tuple[Step, ...], sicken: Callable[[Any], Any] | None = None, mode: Mode = "stream") -> set[str]:
    healthy = ours()

    def arm(birth: Birth) -> Any:
        return healthy(birth) if sicken is None else sicken(healthy(birth))

    return {breach.name for breach in run(MeshPlan(1, NODES, steps, mode), arm).breaches}


@pytest.mark.parametrize(("warp", "steps", "invariant"), WARPED.values(), ids=WARPED)
def test_a_sick_core_is_found(warp: Warp, steps: tuple[Step, ...], invariant: str) -> None:
    assert invariant in broken(steps, lambda well: Sick(well, warp))


@pytest.mark.parametrize(("what", "steps"), [("epoch", RESTART), ("address", MOVE)])
def test_a_view_of_an_earlier_life_is_found(what: str, steps: tuple[Step, ...]) -> None:
    assert broken(steps, lambda well: Outdated(well, what)) == {"heal"}


def deaf_to_accusations(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(identity.Identity, "hear", lambda _self, _claim, _src: None)


def the_same_answer_again(patch: pytest.MonkeyPatch) -> None:
    """An accusation is answered at the incarnation that it accuses, which persuades nobody."""
    patch.setattr(identity.Identity, "_outrank", lambda self, mine, _claim: self._announce(mine))


def no_reconnect(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(exchange.Exchange, "_call_absent", lambda _self: None)


def no_probes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(probe.Prober, "_probe", lambda _self, _name: None)


def hears_nothing_of_being_heard(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(isolation.Isolation, "listen", lambda _self: False)


def the_last_word_wins(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(beliefs, "merge", lambda held, heard: held if held == heard and held is not None else heard)


PATCHED: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], tuple[Step, ...], str]] = {
    "deaf to accusations": (deaf_to_accusations, FREEZE, "refutation"),
    "the same answer again": (the_same_answer_again, SHORT_FREEZE, "refutation"),
    "no reconnect": (no_reconnect, SPLIT, "heal"),
    "no probes": (no_probes, POWER_OFF, "heal"),  # all take themselves for cut off
    "cut off for ever": (hears_nothing_of_being_heard, CALM, "cut off"),
    "the last word wins": (the_last_word_wins, SPLIT, "monotone"),
}


@pytest.mark.parametrize(("plant", "steps", "invariant"), PATCHED.values(), ids=PATCHED)
def test_a_patched_core_is_found(
    monkeypatch: pytest.MonkeyPatch,
    plant: Callable[[pytest.MonkeyPatch], None],
    steps: tuple[Step, ...],
    invariant: str,
) -> None:
    plant(monkeypatch)
    assert invariant in broken(steps)


def test_no_promise_is_without_a_fault_that_breaks_it() -> None:
    assert PROMISES.keys() == {name for _plant, _steps, name in (*WARPED.values(), *PATCHED.values())}


@pytest.mark.parametrize("steps", [CALM, FREEZE, SHORT_FREEZE, POWER_OFF, SPLIT, LEAVE, BLOCK, RESTART, MOVE])
def test_without_it_all_holds(steps: tuple[Step, ...]) -> None:
    assert broken(steps) == set()


def test_what_gossip_misses_is_found_when_views_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is dead whom somebody calls, and both know that the other is there: only a digest can tell n7 that n5
    has been restarted. Over datagrams, where what is not delivered is lost."""
    assert broken(UNHEARD, mode="datagram") == set()
    monkeypatch.setattr(exchange.Exchange, "summarize", lambda _self, _address, _digest: None)
    assert broken(UNHEARD, mode="datagram") == {"heal"}
