"""What an answer shows of a challenge: otpgateway's record, with what otpsvc adds."""

from __future__ import annotations

from msgspec import Raw, Struct

from otpsvc.challenge import Record, State
from otpsvc.message import MessageState
from otpsvc.tenant import Purpose
from otpsvc.veiled import Veiled

#: How a state reads on the wire.
STATE_WORDS = {
    State.OPEN: "pending",
    State.VERIFIED: "verified",
    State.LOCKED: "locked",
    State.CANCELLED: "cancelled",
    State.FAILED: "failed",
    State.VOID: "failed",
    State.EXPIRED: "expired",
}


class Personal(Veiled, frozen=True, array_like=True):
    """The personal part of a challenge: sealed as one blob, never logged.

    `shape` is the code's length times ten plus its alphabet's position, so that a
    resend derives the same code after a change of the config.
    """

    id: str
    to: str
    shape: int
    provider: str = ""
    extra: bytes = b""
    locale: str = ""
    channel_description: str = ""
    address_description: str = ""
    #: As in `CreateRequest`.
    bound: bytes = b""
    text: str = ""
    subject: str = ""


class MessageView(Struct, frozen=True):
    """Where the message is. `uncertain`: how often it may have been sent without our knowing."""

    state: MessageState
    tries: int = 0
    uncertain: int = 0
    reason: str = ""


class View(Veiled, frozen=True, kw_only=True, omit_defaults=False):
    """One challenge on the wire. `otp` is filled only in the answer to a create that supplied it."""

    namespace: str
    id: str
    to: str = ""
    channel_description: str = ""
    address_description: str = ""
    extra: Raw = Raw(b"{}")
    provider: str = ""
    otp: str = ""
    max_attempts: int = 0
    attempts: int = 0
    generate: int = 0
    max_generate: int = 0
    closed: bool = False
    #: Seconds.
    ttl: int = 0
    state: str = "unknown"
    purpose: Purpose = "address_confirmation"
    gen: str = ""
    #: Seconds until the next send is allowed.
    resend_in: int = 0
    message: MessageView = MessageView(MessageState.NONE)
    url: str = ""
    receipt: str = ""

    def shown(self) -> str:
        return self.state


def shown(
    namespace: str,
    record: Record,
    personal: Personal,
    *,
    now: float,
    otp: str = "",
    url: str = "",
    receipt: str = "",
    void: bool = False,
) -> View:
    """A record as its tenant sees it. `now` in milliseconds of the store's clock.

    `void`: the store was restarted and may have lost writes, so the challenge is dead.
    """
    return View(
        namespace=namespace,
        id=personal.id,
        to=personal.to,
        channel_description=personal.channel_description,
        address_description=personal.address_description,
        extra=Raw(personal.extra or b"{}"),
        provider=personal.provider,
        otp=otp,
        max_attempts=record.max_attempts,
        attempts=record.attempts,
        generate=record.sends,
        max_generate=record.max_sends,
        closed=record.state == State.VERIFIED,
        ttl=record.seconds_left(now),
        state="failed" if void else _word(record, now),
        purpose=record.purpose,
        gen=record.gen.hex(),
        resend_in=record.wait_left(now) if record.state in (State.OPEN, State.FAILED) else 0,
        message=_message(record, void=void),
        url=url,
        receipt=receipt,
    )


def _message(record: Record, *, void: bool) -> MessageView:
    if void:
        return MessageView(MessageState.FAILED, record.tries, record.uncertain, "store_restarted")
    return MessageView(record.message_state, record.tries, record.uncertain, record.reason)


def _word(record: Record, now: float) -> str:
    if now >= record.deadline and record.state in (State.OPEN, State.FAILED):
        return "expired"
    return STATE_WORDS[State(record.state)]


def neutral(namespace: str, id: str) -> View:
    """What a refused check shows when there is no such challenge: the same fields, nothing in them."""
    return View(namespace=namespace, id=id)
