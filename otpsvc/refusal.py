"""What a refused send or check says, and what it carries: one place for words and waits."""

from __future__ import annotations

from typing import NoReturn

import msgspec

from otpsvc.challenge import Record, State
from otpsvc.errors import BadRequest, CheckRefused, Limited, NotFound
from otpsvc.store import Answer
from otpsvc.view import View

_SENDS = {
    "locked": ("locked", "OTP attempts exceeded. Retry after {} seconds."),
    "sends": ("sends_exhausted", "No more sends for this OTP. Retry after {} seconds."),
    "wait": ("resend_too_soon", "The code was sent already. Retry after {} seconds."),
    "budget": ("send_budget", "This namespace has used up its sends. Retry after {} seconds."),
}


def seconds(wait: float) -> int:
    """Milliseconds as whole seconds to wait, rounded up, at least 1."""
    return max(1, -int(-wait // 1000))


def refuse_send(answer: Answer) -> NoReturn:
    """Raises: Limited, BadRequest, NotFound."""
    if answer.outcome in _SENDS:
        code, words = _SENDS[answer.outcome]
        wait = seconds(answer.wait)
        raise Limited(words.format(wait), retry_after=wait, code=code, data=_waits(answer.record, wait))
    if answer.outcome == "supplied":
        raise BadRequest(
            "Only you know this code: send `otp` again with a PUT.", code="otp_needed", field="otp"
        )
    if answer.outcome == "closed":
        raise BadRequest("the OTP is closed", code="closed")
    raise NotFound("the OTP does not exist")


def refuse_guard(name: str, wait: float) -> NoReturn:
    """Raises: Limited, for the guard of a destination or of a client address."""
    after = seconds(wait)
    if name.startswith("d:"):
        words, code = "Too many messages to this address. Retry after {} seconds.", "destination_limit"
    else:
        words, code = "Too many requests from this client. Retry after {} seconds.", "client_limit"
    raise Limited(words.format(after), retry_after=after, code=code, data=_waits(None, after))


def refuse_check(answer: Answer, view: View) -> NoReturn:
    """Every refusal carries the record's fields in one shape. Raises: CheckRefused, Limited."""
    data = msgspec.structs.asdict(view)
    wait = seconds(answer.wait)
    if answer.outcome == "budget":
        raise Limited(
            f"Too many wrong codes for this address. Retry after {wait} seconds.",
            retry_after=wait,
            code="check_limit",
            data=data,
        )
    if answer.outcome == "wrong":
        raise CheckRefused("Incorrect OTP", code="wrong_code", data=data)
    if answer.outcome == "locked":
        words = f"Too many attempts. Please retry after {wait} seconds."
        raise CheckRefused(words, code="locked", data=data)
    if answer.outcome == "closed" and answer.record is not None and answer.record.state == State.VERIFIED:
        raise CheckRefused("the OTP was used already", code="closed", data=data)
    raise CheckRefused("the OTP does not exist", code="not_found", data=data)


def _waits(record: Record | None, wait: int) -> dict[str, object]:
    return {
        "ttl_seconds": wait,
        "attempts": record.attempts if record else 0,
        "max_attempts": record.max_attempts if record else 0,
    }
