"""RabbitMQ: commands come in order, and are acknowledged once they were taken."""

from __future__ import annotations

import asyncio

import pytest
from aiormq.abc import AbstractChannel

from otpsvc.errors import BrokerGone
from tests.far_ends.rabbitmq import RabbitServer, Wire
from tests.feeders.rabbit_rig import Rig
from tests.waiting import PATIENCE, until


async def test_takes_what_is_published(rig: Rig) -> None:
    await rig.start()
    await rig.publish(b'{"command":"echo"}', message_id="m1")

    await rig.acknowledged()
    frame = rig.intake.frames[0]
    assert (frame.body, frame.id, frame.again) == (b'{"command":"echo"}', "m1", False)
    assert (frame.asked, frame.shared, frame.literal) == (False, False, False)


async def test_the_id_may_be_the_correlation_id(rig: Rig) -> None:
    await rig.start()
    # Correlation id alone; then nothing at all.
    await rig.publish_octets(b"1", b"\x04\0\x02c1")
    await rig.publish_octets(b"2")

    await until(lambda: len(rig.intake.ended) == 2)
    assert [frame.id for frame in rig.intake.frames] == ["c1", ""]


async def test_the_first_clients_find_the_queue_that_they_expect(rig: Rig) -> None:
    """Neither durable nor exclusive nor deleted by itself."""
    await rig.start()

    await rig.make_queue(rig.queue, durable=False, exclusive=False, auto_delete=False)
    assert await rig.ready() == 0


async def test_order(rig: Rig) -> None:
    await rig.start()
    await rig.publish(*(b"%d" % number for number in range(300)))

    await rig.acknowledged()
    assert rig.intake.bodies == [b"%d" % number for number in range(300)]


async def test_no_more_in_hand_than_asked_for(rig: Rig) -> None:
    rig.intake.block()
    await rig.start(at_once=3)
    await rig.publish(*(b"%d" % number for number in range(10)))

    await until(lambda: rig.intake.in_hand == 3)
    await until(lambda: rig.server.count(rig.queue) == (7, 3))
    rig.intake.release(1)
    await until(lambda: len(rig.intake.frames) == 4)
    rig.intake.release()
    await rig.acknowledged()
    assert rig.intake.most_in_hand == 3


@pytest.mark.parametrize("place", [0, 1, 3])
async def test_acknowledged_after_the_take_alone(rig: Rig, place: int) -> None:
    """What is behind one that waits does not wait for it, and does not take it along."""
    rig.intake.block()
    await rig.start()
    await rig.publish(b"0", b"1", b"2", b"3")
    await until(lambda: rig.intake.in_hand == 4)
    held = rig.intake._waiting[place]
    del rig.intake._waiting[place]

    assert rig.server.count(rig.queue) == (0, 4)
    rig.intake.release()
    await until(lambda: rig.server.count(rig.queue)[1] < 4)
    await until(lambda: rig.server.count(rig.queue) == (0, 1))
    held.set_result(None)
    await rig.acknowledged()


async def test_a_cut_line_brings_it_again(rig: Rig, rabbit: RabbitServer) -> None:
    rig.intake.block()
    async with Wire(rabbit.port) as wire:
        await rig.start(url=rabbit.url_of("otpsvc", port=wire.port), queue_type="quorum")
        await rig.publish(b"once", message_id="m1")
        await until(lambda: rig.intake.in_hand)
        wire.cut()

        assert isinstance(await rig.ended(), BrokerGone)
        assert rig.intake.cancelled == 1
        rig.intake.release()
        await rig.run()
        await rig.all_done(1)
    assert [(frame.id, frame.again) for frame in rig.intake.frames] == [("m1", False), ("m1", True)]


async def test_a_quorum_queue(rig: Rig) -> None:
    await rig.make_queue(rig.queue, exclusive=False, durable=True, arguments={"x-queue-type": "quorum"})
    await rig.publish(b"1", b"2")
    await rig.start(queue_type="quorum")

    await rig.all_done(2)
    assert rig.intake.bodies == [b"1", b"2"]


async def test_arguments_of_the_declaration(rig: Rig) -> None:
    await rig.start(durable=True, arguments={"x-max-length": 7, "x-single-active-consumer": True})

    await rig.make_queue(
        rig.queue,
        exclusive=False,
        durable=True,
        arguments={"x-max-length": 7, "x-single-active-consumer": True},
    )


async def test_bound_to_an_exchange(rig: Rig) -> None:
    channel = await rig.channel()
    await channel.exchange_declare(f"{rig.queue}.x", exchange_type="topic", auto_delete=True)
    await rig.start(exchange=f"{rig.queue}.x", routing_keys=("otp.*", "sms.#"))
    await rig.publish(b"1", to="otp.shop", exchange=f"{rig.queue}.x")
    await rig.publish(b"2", to="sms.a.b", exchange=f"{rig.queue}.x")

    await rig.acknowledged()
    assert rig.intake.bodies == [b"1", b"2"]


async def test_bound_by_the_name_of_the_queue(rig: Rig) -> None:
    await rig.start(exchange="amq.direct")
    await rig.publish(b"1", exchange="amq.direct")

    await until(lambda: rig.intake.bodies == [b"1"])


async def test_a_queue_that_is_there_already(rig: Rig) -> None:
    """Without declaring anything its settings do not matter."""
    await rig.make_queue(rig.queue, exclusive=False, durable=True, arguments={"x-max-length": 3})
    await rig.make_queue(f"{rig.queue}.dead", exclusive=False)
    await rig.start(declare=False)
    await rig.publish(b"1")

    await rig.acknowledged()
    assert rig.intake.bodies == [b"1"]


async def test_lag(rig: Rig) -> None:
    """At the start, and again and again."""
    rig.intake.block()
    await rig.make_queue(rig.queue, exclusive=False)
    await rig.publish(b"1", b"2", b"3")
    rig.feeder = rig.make(at_once=1)
    rig.feeder.lag_every = 0.05
    await rig.run()

    assert rig.tally.lags[0] == 3
    await until(lambda: rig.tally.lags[-1] == 2)
    rig.intake.release()
    await until(lambda: rig.tally.lags[-1] == 0)


async def test_an_outcome_that_is_a_bug_ends_the_session(rig: Rig) -> None:
    """Else its message would hold a place for ever."""
    rig.intake.script.append(ZeroDivisionError())
    await rig.start()
    await rig.publish(b"1")

    session = rig.session
    assert session is not None
    await until(session.done)
    assert isinstance(session.exception(), ZeroDivisionError)
    await until(lambda: rig.server.count(rig.queue) == (1, 0))


async def test_drained(rig: Rig) -> None:
    """What is in hand ends and is acknowledged; the others stay for the next."""
    rig.intake.block()
    feeder = await rig.start(at_once=2)
    await rig.publish(b"1", b"2", b"3", b"4")
    await until(lambda: rig.intake.in_hand == 2)
    drains = asyncio.create_task(feeder.drain())
    await until(lambda: rig.server.consumers(rig.queue) == 0)

    assert not drains.done()
    rig.intake.release()
    await drains
    assert rig.intake.bodies == [b"1", b"2"]
    await rig.stop()
    # The end of the line gives back what was not acknowledged: then there would be four.
    await until(lambda: rig.server.count(rig.queue)[1] == 0)
    assert rig.server.count(rig.queue) == (2, 0)


class _SlowChannel:
    """Writes acknowledgements when it is let."""

    def __init__(self, channel: AbstractChannel) -> None:
        self.asked, self.let = asyncio.Event(), asyncio.Event()
        self._channel = channel

    async def basic_ack(self, tag: int, **how: bool) -> None:
        self.asked.set()
        await self.let.wait()
        await self._channel.basic_ack(tag, **how)


async def test_drained_when_the_acknowledgements_are_written(rig: Rig) -> None:
    feeder = await rig.start()
    assert feeder._visit is not None
    assert feeder._visit._consumer is not None
    acks = feeder._visit._consumer[1]
    slow = _SlowChannel(acks._channel)
    acks._channel = slow  # type: ignore[assignment]
    await rig.publish(b"1")
    await asyncio.wait_for(slow.asked.wait(), PATIENCE)
    drains = asyncio.create_task(feeder.drain())
    await until(lambda: rig.server.consumers(rig.queue) == 0)
    await asyncio.wait([drains], timeout=0.05)

    assert not drains.done()
    slow.let.set()
    await drains
    await rig.acknowledged()


async def test_drained_without_a_line(rig: Rig) -> None:
    feeder = rig.make()

    await feeder.drain()
    await feeder.__aexit__(None, None, None)


async def test_drained_when_the_line_is_lost(rig: Rig, rabbit: RabbitServer) -> None:
    rig.intake.block()
    async with Wire(rabbit.port) as wire:
        feeder = await rig.start(url=rabbit.url_of("otpsvc", port=wire.port))
        await rig.publish(b"1")
        await until(lambda: rig.intake.in_hand)
        drains = asyncio.create_task(feeder.drain())
        wire.cut()

        await drains
        assert isinstance(await rig.ended(), BrokerGone)
