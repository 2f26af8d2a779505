"""Strangers who mean ill, on either socket: bounded memory, bounded time, and the others are served meanwhile."""

from __future__ import annotations

import resource
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import cbor2
import pytest
import trio

from tests.daemons import IMPATIENT, VARLOGD, WAIT_S, DaemonProcess, Mesh, endless_log, log_lines, until, until_now
from tests.raw import (
    BINARY,
    CONTINUATION,
    GOSSIP,
    HEAD_END,
    JSON,
    PING,
    PONG,
    TEXT,
    ending_of,
    frame,
    handshake,
)
from varlogd import client
from varlogd.config import MembershipConfig, split_address
from varlogd.mesh.links import GOSSIP_PATH
from varlogd.mesh.network import TcpNetwork
from varlogd.mesh.transport import open_websocket
from varlogd.swim.state import State
from varlogd.wire.codec import encode_cbor
from varlogd.wire.gossip import Claim, Gossip, Hello
from varlogd.wire.limits import GOSSIP_FRAME_MAX_BYTES, GOSSIP_SUBPROTOCOL, MEMBERS_MAX, MIB, PROTOCOL_VERSION
from varlogd.wire.query import Matcher, Query

FEW_FILES = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (96, 96))
from varlogd.cli.varlogd import main
main()
"""

ONLY_A = Query(matchers=(Matcher("host", "=", "a"),))


class Victim:
    """A daemon as a process, and what it costs it to be there."""

    def __init__(self, directory: Path, command: tuple[str, ...] = VARLOGD, flags: tuple[str, ...] = ()) -> None:
        self.daemon = DaemonProcess("a", directory, [], flags, command)
        (self.daemon.root / "app.log").write_text(log_lines("a", 10))
        self.address = split_address(self.daemon.address)
        self.serve_somebody()
        self.before = self.daemon.rss_bytes()

    def connect(self, data: bytes = b"") -> socket.socket:
        stream = socket.create_connection(self.address, WAIT_S)
        stream.sendall(data)
        return stream

    def shake_hands(self, endpoint: tuple[str, str], data: bytes = b"") -> socket.socket:
        stream = self.connect(handshake(*endpoint))
        heard = b""
        while HEAD_END not in heard:
            more = stream.recv(65536)
            if not more:
                raise ConnectionError("hung up on in the handshake")
            heard += more
        stream.sendall(data)
        return stream

    def serve_somebody(self) -> None:
        """Somebody else asks, and gets an answer."""

        async def ask() -> None:
            async with client.ask(self.daemon.address, ONLY_A) as answer:
                assert len([row async for row in answer]) == 10
                assert answer.ledger.complete

        trio.run(ask)

    @property
    def grown_mib(self) -> float:
        """How much memory it has taken since the start."""
        return (self.daemon.rss_bytes() - self.before) / MIB


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Victim]:
    made = Victim(tmp_path)
    yield made
    made.daemon.kill()


@pytest.fixture(scope="module")
def flooded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    made = Victim(tmp_path_factory.mktemp("flooded"))
    endless_log(made.daemon.root / "endless.log")
    yield made
    made.daemon.kill()


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    made = Victim(tmp_path_factory.mktemp("impatient"), (sys.executable, "-c", IMPATIENT))
    yield made
    made.daemon.kill()


def ended(stream: socket.socket, *, websocket: bool = True) -> str:
    """How the other side ends this connection."""
    data = b"HTTP/1.1 101 x" + HEAD_END if websocket else b""
    with suppress(ConnectionError):
        while ending_of(data) == "dropped" and (more := stream.recv(65536)):
            data += more
    return ending_of(data)


# Silence


def test_a_thousand_idle_connections(victim: Victim) -> None:
    def hello(number: int) -> bytes:
        return frame(BINARY, cbor2.dumps([0, 1, f"idle{number}", 1, f"127.0.0.1:{number + 1}"]))

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4096:
        pytest.skip(f"no more than {hard} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
    before = victim.daemon.sockets()
    with ExitStack() as stack:
        for number in range(250):
            for open_one in (
                victim.connect,
                partial(victim.connect, b"GET /query HTTP/1.1\r\nHost: "),
                partial(victim.shake_hands, JSON),
                partial(victim.shake_hands, GOSSIP, hello(number)),
            ):
                stack.enter_context(open_one())
        victim.serve_somebody()
        assert victim.grown_mib < 64
    until_now(lambda: victim.daemon.sockets() <= before)
    victim.serve_somebody()


def test_where_few_files_may_be_open_there_is_room_for_logs_and_newcomers(tmp_path: Path) -> None:
    victim = Victim(tmp_path, (sys.executable, "-c", FEW_FILES))
    try:
        with ExitStack() as stack:
            for number in range(200):
                with suppress(ConnectionError):
                    stack.enter_context(victim.connect() if number % 2 else victim.shake_hands(JSON))
            victim.serve_somebody()
    finally:
        victim.daemon.kill()


@pytest.mark.parametrize(
    ("opening", "slowly", "ending"),
    [
        (None, handshake(*JSON), "dropped"),
        (JSON, frame(TEXT, b'{"type": "members"}' + b" " * 200), "1008"),
        (GOSSIP, frame(BINARY, b"x" * 200), "1002"),
    ],
    ids=["head", "question", "hello"],
)
def test_a_byte_at_a_time(impatient: Victim, opening: tuple[str, str] | None, slowly: bytes, ending: str) -> None:
    """Each byte comes in time, and all of them would take for ever."""
    with impatient.shake_hands(opening) if opening else impatient.connect() as stream:
        enough = threading.Event()

        def drip() -> None:
            with suppress(OSError):
                for byte in slowly:
                    stream.send(bytes([byte]))
                    if enough.wait(0.05):
                        return

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            assert ended(stream, websocket=opening is not None) == ending
        finally:
            enough.set()
            dripping.join()
    impatient.serve_somebody()


# Floods


@pytest.mark.parametrize(
    ("endpoint", "first", "again"),
    [
        (JSON, b"", frame(PING, b"x" * 125)),
        (JSON, b"", frame(PONG, b"")),
        (JSON, frame(TEXT, b"", final=False), frame(CONTINUATION, b"", final=False)),
        (JSON, frame(TEXT, b'{"type": "query", "query": {"timeout_s": 600}}'), frame(PONG, b"")),
        (GOSSIP, frame(BINARY, b"", final=False), frame(CONTINUATION, b"", final=False)),
        (GOSSIP, frame(BINARY, cbor2.dumps([0, 1, "flood", 1, "127.0.0.1:1"])), frame(BINARY, cbor2.dumps([3, 1]))),
    ],
    ids=["pings", "pongs", "fragments", "a question, then pongs", "gossip fragments", "gossip"],
)
def test_a_flood(flooded: Victim, endpoint: tuple[str, str], first: bytes, again: bytes) -> None:
    """Nobody reads what is answered."""
    with flooded.shake_hands(endpoint, first) as stream:
        stream.settimeout(0.05)
        enough = threading.Event()

        def pour() -> None:
            with suppress(ConnectionError):
                while not enough.is_set():
                    with suppress(TimeoutError):
                        stream.send(again * 1000)

        pouring = threading.Thread(target=pour)
        pouring.start()
        try:
            for _ in range(10):
                assert trio.run(client.members, flooded.daemon.address).members
            assert flooded.grown_mib < 24
        finally:
            enough.set()
            pouring.join()


# Nonsense in gossip


def claims_frame(*claims: Claim) -> bytes:
    return frame(BINARY, encode_cbor(Gossip(claims)))


HELLO = frame(BINARY, cbor2.dumps([0, 1, "stranger", 1, "127.0.0.1:1"]))


def test_a_hundred_thousand_claims_in_one_message(victim: Victim) -> None:
    many = frame(BINARY, cbor2.dumps([5, [[f"{number:x}", 1, 0, 0] for number in range(100_000)]]))
    with victim.shake_hands(GOSSIP, HELLO + many) as stream:
        assert ended(stream) in ("1002", "1009")
    assert [member.name for member in trio.run(client.members, victim.daemon.address).members] == ["a"]
    assert victim.grown_mib < 64


def test_a_message_over_the_bound(victim: Victim) -> None:
    """It is told why, though it talks on and listens only when it has done."""
    for first in (b"", HELLO):
        with victim.shake_hands(GOSSIP, first + frame(BINARY, bytes(8 * GOSSIP_FRAME_MAX_BYTES))) as stream:
            assert ended(stream) == "1009"
    assert victim.grown_mib < 64


def test_more_members_than_there_can_be(victim: Victim) -> None:
    """The table takes what it may hold, says that it is full, and goes on; lists and ledgers still come through."""
    with victim.shake_hands(GOSSIP, HELLO) as stream:
        for start in range(0, MEMBERS_MAX + 2000, 2000):
            names = (f"{number:05}" for number in range(start, start + 2000))
            stream.sendall(claims_frame(*(Claim(name, 1, 0, State.LEFT, "127.0.0.1:1") for name in names)))
        until_now(lambda: len(trio.run(client.members, victim.daemon.address).members) == MEMBERS_MAX)
        assert victim.grown_mib < 128
        victim.serve_somebody()

        async def ask_all() -> int:
            async with client.ask(victim.daemon.address, Query()) as answer:
                assert len([row async for row in answer]) == 10
                return len(answer.ledger.members)

        assert trio.run(ask_all) == MEMBERS_MAX


def test_a_thousand_members_who_are_not_there(victim: Victim) -> None:
    """Each is asked, and each is in the ledger."""
    with victim.shake_hands(GOSSIP, HELLO) as stream, socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        taken.close()
        stream.sendall(claims_frame(*(Claim(f"{n:04}", 1, 0, State.ALIVE, f"127.0.0.1:{port}") for n in range(1000))))
        until_now(lambda: len(trio.run(client.members, victim.daemon.address).members) == 1001)

        async def ask_all() -> tuple[int, set[str]]:
            async with client.ask(victim.daemon.address, Query(timeout_s=10)) as answer:
                assert len([row async for row in answer]) == 10
                outcomes = {entry.outcome.value for entry in answer.ledger.members if entry.host != "a"}
                return len(answer.ledger.members), outcomes

        members, outcomes = trio.run(ask_all)
        assert members == 1001
        assert outcomes <= {"failed", "dead"}
    victim.serve_somebody()


NOWHERE = (
    "a..b:80", ".:1", "\u3002:1", "x" * 64 + ".example:1", "[::1%none]:1", "%:1", "a%00b:1", "-:1", "1.2.3:1", "*:1",
)  # fmt: skip


async def test_addresses_that_are_none(mesh: Mesh, caplog: pytest.LogCaptureFixture) -> None:
    """A claim goes round the whole mesh, and everybody dials what it says."""
    for name in "ab":
        await mesh.boot(name, membership=LIE)
    await mesh.formed()
    odd = {f"odd{number}": address for number, address in enumerate(NOWHERE)}
    claims = [Claim(name, 1, 0, State.ALIVE, address) for name, address in odd.items()]
    await lie_to(mesh.hosts["a"].address, *claims, Claim("probe", 1, 0, State.LEFT, "127.0.0.1:1"))
    for host in mesh.hosts.values():
        await until(lambda host=host: host.sees("probe") == "left")
        await until(lambda host=host: all(host.sees(name) in ("suspect", "dead", "unknown") for name in odd))
    async with client.ask(mesh.hosts["b"].address, Query(matchers=(Matcher("host", "=~", "a|b"),))) as answer:
        assert len([row async for row in answer]) == 20
    assert "a fault of ours" not in caplog.text


LIE = MembershipConfig(probe_interval_s=0.2, probe_timeout_s=0.1)


async def lie_to(address: str, *claims: Claim) -> None:
    """Tell a node something about others."""
    async with open_websocket(
        TcpNetwork(), address, GOSSIP_PATH, GOSSIP_SUBPROTOCOL, GOSSIP_FRAME_MAX_BYTES
    ) as websocket:
        await websocket.send(encode_cbor(Hello(PROTOCOL_VERSION, "liar", 1, "127.0.0.1:1")), 5)
        await websocket.receive()
        await websocket.send(encode_cbor(Gossip(claims)), 5)
        await websocket.close()


@pytest.mark.parametrize("state", [State.SUSPECT, State.DEAD, State.LEFT])
async def test_a_false_death_is_refuted(mesh: Mesh, state: State) -> None:
    a = await mesh.boot("a", membership=LIE)
    b = await mesh.boot("b", membership=LIE)
    await mesh.formed()
    mine = b.daemon.gossip.swim.me
    await lie_to(a.address, Claim("b", mine.epoch, mine.incarnation, state, mine.address, {}, "liar"))
    await until(lambda: a.daemon.members()["b"].incarnation > mine.incarnation)
    assert a.sees("b") == "alive"


async def test_who_takes_anothers_name_does_not_keep_it(mesh: Mesh) -> None:
    """The place it names is found empty, and the one whose name it is comes back."""
    a = await mesh.boot("a", membership=LIE)
    b = await mesh.boot("b", membership=LIE)
    await mesh.formed()
    mine = b.daemon.gossip.swim.me
    await lie_to(a.address, Claim("b", mine.epoch + 1, 0, State.ALIVE, "127.0.0.1:1"))
    await until(lambda: a.daemon.members()["b"].epoch > mine.epoch + 1)
    assert (a.sees("b"), a.daemon.members()["b"].address) == ("alive", b.address)


async def test_what_a_node_says_of_itself_is_not_believed_of_the_listener(mesh: Mesh) -> None:
    a = await mesh.boot("a", membership=LIE)
    epoch = a.daemon.gossip.swim.me.epoch
    huge = (1 << 62) - 1
    await lie_to(
        a.address,
        Claim("a", epoch, huge, State.DEAD, a.address, {}, "liar"),
        Claim("a", huge, huge, State.LEFT, a.address),
        Claim("a", huge, 0, State.ALIVE, "127.0.0.1:1"),
    )
    assert a.sees("a") == "alive"
    async with client.ask(a.address, Query()) as answer:
        assert len([row async for row in answer]) == 10
