"""Real journals for tests, made from exports."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from varlogd.logs.catalogue import Served
from varlogd.logs.journal import JournalSource
from varlogd.logs.journalctl import Journalctl
from varlogd.logs.redaction import Redactor
from varlogd.logs.scan import HostLogs, Scan
from varlogd.query.block import Row, rows_of
from varlogd.wire.query import Query

REMOTE = Path("/lib/systemd/systemd-journal-remote")
SECOND_US = 1_000_000
T0_US = 1_767_225_600 * SECOND_US

Fields = dict[str, str | bytes]


def exported(entries: Sequence[Fields]) -> bytes:
    """An export of entries, a second apart where they do not say otherwise."""
    return b"".join(map(_exported, _with_times(entries)))


def make_journal(directory: Path, entries: Sequence[Fields], name: str = "all") -> Path:
    """Put a journal of entries into a directory, with a numbering of its own."""
    if not REMOTE.exists() or shutil.which("journalctl") is None:
        pytest.skip("no systemd-journal-remote here to make a journal with")
    subprocess.run(
        [REMOTE, f"--output={directory}/{name}.journal", "--split-mode=none", "-"],
        input=exported(entries),
        check=True,
        capture_output=True,
    )
    return directory


def logs_of(journalctl: Journalctl, served: Served | None = None) -> HostLogs:
    """A host that has a journal and no files."""
    tags = {"role": "web"}
    redactor = Redactor({}, builtin=True)
    return HostLogs("web1", tags, [], others=[JournalSource("web1", tags, journalctl, served or Served(), redactor)])


def scanned(logs: HostLogs, query: Query) -> tuple[list[Row], Scan]:
    """All rows, and the scan they came out of."""
    with logs.scan(query, lambda: None) as scan:
        return [row for block in scan if block is not None for row in rows_of(block)], scan


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
