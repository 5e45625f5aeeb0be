"""What is in hand: as much as is allowed, over lost lines, to the end or counted as lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.server import ServerConnection

from otpsvc.errors import BrokerGone
from otpsvc.feeder import Frame, Taken
from tests.far_ends.ws_broker import WsBroker
from tests.feeders.lent import FakeIntake, FakeLent
from tests.feeders.ws_rig import command, consuming, feeder, running, session, wrapped
from tests.waiting import PATIENCE, stays, until


@pytest.fixture
async def broker() -> AsyncIterator[WsBroker]:
    async with WsBroker("php") as server:
        yield server


@pytest.fixture
def lent() -> FakeLent:
    """Its takes wait until they are released."""
    made = FakeLent()
    made.intake.block()
    return made


async def in_hand(broker: WsBroker, lent: FakeLent) -> None:
    """One command is published and waits in its take."""
    await broker.publish("sms", command(0))
    await until(lambda: lent.intake.in_hand)


async def send(broker: WsBroker, count: int) -> ServerConnection:
    """Commands, from the broker's end of the only line; that end."""
    [client] = broker.receiving
    for one in commands(count):
        await client.line.send(one)
    return client.line


def commands(count: int) -> list[str]:
    return [command(number) for number in range(count)]


def bodies(count: int) -> list[bytes]:
    return [one.encode() for one in commands(count)]


async def test_no_more_than_at_once_are_in_hand(broker: WsBroker, lent: FakeLent) -> None:
    async with consuming(broker, lent, at_once=3):
        await broker.publish("sms", *commands(10))
        await until(lambda: lent.intake.in_hand == 3)
        lent.intake.release(1)
        await until(lambda: len(lent.intake.frames) == 4)
        lent.intake.release()
        await until(lambda: len(lent.intake.ended) == 10)

    assert lent.intake.most_in_hand == 3
    assert lent.intake.bodies == bodies(10)
    assert lent.tally.losses == []


@pytest.mark.parametrize("reconnected", [False, True])
async def test_a_full_hand_stops_the_reading(broker: WsBroker, lent: FakeLent, reconnected: bool) -> None:
    """The broker keeps what has no room: its own sending comes to a stop."""
    big = "x" * 60_000
    async with (
        consuming(broker, lent, at_once=1, ping=0) as (made, first),
        contextlib.AsyncExitStack() as stack,
    ):
        if reconnected:
            broker.cut()
            await asyncio.wait([first])
            await until(lambda: not broker.clients)
            await stack.enter_async_context(running(made))
            await until(lambda: broker.receiving and lent.tally.ups == 2)
        [client] = broker.receiving
        sending = asyncio.create_task(
            broker.publish("sms", *[command(number, pad=big) for number in range(500)])
        )
        # 30 MB are more than all buffers on the way hold.
        await until(lambda: client.line.transport.get_write_buffer_size() > 30_000)

        assert len(lent.intake.frames) == 1
        assert not sending.done()

        lent.intake.release()
        await until(lambda: len(lent.intake.ended) == 500)
        await sending

    assert lent.intake.most_in_hand == 1


async def test_a_take_goes_on_to_its_end_when_the_line_is_lost(broker: WsBroker, lent: FakeLent) -> None:
    async with consuming(broker, lent) as (made, task):
        await in_hand(broker, lent)
        broker.cut()
        with pytest.raises(BrokerGone, match="line was cut"):
            await task
        async with running(made):
            await until(lambda: lent.tally.ups == 2 and broker.receiving)
            await broker.publish("sms", command(1))
            await until(lambda: lent.intake.in_hand == 2)
            lent.intake.release()
            await until(lambda: len(lent.intake.ended) == 2)

    assert lent.intake.cancelled == 0
    assert lent.tally.losses == []


async def test_what_was_received_before_the_line_was_lost_is_taken(broker: WsBroker, lent: FakeLent) -> None:
    async with consuming(broker, lent, at_once=1) as (made, task):
        line = await send(broker, 8)
        await line.close(1001)
        with pytest.raises(BrokerGone, match="closed by the broker"):
            await task
        async with running(made):
            lent.intake.release()
            await until(lambda: len(lent.intake.ended) == 8 and lent.tally.ups == 2)

    assert lent.intake.bodies == bodies(8)
    assert lent.intake.most_in_hand == 1
    assert lent.tally.losses == []


async def test_no_new_line_is_opened_while_frames_of_the_last_one_wait(
    broker: WsBroker, lent: FakeLent
) -> None:
    async with consuming(broker, lent, at_once=1) as (made, task):
        line = await send(broker, 3)
        await line.close()
        with pytest.raises(BrokerGone):
            await task
        async with running(made):
            await stays(lambda: broker.connects == 1)
            lent.intake.release()
            await until(lambda: broker.connects == 2)


async def test_draining_takes_what_is_on_its_way_and_no_more(broker: WsBroker, lent: FakeLent) -> None:
    async with consuming(broker, lent, at_once=2) as (made, _):
        await send(broker, 6)
        await until(lambda: lent.intake.in_hand == 2)
        draining = asyncio.create_task(made.drain())
        await until(lambda: not broker.clients)

        assert not draining.done()

        lent.intake.release()
        await draining

    assert lent.intake.bodies == bodies(6)
    assert lent.tally.losses == []
    assert broker.connects == 1


async def test_a_2020_server_keeps_what_comes_while_we_drain() -> None:
    lent = FakeLent()
    async with WsBroker("2020") as broker, consuming(broker, lent) as (made, _):
        await made.drain()
        await broker.publish("sms", wrapped(broker, command(0)))
        await until(lambda: broker.kept)

    assert lent.intake.frames == []


async def test_what_is_left_after_draining_is_counted_as_lost(broker: WsBroker, lent: FakeLent) -> None:
    async with consuming(broker, lent, at_once=2) as (made, task):
        line = await send(broker, 7)
        # An answered ping: everything before it is on this side.
        await (await line.ping())
        await until(lambda: lent.intake.in_hand == 2)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(made.drain(), 0.3)
        task.cancel()
        await asyncio.wait([task])

    assert lent.intake.cancelled == 2
    assert lent.tally.losses == [7]


async def test_a_session_that_is_cancelled_counts_what_it_had_received(
    broker: WsBroker, lent: FakeLent
) -> None:
    async with consuming(broker, lent, at_once=2) as (_, task):
        line = await send(broker, 7)
        # An answered ping: everything before it is on this side.
        await (await line.ping())
        task.cancel()
        await asyncio.wait([task])

        assert lent.tally.losses == [7]


async def test_a_take_that_will_not_end_is_lost_too(broker: WsBroker) -> None:
    """Whoever cancels twice waits no longer."""
    lent, cancelled, release = FakeLent(), asyncio.Event(), asyncio.Event()

    class Stubborn(FakeIntake):
        async def take(self, frame: Frame) -> Taken:
            try:
                return await super().take(frame)
            except asyncio.CancelledError:
                cancelled.set()
                await release.wait()
                raise

    lent.intake = Stubborn()
    lent.intake.block()
    async with consuming(broker, lent) as (made, task):
        await in_hand(broker, lent)
        task.cancel()
        await cancelled.wait()
        task.cancel()
        await asyncio.wait([task])
        await asyncio.wait_for(made.__aexit__(None, None, None), PATIENCE)
        release.set()

    assert lent.tally.losses == [1]


async def test_a_session_may_run_again_after_it_was_cancelled(broker: WsBroker) -> None:
    lent = FakeLent()
    made = feeder(broker, lent)
    async with made:
        for turn in (1, 2):
            async with running(made):
                await until(lambda: lent.tally.ups == turn and broker.receiving)  # noqa: B023 - awaited here
                await broker.publish("sms", command(turn))
                await until(lambda: len(lent.intake.ended) == turn)  # noqa: B023
                if turn == 1:
                    await made.drain()
            await until(lambda: not broker.clients)

    assert lent.tally.losses == []


async def test_nothing_is_lost_when_the_end_comes_between_two_lines(broker: WsBroker, lent: FakeLent) -> None:
    made = feeder(broker, lent)
    async with session(made) as task:
        await until(lambda: lent.tally.ups and broker.receiving)
        await in_hand(broker, lent)
        broker.cut()
        with pytest.raises(BrokerGone):
            await task
        draining = asyncio.create_task(made.drain())
        await stays(lambda: not draining.done())
        lent.intake.release()
        await draining

    assert lent.tally.losses == []


async def test_what_is_in_hand_between_two_lines_is_lost_without_a_drain(
    broker: WsBroker, lent: FakeLent
) -> None:
    async with consuming(broker, lent) as (_, task):
        await in_hand(broker, lent)
        broker.cut()
        await asyncio.wait([task])

        assert lent.tally.losses == []

    assert lent.tally.losses == [1]
