"""Where a broker is and who we are there, as the tables of channels and feeders say it.

Sentences of refusal never repeat what they refuse: it may hold a password.
"""

from __future__ import annotations

import ssl
from typing import Final, Protocol
from urllib.parse import SplitResult, urlsplit

from otpsvc.config.values import is_loopback
from otpsvc.files import secret_from, tls_context

#: Schemes with TLS, by those without.
_SAFE: Final = {"ws": "wss", "mqtt": "mqtts", "amqp": "amqps"}
_MQTT_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}


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


def split_url(url: str, *, plain: str, expected: str) -> SplitResult:
    """The parts of a URL with this scheme, or the one with TLS, and a host.

    Raises: ValueError, which says `expected`.
    """
    try:
        parts = urlsplit(url)
        known = parts.scheme in (plain, _SAFE[plain]) and parts.hostname and parts.port != 0
        if known and url.isprintable() and " " not in url and not parts.fragment:
            return parts
    except ValueError:
        pass
    raise ValueError(expected)


def check_clear(parts: SplitResult, *, insecure: bool, risk: str = "texts readable on their way") -> None:
    """No line without TLS leaves this machine, unless somebody decided otherwise. Raises: ValueError."""
    if parts.scheme in _SAFE and not (insecure or is_loopback(parts.hostname or "")):
        safe = _SAFE[parts.scheme]
        raise ValueError(f"url: expected {safe}://, or insecure = true and {risk}")


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
