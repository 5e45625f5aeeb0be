"""What an MQTT feeder cannot work with: wrong logins, rights, certificates and settings."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme

from otpsvc.errors import BrokerGone, BrokerRefused, ConfigError
from otpsvc.feeders import feeder_type
from otpsvc.feeders.mqtt import MqttFeeder
from otpsvc.feeders.mqtt_topics import is_filter, is_topic, matches
from tests.far_ends.mosquitto import PASSWORD, MosquittoServer
from tests.far_ends.valkey import free_port
from tests.feeders.mqtt_rig import config, feeding, peer, refusal
from tests.waiting import until


async def test_a_wrong_password(broker: MosquittoServer, protocol: str) -> None:
    error = await refusal(config(broker, password="wrong-9d1f", protocol=protocol))

    assert isinstance(error, BrokerRefused)
    assert "username and password" in str(error)
    assert "wrong-9d1f" not in str(error)


async def test_no_password(broker: MosquittoServer, protocol: str) -> None:
    assert isinstance(
        await refusal(config(broker, username="", password="", protocol=protocol)), BrokerRefused
    )


async def test_a_password_from_a_file(broker: MosquittoServer, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(PASSWORD + "\n")
    async with feeding(broker, password="", password_file=str(tmp_path / "password")) as gate:
        assert gate.ends == []


def _plugin() -> Path:
    found = next(Path("/usr/lib").rglob("mosquitto_dynamic_security.so"), None)
    return found or pytest.skip("this Mosquitto came without its plugin of dynamic rights")


def _forbids(topic: str) -> dict[str, Any]:
    """For Mosquitto's plugin of dynamic rights: its ACL file knows none for subscriptions."""
    salt, rounds = b"0123456789ab", 101
    digest = hashlib.pbkdf2_hmac("sha512", PASSWORD.encode(), salt, rounds)
    every = ("publishClientSend", "publishClientReceive", "subscribe", "unsubscribe")
    return {
        "defaultACLAccess": dict.fromkeys(every, True),
        "clients": [
            {
                "username": "otpsvc",
                "password": base64.b64encode(digest).decode(),
                "salt": base64.b64encode(salt).decode(),
                "iterations": rounds,
                "roles": [{"rolename": "boxed"}],
            }
        ],
        "roles": [
            {
                "rolename": "boxed",
                "acls": [{"acltype": "subscribePattern", "topic": topic, "priority": 1, "allow": False}],
            }
        ],
    }


async def test_a_subscription_that_is_not_allowed(
    need: Callable[[str], str], tmp_path: Path, protocol: str
) -> None:
    need("mosquitto")
    plugin = _plugin()
    (tmp_path / "rights").write_text(json.dumps(_forbids("smsoutnew/#")))
    settings = (f"plugin {plugin}", f"plugin_opt_config_file {tmp_path / 'rights'}")
    with MosquittoServer(*settings, login=False) as strict:
        error = await refusal(config(strict, protocol=protocol))

    assert isinstance(error, BrokerRefused)
    assert "subscribe to smsoutnew/gate" in str(error)


@pytest.mark.parametrize("key", ["heartbeat_topic", "presence_topic"])
async def test_a_topic_that_is_not_allowed(broker: MosquittoServer, key: str) -> None:
    """Version 5 says so, and which."""
    topics = {"heartbeat_topic": "", "presence_topic": "", key: "not/for/readers"}
    error = await refusal(config(broker, username="reader", protocol="5", **topics))

    assert isinstance(error, BrokerRefused)
    assert key in str(error)


async def test_tls(broker: MosquittoServer, protocol: str) -> None:
    async with (
        feeding(broker, url=broker.tls_url, ca_file=str(broker.ca_file), protocol=protocol) as gate,
        peer(broker) as shop,
    ):
        # More than a record of TLS, and than is read at once.
        bodies = [b"%d" % number + b"x" * 20_000 for number in range(20)]
        await shop.flood(bodies)
        await until(lambda: len(gate.far.intake.ended) == 20)

        assert gate.far.intake.bodies == bodies


async def test_a_certificate_of_somebody_else(broker: MosquittoServer, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    error = await refusal(config(broker, url=broker.tls_url, ca_file=str(tmp_path / "other.pem")))

    assert isinstance(error, BrokerRefused)
    assert "ca_file" in str(error)


async def test_a_certificate_of_another_name(need: Callable[[str], str]) -> None:
    need("mosquitto")
    with MosquittoServer(names=("elsewhere.example",)) as other:
        error = await refusal(config(other, url=other.tls_url, ca_file=str(other.ca_file)))

    assert isinstance(error, BrokerRefused)
    assert "the host in url" in str(error)


async def test_nobody_is_there(broker: MosquittoServer) -> None:
    for url, words in (
        (f"mqtt://127.0.0.1:{free_port()}", "Connection refused"),
        (f"mqtts://localhost:{broker.port}", "speak TLS"),
    ):
        error = await refusal(config(broker, url=url))
        assert isinstance(error, BrokerGone)
        assert words in str(error)


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({"url": "http://127.0.0.1"}, "url"),
        ({"url": "mqtt://"}, "url"),
        ({"url": "mqtt://127.0.0.1:0"}, "url"),
        ({"url": "mqtt://127.0.0.1:99999"}, "url"),
        ({"url": "mqtt://127.0.0.1/path"}, "url"),
        ({"url": "mqtts://otpsvc:secret-4a7c@127.0.0.1"}, "url"),
        ({"url": "mqtt://broker.example"}, "insecure"),
        ({"username": "a", "password": "secret-4a7c", "password_file": "/x"}, "password_file"),
        ({"password": "secret-4a7c"}, "username"),
        ({"client_id": "a b"}, "client_id"),
        ({"gateway": "a/b"}, "gateway"),
        ({"gateway": "+"}, "gateway"),
        ({"topic": ""}, "topic"),
        ({"topic": "a/#/b"}, "topic"),
        ({"topic": "a/b+"}, "topic"),
        ({"topic": "a/{id}"}, "topic"),
        ({"incoming_topic": "in/+"}, "incoming_topic"),
        ({"answer_topic": "a/#"}, "answer_topic"),
        ({"presence_topic": "$SYS/x"}, "presence_topic"),
        ({"heartbeat_topic": "beat/{id}"}, "heartbeat_topic"),
        ({"incoming_topic": "smsoutnew/{gateway}"}, "incoming_topic"),
        ({"topic": "#"}, "status_topic"),
        ({"topic": "smsstatus/+"}, "status_topic"),
        ({"heartbeat": 0.5}, "heartbeat"),
        ({"keepalive": 0}, "keepalive"),
        ({"protocol": "3.1"}, "protocol"),
        ({"code_pattern": "([0-9]"}, "code_pattern"),
        ({"code_pattern": "([0-9])([0-9])"}, "code_pattern"),
        ({"code_pattern": "[0-9]*"}, "code_pattern"),
    ],
)
def test_settings_that_are_refused(table: dict[str, Any], named: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=named) as raised:
        config(**table)

    assert "secret-4a7c" not in str(raised.value)


def test_settings_that_are_taken() -> None:
    assert config(url="mqtts://broker.example").port == 8883
    assert config(url="mqtt://broker.example", insecure=True).port == 1883
    assert config(url="mqtt://[::1]:2883").host == "::1"
    assert config(topic="smsoutnew/+", incoming_topic="mqttsmsgw/{gateway}").wanted_scopes() == {
        "incoming_topic": "inbox"
    }
    assert config().wanted_scopes() == {}
    assert "planted" not in repr(config(username="a", password="planted"))


def test_a_code_is_found_without_a_pattern() -> None:
    """By the words beside it: `otpsvc.code_word`."""
    assert config().code_pattern == ""


@pytest.mark.parametrize("key", ["password_file", "ca_file"])
def test_check_reads_files(tmp_path: Path, key: str) -> None:
    table: dict[str, Any] = {"url": "mqtts://localhost", "username": "a"}
    MqttFeeder.check(config(**table))
    table[key] = str(tmp_path / "none")
    with pytest.raises(ConfigError) as raised:
        MqttFeeder.check(config(**table))

    assert raised.value.key == key


def test_check_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiomqtt", None)
    with pytest.raises(ConfigError, match=re.escape("pip install 'otpsvc[mqtt]'")):
        MqttFeeder.check(config())


def test_importing_the_feeder_does_not_import_the_package() -> None:
    code = "import sys, otpsvc.feeders.mqtt; print('aiomqtt' in sys.modules or 'paho' in sys.modules)"
    root = Path(__file__).parent.parent.parent
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=root)

    assert run.stdout == b"False\n"
    assert feeder_type("mqtt") is MqttFeeder


@pytest.mark.parametrize(
    ("wanted", "topic", "does"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/b/c", False),
        ("a/+", "a/b", True),
        ("a/+", "a/b/c", False),
        ("a/+", "a", False),
        ("+/b", "/b", True),
        ("a/#", "a/b/c", True),
        ("a/#", "a", True),
        ("a/b/#", "a", False),
        ("#", "a/b", True),
        ("#", "$SYS/a", False),
        ("+/a", "$SYS/a", False),
        ("$share/group/a/+", "a/b", True),
        ("$share/group/#", "$SYS/b", False),
    ],
)
def test_what_a_subscription_brings(wanted: str, topic: str, does: bool) -> None:
    assert matches(wanted, topic) is does
    assert is_filter(wanted)


@pytest.mark.parametrize("topic", ["", "a/+", "#", "a\0b", "$a", "x" * 65_536, "\ud800"])
def test_what_is_no_topic(topic: str) -> None:
    assert not is_topic(topic)
