"""RabbitMQ: what was refused goes to another queue, with the reason, and only then away from its own."""

from __future__ import annotations

import asyncio

import pytest

from otpsvc.errors import BrokerGone
from otpsvc.feeder import Taken
from tests.feeders.rabbit_rig import REFUSED, Rig, headers_of
from tests.waiting import until


async def test_refused(rig: Rig) -> None:
    """As it came, with the reason."""
    rig.intake.outcome = REFUSED
    await rig.start()
    await rig.publish(b"{\xff", message_id="m1", correlation_id="c1", content_type="x/y", headers={"a": "b"})

    dead = await rig.next(f"{rig.queue}.dead")
    properties = dead.header.properties
    assert (dead.body, properties.message_id, properties.correlation_id) == (b"{\xff", "m1", "c1")
    assert (properties.content_type, properties.delivery_mode) == ("x/y", 2)
    assert headers_of(dead) == {"x-otpsvc-reason": "bad_request", "x-otpsvc-feeder": "line"}
    await rig.acknowledged()
    assert rig.tally.dead == ["bad_request"]


async def test_rows_of_a_list(rig: Rig) -> None:
    """Refused in part: the whole list, with the places in it."""
    rig.intake.outcome = Taken(refusals={3: "limited", 0: "blocked"}, commands=5)
    await rig.start()
    await rig.publish(b"[]")

    dead = await rig.next(f"{rig.queue}.dead")
    assert headers_of(dead)["x-otpsvc-rows"] == "0,3"
    assert headers_of(dead)["x-otpsvc-reason"] == "limited"
    await rig.acknowledged()
    assert rig.tally.dead == ["limited"]


async def test_a_list_refused_as_a_whole(rig: Rig) -> None:
    rig.intake.outcome = Taken(refusals={0: "blocked", 1: "limited"}, commands=2)
    await rig.start()
    await rig.publish(b"[]")

    dead = await rig.next(f"{rig.queue}.dead")
    assert headers_of(dead) == {"x-otpsvc-reason": "blocked", "x-otpsvc-feeder": "line"}


async def test_refused_and_answered(rig: Rig) -> None:
    rig.intake.outcome = Taken(refusals={0: "bad_request"}, answer=b"{}")
    rig.intake.replies = {"*"}
    mine = await rig.make_queue()
    await rig.start()
    await rig.publish(b"1", reply_to=mine)

    assert (await rig.next(mine)).body == b"{}"
    assert (await rig.next(f"{rig.queue}.dead")).body == b"1"


async def test_oversized(rig: Rig) -> None:
    """Over several frames of the protocol, whole."""
    rig.intake.outcome = REFUSED
    await rig.start()
    await rig.publish(b"x" * 300_000)

    assert (await rig.next(f"{rig.queue}.dead")).body == b"x" * 300_000
    assert len(rig.intake.frames[0].body) == 300_000
    await rig.acknowledged()


async def test_nothing_in_it(rig: Rig) -> None:
    rig.intake.outcome = REFUSED
    await rig.start()
    await rig.publish(b"")

    assert (await rig.next(f"{rig.queue}.dead")).body == b""


async def test_it_does_not_stay_for_ever(rig: Rig) -> None:
    """Texts and numbers stand in it."""
    await rig.start(dead_letter_life=60)

    await rig.make_queue(
        f"{rig.queue}.dead",
        exclusive=False,
        durable=True,
        arguments={"x-message-ttl": 60_000, "x-max-length": 10_000},
    )


async def test_another_queue_for_them(rig: Rig) -> None:
    rig.intake.outcome = REFUSED
    name = f"{rig.queue}.poison"
    await rig.start(dead_letters=name)
    await rig.publish(b"1")

    assert (await rig.next(name)).body == b"1"
    await rig.forget(name)


@pytest.mark.parametrize("settings", [{"dead_letters": "-"}, {"dead_letter_life": 0}])
async def test_none_are_kept(rig: Rig, settings: dict[str, object]) -> None:
    rig.intake.outcome = REFUSED
    await rig.start(**settings)
    await rig.publish(b"1")

    await rig.acknowledged()
    assert rig.tally.dead == ["bad_request"]
    assert rig.server.queues() & {f"{rig.queue}.dead", "-"} == set()


async def test_the_dead_letter_queue_is_gone(rig: Rig) -> None:
    """Nothing is thrown away: the command stays until there is one again."""
    rig.intake.outcome = REFUSED
    await rig.start()
    await rig.forget(f"{rig.queue}.dead")
    await rig.publish(b"1", message_id="m1")

    error = await rig.ended()
    assert isinstance(error, BrokerGone)
    assert f'"{rig.queue}.dead"' in error.reason
    await until(lambda: rig.server.count(rig.queue) == (1, 0))
    assert rig.tally.dead == []

    await rig.run()
    assert (await rig.next(f"{rig.queue}.dead")).header.properties.message_id == "m1"
    await rig.acknowledged()
    assert [frame.again for frame in rig.intake.frames] == [False, True]


async def test_the_dead_letter_queue_takes_nothing(rig: Rig) -> None:
    rig.intake.outcome = REFUSED
    name = await rig.make_queue(
        exclusive=False, arguments={"x-max-length": 0, "x-overflow": "reject-publish"}
    )
    await rig.make_queue(rig.queue, exclusive=False)
    await rig.start(declare=False, dead_letters=name)
    await rig.publish(b"1")

    assert isinstance(await rig.ended(), BrokerGone)
    await until(lambda: rig.server.count(rig.queue) == (1, 0))
    await rig.forget(name)


async def test_many_with_one_id(rig: Rig) -> None:
    """Old clients use an id again; a returned message is told apart by nothing else."""
    rig.intake.outcome = REFUSED
    await rig.start()
    await asyncio.gather(*(rig.publish(b"%d" % one, message_id="same") for one in range(60)))

    await rig.acknowledged()
    dead = [await rig.next(f"{rig.queue}.dead") for _ in range(60)]
    assert {one.body for one in dead} == {b"%d" % one for one in range(60)}
    assert {one.header.properties.message_id for one in dead} == {"same"}


async def test_many_with_one_id_and_no_queue(rig: Rig) -> None:
    """None of them may be taken for buried."""
    rig.intake.outcome = REFUSED
    rig.intake.block()
    await rig.start()
    await rig.forget(f"{rig.queue}.dead")
    await asyncio.gather(*(rig.publish(b"%d" % one, message_id="same") for one in range(20)))
    await until(lambda: rig.intake.in_hand == 20)
    rig.intake.release()

    assert isinstance(await rig.ended(), BrokerGone)
    await until(lambda: rig.server.count(rig.queue) == (20, 0))
    assert rig.tally.dead == []


async def test_dead_letters_that_the_broker_does_not_take_are_told_of(rig: Rig) -> None:
    rig.intake.outcome = REFUSED
    await rig.start()
    # Only who publishes is told of an alarm.
    await rig.publish(b"first")
    await rig.next(f"{rig.queue}.dead")
    await rig.acknowledged()
    assert rig.tally.beside() == (0, "")

    rig.intake.block()
    for body in (b"1", b"2"):
        await rig.publish(body)
    await until(lambda: len(rig.intake.frames) == 3)
    rig.server.disk_alarm(True)
    try:
        rig.intake.release()
        trouble = "the broker takes no dead letters and answers (disk or memory alarm)"
        await until(lambda: rig.tally.beside() == (2, trouble), rig.tally.beside)
    finally:
        rig.server.disk_alarm(False)
    await rig.acknowledged()
    assert rig.tally.beside() == (0, "")
