"""One host's part in following: from its own logs, polled in the runner, or from a peer's websocket.

Either way it is the same story, told to a `LiveSink`: rows of the history, newest first; that it is live; rows as
they are written, oldest first; what is to be told of its logs; now and then from which places it could be resumed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from typing import Final, Protocol

import trio
from msgspec import structs

from varlogd.errors import LogReadError, ProtocolError, Unreachable
from varlogd.logs.following.follow import POLL_S, Follow, News
from varlogd.logs.scan import HostLogs, Scan
from varlogd.mesh.asking import Frame, open_question
from varlogd.mesh.network import Network
from varlogd.query.ledger import clipped
from varlogd.runner import Runner
from varlogd.wire.limits import KIB
from varlogd.wire.query import AskFollow, Block, Ledger, Live, Notice, Place, Places, Progress

PLACES_S: Final = 10.0
"""Between two tellings of the places that have changed: a host that is asked again goes on there at the latest, and
so a file must not be rotated out of its chain in so short a time."""

PLACES_FRAME_CHARS: Final = 256 * KIB
"""Names in one frame of places."""


class LiveSink(Protocol):
    """Takes one host's part in following."""

    async def block(self, block: Block) -> None:
        """Rows; waits while there is no room."""

    async def live(self) -> None:
        """The history ends here."""

    async def notice(self, notice: Notice) -> None:
        """Something that is to be known of the host's logs."""

    async def places(self, places: Sequence[Place]) -> None:
        """Where the streams that have changed could be resumed."""

    async def progress(self, progress: Progress) -> None:
        """A sign of life."""


class OwnFollowing:
    """This host's own part. ``run`` goes on until it is cancelled."""

    def __init__(self, logs: HostLogs, runner: Runner) -> None:
        self._logs = logs
        self._runner = runner

    async def run(self, ask: AskFollow, sink: LiveSink) -> None:
        """Tell ``sink`` of this host's logs. Raises QueryError, LogReadError."""
        with ExitStack() as closing:
            follow = await self._runner.run(lambda: self._begin(ask, closing), closing)
            told: dict[str, Place] = {}
            if not ask.resume:
                if ask.query.limit is not None:
                    await self._history(follow, sink)
                await self._tell_places(follow, told, sink, closing)
            await sink.live()
            await self._poll(follow, told, sink, closing)

    def _begin(self, ask: AskFollow, closing: ExitStack) -> Follow:
        follow = Follow(self._logs, ask.query, self._runner.check, ask.resume)
        closing.callback(follow.close)
        return follow

    async def _history(self, follow: Follow, sink: LiveSink) -> None:
        with ExitStack() as closing:
            scan = closing.enter_context(follow.history())
            while True:
                block, more = await self._runner.run(lambda: _pulled(scan), closing)
                await sink.progress(
                    Progress(
                        bytes_scanned=scan.bytes_scanned,
                        rows=scan.rows,
                        streams=scan.streams,
                        notes=tuple(map(clipped, scan.notes)),
                        missing=clipped(scan.truncated),
                        redacted=scan.redacted,
                    )
                )
                if block is not None:
                    await sink.block(block)
                if not more:
                    return

    async def _poll(self, follow: Follow, told: dict[str, Place], sink: LiveSink, closing: ExitStack) -> None:
        places_at = trio.current_time() + PLACES_S
        while True:
            now = trio.current_time()
            news = await self._runner.run(lambda now=now: _polled(follow, now), closing)  # type: ignore[misc]
            await self._give(news, follow, sink)
            if now >= places_at:
                await self._tell_places(follow, told, sink, closing)
                places_at = now + PLACES_S
            if not news.more:
                await trio.sleep(POLL_S)

    async def _give(self, news: News, follow: Follow, sink: LiveSink) -> None:
        for notice in news.notices:
            await sink.notice(structs.replace(notice, why=clipped(notice.why)))
        for block in news.blocks:
            await sink.block(block)
        notes, missing = tuple(map(clipped, follow.notes)), clipped(follow.missing)
        await sink.progress(
            Progress(bytes_scanned=follow.bytes_scanned, rows=follow.rows, notes=notes, missing=missing)
        )

    async def _tell_places(self, follow: Follow, told: dict[str, Place], sink: LiveSink, closing: ExitStack) -> None:
        """Tell the places that have changed since they were told last."""
        places = await self._runner.run(follow.places, closing)
        changed = [place for place in places if told.get(place.stream) != place]
        told.update((place.stream, place) for place in changed)
        part: list[Place] = []
        room = PLACES_FRAME_CHARS
        for place in changed:
            part.append(place)
            room -= len(place.stream) + len(place.file)
            if room <= 0:
                await sink.places(part)
                part, room = [], PLACES_FRAME_CHARS
        if part:
            await sink.places(part)


def _pulled(scan: Scan) -> tuple[Block | None, bool]:
    try:
        return next(scan), True
    except StopIteration:
        return None, False
    except OSError as error:
        raise LogReadError(f"this host could not read its logs: {error.strerror or error}") from error


def _polled(follow: Follow, now: float) -> News:
    try:
        return follow.poll(now)
    except OSError as error:
        raise LogReadError(f"this host could not read its logs: {error.strerror or error}") from error


async def follow_peer(
    network: Network, host: str, address: str, ask: AskFollow, stall_s: float, sink: LiveSink
) -> None:
    """Tell ``sink`` of the logs of ``host``, at ``address``; returns if it leaves. Raises as `open_question`, and
    Unreachable if it falls silent."""
    async with open_question(network, address, ask, host) as question:
        frames = question.frames()
        while True:
            frame = await _next(frames, stall_s)
            match frame:
                case Block():
                    await sink.block(frame)
                case Live():
                    await sink.live()
                case Notice():
                    await sink.notice(frame)
                case Places(places):
                    await sink.places(places)
                case Progress():
                    await sink.progress(frame)
                case Ledger():
                    return
                case _:
                    raise ProtocolError(f"{type(frame).__name__.lower()}, where something else was asked for")


async def _next(frames: AsyncIterator[Frame], stall_s: float) -> Frame:
    with trio.move_on_after(stall_s):
        return await anext(frames)
    raise Unreachable(f"silent for {stall_s:g} s")
