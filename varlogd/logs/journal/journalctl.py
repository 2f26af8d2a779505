"""`journalctl` as a child process: its export, read in pieces; never a shell, never left running.

What is asked for is one vector of arguments, made here from numbers and from names that the journal itself gave. The
child has a session of its own and is killed with all of it when it is no longer wanted: it holds no state, so
that is the gentlest end. It is at most a pipe ahead of who reads.
"""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from varlogd.wire.limits import KIB, MIB

PIPE_BYTES: Final = 1 * MIB
"""How far it may run ahead: with the usual 64 KiB it waits for us more than it works."""

READ_FIRST_BYTES: Final = 32 * KIB
"""The first read: a hundred entries, which is what many questions want. Each later one is twice as large."""

READ_MAX_BYTES: Final = 256 * KIB
"""One read: some hundred entries. Past this nothing gets faster, and a cancelled question stops within one."""

COMPLAINTS_MAX_BYTES: Final = 4 * KIB
"""What is kept of what it says on stderr."""

END_TIMEOUT_S: Final = 1.0
"""How long one that has closed its output may take to end."""

DIRECTORIES: Final = (Path("/var/log/journal"), Path("/run/log/journal"))
"""Where journals are: what is kept, and what is only until the next boot."""

_FIELDS: Final = "MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,SYSLOG_PID,UNIT,_COMM,_PID,_SYSTEMD_UNIT,_TRANSPORT"
_MICROSECOND_NS: Final = 1000
_TIME_MAX_US: Final = 253_402_214_400 * 1_000_000
"""The year 9999: it takes no later time."""

_SET_PIPE_SIZE: Final = getattr(fcntl, "F_SETPIPE_SZ", None)


class Journalctl:
    """The program, and the directory of the journal it is to read (None: this host's)."""

    def __init__(self, program: str = "journalctl", directory: Path | None = None) -> None:
        self._program = program
        self._directory = directory

    def absence(self) -> str:
        """Why there is no journal here; empty if there is one. Starts nothing."""
        if shutil.which(self._program) is None:
            return f"there is no {self._program} on this host"
        return "" if self.has_journals() else "this host has no journal"

    def has_journals(self) -> bool:
        """Whether there are journals, which somebody may read or not. Starts nothing."""
        return self._directory is not None or any(map(_has_journals, DIRECTORIES))

    def export(self, matches: Sequence[str], *options: str) -> Child:
        """The entries that have ``matches`` (``FIELD=value``, ``+``), as `export` has them."""
        return self._child("--output=export", f"--output-fields={_FIELDS}", *options, "--", *matches)

    def values(self, field: str) -> Child:
        """All values that a field has in the journal, a line each."""
        return self._child(f"--field={field}")

    def _child(self, *arguments: str) -> Child:
        where = () if self._directory is None else (f"--directory={self._directory}",)
        return Child([self._program, "--no-pager", *where, *arguments])


def since(time_ns: int) -> str:
    """The option for entries from a time on, or a little before."""
    return f"--since=@{_epoch(time_ns // _MICROSECOND_NS)}"


def until(time_ns: int) -> str:
    """The option for entries up to a time, or a little behind it."""
    return f"--until=@{_epoch(-(-time_ns // _MICROSECOND_NS))}"


def _epoch(time_us: int) -> str:
    seconds, microseconds = divmod(min(max(time_us, 0), _TIME_MAX_US), 1_000_000)
    return f"{seconds}.{microseconds:06}"


def _has_journals(directory: Path) -> bool:
    """Whether there is a machine's journal in it, as far as this process may look."""
    try:
        return any(len(entry.name) == 32 and entry.is_dir() for entry in directory.iterdir())
    except PermissionError:
        return True
    except OSError:
        return False


class Child:
    """A running child. Raises OSError if it cannot be started."""

    def __init__(self, command: Sequence[str]) -> None:
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC", "SYSTEMD_COLORS": "0"}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        assert self._process.stdout and self._process.stderr
        self._out, self._err = self._process.stdout.fileno(), self._process.stderr.fileno()
        self._read_bytes = READ_FIRST_BYTES
        self._complaints = b""
        self._is_listened_to = True
        self._poll = select.poll()
        for pipe in (self._out, self._err):
            os.set_blocking(pipe, False)
            self._poll.register(pipe, select.POLLIN)
        if _SET_PIPE_SIZE is not None:
            with suppress(OSError):  # more than this user may have: slower, and that is all
                fcntl.fcntl(self._out, _SET_PIPE_SIZE, PIPE_BYTES)

    def read(self, wait_s: float) -> bytes | None:
        """What it has written since, empty at its end, or None if it writes nothing for so long."""
        for pipe, _ in self._poll.poll(wait_s * 1000):
            if pipe == self._err:
                self._listen()
            else:
                size = self._read_bytes
                self._read_bytes = min(2 * size, READ_MAX_BYTES)
                return os.read(self._out, size)
        return None

    def complaints(self) -> list[str]:
        """The lines it has written to stderr."""
        self._listen()
        return [line.strip() for line in self._complaints.decode("utf-8", "replace").splitlines() if line.strip()]

    def status(self) -> int:
        """The exit status of one that has written all it has to write; negative for a signal."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_TIMEOUT_S)
        self._kill()
        return int(self._process.returncode)

    def close(self) -> None:
        """Make an end of it and of what it has started; may be called again."""
        self._kill()
        self._is_listened_to = False
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe
            pipe.close()

    def _kill(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _listen(self) -> None:
        if self._is_listened_to:
            with suppress(BlockingIOError):
                while said := os.read(self._err, COMPLAINTS_MAX_BYTES):
                    self._complaints = (self._complaints + said)[:COMPLAINTS_MAX_BYTES]
                self._is_listened_to = False
                self._poll.unregister(self._err)


def lines_of(child: Child, most_bytes: int, wait_s: float) -> Iterator[bytes | None]:
    """The lines that a child writes, up to ``most_bytes``; None whenever it writes nothing for ``wait_s``."""
    written = b""
    while (data := child.read(wait_s)) != b"":
        if data is None:
            yield None
        elif len(written) > most_bytes:
            break
        else:
            written += data
    yield from written.splitlines()
