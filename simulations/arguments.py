"""What may be asked of `python -m simulations`, and what makes no sense together."""

from __future__ import annotations

import argparse
import inspect
import math
from pathlib import Path
from typing import Final

from simulations.level1.plan import NODES_MAX as MESH_NODES_MAX
from simulations.many import DAEMONS, MESH, MESH_CHURN
from simulations.scenarios import NODES_DEFAULT, NODES_MAX, NODES_MIN, SCENARIOS

INTERRUPTED: Final = 130
"""Exit status after Ctrl-C, as of a shell: what was not run did not hold."""

MESHES_TOLD: Final = {
    MESH: "Level 1: the membership core alone, some kinds of fault, drawn, at any time on any node.",
    MESH_CHURN: "Level 1: one process after another is killed and started again, with a fault or two beside.",
}

APART: Final = {
    "plan": ("scenario", "nodes", "seed", "sweep"),
    "sweep": ("report", "print_plan"),
    "print_plan": ("report",),
}
"""What is refused beside each: a plan says the one itself, and the other is about one run."""


def checked(asked: argparse.Namespace) -> None:
    """Raises ValueError for options that make no sense together."""
    given = [name for name, value in vars(asked).items() if value is not None and value is not False]
    for one, others in APART.items():
        for other in others:
            if one in given and other in given:
                raise ValueError(f"{_option(one)} and {_option(other)} do not go together")
    if given and not {"scenario", "plan"} & set(given):
        raise ValueError(f"{_option(given[0])} needs a scenario")
    if "jobs" in given and "sweep" not in given:
        raise ValueError("--jobs is how many runs of a --sweep are done at once")


def check_writable(file: Path) -> None:
    """Raises ValueError if ``file`` cannot be written: told before the run, not after it. Leaves no file behind."""
    try:
        there = file.exists()
        if there and not (file.is_file() or file.is_dir()):
            return  # a pipe or a device: opening it is not without effect
        file.open("ab").close()
        if not there:
            file.resolve().unlink()  # what a link points to, not the link
    except OSError as error:
        raise ValueError(f"--report: {file} cannot be written ({error.strerror}): name another place") from error


def _option(name: str) -> str:
    return "a scenario" if name == "scenario" else f"--{name.replace('_', '-')}"


def at_least_one(text: str) -> int:
    """The number in an argument. Raises ArgumentTypeError."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a number from 1 on, not {text}")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """The parser of everything but the commands `table`, `soak` and `compiled`."""
    told = {name: inspect.getdoc(scenario) for name, scenario in SCENARIOS.items()} | MESHES_TOLD
    width = max(map(len, told))
    scenarios = "\n".join(f"  {name:<{width}}  {sentence}" for name, sentence in told.items())
    made = argparse.ArgumentParser(
        prog="python -m simulations",
        description="Run the real daemon on simulated hosts and a virtual clock, and check what must always hold.",
        epilog=f"scenarios:\n{scenarios}\n\nother commands, each with a --help of its own:\n"
        f"  {'table':<{width}}  Measure varlogd's membership beside SWIM and memberlist's rules.\n"
        f"  {'soak':<{width}}  Run fresh seeds for hours; what fails is kept for the tests.\n"
        f"  {'compiled':<{width}}  In front of a command: compile the core first, and run it twice as fast.\n\n"
        "exit status: 0 everything held, 1 something was broken, 2 wrong usage, 130 interrupted",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("scenario", nargs="?", choices=list(told), metavar="SCENARIO", help="one of those below")
    nodes_help = (
        f"how many hosts, {NODES_MIN} to {NODES_MAX} (default {NODES_DEFAULT});"
        f" of a mesh up to {MESH_NODES_MAX} (default: drawn)"
    )
    made.add_argument("--nodes", type=int, metavar="N", help=nodes_help)
    made.add_argument("--seed", type=int, metavar="S", help="the same seed gives the same run (default: drawn)")
    made.add_argument("--sweep", type=at_least_one, metavar="K", help="run K seeds that follow each other")
    made.add_argument("--jobs", type=at_least_one, metavar="J", help="how many at once in a sweep (default: cores)")
    made.add_argument("--report", type=Path, metavar="FILE", help="also write a page with pictures: one HTML file")
    made.add_argument("--print-plan", action="store_true", help="print what would happen, as JSON, and do nothing")
    plan_help = "run a plan: one that was printed, perhaps with less in it, or your own in TOML"
    made.add_argument("--plan", type=Path, metavar="FILE", help=plan_help)
    return made


def soak_parser() -> argparse.ArgumentParser:
    """The parser of `soak`."""
    made = argparse.ArgumentParser(
        prog="python -m simulations soak",
        description=f"Run fresh seeds on all cores, ten meshes of Level 1 for each plan of Level 2"
        f" ({', '.join(DAEMONS)}), and leave each failure, cut down to the steps it takes, for the tests.",
    )
    made.add_argument("--hours", type=_hours, default=1.0, metavar="H", help="how long (default 1)")
    made.add_argument("--seed", type=int, metavar="S", help="the first seed (default: drawn)")
    made.add_argument("--folder", type=Path, metavar="DIR", help="for failures (default: where the tests find them)")
    return made


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = math.inf
    if not 0 <= hours < math.inf:
        raise argparse.ArgumentTypeError(f"so many hours, not {text}")
    return hours
