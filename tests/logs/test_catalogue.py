"""Which streams are served, and that nobody is told of the others."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.logs.hosts import make
from varlogd.errors import PatternError
from varlogd.logs import walk
from varlogd.logs.catalogue import Served
from varlogd.logs.walk import read_catalogue

Nobody = Callable[[Path], AbstractContextManager[None]]

pytestmark = pytest.mark.usefixtures("nothing_left_open")


def served(root: Path, include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> list[str]:
    return [stream.name for stream in read_catalogue([root], Served(include, exclude)).streams]


def test_globs_choose_what_is_served(tmp_path: Path) -> None:
    make(tmp_path, "syslog", "syslog.1", "nginx/access.log", "nginx/error.log.2.gz", "app/x/y.log", "app/y.log")
    assert served(tmp_path, include=("*.log",)) == ["app/x/y.log", "app/y.log", "nginx/access.log", "nginx/error.log"]
    assert served(tmp_path, include=("nginx/*", "syslog")) == ["nginx/access.log", "nginx/error.log", "syslog"]
    assert served(tmp_path, include=("nginx/*",), exclude=("error.*",)) == ["nginx/access.log"]
    assert served(tmp_path, exclude=("app/**", "syslog")) == ["nginx/access.log", "nginx/error.log"]
    assert served(tmp_path, exclude=("app/*",)) == ["app/x/y.log", "nginx/access.log", "nginx/error.log", "syslog"]
    with pytest.raises(PatternError):
        Served(("[z-a]",))


def test_a_name_that_became_absolute_is_what_globs_are_held_against(tmp_path: Path) -> None:
    make(tmp_path, "a/x.log", "b/x.log")
    roots = [tmp_path / "a", tmp_path / "b"]
    second = Served(exclude=(f"{tmp_path}/b/*",))
    assert [stream.path for stream in read_catalogue(roots, second).streams] == [f"{tmp_path}/a/x.log"]


def test_nothing_is_told_of_what_is_excluded(tmp_path: Path, without_privileges: Nobody) -> None:
    make(tmp_path, "root/private/x.log", "root/deep/private/x.log", "root/y.log", "secret/x.log")
    root = tmp_path / "root"
    (root / "link.log").symlink_to(tmp_path / "secret/x.log")
    (root / "linked").symlink_to(tmp_path / "secret")
    for private in (root / "private", root / "deep/private"):
        private.chmod(0o700 if os.geteuid() == 0 else 0)
    with without_privileges(root):
        told = read_catalogue([root], Served(include=("z.log",)))
        found = read_catalogue([root], Served(exclude=("private/**", "link*", "y.log")))
    for private in (root / "private", root / "deep/private"):
        private.chmod(0o700)
    assert (found.streams, found.outside, found.gaps) == ((), (), ())
    # What is in there cannot be known: it may be included.
    assert [stream.name for stream in told.streams] == ["deep/private/", "private/"]
    assert [link.name for link in told.outside] == ["link.log", "linked"]


def test_excluded_trees_are_not_walked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, *(f"a/b/{number}.log" for number in range(20)), "c/x.log")
    monkeypatch.setattr(walk, "ENTRIES_MAX", 5)
    found = read_catalogue([tmp_path], Served(exclude=("a/**",)))
    assert [stream.name for stream in found.streams] == ["c/x.log"]
    assert not found.gaps
