"""How commands of relay clients are answered: the words of OTP-Broker and OTP-Pi.

Every answer tells the truth: `response_code` as the old clients read it, beside it
`data.id` and `data.status`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from otpsvc import command
from otpsvc.command import Command
from otpsvc.errors import RequestError
from otpsvc.feeder import Note, State
from otpsvc.lines import Line

Answer = dict[str, Any]

#: response_code of OTP-Broker and OTP-Pi.
OK, UNAUTHORIZED, NO_DEVICE, FAILED = "0000", "1100", "1101", "1102"
#: What a refusal's `code` means for `data.status`.
_STATUSES: Final = {
    "blocked": "blocked",
    "send_budget": "limited",
    "destination_limit": "limited",
    "client_limit": "limited",
    "resend_too_soon": "limited",
    "sends_exhausted": "limited",
    "no_way_out": "refused",
    "scope": "forbidden",
}
#: The same as a note tells it; all others are refusals.
_NOTED: Final[Mapping[str, State]] = {
    "waiting": "queued",
    "queued": "queued",
    "sending": "sending",
    "sent": "sent",
    "delivered": "delivered",
    "failed": "failed",
    "expired": "expired",
}
_WORDS: Final = {
    command.RequestCode: "request-otp",
    command.VerifyCode: "verify-otp",
    command.CreateVerification: "create-verification",
    command.CheckVerification: "check-verification",
    command.Ussd: "request-ussd",
    command.ModemList: "get-modem-list",
}


def answer(
    word: str, code: str, *, error: str = "", message: str = "", data: Mapping[str, Any] | None = None
) -> Answer:
    """One answer as the old clients know it."""
    said: Answer = {"command": word, "response_code": code}
    if error:
        said["error"] = error
    if message:
        said["message"] = message
    said["data"] = data or {}
    return said


def refused(one: Command, error: RequestError, about: Answer) -> Answer:
    """A refusal in the old words."""
    code, words = FAILED, error.message
    if error.code == "scope":
        code = UNAUTHORIZED
    elif error.code in ("no_way_out", "unknown_modem"):
        code, words = NO_DEVICE, "No device connected"
    elif error.code == "blocked":
        words = "blocked"
    status = _STATUSES.get(error.code, "refused")
    return answer(word_of(one), code, error=words, data=about | {"status": status})


def word_of(one: Command) -> str:
    """What this command is called."""
    return getattr(one, "word", "") or _WORDS.get(type(one), "")


def listed(word: str, answers: list[Answer | None]) -> Answer:
    """One answer to commands that came in a list."""
    told = [one for one in answers if one]
    if not told:
        return {}
    codes = [one.get("response_code", OK) for one in told]
    code = next((code for code in codes if code != OK), OK)
    return {"command": word, "response_code": code, "data": [_row(one) if one else {} for one in answers]}


def _row(one: Answer) -> Answer:
    """What a list of answers tells of one: all that is not the same for every one."""
    said = {name: one[name] for name in ("response_code", "error") if name in one}
    data = one.get("data")
    return (data if isinstance(data, dict) else {}) | said


def encoded(said: Mapping[str, Any], *, indent: int | None = None) -> bytes:
    """As JSON: compact, or for people."""
    separators = None if indent else (",", ":")
    try:
        return json.dumps(said, ensure_ascii=False, indent=indent, separators=separators).encode()
    except UnicodeEncodeError:
        # Half a character, which only an escape can name.
        return json.dumps(said, indent=indent, separators=separators).encode()


def noted(one: command.Send | command.Unknown, said: Answer, refusal: str) -> Note:
    """What an answer tells of a message, in the words of notes."""
    data = said.get("data", {})
    status = str(data.get("status", ""))
    state = _NOTED.get(status, "refused")
    return Note(id=one.id, message=data.get("id", ""), status=state, error=refusal)


def full_name(line: Line) -> str:
    """What a modem is called over all channels."""
    return f"{line.channel}.{line.name}"


def modem(line: Line) -> dict[str, object]:
    """As OTP-Pi lists a modem, with what otpsvc knows besides."""
    return {
        "id": full_name(line),
        "name": line.name,
        "port": line.port,
        "imei": line.imei,
        "imsi": line.imsi,
        "iccid": line.iccid,
        "msisdn": line.number,
        "copsOperator": line.operator,
        "smsCenter": line.smsc,
        "active": line.state != "disabled",
        "connected": line.ready,
        "defaultModem": False,
        "internetAccess": False,
        "internetConnected": False,
        "state": line.state,
        "signal": line.signal,
        "told": datetime.fromtimestamp(line.told, UTC).isoformat(timespec="seconds"),
    }
