"""Messages on their way to who listens at a topic: another otpsvc, or a Pico with a modem."""

from __future__ import annotations

import asyncio
import json
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otpsvc.channels.mqtt import plain
from otpsvc.command import Send, read
from otpsvc.errors import ConfigError, Refused, Unavailable
from otpsvc.parcel import Parcels, is_parcel
from tests.channels import CODE, TEXT, message
from tests.channels.mqtt_rig import SECRET, TOPIC, channel, config, listener, wire
from tests.far_ends.mosquitto import MosquittoServer

NUMBER = "+6281234567890"


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_a_sealed_command_arrives(mosquitto: MosquittoServer, protocol: str) -> None:
    now = time.time()
    async with listener(mosquitto) as box, channel(mosquitto, protocol=protocol) as way:
        await way.send(message(to=NUMBER, id="m1", expires=now + 3600))
        found = await box.next()

    assert (str(found.topic), found.qos, found.retain) == (TOPIC, 1, False)
    assert isinstance(found.payload, bytes)
    assert is_parcel(found.payload)
    asked = read(Parcels(SECRET).open(found.payload, now=now), now=now).commands[0]
    assert isinstance(asked, Send)
    assert (asked.word, asked.to, asked.text, asked.id) == ("send-sms", NUMBER, TEXT, "m1")
    assert 3500 < asked.life <= 3600


async def test_plain_is_what_a_gateway_reads(mosquitto: MosquittoServer) -> None:
    async with listener(mosquitto) as box, channel(mosquitto, payload="plain") as way:
        await way.send(message(to=NUMBER, id="m1"))
        found = await box.next()

    assert isinstance(found.payload, bytes)
    assert json.loads(found.payload) == {"id": "m1", "to": NUMBER, "text": TEXT}
    assert found.retain is False


@given(st.text())
def test_every_text_survives_a_gateway_that_replaces_apostrophes(text: str) -> None:
    """It makes each a quotation mark and then reads JSON."""
    read = json.loads(plain(message(text=text), now=0.0).decode("ascii").replace("'", '"'))

    assert read["text"] == text


async def test_half_a_character_is_refused(mosquitto: MosquittoServer) -> None:
    for payload in ("plain", "sealed"):
        with pytest.raises(Refused):
            await channel(mosquitto, payload=payload).send(message(text="half \ud83d"))


async def test_a_topic_may_hold_the_tenant(mosquitto: MosquittoServer) -> None:
    async with listener(mosquitto) as box, channel(mosquitto, topic="sms/{tenant}/out") as way:
        await way.send(message(tenant="bank"))
        assert str((await box.next()).topic) == "sms/bank/out"

        with pytest.raises(Refused, match="no tenant"):
            await way.send(message(tenant=""))


async def test_the_broker_forgets_what_is_of_no_use_any_more(mosquitto: MosquittoServer) -> None:
    async with listener(mosquitto, version5=True) as box, channel(mosquitto) as way:
        await way.send(message(expires=time.time() + 1000))
        found = await box.next()

    assert 900 < found.properties.MessageExpiryInterval <= 1000  # type: ignore[union-attr]


async def test_with_version_5_somebody_must_be_subscribed(mosquitto: MosquittoServer) -> None:
    async with channel(mosquitto, topic="nobody/listens") as way:
        with pytest.raises(Unavailable, match="nobody is subscribed to the topic"):
            await way.send(message())
    async with channel(mosquitto, topic="nobody/listens", protocol="3.1.1") as way:
        await way.send(message())


async def test_many_at_once_take_one_connection(mosquitto: MosquittoServer) -> None:
    async with listener(mosquitto) as box, wire(mosquitto) as far, channel(port=far.port) as way:
        await asyncio.gather(*(way.send(message(id=f"m{at}")) for at in range(300)))
        found = [json.loads(bytes((await box.next()).payload))["id"] for _ in range(300)]

        assert far.accepted == 1
        assert sorted(found) == sorted(f"m{at}" for at in range(300))


async def test_it_takes_phone_numbers(mosquitto: MosquittoServer) -> None:
    assert channel(mosquitto).address.parse(" +62 812-3456-7890") == NUMBER
    assert channel(mosquitto, country="ID").address.parse("0812 3456 7890") == NUMBER


def test_a_missing_package_is_told_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "otpsvc.channels.mqtt_line", raising=False)
    monkeypatch.setitem(sys.modules, "aiomqtt", None)

    with pytest.raises(ConfigError) as error:
        channel()
    assert "pip install 'otpsvc[mqtt]'" in str(error.value)


def test_ports_are_those_of_the_scheme() -> None:
    assert config(url="mqtts://broker.example").port == 8883
    assert config(url="mqtt://localhost").port == 1883
    assert config(url="mqtts://broker.example:99").port == 99


def test_a_code_in_plain_is_warned_of() -> None:
    assert CODE.encode() in plain(message(), now=0.0)
    assert config().warnings() == {}
    assert list(config(payload="plain").warnings()) == ["payload"]
