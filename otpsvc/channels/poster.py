"""HTTP POSTs that end in one of our outcomes: for webhooks, and for callbacks to tenants.

The status decides: 2xx taken, 408, 425, 429 and 5xx not now, the rest refused. What
fails before the body was written was surely not taken; what fails after it may have been.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self

from aiohttp import (
    BytesPayload,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
    encode_basic_auth,
)
from aiohttp.abc import AbstractStreamWriter
from standardwebhooks import Webhook
from yarl import URL

from otpsvc import __version__
from otpsvc.errors import ChannelError, Refused, Unavailable, Uncertain

#: Bytes of an answer that are read.
ANSWER_CAP = 65_536
#: Seconds for the rest of an answer whose status already said yes: a body that
#: trickles must not turn a taken message into a doubtful one.
ANSWER_WAIT = 2.0
#: Seconds; below the 5 s after which common servers close, so that we close first.
_KEEPALIVE = 4.0
_NOT_NOW = frozenset((408, 425, 429))
#: Seconds. No far end decides that we stay away for longer.
_RETRY_AFTER_MAX = 86_400.0
_HEADERS = {
    "User-Agent": f"otpsvc/{__version__}",
    "Accept": "application/json",
    # Nothing to unpack: a small answer cannot grow.
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
}


class Signer:
    """Signs bodies after Standard Webhooks; made once, used for every post."""

    def __init__(self, secret: str) -> None:
        """`secret`: `whsec_` and 24 to 64 bytes in base64. Raises: ValueError."""
        prefix, _, encoded = secret.partition("_")
        try:
            key = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            key = b""
        if prefix != "whsec" or not 24 <= len(key) <= 64:
            raise ValueError("expected whsec_ and 24 to 64 bytes in base64")
        self._webhook = Webhook(key)

    def sign(self, message_id: str, body: bytes, at: datetime) -> str:
        """The value of the header `webhook-signature`; `at` is in UTC."""
        return self._webhook.sign(message_id, at, body.decode())


def basic(username: str, password: str) -> str:
    """The value of the header `Authorization`."""
    return encode_basic_auth(username, password)


class Poster:
    """One HTTP client with kept connections; no redirects, no proxy or password from the environment."""

    def __init__(
        self,
        *,
        connections: int = 100,
        tls: ssl.SSLContext | None = None,
        answer_wait: float = ANSWER_WAIT,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`connections`: at the same time, over all hosts; `tls`: None for the system's authorities."""
        self._connections = connections
        self._tls = tls
        self._answer_wait = answer_wait
        self._now = now
        self._session: ClientSession | None = None

    async def __aenter__(self) -> Self:
        if self._session is None:
            self._session = ClientSession(
                connector=TCPConnector(
                    limit=self._connections, ssl=self._tls or True, keepalive_timeout=_KEEPALIVE
                ),
                headers=_HEADERS,
                cookie_jar=DummyCookieJar(),
                # Time limits are the deliverer's.
                timeout=ClientTimeout(total=None, sock_connect=None),
                auto_decompress=False,
                trust_env=False,
            )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def post(
        self,
        url: str | URL,
        body: bytes,
        *,
        message_id: str,
        signer: Signer | None = None,
        auth: str = "",
    ) -> bytes:
        """Post JSON; what came back with a 2xx, at most 64 kB of it.

        `message_id` goes out as `webhook-id`, the same over retries; `auth` is the value
        of `Authorization` (see `basic`). Raises: Refused, Unavailable, Uncertain. A
        CancelledError has one of the last two as its cause, by whether the body was written.
        """
        load = _Load(body)
        try:
            answer = await self._open().post(
                url,
                data=load,
                headers=self._headers(body, message_id, signer, auth),
                allow_redirects=False,
            )
            return await _read(answer, wait=self._answer_wait)
        except asyncio.CancelledError as cancelled:
            raise cancelled from _cut_off(handed=load.handed)
        except (ClientError, OSError) as error:
            raise _lost(error, handed=load.handed) from None

    async def reach(self, url: URL) -> None:
        """Connect (TLS included) and hang up. Raises: Unavailable."""
        tls = (self._tls or True) if url.scheme == "https" else None
        loop = asyncio.get_running_loop()
        try:
            line, _ = await loop.create_connection(asyncio.Protocol, url.host or "", url.port or 0, ssl=tls)
        except (OSError, UnicodeError) as error:
            raise Unavailable(f"cannot connect ({type(error).__name__})") from None
        line.abort()

    def _open(self) -> ClientSession:
        if self._session is None:
            raise RuntimeError("the poster is not open")
        return self._session

    def _headers(self, body: bytes, message_id: str, signer: Signer | None, auth: str) -> dict[str, str]:
        now = self._now()
        headers = {"webhook-id": message_id, "webhook-timestamp": str(int(now))}
        if signer is not None:
            headers["webhook-signature"] = signer.sign(message_id, body, datetime.fromtimestamp(now, UTC))
        if auth:
            headers["Authorization"] = auth
        return headers


class _Load(BytesPayload):
    """A body that knows whether it was handed to an open connection."""

    handed = False

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        # aiohttp puts headers and body into one write, and refuses to write to a closing line.
        transport: Any = getattr(writer, "transport", None)
        self.handed = transport is not None and not transport.is_closing()
        await super().write_with_length(writer, content_length)


async def _read(answer: ClientResponse, *, wait: float) -> bytes:
    """The body of a 2xx. Raises: Refused, Unavailable."""
    try:
        if not 200 <= answer.status <= 299:
            raise _verdict(answer)
        if answer.content.is_eof():
            return await answer.content.read(ANSWER_CAP)
        return await _read_slowly(answer, wait=wait)
    finally:
        # Closes the connection when something of the answer is still under way.
        answer.release()


async def _read_slowly(answer: ClientResponse, *, wait: float) -> bytes:
    read = bytearray()
    try:
        async with asyncio.timeout(wait):
            while len(read) < ANSWER_CAP and not answer.content.at_eof():
                read += await answer.content.read(ANSWER_CAP - len(read))
    except (TimeoutError, ClientError, OSError):
        pass
    return bytes(read)


def _verdict(answer: ClientResponse) -> ChannelError:
    status = answer.status
    if status in _NOT_NOW or status >= 500:
        wait = _seconds(answer.headers.get("Retry-After", ""), answer.headers.get("Date", ""))
        return Unavailable(f"HTTP {status}", retry_after=wait)
    if 300 <= status <= 399:
        return Refused("redirect refused")
    return Refused(f"HTTP {status}")


def _cut_off(*, handed: bool) -> ChannelError:
    if handed:
        return Uncertain("cut off before the answer")
    return Unavailable("cut off before the body was written")


def _lost(error: Exception, *, handed: bool) -> ChannelError:
    """Names of exceptions alone: their sentences hold the URL, and so perhaps a token."""
    if handed:
        return Uncertain(f"no readable answer ({type(error).__name__})")
    return Unavailable(f"cannot connect ({type(error).__name__})")


def _seconds(retry_after: str, date: str) -> float | None:
    """How long `Retry-After` asks to wait: seconds, or a date, read against the server's own clock."""
    if retry_after.isascii() and retry_after.isdecimal() and len(retry_after) <= 20:
        return min(float(retry_after), _RETRY_AFTER_MAX)
    until = _date(retry_after)
    if until is None:
        return None
    now = _date(date) or datetime.now(UTC)
    return min(max(0.0, (until - now).total_seconds()), _RETRY_AFTER_MAX)


def _date(text: str) -> datetime | None:
    try:
        read = parsedate_to_datetime(text)
    except ValueError:
        return None
    return read if read.tzinfo else read.replace(tzinfo=UTC)
