"""The catalogue: the words for what logs this host has, and which of them the operator serves.

A **stream** is one log through all its rotations: ``x.log`` and what was once called so, ``x.log.1``,
``x.log.2.gz``, ``x.log-20260101``, ``x.log.2026-01-01_10``, newest first. Its name is the path below its root,
``nginx/access.log``; only if an earlier root has that name already, it is the absolute path.

**Nothing is silently absent.** A directory that may not be read is a stream with a note and no files; roots that
cannot be read, and limits that bite, are `Catalogue.gaps`; what links point to outside the roots is told in
`Catalogue.outside`. What the operator does not serve (`Served`) is no stream, and nobody is told of it.

How the streams are found, `logs.walk` says; how a file that was found is opened, `logs.opening`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from varlogd.query.match import stream_glob_matcher
from varlogd.query.pattern import Pattern, compile_pattern


@dataclass(frozen=True, slots=True)
class LogFile:
    """One file of a chain as it was listed. ``packing`` is its compression (gz, xz, bz2, zst), or empty."""

    path: str
    size_bytes: int
    mtime_ns: int
    device: int
    inode: int
    packing: str = ""

    @classmethod
    def of(cls, path: str, status: os.stat_result, packing: str) -> LogFile:
        """The file that has that status."""
        return cls(path, status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino, packing)

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
        return parent + slash + shown(last_part(file.path))


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


def reason(error: OSError) -> str:
    """What the operating system says, in its words: ``permission denied``."""
    return (error.strerror or str(error)).lower()


def shown(name: str) -> str:
    """A file name as text that can travel: bytes that are not UTF-8 as ``\\xff``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def last_part(path: str) -> str:
    """The name in its directory: `pathlib` takes ten times longer, and there are ten thousand of them."""
    return path.rpartition("/")[2]
