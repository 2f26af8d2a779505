"""What one asker is told, and how: CBOR or JSON, frame by frame, the last word included."""

from __future__ import annotations

from typing import Final

import trio
from msgspec import Struct

from varlogd.errors import PatternError, ProtocolError, QueryError, Refused, VarlogdError
from varlogd.mesh.frames import frames_of
from varlogd.mesh.transport import (
    CLOSE_BAD_QUESTION,
    CLOSE_BUSY,
    CLOSE_INTERNAL,
    CLOSE_PROTOCOL,
    WebSocket,
)
from varlogd.wire.codec import decode_cbor, decode_json
from varlogd.wire.limits import ANSWER_WRITE_TIMEOUT_S, CLOSE_TIMEOUT_S, JSON_SUBPROTOCOL
from varlogd.wire.query import Ask, ErrorFrame

_CLOSE_CODES: Final[tuple[tuple[type[VarlogdError], int], ...]] = (
    (QueryError, CLOSE_BAD_QUESTION),
    (Refused, CLOSE_BUSY),
    (ProtocolError, CLOSE_PROTOCOL),
)

_FAULT: Final = ErrorFrame(code="internal", message="a fault in varlogd; its log has the details")


class Voice:
    """Speaks CBOR or JSON, as the client chose by subprotocol."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._json = websocket.subprotocol in (JSON_SUBPROTOCOL, "")
        self._writing = trio.Lock()

    @property
    def busy(self) -> bool:
        """Whether a frame is being written: a sign of life in itself."""
        return self._writing.locked()

    async def say(self, message: Struct, timeout_s: float = ANSWER_WRITE_TIMEOUT_S) -> None:
        async with self._writing:
            for data in frames_of(message, json=self._json):
                await self._websocket.send(data, timeout_s)

    async def finish_frame(self) -> None:
        """Let a frame that is being written come to its end: one cut in the middle would be the last."""
        with trio.move_on_after(CLOSE_TIMEOUT_S):
            async with self._writing:
                pass

    async def hear(self) -> Ask:
        data = await self._websocket.receive()
        if self._json is not isinstance(data, str):
            raise ProtocolError("JSON travels as text and CBOR as binary: this is the other way round")
        ask: Ask = decode_json(data, Ask) if isinstance(data, str) else decode_cbor(data, Ask)
        return ask

    async def fail(self, error: VarlogdError | None) -> None:
        """Say why there is no answer, to an asker who may be long gone: it gets little time to listen; and close.

        None: it is a fault of ours, of which our log has the details.
        """
        frame = _FAULT if error is None else _error_frame(error)
        await self.say(frame, CLOSE_TIMEOUT_S)
        await self._websocket.close(_close_code(error), frame.message.partition("\n")[0])


def _error_frame(error: VarlogdError) -> ErrorFrame:
    if isinstance(error, PatternError):
        return ErrorFrame(code=error.code, message=error.reason, pattern=error.pattern, offset=error.offset)
    return ErrorFrame(code=error.code, message=str(error))


def _close_code(error: VarlogdError | None) -> int:
    return next((code for kind, code in _CLOSE_CODES if isinstance(error, kind)), CLOSE_INTERNAL)
