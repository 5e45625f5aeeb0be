"""The verbs of verification: create, resend, check, status, read, cancel.

Each makes what its step needs, asks the store for one atomic step, and turns the
outcome into an answer or an error. Nothing here is remembered between two calls.
"""

from __future__ import annotations

from collections.abc import Mapping

from otpsvc.address import AddressKind, phone
from otpsvc.challenge import Record, State
from otpsvc.code import normalised, read_supplied
from otpsvc.creation import Maker
from otpsvc.dispatch import Client, Dispatch, Outbox, Place
from otpsvc.errors import BadRequest, NotFound, NotVerified
from otpsvc.guessing import ROUNDS, Guesser
from otpsvc.hashpool import Cost, HashPool
from otpsvc.keyring import Keyring
from otpsvc.letter import destination, open_personal
from otpsvc.refusal import check_refusal, refuse_once, send_refusal
from otpsvc.request import CreateRequest, read_gen, read_id
from otpsvc.store import Answer, Once, Store, new_op
from otpsvc.tenant import PURPOSES, Tenant
from otpsvc.token import RECEIPT_LIFE, Subject, sign
from otpsvc.token import read as read_token
from otpsvc.view import Personal, View, neutral, shown

CODE_MAX = 64
NOBODY = Client()


class Verifier:
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
        n, op = self._n(tenant, request.id), new_op()
        once = self._once(tenant, request)
        if once is not None and (first := await self._open_once(tenant, once, op)) is not None:
            return self._created(tenant, request, first, otp=supplied)
        client = Client(seen or request.client_ip, bool(seen))
        place = Place(request.provider, 0, ())
        try:
            guards = await self._dispatch.reserve(tenant, to, client)
            place = self._dispatch.keep(tenant, request.provider if to else "", guards)
            creation, draft = await self._maker.creation(
                tenant, request, kind=kind.name, to=to, supplied=supplied, n=n, op=op, once=once,
                lease=place.lease,
            )  # fmt: skip
        except BaseException:
            # Nothing was asked of the store yet: a second try must find the key free.
            await self._dispatch.release(tenant, place)
            if once is not None:
                await self.store.release_once(tenant.name, once.name)
            raise
        answer = await self._dispatch.send(tenant, n, place, self.store.create(creation), draft=draft)
        return self._created(tenant, request, answer, otp=supplied, personal=draft.personal)

    async def resend(
        self, tenant: Tenant, id: str, *, seen: str = "", client_ip: str = "", op: bytes = b""
    ) -> View:
        """Send the code of an open challenge again.

        `op`: 8 bytes; a repeat gets the first answer. Raises: NotFound, BadRequest, Limited, Busy.
        """
        n, client = self._n(tenant, read_id(id)), Client(seen or client_ip, bool(seen))
        for _ in range(ROUNDS):
            record, personal = await self._existing(tenant, n)
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

    # Check.

    async def check(
        self, tenant: Tenant, id: str, code: str, *, client: Client = NOBODY, op: bytes = b""
    ) -> View:
        """Evaluate one guess; the answer carries a receipt.

        `op`: 8 bytes; a repeat gets the first answer. Raises: BadRequest (nothing was
        counted), CheckRefused, Limited, Busy (nothing was counted).
        """
        read_id(id)
        if not code:
            raise BadRequest("`otp` is empty.", code="empty_otp", field="otp")
        if len(code) > CODE_MAX:
            raise BadRequest(f"`otp` is longer than {CODE_MAX} characters.", code="invalid_otp", field="otp")
        typed, n = normalised(code, tenant.codes.alphabet), self._n(tenant, id)
        answer = await self._guesser.guess(
            Subject(tenant.name, id),
            n,
            typed,
            limits=tenant.limits,
            client=self._dispatch.client(client),
            op=op or new_op(),
        )
        if answer.record is None or answer.outcome == "unsent":
            raise check_refusal(answer, neutral(tenant.name, id))
        if answer.record.state in (State.VERIFIED, State.LOCKED):
            self._dispatch.wake_events(tenant)
        if answer.outcome != "verified":
            raise check_refusal(answer, self._view(tenant, n, answer))
        return self._view(tenant, n, answer, receipt=self._receipt(tenant, id, answer))

    def _receipt(self, tenant: Tenant, id: str, answer: Answer) -> str:
        assert answer.record is not None
        expires = int(answer.now / 1000) + RECEIPT_LIFE
        op = answer.record.closing_op()
        return sign(
            self.keyring, "receipt", Subject(tenant.name, id), gen=answer.record.gen, expires=expires, op=op
        )

    # Status, read, cancel.

    async def status(
        self, tenant: Tenant, id: str, *, receipt: str = "", gen: str = "", consume: bool = False
    ) -> View:
        """The record of a verified challenge; `consume` forgets it.

        Raises: NotFound, NotVerified, BadRequest, Busy.
        """
        n, proof, until = self._n(tenant, read_id(id)), None, 0
        if receipt:
            token = read_token(self.keyring, "receipt", Subject(tenant.name, id), receipt, now=0)
            if token is None:
                raise NotVerified("OTP not verified.")
            proof, until = (token.gen, token.op), token.expires * 1000
        needs = "".join("01"[tenant.needs_receipt(purpose)] for purpose in PURPOSES)
        answer = await self.store.status(
            tenant.name,
            n,
            new_op(),
            needs=needs,
            receipt=proof,
            until=until,
            gen=read_gen(gen),
            consume=consume,
        )
        if answer.outcome == "open":
            raise NotVerified("OTP not verified.")
        if answer.outcome != "verified":
            raise NotFound("the OTP does not exist")
        return self._view(tenant, n, answer)

    async def read(self, tenant: Tenant, id: str) -> View:
        """The state of a challenge and of its message; changes nothing. Raises: NotFound, Busy."""
        n = self._n(tenant, read_id(id))
        answer = await self.store.read(tenant.name, n)
        if answer.record is None:
            raise NotFound("the OTP does not exist")
        return self._view(tenant, n, answer)

    async def cancel(self, tenant: Tenant, id: str) -> View:
        """Close an open challenge; its queued message is not sent. Raises: NotFound, Busy."""
        n = self._n(tenant, read_id(id))
        answer = await self.store.cancel(tenant.name, n, new_op())
        if answer.outcome != "cancelled":
            raise NotFound("the OTP does not exist")
        return self._view(tenant, n, answer)

    async def reset_budget(self, tenant: Tenant, provider: str, to: str) -> None:
        """Forget the wrong checks that were counted for an address. Raises: BadRequest, Busy."""
        address = self.kind(tenant, provider).parse(to)
        await self.store.reset_budget(tenant.name, destination(self.keyring, address))

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
        expires = int(answer.record.deadline / 1000) + 1
        token = sign(
            self.keyring,
            "view",
            Subject(tenant.name, request.id),
            gen=answer.record.gen,
            expires=expires,
        )
        url = f"{self._root_url}/otp/{tenant.name}/{request.id}?t={token}"
        n = self._n(tenant, request.id) if personal is None else ""
        return self._view(tenant, n, answer, otp=otp, url=url, personal=personal)

    async def _existing(self, tenant: Tenant, n: str) -> tuple[Record, Personal]:
        answer = await self.store.read(tenant.name, n)
        if answer.outcome != "read" or answer.record is None:
            raise NotFound("the OTP does not exist")
        personal = open_personal(self.keyring, answer.record.blob, tenant.name, n, route=answer.record.route)
        if not personal.to:
            raise BadRequest("No address was given yet.", code="no_address", field="to")
        return answer.record, personal

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
        if personal is None:
            personal = open_personal(
                self.keyring, answer.record.blob, tenant.name, n, route=answer.record.route
            )
        void = answer.outcome == "void"
        return shown(
            tenant.name, answer.record, personal, now=answer.now, otp=otp, url=url, receipt=receipt, void=void
        )
