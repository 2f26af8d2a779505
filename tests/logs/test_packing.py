"""What the compression programs make is read as they read it, and what is wrong with it is told."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varlogd.logs import packing as packing_module
from varlogd.logs.packing import INPUT_BYTES, PIECE_BYTES, PackingError, unpacked
from varlogd.wire.limits import MIB

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1}),
}

COMMANDS = {
    "gz": [["gzip", "-1"], ["gzip", "-9"]],
    "bz2": [["bzip2"]],
    "xz": [["xz", "-0"], ["xz", "-9"], ["xz", "--block-size=65536"]],
    "zst": [["zstd"], ["zstd", "-19"], ["zstd", "--long=26"], ["zstd", "--no-check"]],
}


@pytest.fixture(params=["", "without ISA-L"])
def gz_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """gz through ISA-L, and through zlib where there is none."""
    if request.param:
        monkeypatch.setitem(sys.modules, "isal", None)
        monkeypatch.setitem(packing_module._KINDS, "gz", packing_module._gz)


def text_of(packing: str, data: bytes, piece_bytes: int = PIECE_BYTES) -> bytes:
    pieces = list(unpacked(packing, io.BytesIO(data), piece_bytes))
    assert all(len(piece) <= piece_bytes for piece in pieces)
    return b"".join(pieces)


def what_there_is(packing: str, data: bytes) -> tuple[bytes, str]:
    """The text, and why it is not all of it."""
    text = b""
    try:
        for piece in unpacked(packing, io.BytesIO(data)):
            text += piece
    except PackingError as error:
        return text, str(error)
    return text, ""


def some_text(size: int, seed: int = 1) -> bytes:
    """Compresses to about a half."""
    return random.Random(seed).randbytes(size // 2).hex().encode()


@cache
def packed_text(packing: str) -> tuple[bytes, bytes]:
    """Some text of many pieces, and the same packed: xz takes seconds for it."""
    content = some_text(2 * MIB)
    return content, PACK[packing](content)


@pytest.mark.parametrize(("packing", "command"), [(p, c) for p, commands in COMMANDS.items() for c in commands])
def test_what_the_programs_make(tmp_path: Path, packing: str, command: list[str]) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]} here")
    content = some_text(2 * MIB + 77)
    path = tmp_path / "x.log"
    path.write_bytes(content)
    subprocess.run([*command, "-q", "-k", str(path)], check=True, capture_output=True)
    packed = (tmp_path / f"x.log.{packing}").read_bytes()
    assert text_of(packing, packed) == content
    assert text_of(packing, packed + packed) == content * 2


@pytest.mark.usefixtures("gz_by")
@pytest.mark.parametrize("packing", PACK)
@settings(deadline=None)
@given(
    contents=st.lists(st.binary(max_size=300), max_size=5),
    padding=st.integers(0, 2),
    piece_bytes=st.integers(1, 64),
)
def test_members_behind_one_another(packing: str, contents: list[bytes], padding: int, piece_bytes: int) -> None:
    packed = bytes(4 * padding).join(map(PACK[packing], contents)) + bytes(8 * padding if contents else 0)
    assert text_of(packing, packed, piece_bytes) == b"".join(contents)


@pytest.mark.usefixtures("gz_by")
@pytest.mark.parametrize("packing", PACK)
def test_many_small_members_over_many_reads(packing: str) -> None:
    member = PACK[packing](b"one line\n")
    count = 2 * INPUT_BYTES // len(member) + 5
    assert text_of(packing, member * count) == b"one line\n" * count


@pytest.mark.usefixtures("gz_by")
@pytest.mark.parametrize("packing", PACK)
def test_a_bomb_is_given_in_pieces(packing: str) -> None:
    packed = PACK[packing](bytes(64 * MIB))
    pieces = unpacked(packing, io.BytesIO(packed))
    assert sum(len(next(pieces)) for _ in range(4)) <= 4 * PIECE_BYTES
    assert max(map(len, pieces)) <= PIECE_BYTES


@pytest.mark.usefixtures("gz_by")
@pytest.mark.parametrize("packing", PACK)
def test_damage_is_told_behind_what_there_is(packing: str) -> None:
    content, packed = packed_text(packing)
    text, why = what_there_is(packing, packed[: len(packed) // 2])
    assert why == "ends in the middle"
    assert len(text) > len(content) // 4
    assert content.startswith(text)
    at = len(packed) * 2 // 3
    text, why = what_there_is(packing, packed[:at] + b"\xff" * 64 + packed[at + 64 :])
    assert why
    assert len(text) < len(content) or text != content
    assert len(text) > len(content) // 4
    first = PACK[packing](b"first\n")
    assert what_there_is(packing, first + packed[: len(packed) // 2])[0].startswith(b"first\n")


@pytest.mark.usefixtures("gz_by")
@pytest.mark.parametrize("packing", PACK)
def test_what_stands_behind_is_told(packing: str) -> None:
    packed = PACK[packing](b"text\n")
    assert what_there_is(packing, packed + b"garbage") == (b"text\n", "followed by something else")
    assert what_there_is(packing, packed + bytes(10) + b"g") == (b"text\n", "followed by something else")
    assert what_there_is(packing, packed + bytes(3 * INPUT_BYTES)) == (b"text\n", "")


@pytest.mark.parametrize("packing", PACK)
def test_what_is_something_else_is_told(packing: str) -> None:
    assert what_there_is(packing, b"plain text\n") == (b"", f"not {packing} data")
    assert what_there_is(packing, PACK["xz" if packing == "gz" else "gz"](b"x")) == (b"", f"not {packing} data")
    assert what_there_is(packing, b"") == (b"", "")


def test_what_would_take_too_much_memory_is_refused() -> None:
    compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    text, why = what_there_is("zst", compressor.compress(some_text(1 * MIB)) + compressor.flush())
    assert text == b""
    assert "memory" in why
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 128 * MIB}]
    packed = lzma.compress(b"x" * 100, filters=filters)
    assert what_there_is("xz", packed) == (b"", "Memory usage limit exceeded")


def test_frames_without_text_are_skipped() -> None:
    skipped = b"\x5a\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"abcd"
    assert text_of("zst", skipped + zstd.compress(b"x") + skipped + zstd.compress(b"y") + skipped) == b"xy"


def test_where_there_is_no_zstd_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("compression.zstd", "backports.zstd"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delattr("backports.zstd" if sys.version_info < (3, 14) else "compression.zstd", raising=False)
    monkeypatch.setitem(packing_module._KINDS, "zst", packing_module._zst)
    text, why = what_there_is("zst", zstd.compress(b"x"))
    assert text == b""
    assert "not supported" in why
