"""Sends a text through RabbitMQ. Returns once a queue holds the command; fails if none does.

    pip install aio-pika
    export AMQP_URL=amqps://shop:PASSWORD@broker.example:5671/sms
    python publish_rabbitmq.py +6281234567890 'Your parcel is here'

QUEUE: the feeder's `queue` (sms). CA_FILE: PEM file of the broker's authority, where it is your own.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
import time
import uuid

import aio_pika

URL = os.environ["AMQP_URL"]
QUEUE = os.environ.get("QUEUE", "sms")
CA_FILE = os.environ.get("CA_FILE")
#: Seconds after which the text is of no use any more.
LIFE = 600


async def send(to: str, text: str) -> None:
    # The same id, number and text within ten minutes are one message: try again under the same id.
    id, now = uuid.uuid4().hex, int(time.time())
    data = {"id": id, "receiver": to, "message": text, "date_time": now, "expiration": now + LIFE}
    message = aio_pika.Message(
        json.dumps({"command": "send-sms", "data": data}).encode(),
        content_type="application/json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        message_id=id,
    )
    tls = ssl.create_default_context(cafile=CA_FILE) if URL.startswith("amqps") else None
    connection = await aio_pika.connect(URL, ssl_context=tls, timeout=30)
    async with connection:
        # Without `on_return_raises` a message that no queue takes is lost in silence.
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        await channel.default_exchange.publish(message, routing_key=QUEUE, timeout=30)


if __name__ == "__main__":
    asyncio.run(send(*sys.argv[1:3]))
