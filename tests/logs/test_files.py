"""Files under a scan: few descriptors, bounded disk space, and the truth about what could not be read."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from varlogd.errors import LogReadError
from varlogd.logs import files as files_module
from varlogd.logs.account import NOTES_MAX, Account
from varlogd.logs.catalogue import LogFile
from varlogd.logs.files import EXTENT_BYTES, OPEN_FILES_MAX, Opened, OpenFiles, Plain
from varlogd.logs.opening import compressed_since
from varlogd.logs.packing import PIECE_BYTES
from varlogd.logs.rotation import place_of

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

pytestmark = pytest.mark.usefixtures("nothing_left_open")

PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1}),
}


def listed(path: Path) -> LogFile:
    status = path.stat()
    packing = place_of(path.name).packing
    return LogFile(str(path), status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino, packing)


def opened(files: OpenFiles, path: Path) -> Opened:
    steps = files.open(listed(path))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            text: Opened = end.value
            return text


@pytest.fixture
def account() -> Account:
    return Account(lambda: None)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def some_text(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def test_plain_files_are_read_where_they_lie(tmp_path: Path, account: Account) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"0123456789")
    files = OpenFiles(account)
    text = opened(files, path)
    with path.open("ab") as growing:
        growing.write(b"more")
    assert text.size_bytes == 10
    assert text.read_at(3, 4) == b"3456"
    assert account.bytes_scanned == 4
    files.close()
    files.close()


def test_a_file_that_became_shorter_is_told(tmp_path: Path, account: Account) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"0123456789")
    files = OpenFiles(account)
    text = opened(files, path)
    os.truncate(path, 5)
    assert text.read_at(0, 5) == b"01234"
    with pytest.raises(LogReadError, match="shorter"):
        text.read_at(3, 4)
    files.close()


def test_few_descriptors_serve_many_files(tmp_path: Path, account: Account) -> None:
    files = OpenFiles(account)
    before = descriptors()
    texts = []
    for number in range(3 * OPEN_FILES_MAX):
        path = tmp_path / f"{number}.log"
        path.write_text(f"{number:05d}")
        texts.append(opened(files, path))
        path.rename(tmp_path / f"{number}.log.1")
    for number, text in enumerate(texts):
        assert text.read_at(0, 5) == b"%05d" % number
    assert descriptors() <= before + OPEN_FILES_MAX
    (tmp_path / "0.log.1").unlink()
    with pytest.raises(LogReadError, match="gone"):
        texts[0].read_at(0, 5)
    files.close()


@pytest.mark.parametrize("packing", PACK)
def test_compressed_files_are_unpacked_into_the_spool(tmp_path: Path, account: Account, packing: str) -> None:
    data = [some_text(EXTENT_BYTES * 2 + 5, seed) for seed in (1, 2)]
    files = OpenFiles(account, tmp_path)
    texts = []
    for number, content in enumerate(data):
        path = tmp_path / f"x.{number}.{packing}"
        half = len(content) // 2
        path.write_bytes(PACK[packing](content[:half]) + PACK[packing](content[half:]))  # two members in one file
        texts.append(opened(files, path))
    for text, content in zip(texts, data, strict=True):
        assert text.size_bytes == len(content)
        for offset, size in ((0, 10), (EXTENT_BYTES - 3, 6), (len(content) - 1, 1), (5, EXTENT_BYTES + 7)):
            assert text.read_at(offset, size) == content[offset : offset + size]
        assert text.note == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"x.0.{packing}", f"x.1.{packing}"]
    files.close()


def test_the_spool_is_used_again(tmp_path: Path, account: Account) -> None:
    files = OpenFiles(account, tmp_path)
    sizes = set()
    for number in range(5):
        path = tmp_path / f"x.{number}.gz"
        path.write_bytes(gzip.compress(some_text(EXTENT_BYTES + 1, number), 1))
        text = opened(files, path)
        sizes.add(os.fstat(files.spool()).st_size)
        text.close()
    assert max(sizes) <= 2 * EXTENT_BYTES
    files.close()


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_damage_is_told_and_what_there_is_is_read(
    tmp_path: Path, account: Account, packing: str, damage: str
) -> None:
    content = some_text(3 * PIECE_BYTES)
    packed = PACK[packing](content)
    at = len(packed) * 2 // 3
    spoiled = (
        packed[:at]
        if damage == "cut"
        else packed[:at] + bytes(byte ^ 0xFF for byte in packed[at : at + 64]) + packed[at + 64 :]
    )
    path = tmp_path / f"x.1.{packing}"
    path.write_bytes(spoiled)
    files = OpenFiles(account, tmp_path)
    text = opened(files, path)
    assert "damaged" in text.note
    if damage == "cut" and packing != "bz2":  # bzip2 gives whole blocks of 900 KiB
        assert text.size_bytes > PIECE_BYTES
        assert text.read_at(0, PIECE_BYTES) == content[:PIECE_BYTES]
    files.close()


def test_a_file_that_only_looks_compressed_is_told(tmp_path: Path, account: Account) -> None:
    for packing in PACK:
        path = tmp_path / f"x.{packing}"
        path.write_bytes(b"plain text\n")
        files = OpenFiles(account, tmp_path)
        text = opened(files, path)
        assert text.size_bytes == 0
        assert "damaged after 0 bytes" in text.note
        files.close()


def test_the_limit_of_the_spool_is_told(tmp_path: Path, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_module, "SPOOL_MAX_BYTES", 2 * EXTENT_BYTES)
    content = some_text(3 * EXTENT_BYTES)
    path = tmp_path / "x.1.gz"
    path.write_bytes(gzip.compress(content, 1))
    files = OpenFiles(account, tmp_path)
    text = opened(files, path)
    assert f"only {2 * EXTENT_BYTES} bytes" in text.note
    assert text.size_bytes == 2 * EXTENT_BYTES
    assert text.read_at(EXTENT_BYTES, 9) == content[EXTENT_BYTES : EXTENT_BYTES + 9]
    files.close()


def test_nowhere_to_unpack_is_told(tmp_path: Path, account: Account) -> None:
    path = tmp_path / "x.1.gz"
    path.write_bytes(gzip.compress(b"x"))
    files = OpenFiles(account, tmp_path / "none")
    with pytest.raises(LogReadError, match="nowhere to unpack"):
        opened(files, path)
    files.close()


def test_every_piece_of_work_asks_whether_to_go_on(tmp_path: Path) -> None:
    looks = 0

    def check() -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            raise InterruptedError

    path = tmp_path / "x.1.gz"
    path.write_bytes(gzip.compress(bytes(8 * PIECE_BYTES)))
    account = Account(check)
    files = OpenFiles(account, tmp_path)
    with pytest.raises(InterruptedError):
        opened(files, path)
    assert account.work_bytes <= 2 * PIECE_BYTES
    assert account.bytes_scanned == 0
    files.close()


def test_plain_is_closed_when_it_is_done(tmp_path: Path, account: Account) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"x")
    files = OpenFiles(account)
    text = Plain(files, listed(path))
    text.expect(0, 1)
    text.close()
    text.close()


def test_the_account_keeps_its_notes_short() -> None:
    account = Account(lambda: None)
    assert account.truncated == ""
    for number in range(NOTES_MAX + 5):
        account.note(f"{number}")
    assert len(account.notes) == NOTES_MAX + 1
    assert account.notes[-1] == "and 5 more notes"
    account.missing("a: gone")
    assert account.truncated == "a: gone"
    account.missing("b: gone")
    assert account.truncated == "a: gone (and 1 more)"


def test_a_file_that_was_compressed_since_it_was_listed_is_read(tmp_path: Path, account: Account) -> None:
    path = tmp_path / "x.log.1"
    path.write_bytes(b"some text\n")
    file = listed(path)
    other = tmp_path / "x.log.3.gz"
    other.write_bytes(gzip.compress(b"other\n"))
    files = OpenFiles(account, tmp_path)
    path.unlink()
    with pytest.raises(LogReadError, match="gone"):
        list(files.open(file))
    # As logrotate does with delaycompress: compressed, then moved on.
    packed = tmp_path / "x.log.2.gz"
    packed.write_bytes(gzip.compress(b"some text\n"))
    os.utime(packed, ns=(file.mtime_ns, file.mtime_ns))
    steps = files.open(file)
    with pytest.raises(StopIteration) as end:
        while True:
            next(steps)
    assert end.value.value.read_at(0, 10) == b"some text\n"
    files.close()


def test_a_file_truncated_since_it_was_listed_is_told(tmp_path: Path, account: Account) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(b"0123456789")
    file = listed(path)
    os.truncate(path, 3)
    files = OpenFiles(account)
    with pytest.raises(LogReadError, match="truncated"):
        Plain(files, file)
    files.close()


def test_a_file_that_was_written_to_and_compressed_since_it_was_listed_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(b"some text\n")
    file = listed(path)
    path.unlink()
    for name, seconds in (("x.log.3.gz", -5), ("x.log.2.gz", 2), ("x.log.1.gz", 9)):
        (tmp_path / name).write_bytes(gzip.compress(name.encode()))
        os.utime(tmp_path / name, ns=(file.mtime_ns, file.mtime_ns + seconds * 10**9))
    found = compressed_since(file)
    assert found is not None
    assert Path(found.path).name == "x.log.2.gz"
    rotated = replace(file, path=str(tmp_path / "x.log.1"))
    assert compressed_since(rotated) is None
