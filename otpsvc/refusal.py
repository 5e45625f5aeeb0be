"""What a refused send or check says, and what it carries: one place for words and waits."""

from __future__ import annotations

from otpsvc.challenge import Record, State
from otpsvc.errors import BadRequest, CheckRefused, KeyReused, Limited, NotFound, RequestError, StillRunning
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


def send_refusal(answer: Answer) -> RequestError:
    """Why nothing was sent: Limited, BadRequest or NotFound."""
    if answer.outcome in _SENDS:
        code, words = _SENDS[answer.outcome]
        wait = seconds(answer.wait)
        return Limited(words.format(wait), retry_after=wait, code=code, data=_waits(answer.record, wait))
    if answer.outcome == "blocked":
        return blocked_refusal()
    if answer.outcome == "supplied":
        return BadRequest(
            "Only you know this code: send `otp` again with a PUT.", code="otp_needed", field="otp"
        )
    if answer.outcome in ("closed", "changed"):
        return BadRequest("the OTP is closed", code="closed")
    return NotFound("the OTP does not exist")


def blocked_refusal() -> BadRequest:
    """The destination is on a block list."""
    return BadRequest("Nothing is sent to this address: it is blocked.", code="blocked", field="to")


def refuse_once(outcome: str) -> None:
    """Raises: KeyReused, StillRunning, when the outcome is one of theirs."""
    if outcome == "mismatch":
        raise KeyReused("This Idempotency-Key was used with another request.")
    if outcome == "running":
        raise StillRunning("The first request with this Idempotency-Key is still running.")


def guard_refusal(name: str, wait: float) -> Limited:
    """That of a destination's or of a client's guard."""
    after = seconds(wait)
    if name.startswith("d:"):
        words, code = "Too many messages to this address. Retry after {} seconds.", "destination_limit"
    else:
        words, code = "Too many requests from this client. Retry after {} seconds.", "client_limit"
    return Limited(words.format(after), retry_after=after, code=code, data=_waits(None, after))


def check_refusal(answer: Answer, view: View) -> RequestError:
    """CheckRefused or Limited; every one carries the record's fields in one shape."""
    wait = seconds(answer.wait)
    if answer.outcome == "budget":
        return Limited(
            f"Too many wrong codes for this address. Retry after {wait} seconds.",
            retry_after=wait,
            code="check_limit",
            data=view,
        )
    if answer.outcome == "wrong":
        return CheckRefused("Incorrect OTP", code="wrong_code", data=view)
    if answer.outcome == "locked":
        words = f"Too many attempts. Please retry after {wait} seconds."
        return CheckRefused(words, code="locked", data=view)
    if answer.outcome == "closed" and answer.record is not None and answer.record.state == State.VERIFIED:
        return CheckRefused("the OTP was used already", code="closed", data=view)
    return CheckRefused("the OTP does not exist", code="not_found", data=view)


def _waits(record: Record | None, wait: int) -> dict[str, object]:
    return {
        "ttl_seconds": wait,
        "attempts": record.attempts if record else 0,
        "max_attempts": record.max_attempts if record else 0,
    }
