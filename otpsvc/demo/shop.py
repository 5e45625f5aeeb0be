"""The server of the demo's shop: asks otpsvc for verifications over HTTP, as any tenant's server does.

It knows nothing of otpsvc but the API's address, its own name and its secret.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict, deque
from types import TracebackType
from typing import Final, Literal, Self

import msgspec
from aiohttp import BasicAuth, ClientError, ClientSession, ClientTimeout
from msgspec import Struct, field

TENANT: Final = "demo"
PROVIDER: Final = "smtp"
#: Verifications that the shop remembers, and calls that it shows of each.
_KEPT, _CALLS = 200, 30
#: Seconds that one call may take.
_TIMEOUT: Final = 5.0


class Sending(Struct, frozen=True):
    """Where the message is, in the API's words."""

    state: str = "none"
    tries: int = 0
    reason: str = ""


class Challenge(Struct, frozen=True):
    """What the shop reads of the API's record; it has more fields."""

    id: str
    to: str = ""
    state: str = "unknown"
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
        return self.state in ("verified", "locked", "cancelled")

    @property
    def on_its_way(self) -> bool:
        """True while the message has not come to an end."""
        return self.message.state in ("queued", "sending")


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


class Call(Struct, frozen=True, kw_only=True):
    """One call of the API, for people who want to see how it is done."""

    method: str
    path: str
    fields: tuple[tuple[str, str], ...]
    http: int
    answer: str


class Note(Struct, frozen=True):
    """What the last thing that the visitor did came to."""

    kind: Literal["good", "bad"]
    text: str


class Verification(Struct, kw_only=True):
    """What the shop remembers of one verification. Mails up to `after` are older than it.

    `last` is what the API said of it last when the visitor did something.
    """

    id: str
    to: str
    after: int
    last: Challenge | None = None
    note: Note | None = None
    calls: deque[Call] = field(default_factory=lambda: deque(maxlen=_CALLS))


class Shop:
    """`async with Shop(url, secret) as shop:`; `url` is where the API lives."""

    def __init__(self, url: str, secret: str) -> None:
        self._url = url
        self._auth = BasicAuth(TENANT, secret)
        self._session: ClientSession | None = None
        self._known: OrderedDict[str, Verification] = OrderedDict()

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

    def find(self, id: str) -> Verification | None:
        """What the shop remembers of this id."""
        return self._known.get(id)

    async def create(self, to: str, *, after: int) -> tuple[Verification, Reply]:
        """Ask for a verification of this address; it is remembered when the API took it."""
        one = Verification(id=secrets.token_urlsafe(9), to=to, after=after)
        if not to:
            # The API would take it, and ask for the address on its own page.
            return one, Reply(http=400, message="Please type an e-mail address.")
        reply = await self._call("PUT", f"/api/otp/{one.id}", {"provider": PROVIDER, "to": to}, one)
        if reply.ok:
            # As the API reads the address: this is where the mail goes.
            one.to = reply.challenge.to if reply.challenge else to
            self._known[one.id] = one
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return one, reply

    async def check(self, one: Verification, code: str) -> Reply:
        """Ask whether this is the code."""
        reply = await self._call("POST", f"/api/otp/{one.id}", {"otp": code}, one)
        one.note = Note("good", "That was the right code.") if reply.ok else Note("bad", _words(reply))
        return reply

    async def resend(self, one: Verification) -> Reply:
        """Ask for the same mail again."""
        reply = await self._call("POST", f"/api/otp/{one.id}/resend", {}, one)
        one.note = Note("good", "Sent once more.") if reply.ok else Note("bad", _words(reply))
        return reply

    async def cancel(self, one: Verification) -> Reply:
        """Say that it is not wanted any more."""
        reply = await self._call("DELETE", f"/api/otp/{one.id}", {}, one)
        one.note = None if reply.ok else Note("bad", _words(reply))
        return reply

    async def read(self, id: str) -> Reply:
        """Where it stands. Asked often, so that it is not kept among the calls."""
        return await self._call("GET", f"/api/otp/{id}", {}, None)

    async def _call(self, method: str, path: str, fields: dict[str, str], one: Verification | None) -> Reply:
        assert self._session is not None
        try:
            # An empty form would be sent without a body's length, which some proxies refuse.
            async with self._session.request(method, path, data=fields or None) as answer:
                http, body = answer.status, await answer.read()
        except (ClientError, TimeoutError):
            http, body = 0, b""
        reply = _reply(http, body)
        if one is not None:
            one.last = reply.challenge or one.last
            call = Call(
                method=method, path=path, fields=tuple(fields.items()), http=http, answer=_pretty(body)
            )
            one.calls.append(call)
        return reply


def complaint(reply: Reply) -> str:
    """Why a create was refused, in words for the person who typed the address."""
    return _words(reply)


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


def _words(reply: Reply) -> str:
    """The API's refusal as a shop would say it."""
    match reply.code:
        case "wrong_code":
            left = reply.challenge.attempts_left if reply.challenge else 0
            tries = "1 attempt is" if left == 1 else f"{left} attempts are"
            return f"That is not the code. {tries} left."
        case "locked":
            return "Too many wrong codes: from now on not even the right one would do."
        case "closed":
            return "This code was used already. A code works once."
        case "not_found":
            return "This verification has ended. Please start again."
        case "empty_otp":
            return "Please type the code from the mail."
    return reply.message or "The service refused this."
