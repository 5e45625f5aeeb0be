"""A serial port as asyncio sees it: opened for us alone, it tells what came and when it is gone.

This module alone knows pyserial and pyserial-asyncio.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import termios
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import serial
from serial_asyncio import SerialTransport

from otpsvc.errors import LineLost

#: Octets that may wait to be written: many commands. More: the modem takes nothing.
WAITING_MOST: Final = 8192


class Receiver(Protocol):
    """Who listens to a port. Nothing is called after `Line.close`."""

    def received(self, data: bytes) -> None: ...

    def lost(self, reason: str) -> None: ...


class Line(Protocol):
    """An open port."""

    def write(self, data: bytes) -> None:
        """Raises LineLost when the port is gone or takes nothing; then nothing of `data` was written."""

    def close(self) -> None:
        """At once; what still waits to be written is dropped. A second call does nothing."""


OpenPort = Callable[[str, int, Receiver], Awaitable[Line]]


async def open_port(path: str, baud: int, receiver: Receiver) -> Line:
    """Open `path` with 8N1 and without flow control, and lock it against every other program.

    Raises LineLost with a short reason: `not there`, `in use by another program`,
    `no permission`, `not a serial port`.
    """
    port = await _opened_in_thread(path, baud)
    return _SerialLine(port, receiver)


class _SerialLine(asyncio.Protocol):
    def __init__(self, port: _Port, receiver: Receiver) -> None:
        self._port = port
        self._receiver: Receiver | None = receiver
        # Calls nothing before the loop's next step.
        self._transport = SerialTransport(asyncio.get_running_loop(), self, port)

    def write(self, data: bytes) -> None:
        # The transport drops what is written after a loss without a word.
        if self._receiver is None or self._transport.is_closing():
            raise LineLost("the port is gone")
        if self._transport.get_write_buffer_size() > WAITING_MOST:
            raise LineLost("the port takes no data")
        self._transport.write(data)

    def close(self) -> None:
        self._receiver = None
        if not self._transport.is_closing():
            self._transport.abort()
        # Not in the loop's next step: who opens it again at once must not find it locked.
        self._port.close()

    def data_received(self, data: bytes) -> None:
        if self._receiver is not None:
            self._receiver.received(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  the reasons say the same
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.lost("the port is gone")


class _Port(serial.Serial):  # type: ignore[misc]  # pyserial ships no types
    """A serial.Serial that never waits inside the event loop."""

    def read(self, size: int = 1) -> bytes:
        try:
            data = os.read(self.fd, size)
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError as error:
            raise serial.SerialException(error.errno, "read failed") from error
        if not data:
            raise serial.SerialException(errno.EIO, "the device is gone")
        return data

    def write(self, data: bytes) -> int:
        # pyserial's own turns round and round while the device takes nothing; the
        # transport waits when it is told so.
        try:
            return os.write(self.fd, data)
        except (BlockingIOError, InterruptedError):
            raise
        except OSError as error:
            raise serial.SerialException(error.errno, "write failed") from error

    def flush(self) -> None:
        # Called before closing. pyserial's own waits until the modem took everything: for ever if it hangs.
        if self.is_open:
            with contextlib.suppress(termios.error):
                termios.tcflush(self.fd, termios.TCOFLUSH)

    def close(self) -> None:
        if self.is_open:
            self.flush()
            # The mark stays on the device while anything else holds it open, a pty's far end too.
            with contextlib.suppress(OSError):
                fcntl.ioctl(self.fd, termios.TIOCNXCL)
        super().close()


async def _opened_in_thread(path: str, baud: int) -> _Port:
    """Opening may take seconds on a bad cable. A thread that hangs there must not hold up the exit."""
    loop = asyncio.get_running_loop()
    came: asyncio.Future[_Port | LineLost] = loop.create_future()

    def work() -> None:
        outcome = _open(path, baud)
        try:
            loop.call_soon_threadsafe(_settle, came, outcome)
        except RuntimeError:  # the loop has ended
            _give_up(outcome)

    threading.Thread(target=work, name="gsm-open", daemon=True).start()
    try:
        outcome = await came
    except asyncio.CancelledError:
        if came.done() and not came.cancelled():
            _give_up(came.result())
        raise
    if isinstance(outcome, LineLost):
        raise outcome
    return outcome


def _settle(came: asyncio.Future[Any], outcome: _Port | LineLost) -> None:
    if came.done():  # nobody waits any more
        _give_up(outcome)
        return
    came.set_result(outcome)


def _give_up(outcome: _Port | LineLost) -> None:
    if not isinstance(outcome, LineLost):
        outcome.close()


def _open(path: str, baud: int) -> _Port | LineLost:
    try:
        port = _Port(path, baud, timeout=0, write_timeout=0, exclusive=True)
    except (OSError, ValueError, OverflowError, termios.error) as error:
        return LineLost(_reason(error))
    try:
        # flock keeps out who asks for it, TIOCEXCL everybody but root.
        fcntl.ioctl(port.fileno(), termios.TIOCEXCL)
    except OSError:
        port.close()
        return LineLost("not a serial port")
    return port


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None)
    if number in {errno.ENOENT, errno.ENXIO, errno.ENODEV, errno.EIO, errno.ENOTDIR}:
        return "not there"
    if number in {errno.EBUSY, errno.EAGAIN}:
        return "in use by another program"
    if number in {errno.EACCES, errno.EPERM}:
        return "no permission"
    return "not a serial port"
