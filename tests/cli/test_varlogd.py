"""The daemon's command line: what it prints, how it ends, and what it does not import on the way."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

import varlogd
from varlogd.cli import exit_status
from varlogd.cli.effective import load
from varlogd.cli.settings import SETTINGS
from varlogd.cli.varlogd import EXIT_CLEAN, EXIT_CONFIG, EXIT_FAILED, run, to_toml
from varlogd.config import Config
from varlogd.errors import CannotListen, ConfigError, Unreachable

Printed = pytest.CaptureFixture[str]


def test_a_right_configuration_is_ok(capsys: Printed) -> None:
    assert run(["--check-config", "--name", "web1"], {}) == EXIT_CLEAN
    assert capsys.readouterr() == ("ok\n", "")


def test_a_wrong_one_is_told_a_line_for_each_thing(capsys: Printed, tmp_path: Path) -> None:
    file = tmp_path / "varlogd.toml"
    file.write_text("drain_s = -1\n")
    assert (
        run(["--check-config", "--config", str(file), "--listen", "fo\x1bo"], {"VARLOGD_LOG_LEVEL": "x"})
        == EXIT_CONFIG
    )
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(":")[:2] for line in err.splitlines()] == [
        ["varlogd", " drain_s"],
        ["varlogd", " log_level"],
        ["varlogd", " listen"],
    ]
    assert f"(from the file, {file})" in err
    assert "\x1b" not in err


def test_a_missing_file_is_told(capsys: Printed, tmp_path: Path) -> None:
    assert run(["--config", str(tmp_path / "none.toml")], {}) == EXIT_CONFIG
    assert capsys.readouterr().err == f"varlogd: {tmp_path}/none.toml: cannot be read: no such file or directory\n"


def test_variables_that_are_no_settings_are_told(capsys: Printed) -> None:
    assert run(["--check-config", "--name", "web1"], {"VARLOGD_JION": "a:1"}) == EXIT_CLEAN
    out, err = capsys.readouterr()
    assert out == "ok\n"
    assert err == "varlogd: warning: VARLOGD_JION: not a setting; did you mean VARLOGD_JOIN? (from the environment)\n"


def test_the_effective_configuration_has_every_key_and_its_origin(capsys: Printed) -> None:
    environ = {"VARLOGD_QUERY_STALL_S": "7"}
    assert run(["--print-config", "--name", "web1", "--join", "a:1", "--join", "b:2"], environ) == EXIT_CLEAN
    lines = capsys.readouterr().out.splitlines()
    assert 'name = "web1"  # flag --name' in lines
    assert 'join = ["a:1", "b:2"]  # flag --join' in lines
    assert "stall_s = 7.0  # environment VARLOGD_QUERY_STALL_S" in lines
    assert "# advertise is not set  # default" in lines
    for setting in SETTINGS:
        assert any(line.removeprefix("# ").startswith(setting.key.split(".")[-1] + " ") for line in lines)


WORDS = st.text("abc\"\\'#[]{}=,ñ😀 ", min_size=1, max_size=9)


@given(
    roots=st.lists(WORDS, min_size=1, max_size=3),
    tags=st.dictionaries(st.sampled_from(("role", "dc", "_x")), WORDS),
    globs=st.sets(st.text("ab\"\\'#.*={},ñ ", min_size=1, max_size=9), max_size=3),
    drain_s=st.floats(0, 600),
    alpha=st.floats(1e-9, 100),
)
def test_what_is_printed_is_a_file_that_gives_the_same(
    roots: list[str], tags: dict[str, str], globs: set[str], drain_s: float, alpha: float
) -> None:
    formats = ", ".join(f"{json.dumps(glob, ensure_ascii=False)} = '%Y-%m-%d %H:%M:%S'" for glob in globs)
    given_in = {
        "VARLOGD_NAME": "web1",
        "VARLOGD_TIMESTAMPS": f"{{{formats}}}",
        "VARLOGD_DRAIN_S": repr(drain_s),
        "VARLOGD_MEMBERSHIP_SUSPICION_ALPHA": repr(alpha),
    }
    effective = load({"roots": roots, "tags": [f"{key}={value}" for key, value in tags.items()]}, given_in)
    printed = to_toml(effective)
    assert load({}, {}, "x.toml", read=lambda _: printed.encode()).config == effective.config
    assert effective.config.roots == tuple(roots)
    assert effective.config.tags == tags
    assert effective.config.timestamps.keys() == globs


def test_the_default_is_a_file_too() -> None:
    assert tomllib.loads(to_toml(load({}, {"VARLOGD_NAME": "web1"})))["listen"] == "127.0.0.1:8514"


def test_the_help_has_every_flag_its_variable_and_examples(capsys: Printed) -> None:
    with pytest.raises(SystemExit) as ended:
        run(["--help"], {})
    assert ended.value.code == 0
    told = " ".join(capsys.readouterr().out.split())
    for setting in SETTINGS:
        if setting.flag:
            assert f"{setting.flag} " in told
            assert f"[{setting.variable}" in told
    assert "examples:" in told
    assert "exit status:" in told


def test_an_unknown_flag_and_an_abbreviated_one_are_errors(capsys: Printed) -> None:
    for flag in ("--jion", "--adv"):
        with pytest.raises(SystemExit) as ended:
            run([flag, "a:1"], {})
        assert ended.value.code == EXIT_CONFIG
        assert flag in capsys.readouterr().err


def test_nothing_heavy_is_imported_to_look_at_a_configuration() -> None:
    program = (
        "import sys; from varlogd.cli.varlogd import run; run(['--check-config', '--name', 'web1'], {});"
        "print(sorted({'trio', 'cbor2', 're2', 'trio_websocket', 'ssl'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "ok\n[]\n"


class FakeDaemon(ModuleType):
    """Stands where `varlogd.daemon` does: ends as it is told to."""

    def __init__(self, end: bool | BaseException) -> None:
        super().__init__("varlogd.daemon")
        self.end = end
        self.config: Config | None = None

    async def run(self, config: Config, reread: Callable[[], Config]) -> bool:
        assert reread() == config
        self.config = config
        if isinstance(self.end, BaseException):
            raise self.end
        return self.end


@pytest.fixture
def own_logging() -> Iterator[None]:
    """Let the daemon set logging up, and put it back."""
    root, ours = logging.getLogger(), logging.getLogger("varlogd")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    root.handlers = []
    yield
    root.handlers = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


@pytest.mark.usefixtures("own_logging")
@pytest.mark.parametrize(
    ("end", "status", "says"),
    [
        (True, EXIT_CLEAN, ""),
        (False, EXIT_FAILED, ""),
        (CannotListen("listen: in use"), EXIT_FAILED, "varlogd: listen: in use\n"),
        (
            ExceptionGroup("", [ExceptionGroup("", [ConfigError("listen: in use")])]),
            EXIT_CONFIG,
            "varlogd: listen: in use\n",
        ),
        (
            OSError(28, "No space left on device"),
            EXIT_FAILED,
            "varlogd: OSError: [Errno 28] No space left on device\n",
        ),
        (Unreachable("a\nb\x1b"), EXIT_FAILED, "varlogd: a b\\x1b\n"),
        (KeyboardInterrupt(), EXIT_FAILED, "varlogd: interrupted\n"),
        (BaseExceptionGroup("", [KeyboardInterrupt()]), EXIT_FAILED, "varlogd: interrupted\n"),
    ],
)
def test_how_the_daemon_ends_is_the_exit_status(
    end: bool | BaseException, status: int, says: str, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    daemon = stand_in(monkeypatch, end)
    assert run(["--name", "web1"], {}) == status
    assert capsys.readouterr() == ("", says)
    assert daemon.config == Config(name="web1")


@pytest.mark.usefixtures("own_logging")
def test_a_fault_of_ours_leaves_its_traceback_in_the_log(monkeypatch: pytest.MonkeyPatch, capsys: Printed) -> None:
    stand_in(monkeypatch, ZeroDivisionError("by zero"))
    assert run(["--name", "web1"], {}) == EXIT_FAILED
    told = capsys.readouterr().err
    assert "CRITICAL a fault of ours" in told
    assert "Traceback" in told
    assert told.endswith("varlogd: ZeroDivisionError: by zero\n")


@pytest.mark.usefixtures("own_logging")
def test_the_daemon_warns_of_variables_it_ignores(monkeypatch: pytest.MonkeyPatch, capsys: Printed) -> None:
    stand_in(monkeypatch, True)
    assert run(["--name", "web1", "--log-format", "json"], {"VARLOGD_JION": "a:1"}) == EXIT_CLEAN
    assert '"why": "VARLOGD_JION: not a setting; did you mean VARLOGD_JOIN?"' in capsys.readouterr().err


def stand_in(monkeypatch: pytest.MonkeyPatch, end: bool | BaseException) -> FakeDaemon:
    daemon = FakeDaemon(end)
    monkeypatch.setitem(sys.modules, "varlogd.daemon", daemon)
    monkeypatch.setattr(varlogd, "daemon", daemon, raising=False)
    return daemon


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(
    ("words", "why"),
    [
        *(
            (f"{flag} >/dev/full", "no space left on device")
            for flag in ("--print-config", "--check-config", "--help")
        ),
        *((f"{flag} >&-", "stdout is closed") for flag in ("--print-config", "--check-config")),
    ],
)
def test_what_cannot_be_written_is_no_success(words: str, why: str) -> None:
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = f"{sys.executable} -m varlogd {words}"  # unbuffered, `argparse` hides that its help was not written
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, env=buffered)
    assert (done.returncode, done.stderr.decode()) == (EXIT_FAILED, f"varlogd: cannot write: {why}\n")


def test_a_reader_who_has_seen_enough_is_no_fault() -> None:
    theirs, ours = os.pipe()
    os.close(theirs)
    with os.fdopen(ours) as stdout:
        done = subprocess.run(
            [sys.executable, "-m", "varlogd", "--print-config"], stdout=stdout, stderr=subprocess.PIPE
        )
    assert (done.returncode, done.stderr) == (exit_status.PIPE, b"")
