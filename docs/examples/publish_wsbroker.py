"""Sends a text through a WebSocket broker of one of the three generations. Nobody confirms it.

    pip install websockets
    export WS_URL='wss://broker.example/ws?topic=sms' WS_USER=shop WS_PASSWORD=...
    python publish_wsbroker.py +6281234567890 'Your parcel is here'

GENERATION=2020 for WSMessageBroker, which wants an envelope; else a bare command.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import uuid

from websockets.asyncio.client import connect

URL = os.environ["WS_URL"]
LOGIN = f"{os.environ['WS_USER']}:{os.environ['WS_PASSWORD']}"
ENVELOPE = os.environ.get("GENERATION") == "2020"
CHANNEL = os.environ.get("CHANNEL", "sms")


async def send(to: str, text: str) -> None:
    # Always give an id: several consumers get the frame, and the same id, number and text are one message.
    data = {"id": uuid.uuid4().hex, "receiver": to, "message": text}
    command: dict[str, object] = {"command": "send-sms", "data": data}
    if ENVELOPE:
        command = {"command": "send-message", "channel": CHANNEL, "data": [command]}
    headers = {"Authorization": "Basic " + base64.b64encode(LOGIN.encode()).decode()}
    async with connect(URL, additional_headers=headers, compression=None, open_timeout=30) as line:
        if ENVELOPE and json.loads(await line.recv())["response_code"] != "00":
            sys.exit("the broker rejected the login")
        await line.send(json.dumps(command))
        # Leaving waits for the closing handshake, so the broker has read the frame. Whether
        # somebody listened, it does not say.


if __name__ == "__main__":
    asyncio.run(send(*sys.argv[1:3]))
