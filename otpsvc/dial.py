"""A socket to a far end, for libraries whose own way to open one blocks and cannot be cancelled.

And why there is no line to a broker, in words that all feeders and channels share.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final, NamedTuple

#: Seconds for an address that has others after it: one that answers nothing must not hide them.
_EACH: Final = 3.0
#: OpenSSL's numbers of what is wrong with a certificate (X509_V_ERR_*).
_NOT_YET, _EXPIRED, _OTHER_HOSTS = 9, 10, (62, 64)
#: What a port that speaks something else makes of a first word in TLS.
_NO_TLS: Final = frozenset(
    ("WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG")
)
_ERRNO: Final = re.compile(r"\[Errno (\d+)\]")


class Trouble(NamedTuple):
    """Why there is no line. `lasting`: until somebody changes something."""

    reason: str
    lasting: bool


def why_no_line(error: Exception, *, tls: bool) -> Trouble:
    """What an OSError or UnicodeError means that opening a line raised; `tls`: it was to have some.

    Never what the far end wrote: words of our own, of this system, and OpenSSL's on a certificate.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return Trouble(_untrusted(error), lasting=True)
    if isinstance(error, ssl.SSLError) and error.reason in _NO_TLS:
        return Trouble("the broker speaks no TLS there: look at the port in url", lasting=True)
    if tls and isinstance(error, ConnectionResetError | BrokenPipeError | ssl.SSLEOFError):
        return Trouble("cut off in the handshake: does the port in url speak TLS?", lasting=False)
    if isinstance(error, ssl.SSLError):
        return Trouble("TLS failed", lasting=False)
    return Trouble(f"cannot connect ({_kind(error)})", lasting=False)


def _untrusted(error: ssl.SSLCertVerificationError) -> str:
    said = f"the broker's certificate is not trusted ({error.verify_message})"
    if error.verify_code == _EXPIRED:
        return f"{said}: the broker needs a new one"
    if error.verify_code == _NOT_YET:
        return f"{said}: look at this machine's clock"
    return f"{said}: look at {'the host in url' if error.verify_code in _OTHER_HOSTS else 'ca_file'}"


def _kind(error: Exception) -> str:
    if isinstance(error, UnicodeError):
        return "Name not found"
    if isinstance(error, socket.gaierror):
        known = error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
        return "Name not found" if known else "Name cannot be looked up"
    number = getattr(error, "errno", None)
    # asyncio joins what it met at several addresses into one sentence without a number.
    if number is None and (found := _ERRNO.findall(str(error))):
        number = int(found[-1])
    return os.strerror(number) if number else type(error).__name__


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
