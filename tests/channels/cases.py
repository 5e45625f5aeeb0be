"""The channels of the contract test: each with its far end, and what that does by which name."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from otpsvc.channel import Channel
from otpsvc.channels import channel_type
from otpsvc.channels.webhook import WebhookChannel
from tests.channels import SECRET, Authority, ignore, mqtt_rig, rabbitmq_rig
from tests.channels.broker_wire import BrokerWire
from tests.far_ends.http_server import HttpServer
from tests.far_ends.mosquitto import PASSWORD as MOSQUITTO_PASSWORD
from tests.far_ends.rabbitmq import PASSWORD as RABBIT_PASSWORD
from tests.far_ends.smtp_server import SmtpServer
from tests.waiting import until


@dataclass
class Case:
    """One channel, its far end, and that far end's misdeeds by what they stand for."""

    table: dict[str, Any]
    far: Any = None
    no: str = ""
    not_now: str = ""
    #: Waits before anything was taken; None where the protocol has no such step.
    waits: str | None = None
    #: Waits after it was taken.
    takes_and_waits: str = ""
    loses_answer: str = ""
    more: tuple[str, ...] = ()
    close: Callable[[], Any] = field(default=lambda: None)
    made: Any = None

    @property
    def misdeeds(self) -> tuple[str, ...]:
        return (self.no, self.not_now, self.loses_answer, *self.more)

    def channel(self) -> Channel:
        kind = channel_type(self.table["type"])
        made = self.made = kind(msgspec.convert(self.table, kind.Config), ignore)
        return made


def smtp(far: SmtpServer, **table: Any) -> Case:
    return Case(
        {"type": "smtp", "host": far.host, "port": far.port, "sender": "Shop <otp@shop.example>", **table},
        far,
        no="answers_550",
        not_now="answers_451",
        waits="slow",
        takes_and_waits="hangs_after_data",
        loses_answer="drops_after_data",
        more=("answers_550_after_data", "gibberish_after_data", "drops_at_rcpt", "answers_503"),
        close=lambda: far.__aexit__(),
    )


def webhook(far: HttpServer, **table: Any) -> Case:
    async def close() -> None:
        await far.__aexit__()
        # A kept connection that was cut a moment ago is one of which nobody knows yet.
        await until(lambda: not kept_open(case.made))

    case = Case(
        {"type": "webhook", "url": far.url, "secret": SECRET, **table},
        far,
        no="answers_404",
        not_now="answers_500",
        takes_and_waits="answers_200_late",
        loses_answer="closes_after_body",
        more=("answers_400", "redirects", "gibberish", "big_answer"),
        close=close,
    )
    return case


def kept_open(hook: WebhookChannel) -> list[Any]:
    """The connections that a webhook keeps, and believes to be open."""
    session = hook._poster._session
    assert session is not None
    assert session.connector is not None
    kept = [one[0] for of_host in session.connector._conns.values() for one in of_host]
    return [connection for connection in kept if connection.is_connected()]


def broker(far: BrokerWire, table: dict[str, Any]) -> Case:
    """Plain, so that what a library logs of it can be seen."""
    login = {"username": "otpsvc", "password": RABBIT_PASSWORD}

    async def close() -> None:
        await far.__aexit__()
        # A line that was lost a moment ago is one of which nobody knows yet.
        await until(lambda: not case.made.is_connected)

    case = Case(
        {**login, **table, "payload": "plain"},
        far,
        not_now="says_no",
        takes_and_waits="takes_and_waits",
        loses_answer="loses_answer",
        close=close,
    )
    return case


async def case_of(name: str, folder: Path, stack: AsyncExitStack, server: Callable[[str], Any]) -> Case:
    """`server`: one that runs for all tests, by the name of its fixture."""
    login = {"username": "otp", "password": "sesame"}
    match name:
        case "file":
            return Case({"type": "file", "path": str(folder / "codes"), "allow_plaintext": True})
        case "smtp":
            return smtp(await stack.enter_async_context(SmtpServer()), tls="none")
        case "webhook":
            return webhook(await stack.enter_async_context(HttpServer()))
        case "rabbitmq":
            queue = await stack.enter_async_context(rabbitmq_rig.consumer(server("rabbit")))
            far = await stack.enter_async_context(rabbitmq_rig.wire(server("rabbit")))
            return broker(
                far, {"type": "rabbitmq", "url": f"amqp://127.0.0.1:{far.port}", "routing_key": queue.name}
            )
        case "mqtt" | "mqtt-3.1.1":
            await stack.enter_async_context(mqtt_rig.listener(server("mosquitto")))
            far = await stack.enter_async_context(mqtt_rig.wire(server("mosquitto")))
            protocol = "3.1.1" if "-" in name else "5"
            table = {"type": "mqtt", "url": f"mqtt://127.0.0.1:{far.port}", "protocol": protocol}
            return broker(far, table | {"topic": mqtt_rig.TOPIC, "password": MOSQUITTO_PASSWORD})
    authority = Authority(folder)
    trust = {"ca_file": authority.ca_file}
    match name:
        case "smtp-starttls":
            smtp_far = SmtpServer(starttls=authority.server, login=("otp", "sesame"))
            return smtp(await stack.enter_async_context(smtp_far), **trust, **login)
        case "smtp-tls":
            smtp_far = SmtpServer(tls=authority.server, login=("otp", "sesame"))
            return smtp(await stack.enter_async_context(smtp_far), tls="tls", **trust, **login)
        case "webhook-tls":
            return webhook(await stack.enter_async_context(HttpServer(tls=authority.server)), **trust)
    raise AssertionError(name)
