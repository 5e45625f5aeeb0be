"""What the page of the manual about websites (docs/website.md) needs to be done as it says.

A real otpsvc on the config that the page prints, a mail server, and the page's two shops as
processes. `python -m tests.flows.website_rig` puts the script
lines of the page right after the widget was changed.
"""

from __future__ import annotations

import os
import re
import ssl
import subprocess
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256, sha384
from pathlib import Path
from typing import Self

import trustme

from tests.far_ends.smtp_server import SmtpServer
from tests.far_ends.valkey import free_port
from tests.flows.serving_rig import HASH, ROOT, SECRET, Served
from tests.waiting import PATIENCE, until

MANUAL = ROOT / "docs" / "website.md"
EXAMPLES = ROOT / "docs" / "examples"
WIDGET = ROOT / "js" / "otp.js"


def blocks(kind: str) -> list[str]:
    """All blocks of one kind on the page, in their order."""
    text = MANUAL.read_text("utf-8")
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


# The widget's line


def pinned(text: str) -> str:
    """A text with the name and the integrity of the widget as it is now. (W3C SRI, 3.1)"""
    script = WIDGET.read_bytes()
    integrity = b64encode(sha384(script).digest()).decode()
    text = re.sub(r"/static/otp\.[0-9a-f]{8}\.js", f"/static/otp.{sha256(script).hexdigest()[:8]}.js", text)
    return re.sub(r'integrity="sha384-[^"]*"', f'integrity="sha384-{integrity}"', text)


# React, as much of it as the page's hook needs; and a component that plays with it.

REACT = """
export const done = [];
export const useEffect = (effect, inputs) => { done.push([effect, inputs]); };
"""
PLAY = """
import { done } from "react";
const calls = [];
globalThis.OTPGateway = (options) => {
  let end;
  const promise = new Promise((resolve) => { end = resolve; });
  promise.cancel = () => { calls.push("cancelled"); end(null); };
  promise.verify = () => end({ ...options, receipt: "r1" });
  globalThis.opened = promise;
  calls.push(["opened", options.id]);
  return promise;
};
const { useVerification } = await import("./hook.mjs");
const asked = { namespace: "shop", id: "user-0001", url: "http://127.0.0.1/otp" };
const heard = [];
useVerification(null, (done) => heard.push(done));
useVerification(asked, (done) => heard.push(done));
done[0][0]();
// As in development, where every effect runs twice. (React, StrictMode)
done[1][0]()();
const leave = done[1][0]();
await null;
globalThis.opened.verify();
await new Promise((resolve) => setTimeout(resolve, 0));
leave();
console.log(JSON.stringify([calls, heard.map((one) => one.receipt)]));
"""


# otpsvc and its mail server


class Mailbox:
    """A mail server that wants STARTTLS and a login, as real ones do."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.authority = folder / "authority.pem"
        authority.cert_pem.write_to_path(str(self.authority))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("localhost").configure_cert(context)
        self.server = SmtpServer(starttls=context, login=("otp@example.com", "the-password"))

    async def code_for(self, to: str) -> str:
        """The code in the last mail to this address, as soon as it is there."""

        def last() -> str:
            mails = [mail for mail in self.server.mails if mail.to == [to]]
            return str(mails[-1].parsed["Subject"]).split()[0] if mails else ""

        await until(last)
        return last()


class Otpsvc(Served):
    """`otpsvc serve` on the config of the page; only ports, hosts and the secret's hash are other ones."""

    def __init__(self, folder: Path, mailbox: Mailbox, origin: str) -> None:
        self._mailbox = mailbox
        self._origin = origin
        super().__init__(folder)
        secret = folder / "smtp-password"
        secret.write_text("the-password\n")
        secret.chmod(0o600)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def write(self, **_: str) -> None:
        text = blocks("toml")[0]
        for shown, real in {
            "127.0.0.1:9000": f"127.0.0.1:{self.port}",
            "http://127.0.0.1:8000": self._origin,
            "smtp.example.com": "localhost",
            "port = 587": f"port = {self._mailbox.server.port}",
            "otpsvc1$…": HASH,
        }.items():
            assert shown in text, shown
            text = text.replace(shown, real)
        (self.folder / "config.toml").write_text(text)

    def begin(self, **environ: str) -> Self:
        # Only now the mail server has a port.
        self.write()
        trusted = str(self._mailbox.authority)
        return super().begin(OTPSVC_APP__ADMIN_LISTEN="", SSL_CERT_FILE=trusted, **environ)


# The shop


def command(language: str, need: Callable[[str], str]) -> tuple[str, ...]:
    """How an example is started. A missing node skips the test, or fails it in CI."""
    if language == "python":
        return (sys.executable, "-W", "error", "shop.py")
    return (need("node"), "shop.mjs")


class Shop:
    """One of the examples, as a process. `port` is chosen before, since otpsvc must know the origin."""

    def __init__(self, *command: str, folder: Path) -> None:
        self.port = free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        self.command = command
        self._log = folder / f"shop-{self.port}.log"
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self, otpsvc: str, secret: str = SECRET) -> None:
        self._begin(OTPSVC_URL=otpsvc, OTPSVC_SECRET=secret, PORT=str(self.port))
        await until(self._listens, self.log)

    def _begin(self, **settings: str) -> None:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self.command, cwd=EXAMPLES, env={**os.environ, **settings}, stdout=log, stderr=log
            )

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        # 0A: TCP_LISTEN. (net/tcp_states.h)
        return any(f":{self.port:04X}" in line.split()[1] and line.split()[3] == "0A" for line in lines)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE)

    def log(self) -> str:
        return self._log.read_text()


@dataclass(frozen=True)
class Site:
    """A shop that runs, its otpsvc and its mail server."""

    shop: Shop
    otpsvc: Otpsvc
    mailbox: Mailbox


@asynccontextmanager
async def running(folder: Path, *command: str) -> AsyncIterator[Site]:
    """All three, in a folder of their own."""
    shop, mailbox = Shop(*command, folder=folder), Mailbox(folder)
    async with mailbox.server, Otpsvc(folder, mailbox, shop.origin) as otpsvc:
        try:
            await shop.start(otpsvc.url)
            yield Site(shop, otpsvc, mailbox)
        finally:
            shop.stop()


if __name__ == "__main__":
    before = MANUAL.read_text("utf-8")
    MANUAL.write_text(pinned(before), "utf-8")
    sys.stdout.write("changed\n" if pinned(before) != before else "it was right\n")
