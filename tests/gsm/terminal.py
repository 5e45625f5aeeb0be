"""A person at a terminal: types at a port and reads what comes, without the library's own AT side."""

from __future__ import annotations

import asyncio
import os
import tty
from types import TracebackType
from typing import Self

from otpsvc.gsm.emulator import EmulatedModem
from otpsvc.gsm.parts import split
from otpsvc.gsm.pdu import Submit
from tests.waiting import until

FINAL = (b"OK\r\n", b"ERROR\r\n", b"+CMS ERROR: ", b"+CME ERROR: ")


class Terminal:
    def __init__(self, path: str) -> None:
        self._path = path
        self.port = -1
        self.seen = bytearray()
        self.gone = False

    async def __aenter__(self) -> Self:
        self.port = os.open(self._path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(self.port)
        asyncio.get_running_loop().add_reader(self.port, self._read)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hang_up()

    def hang_up(self) -> None:
        if self.port >= 0:
            asyncio.get_running_loop().remove_reader(self.port)
            os.close(self.port)
            self.port = -1

    def _read(self) -> None:
        try:
            data = os.read(self.port, 65536)
        except OSError:
            data = b""
        if not data:
            self.gone = True
            asyncio.get_running_loop().remove_reader(self.port)
        self.seen += data

    def type(self, data: bytes) -> None:
        os.write(self.port, data)

    async def until(self, *ends: bytes) -> bytes:
        """Everything up to one of `ends` (or to the unplugging), taken out of `seen`."""
        await until(
            lambda: self.gone or any(end in self.seen for end in ends),
            lambda: f"{bytes(self.seen)!r} without {ends}",
        )
        found = [self.seen.find(end) + len(end) for end in ends if end in self.seen]
        return self._take(min(found, default=len(self.seen)))

    async def unplugged(self) -> None:
        await until(lambda: self.gone)

    def _take(self, count: int) -> bytes:
        taken = bytes(self.seen[:count])
        del self.seen[:count]
        return taken

    async def ask(self, command: str, *ends: bytes) -> str:
        """The answer to a command up to its result code, without blank lines."""
        self.type(command.encode("latin-1") + b"\r")
        answer = await self.until(*(ends or FINAL))
        if answer.endswith(b"ERROR: "):
            answer += await self.until(b"\r\n")
        return "\n".join(line for line in answer.decode("latin-1").splitlines() if line.strip())

    async def hand(self, to: str, text: str, *, report: bool = False) -> str:
        """Send a text of one part: the answer after the body."""
        pdu, length = Submit(to=to, part=split(text, reference=0)[0], report=report).encoded()
        shown = await self.ask(f"AT+CMGS={length}", b">", b"ERROR")
        if not shown.endswith(">"):
            return shown
        return await self.ask(pdu + "\x1a")


async def reads(modem: EmulatedModem, terminal: Terminal, typed: bytes) -> None:
    """Type what is not answered now, and wait until the modem has read it: a pty takes its time."""
    came, heard = bytearray(), modem._wire._received

    def hear(octets: bytes) -> None:
        came.extend(octets)
        heard(octets)

    modem._wire._received = hear
    terminal.type(typed)
    await until(lambda: came.endswith(typed), lambda: bytes(came))
    modem._wire._received = heard


def let_time_pass(modem: EmulatedModem) -> None:
    """What the running command waits for is over, however long it was to last."""
    if modem.dialogue._timer is not None:
        modem.dialogue._timer.cancel()
    modem.dialogue._resume()
