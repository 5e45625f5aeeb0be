"""Octets of a PDU, read one field after another."""

from __future__ import annotations

import binascii

from otpsvc.errors import BadPdu


class Octets:
    """Raises BadPdu where fewer octets are left than a field needs."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._octets) - self._at

    def octet(self) -> int:
        return self.take(1)[0]

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise BadPdu(f"The PDU ends early: a field of {count} octets, {self.left} are left.")
        self._at += count
        return self._octets[self._at - count : self._at]


def from_hex(hexes: str) -> Octets:
    """Raises: BadPdu."""
    try:
        return Octets(binascii.unhexlify(hexes.strip()))
    except ValueError:
        # `from None`: the error's own chain must not hold the PDU.
        raise BadPdu("A PDU is written in pairs of hexadecimal digits.") from None
