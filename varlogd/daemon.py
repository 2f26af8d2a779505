"""The daemon: one nursery tree that wires network, membership, logs and questions together.

    run ── Server ── a task for each connection ── gossip link | one question
        ├─ GossipLoop ── timers, dials, links
        └─ waits for the word to stop, then: leave the mesh, drain the answers, cancel the rest

Everything it needs of the outside comes in `World`, so simulations run this very code.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import trio
from msgspec import structs

from varlogd import __version__
from varlogd.config import Config, differing, is_wildcard, split_address
from varlogd.errors import ConfigError, VarlogdError
from varlogd.logs.catalogue import Served
from varlogd.logs.journal.source import JournalSource
from varlogd.logs.reading import Budget
from varlogd.logs.scan import HostLogs
from varlogd.logs.secrets.redaction import Redactor
from varlogd.memory.memory import Memory
from varlogd.mesh import http
from varlogd.mesh.answer import HostAnswer
from varlogd.mesh.asking import QUERY_PATH
from varlogd.mesh.background import background
from varlogd.mesh.gossip import GossipLoop
from varlogd.mesh.links import GOSSIP_PATH
from varlogd.mesh.network import join_address
from varlogd.mesh.service import QueryService
from varlogd.mesh.telling import Telling
from varlogd.mesh.transport import Route, Server
from varlogd.swim.core import Swim
from varlogd.swim.damping import Told
from varlogd.swim.directives import (
    CutOff,
    EpochRaised,
    Event,
    Joined,
    JoinFailing,
    MemberChanged,
    NameConflict,
    Reconnected,
    Refuted,
    TableFull,
)
from varlogd.swim.state import Member, State
from varlogd.swim.timing import Timing
from varlogd.wire.gossip import Metadata
from varlogd.wire.limits import (
    CBOR_SUBPROTOCOL,
    GOSSIP_FRAME_MAX_BYTES,
    GOSSIP_SUBPROTOCOL,
    JSON_SUBPROTOCOL,
    REQUEST_MAX_BYTES,
)
from varlogd.world import World, raise_files_limit, real_world

log = logging.getLogger("varlogd")

MICROSECOND_NS: Final = 1000
"""The unit of epochs: fine enough that no two boots share one, and exact in JSON's doubles."""
_STATES: Final = {State.ALIVE: "up", State.SUSPECT: "suspect", State.DEAD: "dead", State.LEFT: "left"}

CATALOGUE_S: Final = 60.0
"""Between two looks at which streams there are, for the digest that the mesh is told: a walk of the directories."""

ROLE_MAX_CHARS: Final = 32
"""Of the tag ``role`` in the metadata: with four bytes a character that is half of what they may take."""

ROLE_DEFAULT: Final = "sidecar"
"""The role of a daemon without such a tag: it stands beside the logs of its host."""


class Daemon:
    """One node. `run` it once; `stop` ends it gracefully."""

    def __init__(self, config: Config, world: World) -> None:
        self._config = config
        self._world = world
        self._stopping = trio.Event()
        disk = world.disk(config.state_dir) if config.state_dir is not None else None
        self._memory = Memory(
            config.name,
            disk,
            world.runner,
            lambda: world.wall_ns() // MICROSECOND_NS,
            config.membership.dead_remembered_s,
        )
        self._telling = Telling(_tell)
        self._catalogue = ""
        self._is_told = False  # whether anything was said of ourselves: until then there is no mesh to tell
        self.gossip: GossipLoop
        self.queries: QueryService
        self._answer = HostAnswer(config.name, host_logs(config, world), world.runner)

    def stop(self) -> None:
        """Leave the mesh, drain, and let `run` return."""
        self._stopping.set()

    def reload(self, tags: dict[str, str]) -> None:
        """Have these tags from now on. The mesh is told soon; questions that run go on with those they began with."""
        self._config = structs.replace(self._config, tags=tags)
        self._answer.reload(host_logs(self._config, self._world))
        if self._is_told:
            self._tell_of_ourselves()

    async def run(self, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until `stop`; started with the address in use.

        Raises CannotListen if it cannot listen, and StateDirTaken if another process has its state.
        """
        async with self._memory.kept():
            await self._serve(task_status)
        log.info("stopped", extra={"fields": {"name": self._config.name}})

    async def _serve(self, task_status: trio.TaskStatus[str]) -> None:
        listeners, address = await self._world.network.listen(self._config.listen)
        self._wire_up(self._advertised(address))
        server = Server(self._routes(), self._pages(), self._config.query.connections_max)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.serve, listeners)
            log.info("listening", extra={"fields": {"address": address, "name": self._config.name}})
            log.info("member up", extra={"fields": _fields(self.gossip.swim.me)})
            log.debug("held up", extra={"fields": _fields(self.gossip.swim.me)})
            await nursery.start(self.gossip.run)
            nursery.start_soon(self._memory.keep, self.members)
            nursery.start_soon(self._telling.run)
            task_status.started(address)
            nursery.start_soon(self._describe)
            await self._stopping.wait()
            await self._leave()
            nursery.cancel_scope.cancel()

    def members(self) -> dict[str, Member]:
        """The mesh as this node sees it."""
        return dict(self.gossip.swim.members)

    def flapping(self) -> Collection[str]:
        """The members that come and go: people are not told of each time."""
        return self._telling.flapping

    def joined(self) -> bool:
        """Whether it has joined the mesh, or is alone by choice."""
        return self.gossip.swim.joined

    def silent_since(self) -> float | None:
        """Since when it has heard from nobody, if it is cut off."""
        swim = self.gossip.swim
        return swim.heard_at if swim.cut_off else None

    def unheard(self) -> Sequence[str]:
        """The members that it knew before its restart and has not heard of since."""
        return self._memory.unheard(self.gossip.swim.members)

    def timing(self, name: str) -> Timing | None:
        """What probes have measured of a member."""
        return self.gossip.swim.timing(name)

    def local_health(self) -> int:
        """How much this node mistrusts its own ears: 0 (well) to 8."""
        return self.gossip.swim.local_health

    def wall_ns(self, at: float) -> int:
        """The wall clock's time at a steady time."""
        return self._world.wall_ns() - round((trio.current_time() - at) * 1e9)

    def _wire_up(self, address: str) -> None:
        config, world = self._config, self._world
        swim = Swim(
            config.membership,
            name=config.name,
            epoch=self._memory.epoch,
            address=address,
            tags=config.tags,
            seeds=config.join,
            known=self._memory.addresses,
            rng=world.rng,
            now=trio.current_time(),
            metadata=_metadata(config, ""),
        )
        for root in config.roots:
            if not Path(root).exists():
                log.warning("no such root: answers are partial until it is there", extra={"fields": {"root": root}})
        self.gossip = GossipLoop(swim, world.network, config.query.links_max, world.wall_ns, self._on_event)
        self.queries = QueryService(config.name, self, self._answer, world.network, config.query)

    def _advertised(self, bound: str) -> str:
        """The address the others dial: as configured, with the port in use; for a wildcard, the way out."""
        host, port = split_address(bound)
        if self._config.advertise is not None:
            return self._config.advertise
        if is_wildcard(host):
            host = self._world.network.own_host(next(iter(self._config.join), None))
        return join_address(host, port)

    def _routes(self) -> dict[str, Route]:
        return {
            GOSSIP_PATH: Route(self.gossip.accept, (GOSSIP_SUBPROTOCOL,), GOSSIP_FRAME_MAX_BYTES),
            QUERY_PATH: Route(
                self.queries.serve,
                (CBOR_SUBPROTOCOL, JSON_SUBPROTOCOL),
                REQUEST_MAX_BYTES,
                default=JSON_SUBPROTOCOL,
            ),
        }

    def _pages(self) -> dict[str, http.Page]:
        def ready() -> tuple[int, str]:
            if self._stopping.is_set():
                return 503, "leaving\n"
            return (200, "ready\n") if self.joined() else (503, "joining: no other host found yet\n")

        return {"/healthz": lambda: (200, "ok\n"), "/readyz": ready}

    async def _describe(self) -> None:
        """Tell the mesh of tags, role and catalogue whenever they are others."""
        while True:
            try:
                self._catalogue = await self._answer.catalogue()
            except VarlogdError as error:  # what was told last stands
                log.debug("no look at the catalogue", extra={"fields": {"why": str(error)}})
            self._tell_of_ourselves()
            await trio.sleep(CATALOGUE_S)

    def _tell_of_ourselves(self) -> None:
        self._is_told = True
        self.gossip.describe(_metadata(self._config, self._catalogue), self._config.tags)

    async def _leave(self) -> None:
        log.info("leaving", extra={"fields": {"questions": self.queries.running}})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.gossip.leave)
            nursery.start_soon(self.queries.drain, self._config.drain_s)

    def _on_event(self, event: Event) -> None:
        match event:
            case MemberChanged(member, previous):
                self._on_member(member, previous)
            case Joined():
                log.info("joined", extra={"fields": {"members": len(self.gossip.swim.members)}})
            case JoinFailing(seeds, attempts):
                tried = {"seeds": ",".join(seeds), "attempts": attempts}
                log.warning("no other host at the seeds; trying on", extra={"fields": tried})
            case NameConflict(address):
                log.error(
                    "another node has this name: rename one of the two",
                    extra={"fields": {"name": self._config.name, "other": address}},
                )
            case Refuted(by, incarnation):
                log.info("refuted", extra={"fields": {"by": by, "incarnation": incarnation}})
            case EpochRaised(epoch, address):
                self._memory.note()
                log.warning("%s: epoch raised", self._why_raised(address), extra={"fields": {"epoch": epoch}})
            case CutOff(silent_s):
                log.warning("cut off: nobody is heard, so nobody is declared dead", extra={"fields": _for(silent_s)})
            case Reconnected(silent_s):
                log.warning("no longer cut off", extra={"fields": _for(silent_s)})
            case TableFull(members_max):
                log.error("too many members: newcomers are ignored", extra={"fields": {"members_max": members_max}})

    def _why_raised(self, address: str) -> str:
        if address == self.gossip.swim.me.address:
            return "the clock went back since the last boot"
        return f"another node had this name, at {address} (or this one, once), and is gone: this one takes its place"

    def _on_member(self, member: Member, previous: Member | None) -> None:
        self._memory.note()
        log.debug("held %s", _STATES[member.state], extra={"fields": _fields(member)})
        self._telling.change(member, previous)
        if member.state == State.DEAD:
            self.gossip.links.drop(member.address)
            self.queries.member_died(member)


def host_logs(config: Config, world: World) -> HostLogs:
    """The logs that a daemon serves."""
    served = Served(config.include, config.exclude)
    redactor = None
    if config.redact or config.redact_builtin:
        redactor = Redactor(config.redact, builtin=config.redact_builtin)
    others = []
    if config.journal and world.journalctl is not None:
        others.append(JournalSource(config.name, config.tags, world.journalctl, served, redactor))
    return HostLogs(
        config.name,
        config.tags,
        [Path(root) for root in config.roots],
        served=served,
        zone=world.zone,
        others=others,
        transforms=[] if redactor is None else [redactor.transform_of],
        budget=Budget(config.query.bytes_max, config.query.rows_max, config.query.work_max_s),
        timestamps=config.timestamps,
    )


def _tell(told: Told) -> None:
    """What people are told of a member, in the log."""
    member, fields = told.member, _fields(told.member)
    match told.what:
        case "changed":
            level = logging.WARNING if member.state in (State.SUSPECT, State.DEAD) else logging.INFO
            log.log(level, "member %s", _STATES[member.state], extra={"fields": fields})
        case "flapping":
            log.warning("member flapping: nothing more is told of it until it is steady", extra={"fields": fields})
        case "steady":
            log.info("member steady: %s", _STATES[member.state], extra={"fields": fields})


def _metadata(config: Config, catalogue: str) -> Metadata:
    return Metadata(__version__, config.tags.get("role", ROLE_DEFAULT)[:ROLE_MAX_CHARS], catalogue)


def _fields(member: Member) -> dict[str, object]:
    return {"name": member.name, "address": member.address, "incarnation": member.incarnation}


def _for(silent_s: float) -> dict[str, object]:
    return {"silent_s": round(silent_s, 1)}


def _within_files_limit(config: Config) -> Config:
    """No more connections than half of the files this process may open: the rest is for logs and other hosts."""
    files_max = raise_files_limit()
    query = config.query
    connections_max = min(query.connections_max, files_max // 2)
    if connections_max == query.connections_max:
        return config
    limits = {"connections_max": connections_max, "files_max": files_max}
    log.warning("this process may open few files, so fewer connections are accepted", extra={"fields": limits})
    queries_max = min(query.queries_max, connections_max)
    query = structs.replace(query, connections_max=connections_max, queries_max=queries_max)
    return structs.replace(config, query=query)


async def _reload(daemon: Daemon, running: Config, reread: Callable[[], Config]) -> None:
    """Read the configuration again and take from it what can change while the daemon runs.

    ``running``: the one it was started with. A wrong one changes nothing.
    """
    try:
        # The file may be on a disk that hangs: then a signal that ends the daemon does not wait for it.
        config = await trio.to_thread.run_sync(reread, abandon_on_cancel=True)
    except ConfigError as error:
        log.error(
            "not reloaded: the configuration is wrong", extra={"fields": {"why": "; ".join(str(error).splitlines())}}
        )
        return
    daemon.reload(config.tags)
    log.info("reloaded", extra={"fields": {"tags": ",".join(f"{key}={tag}" for key, tag in config.tags.items())}})
    if others := [key for key in differing(running, config) if key != "tags"]:
        log.warning("changed, but taken at a restart only", extra={"fields": {"keys": ",".join(others)}})


async def _wait_end(signals: AsyncIterator[int], reload: Callable[[], Awaitable[None]]) -> None:
    """Return at a signal that ends the daemon; reload at each SIGHUP, and once more if one comes meanwhile."""
    async with trio.open_nursery() as nursery:
        wanted, asked = trio.open_memory_channel[None](1)

        @nursery.start_soon
        async def reload_when_asked() -> None:
            async for _ in asked:
                await reload()

        while await anext(signals) == signal.SIGHUP:
            with suppress(trio.WouldBlock):  # one that waits will do for this as well
                wanted.send_nowait(None)
        nursery.cancel_scope.cancel()


async def run(
    config: Config,
    reread: Callable[[], Config],
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> bool:
    """Run the daemon in the real world until SIGTERM or Ctrl-C; a second signal ends it at once.

    At SIGHUP the configuration is taken anew from ``reread``, called in a thread, which may raise ConfigError.
    True if it ended gracefully. Raises what `Daemon.run` raises.
    """
    daemon = Daemon(_within_files_limit(config), real_world(config.query.scans_max))
    graceful = True
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async with background() as nursery:

            @nursery.start_soon
            async def obey() -> None:
                nonlocal graceful
                await _wait_end(signals, partial(_reload, daemon, config, reread))
                daemon.stop()
                while await anext(signals) == signal.SIGHUP:
                    pass
                graceful = False
                log.warning("second signal: stopping at once")
                nursery.cancel_scope.cancel()

            await daemon.run(task_status=task_status)
    return graceful
