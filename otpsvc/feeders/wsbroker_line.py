"""A connection to a WebSocket broker: opened with one login, and what it means when that fails."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    TooManyFragments,
)

from otpsvc.dial import why_no_line
from otpsvc.errors import BrokerError, BrokerGone, BrokerRefused
from otpsvc.veiled import Veiled

#: Octets of a message. What is larger than a command may be is refused by the intake, with a
#: reason; what is larger than this ends the line.
FRAME_MAX: Final = 1 << 20
#: Octets that wait for a broker that does not read, such as answers to its pings.
_UNREAD_MAX: Final = 1 << 20
#: Seconds for the closing handshake, which not every server knows.
_CLOSING: Final = 2.0
_NOT_NOW: Final = frozenset((408, 425, 429))
#: Going away, internal error, service restart, try again later (RFC 6455, 7.4.1; IANA).
_PASSES: Final = frozenset((1001, 1011, 1012, 1013))
#: Unanswered ones after which the system gives a line up.
_PROBES: Final = 3

#: The library logs frames at DEBUG, and tracebacks of lines that ended.
_silent = logging.Logger("websockets", logging.CRITICAL + 1)  # noqa: LOG001 - in nobody's tree, on purpose


class Line(ClientConnection):
    """A connection that knows when it last heard something, and tells when it is lost."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.heard = self.loop.time()
        self._when_lost: Callable[[], None] | None = None

    @property
    def deaf(self) -> bool:
        """Not reading now: nothing can be heard."""
        return self.recv_messages.paused

    def when_lost(self, tell: Callable[[], None]) -> None:
        """`tell` is called when the line is lost, or at once if it is."""
        self._when_lost = tell
        if self.connection_lost_waiter.done():
            tell()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.recv_messages.resume = self._resume

    def data_received(self, data: bytes) -> None:
        self.heard = self.loop.time()
        super().data_received(data)
        # Every ping is answered with a pong, whether or not anybody reads it.
        if self.transport.get_write_buffer_size() > _UNREAD_MAX:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._when_lost is not None:
            self._when_lost()

    def set_connection_exc(self, exc: BaseException | None) -> None:
        super().set_connection_exc(exc)
        if isinstance(exc, TooManyFragments):
            # Whoever was cut off meanwhile and reads again would take them for a message's beginning.
            self.recv_messages.frames.queue.clear()

    def _resume(self) -> None:
        # Whatever came meanwhile is still unread.
        self.heard = self.loop.time()
        self.transport.resume_reading()

    def keep_alive(self, seconds: float) -> None:
        """Let the system find a half-open line within about three times `seconds`."""
        sock = self.transport.get_extra_info("socket")
        if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
            return
        every = max(1, int(seconds))
        options = {"TCP_KEEPIDLE": every, "TCP_KEEPINTVL": every, "TCP_KEEPCNT": _PROBES}
        options["TCP_USER_TIMEOUT"] = _PROBES * every * 1000
        # A line that is lost already is found by whoever reads it.
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in options.items():
                # Not every platform has them all.
                if option := getattr(socket, name, None):
                    sock.setsockopt(socket.IPPROTO_TCP, option, value)

    async def say(self, *texts: bytes) -> None:
        """Send text frames in one piece: a server that reads the first has the others too.

        Raises: ConnectionClosed.
        """
        async with self.send_context():
            for text in texts:
                self.protocol.send_text(text)
            self.transport.write(b"".join(self.protocol.data_to_send()))

    async def hang_up(self) -> None:
        """Now, without a closing handshake; safe to call twice."""
        self.transport.abort()
        await self.wait_closed()


class _Straight(connect):
    """Follows no redirect: the login is for one server."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class Door(Veiled, frozen=True, kw_only=True):
    """How lines are opened. `login`: the value of `Authorization`; `timeout` in seconds."""

    login: str
    tls: ssl.SSLContext | None
    timeout: float

    async def open(self, url: str) -> Line:
        """Raises: BrokerGone, BrokerRefused."""
        opening = _Straight(
            url,
            additional_headers={"Authorization": self.login} if self.login else None,
            user_agent_header="otpsvc",
            compression=None,
            proxy=None,
            open_timeout=self.timeout,
            # Ours is kinder to servers that never answer one.
            ping_interval=None,
            close_timeout=_CLOSING,
            max_size=FRAME_MAX,
            logger=_silent,
            create_connection=Line,
            ssl=self.tls,
        )
        try:
            line = await opening
        except (OSError, InvalidHandshake, UnicodeError) as error:
            raise _verdict(error, tls=self.tls is not None) from None
        assert isinstance(line, Line)
        return line


def _verdict(error: Exception, *, tls: bool) -> BrokerError:
    """Never the exceptions' sentences: they hold the URL."""
    if isinstance(error, InvalidStatus):
        return _by_status(error.response.status_code)
    if isinstance(error, TimeoutError):
        return BrokerGone("no answer in time")
    if isinstance(error, InvalidHandshake) and not _cut_off(error):
        return BrokerRefused("what answers there is no WebSocket server")
    if isinstance(error, InvalidHandshake):
        return BrokerGone(f"cannot connect ({type(error).__name__})")
    trouble = why_no_line(error, tls=tls)
    return (BrokerRefused if trouble.lasting else BrokerGone)(trouble.reason)


def _by_status(status: int) -> BrokerError:
    if status in (401, 403):
        return BrokerRefused("the broker refused the login")
    if status >= 500 or status in _NOT_NOW:
        return BrokerGone(f"HTTP {status}")
    if 300 <= status <= 399:
        return BrokerRefused(f"redirect refused (HTTP {status})")
    if status == 404:
        return BrokerRefused("the broker knows no such path (HTTP 404)")
    return BrokerRefused(f"what answers there is no WebSocket server (HTTP {status})")


def _cut_off(error: InvalidHandshake) -> bool:
    """Closed before there was an answer, as a proxy does whose server is away."""
    return isinstance(error, InvalidMessage) and isinstance(error.__cause__, (EOFError, OSError))


def ended(closed: ConnectionClosed) -> BrokerGone:
    """A line that ended after it was up. What the broker gave as its reason is not repeated."""
    if closed.rcvd is not None:
        return BrokerGone(f"closed by the broker ({closed.rcvd.code})")
    if closed.sent is not None and closed.sent.code == 1009:
        return BrokerGone("a message over 1 MiB, or in too many pieces")
    if closed.sent is not None and closed.sent.code in (1002, 1007):
        return BrokerGone("what came was no WebSocket frame")
    return BrokerGone("the line was cut")


def turned_away(closed: ConnectionClosed) -> BrokerError:
    """A line that ended before anything came: so servers of 2021 refuse a login."""
    if closed.rcvd is not None and closed.rcvd.code in _PASSES:
        return ended(closed)
    if closed.sent is not None and closed.rcvd is None:
        return ended(closed)
    return BrokerRefused("the broker refused the login: it closed the line at once")
