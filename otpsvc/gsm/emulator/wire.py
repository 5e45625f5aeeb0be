"""The far end of a serial line: a pty in raw mode, reached by a symlink that outlives it.

Only whoever opened the port hears what is written, as with a USB modem: without a
client everything is dropped. Closing the wire is pulling the plug: clients see EOF or EIO.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import termios
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Final

#: Seconds between two looks for a client.
_LOOK: Final = 0.01
#: Seconds that a paced wire waits between two pieces.
_STEP: Final = 0.005
#: Bytes that a client may leave unread; what comes then is lost, as in a UART's buffer.
_UNREAD: Final = 1 << 16


class Wire:
    """`received` is called with what a client writes. `rate` in bytes a second; 0: no pacing."""

    def __init__(self, received: Callable[[bytes], None], *, rate: float = 0.0) -> None:
        self._received = received
        self.rate = rate
        self._master = -1
        self._link: Path | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._look: asyncio.TimerHandle | None = None
        self._out = _Pace(self._put)
        self._in = _Pace(received)
        self._blocked = bytearray()
        #: The device, such as `/dev/pts/3`; empty while unplugged.
        self.tty = ""
        self.connected = False

    @property
    def plugged(self) -> bool:
        return self._master >= 0

    def open(self, link: Path) -> None:
        """Plug in: a new pty, and `link` points to it."""
        self._loop = asyncio.get_running_loop()
        self._link = link
        self._allocate()

    def _allocate(self) -> None:
        master, slave = pty.openpty()
        tty.setraw(slave)
        self.tty = os.ttyname(slave)
        # Nobody but the client holds the device: so its coming and going is seen.
        os.close(slave)
        os.set_blocking(master, False)
        self._master = master
        assert self._link is not None
        fresh = self._link.with_name(self._link.name + ".new")
        fresh.symlink_to(self.tty)
        fresh.replace(self._link)
        self._wait()

    def close(self) -> None:
        """Pull the plug."""
        if not self.plugged:
            return
        if self._link is not None:
            self._link.unlink(missing_ok=True)
        self._release()

    def _release(self) -> None:
        assert self._loop is not None
        if self._look is not None:
            self._look.cancel()
        self._loop.remove_reader(self._master)
        self._loop.remove_writer(self._master)
        os.close(self._master)
        self._master, self.tty, self.connected = -1, "", False
        self._forget()

    def _forget(self) -> None:
        self._blocked.clear()
        self._out.clear()
        self._in.clear()

    def write(self, data: bytes) -> None:
        """Never blocks and never fails; without a client it is lost."""
        if self.plugged and not self.connected:
            self._seek()
        if not self.connected:
            return
        if self.rate:
            self._out.add(data, self.rate)
        else:
            self._put(data)

    def _put(self, data: bytes) -> None:
        if not self.plugged:
            return
        if self._blocked:
            self._blocked += data if len(self._blocked) < _UNREAD else b""
            return
        try:
            sent = os.write(self._master, data)
        except BlockingIOError:
            sent = 0
        except OSError:
            return
        if sent < len(data):
            self._blocked += data[sent:]
            assert self._loop is not None
            self._loop.add_writer(self._master, self._unblock)

    def _unblock(self) -> None:
        waiting, self._blocked = bytes(self._blocked), bytearray()
        assert self._loop is not None
        self._loop.remove_writer(self._master)
        self._put(waiting)

    def _read(self) -> bool:
        """Take what came; False: nobody has the device open."""
        try:
            data = os.read(self._master, 65536)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if self.rate:
            self._in.add(data, self.rate)
        else:
            self._received(data)
        return True

    def _wait(self) -> None:
        assert self._loop is not None
        self._look = self._loop.call_later(_LOOK, self._seek)

    def _seek(self) -> None:
        """Look whether there is a client by now."""
        assert self._loop is not None
        if self._look is not None:
            self._look.cancel()
        master = self._master
        if not self._read():
            self._wait()
        elif self._master == master and not self.connected:
            self.connected = True
            self._loop.add_reader(master, self._readable)

    def _readable(self) -> None:
        if self._read():
            return
        # The client closed it. A poll would report that for ever.
        assert self._loop is not None
        self._loop.remove_reader(self._master)
        self._loop.remove_writer(self._master)
        self.connected = False
        self._forget()
        self._share()
        if self.plugged:
            self._wait()

    def _share(self) -> None:
        """The last close of a real port ends TIOCEXCL; the device of an open pty keeps it."""
        try:
            slave = os.open(self.tty, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError:
            self._release()
            self._allocate()
            return
        fcntl.ioctl(slave, termios.TIOCNXCL)
        os.close(slave)


class _Pace:
    """Hands bytes on as slowly as a UART does."""

    def __init__(self, to: Callable[[bytes], None]) -> None:
        self._to = to
        self._waiting = bytearray()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, data: bytes, rate: float) -> None:
        self._waiting += data
        if self._timer is None:
            self._later(rate)

    def clear(self) -> None:
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _later(self, rate: float) -> None:
        count = max(1, min(len(self._waiting), int(rate * _STEP)))
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(count / rate, self._pass, count, rate)

    def _pass(self, count: int, rate: float) -> None:
        piece = bytes(self._waiting[:count])
        del self._waiting[:count]
        self._timer = None
        self._to(piece)
        if self._waiting and self._timer is None:
            self._later(rate)
