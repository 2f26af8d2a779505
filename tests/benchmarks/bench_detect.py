"""How long until all know that a member is gone, killed or on purpose; and is one ever declared dead that is not?

    python tests/benchmarks/bench_detect.py [--n 5 --n 20] [--trials 10]

A mesh of varlogd daemons and one of Serf agents run beside each other, each on its defaults. In a trial a random
member of each is killed with SIGKILL (or told to leave) at the same moment, and the logs of the others are watched
until each has said so; then both are started again. The first node is never struck: it is the seed of those that
come back. A death of a member that was not killed is false, whoever says it, at any time of the run.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bed import VARLOGD, BedError, Kind, Mesh, Node, Skip, Word, bed, look_for, wait_until
from peer_serf import serf
from report import Report, median, percentile

WORDS: Mapping[Word, str] = {"dead": "kill -9", "left": "leave"}
"""What the survivors should say, and after what."""

SEEDS = 1
"""The first so many nodes are never struck."""

SETTLE_S = 1.5
"""Before each trial, with up to one more second at random: a probe interval, so that trials start anywhere in one."""

KNOWN_TIMEOUT_S = 60.0
"""How long the survivors may take: longer, and the trial is told as failed."""


@dataclass
class Victim:
    """One mesh's part in one trial."""

    mesh: Mesh
    node: Node
    word: Word
    at: float = 0.0
    ended_at: float | None = None

    def strike(self) -> None:
        """Kill it, or tell it to leave."""
        self.at = self.mesh.kill(self.node) if self.word == "dead" else self.mesh.leave(self.node)

    def done(self) -> bool:
        """Whether its process has ended and every survivor has said of it what it should."""
        if self.ended_at is None and not self.node.runs:
            self.ended_at = time.monotonic()
        return self.ended_at is not None and len(self.known()) == len(self.mesh.nodes) - 1

    def known(self) -> list[float]:
        """When survivors said it, in seconds from the signal, in order."""
        words = self.mesh.first_words(self.node, self.at, self.word)
        return sorted(sighting.at - self.at for sighting in words.values())


@dataclass
class Times:
    """What was measured of one mesh: seconds from the signal, an entry a trial. ``ended``: the struck process."""

    first: list[float] = field(default_factory=list)
    all: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    back: list[float] = field(default_factory=list)
    unknown: int = 0

    def write_down(self, victim: Victim) -> None:
        """The outcome of one trial."""
        known = victim.known()
        if victim.ended_at is None or len(known) < len(victim.mesh.nodes) - 1:
            self.unknown += 1
            return
        self.first.append(known[0])
        self.all.append(known[-1])
        self.ended.append(victim.ended_at - victim.at)

    def row(self, title: str) -> dict[str, object]:
        """A row of the table."""
        return {
            "mesh": title,
            "first, median": _seconds(median(self.first)),
            "all, median": _seconds(median(self.all)),
            "all, max": _seconds(percentile(self.all, 100)),
            "process ended": _seconds(median(self.ended)),
            "back in view": _seconds(median(self.back)),
            "trials": len(self.all),
            "not known to all": self.unknown,
        }


def _seconds(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def trial(meshes: Sequence[Mesh], word: Word, rng: random.Random, times: Mapping[str, Times]) -> None:
    """Strike one member of each mesh, wait until it is known, and bring it back."""
    look_for(meshes, SETTLE_S + rng.random())
    victims = [Victim(mesh, rng.choice(mesh.nodes[SEEDS:]), word) for mesh in meshes]
    for victim in victims:
        victim.strike()
    wait_until(meshes, lambda: {victim.done() for victim in victims} == {True}, KNOWN_TIMEOUT_S)
    for victim in victims:
        times[victim.mesh.kind.title].write_down(victim)
    _bring_back(victims, times)


def _bring_back(victims: Sequence[Victim], times: Mapping[str, Times]) -> None:
    """Start the victims again and wait until each mesh is of one view."""
    began = time.monotonic()
    waiting = {victim.mesh.kind.title: victim.mesh for victim in victims}
    for victim in victims:
        victim.mesh.stop(victim.node)  # one that was told to leave and did not
        victim.mesh.start(victim.node, victim.mesh.nodes[0])

    def all_formed() -> bool:
        for title, mesh in list(waiting.items()):
            if mesh.formed():
                times[title].back.append(time.monotonic() - began)
                del waiting[title]
        return not waiting

    if not wait_until([victim.mesh for victim in victims], all_formed, KNOWN_TIMEOUT_S):
        raise BedError(f"{', '.join(waiting)}: not of one view {KNOWN_TIMEOUT_S:g} s after a restart")


def measure(n: int, trials: int, kinds: Sequence[Kind], rng: random.Random, report: Report) -> None:
    with bed() as (processes, home):
        meshes = [Mesh(kind, processes, home, n) for kind in kinds]
        for mesh in meshes:
            report.say(f"{n} nodes: {mesh.kind.title} formed in {mesh.form():.1f} s")
        tables: dict[Word, dict[str, Times]] = {}
        began = time.monotonic()
        for word in WORDS:
            tables[word] = {kind.title: Times() for kind in kinds}
            for number in range(trials):
                trial(meshes, word, rng, tables[word])
                report.say(f"{n} nodes: trial {number + 1} of {trials}, {word}")
        look_for(meshes, KNOWN_TIMEOUT_S / 6)
        watched_s = time.monotonic() - began
    for word, title in WORDS.items():
        rows = [times.row(kind) for kind, times in tables[word].items()]
        report.show(f"{word}_n{n}", f"{title}, {n} nodes, {trials} trials: seconds until the others know", rows)
    report.show(
        f"false_deaths_n{n}", f"False deaths in these {watched_s:.0f} s", [_false_deaths(mesh) for mesh in meshes]
    )


def _false_deaths(mesh: Mesh) -> dict[str, object]:
    false = mesh.false_deaths
    return {"mesh": mesh.kind.title, "members": len({one.name for one in false}), "said": len(false)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--n", type=int, action="append", help="nodes (repeatable; default: 5 and 20)")
    parser.add_argument("--trials", type=int, default=10, help="of each sort (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of who is struck, and when (default: %(default)s)")
    chosen = parser.parse_args()
    report = Report("bench_detect", "how long until all know that a member is gone")
    kinds = [VARLOGD]
    try:
        kinds.append(serf())
    except Skip as skip:
        report.skip("Serf", str(skip))
    for n in chosen.n or (5, 20):
        measure(n, chosen.trials, kinds, random.Random(chosen.seed), report)
    report.close()


if __name__ == "__main__":
    main()
