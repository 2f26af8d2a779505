"""`varlogd`, the daemon. Whatever is slow to import is imported where it is used: `--check-config` is quick."""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from varlogd import __version__
from varlogd.cli import exit_status, output
from varlogd.cli.effective import Effective, load
from varlogd.cli.log_format import escaped, set_up
from varlogd.cli.settings import SETTINGS, Setting
from varlogd.cli.values import Texts
from varlogd.config import Config
from varlogd.errors import ConfigError, VarlogdError

EXIT_CLEAN: Final = 0
EXIT_FAILED: Final = 1
EXIT_CONFIG: Final = 2

COLLECT_AFTER: Final = 20_000
"""Objects after which cycles are looked for. Python's 700 are fewer than the rows of one chunk, which are tuples and
never in a cycle: looking at them again and again is a tenth of the work of an answer with many rows."""

_DESCRIPTION = """\
Serve this host's logs to the mesh: find the other daemons by gossip, answer questions about this host's logs, and
put questions to all hosts on behalf of `varlog`. Without any option it serves /var/log to this machine alone."""

_EPILOG = """\
examples:
  varlogd                                                   this host alone, on loopback
  varlogd --name a --listen 127.0.0.1:8514 --root /srv/a    a mesh on one machine: the first node,
  varlogd --name b --listen 127.0.0.1:8515 --root /srv/b --join 127.0.0.1:8514    and one that joins it
  varlogd --listen 10.0.0.5:8514 --allow-unauthenticated --join 10.0.0.6:8514 --tag role=web --tag dc=eu
  varlogd --config /etc/varlogd/varlogd.toml --check-config   is it right? says what is not, and what would be
  varlogd --print-config > varlogd.toml                     every key there is, its value, and where that came from

A value is taken from, low to high: the default, the file, the environment (VARLOGD_NAME; lists with commas), the
flags. Keys without a flag (journal, redact, timestamps, membership.*, query.* …) are set in the file or the
environment; --print-config lists them. SIGHUP: the file is read again and its tags are taken. SIGTERM or Ctrl-C
leaves the mesh and lets running answers finish; a second one ends at once.

exit status: 0 ended on request, 1 failed, 2 the configuration is wrong"""


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:], os.environ))


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Do what the flags say; the exit status."""
    try:
        with output.whole_help():
            args = _parser().parse_args(argv)
        return _run(args, environ)
    except BrokenPipeError:
        output.give_up_stdout()
        return exit_status.PIPE
    except output.OutputError as error:
        output.give_up_stdout()
        return _fail(f"cannot write: {error}")


def _run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    flags: dict[str, Texts] = {key: texts for key, texts in vars(args).items() if key in _FLAGGED and texts}
    try:
        effective = load(flags, environ, args.config)
    except ConfigError as error:
        return _complain(error)
    if args.check_config or args.print_config:
        for ignored in effective.ignored:
            _say(f"warning: {ignored} (from the environment)")
        output.demand_stdout()
        with output.writing():
            print(to_toml(effective) if args.print_config else "ok", flush=True)
        return EXIT_CLEAN
    return _serve(effective, lambda: load(flags, environ, args.config).config)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="varlogd",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE", help="read this TOML file [VARLOGD_CONFIG]")
    for setting in _FLAGGED.values():
        _add_flag(parser, setting)
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--check-config", action="store_true", help="say whether the configuration is right, and end"
    )
    instead.add_argument(
        "--print-config", action="store_true", help="print every key, its value and its origin, and end"
    )
    parser.add_argument("--version", action="version", version=f"varlogd {__version__}")
    return parser


_FLAGGED: Final = {setting.key: setting for setting in SETTINGS if setting.flag}


def _add_flag(parser: argparse.ArgumentParser, setting: Setting) -> None:
    """A flag collects texts, as the environment gives them: `settings` alone knows what they mean."""
    assert setting.flag
    default = getattr(_DEFAULTS, setting.key)
    shown = ", ".join(default) if isinstance(default, tuple) else default
    text = f"{setting.help} [{setting.variable}{f'; default: {shown}' if shown else ''}]"
    if setting.metavar is None:
        parser.add_argument(setting.flag, dest=setting.key, action="append_const", const="true", help=text)
    else:
        parser.add_argument(setting.flag, dest=setting.key, action="append", metavar=setting.metavar, help=text)


_DEFAULTS: Final = Config(name="this host's name")


def to_toml(effective: Effective) -> str:
    """The configuration as a file that gives the same one, each line with where its value came from."""
    return "\n".join(_toml_lines(effective))


def _toml_lines(effective: Effective) -> Iterator[str]:
    table = ""
    for setting in SETTINGS:
        head, _, key = setting.key.rpartition(".")
        if head != table:
            table = head
            yield f"\n[{table}]"
        value, origin = effective.value(setting.key), escaped(effective.origin[setting.key])
        if value is None:
            yield f"# {key} is not set  # {origin}"
        else:
            yield f"{key} = {_toml(value)}  # {origin}"


def _toml(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        pairs = ", ".join(f"{_toml_key(key)} = {_toml(inner)}" for key, inner in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    return json.dumps(value, ensure_ascii=False)  # texts are printable, numbers finite: TOML writes them alike


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def _serve(effective: Effective, reread: Callable[[], Config]) -> int:
    config = effective.config
    set_up(config.log_format, config.log_level)
    log = logging.getLogger("varlogd")
    for ignored in effective.ignored:
        log.warning("environment variable ignored", extra={"fields": {"why": ignored}})
    import trio

    from varlogd import daemon

    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])
    try:
        graceful = trio.run(daemon.run, config, reread)
    except (Exception, BaseExceptionGroup, KeyboardInterrupt) as error:
        return _end_of(error, log)
    return EXIT_CLEAN if graceful else EXIT_FAILED


def _end_of(error: BaseException, log: logging.Logger) -> int:
    """The exit status of what ended the daemon, told in one line; what nobody expected has its traceback logged."""
    causes = list(_leaves(error))
    for cause in causes:
        if isinstance(cause, ConfigError):
            return _complain(cause)
        if isinstance(cause, KeyboardInterrupt):
            return _fail("interrupted")
    if not all(isinstance(cause, VarlogdError | OSError) for cause in causes):
        log.critical("a fault of ours", exc_info=error)
    first = causes[0]
    return _fail(str(first) if isinstance(first, VarlogdError) else f"{type(first).__name__}: {first}")


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group of groups."""
    if not isinstance(error, BaseExceptionGroup):
        yield error
        return
    for inner in error.exceptions:
        yield from _leaves(inner)


def _complain(error: ConfigError) -> int:
    for line in str(error).splitlines():
        _say(line)
    return EXIT_CONFIG


def _fail(reason: str) -> int:
    _say(" ".join(reason.split()))
    return EXIT_FAILED


def _say(line: str) -> None:
    output.complain(f"varlogd: {escaped(line)}")
