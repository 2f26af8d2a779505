"""Which files of a chain are new, whatever rotation did to the names of the others."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.logs.hosts import make
from varlogd.logs.catalogue import LogFile
from varlogd.logs.following.followed import Followed
from varlogd.logs.following.known import LEFT_MAX, KnownFiles, is_copy_of_all
from varlogd.logs.walk import read_catalogue

pytestmark = pytest.mark.usefixtures("nothing_left_open")


def chain(root: Path) -> tuple[LogFile, ...]:
    (stream,) = read_catalogue([root]).streams
    return stream.files


def names(files: tuple[LogFile, ...]) -> list[str]:
    return [Path(file.path).name for file in files]


def known_in(root: Path) -> KnownFiles:
    known = KnownFiles()
    known.see(chain(root))
    return known


@contextmanager
def followed(file: LogFile) -> Iterator[Followed]:
    """A file that has been read to its end."""
    one = Followed(file, 0)
    try:
        one.start_at(file.size_bytes)
        one.identity()
        yield one
    finally:
        one.close()


def test_renamed_files_are_known_and_what_is_before_them_is_new(tmp_path: Path) -> None:
    make(tmp_path, "x.log", "x.log.1")
    known = known_in(tmp_path)
    (tmp_path / "x.log.1").rename(tmp_path / "x.log.3")
    (tmp_path / "x.log").rename(tmp_path / "x.log.2")
    make(tmp_path, "x.log")
    (tmp_path / "x.log.1").write_text("between two looks\n")
    assert names(known.unknown(chain(tmp_path), ())) == ["x.log", "x.log.1"]


def test_a_file_that_was_written_to_is_known_by_its_text(tmp_path: Path) -> None:
    make(tmp_path, "x.log")
    known = known_in(tmp_path)
    (tmp_path / "x.log").rename(tmp_path / "x.log.1")
    with (tmp_path / "x.log.1").open("a") as file:
        file.write("more\n")
    assert known.unknown(chain(tmp_path), ()) == ()
    (tmp_path / "x.log.1").write_text("another text on the same inode\n")
    assert names(known.unknown(chain(tmp_path), ())) == ["x.log.1"]


def test_what_has_the_name_of_the_stream_is_new_whatever_it_begins_with(tmp_path: Path) -> None:
    make(tmp_path, "x.log")
    known = known_in(tmp_path)
    assert names(known.unknown(chain(tmp_path), ())) == ["x.log"]


def test_a_compressed_copy_is_known_by_its_text(tmp_path: Path) -> None:
    make(tmp_path, "x.log", "x.log.1")
    known = known_in(tmp_path)
    (tmp_path / "x.log.2.gz").write_bytes(gzip.compress((tmp_path / "x.log.1").read_bytes()))
    (tmp_path / "x.log.1").unlink()
    (tmp_path / "x.log").rename(tmp_path / "x.log.1")
    assert known.unknown(chain(tmp_path), ()) == ()
    (tmp_path / "x.log.1").unlink()
    (tmp_path / "x.log.1.gz").write_bytes(gzip.compress(b"another text\n"))
    assert names(known.unknown(chain(tmp_path), ())) == ["x.log.1.gz"]


def test_what_was_read_to_its_end_is_known_by_its_text_for_some_rotations(tmp_path: Path) -> None:
    known = KnownFiles()
    for number in range(LEFT_MAX + 1):
        (tmp_path / "x.log").write_text(f"text {number}\n")
        with followed(chain(tmp_path)[0]) as file:
            known.remember_text(file)
    (tmp_path / "x.log").unlink()
    copied = {}
    for number in range(LEFT_MAX + 1):
        (tmp_path / "x.log.1.gz").write_bytes(gzip.compress(f"text {number}\n".encode()))
        copied[number] = known.has_copied(chain(tmp_path)[0], ())
    assert copied == {0: False, **dict.fromkeys(range(1, LEFT_MAX + 1), True)}


def test_what_grew_since_is_told_with_its_size_before(tmp_path: Path) -> None:
    make(tmp_path, "x.log", "x.log.1")
    known = known_in(tmp_path)
    before = (tmp_path / "x.log.1").stat().st_size
    with (tmp_path / "x.log.1").open("a") as late:
        late.write("written late\n")
    with followed(chain(tmp_path)[0]) as current:
        known.forget(current)
        grown = known.see_again(chain(tmp_path), (current,))
        assert [(Path(file.path).name, size) for file, size in grown] == [("x.log.1", before)]
        assert known.see_again(chain(tmp_path), (current,)) == []


def test_a_file_that_is_let_go_is_known_as_it_was_left(tmp_path: Path) -> None:
    make(tmp_path, "x.log.1")
    known = KnownFiles()
    (listed,) = chain(tmp_path)
    with followed(listed) as file:
        assert known.unknown((listed,), (file,)) == ()
        file.look()
        known.remember(file)
    assert known.unknown((listed,), ()) == ()
    assert set(known.identities) == {listed.which}


def test_a_copy_of_all_has_no_more_text_than_its_original(tmp_path: Path) -> None:
    make(tmp_path, "x.log")
    (tmp_path / "x.log.1").write_bytes((tmp_path / "x.log").read_bytes())
    newest, copy = chain(tmp_path)
    with followed(newest) as current:
        assert is_copy_of_all(copy, current)
        with (tmp_path / "x.log.1").open("a") as file:
            file.write("what the original does not have\n")
        assert not is_copy_of_all(chain(tmp_path)[1], current)
