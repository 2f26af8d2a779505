"""The walk: which streams there are, read off the directories at the moment of asking.

**Nothing outside the roots is ever opened.** Directories are walked by descriptor, and no symbolic link in them is
followed: what a link points to inside the roots is listed there, what lies outside is told in `Catalogue.outside`.

**Only what is known to be no log** (journals, wtmp, what stands beside a container's log) is left out.

**A rotation may come in between.** A directory in which a name has come to mean another file while it was listed is
listed again.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from varlogd.logs.catalogue import EVERYTHING, Catalogue, LogFile, LogStream, Served, last_part, reason, shown
from varlogd.logs.containers.labels import docker_labels, is_beside_a_log, path_labels
from varlogd.logs.rotation import Place, place_of

ENTRIES_MAX: Final = 10_000
"""Files and directories in one catalogue, and names in one directory. A walk of so many takes about 0.1 s, and each
query walks."""

LISTINGS_MAX: Final = 3
"""How often a directory is listed that changes meanwhile. Rotations come seconds apart; where files are mounted one
by one, names always seem to mean others, and it is listed so often."""

CHECK_ENTRIES: Final = 256
"""Files listed between two looks for a cancellation: some milliseconds."""

DEPTH_MAX: Final = 16
"""Directories below one another; each holds a descriptor during the walk."""

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

# Patterns on file names, none of which comes from an asker.
_NOT_A_LOG: Final = re.compile(r"(?:[wb]tmp|lastlog|faillog|tallylog)(?:[.-].*)?|.*\.journal~?", re.DOTALL)


def read_catalogue(
    roots: Sequence[Path], served: Served = EVERYTHING, check: Callable[[], None] = lambda: None
) -> Catalogue:
    """The streams under ``roots``, each a directory or one file, as they are now.

    ``check`` is called for every directory and every few hundred files, and may raise.
    """
    walk = _Walk(roots, served, check)
    streams: dict[str, LogStream] = {}
    for stream in walk.streams():
        name = stream.path if stream.name in streams else stream.name
        streams[name] = stream if name == stream.name else replace(stream, name=name)
    return Catalogue(
        tuple(streams[name] for name in sorted(streams) if served.has(streams[name])),
        tuple(link for link in walk.outside if served.has(link)),
        tuple(walk.gaps),
    )


class _Found(NamedTuple):
    """A file on its way into a chain; sorted from new to old."""

    place: Place
    path: str
    file: LogFile


def _chains(found: Iterable[_Found], directory: str, prefix: str, descriptor: int | None) -> Iterator[LogStream]:
    """The streams of the files of one directory, which may be open as ``descriptor``."""
    chains: dict[str, list[_Found]] = {}
    for each in found:
        chains.setdefault(each.place.base, []).append(each)
    for base, chain in chains.items():
        # While a file is being compressed both are there: the plain one is whole.
        plain = {each.place.age for each in chain if not each.place.packing}
        kept = sorted(each for each in chain if not (each.place.packing and each.place.age in plain))
        path = f"{directory}/{base}"
        files = tuple(each.file for each in kept)
        yield LogStream(shown(prefix + base), shown(path), files, labels=_labels(path, descriptor))


def _labels(path: str, directory: int | None = None) -> dict[str, str]:
    """What is known of the stream of that path, whose directory may be open."""
    labels = {"file": shown(path), "source": "file", **path_labels(path)}
    if container_id := labels.pop("container_id", None):
        labels |= docker_labels(container_id, directory)
    return labels


class _Walk:
    """One walk over all roots. What has two names (a hard link, a root within a root) is listed once."""

    def __init__(self, roots: Sequence[Path], served: Served, check: Callable[[], None]) -> None:
        self._served = served
        self._check = check
        self.outside: list[LogStream] = []
        self.gaps: dict[str, None] = {}  # an ordered set
        self._roots = [Path(os.path.realpath(root)) for root in roots]
        self._seen: set[tuple[int, int]] = set()
        self._entered = 0

    def streams(self) -> Iterator[LogStream]:
        for root in self._roots:
            yield from self._directory(None, str(root), "", 0) if root.is_dir() else self._file_root(root)

    def _file_root(self, root: Path) -> Iterator[LogStream]:
        """The stream of a root that is a file: its rotations beside it too, even while it is away itself."""
        try:
            _, found = self._listed(root.parent, str(root.parent), root.name)
        except OSError as error:
            self._gap(f"{root}: {reason(error)}")
            return
        if found:
            yield from _chains(found, str(root.parent), "", None)
        else:
            self._gap(f"{root}: no such file")

    def _directory(self, parent: int | None, path: str, prefix: str, depth: int) -> Iterator[LogStream]:
        """The streams in and below a directory, opened by its name in ``parent`` (or by its path if it is a root)."""
        if depth > DEPTH_MAX:
            self._gap(f"directories more than {DEPTH_MAX} below a root are not searched")
            return
        if self._is_full() or self._served.has_none_below(prefix):
            return
        self._entered += 1
        try:
            descriptor = os.open(path if parent is None else last_part(path), _DIRECTORY, dir_fd=parent)
        except OSError as error:
            yield from self._unread(path, prefix, error)
            return
        try:
            yield from self._entries(descriptor, path, prefix, depth)
        except OSError as error:
            yield from self._unread(path, prefix, error)
        finally:
            os.close(descriptor)

    def _unread(self, path: str, prefix: str, error: OSError) -> Iterator[LogStream]:
        if not prefix:
            self._gap(f"{path}: {reason(error)}")
        elif error.errno != errno.ENOENT:  # it may have gone since it was listed
            yield LogStream(shown(prefix), shown(path), (), reason(error), _labels(path))

    def _entries(self, descriptor: int, path: str, prefix: str, depth: int) -> Iterator[LogStream]:
        listed, found = self._listed(descriptor, path)
        yield from _chains(found, path, prefix, descriptor)
        for entry in listed:
            below = f"{path}/{entry.name}"
            if entry.is_symlink():
                self._link(below, prefix + entry.name)
            elif entry.is_dir(follow_symlinks=False):
                yield from self._directory(descriptor, below, f"{prefix}{entry.name}/", depth + 1)

    def _listed(
        self, directory: int | Path, path: str, base: str | None = None
    ) -> tuple[list[os.DirEntry[str]], list[_Found]]:
        """The names in a directory, or those of one chain, in order, and the files that can be logs."""
        for _ in range(LISTINGS_MAX):
            with os.scandir(directory) as entries:
                wanted = (entry for entry in entries if base in (None, entry.name, place_of(entry.name).base))
                listed = sorted(islice(wanted, ENTRIES_MAX), key=lambda entry: entry.name)
                if next(wanted, None) is not None:
                    self._gap(f"{path}: more than {ENTRIES_MAX} names in one directory: the rest is not searched")
            found, changed = self._files(listed, path)
            if not changed:
                break
        self._seen.update(each.file.which for each in found)
        return listed, found

    def _files(self, listed: Iterable[os.DirEntry[str]], path: str) -> tuple[list[_Found], bool]:
        """The regular files among ``listed`` that can be logs, and whether any name means another file by now."""
        directory = last_part(path)
        found: dict[tuple[int, int], _Found] = {}
        changed = False
        for number, entry in enumerate(listed):
            if number % CHECK_ENTRIES == 0:
                self._check()
            if not entry.is_file(follow_symlinks=False) or _is_no_log(directory, entry.name):
                continue
            if self._is_full(len(found)):
                break
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                changed = True
                continue
            changed |= entry.inode() != status.st_ino
            which = (status.st_dev, status.st_ino)
            if stat.S_ISREG(status.st_mode) and which not in self._seen and which not in found:
                below, place = f"{path}/{entry.name}", place_of(entry.name)
                found[which] = _Found(place, below, LogFile.of(below, status, place.packing))
        return list(found.values()), changed

    def _is_full(self, more: int = 0) -> bool:
        full = len(self._seen) + self._entered + more >= ENTRIES_MAX
        if full:
            self._gap(f"more than {ENTRIES_MAX} files and directories: the rest is not searched")
        return full

    def _gap(self, text: str) -> None:
        self.gaps[shown(text)] = None

    def _link(self, path: str, name: str) -> None:
        target = Path(os.path.realpath(path))
        if target.exists() and not any(target.is_relative_to(root) for root in self._roots):
            note = "a symbolic link out of the roots: not followed"
            self.outside.append(LogStream(shown(name), shown(path), (), note, _labels(path)))


def _is_no_log(directory: str, name: str) -> bool:
    """Whether a file is known by its name to be no log."""
    return _NOT_A_LOG.fullmatch(name) is not None or is_beside_a_log(directory, name)
