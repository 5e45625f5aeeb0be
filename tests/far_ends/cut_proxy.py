"""Stands between a client and its store and misbehaves by name.

loses_reply    the request runs; its replies and the connection are dropped
cuts_reply     the request runs; the first reply passes, then the connection is dropped
cuts_line      the connection is dropped before the request reaches the store
hangs          the request is swallowed and nothing comes back
trickles       the request runs; its replies come byte by byte, a tenth of a second apart
garbles        what comes back is no protocol
doubles_reply  one reply more than was asked for
refuses        nobody listens (for some times: accepted and dropped at once)
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path
from typing import Literal, Self

import hiredis

from tests.far_ends.valkey import free_port

Misdeed = Literal[
    "", "loses_reply", "cuts_reply", "cuts_line", "hangs", "trickles", "garbles", "doubles_reply", "refuses"
]


class CutProxy:
    """`target`: the store's unix socket. Listens on a port of loopback, or on a unix socket."""

    def __init__(self, target: str, *, unix: bool = False) -> None:
        self._target = target
        self._unix = unix
        self._folder = Path(tempfile.mkdtemp(prefix="otpsvc-test-"))
        self._server: asyncio.Server | None = None
        # Found free again after `refuses`.
        self._port = 0 if unix else free_port()
        self._misdeed: Misdeed = ""
        self._times: int | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        #: Connections that were accepted, and what each client sent, chunk by chunk.
        self.accepted = 0
        self.chunks: list[bytes] = []

    @property
    def url(self) -> str:
        return f"unix://{self._folder}/s" if self._unix else f"redis://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop_listening()
        self.cut()
        while self._tasks:
            await asyncio.wait(self._tasks)
        (self._folder / "s").unlink(missing_ok=True)
        self._folder.rmdir()

    async def misbehave(self, misdeed: Misdeed, *, times: int | None = 1) -> None:
        """From the next request on, so many times; None: until `behave`."""
        self._misdeed, self._times = misdeed, times
        if misdeed == "refuses" and times is None:
            self._stop_listening()
            self.cut()

    async def behave(self) -> None:
        self._misdeed = ""
        if self._server is None:
            await self._listen()

    def cut(self) -> None:
        """Drop every connection now."""
        for task in self._tasks:
            task.cancel()

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _listen(self) -> None:
        if self._unix:
            path = self._folder / "s"
            path.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._accept, path)
        else:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)

    def _due(self, *misdeeds: Misdeed) -> bool:
        """True when one of them is to be done now; counts it."""
        if self._misdeed not in misdeeds or self._times == 0:
            return False
        if self._times is not None:
            self._times -= 1
        return True

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Also of one that was cut before it began.
        task.add_done_callback(lambda _: writer.transport.abort())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            if not self._due("refuses"):
                await self._relay(reader, writer)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        store_reader, store_writer = await asyncio.open_unix_connection(self._target)
        back = asyncio.create_task(self._pass_on(store_reader, writer))
        try:
            while chunk := await reader.read(1 << 20):
                self.chunks.append(chunk)
                misdeed = self._misdeed
                if misdeed and misdeed != "refuses" and self._due(misdeed):
                    # From here on replies are read by the misdeed.
                    back.cancel()
                    await asyncio.wait([back])
                    await self._do(misdeed, chunk, (store_reader, store_writer), writer)
                    return
                store_writer.write(chunk)
                await store_writer.drain()
        finally:
            back.cancel()
            store_writer.transport.abort()
            await asyncio.wait([back])

    @staticmethod
    async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(1 << 20):
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def _do(
        self,
        misdeed: Misdeed,
        chunk: bytes,
        store: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        client: asyncio.StreamWriter,
    ) -> None:
        match misdeed:
            case "loses_reply" | "cuts_reply":
                store[1].write(chunk)
                replies = await _replies(store[0], _count(chunk))
                if misdeed == "cuts_reply":
                    client.write(replies[: _first(replies)])
                    await client.drain()
                    client.close()
                    await client.wait_closed()
            case "trickles":
                store[1].write(chunk)
                for byte in await _replies(store[0], _count(chunk)):
                    client.write(bytes([byte]))
                    await asyncio.sleep(0.1)
            case "garbles":
                client.write(b"\0 what?\r\n")
                await asyncio.sleep(60)
            case "doubles_reply":
                client.write(b"+EXTRA\r\n" * (_count(chunk) + 1))
                await asyncio.sleep(60)
            case "hangs":
                await asyncio.sleep(60)


def _count(chunk: bytes) -> int:
    """Whole commands (or replies) in a chunk."""
    missing = object()
    reader = hiredis.Reader(notEnoughData=missing)
    reader.feed(chunk)
    count = 0
    while reader.gets() is not missing:
        count += 1
    return count


def _first(replies: bytes) -> int:
    """Where the first reply ends."""
    end = replies.index(b"\n") + 1
    while _count(replies[:end]) == 0:
        end = replies.index(b"\n", end) + 1
    return end


async def _replies(reader: asyncio.StreamReader, wanted: int) -> bytes:
    """Read until the store has answered, and so has run, every command."""
    replies = b""
    while _count(replies) < wanted:
        replies += await reader.read(1 << 20)
    return replies
