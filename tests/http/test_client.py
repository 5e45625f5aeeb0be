"""Where a request comes from: only what our own proxies say counts."""

from __future__ import annotations

from typing import Any

import pytest

from otpsvc.http.client import client_address, masked, read_trusted


def seen(peer: str | None, *forwarded: str, trusted: tuple[str, ...] = ()) -> str:
    scope: dict[str, Any] = {
        "client": (peer, 5) if peer is not None else None,
        "headers": [(b"x-forwarded-for", value.encode()) for value in forwarded],
    }
    return client_address(scope, read_trusted(trusted))


def test_without_proxies_the_peer_is_the_client() -> None:
    assert seen("203.0.113.7") == "203.0.113.7"
    assert seen("203.0.113.7", "192.0.2.1") == "203.0.113.7"
    assert seen("::ffff:203.0.113.7") == "203.0.113.7"
    assert seen("2001:DB8::0:1") == "2001:db8::1"


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        (("192.0.2.1",), "192.0.2.1"),
        (("6.6.6.6, 192.0.2.1",), "192.0.2.1"),
        (("6.6.6.6, 192.0.2.1, 10.0.0.9",), "192.0.2.1"),
        (("6.6.6.6", "192.0.2.1", "10.0.0.9, 10.0.0.8"), "192.0.2.1"),
        (("10.0.0.9",), "10.0.0.9"),
        ((), "10.0.0.1"),
        (("",), "10.0.0.1"),
        (("unknown",), "10.0.0.1"),
        (("192.0.2.1, garbage, 10.0.0.9",), "10.0.0.9"),
        (("192.0.2.1:4711",), "192.0.2.1"),
        (("[2001:db8::7]:443",), "2001:db8::7"),
        (("2001:db8::7",), "2001:db8::7"),
        (("::ffff:192.0.2.1",), "192.0.2.1"),
        (("::ffff:10.0.0.9",), "10.0.0.9"),
        (("fe80::1%eth0",), "fe80::1"),
        ((", ".join(["192.0.2.1"] + ["10.0.0.9"] * 100),), "10.0.0.9"),
    ],
)
def test_the_walk_goes_from_the_right_while_hops_are_ours(forwarded: tuple[str, ...], client: str) -> None:
    assert seen("10.0.0.1", *forwarded, trusted=("10.0.0.0/8",)) == client


def test_a_stranger_is_not_believed() -> None:
    assert seen("203.0.113.7", "192.0.2.1", trusted=("10.0.0.0/8",)) == "203.0.113.7"


def test_a_unix_socket_is_a_proxy_only_by_name() -> None:
    assert seen(None, "192.0.2.1") == ""
    assert seen(None, "192.0.2.1", trusted=("10.0.0.0/8",)) == ""
    assert seen(None, "192.0.2.1", trusted=("unix",)) == "192.0.2.1"
    assert seen("", "192.0.2.1, 10.0.0.9", trusted=("unix", "10.0.0.0/8")) == "192.0.2.1"
    assert seen(None, trusted=("unix",)) == ""


def test_masks() -> None:
    assert masked("203.0.113.7") == "203.0.113.0/24"
    assert masked("2001:db8:1:2:3::4") == "2001:db8:1::/48"
    assert masked("") == ""
