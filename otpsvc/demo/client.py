"""How the shop's server talks to otpsvc: HTTP with Basic auth, and what it reads of the answers.

It knows nothing of otpsvc but the API's address, its own name and its secret.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

import msgspec
from aiohttp import BasicAuth, ClientError, ClientSession, ClientTimeout
from msgspec import Struct, field

#: Seconds that one call may take.
_TIMEOUT: Final = 5.0


class Sending(Struct, frozen=True):
    """Where the message is, in the API's words. `uncertain`: how often it may have left unseen."""

    state: str = "none"
    tries: int = 0
    uncertain: int = 0
    reason: str = ""


class Challenge(Struct, frozen=True):
    """What the shop reads of the API's record; it has more fields. Times in seconds."""

    id: str
    to: str = ""
    provider: str = ""
    purpose: str = "address_confirmation"
    state: str = "unknown"
    gen: str = ""
    url: str = ""
    attempts: int = 0
    max_attempts: int = 0
    generate: int = 0
    max_generate: int = 0
    ttl: int = 0
    resend_in: int = 0
    message: Sending = field(default_factory=Sending)

    @property
    def attempts_left(self) -> int:
        return max(0, self.max_attempts - self.attempts)

    @property
    def ended(self) -> bool:
        """True when nothing can change it any more."""
        return self.state in ("verified", "locked", "cancelled", "expired")

    @property
    def on_its_way(self) -> bool:
        """True while the message has not come to an end."""
        return self.message.state in ("queued", "sending")


class _Wait(Struct, frozen=True):
    ttl_seconds: int = 0


class Reply(Struct, frozen=True, kw_only=True):
    """The API's envelope, with the HTTP status (0: no answer)."""

    http: int = 0
    status: str = "error"
    message: str = ""
    code: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")

    @property
    def ok(self) -> bool:
        return self.http == 200

    @property
    def challenge(self) -> Challenge | None:
        """The record that it carries, if it does."""
        try:
            return msgspec.json.decode(self.data, type=Challenge)
        except msgspec.DecodeError:
            return None

    @property
    def wait(self) -> int:
        """Seconds that a guard asks to wait; 0 when none does."""
        try:
            return msgspec.json.decode(self.data, type=_Wait).ttl_seconds
        except msgspec.DecodeError:
            return 0


class Call(Struct, frozen=True, kw_only=True):
    """One call of the API, for people who want to see how it is done. `at` is Unix time."""

    at: float
    method: str
    path: str
    fields: tuple[tuple[str, str], ...]
    http: int
    answer: str

    @property
    def ok(self) -> bool:
        return self.http == 200


class Client:
    """`async with Client(url, name, secret) as client:`; `url` is where the API lives."""

    def __init__(self, url: str, name: str, secret: str) -> None:
        self._url = url
        self._auth = BasicAuth(name, secret)
        self._session: ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = ClientSession(
            self._url, auth=self._auth, timeout=ClientTimeout(total=_TIMEOUT), trust_env=False
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(self, method: str, path: str, fields: Mapping[str, str]) -> tuple[Reply, Call]:
        """One call; a service that does not answer is a reply with status 0."""
        assert self._session is not None
        at = time.time()
        try:
            # An empty form would be sent without a body's length, which some proxies refuse.
            async with self._session.request(method, path, data=dict(fields) or None) as answer:
                http, body = answer.status, await answer.read()
        except (ClientError, TimeoutError):
            http, body = 0, b""
        call = Call(
            at=at, method=method, path=path, fields=tuple(fields.items()), http=http, answer=_pretty(body)
        )
        return _reply(http, body), call


def _reply(http: int, body: bytes) -> Reply:
    try:
        read = msgspec.json.decode(body, type=Reply)
    except msgspec.DecodeError:
        return Reply(http=0, message="The service gave no answer. Please try again.")
    return msgspec.structs.replace(read, http=http)


def _pretty(body: bytes) -> str:
    try:
        return msgspec.json.format(body, indent=2).decode()
    except msgspec.DecodeError:
        return body.decode("utf-8", "replace")
