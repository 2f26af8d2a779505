"""Whatever ends a question ends its work on every host: no task, thread, open log or socket of it remains.

The hosts are daemons of this process, whose tasks, threads and descriptors can be counted; whoever must be killed or
stopped is a process. Work is held up in each of the places where it can be: in a scan that finds nothing, before an
asker who does not read, and in a merge whose rows wait for another host.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.daemons import (
    QUIET,
    VARLOG,
    DaemonProcess,
    Grinding,
    Mesh,
    Processes,
    endless_log,
    sockets_between,
    until,
    until_now,
)
from varlogd import client
from varlogd.config import MembershipConfig, QueryConfig
from varlogd.mesh.asking import QUERY_PATH
from varlogd.mesh.network import TcpNetwork
from varlogd.mesh.transport import open_websocket
from varlogd.runner import ThreadRunner
from varlogd.wire.codec import encode_cbor
from varlogd.wire.limits import ANSWER_FRAME_MAX_BYTES, CBOR_SUBPROTOCOL
from varlogd.wire.query import AskRows, Outcome, Query

NAMES = "abc"
MANY = "".join(f"2026-11-22T10:00:00Z {number} {'x' * 1000}\n" for number in range(20_000))
"""Twenty megabytes: more than all buffers on the way hold."""

NO_STALL = QueryConfig(stall_s=600)
"""A host that gives no sign of life is waited for: what is tested ends the work, and nothing else."""

PIPE_BYTES = 60_000
"""A pipe that holds so much, of 64 KiB, is as good as full."""

PATIENT = {"timeout_s": 60.0, "grace_s": 60.0}

DEATH = MembershipConfig(
    probe_interval_s=0.3,
    probe_timeout_s=0.15,
    suspicion_alpha=3,
    push_pull_interval_s=3600,
    reconnect_interval_s=3600,
)
"""A stopped process is dead to the others after a second or two."""

DEATH_TOML = """
[membership]
probe_interval_s = 0.3
probe_timeout_s = 0.15
suspicion_alpha = 3
push_pull_interval_s = 3600
reconnect_interval_s = 3600
"""


async def scanning(mesh: Mesh, membership: MembershipConfig = QUIET) -> int:
    """Every host has a log open and a thread at work on it, and finds nothing. Returns how many threads work."""
    for name in NAMES:
        await mesh.boot(name, MANY, runner=Grinding(), membership=membership, query=NO_STALL)
    return len(NAMES)


async def not_read(mesh: Mesh, membership: MembershipConfig = QUIET) -> int:
    """Every host has far more rows than an asker has read."""
    for name in NAMES:
        await mesh.boot(name, MANY, membership=membership)
    return 0


async def waiting(mesh: Mesh, membership: MembershipConfig = QUIET) -> int:
    """The rows of two hosts wait for those of the third, which scans on and on."""
    for name in NAMES:
        runner = Grinding() if name == "c" else ThreadRunner(4)
        await mesh.boot(name, MANY, runner=runner, membership=membership, query=NO_STALL)
    return 1


Scene = Callable[..., Awaitable[int]]
scenes = pytest.mark.parametrize("scene", [scanning, not_read, waiting])


async def at_work(mesh: Mesh, threads: int) -> None:
    """Return once every host works on the question and has its log open, and ``threads`` are busy."""

    def busy() -> bool:
        now = mesh.remains()
        return (now.questions, len(now.log_files)) == (len(NAMES), len(NAMES)) and now.busy_threads >= threads

    await until(busy)


@asynccontextmanager
async def asked(mesh: Mesh) -> AsyncIterator[trio.SocketStream]:
    """A question put to the first host; what comes back is not read. Yields the client's socket."""
    streams: list[trio.SocketStream] = []

    class Watched(TcpNetwork):
        async def connect(self, address: str) -> trio.abc.Stream:
            stream = await super().connect(address)
            assert isinstance(stream, trio.SocketStream)
            streams.append(stream)
            return stream

    address = mesh.hosts["a"].address
    async with open_websocket(Watched(), address, QUERY_PATH, CBOR_SUBPROTOCOL, ANSWER_FRAME_MAX_BYTES) as websocket:
        await websocket.send(encode_cbor(AskRows(Query(**PATIENT))), 5)  # type: ignore[arg-type]
        yield streams[0]


@asynccontextmanager
async def varlog(address: str, *words: str) -> AsyncIterator[subprocess.Popen[bytes]]:
    """A run of `varlog` whose output nobody reads."""
    environment = {**os.environ, "VARLOG_URL": address}
    process = subprocess.Popen(  # noqa: ASYNC220
        [*VARLOG, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


async def ended(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Exit status and stderr of a process that has been told to end."""
    await until(lambda: process.poll() is not None)
    assert process.stderr
    return process.returncode, process.stderr.read().decode()


@scenes
async def test_a_closed_websocket(mesh: Mesh, scene: Scene) -> None:
    threads = await scene(mesh)
    await mesh.formed()
    before = mesh.remains()
    async with asked(mesh):
        await at_work(mesh, threads)
    await mesh.settled(before)


@scenes
async def test_a_socket_closed_without_a_word(mesh: Mesh, scene: Scene) -> None:
    threads = await scene(mesh)
    await mesh.formed()
    before = mesh.remains()
    async with asked(mesh) as stream:
        await at_work(mesh, threads)
        stream.socket.close()
        await mesh.settled(before)


@scenes
async def test_a_socket_that_is_reset(mesh: Mesh, scene: Scene) -> None:
    threads = await scene(mesh)
    await mesh.formed()
    before = mesh.remains()
    async with asked(mesh) as stream:
        await at_work(mesh, threads)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.socket.close()
        await mesh.settled(before)


@scenes
async def test_a_socket_of_which_only_the_sending_half_is_closed(mesh: Mesh, scene: Scene) -> None:
    threads = await scene(mesh)
    await mesh.formed()
    before = mesh.remains()
    async with asked(mesh) as stream:
        await at_work(mesh, threads)
        stream.socket.shutdown(socket.SHUT_WR)
        await until(lambda: mesh.remains().questions == 0)
    await mesh.settled(before)


@scenes
async def test_ctrl_c(mesh: Mesh, scene: Scene) -> None:
    threads = await scene(mesh)
    await mesh.formed()
    before = mesh.remains()
    async with varlog(mesh.hosts["a"].address, "grep", "", "--grace=60") as process:
        await at_work(mesh, threads)
        process.send_signal(signal.SIGINT)
        status, told = await ended(process)
    assert status == 130
    assert told == "varlog: interrupted; the work on all hosts has been stopped\n"
    await mesh.settled(before)


async def test_ctrl_c_while_nobody_reads_the_rows(mesh: Mesh) -> None:
    """It is in the middle of a write that nobody takes, and must not try to write the rest at its end.

    A block of one host has a little more than a pipe holds: what does not fit lies in a buffer.
    """
    await mesh.boot("a", MANY)
    before = mesh.remains()
    async with varlog(mesh.hosts["a"].address, "grep", "") as process:
        await until(lambda: _unread_bytes(process) >= PIPE_BYTES)
        process.send_signal(signal.SIGINT)
        status, told = await ended(process)
    assert (status, told.count("\n")) == (130, 1)
    await mesh.settled(before)


def _unread_bytes(process: subprocess.Popen[bytes]) -> int:
    assert process.stdout
    return int.from_bytes(fcntl.ioctl(process.stdout, termios.FIONREAD, bytes(4)), sys.byteorder)


async def test_ctrl_c_at_tail(mesh: Mesh) -> None:
    threads = await scanning(mesh)
    await mesh.formed()
    before = mesh.remains()
    async with varlog(mesh.hosts["a"].address, "tail", "--grace=60") as process:
        await at_work(mesh, threads)
        process.send_signal(signal.SIGINT)
        status, told = await ended(process)
    assert (status, told.count("\n")) == (130, 1)
    await mesh.settled(before)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
async def test_a_client_that_is_killed(mesh: Mesh, how: signal.Signals) -> None:
    threads = await scanning(mesh)
    await mesh.formed()
    before = mesh.remains()
    async with varlog(mesh.hosts["a"].address, "grep", "x") as process:
        await at_work(mesh, threads)
        process.send_signal(how)
        await ended(process)
    await mesh.settled(before)


async def test_the_limit(mesh: Mesh) -> None:
    for name in NAMES:
        await mesh.boot(name, MANY)
    await mesh.formed()
    before = mesh.remains()
    async with client.ask(mesh.hosts["a"].address, Query(limit=5000, **PATIENT)) as answer:
        assert len([row async for row in answer]) == 5000
        assert answer.ledger.complete
        await until(lambda: mesh.remains().questions == 0)  # while the client is still there
    await mesh.settled(before)


async def test_the_limit_while_others_scan(mesh: Mesh) -> None:
    await mesh.boot("a", 10)
    for name in "bc":
        await mesh.boot(name, runner=Grinding())
    await mesh.formed()
    before = mesh.remains()
    async with client.ask(mesh.hosts["a"].address, Query(limit=5, timeout_s=60, grace_s=0.05)) as answer:
        assert len([row async for row in answer]) == 5
        assert [entry.outcome for entry in answer.ledger.members] == ["answered", "late", "late"]
    await mesh.settled(before)


async def test_the_deadline(mesh: Mesh) -> None:
    await scanning(mesh)
    await mesh.formed()
    before = mesh.remains()
    async with client.ask(mesh.hosts["a"].address, Query(timeout_s=0.3)) as answer:
        assert [row async for row in answer] == []
        assert {entry.outcome for entry in answer.ledger.members} == {Outcome.LATE}
    await mesh.settled(before)


async def test_the_deadline_of_a_listing(mesh: Mesh) -> None:
    await scanning(mesh)
    await mesh.formed()
    before = mesh.remains()
    files, ledger = await client.files(mesh.hosts["a"].address, Query(timeout_s=0.3))
    assert files == []
    assert {entry.outcome for entry in ledger.members} == {Outcome.LATE}
    await mesh.settled(before)


async def test_the_deadline_of_a_host_asked_for_itself(mesh: Mesh) -> None:
    """Between daemons the asker's deadline ends the work; whoever asks one host alone relies on that host."""
    await scanning(mesh)
    await mesh.formed()
    before = mesh.remains()
    address = mesh.hosts["a"].address
    async with open_websocket(
        TcpNetwork(), address, QUERY_PATH, CBOR_SUBPROTOCOL, ANSWER_FRAME_MAX_BYTES
    ) as websocket:
        await websocket.send(encode_cbor(AskRows(Query(timeout_s=0.3), scope="host")), 5)
        await until(lambda: mesh.remains().busy_threads == 1)
        await until(lambda: mesh.remains().questions == 0)
    await mesh.settled(before)


async def test_a_crash_of_the_asked_daemon(mesh: Mesh) -> None:
    threads = await scanning(mesh)
    await mesh.formed()
    async with asked(mesh):
        await at_work(mesh, threads)
        mesh.hosts["a"].scope.cancel()
        await until(lambda: mesh.remains().questions == mesh.remains().question_tasks == 0)
        assert mesh.remains().busy_threads == 0
        assert mesh.remains().log_files == ()


@pytest.fixture
async def asker(mesh: Mesh, tmp_path: Path) -> AsyncIterator[Callable[[], Awaitable[DaemonProcess]]]:
    """Starts a daemon as a process, which the hosts of this process then know."""
    started: list[DaemonProcess] = []

    async def start() -> DaemonProcess:
        config = tmp_path / "asker.toml"
        config.write_text(DEATH_TOML)
        process = DaemonProcess("q", tmp_path, [mesh.hosts["a"].address], [f"--config={config}"])
        started.append(process)
        await mesh.formed("q")
        return process

    yield start
    for process in started:
        process.kill()


async def test_an_asking_daemon_that_hangs_until_it_is_declared_dead(
    mesh: Mesh, asker: Callable[[], Awaitable[DaemonProcess]]
) -> None:
    """Its sockets stay open all the while: only membership tells that nobody wants the work any more."""
    threads = await waiting(mesh, DEATH)
    q = await asker()
    async with varlog(q.address, "grep", "", "--grace=60"):
        await at_work(mesh, threads)
        q.send(signal.SIGSTOP)
        assert mesh.remains().questions == len(NAMES)
        assert sockets_between(os.getpid(), q.pid) == 2 * len(NAMES), "a gossip link and a question each"
        await until(lambda: {host.sees("q") for host in mesh.hosts.values()} == {"dead"})
        await until(lambda: mesh.remains().questions == mesh.remains().question_tasks == 0)
        assert mesh.remains().busy_threads == 0
        assert mesh.remains().log_files == ()
        await until(lambda: sockets_between(os.getpid(), q.pid) == 0)


async def test_an_asking_daemon_that_is_killed(mesh: Mesh, asker: Callable[[], Awaitable[DaemonProcess]]) -> None:
    threads = await waiting(mesh, DEATH)
    q = await asker()
    async with varlog(q.address, "grep", "", "--grace=60") as process:
        await at_work(mesh, threads)
        q.kill()
        await until(lambda: mesh.remains().questions == mesh.remains().question_tasks == 0)
        assert mesh.remains().busy_threads == 0
        assert mesh.remains().log_files == ()
        process.stdout.close()  # type: ignore[union-attr]
        status, told = await ended(process)
    assert (status, told.count("\n")) in ((2, 1), (141, 0)), told


def test_ctrl_c_stops_real_scans_in_real_processes(processes: Processes) -> None:
    daemons = processes.start(*NAMES)
    for daemon in daemons:
        endless_log(daemon.root / "app.log")
    processes.wait_linked()
    before = {daemon.name: daemon.sockets() for daemon in daemons}
    with processes.asking("grep", "what no line has", at=daemons[0]) as process:
        until_now(lambda: all(daemon.open_logs() for daemon in daemons))
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
    until_now(lambda: not any(daemon.open_logs() for daemon in daemons))
    until_now(lambda: {daemon.name: daemon.sockets() for daemon in daemons} == before)
    used = [daemon.cpu_s() for daemon in daemons]
    assert processes.states(daemons[0]) == dict.fromkeys(NAMES, "alive")
    assert max(now.cpu_s() - then for now, then in zip(daemons, used, strict=True)) < 0.5, "nobody scans any more"


class Hanging(ThreadRunner):
    """A runner whose work hangs at its first look whether to go on, and does not see that nobody wants it: as a
    read of a disk that is gone."""

    def __init__(self) -> None:
        super().__init__(1, abandon_s=0.05)
        self.back = threading.Event()

    def check(self) -> None:
        self.back.wait()
        super().check()


async def test_a_read_that_hangs_holds_up_nobody_past_the_deadline(mesh: Mesh) -> None:
    """The host that hangs is late, for the asker and for itself; its log is closed when the read comes back."""
    hanging = Hanging()
    try:
        await mesh.boot("a", 10, query=NO_STALL)
        await mesh.boot("b", 10, runner=hanging, query=NO_STALL)
        await mesh.formed()
        query = Query(timeout_s=0.5, grace_s=0.1)
        for host in ("a", "b"):
            async with client.ask(mesh.hosts[host].address, query) as answer:
                rows = [row async for row in answer]
            outcomes = {entry.host: entry.outcome for entry in answer.ledger.members}
            assert outcomes == {"a": Outcome.ANSWERED, "b": Outcome.LATE}
            assert len(rows) == 10
        await until(lambda: mesh.remains().questions == 0)
        assert hanging.abandoned == 2
        assert mesh.remains().busy_threads == 0
    finally:
        hanging.back.set()
    await until(lambda: hanging.abandoned == 0)
    assert mesh.remains().log_files == ()
