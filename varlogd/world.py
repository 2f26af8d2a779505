"""The world a daemon is handed: network, chance, blocking work, the wall clock.

Production hands it the real ones; `simulations` hands it simulated ones, and the same daemon runs there.
The steady clock is not here: shell code reads `trio.current_time`, which a virtual clock moves.
"""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final

from varlogd.logs.journal.journalctl import Journalctl
from varlogd.memory.disk import Directory, Disk
from varlogd.mesh.network import Network, TcpNetwork
from varlogd.runner import Runner, ThreadRunner

FILES_WANTED: Final = 65_536
"""Files and sockets: as many connections as are ever allowed by default, and questions to fifty hosts each."""


@dataclass(frozen=True)
class World:
    """``wall_ns``: nanoseconds since 1970. ``zone``: that of the times in this host's logs (None: the host's).
    ``journalctl``: what reads this host's journal (None: it has none). ``disk``: the directory of a path, to keep
    state in."""

    network: Network
    rng: random.Random
    runner: Runner
    wall_ns: Callable[[], int]
    zone: tzinfo | None = None
    journalctl: Journalctl | None = None
    disk: Callable[[str], Disk] = Directory


def raise_files_limit() -> int:
    """Let this process open as many files and sockets as the system allows it, up to `FILES_WANTED`; how many.

    The usual limit of 1,024 is there for programs of another age, and is no more than what may be raised.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = FILES_WANTED if hard == resource.RLIM_INFINITY else min(hard, FILES_WANTED)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        return allowed
    return allowed if soft == resource.RLIM_INFINITY else soft


def real_world(scans_max: int) -> World:
    """The world as it is."""
    return World(TcpNetwork(), random.Random(), ThreadRunner(scans_max), time.time_ns, journalctl=Journalctl())
