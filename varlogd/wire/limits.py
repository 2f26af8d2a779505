"""Every bound on what crosses a socket, each with its reason. A bound that bites is always reported."""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

PROTOCOL_VERSION: Final = 1
"""Raised only when an old peer could misread a new message; additions to messages do not raise it."""

GOSSIP_SUBPROTOCOL: Final = "varlog.gossip.v1"
CBOR_SUBPROTOCOL: Final = "varlog.query.v1.cbor"
JSON_SUBPROTOCOL: Final = "varlog.query.v1.json"

HEAD_MAX_BYTES: Final = 16 * KIB
"""An HTTP request head. Browsers and proxies stay under 8 KiB."""

HEAD_TIMEOUT_S: Final = 5.0
"""From accept to a whole head, and then to a finished websocket handshake: half a request may not hold a task."""

HELLO_TIMEOUT_S: Final = 5.0
"""From websocket handshake to the first message."""

GOSSIP_FRAME_MAX_BYTES: Final = 1 * MIB
"""A full push-pull of some 5,000 members at 200 bytes each; a ping is under 1 KiB."""

REQUEST_MAX_BYTES: Final = 64 * KIB
"""A question. A thousand patterns fit."""

ANSWER_FRAME_MAX_BYTES: Final = 2 * MIB
"""One frame of an answer: a block at its target size plus one line at its limit, with room for JSON escapes."""

BLOCK_TARGET_BYTES: Final = 64 * KIB
"""Rows are sent when a block holds this much text: the measured best frame size is 64 to 128 KiB."""

BLOCK_ROWS_MAX: Final = 4096
"""Rows in one block, so that short lines do not make a block slow to decode or to merge."""

LINE_MAX_BYTES: Final = 256 * KIB
"""A longer line is cut here and marked as cut; so is a row of several lines, line feeds included."""

BLOCK_MAX_BYTES: Final = BLOCK_TARGET_BYTES + LINE_MAX_BYTES + BLOCK_ROWS_MAX
"""The text of one block at most: a line at its limit that came when the block was all but full, and line feeds."""

DEPTH_MAX: Final = 8
"""Nesting in a message. The deepest of ours has five levels."""

NAME_MAX_CHARS: Final = 253
"""A node's name: a DNS name fits."""

TAGS_MAX: Final = 32
TAG_MAX_CHARS: Final = 256
"""Tags travel in gossip with every change of a member, so they stay small."""

METADATA_MAX_BYTES: Final = 256
"""What a member says of itself beside its tags, all texts together: it travels with each of its claims."""

MEMBERS_MAX: Final = 20_000
"""Members in one table or one message: a bound on what a stranger's gossip can make us hold."""

STREAM_MAX_CHARS: Final = 16 * KIB
"""A stream's name: a path of 4 KiB of which no byte is UTF-8, each shown as ``\\xff``."""

NOTE_MAX_CHARS: Final = 2048
"""A reason or a note; and all of them together in one entry of a ledger."""

NOTES_MAX: Final = 128
"""Notes a host may tell of one question; its account keeps a hundred, and the number of the others."""

STREAMS_PER_HOST_MAX: Final = 20_000
"""Streams one host may list; a catalogue has half as many files. It bounds what a peer can make an asker hold."""

FILE_IDENTITY_MAX_CHARS: Final = 128
"""A file's identity in a cursor: device, inode and a hash of its first bytes; or that of a journal."""

CURSOR_MAX_CHARS: Final = 32 * KIB
"""A cursor. One of a hundred hosts whose budgets have run out fits; half of what a question may take."""

LABELS_MAX: Final = 32
LABEL_MAX_CHARS: Final = 1024
"""What a stream's source knows of it: a unit, a container, a pod, a namespace."""

COUNT_LABELS_MAX: Final = 8
"""Labels by which rows are counted apart."""

COUNT_CELLS_MAX: Final = 100_000
"""Cells of one count: a year in buckets of five minutes. More would be rows in another guise, and are no overview."""

COUNT_TEXT_MAX_CHARS: Final = 16 * MIB
"""In the labels of all cells of one count: 160 characters a cell. It bounds what peers can make one hold."""

CONTEXT_LINES_MAX: Final = 1000
"""Lines of context before or after a match."""

ROW_LINES_MAX: Final = 4096
"""Lines in one row, an entry with its stack trace or a match with its context; longer ones are cut, and marked."""

PATTERNS_MAX: Final = 64
"""Patterns in one question."""

PATTERN_MAX_CHARS: Final = 4 * KIB
"""Characters in one pattern: RE2's program grows with it, and it is compiled on every host."""

MATCHERS_MAX: Final = 64
"""Label matchers in one question."""

ANSWER_BUFFER_BYTES: Final = 256 * KIB
"""What one read of a socket that brings an answer may take: 4 KiB, the library's default, is five times slower."""

QUESTION_BUFFER_BYTES: Final = 4 * KIB
"""What one read of a socket that strangers opened may take. Nothing else runs while it is taken apart, and it may be
seven hundred empty frames (2 ms); with 256 KiB a single flood held up everybody for seconds."""

QUEUE_MESSAGES_MAX: Final = 4
"""Messages read ahead of a consumer on one socket; past that TCP pushes back."""

DIAL_TIMEOUT_S: Final = 3.0
"""From the first packet to a finished websocket handshake with a peer; on a LAN it takes milliseconds."""

CLOSE_TIMEOUT_S: Final = 1.0
"""How long a polite close may wait for the other side's close frame before the socket is simply dropped."""

GOSSIP_WRITE_TIMEOUT_S: Final = 5.0
"""One gossip frame. A link that takes longer is stuck; membership finds out what is behind it."""

ANSWER_WRITE_TIMEOUT_S: Final = 300.0
"""One frame of an answer. A reader may pause (a pager); meanwhile its question holds a place among
``queries_max`` and a few blocks of each host it asks."""

RESUME_PLACES_MAX: Final = 256
"""Streams whose place a question to go on following may tell: with names of usual length half of what it may take.
Those that were written to last are told; others go on from now, and that is said."""
