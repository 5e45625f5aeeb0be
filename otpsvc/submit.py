"""Raw messages: put into the outbox, and read again. They go behind every code."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, Literal

from msgspec import Struct, structs

from otpsvc.address import EMAIL, AddressKind
from otpsvc.blocking import read_number
from otpsvc.challenge import RAW, MessageRecord, pack_raw, unpack_raw
from otpsvc.errors import BadAddress, BadRequest, Forbidden, KeyReused, Limited, NotFound
from otpsvc.keyring import Keyring, lp
from otpsvc.letter import RawBody, destination, seal_raw
from otpsvc.lines import Lines, named
from otpsvc.message import Lane, MessageState
from otpsvc.refusal import blocked_refusal, seconds
from otpsvc.store import Posting, Store
from otpsvc.tenant import Scope, Tenant
from otpsvc.veiled import Veiled

By = Literal["phone", "email"]
SCOPES: Final[Mapping[By, Scope]] = {"phone": "sms", "email": "mail"}
#: Characters; a longer subject is a text.
SUBJECT_MAX: Final = 200
TEXT_MAX: Final = 10_000
#: Seconds that a raw message may wait at most: three days.
LIFE_MAX: Final = 259_200
#: Milliseconds for which an Idempotency-Key is known.
KEY_LIFE: Final = 86_400_000


class Submission(Veiled, frozen=True, kw_only=True):
    """One message as somebody asks for it.

    `route` empty: the configured or only way for this kind of address. `life` in seconds,
    0: as configured. `once` makes a repeat known for `once_life` milliseconds;
    `fingerprint` tells the same request from another one under that name.
    """

    to: str
    text: str
    subject: str = ""
    route: str = ""
    by: By | None = None
    life: float = 0.0
    modem: str = ""
    once: str = ""
    once_life: int = KEY_LIFE
    fingerprint: bytes = bytes(16)


class Submitted(Struct, frozen=True, kw_only=True):
    """A raw message on the wire. `uncertain`: how often it may have been sent without our knowing."""

    id: str
    state: MessageState
    route: str = ""
    parts: int = 0
    tries: int = 0
    uncertain: int = 0
    reason: str = ""
    created_at: str = ""
    deadline: str = ""
    #: It had been asked for before.
    repeated: bool = False


class Defaults(Struct, frozen=True, kw_only=True):
    """`sms` and `mail`: the ways of messages that name none; `life` in seconds."""

    sms: str = ""
    mail: str = ""
    life: int = 3600


class Submitter:
    """`kinds` maps every route to the kind of its addresses; `wake` tells the courier."""

    def __init__(
        self,
        store: Store,
        keyring: Keyring,
        kinds: Mapping[str, AddressKind],
        *,
        wake: Callable[[str, str, Lane], None],
        defaults: Callable[[], Defaults],
    ) -> None:
        self._store = store
        self.keyring = keyring
        self._kinds = kinds
        self._wake = wake
        self._defaults = defaults

    async def submit(self, tenant: Tenant, asked: Submission) -> Submitted:
        """Queue one. Raises: BadRequest, Forbidden, Limited, KeyReused, StoreUnavailable."""
        route = self.way(tenant, asked)
        to = self._read(tenant, route, asked)
        check_text(asked.text, asked.subject)
        dest, n = destination(self.keyring, to), secrets.token_urlsafe(16)
        if (await self._store.barred([dest]))[0]:
            raise blocked_refusal()
        body = RawBody(to, asked.text, asked.subject, asked.modem)
        posted = await self._store.enqueue(
            Posting(
                tenant=tenant.name,
                n=n,
                route=route,
                ttl=int(min(asked.life or self._defaults().life, LIFE_MAX) * 1000),
                dest=dest,
                meta=pack_raw(dest, asked.fingerprint),
                body=seal_raw(self.keyring, body, tenant.name, n, dest),
                sends=tenant.limits.sends if tenant.limits.enabled else None,
                once=asked.once,
                once_life=asked.once_life,
            )
        )
        if posted.outcome == "blocked":
            raise blocked_refusal()
        if posted.outcome == "budget":
            wait = seconds(posted.wait)
            words = f"This namespace has used up its sends. Retry after {wait} seconds."
            raise Limited(words, retry_after=wait, code="send_budget")
        assert posted.record is not None
        if unpack_raw(posted.record.meta).fingerprint != asked.fingerprint:
            raise KeyReused("This Idempotency-Key was used with another request.")
        self._wake(tenant.name, route, "message")
        return _shown(posted.n, posted.record, repeated=posted.outcome == "known")

    async def at_modem(self, tenant: Tenant, lines: Lines, asked: Submission) -> Submission:
        """With the modem that it names by its whole name, and that modem's channel as its way.

        Raises: Forbidden, NotFound (no such modem), BadRequest (none of that way), StoreUnavailable.
        """
        if not asked.modem:
            return asked
        self._permit(tenant, asked.by or "phone")
        line = named(await lines.lines(), asked.modem)
        if asked.route not in ("", line.channel):
            raise BadRequest("This modem is none of that channel.", code="unknown_modem", field="modem")
        return structs.replace(asked, route=line.channel, modem=f"{line.channel}.{line.name}")

    async def read(self, tenant: Tenant, id: str) -> Submitted:
        """Where a message is; changes nothing. Raises: NotFound, StoreUnavailable."""
        record = await self._store.message(tenant.name, id) if 0 < len(id) <= 64 else None
        if record is None or record.kind != RAW:
            raise NotFound("There is no such message.")
        return _shown(id, record)

    def way(self, tenant: Tenant, asked: Submission) -> str:
        """The route that it takes, where the tenant may send so. Raises: BadRequest, Forbidden."""
        by: By = asked.by or ("email" if "@" in asked.to else "phone")
        if asked.route:
            kind = self._kinds.get(asked.route)
            if kind is None or not tenant.may_use(asked.route):
                raise BadRequest("Unknown channel or route.", code="unknown_provider", field="channel")
            # Kinds of third parties count as numbers: they are no mail.
            self._permit(tenant, by if kind.name == "any" else "email" if kind.name == "email" else "phone")
            return asked.route
        self._permit(tenant, by)
        return self.usual_way(tenant, by)

    def takes(self, route: str, by: By) -> bool:
        """Whether messages of this kind can go that way."""
        return takes(self._kinds, route, by)

    def usual_way(self, tenant: Tenant, by: By) -> str:
        """Of messages that name none. Raises: BadRequest."""
        if way := usual_way(self._kinds, self._defaults(), tenant, by):
            return way
        words = "There is no way out for text messages." if by == "phone" else "There is no way out for mail."
        raise BadRequest(words, code="no_way_out", field="to")

    def _permit(self, tenant: Tenant, by: By) -> None:
        if SCOPES[by] not in tenant.scopes:
            what = "text messages" if by == "phone" else "mails"
            raise Forbidden(f"This namespace may not send {what}.", code="scope")

    def _read(self, tenant: Tenant, route: str, asked: Submission) -> str:
        """The address as it is sent to; what is said to be a number must be one on every way."""
        kind = self._kinds[route].name
        if kind == "any":
            kind = asked.by or ""
        if kind == "email":
            return EMAIL.parse(asked.to)
        if kind == "phone":
            # With the short codes of services, which codes are never sent to.
            return read_number(asked.to, tenant.country)
        return self._kinds[route].parse(asked.to)


def takes(kinds: Mapping[str, AddressKind], route: str, by: By) -> bool:
    """Whether messages of this kind can go that way."""
    kind = kinds.get(route)
    return kind is not None and (kind.name == "any" or (kind.name == "email") == (by == "email"))


def usual_way(kinds: Mapping[str, AddressKind], defaults: Defaults, tenant: Tenant, by: By) -> str:
    """Of messages that name none: one for such addresses alone, else one for any; empty: there is none."""
    named = defaults.sms if by == "phone" else defaults.mail
    exact = [way for way, kind in kinds.items() if kind.name == by]
    ways = [named] if named else [*exact, *(way for way in kinds if takes(kinds, way, by))]
    return next((way for way in ways if way in kinds and tenant.may_use(way)), "")


def check_text(text: str, subject: str) -> None:
    """Raises: BadRequest."""
    if not text:
        raise BadRequest("`text` is empty.", code="empty_text", field="text")
    if len(text) > TEXT_MAX:
        raise BadRequest(f"`text` is longer than {TEXT_MAX} characters.", code="text_too_long", field="text")
    both = text + subject
    if not both.isascii() and any(0xD800 <= ord(char) <= 0xDFFF for char in both):
        raise BadRequest("`text` holds half of a character.", code="invalid_text", field="text")
    if "\0" in text or "\x1a" in text:
        raise BadRequest("`text` holds a control character.", code="invalid_text", field="text")
    if len(subject) > SUBJECT_MAX or not subject.isprintable():
        words = f"`subject` is one line of at most {SUBJECT_MAX} characters."
        raise BadRequest(words, code="invalid_subject", field="subject")


def one_form(tenant: Tenant, by: By, address: str) -> str:
    """The same for all ways to write a number; what is none is refused later."""
    if by == "email":
        return address
    try:
        return read_number(address, tenant.country)
    except BadAddress:
        return address


def fingerprint(keyring: Keyring, tenant: Tenant, *parts: str) -> bytes:
    """What a repeat is held against: 16 bytes of the whole request."""
    return keyring.digest("message", tenant.name, lp(*parts))


def _shown(n: str, record: MessageRecord, *, repeated: bool = False) -> Submitted:
    return Submitted(
        id=n,
        state=record.message_state,
        route=record.route,
        parts=unpack_raw(record.meta).parts,
        tries=record.tries,
        uncertain=record.uncertain,
        reason=record.reason,
        created_at=_time(record.created),
        deadline=_time(record.deadline),
        repeated=repeated,
    )


def _time(ms: float) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
