"""The publishers of the manual, at brokers set up as the manual says, with a whole otpsvc behind them."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
import pytest
from msgspec import structs

from otpsvc.feeders.mqtt_config import MqttConfig, fill
from otpsvc.feeders.mqtt_topics import matches
from tests.far_ends.mosquitto import PASSWORD as MQTT_PASSWORD
from tests.far_ends.mosquitto import MosquittoServer, hashed
from tests.far_ends.rabbitmq import PASSWORD as RABBIT_PASSWORD
from tests.far_ends.rabbitmq import RabbitServer
from tests.far_ends.ws_broker import PASSWORD as WS_PASSWORD
from tests.far_ends.ws_broker import USERNAME, WsBroker
from tests.feeders.examples_rig import CONFIG, EXAMPLES, NUMBER, RABBIT_USERS, Publisher, acl, blocks
from tests.flows.serving_rig import HASH, SECRET, Served
from tests.waiting import PATIENCE, until


@pytest.fixture(scope="module")
def amqp(rabbit: RabbitServer) -> Callable[[str], str]:
    """URLs of the manual's users, with no more rights than it gives them."""
    rabbit.evaluate('rabbit_vhost:add(<<"sms">>, <<"test">>)')
    given = [shlex.split(line) for block in blocks("rabbitmq.md", "sh") for line in block.splitlines()]
    rights = [words[2:] for words in given if words[:2] == ["rabbitmqctl", "set_permissions"]]
    rights = [words for words in rights if words[2] in RABBIT_USERS]
    assert [vhost for _, vhost, *_ in rights] == ["sms", "sms"]
    for _, vhost, user, *patterns in rights:
        terms = ", ".join(
            f"<<{json.dumps(word)}>>" for word in (RABBIT_USERS[user], vhost, *patterns, "test")
        )
        rabbit.evaluate(f"rabbit_auth_backend_internal:set_permissions({terms})")
    return lambda user: rabbit.url_of(RABBIT_USERS[user], vhost="sms")


@pytest.fixture(scope="module")
def mosquitto(
    need: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MosquittoServer]:
    """As the manual sets it up; only folders, the listener and the length of its queues are others."""
    need("mosquitto")
    folder = tmp_path_factory.mktemp("mosquitto")
    (settings,) = blocks("mqtt.md", "conf")
    (folder / "otpsvc.acl").write_text(acl())
    (folder / "otpsvc.users").write_text("".join(f"{user}:{hashed()}\n" for user in ("gate1", "shop")))
    for file in folder.iterdir():
        file.chmod(0o600)
    lines = settings.replace("/etc/mosquitto", str(folder)).splitlines()
    kept = [line for line in lines if line.split()[0] not in ("listener", "certfile", "keyfile")]
    shown = [line for line in kept if not line.startswith("max_queued_messages")]
    assert len(kept) == len(lines) - 3
    assert len(shown) == len(kept) - 1
    with MosquittoServer(*shown, login=False) as running:
        yield running


@pytest.fixture(scope="module")
async def brokers() -> AsyncIterator[dict[str, WsBroker]]:
    async with WsBroker("php") as php, WsBroker("2020") as eldest:
        yield {"php": php, "eldest": eldest}


@pytest.fixture(scope="module")
async def served(
    rabbit: RabbitServer,
    amqp: Callable[[str], str],
    mosquitto: MosquittoServer,
    brokers: dict[str, WsBroker],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Served]:
    more = CONFIG.format(
        hash=HASH,
        amqp=amqp("box1"),
        open=f"amqp://127.0.0.1:{rabbit.port}",
        rabbit_password=RABBIT_PASSWORD,
        secret=secrets.token_hex(32),
        mqtt=mosquitto.url,
        mqtt_password=MQTT_PASSWORD,
        php=brokers["php"].at("sms"),
        eldest=brokers["eldest"].at("sms"),
        ws_user=USERNAME,
        ws_password=WS_PASSWORD,
    )
    running = Served(tmp_path_factory.mktemp("served") / "here", more=more)
    async with running:
        await running.until_said("feeder connected", times=5)
        yield running


def texts(served: Served) -> list[str]:
    return [line["text"] for line in served.codes()]


async def test_a_text_through_rabbitmq(served: Served, amqp: Callable[[str], str]) -> None:
    status, said = await Publisher("publish_rabbitmq.py", NUMBER, "by amqp", AMQP_URL=amqp("shop")).run()

    assert (status, said) == (0, "")
    await until(lambda: "by amqp" in texts(served), served.log)


async def test_a_queue_that_is_not_there_is_an_error(amqp: Callable[[str], str]) -> None:
    away = {"AMQP_URL": amqp("shop"), "QUEUE": "nowhere"}
    status, said = await Publisher("publish_rabbitmq.py", NUMBER, "lost", **away).run()

    assert status != 0
    assert "DeliveryError" in said or "Return" in said


async def test_a_verification_through_rabbitmq(served: Served, amqp: Callable[[str], str]) -> None:
    asking = Publisher("publish_rabbitmq_ask.py", "log", "ann@shop.example", AMQP_URL=amqp("shop"))
    async with asking as process, asyncio.timeout(2 * PATIENCE):
        assert process.stdin
        await until(lambda: any(line["to"] == "ann@shop.example" for line in served.codes()), served.log)
        code = next(line["code"] for line in served.codes() if line["to"] == "ann@shop.example")
        wrong = "000000" if code != "000000" else "111111"
        said, errors = await process.communicate(f"{wrong}\n{code}\n".encode())

    assert re.sub(r"Code: ", "", said.decode()).split() == ["wrong", "verified"], errors.decode()
    assert process.returncode == 0


def by_mqtt(mosquitto: MosquittoServer, *words: str) -> Publisher:
    environ = {"MQTT_HOST": "127.0.0.1", "MQTT_PORT": str(mosquitto.port), "MQTT_TLS": "0"}
    return Publisher("publish_mqtt.py", *words, MQTT_USER="shop", MQTT_PASSWORD=MQTT_PASSWORD, **environ)


async def test_a_text_through_mqtt(served: Served, mosquitto: MosquittoServer) -> None:
    status, said = await by_mqtt(mosquitto, NUMBER, "by mqtt: it's here").run()

    assert status == 0, said
    assert said.split()[0] in ("queued", "sending")
    assert said.split()[-1] == "sent"
    assert "by mqtt: it's here" in texts(served)


async def test_a_refused_text_through_mqtt(served: Served, mosquitto: MosquittoServer) -> None:
    status, said = await by_mqtt(mosquitto, "nobody", "by mqtt").run()

    assert (status, said) == (1, "refused invalid_address\n")


@pytest.mark.parametrize("generation", ["php", "eldest"])
async def test_a_text_through_a_websocket_broker(
    served: Served, brokers: dict[str, WsBroker], generation: str
) -> None:
    broker = brokers[generation]
    environ = {"WS_URL": broker.at("sms"), "WS_USER": USERNAME, "WS_PASSWORD": WS_PASSWORD}
    environ["GENERATION"] = "2020" if generation == "eldest" else "2021"
    status, said = await Publisher("publish_wsbroker.py", NUMBER, f"by {generation}", **environ).run()

    assert (status, said) == (0, "")
    await until(lambda: f"by {generation}" in texts(served), served.log)


async def test_a_sealed_text_from_a_channel_to_a_feeder(served: Served) -> None:
    """Both ends in one process, which does not matter to the broker between them."""
    login = aiohttp.encode_basic_auth("all", SECRET)
    asked = {"to": NUMBER, "text": "sealed by amqp", "channel": "box1"}
    async with served.client() as http:
        answer = await http.post("/api/messages", data=asked, headers={"Authorization": login})
        assert answer.status == 202, await answer.text()

    await until(lambda: "sealed by amqp" in texts(served), served.log)


async def test_with_the_manuals_rights_all_are_connected(served: Served) -> None:
    states: dict[str, Any] = {}

    async def connected() -> bool:
        # What a node tells of itself holds for seconds: a slow machine may have to look again.
        states.clear()
        for line in (await asyncio.to_thread(served.command, "feeders", "--json")).splitlines():
            state = json.loads(line)
            states[state["name"]] = state["state"], state["reason"]
        return states == dict.fromkeys(("box1", "eldest", "mqtt", "php", "rabbit"), ("connected", ""))

    await until(connected, lambda: states)


def test_the_manuals_acl_lets_the_feeder_publish_what_it_has_to() -> None:
    """A broker of MQTT 3.1.1 refuses in silence."""
    mine = acl().partition("user gate1\n")[2].partition("\nuser")[0].splitlines()
    may = {kind: [line.split()[2] for line in mine if line.split()[1] == kind] for kind in ("read", "write")}
    table = tomllib.loads(next(block for block in blocks("mqtt.md", "toml") if "incoming_topic" in block))
    config = msgspec.convert(table["feeders"]["mqtt"], MqttConfig)
    published = [getattr(config, key) for key in structs.asdict(config) if key.endswith("_topic")]

    assert [fill(config.topic, "gate1")] == may["read"]
    for topic in filter(None, published):
        assert any(matches(wanted, fill(topic, "gate1", "o-71")) for wanted in may["write"]), topic


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.php")), ids=lambda path: path.name)
def test_php_is_php(path: Path, need: Callable[[str], str]) -> None:
    done = subprocess.run([need("php"), "-n", "-l", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.fixture
def by_php(
    amqp: Callable[[str], str], rabbit: RabbitServer, need: Callable[[str], str], tmp_path: Path
) -> Callable[..., Publisher]:
    """With Debian's php-amqplib in the place of Composer's, over TLS."""
    library, php = need("/usr/share/php/PhpAmqpLib/autoload.php"), need("php")
    (tmp_path / "vendor").mkdir()
    (tmp_path / "vendor" / "autoload.php").write_text(f"<?php require '{library}';")
    script = shutil.copy(EXAMPLES / "publish_rabbitmq.php", tmp_path)
    login = urlsplit(amqp("shop"))
    environ = {
        "AMQP_HOST": "localhost",
        "AMQP_PORT": str(rabbit.tls_port),
        "AMQP_USER": login.username or "",
        "AMQP_PASSWORD": login.password or "",
        "CA_FILE": str(rabbit.ca_file),
    }
    return lambda *words, **more: Publisher(str(script), *words, program=php, **environ, **more)


async def test_a_text_by_php_through_rabbitmq(served: Served, by_php: Callable[..., Publisher]) -> None:
    status, said = await by_php(NUMBER, "by php").run()

    assert (status, said) == (0, "")
    await until(lambda: "by php" in texts(served), served.log)


async def test_a_queue_that_is_not_there_is_an_error_in_php(by_php: Callable[..., Publisher]) -> None:
    assert await by_php(NUMBER, "lost", QUEUE="nowhere").run() == (1, "no queue of this name\n")
