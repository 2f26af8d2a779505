"""Real journals for tests, made from exports."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from varlogd.logs.catalogue import Served
from varlogd.logs.journal.journalctl import Journalctl
from varlogd.logs.journal.source import JournalSource
from varlogd.logs.scan import HostLogs, Scan
from varlogd.logs.secrets.redaction import Redactor
from varlogd.query.block import Row, rows_of
from varlogd.wire.query import Query

REMOTE = Path("/lib/systemd/systemd-journal-remote")
JOURNALD = Path("/lib/systemd/systemd-journald")
WAIT_S = 10.0
"""Longer than anything here takes on a loaded machine."""

SECOND_US = 1_000_000
T0_US = 1_767_225_600 * SECOND_US

Fields = dict[str, str | bytes]


def exported(entries: Sequence[Fields]) -> bytes:
    """An export of entries, a second apart where they do not say otherwise."""
    return b"".join(map(_exported, _with_times(entries)))


def make_journal(directory: Path, entries: Sequence[Fields], name: str = "all") -> Path:
    """Put a journal of entries into a directory, with a numbering of its own, told from the others there by its first
    byte (as `base_of` tells them). The numbering is systemd's to draw."""
    if not REMOTE.exists() or shutil.which("journalctl") is None:
        pytest.skip("no systemd-journal-remote here to make a journal with")
    file = directory / f"{name}.journal"
    taken = {_first_of_numbering(other) for other in directory.glob("*.journal") if other != file}
    while True:
        file.unlink(missing_ok=True)
        subprocess.run(
            [REMOTE, f"--output={file}", "--split-mode=none", "-"],
            input=exported(entries),
            check=True,
            capture_output=True,
        )
        if _first_of_numbering(file) not in taken:
            return directory


def _first_of_numbering(file: Path) -> int:
    """By systemd's "Journal File Format", the header."""
    return file.read_bytes()[72]


def logs_of(journalctl: Journalctl, served: Served | None = None) -> HostLogs:
    """A host that has a journal and no files."""
    tags = {"role": "web"}
    redactor = Redactor({}, builtin=True)
    return HostLogs("web1", tags, [], others=[JournalSource("web1", tags, journalctl, served or Served(), redactor)])


def scanned(logs: HostLogs, query: Query) -> tuple[list[Row], Scan]:
    """All rows, and the scan they came out of."""
    with logs.scan(query, lambda: None) as scan:
        return [row for block in scan if block is not None for row in rows_of(block)], scan


class Live:
    """A journald of our own, in a namespace: what is written to it, and where it keeps it."""

    def __init__(self, name: str) -> None:
        self.directory: Path
        self.sockets = Path(f"/run/systemd/journal.{name}")
        machine = Path("/etc/machine-id").read_text().strip()
        self.directories = [Path(top) / f"{machine}.{name}" for top in ("/var/log/journal", "/run/log/journal")]
        self._process = subprocess.Popen([JOURNALD, name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def wait_ready(self) -> Path:
        """Its directory, once it has one and takes entries."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            directory = next((one for one in self.directories if any(one.glob("*.journal"))), None)
            if directory and (self.sockets / "socket").exists():
                self._socket.connect(str(self.sockets / "socket"))
                self.directory = directory
                return directory
            time.sleep(0.01)
        pytest.skip("no journald can be run here")

    def write(self, message: str, identifier: str = "app") -> None:
        self._socket.send(f"MESSAGE={message}\nPRIORITY=6\nSYSLOG_IDENTIFIER={identifier}\n".encode())

    def wait_taken(self, message: str) -> None:
        """Return once journald has taken that message, and so all before it."""
        command = ["journalctl", f"--directory={self.directory}", "--output=cat", "--lines=1"]
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            if subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() == message:
                return
        pytest.fail(f"journald has not taken {message!r}")

    def stop(self) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait()
        for directory in (self.sockets, *self.directories):
            shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def live_journal() -> Iterator[Live]:
    """A journald for one test."""
    if os.geteuid() != 0 or not JOURNALD.exists() or shutil.which("journalctl") is None:
        pytest.skip("running a journald takes root, and systemd")
    made = Live(f"varlogd{os.getpid()}")
    try:
        yield made
    finally:
        made.stop()


def _with_times(entries: Sequence[Fields]) -> Iterable[Fields]:
    for number, entry in enumerate(entries):
        at = str(T0_US + number * SECOND_US)
        yield {
            "__REALTIME_TIMESTAMP": at,
            "__MONOTONIC_TIMESTAMP": at,
            "_BOOT_ID": "0" * 31 + "1",
            "_MACHINE_ID": "0" * 31 + "2",
            **entry,
        }


def _exported(entry: Fields) -> bytes:
    parts = []
    for name, value in entry.items():
        data = value if isinstance(value, bytes) else value.encode()
        plain = b"\n" not in data and data.isascii()
        shown = b"=" + data if plain else b"\n" + len(data).to_bytes(8, "little") + data
        parts.append(name.encode() + shown + b"\n")
    return b"".join(parts) + b"\n"
