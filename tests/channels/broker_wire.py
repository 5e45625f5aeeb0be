"""Stands between a channel and its broker, and misbehaves by name once a message was published.

loses_answer     the broker gets the message; the line is dropped before its answer
takes_and_waits  the broker gets the message; what it answers waits until `release` is set
says_no          the broker's word that it has the message becomes one that it has not
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, Self

from tests.far_ends.valkey import free_port

Misdeed = Literal["", "loses_answer", "takes_and_waits", "says_no"]


class BrokerWire:
    """`async with BrokerWire(port, …) as far:`; set `far.misdeed` at any time.

    `publishes`: whether a chunk of the client holds a message; `refused`: the broker's chunk
    with a refusal in place of each confirm.
    """

    def __init__(
        self, target: int, *, publishes: Callable[[bytes], bool], refused: Callable[[bytes], bytes]
    ) -> None:
        #: Its own for as long as it lives, also while nobody listens there.
        self.port = free_port()
        #: Connections, and chunks with messages in them.
        self.accepted = 0
        self.published = 0
        self.misdeed: Misdeed = ""
        self.arrived = asyncio.Event()
        self.release = asyncio.Event()
        self._target = target
        self._publishes = publishes
        self._refused = refused
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def cut(self) -> None:
        """Drop every connection now."""
        for task in self._tasks:
            task.cancel()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.get_running_loop().create_task(self._join(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far = None
        ways: list[asyncio.Task[None]] = []
        answers = asyncio.Event()
        answers.set()
        try:
            far_reader, far = await asyncio.open_connection("127.0.0.1", self._target)
            ways = [
                asyncio.create_task(self._pass_to(reader, far, answers)),
                asyncio.create_task(self._pass_back(far_reader, writer, answers)),
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
            await asyncio.gather(*ways, return_exceptions=True)

    async def _pass_to(
        self, reader: asyncio.StreamReader, far: asyncio.StreamWriter, answers: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while chunk := await reader.read(1 << 16):
                publishes = self._publishes(chunk)
                self.published += publishes
                misdeed = self.misdeed if publishes else ""
                if misdeed in ("takes_and_waits", "loses_answer"):
                    answers.clear()
                far.write(chunk)
                await far.drain()
                if misdeed == "loses_answer":
                    return
                if misdeed == "takes_and_waits":
                    self.arrived.set()
                    await self.release.wait()
                    answers.set()

    async def _pass_back(
        self, far: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while chunk := await far.read(1 << 16):
                await answers.wait()
                writer.write(self._refused(chunk) if self.misdeed == "says_no" else chunk)
                await writer.drain()
