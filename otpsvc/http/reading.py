"""The parameters of the calls about messages, texts, modems and blocks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from otpsvc.errors import BadRequest
from otpsvc.request import read_bool
from otpsvc.submit import LIFE_MAX

Fields = Mapping[str, str]
#: Texts of one answer.
LIMIT_MAX: Final = 200
LIMIT: Final = 100
_INTEGER = re.compile(r"[0-9]{1,20}")
_MOMENT = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?")


def read_life(fields: Fields, *, now: float) -> float:
    """Seconds that a message may take, of `ttl` or `deadline` (Unix seconds); 0: as configured.

    Raises: BadRequest.
    """
    ttl, deadline = fields.get("ttl", ""), fields.get("deadline", "")
    if ttl and deadline:
        words = "Give `ttl` or `deadline`, not both."
        raise BadRequest(words, code="invalid_deadline", field="deadline")
    if deadline:
        return _life_until(deadline, now)
    if not ttl:
        return 0.0
    if not _INTEGER.fullmatch(ttl) or not 1 <= int(ttl) <= LIFE_MAX:
        words = f"Invalid `ttl` value: 1 to {LIFE_MAX} seconds."
        raise BadRequest(words, code="invalid_ttl", field="ttl")
    return float(ttl)


def _life_until(deadline: str, now: float) -> float:
    life = float(deadline) - now if _MOMENT.fullmatch(deadline) else LIFE_MAX + 1
    if life > LIFE_MAX:
        words = f"Invalid `deadline` value: seconds since 1970, at most {LIFE_MAX} from now."
        raise BadRequest(words, code="invalid_deadline", field="deadline")
    if life <= 0:
        raise BadRequest("The deadline has passed.", code="deadline_passed", field="deadline")
    return life


def read_way(fields: Fields) -> str:
    """`channel` or `route`, which are one thing; empty: none is named. Raises: BadRequest."""
    channel, route = fields.get("channel", ""), fields.get("route", "")
    if channel and route and channel != route:
        words = "Give `channel` or `route`, not both."
        raise BadRequest(words, code="invalid_channel", field="channel")
    return channel or route


def read_limit(fields: Fields) -> int:
    """How many texts. Raises: BadRequest."""
    text = fields.get("limit", "") or str(LIMIT)
    if not _INTEGER.fullmatch(text) or not 1 <= int(text) <= LIMIT_MAX:
        words = f"Invalid `limit` value: 1 to {LIMIT_MAX}."
        raise BadRequest(words, code="invalid_limit", field="limit")
    return int(text)


def read_before(fields: Fields) -> float:
    """Milliseconds since 1970, as `next` of an answer; 0: from the newest on. Raises: BadRequest."""
    text = fields.get("before", "") or "0"
    if not _MOMENT.fullmatch(text):
        words = "Invalid `before` value: `next` of the answer before."
        raise BadRequest(words, code="invalid_before", field="before")
    return float(text)


def read_everywhere(fields: Fields) -> bool:
    """The block list of all namespaces is meant. Raises: BadRequest."""
    return _flag(fields, "everywhere")


def read_reply(fields: Fields) -> bool:
    """A USSD session waits for this. Raises: BadRequest."""
    return _flag(fields, "reply")


def _flag(fields: Fields, name: str) -> bool:
    try:
        return read_bool(fields, name)
    except BadRequest as error:
        raise BadRequest(error.message, code=f"invalid_{name}", field=name) from None
