"""The processes behind one parent: N for the API, one that delivers; who dies is replaced.

Parent and child talk over a socket pair, and its end is how each learns that the other is
gone. A child gets config and keys from its parent, so all have the same, whatever became
of the files since.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import structlog
from msgspec import Struct

from otpsvc.config import Config
from otpsvc.errors import OtpsvcError
from otpsvc.keyring_file import Contents
from otpsvc.listening import Listeners
from otpsvc.metrics import FOLDER_VARIABLE, forget_process
from otpsvc.starting import DRAIN, Role, preflight, warnings_of

#: Seconds before a dead child is replaced: the first time, and the longest.
FIRST, LONGEST = 0.1, 5.0
#: Seconds between a child's signs of life; without one for how long it is hung; until it is ready.
BEAT, HUNG, START = 1.0, 10.0, 60.0
#: Seconds for a child to end after its requests and messages had their time.
REST: Final = 15.0

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


# The parent


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


class Parent:
    """Serves by its children. See `supervisor.Served`."""

    def __init__(
        self,
        config: Config,
        contents: Contents,
        *,
        store_url: str,
        roles: frozenset[Role],
        listeners: Listeners,
        ready: Callable[[], None],
    ) -> None:
        self._config = config
        self._contents = contents
        self._store_url = store_url
        self._roles = roles
        self._listeners = listeners
        self._ready = ready
        self._children: list[Child] = []
        self._stop = asyncio.Event()

    def warnings(self) -> tuple[str, ...]:
        return warnings_of(self._config)

    def stop(self) -> None:
        if self._stop.is_set():
            for child in self._children:
                child.kill()
        self._stop.set()

    async def reload(self, config: Config) -> bool:
        """All children, or those that could: a refusal stands in the child's own log line."""
        self._config = config
        return all(await asyncio.gather(*(child.reload(config) for child in self._children)))

    async def run(self) -> None:
        """Raises: ConfigError, KeyringError, StoreUnavailable, StartFailed."""
        await preflight(self._config, self._contents.keyring(), self._store_url)
        with tempfile.TemporaryDirectory(prefix="otpsvc-metrics-") as folder:
            self._children = self._places(Path(folder))
            keeping = {child: asyncio.create_task(child.keep()) for child in self._children}
            try:
                await self._serve(keeping)
            finally:
                for child in self._children:
                    child.kill()
                await asyncio.gather(*keeping.values(), return_exceptions=True)

    async def _serve(self, keeping: dict[Child, asyncio.Task[None]]) -> None:
        all_ready = asyncio.ensure_future(self._all_ready())
        stopped = asyncio.ensure_future(self._stop.wait())
        try:
            await _until(all_ready, stopped, *keeping.values())
            if all_ready.done():
                self._ready()
            await _until(stopped, *keeping.values())
        finally:
            all_ready.cancel()
            stopped.cancel()
        self._listeners.close()
        # Deliverers last: what the API accepts until its end is sent at once.
        for role in ("api", "delivery"):
            ending = [child for child in keeping if child.name.startswith(role)]
            for child in ending:
                child.stop()
            if ending:
                await asyncio.wait([keeping[child] for child in ending], timeout=DRAIN + REST)

    async def _all_ready(self) -> None:
        for child in self._children:
            await child.ready.wait()

    def _places(self, folder: Path) -> list[Child]:
        names: list[tuple[str, Role, bool]] = [
            (f"api {number + 1}", "api", "delivery" not in self._roles and number == 0)
            for number in range(self._config.app.workers)
        ]
        if "delivery" in self._roles:
            names.append(("delivery", "delivery", True))
        return [
            Child(name, lambda role=role, admin=admin: self._order(role, admin=admin), folder)  # type: ignore[misc]
            for name, role, admin in names
        ]

    def _order(self, role: Role, *, admin: bool) -> Order:
        return Order(
            config=self._config,
            contents=self._contents,
            store_url=self._store_url,
            role=role,
            public=_numbers(self._listeners.public) if role == "api" else (),
            admin=_numbers(self._listeners.admin) if admin else (),
        )


def _numbers(sockets: Sequence[socket.socket]) -> tuple[int, ...]:
    return tuple(one.fileno() for one in sockets)


async def _until(*futures: asyncio.Future[Any]) -> None:
    """The first that ends; its error, if it failed."""
    done, _ = await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
    for future in done:
        future.result()
