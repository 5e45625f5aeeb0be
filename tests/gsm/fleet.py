"""A pool over emulated modems, each on a pty of its own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from msgspec.structs import replace

from otpsvc.gsm.emulator import EmulatedModem, Network
from otpsvc.gsm.ledger import MemoryLedger
from otpsvc.gsm.pool import Pool
from otpsvc.gsm.port import Line, Receiver, open_port
from otpsvc.gsm.settings import ModemSettings, PoolSettings, Timeouts
from otpsvc.gsm.types import Change, Delivered, Event, Job, State
from tests.waiting import until

#: None of them ends where nothing is wrong, however busy the machine is.
TIMEOUTS = Timeouts(
    basic=10,
    setting=10,
    slow=60,
    storage=60,
    prompt=60,
    result=60,
    late_result=120,
    ussd=60,
    reset=60,
    sim=60,
)
#: For tests that wait for the end of some.
QUICK = Timeouts(basic=2, setting=3, slow=5, prompt=2, result=2, late_result=6, sim=20)


class Tapped:
    """A line that keeps what was written to it."""

    def __init__(self, line: Line, log: bytearray) -> None:
        self._line = line
        self._log = log

    def write(self, data: bytes) -> None:
        self._log += data
        self._line.write(data)

    def close(self) -> None:
        self._line.close()


class Fleet:
    """`count` modems named m0, m1 …; `of` has more settings for each, `quirks` the emulator's."""

    def __init__(
        self,
        net: Network,
        count: int = 1,
        *,
        of: Sequence[dict[str, Any]] = (),
        quirks: dict[str, Any] | None = None,
        ledger: MemoryLedger | None = None,
        **settings: Any,
    ) -> None:
        self.net = net
        self.told: list[Event] = []
        #: Every byte that was written to any port.
        self.written = bytearray()
        self.ledger = ledger or MemoryLedger()
        self.quirks = quirks or {}
        self.emulated = [self._emulate(number) for number in range(count)]
        shared: dict[str, Any] = {"timeouts": TIMEOUTS, "look": 0.05, "ping": 60}
        self.settings = PoolSettings(**(shared | settings))
        more = [*of, *({} for _ in range(count - len(of)))]
        self.modems = [
            ModemSettings(name=f"m{number}", path=each.path, **fields)
            for number, (each, fields) in enumerate(zip(self.emulated, more, strict=True))
        ]
        self.pool = Pool(
            self.modems, self.settings, ledger=self.ledger, tell=self.told.append, open_port=self._open
        )
        self._stack = AsyncExitStack()

    def _emulate(self, number: int) -> EmulatedModem:
        return EmulatedModem(
            self.net,
            number=f"+62811000{number:04d}",
            imei=f"35693803564{number:04d}",
            iccid=f"896211000000000{number:04d}",
            imsi=f"51010000000{number:04d}",
            seed=number,
            **self.quirks,
        )

    async def _open(self, path: str, baud: int, receiver: Receiver) -> Line:
        return Tapped(await open_port(path, baud, receiver), self.written)

    async def __aenter__(self) -> Self:
        for each in self.emulated:
            await self._stack.enter_async_context(each)
        await self._stack.enter_async_context(self.pool)
        await self.ready()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def add(self) -> EmulatedModem:
        """One more modem, plugged in; the pool does not know it yet."""
        each = await self._stack.enter_async_context(self._emulate(len(self.emulated)))
        self.emulated.append(each)
        self.modems.append(ModemSettings(name=f"m{len(self.modems)}", path=each.path))
        return each

    async def ready(self, *names: str) -> None:
        """Wait until these modems, else all, take work."""
        wanted = names or [modem.name for modem in self.modems]
        await until(lambda: all(self.pool.modem(name).ready for name in wanted))

    def alter(self, number: int, **fields: Any) -> list[ModemSettings]:
        """The settings of all modems, with other ones for this modem."""
        self.modems[number] = replace(self.modems[number], **fields)
        return self.modems

    @property
    def texts(self) -> list[str]:
        """What arrived, in order."""
        return [arrived.text for arrived in self.net.sent]

    @property
    def delivered(self) -> list[Delivered]:
        return [event for event in self.told if isinstance(event, Delivered)]

    def states(self, name: str) -> list[State]:
        return [event.after for event in self.told if isinstance(event, Change) and event.modem == name]

    async def used(self, number: int) -> int:
        """Parts counted on this modem's SIM this month."""
        sim = self.emulated[number].sim.iccid
        return (await self.ledger.used(sim, (), "UTC"))[3].parts


def job(text: str = "Your code is 123456", **fields: Any) -> Job:
    fields.setdefault("id", "job")
    fields.setdefault("to", "+6281234567890")
    fields.setdefault("deadline", time.monotonic() + 200)
    return Job(text=text, **fields)
