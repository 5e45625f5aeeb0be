"""`otpsvc demo`: the real service, a mail server, an SMS provider, a modem and a shop, on one port.

browser ─> Front ─┬─> /demo   the shop's pages ─> the shop's server ─┐
                  └─> the service's own paths  <──── HTTP ───────────┘
service ─┬─> channel smtp ───────────> Mailbox ─┬─> the shop's pages
         ├─> channel webhook ─> Provider ─┐     │
         └─> channel gsm ─ pty ─> Radio ──┴─> Handset

It reads no config: everything is made anew for each run, but for what lies in `data/demo`.
"""

from __future__ import annotations

import asyncio
import errno
import secrets
import signal
import socket
import sys
from base64 import b64encode
from contextlib import AsyncExitStack, ExitStack, suppress
from pathlib import Path
from typing import Final, NoReturn

import uvloop

from otpsvc import keyring_file, logs
from otpsvc.app import Service
from otpsvc.credential import new_secret
from otpsvc.demo.client import Client
from otpsvc.demo.doors import Doors
from otpsvc.demo.fault import Faults
from otpsvc.demo.front import Front
from otpsvc.demo.handset import Handset
from otpsvc.demo.mailbox import Mailbox
from otpsvc.demo.provider import Provider
from otpsvc.demo.radio import Radio
from otpsvc.demo.room import Room
from otpsvc.demo.setting import HOST, config, root_url
from otpsvc.demo.shelf import Shelf
from otpsvc.demo.shop import MAIL, TENANT, Shop
from otpsvc.keyring import Keyring
from otpsvc.serving import Door
from otpsvc.stores.embedded import EmbeddedStore

#: Seconds for a mail that is on its way when we end.
_GRACE: Final = 2.0


def run(port: int, data_dir: Path = Path("data")) -> None:
    """Serve until Ctrl-C.

    Raises: SystemExit (1: the port is taken), ConfigError, KeyringError, StoreUnavailable.
    """
    logs.configure("console", "warning")
    try:
        with ExitStack() as stack:
            listener = stack.enter_context(_listener(port))
            folder = data_dir / "demo" / str(listener.getsockname()[1])
            keyring = _keyring(folder)
            store = stack.enter_context(EmbeddedStore(folder))
            uvloop.run(_Run(listener, folder, keyring, store).serve())
        _say("Stopped.")
    except KeyboardInterrupt:
        # Before there was a loop that could take the signal.
        raise SystemExit(130) from None


class _Run:
    """One run of the demo, with a secret of its own."""

    def __init__(self, listener: socket.socket, folder: Path, keyring: Keyring, store: EmbeddedStore) -> None:
        self._listener = listener
        self._folder = folder
        self._keyring = keyring
        self._store = store
        self._port: int = listener.getsockname()[1]
        self._url = root_url(self._port)
        self._secret, self._hash = new_secret()

    async def serve(self) -> None:
        """Raises: ConfigError, KeyringError, StoreUnavailable: it could not start."""
        asyncio.get_running_loop().set_exception_handler(logs.on_loop_error)
        async with AsyncExitStack() as stack:
            room, service = await self._open(stack)
            door = Door(Front(service=service.api, demo=Doors(room).app()), [self._listener])
            await self._until_stopped(door)

    async def _open(self, stack: AsyncExitStack) -> tuple[Room, Service]:
        """Everything but the door: the far ends, the service, the shop, and a look into the store."""
        sms_secret = "whsec_" + b64encode(secrets.token_bytes(32)).decode()
        mailbox = await stack.enter_async_context(Mailbox())
        handset = Handset()
        provider = await stack.enter_async_context(Provider(sms_secret, handset))
        radio = await stack.enter_async_context(Radio(handset))
        settings = config(
            port=self._port,
            folder=self._folder,
            secret_hash=self._hash,
            mailbox=mailbox,
            provider=provider,
            radio=radio,
            sms_secret=sms_secret,
        )
        service = Service(settings, self._keyring, url=self._store.url)
        service.grace = _GRACE
        await stack.enter_async_context(service)
        shelf = Shelf(self._store.url, self._keyring, tenant=TENANT)
        stack.push_async_callback(shelf.close)
        client = await stack.enter_async_context(Client(self._url, TENANT, self._secret))
        room = Room(
            shop=Shop(client),
            mailbox=mailbox,
            handset=handset,
            faults=Faults(mail=mailbox, provider=provider, modem=radio),
            shelf=shelf,
            root=self._url,
            token=secrets.token_urlsafe(16),
        )
        return room, service

    async def _until_stopped(self, door: Door) -> None:
        _on_signals(door)
        guard = asyncio.create_task(self._store.supervise(lambda: None))
        serving = asyncio.create_task(door.run_until_closed())
        # A door that is told to close before it was open never opens.
        serving.add_done_callback(lambda _: door.up.set())
        await door.up.wait()
        if not serving.done():
            _say(_welcome(self._url, self._secret))
        await serving
        guard.cancel()
        with suppress(asyncio.CancelledError):
            await guard


def _listener(port: int) -> socket.socket:
    """A socket on loopback. Raises: SystemExit, with one line about what to do."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen()
    except OSError as error:
        listener.close()
        taken = error.errno == errno.EADDRINUSE
        why = "is taken by another program" if taken else f"cannot be used ({error.strerror})"
        other = _free_port(port)
        _give_up(
            f"port {port} {why}: choose another with `make run PORT={other}` or `otpsvc demo --port {other}`"
        )
    listener.setblocking(False)
    return listener


def _free_port(after: int) -> int:
    """One that could be used now, best one close by."""
    for port in (*range(max(after + 1, 1024), min(after + 100, 65_536)), 0):
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return int(probe.getsockname()[1])
    return 0


def _keyring(folder: Path) -> Keyring:
    """The one of the last run on this port, whose store is still there. Raises: KeyringError."""
    path = folder / "keyring.toml"
    return keyring_file.load(path) if path.exists() else keyring_file.create(path).keyring()


def _on_signals(door: Door) -> None:
    """Ctrl-C and SIGTERM end it; the second one at once."""

    def stop() -> None:
        # Below the ^C that the terminal shows.
        _say("")
        if door.should_exit:
            door.hurry()
        door.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop)


def _welcome(url: str, secret: str) -> str:
    """What a person reads at start: every line can be used as it stands."""
    id = f"hello-{secrets.token_hex(3)}"
    login = f"curl -w '\\n' -u {TENANT}:{secret}"
    return f"""
The demo is ready. Open this page:

  {url}/demo

or ask for a code by curl, and check the one that the mail brought:

  {login} -X PUT {url}/api/otp/{id} -d provider={MAIL} -d to=ann@example.com
  {login} {url}/api/otp/{id} -d "otp=$(curl -sf {url}/demo/code/{id})"

All messages as JSON: curl {url}/demo/inbox
Ctrl-C stops everything.
"""


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _give_up(why: str) -> NoReturn:
    sys.stderr.write(f"otpsvc demo: {why}\n")
    raise SystemExit(1)
