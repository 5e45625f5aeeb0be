"""A private server on a unix socket (and a port, if asked) that can be killed, stopped and come back."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, Self

import redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError
from redis.retry import Retry

from otpsvc.stores.program import LAUNCHER, find_server

Persistence = Literal["always", "everysec", "snapshots", "none"]
_KEEPS: Final[dict[Persistence, str]] = {
    "always": "appendonly yes\nappendfsync always\nsave ''",
    "everysec": "appendonly yes\nappendfsync everysec\nsave ''",
    # What Debian's package does: a kill -9 brings back the state of minutes ago.
    "snapshots": "appendonly no\nsave 900 1",
    "none": "appendonly no\nsave ''",
}


#: Which of the processes that run the tests this is, and how many there are.
_WORKER: Final = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_WORKERS: Final = max(int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")), _WORKER + 1)
#: Seconds to start: a machine under load takes its time.
_START_LIMIT: Final = 60.0


def programs() -> dict[str, Path]:
    """The servers that this machine has: the embedded one, and Redis where it is installed."""
    found = {"valkey": find_server()}
    if path := shutil.which("redis-server"):
        found["redis"] = Path(path)
    return found


def _own_ports() -> Iterator[int]:
    """Those of this process, in an order of its own: nobody else is given the port of a server that
    is down for a while, and neither is a later server of this process.
    """
    ports = list(range(20_000 + _WORKER, 32_000, _WORKERS))
    # Not the chance that tests may seed.
    random.SystemRandom().shuffle(ports)
    return itertools.cycle(ports)


_PORTS: Final = _own_ports()


def free_port() -> int:
    """One that no outgoing connection is ever given (they start at 32768): a server that is started
    anew must find it free, and whoever connects again and again meanwhile must not meet himself.
    """
    while True:
        port = next(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class ValkeyServer:
    """Misdeeds by name: `kill` (no goodbye), `pause` and `resume` (hangs), `restart` on the same data.

    `settings` are further lines of its config file.
    """

    def __init__(
        self,
        *settings: str,
        program: Path | None = None,
        persistence: Persistence = "none",
        port: int = 0,
        sentinel: bool = False,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="otpsvc-test-"))
        self.path = str(self.folder / "s")
        self.port = port
        self._program = program or find_server()
        self._mode = ["--sentinel"] if sentinel else []
        self._process: subprocess.Popen[bytes] | None = None
        keeps = "" if sentinel else _KEEPS[persistence]
        lines = (f"port {port}", f"unixsocket {self.path}", f"dir {self.folder}", keeps, *settings)
        (self.folder / "config").write_text("\n".join(lines) + "\n")

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        server = [str(self._program), str(self.folder / "config"), *self._mode]
        if sys.platform == "linux":
            server = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(os.getpid()), *server]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(server, stdout=log, stderr=log, start_new_session=True)
        until = time.monotonic() + _START_LIMIT
        while not self._up():
            log_text = (self.folder / "log").read_text(errors="replace")
            assert self._process.poll() is None, log_text
            assert time.monotonic() < until, log_text
            time.sleep(0.005)

    def _up(self) -> bool:
        try:
            self.ask("PING")
        except (AuthenticationError, NoPermissionError):
            return True
        except redis.RedisError:
            return False
        return True

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        self.kill()
        self.start()

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def ask(self, *command: Any, login: tuple[str, str] | None = None) -> Any:
        """One command past everything that is tested."""
        username, password = login or (None, None)
        # redis-py would try for seconds by itself.
        once = Retry(NoBackoff(), 0)
        with redis.Redis(
            unix_socket_path=self.path, username=username, password=password, socket_timeout=30, retry=once
        ) as client:
            return client.execute_command(*command)
