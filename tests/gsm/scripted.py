"""Modems without a port, for tests of who sends what: each part ends as a script says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from otpsvc.errors import CommandFailed, LineLost, ModemError, NoAnswer
from otpsvc.gsm import parts
from otpsvc.gsm.account import Account
from otpsvc.gsm.allowance import Allowance
from otpsvc.gsm.cause import Cause
from otpsvc.gsm.course import Course, Desk
from otpsvc.gsm.doubt import Doubts
from otpsvc.gsm.ledger import Ledger, MemoryLedger
from otpsvc.gsm.member import Member
from otpsvc.gsm.pdu import Submit
from otpsvc.gsm.reports import Reports
from otpsvc.gsm.settings import ModemSettings, PoolSettings
from otpsvc.gsm.turns import Turns
from otpsvc.gsm.types import Delivered, Facts, Job, Sent, State

NUMBER = "+6281234567890"


class Cut(LineLost):
    """The port went away after Ctrl-Z."""

    written = True


def cms(number: int) -> CommandFailed:
    return CommandFailed("AT+CMGS", "CMS", number)


def silence() -> NoAnswer:
    return NoAnswer("AT+CMGS", "result")


class ScriptedRadio:
    """`script`: what each part ends with, then success. An event in it is waited for."""

    def __init__(self, sim: str) -> None:
        self.state = State.READY
        self.facts = Facts(iccid=sim)
        self.script: list[ModemError | asyncio.Event] = []
        self.parts: list[Submit] = []
        self.times: list[float] = []
        self.strikes: list[Cause] = []
        self.relieved = 0
        self.held = 0
        self.began = asyncio.Event()

    @property
    def ready(self) -> bool:
        return self.state is State.READY

    async def submit(self, submit: Submit, *, until: float) -> int:
        assert self.held == 1, "nobody holds it, or two do"
        self.parts.append(submit)
        self.times.append(time.monotonic())
        self.began.set()
        step = self.script.pop(0) if self.script else None
        if isinstance(step, asyncio.Event):
            await step.wait()
        elif step is not None:
            raise step
        return len(self.parts) % 256

    def hold(self) -> None:
        self.held += 1

    def release(self) -> None:
        self.held -= 1

    def strike(self, cause: Cause) -> None:
        self.strikes.append(cause)

    def relieve(self) -> None:
        self.relieved += 1


class Rig:
    """Some scripted modems, named a, b, c …, and a desk they are served from."""

    def __init__(
        self,
        *modems: ModemSettings | str,
        ledger: Ledger | None = None,
        looks: Sequence[float] = (0.02, 0.05),
        **settings: Any,
    ) -> None:
        self.ledger = ledger or MemoryLedger()
        self.told: list[Delivered] = []
        self.tasks: set[asyncio.Task[Any]] = set()
        self.turns = Turns()
        self.doubts = Doubts()
        self.reports = Reports(self.ledger, self.doubts, tell=self.told.append, looks=looks)
        account = Account(self.ledger, self.turns)
        self.desk = Desk(
            PoolSettings(**settings), self.turns, account, self.doubts, self.reports, self._spawn
        )
        allowances: dict[str, Allowance] = {}
        wanted = [ModemSettings(name=m, path="") if isinstance(m, str) else m for m in modems]
        self.radios = {each.name: ScriptedRadio(f"sim-{each.name}") for each in wanted}
        self.members = [Member(each, self.radios[each.name], allowances) for each in wanted]
        self.turns.members = self.members

    def _spawn(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def send(self, job: Job) -> Sent:
        return await Course(self.desk, job, parts.count(job.text)).run()

    def start(self, job: Job) -> asyncio.Task[Sent]:
        return asyncio.create_task(self.send(job))

    async def used(self, name: str) -> int:
        """Parts counted on this modem's SIM today."""
        return (await self.ledger.used(f"sim-{name}", (), "UTC"))[2].parts


def job(text: str = "Your code is 123456", **fields: Any) -> Job:
    fields.setdefault("id", "job")
    fields.setdefault("to", NUMBER)
    fields.setdefault("deadline", time.monotonic() + 600)
    return Job(text=text, **fields)
