"""A simulated machine, and the real daemon on it.

The daemon gets a `varlogd.world.World` of ours and runs in a task of its own, which carries its `Process` in a
context variable: every task below inherits it, so a log line is known by who wrote it, and a frozen process by
its tasks.

A crash by cancellation alone would run `finally` blocks that say goodbye. So a kill takes the network away
first, shuts the process's mouth (its log lines no longer count), and only then cancels.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC
from enum import Enum
from pathlib import Path
from typing import Final

import trio

from simulations.cpu import Cpu
from simulations.determinism import RunQueue
from simulations.disk import Handle, InlineRunner, SimulatedDisk
from simulations.logs import EPOCH_NS, HostLog
from simulations.network import SimulatedNetwork, Wires
from simulations.trace import Kind, Trace
from varlogd.config import Config
from varlogd.daemon import Daemon
from varlogd.errors import StateError
from varlogd.memory.remembered import from_bytes
from varlogd.swim.state import Member
from varlogd.wire.query import AskFollow, AskMembers, AskPart
from varlogd.world import World

PORT: Final = 8514

STATE_DIR: Final = "/var/lib/varlogd"
"""Where the daemons' memory is, on the simulated disk."""


class Phase(Enum):
    """What the simulator knows of a host's daemon."""

    OFF = "off"  # never started
    UP = "up"
    LEAVING = "leaving"  # told to stop, and not gone yet
    LEFT = "left"
    CRASHED = "crashed"  # killed, or without power


class Process:
    """One boot of a daemon."""

    def __init__(
        self, host: str, daemon: Daemon, disk: Handle, network: SimulatedNetwork, runner: InlineRunner, cpu: Cpu
    ) -> None:
        self.host = host
        self.daemon = daemon
        self.disk = disk
        self.network = network
        self.runner = runner
        self.cpu = cpu
        self.scope = trio.CancelScope()
        self.over = trio.Event()
        self.ready = False
        self.ready_at = math.inf
        self.stopped = False  # SIGSTOP
        self.gone = False  # killed: whatever its tasks still do did not happen
        self.failure: Exception | None = None
        self.failed_at = 0.0

    @property
    def frozen(self) -> bool:
        """Whether its tasks must not run."""
        return self.stopped or self.cpu.busy

    @property
    def view(self) -> Mapping[str, Member]:
        """The mesh as this node sees it."""
        return self.daemon.gossip.swim.members if self.ready else {}

    @property
    def remembered(self) -> frozenset[str]:
        """The others that it knew when it last ran, as it read that at its start."""
        if not self.ready:
            return frozenset()
        try:
            last = from_bytes(self.disk.read_back, self.daemon.gossip.swim.me.name)
        except StateError:
            return frozenset()
        return frozenset(known.name for known in last.members)

    @property
    def cut_off(self) -> bool:
        """Whether it says that it hears nobody."""
        return self.ready and self.daemon.gossip.swim.cut_off

    @property
    def messages(self) -> int:
        """How many gossip messages it has written."""
        return self.daemon.gossip.links.messages_sent if self.ready else 0

    @property
    def questions(self) -> Sequence[AskPart | AskFollow | AskMembers]:
        """Those that it is answering. The daemon itself shows no more than how many there are."""
        return [running.ask for running in self.daemon.queries._running] if self.ready else ()


PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


def is_frozen(task: trio.lowlevel.Task) -> bool:
    """Whether a task belongs to a frozen process."""
    process = task.context.get(PROCESS)
    return process is not None and process.frozen


@dataclass(frozen=True)
class Site:
    """What all hosts share."""

    wires: Wires
    trace: Trace
    queue: RunQueue
    nursery: trio.Nursery
    seed: int
    seeds: tuple[str, ...]


class Troubles:
    """The faults at one place in the network, whoever is there, in virtual seconds: ``disturbed_at``, when one other
    than a kill last began or ended, and ``calm_since``, since when there is none (infinity while there is one)."""

    def __init__(self) -> None:
        self.calm_since = 0.0
        self.disturbed_at = 0.0
        self._faults = 0

    def disturb(self) -> None:
        """A fault begins."""
        self._faults += 1
        self.disturbed_at = trio.current_time()
        self.calm_since = math.inf

    def calm(self) -> None:
        """A fault ends."""
        self._faults -= 1
        self.disturbed_at = trio.current_time()
        if not self._faults:
            self.calm_since = self.disturbed_at


class SimulatedHost:
    """A machine: its disk, its power, and its daemon while that runs. ``place``: its address in the network, which
    may have been another host's before. ``label``: what the trace calls it, if that is not its name.

    What the simulator remembers of it, in virtual seconds: ``phase_since``; ``troubles``; ``leave_at``, when it was
    last told to leave; ``cut_off_at``, when it was last seen to say that it is cut off; ``clock_set_at``, when its
    wall clock last jumped.
    """

    def __init__(self, site: Site, log: HostLog, root: Path, place: str, troubles: Troubles, label: str = "") -> None:
        self.name = log.host
        self.label = label or self.name
        self.place = place
        self.troubles = troubles
        self.address = f"{place}:{PORT}"
        self.log = log
        self.phase = Phase.OFF
        self.phase_since = 0.0
        self.leave_at = math.inf
        self.cut_off_at = -math.inf
        self.clock_ahead_s = 0.0
        self.clock_set_at = 0.0
        self.disk = SimulatedDisk()
        self.processes: list[Process] = []
        self.askers: dict[trio.CancelScope, None] = {}
        self._site = site
        self._root = root
        self._stood_still_at = -math.inf
        self._services_s: list[float] = []
        self._disk_extra_s = 0.0
        self._slow_disks = 0
        self._disk_well_since = -math.inf

    @property
    def calm_since(self) -> float:
        return self.troubles.calm_since

    @property
    def disturbed_at(self) -> float:
        return self.troubles.disturbed_at

    @property
    def stood_still_at(self) -> float:
        """When it was last frozen or thawed, or slow: infinity while it is slow."""
        return math.inf if self._services_s else self._stood_still_at

    @property
    def up_since(self) -> float:
        """Since when the daemon listens: with a slow disk a start takes its time. Infinity if it does not."""
        return self.process.ready_at if self.phase is Phase.UP and self.process is not None else math.inf

    @property
    def last_process(self) -> Process | None:
        """The daemon, running or not; None before the first boot."""
        return self.processes[-1] if self.processes else None

    @property
    def process(self) -> Process | None:
        """The daemon, if there is one and it is not gone."""
        process = self.last_process
        return process if process is not None and self.phase in (Phase.UP, Phase.LEAVING) else None

    @property
    def epoch(self) -> int:
        """Of the present boot, or the last; -1 before the first is ready."""
        process = self.last_process
        return process.daemon.gossip.swim.me.epoch if process is not None and process.ready else -1

    @property
    def running(self) -> Process | None:
        """The daemon if it is up, ready and not frozen."""
        process = self.process
        return process if process is not None and process.ready and not process.frozen else None

    async def start(self) -> None:
        """Start the daemon, once the one before it has ended; does nothing if one is up."""
        while self.last_process is not None and not self.last_process.over.is_set():
            if self.phase is Phase.UP:
                return
            await self.last_process.over.wait()
        self._site.wires.lighten(self.place)
        process = self._boot()
        self.processes.append(process)
        self._enter(Phase.UP)
        self._site.nursery.start_soon(self._run, process)

    def kill(self) -> None:
        """SIGKILL."""
        self._crash(SimulatedNetwork.kill)

    def power_off(self) -> None:
        """The machine is gone, askers on it included."""
        self._crash(SimulatedNetwork.vanish)
        self.disk.lose_power()
        for scope in self.askers:
            scope.cancel()
        self._site.wires.darken(self.place)
        self.troubles.disturbed_at = trio.current_time()

    def leave(self) -> None:
        """SIGTERM."""
        process = self.process
        if process is not None:
            self._enter(Phase.LEAVING)
            self.leave_at = self.phase_since
            process.daemon.stop()

    def freeze(self) -> Callable[[], None]:
        """SIGSTOP; the result is SIGCONT, for this boot alone."""
        process = self.process
        if process is None:
            return lambda: None
        process.stopped = True
        self._stood_still_at = trio.current_time()

        def thaw() -> None:
            if process.stopped:
                process.stopped = False
                self._stood_still_at = trio.current_time()
                self._site.queue.look_again()

        return thaw

    @property
    def slow_disk_until(self) -> float:
        """When the disk was last slow: infinity while it is."""
        return math.inf if self._slow_disks else self._disk_well_since

    def slow_disk(self, extra_s: float) -> None:
        """Every step of work takes so much longer than now; a negative time undoes one such call."""
        self._slow_disks += 1 if extra_s > 0 else -1
        self._disk_extra_s = self._disk_extra_s + extra_s if self._slow_disks else 0.0
        self._disk_well_since = trio.current_time()
        if self.last_process is not None:
            self.last_process.runner.extra_s = self._disk_extra_s

    def fill_disk(self, by: int) -> None:
        """So many more take all the room there is; a negative number undoes it."""
        self.disk.fillers += by

    def slow_node(self, service_s: float) -> Callable[[], None]:
        """Every message takes so much of its processor, this boot's and the next; the result undoes it."""
        self._services_s.append(service_s)
        self._set_service()

        def undo() -> None:
            self._services_s.remove(service_s)
            self._stood_still_at = trio.current_time()
            self._set_service()

        return undo

    def set_clock(self, by_s: float) -> None:
        """The wall clock jumps."""
        self.clock_ahead_s += by_s
        self.clock_set_at = trio.current_time()

    def wall_ns(self) -> int:
        """The wall clock."""
        return EPOCH_NS + round((trio.current_time() + self.clock_ahead_s) * 1e9)

    def _set_service(self) -> None:
        process = self.last_process
        if process is not None:
            process.cpu.service_s = sum(self._services_s)
            if not self._services_s:
                process.cpu.rest()

    def _boot(self) -> Process:
        site, boot = self._site, len(self.processes)
        cpu = Cpu(site.queue, site.nursery, sum(self._services_s))
        network = SimulatedNetwork(site.wires, self.place, cpu.charge)
        runner = InlineRunner(random.Random(f"{site.seed}/disk/{self.label}/{boot}"))
        runner.extra_s = self._disk_extra_s
        disk = self.disk.directory(STATE_DIR)
        world = World(
            network=network,
            rng=random.Random(f"{site.seed}/node/{self.label}/{boot}"),
            runner=runner,
            wall_ns=self.wall_ns,
            zone=UTC,
            disk=lambda _path: disk,
        )
        config = Config(
            name=self.name,
            listen=self.address,
            join=site.seeds,
            roots=(str(self._root),),
            state_dir=STATE_DIR,
            allow_unauthenticated=True,
        )
        return Process(self.label, Daemon(config, world), disk, network, runner, cpu)

    async def _run(self, process: Process) -> None:
        PROCESS.set(process)
        try:
            with process.scope:
                async with trio.open_nursery() as nursery:
                    await nursery.start(process.daemon.run)
                    process.ready, process.ready_at = True, trio.current_time()
        except Exception as error:
            if not process.gone:
                process.failure, process.failed_at = error, trio.current_time()
                self._site.trace.add(trio.current_time(), self.label, Kind.LOG, f"the daemon failed: {error!r}")
                self._crash(SimulatedNetwork.kill)
        if not process.gone:
            process.network.kill()
            self._enter(Phase.LEFT)
        process.over.set()

    def _crash(self, end: Callable[[SimulatedNetwork], None]) -> None:
        process = self.process
        if process is None:
            return
        process.gone = True
        end(process.network)
        self.disk.cut_off()
        process.stopped = False
        process.cpu.service_s = 0.0
        process.cpu.rest()
        process.scope.cancel()
        self._enter(Phase.CRASHED)

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self.phase_since = trio.current_time()


class LogCapture(logging.Handler):
    """Log records of the simulated daemons, into the trace; ``faults`` are those that tell of an exception."""

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self.faults: list[tuple[float, str, str]] = []
        self._trace = trace

    def emit(self, record: logging.LogRecord) -> None:
        process = PROCESS.get()
        if process is None or process.gone:
            return
        now = trio.current_time()
        fields: Mapping[str, object] = getattr(record, "fields", {})
        text = " ".join([record.getMessage(), *(f"{key}={value}" for key, value in fields.items())])
        if record.exc_info and record.exc_info[1]:
            text += f": {record.exc_info[1]!r}"
            self.faults.append((now, process.host, text))
        member = record.name == "varlogd" and record.levelno >= logging.INFO
        self._trace.add(now, process.host, Kind.MEMBER if member else Kind.LOG, text)
