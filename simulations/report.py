"""What people read of a run: a timeline, the invariants, what was reached, and how to see it again; and its page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from simulations.asking import Asked
from simulations.run import Report, stop_s
from simulations.scene import Breach
from simulations.story import Answer, Story, Verdict
from simulations.trace import Event, Kind
from varlogd.wire.query import Ledger, Outcome

SAME_NEWS_S: Final = 5.0
"""The same news from several nodes within this time is one line of the timeline."""

SHOWN: Final = (Kind.FAULT, Kind.MEMBER, Kind.ASK, Kind.BROKEN)

LAST_EVENTS: Final = 12
"""Of each host involved in a broken invariant."""


@dataclass
class _News:
    """One line of the timeline: what, and when which hosts said so."""

    first: Event
    also: list[Event]

    def line(self) -> str:
        others = "".join(f", {event.host} +{event.at - self.first.at:.3f}" for event in self.also)
        return f"{self.first.at:9.3f}  {self.first.host or '*':<5} {self.first.text}{others}"


def lines(report: Report, replay: str) -> Iterator[str]:
    """Everything after the seed. ``replay``: the command that shows it again."""
    plan = report.plan
    yield f"{plan.scenario}: {len(plan.hosts)} nodes, {len(plan.steps)} steps, {report.virtual_s:.0f} virtual seconds"
    yield ""
    yield from (news.line() for news in _grouped(report.events))
    yield ""
    yield from (_verdict(report, invariant.name, invariant.promise) for invariant in report.invariants)
    yield ""
    counts = ", ".join(f"{count} {what}" for what, count in sorted(report.sometimes.items()))
    yield f"reached: {len(report.asks)} questions, {counts}"
    yield "every view true, s after: " + "; ".join(f"{what} {took_s:.1f}" for what, took_s in report.settled)
    per_second = report.messages / (len(plan.hosts) * report.virtual_s)
    yield f"load: {report.messages} messages, {per_second:.1f} a node and second; {report.wire_bytes} bytes"
    yield f"trace: {report.digest}"
    if not report.passed:
        yield ""
        yield from _post_mortem(report)
    yield f"replay: {replay}"


def story(report: Report) -> Story:
    """What the page tells of it, up to when all were told to stop: that, and what they say to it, is no fault."""
    plan = report.plan
    end_s = min(report.virtual_s, stop_s(plan))
    first = {name: breaches[0] for name, breaches in report.breaches.items() if breaches}
    broken = {name: f"at {breach.at:.1f} s: {breach.text}" for name, breach in first.items()}
    return Story(
        title=f"{plan.scenario}: a simulated mesh of {len(plan.hosts)} nodes, seed {plan.seed}",
        seed=plan.seed,
        setting=f"Here the daemons of {len(plan.hosts)} hosts did this over connections (TCP) for {end_s:.0f}"
        " seconds of simulated time, each with some logs of its own, and the faults below befell them.",
        end_s=end_s,
        happened=[(event.at, event.text) for event in report.events if event.kind is Kind.FAULT],
        beliefs=[belief for belief in report.beliefs if belief.at < end_s],
        load=[(at, load) for at, load in report.load if at <= end_s],
        verdicts=[Verdict(invariant.promise, broken.get(invariant.name, "")) for invariant in report.invariants],
        digest=report.digest,
        answers=[_answer(asked, end_s) for asked in report.asks],
    )


def _answer(asked: Asked, end_s: float) -> Answer:
    ledger = asked.ledger
    return Answer(
        at=asked.began_at,
        until=end_s if asked.ended_at is None else asked.ended_at,
        host=asked.step.host,
        question=asked.step.question,
        came="none" if ledger is None else "whole" if ledger.complete else "partial",
        rows=len(asked.rows),
        why=asked.failure if ledger is None else "; ".join(_reasons(ledger)),
    )


def _reasons(ledger: Ledger) -> Iterator[str]:
    """Why there is no more in an answer."""
    for entry in ledger.members:
        if entry.outcome != Outcome.ANSWERED:
            yield f"{entry.host} {entry.outcome}" + (f" ({entry.why})" if entry.why else "")
    if ledger.doubt:
        yield ledger.doubt
    if ledger.limit_reached:
        yield "as many rows as were asked for"


def _grouped(events: Iterable[Event]) -> list[_News]:
    """The timeline, with what several hosts say at about the same time in one place."""
    told: list[_News] = []
    recent: dict[str, _News] = {}
    for event in events:
        if event.kind not in SHOWN:
            continue
        news = recent.get(event.text)
        if event.kind is Kind.MEMBER and news is not None and event.at - news.first.at <= SAME_NEWS_S:
            news.also.append(event)
            continue
        recent[event.text] = _News(event, [])
        told.append(recent[event.text])
    return told


def _verdict(report: Report, name: str, promise: str) -> str:
    broken = report.breaches[name]
    if not broken:
        return f"ok      {name}: {promise}"
    return f"BROKEN  {name}: {promise}\n        at {broken[0].at:.3f} s: {broken[0].text}"


def _post_mortem(report: Report) -> Iterator[str]:
    """The first broken invariant, and what the hosts involved did last."""
    name, breach = min(
        ((name, breach) for name, breaches in report.breaches.items() for breach in breaches),
        key=lambda found: found[1].at,
    )
    yield f"first broken: {name} at {breach.at:.3f} s: {breach.text}"
    for host in breach.hosts:
        yield f"the last events of {host}:"
        yield from (f"{event.at:9.3f}  {event.text}" for event in _last(report.events, host, breach))
    yield ""


def _last(events: Sequence[Event], host: str, breach: Breach) -> Sequence[Event]:
    return [event for event in events if event.host == host and event.at <= breach.at][-LAST_EVENTS:]
