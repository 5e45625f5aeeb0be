"""One connection to a broker: aiomqtt's client, with the parts that it lacks for work that must not be lost.

Imported when a feeder connects, because aiomqtt is an extra. Different from aiomqtt:

* messages are handed on as paho read them (with DUP), and none is thrown away;
* each is acknowledged by `ack`, not on arrival;
* connecting takes no thread and can be cancelled;
* `send` tells what the broker said of a message, and the end of the line ends every wait.
"""

# ruff: noqa: ARG002  paho says which arguments its callbacks have

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from aiomqtt import Client, MqttError, ProtocolVersion, Will
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.client import ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from otpsvc.dial import dial, why_no_line
from otpsvc.errors import BrokerGone, BrokerRefused
from otpsvc.feeders.mqtt_stream import Stream
from otpsvc.feeders.mqtt_verdict import FAILURE, farewell, unwelcome, value_of
from otpsvc.feeders.mqtt_version5 import of_connect, of_publish, of_subscribe
from otpsvc.feeders.mqtt_window import Window

#: What a message is, for whoever works it off.
Message = MQTTMessage
#: Seconds for the broker to answer CONNECT and SUBSCRIBE, and for a polite end.
_PATIENCE: Final = 20.0
_GOODBYE: Final = 1.0
#: Unacknowledged messages of ours: 3.1.1 sets no bound, and version 5 the one of the broker's CONNACK.
_WINDOW: Final = 30_000
#: Octets of a packet that are kept: the rest of a larger one is read and thrown away.
_PACKET_MAX: Final = 1 << 20
#: Rounds of reading before others have their turn.
_ROUNDS: Final = 100


class Line(Client):
    """`deliver` is called with every message, in the order of arrival."""

    def __init__(
        self,
        *,
        version5: bool,
        expected: int,
        deliver: Callable[[Line, Message], None],
        will: tuple[str, bytes] | None,
        **settings: Any,
    ) -> None:
        """`expected`: messages that the broker may hand over unacknowledged (version 5).

        `will`: retained at this topic, should the line break. `settings`: of aiomqtt's Client.
        """
        super().__init__(
            **settings,
            protocol=ProtocolVersion.V5 if version5 else ProtocolVersion.V311,
            # The broker keeps our subscription and what we did not acknowledge.
            clean_session=None if version5 else False,
            clean_start=False if version5 else 3,
            properties=of_connect(expected) if version5 else None,
            max_inflight_messages=0,
            timeout=_PATIENCE,
            logger=_silent(),
            will=Will(will[0], will[1], qos=1, retain=True) if will else None,
        )
        self._client.disable_logger()
        self._client.manual_ack_set(True)
        # No broker asks for signs of life (3.12); the answers to one that does would pile up.
        self._client._handle_pingreq = lambda: MQTTErrorCode.MQTT_ERR_PROTOCOL  # type: ignore[method-assign]  # noqa: SLF001
        self._version5 = version5
        self._deliver = deliver
        self._stream: Stream | None = None
        self._window = Window(_WINDOW)
        self._welcome = False
        #: The broker remembered us.
        self.remembered = False
        #: Done when the line has ended.
        self.ended: asyncio.Future[None] = self._loop.create_future()
        #: Why, for whoever waited for it.
        self.reason: Exception = BrokerGone("the connection was lost")

    @property
    def is_open(self) -> bool:
        return self._welcome and not self.ended.done()

    async def open(self, tls: ssl.SSLContext | None) -> None:
        """Raises: BrokerGone, BrokerRefused."""
        try:
            async with asyncio.timeout(_PATIENCE):
                self._stream = Stream(await dial(self._hostname, self._port, tls))
                # paho asks this for its socket; there is no public way to give it one.
                self._client._create_socket = lambda: self._stream  # type: ignore[assignment,method-assign,return-value]  # noqa: SLF001
                self._client_connect()
                await self._connected
        except TimeoutError:
            raise BrokerGone("no answer in time") from None
        except (OSError, UnicodeError) as error:
            trouble = why_no_line(error, tls=tls is not None)
            raise (BrokerRefused if trouble.lasting else BrokerGone)(trouble.reason) from None
        except MqttConnectError as error:
            raise unwelcome(error.rc) from None

    async def subscribe_to(self, topic: str, *, retained: bool) -> None:
        """At QoS 1. `retained`: with what the broker keeps, which version 5 can do without.

        Raises: BrokerGone, BrokerRefused.
        """
        options = of_subscribe(retained=retained) if self._version5 else None
        result, mid = self._client.subscribe(topic, 0 if options else 1, options)
        if result or mid is None:
            raise self.reason
        # Not aiomqtt's `subscribe`: until Python 3.12, `wait_for` may swallow a cancellation.
        answered = self._pending_subscribes[mid] = self._loop.create_future()
        try:
            async with asyncio.timeout(_PATIENCE):
                answers = await answered
        except (TimeoutError, MqttError):
            raise self.reason if self.ended.done() else BrokerGone("no answer to SUBSCRIBE") from None
        if any(value_of(answer) >= FAILURE for answer in answers):
            raise BrokerRefused(f"the broker does not let us subscribe to {topic}")

    def ack(self, message: Message) -> None:
        """The broker may forget it. Nothing when the line has ended: the next one counts its ids anew."""
        if message.qos and self.is_open:
            self._client.ack(message.mid, message.qos)

    async def send(
        self, topic: str, body: bytes, *, retain: bool = False, correlation: bytes = b""
    ) -> asyncio.Future[int]:
        """Write a message at QoS 1, after everything that was written before.

        Its future brings the broker's reason code, or LOST. Raises: BrokerGone.
        """
        await self._window.room()
        properties = of_publish(correlation) if self._version5 and correlation else None
        if not self.is_open:
            raise BrokerGone("the connection was lost")
        sent = self._client.publish(topic, body, 1, retain, properties)
        if sent.rc != 0:
            raise BrokerGone("the connection was lost")
        return self._window.sent(sent.mid)

    def hold(self) -> None:
        """Read no more: the broker has to wait."""
        if self._stream is not None and self.is_open and not self._stream.held:
            self._stream.held = True
            self._loop.remove_reader(self._stream.fileno())

    def go_on(self) -> None:
        if self._stream is not None and self.is_open and self._stream.held:
            self._stream.held = False
            self._loop.add_reader(self._stream.fileno(), self._read)
            self._loop.call_soon(self._read)

    def fail(self, reason: Exception) -> None:
        """End it for this reason."""
        if not self.ended.done():
            self.reason = reason
            self.cut()

    async def watch(self) -> None:
        """Until it ends. Raises: the reason."""
        await asyncio.wait([self.ended])
        raise self.reason

    async def leave(self, last: tuple[str, bytes] | None) -> None:
        """End it politely, if it is open: the broker tells nobody our will, but `last`, retained."""
        try:
            with suppress(TimeoutError, BrokerGone):
                async with asyncio.timeout(_GOODBYE):
                    if last and self.is_open:
                        await self.send(*last, retain=True)
                    if self.is_open:
                        self._client.disconnect()
                        await asyncio.wait([self.ended])
        finally:
            self.cut()
            if self._misc_task is not None:
                await asyncio.wait([self._misc_task])

    def cut(self) -> None:
        """End it at once."""
        self._client._sock_close()  # noqa: SLF001
        if self._stream is not None:
            self._stream.close()
        self._over()

    def _over(self) -> None:
        if self.ended.done():
            return
        self.ended.set_result(None)
        if not self._disconnected.done():
            self._disconnected.set_result(None)
        self._window.close()
        for pending in self._pending_subscribes.values():
            if not pending.done():
                pending.set_exception(MqttError("lost"))

    # What paho calls. aiomqtt set these up in its constructor.

    def _on_connect(
        self,
        client: Any,
        userdata: Any,
        flags: ConnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        self._welcome = not reason_code.is_failure
        self.remembered = flags.session_present
        self._window.size = min(getattr(properties, "ReceiveMaximum", _WINDOW), _WINDOW)
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_disconnect(
        self,
        client: Any,
        userdata: Any,
        flags: DisconnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        if flags.is_disconnect_packet_from_server and not self.ended.done():
            self.reason = farewell(reason_code)
        if not self._connected.done():
            self._connected.set_exception(BrokerGone("the broker hung up instead of an answer"))
        self._over()

    def _on_message(self, client: Any, userdata: Any, message: Message) -> None:
        # aiomqtt's own leaves DUP out, and throws away what a bounded queue cannot hold.
        self._deliver(self, message)

    def _on_publish(
        self, client: Any, userdata: Any, mid: int, reason_code: ReasonCode, properties: Properties
    ) -> None:
        self._window.acked(mid, value_of(reason_code))

    def _on_socket_open(self, client: Any, userdata: Any, sock: Any) -> None:
        self._loop.add_reader(sock.fileno(), self._read)
        self._misc_task = self._loop.create_task(self._misc_loop())

    def _on_socket_register_write(self, client: Any, userdata: Any, sock: Any) -> None:
        self._loop.add_writer(sock.fileno(), self._write)

    def _read(self) -> None:
        try:
            for _ in range(_ROUNDS):
                failed = self.ended.done() or self._client.loop_read()
                self._guard()
                if failed or not self._rest():
                    return
            self._loop.call_soon(self._read)
        except Exception as error:  # noqa: BLE001
            # A packet that paho cannot read: the line is out of step.
            self.fail(BrokerGone(f"unreadable packet ({type(error).__name__})"))

    def _guard(self) -> None:
        """Let no broker fill our memory."""
        packet = self._client._in_packet["packet"]  # noqa: SLF001
        if len(packet) > _PACKET_MAX:
            # It is refused for its size all the same, and has to be acknowledged: else it came again
            # at each reconnect.
            del packet[_PACKET_MAX:]
        if self._client._in_messages:  # noqa: SLF001
            self.fail(BrokerGone("a message of QoS 2, which nobody asked for"))

    def _rest(self) -> int:
        return self._stream.pending() if self._stream is not None else 0

    def _write(self) -> None:
        try:
            self._client.loop_write()
        except Exception as error:  # noqa: BLE001
            self.fail(BrokerGone(f"cannot write ({type(error).__name__})"))


def _silent() -> logging.Logger:
    # Its lines quote topics, and errors of callbacks with what they hold.
    logger = logging.getLogger("otpsvc.feeders.mqtt.silent")
    logger.disabled = True
    return logger
