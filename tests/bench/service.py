"""The real service as `otpsvc serve` starts it, on a folder of its own, seen from outside.

Tenants: `fast` and `slow` by the hash of their codes, without guards; `guarded` has the
guards of a default config.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final, Self

import redis

from otpsvc.credential import new_secret
from tests.bench.processes import Cost, Process, cost, tree
from tests.far_ends.valkey import free_port

Tenant = str
TENANTS: Final[tuple[Tenant, ...]] = ("fast", "slow", "guarded")
#: Seconds to become ready, and to end after SIGTERM.
START, STOP = 60.0, 30.0

_CONFIG: Final = """
[app]
listen = "127.0.0.1:{port}"
admin_listen = ""
root_url = "http://127.0.0.1:{port}"
data_dir = "data"
[limits]
enabled = false
[tenants.fast]
secret_hash = "{fast}"
[tenants.slow]
secret_hash = "{slow}"
[tenants.slow.codes]
hash = "argon2id"
[tenants.guarded]
secret_hash = "{guarded}"
[tenants.guarded.limits]
enabled = true
[channels.hook]
type = "webhook"
url = "http://127.0.0.1:{sink}/hook"
secret = "whsec_{signing}"
"""


class Service:
    """`sink` is the port of the webhook's server; `folder` is kept, so that a second start finds its data."""

    def __init__(self, folder: Path, *, sink: int, workers: int = 1) -> None:
        self._folder = folder
        self._workers = workers
        self.port = free_port()
        self._secrets = {name: new_secret() for name in TENANTS}
        text = _CONFIG.format(
            port=self.port,
            sink=sink,
            signing=base64.b64encode(secrets.token_bytes(32)).decode(),
            **{name: hashed for name, (_, hashed) in self._secrets.items()},
        )
        folder.mkdir(exist_ok=True)
        (folder / "config.toml").write_text(text)
        self._process: subprocess.Popen[bytes] | None = None
        #: Seconds from the command to the first yes of /api/health.
        self.start_time = 0.0

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "otpsvc", "serve", "--config", str(self._folder / "config.toml")]
        command += ["--workers", str(self._workers)]
        began = time.monotonic()
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            self._wait(began + START)
        except BaseException:
            self.close()
            raise
        self.start_time = time.monotonic() - began
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """SIGTERM, and SIGKILL after a while. Safe to call twice."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _wait(self, until: float) -> None:
        while not _is_well(self.port):
            if self._running.poll() is not None or time.monotonic() > until:
                said = (self._folder / "log").read_text(errors="replace").splitlines()[-5:]
                raise RuntimeError("otpsvc does not become ready; it says: " + " | ".join(said))
            time.sleep(0.002)

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def pid(self) -> int:
        return self._running.pid

    def cost(self) -> Cost:
        """Processor time of all its processes up to now."""
        return cost(self.pid)

    def processes(self) -> list[Process]:
        return tree(self.pid)

    def authorization(self, tenant: Tenant) -> bytes:
        """The value of the header `Authorization`."""
        pair = f"{tenant}:{self._secrets[tenant][0]}"
        return b"Basic " + base64.b64encode(pair.encode())

    def page(self, tenant: Tenant, id: str) -> str:
        """Make a challenge; path and query of its page."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START)
        headers = {
            "Authorization": self.authorization(tenant).decode(),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        line.request("PUT", f"/api/otp/{id}", "provider=hook&to=%2B6281200000001&ttl=86400", headers)
        url: str = json.loads(line.getresponse().read())["data"]["url"]
        line.close()
        return url.removeprefix(f"http://127.0.0.1:{self.port}")

    def store(self) -> redis.Redis:
        """A line to the embedded store."""
        path = (self._folder / "data" / "store" / "socket").read_text()
        return redis.Redis(unix_socket_path=path)


def count_due(service: Service, tenant: Tenant) -> int:
    """Messages of a tenant that wait or are on their way."""
    with service.store() as store:
        return int(store.zcard(f"due:{{{tenant}}}:hook:otp"))


def info(store: redis.Redis, section: str) -> dict[str, Any]:
    """A section of the store's INFO."""
    answer: dict[str, Any] = store.info(section)
    return answer


def _is_well(port: int) -> bool:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        line.request("GET", "/api/health")
        return line.getresponse().status == 200
    except OSError:
        return False
    finally:
        line.close()


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
