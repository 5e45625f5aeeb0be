"""A running demo, and a visitor whose browser has no script."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import unescape
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.far_ends.valkey import free_port
from tests.waiting import PATIENCE

_FORM = re.compile(r'<form [^>]*action="([^"]+)".*?</form>', re.DOTALL)
_TOKEN = re.compile(r'name="token" value="([^"]+)"')


class Page:
    """One answer, and what a person could do with it."""

    def __init__(self, answer: HTTPResponse, path: str) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self.path = path
        self.html = answer.read().decode()

    @property
    def words(self) -> str:
        """What is read, without tags."""
        return " ".join(unescape(re.sub(r"<[^>]+>", " ", self.html)).split())

    def form(self, name: str) -> tuple[str, str]:
        """Where the form whose action ends so is sent, and its token."""
        for found in _FORM.finditer(self.html):
            if found[1].endswith(name):
                token = _TOKEN.search(found[0])
                assert token
                return found[1], token[1]
        raise AssertionError(f"no form {name} in: {self.words}")

    @property
    def hidden(self) -> dict[str, str]:
        """The hidden fields."""
        found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', self.html)
        return {name: unescape(value) for name, value in found}

    def data(self, name: str) -> str:
        """The first attribute `data-NAME`."""
        found = re.search(rf'data-{name}="([^"]*)"', self.html)
        assert found, self.words
        return unescape(found[1])

    def part(self, id: str) -> str:
        """What is read from the element with this id on, up to the next section."""
        _, _, rest = self.html.partition(f'id="{id}"')
        return " ".join(unescape(re.sub(r"<[^>]+>", " ", rest.partition("</section>")[0])).split())


class Demo:
    """A running demo, and a browser without script in front of it, which keeps one cookie."""

    def __init__(self, process: subprocess.Popen[str], port: int, said: str) -> None:
        self.process = process
        self.port = port
        self.said = said
        self.cookie = ""

    def another(self) -> Demo:
        """Another browser in front of the same demo."""
        return Demo(self.process, self.port, self.said)

    @property
    def curls(self) -> list[str]:
        """The lines to copy and paste, as they were printed."""
        return [line.strip() for line in self.said.splitlines() if line.startswith("  curl")]

    @property
    def secret(self) -> str:
        """The tenant's, of this run."""
        return self.curls[0].partition(" demo:")[2].split()[0]

    def get(self, path: str, **headers: str) -> Page:
        return self._ask("GET", path, "", headers)

    def send(self, path: str, fields: dict[str, str], **headers: str) -> Page:
        """Post a form and follow where it leads, as browsers do."""
        page = self.post(path, fields, **headers)
        return self.get(page.headers["location"]) if page.status == 303 else page

    def post(self, path: str, fields: dict[str, str], **headers: str) -> Page:
        """Post a form; where it leads is not followed."""
        return self._ask("POST", path, urlencode(fields), headers)

    def fill(self, page: Page, form: str, **fields: str) -> Page:
        """Fill in and send a form of this page."""
        path, token = page.form(form)
        return self.send(path, {**fields, "token": token})

    def api(self, path: str) -> Any:
        return json.loads(self.get(path).html)

    def call(self, method: str, path: str, **fields: str) -> Any:
        """One call of the API, as curl makes it."""
        login = b64encode(f"demo:{self.secret}".encode()).decode()
        headers = {"Authorization": f"Basic {login}"}
        page = self._ask(method, f"/api/otp{path}", urlencode(fields), headers)
        return json.loads(page.html)

    def path_of(self, url: str) -> str:
        """The path and query of an address of this demo."""
        root = f"http://127.0.0.1:{self.port}"
        assert url.startswith(root + "/")
        return url.removeprefix(root)

    def until(self, page: Page, good: Callable[[Page], bool]) -> Page:
        """The page as soon as it shows what is waited for."""
        end = time.monotonic() + PATIENCE
        while not good(page):
            assert time.monotonic() < end, page.words
            time.sleep(0.05)
            page = self.get(page.path)
        return page

    def turn(self, switch: str, mood: str) -> Page:
        """Turn one of the demo's switches."""
        return self.fill(self.get("/demo"), "/faults", switch=switch, mood=mood)

    def code_for(self, address: str) -> str:
        """The code of the last mail to this address, as soon as it is there."""
        end = time.monotonic() + PATIENCE
        while not (mails := [mail for mail in self.api("/demo/inbox") if mail["to"] == address]):
            assert time.monotonic() < end, f"no mail to {address}"
            time.sleep(0.05)
        return str(mails[0]["subject"]).split()[0]

    def children(self) -> list[int]:
        """Processes that the demo started."""
        tasks = list(Path(f"/proc/{self.process.pid}/task").iterdir())
        return [int(pid) for task in tasks for pid in _read(task / "children").split()]

    def listening(self) -> set[str]:
        """Addresses (hexadecimal, as the kernel writes them) where it or a child listens."""
        pids = (self.process.pid, *self.children())
        links = [link for pid in pids for fd in _files(pid) if (link := _link(fd))]
        lines = [
            line.split()
            for name in ("tcp", "tcp6")
            for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
        ]
        # 0A: TCP_LISTEN (net/tcp_states.h)
        return {line[1] for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in links}

    def _ask(self, method: str, path: str, body: str, headers: dict[str, str]) -> Page:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        kind = {"Content-Type": "application/x-www-form-urlencoded"} if body or method == "POST" else {}
        cookie = {"Cookie": self.cookie} if self.cookie else {}
        given = {k.replace("_", "-"): v for k, v in headers.items()}
        own = {"Accept": "text/html", **kind, **cookie, **given}
        try:
            connection.request(method, path, body or None, own)
            page = Page(connection.getresponse(), path)
        finally:
            connection.close()
        self.cookie = page.headers.get("set-cookie", self.cookie).partition(";")[0]
        return page


@contextmanager
def running(folder: Path) -> Iterator[Demo]:
    """The real command, in a folder of its own; its temporary files lie in `tmp` there."""
    port = free_port()
    process = command(folder, port)
    try:
        assert process.stdout
        said = ""
        while "Ctrl-C" not in said and (line := process.stdout.readline()):
            said += line
        assert "Ctrl-C" in said, process.communicate()
        yield Demo(process, port, said)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)


def command(folder: Path, port: int) -> subprocess.Popen[str]:
    (folder / "tmp").mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "otpsvc", "demo", "--port", str(port)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "TMPDIR": str(folder / "tmp"),
        },
    )


def _read(path: Path) -> str:
    """Empty when the thread it tells of ended meanwhile."""
    try:
        return path.read_text()
    except OSError:
        return ""


def _files(pid: int) -> list[Path]:
    """None when the process ended meanwhile."""
    try:
        return list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return []


def _link(fd: Path) -> str:
    """Where it points; empty when it was closed meanwhile."""
    try:
        return str(fd.readlink())
    except OSError:
        return ""
