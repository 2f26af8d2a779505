"""soak_mesh.py [--n 20] [--asks 100] [--seed S]: ask a mesh while its daemons are killed, stopped and started.

Before each question one thing may happen to one daemon: kill -9, a graceful leave, a start. Any daemon that runs
is asked, and its ledger is held against what was done: one entry for every daemon there has been; a daemon that
has been up and untouched for `SETTLED_S` has answered with exactly its own rows; one gone for as long is dead
or left, as it went; nothing that was gone when asked has answered; nothing comes twice; `complete` says no more than
that. Exit status 1 and the first fault if it is not so.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import trio
from bed import VARLOGD, Mesh, Node, bed, url_of

from varlogd import client
from varlogd.wire.query import Ledger, LineFilter, Outcome, Query

MARKS = 7
"""Rows on each daemon that the question finds; the other lines are there to be scanned."""

SETTLED_S = 12.0
"""After so long everybody must know: kill -9 is known in 3 to 4 s on two cores, a start in one."""

QUESTION = Query(filters=(LineFilter("|=", ("MARK",)),), timeout_s=20)


class Fault(Exception):
    """A ledger that is not true."""


@dataclass
class Truth:
    """What was done to each daemon: its last state and since when."""

    state: dict[str, str] = field(default_factory=dict)
    since: dict[str, float] = field(default_factory=dict)

    def note(self, node: Node, state: str) -> None:
        self.state[node.name] = state
        self.since[node.name] = time.monotonic()

    def settled(self, name: str, at: float) -> bool:
        return at - self.since[name] >= SETTLED_S


def write_logs(node: Node) -> None:
    lines = [f"2026-11-22T10:00:{i % 60:02}.{i:06} INFO nothing to see {i}" for i in range(20_000)]
    for mark in range(MARKS):
        lines[mark * 2500] += f" MARK {node.name}-{mark}"
    (node.root / "app.log").write_text("\n".join(lines) + "\n")


def disturb(rng: random.Random, mesh: Mesh, truth: Truth) -> str:
    """Do one thing to one daemon, keeping half of them up; what was done."""
    up = [node for node in mesh.nodes if truth.state[node.name] == "up"]
    gone = [node for node in mesh.nodes if truth.state[node.name] != "up"]
    deed = rng.choice(["kill", "leave", "start", "nothing", "nothing"])
    if deed == "start" and gone:
        node = rng.choice(gone)
        assert node.process is not None
        node.process.wait()
        mesh.start(node, rng.choice(up))
        truth.note(node, "up")
    elif deed in ("kill", "leave") and len(up) > len(mesh.nodes) // 2:
        node = rng.choice(up)
        (mesh.kill if deed == "kill" else mesh.leave)(node)
        truth.note(node, "dead" if deed == "kill" else "left")
    else:
        return ""
    return f"{deed} {node.name}"


async def ask(url: str) -> tuple[list[bytes], Ledger]:
    async with client.ask(url, QUESTION) as answer:
        rows = [row.line.rpartition(b" ")[2] async for row in answer]
    return rows, answer.ledger


def judge(rows: list[bytes], ledger: Ledger, truth: Truth, asked_at: float) -> None:
    """Raise Fault unless the ledger is true to what was done."""
    entries = {entry.host: entry for entry in ledger.members}
    if sorted(entries) != sorted(truth.state) or len(entries) != len(ledger.members):
        raise Fault(f"the ledger names {sorted(entries)}, not each of {sorted(truth.state)} once")
    got = Counter(row.decode().partition("-")[0] for row in rows)
    if len(set(rows)) != len(rows):
        raise Fault("a row came twice")
    for name, entry in entries.items():
        _judge_one(name, entry.outcome, got[name], truth, asked_at)
        if entry.rows != got[name]:
            raise Fault(f"{name}: the ledger says {entry.rows} rows, {got[name]} came")
    if ledger.complete != all(entry.outcome in ("answered", "left") for entry in ledger.members):
        raise Fault("complete does not follow from the outcomes")


def _judge_one(name: str, outcome: Outcome, rows: int, truth: Truth, asked_at: float) -> None:
    state = truth.state[name]
    if outcome == Outcome.ANSWERED and (rows != MARKS or state != "up"):
        raise Fault(f"{name} is said to have answered: {rows} of {MARKS} rows came, and it is {state}")
    if truth.settled(name, asked_at):
        want = "answered" if state == "up" else state
        if outcome != want:
            raise Fault(
                f"{name} has been {state} for {asked_at - truth.since[name]:.1f} s and is said to be {outcome}"
            )


def run(n: int, asks: int, seed: int) -> Mapping[str, object]:
    rng = random.Random(seed)
    truth = Truth()
    took: list[float] = []
    outcomes: Counter[str] = Counter()
    with bed() as (processes, home):
        mesh = Mesh(VARLOGD, processes, home, n)
        for node in mesh.nodes:
            write_logs(node)
        print(f"formed in {mesh.form():.1f} s", flush=True)
        for node in mesh.nodes:
            truth.note(node, "up")
        for number in range(asks):
            deed = disturb(rng, mesh, truth)
            until = time.monotonic() + rng.uniform(0.0, 1.5)
            while time.monotonic() < until:
                mesh.look()
                time.sleep(0.05)
            ready = [node for node in mesh.nodes if truth.state[node.name] == "up" and joined(mesh, node, truth)]
            node = rng.choice(ready)
            asked_at = time.monotonic()
            rows, ledger = trio.run(ask, url_of(node))
            took.append(time.monotonic() - asked_at)
            counts = Counter(entry.outcome.value for entry in ledger.members)
            outcomes.update(counts)
            print(f"{number:3} {deed:12} asked {node.name}: {dict(counts)} {took[-1]:.3f} s", flush=True)
            judge(rows, ledger, truth, asked_at)
        false_deaths = [f"{each.observer} of {each.name}" for each in mesh.false_deaths]
    took.sort()
    return {
        "n": n, "asks": asks, "seed": seed, "outcomes": dict(outcomes), "false_deaths": false_deaths,
        "median_s": round(took[len(took) // 2], 3), "max_s": round(took[-1], 3),
    }  # fmt: skip


def joined(mesh: Mesh, node: Node, truth: Truth) -> bool:
    """Whether a daemon that runs knows of every other (a newcomer's view at its start is small, and true)."""
    mesh.look()
    return len(node.view) == len(mesh.nodes) or truth.settled(node.name, time.monotonic())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=20)
    parser.add_argument("--asks", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    args = parser.parse_args()
    print(f"seed {args.seed}")
    try:
        print(json.dumps(run(args.n, args.asks, args.seed)))
    except Fault as fault:
        print(f"FAULT: {fault}\nreplay: soak_mesh.py --n {args.n} --asks {args.asks} --seed {args.seed}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
