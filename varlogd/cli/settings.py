"""How a configuration comes in: one table of settings, four places a value may come from, one `Config` out.

From low to high precedence: the default, the TOML file, the environment, the flags. `SETTINGS` is the only list
of keys there is: the file's keys, the names of environment variables, the daemon's flags and their help,
``--print-config`` and every message are made from it; ranges and defaults are read off the structs in `config`.

A value is *parsed* (text from the environment or a flag becomes what TOML would have given), then *checked*, the
same way wherever it came from; only the one that counts is. All that is wrong is told at once, each on a line
with its key, the value, what is allowed, and where the value came from.
"""

from __future__ import annotations

import difflib
import re
import socket
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, get_args

from msgspec import Struct, inspect, structs

from varlogd.config import Config, MembershipConfig, QueryConfig, is_wildcard, split_address
from varlogd.errors import ConfigError, PatternError, QueryError
from varlogd.wire.limits import NAME_MAX_CHARS, TAG_MAX_CHARS, TAGS_MAX
from varlogd.wire.query import ON_THE_HOST

ENVIRONMENT_PREFIX: Final = "VARLOGD_"
FILE_VARIABLE: Final = "VARLOGD_CONFIG"
"""Names the file where no ``--config`` does."""

RULES_MAX: Final = 64
"""Own rules of redaction: every line that is searched is held against each."""

FORMATS_MAX: Final = 256
"""Globs of streams with a time format of their own: each stream is held against all of them."""

TABLES: Final[Mapping[str, type[MembershipConfig] | type[QueryConfig]]] = {
    "query": QueryConfig,
    "membership": MembershipConfig,
}
"""The tables of the file that have keys of their own, and the struct that each becomes. All their keys are numbers.
The other tables (tags, timestamps, redact) are one key each: what stands in them is the operator's own."""

Texts = Sequence[str]
"""What the environment or a flag gave: one text, or several where the setting takes several."""


def _last(texts: Texts) -> object:
    return texts[-1]


@dataclass(frozen=True)
class Setting:
    """One key. ``parse`` makes text what TOML would have given; ``check`` returns the value for `Config`. Both
    raise ValueError saying what is wrong. ``metavar`` is None for a flag that takes no value; ``flag`` is None
    for a key that is seldom set by hand, and not for a single run."""

    key: str
    check: Callable[[Any], Any]
    parse: Callable[[Texts], object] = _last
    many: bool = False
    flag: str | None = None
    metavar: str | None = None
    help: str = ""

    @property
    def variable(self) -> str:
        """The environment variable: of ``query.stall_s``, VARLOGD_QUERY_STALL_S."""
        return ENVIRONMENT_PREFIX + self.key.upper().replace(".", "_")


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
    if path := file or environ.get(FILE_VARIABLE):
        inflow.take_file(path, read)
    inflow.take_environment(environ)
    for key, texts in flags.items():
        inflow.take_texts(_BY_KEY[key], texts, f"flag {_BY_KEY[key].flag}")
    return inflow.settle()


@dataclass
class _Inflow:
    """Values on their way in: for each key the last one taken, and where it came from."""

    checks: dict[str, Callable[[], Any]] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def take(self, key: str, value: object, origin: str) -> None:
        self.checks[key] = lambda: _BY_KEY[key].check(value)
        self.origin[key] = origin

    def take_texts(self, setting: Setting, texts: Texts, origin: str) -> None:
        self.checks[setting.key] = lambda: setting.check(setting.parse(texts))
        self.origin[setting.key] = origin

    def take_file(self, path: str, read: Callable[[str], bytes]) -> None:
        for key, value in _flattened(_toml_in(path, read)):
            if key in _BY_KEY:
                self.take(key, value, f"file {path}")
                continue
            nearest = _nearest(key, [*_BY_KEY, *TABLES])
            fault = f"{value!r} is not a table" if key in TABLES else f"unknown key{nearest}"
            self.wrong.append(f"{key}: {fault} (from the file, {path})")

    def take_environment(self, environ: Mapping[str, str]) -> None:
        for variable in sorted(environ):
            setting = _BY_VARIABLE.get(variable)
            if setting is not None:
                text = environ[variable]
                self.take_texts(setting, _listed(text) if setting.many else [text], f"environment {variable}")
            elif variable.startswith(ENVIRONMENT_PREFIX) and variable != FILE_VARIABLE:
                self.ignored.append(
                    f"{variable}: not a setting{_nearest(variable, _BY_VARIABLE, ENVIRONMENT_PREFIX)}"
                )

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


# Parsing: text to what TOML would have given. What cannot be parsed stays text, for `check` to complain of.


def _listed(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _parse_number(texts: Texts) -> object:
    for kind in (int, float):
        try:
            return kind(texts[-1])
        except ValueError:
            continue
    return texts[-1]


def _parse_switch(texts: Texts) -> object:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    return words.get(texts[-1].lower(), texts[-1])


def _parse_tags(texts: Texts) -> object:
    for text in texts:
        if "=" not in text:
            raise ValueError(f"{text!r} is not KEY=VALUE")
    return dict(text.split("=", 1) for text in texts)


def _parse_table(texts: Texts) -> object:
    """A table is written as TOML has it within a line, for a pattern may hold any character."""
    try:
        tree = tomllib.loads(f"value = {texts[-1]}")
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{texts[-1]!r} is not {{ KEY = 'VALUE', … }}: {error}") from error
    if tree.keys() != {"value"}:
        raise ValueError(f"{texts[-1]!r} is more than one table")
    return tree["value"]


# Checking: what TOML gave to what `Config` holds. Patterns and formats are imported only where some are given.


def _text(value: object, allowed: str) -> str:
    """A text that can be shown: no control characters, nothing that is not UTF-8."""
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError(f"{value!r} is not {allowed}")
    return value


def _check_name(value: object) -> str:
    allowed = f"a name of 1 to {NAME_MAX_CHARS} characters without spaces and control characters"
    name = _text(value, allowed)
    if len(name) > NAME_MAX_CHARS or any(character.isspace() for character in name):
        raise ValueError(f"{value!r} is not {allowed}")
    return name


def _check_address(value: object) -> str:
    address = _text(value, "HOST:PORT")
    split_address(address)
    return address


def _check_dialled(value: object) -> str:
    address = _check_address(value)
    host, port = split_address(address)
    if port == 0 or is_wildcard(host):
        raise ValueError(f"{address!r} cannot be dialled: it must name one host and a port other than 0")
    return address


def _list_of(check_item: Callable[[object], str], allowed: str) -> Callable[[object], tuple[str, ...]]:
    def check(value: object) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise ValueError(f"{value!r} is not a list of {allowed}")
        return tuple(map(check_item, value))

    return check


def _check_directory(value: object) -> str:
    return _text(value, "a directory")


def _check_glob(value: object) -> str:
    """A glob of stream names that can be asked for."""
    from varlogd.query.match import matches_stream, stream_glob_matcher

    glob = _text(value, "a glob of stream names")
    _explained(lambda: matches_stream([stream_glob_matcher([glob])], {}))
    return glob


def _explained(check: Callable[[], object]) -> None:
    """Run a check of what an asker might give; what is wrong with it is told in one line."""
    try:
        check()
    except PatternError as error:
        raise ValueError(f"{error.pattern!r}: {error.reason} (at character {error.offset + 1})") from error
    except QueryError as error:
        raise ValueError(str(error)) from error


def _check_table(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} is not a table of KEY = VALUE")
    return value


def _check_timestamps(value: object) -> dict[str, str]:
    table = _check_table(value)
    if len(table) > FORMATS_MAX:
        raise ValueError(f"{len(table)} formats, and at most {FORMATS_MAX} are held against each stream")
    return {_check_glob(glob): _check_format(form) for glob, form in table.items()}


def _check_format(value: object) -> str:
    from varlogd.logs.times.written import check_format

    form = _text(value, "a time format")
    check_format(form)
    return form


def _check_redact(value: object) -> dict[str, str]:
    table = _check_table(value)
    if len(table) > RULES_MAX:
        raise ValueError(f"{len(table)} rules, and at most {RULES_MAX} are held against each line")
    return {_check_rule_name(name): _check_rule(pattern) for name, pattern in table.items()}


def _check_rule_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise ValueError(f"{name!r} is not a rule's name: up to 64 letters, digits, _ and -")
    return name


def _check_rule(value: object) -> str:
    from varlogd.query.pattern import GroupsPattern

    pattern = _text(value, "an RE2 pattern")
    _explained(lambda: GroupsPattern(pattern))
    return pattern


def _check_tags(value: object) -> dict[str, str]:
    table = _check_table(value)
    if len(table) > TAGS_MAX:
        raise ValueError(f"{len(table)} tags, and at most {TAGS_MAX} travel in gossip")
    return {key: _check_tag(key, text) for key, text in table.items()}


def _check_tag(key: str, value: object) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key):
        raise ValueError(f"{key!r} is not a tag's key: letters, digits and _, and no digit first")
    if key in ON_THE_HOST | {"host"}:
        raise ValueError(f"{key!r} is reserved: rows have labels of that name")
    if value == "" or not isinstance(value, str):
        raise ValueError(f"the value of {key!r} must be a text, not {value!r}")
    if max(len(key), len(_text(value, "a tag's value"))) > TAG_MAX_CHARS:
        raise ValueError(f"{key!r} is longer than {TAG_MAX_CHARS} characters, key or value")
    return value


def _check_switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is not true or false")
    return value


def _choice(kind: Any) -> Callable[[object], str]:
    """The check of a Literal of words."""
    words: tuple[str, ...] = get_args(kind)

    def check(value: object) -> str:
        if value not in words:
            raise ValueError(f"{value!r} is not one of {', '.join(words)}")
        return str(value)

    return check


def _number(kind: Any) -> Callable[[object], float]:
    """The check of an annotated int or float. The range is that of its annotation, and has both ends."""
    info: Any = inspect.type_info(kind)
    whole = isinstance(info, inspect.IntType)
    span = f"from {info.ge} to {info.le}" if info.gt is None else f"above {info.gt} and at most {info.le}"
    allowed = f"{'a whole number' if whole else 'a number'} {span}"

    def check(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            raise ValueError(f"{value!r} is not {allowed}")
        above = value >= info.ge if info.gt is None else value > info.gt
        if not (above and value <= info.le):  # said so that "not a number" fails too
            raise ValueError(f"{value!r} is not {allowed}")
        return value if whole else float(value)

    return check


def _numbers(table: str, kind: type[Struct]) -> Iterator[Setting]:
    for key in structs.fields(kind):
        yield Setting(f"{table}.{key.name}", _number(key.type), _parse_number)


_KINDS: Final = {key.name: key.type for key in structs.fields(Config)}

SETTINGS: Final[tuple[Setting, ...]] = (
    Setting(
        "name",
        _check_name,
        flag="--name",
        metavar="NAME",
        help="what the mesh calls this node: unique in it, the same after a restart",
    ),
    Setting(
        "listen",
        _check_address,
        flag="--listen",
        metavar="HOST:PORT",
        help="the one socket for peers and askers; [::1]:8514 for IPv6, port 0 for any that is free",
    ),
    Setting(
        "advertise",
        _check_dialled,
        flag="--advertise",
        metavar="HOST:PORT",
        help="what other nodes dial, if not the address in use: needed behind a port mapping",
    ),
    Setting(
        "join",
        _list_of(_check_dialled, "HOST:PORT"),
        many=True,
        parse=list,
        flag="--join",
        metavar="HOST:PORT",
        help="a member to join through; may be given several times, and one that answers is enough",
    ),
    Setting(
        "roots",
        _list_of(_check_directory, "directories"),
        many=True,
        parse=list,
        flag="--root",
        metavar="DIR",
        help="serve the logs below this directory; may be given several times",
    ),
    Setting(
        "include",
        _list_of(_check_glob, "globs"),
        many=True,
        parse=list,
        flag="--include",
        metavar="GLOB",
        help="serve only streams of such names, as in 'nginx/*.log'; may be given several times",
    ),
    Setting(
        "exclude",
        _list_of(_check_glob, "globs"),
        many=True,
        parse=list,
        flag="--exclude",
        metavar="GLOB",
        help="do not serve streams of such names, whatever --include says; may be given several times",
    ),
    Setting("journal", _check_switch, _parse_switch),
    Setting("timestamps", _check_timestamps, _parse_table),
    Setting("redact", _check_redact, _parse_table),
    Setting("redact_builtin", _check_switch, _parse_switch),
    Setting(
        "tags",
        _check_tags,
        many=True,
        parse=_parse_tags,
        flag="--tag",
        metavar="KEY=VALUE",
        help="what askers select this host by, as in -l role=web; may be given several times",
    ),
    Setting(
        "allow_unauthenticated",
        _check_switch,
        parse=_parse_switch,
        flag="--allow-unauthenticated",
        help="accept to listen beyond loopback though there is no authentication yet: whoever reaches the port "
        "can read the logs",
    ),
    Setting(
        "log_format",
        _choice(_KINDS["log_format"]),
        flag="--log-format",
        metavar="FORMAT",
        help="plain (for people) or json (one object a line)",
    ),
    Setting(
        "log_level",
        _choice(_KINDS["log_level"]),
        flag="--log-level",
        metavar="LEVEL",
        help="debug, info, warning or error",
    ),
    Setting("drain_s", _number(_KINDS["drain_s"]), _parse_number),
    *(setting for table, kind in TABLES.items() for setting in _numbers(table, kind)),
)
"""Every key there is."""

_BY_KEY: Final = {setting.key: setting for setting in SETTINGS}
_BY_VARIABLE: Final = {setting.variable: setting for setting in SETTINGS}
