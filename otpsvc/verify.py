"""The verbs of verification: those that send (`issue`), and check, status, read, cancel.

Each makes what its step needs, asks the store for one atomic step, and turns the
outcome into an answer or an error. Nothing here is remembered between two calls.
"""

from __future__ import annotations

from otpsvc.challenge import State
from otpsvc.code import normalised
from otpsvc.dispatch import Client
from otpsvc.errors import BadRequest, NotFound, NotVerified
from otpsvc.issue import Issuer
from otpsvc.letter import destination
from otpsvc.refusal import check_refusal
from otpsvc.request import read_gen, read_id
from otpsvc.store import Answer, new_op
from otpsvc.tenant import PURPOSES, Tenant
from otpsvc.token import RECEIPT_LIFE, Subject, sign
from otpsvc.token import read as read_token
from otpsvc.view import View, neutral

CODE_MAX = 64
NOBODY = Client()


class Verifier(Issuer):
    """All verbs."""

    # Check.

    async def check(
        self,
        tenant: Tenant,
        id: str,
        code: str,
        *,
        client: Client = NOBODY,
        op: bytes = b"",
        gen: bytes = b"",
        open_most: int = 0,
    ) -> View:
        """Evaluate one guess; the answer carries a receipt.

        `op`: 8 bytes; a repeat gets the first answer. `gen`: only of this generation.
        `open_most`: how many attempts a client has who shows no token (0: shows one).
        Raises: BadRequest (nothing was counted), CheckRefused, Limited, Busy (nothing was counted).
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
            gen=gen,
            open_most=open_most,
        )
        if answer.record is None or answer.outcome == "unsent":
            raise check_refusal(answer, neutral(tenant.name, id))
        if answer.record.state in (State.VERIFIED, State.LOCKED):
            self._dispatch.wake_events(tenant)
        if answer.outcome != "verified":
            raise check_refusal(answer, self._view(tenant, n, answer))
        return self._view(tenant, n, answer, receipt=self._receipt(tenant, id, answer))

    def _receipt(self, tenant: Tenant, id: str, answer: Answer) -> str:
        record = answer.record
        assert record is not None
        # From when it was verified: a repeated answer must not make the receipt live longer.
        expires = int(record.wait_until / 1000) + RECEIPT_LIFE
        of, op = Subject(tenant.name, id), record.closing_op()
        return sign(self.keyring, "receipt", of, gen=record.gen, expires=expires, op=op)

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

    async def bound(self, tenant: Tenant, id: str) -> tuple[State | None, bytes]:
        """The state of a challenge (None: there is none), and what its code is bound to. Raises: Busy."""
        n = self._n(tenant, read_id(id))
        answer = await self.store.read(tenant.name, n)
        if answer.record is None or answer.outcome not in ("read", "expired"):
            return None, b""
        state = State.EXPIRED if answer.outcome == "expired" else answer.record.state
        return state, self.personal(tenant, n, answer.record).bound

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
