"""The verbs of verification: create, resend, check, status, read, cancel.

Each makes what its step needs, asks the store for one atomic step, and turns the
outcome into an answer or an error. Nothing here is remembered between two calls.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from otpsvc.address import AddressKind, canonical, phone
from otpsvc.challenge import Record, State
from otpsvc.code import normalised, read_supplied
from otpsvc.creation import Maker
from otpsvc.errors import BadRequest, KeyNotOffered, KeyReused, NotFound, NotVerified, StillRunning
from otpsvc.hashpool import Cost, HashPool, slow_digest
from otpsvc.keyring import Keyring
from otpsvc.letter import destination, open_personal
from otpsvc.message import Lane
from otpsvc.refusal import refuse_check, refuse_guard, refuse_send
from otpsvc.request import CreateRequest, client_prefix, read_id
from otpsvc.store import Answer, Claimed, Guess, Offer, Once, Store, claimed_challenge
from otpsvc.tenant import PURPOSES, Rate, Tenant
from otpsvc.token import RECEIPT_LIFE, sign
from otpsvc.token import read as read_token
from otpsvc.view import Personal, View, neutral, shown

CODE_MAX = 64
#: Of a slow hash: the record may be replaced while its code is hashed.
ROUNDS = 3


class Outbox(Protocol):
    """The part of the courier that verification sees."""

    def lease(self, tenant: str, route: str) -> int:
        """Keep a place and give milliseconds to fill it, or 0: then the message is queued."""

    def take(self, claimed: Claimed) -> None:
        """Send what was claimed for a kept place."""

    def give_back(self, tenant: str, route: str) -> None:
        """The kept place is not needed."""

    def wake(self, tenant: str, route: str, lane: Lane) -> None:
        """Something was queued there."""


class Client(Struct, frozen=True):
    """Whose browser asks: the address, and whether we saw it ourselves or a tenant told us."""

    address: str = ""
    seen: bool = False


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
        self._outbox = outbox
        self._pool = pool
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
        n, op = self._n(tenant, request.id), secrets.token_bytes(8)
        once = self._once(tenant, request)
        if once is not None and (first := await self._open_once(tenant, once, op)) is not None:
            return self._created(tenant, request, first, n, supplied)
        client = Client(seen or request.client_ip, bool(seen))
        guards = self._guards(tenant, to, client) if to else []
        lease = 0
        try:
            await self._reserve(guards)
            lease = self._outbox.lease(tenant.name, request.provider) if to else 0
            creation, _ = await self._maker.creation(
                tenant, request, kind=kind.name, to=to, supplied=supplied, n=n, op=op, once=once, lease=lease
            )
        except BaseException:
            # Nothing was asked of the store yet: a second try must find the key free.
            await self._give_back(tenant, request.provider, lease, once)
            raise
        answer = await self._sent(tenant, n, request.provider, lease, guards, self.store.create(creation))
        return self._created(tenant, request, answer, n, supplied)

    async def resend(self, tenant: Tenant, id: str, *, seen: str = "", client_ip: str = "") -> View:
        """Send the code of an open challenge again. Raises: NotFound, BadRequest, Limited, Busy."""
        n, op = self._n(tenant, read_id(id)), secrets.token_bytes(8)
        for _ in range(ROUNDS):
            record, personal, _ = await self._existing(tenant, n)
            guards = self._guards(tenant, personal.to, Client(seen or client_ip, bool(seen)))
            await self._reserve(guards)
            lease = self._outbox.lease(tenant.name, record.route)
            try:
                resend = await self._maker.resend(tenant, n, op, record, personal, lease=lease)
            except BaseException:
                await self._give_back(tenant, record.route, lease, None)
                raise
            answer = await self._sent(tenant, n, record.route, lease, guards, self.store.resend(resend))
            if answer.outcome == "created":
                return self._view(tenant, n, answer)
            if answer.outcome != "offer":
                break
        refuse_send(answer)

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
        self, tenant: Tenant, id: str, code: str, *, client: Client = Client(), op: bytes = b""
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
        answer = await self._guess(tenant, n, id, typed, client, op or secrets.token_bytes(8))
        if answer.record is None or answer.outcome == "unsent":
            refuse_check(answer, neutral(tenant.name, id))
        if answer.outcome in ("verified", "locked", "wrong"):
            self._tell(tenant, answer.record)
        if answer.outcome != "verified":
            refuse_check(answer, self._view(tenant, n, answer))
        return self._view(tenant, n, answer, receipt=self._receipt(tenant, id, answer))

    async def _guess(self, tenant: Tenant, n: str, id: str, code: str, client: Client, op: bytes) -> Answer:
        limits = tenant.limits
        budgets = (limits.wrong_checks_client, limits.wrong_checks, limits.wrong_checks_trusted)
        offers = [Offer("h", kid, digest) for kid, digest in self.keyring.code_digests(tenant.name, id, code)]
        gen = b""
        for _ in range(ROUNDS):
            answer = await self.store.check(
                Guess(
                    tenant=tenant.name,
                    n=n,
                    op=op,
                    client=self._client(client),
                    limits=budgets if limits.enabled else None,
                    offers=offers,
                    gen=gen,
                )
            )
            if answer.outcome != "offer" or answer.record is None:
                return answer
            record = answer.record
            key = self.keyring.key(record.kid)
            if not record.slow_hash:
                raise KeyNotOffered
            keyed = self.keyring.code_digest(key, tenant.name, id, code)
            digest = await self._pool.run(slow_digest, keyed, record.salt)
            offers, gen = [*offers, Offer("a", record.kid, digest)], record.gen
        raise KeyNotOffered

    def _receipt(self, tenant: Tenant, id: str, answer: Answer) -> str:
        assert answer.record is not None
        expires = int(answer.now / 1000) + RECEIPT_LIFE
        op = answer.record.closing_op()
        return sign(self.keyring, "receipt", tenant.name, id, answer.record.gen, expires=expires, op=op)

    # Status, read, cancel.

    async def status(
        self, tenant: Tenant, id: str, *, receipt: str = "", gen: str = "", consume: bool = False, now: float
    ) -> View:
        """The record of a verified challenge; `consume` forgets it. `now`: Unix time in seconds.

        Raises: NotFound, NotVerified, BadRequest, Busy.
        """
        n, proof = self._n(tenant, read_id(id)), None
        if receipt:
            token = read_token(self.keyring, "receipt", tenant.name, id, receipt, now=now)
            if token is None:
                raise NotVerified("OTP not verified.")
            proof = (token.gen, token.op)
        needs = "".join("01"[tenant.needs_receipt(purpose)] for purpose in PURPOSES)
        answer = await self.store.status(
            tenant.name, n, secrets.token_bytes(8), needs=needs, receipt=proof, gen=_gen(gen), consume=consume
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
        """Close an open challenge: its code is dead, its queued message is not sent. Raises: NotFound, Busy."""
        n = self._n(tenant, read_id(id))
        answer = await self.store.cancel(tenant.name, n, secrets.token_bytes(8))
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

    def _client(self, client: Client) -> bytes:
        if not client.address:
            return b""
        # An address that a tenant tells must not be able to use up one that we saw.
        return self.keyring.digest("seen" if client.seen else "told", client_prefix(client.address))[:8]

    def _guards(self, tenant: Tenant, to: str, client: Client) -> list[tuple[str, Sequence[Rate]]]:
        if not tenant.limits.enabled:
            return []
        guards: list[tuple[str, Sequence[Rate]]] = []
        if tenant.limits.destination:
            guards.append(("d:" + self.keyring.name("dest", canonical(to)), tenant.limits.destination))
        if client.address and tenant.limits.client:
            guards.append(("c:" + self._client(client).hex(), tenant.limits.client))
        return guards

    async def _reserve(self, guards: Sequence[tuple[str, Sequence[Rate]]]) -> None:
        if guards:
            wait, which = await self.store.reserve(guards)
            if wait > 0:
                refuse_guard(guards[which][0], wait)

    def _once(self, tenant: Tenant, request: CreateRequest) -> Once | None:
        if not request.idempotency_key:
            return None
        key = self.keyring
        print_ = key.active.mac("idempotency", request.body)[:16]
        return Once(key.name("once", tenant.name, request.idempotency_key), print_)

    async def _open_once(self, tenant: Tenant, once: Once, op: bytes) -> Answer | None:
        answer = await self.store.once(tenant.name, once.name, once.fingerprint, op)
        _refuse_once(answer.outcome)
        return answer if answer.outcome == "done" else None

    def _created(self, tenant: Tenant, request: CreateRequest, answer: Answer, n: str, otp: str) -> View:
        _refuse_once(answer.outcome)
        if answer.outcome not in ("created", "done"):
            refuse_send(answer)
        assert answer.record is not None
        expires = int(answer.record.deadline / 1000) + 1
        token = sign(self.keyring, "view", tenant.name, request.id, answer.record.gen, expires=expires)
        url = f"{self._root_url}/otp/{tenant.name}/{request.id}?t={token}"
        return self._view(tenant, n, answer, otp=otp, url=url)

    async def _sent(
        self,
        tenant: Tenant,
        n: str,
        route: str,
        lease: int,
        guards: Sequence[tuple[str, Sequence[Rate]]],
        step: Awaitable[Answer],
    ) -> Answer:
        """Run a step that sends; hand the message over, or give back what was taken for it."""
        taken = False
        try:
            answer = await step
            record = answer.record
            if answer.outcome == "created" and record is not None and record.route:
                taken = bool(lease)
                if lease:
                    self._outbox.take(claimed_challenge(tenant.name, n, record, answer.now))
                else:
                    self._outbox.wake(tenant.name, record.route, "otp")
        finally:
            if lease and not taken:
                self._outbox.give_back(tenant.name, route)
        if answer.outcome != "created" and guards:
            await self.store.unreserve([name for name, _ in guards])
        return answer

    async def _give_back(self, tenant: Tenant, route: str, lease: int, once: Once | None) -> None:
        if lease:
            self._outbox.give_back(tenant.name, route)
        if once is not None:
            await self.store.release_once(tenant.name, once.name)

    def _tell(self, tenant: Tenant, record: Record) -> None:
        if tenant.callback_url and record.state in (State.VERIFIED, State.LOCKED):
            self._outbox.wake(tenant.name, "callback", "event")

    async def _existing(self, tenant: Tenant, n: str) -> tuple[Record, Personal, float]:
        answer = await self.store.read(tenant.name, n)
        if answer.outcome != "read" or answer.record is None:
            raise NotFound("the OTP does not exist")
        personal = open_personal(self.keyring, answer.record.blob, tenant.name, n)
        if not personal.to:
            raise BadRequest("No address was given yet.", code="no_address", field="to")
        return answer.record, personal, answer.now

    def _view(
        self, tenant: Tenant, n: str, answer: Answer, *, otp: str = "", url: str = "", receipt: str = ""
    ) -> View:
        assert answer.record is not None
        personal = open_personal(self.keyring, answer.record.blob, tenant.name, n)
        void = answer.outcome == "void"
        return shown(
            tenant.name, answer.record, personal, now=answer.now, otp=otp, url=url, receipt=receipt, void=void
        )


def _refuse_once(outcome: str) -> None:
    if outcome == "mismatch":
        raise KeyReused("This Idempotency-Key was used with another request.")
    if outcome == "running":
        raise StillRunning("The first request with this Idempotency-Key is still running.")


def _gen(text: str) -> bytes:
    if not text:
        return b""
    try:
        gen = bytes.fromhex(text)
    except ValueError:
        gen = b""
    if len(gen) != 16:
        raise BadRequest("Invalid `gen` value: as the create answered it.", code="invalid_gen", field="gen")
    return gen
