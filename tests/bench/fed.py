"""A service whose commands come from brokers, on a folder and a store of its own, seen from outside."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import redis

from otpsvc.credential import new_secret
from tests.bench.processes import cost, tree
from tests.far_ends.valkey import ValkeyServer

_OUTBOX: Final = "due:{shop}:hook:message"
#: Seconds to become ready, and to end after SIGTERM.
START, STOP = 60.0, 30.0
#: Seconds for all commands to arrive.
_LONGEST: Final = 300.0
_CONFIG: Final = """
[app]
listen = "unix:api.sock"
admin_listen = ""
data_dir = "data"
keyring = "keyring.toml"
[redis]
url = "{store}"
[limits]
enabled = false
[tenants.shop]
secret_hash = "{secret}"
scopes = ["sms"]
[relay]
life = 86400
sms = "{way}"
[channels.hook]
type = "webhook"
url = "http://127.0.0.1:9/"
"""


class Fed:
    """`otpsvc serve` with these feeders; its messages stay in the outbox."""

    def __init__(self, folder: Path, store: ValkeyServer, tables: str, *, only: str = "feeders") -> None:
        self._folder = folder
        self._only = ["--only", only] if only else []
        self._process: subprocess.Popen[bytes] | None = None
        config = _CONFIG.format(store=store.url, way="hook", secret=new_secret()[1])
        (folder / "config.toml").write_text(config + tables)
        subprocess.run(self._command("keys", "create"), check=True, capture_output=True, cwd=folder)

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "otpsvc", *words, "--config", str(self._folder / "config.toml")]

    def __enter__(self) -> int:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command("serve", *self._only), stdout=log, stderr=log, cwd=self._folder
            )
        until = time.monotonic() + START
        while "ready" not in self.log:
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(self.log[-2000:])
            time.sleep(0.01)
        return self._process.pid

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")


class Course:
    """How the outbox filled: from the first command to the last. Memory in MiB, as it went."""

    def __init__(self, pid: int, store: ValkeyServer) -> None:
        self._pid = pid
        self._store = redis.Redis(unix_socket_path=store.path)
        self._spent = cost(pid).service
        self.resident: list[float] = []

    async def run(self, count: int, begun: asyncio.Task[None] | None = None) -> tuple[float, float]:
        """Commands a second, and milliseconds of processor time of each; `begun`: who publishes them now."""
        began, until = time.perf_counter() if begun else 0.0, time.monotonic() + _LONGEST
        while (there := self._store.zcard(_OUTBOX)) < count:
            if begun is not None and begun.done():
                begun.result()
            if time.monotonic() > until:
                raise RuntimeError(f"{count - int(there)} commands did not come")
            if there and not began:
                began = time.perf_counter()
            self.resident.append(sum(process.memory for process in tree(self._pid)) / 2**20)
            await asyncio.sleep(0.05)
        took = max(time.perf_counter() - (began or time.perf_counter()), 1e-6)
        self._store.close()
        return count / took, (cost(self._pid).service - self._spent) * 1000 / count


@contextmanager
def place() -> Iterator[tuple[Path, ValkeyServer]]:
    folder = Path(tempfile.mkdtemp(prefix="otpsvc-bench-"))
    try:
        with ValkeyServer(persistence="always") as store:
            yield folder, store
    finally:
        shutil.rmtree(folder, ignore_errors=True)
