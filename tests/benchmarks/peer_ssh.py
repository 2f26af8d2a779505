"""ClusterShell over ssh, the peer in asking many hosts: Debian's `clustershell`, over connections that are kept open.

Every host is an sshd of its own on a loopback address, with keys and configuration made for the run. The connections
are ssh's ControlMaster: dialled once, before anything is measured.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bed import BedError, Processes, environment, need, need_root

PORT = 2222

FANOUT = 64
"""Hosts that ClusterShell asks at once: all of ours."""

KEPT_S = 60
"""How long an unused connection outlives the benchmark, should it be killed before it can close it."""

START_TIMEOUT_S = 20.0

_SSHD_CONFIG = """\
ListenAddress {host}
Port {port}
HostKey {home}/host
AuthorizedKeysFile {home}/user.pub
StrictModes no
UsePAM no
PidFile none
PasswordAuthentication no
UseDNS no
MaxSessions 100
MaxStartups 200
SetEnv SHLVL=2
"""
"""`SHLVL` keeps bash from reading its start-up files for every command, which is none of ClusterShell's time."""


class ClusterShell:
    """`clush` over kept connections to sshds at ``hosts``."""

    def __init__(self, home: Path, hosts: Sequence[str]) -> None:
        self.hosts = hosts
        self._options = [
            *("-F", "/dev/null", "-p", str(PORT), "-i", str(home / "user")),
            *_as_options(
                StrictHostKeyChecking="no",
                UserKnownHostsFile="/dev/null",
                LogLevel="ERROR",
                IdentitiesOnly="yes",
                ControlMaster="auto",
                ControlPersist=str(KEPT_S),
                ControlPath=f"{home}/%h",
            ),
        ]

    def command(self, remote: str) -> list[str]:
        """The command line that runs ``remote`` on every host, as root, through each host's shell."""
        options = " ".join(self._options).replace("%", "%%")
        return ["clush", "-S", "-w", ",".join(self.hosts), "-l", "root", "-o", options, "-f", str(FANOUT), remote]

    def hang_up(self) -> None:
        """Close the kept connections."""
        for host in self.hosts:
            close = ["ssh", *self._options, "-O", "exit", f"root@{host}"]
            subprocess.run(close, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def _as_options(**options: str) -> list[str]:
    return [word for key, value in options.items() for word in ("-o", f"{key}={value}")]


@contextmanager
def clustershell(processes: Processes, home: Path, hosts: Sequence[str]) -> Iterator[ClusterShell]:
    """ClusterShell with a connection to every host. Raises Skip."""
    need("clush", "ssh", "ssh-keygen", "/usr/sbin/sshd")
    need_root()
    home.mkdir()
    Path("/run/sshd").mkdir(exist_ok=True)  # where sshd puts its unprivileged part
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / key)], check=True)
    for host in hosts:
        config = home / f"sshd-{host}"
        config.write_text(_SSHD_CONFIG.format(host=host, port=PORT, home=home))
        processes.start(["/usr/sbin/sshd", "-D", "-e", "-f", str(config)], home / f"sshd-{host}.log")
    shell = ClusterShell(home, hosts)
    try:
        _connect(shell)
        yield shell
    finally:
        shell.hang_up()


def _connect(shell: ClusterShell) -> None:
    """Dial all hosts; the sshds take a moment to listen."""
    end = time.monotonic() + START_TIMEOUT_S
    while True:
        done = subprocess.run(
            shell.command("true"), stdin=subprocess.DEVNULL, capture_output=True, env=environment(), check=False
        )
        if done.returncode == 0:
            return
        if time.monotonic() >= end:
            raise BedError(f"no ssh to the bed's own sshds: {done.stderr.decode(errors='replace').strip()}")
        time.sleep(0.2)
