"""The mail server of the demo: takes every mail on loopback and keeps the last ones in memory."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections import deque
from collections.abc import Callable
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern
from typing import Final, Self, cast

from aiosmtpd.smtp import SMTP, Envelope, Session
from msgspec import Struct

from otpsvc.demo.fault import SLOW, Mood

#: Mails that are kept.
KEPT: Final = 100
#: Bytes of one mail.
_SIZE: Final = 1024 * 1024
#: The default text gives the code a line of its own, set in by blanks.
_CODE: Final = re.compile(r"^[ \t]+([0-9A-Z]{6,10})[ \t]*$", re.MULTILINE)


class Mail(Struct, frozen=True, kw_only=True, tag_field="kind", tag="mail"):
    """One mail as it came over SMTP. `number` counts from 1; `at` is Unix time in seconds."""

    number: int
    at: float
    sender: str
    to: str
    subject: str
    text: str
    html: str
    raw: str

    @property
    def code(self) -> str:
        """The code in its text; empty when there is none."""
        found = _CODE.search(self.text)
        return found[1] if found else ""

    def __repr__(self) -> str:
        return f"Mail({self.number})"

    __str__ = __repr__


class Mailbox:
    """`async with Mailbox() as box:` listens on a free port of 127.0.0.1, `box.port`.

    `mood`: down refuses connections, slow takes a while for each mail.
    """

    def __init__(self, *, now: Callable[[], float] = time.time) -> None:
        self.port = 0
        self.mood: Mood = "works"
        self._now = now
        self._mails: deque[Mail] = deque(maxlen=KEPT)
        self._taken = 0
        self._arrived = asyncio.Condition()
        self._place: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._lines: set[_Line] = set()

    async def __aenter__(self) -> Self:
        # Keeps the port ours while nobody listens there.
        self._place = _bound(0)
        self.port = self._place.getsockname()[1]
        await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()
        if self._place is not None:
            self._place.close()

    async def become(self, mood: Mood) -> None:
        """Change the mood; a server that goes down cuts its lines."""
        if (mood == "down") != (self.mood == "down"):
            await (self._close() if mood == "down" else self._open())
        self.mood = mood

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._line, sock=_bound(self.port))

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        for line in list(self._lines):
            line.cut()
        # One turn of the loop, in which the sockets are closed.
        await asyncio.sleep(0)

    @property
    def taken(self) -> int:
        """The number of the last mail that came; 0 before the first."""
        return self._taken

    def mails(self, to: str = "", *, after: int = 0) -> list[Mail]:
        """What is kept, newest first; for one address, from after the mail of this number."""
        wanted = to.casefold()
        return [
            mail
            for mail in reversed(self._mails)
            if mail.number > after and (not wanted or mail.to.casefold() == wanted)
        ]

    def mail(self, number: int) -> Mail | None:
        """The mail of this number, while it is kept."""
        return next((mail for mail in self._mails if mail.number == number), None)

    async def wait(self, to: str, *, after: int, seconds: float) -> bool:
        """True as soon as a mail to this address is there, False after so many seconds."""
        try:
            async with asyncio.timeout(seconds), self._arrived:
                await self._arrived.wait_for(lambda: bool(self.mails(to, after=after)))
        except TimeoutError:
            return False
        return True

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """What aiosmtpd calls with a whole mail; the answer is the server's line."""
        assert isinstance(envelope.content, bytes)
        if self.mood == "slow":
            await asyncio.sleep(SLOW)
        for to in envelope.rcpt_tos:
            self._taken += 1
            self._mails.append(_read(self._taken, self._now(), to, envelope.content))
        async with self._arrived:
            self._arrived.notify_all()
        return f"250 2.0.0 Ok: queued as DEMO{self._taken:04d}"

    def _line(self) -> SMTP:
        return _Line(self, self._lines, hostname="mail.demo.example", data_size_limit=_SIZE)


class _Line(SMTP):
    """One connection, which can be cut: the service keeps its lines open."""

    def __init__(self, box: Mailbox, lines: set[_Line], *, hostname: str, data_size_limit: int) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(box, hostname=hostname, data_size_limit=data_size_limit, loop=loop)
        self._lines = lines

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._lines.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._lines.discard(self)
        super().connection_lost(error)

    def cut(self) -> None:
        """Drop the connection."""
        if self.transport is not None:
            # uvloop's transports are no subclasses of asyncio's.
            cast("asyncio.Transport", self.transport).abort()


def _bound(port: int) -> socket.socket:
    """A socket on loopback that does not listen; several of ours may hold one port."""
    place = socket.socket()
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    place.setblocking(False)
    place.bind(("127.0.0.1", port))
    return place


def _read(number: int, at: float, to: str, content: bytes) -> Mail:
    mail = message_from_bytes(content, policy=modern)
    assert isinstance(mail, EmailMessage)
    return Mail(
        number=number,
        at=at,
        sender=str(mail["From"] or ""),
        to=to,
        subject=str(mail["Subject"] or ""),
        text=_part(mail, "plain"),
        html=_part(mail, "html"),
        raw=content.decode("utf-8", "replace").replace("\r\n", "\n"),
    )


def _part(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    return str(part.get_content()).replace("\r\n", "\n") if part is not None else ""
