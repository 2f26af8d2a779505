"""Daemons that each have a network of their own: namespaces on a bridge, whose links nftables cuts and heals.

Needs root, ``ip`` and ``nft``, and a kernel that has namespaces and filters bridges; `Bed.make` raises `Missing`
where something is not there. Nothing of this machine's own network is touched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.daemons import VARLOG, VARLOGD, WAIT_S, Asked, DaemonProcess, log_lines, until_now

NETWORK = "10.77.0"
PORT = 8514

PROGRAMS = ("ip", "nft")

CHAIN = "bridge cut links"
"""Where what is cut stands: what the bridge forwards goes through it."""

CONFIG = """
[membership]
probe_interval_s = 0.5
probe_timeout_s = 0.25
suspicion_alpha = 4
push_pull_interval_s = 5
reconnect_interval_s = 1

[query]
stall_s = 2
"""
"""Twice as quick as the defaults, with room for a busy machine, and quicker to try the dead again: tests wait for
both."""


class Missing(Exception):
    """There can be no such bed here; the message says why."""


class Bed:
    """``names`` are hosts, each with an address of its own; the first is the seed of the others."""

    def __init__(self, names: Sequence[str], directory: Path) -> None:
        self.names = tuple(names)
        self.daemons: dict[str, DaemonProcess] = {}
        self._directory = directory
        self._prefix = f"vl{os.getpid()}"
        self._switch = f"{self._prefix}sw"

    @classmethod
    @contextmanager
    def make(cls, names: Sequence[str], directory: Path) -> Iterator[Bed]:
        """A bed with its daemons, all of one view; gone on the way out. Raises Missing."""
        if os.geteuid() != 0:
            raise Missing("network namespaces need root")
        if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
            raise Missing(f"no {' and no '.join(missing)} on this machine")
        bed = cls(names, directory)
        try:
            try:
                bed._wire()
            except subprocess.CalledProcessError as error:
                raise Missing(f"no network namespaces or no bridge filter here: {error.stderr.strip()}") from error
            bed._start()
            yield bed
        finally:
            bed._clear()

    def address(self, name: str) -> str:
        return f"{NETWORK}.{self.names.index(name) + 1}"

    # --- the network ---

    def cut(self, *sides: Iterable[str]) -> None:
        """Nothing gets from one side to another any more."""
        for one in sides:
            for other in sides:
                if one is not other:
                    self.cut_one_way(one, other)

    def cut_one_way(self, from_: Iterable[str], to: Iterable[str]) -> None:
        """Nothing of the first arrives at the others; what they send does."""
        sources, goals = (", ".join(map(self.address, names)) for names in (from_, to))
        self._nft(f"add rule {CHAIN} ip saddr {{ {sources} }} ip daddr {{ {goals} }} drop")

    def heal(self) -> None:
        """Everything gets everywhere."""
        self._nft(f"flush chain {CHAIN}")

    def _wire(self) -> None:
        self._ip("netns", "add", self._switch)
        self._ip("-n", self._switch, "link", "add", "br0", "type", "bridge", "forward_delay", "0")
        self._ip("-n", self._switch, "link", "set", "br0", "up")
        for name in self.names:
            space, port = self._space(name), f"p{name}"
            self._ip("netns", "add", space)
            ends = (
                "link",
                "add",
                port,
                "netns",
                self._switch,
                "type",
                "veth",
                "peer",
                "name",
                "eth0",
                "netns",
                space,
            )
            self._ip(*ends)
            self._ip("-n", self._switch, "link", "set", port, "master", "br0", "up")
            self._ip("-n", space, "link", "set", "lo", "up")
            self._ip("-n", space, "addr", "add", f"{self.address(name)}/24", "dev", "eth0")
            self._ip("-n", space, "link", "set", "eth0", "up")
        table, chain = " ".join(CHAIN.split()[:2]), "{ type filter hook forward priority 0; policy accept; }"
        self._nft(f"add table {table}; add chain {CHAIN} {chain}")

    def _space(self, name: str) -> str:
        return f"{self._prefix}{name}"

    def _ip(self, *words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True, text=True)

    def _nft(self, script: str) -> None:
        self._ip("netns", "exec", self._switch, "nft", script)

    # --- the daemons ---

    def ask(self, at: str, *words: str) -> Asked:
        """Run `varlog` on a host."""
        command = ["ip", "netns", "exec", self._space(at), *VARLOG, *words]
        environ = {**os.environ, "VARLOG_URL": f"ws://{self.address(at)}:{PORT}"}
        asked = subprocess.run(command, capture_output=True, text=True, check=False, env=environ, timeout=2 * WAIT_S)
        return Asked(asked.returncode, asked.stdout, asked.stderr)

    def view(self, of: str) -> dict[str, str]:
        """Whom a daemon holds for what, as its log has it."""
        held = [record for record in self.daemons[of].records() if str(record["message"]).startswith("held ")]
        return {str(record["name"]): str(record["message"]).removeprefix("held ") for record in held}

    def until(self, at: Iterable[str], **words: Iterable[str]) -> None:
        """Return when each daemon of ``at`` holds those of each word (``up``, ``dead``) for that."""
        wanted = {name: word for word, names in words.items() for name in names}
        for viewer in at:
            until_now(lambda viewer=viewer: wanted.items() <= self.view(viewer).items(), lambda: self._views())

    def said(self, word: str) -> list[tuple[str, object]]:
        """Who has held whom for that, ever."""
        return [
            (viewer, record["name"])
            for viewer, daemon in self.daemons.items()
            for record in daemon.records()
            if record["message"] == f"held {word}"
        ]

    def _views(self) -> dict[str, dict[str, str]]:
        return {name: self.view(name) for name in self.names}

    def _start(self) -> None:
        file = self._directory / "varlogd.toml"
        file.write_text(CONFIG)
        seed = [f"{self.address(self.names[0])}:{PORT}"]
        for name in self.names:
            root = self._directory / name
            root.mkdir()
            (root / "app.log").write_text(log_lines(name, 10))
            flags = [f"--config={file}", f"--listen={self.address(name)}:{PORT}", "--log-level=debug"]
            command = ("ip", "netns", "exec", self._space(name), *VARLOGD)
            flags.append("--allow-unauthenticated")
            self.daemons[name] = DaemonProcess(name, self._directory, seed, flags, command)
        self.until(self.names, up=self.names)

    def _clear(self) -> None:
        for daemon in self.daemons.values():
            daemon.kill()
        for space in (*map(self._space, self.names), self._switch):
            subprocess.run(["ip", "netns", "del", space], check=False, stderr=subprocess.DEVNULL)
