"""Commands from real brokers to the outbox, and on to a modem.

`python -m tests.bench --only feeders`, or `python -m tests.bench.feeders` for other sizes.

    publishers ──> broker ──> otpsvc serve --only feeders ──> store

Broker, publishers and store take their processor time from the same cores.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Final

import aiomqtt
import aiormq
import click
from pamqp.commands import Basic

from otpsvc.gsm.emulator import EmulatedModem, Network
from tests.bench.fed import Course, Fed, place
from tests.bench.figures import Figure
from tests.bench.processes import cost
from tests.bench.rig import say
from tests.bench.table import Results, written
from tests.far_ends import ws_broker
from tests.far_ends.mosquitto import PASSWORD, MosquittoServer
from tests.far_ends.rabbitmq import RabbitServer
from tests.far_ends.ws_broker import WsBroker

NUMBER: Final = "+6281234567890"


def command(number: int) -> bytes:
    """As OTP-Pi's publishers write it."""
    data = {"id": str(number), "receiver": NUMBER, "message": f"Your code is {number:06d}."}
    return json.dumps({"command": "send-sms", "data": data}).encode()


def missing() -> list[str]:
    """Brokers that are not installed here."""
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    return [name for name in ("rabbitmq-server", "mosquitto") if not shutil.which(name, path=path)]


async def measure(commands: int, backlog: int, texts: int, idle: float) -> list[Figure]:
    """`backlog`: commands that wait in RabbitMQ; `texts`: one by one to a modem; `idle` in seconds."""
    async with WsBroker("java") as ws:
        with RabbitServer() as rabbit, MosquittoServer() as mqtt:
            tables = _rabbit_table(rabbit) + _mqtt_table(mqtt) + _ws_table(ws)
            found = await _rabbitmq(rabbit, backlog)
            found += [await _mqtt(mqtt, commands), await _wsbroker(ws, commands)]
            return [*found, await _idle(tables, idle), *await _to_modem(rabbit, texts)]


def _rate(broker: str, figures: tuple[float, float], note: str) -> Figure:
    rate, each = figures
    said = f"{note}; {each:.2f} ms of our processor time each; load {os.getloadavg()[0]:.1f}"
    return Figure(name=f"commands from {broker} to the outbox", value=rate, unit="/s", note=said)


# RabbitMQ


async def _rabbitmq(broker: RabbitServer, backlog: int) -> list[Figure]:
    say(f"{backlog} commands wait in a quorum queue")
    with place() as (folder, store):
        await _fill(broker.url, backlog)
        with Fed(folder, store, _rabbit_table(broker)) as pid:
            course = Course(pid, store)
            rate = _rate("RabbitMQ", await course.run(backlog), "quorum queue; aim ≥ 2000")
    grown = max(course.resident) - course.resident[min(len(course.resident) - 1, 20)]
    note = f"{backlog} wait; RSS {max(course.resident):.0f} MiB"
    return [rate, Figure(name="growth under a backlog", value=max(grown, 0.0), unit="MiB", note=note)]


def _rabbit_table(broker: RabbitServer) -> str:
    return (
        f'[feeders.rabbit]\ntype = "rabbitmq"\ntenant = "shop"\nurl = "{broker.url}"\n'
        'queue = "bench"\nqueue_type = "quorum"\n'
    )


async def _fill(url: str, count: int) -> None:
    connection = await aiormq.connect(url)
    channel = await connection.channel()
    await channel.queue_declare("bench", durable=True, arguments={"x-queue-type": "quorum"})
    properties = Basic.Properties(delivery_mode=2)
    for first in range(0, count, 500):
        some = range(first, min(first + 500, count))
        await asyncio.gather(
            *(channel.basic_publish(command(n), routing_key="bench", properties=properties) for n in some)
        )
    await connection.close()


# MQTT and WebSocket


async def _mqtt(broker: MosquittoServer, commands: int) -> Figure:
    say(f"{commands} commands by MQTT")
    with place() as (folder, store), Fed(folder, store, _mqtt_table(broker)) as pid:
        await _until(lambda: _is_up(folder))
        publishing = asyncio.create_task(_publish(broker, commands))
        figures = await Course(pid, store).run(commands, publishing)
        await publishing
    return _rate("MQTT", figures, "QoS 1, published meanwhile; aim ≥ 1500")


def _mqtt_table(broker: MosquittoServer) -> str:
    return (
        f'[feeders.mqtt]\ntype = "mqtt"\ntenant = "shop"\nurl = "{broker.url}"\nusername = "otpsvc"\n'
        f'password = "{PASSWORD}"\ntopic = "bench"\nstatus_topic = ""\n'
    )


async def _publish(broker: MosquittoServer, count: int) -> None:
    async with aiomqtt.Client(
        "127.0.0.1", broker.port, username="otpsvc", password=PASSWORD, max_inflight_messages=500
    ) as client:
        client.pending_calls_threshold = 10_000
        for first in range(0, count, 200):
            some = range(first, min(first + 200, count))
            await asyncio.gather(*(client.publish("bench", command(n), qos=1, timeout=60) for n in some))


async def _wsbroker(broker: WsBroker, commands: int) -> Figure:
    say(f"{commands} commands by a WebSocket broker")
    with place() as (folder, store), Fed(folder, store, _ws_table(broker)) as pid:
        await _until(lambda: len(broker.receiving) > 0 and _is_up(folder))
        frames = [command(n).decode() for n in range(commands)]
        publishing = asyncio.create_task(broker.publish("bench", *frames))
        figures = await Course(pid, store).run(commands, publishing)
        await publishing
    return _rate("a WebSocket broker", figures, "published meanwhile by a broker in Python; aim ≥ 3000")


def _ws_table(broker: WsBroker) -> str:
    return (
        f'[feeders.ws]\ntype = "wsbroker"\ntenant = "shop"\nurl = "{broker.at("bench")}"\n'
        f'username = "{ws_broker.USERNAME}"\npassword = "{ws_broker.PASSWORD}"\n'
    )


def _is_up(folder: Path) -> bool:
    return "connected" in (folder / "log").read_text(errors="replace")


async def _until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.02)


# Idle, and to a modem


async def _idle(tables: str, seconds: float) -> Figure:
    """Processor time with three feeders that have nothing to do, less that of a service without any."""
    say("idle feeders")
    spent = [await _spent(tables, seconds, 3), await _spent("", seconds, 0)]
    note = f"three feeders; {spent[0]:.2f} ms a second with them, {spent[1]:.2f} without"
    return Figure(name="idle feeder", value=max(spent[0] - spent[1], 0.0) / 3, unit="ms/s", note=note)


async def _spent(tables: str, seconds: float, feeders: int) -> float:
    with place() as (folder, store), Fed(folder, store, tables) as pid:
        await _until(lambda: (folder / "log").read_text().count("connected") >= feeders)
        await asyncio.sleep(min(seconds, 2.0))
        before, began = cost(pid).service, time.perf_counter()
        await asyncio.sleep(seconds)
        return (cost(pid).service - before) * 1000 / (time.perf_counter() - began)


async def _to_modem(broker: RabbitServer, texts: int) -> list[Figure]:
    """From the publisher's `publish` to AT+CMGS at an idle modem, through the whole service."""
    say(f"{texts} commands one by one to a modem")
    waits = []
    with place() as (folder, store):
        async with EmulatedModem(Network(latency=0.0)) as modem:
            table = f'[channels.sms]\ntype = "gsm"\ndevices = ["{modem.path}"]\ncountry = "ID"\n'
            table += _rabbit_table(broker) + 'channel = "sms"\n'
            with Fed(folder, store, table, only=""):
                await _until(lambda: _is_up(folder) and modem.asked_for("+CMGL=") >= 3)
                async with _publisher(broker.url) as publish:
                    for number in range(texts):
                        began = time.monotonic()
                        await publish(command(number))
                        await _until(lambda sent=number: len(modem.handed) > sent)  # type: ignore[misc]
                        waits.append((modem.handed[-1] - began) * 1000)
    note = f"published, consumed, kept, sent; p99 {_p99(waits):.0f} ms; aim ≤ 10"
    return [Figure(name="command to AT+CMGS, median", value=median(waits), unit="ms", note=note)]


def _p99(waits: Sequence[float]) -> float:
    return sorted(waits)[min(len(waits) - 1, int(len(waits) * 0.99))]


@asynccontextmanager
async def _publisher(url: str) -> AsyncIterator[Callable[[bytes], Awaitable[object]]]:
    connection = await aiormq.connect(url)
    channel = await connection.channel(publisher_confirms=False)
    yield lambda body: channel.basic_publish(body, routing_key="bench")
    await connection.close()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--commands", default=10_000, show_default=True, help="By MQTT and WebSocket.")
@click.option("--backlog", default=100_000, show_default=True, help="Waiting in RabbitMQ.")
@click.option("--texts", default=100, show_default=True, help="One by one to a modem.")
@click.option("--idle", default=10.0, show_default=True, help="Seconds to look at idle feeders.")
def main(commands: int, backlog: int, texts: int, idle: float) -> None:
    """Measure how fast commands come from brokers."""
    found = asyncio.run(measure(commands, backlog, texts, idle))
    print(written(Results(yardstick=0.0, rows=[], figures=found)))


if __name__ == "__main__":
    main()
