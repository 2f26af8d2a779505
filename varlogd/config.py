"""Configuration: frozen structs in which every key has a default, a meaning, and a hint on how to choose it.

Units end a name. Values are validated once, where they come in; nothing downstream checks them again.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

Duration = Annotated[float, Meta(gt=0, le=30 * 86_400)]
"""Seconds: more than none, at most thirty days."""


class MembershipConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the mesh learns who is alive. The defaults fit a LAN of up to some hundred nodes.

    What they give: a process that is killed is known dead by all in about 2.5 s at 5 nodes and 3.3 s at 20;
    one that hangs for 3 s is suspected, but never declared dead. All nodes of a mesh should agree on them.

    Raises ValueError when values contradict each other.
    """

    probe_interval_s: Duration = 1.0
    """Every node probes one member this often. Shorter finds failures sooner and costs load in proportion:
    a node sends about two messages per interval. It is the unit of the suspicion time-out as well."""

    probe_timeout_s: Annotated[float, Meta(gt=0, le=600)] = 0.5
    """How long a ping may go unanswered before other members are asked to try. Several times the worst round
    trip, pauses of the Python process included, and at most 5/9 of the interval, so that the helpers' nacks
    (at 80 % of it) come within the interval. A LAN answers in 1 ms; a busy host needs the rest."""

    indirect_probes: Annotated[int, Meta(ge=0, le=16)] = 3
    """How many members are asked to probe one that did not answer us (k in the SWIM paper). Three make it
    unlikely that all of them share our bad way there. 0: believe one's own ping alone."""

    suspicion_alpha: Annotated[float, Meta(gt=0, le=100)] = 2.5
    """Min, the shortest suspicion time-out, is alpha x max(1, log10(nodes)) probe intervals: 2.5 s at 5 nodes,
    3.3 s at 20. It is nearly all of the detection time of a killed process, since every survivor then
    notices at once and confirms. It is also the pause a healthy node may make: suspicion starts 0.9 s after an
    unanswered ping (0.5 s at two nodes, where nobody can be asked), so a node that was stopped for 3 s is
    back before 0.9 + 2.5 s are over. Raise it for hosts that stall longer: 5 is what the Lifeguard paper and
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
    """To how many members news is sent each time. With 3 it reaches 20 nodes in about 0.3 s, 500 in 0.6 s."""

    retransmit_factor: Annotated[int, Meta(ge=1, le=64)] = 4
    """Each node passes a claim on at most this x ceil(log10(nodes + 1)) times (lambda in the SWIM paper). 4
    reaches all members with a margin; what is missed all the same is found by push-pull."""

    push_pull_interval_s: Duration = 30.0
    """How often a node compares its whole view with that of a random member. It repairs what gossip missed;
    its cost grows with the number of members, so lengthen it beyond a thousand."""

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
