"""`python -m simulations compiled COMMAND ...`: the same command, with the core and its world compiled.

A day of a thousand nodes is 86 million simulated node-seconds. mypyc, which comes with mypy, compiles what is typed
as strictly as the core into C: the same code and the same traces, about twice as fast. The sources are copied into a
folder of their own and compiled there, which takes a minute or two and a C compiler; nothing that ships is compiled.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

ROOT: Final = Path(__file__).parents[1]

MODULES: Final = (
    *(f"varlogd/swim/{name}.py" for name in ("core", "effects", "probe", "gossip", "dissemination", "isolation")),
    *(f"varlogd/swim/{name}.py" for name in ("timing", "view", "relay", "suspicion", "exchange", "beliefs")),
    *(f"varlogd/swim/{name}.py" for name in ("layered", "digest", "health", "corrections", "identity", "join")),
    *(f"simulations/level1/{name}.py" for name in ("world", "node", "network")),
)
"""Where the time goes. Modules of structs stay as they are: these are in C already."""

USAGE: Final = """usage: python -m simulations compiled COMMAND ...

Compile the membership core and its simulated world, then run the command, about twice as fast: the same code and the
same traces. It takes two minutes, mypy, setuptools and a C compiler, so it pays for what runs longer.

  python -m simulations compiled table --size full"""

LAST_LINES: Final = 20
"""Of a compiler's complaints: the reason is at their end."""


def main(arguments: Sequence[str]) -> int:
    """The command; returns the exit status of the one that is run, 2 if there is none or it cannot be compiled."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if arguments else 2
    with TemporaryDirectory(prefix="simulations-") as folder:
        for package in ("varlogd", "simulations"):
            shutil.copytree(ROOT / package, Path(folder, package), ignore=shutil.ignore_patterns("__pycache__"))
        print("compiling ...", file=sys.stderr, flush=True)
        build = [sys.executable, "-m", "mypyc", *MODULES]
        built = subprocess.run(build, cwd=folder, capture_output=True, text=True, check=False)
        if built.returncode:
            said = f"{built.stdout}{built.stderr}".splitlines()[-LAST_LINES:]
            print("\n".join(["simulations: this does not compile", *said]), file=sys.stderr)
            return 2
        run = [sys.executable, "-P", "-m", "simulations", *arguments]
        return subprocess.run(run, env={**os.environ, "PYTHONPATH": folder}, check=False).returncode
