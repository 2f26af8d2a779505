"""Rows as JSON has them: one object a row, for JSON clients of `/query` and for ``varlog --json`` alike."""

from __future__ import annotations

import base64

from varlogd.query.block import Row, rows_of
from varlogd.query.times import rfc3339
from varlogd.wire.query import Block, JsonRow, JsonRows


def json_row_of(row: Row) -> JsonRow:
    """A row as an object; bytes that are not UTF-8 are kept whole in ``line_base64``."""
    try:
        line, exact = row.line.decode(), None
    except UnicodeDecodeError:
        line, exact = row.line.decode("utf-8", "replace"), base64.b64encode(row.line).decode()
    return JsonRow(
        host=row.host,
        stream=row.stream,
        time=None if row.time is None else rfc3339(row.time),
        line=line,
        position=row.position,
        line_base64=exact,
        cut=row.cut,
        late=row.late,
    )


def json_rows_of(block: Block) -> JsonRows:
    """The rows of a block. Raises ProtocolError if its columns do not fit together."""
    return JsonRows(tuple(json_row_of(row) for row in rows_of(block)))
