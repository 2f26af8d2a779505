"""What is opened is what was listed, and nothing else ever."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.logs.hosts import make
from varlogd.errors import LogReadError
from varlogd.logs.catalogue import LogFile
from varlogd.logs.opening import _directory, chain_of, compressed_since, open_listed

Nobody = Callable[[Path], AbstractContextManager[None]]

pytestmark = pytest.mark.usefixtures("nothing_left_open")


def listed(path: Path) -> LogFile:
    status = path.stat()
    return LogFile(str(path), status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino)


def test_opening_finds_a_file_that_was_renamed_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("old\n")
    file = listed(path)
    path.rename(tmp_path / "x.log.1")
    path.write_text("new\n")
    descriptor = open_listed(file)
    assert os.read(descriptor, 10) == b"old\n"
    os.close(descriptor)


def test_opening_anything_else_is_refused(tmp_path: Path) -> None:
    path, secret = tmp_path / "x.log", tmp_path / "secret"
    path.write_text("x\n")
    secret.write_text("secret\n")
    file = listed(path)
    path.unlink()
    with pytest.raises(LogReadError, match="gone"):
        open_listed(file)
    path.symlink_to(secret)
    with pytest.raises(LogReadError, match="gone"):
        open_listed(file)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(LogReadError, match="gone"):
        open_listed(file)
    path.unlink()
    path.mkdir()
    with pytest.raises(LogReadError, match="gone"):
        open_listed(file)


def test_a_directory_swapped_for_a_link_opens_nothing_outside(tmp_path: Path) -> None:
    make(tmp_path, "root/dir/x.log", "outside/x.log")
    file = listed(tmp_path / "root/dir/x.log")
    (tmp_path / "root/dir").rename(tmp_path / "root/moved")
    (tmp_path / "root/dir").symlink_to(tmp_path / "outside")
    with pytest.raises(LogReadError, match="gone"):
        open_listed(file)


@pytest.mark.parametrize("swapped", ["root/dir", "root"], ids=["the directory", "one above it"])
def test_in_a_directory_swapped_for_a_link_nothing_is_looked_for(tmp_path: Path, swapped: str) -> None:
    """Also not what it might have become by compression, nor a copy."""
    make(tmp_path, "root/dir/x.log", "outside/x.log.1", "outside/x.log.1.gz", "outside/dir/x.log.1.gz")
    file = listed(tmp_path / "root/dir/x.log")
    for packed in tmp_path.glob("outside/**/*.gz"):
        os.utime(packed, ns=(file.mtime_ns, file.mtime_ns))
    (tmp_path / swapped).rename(tmp_path / "moved")
    (tmp_path / swapped).symlink_to(tmp_path / "outside")
    assert (chain_of(file), compressed_since(file)) == ([], None)
    (tmp_path / swapped).unlink()
    (tmp_path / "outside").rename(tmp_path / swapped)  # a directory that is there itself is inside the roots
    found = compressed_since(file)
    assert found is not None
    assert found.path == str(tmp_path / "root/dir/x.log.1.gz")
    os.close(open_listed(found))


def test_directories_are_found_from_the_top_of_the_file_system_on() -> None:
    """A root ``/`` gives paths that begin with two slashes."""
    with _directory("//etc") as descriptor:
        assert os.path.samestat(os.fstat(descriptor), Path("/etc").lstat())
    with _directory("") as descriptor:
        assert os.path.samestat(os.fstat(descriptor), Path("/").stat())


def test_opening_what_may_not_be_read_says_so(tmp_path: Path, without_privileges: Nobody) -> None:
    path = tmp_path / "x.log"
    path.write_text("x\n")
    path.chmod(0o600 if os.geteuid() == 0 else 0)
    file = listed(path)
    with without_privileges(tmp_path), pytest.raises(LogReadError, match="permission denied"):
        open_listed(file)


def test_opening_takes_no_other_file_that_got_the_inode(tmp_path: Path) -> None:
    path = tmp_path / "x.log.1"
    path.write_text("a long line\n")
    file = listed(path)
    path.rename(tmp_path / "x.log.2.gz")
    with pytest.raises(LogReadError, match="gone"):
        open_listed(file)
    (tmp_path / "x.log.2.gz").rename(tmp_path / "y.log")
    with pytest.raises(LogReadError, match="gone"):
        open_listed(file)
    (tmp_path / "y.log").rename(tmp_path / "x.log")  # no rotation makes it newer
    with pytest.raises(LogReadError, match="gone"):
        open_listed(file)
    (tmp_path / "x.log").rename(tmp_path / "x.log.2")
    os.close(open_listed(file))
    os.truncate(tmp_path / "x.log.2", 3)
    with pytest.raises(LogReadError, match="gone"):
        open_listed(file)
