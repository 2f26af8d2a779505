"""Every key of the configuration, in one table.

`SETTINGS` is the only list of keys there is: the file's keys, the names of environment variables, the daemon's flags
and their help, ``--print-config`` and every message are made from it. What may be given for a key, `cli.values` says;
ranges and defaults are read off the structs in `config`. How values come in, and which one counts: `cli.effective`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from msgspec import Struct, structs

from varlogd.cli.values import (
    Texts,
    check_address,
    check_dialled,
    check_directory,
    check_glob,
    check_name,
    check_redact,
    check_switch,
    check_tags,
    check_timestamps,
    choice_of,
    list_of,
    number_of,
    parse_last,
    parse_number,
    parse_switch,
    parse_table,
    parse_tags,
)
from varlogd.config import Config, MembershipConfig, QueryConfig

ENVIRONMENT_PREFIX: Final = "VARLOGD_"

TABLES: Final[Mapping[str, type[MembershipConfig] | type[QueryConfig]]] = {
    "query": QueryConfig,
    "membership": MembershipConfig,
}
"""The tables of the file that have keys of their own, and the struct that each becomes. All their keys are numbers.
The other tables (tags, timestamps, redact) are one key each: what stands in them is the operator's own."""


@dataclass(frozen=True)
class Setting:
    """One key. ``parse`` makes text what TOML would have given; ``check`` returns the value for `Config`. Both
    raise ValueError saying what is wrong. ``metavar`` is None for a flag that takes no value; ``flag`` is None
    for a key that is seldom set by hand, and not for a single run."""

    key: str
    check: Callable[[Any], Any]
    parse: Callable[[Texts], object] = parse_last
    many: bool = False
    flag: str | None = None
    metavar: str | None = None
    help: str = ""

    @property
    def variable(self) -> str:
        """The environment variable: of ``query.stall_s``, VARLOGD_QUERY_STALL_S."""
        return ENVIRONMENT_PREFIX + self.key.upper().replace(".", "_")


def _numbers(table: str, kind: type[Struct]) -> Iterator[Setting]:
    for key in structs.fields(kind):
        yield Setting(f"{table}.{key.name}", number_of(key.type), parse_number)


_KINDS: Final = {key.name: key.type for key in structs.fields(Config)}

SETTINGS: Final[tuple[Setting, ...]] = (
    Setting(
        "name",
        check_name,
        flag="--name",
        metavar="NAME",
        help="what the mesh calls this node: unique in it, the same after a restart",
    ),
    Setting(
        "listen",
        check_address,
        flag="--listen",
        metavar="HOST:PORT",
        help="the one socket for peers and askers; [::1]:8514 for IPv6, port 0 for any that is free",
    ),
    Setting(
        "advertise",
        check_dialled,
        flag="--advertise",
        metavar="HOST:PORT",
        help="what other nodes dial, if not the address in use: needed behind a port mapping",
    ),
    Setting(
        "join",
        list_of(check_dialled, "HOST:PORT"),
        many=True,
        parse=list,
        flag="--join",
        metavar="HOST:PORT",
        help="a member to join through; may be given several times, and one that answers is enough",
    ),
    Setting(
        "roots",
        list_of(check_directory, "directories"),
        many=True,
        parse=list,
        flag="--root",
        metavar="DIR",
        help="serve the logs below this directory; may be given several times",
    ),
    Setting(
        "include",
        list_of(check_glob, "globs"),
        many=True,
        parse=list,
        flag="--include",
        metavar="GLOB",
        help="serve only streams of such names, as in 'nginx/*.log'; may be given several times",
    ),
    Setting(
        "exclude",
        list_of(check_glob, "globs"),
        many=True,
        parse=list,
        flag="--exclude",
        metavar="GLOB",
        help="do not serve streams of such names, whatever --include says; may be given several times",
    ),
    Setting("journal", check_switch, parse_switch),
    Setting(
        "state_dir",
        check_directory,
        flag="--state-dir",
        metavar="DIR",
        help="remember the last boot and the other members in this directory, over restarts",
    ),
    Setting("timestamps", check_timestamps, parse_table),
    Setting("redact", check_redact, parse_table),
    Setting("redact_builtin", check_switch, parse_switch),
    Setting(
        "tags",
        check_tags,
        many=True,
        parse=parse_tags,
        flag="--tag",
        metavar="KEY=VALUE",
        help="what askers select this host by, as in -l role=web; may be given several times",
    ),
    Setting(
        "allow_unauthenticated",
        check_switch,
        parse=parse_switch,
        flag="--allow-unauthenticated",
        help="accept to listen beyond loopback though there is no authentication yet: whoever reaches the port "
        "can read the logs",
    ),
    Setting(
        "log_format",
        choice_of(_KINDS["log_format"]),
        flag="--log-format",
        metavar="FORMAT",
        help="plain (for people) or json (one object a line)",
    ),
    Setting(
        "log_level",
        choice_of(_KINDS["log_level"]),
        flag="--log-level",
        metavar="LEVEL",
        help="debug, info, warning or error",
    ),
    Setting("drain_s", number_of(_KINDS["drain_s"]), parse_number),
    *(setting for table, kind in TABLES.items() for setting in _numbers(table, kind)),
)
"""Every key there is."""

BY_KEY: Final = {setting.key: setting for setting in SETTINGS}
"""Them by key."""

BY_VARIABLE: Final = {setting.variable: setting for setting in SETTINGS}
"""Them by environment variable."""
