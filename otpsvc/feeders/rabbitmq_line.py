"""One connection to a RabbitMQ broker, opened and closed so that nothing of it stays behind.

aiormq is what aio-pika stands on. It is used directly: a connection that aio-pika has
begun cannot be closed by whoever is cancelled while it opens.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import ssl
from types import TracebackType
from typing import Any, Final, cast

from aiormq import Connection
from aiormq.abc import AbstractConnection
from aiormq.connection import TransportFactory
from aiormq.exceptions import (
    AMQPError,
    AuthenticationError,
    InvalidFrameError,
    ProbableAuthenticationError,
)
from yarl import URL

from otpsvc.dial import why_no_line
from otpsvc.errors import BrokerError, BrokerGone, BrokerRefused
from otpsvc.feeders.rabbitmq_octets import TolerantReader

#: Seconds for a goodbye.
_GOODBYE: Final = 1.0
_WORD: Final = re.compile(r"\b[A-Z]{3,20}_[A-Z_]{3,30}\b")
#: What aiormq raises. RuntimeError: a channel that is closed already.
TROUBLE: Final = (AMQPError, OSError, RuntimeError, EOFError)


class Line:
    """`async with Line(url, …) as connection`; opening raises BrokerGone or BrokerRefused."""

    def __init__(self, url: URL, *, tls: ssl.SSLContext | None, name: str, limit: float) -> None:
        """`name`: what the broker's own lists show it as; `limit`: seconds for it to come about."""
        self._limit = limit
        self._socket = _Socket(tls)
        self._connection = Connection(
            url,
            transport_factory=self._socket,
            client_properties={"connection_name": name, "product": "otpsvc"},
        )

    async def __aenter__(self) -> Connection:
        try:
            await self._open()
        except BaseException:
            await self._close()
            raise
        return self._connection

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._close()

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(self._limit):
                await self._connection.connect()
                await self._connection.ready()
        except TimeoutError:
            raise BrokerGone(f"no answer within {self._limit:g} s") from None
        except (*TROUBLE, UnicodeError, ValueError) as error:
            raise why_not_connected(error, tls=self._socket.tls) from None

    async def _close(self) -> None:
        """Unacknowledged messages go back to their queue."""
        try:
            with contextlib.suppress(TimeoutError, *TROUBLE):
                async with asyncio.timeout(_GOODBYE):
                    await self._connection.close()
        finally:
            self._socket.abort()
        # The first one was not answered: with the socket gone there is nothing to wait for.
        with contextlib.suppress(TimeoutError, *TROUBLE):
            async with asyncio.timeout(_GOODBYE):
                await self._connection.close()


class _Socket(TransportFactory):
    """Keeps hold of the socket, so that a dead one can be dropped without a word."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        # A far end that is gone does not answer TLS's goodbye either.
        self._limits: dict[str, Any] = {"ssl_shutdown_timeout": _GOODBYE} if tls else {}
        self._transport: asyncio.WriteTransport | None = None

    async def create(self, url: URL, **_: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(url.host, url.port, ssl=self._tls, **self._limits)
        self._transport = writer.transport
        return cast("asyncio.StreamReader", TolerantReader(reader)), writer

    @property
    def tls(self) -> bool:
        return self._tls is not None

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def is_blocked(connection: AbstractConnection) -> bool:
    """The broker said that it takes nothing (disk or memory alarm)."""
    # aiormq keeps this to itself, but for `ready`, which waits for the end of it: what has
    # to wait at its first step is blocked.
    waiting = connection.ready()
    try:
        waiting.send(None)
    except StopIteration:
        return False
    waiting.close()
    return not connection.is_closed


def why_not_connected(error: BaseException, *, tls: bool = False) -> BrokerError:
    """In words for the operator; aiormq's own may quote the URL."""
    if isinstance(error, ProbableAuthenticationError):
        return BrokerRefused("the broker refused the login: look at username and password")
    if isinstance(error, AuthenticationError):
        return BrokerRefused("the broker takes no login by password (PLAIN)")
    if isinstance(error, InvalidFrameError) and "Connection.Close" in str(error):
        return BrokerRefused(
            "the broker has no such virtual host, or its user may not use it: look at the end of url"
        )
    if isinstance(error, OSError | UnicodeError) and not isinstance(error, AMQPError):
        trouble = why_no_line(error, tls=tls)
        return (BrokerRefused if trouble.lasting else BrokerGone)(trouble.reason)
    return BrokerGone(f"cannot connect ({_kind(error)})")


def why_lost(error: BaseException | None) -> BrokerGone:
    """In words, of an open line."""
    # Nobody but the heartbeat cancels a line that is not given up anyway.
    if isinstance(error, asyncio.CancelledError):
        return BrokerGone("the line was silent for too long")
    return BrokerGone(f"the line was lost ({_kind(error)})" if error else "the line was closed")


def _kind(error: BaseException) -> str:
    if isinstance(error, AMQPError):
        # Of the broker's sentence its first word alone: CONNECTION_FORCED, PRECONDITION_FAILED.
        found = _WORD.search(str(error))
        return found[0] if found else "cut off"
    if isinstance(error, OSError) and error.errno:
        # Names that cannot be resolved have numbers of their own, below nought.
        return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)
    return type(error).__name__
