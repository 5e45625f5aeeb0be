"""A box with a modem and all its brokers, and clients as OTP-Broker, OTP-Pi and the Pico gateway had them."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, Self

import aiormq
from aiormq.abc import AbstractChannel, AbstractConnection, DeliveredMessage
from pamqp.commands import Basic

from otpsvc.gsm.emulator import EmulatedModem, Menu, Network
from tests.drills.place import Place, Service, table, tenant
from tests.far_ends import mosquitto
from tests.far_ends.mosquitto import MosquittoServer
from tests.far_ends.rabbitmq import RabbitServer
from tests.far_ends.ws_broker import PASSWORD, USERNAME, Dialect, WsBroker
from tests.feeders.mqtt_rig import Peer, peer
from tests.waiting import PATIENCE, until

SCOPES: Final = ["otp", "sms", "mail", "ussd", "inbox", "modems"]
DIALECTS: Final[tuple[Dialect, ...]] = ("2020", "php", "java")
#: All ways in. `rabbit` is the queue as the first clients declare it, `quorum` the recommended one.
DOORS: Final = ("rabbit", "quorum", *DIALECTS, "mqtt")
QUEUES: Final = {"rabbit": "sms", "quorum": "orders"}
ASKED: Final = "smsoutnew/dongle1"
ROOT: Final = Path(__file__).parents[2]
_numbers = itertools.count(1)


def number() -> str:
    """Another phone each time, as the network writes it."""
    return f"+62812{next(_numbers):07}"


def feeder(name: str, type: str, **values: Any) -> str:
    return table(f"feeders.{name}", **({"type": type, "tenant": "shop"} | values))


def rabbit_feeder(name: str, server: RabbitServer, **values: Any) -> str:
    return feeder(name, "rabbitmq", **({"url": server.url, "replies": ["answers.*", "amq.gen-*"]} | values))


def ws_feeder(name: str, broker: WsBroker, place: str = "sms", **values: Any) -> str:
    login = {"username": USERNAME, "password": PASSWORD}
    usual = {"url": broker.at(place), "replies": ["answers.*"]} | login
    return feeder(name, "wsbroker", **(usual | values))


def mqtt_feeder(name: str, server: MosquittoServer, **values: Any) -> str:
    login = {"username": "otpsvc", "password": mosquitto.PASSWORD}
    # Several services are clients of one broker here.
    usual = {"url": server.url, "gateway": "dongle1", "client_id": f"otpsvc-{next(_numbers)}"}
    return feeder(name, "mqtt", **(usual | login | {"replies": ["answers/*"]} | values))


def gsm(modem: EmulatedModem, **values: Any) -> str:
    shared = {"type": "gsm", "country": "ID", "inbox": "shop", "report_wait": 30.0} | values
    return table("channels.sms", **shared) + table("channels.sms.modems.one", device=modem.path)


class Amqp:
    """A client of RabbitMQ. It publishes as the PHP one did: not persistent, of no content type."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: AbstractConnection | None = None
        self._answers: dict[str, asyncio.Future[DeliveredMessage]] = {}
        self._asking: AbstractChannel | None = None

    async def __aenter__(self) -> Self:
        self._connection = await aiormq.connect(self._url)
        self._sends = await self._connection.channel(publisher_confirms=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._connection is not None and not self._connection.is_closed:
            await self._connection.close()

    async def publish(self, queue: str, *bodies: str | bytes, **properties: Any) -> None:
        """Returns when the broker has confirmed all of them."""
        await self._sends.queue_declare(queue, passive=True)
        for at in range(0, len(bodies), 100):
            await asyncio.gather(
                *(self._publish(queue, _octets(body), properties) for body in bodies[at : at + 100])
            )

    async def _publish(self, queue: str, body: bytes, properties: dict[str, Any]) -> None:
        await self._sends.basic_publish(
            body, routing_key=queue, properties=Basic.Properties(**properties), mandatory=True
        )

    async def call(self, queue: str, said: Any, **properties: Any) -> Any:
        """Ask by RabbitMQ's direct reply-to; the answer."""
        if self._asking is None:
            assert self._connection is not None
            self._asking = await self._connection.channel(publisher_confirms=False)
            await self._asking.basic_consume("amq.rabbitmq.reply-to", self._answered, no_ack=True)
        key = f"call-{next(_numbers)}"
        answer = self._answers[key] = asyncio.get_running_loop().create_future()
        asked = Basic.Properties(reply_to="amq.rabbitmq.reply-to", correlation_id=key, **properties)
        await self._asking.basic_publish(_octets(json.dumps(said)), routing_key=queue, properties=asked)
        async with asyncio.timeout(PATIENCE):
            return json.loads((await answer).body)

    async def _answered(self, message: DeliveredMessage) -> None:
        answer = self._answers.pop(message.header.properties.correlation_id or "", None)
        if answer is not None and not answer.done():
            answer.set_result(message)

    async def declare(self, queue: str, **settings: Any) -> str:
        """Its name, which the broker chooses where none is given."""
        return (await self._sends.queue_declare(queue, **settings)).queue or ""

    async def next(self, queue: str) -> DeliveredMessage:
        """The next message of a queue, once there is one."""

        async def got() -> DeliveredMessage | None:
            found = await self._sends.basic_get(queue, no_ack=True)
            return found if isinstance(found.delivery, Basic.GetOk) else None

        found: DeliveredMessage = await until(got, lambda: f"nothing in {queue}")
        return found


def _octets(body: str | bytes) -> bytes:
    return body.encode() if isinstance(body, str) else body


class Gate:
    """The service, its modem, and a hand at each of its doors."""

    def __init__(self, place: Place, service: Service, net: Network, modem: EmulatedModem) -> None:
        self.place = place
        self.service = service
        self.net = net
        self.modem = modem
        self.rabbit: Amqp
        self.brokers: dict[str, WsBroker] = {}
        self.mqtt: Peer

    @asynccontextmanager
    async def hands(self, rabbit: RabbitServer, mqtt: MosquittoServer) -> AsyncIterator[None]:
        """New ones: the brokers may have been hurt meanwhile, and while tests ran that are not
        async this loop stood still: the modem and the WebSocket brokers seemed to hang.
        """
        await self._ready_modem()
        names = ("rabbit", "quorum", "mqtt", "five", *(f"ws{name}" for name in DIALECTS))
        await connected(self.service, *names)
        topics = ("smsstatus/#", "smsgwheartbeat/#", "smsgwpresence/#", "mqttsmsgw/#", "answers/#")
        async with Amqp(rabbit.url) as self.rabbit, peer(mqtt, *topics) as self.mqtt:
            yield
            # Else what is in the modem's hand would be in doubt, and sent once more.
            await until(self._rests, lambda: self.service.log[-3000:])

    async def _state(self) -> str:
        """Of the modem, as the service tells it; nothing before it was told."""
        answer = await self.service.api.ask("GET", "/api/modems")
        assert answer.status == 200, answer.raw
        return str(answer.record[0]["state"]) if answer.record else ""

    async def _ready_modem(self) -> None:
        # One that was silent for long is looked at once a minute; one that is plugged in, at once.
        if await self._state() == "hung":
            await self.modem.unplug()
            await self.modem.plug()
        await until(self._rests, lambda: self.service.log[-3000:])

    async def _rests(self) -> bool:
        return await self._state() == "ready"

    async def say(self, door: str, body: str, **properties: Any) -> None:
        """Publish it as that broker's clients do."""
        if door in QUEUES:
            await self.rabbit.publish(QUEUES[door], body, **properties)
        elif door == "mqtt":
            await self.mqtt.send(body.encode(), topic=ASKED)
        elif door == "http":
            answer = await self.service.api.ask("POST", "/api/sms", data=body.encode(), headers=JSON)
            assert answer.status == 200, answer.raw
        else:
            broker = self.brokers[door]
            await broker.publish("sms", *_frames(broker, body))

    def got(self, to: str) -> list[str]:
        """Texts that reached this phone."""
        return [text.text for text in self.net.sent if text.to == to]

    async def sent(self, to: str, *texts: str) -> None:
        """Once these and no others have reached this phone."""
        await until(lambda: len(self.got(to)) >= len(texts), lambda: self.service.log[-3000:])
        assert sorted(self.got(to)) == sorted(texts)

    async def fence(self, *doors: str) -> None:
        """Until whatever came through these doors before has been sent, as often as it will be."""
        for door in doors:
            to = number()
            await self.say(door, command(to, f"fence {door}"))
            await self.sent(to, f"fence {door}")

    def doubled(self) -> list[tuple[str, str]]:
        count = Counter((text.to, text.text) for text in self.net.sent)
        return [one for one, times in count.items() if times > 1]


JSON: Final = {"Content-Type": "application/json"}


def command(to: str, text: str, word: str = "send-sms", **more: Any) -> str:
    """A text to send in the first shape."""
    return json.dumps({"command": word, "data": {"id": f"i{to[-7:]}", "msisdn": to, "message": text} | more})


def _frames(broker: WsBroker, body: str) -> Iterator[str | bytes]:
    """PHP's publishers send binary frames; a server of 2020 passes on envelopes alone."""
    if broker.dialect != "2020":
        yield body.encode() if broker.dialect == "php" else body
    elif '"send-message"' in body and '"channel"' in body:
        yield body.encode()
    else:
        yield f'{{"command":"send-message","channel":"sms","data":[{body}]}}'


@asynccontextmanager
async def opened(rabbit: RabbitServer, mqtt: MosquittoServer, *more: str) -> AsyncIterator[Gate]:
    """One service with a feeder at every broker, and a hand at each."""
    async with AsyncExitStack() as stack:
        net = Network(latency=0.0)
        menu = Menu("1 Balance\n2 Bye", {"1": "Credit: 12000"})
        modem = await stack.enter_async_context(
            EmulatedModem(net, ussd={"*123#": "Balance: 10000", "*888#": menu})
        )
        brokers = {name: await stack.enter_async_context(WsBroker(name)) for name in DIALECTS}
        place = await stack.enter_async_context(
            Place(
                tenant("shop", scopes=SCOPES, country="ID", open_view=True),
                gsm(modem, ussd=["*123#"]),
                table("channels.mail", type="file", path="mails.jsonl", allow_plaintext=True),
                table("relay", sms="sms", mail="mail"),
                rabbit_feeder("rabbit", rabbit),
                rabbit_feeder("quorum", rabbit, queue="orders", queue_type="quorum"),
                *(ws_feeder(f"ws{name}", broker) for name, broker in brokers.items()),
                mqtt_feeder(
                    "mqtt", mqtt, incoming_topic="mqttsmsgw/{gateway}", extract_code=True, heartbeat=1
                ),
                mqtt_feeder(
                    "five", mqtt, protocol="5", gateway="gate", presence_topic="", heartbeat_topic=""
                ),
                *more,
            )
        )
        gate = Gate(place, await place.serve(), net, modem)
        gate.brokers = {str(name): broker for name, broker in brokers.items()}
        yield gate


async def connected(service: Service, *names: str) -> None:
    """Until these feeders say of themselves that they consume."""
    found: dict[str, Any] = {}

    async def all_are() -> bool:
        found.update((await service.admin.ask("GET", "/api/health", tenant="")).body.get("feeders", {}))
        return all(found.get(name, {}).get("ok") for name in names)

    await until(all_are, lambda: f"{found} {service.log[-3000:]}")


class _Feeders(Service):
    """A process without an API says in its log that it is ready."""

    async def _ready(self) -> None:
        await until(lambda: '"event":"ready"' in self.log, lambda: self.log)


async def serve_feeders(place: Place) -> Service:
    """One more process, which only feeds."""
    service = _Feeders(place.folder, f"s{len(place.services)}", only="feeders", workers=1)
    place.services.append(service)
    await service.start({}, "")
    return service


async def listed(place: Place) -> list[dict[str, Any]]:
    """What `otpsvc feeders --json` says."""
    command = [sys.executable, "-W", "error", "-m", "otpsvc", "feeders", "--json", "--config", "config.toml"]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=place.folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    return [json.loads(line) for line in said.splitlines()]
