"""One service with a feeder at every broker, brokers that can be hurt, and some that were never well."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from tests.drills.conftest import Store
from tests.drills.ends import Hook
from tests.drills.feeders_stream import KEPT, Stream
from tests.drills.place import Place, Service, table, tenant, webhook
from tests.far_ends.mosquitto import MosquittoServer
from tests.far_ends.rabbitmq import PASSWORD, RabbitServer, Wire
from tests.far_ends.valkey import free_port
from tests.far_ends.ws_broker import WsBroker
from tests.feeders.mqtt_rig import peer
from tests.flows.feeders_rig import JSON, Amqp, connected, mqtt_feeder, rabbit_feeder, ws_feeder
from tests.waiting import until


class Rig:
    """One service, a far end, and brokers to hurt. `wire` lies before RabbitMQ, `line` before Mosquitto."""

    def __init__(
        self, place: Place, store: Store, hook: Hook, rabbit: RabbitServer, mqtt: MosquittoServer
    ) -> None:
        self.place, self.store, self.hook, self.rabbit, self.mqtt = place, store, hook, rabbit, mqtt
        self.stream = Stream(hook)
        self.wire: Wire
        self.line: Wire
        self.service: Service
        self.ws: WsBroker

    async def amqp(self, *bodies: str, queue: str = "durable", **properties: Any) -> None:
        async with Amqp(self.rabbit.url) as hand:
            await hand.publish(queue, *bodies, **properties)

    async def flood(self, *bodies: str) -> None:
        async with peer(self.mqtt) as hand:
            await hand.flood([body.encode() for body in bodies], "smsoutnew/brokers")

    async def stream_of(self, count: int) -> None:
        """Half of them over each broker, let go at once; until the store has something of some."""
        self.service.pause()
        await self.amqp(*self.stream.make(count // 2))
        await self.flood(*self.stream.make(count // 2))
        keys = int(self.store.ask("DBSIZE"))
        self.service.resume()
        await until(lambda: int(self.store.ask("DBSIZE")) >= keys + 40, self.told)

    def told(self) -> str:
        return f"{len(self.stream.missing())} missing\n{self.service.log[-3000:]}"

    async def whole(self) -> None:
        await self.stream.arrived(self.told)
        assert self.stream.doubled() == {}
        assert self.stream.repeated() == []
        assert self.stream.strangers() == set()

    async def post(self, body: str) -> None:
        """By the HTTP door."""
        answer = await self.service.api.ask("POST", "/api/sms", data=body.encode(), headers=JSON)
        assert answer.body["response_code"] == "0000", answer.raw

    @property
    def config(self) -> str:
        return (self.place.folder / "config.toml").read_text()

    async def reload(self, config: str) -> None:
        (self.place.folder / "config.toml").write_text(config)
        before = self.service.log.count('"event":"reloaded"')
        os.kill(self.service.pid, signal.SIGHUP)
        await until(lambda: self.service.log.count('"event":"reloaded"') > before, self.told)


@asynccontextmanager
async def opened(far_rabbit: RabbitServer, far_mosquitto: MosquittoServer) -> AsyncIterator[Rig]:
    """`nowhere` has no broker; `mallory…` have a wrong password."""
    async with AsyncExitStack() as stack:
        hook = await stack.enter_async_context(Hook())
        store = stack.enter_context(Store("always", *KEPT))
        wire = await stack.enter_async_context(Wire(far_rabbit.port))
        line = await stack.enter_async_context(Wire(far_mosquitto.port))
        ws = await stack.enter_async_context(WsBroker("php"))
        dead = f"amqp://127.0.0.1:{free_port()}/"
        at_rabbit = {"url": f"amqp://otpsvc:{PASSWORD}@127.0.0.1:{wire.port}/"}
        channel = {"type": "rabbitmq", "url": f"amqp://127.0.0.1:{far_rabbit.port}/", "username": "otpsvc"}
        place = await stack.enter_async_context(
            Place(
                tenant("shop", scopes=["otp", "sms"], country="ID"),
                webhook("hook", hook.url, address="phone", timeout=60.0),
                table("channels.out", password=PASSWORD, payload="plain", routing_key="loop", **channel),
                table("relay", sms="hook"),
                rabbit_feeder("rabbit", far_rabbit, queue="durable", queue_type="quorum", **at_rabbit),
                rabbit_feeder("loop", far_rabbit, queue="loop", queue_type="quorum"),
                mqtt_feeder("mqtt", far_mosquitto, gateway="brokers", url=f"mqtt://127.0.0.1:{line.port}"),
                rabbit_feeder("nowhere", far_rabbit, url=dead, queue="durable"),
                rabbit_feeder("mallory", far_rabbit, url=far_rabbit.url_of("otpsvc", password="wrong-one")),
                mqtt_feeder("mallorym", far_mosquitto, gateway="m", password="wrong-one"),
                ws_feeder("ws", ws),
                ws_feeder("mallorys", ws, "other", password="wrong-one"),
                store=store.url,
            )
        )
        made = Rig(place, store, hook, far_rabbit, far_mosquitto)
        made.wire, made.line, made.ws = wire, line, ws
        made.service = await place.serve()
        await connected(made.service, "rabbit", "loop", "mqtt", "ws")
        yield made
