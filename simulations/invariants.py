"""What must always hold. The simulator knows what really happened, and each invariant (`scene`) compares.

The bounds are those of the default configuration at up to 128 nodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Final

from simulations.answers import answer_faults
from simulations.asking import Asked
from simulations.cancelled import Cancelled
from simulations.follows import Follows
from simulations.host import Phase, SimulatedHost
from simulations.scene import DETECTION_S, Breach, Change, Invariant, Scene
from simulations.traffic import Load, Refutation
from varlogd.swim.state import Member, State, rank
from varlogd.wire.query import Outcome

ACCURACY_CALM_S: Final = 15.0
"""A member that no fault has touched for this long is not declared dead: the longest suspicion is over by then."""

HEAL_S: Final = 60.0
"""From the end of the last fault to views that are all true."""

WELL_S: Final = 1.0
"""A host that no fault has touched for this long before a question answers it."""

ANSWER_SLACK_S: Final = 3.0
"""Beyond a question's deadline: the dial, and a ledger over a slow network."""

SHARED_S: Final = 3.0
"""From the start of another node of a name to its being known to all: whom it calls tells the first, that tells the
other, and gossip tells all; if some of that is lost, who is shadowed pings somebody, and hears of the other."""

CLOCKS_S: Final = 30.0
"""By then a clock has been looked at again: every member is probed in turn, one a second, in so small a mesh."""

CLOCK_TICK_S: Final = 0.000_01
"""Clocks are told in microseconds."""

GONE: Final = (Phase.CRASHED, Phase.LEFT)


class Monotone(Invariant):
    name = "monotone"
    promise = "in every view (epoch, incarnation, state) of a member never goes back, and no member vanishes"

    def on_change(self, scene: Scene, change: Change) -> Iterator[Breach]:
        before, after = change.before, change.after
        if before is not None and (after is None or rank(after) < rank(before)):
            became = "nothing" if after is None else rank(after)
            hosts = (change.viewer.name, before.name)
            yield Breach(change.now, f"{hosts[0]}: {before.name} went from {rank(before)} to {became}", hosts)


class Completeness(Invariant):
    name = "completeness"
    promise = (
        f"a member that crashed or left is not live in any live view {DETECTION_S:g} s later, but for a node that"
        " said in this time that it is cut off, or heard of later signs of its life than it knew"
    )

    def __init__(self) -> None:
        self._raised: dict[tuple[str, str], float] = {}
        """(viewer, member) -> when the member was last held live again. Each time takes a claim of a higher rank
        (`Monotone`), told by one that was cut off, so one that is gone runs out of them."""

    def on_change(self, scene: Scene, change: Change) -> Iterator[Breach]:
        before, after = change.before, change.after
        if after is not None and after.live and (before is None or not before.live):
            self._raised[change.viewer.name, after.name] = change.now
        yield from ()

    def on_look(self, scene: Scene, now: float) -> Iterator[Breach]:
        settled = now - DETECTION_S
        gone = [host for host in scene.hosts.values() if host.phase in GONE and host.phase_since <= settled]
        gone = [host for host in gone if not any(_was_there(twin, settled) for twin in _twins(scene, host.name))]
        for viewer in _viewers(scene, now, DETECTION_S) if gone else ():
            for host in gone:
                held = viewer.process and viewer.process.view.get(host.name)
                raised_at = self._raised.get((viewer.name, host.name), 0.0)
                if held and held.live and raised_at <= now - DETECTION_S:
                    since = f"{host.phase.value} since {host.phase_since:.3f}"
                    hosts = (viewer.name, host.name)
                    yield Breach(now, f"{viewer.name} holds {host.name} {held.state.name.lower()}: {since}", hosts)


class Isolated(Invariant):
    name = "cut off"
    promise = (
        "no node says, for however short a time, that it is cut off that could reach another, both being well, or"
        f" whose every dial is refused, for {ACCURACY_CALM_S:g} s"
    )

    def on_look(self, scene: Scene, now: float) -> Iterator[Breach]:
        since = now - ACCURACY_CALM_S
        for viewer in scene.hosts.values():
            if viewer.running and viewer.running.cut_off and _has_been_well(viewer, since):
                others = [host for host in scene.hosts.values() if host is not viewer]
                reached = [host for host in others if scene.wires.connected_since(viewer.place, host.place) <= since]
                for other in (host for host in reached if _has_been_well(host, since)):
                    hosts = (viewer.name, other.name)
                    yield Breach(now, f"{viewer.name} says it is cut off, and {other.name} is there", hosts)
                if reached == others and all(_has_refused(host, since) for host in others):
                    yield Breach(now, f"{viewer.name} says it is cut off, and is refused by all", (viewer.name,))


class Accuracy(Invariant):
    name = "accuracy"
    promise = f"no member that is up, reachable and free of faults for {ACCURACY_CALM_S:g} s is declared dead"

    def on_change(self, scene: Scene, change: Change) -> Iterator[Breach]:
        after = change.after
        if after is None or after.state is not State.DEAD:
            return
        host = scene.hosts[after.name]
        since = change.now - ACCURACY_CALM_S
        untouched = max(host.up_since, host.calm_since) <= since
        if untouched and after.epoch == host.epoch and _reachable_by_all(scene, host, since):
            hosts = (change.viewer.name, host.name)
            yield Breach(change.now, f"{change.viewer.name} declares {host.name} dead, which is well", hosts)


class Goodbye(Invariant):
    name = "goodbye"
    promise = (
        "a member that leaves on purpose is never dead in any view, if neither was touched by a fault since"
        f" {ACCURACY_CALM_S:g} s before: after a cut TCP's next retransmission, and what waits for it, takes its time"
    )

    def on_change(self, scene: Scene, change: Change) -> Iterator[Breach]:
        after = change.after
        if after is None or after.state is not State.DEAD:
            return
        host = scene.hosts[after.name]
        leaves = host.phase in (Phase.LEAVING, Phase.LEFT)
        calm = max(host.calm_since, change.viewer.calm_since) <= host.leave_at - ACCURACY_CALM_S
        if leaves and calm and after.epoch == host.epoch:
            hosts = (change.viewer.name, host.name)
            yield Breach(change.now, f"{change.viewer.name} declares {host.name} dead, which has left", hosts)


class Healed(Invariant):
    name = "heal"
    promise = f"{HEAL_S:g} s after the last fault all views are equal to the truth"

    def at_end(self, scene: Scene, now: float) -> Iterator[Breach]:
        for viewer in scene.hosts.values():
            if viewer.phase is Phase.UP:
                yield from (
                    Breach(now, f"{viewer.name}: {untruth}", (viewer.name, host))
                    for host, untruth in untruths(scene, viewer, now)
                )


class LedgerTruth(Invariant):
    name = "ledger"
    promise = (
        "a ledger has exactly one entry for every member of the view at the start, rows are the ground truth of"
        " who answered and nothing twice, in order, and short is never called complete"
    )

    def on_answer(self, scene: Scene, asked: Asked, now: float) -> Iterator[Breach]:
        for text in answer_faults(asked, {name: host.log for name, host in scene.hosts.items()}):
            yield Breach(now, f"question {asked.number} at {asked.step.host}: {text}", (asked.step.host,))


class Answered(Invariant):
    name = "answered"
    promise = (
        "a node that is up and not frozen answers every question by its deadline, whatever befalls the others, and"
        " every host that is well and live in its view counts as answered (or as late, with a slow disk)"
    )

    def on_answer(self, scene: Scene, asked: Asked, now: float) -> Iterator[Breach]:
        host = scene.hosts[asked.step.host]
        gone = asked.step.gone_after_s is not None and asked.ledger is None
        touched_at = max(host.phase_since, host.stood_still_at)
        if gone or host.phase is not Phase.UP or not host.running or touched_at >= asked.began_at:
            return
        took_s = now - asked.began_at
        question = f"question {asked.number} at {host.name}"
        if asked.ledger is None:
            yield Breach(now, f"{question}: no answer: {asked.failure}", (host.name,))
            return
        if took_s > asked.query.timeout_s + ANSWER_SLACK_S:
            yield Breach(now, f"{question}: took {took_s:.1f} s", (host.name,))
        for entry in asked.ledger.members:
            excused = entry.outcome == Outcome.LATE and scene.hosts[entry.host].slow_disk_until >= asked.began_at
            if entry.outcome != Outcome.ANSWERED and not excused and _is_well(scene, asked, entry.host):
                told = f"{entry.host} is {entry.outcome} ({entry.why}), and is well"
                yield Breach(now, f"{question}: {told}", (host.name, entry.host))


class Shared(Invariant):
    name = "shared name"
    promise = (
        f"where two nodes have gone by one name for {SHARED_S:g} s, all being well, no ledger is complete;"
        f" {HEAL_S:g} s after that nobody speaks of it any more"
    )

    def on_answer(self, scene: Scene, asked: Asked, now: float) -> Iterator[Breach]:
        if asked.ledger is None or not asked.ledger.complete:
            return
        since = asked.began_at - SHARED_S
        for twin in scene.twins:
            host, asker = scene.hosts[twin.name], scene.hosts[asked.step.host]
            steady = all(_has_stood(each, since) for each in (twin, host, asker))
            steady &= not any(since < each.up_since < math.inf for each in _twins(scene, twin.name))
            others = [*scene.hosts.values(), *scene.twins]
            linked = all(scene.wires.connected_since(twin.place, other.place) <= since for other in others)
            if steady and linked and _reachable_by_all(scene, host, since):
                yield Breach(
                    now,
                    f"question {asked.number} at {asker.name}: whole, and {twin.label} was not asked",
                    (twin.name,),
                )

    def at_end(self, scene: Scene, now: float) -> Iterator[Breach]:
        for viewer in scene.hosts.values():
            for member in viewer.running.view.values() if viewer.running is not None else ():
                if member.metadata.twin:
                    told = f"{viewer.name} holds that {member.name} has a twin at {member.metadata.twin}"
                    yield Breach(now, told, (viewer.name, member.name))


class Clocks(Invariant):
    name = "clocks"
    promise = (
        f"a clock in a ledger is as far ahead as it says, give or take its uncertainty, if it has been steady for"
        f" {CLOCKS_S:g} s and the hosts were well"
    )

    def on_answer(self, scene: Scene, asked: Asked, now: float) -> Iterator[Breach]:
        asker = scene.hosts[asked.step.host]
        for entry in asked.ledger.members if asked.ledger is not None else ():
            host = scene.hosts[entry.host]
            steady = max(asker.clock_set_at, host.clock_set_at) <= asked.began_at - CLOCKS_S
            if entry.offset_s is None or entry.uncertainty_s is None or not steady:
                continue
            if not _is_well(scene, asked, entry.host, CLOCKS_S):
                continue
            truth = host.clock_ahead_s - asker.clock_ahead_s
            if abs(entry.offset_s - truth) > entry.uncertainty_s + CLOCK_TICK_S:
                claim = f"{entry.offset_s:+.6f} ± {entry.uncertainty_s:.6f} s"
                told = f"{entry.host}'s clock is {truth:+.6f} s ahead, and said to be {claim}"
                yield Breach(now, f"question {asked.number} at {asker.name}: {told}", (asker.name, host.name))


class NoLeaks(Invariant):
    name = "leaks"
    promise = (
        "at the end no question runs and no stream but one a peer is open; after the stop no task or stream is left"
    )

    def at_end(self, scene: Scene, now: float) -> Iterator[Breach]:
        for host in (*scene.hosts.values(), *scene.twins):
            if host.running is None:
                continue
            if host.running.questions:
                yield Breach(now, f"{host.name} works on {len(host.running.questions)} questions", (host.name,))
            names = [stream.name for stream in host.running.network.streams]
            if len(names) >= len(scene.hosts):
                yield Breach(now, f"{host.name} has {len(names)} open streams: {', '.join(names)}", (host.name,))

    def after_stop(self, scene: Scene, now: float) -> Iterator[Breach]:
        for host in (*scene.hosts.values(), *scene.twins):
            if host.last_process is not None and not host.last_process.over.is_set():
                yield Breach(now, f"{host.name} has not stopped", (host.name,))
        if streams := scene.wires.open_streams:
            yield Breach(now, f"open streams: {', '.join(streams[:10])}", ())


class NoOwnFaults(Invariant):
    name = "own faults"
    promise = "no daemon fails, and none logs an exception of its own"

    def at_end(self, scene: Scene, now: float) -> Iterator[Breach]:
        for at, host, text in scene.own_faults:
            yield Breach(at, f"{host}: {text}", (host,))


INVARIANTS: Final[tuple[Callable[[], Invariant], ...]] = (
    Monotone,
    Completeness,
    Isolated,
    Accuracy,
    Refutation,
    Goodbye,
    Healed,
    LedgerTruth,
    Answered,
    Follows,
    Shared,
    Clocks,
    Cancelled,
    NoLeaks,
    Load,
    NoOwnFaults,
)


def untruths(scene: Scene, viewer: SimulatedHost, now: float) -> Iterator[tuple[str, str]]:
    """What a view has wrong: (host, in words)."""
    view = viewer.process.view if viewer.process is not None else {}
    cut_off = viewer.cut_off_at > now - DETECTION_S
    for name, host in scene.hosts.items():
        held = view.get(name)
        if host.phase is Phase.UP:
            if held is None or held.state is not State.ALIVE or held.epoch != host.epoch:
                yield name, f"{name} is up, and held {_held(held)}"
        elif held is not None and held.live and not cut_off:
            yield name, f"{name} is {host.phase.value}, and held {_held(held)}"


def _viewers(scene: Scene, now: float, settled_s: float) -> Iterator[SimulatedHost]:
    """The hosts whose views count: up, running, not cut off, and back from their own faults for so long.

    Who was cut off has its suspicions begin anew. Where some of the others were killed and some lost power, the last
    node of a mesh may dial one that refuses now and then, and one that is silent at other times: each refusal ends
    its being cut off for some seconds, which is too short for a verdict. What it cannot know it says, again and
    again; that it does so without need is found by `Isolated`, which looks at the same moments.
    """
    for host in scene.hosts.values():
        settled = max(host.phase_since, host.disturbed_at, host.cut_off_at) <= now - settled_s
        if host.phase is Phase.UP and host.running and not host.running.cut_off and settled:
            yield host


def _has_been_well(host: SimulatedHost, since: float) -> bool:
    """Whether a host has been up and free of faults since then, and runs."""
    return host.running is not None and max(host.up_since, host.calm_since) <= since


def _has_stood(host: SimulatedHost, since: float) -> bool:
    """Whether its daemon has been up since then, was never stopped, and runs."""
    return host.running is not None and max(host.up_since, host.stood_still_at) <= since


def _twins(scene: Scene, name: str) -> list[SimulatedHost]:
    return [twin for twin in scene.twins if twin.name == name]


def _was_there(twin: SimulatedHost, since: float) -> bool:
    """Whether a twin runs, or ran since then."""
    return twin.phase not in GONE or twin.phase_since >= since


def _has_refused(host: SimulatedHost, since: float) -> bool:
    """Whether a host without its daemon has been free of faults since then: one that was killed is dialled still."""
    return host.phase is Phase.CRASHED and max(host.phase_since, host.calm_since) <= since


def _is_well(scene: Scene, asked: Asked, name: str, for_s: float = WELL_S) -> bool:
    """Whether a host was live in the view, and since a while before the question it and the asked node were up,
    free of faults and connected; and the only one of its name, for the view may hold the other."""
    if any(_was_there(twin, asked.began_at - DETECTION_S) for twin in _twins(scene, name)):
        return False
    host, asker, since = scene.hosts[name], scene.hosts[asked.step.host], asked.began_at - for_s
    live = asked.views[0].get(name, State.DEAD) <= State.SUSPECT
    untouched = max(host.up_since, host.calm_since, asker.calm_since) <= since
    return live and untouched and scene.wires.connected_since(asker.place, host.place) <= since


def _reachable_by_all(scene: Scene, host: SimulatedHost, since: float) -> bool:
    """Whether every live node has been able to exchange messages with ``host`` all the time since then, none of them
    lost: who loses packets is no judge of others, and their answers are late at best."""
    return all(
        scene.wires.connected_since(host.place, other.place) <= since
        for other in scene.hosts.values()
        if other.phase in (Phase.UP, Phase.LEAVING)
    )


def _held(member: Member | None) -> str:
    if member is None:
        return "for unknown"
    return f"{member.state.name.lower()} at epoch {member.epoch}, incarnation {member.incarnation}"
