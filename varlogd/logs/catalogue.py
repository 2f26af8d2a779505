"""The catalogue: which streams this host has, read off the directories at the moment of asking.

A **stream** is one log through all its rotations: ``x.log`` and what was once called so, ``x.log.1``,
``x.log.2.gz``, ``x.log-20260101``, ``x.log.2026-01-01_10``, newest first. Its name is the path below its root,
``nginx/access.log``; only if an earlier root has that name already, it is the absolute path.

**Nothing outside the roots is ever opened.** Directories are walked by descriptor, and no symbolic link in them is
followed: what a link points to inside the roots is listed there, what lies outside is told in `Catalogue.outside`. A
file is opened without following a link, and must then be the very file that was listed.

**Nothing is silently absent.** Only what is known to be no log (journals, wtmp, what stands beside a container's log)
is left out. A directory that may not be read is a stream with a note and no files; roots that cannot be read, and
limits that bite, are `gaps`. What the operator does not serve (`Served`) is no stream, and nobody is told of it.

**A rotation may come in between.** A directory in which a name has come to mean another file while it was listed is
listed again, and a file that has been renamed since is found by its inode, one that has been compressed by its time.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from varlogd.errors import LogReadError
from varlogd.logs.containers.labels import docker_labels, is_beside_a_log, path_labels
from varlogd.logs.rotation import Place, place_of
from varlogd.query.match import stream_glob_matcher
from varlogd.query.pattern import Pattern, compile_pattern

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
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY

# Patterns on file names, none of which comes from an asker.
_NOT_A_LOG: Final = re.compile(r"(?:[wb]tmp|lastlog|faillog|tallylog)(?:[.-].*)?|.*\.journal~?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class LogFile:
    """One file of a chain as it was listed. ``packing`` is its compression (gz, xz, bz2, zst), or empty."""

    path: str
    size_bytes: int
    mtime_ns: int
    device: int
    inode: int
    packing: str = ""

    @property
    def which(self) -> tuple[int, int]:
        """Device and inode."""
        return self.device, self.inode

    def is_that_of(self, status: os.stat_result) -> bool:
        """Whether ``status`` is of the very file that was listed."""
        return stat.S_ISREG(status.st_mode) and (status.st_dev, status.st_ino) == self.which


@dataclass(frozen=True, slots=True)
class LogStream:
    """One stream: ``files`` from new to old. ``labels`` are what it has beside its host's tags, its ``host`` and its
    ``stream``: ``file`` (the absolute path), ``source`` and what its source knows (`wire.query.ON_THE_HOST`).

    Without files it is a directory that cannot be read (its name ends in ``/``), or a link; ``note`` says why.
    """

    name: str
    path: str
    files: tuple[LogFile, ...]
    note: str = ""
    labels: dict[str, str] = field(default_factory=dict, hash=False)

    def name_of(self, file: LogFile) -> str:
        """What to call one of the stream's files: as the stream is called, ``nginx/access.log.1``."""
        parent, slash, _ = self.name.rpartition("/")
        return parent + slash + shown(_last_part(file.path))


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All streams by name; ``outside`` are links out of the roots; ``gaps`` say what is missing, and why."""

    streams: tuple[LogStream, ...]
    outside: tuple[LogStream, ...] = ()
    gaps: tuple[str, ...] = ()


class Served:
    """Which streams the operator serves: those that match a glob of ``include`` (all, if there is none) and none of
    ``exclude``. Directories that cannot be read and links are told of unless they match ``exclude``: whether there
    is anything included in them cannot be known.

    Globs are those of `query.match.stream_glob_matcher`. Raises QueryError (PatternError) for a bad one.
    """

    def __init__(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        self._include = _compiled(include)
        self._exclude = _compiled(exclude)
        self._exclude_trees = _compiled([glob for glob in exclude if glob.endswith("**")])

    @property
    def is_everything(self) -> bool:
        """Whether all streams are served."""
        return not self._include and not self._exclude

    def has(self, stream: LogStream) -> bool:
        """Whether a stream is served."""
        return self.has_name(stream.name) if stream.files else not self._excludes(stream.name)

    def has_name(self, name: str) -> bool:
        """Whether a stream of that name is served."""
        if self._excludes(name):
            return False
        return not self._include or any(glob.is_all_of(name.encode()) for glob in self._include)

    def has_none_below(self, directory: str) -> bool:
        """Whether everything in a directory, whose name ends in ``/``, is excluded (``private/**``)."""
        return any(glob.is_all_of(shown(directory).encode()) for glob in self._exclude_trees)

    def _excludes(self, name: str) -> bool:
        return any(glob.is_all_of(name.encode()) for glob in self._exclude)


def _compiled(globs: Sequence[str]) -> list[Pattern]:
    return [compile_pattern(stream_glob_matcher([glob]).value) for glob in globs]


EVERYTHING: Final = Served()


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


class LogGone(LogReadError):
    """A file is not in its directory any more."""


def open_listed(file: LogFile) -> int:
    """A descriptor of the very file that was listed, also if a rotation has renamed it in its directory since.

    Raises LogReadError: it may not be read, or LogGone.
    """
    with suppress(FileNotFoundError):
        return _open_that(file, file.path)
    try:
        with os.scandir(Path(file.path).parent) as entries:
            for entry in entries:
                if entry.inode() == file.inode and _may_be(file, entry):
                    return _open_that(file, entry.path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise LogReadError(reason(error)) from error
    raise LogGone("gone since it was listed")


def _may_be(file: LogFile, entry: os.DirEntry[str]) -> bool:
    """Whether what has a listed file's inode can be that file, renamed: inodes of deleted files are used again, soon
    by the next file of the chain. But rotation only ever gives names that are further back."""
    was, is_now = place_of(_last_part(file.path)), place_of(entry.name)
    same_chain = (was.base, was.packing) == (is_now.base, is_now.packing)
    return same_chain and is_now.age >= was.age and entry.stat(follow_symlinks=False).st_size >= file.size_bytes


def compressed_since(file: LogFile) -> LogFile | None:
    """What became of a plain file that is gone since it was listed, if it was compressed: one of its chain, in its
    directory, with its time of change, which compressors keep; or, if it was still written to, the next time."""
    if file.packing:
        return None
    directory, _, name = file.path.rpartition("/")
    was = place_of(name)
    times = {file.mtime_ns, file.mtime_ns // 1000 * 1000, file.mtime_ns // 10**9 * 10**9}
    found: list[LogFile] = []
    with suppress(OSError), os.scandir(directory or "/") as entries:
        for entry in entries:
            place = place_of(entry.name)
            if place.packing and place.base == was.base and entry.is_file(follow_symlinks=False):
                status = entry.stat(follow_symlinks=False)
                later = was == place_of(was.base) and status.st_mtime_ns > file.mtime_ns
                if later or status.st_mtime_ns in times:
                    found.append(_found(entry.path, place, status).file)
    return min(found, key=lambda each: each.mtime_ns, default=None)


def _open_that(file: LogFile, path: str) -> int:
    """Raises FileNotFoundError if ``path`` is no longer the file that was listed."""
    try:
        descriptor = os.open(path, _FILE)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO):
            raise FileNotFoundError(path) from error
        raise LogReadError(reason(error)) from error
    if file.is_that_of(os.fstat(descriptor)):
        return descriptor
    os.close(descriptor)
    raise FileNotFoundError(path)


def reason(error: OSError) -> str:
    """What the operating system says, in its words: ``permission denied``."""
    return (error.strerror or str(error)).lower()


def shown(name: str) -> str:
    """A file name as text that can travel: bytes that are not UTF-8 as ``\\xff``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _last_part(path: str) -> str:
    """The name in its directory: `pathlib` takes ten times longer, and there are ten thousand of them."""
    return path.rpartition("/")[2]


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
            descriptor = os.open(path if parent is None else _last_part(path), _DIRECTORY, dir_fd=parent)
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
        directory = _last_part(path)
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
                found[which] = _found(f"{path}/{entry.name}", place_of(entry.name), status)
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


def _found(path: str, place: Place, status: os.stat_result) -> _Found:
    file = LogFile(path, status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino, place.packing)
    return _Found(place, path, file)


def _is_no_log(directory: str, name: str) -> bool:
    """Whether a file is known by its name to be no log."""
    return _NOT_A_LOG.fullmatch(name) is not None or is_beside_a_log(directory, name)
