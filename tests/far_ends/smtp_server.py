"""A real SMTP server on loopback that keeps what it took, and misbehaves by name."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import warnings
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, Literal, Self, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

Misdeed = Literal[
    "",
    "answers_451",
    "answers_550",
    "answers_503",
    "answers_550_after_data",
    "answers_451_after_data",
    "gibberish",
    "gibberish_after_data",
    "slow",
    "hangs_at_connect",
    "hangs_after_data",
    "stops_reading",
    "drops_at_connect",
    "drops_at_rcpt",
    "drops_after_data",
    "rejects_auth",
    "says_421_when_kept",
    "drops_when_kept",
    "refuses_rset",
]


@dataclass(frozen=True)
class Mail:
    """What one transaction left here."""

    sender: str
    to: list[str]
    raw: bytes

    @property
    def parsed(self) -> EmailMessage:
        read = message_from_bytes(self.raw, policy=policy.default)
        assert isinstance(read, EmailMessage)
        return read


class SmtpServer:
    """`async with SmtpServer() as far:`; set `far.misdeed` at any time."""

    def __init__(
        self,
        *,
        starttls: ssl.SSLContext | None = None,
        tls: ssl.SSLContext | None = None,
        login: tuple[str, str] | None = None,
    ) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self.misdeed: Misdeed = ""
        #: The next mail ends the misdeed.
        self.once = False
        self.mails: list[Mail] = []
        #: How often somebody connected, and how often logged in.
        self.connects = 0
        self.logins = 0
        self.quits = 0
        #: What `stops_reading` found when it read on.
        self.rest = bytearray()
        #: Set when a misdeed begins that waits; it waits until `release` is set.
        self.arrived = asyncio.Event()
        self.release = asyncio.Event()
        self._starttls = starttls
        self._tls = tls
        self._login = login
        self._server: asyncio.Server | None = None
        self._lines: set[asyncio.Transport] = set()
        #: Set when the last connection has ended.
        self.empty = asyncio.Event()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, self.host, self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release.set()
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self.drop_lines()
        # One turn of the loop, in which the sockets are closed.
        await asyncio.sleep(0)

    def drop_lines(self) -> None:
        """Cut every connection."""
        for line in list(self._lines):
            line.abort()
        self._lines.clear()

    def _opened(self, transport: asyncio.BaseTransport) -> asyncio.Transport:
        # uvloop's are no subclass of asyncio's.
        line = cast("asyncio.Transport", transport)
        self._lines.add(line)
        self.empty.clear()
        return line

    def _ended(self, line: Any) -> None:
        self._lines.discard(line)
        if not self._lines:
            self.empty.set()

    def _protocol(self) -> asyncio.Protocol:
        self.connects += 1
        if self.misdeed in ("drops_at_connect", "gibberish", "hangs_at_connect"):
            return _Rude(self)
        if self.misdeed == "stops_reading":
            return _Deaf(self)
        with warnings.catch_warnings():
            # Passwords without TLS, on purpose.
            warnings.simplefilter("ignore", UserWarning)
            return _Polite(
                self,
                hostname="far.example",
                tls_context=self._starttls,
                auth_required=self._login is not None,
                auth_require_tls=False,
                authenticator=self._authenticate,
                loop=asyncio.get_running_loop(),
            )

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        good = (data.login.decode(), data.password.decode()) == self._login
        good = good and self.misdeed != "rejects_auth"
        self.logins += good
        return AuthResult(success=good, handled=False)

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        assert isinstance(server, _Polite)
        if self.misdeed == "says_421_when_kept" and server.used:
            return "421 4.4.2 idle too long"
        if self.misdeed == "drops_when_kept" and server.used:
            self._cut(server)
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        match self.misdeed:
            case "answers_451":
                return f"451 4.7.1 <{address}> is greylisted"
            case "answers_550":
                return f"550 5.1.1 <{address}> unknown here"
            case "answers_503":
                return "503 5.5.1 who are you"
            case "drops_at_rcpt":
                self._cut(server)
            case "slow":
                await self._wait()
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.misdeed == "answers_550_after_data":
            return f"550 5.7.1 spam for {envelope.rcpt_tos[0]}"
        if self.misdeed == "answers_451_after_data":
            return "451 4.3.0 try later"
        assert isinstance(envelope.content, bytes)
        assert isinstance(server, _Polite)
        server.used = True
        self.mails.append(Mail(envelope.mail_from or "", list(envelope.rcpt_tos), envelope.content))
        misdeed = self.misdeed
        if self.once:
            self.misdeed = ""
        match misdeed:
            case "hangs_after_data":
                await self._wait()
            case "drops_after_data":
                self._cut(server)
            case "gibberish_after_data":
                return "\x01 what a nice day"
        return "250 2.0.0 Ok: queued as 4XyZ12abc"

    async def handle_RSET(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        return "502 5.5.1 no" if self.misdeed == "refuses_rset" else "250 OK"

    async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.quits += 1
        return "221 bye"

    async def _wait(self) -> None:
        self.arrived.set()
        await self.release.wait()

    def _cut(self, server: SMTP) -> None:
        cast("asyncio.Transport", server.transport).abort()


class _Polite(SMTP):
    def __init__(self, far: SmtpServer, **settings: Any) -> None:
        super().__init__(far, **settings)
        self._far = far
        #: Took a mail before.
        self.used = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._far._opened(transport)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._far._ended(self._original_transport)
        self._far._ended(self.transport)
        with contextlib.suppress(AssertionError):
            super().connection_lost(error)


class _Rude(asyncio.Protocol):
    def __init__(self, far: SmtpServer) -> None:
        self._far = far
        self._line: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._line = self._far._opened(transport)
        if self._far.misdeed == "drops_at_connect":
            self._line.abort()
        elif self._far.misdeed == "hangs_at_connect":
            self._far.arrived.set()
        else:
            self._line.write(b"\x00\xff hello yourself\r\n")

    def connection_lost(self, error: Exception | None) -> None:
        self._far._ended(self._line)


class _Deaf(_Rude):
    """Says yes to everything, stops reading at DATA, and reads on when `release` is set."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._line = self._far._opened(transport)
        self._line.write(b"220 far.example\r\n")

    def data_received(self, data: bytes) -> None:
        assert self._line is not None
        if self._far.arrived.is_set():
            self._far.rest += data
        elif data.startswith(b"DATA"):
            self._line.write(b"354 go on\r\n")
            self._line.pause_reading()
            self._far.arrived.set()
            self._reading = asyncio.ensure_future(self._read_on())
        else:
            self._line.write(b"250 OK\r\n")

    async def _read_on(self) -> None:
        await self._far.release.wait()
        if self._line is not None and not self._line.is_closing():
            self._line.resume_reading()
