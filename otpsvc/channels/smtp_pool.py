"""Lines to one SMTP server: made on demand, kept while in use, never handed on out of step.

A line carries one mail at a time. It is either *in step* (every command has had its
answer) or cut: a send that is cancelled half-way cuts its line, because the answer
that still comes would be taken for the answer to the next mail's first command.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

from aiosmtplib import SMTP, SMTPException, SMTPResponse

from otpsvc.errors import ChannelError, Refused, Unavailable, Uncertain

T = TypeVar("T")
#: Answers an SMTP client gives up on at once: the server closes. (RFC 5321, 4.2.2)
_CLOSING = 421
#: The server lost the thread, or we did: this says nothing about the mail.
_BAD_SEQUENCE = 503
_START_INPUT = 354
#: Seconds to wait for the answer to QUIT at shutdown.
_QUIT_WAIT = 1.0
_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?= |$)")
_LINE_END = re.compile(rb"\r\n|\r|\n")
_LEADING_DOT = re.compile(rb"^\.", re.MULTILINE)


class Stale(Exception):
    """A kept line turned out dead before anything of a mail was said on it."""


class Line:
    """One SMTP session, past greeting, TLS and login."""

    def __init__(self, smtp: SMTP) -> None:
        self._smtp = smtp
        self._kept = False
        self._envelope_open = False
        self._handed = False
        #: Loop time at which it became idle.
        self.since = 0.0

    @property
    def in_step(self) -> bool:
        """False once it was cut, by us or by the server."""
        return self._smtp.is_connected

    async def hand_over(self, sender: str, to: str, mail: bytes) -> str:
        """Send one mail (bytes with any line ends); the server's last answer.

        Raises: Refused, Unavailable, Uncertain, Stale. A CancelledError whose cause
        is Uncertain came after the mail was written: the server may have it.
        """
        self._handed = False
        try:
            await self._open_envelope(sender, to)
            answer = await self._write(mail)
        except asyncio.CancelledError as cancelled:
            if self._handed:
                raise cancelled from Uncertain("cut off before the answer to DATA")
            raise
        except (SMTPException, OSError) as error:
            self.cut()
            raise self._lost(error) from None
        self._judge(answer, "DATA")
        self._envelope_open = False
        return answer.message

    async def noop(self) -> None:
        """Ask for a sign of life. Raises: Unavailable, Stale."""
        try:
            answer = await self._first(b"NOOP")
        except (SMTPException, OSError) as error:
            self.cut()
            raise self._lost(error) from None
        if not _is_yes(answer):
            self.cut()
            raise Unavailable(_reason(answer, "NOOP"))

    async def _open_envelope(self, sender: str, to: str) -> None:
        if self._envelope_open and not _is_yes(await self._first(b"RSET")):
            self.cut()
            raise Stale
        self._envelope_open = True
        self._judge(await self._first(b"MAIL", b"FROM:<%b>" % sender.encode("ascii")), "MAIL")
        self._judge(await self._smtp.execute_command(b"RCPT", b"TO:<%b>" % to.encode("ascii")), "RCPT")

    async def _write(self, mail: bytes) -> SMTPResponse:
        """DATA in two steps of our own: aiosmtplib's does not tell before from after the last dot."""
        start = await self._smtp.execute_command(b"DATA")
        if start.code != _START_INPUT:
            self._judge(start, "DATA")
            raise SMTPException("DATA was not answered by 354")
        protocol = self._smtp.protocol
        if protocol is None:
            raise SMTPException("connection lost")
        protocol.write(_on_the_wire(mail))
        self._handed = True
        return await protocol.read_response()

    async def _first(self, *command: bytes) -> SMTPResponse:
        """The first command of a turn, by which a line that died while it was kept shows itself."""
        if not self._kept:
            return await self._smtp.execute_command(*command)
        try:
            answer = await self._smtp.execute_command(*command)
        except (SMTPException, OSError):
            self.cut()
            raise Stale from None
        self._kept = False
        if answer.code == _CLOSING:
            self.cut()
            raise Stale
        return answer

    def _judge(self, answer: SMTPResponse, step: str) -> None:
        """Turn an answer into an outcome. Raises: Refused, Unavailable, Uncertain."""
        if _is_yes(answer):
            return
        if answer.code in (_CLOSING, _BAD_SEQUENCE):
            self.cut()
        elif 500 <= answer.code <= 599:
            raise Refused(_reason(answer, step))
        elif not 400 <= answer.code <= 499:
            self.cut()
            raise self._lost(SMTPException("not an answer to this command"))
        raise Unavailable(_reason(answer, step))

    def _lost(self, error: Exception) -> ChannelError:
        if self._handed:
            return Uncertain("no readable answer to DATA")
        return Unavailable("connection lost" if isinstance(error, OSError) else "unreadable answer")

    def keep(self, now: float) -> None:
        """Note that it waits for its next mail since `now` (loop time, seconds)."""
        self._kept = True
        self.since = now

    def cut(self) -> None:
        """End it at once. What was not written yet must not go out later: no flush."""
        if self._smtp.transport is not None:
            cast("asyncio.WriteTransport", self._smtp.transport).abort()
        self._smtp.close()

    def leave(self) -> None:
        """End it politely, without waiting for the answer."""
        if self._smtp.protocol is not None and self._smtp.is_connected:
            self._smtp.protocol.write(b"QUIT\r\n")
        self._smtp.close()

    async def quit(self) -> None:
        """End it politely, with a short wait for the answer."""
        try:
            async with asyncio.timeout(_QUIT_WAIT):
                await self._smtp.quit()
        except (SMTPException, OSError):
            pass
        finally:
            self.cut()


class Pool:
    """At most `size` lines; one that was idle for `idle` seconds is closed."""

    def __init__(self, dial: Callable[[], Awaitable[SMTP]], *, size: int, idle: float) -> None:
        self._dial = dial
        self._idle = idle
        self._turns = asyncio.Semaphore(size)
        #: The one used last at the right end, where it is taken from.
        self._kept: deque[Line] = deque()
        self._reaper: asyncio.TimerHandle | None = None

    async def run(self, job: Callable[[Line], Awaitable[T]]) -> T:
        """Do `job` on a line of its own; a kept line that is dead is replaced once by a fresh one.

        Raises: what `dial` and `job` raise.
        """
        async with self._turns:
            if line := self._take():
                try:
                    return await self._use(line, job)
                except Stale:
                    pass
            return await self._use(Line(await self._dial()), job)

    async def close(self) -> None:
        """Close the idle lines; those at work end with their mail."""
        if self._reaper:
            self._reaper.cancel()
            self._reaper = None
        lines = list(self._kept)
        self._kept.clear()
        # The reaper then takes what comes back at once.
        self._idle = 0.0
        await asyncio.gather(*(line.quit() for line in lines))

    def _take(self) -> Line | None:
        while self._kept:
            line = self._kept.pop()
            if line.in_step:
                return line
        return None

    async def _use(self, line: Line, job: Callable[[Line], Awaitable[T]]) -> T:
        try:
            return await job(line)
        except (ChannelError, Stale):
            raise
        except BaseException:
            line.cut()
            raise
        finally:
            self._put_back(line)

    def _put_back(self, line: Line) -> None:
        if not line.in_step:
            return
        loop = asyncio.get_running_loop()
        line.keep(loop.time())
        self._kept.append(line)
        if self._reaper is None:
            self._reaper = loop.call_later(self._idle, self._reap)

    def _reap(self) -> None:
        loop = asyncio.get_running_loop()
        self._reaper = None
        while self._kept and self._kept[0].since + self._idle <= loop.time():
            self._kept.popleft().leave()
        if self._kept:
            self._reaper = loop.call_at(self._kept[0].since + self._idle, self._reap)


def _on_the_wire(mail: bytes) -> bytes:
    """CRLF alone ends a line, dots are stuffed, one dot ends the mail: a bare LF would smuggle."""
    lines = _LINE_END.sub(b"\r\n", mail)
    if not lines.endswith(b"\r\n"):
        lines += b"\r\n"
    return _LEADING_DOT.sub(b"..", lines) + b".\r\n"


def _is_yes(answer: SMTPResponse) -> bool:
    return 200 <= answer.code <= 299


def _reason(answer: SMTPResponse, step: str) -> str:
    """Codes alone: the text may repeat the address."""
    enhanced = _ENHANCED.match(answer.message)
    return f"{answer.code} {enhanced[0]} at {step}" if enhanced else f"{answer.code} at {step}"
