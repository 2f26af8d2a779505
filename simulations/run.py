"""One run: build the hosts, let the plan happen, heal, demand convergence, stop, and judge.

    0 s           all hosts start, within `START_SPAN_S`
    ...           the steps of the plan
    + HEAL_S      after the last step is over everything must be true again
    + STOP_S      all daemons leave; nothing may remain

A run never touches the real clock, network, threads or chance (`determinism`), but for a temporary directory
with the hosts' logs, whose path is not part of the trace.
"""

from __future__ import annotations

import logging
import random
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import trio
from msgspec import structs

from simulations.acts import Acts
from simulations.asking import QUESTIONS, Asked, View, put
from simulations.chronicle import Chronicle
from simulations.clock import Deadlock, Livelock, run_virtually
from simulations.determinism import RunQueue, install_run_queue, seeded, trapped
from simulations.following import Followed, follow
from simulations.host import LogCapture, Phase, SimulatedHost, Site, Troubles, is_frozen
from simulations.invariants import HEAL_S, INVARIANTS, NoOwnFaults, untruths
from simulations.logs import EPOCH_NS, HostLog
from simulations.network import Wires
from simulations.plan import Ask, ClockJump, Fault, Follow, FullDisk, Plan, SlowDisk, Step, Twin, describe
from simulations.progress import Watch, nobody
from simulations.reached import reached
from simulations.scene import Breach, Change, Invariant
from simulations.story import Belief
from simulations.talk import Talk, overheard
from simulations.trace import Event, Kind, Trace
from simulations.writing import LiveLog, write_on
from varlogd.swim.state import Member

START_SPAN_S: Final = 2.0
"""All daemons start within this time, in any order: seeds may come up after those that want to join them."""

LOOK_S: Final = 0.25
"""Between two looks at the whole world."""

STOP_S: Final = 10.0
"""From the word to stop until nothing may remain: the daemon's drain and the polite closes, with room."""

BREACHES_MAX: Final = 5
"""Of one invariant, kept: the first says most."""

SEEDS: Final = 3
"""Hosts that everybody joins through."""


@dataclass(frozen=True)
class Report:
    """What came of a run. ``breaches`` is by invariant; ``settled``: how long (s) after each fault, or its end,
    every view was true. ``load``: (time, messages per node and second)."""

    plan: Plan
    events: Sequence[Event]
    digest: str
    invariants: Sequence[Invariant]
    breaches: Mapping[str, Sequence[Breach]]
    asks: Sequence[Asked]
    follows: Sequence[Followed]
    virtual_s: float
    settled: Sequence[tuple[str, float]]
    messages: int
    wire_bytes: int
    sometimes: Mapping[str, int]
    beliefs: Sequence[Belief]
    load: Sequence[tuple[float, float]]

    @property
    def passed(self) -> bool:
        return not any(self.breaches.values())


def stop_s(plan: Plan) -> float:
    """When everything must have healed, and all daemons are told to stop."""
    return plan.settled_s + HEAL_S


def end_of_run_s(plan: Plan) -> float:
    """When a run is over."""
    return stop_s(plan) + STOP_S


def run(plan: Plan, watch: Watch = nobody) -> Report:
    """Let a plan happen. The same plan gives the same report, in any process. ``watch`` is told how far it is."""
    with tempfile.TemporaryDirectory(prefix="varlogd-simulation-") as root:
        simulation = _Simulation(plan, Path(root), watch)
        chance = random.Random(f"{plan.seed}/libraries")
        with seeded(chance, simulation.wall_s), _logs_to(simulation.capture), _losses_to(simulation.lost):
            try:
                with overheard(simulation.talk):
                    run_virtually(simulation.main, simulation.at_rest)
            except (Deadlock, Livelock) as trouble:
                simulation.broke_off(trouble)
        return simulation.report()


class _Simulation:
    """The world of one run: an `invariants.Scene`."""

    def __init__(self, plan: Plan, root: Path, watch: Watch) -> None:
        self.trace = Trace()
        self.capture = LogCapture(self.trace)
        self.wires = Wires(plan.hosts, random.Random(f"{plan.seed}/network"), self.trace)
        self.hosts: dict[str, SimulatedHost] = {}
        self.twins: list[SimulatedHost] = []
        self.asks: list[Asked] = []
        self.follows: list[Followed] = []
        self.written: dict[str, LiveLog] = {}
        self.talk = Talk()
        self._plan = plan
        self._watch = watch
        self._rng = random.Random(f"{plan.seed}/start")
        self._invariants = [make() for make in INVARIANTS]
        self.breaches: dict[str, list[Breach]] = {invariant.name: [] for invariant in self._invariants}
        self._root = root
        self._there: dict[str, SimulatedHost] = {}  # by place: `acts`
        self._acts = Acts(self.wires, self._there, self._move_in, self._clone, self._note, plan.seed)
        self._views: dict[tuple[str, int], dict[str, Member]] = {}
        self._chronicle = Chronicle()
        self._next_look = 0.0
        self._unsettled: list[tuple[str, float]] = []
        self._settled: list[tuple[str, float]] = []
        self._now = 0.0
        self._lost: list[tuple[float, str, str]] = []

    @property
    def own_faults(self) -> Sequence[tuple[float, str, str]]:
        failures = [
            (process.failed_at, host.label, f"the daemon failed: {process.failure!r}")
            for host in (*self.hosts.values(), *self.twins)
            for process in host.processes
            if process.failure is not None
        ]
        return [*self.capture.faults, *failures, *self._lost]

    @property
    def messages(self) -> int:
        return sum(process.messages for host in self.hosts.values() for process in host.processes)

    def lost(self, what: str) -> None:
        """Something went wrong where no code could catch it: a finalizer, an object never closed."""
        self._lost.append((self._now, "*", what))

    def broke_off(self, trouble: Deadlock | Livelock) -> None:
        """The run could not go on."""
        self.breaches[NoOwnFaults.name].append(Breach(self._now, str(trouble), ()))

    def wall_s(self) -> float:
        """For log records: the simulated wall clock."""
        return EPOCH_NS / 1e9 + self._now

    async def main(self) -> None:
        """The whole run; the root task of its `trio.run`."""
        queue = install_run_queue(is_frozen)
        with trapped():
            async with trio.open_nursery() as nursery:
                self._build(queue, nursery)
                nursery.start_soon(self._start_all)
                for step in self._plan.steps:
                    nursery.start_soon(self._take, step)
                await trio.sleep_until(stop_s(self._plan))
                self._ask_invariants(lambda invariant: invariant.at_end(self, self._now))
                await self._stop_all()
                self._ask_invariants(lambda invariant: invariant.after_stop(self, self._now))
                nursery.cancel_scope.cancel()

    def at_rest(self, now: float) -> None:
        """Look at the world at the end of an instant."""
        self._now = now
        self._watch(now)
        changes = [change for host in self.hosts.values() for change in self._changes(host)]
        for change in changes:
            self._ask_invariants(partial(_on_change, self, change))
        for change in (*changes, *(change for twin in self.twins for change in self._changes(twin))):
            self._chronicle.hear(change)
        if changes or now >= self._next_look:
            self._settle(now)
        if now >= self._next_look:
            self._next_look = now + LOOK_S
            self._chronicle.look(self, now)
            for host in self.hosts.values():
                if host.process is not None and host.process.cut_off:
                    host.cut_off_at = now
            self._ask_invariants(lambda invariant: invariant.on_look(self, now))

    def report(self) -> Report:
        return Report(
            plan=self._plan,
            events=self.trace.events,
            digest=self.trace.digest,
            invariants=self._invariants,
            breaches=self.breaches,
            asks=self.asks,
            follows=self.follows,
            virtual_s=self._now,
            settled=self._settled,
            messages=self.messages,
            wire_bytes=self.trace.wire_bytes,
            sometimes=reached(
                self.trace.events, self.asks, self.follows, self.talk.sometimes, self.wires.windows_filled
            ),
            beliefs=self._chronicle.beliefs.all,
            load=self._chronicle.load,
        )

    def _build(self, queue: RunQueue, nursery: trio.Nursery) -> None:
        seeds = tuple(f"{name}:8514" for name in self._plan.hosts[:SEEDS])
        self._site = Site(self.wires, self.trace, queue, nursery, self._plan.seed, seeds)
        for name in self._plan.hosts:
            self._there[name] = self._make(name, name, Troubles())

    def _make(self, name: str, place: str, troubles: Troubles) -> SimulatedHost:
        log = HostLog(name, len(self.hosts), random.Random(f"{self._plan.seed}/logs/{name}"))
        log.write(self._root / name)
        self.hosts[name] = host = SimulatedHost(self._site, log, self._root / name, place, troubles)
        if any(isinstance(step, Follow) for step in self._plan.steps):
            self.written[name] = LiveLog(name, self._root / name, random.Random(f"{self._plan.seed}/live/{name}"))
            self._site.nursery.start_soon(write_on, self.written[name], self._plan.steps, partial(self._is_on, host))
        return host

    def _is_on(self, host: SimulatedHost) -> bool:
        """Whether a machine has power, and its place is not another's."""
        return self._there.get(host.place) is host and not self.wires.is_dark(host.place)

    def _move_in(self, place: str, name: str) -> SimulatedHost | None:
        """A host for a place whose host is gone; None if there is, or was, one of that name."""
        if name in self.hosts:
            return None
        return self._make(name, place, self._there[place].troubles)

    def _clone(self, place: str, state: bool) -> SimulatedHost:
        """A machine with the name and the logs of the host at this place, and what is remembered there, if so."""
        like = self._there[place]
        label = f"{like.name}-twin{len(self.twins) + 1}"
        self.wires.add(label)
        twin = SimulatedHost(self._site, like.log, self._root / like.name, label, Troubles(), label)
        if state:
            twin.disk.copy(like.disk)
        self.twins.append(twin)
        return twin

    async def _start_all(self) -> None:
        async with trio.open_nursery() as nursery:
            for host in self.hosts.values():
                nursery.start_soon(self._start_at, self._rng.uniform(0, START_SPAN_S), host)

    async def _start_at(self, at_s: float, host: SimulatedHost) -> None:
        await trio.sleep_until(at_s)
        await host.start()

    async def _stop_all(self) -> None:
        for host in self.hosts.values():
            host.leave()
        await trio.sleep(STOP_S)

    async def _take(self, step: Step) -> None:
        await trio.sleep_until(step.at_s)
        match step:
            case Ask():
                await self._ask(step)
            case Follow():
                await self._follow(step)
            case _:
                await self._act(step)

    async def _act(self, step: Fault | SlowDisk | FullDisk | Twin) -> None:
        self._note(describe(step))
        await self._acts.take(step)
        if not isinstance(step, SlowDisk | FullDisk | ClockJump):  # which no view shows
            self._unsettled.append((describe(step), trio.current_time()))

    def _note(self, what: str) -> None:
        self.trace.add(trio.current_time(), "", Kind.FAULT, what)

    async def _ask(self, step: Ask) -> None:
        host, now = self._there[step.host], trio.current_time()
        step = structs.replace(step, host=host.name)
        query = structs.replace(QUESTIONS[step.question], timeout_s=step.timeout_s)
        if self.written:
            query = structs.replace(query, end_ns=EPOCH_NS)  # what is written meanwhile has its own truth
        remembered = host.process.remembered if host.process is not None else frozenset()
        asked = Asked(len(self.asks) + 1, step, query, now, [_states(host)], remembered=remembered)
        self.asks.append(asked)
        self.trace.add(now, host.name, Kind.ASK, f"question {asked.number}: {describe(step)}")
        await put(asked, host, self.wires)
        self._now = trio.current_time()
        told = f"question {asked.number} after {self._now - now:.3f} s: {asked.told()}"
        self.trace.add(self._now, host.name, Kind.ASK, told)
        self._ask_invariants(lambda invariant: invariant.on_answer(self, asked, self._now))

    async def _follow(self, step: Follow) -> None:
        host, now = self._there[step.host], trio.current_time()
        step = structs.replace(step, host=host.name)
        followed = Followed(len(self.follows) + 1, step, now, [(now, _states(host))])
        self.follows.append(followed)

        def say(what: str) -> None:
            self.trace.add(trio.current_time(), host.name, Kind.ASK, f"follow {followed.number}: {what}")

        say(describe(step))
        await follow(followed, host, self.wires, say)
        self._now = trio.current_time()
        say(f"over after {self._now - now:.3f} s: {followed.told()}")
        self._ask_invariants(lambda invariant: invariant.on_hang_up(self, followed, self._now))

    # What is seen

    def _changes(self, host: SimulatedHost) -> Iterator[Change]:
        """What is new in a host's view since the last look; that of a process that is gone is told to end."""
        process = host.process
        boot = (host.label, len(host.processes))
        if process is None or boot not in self._views:
            self._chronicle.beliefs.end(self._now, host.label)
        if process is None or not process.ready:
            return
        known = self._views.get(boot, {})
        if process.view == known:
            return
        self._views[boot] = seen = dict(process.view)
        for name in {**known, **seen}:
            if known.get(name) is not seen.get(name):
                yield Change(self._now, host, known.get(name), seen.get(name))
        reborn = [name for name in known.keys() & seen if known[name].epoch < seen[name].epoch]
        for asked in self.asks:
            if asked.step.host == host.label:
                asked.saw(_states(host), reborn)
        for followed in self.follows:
            if followed.step.host == host.label:
                followed.saw(self._now, _states(host))

    def _settle(self, now: float) -> None:
        """If all views are true, so are they after every fault up to now."""
        viewers = (host for host in self.hosts.values() if host.phase is Phase.UP)
        if self._unsettled and all(next(untruths(self, viewer, now), None) is None for viewer in viewers):
            self._settled += [(what, now - at) for what, at in self._unsettled]
            self._unsettled.clear()

    def _ask_invariants(self, ask: Callable[[Invariant], Iterator[Breach]]) -> None:
        for invariant in self._invariants:
            kept = self.breaches[invariant.name]
            for breach in ask(invariant):
                if len(kept) < BREACHES_MAX:
                    kept.append(breach)
                    self.trace.add(self._now, "", Kind.BROKEN, f"{invariant.name}: {breach.text}")


def _on_change(simulation: _Simulation, change: Change, invariant: Invariant) -> Iterator[Breach]:
    return invariant.on_change(simulation, change)


def _states(host: SimulatedHost) -> View:
    """A node's view now: empty if it does not run."""
    return {name: member.state for name, member in host.process.view.items()} if host.process is not None else {}


@contextmanager
def _losses_to(lost: Callable[[str], None]) -> Iterator[None]:
    """What Python can only warn of (an exception in a finalizer, something never closed) is told to ``lost``."""
    before = sys.unraisablehook
    sys.unraisablehook = lambda loss: lost(f"{loss.err_msg or 'exception ignored'}: {loss.exc_value!r}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ResourceWarning)
            yield
    finally:
        sys.unraisablehook = before


@contextmanager
def _logs_to(capture: LogCapture) -> Iterator[None]:
    """The daemons' log records go to ``capture`` alone."""
    logger = logging.getLogger("varlogd")
    level, propagate = logger.level, logger.propagate
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(capture)
    try:
        yield
    finally:
        logger.removeHandler(capture)
        logger.setLevel(level)
        logger.propagate = propagate
