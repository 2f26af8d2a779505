"""The demo's questions: put as the user would, by the very `varlog` command that is shown."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import join, quote

import trio

from varlogd import client
from varlogd.cli.arguments import parse
from varlogd.wire.query import Ledger


@dataclass(frozen=True)
class Asker:
    """How `varlog` is called here. ``setup``: the line that makes plain ``varlog …`` work in another shell."""

    program: Sequence[str]
    environment: Mapping[str, str]
    setup: str

    async def show(self, words: Sequence[str]) -> int:
        """Run ``varlog words…`` with our stdout and stderr; its exit status."""
        command = [*self.program, *words]
        done = await trio.run_process(command, stdin=subprocess.DEVNULL, check=False, env=self.environment)
        return done.returncode

    async def ledger(self, words: Sequence[str]) -> Ledger:
        """The ledger of the same question. Raises what `client.ask` raises."""
        command = parse(words, self.environment)
        async with client.ask(command.url, command.query) as answer:
            async for _rows in answer.blocks():
                pass
        return answer.ledger


def find_asker(url: str) -> Asker:
    """The `varlog` that belongs to this Python, asking ``url``."""
    environment = {**os.environ, "VARLOG_URL": url}
    export = f"export VARLOG_URL={url}"
    script = Path(sys.executable).parent / "varlog"
    if not script.is_file():
        program = [sys.executable, "-m", "varlogd.cli"]
        return Asker(program, environment, f"{export}; alias varlog={quote(join(program))}")
    on_path = shutil.which("varlog")
    if on_path is None or not script.samefile(on_path):
        export = f"{export} PATH={quote(str(script.parent))}:$PATH"
    return Asker([str(script)], environment, export)


def shown(words: Sequence[str]) -> str:
    """A command as one types it."""
    return f"varlog {join(words)}"
