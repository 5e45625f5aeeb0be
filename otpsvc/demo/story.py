"""The life of a code in four steps, told from what the API answers and the store holds."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from otpsvc.demo.client import Challenge
from otpsvc.demo.shop import MAIL, MODEM, SMS, Verification

Mark = Literal["done", "now", "bad", "later"]
_TAKER: Final = {MAIL: "mail server", SMS: "SMS provider", MODEM: "modem"}


class Step(Struct, frozen=True):
    """One step. `clock`: seconds that run down at the end of the text; 0 for none."""

    title: str
    mark: Mark
    text: str
    clock: int = 0


def story(one: Verification, seen: Challenge, *, ttl: int, held: bool) -> tuple[Step, ...]:
    """`held`: the store has a record of it, for another `ttl` seconds."""
    return (_created(seen), _sent(seen), _checked(one, seen), _gone(seen, ttl=ttl, held=held))


def _created(seen: Challenge) -> Step:
    if not seen.to:
        return Step("Created", "now", "The shop gave no address, so otpsvc's page asks for it. No code yet.")
    return Step("Created", "done", "otpsvc made a code and kept only its keyed hash.")


def _sent(seen: Challenge) -> Step:
    message, taker = seen.message, _TAKER.get(seen.provider, "far end")
    tries = f"try {message.tries}"
    match message.state:
        case "queued" if message.tries:
            text = f"Not yet: {tries} ended with “{message.reason}”. otpsvc tries again by itself."
            return Step("Sent", "bad", text)
        case "queued":
            return Step("Sent", "now", "In the queue.")
        case "sending":
            again = f" ({tries})" if message.tries > 1 else ""
            return Step("Sent", "now", f"On its way: the {taker} has not answered yet{again}.")
        case "sent" if message.uncertain and message.reason:
            text = f"Perhaps: {message.reason}. Nobody knows whether it left, and it is not tried again."
            return Step("Sent", "bad", text)
        case "sent" | "delivered":
            return Step("Sent", "done", _taken(seen, taker))
        case "failed" | "expired":
            return Step("Sent", "bad", f"Failed: {message.reason or message.state}. It is not tried again.")
    return Step("Sent", "later", "Waits for an address." if not seen.to else "Not any more.")


def _taken(seen: Challenge, taker: str) -> str:
    message = seen.message
    tries = f" at try {message.tries}" if message.tries > 1 else ""
    doubt = " Perhaps twice: an answer was lost." if message.uncertain else ""
    count = f" {seen.generate} messages so far, with the same code." if seen.generate > 1 else ""
    report = " The network reports that it arrived." if message.state == "delivered" else ""
    return f"The {taker} took it{tries}.{report}{count}{doubt}"


def _checked(one: Verification, seen: Challenge) -> Step:
    wrong = seen.attempts - (seen.state == "verified")
    after = f" after {wrong} wrong" if wrong else ""
    match seen.state:
        case "verified" if one.done:
            text = f"Right{after}. The shop asked otpsvc and heard yes. The code is used up."
            return Step("Checked", "done", text)
        case "verified" if one.note:
            text = f"Right{after}, but the shop asked without the receipt and heard no."
            return Step("Checked", "bad", text)
        case "verified":
            text = f"Right{after}. The code is used up, and the shop has not asked yet."
            return Step("Checked", "now", text)
        case "locked":
            text = f"{seen.attempts} wrong codes: locked. The right one would not do any more."
            return Step("Checked", "bad", text)
        case "cancelled":
            return Step("Checked", "bad", "Never: the shop cancelled it, and the code is worth nothing.")
        case "expired":
            return Step("Checked", "bad", "Never: its time is over, and the code is worth nothing.")
        case "failed" if not wrong:
            return Step("Checked", "later", "Nobody got the code.")
    if wrong:
        return Step("Checked", "now", f"{wrong} wrong, {seen.attempts_left} attempts left.")
    waits = seen.message.state in ("sent", "delivered")
    return Step("Checked", "now" if waits else "later", "Waits for you to type the code.")


def _gone(seen: Challenge, *, ttl: int, held: bool) -> Step:
    if not held:
        return Step("Gone", "done", "The store holds nothing of it any more.")
    if not seen.ended:
        return Step("Gone", "later", "At the latest in", ttl)
    why = " so that nobody gets new guesses" if seen.state == "locked" else ""
    return Step("Gone", "now", f"Over. The store drops the record by itself{why}, in", ttl)
