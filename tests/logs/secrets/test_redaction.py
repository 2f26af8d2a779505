"""What is secret is masked, byte for byte, whatever the chunks; what is not is let be."""

from __future__ import annotations

import random
from base64 import b64encode
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varlogd.errors import PatternError
from varlogd.logs.account import Account
from varlogd.logs.reader import Chunk
from varlogd.logs.secrets import redaction
from varlogd.logs.secrets.key_blocks import BLOCK_MAX_BYTES
from varlogd.logs.secrets.redaction import Redactor
from varlogd.query.vectors import VectorsError

BUILTIN = Redactor({}, builtin=True)
AWS_ID, AWS_KEY = b"AKIAIOSFODNN7EXAMPLE", b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
JWT = b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJSMeKKF2QT4fwpMeJf36POk6"

# Each secret in «…».
MASKED = [
    "Authorization: Bearer «mF_9.B5f-4.1JqM»",
    "authorization: Basic «dXNlcjpwYXNz»",
    'headers={"Authorization": "Bearer «abc»", "Accept": "*/*"}',
    r"{\"authorization\":\"Token «deadbeef»\"}",
    "'Authorization': ['Negotiate «YIIJvwYG»']",
    "Proxy-Authorization: Basic «dXNlcjpwYXNz»",
    "Authorization: «0123456789abcdef0123»",
    "with bearer «mF_9.B5f-4.1JqMxyz» to x",
    "GET /x?access_token=«mF_9.B5f-4.1JqMxyz»&y=1",
    '{"refresh_token": "«8xLOxBtZp8xLOxBtZp8»"}',
    f"cookie «{JWT.decode()}»;",
    f"id «{AWS_ID.decode()}» denied",
    f"AWS_SECRET_ACCESS_KEY=«{AWS_KEY.decode()}»",
    f'"SecretAccessKey" : "«{AWS_KEY.decode()}»",',
    f"<SecretAccessKey>«{AWS_KEY.decode()}»</SecretAccessKey>",
    f"aws.secretKey = «{AWS_KEY.decode()}»",
    f"«{AWS_ID.decode()}»,«{AWS_KEY.decode()}»",
    f"aws_session_token=«{'FwoGZXIvYXdzEBYaD' * 5}»",
    f"GET /b?X-Amz-Expires=9&X-Amz-Signature=«{'0a' * 32}» HTTP/1.1",
    "postgres://bob:«s3cr3t»@db:5432/x",
    "redis://:«p@ss»@cache",
    "url=https://u:«pa/ss?w#rd»@host/path",
    "mongodb://u:«pw»@h1:27017,h2:27017/db",
    "jdbc:postgresql://host/db?user=a&password=«hunter2»&ssl=true",
    r'{"key":"-----BEGIN RSA PRIVATE KEY-----\n«MIIEowIBAAKCAQEA\nabc=\n»-----END RSA PRIVATE KEY-----\n"}',
    f"key: LS0tLS1CRUdJTiBQUklWQVRFIEtF«{b64encode(b'-----BEGIN PRIVATE KEY-----xyzabc')[28:].decode()}»",
]


@pytest.mark.parametrize("line", MASKED)
def test_secrets_are_masked_and_nothing_else(line: str) -> None:
    text, expected = line.translate({ord("«"): None, ord("»"): None}), ""
    for part in line.split("«"):
        secret, is_marked, rest = part.partition("»")
        expected += "*" * len(secret) + rest if is_marked else part
    assert BUILTIN.mask(text.encode() + b"\n") == (expected.encode() + b"\n", line.count("«"))


@pytest.fixture
def without_vectors(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(_: Sequence[str]) -> None:
        raise VectorsError("none here")

    monkeypatch.setattr(redaction, "PresentVectors", refuse)
    redaction._builtin_gate.cache_clear()
    yield
    redaction._builtin_gate.cache_clear()


@pytest.mark.usefixtures("without_vectors")
def test_the_same_is_masked_where_there_is_no_vectorised_engine() -> None:
    text = "\n".join([*MASKED, *NO_SECRETS, ""]).translate({ord("«"): None, ord("»"): None}).encode()
    text += 70_000 * b"x" + b"\n"
    masked, count = Redactor({}, builtin=True).mask(text)
    assert {type(gate) for gate in redaction._builtin_gate()._for_long} == {redaction._Re2Gate}
    redaction._builtin_gate.cache_clear()
    assert (masked, count) == BUILTIN.mask(text)
    assert count == "".join(MASKED).count("«")


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.sampled_from([*"«»"] + [part for line in MASKED for part in line.replace("»", "«").split("«")])))
def test_no_rule_is_passed_over_that_matches(parts: list[str]) -> None:
    pytest.importorskip("hyperscan", reason="this platform has no hyperscan")
    text = "\n".join(["".join(parts), " ".join(parts)]).replace("«", "\n").replace("»", " ").encode() + b"\n"
    (gate,) = redaction._builtin_gate()._for_long
    assert isinstance(gate, redaction._VectorGate)
    assert set(gate.present(text)) >= {rule for rule in gate._rules if rule.pattern.is_in(text)}


NO_SECRETS = [
    "commit 3f786850e387550fdab836ed7e6dc881de23001b",
    "aws_deploy_key=3f786850e387550fdab836ed7e6dc881de23001b",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "Authorization: required",
    "authorization failed for user root",
    'WWW-Authenticate: Bearer realm="example"',
    "bearer authentication_required by policy",
    "http://host:8080/npm/@scope/pkg",
    "see https://example.com/a:b and mail me@example.com",
    "-----BEGIN CERTIFICATE-----",
    "expected -----BEGIN PRIVATE KEY----- and found nothing",
    "png iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4//8/w38GIAXDIBKE0DHxgljNBAAO9TXL0Y4=",
    "password=********",
    "https://u:***@host",
    "the token expired",
]


@pytest.mark.parametrize("line", NO_SECRETS)
def test_what_is_no_secret_stays_the_same_object(line: str) -> None:
    text = line.encode() + b"\nand more\n"
    masked, count = BUILTIN.mask(text)
    assert masked is text
    assert count == 0


def test_own_rules_mask_their_groups_or_all_that_they_match() -> None:
    redactor = Redactor({"card": r"\d{4}-(\d{4})", "pin": r"pin \d+"}, builtin=False)
    assert redactor.mask(b"1234-5678 pin 99\nAuthorization: Bearer abc\n") == (
        b"1234-**** ******\nAuthorization: Bearer abc\n",
        2,
    )
    assert Redactor({}, builtin=False).mask(b"Authorization: Bearer abc\n")[1] == 0
    with pytest.raises(PatternError):
        Redactor({"bad": "("}, builtin=True)


Key = tuple[list[bytes], list[bytes]]
"""The lines of a key, and what is secret in them."""


def key(
    rng: random.Random, *, kind: bytes = b"RSA ", width: int = 64, prefix: bytes = b"", headers: bool = False
) -> Key:
    body = b64encode(rng.randbytes(rng.randrange(60, 1800)))
    words = [body[at : at + width] for at in range(0, len(body), width)]
    lines = [b"-----BEGIN " + kind + b"PRIVATE KEY-----", *words, b"-----END " + kind + b"PRIVATE KEY-----"]
    if headers:
        lines[1:1] = [b"Proc-Type: 4,ENCRYPTED", b"DEK-Info: DES-EDE3-CBC,9D5B", b""]
    return [prefix + line for line in lines], words


PLAIN = [
    b"2026-11-22 12:00:00 all is well",
    b"",
    b"Authorization: required",
    b"done",
    b"sum 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    b"-----BEGIN PRIVATE KEY-----",
    b"found no -----BEGIN PRIVATE KEY----- in it:",
    b"-----END PRIVATE KEY-----",
    b"aGVsbG8gd29ybGQgdGhpcyBpcyBubyBrZXkgYnV0IGxvbmcgYmFzZTY0IG9mIHNvbWUga2luZA==",
    b"password in https://u:sec3ret@host",
]


def chunked(text: bytes, cuts: Sequence[int], *, backwards: bool) -> list[Chunk | None]:
    """``text`` as chunks of so many lines each, the last number repeated, in the order of reading, with pauses."""
    lines = text.splitlines(keepends=True)
    if backwards:
        lines.reverse()
    chunks: list[Chunk | None] = []
    at = len(text) if backwards else 0
    while lines:
        count = cuts[min(len(chunks), len(cuts) - 1)]
        taken, lines = lines[:count], lines[count:]
        data = b"".join(reversed(taken) if backwards else taken)
        at = at - len(data) if backwards else at
        chunks += [Chunk(at, data)] if len(chunks) % 3 else [Chunk(at, data), None]
        at = at if backwards else at + len(data)
    return chunks


def redacted(text: bytes, cuts: Sequence[int], *, backwards: bool) -> tuple[bytes, int]:
    """What comes out of ``text`` cut into chunks, and the count."""
    account = Account(lambda: None)
    steps = chunked(text, cuts, backwards=backwards)
    given = [chunk for chunk in BUILTIN.redacted(iter(steps), account, backwards=backwards) if chunk]
    given.sort(key=lambda chunk: chunk.start)
    out = b""
    for chunk in given:
        assert chunk.start == len(out)
        assert chunk.data.endswith(b"\n")
        out += chunk.data
    return out, account.redacted


@st.composite
def texts(draw: st.DrawFn) -> tuple[bytes, list[Key]]:
    rng = random.Random(draw(st.integers(0, 1000)))
    keys, lines = [], []
    for part in draw(st.lists(st.sampled_from([*range(len(PLAIN)), "key"]), max_size=12)):
        if part == "key":
            keys.append(
                key(
                    rng,
                    kind=rng.choice([b"", b"RSA ", b"OPENSSH ", b"ENCRYPTED "]),
                    width=rng.choice([64, 70, 76, 4000]),
                    prefix=rng.choice([b"", b"Nov 22 12:00:00 web1 app[7]: ", b'"']),
                    headers=rng.random() < 0.3,
                )
            )
            if rng.random() < 0.2 and len(keys[-1][1]) > 1:  # cut off within the body
                del keys[-1][0][-2:], keys[-1][1][-1]
            lines += keys[-1][0]
        else:
            assert isinstance(part, int)
            lines.append(PLAIN[part])
    return b"".join(line + b"\n" for line in lines), keys


@given(texts(), st.lists(st.integers(1, 30), min_size=1, max_size=5), st.booleans())
def test_no_secret_byte_survives_wherever_chunks_end(
    text_and_keys: tuple[bytes, list[Key]], cuts: list[int], backwards: bool
) -> None:
    text, keys = text_and_keys
    out, count = redacted(text, cuts, backwards=backwards)
    assert [len(line) for line in out.split(b"\n")] == [len(line) for line in text.split(b"\n")]
    for _, words in keys:
        assert not any(word in out for word in words if len(word) > 8)
    assert (out, count) == redacted(text, [10**9], backwards=backwards)
    assert out == BUILTIN._mask(text, (), from_edge=True, to_edge=True)[0]
    assert count >= len(keys)
    assert b"sec3ret" not in out


@given(st.integers(0, 1000), st.integers(0, 40), st.integers(0, 40), st.integers(1, 9), st.booleans())
def test_a_key_is_masked_though_reading_begins_or_ends_in_it(
    seed: int, skipped: int, left: int, lines: int, backwards: bool
) -> None:
    whole, words = key(random.Random(seed))
    part = whole[skipped : max(skipped + 1, len(whole) - left)]
    if not any(word in part for word in words[:-1]):  # of a last line alone nothing can be told
        part = whole
    text = b"".join(line + b"\n" for line in part)
    out, count = redacted(text, [lines], backwards=backwards)
    assert not any(word in out for word in words if len(word) > 8)
    assert count == 1


def test_base64_of_other_kinds_is_let_be() -> None:
    lines = [b64encode(random.Random(1).randbytes(48)) for _ in range(9)]
    text = b"-----BEGIN CERTIFICATE-----\n" + b"\n".join(lines) + b"\n-----END CERTIFICATE-----\n"
    for cuts in ([1], [4], [100]):
        assert redacted(text, cuts, backwards=True) == redacted(text, cuts, backwards=False) == (text, 0)


@pytest.mark.parametrize("backwards", [False, True])
def test_what_is_held_back_is_bounded(backwards: bool) -> None:
    """A log of nothing but base64 is no key, and does not pile up."""
    line = b64encode(random.Random(1).randbytes(48)) + b"\n"
    taken = given = 0

    def steps() -> Iterator[Chunk]:
        nonlocal taken
        for number in range(200):
            taken += 50 * len(line)
            yield Chunk((200 - number if backwards else number) * 50 * len(line), 50 * line)

    for chunk in BUILTIN.redacted(steps(), Account(lambda: None), backwards=backwards):
        given += len(chunk.data) if chunk else 0
        assert taken - given <= BLOCK_MAX_BYTES + 50 * len(line)
    assert given == taken


def test_lines_that_do_not_stand_in_the_text_as_they_are_keep_their_places() -> None:
    lines, words = key(random.Random(3))
    lines.insert(0, b"before")
    starts = [100 * number for number in range(len(lines))]
    data = b"".join(line + b"\n" for line in lines[:3])
    rest = b"".join(line + b"\n" for line in lines[3:])
    first = Chunk(0, data, False, starts[:3], [7, 8, 9], 300)
    second = Chunk(300, rest, False, starts[3:], [1] * (len(lines) - 3), 100 * len(lines) - 300)
    out = [
        chunk for chunk in BUILTIN.redacted(iter([first, second]), Account(lambda: None), backwards=False) if chunk
    ]
    assert [start for chunk in out for start in chunk.starts] == starts
    assert [(chunk.start, chunk.end) for chunk in out] == [(0, 100), (100, 300), (300, 100 * len(lines))]
    assert b"".join(chunk.data for chunk in out).count(b"\n") == len(lines)
    assert not any(word in chunk.data for chunk in out for word in words)
