"""What relay clients ask for, read from all the shapes in which they write it.

OTP-Broker, OTP-Pi and WSMessageBroker speak one vocabulary in six shapes: a bare
`{"command", "data"}` with `msisdn` or with `receiver`, a list of rows, an envelope whose
`data` is a list of such objects, and frames that say nothing (`ping`, `connect`). Clients
of the MQTT-SMS-Gateway write `{"to", "text"}` alone. Ids and numbers may come as numbers.

What is new speaks the words of our own API: `create-verification` takes its parameters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from otpsvc.errors import BadRequest
from otpsvc.lenient import address_of, as_form, number_of, read_json, text_of, written
from otpsvc.veiled import Veiled

#: Rows of one envelope.
ROWS_MAX: Final = 100
#: Characters of a text; 255 parts of 67 would be more than any operator takes.
TEXT_MAX: Final = 10_000
_ID_MAX: Final = 200

#: Seconds by which the clock of a sender may be wrong. More, and it is an old message that came late.
_SKEW: Final = 300
#: Characters of a USSD code or of a reply to one (3GPP 23.038, 6.1.2.3: 182 septets).
USSD_MAX: Final = 182

SENDS: Final = frozenset({"send-sms", "send-mail", "send-email", "send-message"})
SILENT: Final = frozenset({"ping", "connect", "receive-message"})
#: Commands that need no `data`, so a list in it (PHP writes an empty object as one) is no list of rows.
_WHOLE: Final = frozenset({"echo", "get-modem-list"})
_OTHERS: Final = frozenset(
    {
        "block-msisdn", "unblock-msisdn", "request-otp", "verify-otp", "request-ussd",
        "create-verification", "check-verification",
    }
)  # fmt: skip
#: A number as the Pico gateway took it: international, its `+` may be missing.
_BARE_NUMBER = re.compile(r"[1-9][0-9]{8,14}")


class Send(Veiled, frozen=True, kw_only=True):
    """A text to a number or a mail to an address. `word` is the command as it came.

    `by`: "phone", "email", or "" when the address decides. `life`: seconds it may take,
    0: as configured, below 0: it came too late. `modem`: the only one that may send it.
    """

    word: str
    to: str
    text: str
    id: str = ""
    subject: str = ""
    by: str = ""
    life: float = 0.0
    modem: str = ""


class Block(Veiled, frozen=True):
    """`on` False takes the blocking back."""

    word: str
    to: str
    on: bool


class RequestCode(Veiled, frozen=True, kw_only=True):
    """OTP-Pi's `request-otp`. `text` holds one `%s`; `bound` are its four parameters."""

    reference: str
    to: str
    text: str = ""
    subject: str = ""
    life: float = 0.0
    date_time: str = ""
    bound: tuple[str, ...] = ()


class VerifyCode(Veiled, frozen=True, kw_only=True):
    """OTP-Pi's `verify-otp`."""

    reference: str
    to: str
    otp: str
    date_time: str = ""
    bound: tuple[str, ...] = ()


class CreateVerification(Veiled, frozen=True):
    """`fields`: parameters as the API's create takes them, `id` among them."""

    fields: Mapping[str, str]


class CheckVerification(Veiled, frozen=True):
    """`fields` as the API's check takes them."""

    fields: Mapping[str, str]


class Ussd(Veiled, frozen=True):
    modem: str
    code: str


class ModemList(Struct, frozen=True):
    date_time: str = ""


class Echo(Veiled, frozen=True):
    """`body` is answered as it came."""

    body: Mapping[str, Any]


class Unknown(Veiled, frozen=True):
    """No command of ours, or one that lacks what it needs: old servers answer `{}`.

    `id`: the sender's, where it is told, so that the refusal can be.
    """

    id: str = ""


class Silent(Struct, frozen=True):
    """A frame that asks for nothing."""


Command = (
    Send | Block | RequestCode | VerifyCode | CreateVerification | CheckVerification
    | Ussd | ModemList | Echo | Unknown | Silent
)  # fmt: skip


class Batch(Struct, frozen=True):
    """Commands that came together. `listed`: in a list, so the answers are one too."""

    commands: tuple[Command, ...]
    word: str = ""
    listed: bool = False


def read(body: bytes, *, now: float) -> Batch:
    """The commands of a body in any shape. `now` in seconds since the epoch.

    Raises: BadRequest: no JSON object, or larger or deeper than is read.
    """
    return read_object(read_json(body), now=now)


def read_object(frame: Mapping[str, Any], *, now: float) -> Batch:
    """The same of what was decoded already."""
    word, data = _word(frame), frame.get("data")
    if word in SILENT:
        return Batch((Silent(),), word)
    if isinstance(data, list) and word not in _WHOLE:
        if len(data) > ROWS_MAX:
            raise BadRequest(f"More than {ROWS_MAX} rows.", code="too_many_rows", field="data")
        return Batch(tuple(_row(word, row, now) for row in data), word, listed=True)
    if not word and data is None and "text" in frame:
        return Batch((_bare(frame, now),), "send-sms")
    return Batch((_command(word, data, frame, now),), word)


def with_callback(frame: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a frame that names a `callback_topic`: itself, its `data`, or the first row that does."""
    data = frame.get("data")
    parts = [frame, *(data[:ROWS_MAX] if isinstance(data, list) else [data])]
    return next((part for part in parts if isinstance(part, dict) and part.get("callback_topic")), frame)


def _row(word: str, row: object, now: float) -> Command:
    """An element of a list: a command of its own, or a message."""
    if not isinstance(row, dict):
        return Unknown()
    if "command" in row:
        own = _word(row)
        return Silent() if own in SILENT else _command(own, row.get("data"), row, now)
    if word in _OTHERS:
        return _command(word, row, row, now)
    # The envelope says `send-message` for all; a row of it is a text message.
    by = word if word in ("send-mail", "send-email") else "send-message"
    return _send(by, row, now)


def _command(word: str, data: object, frame: Mapping[str, Any], now: float) -> Command:
    if word == "echo":
        return Echo(frame)
    if word == "get-modem-list":
        return ModemList(text_of(data, "date_time") if isinstance(data, dict) else "")
    if not isinstance(data, dict):
        return _unknown(frame)
    if word in SENDS:
        return _send(word, data, now)
    if word in ("block-msisdn", "unblock-msisdn"):
        to = address_of(data, "msisdn", "receiver")
        return Block(word, to, word == "block-msisdn") if to else _unknown(data, frame)
    if word == "create-verification":
        return CreateVerification(as_form(data))
    if word == "check-verification":
        return CheckVerification(as_form(data))
    return _successor(word, data, now) or _unknown(data, frame)


def _unknown(*told: Mapping[str, Any]) -> Unknown:
    return Unknown(next((id[:_ID_MAX] for row in told if (id := text_of(row, "id"))), ""))


def _bare(frame: Mapping[str, Any], now: float) -> Command:
    """As clients of the MQTT-SMS-Gateway write it."""
    to = address_of(frame, "to")
    if not to:
        return _unknown(frame)
    return Send(
        word="send-sms",
        to=f"+{to}" if _BARE_NUMBER.fullmatch(to) else to,
        text=written(frame, "text"),
        id=text_of(frame, "id")[:_ID_MAX],
        by="phone",
        life=_life(frame, now),
    )


def _successor(word: str, data: Mapping[str, Any], now: float) -> Command | None:
    """What OTP-Pi added; None: that is not it, or it is not whole."""
    when, bound = text_of(data, "date_time"), tuple(text_of(data, f"param{at}") for at in range(1, 5))
    reference, to = text_of(data, "reference"), address_of(data, "receiver", "msisdn")
    if word == "request-otp" and reference and to:
        return RequestCode(
            reference=reference,
            to=to,
            text=written(data, "message"),
            subject=written(data, "subject"),
            life=_life(data, now),
            date_time=when,
            bound=bound,
        )
    if word == "verify-otp" and reference and to:
        return VerifyCode(reference=reference, to=to, otp=text_of(data, "otp"), date_time=when, bound=bound)
    if word == "request-ussd" and data.get("ussd_code"):
        return Ussd(text_of(data, "modem_id"), text_of(data, "ussd_code"))
    return None


def _send(word: str, data: Mapping[str, Any], now: float) -> Command:
    to = address_of(data, "msisdn", "receiver", "recipient")
    if not to or "message" not in data:
        return _unknown(data)
    by = "phone" if word == "send-sms" else "email" if word in ("send-mail", "send-email") else ""
    return Send(
        word=word,
        to=to,
        text=written(data, "message"),
        id=text_of(data, "id")[:_ID_MAX],
        subject=written(data, "subject"),
        by=by,
        life=_life(data, now),
        modem=text_of(data, "modem_id"),
    )


def read_ussd(code: str) -> str:
    """A USSD code or a reply to one; the modem's owner decides which may be sent. Raises: BadRequest."""
    if not 0 < len(code) <= USSD_MAX or not code.isprintable() or any(char in code for char in "\"';"):
        words = f"Not a USSD code: 1 to {USSD_MAX} characters, without quotes and semicolons."
        raise BadRequest(words, code="invalid_ussd", field="code")
    return code


def _life(data: Mapping[str, Any], now: float) -> float:
    """Seconds until `expiration` (Unix time); by the sender's clock where its `date_time` is about now."""
    end = number_of(data.get("expiration"))
    if not end:
        return 0.0
    start = number_of(data.get("date_time"))
    life = end - (now if start is None or abs(start - now) > _SKEW else start)
    return life or -1.0


def _word(frame: Mapping[str, Any]) -> str:
    word = frame.get("command")
    return word.strip().lower()[:64] if isinstance(word, str) else ""
