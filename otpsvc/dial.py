"""A socket to a far end, for libraries whose own way to open one blocks and cannot be cancelled."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final

#: Seconds for an address that has others after it: one that answers nothing must not hide them.
_EACH: Final = 3.0


async def dial(host: str, port: int, tls: ssl.SSLContext | None) -> socket.socket:
    """Connected, past the handshake of TLS, and not blocking. May be cancelled.

    Raises: OSError (ssl.SSLError is one).
    """
    loop = asyncio.get_running_loop()
    places = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failure = OSError("no address")
    for place in places:
        try:
            async with asyncio.timeout(None if place is places[-1] else _EACH):
                sock = await _connected(place)
        except OSError as error:
            failure = error
        else:
            return await _secured(sock, tls, host) if tls else sock
    raise failure


async def _connected(place: tuple[Any, ...]) -> socket.socket:
    family, kind, number, _, address = place
    sock = socket.socket(family, kind, number)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


async def _secured(sock: socket.socket, tls: ssl.SSLContext, host: str) -> ssl.SSLSocket:
    loop = asyncio.get_running_loop()
    # The descriptor moves to the new socket: the old one's `close` does nothing from here on.
    secured = tls.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    try:
        while True:
            try:
                secured.do_handshake()
            except ssl.SSLWantReadError:
                await _ready(secured, loop.add_reader, loop.remove_reader)
            except ssl.SSLWantWriteError:
                await _ready(secured, loop.add_writer, loop.remove_writer)
            else:
                return secured
    except BaseException:
        secured.close()
        raise


async def _ready(
    sock: socket.socket, add: Callable[[int, Callable[[], None]], None], remove: Callable[[int], object]
) -> None:
    waits = asyncio.get_running_loop().create_future()
    # Until it is removed it is called again and again.
    add(sock.fileno(), lambda: None if waits.done() else waits.set_result(None))
    try:
        await waits
    finally:
        remove(sock.fileno())
