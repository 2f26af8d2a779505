"""A bed to measure on: meshes of real processes on loopback, each with an address and a directory of logs of its own.

A `Kind` says how a member is started and what the lines of its log say of other members; a `Mesh` starts some,
and reads off their logs who holds whom for alive. So varlogd and its peers are driven and watched the same way.

Nothing is left behind: whatever ends the benchmark, its processes are killed (by the kernel, if the benchmark
itself is killed), and its files are below one temporary directory.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

VARLOGD_PORT = 8514

POLL_S = 0.01
"""How often logs are looked at: fine against detection times of seconds."""

FORM_TIMEOUT_S = 90.0
"""How long a mesh may take to form. Twenty daemons start in some ten seconds on two cores."""

NEWEST_LINES = 5
"""Of the log of a node that does not do what it should, shown."""

_PR_SET_PDEATHSIG = 1
_CLONE_NEWNET = 0x4000_0000

Word = Literal["up", "dead", "left"]


class Skip(Exception):
    """A contender cannot take part here; the message says why."""


class BedError(Exception):
    """The bed could not be made: a process ended, or a mesh did not form."""


def need(*programs: str) -> None:
    """Raise Skip unless every program is installed."""
    for program in programs:
        if shutil.which(program) is None:
            raise Skip(f"no {program} here")


def need_root() -> None:
    """Raise Skip unless this process may do everything."""
    if os.geteuid() != 0:
        raise Skip("needs root")


class Processes:
    """The processes of one benchmark; all are gone on the way out."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._started:
            process.kill()
        for process in self._started:
            process.wait()

    def start(self, command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        """Start a process of a group of its own (Ctrl-C is for the benchmark), its output appended to ``log``."""
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment(),
                process_group=0,
                preexec_fn=_die_with_parent(),
            )
        self._started.append(process)
        return process


def environment() -> dict[str, str]:
    """The environment for a process of the bed: ours, without what would configure varlogd, or would keep Python from
    caching what it has compiled (an installed package is compiled once)."""
    ours = ("VARLOG_", "VARLOGD_", "PYTHONDONTWRITEBYTECODE")
    others = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    return others | {"VARLOGD_JOURNAL": "false"}  # this machine's is no part of the bed


def _die_with_parent() -> Callable[[], object]:
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


@contextmanager
def bed() -> Iterator[tuple[Processes, Path]]:
    """Processes and a directory that are gone on the way out, also after SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell's background job ignores it, and children inherit
    with tempfile.TemporaryDirectory(prefix="varlogd-bench-") as home, Processes() as processes:
        yield processes, Path(home)


def private_loopback() -> bool:
    """Move this process, and all it will start, into a network namespace with a loopback of its own.

    The kernel's counters are then of the benchmark alone. False where that is not allowed.
    """
    if shutil.which("ip") is None or ctypes.CDLL(None).unshare(_CLONE_NEWNET) != 0:
        return False
    return subprocess.run(["ip", "link", "set", "lo", "up"], check=False).returncode == 0


class Sighting(NamedTuple):
    """A line of ``observer``'s log, read at ``at`` (`time.monotonic`), says ``word`` of ``name``."""

    at: float
    observer: str
    word: Word
    name: str


@dataclass
class Node:
    """A member of a mesh, whether it runs or not."""

    name: str
    host: str
    root: Path
    log: Path
    process: subprocess.Popen[bytes] | None = None
    read_bytes: int = 0
    view: dict[str, Word] = field(default_factory=dict)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def new_lines(self) -> list[bytes]:
        """The whole lines of its log since the last look."""
        with self.log.open("rb") as log:
            log.seek(self.read_bytes)
            data = log.read()
        whole = data[: data.rfind(b"\n") + 1]
        self.read_bytes += len(whole)
        return whole.splitlines()

    def last_words(self) -> str:
        """The end of its log."""
        lines = self.log.read_bytes().splitlines()[-NEWEST_LINES:]
        return f"{self.name} said last:\n" + b"\n".join(lines).decode(errors="replace")


@dataclass(frozen=True)
class Kind:
    """What a mesh is made of. ``command`` starts a node that joins at a seed, if one is given; ``says`` is what a
    line of a log says of a member, if anything; ``leave_signal`` makes a node leave. ``tells``: the member that a
    line tells people of, in any words, where that is another line than the one that ``says`` looks for."""

    title: str
    command: Callable[[Node, Node | None], Sequence[str]]
    says: Callable[[bytes], tuple[Word, str] | None]
    leave_signal: signal.Signals
    tells: Callable[[bytes], str | None] | None = None


class Mesh:
    """N nodes of one kind at 127.x.y.1 to N, and what they have said of each other.

    A death is **false** if the node named was not killed: it is running, or it left in good order.
    """

    def __init__(self, kind: Kind, processes: Processes, home: Path, n: int) -> None:
        self.kind = kind
        self.sightings: list[Sighting] = []
        self.false_deaths: list[Sighting] = []
        self.told: list[tuple[str, str]] = []
        """Each line for people: its observer, and the member that it is about."""
        self.killed: set[str] = set()
        self._processes = processes
        (logs := home / f"{kind.title}-logs").mkdir(exist_ok=True)
        self.nodes = [self._node(home, logs, number) for number in range(1, n + 1)]

    def _node(self, home: Path, logs: Path, number: int) -> Node:
        name = f"n{number:02}"
        root = home / "hosts" / name
        root.mkdir(parents=True, exist_ok=True)
        return Node(name, host_address(number), root, logs / f"{name}.log")

    def form(self) -> float:
        """Start all nodes and wait until each holds all for alive; how long that took, in seconds."""
        began = time.monotonic()
        self.start(self.nodes[0], None)
        self.wait_formed()
        for node in self.nodes[1:]:
            self.start(node, self.nodes[0])
        self.wait_formed()
        return time.monotonic() - began

    def wait_formed(self) -> None:
        """Wait until all are of one view. Raises BedError if they do not come to one, or a node ends."""
        if not wait_until([self], self.formed, FORM_TIMEOUT_S):
            fewest = min(self.nodes, key=lambda node: len(node.view))
            raise BedError(f"{self.kind.title} has not come to one view; {fewest.last_words()}")

    def start(self, node: Node, seed: Node | None) -> None:
        """Start a node, or start it again."""
        node.view = {}
        self.killed.discard(node.name)
        node.process = self._processes.start(self.kind.command(node, seed), node.log)

    def kill(self, node: Node) -> float:
        """kill -9; the moment it was sent."""
        self.killed.add(node.name)
        return self._send(node, signal.SIGKILL)

    def leave(self, node: Node) -> float:
        """Tell a node to leave in good order; the moment it was told."""
        return self._send(node, self.kind.leave_signal)

    def stand_still(self, node: Node) -> None:
        """SIGSTOP."""
        self._send(node, signal.SIGSTOP)

    def go_on(self, node: Node) -> None:
        """SIGCONT."""
        self._send(node, signal.SIGCONT)

    def _send(self, node: Node, number: signal.Signals) -> float:
        at = time.monotonic()
        os.kill(node.pid, number)
        return at

    def look(self) -> None:
        """Read what is new in the logs."""
        for node in self.nodes:
            if node.process is not None:
                self._take(node, node.new_lines())

    def _take(self, node: Node, lines: Sequence[bytes]) -> None:
        for line in lines:
            said = self.kind.says(line)
            about = self.kind.tells(line) if self.kind.tells else said and said[1]
            if about:
                self.told.append((node.name, about))
            if said:
                sighting = Sighting(time.monotonic(), node.name, *said)
                node.view[sighting.name] = sighting.word
                self.sightings.append(sighting)
                if sighting.word == "dead" and sighting.name not in self.killed:
                    self.false_deaths.append(sighting)

    def formed(self) -> bool:
        """Whether every node that was started holds exactly those for alive. Raises BedError if one has ended."""
        started = [node for node in self.nodes if node.process is not None]
        for node in started:
            if not node.runs:
                raise BedError(f"a node of {self.kind.title} has ended; {node.last_words()}")
        names = {node.name for node in started}
        return all({name for name, word in node.view.items() if word == "up"} == names for node in started)

    def first_words(self, of: Node, since: float, word: Word) -> dict[str, Sighting]:
        """When each other node first said ``word`` of a node after ``since``."""
        found: dict[str, Sighting] = {}
        for sighting in self.sightings:
            if sighting.name == of.name and sighting.at >= since and sighting.word == word:
                found.setdefault(sighting.observer, sighting)
        found.pop(of.name, None)
        return found

    def stop(self, node: Node) -> None:
        """Have a node ended, whatever it does."""
        if node.runs:
            self.kill(node)
        if node.process is not None:
            node.process.wait()


def host_address(number: int) -> str:
    """127.x.y.``number``, where x and y are of this process: two benchmarks can run side by side."""
    x, y = divmod(os.getpid(), 250)
    return f"127.{1 + x % 250}.{y}.{number}"


def wait_until(meshes: Sequence[Mesh], done: Callable[[], bool], timeout_s: float) -> bool:
    """Look at the meshes' logs until ``done``; false if that took too long."""
    end = time.monotonic() + timeout_s
    while True:
        for mesh in meshes:
            mesh.look()
        if done():
            return True
        if time.monotonic() >= end:
            return False
        time.sleep(POLL_S)


def look_for(meshes: Sequence[Mesh], seconds: float) -> None:
    """Look at the meshes' logs for so long."""
    wait_until(meshes, lambda: False, seconds)


def _varlogd_command(node: Node, seed: Node | None) -> list[str]:
    join = [] if seed is None else [f"--join={seed.host}:{VARLOGD_PORT}"]
    listen = f"--listen={node.host}:{VARLOGD_PORT}"
    flags = [f"--name={node.name}", listen, f"--root={node.root}", "--log-format=json", "--log-level=debug"]
    return [sys.executable, "-m", "varlogd", *flags, *join]


_VARLOGD_WORDS: Mapping[str, Word] = {"held up": "up", "held dead": "dead", "held left": "left"}
"""What a node holds, from the log at level debug: what it tells people is damped, and a benchmark strikes the same
members again and again."""


def _varlogd_says(line: bytes) -> tuple[Word, str] | None:
    if b'"held ' not in line:
        return None
    record = json.loads(line)
    word = _VARLOGD_WORDS.get(record["message"])
    return (word, record["name"]) if word else None


def _varlogd_tells(line: bytes) -> str | None:
    return str(json.loads(line)["name"]) if b'"member ' in line else None


VARLOGD = Kind("varlogd", _varlogd_command, _varlogd_says, signal.SIGTERM, _varlogd_tells)


@contextmanager
def daemon_over(root: Path) -> Iterator[Node]:
    """A daemon that is a mesh by itself, and whose logs are those at ``root``, a directory or a file."""
    with bed() as (processes, home):
        mesh = Mesh(VARLOGD, processes, home, 1)
        mesh.nodes[0].root = root
        mesh.form()
        yield mesh.nodes[0]


def url_of(node: Node) -> str:
    """What `varlog --url` takes."""
    return f"ws://{node.host}:{VARLOGD_PORT}"


def varlog_command(node: Node, *words: str) -> list[str]:
    """`varlog VERB …`, asked of a node: the installed script, as a user runs it."""
    script = Path(sys.executable).with_name("varlog")
    asker = [str(script)] if script.exists() else [sys.executable, "-m", "varlogd.cli"]
    return [*asker, words[0], f"--url={url_of(node)}", *words[1:]]
