"""Messages on their way to a consumer behind RabbitMQ: what is published, and how often."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from otpsvc.address import ANY, EMAIL
from otpsvc.channels.broker_command import command_of
from otpsvc.command import Send, read
from otpsvc.errors import Refused, Unavailable
from otpsvc.parcel import Parcels, is_parcel
from tests.channels import CODE, TEXT, message
from tests.channels.rabbitmq_rig import SECRET, channel, config, consumer, wire
from tests.far_ends.rabbitmq import RabbitServer

NUMBER = "+6281234567890"


async def test_a_sealed_command_arrives(rabbit: RabbitServer) -> None:
    now = time.time()
    async with consumer(rabbit) as box, channel(rabbit, routing_key=box.name) as way:
        await way.send(message(to=NUMBER, id="m1", expires=now + 3600))
        found = await box.next()

    assert is_parcel(found.body)
    assert CODE.encode() not in found.body
    asked = read(Parcels(SECRET).open(found.body, now=now), now=now).commands[0]
    assert isinstance(asked, Send)
    assert (asked.word, asked.to, asked.text, asked.id) == ("send-sms", NUMBER, TEXT, "m1")
    assert 3500 < asked.life <= 3600


async def test_its_properties_keep_it_and_end_it(rabbit: RabbitServer) -> None:
    async with consumer(rabbit) as box, channel(rabbit, routing_key=box.name) as way:
        await way.send(message(id="m1", expires=time.time() + 1000))
        found = await box.next()

    assert found.message_id == "m1"
    assert found.delivery_mode == 2
    assert found.content_type == "application/json"
    assert 900 < float(str(found.expiration)) <= 1000


async def test_plain_is_the_command_as_old_consumers_read_it(rabbit: RabbitServer) -> None:
    async with (
        consumer(rabbit) as box,
        channel(rabbit, routing_key=box.name, payload="plain") as way,
    ):
        now = time.time()
        way._now = lambda: now
        await way.send(message(to=NUMBER, id="m1", expires=now + 60.9))
        found = json.loads((await box.next()).body)

    when, end = found["data"].pop("date_time"), found["data"].pop("expiration")
    assert found == {
        "command": "send-sms",
        "data": {"id": "m1", "receiver": NUMBER, "msisdn": NUMBER, "message": TEXT},
    }
    assert end - when in (60, 61)


def test_a_mail_has_its_subject_and_a_text_its_modem() -> None:
    mail = json.loads(command_of(message(to="alice@example.com"), now=1.0))
    text = json.loads(command_of(message(to=NUMBER, modem="left"), now=1.0))

    assert (mail["command"], mail["data"]["subject"]) == ("send-mail", "Your code")
    assert text["data"]["modem_id"] == "left"
    assert "subject" not in text["data"]


@pytest.mark.parametrize("text", ["half \ud83d", "x" * 70_000])
async def test_what_no_consumer_could_read_is_refused(text: str) -> None:
    """Before there is a connection."""
    with pytest.raises(Refused):
        await channel(routing_key="q").send(message(text=text))


async def test_a_queue_is_made_only_when_asked(rabbit: RabbitServer) -> None:
    with pytest.raises(Unavailable, match="no queue takes it"):
        async with channel(rabbit, routing_key="made-by-us") as way:
            await way.send(message())

    async with channel(rabbit, routing_key="made-by-us", declare_queue=True) as way:
        await way.send(message(id="m1"))
    async with consumer(rabbit, "made-by-us") as box:
        assert (await box.next()).message_id == "m1"
        assert "rabbit_quorum_queue" in rabbit.evaluate(
            'begin {ok, Q} = rabbit_amqqueue:lookup({resource, <<"/">>, queue, <<"made-by-us">>}),'
            " amqqueue:get_type(Q) end"
        )


async def test_a_queue_with_other_settings_is_told(rabbit: RabbitServer) -> None:
    async with consumer(rabbit) as box, channel(rabbit, routing_key=box.name, declare_queue=True) as way:
        with pytest.raises(Unavailable, match="the queue is there with other settings"):
            await way.send(message())


async def test_an_exchange_routes(rabbit: RabbitServer) -> None:
    async with consumer(rabbit) as box, channel(rabbit, exchange="amq.topic", routing_key="sms.id") as way:
        await box.queue.bind("amq.topic", "sms.*")
        await way.send(message(id="m1"))

        assert (await box.next()).message_id == "m1"


async def test_many_at_once_take_one_connection(rabbit: RabbitServer) -> None:
    async with (
        consumer(rabbit, settings={"x-queue-type": "quorum"}) as box,
        wire(rabbit) as far,
        channel(port=far.port, routing_key=box.name) as way,
    ):
        await asyncio.gather(*(way.send(message(id=f"m{at}")) for at in range(300)))

        assert far.accepted == 1
        assert sorted(str(one.message_id) for one in await box.rest()) == sorted(
            f"m{at}" for at in range(300)
        )


async def test_a_retry_has_the_same_id(rabbit: RabbitServer) -> None:
    async with consumer(rabbit) as box, channel(rabbit, routing_key=box.name) as way:
        for _ in range(2):
            await way.send(message(id="m1", expires=time.time() + 3600))
        found = await box.rest()

    assert [one.message_id for one in found] == ["m1", "m1"]
    ids = {json.loads(Parcels(SECRET).open(one.body, now=time.time()))["data"]["id"] for one in found}
    assert ids == {"m1"}


def test_it_takes_the_kind_of_address_that_its_table_says() -> None:
    assert channel().address.parse(" +62 812-3456-7890") == NUMBER
    assert channel(country="ID").address.parse("0812 3456 7890") == NUMBER
    assert channel(address="email").address is EMAIL
    assert channel(address="any").address is ANY


def test_nothing_is_said_of_a_sealed_one_and_of_a_plain_one_that_it_can_be_read() -> None:
    assert config().warnings() == {}
    assert list(config(payload="plain").warnings()) == ["payload"]
