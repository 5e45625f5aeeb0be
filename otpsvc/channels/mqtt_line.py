"""One connection to an MQTT broker that only publishes: aiomqtt's client, with what it keeps to itself.

Imported when a channel is made, because aiomqtt is an extra. Different from aiomqtt:
connecting takes no thread and can be cancelled, `publish` tells what the broker said of
the message, and the end of the line ends every wait.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import ssl
from typing import Any, Final, Self

from aiomqtt import Client, ProtocolVersion
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from otpsvc.channels.broker_kept import REFUSED_WAIT
from otpsvc.channels.mqtt_config import MqttConfig
from otpsvc.dial import dial, why_no_line
from otpsvc.errors import ChannelError, Unavailable, Uncertain

#: Seconds for a polite end.
_GOODBYE: Final = 1.0
#: Unacknowledged messages: 3.1.1 sets no bound, version 5 the one of the broker's CONNACK.
_WINDOW: Final = 1000
#: In place of a reason code: the line ended before.
_LOST: Final = -1
_EXPIRY_MAX: Final = 0xFFFF_FFFF
#: Reason codes. (MQTT 5, 2.4)
_NOBODY, _FAILURE, _NOT_AUTHORIZED, _NO_TOPIC, _QUOTA = 0x10, 0x80, 0x87, 0x90, 0x97
_SAID: Final = {
    _NOBODY: "nobody is subscribed to the topic",
    _NOT_AUTHORIZED: "the login may not publish there",
    _NO_TOPIC: "the broker does not take this topic",
    _QUOTA: "the broker's quota is used up",
}
#: Reason codes of a CONNACK; paho gives the numbers of 3.1.1 these. (MQTT 5, 3.2.2.2)
_VERSION, _CLIENT_ID, _LOGIN = 0x84, 0x85, (0x86, 0x87)


class Line(Client):
    """An open connection."""

    def __init__(self, config: MqttConfig, password: str) -> None:
        self._version5 = config.protocol == "5"
        super().__init__(
            config.host,
            config.port,
            username=config.username or None,
            password=password or None,
            identifier=config.client_id or f"otpsvc-{secrets.token_hex(8)}",
            protocol=ProtocolVersion.V5 if self._version5 else ProtocolVersion.V311,
            clean_session=None if self._version5 else True,
            keepalive=config.keepalive,
            # The window below counts, in which nothing waits that was not written.
            max_inflight_messages=0,
            logger=_silent(),
        )
        self._client.disable_logger()
        self._turns = asyncio.Semaphore(_WINDOW)
        self._acks: dict[int, asyncio.Future[int]] = {}
        self._ended = self._loop.create_future()
        self._quiet = asyncio.Event()
        self._quiet.set()

    @classmethod
    async def dial(cls, config: MqttConfig, password: str, tls: ssl.SSLContext | None) -> Self:
        """Raises: Unavailable."""
        line = cls(config, password)
        try:
            sock = await dial(config.host, config.port, tls)
            # paho asks this for its socket; there is no public way to give it one.
            line._client._create_socket = lambda: sock  # type: ignore[method-assign]  # noqa: SLF001
            line._client_connect()
            await line._connected
        except (OSError, UnicodeError, MqttConnectError, Unavailable) as error:
            line._cut()
            raise _why_not(error, tls=tls is not None) from None
        except BaseException:
            line._cut()
            raise
        return line

    @property
    def is_open(self) -> bool:
        return not self._ended.done()

    async def hand_over(self, topic: str, body: bytes, *, seconds: float) -> None:
        """Until the broker has it; `seconds`: how long it is of use (version 5).

        Raises: Unavailable, Uncertain; a CancelledError has one of them as its cause.
        """
        try:
            await self._turns.acquire()
        except asyncio.CancelledError as cancelled:
            raise cancelled from Unavailable("cut off before the message was written")
        acked = self._write(topic, body, seconds=seconds)
        try:
            code = await acked
        except asyncio.CancelledError as cancelled:
            raise cancelled from Uncertain("cut off before the PUBACK")
        if code:
            raise _verdict(code)

    def _write(self, topic: str, body: bytes, *, seconds: float) -> asyncio.Future[int]:
        """Raises: Unavailable, and gives the turn back."""
        properties = None
        if self._version5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.MessageExpiryInterval = min(_EXPIRY_MAX, max(1, int(seconds)))
        sent = self._client.publish(topic, body, 1, False, properties) if self.is_open else None
        if sent is None or sent.rc != 0:
            self._turns.release()
            raise Unavailable("connection lost")
        acked = self._acks[sent.mid] = self._loop.create_future()
        self._quiet.clear()
        return acked

    async def idle(self) -> None:
        await self._quiet.wait()

    async def close(self) -> None:
        try:
            if self.is_open:
                self._client.disconnect()
                await asyncio.wait([self._ended], timeout=_GOODBYE)
        finally:
            self._cut()
            if self._misc_task is not None:
                self._misc_task.cancel()
                await asyncio.wait([self._misc_task])

    def _cut(self) -> None:
        self._client._sock_close()  # noqa: SLF001
        self._over()

    def _over(self) -> None:
        if self._ended.done():
            return
        self._ended.set_result(None)
        if not self._disconnected.done():
            self._disconnected.set_result(None)
        for acked in self._acks.values():
            _done(acked, _LOST)
        self._acks.clear()
        self._quiet.set()
        # Whoever waits for a turn sees the end, and passes the turn on.
        self._turns.release()

    # What paho calls, with (client, userdata, …). aiomqtt set these up in its constructor.

    def _on_connect(
        self, client: Any, userdata: Any, flags: Any, reason_code: ReasonCode, properties: Any = None
    ) -> None:
        window = min(getattr(properties, "ReceiveMaximum", _WINDOW), _WINDOW)
        self._turns = asyncio.Semaphore(window)
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_disconnect(self, *_: Any, **__: Any) -> None:
        if not self._connected.done():
            self._connected.set_exception(Unavailable("the broker hung up instead of an answer"))
        self._over()

    def _on_message(self, *_: Any) -> None:
        """Nothing was subscribed to: what a broker sends all the same is of no use, and must not pile up."""

    def _on_publish(self, *said: Any, **_: Any) -> None:
        mid, reason = said[2:4]
        if acked := self._acks.pop(mid, None):
            self._turns.release()
            _done(acked, reason.value)
        if not self._acks:
            self._quiet.set()

    def _on_socket_open(self, *said: Any, **_: Any) -> None:
        self._loop.add_reader(said[2].fileno(), self._take)
        self._misc_task = self._loop.create_task(self._misc_loop())

    def _on_socket_register_write(self, *said: Any, **_: Any) -> None:
        self._loop.add_writer(said[2].fileno(), self._flush)

    def _take(self) -> None:
        try:
            self._client.loop_read()
            # What TLS has read already shows on no socket.
            while self.is_open and (sock := self._client.socket()) and _pending(sock):
                self._client.loop_read()
        except Exception:  # noqa: BLE001 - a packet that paho cannot read: the line is out of step
            self._cut()

    def _flush(self) -> None:
        try:
            self._client.loop_write()
        except Exception:  # noqa: BLE001 - as above
            self._cut()


def _pending(sock: Any) -> int:
    return sock.pending() if isinstance(sock, ssl.SSLSocket) else 0


def _done(future: asyncio.Future[int], value: int) -> None:
    if not future.done():
        future.set_result(value)


def _verdict(code: int) -> ChannelError:
    if code == _LOST:
        return Uncertain("connection lost before the PUBACK")
    return Unavailable(_SAID.get(code, f"the broker did not take it (reason {code})"))


def _why_not(error: Exception, *, tls: bool) -> Unavailable:
    """Why there is no connection. Words of our own: theirs may hold names and addresses."""
    if isinstance(error, Unavailable):
        return error
    if isinstance(error, MqttConnectError):
        code = error.rc.value if isinstance(error.rc, ReasonCode) else error.rc
        if code in _LOGIN:
            return Unavailable("login refused", retry_after=REFUSED_WAIT)
        if code == _VERSION:
            return Unavailable("the broker does not speak this version of MQTT", retry_after=REFUSED_WAIT)
        if code == _CLIENT_ID:
            return Unavailable("client_id refused", retry_after=REFUSED_WAIT)
        return Unavailable(f"refused at connect (reason {code})")
    trouble = why_no_line(error, tls=tls)
    return Unavailable(trouble.reason, retry_after=REFUSED_WAIT if trouble.lasting else None)


def _silent() -> logging.Logger:
    # Its lines quote topics, and errors of callbacks with what they hold.
    logger = logging.getLogger("otpsvc.channels.mqtt.silent")
    logger.disabled = True
    return logger
