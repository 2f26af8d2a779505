"""A value on its way in: parsed, then checked.

*Parsing* makes of a text, from the environment or a flag, what TOML would have given; what cannot be parsed stays
text, for the check to complain of. *Checking* makes of what TOML gave what `Config` holds, the same way wherever it
came from. Both raise ValueError, in words that show the value and say what is allowed.

Ranges are read off the annotations in `config`. Patterns and formats are imported only where some are given.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Sequence
from typing import Any, Final, get_args

from msgspec import inspect

from varlogd.config import is_wildcard, split_address
from varlogd.errors import PatternError, QueryError
from varlogd.wire.limits import NAME_MAX_CHARS, TAG_MAX_CHARS, TAGS_MAX
from varlogd.wire.query import ON_THE_HOST

RULES_MAX: Final = 64
"""Own rules of redaction: every line that is searched is held against each."""

FORMATS_MAX: Final = 256
"""Globs of streams with a time format of their own: each stream is held against all of them."""

Texts = Sequence[str]
"""What the environment or a flag gave: one text, or several where the setting takes several."""


# --- parsing ---


def parse_last(texts: Texts) -> object:
    """The last one given counts."""
    return texts[-1]


def split_list(text: str) -> list[str]:
    """The items of a text, with commas between them."""
    return [item.strip() for item in text.split(",") if item.strip()]


def parse_number(texts: Texts) -> object:
    """A whole number, else any number."""
    for kind in (int, float):
        try:
            return kind(texts[-1])
        except ValueError:
            continue
    return texts[-1]


def parse_switch(texts: Texts) -> object:
    """True or false, in any of the usual words."""
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    return words.get(texts[-1].lower(), texts[-1])


def parse_tags(texts: Texts) -> object:
    """Each text is ``KEY=VALUE``."""
    for text in texts:
        if "=" not in text:
            raise ValueError(f"{text!r} is not KEY=VALUE")
    return dict(text.split("=", 1) for text in texts)


def parse_table(texts: Texts) -> object:
    """A table is written as TOML has it within a line, for a pattern may hold any character."""
    try:
        tree = tomllib.loads(f"value = {texts[-1]}")
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{texts[-1]!r} is not {{ KEY = 'VALUE', … }}: {error}") from error
    if tree.keys() != {"value"}:
        raise ValueError(f"{texts[-1]!r} is more than one table")
    return tree["value"]


# --- checking ---


def _text(value: object, allowed: str) -> str:
    """A text that can be shown: no control characters, nothing that is not UTF-8."""
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError(f"{value!r} is not {allowed}")
    return value


def check_name(value: object) -> str:
    """A node's name."""
    allowed = f"a name of 1 to {NAME_MAX_CHARS} characters without spaces and control characters"
    name = _text(value, allowed)
    if len(name) > NAME_MAX_CHARS or any(character.isspace() for character in name):
        raise ValueError(f"{value!r} is not {allowed}")
    return name


def check_address(value: object) -> str:
    """What can be listened on."""
    address = _text(value, "HOST:PORT")
    split_address(address)
    return address


def check_dialled(value: object) -> str:
    """What others can dial."""
    address = check_address(value)
    host, port = split_address(address)
    if port == 0 or is_wildcard(host):
        raise ValueError(f"{address!r} cannot be dialled: it must name one host and a port other than 0")
    return address


def list_of(check_item: Callable[[object], str], allowed: str) -> Callable[[object], tuple[str, ...]]:
    """The check of a list whose items are checked by ``check_item``; ``allowed`` is what to call them."""

    def check(value: object) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise ValueError(f"{value!r} is not a list of {allowed}")
        return tuple(map(check_item, value))

    return check


def check_directory(value: object) -> str:
    """A directory, which need not be there."""
    return _text(value, "a directory")


def check_glob(value: object) -> str:
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


def check_timestamps(value: object) -> dict[str, str]:
    """Time formats by the glob of the streams that have them."""
    table = _check_table(value)
    if len(table) > FORMATS_MAX:
        raise ValueError(f"{len(table)} formats, and at most {FORMATS_MAX} are held against each stream")
    return {check_glob(glob): _check_format(form) for glob, form in table.items()}


def _check_format(value: object) -> str:
    from varlogd.logs.times.written import check_format

    form = _text(value, "a time format")
    check_format(form)
    return form


def check_redact(value: object) -> dict[str, str]:
    """Patterns of what is masked, by the name of the rule."""
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


def check_tags(value: object) -> dict[str, str]:
    """Tags that can be asked for, and do not collide with the labels of rows."""
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


def check_switch(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is not true or false")
    return value


def choice_of(kind: Any) -> Callable[[object], str]:
    """The check of a Literal of words."""
    words: tuple[str, ...] = get_args(kind)

    def check(value: object) -> str:
        if value not in words:
            raise ValueError(f"{value!r} is not one of {', '.join(words)}")
        return str(value)

    return check


def number_of(kind: Any) -> Callable[[object], float]:
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
