"""The far end of a port by script: a pty that expects bytes, answers bytes, and misbehaves on demand."""

from __future__ import annotations

import asyncio
import os
import pty
import tty
from types import TracebackType
from typing import Any, Self

import pytest

from otpsvc.gsm.at import At, Response
from otpsvc.gsm.settings import Timeouts
from otpsvc.gsm.trace import TraceLine
from otpsvc.gsm.urc import Urc
from tests.waiting import PATIENCE, until

#: Generous where an answer comes, so that no test depends on how fast the machine is.
TIMEOUTS = Timeouts(basic=15, setting=15, slow=15, storage=15, prompt=15, result=15, late_result=30)
PDU = "0011000B912618325476F80000AA0AE8329BFD4697D9EC37"
#: A delivery of 20 octets: SMSC of 7 + 1, TPDU of 12.
CAME = "0791261832547698040B912618325476F80000AA"
HEADER = "+CMT: ,12"


class FarEnd:
    """`path` is the port of the client. What is written before it opens is lost: pyserial flushes."""

    def __init__(self) -> None:
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        self.seen = bytearray()
        self._answers: dict[bytes, bytes] = {}

    async def __aenter__(self) -> Self:
        asyncio.get_running_loop().add_reader(self._master, self._read)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unplug()

    def unplug(self) -> None:
        if self._master >= 0:
            asyncio.get_running_loop().remove_reader(self._master)
            os.close(self._master)
            os.close(self._slave)
            self._master = -1

    def stop_reading(self) -> None:
        asyncio.get_running_loop().remove_reader(self._master)

    def say(self, data: bytes) -> None:
        assert os.write(self._master, data) == len(data)

    def always(self, command: bytes, answer: bytes) -> None:
        """From now on, each line that is exactly `command` is answered so, without `expect`."""
        self._answers[command] = answer

    def in_step(self) -> None:
        """Answers what a resync asks."""
        self.always(b"AT", b"\r\nOK\r\n")
        self.always(b"ATQ0V1", b"\r\nOK\r\n")
        self.always(b"AT+CMEE?", b"\r\n+CMEE: 1\r\n\r\nOK\r\n")

    async def expect(self, data: bytes) -> None:
        """Wait until the client wrote exactly this next."""
        await until(lambda: len(self.seen) >= len(data), lambda: bytes(self.seen))
        got, self.seen = bytes(self.seen[: len(data)]), self.seen[len(data) :]
        assert got == data

    async def until(self, data: bytes) -> bytes:
        """Wait until the client wrote this, and forget all up to its end; gives what was before."""
        await until(lambda: data in self.seen, lambda: bytes(self.seen))
        before, _, rest = bytes(self.seen).partition(data)
        self.seen = bytearray(rest)
        return before

    async def answer(self, command: bytes, answer: bytes) -> None:
        await self.expect(command + b"\r")
        self.say(answer)

    def _read(self) -> None:
        try:
            self.seen += os.read(self._master, 65536)
        except BlockingIOError:
            return
        while b"\r" in self.seen:
            line, _, rest = bytes(self.seen).partition(b"\r")
            command = line.lstrip(b"\x1b")
            if command and command not in self._answers:
                break
            if not self._answers:
                break
            self.seen = bytearray(rest)
            if command:
                self.say(self._answers[command])


class Client:
    """An At on a far end, and all that it told."""

    def __init__(self, timeouts: Timeouts = TIMEOUTS) -> None:
        self.heard: list[Urc] = []
        self.losses: list[str] = []
        self.traced: list[TraceLine] = []
        self.at = At(
            heard=self.heard.append, lost=self.losses.append, timeouts=timeouts, trace=self.traced.append
        )

    async def hears(self, count: int = 1) -> list[Urc]:
        await until(lambda: len(self.heard) >= count, lambda: self.heard)
        return self.heard

    async def is_cut(self) -> None:
        await until(lambda: self.losses)


async def end(task: asyncio.Task[Any]) -> Any:
    async with asyncio.timeout(PATIENCE):
        return await task


async def cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await end(task)


def submit(client: Client, **options: Any) -> asyncio.Task[Any]:
    limits: dict[str, Any] = {"prompt": 15, "result": 15, "late": 30} | options
    return asyncio.create_task(client.at.submit("AT+CMGS=23", PDU, **limits))


async def at_once(far: FarEnd, client: Client) -> None:
    """Nothing was written, and nothing is owed: the next command is the next that the far end sees."""
    task = asyncio.create_task(client.at.ask("AT+CGMM"))
    await far.answer(b"AT+CGMM", b"\r\nM1\r\n\r\nOK\r\n")
    assert await end(task) == Response((b"M1",))


async def usual(far: FarEnd, client: Client) -> None:
    """The port is in step: the next command gets its own answer."""
    task = asyncio.create_task(client.at.ask("AT+CGMM"))
    await far.until(b"AT+CGMM\r")
    far.say(b"\r\nM1\r\n\r\nOK\r\n")
    assert await end(task) == Response((b"M1",))
