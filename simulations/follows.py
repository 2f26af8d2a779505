"""Judging what came of one that follows: its rows against what the hosts have really written, its notices against
what is missing.

What must hold, whatever befell the hosts:

* a row is what its host wrote since following began; those of a host come in the order in which they were written,
  each once, and with none left out between two of them, unless its asker was told so then (``lost``, ``dropped``);
* while the last that was told of a host is that it gives (that it joined, or is back), or nothing was from the start
  on, all that it wrote comes within `TOLD_S`;
* one that is well and live in the view gives.

Left out are hosts of whose name there were two: the asked node goes over from one to the other, and says so, but
where the logs of one stood says nothing of those of the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from simulations.following import HUNG_UP, Followed
from simulations.host import SimulatedHost
from simulations.scene import Breach, Invariant, Scene
from simulations.writing import Written
from varlogd.swim.state import State

FOLLOWED_S: Final = 30.0
"""Who has been well for so long gives again: it was dialled again after five seconds at most, and once more if that
was just too early."""

TOLD_S: Final = 10.0
"""From a line that is written to its row, or to its being told that the host gives no more: who is silent for five
seconds (``stall_s``) has failed, and the rest is for slow networks and retransmissions."""

BEGUN_S: Final = 0.5
"""What is told so soon after the word that rows come may be of before."""

GIVES: Final = ("joined", "back")
"""The notices after which rows of a host come."""

_STANDS: Final = (*GIVES, "left", "dead", "failed", "refused", "flapping")

Truth = Mapping[str, Sequence[Written]]
"""All that was written, by host."""


class Follows(Invariant):
    name = "followed"
    promise = (
        f"who follows gets every line that a host writes, once and in its order, within {TOLD_S:g} s as long as the"
        " last that was told of the host is that it gives; one that is well, and live in the view, for"
        f" {FOLLOWED_S:g} s gives"
    )

    def on_hang_up(self, scene: Scene, followed: Followed, now: float) -> Iterator[Breach]:
        asked = followed.step.host
        shared = {twin.name for twin in scene.twins}
        truth = {name: log.lines for name, log in scene.written.items() if name not in shared}
        for host, text in self._faults(scene, followed, truth, now):
            yield Breach(now, f"follow {followed.number} at {asked}: {text}", (asked, host))

    def _faults(self, scene: Scene, followed: Followed, truth: Truth, now: float) -> Iterator[tuple[str, str]]:
        """What is wrong, and with which host."""
        asker = scene.hosts[followed.step.host]
        yield from row_faults(followed, truth)
        if asker.name not in truth or not _does_its_work(asker, followed, now):
            return
        if _has_been_well(asker, followed.began_at) and (followed.ending != HUNG_UP or _never_began(followed, now)):
            yield asker.name, f"rows since {followed.live_at}, {followed.ending}, and it is well"
        for name in truth:
            if not _is_held_up(scene.hosts[name], now - 2 * TOLD_S):
                yield from ((name, text) for text in silent_faults(followed, name, truth[name]))
            if _should_give(scene, followed, name, now) and not gives(followed, name, now - TOLD_S):
                yield name, f"{name} is well, and does not give"


def row_faults(followed: Followed, truth: Truth) -> Iterator[tuple[str, str]]:
    """What is wrong with the rows that came of these hosts: of which one, and in words."""
    numbers = {host: {written.line: number for number, written in enumerate(truth[host])} for host in truth}
    last: dict[str, int] = {}
    came_at: dict[str, float] = {}
    for at, row in followed.rows:
        host = row.host
        if host not in truth:
            continue
        number = numbers[host].get(row.line)
        if number is None:
            yield host, f"a row of {host} that it did not write: {row.line!r}"
            continue
        written_at, before = truth[host][number].at, last.get(host, number - 1)
        if not followed.began_at <= written_at <= at:
            yield host, f"{row.line!r}, written at {written_at:.3f}, came at {at:.3f}"
        if number <= before:
            yield host, f"{row.line!r} came twice, or behind a later one"
        elif number > before + 1 and not was_told(followed, host, came_at[host], at):
            yield host, f"{number - before - 1} lines are left out before {row.line!r}, and nothing is told"
        last[host], came_at[host] = number, at


def silent_faults(followed: Followed, host: str, written: Sequence[Written]) -> Iterator[str]:
    """Whether lines of a host that is said to give have not come."""
    since, until = given_since(followed, host), (followed.ended_at or 0.0) - TOLD_S
    if since is None or not gives(followed, host, until):
        return
    got = {row.line for _, row in followed.rows if row.host == host}
    missing = [each for each in written if since <= each.at <= until and each.line not in got]
    if missing and not was_told(followed, host, missing[0].at, math.inf):
        first = missing[0]
        yield f"{len(missing)} lines of {host} have not come, such as {first.line!r} of {first.at:.3f}, untold"


def gives(followed: Followed, host: str, at: float) -> bool:
    """Whether the last that was told of a host is that it gives, and was told by then."""
    stands = _standings(followed, host)
    if not stands:
        return _was_there(followed, host)
    return stands[-1][0] <= at and stands[-1][1] in GIVES


def given_since(followed: Followed, host: str) -> float | None:
    """Since when all that a host writes is promised, but for what is told; None: it is not."""
    live_at, stands = followed.live_at, _standings(followed, host)
    if live_at is None:
        return None
    if not stands or (stands[0][0] > live_at + BEGUN_S and stands[0][1] != "joined"):
        return live_at if _was_there(followed, host) else None
    if stands[0][1] == "joined" and len(stands) == 1:
        return stands[0][0] + TOLD_S
    return next((at for at, event in stands if event == "back"), None)


def was_told(followed: Followed, host: str, since: float, until: float) -> bool:
    """Whether it was told, at a time that fits, that rows of a host, or notices, were left out."""
    near = [notice for at, notice in followed.notices if since - TOLD_S <= at <= until + TOLD_S]
    return any(
        (notice.host == host and notice.event in ("lost", "dropped")) or (notice.event == "dropped" and notice.why)
        for notice in near
    )


def _standings(followed: Followed, host: str) -> list[tuple[float, str]]:
    return [(at, notice.event) for at, notice in followed.notices if notice.host == host and notice.event in _STANDS]


def _was_there(followed: Followed, host: str) -> bool:
    """Whether the asked node held a host live from the start until rows came."""
    live_at = followed.live_at
    early = [view for at, view in followed.views if live_at is not None and at <= live_at]
    return bool(early) and all(view.get(host, State.DEAD) <= State.SUSPECT for view in early)


def _does_its_work(asker: SimulatedHost, followed: Followed, now: float) -> bool:
    """Whether the asked daemon could tell of what happened until shortly before the end."""
    stood_since = now - 2 * TOLD_S if asker.running is not None else followed.began_at
    return asker.stood_still_at <= stood_since and not _is_held_up(asker, stood_since)


def _is_held_up(host: SimulatedHost, since: float) -> bool:
    """Whether its daemon has been slow since then, or its disk: rows come late, and signs of life do not."""
    return host.stood_still_at > since or host.slow_disk_until > since


def _never_began(followed: Followed, now: float) -> bool:
    return followed.live_at is None and now >= followed.began_at + TOLD_S


def _has_been_well(host: SimulatedHost, since: float) -> bool:
    """Whether its daemon has been up and on its feet since then."""
    stands = host.running is not None and not _is_held_up(host, since)
    return stands and host.up_since <= since


def _should_give(scene: Scene, followed: Followed, name: str, now: float) -> bool:
    """Whether a host has been well, within reach and live in the view, and the asked node well, for `FOLLOWED_S`, or
    all the time, if that is long enough to begin."""
    if now < followed.began_at + TOLD_S + BEGUN_S or _is_damped(followed, name):
        return False
    since = max(now - FOLLOWED_S, followed.began_at)
    host, asker = scene.hosts[name], scene.hosts[followed.step.host]
    well = all(_has_been_well(each, since) and each.calm_since <= since for each in (host, asker))
    before = max(at for at, _ in followed.views if at <= since)
    live = all(view.get(name, State.DEAD) <= State.SUSPECT for at, view in followed.views if at >= before)
    return well and live and scene.wires.connected_since(asker.place, host.place) <= since


def _is_damped(followed: Followed, host: str) -> bool:
    """Whether it was told that a host comes and goes, and nothing of it since: its rows come all the same."""
    return [event for _, event in _standings(followed, host)][-1:] == ["flapping"]
