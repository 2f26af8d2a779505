"""What the structs check themselves: addresses, and keys that contradict each other."""

from __future__ import annotations

import pytest

from varlogd.config import Config, MembershipConfig, QueryConfig, differing, is_loopback, is_wildcard, split_address


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("127.0.0.1:8514", ("127.0.0.1", 8514)),
        ("web1.example.net:0", ("web1.example.net", 0)),
        ("[::1]:65535", ("::1", 65535)),
        ("[fe80::1%eth0]:1", ("fe80::1%eth0", 1)),
        ("web1.example.net.:1", ("web1.example.net.", 1)),
        ("bücher.example:1", ("bücher.example", 1)),
    ],
)
def test_an_address_has_a_host_and_a_port(address: str, parts: tuple[str, int]) -> None:
    assert split_address(address) == parts


@pytest.mark.parametrize(
    "address",
    [
        "",
        "web1",
        ":8514",
        "web1:",
        "web1:x",
        "web1:-1",
        "web1..example:1",
        ".:1",
        "\u3002:1",
        "x" * 64 + ".example:1",
        "web1:65536",
        "web1:٣",
        "web1:" + "9" * 5000,
        "::1:8514",
        "[web1]:8514",
        "[]:8514",
        "[::1:8514",
        "we b1:8514",
        "web1/x:8514",
        "web\x1b1:8514",
    ],
)
def test_what_is_not_an_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="is not HOST:PORT"):
        split_address(address)


def test_loopback_and_wildcards() -> None:
    loopback = ("127.0.0.1", "127.9.9.9", "::1", "localhost")
    others = ("0.0.0.0", "::", "10.0.0.1", "web1", "127.1", "localhost.example.net")
    assert [host for host in (*loopback, *others) if is_loopback(host)] == list(loopback)
    assert [host for host in (*loopback, *others) if is_wildcard(host)] == ["0.0.0.0", "::"]


@pytest.mark.parametrize("listen", ["0.0.0.0:8514", "[::]:8514", "10.0.0.1:8514", "web1:8514"])
def test_beyond_loopback_only_where_it_is_accepted(listen: str) -> None:
    with pytest.raises(ValueError, match="--allow-unauthenticated"):
        Config(name="web1", listen=listen)
    assert Config(name="web1", listen=listen, allow_unauthenticated=True).listen == listen


def test_keys_that_contradict_each_other_are_both_named() -> None:
    with pytest.raises(ValueError, match=r"probe_timeout_s .* probe_interval_s"):
        MembershipConfig(probe_interval_s=0.5)
    with pytest.raises(ValueError, match=r"queries_max .* connections_max"):
        QueryConfig(queries_max=65, connections_max=64)
    with pytest.raises(ValueError, match=r"stall_s .* timeout_max_s"):
        QueryConfig(stall_s=11, timeout_max_s=10)
    with pytest.raises(ValueError, match="roots"):
        Config(name="web1", roots=())


def test_what_differs_is_named_with_its_table() -> None:
    one = Config(name="web1")
    other = Config(name="web1", tags={"dc": "x"}, query=QueryConfig(scans_max=2))
    assert differing(one, other) == ["tags", "query.scans_max"]
    assert differing(one, one) == []
