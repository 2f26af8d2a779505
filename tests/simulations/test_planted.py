"""Faults planted in the daemon, each of which an invariant must find: they test the tests.

Each plan is short and does what brings the fault to light; without the fault it passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest
import trio
from msgspec import structs

from simulations.invariants import INVARIANTS
from simulations.plan import (
    Ask,
    ClockJump,
    Follow,
    Freeze,
    Kill,
    Leave,
    Partition,
    Plan,
    PowerOff,
    SlowDisk,
    Start,
    Step,
    Twin,
)
from simulations.run import Report, run
from varlogd.errors import Closed
from varlogd.memory import memory
from varlogd.mesh import answer, followed_part, following, gossip, links, scatter, service
from varlogd.query.ledger import LedgerBook
from varlogd.swim import beliefs, core, exchange, identity, isolation, probe, suspicion, timing
from varlogd.swim.state import Member, State
from varlogd.swim.timing import Timing
from varlogd.wire.gossip import Ack, Claim
from varlogd.wire.query import AskFollow, Block, Entry, Ledger, Outcome

HOSTS = ("n1", "n2", "n3", "n4")

FREEZE: tuple[Step, ...] = (Freeze(10, "n3", 8.0),)
KILL: tuple[Step, ...] = (Kill(10, "n3"), Ask(10.5, "n1"), Ask(20, "n1"))
KILL_WHILE_ASKED: tuple[Step, ...] = (SlowDisk(9.9, HOSTS, 1.0, 4.0), Ask(10, "n1", "all"), Kill(10.7, "n4"))
ALL_KILLED: tuple[Step, ...] = tuple(Kill(10, name) for name in HOSTS[1:])
LEAVE: tuple[Step, ...] = (Leave(20, "n3"),)
POWER_OFF: tuple[Step, ...] = (PowerOff(10, "n3"), Ask(20, "n1"))
SPLIT: tuple[Step, ...] = (Partition(10, (("n1", "n2"), ("n3", "n4")), 30.0),)
HANG_UP: tuple[Step, ...] = (SlowDisk(9.9, HOSTS, 2.0, 20.0), Ask(10, "n1", "all", gone_after_s=0.5))
ASK: tuple[Step, ...] = (Ask(10, "n1", "all"),)
ONE_SLOW: tuple[Step, ...] = (SlowDisk(9.9, ("n4",), 4.0, 60.0), Ask(10, "n1", "all", timeout_s=2.0))
SKEWED: tuple[Step, ...] = (ClockJump(10, "n2", 50.0), Ask(45, "n1", "all"))
TWIN: tuple[Step, ...] = (Twin(10, "n2", 20.0, "kill", -3600.0), Ask(25, "n1"))
SITE_REBOOT: tuple[Step, ...] = (
    *(PowerOff(30, name) for name in HOSTS),
    *(Start(40, name) for name in HOSTS[:3]),
    Ask(50, "n1", "all"),
)
ASKER_LOST: tuple[Step, ...] = (
    SlowDisk(9.9, HOSTS, 2.4, 60.0),
    Ask(10, "n1", "all", timeout_s=60.0),
    PowerOff(11, "n1"),
)

HANG_UP_BESIDE_ONE_THAT_FOLLOWS: tuple[Step, ...] = (Follow(9, "n2", 30.0), *HANG_UP)
FOLLOW: tuple[Step, ...] = (Follow(9, "n1", 10.0),)
FOLLOW_A_RESTART: tuple[Step, ...] = (Follow(9, "n1", 60.0), Kill(15, "n3"), Start(15.3, "n3"))
FOLLOW_A_FREEZE: tuple[Step, ...] = (Follow(9, "n1", 40.0), Freeze(15, "n3", 40.0))

Patch = pytest.MonkeyPatch


def no_refutation(patch: Patch) -> None:
    patch.setattr(identity.Identity, "hear", lambda _self, _claim, _src: None)


def says_everything_four_times(patch: Patch) -> None:
    send = links.Links.send_nowait

    def chatter(self: links.Links, to: str, message: Any) -> None:
        for _ in range(4):
            send(self, to, message)

    patch.setattr(links.Links, "send_nowait", chatter)


def a_clock_read_wrong(patch: Patch) -> None:
    add = timing.Timings.add

    def misread(
        self: timing.Timings, name: str, sent_at: float, now: float, wall_s: float | None, slowness: int = 0
    ) -> None:
        add(self, name, sent_at, now, wall_s and wall_s + (now - sent_at), slowness)

    patch.setattr(timing.Timings, "add", misread)


def who_was_known_is_forgotten(patch: Patch) -> None:
    patch.setattr(memory.Memory, "unheard", lambda _self, _view: [])


def no_reconnect(patch: Patch) -> None:
    patch.setattr(exchange.Exchange, "_call_absent", lambda _self: None)


def no_probes(patch: Patch) -> None:
    """Where nobody asks nobody answers: each hears nobody, and says that it is cut off."""
    patch.setattr(probe.Prober, "_probe", lambda _self, _name: None)


def failed_probes_accuse_nobody(patch: Patch) -> None:
    patch.setattr(probe.Prober, "_fail", probe.Prober._end)


def deaf_from_25_s_on(patch: Patch) -> None:
    """Neither acks nor accusations are heard: everybody suspects everybody, and nobody answers to that. Without a
    single answer nobody is condemned."""
    on_ack, hear = probe.Prober.on_ack, identity.Identity.hear
    patch.setattr(probe.Prober, "on_ack", lambda *said: on_ack(*said) if trio.current_time() < 25 else None)
    patch.setattr(identity.Identity, "hear", lambda *said: hear(*said) if trio.current_time() < 25 else None)


def deaf_to_n3_from_25_s_on(patch: Patch) -> None:
    """Nobody hears what n3 answers, nor does it hear what is said of it: all declare it dead."""
    on_ack, hear = probe.Prober.on_ack, identity.Identity.hear

    def hear_the_others(self: probe.Prober, src: str, ack: Ack) -> None:
        asked = self._by_seq.get(ack.seq)
        if trio.current_time() < 25 or (asked is not None and asked.target.name != "n3"):
            on_ack(self, src, ack)

    patch.setattr(probe.Prober, "on_ack", hear_the_others)
    patch.setattr(identity.Identity, "hear", lambda *said: hear(*said) if trio.current_time() < 25 else None)


def a_verdict_without_a_witness(patch: Patch) -> None:
    """What `deaf_from_25_s_on` leads to where no answer is wanted before a verdict."""
    deaf_from_25_s_on(patch)
    patch.setattr(suspicion.Suspicions, "_is_witnessed", lambda _self, _at: True)


def deaf_to_any_contact(patch: Patch) -> None:
    patch.setattr(isolation.Isolation, "listen", lambda _self: False)


def deaf_to_refusals(patch: Patch) -> None:
    """The last node of a mesh, whose dials are refused, must know by that that the others are gone."""
    give_up = core.Swim._give_up
    patch.setattr(core.Swim, "_give_up", lambda self, address, _refused: give_up(self, address, refused=False))


def cut_off_now_and_then(patch: Patch) -> None:
    """Every other second, until the next message comes. Such a view is never judged, so the claim itself must be."""
    look = isolation.Isolation._look

    def cry_wolf(self: isolation.Isolation) -> None:
        look(self)
        self._fall_silent()

    patch.setattr(isolation.Isolation, "_look", cry_wolf)


def the_last_word_wins(patch: Patch) -> None:
    def merge(held: Claim | None, heard: Claim) -> Claim:
        return held if held == heard and held is not None else heard

    patch.setattr(beliefs, "merge", merge)


def no_goodbye(patch: Patch) -> None:
    async def leave(_self: gossip.GossipLoop) -> None:
        await trio.lowlevel.checkpoint()

    patch.setattr(gossip.GossipLoop, "leave", leave)


def always_complete(patch: Patch) -> None:
    close = LedgerBook.close

    def lie(self: LedgerBook, delivered: Any, **figures: Any) -> Ledger:
        return structs.replace(close(self, delivered, **figures), complete=True)

    patch.setattr(LedgerBook, "close", lie)


def failed_counts_as_answered(patch: Patch) -> None:
    told = LedgerBook.told

    def lie(self: LedgerBook, entry: Entry) -> None:
        told(self, structs.replace(entry, outcome=Outcome.ANSWERED, rows=0))

    patch.setattr(LedgerBook, "told", lie)


def the_dead_are_not_named(patch: Patch) -> None:
    view = service.QueryService._view

    def live_only(self: service.QueryService, query: Any) -> Any:
        mesh = self._mesh
        self._mesh = _LiveOnly(mesh)
        try:
            return view(self, query)
        finally:
            self._mesh = mesh

    patch.setattr(service.QueryService, "_view", live_only)


class _LiveOnly:
    def __init__(self, mesh: service.Mesh) -> None:
        self._mesh = mesh

    def members(self) -> dict[str, Member]:
        return {name: member for name, member in self._mesh.members().items() if member.state <= State.SUSPECT}

    def flapping(self) -> frozenset[str]:
        return frozenset()

    def joined(self) -> bool:
        return self._mesh.joined()

    def silent_since(self) -> float | None:
        return self._mesh.silent_since()

    def unheard(self) -> Sequence[str]:
        return self._mesh.unheard()

    def timing(self, name: str) -> Timing | None:
        return self._mesh.timing(name)

    def local_health(self) -> int:
        return self._mesh.local_health()

    def wall_ns(self, at: float) -> int:
        return self._mesh.wall_ns(at)


def rows_twice(patch: Patch) -> None:
    deliver = scatter.Gather._deliver

    async def twice(self: scatter.Gather, block: Block) -> None:
        await deliver(self, block)
        await deliver(self, block)

    patch.setattr(scatter.Gather, "_deliver", twice)


def rows_lost(patch: Patch) -> None:
    pull = answer._pull
    patch.setattr(answer, "_pull", lambda scan: (None, pull(scan)[1]))


def hang_up_unnoticed(patch: Patch) -> None:
    async def sleep(_websocket: Any, _scope: Any) -> None:
        await trio.sleep_forever()

    async def on_and_on(self: service.Voice, message: Any) -> None:
        try:
            await say(self, message)
        except Closed:
            return

    say = service.Voice.say
    patch.setattr(service, "_watch_hangup", sleep)
    patch.setattr(service.Voice, "say", on_and_on)


def only_who_follows_is_seen_to_hang_up(patch: Patch) -> None:
    work = service._work

    async def deaf(running: Any, websocket: Any, voice: service.Voice) -> None:
        if isinstance(running.ask, AskFollow):
            await work(running, websocket, voice)
        else:
            await voice.say(await running.last_word())

    async def on_and_on(self: service.Voice, message: Any) -> None:
        with suppress(Closed):
            await say(self, message)

    say = service.Voice.say
    patch.setattr(service, "_work", deaf)
    patch.setattr(service.Voice, "say", on_and_on)


def an_exception_in_a_scan(patch: Patch) -> None:
    def broken(_scan: Any) -> Any:
        raise ValueError("planted")

    patch.setattr(answer, "_pull", broken)


def no_deadline(patch: Patch) -> None:
    init = scatter.Gather.__init__

    def endless(self: scatter.Gather, query: Any, *others: Any) -> None:
        init(self, structs.replace(query, timeout_s=3000.0), *others)

    patch.setattr(scatter.Gather, "__init__", endless)


def a_link_is_never_closed(patch: Patch) -> None:
    """Two nodes that dialled each other at once keep both links."""
    patch.setattr(links._Link, "retire", lambda _self: None)
    patch.setattr(links, "SPARE_LINK_S", 86_400.0)


def drains_for_ever(patch: Patch) -> None:
    async def drain(_self: service.QueryService, _drain_s: float) -> None:
        await trio.sleep_forever()

    patch.setattr(service.QueryService, "drain", drain)


def work_for_the_dead(patch: Patch) -> None:
    patch.setattr(service.QueryService, "member_died", lambda _self, _member: None)


def goes_on_from_now(patch: Patch) -> None:
    patch.setattr(following, "resumed", lambda _places: ())


def goes_on_from_where_it_began(patch: Patch) -> None:
    patch.setattr(followed_part, "places_behind", lambda _block, *, before: [])


def is_not_asked_again(patch: Patch) -> None:
    patch.setattr(following, "AGAIN_FIRST_S", 3600.0)


def falls_silent_untold(patch: Patch) -> None:
    patch.setattr(following.MeshFollowing, "_tell", lambda _self, _notice: None)


def a_circle(patch: Patch) -> None:
    """A task that never lets time pass."""

    async def turn(_self: gossip.GossipLoop) -> None:
        while trio.current_time() >= 0:
            await trio.lowlevel.checkpoint()

    patch.setattr(gossip.GossipLoop, "_run_timers", turn)


def a_twin_is_nobodys_business(patch: Patch) -> None:
    patch.setattr(identity.Identity, "_meet_twin", lambda _self, _address, *, tell: None)


def a_twin_is_told_of_for_ever(patch: Patch) -> None:
    patch.setattr(identity, "CONFLICT_S", 86_400.0)


PLANTED: dict[str, tuple[Callable[[Patch], None], tuple[Step, ...], str]] = {
    "no refutation": (no_refutation, FREEZE, "heal"),
    "no answer to an accusation": (no_refutation, FREEZE, "refutation"),
    "everything said four times": (says_everything_four_times, ASK, "load"),
    "a clock read wrong": (a_clock_read_wrong, SKEWED, "clocks"),
    "who was known is forgotten": (who_was_known_is_forgotten, SITE_REBOOT, "ledger"),
    "no reconnect": (no_reconnect, SPLIT, "heal"),
    "no probes": (no_probes, POWER_OFF, "cut off"),
    "failed probes accuse nobody": (failed_probes_accuse_nobody, POWER_OFF, "completeness"),
    "deaf from 25 s on": (deaf_from_25_s_on, ASK, "refutation"),
    "deaf to n3 from 25 s on": (deaf_to_n3_from_25_s_on, ASK, "accuracy"),
    "a verdict without a witness": (a_verdict_without_a_witness, ASK, "accuracy"),
    "deaf to any contact": (deaf_to_any_contact, POWER_OFF, "cut off"),
    "deaf to refusals": (deaf_to_refusals, ALL_KILLED, "cut off"),
    "cut off now and then": (cut_off_now_and_then, ASK, "cut off"),
    "the last word wins": (the_last_word_wins, SPLIT, "monotone"),
    "no goodbye": (no_goodbye, LEAVE, "goodbye"),
    "always complete": (always_complete, KILL, "ledger"),
    "failed counts as answered": (failed_counts_as_answered, KILL_WHILE_ASKED, "ledger"),
    "the dead are not named": (the_dead_are_not_named, KILL, "ledger"),
    "rows twice": (rows_twice, ASK, "ledger"),
    "rows lost": (rows_lost, ASK, "answered"),
    "a hang-up unnoticed": (hang_up_unnoticed, HANG_UP, "cancellation"),
    "a hang-up unnoticed, while another follows": (
        only_who_follows_is_seen_to_hang_up,
        HANG_UP_BESIDE_ONE_THAT_FOLLOWS,
        "cancellation",
    ),
    "an exception in a scan": (an_exception_in_a_scan, ASK, "own faults"),
    "a circle": (a_circle, ASK, "own faults"),
    "no deadline": (no_deadline, ONE_SLOW, "answered"),
    "a twin is nobody's business": (a_twin_is_nobodys_business, TWIN, "shared name"),
    "a twin is told of for ever": (a_twin_is_told_of_for_ever, TWIN, "shared name"),
    "goes on from now": (goes_on_from_now, FOLLOW_A_RESTART, "followed"),
    "goes on from where it began": (goes_on_from_where_it_began, FOLLOW_A_RESTART, "followed"),
    "is not asked again": (is_not_asked_again, FOLLOW_A_RESTART, "followed"),
    "falls silent, untold": (falls_silent_untold, FOLLOW_A_FREEZE, "followed"),
    "a link is never closed": (a_link_is_never_closed, SPLIT, "leaks"),
    "one that follows for ever": (hang_up_unnoticed, FOLLOW, "leaks"),
    "drains for ever": (drains_for_ever, LEAVE, "leaks"),
    "work for the dead": (work_for_the_dead, ASKER_LOST, "cancellation"),
}


def happen(steps: Sequence[Step]) -> Report:
    return run(Plan("planted", 1, HOSTS, tuple(steps)))


def broken(report: Report) -> set[str]:
    return {name for name, breaches in report.breaches.items() if breaches}


@pytest.mark.parametrize(("plant", "steps", "invariant"), PLANTED.values(), ids=PLANTED)
def test_it_is_found(
    monkeypatch: pytest.MonkeyPatch, plant: Callable[[Patch], None], steps: Sequence[Step], invariant: str
) -> None:
    plant(monkeypatch)
    assert invariant in broken(happen(steps))


def test_no_invariant_is_without_a_fault_that_it_finds() -> None:
    assert {invariant().name for invariant in INVARIANTS} == {
        invariant for _plant, _steps, invariant in PLANTED.values()
    }


@pytest.mark.parametrize("steps", dict.fromkeys(steps for _plant, steps, _invariant in PLANTED.values()))
def test_without_it_all_holds(steps: Sequence[Step]) -> None:
    assert broken(happen(steps)) == set()
