"""Where a request really comes from: the first address, from the right, that is none of our proxies.

A proxy appends the address that it saw to X-Forwarded-For, so only what trusted hops
wrote counts, and those stand on the right. Who connects directly is believed nothing.
A unix socket has no address: its peer is a proxy if `trusted_proxies` names `unix`,
and else unknown ("").
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from msgspec import Struct

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_HOPS = 32


class Trusted(Struct, frozen=True):
    """The proxies whose word counts."""

    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    unix: bool = False

    def holds(self, address: Address) -> bool:
        """True when the address is one of our proxies."""
        return any(address in network for network in self.networks)


def read_trusted(proxies: Iterable[str]) -> Trusted:
    """`trusted_proxies` of the config: networks, addresses and `unix`. Raises: ValueError."""
    listed = tuple(proxies)
    networks = tuple(ipaddress.ip_network(proxy) for proxy in listed if proxy != "unix")
    return Trusted(networks, "unix" in listed)


def client_address(scope: Mapping[str, Any], trusted: Trusted) -> str:
    """The client's address in its one form; "" when it cannot be known."""
    peer = scope.get("client")
    if not peer or not peer[0]:
        return _walk("", scope, trusted) if trusted.unix else ""
    if not trusted.networks:
        return _plain(peer[0])
    address = _read(peer[0])
    if address is None or not trusted.holds(address):
        return _plain(peer[0])
    return _walk(_plain(peer[0]), scope, trusted)


def _walk(nearest: str, scope: Mapping[str, Any], trusted: Trusted) -> str:
    """From the right, while the hops are ours; what cannot be read ends the walk where it stands."""
    lines = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    for hop in b",".join(lines).decode("latin-1").split(",")[: -_HOPS - 1 : -1]:
        address = _read(hop.strip())
        if address is None:
            return nearest
        nearest = str(address)
        if not trusted.holds(address):
            return nearest
    return nearest


def _read(text: str) -> Address | None:
    """An address, perhaps with a port, as proxies write it."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


@lru_cache(1024)
def _plain(text: str) -> str:
    address = _read(text)
    return str(address) if address else ""


@lru_cache(1024)
def masked(address: str) -> str:
    """For logs: the /24 of an IPv4 address, the /48 of an IPv6 address."""
    if not address:
        return ""
    bits = 24 if "." in address else 48
    return str(ipaddress.ip_network((address, bits), strict=False))
