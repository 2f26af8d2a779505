"""Where a host's logs come from: files below its roots, and what else can give rows (a journal).

A *source* lists its streams, and for a question gives readers of those that it is for. `HostLogs` knows no more of
it: what a source has open, it puts on the scan's stack, which closes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import tzinfo
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from varlogd.logs.account import Account
from varlogd.logs.asked import FOUND_OUT, Asked
from varlogd.logs.catalogue import Catalogue, LogStream, Served
from varlogd.logs.containers.unwrapping import unwrapped_of
from varlogd.logs.files import OpenFiles
from varlogd.logs.identity import without_copy
from varlogd.logs.listing import stream_info
from varlogd.logs.merge import Reader
from varlogd.logs.reader import Transform
from varlogd.logs.stream import StreamRows
from varlogd.logs.times.written import WrittenFormats
from varlogd.logs.walk import read_catalogue
from varlogd.query.match import matches_stream
from varlogd.wire.limits import KIB, MIB
from varlogd.wire.query import Query, StreamInfo

HELD_MAX_BYTES: Final = 16 * MIB
"""Text that the chunks of all streams of one scan hold together: with many streams the chunks are smaller."""

CHUNK_MIN_BYTES: Final = 4 * KIB
"""But not smaller than this."""


class Listing(NamedTuple):
    """Streams of this host, and what may be missing among them, and why; empty if nothing is."""

    streams: list[StreamInfo]
    missing: str


class Readable(Protocol):
    """What gives the rows of a question."""

    def readers(self, asked: Asked, account: Account, closing: ExitStack) -> Sequence[Reader]:
        """Readers of the streams that ``asked.query``'s matchers choose; what cannot be read goes into ``account``.

        What is to be closed when the scan ends goes onto ``closing``; readers are closed before it.
        """


class LogSource(Readable, Protocol):
    """Some of this host's logs. The names of its streams are no other source's."""

    def listing(self, query: Query, check: Callable[[], None]) -> Listing:
        """The streams that ``query``'s matchers choose, also those that cannot be read: their note says why.

        Calls ``check`` at least once a stream, and raises what that raises.
        """


TransformOf = Callable[[LogStream, Asked, Account], Transform | None]
"""Makes what one stream's chunks go through under one question (`reader.Transform`), or None if it needs none."""


class FileSource:
    """The files under ``roots`` (directories or files). See `HostLogs` for the rest."""

    def __init__(
        self,
        host: str,
        tags: Mapping[str, str],
        roots: Sequence[Path],
        served: Served,
        zone: tzinfo,
        spool_dir: Path | None,
        transforms: Sequence[TransformOf] = (),
        written: WrittenFormats = FOUND_OUT,
    ) -> None:
        self._host = host
        self._tags = dict(tags)
        self._roots = tuple(roots)
        self._served = served
        self._zone = zone
        self.spool_dir = spool_dir
        self._written = written
        self._transforms = (unwrapped_of, *transforms)

    def listing(self, query: Query, check: Callable[[], None]) -> Listing:
        """See `LogSource`."""
        catalogue = self.catalogue(check)
        files = OpenFiles(Account(check), self.spool_dir)
        found = []
        try:
            for stream in (*catalogue.streams, *catalogue.outside):
                check()
                if self.is_asked_for(stream, query):
                    found.append(stream_info(self._host, stream, files, self._zone, self._written.of(stream.name)))
        finally:
            files.close()
        return Listing(found, "; ".join(catalogue.gaps))

    def readers(self, asked: Asked, account: Account, closing: ExitStack) -> list[StreamRows]:
        """See `Readable`."""
        catalogue = self.catalogue(account.check)
        streams = (
            without_copy(stream) if self.is_asked_for(stream, asked.query) else stream for stream in catalogue.streams
        )
        catalogue = replace(catalogue, streams=tuple(streams))
        return self.readers_of(catalogue, self.open_files(account, closing), asked, account)

    def readers_of(self, catalogue: Catalogue, files: OpenFiles, asked: Asked, account: Account) -> list[StreamRows]:
        """The same, of the streams of a catalogue that was read before."""
        for gap in catalogue.gaps:
            account.missing(gap)
        readable = []
        for stream in catalogue.streams:
            asked_for = self.is_asked_for(stream, asked.query)
            if stream.files and asked_for:
                readable.append(stream)
            elif not stream.files:  # a directory that cannot be read
                tell = account.missing if asked_for else account.note
                tell(f"{stream.name}: {stream.note}")
        self._tell_of_links(catalogue, asked.query, account)
        chunk_max_bytes = _chunk_max_bytes(asked.scanner.buffer_bytes, len(readable))
        return [
            StreamRows(
                stream,
                self.labels_of(stream),
                asked,
                files,
                account,
                chunk_max_bytes,
                self.transforms_of(stream, asked, account),
            )
            for stream in readable
        ]

    def open_files(self, account: Account, closing: ExitStack) -> OpenFiles:
        """Files to be opened, which ``closing`` closes."""
        files = OpenFiles(account, self.spool_dir)
        closing.callback(files.close)
        return files

    def catalogue(self, check: Callable[[], None]) -> Catalogue:
        """The streams there are now. Raises what ``check`` raises."""
        return read_catalogue(self._roots, self._served, check)

    def is_asked_for(self, stream: LogStream, query: Query) -> bool:
        """Whether ``query``'s matchers choose ``stream``."""
        return matches_stream(query.matchers, self.labels_of(stream))

    def labels_of(self, stream: LogStream) -> Mapping[str, str]:
        """All labels of a stream, the host's too."""
        return {**self._tags, **stream.labels, "host": self._host, "stream": stream.name}

    def transforms_of(self, stream: LogStream, asked: Asked, account: Account) -> list[Transform]:
        """What the chunks of a stream go through."""
        made = (transform_of(stream, asked, account) for transform_of in self._transforms)
        return [transform for transform in made if transform is not None]

    def _tell_of_links(self, catalogue: Catalogue, query: Query, account: Account) -> None:
        """Links out of the roots are no logs of this host, and the listing tells of them; but who asks for one by its
        name must not miss it."""
        names = [matcher for matcher in query.matchers if matcher.label in ("stream", "file")]
        named = any(matcher.op in ("=", "=~") for matcher in names)
        for link in catalogue.outside:
            below = (f"{link.name}/", f"{link.path}/")
            is_below = any(matcher.op == "=" and matcher.value.startswith(below) for matcher in names)
            if is_below or (named and self.is_asked_for(link, query)):
                account.missing(f"{link.name}: {link.note}")


def _chunk_max_bytes(buffer_bytes: int, streams: int) -> int:
    """How much to read of a stream at once at most: by the cost of the patterns and by the number of streams."""
    return max(CHUNK_MIN_BYTES, min(buffer_bytes, HELD_MAX_BYTES // max(1, streams)))
