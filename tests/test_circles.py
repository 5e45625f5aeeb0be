"""What `otpsvc check` says of tables of brokers: those that get in each other's way, and faults of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from otpsvc.loading import Source
from tests.config_place import SHOP, Place

SCOPED = SHOP + 'scopes = ["sms", "mail"]\n'
LOG = '[channels.log]\ntype = "file"\npath = "codes"\nallow_plaintext = true\n'
MQTT, AMQP = "mqtt://127.0.0.1:1883", "amqp://127.0.0.1/sms"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def wrong(place: Place, *tables: str) -> list[str]:
    place.file("otpsvc.toml", SCOPED + "".join(tables))
    found = Source(path=place.path).problems({})
    return [str(one).replace(str(place.path), "FILE") for one in found]


def table(section: str, **keys: Any) -> str:
    written = "".join(f"{key} = {value!r}\n" for key, value in keys.items())
    return f"[{section}]\n{written}"


def channel(name: str, topic: str, **more: Any) -> str:
    usual = {"type": "mqtt", "url": MQTT, "topic": topic, "payload": "plain"}
    return table(f"channels.{name}", **{**usual, **more})


def feeder(name: str, **more: Any) -> str:
    return table(f"feeders.{name}", **{"type": "mqtt", "tenant": "shop", "url": MQTT, **more})


def rabbit_channel(key: str, **more: Any) -> str:
    return channel("out", "", **{"type": "rabbitmq", "url": AMQP, "routing_key": key, **more}).replace(
        "topic = ''\n", ""
    )


def rabbit_feeder(**more: Any) -> str:
    return feeder("in", **{"type": "rabbitmq", "url": AMQP, "channel": "out", **more})


BACK = (
    "FILE: feeders.in.channel: expected a way that does not lead back to it,"
    ' got "out", which publishes to where feeders.in takes commands'
)


@pytest.mark.parametrize(
    "tables",
    [
        (channel("out", "smsoutnew/in"), feeder("in", channel="out")),
        (channel("out", "smsoutnew/x"), feeder("in", topic="smsoutnew/+", url="mqtt://localhost")),
        (channel("out", "{tenant}/x"), feeder("in", topic="shop/#")),
        (LOG, channel("out", "smsoutnew/in"), "[relay]\nsms = 'out'\n", feeder("in")),
        (
            LOG,
            channel("out", "smsoutnew/in"),
            "[routes]\nall = ['log', 'out']\n",
            feeder("in", channel="all"),
        ),
        # The kind of address that its channel does not take goes the usual way.
        (
            rabbit_channel("sms", address="email"),
            channel("log", "elsewhere"),
            rabbit_feeder(channel="log"),
        ),
        (rabbit_channel("sms"), rabbit_feeder()),
        (rabbit_channel("a.b", exchange="x"), rabbit_feeder(exchange="x", routing_keys=["a.#"])),
        (rabbit_channel("a", exchange="x"), rabbit_feeder(exchange="x", routing_keys=["b", "a.#"])),
        (rabbit_channel("a.b", exchange="x"), rabbit_feeder(exchange="x", routing_keys=["*.b"])),
        (rabbit_channel("sms", exchange="x"), rabbit_feeder(exchange="x", url="amqp://127.0.0.1:5672/%73ms")),
    ],
)
def test_texts_that_would_come_back_are_refused(place: Place, tables: tuple[str, ...]) -> None:
    assert wrong(place, *tables) == [BACK]


@pytest.mark.parametrize(
    "tables",
    [
        # To another feeder, which sends them by a way of its own.
        (LOG, channel("out", "smsoutnew/b"), feeder("a", channel="out"), feeder("b", channel="log")),
        (channel("out", "smsoutnew/in"), feeder("in", channel="out", url="mqtt://127.0.0.1:1884")),
        (channel("out", "smsoutnew/in"), LOG, feeder("in", channel="log")),
        (channel("out", "other/x"), feeder("in", topic="shop/#")),
        (rabbit_channel("other"), rabbit_feeder()),
        (rabbit_channel("sms"), rabbit_feeder(url="amqp://127.0.0.1/other")),
        (rabbit_channel("sms", exchange="x"), rabbit_feeder()),
        (rabbit_channel("a.b.c", exchange="x"), rabbit_feeder(exchange="x", routing_keys=["a.*"])),
        (rabbit_channel("sms"), feeder("in", channel="out", topic="sms")),
    ],
)
def test_what_does_not_come_back_is_taken(place: Place, tables: tuple[str, ...]) -> None:
    assert wrong(place, *tables) == []


def test_a_circle_over_two_feeders_is_found(place: Place) -> None:
    tables = (
        channel("out", "smsoutnew/b"),
        rabbit_channel("sms").replace("channels.out", "channels.rabbit"),
        feeder("a", channel="out"),
        feeder("b", channel="rabbit"),
        rabbit_feeder().replace("feeders.in", "feeders.c"),
        channel("log", "elsewhere"),
        feeder("d", channel="out"),
    )

    found = [one.partition(", got ")[0] for one in wrong(place, *tables)]

    assert found == [
        f"FILE: feeders.{name}.channel: expected a way that does not lead back to it" for name in ("b", "c")
    ]


def test_two_clients_of_one_name_at_one_broker_are_refused(place: Place) -> None:
    one = feeder("x", gateway="g", topic="in/x")
    twin = feeder("y", gateway="h", client_id="otpsvc-x-g", url="mqtt://localhost:1883")

    words = 'client_id: expected a client id that no other table has at this broker, got "otpsvc-x-g", as'
    assert wrong(place, LOG, one, twin) == [f"FILE: feeders.y.{words} feeders.x has"]
    assert wrong(place, LOG, one, twin.replace("1883", "1884")) == []
    tables = (channel("c", "t", client_id="otpsvc-x-g"), LOG, feeder("x", gateway="g"))
    assert wrong(place, *tables) == [f"FILE: feeders.x.{words} channels.c has"]


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (feeder("x", topic="#"), "feeders.x.status_topic: expected another topic than the one that"),
        (channel("x", "t", country="XX"), "channels.x.country: expected two upper-case letters"),
        (feeder("x", url="mqtt://h:99999"), "feeders.x.url: expected a port from 1 to 65535"),
        (feeder("x", url="http://h"), "feeders.x.url: expected mqtts:// or mqtt:// in front"),
        (feeder("x", type="wsbroker", url="http://h"), "feeders.x.url: expected wss:// or ws:// in front"),
        (
            feeder("x", type="wsbroker", url="ws://127.0.0.1/", username="a:b", password="x"),
            "feeders.x.username: expected no colon",
        ),
        (feeder("x", ca_file="otpsvc.toml"), "feeders.x.ca_file: expected only with mqtts://"),
        (
            feeder("x", type="wsbroker", url="ws://127.0.0.1/", ca_file="otpsvc.toml"),
            "feeders.x.ca_file: expected only with wss://",
        ),
        (channel("x", "t", ca_file="otpsvc.toml"), "channels.x.ca_file: expected only with mqtts://"),
        (
            rabbit_feeder(queue_type="quorum", channel="log") + "durable = false\n",
            "feeders.in.durable: expected true, or nothing, with queue_type",
        ),
    ],
)
def test_what_is_wrong_is_named(place: Place, one: str, said: str) -> None:
    (found,) = wrong(place, LOG, one)

    assert found.startswith(f"FILE: {said}")
