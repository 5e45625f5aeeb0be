"""The far end of messages, and the yardstick: what an answer costs when nothing is done for it.

Both are bare protocols on loopback that answer fixed bytes.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final, Literal

from msgspec import Struct

from tests.bench.child import Child, Obey

ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n"
    b'Content-Length: 20\r\n\r\n{"status":"success"}'
)
_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length: "
_ID: Final = b'"challenge":"'


class Ask(Struct, frozen=True, array_like=True):
    """`delay` sets the seconds before an answer; `take` gives the arrivals and forgets them."""

    word: Literal["port", "delay", "count", "take"]
    seconds: float = 0.0


class _Bare(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self._write = transport.write

    def data_received(self, _: bytes) -> None:
        self._write(ANSWER)


class _Sink:
    """Notes when each challenge's message came. Times are those of `time.monotonic`, machine-wide."""

    def __init__(self) -> None:
        self.delay = 0.0
        self.arrivals: dict[str, float] = {}
        self.count = 0
        self.port = 0

    async def obey(self, ask: Ask) -> object:
        if ask.word == "delay":
            self.delay = ask.seconds
        if ask.word == "take":
            taken, self.arrivals = self.arrivals, {}
            return taken
        return self.port if ask.word == "port" else self.count


class _SinkLine(asyncio.Protocol):
    """One connection that posts come over, one after another."""

    def __init__(self, sink: _Sink) -> None:
        self._sink = sink
        self._got = b""

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.Transport = transport

    def data_received(self, data: bytes) -> None:
        got = self._got + data if self._got else data
        head = got.find(_END)
        if head < 0 or len(got) < head + 4 + _length(got, head):
            self._got = got
            return
        self._got = b""
        sink, at = self._sink, got.find(_ID, head) + len(_ID)
        sink.count += 1
        sink.arrivals.setdefault(got[at : got.index(b'"', at)].decode(), time.monotonic())
        if sink.delay:
            asyncio.get_running_loop().call_later(sink.delay, self._answer)
        else:
            self._transport.write(ANSWER)

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(ANSWER)


def _length(got: bytes, head: int) -> int:
    at = got[:head].lower().index(_LENGTH) + len(_LENGTH)
    return int(got[at : at + 8].partition(b"\r")[0])


async def _begin_sink() -> Obey:
    sink = _Sink()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _SinkLine(sink), "127.0.0.1", 0)
    sink.port = server.sockets[0].getsockname()[1]
    return sink.obey


async def _begin_yardstick() -> Obey:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Bare, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def obey(_: Ask) -> object:
        return port

    return obey


class Sink(Child):
    """A webhook's server in a process of its own."""

    def __init__(self) -> None:
        super().__init__(_begin_sink)

    def port(self) -> int:
        return int(self.ask(Ask("port")))

    def delay(self, seconds: float) -> None:
        """From now on every answer takes that long."""
        self.ask(Ask("delay", seconds))

    def count(self) -> int:
        """Posts that came since the start."""
        return int(self.ask(Ask("count")))

    def take(self) -> dict[str, float]:
        """When the first message of each id came; they are forgotten."""
        taken: dict[str, float] = self.ask(Ask("take"))
        return taken


class Yardstick(Child):
    """An asyncio protocol that answers fixed bytes, in a process of its own."""

    def __init__(self) -> None:
        super().__init__(_begin_yardstick)

    def port(self) -> int:
        return int(self.ask(Ask("port")))
