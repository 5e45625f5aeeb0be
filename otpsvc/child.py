"""One child process: started, told what to do over a socket pair, listened to, replaced when it dies.

The end of the pair is how each learns that the other is gone. A child gets config and
keys from its parent, so all have the same, whatever became of the files since.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import structlog
from msgspec import Struct

from otpsvc.config import Config
from otpsvc.errors import OtpsvcError
from otpsvc.keyring_file import Contents
from otpsvc.metrics import FOLDER_VARIABLE, forget_process
from otpsvc.starting import Role

#: Seconds before a dead child is replaced: the first time, and the longest.
FIRST, LONGEST = 0.1, 5.0
#: Seconds between a child's signs of life; without one for how long it is hung; until it is ready.
BEAT, HUNG, START = 1.0, 10.0, 60.0

# -P: the current folder must not be able to bring an `otpsvc` of its own.
_LAUNCH: Final = (
    "import sys; sys.path.append(sys.argv[1]); import otpsvc.logs; "
    "from otpsvc.worker import main; main(int(sys.argv[2]))"
)
#: In front of every word of the parent.
LENGTH: Final = struct.Struct(">I")

_log = structlog.get_logger("otpsvc")


class StartFailed(OtpsvcError):
    """A child ended before it was ready for the first time; its own log line says why."""


class Order(Struct, frozen=True):
    """What a child is told at its start. Sockets are file descriptors."""

    config: Config
    contents: Contents
    store_url: str
    role: Role
    public: tuple[int, ...]
    admin: tuple[int, ...]


class Stop(Struct, frozen=True):
    """Drain and end."""


class Child:
    """One place that is always taken by a process, as long as it is kept."""

    def __init__(self, name: str, order: Callable[[], Order], folder: Path) -> None:
        """`order` is asked for every new process; `folder`: where metrics meet."""
        self.name = name
        self._order = order
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reloaded: asyncio.Future[bool] | None = None
        self._stopping = False
        self.ready = asyncio.Event()

    async def keep(self) -> None:
        """Until `stop`. Raises: StartFailed."""
        wait = FIRST
        while not self._stopping:
            began = time.monotonic()
            status = await self._live()
            if self._stopping:
                return
            if not self.ready.is_set():
                raise StartFailed(f"the process {self.name} could not start (status {status})")
            wait = FIRST if time.monotonic() - began > 10 * LONGEST else min(wait * 2, LONGEST)
            _log.error("a process ended and is replaced", process=self.name, status=status, seconds=wait)
            await asyncio.sleep(wait)

    def stop(self) -> None:
        """Ask it to drain and end."""
        self._stopping = True
        self._tell(Stop())

    def kill(self) -> None:
        """End it now."""
        self._stopping = True
        if self._process is not None and self._process.poll() is None:
            self._process.kill()

    async def reload(self, config: Config) -> bool:
        """True when it took the config over, or is not there: its successor gets it anyway."""
        if self._writer is None:
            return True
        self._reloaded = asyncio.get_running_loop().create_future()
        self._tell(config)
        try:
            return await asyncio.wait_for(self._reloaded, HUNG)
        except TimeoutError:
            return False

    def _tell(self, word: object) -> None:
        if self._writer is not None:
            packed = pickle.dumps(word)
            self._writer.write(LENGTH.pack(len(packed)) + packed)

    async def _live(self) -> int:
        """One process from start to end; its exit status."""
        reader = await self._spawn()
        assert self._process is not None
        try:
            await self._hear(reader)
        finally:
            if self._writer is not None:
                self._writer.close()
            self._writer = None
            if self._reloaded is not None and not self._reloaded.done():
                self._reloaded.set_result(True)
            status = await _reaped(self._process)
            forget_process(self._process.pid, self._folder)
        return status

    async def _spawn(self) -> asyncio.StreamReader:
        order = self._order()
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = self._started(theirs.fileno(), (*order.public, *order.admin))
        reader, self._writer = await asyncio.open_unix_connection(sock=ours)
        self._tell(order)
        return reader

    def _started(self, line: int, sockets: Sequence[int]) -> subprocess.Popen[bytes]:
        package = str(Path(__file__).parent.parent)
        return subprocess.Popen(
            [sys.executable, "-P", "-c", _LAUNCH, package, str(line), f"otpsvc {self.name}"],
            stdin=subprocess.DEVNULL,
            pass_fds=(line, *sockets),
            env={**os.environ, FOLDER_VARIABLE: str(self._folder)},
            # Ctrl-C is the parent's: it drains in order.
            start_new_session=True,
        )

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        """Its words, one byte each, until it is gone or silent for too long."""
        limit = START
        while True:
            try:
                word = await asyncio.wait_for(reader.read(1), limit)
            except TimeoutError:
                _log.error("a process hangs and is ended", process=self.name)
                return
            except ConnectionError:
                return
            match word:
                case b"":
                    return
                case b"r":
                    limit = HUNG
                    self.ready.set()
                case b"+" | b"-" if self._reloaded is not None and not self._reloaded.done():
                    self._reloaded.set_result(word == b"+")


async def _reaped(process: subprocess.Popen[bytes]) -> int:
    """The exit status of a process that hung up; a little later by force."""
    until = time.monotonic() + 1.0
    while (status := process.poll()) is None:
        if time.monotonic() > until:
            process.kill()
        await asyncio.sleep(0.01)
    return status
