"""Sockets that are bound once, before anything else happens, and the TLS settings in front of them."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from otpsvc.config import Listen, Tls
from otpsvc.errors import ConfigError

#: Connections that wait to be taken.
BACKLOG = 2048
#: Of unix sockets: a proxy that shares our group may come in.
_MODE = 0o660


class Listeners:
    """The sockets of `app.listen` and `app.admin_listen`; leaving closes them and removes their files."""

    def __init__(self, listen: Sequence[Listen], admin: Listen | None) -> None:
        self._listen = listen
        self._admin = admin
        self._files: list[tuple[Path, int]] = []
        self.public: list[socket.socket] = []
        self.admin: list[socket.socket] = []

    def __enter__(self) -> Self:
        """Raises: ConfigError, which names the setting."""
        try:
            for at, listen in enumerate(self._listen):
                key = "app.listen" if len(self._listen) == 1 else f"app.listen[{at}]"
                self.public += self._bind(listen, key)
            if self._admin:
                self.admin += self._bind(self._admin, "app.admin_listen")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take no more connections; safe to call twice."""
        for listener in (*self.public, *self.admin):
            listener.close()
        for path, inode in self._files:
            with suppress(OSError):
                # It may be our successor's by now.
                if path.stat().st_ino == inode:
                    path.unlink()
        self._files.clear()

    def _bind(self, listen: Listen, key: str) -> list[socket.socket]:
        try:
            if listen.path:
                return [self._unix(Path(listen.path))]
            return _tcp(listen)
        except OSError as error:
            raise ConfigError("config", key, _wanted(error), f"{listen} ({_words(error)})") from None

    def _unix(self, path: Path) -> socket.socket:
        _remove_stale(path)
        listener = socket.socket(socket.AF_UNIX)
        # Before anybody can connect: a mode set after `bind` would come too late.
        old = os.umask(0o777 & ~_MODE)
        try:
            listener.bind(str(path))
        except OSError:
            listener.close()
            raise
        finally:
            os.umask(old)
        self._files.append((path, path.stat().st_ino))
        return _listening(listener)


def _tcp(listen: Listen) -> list[socket.socket]:
    """One socket for each address of the host. Raises: OSError."""
    found = socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    bound: list[socket.socket] = []
    try:
        for family, address in dict.fromkeys((one[0], one[4]) for one in found):
            listener = socket.socket(family)
            bound.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(address)
            _listening(listener)
    except OSError:
        for listener in bound:
            listener.close()
        raise
    return bound


def _listening(listener: socket.socket) -> socket.socket:
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def _remove_stale(path: Path) -> None:
    """A socket that nobody serves any more. Raises: OSError when somebody does, or it is no socket."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise OSError(errno.EEXIST, "a file of another kind is there")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        else:
            raise OSError(errno.EADDRINUSE, "taken")


def _wanted(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "an address that is free"
    if error.errno == errno.EACCES:
        return "an address that this user may listen on"
    return "an address of this machine"


def _words(error: OSError) -> str:
    return "taken by another program" if error.errno == errno.EADDRINUSE else error.strerror or "unusable"


def tls_context(tls: Tls) -> ssl.SSLContext:
    """A server's TLS settings. (RFC 9325: TLS 1.2 and later) Raises: OSError, ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_certificate(context, tls)
    return context


def load_certificate(context: ssl.SSLContext, tls: Tls) -> None:
    """Use this certificate for handshakes from now on; an unusable one changes nothing.

    Raises: OSError, ssl.SSLError.
    """
    # Tried apart first: a context keeps a new certificate even when its key does not fit.
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.cert, tls.key, password="")
    context.load_cert_chain(tls.cert, tls.key, password="")
