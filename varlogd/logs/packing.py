"""Undoing compression: gz, xz, zst and bz2, in pieces of bounded size and bounded memory.

What logrotate and people make is read as their programs read it: several members or frames in one file, one behind
the other, and padding behind the last. What is damaged is told by `PackingError`, after all that could be unpacked
has been given. **A bomb** costs what it unpacks to, a piece at a time: who asks for pieces decides when it is enough.

gz goes through ISA-L where there is a wheel of it (three times faster), else through zlib; zst through what is in
the standard library from Python 3.14 on, and its backport before. Nothing is imported until it is needed.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Generator, Iterator
from functools import cache
from typing import IO, Final, NamedTuple, Protocol, cast

from varlogd.wire.limits import KIB, MIB

PIECE_BYTES: Final = 256 * KIB
"""What is unpacked at once at most, and so between two looks for a cancellation: in 10 ms even by bz2."""

INPUT_BYTES: Final = 64 * KIB
"""What is read at once. A file may consist of the smallest members there are: the rest is copied after each."""

WINDOW_MAX_BYTES: Final = 64 * MIB
"""How far back a compressed text may refer, all of which is held in memory. ``xz -9`` refers so far; ``xz`` and
``zstd`` by themselves 8 MiB and 2 MiB. Only ``zstd --ultra -22`` and ``--long`` go further."""

XZ_BESIDE_BYTES: Final = 8 * MIB
"""What liblzma needs beside the window: some hundred KiB."""

MAGIC_MAX_BYTES: Final = 6
"""By so many bytes a member is known."""


class PackingError(Exception):
    """What stands in a compressed file cannot be unpacked further; the message says why."""


class _Decompressor(Protocol):
    """What bz2, lzma, zstd and ISA-L have in common. See `bz2.BZ2Decompressor`."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...  # false: there is more of what has been given
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Zlib:
    """zlib as the others are."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=31)  # 31: of gzip
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        piece = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        self.needs_input = not self._zlib.unconsumed_tail and len(piece) < max_length
        return piece


class _Kind(NamedTuple):
    """How a member begins, what undoes it, and what that raises if it is damaged."""

    magics: tuple[bytes, ...]
    new: Callable[[], _Decompressor]
    errors: tuple[type[Exception], ...]


def _gz() -> _Kind:
    magics = (b"\x1f\x8b",)
    try:
        from isal import igzip_lib
    except ImportError:  # no wheel for this machine
        return _Kind(magics, _Zlib, (zlib.error,))
    return _Kind(
        magics,
        lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP),
        (cast("type[Exception]", igzip_lib.IsalError), MemoryError),
    )


def _bz2() -> _Kind:
    from bz2 import BZ2Decompressor

    return _Kind((b"BZh",), BZ2Decompressor, (OSError, ValueError, MemoryError))


def _xz() -> _Kind:
    import lzma

    memory = WINDOW_MAX_BYTES + XZ_BESIDE_BYTES
    return _Kind(
        (b"\xfd7zXZ\0",), lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memory), (lzma.LZMAError, MemoryError)
    )


def _zst() -> _Kind:
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError as error:
        raise PackingError("zst is not supported by the Python that runs here: unpack it") from error
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: WINDOW_MAX_BYTES.bit_length() - 1}
    skipped = tuple(bytes([0x50 + number]) + b"\x2a\x4d\x18" for number in range(16))  # frames without text
    return _Kind(
        (b"\x28\xb5\x2f\xfd", *skipped),
        lambda: zstd.ZstdDecompressor(options=options),
        (zstd.ZstdError, MemoryError),
    )


_KINDS: Final[dict[str, Callable[[], _Kind]]] = {
    "gz": cache(_gz),
    "bz2": cache(_bz2),
    "xz": cache(_xz),
    "zst": cache(_zst),
}


def unpacked(packing: str, packed: IO[bytes], piece_bytes: int = PIECE_BYTES) -> Iterator[bytes]:
    """The text of a compressed file (gz, bz2, xz, zst) that is open at its beginning, in pieces, some of them empty.

    Raises PackingError where it cannot be unpacked further, or not read.
    """
    kind = _KINDS[packing]()
    rest = _read(packed)
    if rest and not rest.startswith(kind.magics):
        raise PackingError(f"not {packing} data")
    while rest:
        rest = yield from _member(kind, rest, packed, piece_bytes)
        rest = yield from _past_padding(rest, packed)
        if len(rest) < MAGIC_MAX_BYTES:
            rest += _read(packed)
        if rest and not rest.startswith(kind.magics):
            raise PackingError("followed by something else")


def _read(packed: IO[bytes]) -> bytes:
    try:
        return packed.read(INPUT_BYTES)
    except OSError as error:
        raise PackingError(error.strerror or str(error)) from error


def _member(kind: _Kind, data: bytes, packed: IO[bytes], piece_bytes: int) -> Generator[bytes, None, bytes]:
    """The text of the member that begins with ``data``; returns what has been read of what follows it."""
    decompressor = kind.new()
    while True:
        try:
            piece = decompressor.decompress(data, piece_bytes)
        except kind.errors as error:
            raise PackingError(str(error) or "out of memory") from error
        yield piece
        if decompressor.eof:
            return decompressor.unused_data
        data = _read(packed) if decompressor.needs_input else b""
        if decompressor.needs_input and not data:
            raise PackingError("ends in the middle")


def _past_padding(rest: bytes, packed: IO[bytes]) -> Generator[bytes, None, bytes]:
    """What follows the NULs with which ``rest`` may begin."""
    while not (rest := rest.lstrip(b"\0")):
        rest = _read(packed)
        if not rest:
            break
        yield b""
    return rest
