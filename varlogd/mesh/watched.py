"""The stream below a websocket, watched over: what the websocket library leaves open at that end is closed here.

* What has been read of it already (the head of the request) is given out once more.
* It ends when too much comes in without a message: pings, pongs and empty fragments, which the library would read,
  and some of which it would keep, for ever.
* No websocket is closed without a word: a peer that breaks the framing is told so by a close frame, where the library
  would just hang up.
"""

from __future__ import annotations

import logging
from typing import Final

import trio

from varlogd.wire.limits import CLOSE_TIMEOUT_S, QUEUE_MESSAGES_MAX

log = logging.getLogger(__name__)

_BROKE_PROTOCOL: Final = 1002
_BROKE_POLICY: Final = 1008
_CLOSE_OPCODE: Final = 8
_FINAL: Final = 0x80


class WatchedStream(trio.abc.Stream):
    """``message_max_bytes``: what one message may have; ``seen``: what has been read of ``stream`` already."""

    def __init__(self, stream: trio.abc.Stream, message_max_bytes: int, seen: bytes = b"") -> None:
        self._stream = stream
        self._seen = seen
        self._allowance = (
            QUEUE_MESSAGES_MAX + 2
        ) * message_max_bytes  # those in the queue, and one on each side of it
        self._left = self._allowance
        self._owes_close = False
        self._masked = False
        self._sending = trio.Lock()  # the library locks its own frames, and knows nothing of the close sent here

    def opened(self, *, client: bool) -> None:
        """The handshake is done: from now on frames are spoken, and the last one must be a close."""
        self._owes_close = True
        self._masked = client

    def renew(self) -> None:
        """A message has been taken."""
        self._left = self._allowance

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self._seen:
            await trio.lowlevel.checkpoint()
            data: bytes | bytearray = self._seen if max_bytes is None else self._seen[:max_bytes]
            self._seen = self._seen[len(data) :]
        elif self._left <= 0:
            log.warning("dropped a connection that sends without end, and no message")
            await self._say_close(_BROKE_POLICY)
            return b""
        else:
            data = await self._stream.receive_some(max_bytes)
        self._left -= len(data)
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._owes_close and data and data[0] & 0x0F == _CLOSE_OPCODE:
            self._owes_close = False
        async with self._sending:
            await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        try:
            await self._say_close(_BROKE_PROTOCOL)
        finally:
            await self._stream.aclose()

    async def _say_close(self, code: int) -> None:
        """A close frame, if none has been sent, after the frame that is being sent."""
        if not self._owes_close:
            return
        self._owes_close = False
        mask = bytes(4) if self._masked else b""
        frame = bytes([_FINAL | _CLOSE_OPCODE, _FINAL * self._masked | 2]) + mask + code.to_bytes(2, "big")
        with trio.move_on_after(CLOSE_TIMEOUT_S):
            try:
                await self.send_all(frame)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return


async def linger(stream: trio.abc.Stream) -> None:
    """Let the peer hang up first, for a bounded time.

    It has been told all there is, and may still be talking: a socket that is closed with bytes unread is reset, and
    then what was said last is lost on the way.
    """
    with trio.move_on_after(CLOSE_TIMEOUT_S):
        try:
            if isinstance(stream, trio.abc.HalfCloseableStream):
                await stream.send_eof()
            while await stream.receive_some():
                pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
