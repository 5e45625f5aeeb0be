"""Verifies an address through RabbitMQ: asks for a code, then checks what the user typed.

    pip install aio-pika
    export AMQP_URL=amqps://shop:PASSWORD@broker.example:5671/sms
    python publish_rabbitmq_ask.py smtp ann@example.com

Answers come by direct reply-to: no queue of one's own, and nobody else can read them.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
import uuid
from collections.abc import Mapping
from typing import Any

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

URL = os.environ["AMQP_URL"]
QUEUE = os.environ.get("QUEUE", "sms")
CA_FILE = os.environ.get("CA_FILE")
REPLY_TO = "amq.rabbitmq.reply-to"


class Asker:
    """Asks one otpsvc, many questions at a time."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}

    async def open(self, connection: aio_pika.abc.AbstractConnection) -> None:
        # Answers come by the channel that asked.
        self._channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        replies = await self._channel.get_queue(REPLY_TO, ensure=False)
        await replies.consume(self._answered, no_ack=True)

    async def ask(self, command: str, data: Mapping[str, str], *, tries: int = 3) -> dict[str, Any]:
        """The answer. What is not answered within 10 s is asked again under the same id: it counts once."""
        id = uuid.uuid4().hex
        for _ in range(tries):
            answered = self._waiting[id] = asyncio.get_running_loop().create_future()
            message = aio_pika.Message(
                json.dumps({"command": command, "data": data}).encode(),
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                message_id=id,
                correlation_id=id,
                reply_to=REPLY_TO,
            )
            await self._channel.default_exchange.publish(message, routing_key=QUEUE, timeout=30)
            try:
                return await asyncio.wait_for(answered, 10)
            except TimeoutError:
                continue
            finally:
                del self._waiting[id]
        raise TimeoutError("no answer")

    async def _answered(self, message: AbstractIncomingMessage) -> None:
        waiting = self._waiting.get(message.correlation_id or "")
        if waiting and not waiting.done():
            waiting.set_result(json.loads(message.body))


async def verify(provider: str, to: str) -> bool:
    tls = ssl.create_default_context(cafile=CA_FILE) if URL.startswith("amqps") else None
    connection = await aio_pika.connect(URL, ssl_context=tls, timeout=30)
    async with connection:
        asker = Asker()
        await asker.open(connection)
        id = f"signup-{uuid.uuid4().hex}"
        made = await asker.ask("create-verification", {"id": id, "provider": provider, "to": to})
        if made["response_code"] != "0000":
            sys.exit(made["error"])
        while True:
            typed = await asyncio.to_thread(input, "Code: ")
            said = await asker.ask("check-verification", {"id": id, "otp": typed})
            sys.stdout.write(f"{said['data']['status']}\n")
            if said["data"]["status"] != "wrong":
                return bool(said["response_code"] == "0000")


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(verify(*sys.argv[1:3])) else 1)
