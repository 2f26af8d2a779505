"""What README and docs tell people to type: every command of ours must parse, and the README's must work."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import get_args

import pytest
import trio

from varlogd.cli import exit_status, varlogd
from varlogd.cli.arguments import Verb, parse
from varlogd.demo import SEED, TRIES
from varlogd.demo import parse as parse_demo
from varlogd.demo.logs import hosts, incidents, write_host
from varlogd.demo.processes import NodePlan, running
from varlogd.demo.story import wait_acquainted

TOP = Path(__file__).parent.parent.parent
README = TOP / "README.md"
DOCUMENTS = [README, *sorted((TOP / "docs").glob("**/*.md"))]
MARKED = ("the demo command", "the test command")
CI = TOP / ".ci" / "run"

FOLLOW_TIMEOUT_S = 30.0
"""Until one who follows has shown something and has ended: it takes less than a second."""


def fences(text: str) -> Iterator[str]:
    """The contents of the blocks that are marked as shell."""
    yield from re.findall(r"^```(?:sh|bash|shell|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands_in(text: str) -> Iterator[list[str]]:
    """The words of each command of ours in the shell blocks, the program first; continued lines are one."""
    for fence in fences(text):
        for line in fence.replace("\\\n", " ").splitlines():
            words = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=True)
            words.whitespace_split = True
            yield from _own(list(words))


def _own(words: Sequence[str]) -> Iterator[list[str]]:
    command: list[str] = []
    for word in [*words, ";"]:
        if word and set(word) <= set("();<>|&"):
            while command and re.fullmatch(r"\w+=.*", command[0]):
                del command[0]
            if command and command[0].rpartition("/")[2] in ("varlog", "varlogd"):
                yield [command[0].rpartition("/")[2], *command[1:]]
            command = []
        else:
            command.append(word)


COMMANDS = [(path, command) for path in DOCUMENTS for command in commands_in(path.read_text())]


def test_commands_are_found_in_all_their_shapes() -> None:
    text = (
        "```sh\nvarlog members   # who\n$ varlog grep 'a b' | head\nX=1 .venv/bin/varlog tail && varlogd --name a\n"
        "varlog \\\n  files\ngrep varlog x\n```\nvarlog no\n```json\nvarlog no\n```\n"
    )
    assert list(commands_in(text)) == [
        ["varlog", "members"],
        ["varlog", "grep", "a b"],
        ["varlog", "tail"],
        ["varlogd", "--name", "a"],
        ["varlog", "files"],
    ]


def test_the_readme_shows_every_verb() -> None:
    shown = {command[1] for path, command in COMMANDS if path == README and command[0] == "varlog"}
    assert shown >= {"demo", *get_args(Verb)}


@pytest.mark.parametrize(
    ("path", "command"), COMMANDS, ids=lambda part: shlex.join(part) if isinstance(part, list) else part.name
)
def test_every_command_parses(path: Path, command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    program, *words = command
    if program == "varlogd":
        if not {"--config", "--help"} & set(words):  # a file that is not here; help ends by itself
            assert varlogd.run([*words, "--check-config"], {}) == 0, capsys.readouterr().err
    elif words[0] == "demo":
        parse_demo(words[1:])
    elif "--help" not in words:
        parse(words, {})


@pytest.mark.parametrize("marker", MARKED)
def test_ci_takes_the_readmes_commands_word_for_word(marker: str) -> None:
    [(command,)] = [
        block.splitlines()
        for block in re.findall(
            rf"^<!-- {marker} -->\n```sh\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL
        )
    ]
    assert command.startswith("python3 -m venv .venv && .venv/bin/pip install")
    assert f'readme_command "{marker}"' in CI.read_text()
    assert command not in CI.read_text()


async def test_the_commands_of_documents_and_demo_work(tmp_path: Path) -> None:
    """Against a real mesh with the demo's logs: each answers in whole, or follows until it is interrupted."""
    shop = hosts(4)
    for host in shop:
        write_host(tmp_path / host.name, host, incidents(SEED, shop), seed=SEED, now=datetime.now().astimezone())
    plans = [NodePlan(host.name, {"role": host.role}, tmp_path / host.name) for host in shop]
    asked = [command[1:] for _, command in COMMANDS if command[0] == "varlog"]
    runnable = [words for words in asked if words[0] != "demo" and "--url" not in words and "--help" not in words]
    assert len(runnable) > 10
    async with running(plans, tmp_path / "own", lambda node: None) as nodes:
        await wait_acquainted(nodes, lambda text: None)
        for words in [*runnable, *TRIES]:
            command = [sys.executable, "-m", "varlogd.cli", *words]
            environment = {**os.environ, "VARLOG_URL": nodes[0].url}
            if parse(words, {}).follow:
                await check_following(command, environment)
            else:
                await check_answer(command, environment)


async def check_answer(command: Sequence[str], environment: Mapping[str, str]) -> None:
    done = await trio.run_process(
        command, check=False, capture_stdout=True, capture_stderr=True, stdin=subprocess.DEVNULL, env=environment
    )
    assert done.returncode == exit_status.FOUND, (command, done.stdout[-500:], done.stderr)


async def check_following(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """It shows something (a row, or that it is live), and ends when it is told to."""
    async with trio.open_nursery() as nursery:
        with trio.fail_after(FOLLOW_TIMEOUT_S):
            process = await nursery.start(
                partial(
                    trio.run_process,
                    command,
                    check=False,
                    stdout=subprocess.PIPE,
                    stdin=subprocess.DEVNULL,
                    env=environment,
                )
            )
            assert await process.stdout.receive_some(), command
            process.send_signal(signal.SIGINT)
            assert await process.wait() == exit_status.INTERRUPTED, command
