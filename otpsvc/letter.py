"""Makes the message of a claimed record: opens what is sealed, derives the code, renders the text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import force_setattr

from otpsvc.address import canonical
from otpsvc.challenge import EventMeta, Flag, Record, unpack_event, unpack_raw
from otpsvc.code import ALPHABETS, Alphabet, derived_code
from otpsvc.errors import KeyringError
from otpsvc.keyring import Key, Keyring, lp
from otpsvc.message import Message
from otpsvc.render import Templates, render
from otpsvc.store import Claimed
from otpsvc.tenant import Tenant, Texts
from otpsvc.token import Subject, page_url, same
from otpsvc.veiled import Veiled
from otpsvc.view import Personal

_SHAPES = tuple(ALPHABETS)
_EVENT_TYPES = {"v": "verified", "l": "locked", "x": "expired", "f": "failed", "r": "failed"}
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Personal).decode


class Draft(Veiled, frozen=True):
    """What the maker of a challenge has at hand, so that its courier need not open it again.

    `code` belongs to the generation `gen`; empty: it must be made again.
    """

    personal: Personal
    gen: bytes
    code: str = ""


class RawBody(Veiled, frozen=True, array_like=True):
    """What is sealed of a raw message."""

    to: str
    text: str
    subject: str = ""
    modem: str = ""


_decode_raw = msgspec.msgpack.Decoder(RawBody).decode


class Way(Struct, frozen=True):
    """What a letter must know of a route: the kind of its addresses, its own texts."""

    kind: str
    texts: Texts


def shape(length: int, alphabet: Alphabet) -> int:
    """A code's form as one number, see `Personal.shape`."""
    return length * 10 + _SHAPES.index(alphabet)


def unshaped(form: int) -> tuple[int, Alphabet]:
    """Length and alphabet of a form."""
    return form // 10, _SHAPES[form % 10]


def derived(key: Key, of: Subject, gen: bytes, dest: bytes, form: int) -> str:
    """A generation's code for one destination. Stored nowhere: who has the key makes it again."""
    return derived_code(key.subkey("derive"), lp(*of, gen, dest), *unshaped(form))


def seal_personal(keyring: Keyring, personal: Personal, tenant: str, n: str, *, route: str) -> bytes:
    """Bound to the record; to its destination by the digest that `destination` gives.

    Every byte stands a million times in a large store: fields at the end that are empty are
    left out, and the provider where the record's route tells it.
    """
    fields: list[object] = list(msgspec.structs.astuple(personal))
    if personal.provider == route:
        fields[3] = ""
    while not fields[-1]:
        fields.pop()
    return keyring.seal(_encode(fields), "blob", tenant, n)


def open_personal(keyring: Keyring, blob: bytes, tenant: str, n: str, *, route: str) -> Personal:
    """Raises: KeyNotOffered, KeyringError."""
    personal = _decode(keyring.unseal(blob, "blob", tenant, n))
    if not personal.provider:
        force_setattr(personal, "provider", route)
    return personal


def destination(keyring: Keyring, to: str) -> bytes:
    """What stands for an address in records, budgets and guards."""
    return keyring.digest("dest", canonical(to))


def seal_code(keyring: Keyring, code: str, tenant: str, n: str, dest: bytes) -> bytes:
    """For codes that cannot be derived; kept only until the message has ended."""
    return keyring.seal(code.encode(), "body", tenant, n, dest)


def seal_raw(keyring: Keyring, body: RawBody, tenant: str, n: str, dest: bytes) -> bytes:
    """Bound to the message and its destination; gone when the message has ended."""
    return keyring.seal(_encode(body), "raw", tenant, n, dest)


class Letters:
    """Composes for every tenant and route. `tenants` is asked anew each time: it may be reloaded."""

    def __init__(
        self,
        keyring: Keyring,
        tenants: Callable[[], Mapping[str, Tenant]],
        ways: Mapping[str, Way],
        *,
        root_url: str,
    ) -> None:
        self._keyring = keyring
        self._tenants = tenants
        self._ways = ways
        self._root_url = root_url
        self._templates: dict[tuple[str, str, str], Templates] = {}

    def forget(self) -> None:
        """Templates may have changed."""
        self._templates.clear()

    def compose(self, claimed: Claimed, draft: Draft | None = None) -> Message:
        """Raises: KeyNotOffered, KeyringError, BadRequest (a text that cannot be sent)."""
        if claimed.challenge is not None:
            return self._code_message(claimed, claimed.challenge, draft)
        if claimed.lane == "event":
            return self._event(claimed)
        return self._raw(claimed)

    def _code_message(self, claimed: Claimed, record: Record, draft: Draft | None) -> Message:
        tenant = claimed.tenant
        personal = draft.personal if draft else self._personal(claimed, record)
        code = draft.code if draft and draft.code else self._code(claimed, record, personal)
        seconds = max(1, int(claimed.left))
        owner = self._tenants().get(tenant) or Tenant(name=tenant)
        locale = personal.locale or owner.locale or "en"
        words = render(
            self._texts(owner, claimed.route, locale),
            {
                "code": code,
                "to": personal.to,
                "title": owner.title or owner.name,
                "minutes": seconds // 60,
                "seconds": seconds,
                "url": f"{self._page(tenant, record, personal)}#otp={code}",
                "id": personal.id,
                "purpose": record.purpose,
                "locale": locale,
                "provider": personal.provider,
            },
            address_kind_name=self._ways[claimed.route].kind,
        )
        own = personal.text
        return Message(
            id=f"{claimed.n}.{record.gen.hex()[:8]}.{record.sends}",
            to=personal.to,
            # A plain replacement: whoever wrote this text gets no template language.
            text=own.replace("%s", code) if own else words.text,
            subject=personal.subject if own else words.subject,
            html="" if own else words.html,
            code=code,
            expires=record.deadline / 1000,
            until=claimed.until,
            tenant=tenant,
            locale=locale,
            record=_record(tenant, record, personal, code, seconds),
        )

    def _page(self, tenant: str, record: Record, personal: Personal) -> str:
        of = Subject(tenant, personal.id)
        return page_url(self._keyring, "link", of, record, root_url=self._root_url)

    def _personal(self, claimed: Claimed, record: Record) -> Personal:
        personal = open_personal(self._keyring, record.blob, claimed.tenant, claimed.n, route=record.route)
        if not same(destination(self._keyring, personal.to), record.dest):
            raise KeyringError("a record's address is not the one its code was made for")
        return personal

    def _code(self, claimed: Claimed, record: Record, personal: Personal) -> str:
        tenant, keyring = claimed.tenant, self._keyring
        if record.body:
            return keyring.unseal(record.body, "body", tenant, claimed.n, record.dest).decode()
        if record.flags & (Flag.SUPPLIED | Flag.SLOW_HASH):
            raise KeyringError("a code that cannot be derived is gone")
        of = Subject(tenant, personal.id)
        return derived(keyring.key(record.kid), of, record.gen, record.dest, personal.shape)

    def _texts(self, tenant: Tenant, route: str, locale: str) -> Templates:
        known = self._templates.get((tenant.name, route, locale))
        if known is None:
            layers = (tenant.templates, self._ways[route].texts)
            known = Templates(*layers, locale=locale, origins=tenant.origins, root_url=self._root_url)
            # `locale` comes from requests: what people make up must not fill the memory.
            if len(self._templates) < 1000:
                self._templates[tenant.name, route, locale] = known
        return known

    def _raw(self, claimed: Claimed) -> Message:
        message, keyring = claimed.message, self._keyring
        assert message is not None
        dest = unpack_raw(message.meta).dest
        body = _decode_raw(keyring.unseal(message.body, "raw", claimed.tenant, claimed.n, dest))
        if not same(destination(keyring, body.to), dest):
            raise KeyringError("a message's address is not the one that was asked for")
        return Message(
            id=claimed.n,
            to=body.to,
            text=body.text,
            subject=body.subject,
            modem=body.modem,
            expires=message.deadline / 1000,
            until=claimed.until,
            tenant=claimed.tenant,
        )

    def _event(self, claimed: Claimed) -> Message:
        message = claimed.message
        assert message is not None
        meta = unpack_event(message.meta)
        personal = open_personal(
            self._keyring, message.body, claimed.tenant, meta.challenge, route=meta.route
        )
        body = event_body(claimed.tenant, meta, personal)
        return Message(
            id=f"evt_{claimed.n}",
            to="",
            text=body,
            expires=message.deadline / 1000,
            until=claimed.until,
            tenant=claimed.tenant,
        )


def event_body(tenant: str, meta: EventMeta, personal: Personal) -> str:
    """The JSON that a tenant's callback gets: no code, no address."""
    word = _EVENT_TYPES[meta.kind]
    return msgspec.json.encode(
        {
            "type": f"otp.{word}",
            "timestamp": datetime.fromtimestamp(meta.at / 1000, UTC).isoformat(timespec="milliseconds"),
            "data": {
                "namespace": tenant,
                "id": personal.id,
                "gen": meta.gen.hex(),
                "state": word,
                "purpose": meta.purpose,
                "provider": personal.provider,
                "extra": Raw(personal.extra or b"{}"),
                "attempts": meta.attempts,
                "generate": meta.sends,
                "message": {
                    "state": meta.message_state,
                    "uncertain": meta.uncertain,
                    "reason": "store_restarted" if meta.kind == "r" else meta.reason,
                },
            },
        }
    ).decode()


def _record(tenant: str, record: Record, personal: Personal, code: str, seconds: int) -> dict[str, object]:
    """otpgateway's record, for the channels whose wire carries it."""
    return {
        "namespace": tenant,
        "id": personal.id,
        "to": personal.to,
        "channel_description": personal.channel_description,
        "address_description": personal.address_description,
        "extra": Raw(personal.extra or b"{}"),
        "provider": personal.provider,
        "otp": code,
        "max_attempts": record.max_attempts,
        "attempts": record.attempts,
        "generate": record.sends,
        "max_generate": record.max_sends,
        "closed": False,
        "ttl": seconds,
        "purpose": record.purpose,
    }
