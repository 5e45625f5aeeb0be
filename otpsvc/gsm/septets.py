"""Septets into octets and out: 3GPP TS 23.038, 6.1.2.1."""

from __future__ import annotations

from typing import Final

# Text, because joining it is much faster than shifting one long number.
_BITS: Final = tuple(f"{septet:07b}" for septet in range(128)) * 2


def pack(septets: bytes, fill: int = 0) -> bytes:
    """Septets (one an octet) packed, the first in the lowest bits, after `fill` zero bits (0 to 6).

    What is left of the last octet is zero: how many septets there are must be told apart from it.
    """
    if not septets:
        return b""
    bits = "".join([_BITS[septet] for septet in reversed(septets)])
    return (int(bits, 2) << fill).to_bytes((len(bits) + fill + 7) // 8, "little")


def unpack(octets: bytes, count: int, fill: int = 0) -> bytes:
    """`count` septets (one an octet) after `fill` bits; fewer when the octets hold no more."""
    count = min(count, max(0, len(octets) * 8 - fill) // 7)
    bits = int.from_bytes(octets, "little") >> fill
    return bytes([bits >> 7 * place & 0x7F for place in range(count)])
