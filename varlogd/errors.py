"""Every exception varlogd raises on purpose. Imports nothing of varlogd.

Each class answers two questions a caller must be able to ask without reading the text: *whose fault* is
it (``fault``), and *did anything change* before it was raised (``changed_state``). Foreign exceptions
(sockets, CBOR, RE2, the file system) are mapped to one of these at one seam each: ``wire.codec`` for
bytes, ``mesh.transport`` for sockets, ``query.pattern`` for patterns, ``logs`` for files.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class Fault(StrEnum):
    """Who has to act for the error to go away."""

    ASKER = "asker"  # the question is wrong: ask another
    OPERATOR = "operator"  # this host's configuration is wrong
    PEER = "peer"  # the other end of a socket broke the protocol
    NETWORK = "network"  # the way there is broken, or nobody listens
    HOST = "host"  # this host: a disk, a permission, a limit


class VarlogdError(Exception):
    """The base of all; ``code`` is the stable word for it on the wire and in ``--json``."""

    fault: ClassVar[Fault]
    changed_state: ClassVar[bool] = False
    code: ClassVar[str] = "error"


class ConfigError(VarlogdError):
    """A configuration key has a value that cannot be used. The message names key, source and remedy."""

    fault = Fault.OPERATOR
    code = "bad_config"


class CannotListen(VarlogdError):
    """This host does not let us listen, or has no address yet: a port in use, a network not up. It may pass."""

    fault = Fault.HOST
    code = "cannot_listen"


class StateError(VarlogdError):
    """What this node remembered on disk cannot be used: not ours, damaged, of another version. It runs without."""

    fault = Fault.HOST
    code = "bad_state"


class StateDirTaken(VarlogdError):
    """Another process that runs keeps its state in this directory. It may pass: an older one that is ending."""

    fault = Fault.OPERATOR
    code = "state_dir_taken"


class QueryError(VarlogdError):
    """A question that cannot be answered as it is put."""

    fault = Fault.ASKER
    code = "bad_query"


class PatternError(QueryError):
    """A pattern RE2 does not accept.

    ``pattern`` is the asker's text and ``offset`` the index of the character at fault in it;
    ``str()`` shows both on lines of their own, with a caret under the character.
    """

    code = "bad_pattern"

    def __init__(self, pattern: str, offset: int, reason: str) -> None:
        self.pattern = pattern
        self.offset = offset
        self.reason = reason
        super().__init__(f"bad pattern: {reason}\n  {pattern}\n  {' ' * offset}^")


class ProtocolError(VarlogdError):
    """Bytes from outside that are not a message we know, or one over a limit."""

    fault = Fault.PEER
    code = "bad_message"


class Refused(VarlogdError):
    """The other end understood and said no: too busy, not allowed, leaving."""

    fault = Fault.HOST
    code = "refused"


class Unreachable(VarlogdError):
    """No connection, or one that broke: refused, reset, timed out, closed in mid-answer."""

    fault = Fault.NETWORK
    code = "unreachable"


class NobodyListens(Unreachable):
    """The host at the other end refused the connection: it, and the way to it, are well."""


class LogReadError(VarlogdError):
    """A log that is there and cannot be read: permission, a bad disk, damaged compression."""

    fault = Fault.HOST
    code = "unreadable"


class Closed(Unreachable):
    """A websocket that ended; ``close_code`` and ``reason`` are what the peer said (1006: it said nothing)."""

    code = "closed"

    def __init__(self, close_code: int, reason: str = "") -> None:
        self.close_code = close_code
        self.reason = reason
        super().__init__(f"connection closed ({close_code}{': ' + reason if reason else ''})")


class RejectedHandshake(Unreachable):
    """Something listens there and refuses the websocket: another program, another path, or too busy."""

    code = "rejected"
