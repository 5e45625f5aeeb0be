"""Mail over SMTP: text and HTML, over a few kept lines.

The Message-ID is made of the message's id and so stays the same over retries: a
double that a lost answer caused can be seen, and some servers drop it.
"""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Callable
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as CRLF
from email.utils import formatdate
from functools import partial
from types import TracebackType
from typing import Annotated, Any, Literal, Self

from aiosmtplib import SMTP, SMTPAuthenticationError, SMTPException, SMTPResponseException, SMTPTimeoutError
from msgspec import Meta

from otpsvc.address import EMAIL
from otpsvc.channel import Channel, ChannelConfig
from otpsvc.channels import is_loopback, secret_from, tls_context
from otpsvc.channels.smtp_pool import Line, Pool
from otpsvc.errors import BadAddress, Refused, Unavailable
from otpsvc.message import Message, Receipt, Report

#: 7-bit bodies: base64 or quoted-printable where needed, so that no extension of the server is.
_POLICY = CRLF.clone(cte_type="7bit")
_SENDER = re.compile(r'(?:"([^"\\\r\n]*)"|([^"<>\r\n]*?))[ \t]*<([^<>\s]+)>')
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*")
_HOST = re.compile(r"[A-Za-z0-9.-]+|\[[0-9A-Za-z.:]+\]")
#: Where Postfix, Exim and their like put the id under which they queued the mail.
_QUEUE_ID = re.compile(r"(?:queued as|id=)\s*([A-Za-z0-9-]{4,64})")


class SmtpConfig(ChannelConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[channels.NAME]` with `type = "smtp"`."""

    host: str
    port: Annotated[int, Meta(ge=1, le=65_535)] = 587
    tls: Literal["starttls", "tls", "none"] = "starttls"
    #: PEM file of the authorities to trust; empty: the system's.
    ca_file: str = ""
    username: str = ""
    password: str = ""
    password_file: str = ""
    #: "Shop <otp@shop.example>" or the bare address.
    sender: str
    #: The name to say EHLO with; empty: this machine's.
    hello: str = ""
    #: Lines to the server at the same time.
    connections: Annotated[int, Meta(ge=1, le=1000)] = 4
    #: Seconds before a line that waits for mail is closed.
    idle: Annotated[float, Meta(gt=0)] = 30.0

    def __post_init__(self) -> None:
        read_sender(self.sender)
        if not self.host or not _HOST.fullmatch(self.host.replace(":", "")):
            raise ValueError("host: expected a host name or an IP address")
        if self.hello and not _HOST.fullmatch(self.hello):
            raise ValueError("hello: expected a host name or an address in brackets")
        if self.password and self.password_file:
            raise ValueError("expected password or password_file, got both")
        if bool(self.username) != bool(self.password or self.password_file):
            raise ValueError("expected username together with password or password_file")
        if self.tls == "none" and self.username and not is_loopback(self.host):
            raise ValueError('tls: expected "starttls" or "tls", because a password would cross the network')

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        # msgspec's own shows every field, the password too.
        return [("host", self.host), ("port", self.port)]

    def __repr__(self) -> str:
        return f"SmtpConfig(host={self.host!r}, port={self.port})"

    __str__ = __repr__


def read_sender(sender: str) -> tuple[str, str]:
    """The display name (may be empty) and the address of `Shop <otp@shop.example>`.

    Raises: ValueError.
    """
    found = _SENDER.fullmatch(sender.strip())
    name, address = (found[1] or found[2] or "", found[3]) if found else ("", sender.strip())
    try:
        return name.strip(), EMAIL.parse(address)
    except BadAddress as bad:
        raise ValueError(f'sender: expected "Name <mailbox@domain>". {bad.message}') from None


class SmtpChannel(Channel):
    """Hands mail to one SMTP server."""

    Config = SmtpConfig
    address = EMAIL
    config: SmtpConfig

    def __init__(self, config: SmtpConfig, report: Report, *, now: Callable[[], float] = time.time) -> None:
        """Read certificates and password. Raises: ConfigError."""
        super().__init__(config, report)
        self._now = now
        self._tls = None if config.tls == "none" else tls_context(config.ca_file)
        self._password = config.password
        if config.password_file:
            self._password = secret_from(config.password_file, key="password_file")
        name, self._sender = read_sender(config.sender)
        self._domain = self._sender.rpartition("@")[2]
        self._from = _POLICY.header_factory("From", str(Address(name, addr_spec=self._sender)))
        self._hello = config.hello or _own_name()
        self._pool = self._new_pool()

    def _new_pool(self) -> Pool:
        return Pool(self._dial, size=self.config.connections, idle=self.config.idle)

    async def __aenter__(self) -> Self:
        self._pool = self._new_pool()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._pool.close()

    async def send(self, message: Message) -> Receipt:
        """Hand one mail over; the receipt is the server's queue id where it tells one.

        Raises: Refused, Unavailable, Uncertain. A CancelledError has one of the last two as
        its cause, by whether the mail was written: a time limit can tell a doubt from none.
        """
        to, mail = self._compose(message)
        job = partial(Line.hand_over, sender=self._sender, to=to, mail=mail)
        try:
            answer = await self._pool.run(job)
        except asyncio.CancelledError as cancelled:
            raise cancelled from (cancelled.__cause__ or Unavailable("cut off before the mail was written"))
        queued = _QUEUE_ID.search(answer)
        return Receipt(queued[1] if queued else "")

    async def ping(self) -> str:
        """A NOOP on a kept line, or a new line. Raises: Unavailable."""
        await self._pool.run(Line.noop)
        return "ok"

    def _compose(self, message: Message) -> tuple[str, bytes]:
        """The envelope's address and the mail. Raises: Refused."""
        if "\r" in message.subject or "\n" in message.subject:
            raise Refused("line break in the subject")
        try:
            to = EMAIL.parse(message.to)
            return to, self._mail(message, to).as_bytes()
        except (BadAddress, ValueError, MessageError):
            raise Refused("address, subject or text cannot be written as mail") from None

    def _mail(self, message: Message, to: str) -> EmailMessage:
        mail = EmailMessage(_POLICY)
        mail["Subject"] = message.subject
        mail["From"] = self._from
        mail["To"] = to
        mail["Date"] = formatdate(self._now())
        mail["Message-ID"] = f"<{message.id}@{self._domain}>"
        # No out-of-office answers, please. (RFC 3834)
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text)
        if message.html:
            mail.add_alternative(message.html, subtype="html")
        # Last: a second part would take every Content- header with it into the first.
        if _LANGUAGE.fullmatch(message.locale):
            mail["Content-Language"] = message.locale
        return mail

    async def _dial(self) -> SMTP:
        """A new line, past greeting, TLS and login. Raises: Unavailable."""
        smtp = self._smtp()
        try:
            await smtp.connect()
            if smtp.is_ehlo_or_helo_needed:
                await smtp.ehlo()
        except (SMTPException, OSError) as error:
            smtp.close()
            raise Unavailable(_why_no_line(error)) from None
        except BaseException:
            smtp.close()
            raise
        return smtp

    def _smtp(self) -> SMTP:
        config = self.config
        return SMTP(
            hostname=config.host,
            port=config.port,
            username=config.username or None,
            password=self._password or None,
            local_hostname=self._hello,
            # Time limits are the deliverer's.
            timeout=None,
            use_tls=config.tls == "tls",
            start_tls=config.tls == "starttls",
            tls_context=self._tls,
        )


def _own_name() -> str:
    # Not getfqdn: it asks the DNS, for seconds where there is none.
    name = socket.gethostname()
    return name if _HOST.fullmatch(name) else "localhost"


def _why_no_line(error: Exception) -> str:
    if isinstance(error, SMTPAuthenticationError):
        return "authentication failed"
    if isinstance(error, SMTPResponseException):
        return f"{error.code} at connect" if error.code > 0 else "unreadable answer at connect"
    if isinstance(error, SMTPTimeoutError):
        return "time-out at connect"
    if "ssl" in type(error).__module__ or "ssl" in type(error.__cause__).__module__:
        return "TLS failed"
    if isinstance(error, OSError):
        return "cannot connect"
    return "the server offers no STARTTLS or no login"
