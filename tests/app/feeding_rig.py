"""Feeders that do as told, and a clock that moves when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar, Self

import pytest

from otpsvc.errors import BrokerGone, ConfigError
from otpsvc.feeder import Feeder, FeederConfig, Frame, Lent, Taken
from otpsvc.feeders import OWN
from otpsvc.feeding import Feeding, Loan
from otpsvc.lease import Holds, Timing
from otpsvc.metrics import Metrics
from otpsvc.standing import FeederState
from tests.feeders.lent import FakeIntake, FakeNews
from tests.waiting import PATIENCE, until


class Clock:
    """`sleep` lasts until `forward` has gone so far. `asked`: all that anybody slept."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.asked: list[float] = []
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self.asked.append(seconds)
        self._sleepers.append((self.now + seconds, future))
        await future

    def asleep(self) -> list[float]:
        """For how long each still sleeps."""
        self._sleepers = [one for one in self._sleepers if not one[1].done()]
        return [until - self.now for until, _ in self._sleepers]

    def forward(self, seconds: float) -> None:
        self.now += seconds
        for until_, future in self._sleepers:
            if until_ <= self.now + 1e-9 and not future.done():
                future.set_result(None)

    def timing(self, **more: Any) -> Timing:
        return Timing(**{"clock": lambda: self.now, "sleep": self.sleep, "jitter": lambda: 1.0, **more})


class ScriptedConfig(FeederConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    word: str = ""
    word_file: str = ""

    def sources(self, name: str) -> tuple[str, ...]:
        return (f"{name}.in",)


class Scripted(Feeder):
    """Its sessions last until `end`; `does` is awaited in each, after it is up."""

    Config = ScriptedConfig
    made: ClassVar[list[Scripted]] = []
    never_opens: ClassVar[bool] = False

    def __init__(self, name: str, config: Any, lent: Lent) -> None:
        super().__init__(name, config, lent)
        if config.word == "bad":
            raise ConfigError("", f"feeders.{name}.word", "another word")
        if config.word == "broken":
            raise ValueError("planted-secret")
        self.ups = config.word != "never up"
        self.ends: asyncio.Queue[Exception | None] = asyncio.Queue()
        self.fails_to_open: list[Exception] = []
        self.said: list[str] = []
        self.sessions = 0
        self.live = 0
        self.drains: Callable[[], Any] = lambda: asyncio.sleep(0)
        self.made.append(self)

    async def __aenter__(self) -> Self:
        self.said.append("open")
        if self.never_opens:
            raise OSError
        if self.fails_to_open:
            raise self.fails_to_open.pop()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.said.append("close")

    async def session(self) -> None:
        self.sessions += 1
        self.live += 1
        self.said.append("session")
        try:
            if self.ups:
                self.lent.tally.up()
            if end := await self.ends.get():
                raise end
        finally:
            self.live -= 1
            self.said.append("ended")

    async def drain(self) -> None:
        self.said.append("drain")
        await self.drains()

    async def take(self, body: bytes = b"{}") -> Taken:
        return await self.lent.intake.take(Frame(body=body))


class Alone(Scripted):
    exclusive = True


class FakeBoard:
    """Remembers what was told last."""

    def __init__(self) -> None:
        self.told: list[list[FeederState]] = []
        self.left = 0

    async def tell(self, node: str, items: list[FeederState]) -> None:
        self.told.append(list(items))

    async def leave(self, node: str) -> None:
        self.left += 1


class Place:
    """One process's feeders. `lent` has what each was lent, by name."""

    def __init__(self, holds: Holds, clock: Clock, configs: dict[str, Any], **timing: Any) -> None:
        self.clock = clock
        self.metrics = Metrics()
        self.board = FakeBoard()
        self.intakes: dict[str, FakeIntake] = {}
        self.counted: dict[str, Callable[[str], None]] = {}
        self.woken: list[str] = []
        self.feeding = Feeding(
            configs,
            self.lend,
            holds=holds,
            board=self.board,  # type: ignore[arg-type]
            node="here",
            metrics=self.metrics.feeders,
            timing=clock.timing(**timing),
        )

    def lend(self, name: str, config: FeederConfig, counted: Callable[[str], None]) -> Loan:
        self.intakes[name] = FakeIntake()
        self.counted[name] = counted
        return Loan(self.intakes[name], FakeNews(), lambda: self.woken.append(name))

    def state(self, name: str = "one") -> FeederState:
        return next(state for state in self.feeding.states() if state.name == name)

    def phase(self, name: str = "one") -> tuple[str, str]:
        return self.state(name).state, self.state(name).reason

    def kept(self, name: str = "one") -> Scripted:
        feeder = self.feeding._keepers[name].feeder
        assert isinstance(feeder, Scripted)
        return feeder

    async def ends(self, end: Exception | None = None, name: str = "one") -> None:
        """End the session that runs, once it does, and wait until that was noted."""
        feeder = self.kept(name)
        await until(lambda: feeder.live)
        before = len(self.clock.asked)
        feeder.ends.put_nowait(end)
        await until(lambda: len(self.clock.asked) > before)

    async def goes(self, reason: str = "cut", name: str = "one") -> None:
        await self.ends(BrokerGone(reason), name)


def config(word: str = "", type: str = "scripted", **more: Any) -> ScriptedConfig:
    return ScriptedConfig(**{"type": type, "tenant": "shop", "word": word, **more})


def register(monkeypatch: pytest.MonkeyPatch) -> None:
    Scripted.made.clear()
    monkeypatch.setattr("otpsvc.keeper.DRAIN", PATIENCE)
    for name, kind in {"scripted": "Scripted", "alone": "Alone"}.items():
        monkeypatch.setitem(OWN, name, f"tests.app.feeding_rig:{kind}")
