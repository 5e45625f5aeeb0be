"""A folder with one config and one keyring, and the real service on it: `python -m otpsvc serve`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import otpsvc
from otpsvc import keyring_file
from otpsvc.keyring import Keyring
from tests.drills.api import Api
from tests.waiting import PATIENCE, until

_ROOT: Final = str(Path(otpsvc.__file__).parents[1])
_LISTENERS: Final = 'listen = "unix:api"\nadmin_listen = "unix:admin"\nroot_url = "http://localhost:9000"\n'


def table(name: str, **values: Any) -> str:
    """One table of a config file; JSON's values are TOML's."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join((f"[{name}]", *lines, ""))


def tenant(name: str, *, guards: bool = False, **values: Any) -> str:
    """A tenant with the secret `NAME-secret`; `guards` are the default ones, or none."""
    limits = table(f"tenants.{name}.limits", enabled=guards)
    return table(f"tenants.{name}", **({"secret": f"{name}-secret"} | values)) + limits


def smtp(name: str, port: int, **values: Any) -> str:
    usual = {"type": "smtp", "host": "127.0.0.1", "tls": "none", "sender": "Shop <otp@shop.example>"}
    return table(f"channels.{name}", port=port, **(usual | values))


def webhook(name: str, url: str, **values: Any) -> str:
    return table(f"channels.{name}", type="webhook", url=url, **values)


class Place:
    """`config` is what stands behind `[app]` and `[redis]`; without `store` the service runs its own."""

    def __init__(self, *config: str, store: str = "", durability: str = "always") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="otpsvc-drill-"))
        self.keyring_path = self.folder / "keyring.toml"
        self.services: list[Service] = []
        redis = table("redis", url=store, durability=durability) if store else ""
        app = '[app]\nlog_level = "debug"\nkeyring = "keyring.toml"\n' + _LISTENERS
        (self.folder / "config.toml").write_text(app + redis + "".join(config))
        keyring_file.create(self.keyring_path)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for service in self.services:
            await service.end()
            print(service.name, service.log[-4000:])
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def keyring(self) -> Keyring:
        return keyring_file.load(self.keyring_path)

    async def serve(self, *, only: str = "", workers: int = 1, path: str = "", **app: str) -> Service:
        """One more process, ready. `app` goes over the keys of `[app]`; `path` is where Python looks too."""
        service = Service(self.folder, f"s{len(self.services)}", only=only, workers=workers)
        self.services.append(service)
        await service.start(app, path)
        return service


class Service:
    """One `otpsvc serve`, and the way to ask it."""

    def __init__(self, folder: Path, name: str, *, only: str, workers: int) -> None:
        self.name = name
        self.folder = folder
        self._arguments = ["--workers", str(workers)] if workers > 1 else []
        self._arguments += ["--only", only] if only else []
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.admin = Api(str(folder / f"{name}.admin"))
        self.api = Api(str(folder / f"{name}.api"))
        self._delivers_only = only == "delivery"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    async def start(self, app: Mapping[str, str], path: str) -> None:
        settings = {
            "LISTEN": f"unix:{self.folder}/{self.name}.api",
            "ADMIN_LISTEN": f"unix:{self.folder}/{self.name}.admin",
        }
        settings |= {name.upper(): value for name, value in app.items()}
        environ = {f"OTPSVC_APP__{name}": value for name, value in settings.items()}
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, (_ROOT, path)))
        self._spawn(environ)
        if listen := app.get("listen"):
            self.api.url = f"http://{listen}"
            self.api.path = ""
        await self._ready()

    def _spawn(self, environ: Mapping[str, str]) -> None:
        command = [sys.executable, "-m", "otpsvc", "serve", "--config", "config.toml", *self._arguments]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env={**os.environ, **environ}, stdout=log, stderr=log
            )

    async def _ready(self) -> None:
        # Not the operator's health: it asks every channel, which leaves lines open.
        api, path = (self.admin, "/metrics") if self._delivers_only else (self.api, "/api/health")

        async def is_ready() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, self.log
            return await api.is_well(path)

        await until(is_ready, lambda: self.log)

    def pids(self) -> list[int]:
        """This process and all below it."""
        return list(_tree(self.pid))

    def command_lines(self) -> list[bytes]:
        """Of all of them."""
        lines = []
        for pid in self.pids():
            # Not of a child that ended meanwhile.
            with contextlib.suppress(OSError):
                lines.append(Path(f"/proc/{pid}/cmdline").read_bytes())
        return lines

    def worked(self) -> dict[int, float]:
        """Seconds of processor time of each of them, but of the store: no other load adds to it."""
        found = {}
        for pid in self.pids():
            # Not of a child that ended meanwhile.
            with contextlib.suppress(OSError):
                if not Path(f"/proc/{pid}/comm").read_text().startswith(("valkey", "redis")):
                    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
                    found[pid] = sum(int(one.read_text().split()[0]) for one in threads) / 1e9
        return found

    def pause(self) -> None:
        """SIGSTOP."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    async def stop(self) -> None:
        """SIGTERM, and wait for the end. The second says: do not wait for what is on its way."""
        assert self._process is not None
        self._process.terminate()
        await asyncio.sleep(0.1)
        self._process.terminate()
        await asyncio.to_thread(self._process.wait, PATIENCE)

    async def end(self) -> None:
        """Kill what still lives of it, its children too."""
        await self.api.close()
        await self.admin.close()
        if self._process is None or self._process.poll() is not None:
            return
        for pid in self.pids():
            # The store of a killed service ends by itself.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for task in list(Path(f"/proc/{pid}/task").glob("*/children")):
        children = ""
        # A thread that ended meanwhile has no file any more.
        with contextlib.suppress(OSError):
            children = task.read_text()
        for child in children.split():
            yield from _tree(int(child))
