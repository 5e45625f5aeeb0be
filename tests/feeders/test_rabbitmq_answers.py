"""RabbitMQ: answers go where they may, over another connection than the one that consumes."""

from __future__ import annotations

import asyncio

from aiormq.abc import DeliveredMessage

from otpsvc.feeder import Taken
from tests.feeders.rabbit_rig import Rig
from tests.waiting import PATIENCE, until

ANSWER = b'{"response_code":"0000"}'


def _answering(rig: Rig, **more: object) -> None:
    rig.intake.outcome = Taken(answer=ANSWER, **more)  # type: ignore[arg-type]


async def test_to_an_allowed_queue(rig: Rig) -> None:
    _answering(rig)
    rig.intake.replies = {"answers.*"}
    await rig.make_queue("answers.shop")
    await rig.start()
    await rig.publish(b"1", reply_to="answers.shop", correlation_id="c1", message_id="m1")

    answer = await rig.next("answers.shop")
    properties = answer.header.properties
    assert (answer.body, properties.correlation_id) == (ANSWER, "c1")
    assert (properties.content_type, properties.delivery_mode) == ("application/json", 1)
    assert rig.intake.frames[0].asked
    assert rig.intake.frames[0].id == "m1"
    await rig.acknowledged()


async def test_without_a_correlation_id(rig: Rig) -> None:
    _answering(rig)
    rig.intake.replies = {"*"}
    mine = await rig.make_queue()
    await rig.start()
    await rig.publish(b"1", reply_to=mine)

    answer = await rig.next(mine)
    assert answer.header.properties.correlation_id is None


async def test_not_to_another_queue(rig: Rig) -> None:
    """It is taken all the same, and nobody was asked."""
    _answering(rig)
    rig.intake.replies = {"answers.*"}
    mine = await rig.make_queue()
    await rig.start()
    await rig.publish(b"1", reply_to=mine)

    await rig.acknowledged()
    assert not rig.intake.frames[0].asked
    assert await rig.ready(mine) == 0


async def test_not_to_a_queue_of_our_own(rig: Rig) -> None:
    """An answer there would be the next command, and the next answer another one."""
    _answering(rig, callback=rig.queue)
    rig.intake.replies = {"*"}
    await rig.start()
    await rig.publish(b"1", reply_to=rig.queue)
    await rig.publish(b"2", reply_to=f"{rig.queue}.dead")
    await rig.acknowledged()
    _answering(rig, callback=f"{rig.queue}.dead")
    await rig.publish(b"3")

    await rig.acknowledged()
    assert rig.intake.bodies == [b"1", b"2", b"3"]
    assert [frame.asked for frame in rig.intake.frames] == [False] * 3
    assert await rig.ready(f"{rig.queue}.dead") == 0


async def test_not_to_a_queue_of_another_feeder(rig: Rig) -> None:
    theirs, end = await rig.make_queue(), await rig.make_queue()
    rig.fake.taken = {theirs}
    rig.intake.replies = {"*"}
    rig.intake.script.append(Taken(answer=ANSWER, callback=theirs))
    _answering(rig)
    await rig.start()
    await rig.publish(b"1", reply_to=theirs)
    await rig.publish(b"2", reply_to=end)

    assert (await rig.next(end)).body == ANSWER
    await rig.acknowledged()
    assert [frame.asked for frame in rig.intake.frames] == [False, True]
    assert await rig.ready(theirs) == 0


async def test_direct_reply_to(rig: Rig) -> None:
    """The broker's own way needs no leave: it leads to whoever asked."""
    _answering(rig)
    await rig.start()
    channel = await rig.channel()
    answers: asyncio.Queue[DeliveredMessage] = asyncio.Queue()
    await channel.basic_consume("amq.rabbitmq.reply-to", answers.put, no_ack=True)
    await rig.publish(b"1", reply_to="amq.rabbitmq.reply-to", correlation_id="c9")

    answer = await asyncio.wait_for(answers.get(), PATIENCE)
    assert (answer.body, answer.header.properties.correlation_id) == (ANSWER, "c9")
    assert rig.intake.frames[0].asked


async def test_a_name_that_only_begins_like_it(rig: Rig) -> None:
    _answering(rig)
    await rig.start()
    await rig.publish(b"1", reply_to="amq.rabbitmq.reply-tomine")

    await rig.acknowledged()
    assert not rig.intake.frames[0].asked


async def test_an_answer_before_the_acknowledgement(rig: Rig) -> None:
    """While it cannot be published the command is not acknowledged: both come again."""
    _answering(rig)
    rig.intake.replies = {"*"}
    mine = await rig.make_queue()
    await rig.start()
    rig.server.disk_alarm(True)
    try:
        # Our own publishing would be held up: the command is there already for the broker.
        rig.server.publish(rig.queue, "1", reply_to=mine)
        await until(lambda: rig.intake.ended)
        await until(lambda: rig.server.blocked() == 1)
        assert rig.server.count(rig.queue) == (0, 1)
    finally:
        rig.server.disk_alarm(False)
    answer = await rig.next(mine)
    assert answer.body == ANSWER
    await rig.acknowledged()


async def test_a_reply_queue_that_is_gone(rig: Rig) -> None:
    """Whoever asked left: no error of the command, and the next one is answered."""
    _answering(rig)
    rig.intake.replies = {"*"}
    mine = await rig.make_queue()
    await rig.start()
    await rig.publish(b"1", reply_to="gone")
    await rig.publish(b"2", reply_to=mine)

    assert (await rig.next(mine)).body == ANSWER
    await rig.acknowledged()
    assert rig.tally.ups == 1


async def test_a_reply_queue_that_is_full(rig: Rig) -> None:
    _answering(rig)
    rig.intake.replies = {"*"}
    full = await rig.make_queue(arguments={"x-max-length": 0, "x-overflow": "reject-publish"})
    await rig.start()
    await rig.publish(b"1", reply_to=full)

    await rig.acknowledged()
    assert rig.tally.ups == 1


async def test_many_answers_at_once(rig: Rig) -> None:
    rig.intake.outcome = lambda frame: Taken(answer=b"to " + frame.body)
    rig.intake.replies = {"*"}
    mine = await rig.make_queue()
    await rig.start(at_once=50)
    await asyncio.gather(
        *(rig.publish(b"%d" % one, reply_to=mine, correlation_id=str(one)) for one in range(200))
    )

    await rig.acknowledged()
    answers = [await rig.next(mine) for _ in range(200)]
    assert {one.body for one in answers} == {b"to %d" % one for one in range(200)}
    assert all(one.body == f"to {one.header.properties.correlation_id}".encode() for one in answers)


async def test_no_answer_no_publishing(rig: Rig) -> None:
    """The second connection is opened for the first thing to say."""
    rig.intake.replies = {"*"}
    await rig.alone()
    mine = await rig.make_queue()
    await rig.start()
    await rig.publish(b"1", reply_to=mine)
    await rig.acknowledged()
    # Ours, and the one that consumes.
    assert rig.server.connections() == 2

    _answering(rig)
    await rig.publish(b"2", reply_to=mine)
    await rig.next(mine)
    assert rig.server.connections() == 3


async def test_callback_of_the_body(rig: Rig) -> None:
    """It does not hold up the acknowledgement."""
    mine = await rig.make_queue()
    _answering(rig, callback=mine, delay=3600.0)
    feeder = await rig.start()
    await rig.publish(b"1", correlation_id="c1")
    await rig.acknowledged()
    assert await rig.ready(mine) == 0

    # Whoever stops does not wait an hour, and says it before.
    await feeder.drain()
    answer = await rig.next(mine)
    assert (answer.body, answer.header.properties.correlation_id) == (ANSWER, "c1")


async def test_callback_after_its_delay(rig: Rig) -> None:
    mine = await rig.make_queue()
    rig.intake.script.append(Taken(answer=b"late", callback=mine, delay=0.5))
    rig.intake.script.append(Taken(answer=b"now", callback=mine))
    await rig.start()
    await rig.publish(b"1", b"2")

    assert {(await rig.next(mine)).body for _ in range(2)} == {b"late", b"now"}


async def test_both_ways_at_once(rig: Rig) -> None:
    rig.intake.replies = {"*"}
    one, two = await rig.make_queue(), await rig.make_queue()
    _answering(rig, callback=two)
    await rig.start()
    await rig.publish(b"1", reply_to=one)

    assert (await rig.next(one)).body == ANSWER
    assert (await rig.next(two)).body == ANSWER


async def test_a_user_who_may_not_publish(rig: Rig) -> None:
    """The channel for answers is closed by the broker, again and again; the commands go on."""
    _answering(rig)
    rig.intake.replies = {"*"}
    mine = await rig.make_queue()
    await rig.make_queue(rig.queue, exclusive=False)
    await rig.start(url=rig.server.url_of("reader"), declare=False, dead_letters="-")
    for number in range(3):
        await rig.publish(b"%d" % number, reply_to=mine)
        await until(lambda: rig.intake.ended)
        await rig.acknowledged()

    assert rig.session is not None
    assert not rig.session.done()
    assert rig.intake.bodies == [b"0", b"1", b"2"]


async def test_the_line_for_answers_is_cut(rig: Rig) -> None:
    """While idle it is only made anew."""
    _answering(rig)
    rig.intake.replies = {"*"}
    await rig.alone()
    mine = await rig.make_queue()
    await rig.start()
    await rig.publish(b"1", reply_to=mine)
    await rig.next(mine)
    await rig.acknowledged()
    assert rig.server.close_connections(" out") == 1
    await until(lambda: rig.server.connections() == 2)
    await rig.publish(b"2", reply_to=mine)

    assert (await rig.next(mine)).body == ANSWER
    assert rig.tally.ups == 1


async def test_a_place_too_long_for_the_protocol(rig: Rig) -> None:
    _answering(rig, callback="é" * 128)
    feeder = await rig.start()
    await rig.publish(b"1")
    await rig.acknowledged()
    await feeder.drain()

    assert rig.session is not None
    assert not rig.session.done()
