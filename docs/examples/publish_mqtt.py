"""Sends a text through an MQTT broker, and waits until it was sent or refused.

    pip install aiomqtt
    export MQTT_HOST=broker.example MQTT_USER=shop MQTT_PASSWORD=...
    python publish_mqtt.py +6281234567890 'Your parcel is here'

GATEWAY: the feeder's `gateway` (gate1). CA_FILE: PEM file of the broker's authority, where it is your
own. MQTT_TLS=0: no TLS, on this machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
import uuid

import aiomqtt

HOST = os.environ["MQTT_HOST"]
TLS = os.environ.get("MQTT_TLS", "1") == "1"
PORT = int(os.environ.get("MQTT_PORT", "8883" if TLS else "1883"))
GATEWAY = os.environ.get("GATEWAY", "gate1")
ENDS = {"sent", "delivered", "failed", "expired", "refused"}


async def send(to: str, text: str) -> str:
    """Its last state. At QoS 1 it returns from `publish` once the broker has the command."""
    id = uuid.uuid4().hex
    client = aiomqtt.Client(
        HOST,
        PORT,
        username=os.environ.get("MQTT_USER"),
        password=os.environ.get("MQTT_PASSWORD"),
        tls_context=ssl.create_default_context(cafile=os.environ.get("CA_FILE")) if TLS else None,
        timeout=30,
    )
    async with asyncio.timeout(60), client:
        await client.subscribe(f"smsstatus/{id}", qos=1)
        # Never with the retain flag: it would lie at the broker for all to read.
        body = json.dumps({"id": id, "to": to, "text": text})
        await client.publish(f"smsoutnew/{GATEWAY}", body, qos=1)
        async for message in client.messages:
            said = json.loads(message.payload)
            sys.stdout.write(f"{said['status']} {said['error']}\n")
            if said["status"] in ENDS:
                return str(said["status"])
    raise TimeoutError("no answer")


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(send(*sys.argv[1:3])) in ("sent", "delivered") else 1)
