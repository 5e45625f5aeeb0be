"""Brokers that stop, cut, deliver again, run out of disk or are not there, in the middle of streams."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import aiormq
import pytest

from tests.drills.feeders_hurt import Rig, opened
from tests.drills.feeders_stream import NUMBER, TEXT, left_behind
from tests.far_ends.mosquitto import PASSWORD as MQTT_PASSWORD
from tests.far_ends.mosquitto import MosquittoServer
from tests.far_ends.rabbitmq import PASSWORD, RabbitServer
from tests.far_ends.ws_broker import PASSWORD as WS_PASSWORD
from tests.feeders.mqtt_rig import peer
from tests.flows.feeders_rig import JSON, Amqp, connected, listed
from tests.waiting import until

pytest_plugins = ["tests.drills.feeders_far"]
#: A broker that starts slowly is tried again every 30 s: longer than a test usually may take.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
async def rig(far_rabbit: RabbitServer, far_mosquitto: MosquittoServer) -> AsyncIterator[Rig]:
    async with opened(far_rabbit, far_mosquitto) as made:
        yield made


async def test_the_line_is_cut_while_messages_are_unacknowledged(rig: Rig) -> None:
    for _ in range(2):
        await rig.stream_of(300)
        rig.wire.cut()
        rig.line.cut()
    await rig.whole()


async def test_brokers_stop_and_come_back_in_mid_stream(rig: Rig) -> None:
    """Those that are not hurt, and the HTTP door, go on beside it."""
    await rig.stream_of(400)
    await asyncio.to_thread(rig.mqtt.stop)
    restart = asyncio.create_task(asyncio.to_thread(_kill_and_start, rig.rabbit))
    more = rig.stream.make(20)
    for body in more[:10]:
        await rig.post(body)
    await rig.ws.publish("sms", *(body.encode() for body in more[10:]))
    beside = set(list(rig.stream.asked)[-20:])
    await until(lambda: not rig.stream.missing(beside), rig.told)
    await restart
    await asyncio.to_thread(rig.mqtt.start)
    await rig.whole()
    await connected(rig.service, "rabbit", "loop", "mqtt", "ws")


def _kill_and_start(rabbit: RabbitServer) -> None:
    rabbit.kill()
    rabbit.start()


async def test_a_thousand_that_come_again_are_sent_once(rig: Rig) -> None:
    """First refused by another consumer, so that they are marked; then published all over again."""
    bodies = rig.stream.make(1000)
    async with Amqp(rig.rabbit.url) as hand:
        await hand.declare("durable", durable=True, arguments={"x-queue-type": "quorum"})
    connection = await aiormq.connect(rig.rabbit.url)
    channel = await connection.channel()
    await channel.basic_qos(prefetch_count=500)
    back: list[int] = []

    async def give_back(message: Any) -> None:
        back.append(message.delivery_tag)
        await channel.basic_nack(message.delivery_tag, requeue=True)

    await channel.basic_consume("durable", give_back)
    await rig.amqp(*bodies)
    await until(lambda: len(back) >= 100, rig.told)
    await connection.close()
    await rig.amqp(*bodies)
    await rig.whole()
    # Behind all that came again.
    await rig.amqp(*rig.stream.make(1))
    await rig.whole()


async def test_poison_between_good_ones_is_put_aside(rig: Rig) -> None:
    """With its reason; never tried for ever, nothing good is held up."""
    secret = f"{TEXT} poisoned"
    deep = "[" * 40 + "]" * 40
    poison = {
        "broken_json": [
            f'{{"command":"send-sms","data":{{"message":"{secret}"',
            secret,
            "",
            "[]",
            "\x00\xff",
        ],
        "unknown_command": [json.dumps({"command": "format-disk", "data": {"message": secret}}), "{}"],
        "invalid_address": [
            json.dumps({"command": "send-sms", "data": {"msisdn": "ann", "message": secret}})
        ],
        "too_many_rows": [json.dumps({"command": "send-message", "data": [{}] * 101})],
    }
    poison["broken_json"] += [
        json.dumps({"command": "x", "data": deep}).replace('"[', "[").replace(']"', "]")
    ]
    poison["broken_json"] += ["x" * 70_000, json.dumps({"command": "echo", "data": secret * 5000})]
    for bad in itertools.chain.from_iterable(poison.values()):
        await rig.amqp(bad, *rig.stream.make(2))
        await rig.flood(bad, *rig.stream.make(2))
    await rig.whole()

    wanted = Counter({reason: len(bodies) for reason, bodies in poison.items()})
    found: Counter[str] = Counter()
    async with Amqp(rig.rabbit.url) as hand:
        for _ in range(wanted.total()):
            headers = (await hand.next("durable.dead")).header.properties.headers or {}
            found[str(headers["x-otpsvc-reason"])] += 1
    assert found == wanted
    page = (await rig.service.admin.ask("GET", "/metrics", tenant="")).raw.decode()
    assert f'feeder="rabbit",reason="broken_json"}} {float(wanted["broken_json"])}' in page


async def test_texts_wait_while_the_brokers_disk_is_full(rig: Rig) -> None:
    """Out by channel `rabbitmq`, in again by the feeder: neither lost nor doubled, and others go on."""
    await asyncio.to_thread(rig.rabbit.disk_alarm, on=True)
    try:
        waiting = rig.stream.make(10)
        for body in waiting:
            data = json.loads(body)["data"]
            said = json.dumps({"to": data["msisdn"], "text": data["message"], "channel": "out"}).encode()
            answer = await rig.service.api.ask("POST", "/api/messages", data=said, headers=JSON)
            assert answer.status == 202, answer.raw
        await rig.flood(*rig.stream.make(10))
        beside = set(list(rig.stream.asked)[-10:])
        await until(lambda: not rig.stream.missing(beside), rig.told)
        assert len(rig.stream.missing()) == len(waiting)
    finally:
        await asyncio.to_thread(rig.rabbit.disk_alarm, on=False)
    await rig.whole()


async def test_wrong_logins_are_shown_and_put_right_by_a_reload(rig: Rig) -> None:
    names = {"mallory", "mallorym", "mallorys"}

    async def states() -> dict[str, str]:
        return {one["name"]: one["state"] for one in await listed(rig.place)}

    wanted = dict.fromkeys(names, "refused") | {"nowhere": "connecting"}
    wanted |= dict.fromkeys(("rabbit", "loop", "mqtt", "ws"), "connected")
    found: dict[str, str] = {}

    async def are_as_wanted() -> bool:
        found.update(await states())
        return found == wanted

    await until(are_as_wanted, lambda: found)
    tries = rig.ws.connects
    await rig.reload(_put_right(rig.config))
    await connected(rig.service, *names)

    assert tries < 20, "a rejected login is not hammered"
    assert "wrong-one" not in rig.service.log
    await rig.amqp(*rig.stream.make(5), queue="sms")
    await rig.whole()


def _put_right(config: str) -> str:
    parts = config.split("[feeders.mallorys]")
    parts[0] = parts[0].replace("otpsvc:wrong-one", f"otpsvc:{PASSWORD}").replace("wrong-one", MQTT_PASSWORD)
    return (
        parts[0]
        + "[feeders.mallorys]"
        + parts[1].replace('"wrong-one"', json.dumps(WS_PASSWORD, ensure_ascii=False))
    )


async def test_requests_that_the_broker_kept_for_newcomers_are_not_taken(rig: Rig) -> None:
    """A storm of retained ones, at each connection anew."""
    async with peer(rig.mqtt) as hand:
        for at in range(50):
            body = json.dumps({"to": f"{NUMBER}9{at:04}", "text": f"{TEXT} retained {at}"})
            await hand.send(body.encode(), topic="smsoutnew/kept", retain=True)
    await rig.reload(_put_right(rig.config).replace('gateway = "m"', 'gateway = "kept"'))
    await connected(rig.service, "mallorym")
    await asyncio.to_thread(rig.mqtt.restart)
    await connected(rig.service, "mqtt", "mallorym")
    async with peer(rig.mqtt) as hand:
        await hand.send(rig.stream.make(1)[0].encode(), topic="smsoutnew/kept")
    await rig.whole()


async def test_a_senders_wrong_clock_neither_loses_nor_delays_a_text(rig: Rig) -> None:
    """`expiration` is Unix time in seconds; `date_time` tells of a clock that is a little wrong."""
    now = int(time.time())
    skewed = [
        (now - 250, now - 130),
        (now + 250, now + 370),
        (now, now + 120),
        ((now - 250) * 1000, (now - 100) * 1000),
    ]
    good = [body for at, end in skewed for body in rig.stream.make(1, date_time=at, expiration=end)]
    await rig.amqp(*good)
    await rig.whole()

    late = [(now - 3600, now - 3540), (now - 100, now - 160), (0, now - 60)]
    texts = set(rig.stream.asked)
    bad = [body for at, end in late for body in rig.stream.make(1, date_time=at, expiration=end)]
    await rig.amqp(*bad)
    async with Amqp(rig.rabbit.url) as hand:
        for _ in bad:
            headers = (await hand.next("durable.dead")).header.properties.headers or {}
            assert headers["x-otpsvc-reason"] == "expired"
    rig.stream.asked = {text: to for text, to in rig.stream.asked.items() if text in texts}
    await rig.whole()


async def test_nothing_of_it_is_left_behind(rig: Rig) -> None:
    """Last in this file."""
    await rig.stream_of(60)
    await rig.whole()
    assert rig.stream.planted.found_in(await left_behind(rig.place, rig.store)) == set()
    assert "Traceback" not in rig.service.log
