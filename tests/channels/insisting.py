"""A sender that does not give up, one that is cut off at every point, and what holds for both brokers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from otpsvc.channel import Channel
from otpsvc.channels.mqtt import MqttChannel
from otpsvc.channels.rabbitmq import RabbitChannel
from otpsvc.errors import ChannelError, Unavailable, Uncertain
from tests.channels import message
from tests.channels.broker_wire import BrokerWire
from tests.waiting import PATIENCE, until


@dataclass
class Ends:
    """Ids by how their sends ended. `free`: surely not sent."""

    sent: set[str] = field(default_factory=set)
    free: set[str] = field(default_factory=set)
    doubtful: set[str] = field(default_factory=set)

    def note(self, id: str, end: BaseException | None) -> None:
        match end:
            case None:
                self.sent.add(id)
            case Unavailable():
                self.free.add(id)
            case Uncertain():
                self.doubtful.add(id)
            case _:
                raise AssertionError(repr(end))


async def insist(channel: Channel, id: str, ends: Ends, *, limit: float = PATIENCE / 2) -> None:
    """Until it is sent, as the deliverer does it under one id."""
    while id not in ends.sent:
        try:
            async with asyncio.timeout(limit):
                await channel.send(message(id=id))
            ends.note(id, None)
        except ChannelError as error:
            ends.note(id, error)
            await asyncio.sleep(0.05)
        except TimeoutError as late:
            ends.note(id, getattr(late.__cause__, "__cause__", None) or late)


async def cut_off(channel: Channel, id: str, ends: Ends, *, turns: int) -> None:
    """Cancel a send after so many turns of the loop."""
    sending = asyncio.ensure_future(channel.send(message(id=id)))
    for _ in range(turns):
        await asyncio.sleep(0)
    sending.cancel()
    try:
        await sending
        ends.note(id, None)
    except asyncio.CancelledError as cancelled:
        # A task that never ran has no cause: nothing of it can have left.
        never = Unavailable("never began") if turns == 0 else None
        ends.note(id, cancelled.__cause__ or never or cancelled)


async def reason(way: Channel) -> str:
    """Why it does not take a message."""
    with pytest.raises(Unavailable) as error:
        await way.send(message())
    return error.value.reason


def stop_clock(way: MqttChannel | RabbitChannel) -> None:
    """No wait of the channel ends any more, however slow the test is."""
    way._kept._clock = lambda: 1000.0


async def check_not_hammered(far: BrokerWire, way: MqttChannel | RabbitChannel) -> None:
    """Its login is refused, and it does not try again at once."""
    stop_clock(way)
    for _ in range(20):
        assert await reason(way) == "login refused"
    with pytest.raises(Unavailable, match="login refused") as error:
        await way.ping()

    assert far.accepted == 1
    assert error.value.retry_after == 30.0


async def check_asked_once(far: BrokerWire, way: Channel) -> None:
    """The broker does not answer: the next message goes over a new connection."""
    far.misdeed = "takes_and_waits"
    first = asyncio.ensure_future(way.send(message(id="m1")))
    await far.arrived.wait()
    first.cancel()
    await asyncio.wait([first])
    far.misdeed = ""
    await way.send(message(id="m2"))

    assert far.accepted == 2
    far.release.set()


async def check_closing(far: BrokerWire, way: Channel) -> None:
    """Whatever is under way ends with the channel, in doubt."""
    async with way:
        await way.ping()
        far.misdeed = "takes_and_waits"
        sending = asyncio.ensure_future(way.send(message()))
        await far.arrived.wait()
    with pytest.raises(Uncertain):
        await sending
    far.release.set()


async def insist_over_cuts(far: BrokerWire, way: Channel, ends: Ends) -> None:
    """Many at once, while the line is cut as they are written."""
    for turn in range(5):
        written = far.published
        sends = [asyncio.ensure_future(insist(way, f"m{turn}-{at}", ends)) for at in range(40)]
        await until(lambda seen=written: far.published > seen)  # type: ignore[misc]
        far.cut()
        await asyncio.gather(*sends)


async def insist_over_restart(restart: Callable[[], None], way: Channel, ends: Ends) -> None:
    await insist(way, "first", ends)
    restarted = asyncio.ensure_future(asyncio.to_thread(restart))
    sent = 0
    while not restarted.done() or sent % 20:
        await insist(way, f"m{sent}", ends)
        sent += 1
    await restarted


def check_none_lost(found: list[str], ends: Ends) -> None:
    """All that were sent are there, and twice only those in doubt."""
    assert set(found) == ends.sent
    assert {one for one in found if found.count(one) > 1} <= ends.doubtful


async def settled(before: set[asyncio.Task[None]]) -> None:
    """Until no task runs that did not before."""
    await until(lambda: asyncio.all_tasks() <= before, lambda: asyncio.all_tasks() - before)


def sockets() -> set[str]:
    """Open ones of this process."""
    found: set[str] = set()
    for place in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.add(str(place.readlink()))
    return {one for one in found if one.startswith("socket:")}
