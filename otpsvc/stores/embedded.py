"""A Valkey of our own for those who have no Redis: started by us, ended with us, every write on disk (D8).

data_dir/store/           0700, made under umask 077
    appendonlydir/        what the server keeps
    server.log            what it says since it started; server.log.died: before it died
    lock                  held by us and by the server: one server per directory, ever
    socket                where the server listens
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Never, Self
from urllib.parse import quote

from otpsvc.errors import ConfigError
from otpsvc.stores.program import CONFIG, LAUNCHER, MALLOC, find_server

#: Seconds until the first PING is answered (a large file takes seconds to read); until SIGKILL.
START, STOP = 30.0, 5.0
#: Seconds that the server of a killed process may take to end.
DYING: Final = 5.0
#: Seconds between two looks at a server that should live; the longest wait before it is restarted.
LOOK, LONGEST = 0.1, 5.0
#: Bytes of a socket's path with its final zero: 108 on Linux, 104 on macOS.
PATH_MAX: Final = 107 if sys.platform == "linux" else 103
PREFIX: Final = "otpsvc-"


class EmbeddedStore:
    """Owns the server of one data directory.

    `start` and `ensure` belong to the main thread: the kernel ends the server with
    the *thread* that started it. With `attach`, a process that finds the directory
    in use takes the running server instead of an error. On macOS a killed parent
    leaves the server behind, and the next start says that the directory is in use.
    """

    def __init__(
        self, data_dir: Path, *, attach: bool = False, server: Path | None = None, timeout: float = START
    ) -> None:
        """`timeout`: seconds until the first answer; `server`: another program than the one found."""
        self._folder = data_dir.absolute() / "store"
        self._log = self._folder / "server.log"
        self._attach = attach
        self._server = server
        self._timeout = timeout
        self._socket = ""
        self._lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """`unix:///…`; empty while it is not started."""
        return f"unix://{quote(self._socket)}" if self._socket else ""

    @property
    def pid(self) -> int | None:
        """The server's process id; None when the server is another process's."""
        return self._process.pid if self._process else None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server, or attach to a running one, and wait until it answers.

        Raises: ConfigError: no program, directory in use, no answer (with the last log lines).
        """
        for folder in (self._folder.parent, self._folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder.chmod(0o700)
        try:
            if not self._socket and self._own():
                self._socket = self._place_socket()
                self._spawn()
                self._wait()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server: SIGTERM, SIGKILL after a while. Data stay. Safe to call twice."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._lock is not None:
            (self._folder / "socket").unlink(missing_ok=True)
            if self._socket:
                shutil.rmtree(Path(self._socket).parent, ignore_errors=True)
            os.close(self._lock)
        self._process, self._lock, self._socket = None, None, ""

    def ensure(self) -> bool:
        """Start the server again if it died, without waiting for its answer; True if it had."""
        if self._process is None or self._process.poll() is None:
            return False
        # What it said last is kept for whoever asks why it died.
        self._log.replace(self._folder / "server.log.died")
        self._spawn()
        return True

    async def supervise(self, restarted: Callable[[], None]) -> Never:
        """Call `ensure` for ever, ever more rarely while the server keeps dying."""
        wait = LOOK
        while True:
            await asyncio.sleep(wait)
            if self.ensure():
                restarted()
                wait = min(wait * 2, LONGEST)
            else:
                wait = LOOK

    def _own(self) -> bool:
        """True: the directory is ours now. False: attached to the server of another process."""
        # The server of a killed process holds the lock until the kernel has ended it.
        until = time.monotonic() + (self._timeout if self._attach else DYING)
        while not self._take_lock():
            if self._attach and (path := self._noted()) and _answers(path):
                self._socket = path
                return False
            if time.monotonic() > until:
                expected = "a directory that no other otpsvc uses"
                raise ConfigError("redis", "app.data_dir", expected, str(self._folder))
            time.sleep(0.01)
        return True

    def _take_lock(self) -> bool:
        lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    def _noted(self) -> str:
        """Where the server of this directory listens, or did."""
        note = self._folder / "socket"
        return note.read_text() if note.exists() else ""

    def _place_socket(self) -> str:
        """The socket of last time where its directory is still ours, so that the URL stays."""
        old = self._noted()
        if old and _is_ours(Path(old).parent):
            return old
        new = _new_socket()
        note = self._folder / "socket"
        note.write_text(new)
        note.chmod(0o600)
        return new

    def _spawn(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("the embedded store must be started from the main thread")
        assert self._lock is not None
        command = [str(self._server or find_server()), "-"]
        if sys.platform == "linux":
            command = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(os.getpid()), *command]
        with tempfile.TemporaryFile() as config, self._log.open("wb") as errors:
            os.fchmod(errors.fileno(), 0o600)
            places = (_quoted(place) for place in (self._socket, self._folder, self._log))
            config.write(CONFIG.format(*places).encode())
            config.seek(0)
            self._process = subprocess.Popen(
                command,
                stdin=config,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env={"GLIBC_TUNABLES": MALLOC},
                # The server holds the lock too: no second one beside it, whatever becomes of us.
                pass_fds=(self._lock,),
                umask=0o077,
                # Ctrl-C is for us: the server outlives our draining.
                start_new_session=True,
            )

    def _wait(self) -> None:
        assert self._process is not None
        until = time.monotonic() + self._timeout
        while not _answers(self._socket):
            if (status := self._process.poll()) is not None:
                self._refuse(f"it ended with status {status}")
            if time.monotonic() > until:
                self._refuse("no answer")
            time.sleep(0.005)

    def _refuse(self, what: str) -> Never:
        said = self._log.read_text(errors="replace").splitlines()
        last = " | ".join(line.strip() for line in said[-5:])
        expected = f"the embedded store to answer within {self._timeout:g} s"
        raise ConfigError("redis", "app.data_dir", expected, f"{what}; its log ends: {last}")


def running_url(data_dir: Path) -> str:
    """Where the server of another process listens for this directory; empty: there is none."""
    note = data_dir.absolute() / "store" / "socket"
    path = note.read_text() if note.exists() else ""
    return f"unix://{quote(path)}" if path and _answers(path) else ""


def _is_ours(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    private = stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o700
    return private and found.st_uid == os.geteuid() and folder.name.startswith(PREFIX)


def _new_socket() -> str:
    """A path for a socket in a new private directory, short enough for the kernel.

    Raises: ConfigError.
    """
    for place in (os.environ.get("XDG_RUNTIME_DIR"), "/run", tempfile.gettempdir(), "/tmp"):  # noqa: S108
        if not place or len(os.fsencode(place)) + len(PREFIX) + 16 > PATH_MAX:
            continue
        with contextlib.suppress(OSError):
            return str(Path(tempfile.mkdtemp(prefix=PREFIX, dir=place)) / "s")
    raise ConfigError("redis", "XDG_RUNTIME_DIR", "a writable directory with a short path", "none")


def _quoted(path: Path | str) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _answers(path: str) -> bool:
    """True when a server behind the socket answers PING; False while it loads or is not there."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(0.5)
        try:
            client.connect(path)
            client.sendall(b"PING\r\n")
            return client.recv(16).startswith(b"+PONG")
        except OSError:
            return False
