"""Where a broker is and who we are there, as the tables of channels and feeders say it.

Sentences of refusal never repeat what they refuse: it may hold a password.
"""

from __future__ import annotations

import ssl
from typing import Final, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from otpsvc.config.values import is_loopback
from otpsvc.files import secret_from, tls_context

#: Schemes with TLS, by those without.
_SAFE: Final = {"ws": "wss", "mqtt": "mqtts", "amqp": "amqps"}
_MQTT_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
_PORTS: Final = {**_MQTT_PORTS, "amqp": 5672, "amqps": 5671}


class Login(Protocol):
    """What a table says of the name we go by."""

    @property
    def username(self) -> str: ...
    @property
    def password(self) -> str: ...
    @property
    def password_file(self) -> str: ...


class Trust(Protocol):
    """What a table says of its line."""

    @property
    def url(self) -> str: ...
    @property
    def ca_file(self) -> str: ...


class MqttPlace:
    """Host and port of a table with an `mqtt://` or `mqtts://` URL."""

    __slots__ = ()

    @property
    def host(self) -> str:
        return _parts(self).hostname or ""

    @property
    def port(self) -> int:
        parts = _parts(self)
        return parts.port or _MQTT_PORTS[parts.scheme]


def _parts(table: object) -> SplitResult:
    return urlsplit(str(getattr(table, "url", "")))


def broker_of(url: str) -> str:
    """Host, port and virtual host: the same for two URLs of one broker, as far as can be seen."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = "localhost" if is_loopback(host) else host.rstrip(".")
    return f"{host}:{parts.port or _PORTS[parts.scheme]}/{unquote(parts.path).strip('/')}"


def split_url(url: str, *, plain: str, expected: str) -> SplitResult:
    """The parts of a URL with this scheme, or the one with TLS, and a host.

    Raises: ValueError: `expected`, or what is wrong with the scheme or the port.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError(expected) from None
    if parts.scheme not in (plain, _SAFE[plain]):
        raise ValueError(f"url: expected {_SAFE[plain]}:// or {plain}:// in front")
    if not parts.hostname or not url.isprintable() or " " in url or parts.fragment:
        raise ValueError(expected)
    if not _has_good_port(parts):
        raise ValueError("url: expected a port from 1 to 65535, or none")
    return parts


def _has_good_port(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:
        return False


def check_clear(parts: SplitResult, *, insecure: bool, risk: str = "texts readable on their way") -> None:
    """No line without TLS leaves this machine, unless somebody decided otherwise. Raises: ValueError."""
    if parts.scheme in _SAFE and not (insecure or is_loopback(parts.hostname or "")):
        safe = _SAFE[parts.scheme]
        raise ValueError(f"url: expected {safe}://, or insecure = true and {risk}")


def check_trust(parts: SplitResult, ca_file: str) -> None:
    """Who names authorities believes that there is TLS. Raises: ValueError."""
    if ca_file and parts.scheme in _SAFE:
        raise ValueError(f"ca_file: expected only with {_SAFE[parts.scheme]}://")


def check_login(table: Login, *, in_url: bool = False, alone: bool = False) -> None:
    """`in_url`: it has one, too; `alone`: a name may go without a password. Raises: ValueError."""
    if in_url and (table.username or table.password or table.password_file):
        raise ValueError("expected the login in url or in username and password, got both")
    if table.password and table.password_file:
        raise ValueError("expected password or password_file, got both")
    has_password = bool(table.password or table.password_file)
    if has_password > bool(table.username) or (table.username and not has_password and not alone):
        raise ValueError("expected username together with password or password_file")


def password_of(table: Login) -> str:
    """From the table, or its file. Raises: ConfigError."""
    if table.password_file:
        return secret_from(table.password_file, key="password_file")
    return table.password


def tls_of(table: Trust) -> ssl.SSLContext | None:
    """How to talk TLS; None where its URL wants none. Raises: ConfigError."""
    return None if urlsplit(table.url).scheme in _SAFE else tls_context(table.ca_file)
