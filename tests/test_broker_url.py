"""Where a broker is: what tables may say of it, and what is never said back."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from msgspec import Struct

from otpsvc.broker_url import MqttPlace, check_clear, check_login, check_trust, password_of, split_url, tls_of
from otpsvc.errors import ConfigError


class Table(Struct, MqttPlace, frozen=True, kw_only=True):
    url: str = ""
    username: str = ""
    password: str = ""
    password_file: str = ""
    ca_file: str = ""


def test_a_url_and_its_parts() -> None:
    parts = split_url("wss://[::1]:8443/ws?topic=a", plain="ws", expected="that")

    assert (parts.hostname, parts.port, parts.path, parts.query) == ("::1", 8443, "/ws", "topic=a")


@pytest.mark.parametrize(
    "url",
    [
        "wss://",
        "wss:///hidden",
        "wss://[hidden",
        "wss://hidden/#part",
        "wss://hidden /",
        "wss://hidden/\t",
        "wss://hidden/\u200b",
    ],
)
def test_what_is_no_such_url_is_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match=r"^that$") as error:
        split_url(url, plain="ws", expected="that")

    assert error.value.__cause__ is None


@pytest.mark.parametrize("url", ["", "amqps://hidden", "hidden:hidden@host", "hidden"])
def test_another_scheme_is_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match=r"^url: expected wss:// or ws:// in front$"):
        split_url(url, plain="ws", expected="that")


@pytest.mark.parametrize("port", ["0", "65536", "hidden"])
def test_a_port_that_is_none_is_not_repeated(port: str) -> None:
    with pytest.raises(ValueError, match=r"^url: expected a port from 1 to 65535, or none$"):
        split_url(f"ws://hidden:{port}", plain="ws", expected="that")


@pytest.mark.parametrize("scheme", ["ws", "mqtt", "amqp"])
def test_authorities_want_tls(scheme: str) -> None:
    with pytest.raises(ValueError, match=f"^ca_file: expected only with {scheme}s://$"):
        check_trust(urlsplit(f"{scheme}://127.0.0.1"), "ca.pem")
    check_trust(urlsplit(f"{scheme}s://127.0.0.1"), "ca.pem")
    check_trust(urlsplit(f"{scheme}://127.0.0.1"), "")


@pytest.mark.parametrize("plain", ["ws", "mqtt", "amqp"])
def test_nothing_readable_leaves_this_machine_by_itself(plain: str) -> None:
    there = split_url(f"{plain}://broker.example", plain=plain, expected="")
    with pytest.raises(ValueError, match=f"expected {plain}s://, or insecure = true and all of it"):
        check_clear(there, insecure=False, risk="all of it")

    check_clear(there, insecure=True)
    for url in (f"{plain}s://broker.example", f"{plain}://127.0.0.1", f"{plain}://[::1]"):
        check_clear(split_url(url, plain=plain, expected=""), insecure=False)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (Table(username="u"), "username together with"),
        (Table(password="hidden"), "username together with"),
        (Table(password_file="hidden"), "username together with"),
        (Table(username="u", password="hidden", password_file="hidden"), "password_file, got both"),
    ],
)
def test_half_a_login_is_refused(table: Table, words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        check_login(table)

    assert "hidden" not in str(error.value)


def test_a_login_in_one_place() -> None:
    check_login(Table())
    check_login(Table(), in_url=True)
    check_login(Table(username="u", password="p"))
    check_login(Table(username="u"), alone=True)
    for table in (Table(username="u", password="p"), Table(password_file="f")):
        with pytest.raises(ValueError, match="in url or in username"):
            check_login(table, in_url=True)
    with pytest.raises(ValueError, match="username together with"):
        check_login(Table(password="p"), alone=True)


def test_a_password_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "p").write_text(" p:@% ü/\n", encoding="utf-8")

    assert password_of(Table(password_file=str(tmp_path / "p"))) == "p:@% ü/"
    assert password_of(Table(password="p")) == "p"
    with pytest.raises(ConfigError) as error:
        password_of(Table(password_file=str(tmp_path / "none")))
    assert error.value.key == "password_file"


@pytest.mark.parametrize("scheme", ["ws", "mqtt", "amqp"])
def test_certificates_are_always_checked(scheme: str) -> None:
    tls = tls_of(Table(url=f"{scheme}s://broker.example"))

    assert tls is not None
    assert tls.check_hostname
    assert tls.verify_mode.name == "CERT_REQUIRED"
    assert tls_of(Table(url=f"{scheme}://broker.example")) is None


@pytest.mark.parametrize(
    ("url", "port"), [("mqtt://h", 1883), ("mqtts://h", 8883), ("mqtt://h:5", 5), ("mqtts://h:1883/", 1883)]
)
def test_ports_of_mqtt(url: str, port: int) -> None:
    assert (Table(url=url).host, Table(url=url).port) == ("h", port)
