"""A message as the command that another otpsvc reads from a broker, sealed where the table wants it."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.json import Encoder

from otpsvc.errors import Refused
from otpsvc.lenient import BODY_MAX
from otpsvc.message import Message
from otpsvc.parcel import Parcels
from otpsvc.veiled import Veiled


class _Data(Veiled, frozen=True, kw_only=True, omit_defaults=True):
    id: str
    receiver: str
    #: The same, as the eldest readers call it.
    msisdn: str
    message: str
    subject: str = ""
    modem_id: str = ""
    #: Unix time in whole seconds: now by the sender's clock, and when it is of no use any more.
    date_time: int
    expiration: int


class _Command(Veiled, frozen=True):
    command: str
    data: _Data


_encode = Encoder().encode


def command_of(message: Message, *, now: float) -> bytes:
    """The body as `command.py` reads it. Raises: Refused."""
    mail = "@" in message.to
    data = _Data(
        id=message.id,
        receiver=message.to,
        msisdn=message.to,
        message=message.text,
        subject=message.subject if mail else "",
        modem_id=message.modem,
        date_time=int(now),
        # Rounded down: never later than the deadline.
        expiration=int(message.expires),
    )
    try:
        body = _encode(_Command("send-mail" if mail else "send-sms", data))
    except UnicodeEncodeError:
        raise Refused("the text is not Unicode") from None
    if len(body) > BODY_MAX:
        raise Refused("the text is longer than a command may be")
    return body


def sealed(
    message: Message, parcels: Parcels | None, *, now: float, write: Callable[..., bytes] = command_of
) -> bytes:
    """What is published: the command sealed, or without `parcels` what `write` makes. Raises: Refused."""
    if parcels is None:
        return write(message, now=now)
    return parcels.close(command_of(message, now=now), id=message.id, until=message.expires)
