"""HTTP/1.1 of one connection: uvicorn's, with bounds on the size and the time of a request.

uvicorn on httptools has neither: a head may grow for ever, and whoever sends a byte a
minute keeps a connection for as long as they like.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Bytes of the request line's target, and of all headers.
TARGET_MAX: Final = 8192
HEAD_MAX: Final = 16_384
#: Seconds from the first byte of a request (or from connecting) to its last.
REQUEST: Final = 15.0


class TooLarge(ValueError):
    """Ends the parsing; the client gets a 400 and the connection is closed."""


class HttpProtocol(HttpToolsProtocol):
    """One connection."""

    _head = 0
    _unfinished = False
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._unfinished:
            if self._timer is None:
                self._arm()
        elif self._timer is not None:
            self._disarm()

    def on_message_begin(self) -> None:
        self._head, self._unfinished = 0, True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url), TARGET_MAX)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4, TARGET_MAX + HEAD_MAX)
        super().on_header(name, value)

    def on_message_complete(self) -> None:
        self._unfinished = False
        super().on_message_complete()

    def _count(self, size: int, most: int) -> None:
        self._head += size
        if self._head > most:
            raise TooLarge

    def _arm(self) -> None:
        self._timer = self.loop.call_later(REQUEST, self._too_slow)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        transport: Any = self.transport
        if not transport.is_closing():
            # Nothing is answered: whoever stalls in mid-request does not listen.
            transport.abort()
