"""A command whose output nobody can take never ends as one that had nothing to say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from varlogd.cli import exit_status, output, varlog
from varlogd.cli.output import OutputError
from varlogd.errors import Unreachable

FULL = Path("/dev/full")
VARLOG = f"{sys.executable} -m varlogd.cli"


def shell(line: str) -> tuple[int, str]:
    """The exit status and stderr of ``varlog`` in a shell's line."""
    done = subprocess.run(["sh", "-c", f"{VARLOG} {line}"], stderr=subprocess.PIPE, timeout=60)
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize("words", ["members", "--help", "demo --once"])
def test_without_stdout_nothing_is_begun(words: str) -> None:
    assert shell(f"{words} >&-") == (exit_status.ERROR, "varlog: cannot write: stdout is closed\n")


def test_without_stderr_the_exit_status_says_it() -> None:
    assert shell("members --url 127.0.0.1:1 2>&-") == (exit_status.ERROR, "")


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_an_error_of_the_demo_too() -> None:
    status, told = shell(f"demo --once --nodes 2 >{FULL}")
    assert status == exit_status.ERROR
    assert told.endswith("\nvarlog: cannot write: no space left on device\n")
    assert "Traceback" not in told


def ends(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    """The exit status where a command ends by ``error``."""

    def carry_out(_command: object) -> int:
        raise error

    monkeypatch.setattr(varlog, "_carry_out", carry_out)
    return varlog.run(["members"])


@pytest.mark.parametrize("groups", [0, 1, 2])
def test_what_nobody_expected_has_a_traceback_and_is_an_error(
    groups: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error: Exception = ZeroDivisionError("by zero")
    for _ in range(groups):
        error = ExceptionGroup("", [error, Unreachable("gone")])
    assert ends(monkeypatch, error) == exit_status.ERROR
    out, told = capsys.readouterr()
    assert out == ""
    assert "Traceback" in told
    assert "ZeroDivisionError: by zero" in told
    assert told.splitlines()[-1].startswith("varlog: a fault of ours: ")


@pytest.mark.parametrize(
    ("errors", "status", "says"),
    [
        ([Unreachable("gone"), OutputError("full")], exit_status.ERROR, "varlog: cannot write: full\n"),
        ([Unreachable("gone")], exit_status.ERROR, "varlog: gone\n"),
        (
            [Unreachable("gone"), KeyboardInterrupt()],
            exit_status.INTERRUPTED,
            "varlog: interrupted; the work on all hosts has been stopped\n",
        ),
    ],
)
def test_of_several_expected_errors_one_is_told(
    errors: list[BaseException],
    status: int,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("varlogd.cli.output.give_up_stdout", lambda: None)
    assert ends(monkeypatch, BaseExceptionGroup("", [BaseExceptionGroup("", errors)])) == status
    assert capsys.readouterr().err == says


async def test_a_reader_who_takes_his_time_holds_nothing_up_and_nothing_is_left_in_a_buffer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theirs, ours = os.pipe()
    with os.fdopen(theirs, "rb") as reader, os.fdopen(ours, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        with trio.move_on_after(0.1) as scope:
            await output.write(b"x" * 1_000_000)
        assert scope.cancelled_caught
        monkeypatch.undo()
        got = await trio.to_thread.run_sync(reader.read, 1_000_000)  # the thread that was left behind ends with this
        assert len(got) == 1_000_000
        stdout.close()
        assert await trio.to_thread.run_sync(reader.read) == b""


async def test_a_stdout_that_does_not_block_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, ours = os.pipe()
    os.set_blocking(ours, False)
    with os.fdopen(theirs, "rb") as reader, os.fdopen(ours, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(output.write, b"y" * 1_000_000)
            assert await trio.to_thread.run_sync(reader.read, 1_000_000) == b"y" * 1_000_000
        monkeypatch.undo()
