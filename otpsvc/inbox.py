"""Texts that came in: kept sealed for a while, listed for the tenant whose SIM it was."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from msgspec import Struct

from otpsvc.errors import Busy, KeyringError
from otpsvc.keyring import Keyring
from otpsvc.message import Incoming
from otpsvc.store import ALL, Kept, Store
from otpsvc.veiled import Veiled

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Incoming).decode


class Received(Veiled, frozen=True, kw_only=True):
    """A text on the wire. `sender`, `text` and `to` are untrusted. `sent_at` empty: not told."""

    id: str
    modem: str
    sender: str
    text: str
    to: str = ""
    received_at: str
    sent_at: str = ""
    complete: bool = True


class Keep(Struct, frozen=True, kw_only=True):
    """For how many seconds, and how many of each tenant."""

    life: int = 7 * 86_400
    most: int = 10_000


class Inbox:
    """`keep` may be changed by a reload, so it is asked each time."""

    def __init__(self, store: Store, keyring: Keyring, keep: Keep) -> None:
        self._store = store
        self._keyring = keyring
        self.limits = keep

    async def take(self, incoming: Incoming) -> bool:
        """Keep one durably; False: it was known. Raises: StoreUnavailable."""
        scope = incoming.tenant or ALL
        id = self._keyring.name("text", scope, incoming.line, incoming.id)
        sealed = self._keyring.seal(_encode(incoming), "text", scope, id)
        life, most = self.limits.life * 1000, self.limits.most
        return await self._store.keep_text(scope, id, sealed, life=life, most=most)

    async def list(self, tenant: str, *, before: float = 0, limit: int = 100) -> list[Received]:
        """The newest first; `tenant` empty: those of nobody. `before`: ms. Raises: StoreUnavailable.

        One whose key this node does not hold stands there without its words, as incomplete.
        """
        scope = tenant or ALL
        return [self._open(scope, one) for one in await self._store.texts(scope, before=before, limit=limit)]

    def _open(self, scope: str, kept: Kept) -> Received:
        incoming = unsealed(self._keyring, scope, kept)
        if incoming is None:
            incoming = Incoming(id=kept.id, line="", sender="", text="", complete=False)
        return Received(
            id=kept.id,
            modem=incoming.line,
            sender=incoming.sender,
            text=incoming.text,
            to=incoming.to,
            # Exactly: who asks for the texts before it names this moment.
            received_at=_time(kept.at / 1000, "milliseconds"),
            sent_at=_time(incoming.at) if incoming.at else "",
            complete=incoming.complete,
        )


def unsealed(keyring: Keyring, scope: str, kept: Kept) -> Incoming | None:
    """A kept text; None when this node does not hold its key, or it was changed."""
    try:
        return _decode(keyring.unseal(kept.sealed, "text", scope, kept.id))
    except (Busy, KeyringError, msgspec.DecodeError):
        return None


def _time(at: float, precision: str = "seconds") -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec=precision)
