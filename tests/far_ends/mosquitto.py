"""A private Mosquitto on loopback that can be killed and paused, and comes back with what it kept."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

import trustme

from otpsvc.stores.program import LAUNCHER
from tests.far_ends.valkey import free_port

PASSWORD: Final = "owl-91c2"
#: Who may do what: `otpsvc` all, `reader` reads all and publishes nothing but presence.
_ACL: Final = """
user otpsvc
topic readwrite #
user reader
topic read #
topic write smsgwpresence/#
"""
_START_LIMIT = 60.0


class MosquittoServer:
    """`settings`: further lines of its config file. `tls_port` shows a certificate of `authority`.
    What it took is kept over `stop` and `start`, not over `kill`.
    """

    def __init__(
        self, *settings: str, login: bool = True, names: tuple[str, ...] = ("localhost", "127.0.0.1")
    ) -> None:
        """`login`: users have the password `PASSWORD`; else a plugin of `settings` says who may what.

        `names`: of the certificate.
        """
        self.folder = Path(tempfile.mkdtemp(prefix="otpsvc-test-"))
        self.port, self.tls_port = free_port(), free_port()
        self.authority = trustme.CA()
        self.ca_file = self.folder / "ca.pem"
        self._process: subprocess.Popen[bytes] | None = None
        self._write_files(settings, login=login, names=names)

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def tls_url(self) -> str:
        return f"mqtts://localhost:{self.tls_port}"

    def _write_files(self, settings: tuple[str, ...], *, login: bool, names: tuple[str, ...]) -> None:
        self.authority.cert_pem.write_to_path(self.ca_file)
        certificate = self.authority.issue_cert(*names)
        certificate.private_key_and_cert_chain_pem.write_to_path(self.folder / "server.pem")
        (self.folder / "users").write_text("".join(f"{user}:{hashed()}\n" for user in ("otpsvc", "reader")))
        (self.folder / "acl").write_text(_ACL)
        lines = [
            "user root",
            "persistence true",
            f"persistence_location {self.folder}/",
            "log_dest stderr",
            "log_type error",
            "log_type warning",
            "log_type notice",
            "max_queued_messages 0",
            *(_LOGIN if login else ()),
            *settings,
            f"listener {self.port} 127.0.0.1",
            f"listener {self.tls_port} 127.0.0.1",
            "certfile server.pem",
            "keyfile server.pem",
        ]
        (self.folder / "config").write_text("\n".join(lines) + "\n")

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
        program = shutil.which("mosquitto", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
        line = [program or "mosquitto", "-c", str(self.folder / "config")]
        if sys.platform == "linux":
            line = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(os.getpid()), *line]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(line, stdout=log, stderr=log, cwd=self.folder)
        until = time.monotonic() + _START_LIMIT
        while not (_listens(self.port) and _listens(self.tls_port)):
            log_text = (self.folder / "log").read_text(errors="replace")
            assert self._process.poll() is None, log_text
            assert time.monotonic() < until, log_text
            time.sleep(0.005)

    def stop(self) -> None:
        """In peace: it writes down what it keeps."""
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
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


_LOGIN: Final = ("allow_anonymous false", "password_file users", "acl_file acl")


def hashed(password: str = PASSWORD) -> str:
    """As `mosquitto_passwd` writes it: PBKDF2 with SHA-512."""
    salt, rounds = os.urandom(12), 101
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, rounds)
    return f"$7${rounds}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
        return True
    return False
