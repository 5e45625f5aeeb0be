"""OTP-Pi's `request-otp` and `verify-otp` on the real verification core.

A code is bound to its receiver and to four parameters of the caller; the attempts and
sends of the challenge, and every guard, hold as for any other. A wrong code and an
unknown reference are answered alike.
"""

from __future__ import annotations

from typing import Final

from msgspec import structs

from otpsvc import command
from otpsvc.blocking import read_destination
from otpsvc.challenge import State
from otpsvc.errors import BadAddress, BadRequest, CheckRefused, Limited, NotFound, RequestError
from otpsvc.request import read_create
from otpsvc.submit import By, Submitter, check_text
from otpsvc.tenant import Tenant
from otpsvc.token import same
from otpsvc.verify import Verifier

OK, FAILED, DUPLICATE, WRONG, EXPIRED = "0000", "1102", "1201", "1202", "1203"
#: (response_code, error, data.status)
Told = tuple[str, str, str]
#: Challenge ids of references: no other id of the tenant begins so.
_PREFIX: Final = "otp-pi:"
#: Counts as an attempt, and is no code of any alphabet.
_SURELY_WRONG: Final = "x"


class CodeDesk:
    """Uses the submitter for its choice of a way."""

    def __init__(self, verifier: Verifier, submitter: Submitter) -> None:
        self._verifier = verifier
        self._submitter = submitter

    async def request(self, tenant: Tenant, one: command.RequestCode, *, again: bool = False) -> Told:
        """Make a code and send it.

        `again`: it may have been asked before; then a code for the same receiver and
        parameters is the one that is on its way. Raises: Forbidden, BadRequest, Limited, Busy.
        """
        if one.life < 0:
            return FAILED, "expired", "expired"
        id = self._id(tenant, one.reference)
        state, mark = await self._verifier.bound(tenant, id)
        if again and state is not None and same(mark, self._mark(tenant, one.to, one.bound)):
            # Also when it was used since: a second code would be one that nobody asked for.
            return OK, "", "queued"
        if state in (State.OPEN, State.LOCKED):
            return DUPLICATE, "duplicate reference", "duplicate"
        by: By = "email" if "@" in one.to else "phone"
        text = _with_one_place(one.text) if one.text else ""
        check_text(text or "%s", one.subject if by == "email" else "")
        way = self._submitter.usual_way(tenant, by)
        fields = {"provider": way, "to": one.to, "ttl": str(max(1, int(one.life))) if one.life else ""}
        request = structs.replace(
            read_create(fields, tenant.codes, id=id),
            bound=self._mark(tenant, one.to, one.bound),
            text=text,
            subject=one.subject if text and by == "email" else "",
        )
        try:
            view = await self._verifier.create(tenant, request)
        except Limited as error:
            if error.code == "resend_too_soon":
                return DUPLICATE, "duplicate reference", "duplicate"
            raise
        return OK, "", view.message.state.value

    async def verify(self, tenant: Tenant, one: command.VerifyCode, *, op: bytes = b"") -> Told:
        """Check a code, its receiver and its parameters; `op` as in `Verifier.check`. Raises: Busy."""
        id = self._id(tenant, one.reference)
        state, mark = await self._verifier.bound(tenant, id)
        if state == State.EXPIRED:
            return EXPIRED, "expired", "expired"
        # Another receiver or parameter is a wrong guess, which counts as one.
        meant = same(mark, self._mark(tenant, one.to, one.bound))
        try:
            await self._verifier.check(tenant, id, one.otp if meant and one.otp else _SURELY_WRONG, op=op)
        except (CheckRefused, BadRequest, NotFound, Limited) as error:
            return WRONG, "invalid OTP", "locked" if _locks(error) else "wrong"
        return OK, "", "verified"

    def _id(self, tenant: Tenant, reference: str) -> str:
        """References may hold anything, ids of challenges may not."""
        return _PREFIX + self._verifier.keyring.name("reference", tenant.name, reference)

    def _mark(self, tenant: Tenant, to: str, bound: tuple[str, ...]) -> bytes:
        try:
            address = read_destination(to, tenant.country)
        except BadAddress:
            address = to
        return self._verifier.keyring.digest("bound", tenant.name, address, *bound)


def _with_one_place(text: str) -> str:
    """The caller's text for a code. Raises: BadRequest."""
    if text.count("%s") != 1:
        raise BadRequest("`message` needs one %s for the code.", code="invalid_text", field="message")
    return text


def _locks(error: RequestError) -> bool:
    return error.code in ("locked", "check_limit")
