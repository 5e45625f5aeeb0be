"""A feeder between a WebSocket broker on loopback and a fake intake."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import msgspec

from otpsvc.feeders.wsbroker import WsBrokerFeeder
from otpsvc.feeders.wsbroker_config import WsBrokerConfig
from tests.far_ends.ws_broker import PASSWORD, USERNAME, WsBroker
from tests.feeders.lent import FakeLent
from tests.waiting import PATIENCE, until

CALLBACK = "answers/42 ü"


class Feeder(WsBrokerFeeder):
    """Waits for no greeting: a late one counts too."""

    moment: ClassVar[float] = 0.02


class Patient(WsBrokerFeeder):
    """For servers that end the line within the moment, on a machine that is busy."""

    moment: ClassVar[float] = PATIENCE


def config(url: str, **table: Any) -> WsBrokerConfig:
    base = {"type": "wsbroker", "tenant": "shop", "url": url, "timeout": PATIENCE}
    login = {"username": USERNAME, "password": PASSWORD}
    return msgspec.convert(base | login | table, WsBrokerConfig)


def feeder(broker: WsBroker, lent: FakeLent, *, place: str = "sms", **table: Any) -> Feeder:
    made = Feeder("ws", config(broker.at(place), **table), lent.lent)
    made._answers.patience = PATIENCE
    return made


def patient(broker: WsBroker, lent: FakeLent, **table: Any) -> Patient:
    return Patient("ws", config(broker.at("sms"), **table), lent.lent)


@contextlib.asynccontextmanager
async def running(made: WsBrokerFeeder) -> AsyncIterator[asyncio.Task[None]]:
    """A (further) session that runs; at the end it is cancelled, as at a stop whose patience is over."""
    task = asyncio.create_task(made.session())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


@contextlib.asynccontextmanager
async def session(made: WsBrokerFeeder) -> AsyncIterator[asyncio.Task[None]]:
    """The only one."""
    async with made, running(made) as task:
        yield task


@contextlib.asynccontextmanager
async def consuming(
    broker: WsBroker, lent: FakeLent, *, place: str = "sms", **table: Any
) -> AsyncIterator[tuple[Feeder, asyncio.Task[None]]]:
    """The same, once the broker will send it what is published."""
    made = feeder(broker, lent, place=place, **table)
    async with session(made) as task:
        await until(lambda: task.done() or (lent.tally.ups and broker.receiving))
        if task.done():
            await task
        yield made, task


def command(number: int, **more: Any) -> str:
    """A text to send, in the shape of OTP-Broker."""
    data = {"id": str(number), "msisdn": "08126666666", "message": f"Your code is {number:06}"}
    return json.dumps({"command": "send-sms", "data": data} | more)


def wrapped(broker: WsBroker, *commands: str, place: str = "sms") -> str:
    """As a publisher sends it to this broker."""
    if broker.dialect != "2020":
        return commands[0]
    rows = [json.loads(one) for one in commands]
    return json.dumps({"command": "send-message", "channel": place, "data": rows})
