"""Three daemons, as processes, that serve real logs in rotation chains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from tests.daemons import Asked, Processes
from tests.engine.chains import HOSTS, LOGHUB, Line, lay_out


@dataclass
class Engine:
    """The mesh, and all lines that are in its logs."""

    processes: Processes
    lines: list[Line] = field(default_factory=list)

    def varlog(self, *words: str, at: str = "web1") -> Asked:
        """Run `varlog`, asking one of the daemons."""
        return self.processes.varlog(*words, at=self.processes.daemons[at])

    def of(self, *streams: str) -> list[Line]:
        """The lines of these streams."""
        return [line for line in self.lines if line.stream in streams]


def shown(lines: Sequence[Line]) -> list[str]:
    """Lines as `varlog` shows them in a pipe."""
    return [line.shown.decode() for line in lines]


@pytest.fixture(scope="package")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    if not LOGHUB.is_dir():
        pytest.skip(f"no loghub data in {LOGHUB}")
    made = Engine(Processes(tmp_path_factory.mktemp("engine")))
    for host in HOSTS:
        root = made.processes.directory / host.name
        root.mkdir()
        made.lines += lay_out(host, root)
        made.processes.start(host.name, flags=[f"--tag=role={host.role}"], environ={"TZ": host.zone})
    yield made
    made.processes.stop()
