"""RabbitMQ channels when something goes wrong: nothing lost, nothing doubled without a doubt."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from otpsvc.errors import Unavailable, Uncertain
from tests.channels import message
from tests.channels.insisting import (
    Ends,
    check_asked_once,
    check_closing,
    check_none_lost,
    check_not_hammered,
    cut_off,
    insist,
    insist_over_cuts,
    insist_over_restart,
    reason,
    settled,
    stop_clock,
)
from tests.channels.rabbitmq_rig import channel, consumer, wire
from tests.far_ends.rabbitmq import RabbitServer
from tests.waiting import until


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"password": "wrong"}, "login refused"),
        ({"username": "mallory"}, "virtual host refused"),
        ({"username": "reader"}, "the login may not do this there"),
        ({"username": "reader", "declare_queue": True}, "the login may not do this there"),
        ({"exchange": "nowhere"}, "no such exchange"),
        ({"routing_key": "nowhere"}, "no queue takes it"),
        ({"url": "amqp://127.0.0.1:1"}, "cannot connect (Connection refused)"),
    ],
)
async def test_a_message_that_was_not_taken_is_free(
    rabbit: RabbitServer, table: dict[str, Any], expected: str
) -> None:
    """Another channel may send it, and the operator can see why."""
    before = asyncio.all_tasks()
    async with channel(rabbit, **table) as way:
        assert await reason(way) == expected
    await settled(before)


async def test_another_host_than_its_certificate_says_is_not_talked_to(rabbit: RabbitServer) -> None:
    url = f"amqps://localhost:{rabbit.tls_port}"
    async with channel(url=url) as stranger:
        assert "look at ca_file" in await reason(stranger)
    async with (
        consumer(rabbit) as box,
        channel(url=url, ca_file=str(rabbit.ca_file), routing_key=box.name) as way,
    ):
        await way.send(message(id="m1"))

        assert (await box.next()).message_id == "m1"


async def test_a_login_that_was_refused_is_not_hammered(rabbit: RabbitServer) -> None:
    async with wire(rabbit) as far, channel(port=far.port, password="wrong") as way:
        await check_not_hammered(far, way)


async def test_a_broker_that_throws_us_out_is_not_hammered(rabbit: RabbitServer) -> None:
    async with wire(rabbit) as far, channel(port=far.port, exchange="nowhere") as way:
        stop_clock(way)
        for _ in range(20):
            await reason(way)

        assert far.accepted == 2


async def test_a_full_queue_leaves_the_message_free(rabbit: RabbitServer) -> None:
    full: dict[str, str | int] = {"x-max-length": 1, "x-overflow": "reject-publish"}
    async with consumer(rabbit, settings=full) as box, channel(rabbit, routing_key=box.name) as way:
        await way.send(message())
        assert await reason(way) == "the queue did not take it"

        await box.rest()
        await way.send(message())


async def test_a_disk_alarm_keeps_the_message_and_stops_the_next(rabbit: RabbitServer) -> None:
    ends = Ends()
    async with (
        consumer(rabbit) as box,
        wire(rabbit) as far,
        channel(port=far.port, routing_key=box.name) as way,
    ):
        await way.send(message(id="before"))
        await asyncio.to_thread(rabbit.disk_alarm, True)
        try:
            first = asyncio.ensure_future(way.send(message(id="m1")))
            line = await way._kept.line()
            await until(lambda: line.is_blocked)
            first.cancel()
            with pytest.raises(asyncio.CancelledError) as cut:
                await first
            assert isinstance(cut.value.__cause__, Uncertain)

            written = far.published
            assert "disk" in await reason(way)
            with pytest.raises(Unavailable, match="disk"):
                await way.ping()
            assert far.published == written
        finally:
            await asyncio.to_thread(rabbit.disk_alarm, False)
        await until(lambda: not line.is_blocked)

        await insist(way, "m1", ends)
        assert far.accepted == 1
        found = [await box.next() for _ in range(3)]
        assert [one.message_id for one in found] == ["before", "m1", "m1"]
        assert await box.rest() == []


async def test_a_broker_that_does_not_answer_is_not_asked_again(rabbit: RabbitServer) -> None:
    """The next message goes over a new connection; the first one's may have been its last."""
    async with (
        consumer(rabbit) as box,
        wire(rabbit) as far,
        channel(port=far.port, routing_key=box.name) as way,
    ):
        await check_asked_once(far, way)


async def test_nothing_is_lost_when_lines_are_cut(rabbit: RabbitServer) -> None:
    ends = Ends()
    async with (
        consumer(rabbit) as box,
        wire(rabbit) as far,
        channel(port=far.port, routing_key=box.name) as way,
    ):
        await insist_over_cuts(far, way, ends)
        found = [str(one.message_id) for one in await box.rest()]

    check_none_lost(found, ends)


async def test_nothing_is_lost_when_the_broker_is_started_anew(rabbit: RabbitServer) -> None:
    ends = Ends()
    async with channel(rabbit, routing_key="durable", declare_queue=True) as way:
        await insist_over_restart(rabbit.restart, way, ends)
        await insist(way, "last", ends)
    async with consumer(rabbit, "durable") as box:
        found = [str(one.message_id) for one in await box.rest()]

    check_none_lost(found, ends)


@pytest.mark.parametrize("kept", [True, False])
async def test_a_send_may_be_cut_off_anywhere(rabbit: RabbitServer, kept: bool) -> None:
    """What is said to be free is in no queue, what is said to be sent is; and the next one passes."""
    ends, before = Ends(), asyncio.all_tasks()
    async with consumer(rabbit) as box:
        for turns in range(40):
            async with channel(rabbit, routing_key=box.name) as way:
                if kept:
                    await way.ping()
                await cut_off(way, f"m{turns}", ends, turns=turns)
                await insist(way, f"next{turns}", ends)
        found = {str(one.message_id) for one in await box.rest()}

        assert ends.sent <= found
        assert not (ends.free - ends.sent) & found
        assert ends.free
        if kept:
            assert ends.doubtful
    await settled(before)


async def test_who_waits_for_its_turn_is_free(rabbit: RabbitServer) -> None:
    async with consumer(rabbit) as box, channel(rabbit, routing_key=box.name) as way:
        line = await way._kept.line()
        # As when another message is being written.
        async with line._channel.lock:  # type: ignore[attr-defined]
            sending = asyncio.ensure_future(way.send(message(id="m1")))
            for _ in range(5):
                await asyncio.sleep(0)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError) as cut:
                await sending
        assert isinstance(cut.value.__cause__, Unavailable)

        await way.send(message(id="m2"))
        assert [one.message_id for one in await box.rest()] == ["m2"]


async def test_closing_ends_what_is_under_way(rabbit: RabbitServer) -> None:
    before = asyncio.all_tasks()
    async with consumer(rabbit) as box, wire(rabbit) as far:
        await check_closing(far, channel(port=far.port, routing_key=box.name))
    await settled(before)
