"""What every table of a channel to a broker says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

from otpsvc.broker_url import check_clear, check_login, check_trust, split_url
from otpsvc.channel import ChannelConfig
from otpsvc.errors import ConfigError
from otpsvc.files import secret_from
from otpsvc.parcel import SECRET_MIN, Parcels


class BrokerConfig(ChannelConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every table says whose far end is a broker."""

    url: str
    username: str = ""
    password: str = ""
    password_file: str = ""
    #: "sealed": only an otpsvc that has the same secret reads the texts; "plain": whoever runs the broker.
    payload: Literal["sealed", "plain"] = "sealed"
    #: Of both ends, 32 characters at least; `openssl rand -hex 32` makes one.
    secret: str = ""
    secret_file: str = ""
    #: Reads national phone numbers as those of this country (ISO, `ID`).
    country: str = ""
    #: Allow no TLS to another machine. Certificates are always checked.
    insecure: bool = False
    #: PEM file of the authorities to trust; empty: the system's.
    ca_file: str = ""

    def warnings(self) -> Mapping[str, str]:
        if self.payload == "sealed":
            return {}
        return {
            "payload": "whoever runs the broker can read codes; seal them where another otpsvc takes them"
        }

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        # msgspec's own shows every field, the secrets too.
        return [("host", urlsplit(self.url).hostname)]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(host={urlsplit(self.url).hostname!r})"

    __str__ = __repr__


def check_broker(config: BrokerConfig, *, plain: str, amqp: bool) -> None:
    """`plain`: the scheme without TLS; `amqp`: the URL may name a virtual host, and hold the login.

    Raises: ValueError, which repeats neither URL nor secret.
    """
    has_login = _check_url(config, plain=plain, amqp=amqp)
    check_login(config, in_url=has_login)
    if config.secret and config.secret_file:
        raise ValueError("expected secret or secret_file, got both")
    if config.payload == "sealed" and not (config.secret or config.secret_file):
        raise ValueError('expected secret_file, or payload = "plain" and codes readable on their way')
    if config.payload == "plain" and (config.secret or config.secret_file):
        raise ValueError('expected a secret only with payload = "sealed"')
    if config.secret and len(config.secret) < SECRET_MIN:
        raise ValueError(f"secret: expected at least {SECRET_MIN} characters")


def _check_url(config: BrokerConfig, *, plain: str, amqp: bool) -> bool:
    """True when it holds a login."""
    words = f"url: expected {plain}s://HOST:PORT" + ("/VHOST" if amqp else "")
    parts = split_url(config.url, plain=plain, expected=words)
    if parts.query:
        raise ValueError(words)
    # One without the other is "guest" to the client.
    if bool(parts.username) != bool(parts.password):
        raise ValueError("url: expected a password beside the user's name")
    if not amqp and "@" in parts.netloc:
        raise ValueError("url: expected no password in it; use username and password_file")
    if not amqp and parts.path not in ("", "/"):
        raise ValueError(words)
    check_clear(parts, insecure=config.insecure, risk="what is said readable on its way")
    check_trust(parts, config.ca_file)
    return bool(parts.username)


def parcels_of(config: BrokerConfig) -> Parcels | None:
    """None when nothing is sealed. Raises: ConfigError."""
    if config.payload == "plain":
        return None
    if config.secret:
        return Parcels(config.secret)
    try:
        return Parcels(secret_from(config.secret_file, key="secret_file"))
    except ValueError as error:
        expected = str(error).removeprefix("expected ")
        raise ConfigError("", "secret_file", expected, "fewer") from None
