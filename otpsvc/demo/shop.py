"""The server of the demo's shop: signs people up and in, as any tenant's server does with otpsvc.

sign-up: PUT (mail) ─> url ─> widget ─> receipt ─> POST …/status ─> an account
sign-in: PUT (sms or modem) ─> url ─> widget ─> receipt ─> POST …/status ─> a session

What a browser says about itself counts for nothing: the service is asked.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Final, Literal, TypeVar

from msgspec import Struct, field

from otpsvc.demo.client import Call, Challenge, Client, Reply

TENANT: Final = "demo"
#: The channels, by their names in the config.
MAIL, SMS, MODEM = "mail", "sms", "modem"
#: The switch of each one's far end.
ENDS: Final[Mapping[str, str]] = {MAIL: "mail", SMS: "provider", MODEM: "modem"}
#: Verifications and sessions that the shop remembers, and calls that it shows of each.
_KEPT, _CALLS = 200, 40

Kind = Literal["sign-up", "sign-in"]
Kept = TypeVar("Kept")


class Note(Struct, frozen=True):
    """What the last thing that the visitor did came to. `about` names it; `wait`: seconds until it may
    be done again.
    """

    kind: Literal["good", "bad"]
    text: str
    about: str = ""
    wait: int = 0


class Visitor(Struct, kw_only=True):
    """A browser, known by the cookie; `account` is the address of who is signed in."""

    cookie: str
    account: str = ""


class Before(Struct, frozen=True, kw_only=True):
    """The numbers of the last messages that had come."""

    mails: int = 0
    texts: int = 0


class Verification(Struct, kw_only=True):
    """What the shop remembers of one verification.

    `by` is the channel that it asked for. Messages up to `before` are older. `url` is where
    the widget goes, `gen` what a status must be about. `last` is what the API said of it last
    when something was done. `done`: the shop asked and heard yes. `note` stands in the shop,
    `aside` beside the buttons of the machine room.
    """

    id: str
    kind: Kind
    to: str
    by: str
    before: Before
    visitor: Visitor
    url: str = ""
    gen: str = ""
    last: Challenge | None = None
    done: bool = False
    note: Note | None = None
    aside: Note | None = None
    calls: deque[Call] = field(default_factory=lambda: deque(maxlen=_CALLS))

    @property
    def provider(self) -> str:
        """The way out. Where otpsvc asks for the address, its owner may choose another."""
        return (self.last and self.last.provider) or self.by


class Shop:
    """The server side: `client` is its only way to otpsvc."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: OrderedDict[str, Verification] = OrderedDict()
        self._visitors: OrderedDict[str, Visitor] = OrderedDict()

    def visitor(self, cookie: str) -> Visitor | None:
        """Whose cookie this is."""
        return self._visitors.get(cookie)

    def welcome(self) -> Visitor:
        """A new visitor."""
        visitor = Visitor(cookie=secrets.token_urlsafe(24))
        _keep(self._visitors, visitor.cookie, visitor)
        return visitor

    def sign_in(self, visitor: Visitor, account: str) -> None:
        """From now on with another cookie: somebody may have planted the old one."""
        self.forget_cookie(visitor.cookie)
        visitor.cookie, visitor.account = secrets.token_urlsafe(24), account
        _keep(self._visitors, visitor.cookie, visitor)

    def forget_cookie(self, cookie: str) -> None:
        """It opens nothing any more."""
        self._visitors.pop(cookie, None)

    def find(self, id: str) -> Verification | None:
        """What the shop remembers of this id."""
        return self._known.get(id)

    async def begin(
        self, kind: Kind, to: str, *, by: str, visitor: Visitor, before: Before, client_ip: str
    ) -> tuple[Verification, Reply]:
        """Ask for a verification; without `to` the page behind its url asks for the address.

        It is remembered when the API took it.
        """
        id = secrets.token_urlsafe(9)
        one = Verification(id=id, kind=kind, to=to, by=by, before=before, visitor=visitor)
        fields = {"provider": one.provider, "purpose": _PURPOSES[kind]}
        fields |= {"to": to} if to else {}
        fields |= {"client_ip": client_ip} if client_ip else {}
        reply = await self._do(one, "PUT", "", fields)
        if reply.ok and (challenge := reply.challenge):
            # As the API reads the address: this is where the message goes.
            one.to, one.url, one.gen = challenge.to, challenge.url, challenge.gen
            _keep(self._known, one.id, one)
        return one, reply

    async def finish(self, one: Verification, receipt: str) -> bool:
        """Ask whether it is verified; only a yes signs anybody up or in."""
        fields = {"gen": one.gen} | ({"receipt": receipt} if receipt else {})
        reply = await self._do(one, "POST", "/status", fields)
        if reply.ok:
            one.to = reply.challenge.to if reply.challenge else one.to
            one.done, one.note = True, None
        elif not one.done:
            one.note = Note("bad", _unverified(one, reply))
        return one.done

    async def again(self, one: Verification) -> None:
        """Ask for the same message once more."""
        one.aside = _aside("again", await self._do(one, "POST", "/resend"), "Sent once more.")

    async def guess(self, one: Verification, code: str) -> None:
        """Try a code, as somebody would who does not have the right one."""
        reply = await self._do(one, "POST", "", {"otp": code})
        one.aside = _aside("guess", reply, "That was the right code.")

    async def cancel(self, one: Verification) -> None:
        """Say that it is not wanted any more."""
        reply = await self._do(one, "DELETE", "")
        one.note = None if reply.ok else Note("bad", in_words(reply))

    async def forget(self, one: Verification) -> None:
        """Say that the record of a verified one is not needed any more."""
        reply = await self._do(one, "DELETE", "/status", {"gen": one.gen})
        one.aside = _aside("forget", reply, "The shop needs it no more, and otpsvc drops the record.")

    async def read(self, id: str) -> Reply:
        """Where it stands. Asked often, so that it is not kept among the calls."""
        reply, _ = await self._client.call("GET", f"/api/otp/{id}", {})
        return reply

    async def _do(
        self, one: Verification, method: str, path: str, fields: Mapping[str, str] | None = None
    ) -> Reply:
        reply, call = await self._client.call(method, f"/api/otp/{one.id}{path}", fields or {})
        one.last = reply.challenge or one.last
        one.calls.append(call)
        return reply


#: The ways that each form may name; the first one when it names none.
WAYS: Final[Mapping[Kind, tuple[str, ...]]] = {"sign-up": (MAIL,), "sign-in": (SMS, MODEM)}
_PURPOSES: Final[Mapping[Kind, str]] = {"sign-up": "address_confirmation", "sign-in": "authentication"}


def _keep(kept: OrderedDict[str, Kept], key: str, value: Kept) -> None:
    kept[key] = value
    while len(kept) > _KEPT:
        kept.popitem(last=False)


def _aside(about: str, reply: Reply, good: str) -> Note:
    return Note(
        "good" if reply.ok else "bad",
        good if reply.ok else in_words(reply),
        about=about,
        wait=reply.wait,
    )


def _unverified(one: Verification, reply: Reply) -> str:
    """Why nobody was signed up or in."""
    if reply.code == "not_found":
        return "otpsvc knows nothing of this any more. Please start again."
    if reply.code != "not_verified":
        return in_words(reply)
    if one.kind == "sign-in":
        return (
            "otpsvc says: not verified. A sign-in takes more than a right code: the receipt, which only the"
            " form inside the shop's page hands over. Without it somebody else's click could sign you in."
        )
    return "otpsvc says: not verified yet. Type the code first."


def in_words(reply: Reply) -> str:
    """The API's refusal as a shop would say it."""
    match reply.code:
        case "wrong_code":
            left = reply.challenge.attempts_left if reply.challenge else 0
            if not left:
                return "Wrong code, and the last one: locked."
            tries = "1 attempt is" if left == 1 else f"{left} attempts are"
            return f"Wrong code. {tries} left."
        case "locked":
            return "Locked: from now on not even the right code would do."
        case "closed":
            return "This code was used already. A code works once."
        case "resend_too_soon":
            return "Too fast. The next message may leave in"
        case "not_found":
            return "This verification has ended. Please start again."
    return reply.message or "The service refused this."
