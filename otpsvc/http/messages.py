"""The calls about raw messages, texts that came in, and modems."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from otpsvc.command import read_ussd
from otpsvc.errors import BadRequest, NotFound
from otpsvc.http.asked import Asked, Call
from otpsvc.http.reading import read_before, read_life, read_limit, read_reply, read_way
from otpsvc.inbox import Received
from otpsvc.lines import Answered, Line, named
from otpsvc.oldwords import full_name
from otpsvc.request import read_key
from otpsvc.submit import Submission, Submitted, fingerprint


async def send(asked: Asked) -> Submitted:
    """Queue a text or a mail. Raises: BadRequest, Forbidden, Limited, KeyReused, Busy."""
    fields, tenant, submitter = asked.fields, asked.tenant, asked.parts.submitter
    key, keyring = read_key(asked.key), submitter.keyring
    submission = Submission(
        to=fields.get("to", ""),
        text=fields.get("text", ""),
        subject=fields.get("subject", ""),
        route=read_way(fields),
        life=read_life(fields, now=time.time()),
        modem=fields.get("modem", ""),
        once=keyring.name("once-message", tenant.name, key) if key else "",
        fingerprint=fingerprint(keyring, tenant, asked.body().decode()),
    )
    try:
        submission = await submitter.at_modem(tenant, asked.parts.lines, submission)
    except NotFound as error:
        raise BadRequest(error.message, code="unknown_modem", field="modem") from None
    return await submitter.submit(tenant, submission)


async def read(asked: Asked) -> Submitted:
    """Where a message is. Raises: NotFound, Busy."""
    return await asked.parts.submitter.read(asked.tenant, asked.id)


class Texts(Struct, frozen=True):
    """Texts that came in, the newest first. `next`: `before` of the older ones; 0: there are none."""

    texts: list[Received]
    next: int


async def inbox(asked: Asked) -> Texts:
    """The texts that came in for the tenant. Raises: BadRequest, Busy."""
    limit, before = read_limit(asked.fields), read_before(asked.fields)
    texts = await asked.parts.inbox.list(asked.tenant.name, before=before, limit=limit)
    last = datetime.fromisoformat(texts[-1].received_at) if len(texts) == limit else None
    return Texts(texts, round(last.timestamp() * 1000) if last else 0)


class Used(Struct, frozen=True):
    """Parts that a SIM sent in a window; `limit` 0: none."""

    parts: int
    limit: int


class Modem(Struct, frozen=True, kw_only=True):
    """A modem as the process that owns it last told of it (`told_at`)."""

    id: str
    name: str
    channel: str
    node: str
    state: str
    ready: bool
    reason: str
    since: str
    told_at: str
    port: str
    imei: str
    imsi: str
    iccid: str
    number: str
    operator: str
    #: dBm.
    signal: int | None
    manufacturer: str
    model: str
    firmware: str
    smsc: str
    used: dict[str, Used]
    sent: int
    failed: int
    uncertain: int


async def modems(asked: Asked) -> list[Modem]:
    """Every modem. Raises: Busy."""
    return [_shown(line) for line in await asked.parts.lines.lines()]


async def ussd(asked: Asked) -> Answered:
    """Ask the network of a modem whose channel the tenant may use. Raises: BadRequest, NotFound, Busy."""
    code, reply = read_ussd(asked.fields.get("code", "")), read_reply(asked.fields)
    lines = await asked.parts.lines.lines()
    line = named([line for line in lines if asked.tenant.may_use(line.channel)], asked.id)
    return await asked.parts.lines.ussd(full_name(line), code, reply=reply)


def _shown(line: Line) -> Modem:
    return Modem(
        id=f"{line.channel}.{line.name}",
        name=line.name,
        channel=line.channel,
        node=line.node,
        state=line.state,
        ready=line.ready,
        reason=line.reason,
        since=_time(line.since),
        told_at=_time(line.told),
        port=line.port,
        imei=line.imei,
        imsi=line.imsi,
        iccid=line.iccid,
        number=line.number,
        operator=line.operator,
        signal=line.signal,
        manufacturer=line.manufacturer,
        model=line.model,
        firmware=line.firmware,
        smsc=line.smsc,
        used={window: Used(*pair) for window, pair in line.used.items()},
        sent=line.sent,
        failed=line.failed,
        uncertain=line.uncertain,
    )


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds") if at else ""


CALLS: Final = (
    # Which of the two scopes is needed, the way out says.
    Call("POST", "/api/messages", send, scopes=("sms", "mail"), done=202),
    Call("GET", "/api/messages/{id}", read, scopes=("sms", "mail")),
    Call("GET", "/api/inbox", inbox, scopes=("inbox",)),
    Call("GET", "/api/modems", modems, scopes=("modems",)),
    Call("POST", "/api/modems/{id}/ussd", ussd, scopes=("ussd",)),
)
