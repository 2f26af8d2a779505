"""A file is known again wherever rotation put it, and nothing else is taken for it."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.logs.hosts import NEWEST, OLDEST, line, scanned
from varlogd.errors import QueryError
from varlogd.logs import identity as identity_module
from varlogd.logs.account import Account
from varlogd.logs.catalogue import LogFile, LogStream
from varlogd.logs.files import OpenFiles, Plain
from varlogd.logs.identity import HEAD_BYTES, MARK_AT_MAX_BYTES, FileIdentity, identity_of, resolve
from varlogd.logs.walk import read_catalogue
from varlogd.wire.limits import FILE_IDENTITY_MAX_CHARS

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

pytestmark = pytest.mark.usefixtures("nothing_left_open")

PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstd.compress,
}


def lines(first: int, count: int, text: str = "one of many lines") -> bytes:
    return b"".join(b"2026-01-01T00:00:%09d %s\n" % (number, text.encode()) for number in range(first, first + count))


def chain(root: Path) -> LogStream:
    (stream,) = read_catalogue([root]).streams
    return stream


def newest(root: Path) -> LogFile:
    return chain(root).files[0]


def identity(file: LogFile) -> FileIdentity:
    files = OpenFiles(Account(lambda: None))
    try:
        return identity_of(file, Plain(files, file))
    finally:
        files.close()


def found(which: FileIdentity, root: Path, offset: int = 0) -> str | None:
    file = resolve(which, offset, chain(root))
    return None if file is None else Path(file.path).name


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "x.log"
    path.write_bytes(lines(0, 100))
    return path


def test_a_file_that_grew_is_the_same(log: Path) -> None:
    log.write_bytes(lines(0, 1))
    small = identity(newest(log.parent))
    with log.open("ab") as file:
        file.write(lines(1, 100_000))
    assert found(small, log.parent) == "x.log"
    assert identity(newest(log.parent)) != small


@pytest.mark.parametrize("packing", PACK)
def test_it_is_followed_through_renames_and_compression(log: Path, packing: str) -> None:
    log.write_bytes(lines(0, 60_000))  # beyond the furthest mark
    was = identity(newest(log.parent))
    assert was.mark_at == MARK_AT_MAX_BYTES
    log.rename(log.with_name("x.log.1"))
    log.write_bytes(lines(60_000, 100))
    assert found(was, log.parent, 2_000_000) == "x.log.1"
    log.with_name("x.log.2." + packing).write_bytes(PACK[packing](log.with_name("x.log.1").read_bytes()))
    log.with_name("x.log.1").write_bytes(lines(61_000, 5))
    assert found(was, log.parent) == "x.log.2." + packing


def test_copytruncate_leaves_it_with_the_copy(log: Path) -> None:
    was = identity(newest(log.parent))
    shutil.copy(log, log.with_name("x.log.1"))
    assert found(was, log.parent) == "x.log"  # not truncated yet
    log.write_bytes(b"")
    assert found(was, log.parent) == "x.log.1"
    log.write_bytes(lines(100, 200))  # grown beyond what it was
    assert log.stat().st_ino == was.inode
    assert found(was, log.parent, 10) == "x.log.1"


def test_truncated_and_written_anew_it_is_gone(log: Path) -> None:
    was = identity(newest(log.parent))
    log.write_bytes(lines(7, 300))
    assert found(was, log.parent) is None


def test_the_same_beginning_is_told_apart_by_the_mark(log: Path) -> None:
    banner = b"starting up\n" * 200
    assert len(banner) > HEAD_BYTES
    log.write_bytes(banner + lines(0, 50))
    was = identity(newest(log.parent))
    log.write_bytes(banner + lines(50, 100))  # truncated and written anew
    assert found(was, log.parent) is None
    log.with_name("x.log.1.gz").write_bytes(gzip.compress(banner + lines(0, 70)))
    log.with_name("x.log.2.gz").write_bytes(gzip.compress(banner + lines(20, 70)))
    assert found(was, log.parent) == "x.log.1.gz"


def test_an_inode_used_again_is_another_file(log: Path) -> None:
    was = identity(newest(log.parent))
    again = FileIdentity(**{name: getattr(was, name) for name in FileIdentity.__slots__} | {"inode": was.inode + 1})
    log.with_name("x.log.1").write_bytes(lines(500, 100))
    log.with_name("x.log.2").write_bytes(log.read_bytes())
    log.write_bytes(lines(600, 100))
    assert found(was, log.parent) == "x.log.2"
    assert found(again, log.parent) == "x.log.2"


def test_a_file_shorter_than_the_offset_is_not_it(log: Path) -> None:
    was = identity(newest(log.parent))
    size = log.stat().st_size
    assert found(was, log.parent, size) == "x.log"
    assert found(was, log.parent, size + 1) is None


def test_of_files_that_are_the_same_the_inode_decides_or_nothing(log: Path) -> None:
    was = identity(newest(log.parent))
    shutil.copy(log, log.with_name("x.log.1"))
    shutil.copy(log, log.with_name("x.log.2"))
    assert found(was, log.parent) == "x.log"
    log.unlink()
    assert found(was, log.parent) is None


def test_an_empty_file_is_its_inode(log: Path) -> None:
    log.write_bytes(b"")
    was = identity(newest(log.parent))
    log.write_bytes(lines(0, 5))
    assert found(was, log.parent) == "x.log"
    log.with_name("x.log.1").write_bytes(lines(5, 5))
    log.unlink()
    assert found(was, log.parent) is None


def test_what_cannot_be_read_is_not_found(log: Path) -> None:
    was = identity(newest(log.parent))
    log.with_name("x.log.1.gz").write_bytes(gzip.compress(log.read_bytes())[:-200])
    log.write_bytes(b"")
    assert found(was, log.parent) is None
    log.with_name("x.log.1.gz").write_bytes(b"no gzip")
    assert found(was, log.parent) is None


def test_little_is_read_of_a_compressed_file(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    was = identity(newest(log.parent))
    log.write_bytes(b"")
    log.with_name("x.log.1.gz").write_bytes(gzip.compress(lines(5, 200_000)))
    asked = []

    def beginning(file: LogFile, size_bytes: int) -> bytes:
        asked.append(size_bytes)
        return gzip.decompress(Path(file.path).read_bytes())[:size_bytes]

    monkeypatch.setattr(identity_module, "beginning", beginning)
    identity_module._packed_head.cache_clear()
    assert found(was, log.parent) is None
    assert found(was, log.parent) is None
    assert asked == [HEAD_BYTES]


@settings(deadline=None)
@given(
    device=st.integers(0, (1 << 64) - 1),
    inode=st.integers(0, (1 << 64) - 1),
    head_bytes=st.integers(0, HEAD_BYTES),
    mark_at=st.integers(0, MARK_AT_MAX_BYTES),
)
def test_the_text_form_is_short_and_read_back(device: int, inode: int, head_bytes: int, mark_at: int) -> None:
    which = FileIdentity(device, inode, head_bytes, "0123456789abcdef01234567", mark_at, "89abcdef")
    assert FileIdentity.parse(str(which)) == which
    assert len(str(which)) <= FILE_IDENTITY_MAX_CHARS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "1-2-3",
        "1-2-401-0123456789abcdef01234567-0-89abcdef",  # hashes more than a head
        "1-2-3-0123456789abcdef01234567-100001-89abcdef",  # and a mark too far
        "1-2-3-0123456789abcdef01234567-0-89abcdef\n",
        "1-2-3-0123456789abcdef01234567-0-89abcdeg",
    ],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(QueryError, match="form"):
        FileIdentity.parse(text)


def test_a_copy_whose_original_is_not_truncated_yet_is_not_there_twice(tmp_path: Path) -> None:
    text = "".join(line(number, "." * 50) for number in range(3000))
    (tmp_path / "x.log").write_text(text + line(3000))
    (tmp_path / "x.log.2").write_text(line(-1))
    for copied in ("", text[:20_000], text):
        (tmp_path / "x.log.1").write_text(copied)
        for query in (NEWEST, OLDEST):
            assert len(scanned(tmp_path, query)[0]) == 3002
    (tmp_path / "x.log").write_text(line(3001))
    assert len(scanned(tmp_path)[0]) == 3002
