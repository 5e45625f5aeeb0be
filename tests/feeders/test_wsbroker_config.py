"""The table of a WebSocket feeder: what it takes, refuses and hides."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from otpsvc.broker_url import tls_of
from otpsvc.errors import ConfigError
from otpsvc.feeders import feeder_type
from otpsvc.feeders.wsbroker import WsBrokerFeeder
from otpsvc.feeders.wsbroker_config import WsBrokerConfig, login_of, moved, places_of

URL = "wss://broker.example/ws?topic=sms"


def table(**more: Any) -> WsBrokerConfig:
    return msgspec.convert({"type": "wsbroker", "tenant": "shop", "url": URL} | more, WsBrokerConfig)


def test_the_registry_knows_it() -> None:
    assert feeder_type("wsbroker") is WsBrokerFeeder


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "wss://h",
        "wss://h:8443/p/q?channel=a%20b&x=1",
        "ws://127.0.0.1:9001/",
        "ws://[::1]/",
        "ws://localhost",
    ],
)
def test_urls_that_are_taken(url: str) -> None:
    assert table(url=url).url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://h/",
        "https://h/",
        "h:9000",
        "wss://",
        "wss:///path",
        "wss://h/#part",
        "wss://h:0/",
        "wss://h:99999/",
        "wss://h:port/",
        "wss://[::1/",
        "wss://h/a b",
        "wss://h/ü",
        "wss://h/\n",
        "wss://user@h/",
        "wss://user:hidden@h/",
        "wss://@h/",
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="url: expected") as error:
        table(url=url)

    assert "hidden" not in str(error.value)


@pytest.mark.parametrize("host", ["broker.example", "10.0.0.1", "127.0.0.1.example", "localhost.example"])
def test_ws_to_another_machine_needs_a_word(host: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="insecure = true"):
        table(url=f"ws://{host}/")

    assert table(url=f"ws://{host}/", insecure=True).insecure


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"username": "gate"}, "username together with"),
        ({"password": "hidden"}, "username together with"),
        ({"password_file": "hidden"}, "username together with"),
        ({"username": "gate", "password": "hidden", "password_file": "hidden"}, "got both"),
        ({"username": "ga:te", "password": "hidden"}, "no colon"),
        ({"ping": -1}, ">= 0"),
        ({"timeout": 0}, "> 0"),
        ({"topic": "hidden"}, "unknown field"),
    ],
)
def test_tables_that_are_refused(more: dict[str, Any], words: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=words) as error:
        table(**more)

    assert "hidden" not in str(error.value)


def test_defaults() -> None:
    config = table()

    assert (config.ping, config.timeout, config.insecure, config.at_once) == (20.0, 10.0, False, 100)


def test_no_secret_is_shown() -> None:
    config = table(
        url="wss://broker.example/hidden?topic=hidden",
        username="gate-hidden",
        password="hidden",
        secret="hidden" * 6,
    )
    stream = io.StringIO()
    Console(file=stream, width=500).print(config, [config])

    for shown in (repr(config), str(config), f"{config}", repr([config]), stream.getvalue()):
        assert "broker.example" in shown
        assert "hidden" not in shown


def test_the_login_is_in_utf_8(tmp_path: Path) -> None:
    # RFC 7617, 2.1.
    wanted = "Basic dGVzdDoxMjPCow=="
    (tmp_path / "password").write_text(" 123\u00a3\n", encoding="utf-8")

    assert login_of(table(username="test", password="123\u00a3")) == wanted
    assert login_of(table(username="test", password_file=str(tmp_path / "password"))) == wanted
    assert login_of(table()) == ""


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff"])
def test_a_password_file_of_no_use(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "password").write_bytes(content)
    config = table(username="gate", password_file=str(tmp_path / "password"))
    with pytest.raises(ConfigError) as error:
        WsBrokerFeeder.check(config)

    assert error.value.key == "password_file"


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_a_ca_file_of_no_use(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)
    with pytest.raises(ConfigError) as error:
        WsBrokerFeeder.check(table(ca_file=str(tmp_path / "ca.pem")))

    assert error.value.key == "ca_file"


def test_no_tls_for_ws() -> None:
    assert tls_of(table(url="ws://localhost")) is None
    assert tls_of(table()) is not None


@pytest.mark.parametrize(
    ("url", "places"),
    [
        ("ws://h/?channel=otp", ["otp"]),
        ("ws://h/?x=1&topic=a%20b+c", ["a b c"]),
        ("ws://h/?topic=one&channel=two", ["two", "one"]),
        ("ws://h/?topic=", ["sms"]),
        ("ws://h/", ["sms"]),
    ],
)
def test_where_messages_come_from(url: str, places: list[str]) -> None:
    assert places_of(url) == places


@pytest.mark.parametrize(
    ("url", "elsewhere"),
    [
        ("ws://h/p?channel=otp&x=a%20b+c", "ws://h/p?channel=to%26%20&x=a%20b+c"),
        ("ws://h/p?x=1&topic=otp", "ws://h/p?x=1&topic=to%26%20"),
        ("ws://h/p?topic=one&channel=two&topic=3", "ws://h/p?topic=to%26%20&channel=to%26%20&topic=to%26%20"),
        ("ws://h/p?x", "ws://h/p?x&topic=to%26%20"),
        ("ws://h", "ws://h?topic=to%26%20"),
    ],
)
def test_the_same_broker_at_another_place(url: str, elsewhere: str) -> None:
    assert moved(url, "to& ") == elsewhere
