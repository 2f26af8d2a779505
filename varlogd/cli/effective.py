"""The effective configuration: four places a value may come from, one `Config` out.

From low to high precedence: the default (of ``state_dir``, what systemd gives the unit), the TOML file, the
environment, the flags. A value is *parsed* (text from the environment or a flag becomes what TOML would have given),
then *checked*, the same way wherever it came from (`cli.values`); only the one that counts is. All that is wrong is
told at once, each on a line with its key, the value, what is allowed, and where the value came from.
"""

from __future__ import annotations

import difflib
import re
import socket
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from msgspec import Struct, structs

from varlogd.cli.settings import BY_KEY, BY_VARIABLE, ENVIRONMENT_PREFIX, SETTINGS, TABLES, Setting
from varlogd.cli.values import Texts, split_list
from varlogd.config import Config
from varlogd.errors import ConfigError

FILE_VARIABLE: Final = "VARLOGD_CONFIG"
"""Names the file where no ``--config`` does."""

STATE_VARIABLE: Final = "STATE_DIRECTORY"
"""What systemd sets for a unit with ``StateDirectory=``: its directories, with colons between them."""


@dataclass(frozen=True)
class Effective:
    """A configuration and where each value came from: ``default``, ``file PATH``, ``environment VARIABLE`` or
    ``flag --FLAG``. ``ignored`` tells of environment variables that look like settings and are none."""

    config: Config
    origin: Mapping[str, str]
    ignored: tuple[str, ...] = ()

    def value(self, key: str) -> Any:
        """The effective value of a key."""
        value: Any = self.config
        for part in key.split("."):
            value = getattr(value, part)
        return value


def load(
    flags: Mapping[str, Texts],
    environ: Mapping[str, str],
    file: str | None = None,
    *,
    read: Callable[[str], bytes] = lambda path: Path(path).read_bytes(),
    hostname: Callable[[], str] = socket.gethostname,
) -> Effective:
    """The configuration in ``file`` (else VARLOGD_CONFIG, else none), ``environ`` and ``flags``.

    ``flags``: the texts given for each key. Raises ConfigError with one line for each thing that is wrong.
    """
    inflow = _Inflow()
    inflow.take("name", hostname(), "default")
    if directories := environ.get(STATE_VARIABLE):
        inflow.take("state_dir", directories.split(":")[0], f"environment {STATE_VARIABLE}")
    if path := file or environ.get(FILE_VARIABLE):
        inflow.take_file(path, read)
    inflow.take_environment(environ)
    for key, texts in flags.items():
        inflow.take_texts(BY_KEY[key], texts, f"flag {BY_KEY[key].flag}")
    return inflow.settle()


@dataclass
class _Inflow:
    """Values on their way in: for each key the last one taken, and where it came from."""

    checks: dict[str, Callable[[], Any]] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def take(self, key: str, value: object, origin: str) -> None:
        self.checks[key] = lambda: BY_KEY[key].check(value)
        self.origin[key] = origin

    def take_texts(self, setting: Setting, texts: Texts, origin: str) -> None:
        self.checks[setting.key] = lambda: setting.check(setting.parse(texts))
        self.origin[setting.key] = origin

    def take_file(self, path: str, read: Callable[[str], bytes]) -> None:
        for key, value in _flattened(_toml_in(path, read)):
            if key in BY_KEY:
                self.take(key, value, f"file {path}")
                continue
            nearest = _nearest(key, [*BY_KEY, *TABLES])
            fault = f"{value!r} is not a table" if key in TABLES else f"unknown key{nearest}"
            self.wrong.append(f"{key}: {fault} (from the file, {path})")

    def take_environment(self, environ: Mapping[str, str]) -> None:
        for variable in sorted(environ):
            setting = BY_VARIABLE.get(variable)
            if setting is not None:
                text = environ[variable]
                self.take_texts(setting, split_list(text) if setting.many else [text], f"environment {variable}")
            elif variable.startswith(ENVIRONMENT_PREFIX) and variable != FILE_VARIABLE:
                self.ignored.append(f"{variable}: not a setting{_nearest(variable, BY_VARIABLE, ENVIRONMENT_PREFIX)}")

    def settle(self) -> Effective:
        """Check each value and then all of them together."""
        values = dict(self._checked())
        self._raise_wrong()
        tables = {table: self._built(kind, values, f"{table}.") for table, kind in TABLES.items()}
        config = self._built(Config, values, "")
        self._raise_wrong()
        origin = {setting.key: self.origin.get(setting.key, "default") for setting in SETTINGS}
        return Effective(structs.replace(config, **tables), origin, tuple(self.ignored))

    def _checked(self) -> Iterator[tuple[str, Any]]:
        for key, check in self.checks.items():
            try:
                yield key, check()
            except ValueError as error:
                self.wrong.append(f"{key}: {error} ({_from(self.origin[key])})")

    def _built(self, kind: type[Struct], values: Mapping[str, Any], prefix: str) -> Any:
        """The struct of the values whose keys have ``prefix``; None, and a complaint, where they contradict."""
        own = {name: values[prefix + name] for name in kind.__struct_fields__ if prefix + name in values}
        try:
            return kind(**own)
        except ValueError as error:
            named = [name for name in own if re.search(rf"\b{name}\b", str(error))]
            sources = [f"{name} = {own[name]!r} {_from(self.origin[prefix + name])}" for name in named]
            self.wrong.append(f"{prefix}{error} ({'; '.join(sources)})")
            return None

    def _raise_wrong(self) -> None:
        if self.wrong:
            raise ConfigError("\n".join(self.wrong))


def _toml_in(path: str, read: Callable[[str], bytes]) -> dict[str, Any]:
    try:
        return tomllib.loads(read(path).decode())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error


def _flattened(tree: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The keys of a file: those of the tables in `TABLES` with the table's name before them."""
    for key, value in tree.items():
        if key in TABLES and isinstance(value, dict):
            yield from ((f"{key}.{name}", inner) for name, inner in value.items())
        else:
            yield key, value


def _nearest(word: str, known: Iterable[str], prefix: str = "") -> str:
    """A question for the known word most like ``word``, if one is; ``prefix`` is what all of them begin with."""
    ends = [each.removeprefix(prefix) for each in known]
    found = difflib.get_close_matches(word.removeprefix(prefix), ends, n=1)
    return f"; did you mean {prefix}{found[0]}?" if found else ""


def _from(origin: str) -> str:
    kind, _, where = origin.partition(" ")
    return f"from the {kind}, {where}" if where else "the default"
