"""`otpsvc serve` as a real process on a folder of its own, seen from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import aiohttp

from otpsvc.credential import new_secret
from tests.far_ends.valkey import free_port
from tests.waiting import PATIENCE, until

ROOT = Path(__file__).parents[2]
SECRET, HASH = new_secret()
__all__ = [
    "HASH",
    "PATIENCE",
    "ROOT",
    "SECRET",
    "Served",
    "check",
    "create",
    "is_alive",
    "share_keyring",
    "until",
    "wrong",
]

BASE = """
[app]
listen = "127.0.0.1:{port}"
admin_listen = "127.0.0.1:{admin}"
data_dir = "data"
{app}
[redis]
url = "{store}"
[limits]
enabled = false
[tenants.shop]
secret_hash = "{secret}"
[channels.log]
type = "file"
path = "codes.jsonl"
allow_plaintext = true
{more}
"""


class Served:
    """One `otpsvc serve`. `folder` is kept, so that a second start finds its data."""

    def __init__(self, folder: Path, *args: str, store: str = "", app: str = "", more: str = "") -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.tmp = folder / "tmp"
        self.tmp.mkdir(exist_ok=True)
        self.port, self.admin = free_port(), free_port()
        self._args = args
        self._said = {"store": store, "app": app, "more": more}
        self._process: subprocess.Popen[bytes] | None = None
        self._read_from = 0
        self.write()

    def write(self, **changes: str) -> None:
        """The config file, with other parts in place of some."""
        self._said.update(changes)
        text = BASE.format(port=self.port, admin=self.admin, secret=HASH, **self._said)
        (self.folder / "config.toml").write_text(text)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    def begin(self, **environ: str) -> Self:
        """Start it without waiting."""
        command = [sys.executable, "-W", "error", "-m", "otpsvc", "serve", *self._args]
        # What an earlier run said is no answer of this one.
        self._read_from = len(self.log(whole=True))
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--config", str(self.folder / "config.toml")],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env={**os.environ, "TMPDIR": str(self.tmp), **environ},
                start_new_session=True,
            )
        return self

    async def __aenter__(self) -> Self:
        self.begin()
        await self.until_said("ready")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> int:
        """SIGTERM, and its exit status."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            return await self.ended()
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    async def ended(self) -> int:
        """Its exit status, once it ended."""
        await until(lambda: self.process.poll() is not None, self.log)
        return int(self.process.returncode)

    def log(self, *, whole: bool = False) -> str:
        """What this run has said, or all of them."""
        path = self.folder / "log"
        # A reader may come in the middle of a character.
        text = path.read_text(errors="replace") if path.exists() else ""
        return text[0 if whole else self._read_from :]

    def lines(self, event: str) -> list[dict[str, Any]]:
        """The log lines of one kind."""
        read = [json.loads(line) for line in whole_lines(self.log()) if line.startswith("{")]
        return [line for line in read if line["event"] == event]

    async def until_said(self, event: str, times: int = 1) -> None:
        """Until the log has so many lines of that kind. Fails when the process ends before."""

        def said() -> bool:
            if len(self.lines(event)) >= times:
                return True
            assert self.process.poll() is None, self.log()
            return False

        await until(said, self.log)

    def codes(self) -> list[dict[str, Any]]:
        """What the channel `log` was handed."""
        path = self.folder / "codes.jsonl"
        text = path.read_text(errors="replace") if path.exists() else ""
        return [json.loads(line) for line in whole_lines(text)]

    def client(self, **more: Any) -> aiohttp.ClientSession:
        """A client of the tenant."""
        headers = {"Authorization": aiohttp.encode_basic_auth("shop", SECRET)}
        return aiohttp.ClientSession(f"http://127.0.0.1:{self.port}", headers=headers, **more)

    async def metrics(self) -> str:
        url = f"http://127.0.0.1:{self.admin}/metrics"
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            return await answer.text()

    async def counted(self, *lines: str) -> str:
        """The metrics, once they have these lines: what is sent or answered is counted just after it."""
        found = ""

        async def there() -> bool:
            nonlocal found
            found = await self.metrics()
            return all(f"\n{line}\n" in found for line in lines)

        await until(there, lambda: found)
        return found

    def command(self, *words: str) -> str:
        """What another command says about the same config; it must succeed."""
        command = [sys.executable, "-W", "error", "-m", "otpsvc", *words]
        config = ["--config", str(self.folder / "config.toml")]
        return subprocess.run(
            [*command, *config], cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout

    def children(self) -> dict[str, int]:
        """Process ids of the children by their names (`api 1`, `delivery`, `valkey-server`)."""
        found = {}
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and parent_of(folder) == self.pid:
                words = words_of(folder)
                # Of a zombie there are no words.
                name = words[-2].decode().removeprefix("otpsvc ") if len(words) > 1 else ""
                found["store" if "valkey" in words[0].decode() else name] = int(folder.name)
        found.pop("", None)
        return found


def whole_lines(text: str) -> list[str]:
    """Without the last one while it is still being written."""
    return text[: text.rfind("\n") + 1].splitlines()


def share_keyring(first: Served, *others: Served) -> None:
    """For nodes on one store."""
    first.command("keys", "create")
    keyring = (first.folder / "data" / "keyring.toml").read_bytes()
    for other in others:
        (other.folder / "data").mkdir(mode=0o700)
        path = other.folder / "data" / "keyring.toml"
        path.write_bytes(keyring)
        path.chmod(0o600)


def wrong(code: str) -> str:
    """Another code of the same form."""
    return "000000" if code != "000000" else "111111"


def words_of(folder: Path) -> list[bytes]:
    """Its command line; of a process that ended meanwhile one empty word."""
    try:
        return (folder / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return [b""]


def parent_of(folder: Path) -> int:
    try:
        text = (folder / "stat").read_text()
    except OSError:
        return 0
    return int(text[text.rindex(")") + 2 :].split()[1])


def is_alive(pid: int) -> bool:
    """True for a process that runs (a zombie does not)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text[text.rindex(")") + 2] != "Z"


async def create(http: aiohttp.ClientSession, id: str = "user-0001", provider: str = "log") -> dict[str, Any]:
    """A verification that was accepted."""
    async with http.put(f"/api/otp/{id}", data={"provider": provider, "to": "ann@shop.example"}) as answer:
        body: dict[str, Any] = await answer.json()
        assert answer.status == 200, body
        return body


async def check(http: aiohttp.ClientSession, id: str, code: str) -> tuple[int, dict[str, Any]]:
    async with http.post(f"/api/otp/{id}", data={"otp": code}) as answer:
        return answer.status, await answer.json()
