"""Messages as signed HTTP POSTs to a server of the operator's choice.

The body carries the plain code by design: whoever runs the URL sends it on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from msgspec import DecodeError, Meta, Struct, field
from msgspec.json import Decoder, Encoder
from yarl import URL

from otpsvc.address import ANY, EMAIL, AddressKind, phone
from otpsvc.channel import Channel, ChannelConfig
from otpsvc.channels import is_loopback, secret_from, tls_context
from otpsvc.channels.poster import Poster, Signer, basic
from otpsvc.errors import ConfigError, Refused
from otpsvc.message import Message, Receipt, Report


class WebhookConfig(ChannelConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[channels.NAME]` with `type = "webhook"`."""

    url: str
    #: As many as the connections: a gateway over HTTP takes many at a time.
    concurrency: int = 100
    #: `whsec_…` (Standard Webhooks); signs every body.
    secret: str = ""
    secret_file: str = ""
    #: Basic auth.
    username: str = ""
    password: str = ""
    #: What kind of address the far end takes.
    address: Literal["any", "phone", "email"] = "any"
    #: Reads national phone numbers as those of this country (ISO, `ID`).
    country: str = ""
    #: "otpgateway": the body that its webhook provider posts, for servers written for it.
    payload: Literal["otpsvc", "otpgateway"] = "otpsvc"
    #: Allow http:// to another machine. Certificates are always checked.
    insecure: bool = False
    #: PEM file of the authorities to trust; empty: the system's.
    ca_file: str = ""
    #: Connections at the same time.
    connections: Annotated[int, Meta(ge=1, le=10_000)] = 100

    def __post_init__(self) -> None:
        check_url(self.url, insecure=self.insecure)
        if self.secret and self.secret_file:
            raise ValueError("expected secret or secret_file, got both")
        if self.secret:
            _signer(self.secret)
        if bool(self.username) != bool(self.password):
            raise ValueError("expected username together with password")
        if self.country and self.address != "phone":
            raise ValueError('country: expected only with address = "phone"')
        _kind(self.address, self.country)

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        # msgspec's own shows every field, the secrets too; a path or query may be one.
        return [("host", urlsplit(self.url).hostname)]

    def __repr__(self) -> str:
        return f"WebhookConfig(host={urlsplit(self.url).hostname!r})"

    __str__ = __repr__


def check_url(url: str, *, insecure: bool) -> None:
    """Https with a host and no password in it; http to this machine, or anywhere when `insecure`.

    Raises: ValueError, which does not repeat the URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.fragment:
        raise ValueError("url: expected https://HOST/PATH")
    if parts.username is not None or parts.password is not None:
        raise ValueError("url: expected no password in it; use username and password")
    try:
        URL(url)
    except ValueError:
        raise ValueError("url: expected https://HOST:PORT/PATH") from None
    if parts.scheme == "http" and not (insecure or is_loopback(parts.hostname)):
        raise ValueError("url: expected https://, or insecure = true and codes readable on their way")


class _Data(Struct, frozen=True, kw_only=True, omit_defaults=True):
    id: str
    to: str
    text: str
    #: Unix time in seconds: of no use after it.
    expires: int
    namespace: str
    subject: str = ""
    html: str = ""
    code: str = ""
    challenge: object = ""
    purpose: object = ""
    locale: str = ""
    extra: object = field(default_factory=dict)


class _Event(Struct, frozen=True):
    type: Literal["otp.send", "message.send"]
    timestamp: datetime
    data: _Data


class _Push(Struct, frozen=True):
    otp: Mapping[str, object]
    subject: str
    body: str


class _Answer(Struct, frozen=True):
    id: str = ""


_encode = Encoder().encode
_decode = Decoder(_Answer).decode
#: Characters of the far end's own id that are kept.
_ID_MAX = 128


class WebhookChannel(Channel):
    """Hands messages to one URL."""

    Config = WebhookConfig
    config: WebhookConfig

    def __init__(
        self, config: WebhookConfig, report: Report, *, now: Callable[[], float] = time.time
    ) -> None:
        """Read certificates and secret. Raises: ConfigError."""
        super().__init__(config, report)
        self._now = now
        self.address = _kind(config.address, config.country)
        self._url = URL(config.url)
        self._signer = _configured_signer(config)
        self._auth = basic(config.username, config.password) if config.username else ""
        self._write = self._event if config.payload == "otpsvc" else self._push
        self._tls = tls_context(config.ca_file) if self._url.scheme == "https" else None
        self._poster = Poster(connections=config.connections, tls=self._tls, now=now)

    async def __aenter__(self) -> Self:
        await self._poster.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._poster.__aexit__(kind, error, trace)

    async def send(self, message: Message) -> Receipt:
        """Post one message; the receipt is the `id` of a JSON answer, where there is one.

        Raises: Refused, Unavailable, Uncertain. A CancelledError has one of the last two as
        its cause, by whether the body was written.
        """
        try:
            body = self._write(message)
        except UnicodeEncodeError:
            raise Refused("the text is not Unicode") from None
        answer = await self._poster.post(
            self._url, body, message_id=message.id, signer=self._signer, auth=self._auth
        )
        return Receipt(_answered_id(answer))

    async def ping(self) -> str:
        """Connect and hang up: a request might do something there. Raises: Unavailable."""
        await self._poster.reach(self._url)
        return "ok"

    def _event(self, message: Message) -> bytes:
        record = message.record
        data = _Data(
            id=message.id,
            to=message.to,
            text=message.text,
            # Rounded down: never later than the deadline.
            expires=int(message.expires),
            namespace=message.tenant,
            subject=message.subject,
            html=message.html,
            code=message.code,
            challenge=record.get("id", ""),
            purpose=record.get("purpose", ""),
            locale=message.locale,
            extra=record.get("extra", {}),
        )
        kind: Literal["otp.send", "message.send"] = "otp.send" if record or message.code else "message.send"
        return _encode(_Event(kind, datetime.fromtimestamp(self._now(), UTC), data))

    def _push(self, message: Message) -> bytes:
        record = message.record or self._bare_record(message)
        return _encode(_Push({**record, "otp": message.code}, message.subject, message.text))

    def _bare_record(self, message: Message) -> Mapping[str, object]:
        """A raw message as a record of otpgateway, which knows none."""
        return {
            "namespace": message.tenant,
            "id": message.id,
            "to": message.to,
            "channel_description": "",
            "address_description": "",
            "extra": {},
            "provider": "",
            "otp": "",
            "max_attempts": 0,
            "attempts": 0,
            "closed": False,
            "ttl": max(0, int(message.expires - self._now())),
        }


def _kind(address: str, country: str) -> AddressKind:
    if address == "phone":
        return phone(country)
    return EMAIL if address == "email" else ANY


def _signer(secret: str) -> Signer:
    try:
        return Signer(secret)
    except ValueError as error:
        raise ValueError(f"secret: {error}") from None


def _configured_signer(config: WebhookConfig) -> Signer | None:
    if config.secret:
        return _signer(config.secret)
    if not config.secret_file:
        return None
    try:
        return Signer(secret_from(config.secret_file, key="secret_file"))
    except ValueError as error:
        expected = str(error).removeprefix("expected ")
        raise ConfigError("", "secret_file", expected, "something else in it") from None


def _answered_id(answer: bytes) -> str:
    if not answer.startswith(b"{"):
        return ""
    try:
        found = _decode(answer).id
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return found if len(found) <= _ID_MAX and found.isprintable() else ""
