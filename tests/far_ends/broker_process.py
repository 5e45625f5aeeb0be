"""The life of a private broker: on ports of its own, stopped, killed, paused and there again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Self

import trustme

from otpsvc.stores.program import LAUNCHER
from tests.far_ends.valkey import free_port


class BrokerProcess(ABC):
    """`with` it: it runs. `folder` holds all of it; `tls_port` shows a certificate of `authority`."""

    #: Seconds, on a machine under heavy load.
    start_limit = 180.0
    stop_limit = 60.0

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="otpsvc-test-"))
        self.port, self.tls_port = free_port(), free_port()
        self.authority = trustme.CA()
        self.ca_file = self.folder / "ca.pem"
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def _command(self) -> list[str]:
        """The program, with its whole path, and its arguments."""

    @abstractmethod
    def _answers(self) -> bool:
        """It takes connections."""

    def _environ(self) -> dict[str, str] | None:
        """None: ours."""
        return None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Until it takes connections."""
        self._process = self._spawn(self._command())
        until = time.monotonic() + self.start_limit
        while not self._answers():
            assert self._process.poll() is None, self._log()
            assert time.monotonic() < until, self._log()
            time.sleep(0.01)

    def stop(self) -> None:
        """In peace: it says goodbye to its clients and keeps what is durable."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.send_signal(how)
        try:
            process.wait(self.stop_limit)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        """One that ends with us."""
        if sys.platform == "linux":
            command = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(os.getpid()), *command]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environ(),
                cwd=self.folder,
            )

    def _log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-4000:]


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
        return True
    return False
