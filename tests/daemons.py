"""Real daemons for tests: several in this process over real sockets (`Mesh`), or as processes (`Processes`).

What is left of a question is read off the system itself: trio's task tree, the runner's busy threads, and the
descriptors and sockets that /proc shows.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import TypeVar

import trio

from varlogd import client
from varlogd.config import Config, MembershipConfig, QueryConfig
from varlogd.daemon import Daemon
from varlogd.errors import Unreachable
from varlogd.mesh.network import TcpNetwork
from varlogd.runner import ThreadRunner
from varlogd.world import World

T = TypeVar("T")

WAIT_S = 30.0
"""How long a test waits for something that must happen: far longer than it takes, so that only a fault meets it."""

POLL_S = 0.01

SETTLED_POLLS = 30
"""For so many looks in a row nothing may have changed, where a thing is said to have settled."""

QUIET = MembershipConfig(push_pull_interval_s=3600, reconnect_interval_s=3600)
"""Membership as usual, without the periodic calls that open sockets of their own while a test counts them."""


async def until(what: Callable[[], T]) -> T:
    """What ``what`` gives once it is true."""
    with trio.fail_after(WAIT_S):
        while not (found := what()):  # noqa: ASYNC110 - no event tells of what the system holds
            await trio.sleep(POLL_S)
    return found


def until_now(what: Callable[[], T], why: Callable[[], object] = lambda: "") -> T:
    """The same outside trio."""
    end = time.monotonic() + WAIT_S
    while not (found := what()):
        assert time.monotonic() < end, why()
        time.sleep(POLL_S)
    return found


def log_lines(host: str, count: int, *, minute: int = 0) -> str:
    """``count`` lines of a log, a second apart."""
    start = 1_795_000_000 + 60 * minute
    stamps = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(start + second)) for second in range(count))
    return "".join(f"{stamp} {host} line {number}\n" for number, stamp in enumerate(stamps))


def endless_log(path: Path) -> None:
    """A log of 200 GB that takes no room: reading it takes a minute, and nothing is found after some lines."""
    lines = log_lines("endless", 20_000)
    path.write_text(lines)
    with path.open("ab") as file:
        file.truncate(200 << 30)
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + lines.encode())


class Grinding(ThreadRunner):
    """A runner whose work never gets past its first look whether to go on: a scan without an end, its log open."""

    def __init__(self) -> None:
        super().__init__(4)

    def check(self) -> None:
        while True:
            super().check()
            time.sleep(0.001)


@dataclass
class Host:
    """One daemon of this process."""

    daemon: Daemon
    root: Path
    runner: ThreadRunner
    address: str = ""
    ended: trio.Event = field(default_factory=trio.Event)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    def sees(self, name: str) -> str:
        """The state in which this daemon holds a member, in lower case, or ``unknown``."""
        member = self.daemon.members().get(name)
        return member.state.name.lower() if member else "unknown"


@dataclass(frozen=True)
class Remains:
    """What is under way in this process: of questions, and the log files and sockets it holds."""

    question_tasks: int
    busy_threads: int
    questions: int
    log_files: tuple[str, ...]
    sockets: int


class Mesh:
    """Daemons in this process. The first one booted is the seed of the others."""

    def __init__(self, directory: Path, nursery: trio.Nursery) -> None:
        self.directory = directory
        self.hosts: dict[str, Host] = {}
        self._nursery = nursery
        self._sockets_before = _sockets("self")

    async def boot(
        self,
        name: str,
        lines: int | str = 10,
        *,
        tags: Mapping[str, str] | None = None,
        join: Sequence[str] | None = None,
        runner: ThreadRunner | None = None,
        listen: str = "127.0.0.1:0",
        membership: MembershipConfig = QUIET,
        drain_s: float = 5.0,
        query: QueryConfig | None = None,
        state_dir: str | None = None,
        ahead_ns: int = 0,
        make: Callable[[Config, World], Daemon] = Daemon,
    ) -> Host:
        """Start a daemon that serves one stream, ``app.log``: so many lines, or that text. Its wall clock is ahead by
        so much."""
        root = self.directory / str(len(self.hosts)) / "log"
        root.mkdir(parents=True, exist_ok=True)
        (root / "app.log").write_text(log_lines(name, lines) if isinstance(lines, int) else lines)
        seeds = [host.address for host in list(self.hosts.values())[:1]] if join is None else join
        config = Config(
            name=name, listen=listen, join=tuple(seeds), roots=(str(root),), tags=dict(tags or {}),
            membership=membership, drain_s=drain_s, query=query or QueryConfig(),
            state_dir=state_dir,
        )  # fmt: skip
        runner = runner or ThreadRunner(4)
        world = World(TcpNetwork(), random.Random(name), runner, lambda: time.time_ns() + ahead_ns)
        host = self.hosts[name] = Host(make(config, world), root, runner)
        host.address = await self._nursery.start(self._run, host)
        swim = host.daemon.gossip.swim
        await until(lambda: swim.me.metadata.catalogue)  # its first look at its logs is no question's work
        return host

    async def formed(self, *others: str) -> None:
        """Return once every daemon holds every other and all ``others`` (processes) alive, and every two of them
        have one link: two that dial each other at once have two for a moment."""
        hosts, names = self.hosts.values(), (*self.hosts, *others)
        await until(lambda: all(host.sees(name) == "alive" for host in hosts for name in names))
        listening, links = len(hosts), len(hosts) * (len(names) - 1)
        await until(lambda: self.remains().sockets == self._sockets_before + listening + links)

    def remains(self) -> Remains:
        """What is under way."""
        held = [target for target in _descriptors("self") if target.startswith(str(self.directory))]
        return Remains(
            question_tasks=sum("QueryService.serve" in _frames_of(task) for task in _tasks()),
            busy_threads=sum(host.runner._limiter.borrowed_tokens for host in self.hosts.values()),
            questions=sum(host.daemon.queries.running for host in self.hosts.values()),
            log_files=tuple(held),
            sockets=_sockets("self"),
        )

    async def settled(self, before: Remains) -> None:
        """Return once everything is as it was before; fails with the difference."""
        with trio.move_on_after(WAIT_S):
            while self.remains() != before:  # noqa: ASYNC110
                await trio.sleep(POLL_S)
        assert self.remains() == before

    async def _run(self, host: Host, *, task_status: trio.TaskStatus[str]) -> None:
        with host.scope:
            await host.daemon.run(task_status=task_status)
        host.ended.set()


def _tasks() -> Iterator[trio.lowlevel.Task]:
    """Every task there is."""
    root = trio.lowlevel.current_root_task()
    waiting = [root] if root else []
    while waiting:
        task = waiting.pop()
        yield task
        waiting += [child for nursery in task.child_nurseries for child in nursery.child_tasks]


def _frames_of(task: trio.lowlevel.Task) -> set[str]:
    """The qualified names of what a task is in, from its outermost coroutine to what it waits for."""
    names = set()
    coroutine: object = task.coro
    while coroutine is not None and hasattr(coroutine, "cr_code"):
        names.add(coroutine.__qualname__)
        coroutine = coroutine.cr_await
    return names


def _descriptors(pid: int | str) -> list[str]:
    """What a process has open."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            found.append(str(link.readlink()))
    return found


def _sockets(pid: int | str) -> int:
    return sum(target.startswith("socket:") for target in _descriptors(pid))


def sockets_between(one: int, other: int) -> int:
    """How many TCP sockets of process ``one`` have their other end in process ``other``."""
    ends = {}
    for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        ends[f"socket:[{words[9]}]"] = (words[1], words[2])
    there = {ends[target][::-1] for target in _descriptors(other) if target in ends}
    return sum(ends[target] in there for target in _descriptors(one) if target in ends)


# Processes


VARLOGD = (sys.executable, "-m", "varlogd")

IMPATIENT = """
from varlogd.cli.varlogd import main
from varlogd.mesh import links, service, transport

transport.HEAD_TIMEOUT_S = links.HELLO_TIMEOUT_S = service.HELLO_TIMEOUT_S = 0.3
transport.CLOSE_TIMEOUT_S = service.CLOSE_TIMEOUT_S = 0.2
main()
"""
"""The same daemon, which waits for silent strangers a fraction of a second instead of five."""


NO_JOURNAL = {"VARLOGD_JOURNAL": "false"}
"""This machine's journal is no part of a test."""


class DaemonProcess:
    """`varlogd` as a process."""

    def __init__(
        self,
        name: str,
        directory: Path,
        join: Sequence[str],
        flags: Sequence[str] = (),
        command: Sequence[str] = VARLOGD,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.root = directory / name
        self.log = directory / f"{name}.stderr"
        self.root.mkdir(exist_ok=True)
        flags = [f"--name={name}", "--listen=127.0.0.1:0", f"--root={self.root}", "--log-format=json", *flags]
        words = [*command, *flags, *(f"--join={seed}" for seed in join)]
        environment = {**os.environ, **NO_JOURNAL, **(environ or {})}
        with self.log.open("wb") as stderr:
            self._process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr, env=environment
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def address(self) -> str:
        return str(until_now(self._address, self.log.read_text))

    def send(self, signal_: signal.Signals) -> None:
        self._process.send_signal(signal_)

    def wait(self) -> int:
        """Its exit status, once it has ended."""
        return self._process.wait(WAIT_S)

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()

    def records(self) -> list[dict[str, object]]:
        """Its log."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def open_logs(self) -> list[str]:
        """The files below its root that it has open."""
        return [target for target in _descriptors(self.pid) if target.startswith(f"{self.root}/")]

    def sockets(self) -> int:
        return _sockets(self.pid)

    def cpu_s(self) -> float:
        """The processor time it has used."""
        words = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def rss_bytes(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def _address(self) -> str:
        assert self._process.poll() is None, self.log.read_text()
        lines = self.log.read_text().splitlines()
        told = [json.loads(line) for line in lines if '"listening"' in line and line.endswith("}")]
        return str(told[0]["address"]) if told else ""


VARLOG = (sys.executable, "-c", "from varlogd.cli.varlog import main; main()")
"""The console script, as an installation makes it."""


@dataclass
class Asked:
    """How one run of `varlog` ended."""

    status: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, object]]:
        """The lines of ``--json``."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def outcomes(self) -> dict[str, str]:
        """What the ledger, the last of the lines of ``--json``, says of each host."""
        ledger = self.objects[-1]["ledger"]
        return {entry["host"]: entry["outcome"] for entry in ledger["members"]}  # type: ignore[index]


class Processes:
    """Daemons as processes. The first one is the seed of the others."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.daemons: dict[str, DaemonProcess] = {}

    def start(
        self,
        *names: str,
        flags: Sequence[str] = (),
        config: str = "",
        command: Sequence[str] = VARLOGD,
        environ: Mapping[str, str] | None = None,
    ) -> list[DaemonProcess]:
        """Start daemons, with ``config`` as their file; returns once each listens and all know each other."""
        file = self.directory / "varlogd.toml"
        file.write_text(config)
        for name in names:
            seeds = [daemon.address for daemon in list(self.daemons.values())[:1]]
            flags_of = [f"--config={file}", *flags]
            self.daemons[name] = DaemonProcess(name, self.directory, seeds, flags_of, command, environ)
        started = [self.daemons[name] for name in names]
        for daemon in started:
            until_now(lambda daemon=daemon: self.states(daemon) == dict.fromkeys(self.daemons, "alive"))
        return started

    def wait_linked(self) -> None:
        """Return when every two have one link, and have had it for a while: two that dial each other at once have
        two at first. From then on sockets can be counted."""
        pairs = list(combinations(self.daemons.values(), 2))
        polls = 0

        def settled() -> bool:
            nonlocal polls
            polls = polls + 1 if all(sockets_between(one.pid, other.pid) == 1 for one, other in pairs) else 0
            return polls >= SETTLED_POLLS

        until_now(settled)

    def states(self, daemon: DaemonProcess) -> dict[str, str]:
        """The mesh as one of them sees it."""
        try:
            return {member.name: member.state for member in trio.run(client.members, daemon.address).members}
        except Unreachable:
            return {}

    def varlog(self, *words: str, at: DaemonProcess) -> Asked:
        """Run `varlog` to its end."""
        with self.asking(*words, at=at) as process:
            out, err = process.communicate(timeout=WAIT_S)
            return Asked(process.returncode, out.decode(), err.decode())

    @contextmanager
    def asking(self, *words: str, at: DaemonProcess) -> Iterator[subprocess.Popen[bytes]]:
        """A run of `varlog`, ended on the way out."""
        environment = {**os.environ, "VARLOG_URL": f"ws://{at.address}"}
        process = subprocess.Popen(
            [*VARLOG, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
            env=environment, bufsize=0,
        )  # fmt: skip
        with process:
            try:
                yield process
            finally:
                process.kill()

    def stop(self) -> None:
        for daemon in self.daemons.values():
            daemon.kill()
