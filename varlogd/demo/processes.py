"""The daemons of the demo: real processes, started, waited for, killed, and never left behind.

Three things end them, each where the one before cannot: SIGTERM at the end of the story (they leave the mesh),
SIGKILL when that takes too long, and the kernel when the demo itself is killed (``PR_SET_PDEATHSIG``, Linux).

The kernel's *parent* is the thread that forked, not the process. `trio.lowlevel.open_process` forks in a worker
thread, which trio ends when it has been idle for some seconds: its children would be killed with it. So they are
started from the main thread, which is held up for the few milliseconds of a fork.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from varlogd.cli.settings import ENVIRONMENT_PREFIX
from varlogd.errors import Fault, VarlogdError

NODES_DEFAULT: Final = 4

NODES_MIN: Final = 2
"""One to ask and one to kill."""

NODES_MAX: Final = 20
"""A daemon takes some 30 MB and, while it starts, a good part of a second of CPU time."""

START_TIMEOUT_S: Final = 30.0
"""How long a daemon may take to listen: it takes under a second, ten times that on a machine at its limit."""

STOP_TIMEOUT_S: Final = 8.0
"""How long the daemons may take after SIGTERM, all together, before they are killed: they let running answers
finish for up to five seconds, and then leave the mesh."""

POLL_S: Final = 0.05
"""How often processes and their logs are looked at."""

LAST_LINES: Final = 15
"""Of the log of a daemon that did not start, shown."""

_PR_SET_PDEATHSIG: Final = 1


class DemoError(VarlogdError):
    """The demo cannot be shown, or did not go as it must. The message says what and why."""

    fault = Fault.HOST
    code = "demo"


@dataclass(frozen=True)
class NodePlan:
    """A daemon to be: its name, its tags, and the directory whose logs it serves."""

    name: str
    tags: Mapping[str, str]
    root: Path


class Node:
    """A daemon that runs, or did."""

    def __init__(self, plan: NodePlan, process: subprocess.Popen[bytes], log: Path) -> None:
        self.plan = plan
        self.log = log
        self.address = ""
        self._process = process

    @property
    def name(self) -> str:
        return self.plan.name

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def url(self) -> str:
        """What `varlog --url` takes."""
        return f"ws://{self.address}"

    @property
    def running(self) -> bool:
        """Whether the process is there; one that has ended is reaped."""
        return self._process.poll() is None

    def send(self, signal_: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        self._process.send_signal(signal_)

    async def wait_ended(self) -> None:
        """Until the process is gone and reaped."""
        while self.running:  # noqa: ASYNC110  (nobody sets an event when a process ends)
            await trio.sleep(POLL_S)

    async def wait_listening(self) -> None:
        """Until its log tells its address. Raises DemoError, with the last lines of the log."""
        with trio.move_on_after(START_TIMEOUT_S):
            while self.running:
                self.address = _address_in(self.log) or ""
                if self.address:
                    return
                await trio.sleep(POLL_S)
        why = f"not within {START_TIMEOUT_S:g} s" if self.running else f"exit status {self._process.returncode}"
        raise DemoError(f"{self.name} did not start ({why}); the end of its log:\n{self.last_lines()}")

    def last_lines(self) -> str:
        """The end of its log, indented."""
        lines = self.log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        return "\n".join(f"  {line}" for line in lines)


@asynccontextmanager
async def running(
    plans: Sequence[NodePlan], logs: Path, on_start: Callable[[Node], None]
) -> AsyncIterator[list[Node]]:
    """The daemons of ``plans``, listening; the first is the seed of the others. All are gone on the way out.

    Their own logs go to files in ``logs``, which is made. ``on_start`` hears of each that listens. Raises DemoError.
    """
    nodes: list[Node] = []
    try:
        for plan in plans:
            nodes.append(_start(plan, logs, nodes[0].address if nodes else None))
            if len(nodes) == 1:
                await nodes[0].wait_listening()
                on_start(nodes[0])
        for node in nodes[1:]:
            await node.wait_listening()
            on_start(node)
        yield nodes
    finally:
        await _stop(nodes)


def _start(plan: NodePlan, logs: Path, seed: str | None) -> Node:
    logs.mkdir(exist_ok=True)
    log = logs / f"{plan.name}.log"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(ENVIRONMENT_PREFIX)}
    environment[f"{ENVIRONMENT_PREFIX}JOURNAL"] = "false"  # this machine's, and none of these hosts'
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            daemon_command(plan, seed),
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            env=environment,
            process_group=0,  # Ctrl-C is for the demo, which then ends them in good order
            preexec_fn=_die_with_parent(),
        )
    return Node(plan, process, log)


def daemon_command(plan: NodePlan, seed: str | None) -> list[str]:
    """The words that start a daemon on a port the kernel chooses."""
    tags = [f"--tag={key}={value}" for key, value in plan.tags.items()]
    join = [f"--join={seed}"] if seed else []
    flags = [f"--name={plan.name}", "--listen=127.0.0.1:0", f"--root={plan.root}", "--log-format=json"]
    return [sys.executable, "-m", "varlogd", *flags, *tags, *join]


async def _stop(nodes: Sequence[Node]) -> None:
    """End all: first asked, then made to. Not to be cancelled: it is bounded."""
    with trio.CancelScope(shield=True):
        for node in nodes:
            node.send(signal.SIGTERM)
        with trio.move_on_after(STOP_TIMEOUT_S):
            for node in nodes:
                await node.wait_ended()
        for node in nodes:
            node.send(signal.SIGKILL)
            await node.wait_ended()


def _address_in(log: Path) -> str | None:
    """The address in the daemon's line ``listening``, once it is there in full."""
    for line in log.read_bytes().splitlines(keepends=True):
        if line.startswith(b"{") and line.endswith(b"\n"):
            record = json.loads(line)
            if record["message"] == "listening":
                return str(record["address"])
    return None


def _die_with_parent() -> Callable[[], None] | None:
    """What a child does between fork and exec so that the kernel kills it when this thread is gone."""
    if sys.platform != "linux":
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def ask_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it was gone before the kernel knew
            os._exit(1)

    return ask_kernel
