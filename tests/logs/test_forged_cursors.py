"""Cursors that an asker made up: they choose where reading begins, and get nothing that other askers do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.logs.hosts import line
from varlogd.errors import QueryError
from varlogd.logs import identity
from varlogd.logs.account import Account
from varlogd.logs.files import OpenFiles, Plain
from varlogd.logs.identity import FileIdentity, identity_of
from varlogd.logs.scan import HostLogs
from varlogd.logs.secrets.redaction import Redactor
from varlogd.logs.walk import read_catalogue
from varlogd.query.block import rows_of
from varlogd.query.cursor import VERSION, Cursor, Mark, encode_cursor, question_digest
from varlogd.wire.query import Direction, Query

pytestmark = pytest.mark.usefixtures("nothing_left_open")

SECRETS = (b"S3cr3tHunter2", b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", b"abcdefghijklmnopqrstuvwxyz012345")


def log_with_secrets() -> bytes:
    texts = (
        "connect postgres://admin:S3cr3tHunter2@db1/shop",
        "aws_secret_access_key=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY set",
        "Authorization: Bearer abcdefghijklmnopqrstuvwxyz012345 sent",
    )
    return "".join(line(second, text) for second, text in enumerate(texts)).encode()


def file_of(root: Path) -> str:
    (stream,) = read_catalogue([root]).streams
    files = OpenFiles(Account(lambda: None))
    try:
        return str(identity_of(stream.files[0], Plain(files, stream.files[0])))
    finally:
        files.close()


def page(logs: HostLogs, cursor: Cursor, query: Query) -> bytes:
    with logs.scan(Query(direction=query.direction, cursor=encode_cursor(cursor)), lambda: None) as scan:
        return b"\n".join(row.line for block in scan if block is not None for row in rows_of(block))


@pytest.mark.parametrize("direction", ["newest_first", "oldest_first"])
def test_no_place_in_a_line_shows_what_is_masked_in_it(tmp_path: Path, direction: Direction) -> None:
    data = log_with_secrets()
    (tmp_path / "secret.log").write_bytes(data)
    file, query = file_of(tmp_path), Query(direction=direction)
    logs = HostLogs("web1", {}, [tmp_path], transforms=[Redactor({}, builtin=True).transform_of])
    digest, newest = question_digest(query), direction == "newest_first"
    for offset in range(len(data) + 1):
        for key in (1, 1 << 62):
            mark = Mark(key, "web1", "secret.log", file, offset)
            for cursor in (
                Cursor(VERSION, digest, newest, mark),
                Cursor(VERSION, digest, newest, None, streams={"web1": (mark,)}),
                Cursor(VERSION, digest, newest, mark, anchors={"web1": (mark,)}),
            ):
                shown = page(logs, cursor, query)
                assert not any(secret[:4] in shown or secret[-4:] in shown for secret in SECRETS), (offset, shown)


def test_a_guess_of_how_a_log_begins_is_not_confirmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An asker can hash what he guesses, but not with this host's key."""
    (tmp_path / "secret.log").write_bytes(log_with_secrets())
    ours = FileIdentity.parse(file_of(tmp_path))
    monkeypatch.setattr(identity, "secret_key", lambda: b"what an asker would have to know")
    guessed = FileIdentity.parse(file_of(tmp_path))
    assert (guessed.head_bytes, guessed.mark_at) == (ours.head_bytes, ours.mark_at)
    assert guessed.head != ours.head
    assert guessed.mark != ours.mark


def test_a_host_without_an_id_of_its_own_has_a_key_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "MACHINE_ID", tmp_path / "none")
    keys = {identity.secret_key.__wrapped__() for _ in range(2)}
    assert len(keys) == 2
    with pytest.raises(QueryError):
        FileIdentity.parse("guess")
