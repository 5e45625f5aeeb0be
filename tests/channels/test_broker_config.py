"""The tables of channels to a broker: what is refused at start, and what is never shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from otpsvc.channels.broker_config import BrokerConfig
from otpsvc.channels.mqtt import MqttChannel
from otpsvc.channels.rabbitmq import RabbitChannel
from otpsvc.errors import ConfigError
from tests.channels import ignore, mqtt_rig, rabbitmq_rig

Make = Callable[..., BrokerConfig]
SECRET = rabbitmq_rig.SECRET


@pytest.fixture(params=["rabbitmq", "mqtt"])
def make(request: pytest.FixtureRequest) -> Make:
    return rabbitmq_rig.config if request.param == "rabbitmq" else mqtt_rig.config


def refused(make: Make, **table: Any) -> str:
    with pytest.raises(msgspec.ValidationError) as error:
        make(**table)
    assert SECRET not in str(error.value)
    return str(error.value)


def url(make: Make, rest: str, *, safe: bool = False) -> str:
    scheme = "amqp" if make is rabbitmq_rig.config else "mqtt"
    return f"{scheme}{'s' if safe else ''}://{rest}"


def test_codes_are_sealed_unless_somebody_decides_otherwise(make: Make) -> None:
    expected = 'expected secret_file, or payload = "plain" and codes readable on their way'

    assert make().payload == "sealed"
    assert refused(make, secret="").startswith(expected)
    assert make(payload="plain").warnings()
    assert "only with" in refused(make, payload="plain", secret=SECRET)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"secret": "s" * 31}, "secret: expected at least 32 characters"),
        ({"secret_file": "s"}, "expected secret or secret_file, got both"),
        ({"password": ""}, "expected username together with password or password_file"),
        ({"username": ""}, "expected username together with password or password_file"),
        ({"password_file": "p"}, "expected password or password_file, got both"),
        ({"country": "XX"}, "country: expected two upper-case letters (ISO 3166), such as 'ID', not 'XX'"),
        ({"payload": "open"}, "Invalid enum value"),
        ({"queue": "q"}, "unknown field `queue`"),
    ],
)
def test_what_does_not_fit_together_is_refused(make: Make, table: dict[str, Any], expected: str) -> None:
    assert expected in refused(make, **table)


@pytest.mark.parametrize(
    "rest", ["", "broker.example/a?no_verify_ssl=1", "h#x", "h:0", "h:99999", "a b", "[::"]
)
def test_only_a_plain_url_is_taken(make: Make, rest: str) -> None:
    """A query could turn the check of certificates off."""
    assert "url: expected" in refused(make, url=url(make, rest, safe=True))


def test_a_wrong_scheme_and_a_wrong_port_are_named(make: Make) -> None:
    safe, plain = url(make, "", safe=True), url(make, "")

    assert refused(make, url="http://h").startswith(f"url: expected {safe} or {plain} in front")
    assert refused(make, url=url(make, "h:99999")).startswith("url: expected a port from 1 to 65535")


def test_authorities_without_tls_are_refused(make: Make) -> None:
    words = f"ca_file: expected only with {url(make, '', safe=True)}"
    assert refused(make, url=url(make, "127.0.0.1"), ca_file="ca.pem").startswith(words)


def test_a_login_stands_in_one_place_and_is_not_shown(make: Make) -> None:
    """Clients of AMQP have it in the URL; those of MQTT do not."""
    amqp = make is rabbitmq_rig.config
    named, half = (url(make, f"{login}@broker.example", safe=True) for login in ("otp:sesame", "otp"))

    said = [refused(make, url=named), refused(make, url=half)]
    own = make(url=named, username="", password="") if amqp else None

    assert ("got both" if amqp else "no password in it") in said[0]
    assert "password" in said[1]
    assert not [one for one in (*said, repr(own)) if "sesame" in one]


@pytest.mark.parametrize("login", ["otp", "otp:", ":sesame"])
def test_half_a_login_in_the_url_is_refused(login: str) -> None:
    """The client would say "guest" for the other half."""
    table = {"url": f"amqps://{login}@broker.example", "username": "", "password": ""}

    assert "a password beside the user's name" in refused(rabbitmq_rig.config, **table)


def test_another_scheme_is_refused(make: Make) -> None:
    assert "url: expected" in refused(make, url="https://broker.example")


def test_a_line_to_another_machine_is_encrypted_unless_somebody_decides_otherwise(make: Make) -> None:
    assert "insecure = true" in refused(make, url=url(make, "broker.example"))
    make(url=url(make, "broker.example"), insecure=True)
    make(url=url(make, "broker.example:5000", safe=True))
    make(url=url(make, "[::1]:5000"))


def test_only_the_host_is_shown(make: Make) -> None:
    shown = repr(make()) + str(make()) + repr(make().__rich_repr__())

    assert "127.0.0.1" in shown
    assert not [one for one in (SECRET, make().password, "otpsvc'") if one in shown]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"routing_key": ""}, "routing_key: expected 1 to 255 bytes"),
        ({"routing_key": "ä" * 128}, "routing_key: expected 1 to 255 bytes"),
        ({"exchange": "e" * 256}, "exchange: expected at most 255 bytes"),
        ({"exchange": "e", "declare_queue": True}, "declare_queue: expected only with"),
        ({"address": "email", "country": "ID"}, 'country: expected only with address = "phone"'),
    ],
)
def test_what_rabbitmq_would_not_take_is_refused(table: dict[str, Any], expected: str) -> None:
    assert expected in refused(rabbitmq_rig.config, **table)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"topic": ""}, "topic: expected a topic"),
        ({"topic": "a/+/b"}, "topic: expected a topic without + and #"),
        ({"topic": "a/#"}, "topic: expected a topic without + and #"),
        ({"topic": "a\0b"}, "topic: expected a topic"),
        ({"topic": "a/{shop}"}, "topic: expected no braces other than {tenant}"),
        ({"client_id": "a b"}, "client_id: expected"),
        ({"keepalive": 0}, "Expected `int` >= 1"),
        ({"url": "mqtts://broker.example/path"}, "url: expected mqtts://HOST:PORT"),
        ({"protocol": "4"}, "Invalid enum value"),
    ],
)
def test_what_mqtt_has_no_word_for_is_refused(table: dict[str, Any], expected: str) -> None:
    assert expected in refused(mqtt_rig.config, **table)


def channel(config: BrokerConfig) -> RabbitChannel | MqttChannel:
    return (RabbitChannel if config.type == "rabbitmq" else MqttChannel)(config, ignore)  # type: ignore[arg-type]


def test_secrets_come_from_files(make: Make, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET + "\n")
    (tmp_path / "password").write_text("sesame\n")
    files = {"secret_file": str(tmp_path / "secret"), "password_file": str(tmp_path / "password")}
    made = channel(make(secret="", password="", **files))

    assert made._parcels is not None
    assert repr(made._parcels) == repr(channel(make())._parcels)
    password = made._url.password if isinstance(made, RabbitChannel) else made._password
    assert password == "sesame"


@pytest.mark.parametrize(
    ("content", "expected"), [("short", "at least 32 characters"), (None, "a readable text file")]
)
def test_a_file_that_holds_no_secret_is_told(
    make: Make, tmp_path: Path, content: str | None, expected: str
) -> None:
    if content is not None:
        (tmp_path / "secret").write_text(content)

    with pytest.raises(ConfigError) as error:
        channel(make(secret="", secret_file=str(tmp_path / "secret")))
    assert (error.value.key, error.value.expected) == ("secret_file", expected)
    assert "short" not in str(error.value)


def test_a_file_without_certificates_is_told(make: Make, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        channel(make(url=url(make, "127.0.0.1", safe=True), ca_file=str(tmp_path / "none")))

    assert error.value.key == "ca_file"
