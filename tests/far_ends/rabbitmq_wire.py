"""Stands between a client and RabbitMQ, and goes dead."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Self

from tests.far_ends.valkey import free_port


class Wire:
    """A line to the broker that can be cut, and that can go dead without anybody being told.

    `async with Wire(port) as wire:` and connect to `wire.port`.
    """

    def __init__(self, target: int) -> None:
        #: Its own for as long as it lives, also while nobody listens there.
        self.port = free_port()
        self.accepted = 0
        self._target = target
        self._passes = asyncio.Event()
        self._passes.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def cut(self) -> None:
        """Every line, without a goodbye."""
        for task in self._tasks:
            task.cancel()

    def freeze(self) -> None:
        """Nothing passes any more; both ends believe that they are connected."""
        self._passes.clear()

    def thaw(self) -> None:
        self._passes.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.get_running_loop().create_task(self._join(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Also where it was cut before its first step.
        task.add_done_callback(lambda _: writer.transport.abort())

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far = None
        ways: list[asyncio.Task[None]] = []
        try:
            far_reader, far = await asyncio.open_connection("127.0.0.1", self._target)
            ways = [
                asyncio.create_task(self._pass_on(reader, far)),
                asyncio.create_task(self._pass_on(far_reader, writer)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for way in ways:
                way.cancel()
            for end in (writer, far):
                if end is not None:
                    end.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(1 << 16):
                await self._passes.wait()
                writer.write(chunk)
                await writer.drain()
