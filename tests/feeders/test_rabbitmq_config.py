"""RabbitMQ: what a table may say, and that it never says its password."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import msgspec
import pytest
import rich.console

from otpsvc.broker_url import tls_of
from otpsvc.errors import ConfigError
from otpsvc.feeders import feeder_type
from otpsvc.feeders.rabbitmq import RabbitFeeder
from otpsvc.feeders.rabbitmq_config import RabbitConfig, full_url

LOCAL = "amqp://127.0.0.1/"


def _config(**settings: Any) -> RabbitConfig:
    table = {"type": "rabbitmq", "tenant": "shop", "url": LOCAL} | settings
    return msgspec.convert(table, RabbitConfig)


def test_it_is_found_by_its_type() -> None:
    assert feeder_type("rabbitmq") is RabbitFeeder
    assert RabbitFeeder.Config is RabbitConfig


def test_as_the_first_clients_expect_it() -> None:
    config = _config()

    assert (config.queue, config.keeps, dict(config.declaration)) == ("sms", False, {})
    assert config.dead_queue == "sms.dead"
    assert config.dead_declaration == {"x-message-ttl": 86_400_000, "x-max-length": 10_000}


def test_a_quorum_queue_is_durable() -> None:
    config = _config(queue_type="quorum", arguments={"x-delivery-limit": 9})

    assert config.keeps
    assert config.declaration == {"x-queue-type": "quorum", "x-delivery-limit": 9}


@pytest.mark.parametrize(
    ("settings", "queue"),
    [
        ({"queue": "otp"}, "otp.dead"),
        ({"dead_letters": "bin"}, "bin"),
        ({"dead_letters": "-"}, ""),
        ({"dead_letter_life": 0}, ""),
        ({"dead_letters": "bin", "dead_letter_life": 0}, ""),
    ],
)
def test_where_dead_letters_go(settings: dict[str, Any], queue: str) -> None:
    assert _config(**settings).dead_queue == queue


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"url": "http://127.0.0.1/"}, "amqps://"),
        ({"url": "amqp:///"}, "amqps://"),
        ({"url": "amqp://127.0.0.1:0/"}, "url: expected a port from 1 to 65535"),
        ({"url": "amqp://127.0.0.1:x/"}, "url: expected a port from 1 to 65535"),
        ({"queue_type": "quorum", "durable": False}, "durable: expected true, or nothing"),
        ({"url": "amqp://127.0.0.1/#a"}, "amqps://"),
        ({"url": "amqp://broker.example/"}, "insecure"),
        ({"url": "amqp://localhost.example/"}, "insecure"),
        ({"url": "amqps://broker.example/?no_verify_ssl=1"}, "%3F"),
        ({"url": "amqps://broker.example/?"}, "%3F"),
        ({"url": "amqps://broker.example/a/b"}, "%2F"),
        ({"url": "amqp://u:p@127.0.0.1/", "username": "u", "password": "p"}, "both"),
        ({"url": "amqp://u@127.0.0.1/"}, "together"),
        ({"username": "u"}, "together"),
        ({"password": "p"}, "together"),
        ({"username": "u", "password": "p", "password_file": "f"}, "both"),
        ({"ca_file": "/x"}, "ca_file"),
        ({"queue": ""}, "queue"),
        ({"queue": "amq.mine"}, "queue"),
        ({"queue": "é" * 128}, "255"),
        ({"dead_letters": "é" * 128}, "255"),
        ({"dead_letters": "sms"}, "dead_letters"),
        ({"routing_keys": ["a"]}, "exchange"),
        ({"queue_type": "quorum", "arguments": {"x-queue-type": "classic"}}, "x-queue-type"),
        ({"queue_type": "stream"}, "stream"),
        ({"heartbeat": 0}, "heartbeat"),
        ({"dead_letter_life": -1}, "dead_letter_life"),
        ({"prefetch": 5}, "prefetch"),
    ],
)
def test_refused(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        _config(**settings)

    assert word in str(caught.value)


@pytest.mark.parametrize("url", ["amqp://[::1]:5673/", "amqps://broker.example/", "amqp://localhost/a%2Fb"])
def test_taken(url: str) -> None:
    assert _config(url=url).url == url


def test_in_clear_text_by_hand_alone() -> None:
    assert _config(url="amqp://broker.example/", insecure=True).insecure


def test_the_login_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("p@/:w\n")
    given = {"username": "o t", "password_file": str(tmp_path / "p")}
    urls = [
        full_url(_config(url="amqp://o%20t:p%40%2F%3Aw@127.0.0.1/v")),
        full_url(_config(url="amqp://127.0.0.1/v", username="o t", password="p@/:w")),
        full_url(_config(url="amqp://127.0.0.1/v", **given)),
    ]

    assert {(url.user, url.password, url.path, url.query["heartbeat"]) for url in urls} == {
        ("o t", "p@/:w", "/v", "15")
    }


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text(" \n")
    for name in ("gone", "empty"):
        with pytest.raises(ConfigError) as caught:
            RabbitFeeder.check(_config(username="u", password_file=str(tmp_path / name)))
        assert caught.value.key == "password_file"
    for name in ("gone", "empty"):
        with pytest.raises(ConfigError) as caught:
            RabbitFeeder.check(_config(url="amqps://a.example/", ca_file=str(tmp_path / name)))
        assert caught.value.key == "ca_file"


def test_certificates_are_always_checked() -> None:
    tls = tls_of(_config(url="amqps://broker.example/", insecure=True))

    assert tls is not None
    assert tls.check_hostname
    assert tls.verify_mode.name == "CERT_REQUIRED"
    assert tls_of(_config()) is None


def test_no_password_is_shown() -> None:
    shown = io.StringIO()
    for config in (_config(url="amqp://u:hush@127.0.0.1/"), _config(username="u", password="hush")):
        rich.console.Console(file=shown).print(config)
        shown.write(f"{config} {config!r} {[config]}")

    assert "hush" not in shown.getvalue()
    assert "127.0.0.1" in shown.getvalue()


def test_what_is_refused_is_not_repeated() -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        _config(url="amqp://u:hush@broker.example/")

    assert "hush" not in str(caught.value)
