"""Files that cannot be read, are damaged, or change while they are read: nothing is lost without a word."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.logs.hosts import NEWEST, OLDEST, at_ns, first_block, line, logs_of, scanned
from varlogd.logs.files import SPOOL_MAX_BYTES
from varlogd.query.block import Row, row_count, rows_of
from varlogd.wire.query import Matcher, Query

Nobody = Callable[[Path], AbstractContextManager[None]]

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

pytestmark = pytest.mark.usefixtures("nothing_left_open")


def test_what_may_not_be_read_makes_the_answer_partial(tmp_path: Path, without_privileges: Nobody) -> None:
    for name in ("open.log", "secret/audit.log", "error.log"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(line(1))
    (tmp_path / "error.log").chmod(0o600 if os.geteuid() == 0 else 0)
    (tmp_path / "secret").chmod(0o700 if os.geteuid() == 0 else 0)
    with without_privileges(tmp_path):
        rows, scan = scanned(tmp_path)
        assert [row.stream for row in rows] == ["open.log"]
        assert scan.truncated == "secret/: permission denied (and 1 more)"
        assert sorted(scan.notes) == ["error.log: permission denied", "secret/: permission denied"]
        _, scan = scanned(tmp_path, Query(matchers=(Matcher("stream", "=", "open.log"),)))
        assert (scan.truncated, scan.notes) == ("", ["secret/: permission denied"])  # it may hold one of that name
        _, scan = scanned(tmp_path, Query(matchers=(Matcher("stream", "=", "error.log"),)))
        assert scan.truncated == "error.log: permission denied"
        infos = {info.stream: info for info in logs_of(tmp_path).files(Query(), lambda: None).streams}
    (tmp_path / "secret").chmod(0o700)
    assert infos["error.log"].note == "error.log: permission denied"
    assert infos["secret/"].note == "permission denied"
    assert infos["open.log"].note == ""


def test_a_root_that_cannot_be_read_makes_every_answer_partial(tmp_path: Path) -> None:
    _, scan = scanned(tmp_path / "none", Query(matchers=(Matcher("stream", "=", "syslog"),)))
    assert scan.truncated == f"{tmp_path}/none: no such file"
    assert logs_of(tmp_path / "none").files(Query(), lambda: None).missing == scan.truncated


def test_damaged_compressed_files_make_the_answer_partial(tmp_path: Path) -> None:
    data = "".join(line(number) for number in range(20_000)).encode()
    (tmp_path / "x.log.1.gz").write_bytes(gzip.compress(data)[:-3000])
    (tmp_path / "x.log").write_text(line(30_000))
    rows, scan = scanned(tmp_path)
    assert 10_000 < len(rows) < 20_001
    assert scan.truncated.startswith("x.log.1.gz: damaged after ")


def test_a_compressed_file_is_unpacked_only_when_it_is_reached(tmp_path: Path) -> None:
    (tmp_path / "x.log.1.gz").write_bytes(b"not even gzip")
    (tmp_path / "x.log").write_text("".join(line(number) for number in range(5000)))
    rows, scan = scanned(tmp_path, Query(limit=100))
    assert (len(rows), scan.truncated) == (100, "")


def test_chains_with_every_compression(tmp_path: Path) -> None:
    (tmp_path / "x.log.5.zst").write_bytes(zstd.compress(line(1, "a").encode()))
    (tmp_path / "x.log.4.xz").write_bytes(lzma.compress(line(2, "b").encode()))
    (tmp_path / "x.log.3.bz2").write_bytes(bz2.compress(line(3, "c").encode()))
    (tmp_path / "x.log.2.gz").write_bytes(gzip.compress(line(4, "d").encode()))
    (tmp_path / "x.log.1").write_text(line(5, "e"))
    (tmp_path / "x.log").write_text(line(6, "f"))
    rows, _ = scanned(tmp_path, OLDEST)
    assert texts(rows) == ["a", "b", "c", "d", "e", "f"]
    bases = [number * SPOOL_MAX_BYTES for number in range(5)]
    assert [row.position for row in rows] == [*bases, bases[-1] + len(line(5, "e"))]
    assert scanned(tmp_path)[0] == rows[::-1]


def test_binary_files_are_left_out_and_told(tmp_path: Path) -> None:
    (tmp_path / "core").write_bytes(b"\x7fELF\x02\x01\x01\x00" + bytes(2000))
    (tmp_path / "crashed.log").write_bytes(line(1).encode() + b"\0\0\0" + line(2).encode() + line(3).encode())
    rows, scan = scanned(tmp_path)
    assert {row.stream for row in rows} == {"crashed.log"}
    assert scan.notes == ["core: binary, not searched"]
    assert not scan.truncated


def test_a_link_out_of_the_roots_is_missing_where_it_is_asked_for_by_name(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere.log"
    root.mkdir()
    elsewhere.write_text(line(1))
    (root / "x.log").write_text(line(2))
    (root / "link.log").symlink_to(elsewhere)
    told = "link.log: a symbolic link out of the roots: not followed"
    named = (
        Matcher("stream", "=", "link.log"),
        Matcher("file", "=~", ".*link.log"),
        Matcher("stream", "=", "link.log/below"),
        Matcher("file", "=", f"{root}/link.log/below"),
    )
    for matcher in named:
        rows, scan = scanned(root, Query(matchers=(matcher,)))
        assert (rows, scan.truncated, scan.notes) == ([], told, [told])
    for matchers in ((), (Matcher("stream", "=", "x.log"),), (Matcher("stream", "!=", "y.log"),)):
        rows, scan = scanned(root, Query(matchers=matchers))
        assert (len(rows), scan.truncated, scan.notes) == (1, "", []), "only the listing tells of it"
    assert "link.log" in {info.stream for info in logs_of(root).files(Query(), lambda: None).streams}


def test_a_binary_file_of_no_known_kind_is_missing(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(bytes(range(256)) * 8)
    rows, scan = scanned(tmp_path)
    assert (rows, scan.truncated) == ([], "x.bin: binary, not searched")


def test_a_log_truncated_under_its_writer_is_searched_behind_the_hole(tmp_path: Path) -> None:
    """copytruncate, and a writer without O_APPEND: the file begins with as many NULs as it had bytes."""
    text = "".join(line(number, "e" * 50) for number in range(1, 20))
    (tmp_path / "x.log").write_bytes(bytes(100_000) + text.encode())
    for query in (NEWEST, OLDEST):
        rows, scan = scanned(tmp_path, query)
        assert len(rows) == 19
        assert not scan.truncated


def test_a_file_that_shrinks_while_it_is_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("".join(line(number, "." * 100) for number in range(40_000)))
    with logs_of(tmp_path).scan(Query(), lambda: None) as scan:
        first_block(scan)
        os.truncate(path, 0)
        rest = [block for block in scan if block is not None]
    assert sum(map(row_count, rest)) < 40_000
    assert scan.truncated == "x.log: became shorter while it was read"


def test_a_file_that_grows_is_read_to_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("".join(line(number, "." * 100) for number in range(10_000)))
    with logs_of(tmp_path).scan(OLDEST, lambda: None) as scan:
        found = len(first_block(scan))
        with path.open("a") as growing:
            growing.write(line(20_000) * 1000)
        found += sum(row_count(block) for block in scan if block is not None)
    assert found == 10_000
    assert not scan.truncated


def test_rotation_under_the_reader_loses_and_repeats_nothing(tmp_path: Path) -> None:
    for name, first in (("x.log.1", 0), ("x.log", 5000)):
        (tmp_path / name).write_text("".join(line(first + number, "." * 100) for number in range(5000)))
    with logs_of(tmp_path).scan(Query(), lambda: None) as scan:
        rows = first_block(scan)
        (tmp_path / "x.log.1").rename(tmp_path / "x.log.2")
        (tmp_path / "x.log").rename(tmp_path / "x.log.1")
        (tmp_path / "x.log").write_text(line(99_999, "new"))
        rows += [row for block in scan if block is not None for row in rows_of(block)]
    assert [row.time for row in rows] == [at_ns(number) for number in range(9999, -1, -1)]
    assert not scan.truncated


@pytest.mark.parametrize("query", [Query(), OLDEST], ids=["newest", "oldest"])
def test_a_file_copied_and_truncated_under_the_reader_is_read_on_in_the_copy(tmp_path: Path, query: Query) -> None:
    log = tmp_path / "x.log"
    log.write_text("".join(line(number, "." * 100) for number in range(10_000)))
    with logs_of(tmp_path).scan(query, lambda: None) as scan:
        rows = first_block(scan)
        shutil.copy(log, tmp_path / "x.log.1")
        log.write_text(line(99_999, "new"))
        rows += [row for block in scan if block is not None for row in rows_of(block)]
    assert sorted(row.time or 0 for row in rows) == [at_ns(number) for number in range(10_000)]
    assert not scan.truncated


def test_a_file_deleted_before_its_turn_is_told(tmp_path: Path) -> None:
    for name, first in (("x.log.1", 0), ("x.log", 5000)):
        (tmp_path / name).write_text("".join(line(first + number, "." * 100) for number in range(5000)))
    with logs_of(tmp_path).scan(Query(), lambda: None) as scan:
        rows = first_block(scan)
        (tmp_path / "x.log.1").unlink()
        rows += [row for block in scan if block is not None for row in rows_of(block)]
    assert len(rows) == 5000
    assert scan.truncated == "x.log.1: gone since it was listed"


def texts(rows: list[Row]) -> list[str]:
    return [row.line.decode().partition(" ")[2] for row in rows]
