"""HTTP/1.1 of one connection: uvicorn's, with bounds on the size and the time of a request.

uvicorn on httptools has neither: a head may grow for ever, and whoever sends a byte a
minute keeps a connection for as long as they like.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from otpsvc.http.envelope import WHOLE

#: Bytes of the request line's target, and of all headers.
TARGET_MAX: Final = 8192
HEAD_MAX: Final = 16_384


#: A whole answer may be sent as one message of type `WHOLE`, with `status`, `headers`
#: (safe and complete, with a content-length) and `body`.
_EXTENSIONS: Final[dict[str, dict[object, object]]] = {WHOLE: {}}


class TooLarge(ValueError):
    """Ends the parsing; the client gets a 400 and the connection is closed."""


class _Cycle(RequestResponseCycle):
    """One request and its answer; an answer that is whole is written at once.

    uvicorn looks at every header of every answer with two patterns; those of `WHOLE` are our own.
    """

    async def send(self, message: Any) -> None:
        if message["type"] != WHOLE:
            await super().send(message)
            return
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        self.response_started = self.response_complete = True
        headers = [*self.default_headers, *message["headers"]]
        if (b"connection", b"close") in headers:
            self.keep_alive = False
        elif not self.keep_alive:
            headers.append((b"connection", b"close"))
        head = b"".join([name + b": " + value + b"\r\n" for name, value in headers])
        self.transport.write(STATUS_LINE[message["status"]] + head + b"\r\n" + message["body"])
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


class HttpProtocol(HttpToolsProtocol):
    """One connection."""

    #: Seconds from the first byte of a request (or from connecting) to its last.
    patience: ClassVar[float] = 15.0
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

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        # uvicorn names the class in the middle of a long method.
        cycle.__class__ = _Cycle
        cycle.scope["extensions"] = _EXTENSIONS
        super()._start_asgi_task(cycle, app)

    def on_message_complete(self) -> None:
        self._unfinished = False
        super().on_message_complete()

    def _count(self, size: int, most: int) -> None:
        self._head += size
        if self._head > most:
            raise TooLarge

    def _arm(self) -> None:
        self._timer = self.loop.call_later(self.patience, self._too_slow)

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
