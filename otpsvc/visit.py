"""Who opens a page, and what they may do there: the verbs of `verify`, held to a capability.

A *view* token (in the reply to a create) opens the whole page. A *link* token (in a
message) may confirm an address; of an authentication or a transaction, and where a receipt
is needed, it only shows the code to type in the first window, and closes nothing. Where a
tenant has `open_view`, who has no token may look and try `OPEN_MOST` times. (SECURITY 8 to 12)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final, Literal

from otpsvc.address import masked
from otpsvc.challenge import Flag, Record
from otpsvc.code import Alphabet, normalised
from otpsvc.dispatch import Client
from otpsvc.errors import BadRequest, NotFound
from otpsvc.letter import unshaped
from otpsvc.message import MessageState
from otpsvc.request import read_id
from otpsvc.store import Answer
from otpsvc.tenant import Purpose, Tenant
from otpsvc.token import Subject
from otpsvc.token import read as read_token
from otpsvc.veiled import Veiled
from otpsvc.verify import Verifier
from otpsvc.view import Personal, View, shown

#: Attempts of one client without a token.
OPEN_MOST: Final = 2
_ENDED: Final = (MessageState.SENT, MessageState.DELIVERED, MessageState.FAILED)


class Visit(Veiled, frozen=True, kw_only=True):
    """A page that was opened: whose, of which challenge, by which right. `gen` empty: no token."""

    tenant: Tenant
    id: str
    right: Literal["view", "link", "open"]
    gen: bytes = b""

    @property
    def full(self) -> bool:
        """True for who may send again, and give an address."""
        return self.right == "view"

    def closes(self, purpose: Purpose) -> bool:
        """Whether a right code from here verifies.

        A link does so where nobody waits for a receipt: the window it opens hands none over.
        """
        if self.right != "link":
            return True
        return purpose == "address_confirmation" and not self.tenant.needs_receipt(purpose)


class Look(Veiled, frozen=True, kw_only=True):
    """What a page shows of a challenge. Times are whole seconds."""

    view: View
    #: Masked.
    to: str
    #: The kind of address that its way out takes.
    kind: str
    #: Of the code; 0 when the tenant supplied one, of whatever length.
    length: int
    alphabet: Alphabet
    locale: str
    #: Since the message was sent, or failed.
    age: int
    #: Since the create.
    asked: int
    can_resend: bool
    can_change_address: bool
    #: Other ways out to the same address.
    ways: tuple[str, ...]

    @property
    def open(self) -> bool:
        """True while something can be done."""
        return self.view.state in ("pending", "failed")


class Visits:
    """`tenants` gives those of this moment."""

    def __init__(self, verifier: Verifier, tenants: Callable[[], Mapping[str, Tenant]]) -> None:
        self._verifier = verifier
        self._tenants = tenants

    def admit(self, namespace: str, id: str, token: str) -> Visit:
        """Whom a token lets in; the store is not asked. Raises: NotFound, one for all reasons."""
        tenant = self._tenants().get(namespace)
        of, now = Subject(namespace, id), time.time()
        for right in ("view", "link"):
            read = read_token(self._verifier.keyring, right, of, token, now=now) if token else None
            if read is not None and tenant is not None:
                return Visit(tenant=tenant, id=id, right=right, gen=read.gen)
        if tenant is None or not tenant.open_view:
            raise NotFound("no valid token")
        try:
            return Visit(tenant=tenant, id=read_id(id), right="open")
        except BadRequest:
            raise NotFound("no such id") from None

    async def look(self, visit: Visit) -> Look:
        """What there is to see. Raises: NotFound (ended, or a newer create took its place), Busy."""
        verifier, tenant = self._verifier, visit.tenant
        n = verifier.keyring.name("id", tenant.name, visit.id)
        answer = await verifier.store.read(tenant.name, n)
        record = answer.record
        if answer.outcome != "read" or record is None or (visit.gen and record.gen != visit.gen):
            raise NotFound("the OTP does not exist")
        return self._look(visit, answer, record, verifier.personal(tenant, n, record))

    def _look(self, visit: Visit, answer: Answer, record: Record, personal: Personal) -> Look:
        view = shown(visit.tenant.name, record, personal, now=answer.now)
        length, alphabet = unshaped(personal.shape)
        supplied = bool(record.flags & Flag.SUPPLIED)
        again = visit.full and view.state in ("pending", "failed") and not supplied
        more = again and record.sends < record.max_sends
        since = max(0.0, answer.now - record.due_at) if record.message_state in _ENDED else 0.0
        return Look(
            view=view,
            to=masked(personal.to) if personal.to else "",
            kind=self.kind(visit.tenant, personal.provider),
            length=0 if supplied else length,
            alphabet=alphabet,
            locale=personal.locale,
            age=int(since / 1000),
            asked=int(max(0.0, answer.now - record.created) / 1000),
            can_resend=more and record.sends > 0,
            can_change_address=more and bool(record.flags & Flag.COLLECTED),
            ways=self._others(visit.tenant, personal.provider) if more else (),
        )

    def ways(self, tenant: Tenant, chosen: str) -> tuple[str, ...]:
        """What people may choose between: the ways that the tenant lists, if the chosen one is among them."""
        listed = [way for way in tenant.channels if way in self._verifier.providers(tenant)]
        return tuple(listed) if chosen in listed else (chosen,)

    def kind(self, tenant: Tenant, way: str) -> str:
        """The kind of address of a way out; "any" for one that is gone from the config."""
        try:
            return self._verifier.kind(tenant, way).name
        except BadRequest:
            return "any"

    def _others(self, tenant: Tenant, chosen: str) -> tuple[str, ...]:
        kind = self.kind(tenant, chosen)
        ways = self.ways(tenant, chosen)
        return tuple(way for way in ways if way != chosen and self.kind(tenant, way) == kind)

    # What a visitor may do. `address`: the client's; `nonce`: of the form, so that a form that is
    # posted twice gets the first answer.

    async def check(self, visit: Visit, code: str, *, address: str, nonce: str) -> View:
        """Evaluate one guess. Raises: as `Verifier.check`, and NotFound where a link may only show."""
        if visit.right == "link" and not visit.closes((await self.look(visit)).view.purpose):
            raise NotFound("a link that closes nothing")
        return await self._verifier.check(
            visit.tenant,
            visit.id,
            code,
            client=_client(address),
            op=self._op(visit, nonce, "check", normalised(code, visit.tenant.codes.alphabet)),
            gen=visit.gen,
            open_most=OPEN_MOST if visit.right == "open" else 0,
        )

    async def resend(self, visit: Visit, *, address: str, nonce: str) -> View:
        """Send the code again. Raises: as `Verifier.resend`, and NotFound without the right."""
        self._need_full(visit)
        op = self._op(visit, nonce, "resend")
        return await self._verifier.resend(visit.tenant, visit.id, seen=address, op=op, gen=visit.gen)

    async def direct(
        self, visit: Visit, way: str, to: str, *, address: str, nonce: str, locale: str = ""
    ) -> View:
        """Send the code to this address (empty: the one it has), this way.

        Raises: as `Verifier.direct`, and NotFound without the right.
        """
        self._need_full(visit)
        return await self._verifier.direct(
            visit.tenant,
            visit.id,
            gen=visit.gen,
            provider=way,
            to=to,
            locale=locale,
            seen=address,
            op=self._op(visit, nonce, "direct", way, to),
        )

    def _need_full(self, visit: Visit) -> None:
        if not visit.full:
            raise NotFound("no right to send")

    def _op(self, visit: Visit, nonce: str, *what: str) -> bytes:
        """The same for the same form with the same content; random without a nonce."""
        if not nonce:
            return b""
        return self._verifier.keyring.digest("op", visit.tenant.name, visit.id, nonce, *what)[:8]


def _client(address: str) -> Client:
    return Client(address, bool(address))
