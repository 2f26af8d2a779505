"""Hostile bytes of many kinds, sent to a daemon: it ends each connection as is fit, and goes on.

`corpus/` holds what a stranger sends on a new connection, byte for byte; where that begins with a websocket
handshake, the rest is sent when it has been answered. A file's name says what it is, and its ending how the daemon
ends it: with an HTTP status, with a websocket's close code, or ``dropped``. Beside them Hypothesis makes up its own.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import cbor2
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.daemons import IMPATIENT, WAIT_S, DaemonProcess, log_lines
from tests.raw import CBOR, GOSSIP, HEAD_END, JSON, ending_of, frame, handshake
from varlogd import client
from varlogd.config import split_address

CORPUS = sorted((Path(__file__).parent / "corpus").iterdir())


class Target:
    """The daemon that all of it is sent to."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self.daemon = daemon
        self._address = split_address(daemon.address)
        self._log_read = 0

    def say(self, data: bytes, *, finish: bool) -> bytes:
        """Send this on a new connection, ``finish`` with no more to come; what is answered before it is closed."""
        heard = b""
        with socket.create_connection(self._address, WAIT_S) as stream, suppress(ConnectionError):
            if b"Upgrade: websocket" in data:
                head, _, data = data.partition(HEAD_END)
                stream.sendall(head + HEAD_END)
                while HEAD_END not in heard and (more := stream.recv(65536)):
                    heard += more
            stream.sendall(data)
            if finish:
                stream.shutdown(socket.SHUT_WR)
            while ending_of(heard) == "dropped" and (more := stream.recv(65536)):
                heard += more
        return heard

    def check(self) -> None:
        """It answers, and what came since the last time was nowhere a fault of its own."""
        assert [member.name for member in trio.run(client.members, self.daemon.address).members if member.asked] == [
            "a"
        ]
        log = self.daemon.log.read_text()
        faults = [line for line in log[self._log_read :].splitlines() if '"exception"' in line or "a fault" in line]
        self._log_read = len(log)
        assert faults == []


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    daemon = DaemonProcess("a", tmp_path_factory.mktemp("corpus"), [], command=[sys.executable, "-c", IMPATIENT])
    (daemon.root / "app.log").write_text(log_lines("a", 3))
    yield Target(daemon)
    daemon.kill()


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_the_corpus(target: Target, path: Path) -> None:
    assert ending_of(target.say(path.read_bytes(), finish=False)) == path.suffix[1:]
    target.check()


def test_a_frame_at_a_time_or_byte_by_byte_is_the_same(target: Target) -> None:
    """What is cut up on its way means no less."""
    question = handshake(*JSON) + frame(1, b'{"type": "members"}')
    head, _, rest = question.partition(HEAD_END)
    with socket.create_connection(split_address(target.daemon.address), WAIT_S) as stream:
        for byte in head + HEAD_END:
            stream.send(bytes([byte]))
        heard = b""
        while HEAD_END not in heard:
            heard += stream.recv(65536)
        for byte in rest:
            stream.send(bytes([byte]))
        while more := stream.recv(65536):
            heard += more
    assert ending_of(heard) == "1000"


# What Hypothesis makes up


def fuzz(examples: int) -> Callable[[Any], Any]:
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


endpoints = st.sampled_from([JSON, CBOR, GOSSIP])
frames = st.builds(
    frame,
    st.integers(0, 15),
    st.binary(max_size=200),
    final=st.booleans(),
    reserved=st.sampled_from([0, 0, 0, 1, 4, 7]),
    size=st.sampled_from([None, None, None, 0, 1, 125, 126, 65535, 65536, 1 << 40, (1 << 63) - 1]),
)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 64), 1 << 64),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=20),
)
WORDS = """type query files members matchers filters start_ns end_ns limit direction timeout_s grace_s label op value
patterns ignore_case scope asker host mesh = != =~ !~ |= |~ newest_first oldest_first hello rows ledger"""
words = st.sampled_from(WORDS.split())
values = st.recursive(
    scalars | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words | st.text(max_size=5), inner, max_size=5),
    max_leaves=20,
)
likely_queries = st.fixed_dictionaries(
    {},
    optional={
        "matchers": st.lists(
            st.fixed_dictionaries(
                {
                    "label": words | st.text(),
                    "op": words,
                    "value": st.text(alphabet="a.*+?[](){}|\\^$\n\0é-", max_size=12),
                }
            ),
            max_size=3,
        ),
        "filters": st.lists(
            st.fixed_dictionaries(
                {
                    "op": st.sampled_from(["|=", "!=", "|~", "!~"]),
                    "patterns": st.lists(
                        st.text(alphabet="a.*+?[](){}|\\^$\n\0é-:<=!PQEzdwsb0123", max_size=16),
                        min_size=1,
                        max_size=3,
                    ),
                },
                optional={"ignore_case": st.booleans()},
            ),
            max_size=3,
        ),
        "start_ns": st.none() | st.integers(-(1 << 63), (1 << 63) - 1),
        "end_ns": st.none() | st.integers(-(1 << 63), (1 << 63) - 1),
        "limit": st.none() | st.integers(1, (1 << 62) - 1),
        "direction": st.sampled_from(["newest_first", "oldest_first"]),
        "timeout_s": st.floats(1, 700),
        "grace_s": st.floats(0.001, 10),
    },
)
questions = st.fixed_dictionaries(
    {"type": st.sampled_from(["query", "query", "files"]), "query": likely_queries | values},
    optional={"scope": st.sampled_from(["mesh", "host"]) | values, "asker": st.text(max_size=5)},
)
claims = st.tuples(
    st.text(min_size=1, max_size=8),
    st.integers(-1, 1 << 62),
    st.integers(-1, 1 << 62),
    st.integers(-1, 5),
    st.sampled_from(
        ["127.0.0.1:1", "[::1]:1", "", "nonsense", "a:99999", "\x1b[2J:1", "a..b:1", "%:1", "x" * 64 + ":1"]
    )
    | st.text(max_size=10),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    st.text(max_size=5),
)
gossip = st.one_of(
    st.tuples(st.integers(0, 8), values),
    st.tuples(
        st.sampled_from([1, 4]), st.integers(0, 99), st.sampled_from(["a", "b", "x"]), st.lists(claims, max_size=3)
    ),
    st.tuples(st.just(5), st.lists(claims, max_size=5)),
    st.tuples(st.just(6), st.booleans(), st.lists(claims, max_size=5)),
)


@fuzz(150)
@given(st.binary(max_size=2000))
def test_any_bytes(target: Target, data: bytes) -> None:
    target.say(data, finish=True)
    target.check()


@fuzz(200)
@given(endpoints, st.lists(frames, max_size=6), st.binary(max_size=20))
def test_any_frames(target: Target, endpoint: tuple[str, str], sent: list[bytes], more: bytes) -> None:
    target.say(handshake(*endpoint) + b"".join(sent) + more, finish=True)
    target.check()


@fuzz(200)
@given(questions | values)
def test_any_question(target: Target, question: Any) -> None:
    """In either form it is answered, or the error is the asker's: never a fault of ours, never silence."""
    in_cbor = handshake(*CBOR) + frame(2, cbor2.dumps(question))
    assert ending_of(target.say(in_cbor, finish=False)) in ("1000", "1002", "4400")
    text = json.dumps(question, default=repr)
    in_json = handshake(*JSON) + frame(1, text.encode())
    assert ending_of(target.say(in_json, finish=False)) in ("1000", "1002", "4400")
    target.check()


@fuzz(200)
@given(st.lists(gossip, max_size=4))
def test_any_gossip(target: Target, messages: list[Any]) -> None:
    hello = (0, 1, "stranger", 1, "127.0.0.1:2")
    said = b"".join(frame(2, cbor2.dumps(message)) for message in (hello, *messages))
    target.say(handshake(*GOSSIP) + said, finish=True)
    target.check()
