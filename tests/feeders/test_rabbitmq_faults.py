"""RabbitMQ: brokers that vanish, hang or run full; sessions that are cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import Any, NoReturn

import pytest

from otpsvc.errors import BrokerGone
from otpsvc.feeders.rabbitmq import RabbitFeeder
from otpsvc.feeders.rabbitmq_queue import make_queues
from tests.far_ends.rabbitmq import RabbitServer, Wire
from tests.feeders.rabbit_rig import REFUSED, Rig
from tests.waiting import PATIENCE, until

# It goes away


async def test_nobody_listens(rig: Rig) -> None:
    error = await rig.why_not(url="amqp://127.0.0.1:1/")

    assert isinstance(error, BrokerGone)
    assert error.reason == "cannot connect (Connection refused)"


async def test_somebody_else_listens(rig: Rig) -> None:
    async def greets(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.close()

    async with await asyncio.start_server(greets, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert isinstance(await rig.why_not(url=f"amqp://127.0.0.1:{port}/"), BrokerGone)


async def test_no_answer_to_the_first_word(rig: Rig) -> None:
    async with Wire(rig.server.port) as wire:
        wire.freeze()
        feeder = rig.make(url=rig.server.url_of("otpsvc", port=wire.port))
        feeder.connect_limit = 0.2

        rig.session = asyncio.create_task(feeder.session())
        assert "no answer" in (await rig.ended()).reason


async def test_the_queue_is_deleted(rig: Rig) -> None:
    await rig.start()
    await rig.forget(rig.queue)

    error = await rig.ended()
    assert isinstance(error, BrokerGone)
    assert rig.queue in error.reason
    await rig.run()
    await rig.publish(b"1")
    await until(lambda: rig.intake.bodies == [b"1"])


async def test_the_broker_closes_the_connection(rig: Rig) -> None:
    rig.intake.block()
    await rig.alone()
    await rig.start()
    await rig.publish(b"1")
    await until(lambda: rig.intake.in_hand)
    assert rig.server.close_connections(" in") == 1

    error = await rig.ended()
    assert isinstance(error, BrokerGone)
    assert error.reason == "the line was lost (CONNECTION_FORCED)"
    await until(lambda: rig.server.count(rig.queue) == (1, 0))
    assert rig.intake.in_hand == 0


async def test_the_broker_closes_the_channel(rig: Rig) -> None:
    """Here for an acknowledgement that it does not know; an old one that never comes has the same end."""
    feeder = await rig.start()
    assert feeder._visit is not None
    assert feeder._visit._consumer is not None
    await feeder._visit._consumer[0].basic_ack(999, wait=False)

    error = await rig.ended()
    assert isinstance(error, BrokerGone)
    assert error.reason == "the line was lost (PRECONDITION_FAILED)"


async def test_a_dead_line_is_found_by_its_silence(rig: Rig) -> None:
    """Nobody says that it is dead; here, as both ends are told only to wait, after six seconds or so."""
    async with Wire(rig.server.port) as wire:
        rig.feeder = rig.make(url=rig.server.url_of("otpsvc", port=wire.port), heartbeat=1)
        while not rig.tally.ups:
            # On a machine that stands still for two seconds the broker may be the first to miss one.
            with contextlib.suppress(BrokerGone):
                await rig.run()
        wire.freeze()

        error = await rig.ended()
        assert isinstance(error, BrokerGone)
        assert "silent" in error.reason


async def test_the_broker_comes_back(rig: Rig, rabbit: RabbitServer) -> None:
    """In the middle of the stream: nothing is lost, and what comes twice says so."""
    sent = [b"%d" % number for number in range(400)]
    rig.intake.block()
    await rig.start(queue_type="quorum", at_once=20)
    await rig.publish(*sent, delivery_mode=2)
    while len(rig.intake.ended) < 150:
        rig.intake.release(5)
        await asyncio.sleep(0)
    await until(lambda: rig.intake.in_hand == 20)
    await asyncio.to_thread(rabbit.restart)

    assert isinstance(await rig.ended(), BrokerGone)
    rig.intake.release()

    async def all_taken() -> bool:
        # Up, yet its queues may still be looking for their leader.
        if rig.session is None or rig.session.done():
            with contextlib.suppress(BrokerGone):
                await rig.run()
        return {frame.body for frame in rig.intake.ended} == set(sent)

    await until(all_taken)
    await rig.all_done(len(sent))
    first = {frame.body for frame in rig.intake.ended if not frame.again}
    assert len([frame for frame in rig.intake.ended if not frame.again]) == len(first)
    assert 0 < len([frame for frame in rig.intake.ended if frame.again]) <= 40 * (rig.tally.ups - 1)


async def test_short_of_disk(rig: Rig) -> None:
    """What refuses nothing goes on; a dead letter waits, and its command is kept."""
    rig.intake.script.append(REFUSED)
    await rig.start()
    await rig.make_queue(f"{rig.queue}.back")
    rig.server.disk_alarm(True)
    try:
        rig.server.publish(rig.queue, "1", reply_to="x")
        await until(lambda: rig.server.blocked() == 1)
        for number in range(2, 6):
            rig.server.publish(rig.queue, str(number), reply_to="x")
        await until(lambda: rig.server.count(rig.queue) == (0, 1))
        assert len(rig.intake.ended) == 5
    finally:
        rig.server.disk_alarm(False)
    await rig.acknowledged()
    assert (await rig.next(f"{rig.queue}.dead")).body == b"1"


# It is cancelled


@pytest.mark.parametrize("way", ["plain", "tls"])
async def test_cancelled_at_any_step(rig: Rig, way: str) -> None:
    """Nothing runs on, nothing is left of the line; the next session works."""
    settings = {} if way == "plain" else {"url": rig.server.tls_url, "ca_file": str(rig.server.ca_file)}
    rig.intake.outcome = REFUSED
    feeder = rig.feeder = rig.make(**settings)
    await rig.make_queue(rig.queue, exclusive=False)
    await rig.publish(b"1")
    before = rig.left()
    for attempt in itertools.count():
        session = asyncio.create_task(feeder.session())
        # First step by step, then ever later: how long each stage takes is the machine's affair.
        for _ in range(min(attempt, 40)):
            await asyncio.sleep(0)
        if attempt > 40:
            await asyncio.sleep(0.0002 * 1.25 ** (attempt - 40))
        session.cancel()
        await asyncio.wait([session], timeout=PATIENCE)
        assert session.cancelled()
        await until(lambda: rig.left() <= before)
        if rig.tally.dead:
            break
    assert rig.tally.ups
    await until(lambda: rig.server.connections() == 1)

    rig.session = None
    await rig.run()
    await rig.acknowledged()


async def test_cancelled_whatever_the_library_makes_of_it(rig: Rig) -> None:
    """aiormq may raise what it met on its way out in the place of the cancellation."""

    class Rude:
        async def __aenter__(self) -> NoReturn:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                raise BrokerGone("the line was lost (CHANNEL_ERROR)") from None
            raise AssertionError

        async def __aexit__(self, *_: object) -> None: ...

    class Feeder(RabbitFeeder):
        def _line(self, way: str) -> Any:
            return Rude()

    made = rig.make()
    session = asyncio.create_task(Feeder(made.name, made.config, made.lent).session())
    await asyncio.sleep(0)
    session.cancel()
    await asyncio.wait([session])

    assert session.cancelled()


async def test_a_cancellation_that_somebody_swallows_is_heeded(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `asyncio.wait_for` may do on Python 3.11, which the library below uses."""
    began = asyncio.Event()

    async def swallowing(*args: Any) -> int:
        began.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(PATIENCE)
        return await make_queues(*args)

    monkeypatch.setattr("otpsvc.feeders.rabbitmq_visit.make_queues", swallowing)
    session = asyncio.create_task(rig.make().session())
    await began.wait()
    session.cancel()
    await asyncio.wait([session], timeout=PATIENCE)

    assert session.cancelled()
    assert not rig.tally.ups


async def test_cancelled_while_nobody_answers(rig: Rig) -> None:
    async with Wire(rig.server.port) as wire:
        await rig.start(url=rig.server.url_of("otpsvc", port=wire.port))
        wire.freeze()

        await rig.stop()


async def test_cancelled_with_commands_in_hand(rig: Rig) -> None:
    rig.intake.block()
    await rig.start()
    await rig.publish(b"1", b"2")
    await until(lambda: rig.intake.in_hand == 2)
    await rig.stop()

    assert rig.intake.cancelled == 2
    await until(lambda: rig.server.count(rig.queue) == (2, 0))
