"""The verbs that make a code leave: create, resend, and the address or way that a page names.

Each takes a place in the guards, makes what its step needs, and asks the store for one
atomic step. Nothing here is remembered between two calls.
"""

from __future__ import annotations

from collections.abc import Mapping

from otpsvc.address import AddressKind, phone
from otpsvc.challenge import NO_DESTINATION, Flag, Record
from otpsvc.code import read_supplied
from otpsvc.creation import Maker, Target
from otpsvc.dispatch import Client, Dispatch, Outbox, Place
from otpsvc.errors import BadRequest, NotFound
from otpsvc.guessing import ROUNDS, Guesser
from otpsvc.hashpool import Cost, HashPool
from otpsvc.keyring import Keyring
from otpsvc.letter import Draft, open_personal
from otpsvc.refusal import refuse_once, send_refusal
from otpsvc.request import CreateRequest, read_id
from otpsvc.store import Answer, Once, Store, new_op
from otpsvc.tenant import Tenant
from otpsvc.token import Subject, page_url
from otpsvc.view import Personal, View, shown


class Issuer:
    """`kinds` maps every route to the kind of its addresses."""

    def __init__(
        self,
        *,
        store: Store,
        keyring: Keyring,
        kinds: Mapping[str, AddressKind],
        outbox: Outbox,
        pool: HashPool,
        root_url: str,
        cost: Cost,
    ) -> None:
        self.store = store
        self.keyring = keyring
        self._kinds = kinds
        self._dispatch = Dispatch(store, outbox, keyring)
        self._guesser = Guesser(store, keyring, pool)
        self._root_url = root_url
        self._maker = Maker(keyring, pool, cost)

    # Create and resend.

    async def create(self, tenant: Tenant, request: CreateRequest, *, seen: str = "") -> View:
        """Make a challenge, or send again under the same id.

        `seen`: the client's address when our own page asks. Raises: BadRequest,
        Limited, StillRunning, KeyReused, Busy.
        """
        kind = self.kind(tenant, request.provider)
        to = kind.parse(request.to) if request.to else ""
        supplied = read_supplied(request.code, tenant.codes.alphabet) if request.code else ""
        target = Target(self._n(tenant, request.id), new_op(), kind.name, to, supplied)
        once = self._once(tenant, request)
        if once is not None and (first := await self._open_once(tenant, once, target.op)) is not None:
            return self._created(tenant, request, first, otp=supplied)
        client = Client(seen or request.client_ip, bool(seen))
        answer, draft = await self._create(tenant, request, target, once=once, client=client)
        return self._created(tenant, request, answer, otp=supplied, personal=draft.personal)

    async def _create(
        self, tenant: Tenant, request: CreateRequest, target: Target, *, once: Once | None, client: Client
    ) -> tuple[Answer, Draft]:
        """Take what a send needs, make the creation, run its step; give back what was taken for nothing."""
        place = Place(request.provider, 0, ())
        try:
            guards = await self._dispatch.reserve(tenant, target.to, client)
            # A page's repeat is answered as the first was, and must not take its message again.
            route = request.provider if target.to and not target.pin else ""
            place = self._dispatch.keep(tenant, route, guards)
            creation, draft = await self._maker.creation(
                tenant, request, target, once=once, lease=place.lease
            )
        except BaseException:
            # Nothing was asked of the store yet: a second try must find the key free.
            await self._dispatch.release(tenant, place)
            if once is not None:
                await self.store.release_once(tenant.name, once.name)
            raise
        step = self.store.create(creation)
        return await self._dispatch.send(tenant, target.n, place, step, draft=draft), draft

    async def direct(
        self,
        tenant: Tenant,
        id: str,
        *,
        gen: bytes,
        provider: str,
        to: str = "",
        locale: str = "",
        seen: str = "",
        op: bytes = b"",
    ) -> View:
        """Send an open challenge's code to the address that a page names, or by another way to its own.

        `gen`: that of the page, which stays. `to` empty: the address it has. `locale`: the
        page's language, for a challenge without one. Raises: NotFound, BadRequest, Limited, Busy.
        """
        kind, n = self.kind(tenant, provider), self._n(tenant, read_id(id))
        record, personal, now = await self._stored(tenant, n)
        if record.gen != gen:
            raise NotFound("the OTP does not exist")
        address = kind.parse(to or personal.to)
        # A code for a new address lives as long as the first did; on another way to the same no longer.
        life = record.deadline_after - record.gen_at if to else int(record.deadline - now)
        request = _redirected(
            record, personal, provider=provider, to=address, ttl=life // 1000, locale=locale
        )
        collected = bool(to) or bool(record.flags & Flag.COLLECTED)
        target = Target(
            n, op or new_op(), kind.name, address, self._kept_code(tenant, n, record), gen, collected
        )
        client = Client(seen, bool(seen))
        answer, draft = await self._create(tenant, request, target, once=None, client=client)
        return self._created(tenant, request, answer, otp="", personal=draft.personal)

    def _kept_code(self, tenant: Tenant, n: str, record: Record) -> str:
        """The tenant's own code of a challenge that waits for its address. Raises: BadRequest: it is gone."""
        if not record.flags & Flag.SUPPLIED:
            return ""
        if record.sends or not record.body:
            raise send_refusal(Answer("supplied", 0))
        return self.keyring.unseal(record.body, "body", tenant.name, n, NO_DESTINATION).decode()

    async def resend(
        self,
        tenant: Tenant,
        id: str,
        *,
        seen: str = "",
        client_ip: str = "",
        op: bytes = b"",
        gen: bytes = b"",
    ) -> View:
        """Send the code of an open challenge again.

        `op`: 8 bytes; a repeat gets the first answer. `gen`: only of this generation.
        Raises: NotFound, BadRequest, Limited, Busy.
        """
        n, client = self._n(tenant, read_id(id)), Client(seen or client_ip, bool(seen))
        for _ in range(ROUNDS):
            record, personal, _ = await self._stored(tenant, n)
            if gen and record.gen != gen:
                raise NotFound("the OTP does not exist")
            if not personal.to:
                raise BadRequest("No address was given yet.", code="no_address", field="to")
            guards = await self._dispatch.reserve(tenant, personal.to, client)
            # A repeat is answered as the first call was, and must not take its message again.
            place = self._dispatch.keep(tenant, "" if op else record.route, guards)
            try:
                resend = await self._maker.resend(
                    tenant, n, op or new_op(), record, personal, lease=place.lease
                )
            except BaseException:
                await self._dispatch.release(tenant, place)
                raise
            answer = await self._dispatch.send(tenant, n, place, self.store.resend(resend))
            if answer.outcome == "created":
                return self._view(tenant, n, answer)
            if answer.outcome != "offer":
                break
        raise send_refusal(answer)

    def kind(self, tenant: Tenant, provider: str) -> AddressKind:
        """The kind of address that a way out takes from this tenant. Raises: BadRequest."""
        kind = self._kinds.get(provider)
        if kind is None or not tenant.may_use(provider):
            raise BadRequest("Unknown provider.", code="unknown_provider", field="provider")
        return phone(tenant.country) if kind.name == "phone" and tenant.country else kind

    def providers(self, tenant: Tenant) -> list[str]:
        """The ways out that this tenant may name."""
        return [name for name in self._kinds if tenant.may_use(name)]

    # What they share.

    def _n(self, tenant: Tenant, id: str) -> str:
        return self.keyring.name("id", tenant.name, id)

    def _once(self, tenant: Tenant, request: CreateRequest) -> Once | None:
        if not request.idempotency_key:
            return None
        name = self.keyring.name("once", tenant.name, request.idempotency_key)
        # By the index key, which does not rotate: a repeat must be known for a whole day.
        return Once(name, self.keyring.digest("idempotency", tenant.name, request.body))

    async def _open_once(self, tenant: Tenant, once: Once, op: bytes) -> Answer | None:
        answer = await self.store.once(tenant.name, once.name, once.fingerprint, op)
        refuse_once(answer.outcome)
        return answer if answer.outcome == "done" else None

    def _created(
        self,
        tenant: Tenant,
        request: CreateRequest,
        answer: Answer,
        *,
        otp: str,
        personal: Personal | None = None,
    ) -> View:
        refuse_once(answer.outcome)
        if answer.outcome not in ("created", "done"):
            raise send_refusal(answer)
        assert answer.record is not None
        of = Subject(tenant.name, request.id)
        url = page_url(self.keyring, "view", of, answer.record, root_url=self._root_url)
        n = self._n(tenant, request.id) if personal is None else ""
        return self._view(tenant, n, answer, otp=otp, url=url, personal=personal)

    async def _stored(self, tenant: Tenant, n: str) -> tuple[Record, Personal, float]:
        """A record, its sealed part, and the store's time."""
        answer = await self.store.read(tenant.name, n)
        if answer.outcome != "read" or answer.record is None:
            raise NotFound("the OTP does not exist")
        return answer.record, self.personal(tenant, n, answer.record), answer.now

    def personal(self, tenant: Tenant, n: str, record: Record) -> Personal:
        """The sealed part of a record. Raises: KeyNotOffered, KeyringError."""
        return open_personal(self.keyring, record.blob, tenant.name, n, route=record.route)

    def _view(
        self,
        tenant: Tenant,
        n: str,
        answer: Answer,
        *,
        otp: str = "",
        url: str = "",
        receipt: str = "",
        personal: Personal | None = None,
    ) -> View:
        assert answer.record is not None
        personal = personal or self.personal(tenant, n, answer.record)
        void = answer.outcome == "void"
        return shown(
            tenant.name, answer.record, personal, now=answer.now, otp=otp, url=url, receipt=receipt, void=void
        )


def _redirected(
    record: Record, personal: Personal, *, provider: str, to: str, ttl: int, locale: str
) -> CreateRequest:
    """A challenge as a create of its own, with another way or address."""
    return CreateRequest(
        id=personal.id,
        provider=provider,
        to=to,
        ttl=max(1, ttl),
        max_attempts=record.max_attempts,
        max_sends=record.max_sends,
        extra=personal.extra,
        channel_description=personal.channel_description,
        address_description=personal.address_description,
        purpose=record.purpose,
        locale=personal.locale or locale,
        trusted=bool(record.flags & Flag.TRUSTED),
        bound=personal.bound,
        text=personal.text,
        subject=personal.subject,
    )
