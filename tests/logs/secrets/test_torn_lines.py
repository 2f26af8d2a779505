"""Of a secret that a line without an end breaks off in, nothing is given."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from pathlib import Path

import pytest

from tests.logs.secrets.test_redaction import BUILTIN, MASKED, NO_SECRETS
from varlogd.logs.account import Account
from varlogd.logs.catalogue import LogFile
from varlogd.logs.containers.labels import Wrapping
from varlogd.logs.containers.unwrapping import unwrapping
from varlogd.logs.following.followed import Followed
from varlogd.logs.reader import BytesText, Chunk, Pace, Steps, backwards, forwards
from varlogd.logs.scan import HostLogs
from varlogd.query.block import rows_of
from varlogd.wire.limits import LINE_MAX_BYTES
from varlogd.wire.query import Direction, LineFilter, Query

KNOWN_LETTERS = ("eyJ", "AKIA")
"""What such a secret begins with is public, and with fewer letters any word may."""


def masked(steps: Steps, *, from_end: bool) -> tuple[bytes, int]:
    """All that comes out, in the order of the text, and the count."""
    account = Account(lambda: None)
    chunks = [chunk for chunk in BUILTIN.redacted(steps, account, backwards=from_end) if chunk]
    return b"".join(chunk.data for chunk in (chunks[::-1] if from_end else chunks)), account.redacted


def read(text: bytes, *, from_end: bool, chunk_bytes: int = 1 << 18) -> tuple[bytes, int]:
    way = backwards if from_end else forwards
    return masked(way(BytesText(text), Pace(chunk_bytes, chunk_bytes)), from_end=from_end)


def beginnings(line: str) -> Iterator[tuple[bytes, bytes, int]]:
    """For every length: the beginning of a line with «secrets», what it must look like, and how many are in it."""
    text, expected, count, inside = "", "", 0, ""
    for character in line:
        if character == "«":
            inside, count = "«", count + 1
            continue
        if character == "»":
            inside = ""
            continue
        if inside:
            inside += character
        text += character
        expected += "*" if inside else character
        if not any(known.startswith(inside[1:]) and inside[1:] != known for known in KNOWN_LETTERS if inside):
            yield text.encode(), expected.encode(), count


@pytest.mark.parametrize("from_end", [False, True])
@pytest.mark.parametrize("line", MASKED)
def test_wherever_a_file_ends_no_byte_of_its_secrets_is_given(line: str, from_end: bool) -> None:
    for text, expected, secrets in beginnings(line):
        out, count = read(b"before\n" + text, from_end=from_end)
        assert out.startswith(b"before\n")
        given = out.removeprefix(b"before\n")
        assert len(given) == len(text) + 1
        assert all(byte == ord("*") for byte, of in zip(given, expected, strict=False) if of == ord("*")), text
        assert count >= secrets


KEY = [
    b"-----BEGIN RSA PRIVATE KEY-----",
    b"MIIEowIBAAKCAQEA7bq0lU6yvPZ7Xo4Q2sT1mN8cVdKfGhJkLpRtYuIoAsDfGh12",
    b"q0WErtYuIoPaSdFgHjKlZxCvBnMq1w2E3r4T5y6U7i8O9p0AsDfGhJkLzXcVbN34",
    b"Zm9vYmFyYmF6",
    b"-----END RSA PRIVATE KEY-----",
]


@pytest.mark.parametrize("from_end", [False, True])
@pytest.mark.parametrize("chunk_bytes", [1, 70, 1 << 18])
@pytest.mark.parametrize("headers", [[], [b"Proc-Type: 4,ENCRYPTED", b""]])
def test_wherever_a_file_ends_no_line_of_its_key_is_given(
    headers: list[bytes], chunk_bytes: int, from_end: bool
) -> None:
    lines = [b"before", KEY[0], *headers, *KEY[1:]]
    whole = b"\n".join(lines)
    body_start, body_end = whole.index(KEY[1]), whole.index(b"\n-----END")
    for size in range(body_start + 1, len(whole) + 1):
        out, count = read(whole[:size], from_end=from_end, chunk_bytes=chunk_bytes)
        assert len(out) == size + (whole[size - 1 : size] != b"\n")
        assert not out[body_start : min(size, body_end)].strip(b"*\n"), out
        assert count == 1


@pytest.mark.parametrize("from_end", [False, True])
@pytest.mark.parametrize("line", ["at https://u:PartialPw1@host", "Authorization: Bearer abcdefghijklmnopq"])
def test_a_secret_across_the_cut_of_a_long_line_is_masked(line: str, from_end: bool) -> None:
    for given in range(line.rindex(":") + 2, len(line)):
        text = (LINE_MAX_BYTES - given) * b"." + b" " + line.encode() + 999 * b"x" + b"\nmore\n"
        out, _ = read(text, from_end=from_end)
        first = out.split(b"\n")[0]
        assert len(first) == LINE_MAX_BYTES
        for secret in (b"Pa", b"ab"):
            assert secret not in first


@pytest.mark.parametrize("line", [line.replace("*", "x") for line in MASKED[:3]] + NO_SECRETS)
def test_lines_that_have_their_end_are_judged_as_ever(line: str) -> None:
    text = line.translate({ord("«"): None, ord("»"): None}).encode() + b"\nand (more)\n"
    assert read(text, from_end=False) == BUILTIN.mask(text)


def test_a_torn_line_without_secrets_stays_the_same_object() -> None:
    chunk = Chunk(0, b"one\nsee http://host/path and mail\n", torn=True)
    assert list(BUILTIN.redacted(iter([chunk]), Account(lambda: None), backwards=False)) == [chunk]
    out = next(BUILTIN.redacted(iter([chunk]), Account(lambda: None), backwards=False))
    assert out is not None
    assert out.data is chunk.data


def test_the_rest_of_a_followed_file_is_torn(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(b"at https://u:PartialPw1")
    status = path.stat()
    listed = LogFile(str(path), status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino, "")
    file = Followed(listed, 0)
    file.descriptor()
    file.size_bytes = file.verify()
    rest = file.rest()
    file.close()
    assert rest is not None
    assert masked(iter([rest]), from_end=False) == (b"at https://u:**********\n", 1)


STAMP = b"2026-11-22T12:00:00.000000000Z"


@pytest.mark.parametrize("from_end", [False, True])
@pytest.mark.parametrize(
    ("wrapping", "text"),
    [
        ("cri", STAMP + b" stdout F at https://u:PartialPw1"),
        ("cri", STAMP + b" stdout P at https://u:PartialPw1\n" + STAMP + b" stderr F other\n"),
        ("docker", b'{"log":"at https://u:PartialPw1","stream":"stdout","time":"%s"}\n' % STAMP),
        ("docker", b'{"log":"at https://u:PartialPw1'),
    ],
)
def test_lines_of_containers_that_have_no_end_are_torn(wrapping: Wrapping, text: bytes, from_end: bool) -> None:
    way = backwards if from_end else forwards
    whole = b'{"log":"before\\n","stream":"stdout","time":"%s"}\n' % STAMP
    before = whole if wrapping == "docker" else STAMP + b" stdout F before\n"
    steps = unwrapping(wrapping, backwards=from_end)(way(BytesText(before + text), Pace()))
    out, count = masked(steps, from_end=from_end)
    assert b"at https://u:**********\n" in out
    assert b"before\n" in out
    assert count == 1


@pytest.mark.parametrize("direction", ["newest_first", "oldest_first"])
@pytest.mark.parametrize("cut", [False, True])
def test_no_filter_finds_what_a_line_has_of_a_secret_that_it_breaks_off_in(
    tmp_path: Path, cut: bool, direction: Direction
) -> None:
    begun = b"at https://u:PartialPw1"
    filling = LINE_MAX_BYTES * b"." if cut else b""
    text = filling[len(begun) :] + begun + (999 * b"x" + b"@host\n" if cut else b"")
    (tmp_path / "app.log").write_bytes(text)
    host = HostLogs("web1", {}, [tmp_path], zone=UTC, transforms=[BUILTIN.transform_of])

    def found(word: str) -> list[bytes]:
        query = Query(filters=(LineFilter("|=", (word,)),), direction=direction)
        with host.scan(query, lambda: None) as scan:
            return [row.line for block in scan if block is not None for row in rows_of(block)]

    assert found("PartialPw1") == found("Par") == []
    (line,) = found("https")
    assert line == text[:LINE_MAX_BYTES].replace(b"PartialPw1", b"**********")
