"""The demo with the user's own logs: a directory becomes a mesh, and nothing in it is changed.

Subdirectories with files in them become nodes and are served where they are. If there are no two of them, copies
of the files are dealt to the nodes, a log always together with its rotations. Whatever is left out is said.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from varlogd.demo.processes import NODES_DEFAULT, NODES_MAX, NODES_MIN, DemoError, NodePlan
from varlogd.demo.story import Scenario
from varlogd.logs.rotation import place_of
from varlogd.wire.limits import NAME_MAX_CHARS

COPIED_MAX_BYTES: Final = 256 << 20
"""Copied at most: temporary directories are often in memory. Subdirectories are served in place, of any size."""

_TRIES: Final = (
    ("members",),
    ("files",),
    ("tail", "-n", "20"),
    ("grep", "-i", "-e", "warn", "-e", "fail", "--limit", "20"),
    ("grep", "-i", "error", "--limit", "5", "--json"),
)

Complain = Callable[[str], None]


def given_scenario(given: Path, copies: Path, count: int | None, complain: Complain) -> Scenario:
    """The scenario of the logs in ``given``. Copies, where they are needed, go into ``copies``.

    ``count``: how many nodes, None for as many as suit. ``complain`` is told of what is left out. Raises
    DemoError if there is nothing to show.
    """
    if not given.is_dir():
        raise DemoError(f"{given} is not a directory")
    directories = [path for path in _children(given) if path.is_dir() and any(_files(path, complain))]
    if len(directories) >= NODES_MIN:
        plans = _serve(given, directories, count or NODES_MAX, complain)
    else:
        plans = _deal(given, copies, count or NODES_DEFAULT, complain)
    return Scenario(plans, _tries(plans), surely=False)


def _serve(given: Path, directories: Sequence[Path], count: int, complain: Complain) -> list[NodePlan]:
    loose = [path.name for path in _children(given) if path.is_file()]
    if loose:
        complain(f"left out, for the subdirectories become the nodes: {_listed(loose)}")
    if directories[count:]:
        complain(f"left out, for {count} nodes are enough: {_listed([path.name for path in directories[count:]])}")
    names: dict[str, Path] = {}
    for directory in directories[:count]:
        names[_node_name(directory.name, names)] = directory
    return [NodePlan(name, {"logs": "given"}, directory.resolve()) for name, directory in names.items()]


def _deal(given: Path, copies: Path, count: int, complain: Complain) -> list[NodePlan]:
    """Copies of the files, log by log in turn, to ``count`` nodes or as many as there are logs, but two."""
    logs = _logs(given, complain)
    if not logs:
        raise DemoError(f"there are no files in {given}")
    plans = [
        NodePlan(f"node{number}", {"logs": "dealt"}, copies / f"node{number}")
        for number in range(1, max(NODES_MIN, min(count, len(logs))) + 1)
    ]
    for plan in plans:
        plan.root.mkdir(parents=True)
    left_out, room = [], COPIED_MAX_BYTES
    for turn, (log, files) in enumerate(logs.items()):
        needed = sum(path.stat().st_size for path in files)
        if needed > room:
            left_out.append(log)
            continue
        room -= needed
        for path in files:
            _copy(path, plans[turn % len(plans)].root / path.relative_to(given), complain)
    if left_out:
        complain(f"left out, for over {COPIED_MAX_BYTES >> 20} MiB are not copied: {_listed(left_out)}")
    if len(left_out) == len(logs):
        raise DemoError("that is all of them; put them into subdirectories, which are served in place")
    return plans


def _copy(path: Path, to: Path, complain: Complain) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copy2(path, to)
    except PermissionError:
        complain(_unreadable(path))


def _unreadable(path: str | Path) -> str:
    return f"left out, for it cannot be read: {path}"


def _logs(given: Path, complain: Complain) -> Mapping[str, list[Path]]:
    """The files below ``given`` by the name of the log they belong to."""
    logs: dict[str, list[Path]] = {}
    for path in sorted(_files(given, complain)):
        log = path.relative_to(given).with_name(place_of(path.name).base)
        logs.setdefault(str(log), []).append(path)
    return logs


def _files(directory: Path, complain: Complain) -> Iterator[Path]:
    """The files below: regular ones, for the daemon does not follow links out of its roots either."""
    for where, _directories, names in os.walk(directory, onerror=lambda error: complain(_unreadable(error.filename))):
        for name in names:
            path = Path(where, name)
            if path.is_file() and not path.is_symlink():
                yield path


def _children(directory: Path) -> list[Path]:
    try:
        return sorted(path for path in directory.iterdir() if not path.is_symlink())
    except PermissionError:
        raise DemoError(f"{directory} cannot be read") from None


def _node_name(text: str, taken: Mapping[str, Path]) -> str:
    """A directory's name as a node's: nothing in it that a command line would need quotes for."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[: NAME_MAX_CHARS - 4] or "node"
    number = 2
    found = name
    while found in taken:
        found, number = f"{name}-{number}", number + 1
    return found


def _tries(plans: Sequence[NodePlan]) -> list[Sequence[str]]:
    return [*_TRIES, ("tail", "-n", "5", "-l", f"host={plans[-1].name}")]


def _listed(names: Sequence[str], shown_max: int = 5) -> str:
    more = len(names) - shown_max
    return ", ".join(names[:shown_max]) + (f" and {more} more" if more > 0 else "")
