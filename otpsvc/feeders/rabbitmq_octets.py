"""Frames of a broker that aiormq could not read, made readable.

Names and properties are octets to RabbitMQ: a publisher may give a message id in
Latin-1, or a timestamp in milliseconds. pamqp raises at those, the connection breaks, and
the message comes again and breaks the next one, for ever.
"""

from __future__ import annotations

import asyncio
from typing import Final

from pamqp.header import ContentHeader

#: AMQP 0-9-1, 4.2.3: types of frames; 4.2.6.1: where a content header's properties begin.
_METHOD, _HEADER = 1, 2
_FLAGS_AT, _PROPERTIES_AT = 12, 14
#: basic.deliver
_DELIVER: Final = b"\0\x3c\0\x3c"
#: Flags of what is more than text: headers, timestamp, and that more flags follow.
_RICH: Final = 0x2041


class TolerantReader:
    """What aiormq reads with: the type, six octets more, then the rest of a frame with its end."""

    def __init__(self, inner: asyncio.StreamReader) -> None:
        self._inner = inner
        self._kind = 0

    def at_eof(self) -> bool:
        return self._inner.at_eof()

    async def read(self, n: int = -1) -> bytes:
        return await self._inner.read(n)

    async def readexactly(self, n: int) -> bytes:
        octets = await self._inner.readexactly(n)
        if n == 1:
            self._kind = octets[0]
        elif n != 6 and self._kind == _HEADER:
            return readable_header(octets)
        elif n != 6 and self._kind == _METHOD and octets.startswith(_DELIVER):
            return readable_delivery(octets)
        return octets


def readable_header(octets: bytes) -> bytes:
    """A content header; without its properties if one of them cannot be read."""
    flags = int.from_bytes(octets[_FLAGS_AT:_PROPERTIES_AT], "big")
    # RabbitMQ itself refuses what is cut short. Reading all twice would cost a tenth of everything.
    if not flags & _RICH and octets[_PROPERTIES_AT:-1].isascii():
        return octets
    try:
        ContentHeader().unmarshal(octets[:-1])
    except Exception:  # noqa: BLE001 - pamqp lets through whatever its parts raise
        # What follows flags of nothing is not looked at, and the length stays.
        return octets[:_FLAGS_AT] + b"\0\0" + octets[_PROPERTIES_AT:]
    return octets


def readable_delivery(octets: bytes) -> bytes:
    """A basic.deliver; with question marks where exchange or routing key are not UTF-8."""
    tag_at = len(_DELIVER) + 1 + octets[len(_DELIVER)]
    names_at = tag_at + 8 + 1
    names = octets[names_at:-1]
    if names.isascii():
        return octets
    length = names[0]
    parts = [_utf8(names[1 : 1 + length]), _utf8(names[2 + length :])]
    made = names[:1] + parts[0] + names[1 + length : 2 + length] + parts[1]
    return octets[:names_at] + made + octets[-1:]


def _utf8(name: bytes) -> bytes:
    try:
        name.decode()
    except UnicodeDecodeError:
        return bytes(octet if octet < 128 else ord("?") for octet in name)
    return name
