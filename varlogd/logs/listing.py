"""What is told of a stream that is not searched: its size, its newest entry, and what of it cannot be read."""

from __future__ import annotations

import os
from datetime import tzinfo

from varlogd.errors import LogReadError
from varlogd.logs.catalogue import LogFile, LogStream
from varlogd.logs.files import OpenFiles, Plain
from varlogd.logs.opening import open_listed
from varlogd.logs.reader import is_binary
from varlogd.logs.times.timing import FileTimes
from varlogd.wire.limits import LABEL_MAX_CHARS
from varlogd.wire.query import StreamInfo


def stream_info(
    host: str, stream: LogStream, files: OpenFiles, zone: tzinfo, written: str | None = None
) -> StreamInfo:
    """One stream of ``host``. Its newest entry is sought in the last few KiB of its newest file with any text.

    ``zone`` and ``written`` are those of `FileTimes`. A label too long to travel (a path can be) is left out: it can
    be matched all the same.
    """
    notes = [stream.note] if stream.note else []
    readable = []
    for file in stream.files:
        try:
            os.close(open_listed(file))
            readable.append(file)
        except LogReadError as error:
            notes.append(f"{stream.name_of(file)}: {error}")
    newest_ns = None
    if newest := next((file for file in readable if file.size_bytes), None):
        newest_ns, note = _newest_entry(newest, files, zone, written)
        notes += [note] if note else []
    return StreamInfo(
        host=host,
        stream=stream.name,
        files=len(stream.files),
        size_bytes=sum(file.size_bytes for file in stream.files),
        newest_ns=newest_ns,
        note="; ".join(notes),
        labels={label: value for label, value in stream.labels.items() if len(value) <= LABEL_MAX_CHARS},
    )


def _newest_entry(file: LogFile, files: OpenFiles, zone: tzinfo, written: str | None) -> tuple[int, str]:
    """The time of a file's last line that has one, or of the file's last change and a note that it is that."""
    if file.packing:
        return file.mtime_ns, "compressed: the time is that of the file's last change"
    try:
        text = Plain(files, file)
        try:
            if is_binary(text):
                return file.mtime_ns, "binary: not searched"
            time = FileTimes(text, zone, file.mtime_ns, written).last()
        finally:
            text.close()
    except LogReadError as error:
        return file.mtime_ns, str(error)
    if time is None:
        return file.mtime_ns, "no timestamps: the time is that of the file's last change"
    return time, ""
