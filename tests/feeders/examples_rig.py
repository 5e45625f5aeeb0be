"""What the examples of the manual need: its blocks, a config for all their brokers, and how they are run."""

from __future__ import annotations

import asyncio
import re
import sys

from tests.flows.serving_rig import ROOT
from tests.waiting import PATIENCE

EXAMPLES = ROOT / "docs" / "examples"
NUMBER = "+6281234567890"
#: Users of the manual, and those of the broker that take their places.
RABBIT_USERS = {"box1": "reader", "shop": "mallory"}

CONFIG = """
[tenants.all]
secret_hash = "{hash}"
scopes = ["otp", "sms", "inbox"]
country = "ID"

[feeders.rabbit]
type = "rabbitmq"
tenant = "all"
channel = "log"
url = "{amqp}"
queue_type = "quorum"

[channels.box1]
type = "rabbitmq"
url = "{open}"
username = "otpsvc"
password = "{rabbit_password}"
routing_key = "parcels"
secret = "{secret}"
country = "ID"

[feeders.box1]
type = "rabbitmq"
tenant = "all"
channel = "log"
url = "{open}"
username = "otpsvc"
password = "{rabbit_password}"
queue = "parcels"
queue_type = "quorum"
secret = "{secret}"

[feeders.mqtt]
type = "mqtt"
tenant = "all"
channel = "log"
url = "{mqtt}"
username = "gate1"
password = "{mqtt_password}"
gateway = "gate1"
incoming_topic = "mqttsmsgw/{{gateway}}"

[feeders.php]
type = "wsbroker"
tenant = "all"
channel = "log"
url = "{php}"
username = "{ws_user}"
password = "{ws_password}"

[feeders.eldest]
type = "wsbroker"
tenant = "all"
channel = "log"
url = "{eldest}"
username = "{ws_user}"
password = "{ws_password}"
"""


def blocks(name: str, language: str) -> list[str]:
    text = (ROOT / "docs" / name).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def acl() -> str:
    return next(block for block in blocks("mqtt.md", "text") if block.startswith("user "))


class Publisher:
    """An example of the manual, as a process of its own; `program` is what runs it, if not this Python."""

    def __init__(self, name: str, *words: str, program: str = sys.executable, **environ: str) -> None:
        self._command = [program, str(EXAMPLES / name), *words]
        self._environ = {"PYTHONUNBUFFERED": "1", **environ}

    async def __aenter__(self) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(
            *self._command, stdin=pipe, stdout=pipe, stderr=pipe, env=self._environ
        )
        return self.process

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def run(self) -> tuple[int, str]:
        """Its exit status and what it said."""
        async with self as process, asyncio.timeout(2 * PATIENCE):
            said, errors = await process.communicate()
        return process.returncode or 0, said.decode() + errors.decode()
