"""Configuration: frozen structs in which every key has a default, a meaning, and a hint on how to choose it.

Units end a name. Values are validated once, where they come in (`cli.values`); nothing downstream checks them
again. What one value alone cannot tell, each struct checks when it is made: keys that contradict each other.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

ADDRESS_DEFAULT: Final = "127.0.0.1:8514"
"""Loopback: with no configuration nobody else gets in."""

PORT_MAX: Final = 65_535

Duration = Annotated[float, Meta(gt=0, le=30 * 86_400)]
"""Seconds: more than none, at most thirty days."""


class MembershipConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the mesh learns who is alive. The defaults fit a LAN of up to some hundred nodes.

    What they give: a process that is killed is known dead by all in about 2.7 s at 5 nodes and 3.5 s at 20, as
    measured, a host that loses power in 5 to 8 s; a node that hangs for 3 s is suspected, but not declared dead.
    All nodes of a mesh should agree on them.

    Raises ValueError when values contradict each other.
    """

    probe_interval_s: Duration = 1.0
    """Every node probes one member this often. Shorter finds failures sooner and costs load in proportion:
    a node sends about two messages per interval. It is the unit of the suspicion time-out as well."""

    probe_timeout_s: Annotated[float, Meta(gt=0, le=600)] = 0.5
    """The longest time a ping may go unanswered before other members are asked to try. Less is waited, down to
    0.1 s, where that member's last answers all came sooner. Several times the worst round trip, pauses of the
    Python process included, and at most 5/9 of the interval, so that helpers have time for a try of their own."""

    indirect_probes: Annotated[int, Meta(ge=0, le=16)] = 3
    """How many members are asked to probe one that did not answer us (k in the SWIM paper). Three make it
    unlikely that all of them share our bad way there. 0: believe one's own ping alone."""

    suspicion_alpha: Annotated[float, Meta(gt=0, le=100)] = 2.25
    """Min, the shortest suspicion time-out, is alpha x log10(nodes + 10) probe intervals: 2.6 s at 5 nodes,
    3.3 s at 20, 4.8 s at 128. It is nearly all of the detection time of a killed process, since every survivor
    then notices at once and confirms. It is also the pause a healthy node may make: suspicion starts 0.8 s after
    an unanswered ping (0.5 s at two nodes, where nobody can be asked), so a node that was stopped for 3 s is
    back before 0.8 + 2.6 s are over. Raise it for hosts that stall longer: 5 is what the Lifeguard paper and
    wide-area meshes use."""

    suspicion_beta: Annotated[float, Meta(ge=1, le=100)] = 6.0
    """Max, the suspicion time-out while nobody confirms, is beta x Min. A node whose own network is bad
    suspects many and is confirmed by none: this is the time it has to find out. 6 is the Lifeguard paper's."""

    suspicion_confirmations: Annotated[int, Meta(ge=0, le=16)] = 3
    """How many members other than the first accuser bring the time-out down from Max to Min (K in the
    Lifeguard paper). In a mesh with fewer possible accusers, as many as there are. 0: always Min."""

    gossip_interval_s: Duration = 0.1
    """How often news is sent while there is news. Shorter spreads it sooner, in more and smaller messages."""

    gossip_fanout: Annotated[int, Meta(ge=1, le=16)] = 3
    """To how many members news is sent each time, and one more from 100 nodes on, two from 1000. With 3 it reaches
    20 nodes in about 0.3 s, 500 in 0.6 s."""

    retransmit_factor: Annotated[int, Meta(ge=1, le=64)] = 4
    """Each node passes a claim on at most this x ceil(log10(nodes + 1)) times (lambda in the SWIM paper). 4
    reaches all members with a margin; what is missed all the same is found by push-pull."""

    push_pull_interval_s: Duration = 30.0
    """How often a node compares its view with that of a random member, by a digest of half a kilobyte, and more
    only where they differ. It repairs what gossip missed, and costs the same whatever the number of members."""

    reconnect_interval_s: Duration = 5.0
    """How often a node considers calling a dead member or an absent seed, so that a split heals by itself.
    It is about the time from the end of a split to one view. The more members live, the rarer each calls:
    together they make about one call per interval for each dead member."""

    join_retry_s: Duration = 1.0
    """The first pause between attempts to join, doubled after each until it is join_retry_max_s."""

    join_retry_max_s: Duration = 5.0
    """The longest pause between attempts to join: a node whose only seed was down joins at most so much after
    the seed is up. An attempt is one dial per seed."""

    dead_remembered_s: Duration = 86_400.0
    """How long a dead member stays in the view and is called again from time to time. Longer than the longest
    split that must heal without a restart; until then every answer's ledger names the member."""

    left_remembered_s: Duration = 86_400.0
    """How long a member that left on purpose stays in the view. Longer than any message about its life can
    take, so that it is not taken for a newcomer: hours are plenty, a day lets people see it."""

    def __post_init__(self) -> None:
        if self.probe_timeout_s * 1.8 > self.probe_interval_s:
            raise ValueError("probe_timeout_s must be at most 5/9 of probe_interval_s")
        if self.join_retry_max_s < self.join_retry_s:
            raise ValueError("join_retry_max_s must be at least join_retry_s")


class QueryConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What questions may cost this host. The defaults suit a host whose main work is another.

    Raises ValueError when values contradict each other.
    """

    scans_max: Annotated[int, Meta(ge=1, le=256)] = 4
    """Steps of scans that run at once; the others take turns. Each keeps one core or one disk busy: as many as
    logs may take of this host's cores."""

    queries_max: Annotated[int, Meta(ge=1, le=100_000)] = 64
    """Questions answered at once; one more is refused as busy. Each holds a connection to every host it asks and
    a few blocks of each (64 KiB and more), so this bounds memory and open files."""

    connections_max: Annotated[int, Meta(ge=1, le=1_000_000)] = 1024
    """Open connections, of peers and askers together; past that an idle one makes room, or the newcomer is turned
    away. Stay below the process's limit of open files (`ulimit -n`): a connection takes one."""

    bytes_max: Annotated[int, Meta(ge=1_048_576, le=1 << 62)] = 64 * 1024**3
    """Log text that one question may have read on this host. Past it the host's part is truncated, and the ledger has
    a cursor to go on from. At a gigabyte a second it is a minute of one core."""

    rows_max: Annotated[int, Meta(ge=1, le=1 << 62)] = 10_000_000
    """Rows that one question may have from this host; the same applies. Nobody reads so many: it is the bound of a
    pattern that matches everything."""

    work_max_s: Annotated[float, Meta(gt=0, le=86_400)] = 120.0
    """Seconds of work, of one thread, that one question may have on this host; the same applies."""

    stall_s: Annotated[float, Meta(ge=1, le=3600)] = 5.0
    """A host that gives no sign of life for this long while it is asked is given up as late. A host at work
    gives one twice a second, so this is the pause of a whole host (a stopped machine, a hanging disk)."""

    timeout_max_s: Annotated[float, Meta(ge=1, le=3600)] = 600.0
    """The longest time a question may ask for; one that asks for more is refused. It bounds forgotten questions."""

    links_max: Annotated[int, Meta(ge=8, le=100_000)] = 128
    """Gossip links kept open; the one least recently used is closed for a new one. At the size of the mesh or
    above nothing is ever redialled; an idle link costs 20 KiB."""

    def __post_init__(self) -> None:
        if self.queries_max > self.connections_max:
            raise ValueError("queries_max must be at most connections_max: every question comes over a connection")
        if self.stall_s > self.timeout_max_s:
            raise ValueError("stall_s must be at most timeout_max_s: no question takes longer than that")


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything one daemon is told. `cli.effective.load` makes it from a file, the environment and flags.

    Raises ValueError when values contradict each other.
    """

    name: str
    """What the mesh calls this node: unique in the mesh, the same after a restart. Usually the host's name."""

    listen: str = ADDRESS_DEFAULT
    """``HOST:PORT`` of the one socket for peers and askers; ``[::]:8514`` for IPv6; port 0 lets the system choose.
    Choose the address of the network the mesh is on, rather than all."""

    advertise: str | None = None
    """``HOST:PORT`` that other nodes dial. None: the address in use; where that is a wildcard, this host's own
    address on the way to the others. Needed behind a port mapping."""

    join: tuple[str, ...] = ()
    """Seeds: ``HOST:PORT`` of some members. One that answers is enough, so name two or three that are seldom
    down together; the same list may be given to all nodes, seeds included. None: alone by choice."""

    roots: tuple[str, ...] = ("/var/log",)
    """The directories below which everything that looks like a log is served."""

    include: tuple[str, ...] = ()
    """Globs of stream names, as askers write them (``nginx/*.log``): only such streams are served. None: all."""

    exclude: tuple[str, ...] = ()
    """Globs of stream names that are not served, whatever ``include`` says. An asker is not told of them."""

    journal: bool = True
    """Serve the systemd journal too, as far as this process may read it (group ``systemd-journal``)."""

    state_dir: str | None = None
    """A directory on a local disk in which this node remembers its last boot and whom it knew: a restart is then seen
    at once even where the clock went back, and the mesh is found again where the seeds are not. One for each
    process. None: nothing is remembered; systemd's ``StateDirectory=`` is the default where the unit has one."""

    timestamps: dict[str, str] = {}
    """For streams that match a glob, how their times are written, as ``strptime`` has it; for formats that are not
    found out by themselves. Of several globs that match the first counts."""

    redact: dict[str, str] = {}
    """Own rules: a name, and an RE2 pattern of what must not leave this host. Where the pattern has a group, the
    group is masked, else all of it."""

    redact_builtin: bool = True
    """Mask what is known to be secret: bearer tokens, private keys, AWS keys, passwords in URLs."""

    tags: dict[str, str] = {}
    """What askers select this host by (``-l role=web``). They travel in gossip: keep them few and short. They alone
    are taken while the daemon runs, on SIGHUP."""

    allow_unauthenticated: bool = False
    """Accept that whoever reaches ``listen`` can read the logs below ``roots``."""

    log_format: Literal["plain", "json"] = "plain"
    """``plain`` is for people, ``json`` has one object a line."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """``info`` tells of members and of questions refused; ``debug`` of every link."""

    drain_s: Annotated[float, Meta(ge=0, le=600)] = 5.0
    """How long running answers may finish at shutdown. The service manager must wait a little longer."""

    membership: MembershipConfig = MembershipConfig()
    query: QueryConfig = QueryConfig()

    def __post_init__(self) -> None:
        host, _ = split_address(self.listen)
        if not self.roots:
            raise ValueError("roots: a daemon without a directory has nothing to answer from")
        if not self.allow_unauthenticated and not is_loopback(host):
            raise ValueError(
                f"listen: {self.listen!r} would let anybody who reaches it read this host's logs, for there is no "
                "authentication yet. Listen on 127.0.0.1 or [::1], or accept it with --allow-unauthenticated "
                "(allow_unauthenticated = true)"
            )


def differing(one: Struct, other: Struct, table: str = "") -> list[str]:
    """The keys, with their tables, in which two configurations differ."""
    keys = []
    for name in one.__struct_fields__:
        ours, theirs = getattr(one, name), getattr(other, name)
        if isinstance(ours, Struct):
            keys += differing(ours, theirs, f"{name}.")
        elif ours != theirs:
            keys.append(table + name)
    return keys


def split_address(address: str) -> tuple[str, int]:
    """``HOST:PORT`` as its parts, an IPv6 address without its brackets. Raises ValueError if it is not one."""
    host, _, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not (port.isascii() and port.isdecimal()):
        raise ValueError(f"{address!r} is not HOST:PORT")
    if len(port) > len(str(PORT_MAX)) or int(port) > PORT_MAX:
        raise ValueError(f"{address!r} is not HOST:PORT: the port is out of range (0 to {PORT_MAX})")
    if bracketed:
        host = host[1:-1]
    if bracketed != (":" in host) or not host or not host.isprintable() or set(host) & set(" []/"):
        raise ValueError(f"{address!r} is not HOST:PORT, with IPv6 as [HOST]:PORT")
    try:
        host.encode("idna")  # as whoever resolves it will
    except UnicodeError:
        raise ValueError(f"{address!r} is not HOST:PORT: no host can have that name") from None
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``. A name other than ``localhost`` may be anything: it is not."""
    return host == "localhost" or (_is_ip(host) and ip_address(host).is_loopback)


def is_wildcard(host: str) -> bool:
    """Whether ``host`` stands for all addresses of this host: fit to listen on, not to be dialled."""
    return _is_ip(host) and ip_address(host).is_unspecified


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
