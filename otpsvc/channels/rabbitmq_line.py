"""One connection to RabbitMQ with publisher confirms, and what its words mean for a message."""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import Any, Final, Self

from aio_pika import Connection
from aio_pika.abc import AbstractChannel
from aiormq.abc import AbstractChannel as Underlay
from aiormq.abc import AbstractConnection as Transport
from aiormq.connection import TransportFactory
from aiormq.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelAccessRefused,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    ConnectionClosed,
    DeliveryError,
    InvalidFrameError,
    ProbableAuthenticationError,
    PublishError,
)
from pamqp.commands import Basic
from yarl import URL

from otpsvc.channels.broker_kept import REFUSED_WAIT
from otpsvc.dial import why_no_line
from otpsvc.errors import ChannelError, Unavailable, Uncertain

#: Seconds: a peer that says nothing for three times as long is gone.
_HEARTBEAT: Final = 10
#: Seconds to say goodbye; a broker out of disk does not listen.
_CLOSE_WAIT: Final = 1.0
#: Milliseconds; the broker refuses a larger one, and closes the channel (49 days).
_EXPIRATION_MAX: Final = 4_294_967_295
#: The broker's answers that close the channel: nothing on it was taken any more. (AMQP 0-9-1, 1.2)
_CLOSING: Final = {
    ChannelNotFoundEntity: "no such exchange",
    ChannelAccessRefused: "the login may not do this there",
    ChannelPreconditionFailed: "the queue is there with other settings",
}


class Publication(Basic.Properties):
    """The properties of a message, which know whether it was handed to the connection."""

    handed = False

    def marshal(self) -> bytes:
        # aiormq writes a message out in one step, right before it goes to its writer.
        self.handed = True
        return super().marshal()


def publication(message_id: str, *, seconds: float) -> Publication:
    """`seconds`: how long it may wait in a queue."""
    left = min(_EXPIRATION_MAX, max(1, int(seconds * 1000)))
    return Publication(
        content_type="application/json", delivery_mode=2, message_id=message_id, expiration=str(left)
    )


class Line:
    """An open connection with one channel on it."""

    def __init__(self, connection: Connection, channel: Underlay, dialled: _Dialled) -> None:
        self._connection = connection
        self._channel = channel
        self._dialled = dialled
        self._pending: set[asyncio.Task[Any]] = set()

    @classmethod
    async def dial(cls, url: URL, tls: ssl.SSLContext | None, *, queue: str = "") -> Self:
        """`queue`: the name of one to declare. Raises: Unavailable."""
        # Their lower levels write what passes through them, and what fails is told by us.
        logging.getLogger("aiormq").setLevel(logging.CRITICAL)
        logging.getLogger("aio_pika").setLevel(logging.CRITICAL)
        dialled = _Dialled(tls)
        connection = Connection(
            url.with_query(heartbeat=_HEARTBEAT), client_properties={"connection_name": "otpsvc"}
        )
        connection.kwargs["transport_factory"] = dialled
        try:
            await connection.connect()
            channel = connection.channel(on_return_raises=True)
            await _declare(channel, queue)
            return cls(connection, await channel.get_underlay_channel(), dialled)
        except Exception as error:  # noqa: BLE001 - aiormq raises bare ones where a line ended
            await _close(connection, dialled)
            raise _why_not(error, tls=tls is not None) from None
        except BaseException:
            dialled.abort()
            raise

    @property
    def is_open(self) -> bool:
        return not self._channel.is_closed and self._transport.is_opened

    @property
    def _transport(self) -> Transport:
        return self._channel.connection

    @property
    def is_blocked(self) -> bool:
        """The broker said that it takes nothing (disk or memory alarm); it does not read meanwhile."""
        # aiormq keeps this to itself, but for `ready`, which waits for the end of it: what has
        # to wait at its first step is blocked.
        waiting = self._transport.ready()
        try:
            waiting.send(None)
        except StopIteration:
            return False
        waiting.close()
        return self.is_open

    async def publish(self, body: bytes, properties: Publication, *, exchange: str, key: str) -> None:
        """Until the broker has it. Raises: Unavailable, Uncertain; a CancelledError has one as its cause."""
        # A task of its own, which is never cancelled in the middle: aiormq would write the whole
        # message into its log when the broker returns what nobody waits for.
        task = asyncio.create_task(
            self._channel.basic_publish(
                body, exchange=exchange, routing_key=key, properties=properties, mandatory=True
            )
        )
        self._pending.add(task)
        task.add_done_callback(self._ended)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as cancelled:
            if properties.handed:
                raise cancelled from Uncertain("cut off before the confirm")
            task.cancel()
            raise cancelled from Unavailable("cut off before the message was written")
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None:
            raise _verdict(error, handed=properties.handed) from None

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._pending.discard(task)
        if not task.cancelled():
            # Looked at, so that nobody calls it "never retrieved".
            task.exception()

    async def idle(self) -> None:
        while self._pending:
            await asyncio.wait(self._pending)

    async def close(self) -> None:
        await _close(self._connection, self._dialled)


class _Dialled(TransportFactory):
    """Opens the TCP or TLS connection and keeps hold of it: aiormq closes only when both ends agree."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        self._writer: asyncio.StreamWriter | None = None

    async def create(self, url: URL, **_: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        # A peer that has gone quiet does not say goodbye in TLS either.
        bound = _CLOSE_WAIT if self._tls else None
        reader, self._writer = await asyncio.open_connection(
            url.host, url.port, ssl=self._tls, ssl_shutdown_timeout=bound
        )
        return reader, self._writer

    def abort(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()


async def _declare(channel: AbstractChannel, queue: str) -> None:
    await channel.initialize()
    if queue:
        await channel.declare_queue(queue, durable=True, arguments={"x-queue-type": "quorum"})


async def _close(connection: Connection, dialled: _Dialled) -> None:
    closing = asyncio.ensure_future(connection.close())
    try:
        await asyncio.wait({closing}, timeout=_CLOSE_WAIT)
    finally:
        dialled.abort()
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)


def _verdict(error: BaseException, *, handed: bool) -> ChannelError:
    if isinstance(error, PublishError):
        return Unavailable("no queue takes it")
    if isinstance(error, DeliveryError):
        return Unavailable("the queue did not take it")
    for kind, reason in _CLOSING.items():
        if isinstance(error, kind):
            return Unavailable(reason)
    if handed:
        return Uncertain("connection lost before the confirm")
    return Unavailable("connection lost")


def _why_not(error: Exception, *, tls: bool) -> Unavailable:
    """Why there is no connection. Words of our own: theirs hold names and addresses."""
    if isinstance(error, ProbableAuthenticationError | AuthenticationError):
        return Unavailable("login refused", retry_after=REFUSED_WAIT)
    for kind, reason in _CLOSING.items():
        if isinstance(error, kind):
            return Unavailable(reason, retry_after=REFUSED_WAIT)
    # What it answers instead of opening the virtual host. (RabbitMQ: 530)
    if isinstance(error, InvalidFrameError) and "Connection.Close" in str(error):
        return Unavailable("virtual host refused", retry_after=REFUSED_WAIT)
    if isinstance(error, ConnectionClosed):
        return Unavailable("refused at connect")
    if isinstance(error, OSError | UnicodeError) and not isinstance(error, AMQPError):
        trouble = why_no_line(error, tls=tls)
        return Unavailable(trouble.reason, retry_after=REFUSED_WAIT if trouble.lasting else None)
    return Unavailable(f"cannot connect ({type(error).__name__})")
