"""Serf, the peer in membership: https://www.serfdom.io, the Debian package `serf`, with its LAN profile."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bed import Kind, Node, Word, environment, need

GOSSIP_PORT = 7946
RPC_PORT = 7373

ANSWER_MAX_BYTES = 900
"""Serf's answers go in one datagram of at most 1,024 bytes; this leaves room for its header."""

_EVENT = re.compile(rb"EventMember(Join|Failed|Leave): (\S+)")
_WORDS: Mapping[bytes, Word] = {b"Join": "up", b"Failed": "dead", b"Leave": "left"}


def serf(tail_of: str | None = None) -> Kind:
    """The kind of a Serf mesh; with ``tail_of`` its agents answer the query ``tail`` with the end of that file below
    the node's root. Raises Skip."""
    need("serf")

    def command(node: Node, seed: Node | None) -> list[str]:
        bind, rpc = f"-bind={node.host}:{GOSSIP_PORT}", f"-rpc-addr={node.host}:{RPC_PORT}"
        argv = ["serf", "agent", f"-node={node.name}", bind, rpc, "-profile=lan", "-log-level=info"]
        if seed is not None:
            argv.append(f"-join={seed.host}:{GOSSIP_PORT}")
        if tail_of is not None:
            argv.append(f"-event-handler=query:tail={_tail_script(node.root / tail_of, node.log)}")
        return argv

    return Kind("serf", command, _says, signal.SIGINT)


def _says(line: bytes) -> tuple[Word, str] | None:
    event = _EVENT.search(line)
    return (_WORDS[event[1]], event[2].decode()) if event else None


def _tail_script(file: Path, log: Path) -> Path:
    """A handler that prints what of the last hundred lines fits in one answer."""
    script = log.with_suffix(".sh")
    script.write_text(f"#!/bin/sh\ntail -n 100 '{file}' | tail -c {ANSWER_MAX_BYTES}\n")
    script.chmod(0o755)
    return script


@dataclass(frozen=True)
class QueryTimes:
    """How long after `serf query` was started its first and last answer were printed and it ended; and of how many
    nodes answers came."""

    first_s: float
    last_s: float
    ended_s: float
    answers: int


def query_tail(node: Node) -> QueryTimes:
    """`serf query tail`, asked of a node."""
    began = time.perf_counter()
    command = ["serf", "query", f"-rpc-addr={node.host}:{RPC_PORT}", "tail"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment())
    assert process.stdout is not None
    printed, times, ended_s = b"", list[float](), 0.0
    while data := os.read(process.stdout.fileno(), 1 << 16):
        printed += data
        ended_s = time.perf_counter() - began
        times += [ended_s] * (printed.count(b"Response from '") - len(times))
    process.stdout.close()
    process.wait()
    ended_s = time.perf_counter() - began
    return QueryTimes(times[0] if times else ended_s, times[-1] if times else ended_s, ended_s, len(times))
