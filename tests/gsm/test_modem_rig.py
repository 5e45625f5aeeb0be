"""A modem of ours on an emulated one, with what it told; the first tests: it works."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from msgspec import structs

from otpsvc.gsm.emulator import EmulatedModem, Network
from otpsvc.gsm.ledger import Ledger, MemoryLedger
from otpsvc.gsm.modem import Modem
from otpsvc.gsm.parts import split
from otpsvc.gsm.pdu import StatusReport, Submit
from otpsvc.gsm.settings import ModemSettings, Timeouts
from otpsvc.gsm.types import Change, Event, State, Text
from tests.waiting import until

PlugIn = Callable[..., Awaitable[EmulatedModem]]
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
QUICK = Timeouts(
    basic=0.5,
    setting=1.0,
    slow=2.0,
    storage=2.0,
    prompt=1.0,
    result=3.0,
    late_result=5.0,
    ussd=2.0,
    reset=8.0,
    sim=6.0,
)


class Clock:
    """Real time, or time that stands still; and what a test puts on top."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self._still = 0.0

    def __call__(self) -> float:
        return (self._still or time.monotonic()) + self.ahead

    def stop(self) -> None:
        self._still = time.monotonic()

    def go(self) -> None:
        self._still = 0.0


class Rig:
    """A running modem and everything it told."""

    def __init__(self, modem: Modem, clock: Clock) -> None:
        self.modem = modem
        self.clock = clock
        self.changes: list[Change] = []
        self.texts: list[Text] = []
        self.reports: list[tuple[str, StatusReport]] = []
        #: What `text` and `report` raise.
        self.refusal: Exception | None = None
        #: Called when a text is taken.
        self.taken: Callable[[], None] = lambda: None
        self.offers = 0

    @property
    def states(self) -> list[State]:
        return [change.after for change in self.changes]

    def stands(self, state: State) -> bool:
        return self.modem.state is state

    async def offered(self, count: int) -> None:
        """Wait until so many texts and reports were offered."""
        await until(lambda: self.offers >= count)

    def since(self, state: State) -> list[State]:
        """All that it was after it was this for the last time."""
        states = self.states
        return states[len(states) - states[::-1].index(state) :]

    async def until(self, *states: State) -> None:
        """Wait until it is in one of them."""
        await until(lambda: self.modem.state in states, lambda: f"{self.modem.state}: {self.states}")

    async def send(self, text: str = "Hello", to: str = "+628123456789", **options: Any) -> list[int]:
        return [
            await self.modem.submit(Submit(to=to, part=part, **options)) for part in split(text, reference=7)
        ]


async def until_asked(modem: EmulatedModem, word: str, count: int) -> None:
    """Wait until a command came so often."""
    await until(lambda: modem.asked_for(word) >= count, lambda: f"{word}: {modem.asked_for(word)}")


async def until_read(modem: EmulatedModem) -> None:
    """Wait until each of its three memories was listed, as after every start."""
    await until_asked(modem, "+CMGL=", 3)


@asynccontextmanager
async def running(
    path: str | EmulatedModem,
    *,
    ledger: Ledger | None = None,
    ping: float = 0.2,
    timeouts: Timeouts = TIMEOUTS,
    reports: bool = True,
    **settings: Any,
) -> AsyncIterator[Rig]:
    """Run a modem on a path or on an emulated modem's."""
    rigs: list[Rig] = []
    clock = Clock()

    def tell(event: Event) -> None:
        assert isinstance(event, Change)
        rigs[0].changes.append(event)

    async def text(came: Text) -> None:
        rigs[0].offers += 1
        if rigs[0].refusal:
            raise rigs[0].refusal
        rigs[0].texts.append(came)
        rigs[0].taken()

    async def report(sim: str, came: StatusReport) -> None:
        rigs[0].offers += 1
        if rigs[0].refusal:
            raise rigs[0].refusal
        rigs[0].reports.append((sim, came))

    place = path if isinstance(path, str) else path.path
    modem = Modem(
        ModemSettings(name="north", path=place, **settings),
        timeouts=timeouts,
        reports=reports,
        ledger=ledger or MemoryLedger(),
        tell=tell,
        text=text,
        report=report,
        ping=ping,
        look=0.05,
        monotonic=clock,
    )
    rig = Rig(modem, clock)
    rigs.append(rig)
    task = asyncio.create_task(modem.run())
    try:
        yield rig
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def limits(**changed: float) -> Timeouts:
    """TIMEOUTS with some others."""
    return structs.replace(TIMEOUTS, **changed)


def short(*names: str) -> Timeouts:
    """TIMEOUTS, but of these the ones of QUICK."""
    return limits(**{name: getattr(QUICK, name) for name in names})


async def test_it_becomes_ready_and_sends(net: Network, modem: EmulatedModem) -> None:
    async with running(modem) as rig:
        await rig.until(State.READY)

        assert len(await rig.send("Hello")) == 1
        assert (await net.arrived(1))[0].text == "Hello"
        assert rig.states[:3] == [State.OPENING, State.PROBING, State.READY]
        assert rig.states[3:5] == [State.SENDING, State.READY]


async def test_it_tells_who_it_is(modem: EmulatedModem) -> None:
    async with running(modem) as rig:
        await rig.until(State.READY)
        await until(lambda: rig.modem.facts.operator)
        facts = rig.modem.facts

        assert facts.imei == modem.imei
        assert (facts.iccid, facts.imsi) == (modem.sim.iccid, modem.sim.imsi)
        assert facts.number == modem.number
        assert facts.smsc == modem.sim.smsc
        assert facts.operator == "EMULATED"
        assert facts.signal == -73
        assert not facts.roaming
        assert rig.modem.path == modem.path
