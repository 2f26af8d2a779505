"""`varlog demo`: a mesh of real daemons on loopback, told as a story, then left to the user to play with.

logs       what the hosts of a small shop would have written down
given      or the user's own logs, as they are
processes  the daemons: started, waited for, killed, never left behind
asking     the questions, put by the very command that is shown
story      what is told, and what must hold for it to be true
screen     the story on stdout, progress on stderr
"""

from __future__ import annotations

import argparse
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import trio

from varlogd.cli import exit_status
from varlogd.demo.given import given_scenario
from varlogd.demo.logs import hosts, incidents, write_host
from varlogd.demo.processes import NODES_DEFAULT, NODES_MAX, NODES_MIN, Node, NodePlan, running
from varlogd.demo.screen import Screen
from varlogd.demo.story import Scenario, Story
from varlogd.errors import VarlogdError

SEED: Final = 8514
"""Of the logs: the same story every time, with new times."""

EXIT_SIGNALLED: Final = 128
"""Plus the signal's number, as a shell tells it."""

_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

TRIES: Final = (
    ("members",),
    ("files", "-l", "role=web"),
    ("tail", "-n", "20", "syslog"),
    ("tail", "-n", "10", "nginx/*.log", "-l", "host=~web.*"),
    ("grep", "-i", "timeout", "--since", "30m", "--oldest-first"),
    ("grep", "-v", "INFO", "app.log", "--limit", "20"),
    ("grep", "-F", '" 502 ', "access.log", "--limit", "5", "--json"),
    ("count", "-i", "error", "--by", "host,stream"),
    ("histogram", "-i", "error", "--since", "1h"),
)


@dataclass(frozen=True)
class Options:
    """``given``: a directory with logs to use. ``nodes``: how many, if said. ``once``: end after the story."""

    given: Path | None
    nodes: int | None
    once: bool


def main(argv: Sequence[str]) -> int:
    """Run the demo; its exit status: 0 if all went as told, 2 if not, 128 + N if signal N cut the story short."""
    return trio.run(_run, parse(argv), Screen())


def parse(argv: Sequence[str]) -> Options:
    """The words after ``varlog demo``. Ends the process with status 2 and a message if they make no sense."""
    parser = argparse.ArgumentParser("varlog demo", description=_DESCRIPTION)
    parser.add_argument(
        "dir", nargs="?", type=Path, metavar="DIR", help="use the logs in DIR; nothing in it is changed"
    )
    parser.add_argument(
        "--nodes",
        type=int,
        metavar="N",
        help=f"how many daemons, {NODES_MIN} to {NODES_MAX} (default {NODES_DEFAULT})",
    )
    parser.add_argument("--once", action="store_true", help="end after the story; status 0 only if all went as told")
    args = parser.parse_args(argv)
    if args.nodes is not None and not NODES_MIN <= args.nodes <= NODES_MAX:
        parser.error(f"--nodes: between {NODES_MIN} and {NODES_MAX}")
    return Options(args.dir, args.nodes, args.once)


_DESCRIPTION: Final = """\
Start a small mesh of real daemons on loopback, each with logs of its own, ask one of them about all, kill one,
ask again. Then it is your turn, until Ctrl-C. Each subdirectory of DIR with logs in it becomes a node; if there
are no two of them, copies of the files in DIR are dealt to the nodes."""


async def _run(options: Options, screen: Screen) -> int:
    """The demo under one nursery; whatever ends it, its processes and files are gone before this returns."""
    told, ended_by, failure = trio.Event(), None, None
    with trio.open_signal_receiver(*_ENDING) as signals:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def obey() -> None:
                nonlocal ended_by
                ended_by = await anext(signals)
                nursery.cancel_scope.cancel()
                screen.step("stopping the daemons")

            try:
                await _show(options, screen, told)
            except Exception as error:
                failure = error
            nursery.cancel_scope.cancel()
    screen.clear()
    return _status(screen, failure, None if told.is_set() else ended_by)


def _status(screen: Screen, failure: Exception | None, cut_short_by: int | None) -> int:
    if isinstance(failure, VarlogdError):
        screen.complain(str(failure))
        return exit_status.ERROR
    if failure is not None:
        raise failure
    return exit_status.FOUND if cut_short_by is None else EXIT_SIGNALLED + cut_short_by


async def _show(options: Options, screen: Screen, told: trio.Event) -> None:
    """Make the logs, run the daemons, tell the story, and let the user play. Sets ``told`` after the story."""
    with tempfile.TemporaryDirectory(prefix="varlog-demo-") as directory:
        scenario = _scenario(options, Path(directory), screen)
        started: list[str] = []

        def on_start(node: Node) -> None:
            started.append(node.name)
            screen.step(f"starting daemons: {len(started)} of {len(scenario.plans)}")

        async with running(scenario.plans, Path(directory, "daemons"), on_start) as nodes:
            story = Story(scenario, nodes, screen)
            await story.tell()
            told.set()
            if not options.once:
                story.invite()
                await story.watch()


def _scenario(options: Options, directory: Path, screen: Screen) -> Scenario:
    if options.given is None:
        screen.step("writing logs")
        return _shop(directory / "logs", options.nodes or NODES_DEFAULT)
    return given_scenario(options.given, directory / "logs", options.nodes, screen.complain)


def _shop(directory: Path, count: int) -> Scenario:
    """The scenario of the made logs, which are written here."""
    shop, now = hosts(count), datetime.now().astimezone()
    shared = incidents(SEED, shop)
    plans = []
    for host in shop:
        write_host(directory / host.name, host, shared, seed=SEED, now=now)
        plans.append(NodePlan(host.name, {"role": host.role}, directory / host.name))
    return Scenario(plans, TRIES, surely=True)
