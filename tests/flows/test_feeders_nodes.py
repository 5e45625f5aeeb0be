"""Several nodes: a central one that feeds a box by way of a broker, and processes that share a store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, Final

import pytest

from otpsvc.gsm.emulator import EmulatedModem, Network
from tests.drills.api import Api
from tests.drills.conftest import Store
from tests.drills.place import Place, Service, table, tenant
from tests.far_ends import mosquitto
from tests.far_ends.mosquitto import MosquittoServer
from tests.far_ends.rabbitmq import RabbitServer
from tests.far_ends.ws_broker import WsBroker
from tests.feeders.mqtt_rig import peer
from tests.flows.feeders_rig import (
    JSON,
    SCOPES,
    Amqp,
    command,
    connected,
    gsm,
    listed,
    mqtt_feeder,
    number,
    rabbit_feeder,
    serve_feeders,
    ws_feeder,
)
from tests.waiting import until

pytest_plugins = ["tests.drills.feeders_far"]

SECRET: Final = "0123456789abcdef0123456789abcdef-between-nodes"


def broker_channel(name: str, type: str, url: str, **values: Any) -> str:
    password = {"rabbitmq": "hare-5e8f", "mqtt": mosquitto.PASSWORD}[type]
    usual = {"type": type, "url": url, "username": "otpsvc", "password": password, "country": "ID"}
    return table(f"channels.{name}", **(usual | values))


def url_of(rabbit: RabbitServer) -> str:
    """The channel wants no login in it."""
    return f"amqp://127.0.0.1:{rabbit.port}/"


async def post(api: Api, channel: str, to: str, text: str) -> str:
    body = json.dumps({"to": to, "text": text, "channel": channel}).encode()
    answer = await api.ask("POST", "/api/messages", data=body, headers=JSON)
    assert answer.status == 202, answer.raw
    return str(answer.record["id"])


async def ended(api: Api, id: str) -> None:
    async def is_sent() -> bool:
        return bool((await api.ask("GET", f"/api/messages/{id}")).record["state"] == "sent")

    await until(is_sent)


class Two:
    """A central node, and a box with a modem behind the brokers."""

    def __init__(self, net: Network, central: Service, box: Service, amqp: Amqp) -> None:
        self.net, self.central, self.box, self.amqp = net, central, box, amqp

    def got(self, to: str) -> list[str]:
        return [text.text for text in self.net.sent if text.to == to]

    async def sent(self, to: str, *texts: str) -> None:
        await until(lambda: len(self.got(to)) >= len(texts), lambda: self.box.log[-3000:])
        assert sorted(self.got(to)) == sorted(texts)


@pytest.fixture(scope="module")
async def two(far_rabbit: RabbitServer, far_mosquitto: MosquittoServer) -> AsyncIterator[Two]:
    async with AsyncExitStack() as stack:
        net = Network(latency=0.0)
        modem = await stack.enter_async_context(EmulatedModem(net))
        box = await stack.enter_async_context(
            Place(
                tenant("shop", scopes=SCOPES, country="ID"),
                gsm(modem),
                rabbit_feeder("sealed", far_rabbit, queue="box", queue_type="quorum", secret=SECRET),
                mqtt_feeder("sealedm", far_mosquitto, gateway="box", secret=SECRET),
                mqtt_feeder("plain", far_mosquitto, gateway="open"),
            )
        )
        central = await stack.enter_async_context(
            Place(
                tenant("shop", scopes=SCOPES, country="ID"),
                broker_channel("amqp", "rabbitmq", url_of(far_rabbit), routing_key="box", secret=SECRET),
                broker_channel(
                    "held",
                    "rabbitmq",
                    url_of(far_rabbit),
                    routing_key="held",
                    secret=SECRET,
                    declare_queue=True,
                ),
                broker_channel("mq", "mqtt", far_mosquitto.url, topic="smsoutnew/box", secret=SECRET),
                broker_channel("open", "mqtt", far_mosquitto.url, topic="smsoutnew/open", payload="plain"),
                broker_channel("pico", "mqtt", far_mosquitto.url, topic="smsoutnew/pico", payload="plain"),
            )
        )
        served = await asyncio.gather(central.serve(), box.serve(workers=2))
        await connected(served[1], "sealed", "sealedm", "plain")
        amqp = await stack.enter_async_context(Amqp(far_rabbit.url))
        yield Two(net, *served, amqp)


@pytest.mark.parametrize("channel", ["amqp", "mq", "open"])
async def test_a_code_goes_over_a_broker_and_a_box_to_the_phone(two: Two, channel: str) -> None:
    to, id, api = number(), f"user-{channel}", two.central.api
    assert (await api.put(id, provider=channel, to=to, otp="482913")).status == 200
    await until(lambda: two.got(to), lambda: two.box.log[-3000:])
    assert "482913" in two.got(to)[0]
    assert (await api.settled(id))["message"]["state"] == "sent"
    assert (await api.check(id, "482913")).status == 200

    texts = [f"text {at} €'\"" for at in range(10)]
    await asyncio.gather(*(post(api, channel, to, text) for text in texts))
    await two.sent(to, two.got(to)[0], *texts)


async def test_who_carries_a_sealed_text_can_neither_read_nor_repeat_it(two: Two) -> None:
    to, text = number(), "planted words 4711-4711"
    id = await post(two.central.api, "held", to, text)
    await ended(two.central.api, id)
    parcel = (await two.amqp.next("held")).body
    for secret in (to.encode(), to[3:].encode(), b"planted", b"4711"):
        assert secret not in parcel
    await two.amqp.publish("box", parcel, parcel)
    await two.amqp.publish("box", parcel)
    await two.sent(to, text)

    changed = parcel.replace(b'"id":"', b'"id":"x')
    await two.amqp.publish("box", command(to, "not sealed"), changed)
    reasons = [(await two.amqp.next("box.dead")).header.properties.headers for _ in range(2)]
    assert {one["x-otpsvc-reason"] for one in reasons if one} == {"not_sealed", "sealed_otherwise"}
    assert two.got(to) == [text]


async def test_a_pico_reads_what_is_sent_plainly(two: Two, far_mosquitto: MosquittoServer) -> None:
    """As its firmware does: every apostrophe becomes a quotation mark before it is read."""
    to, text = number(), 'It\'s "4711"\nok'
    async with peer(far_mosquitto, "smsoutnew/pico") as pico:
        await post(two.central.api, "pico", to, text)
        await until(lambda: pico.heard, lambda: two.central.log[-3000:])
        read = json.loads(pico.heard[0][1].decode().replace("'", '"'))

    assert (read["to"], read["text"]) == (to, text)


async def test_processes_that_share_a_store_send_everything_once(
    far_rabbit: RabbitServer, far_mosquitto: MosquittoServer
) -> None:
    """Two that feed and one that delivers. One of two holds the MQTT line; when it dies the other has it."""
    async with AsyncExitStack() as stack:
        net = Network(latency=0.0)
        modem = await stack.enter_async_context(EmulatedModem(net, ussd={"*123#": "Balance: 10000"}))
        php = await stack.enter_async_context(WsBroker("php"))
        store = stack.enter_context(Store())
        place = await stack.enter_async_context(
            Place(
                tenant("shop", scopes=SCOPES, country="ID"),
                gsm(modem, ussd=["*123#"]),
                rabbit_feeder("rabbit", far_rabbit, queue="shared", queue_type="quorum", at_once=5),
                ws_feeder("ws", php),
                mqtt_feeder("mqtt", far_mosquitto, gateway="shared"),
                store=store.url,
            )
        )
        delivery = await place.serve(only="delivery")
        nodes = [await serve_feeders(place) for _ in range(2)]
        amqp = await stack.enter_async_context(Amqp(far_rabbit.url))
        presence, status = "smsgwpresence/shared", "smsstatus/#"
        mqtt = await stack.enter_async_context(peer(far_mosquitto, presence, status))
        await until(lambda: len(php.receiving) == 2)

        async def one_holds() -> bool:
            return states(await listed(place), "mqtt") == ["connected", "standby"]

        await until(one_holds, lambda: "".join(node.log[-1000:] for node in nodes))

        def said(name: str) -> dict[str, str]:
            return {number(): f"{name} {at}" for at in range(30)}

        def missing(asked: dict[str, str]) -> dict[str, str]:
            there = {(text.to, text.text) for text in net.sent}
            return {to: text for to, text in asked.items() if (to, text) not in there}

        asked = said("rabbit")
        await amqp.publish("shared", *(command(to, text) for to, text in asked.items()))
        more = said("ws")
        await php.publish("sms", *(command(to, text).encode() for to, text in more.items()))
        most = said("mqtt")
        await mqtt.flood([command(to, text).encode() for to, text in most.items()], "smsoutnew/shared")
        asked |= more | most
        await until(lambda: not missing(asked), lambda: str(missing(asked)) + delivery.log[-2000:])

        ussd = {"command": "request-ussd", "data": {"ussd_code": "*123#"}}
        assert (await amqp.call("shared", ussd))["data"]["ussd_content"] == "Balance: 10000"

        holder = next(node for node in nodes if holds(node))
        holder.kill()
        late = said("late")
        await mqtt.flood([command(to, text).encode() for to, text in late.items()], "smsoutnew/shared")
        other = said("other")
        await amqp.publish("shared", *(command(to, text) for to, text in other.items()))
        asked |= late | other
        await until(lambda: not missing(asked), lambda: str(missing(asked)) + delivery.log[-2000:])

        await until(lambda: len(mqtt.bodies(presence)) > 2, lambda: str(mqtt.bodies(presence)))
        assert mqtt.bodies(presence)[:3] == [b"online", b"offline", b"online"]
        assert len(net.sent) == len(asked)
        # Of what was in its hand when it died too: its states are told to their end by the other one.
        await until(lambda: b"delivered" in b"".join(mqtt.bodies(f"smsstatus/i{next(iter(late))[-7:]}")))


def states(told: list[dict[str, Any]], feeder: str) -> list[str]:
    return sorted(one["state"] for one in told if one["name"] == feeder)


def holds(node: Service) -> bool:
    return any('"feeder connected"' in line and '"feeder":"mqtt"' in line for line in node.log.splitlines())
