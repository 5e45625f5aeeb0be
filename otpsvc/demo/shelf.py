"""What the store holds at this moment, read with our own client: for the demo's eyes alone.

The demo looks into its own embedded store. Nothing else of otpsvc reads keys this way.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from otpsvc.challenge import Record, State, unpack
from otpsvc.errors import StoreUnavailable
from otpsvc.keyring import Keyring
from otpsvc.stores.batcher import Batcher
from otpsvc.stores.connection import Connector

#: Keys that are read for a page, and that it shows.
READ, SHOWN = 500, 24
#: Rounds of SCAN: many more keys than a demo has.
_ROUNDS: Final = 20
#: What keys that begin so are for.
_ABOUT: Final = (
    ("otp:", "a verification"),
    ("due:", "the outbox: what is to be sent, and when"),
    ("msg:", "a message that is not a code"),
    ("budget:", "wrong codes of an address; messages of the shop"),
    ("once:", "a call that may be repeated"),
    ("open:", "guesses without a token"),
    ("clock:", "the latest time that was seen"),
    ("guard:", "messages to an address, or asked for by a visitor"),
    ("gsm:", "the modem's SIM: parts counted, reports awaited"),
    ("lines:", "the modems of this machine, as it tells of them"),
    ("errand:", "asked of the process that has a modem"),
    ("answer:", "what that process answered"),
    ("meta:", "a check value of a key that lies outside the store"),
)
_PLAIN: Final = re.compile(rb"[\x21-\x7e]+")


class Item(Struct, frozen=True, kw_only=True):
    """One key. `ttl` in seconds, -1 when it stays; `size` in bytes of the store's memory."""

    key: str
    about: str
    ttl: int
    size: int


class Field(Struct, frozen=True):
    """One field of a record, for people."""

    name: str
    value: str
    note: str = ""


class View(Struct, frozen=True, kw_only=True):
    """What a page shows. `key` is this verification's; `fields` are empty when it is not there.

    `total` keys were read; `hits`: in how many of them, or their values, each plain text was found.
    """

    key: str = ""
    ttl: int = 0
    fields: Sequence[Field] = ()
    items: Sequence[Item] = ()
    total: int = 0
    hits: Mapping[str, int] = {}
    up: bool = True


class Shelf:
    """Reads the store at `url`; the keyring tells under which key a verification lies."""

    def __init__(self, url: str, keyring: Keyring, *, tenant: str) -> None:
        self._batcher = Batcher(Connector(url))
        self._keyring = keyring
        self._tenant = tenant

    async def close(self) -> None:
        await self._batcher.close()

    def key(self, id: str) -> str:
        """Where a verification lies; the id cannot be read off it."""
        return f"otp:{{{self._tenant}}}:{self._keyring.name('id', self._tenant, id)}"

    async def glance(self, id: str) -> bytes:
        """A verification's record as it is kept; empty when there is none or the store is away."""
        try:
            return await self._ask("GET", self.key(id)) or b""
        except StoreUnavailable:
            return b""

    async def view(self, id: str = "", *, secrets: Sequence[str] = ()) -> View:
        """The keys, one verification's record, and in how many places the `secrets` stand."""
        try:
            keys = await self._keys(self.key(id).encode() if id else b"")
            read = await asyncio.gather(*(self._read(key) for key in keys))
        except StoreUnavailable:
            return View(up=False)
        values = {key: one for key, one in zip(keys, read, strict=True) if one is not None}
        own = self.key(id).encode() if id else b""
        found = values.get(own)
        items = [item for key, (item, _) in values.items() if key != own]
        return View(
            key=own.decode(),
            ttl=found[0].ttl if found else 0,
            fields=_fields(found[1], size=found[0].size) if found else (),
            items=sorted(items, key=lambda item: item.key)[:SHOWN],
            total=len(values),
            hits=_hits(secrets, [key + b"\n" + value for key, (_, value) in values.items()]),
        )

    async def _keys(self, first: bytes) -> list[bytes]:
        cursor, keys = b"0", set()
        for _ in range(_ROUNDS):
            cursor, some = await self._ask("SCAN", cursor, "COUNT", 500)
            keys.update(some)
            if cursor == b"0":
                break
        return sorted(keys, key=lambda key: (key != first, key))[:READ]

    async def _read(self, key: bytes) -> tuple[Item, bytes] | None:
        """A key with its value; None when it has gone meanwhile."""
        kind, ttl, size = await asyncio.gather(
            self._ask("TYPE", key), self._ask("PTTL", key), self._ask("MEMORY", "USAGE", key)
        )
        if kind == b"none" or size is None:
            return None
        seconds = -(-ttl // 1000) if ttl >= 0 else -1
        name = _name(key)
        about = next((text for start, text in _ABOUT if name.startswith(start)), "")
        return Item(key=name, about=about, ttl=seconds, size=size), await self._value(key, kind)

    async def _value(self, key: bytes, kind: bytes) -> bytes:
        command: tuple[str | bytes, ...]
        match kind:
            case b"string":
                command = ("GET", key)
            case b"hash":
                command = ("HGETALL", key)
            case b"zset":
                command = ("ZRANGE", key, "0", "-1")
            case b"list":
                command = ("LRANGE", key, "0", "-1")
            case b"set":
                command = ("SMEMBERS", key)
            case _:
                return b""
        answer = await self._ask(*command)
        return b"\n".join(answer) if isinstance(answer, list) else answer or b""

    def _ask(self, *command: bytes | str | int) -> Any:
        return self._batcher.call(*command, repeatable=True)


def _name(key: bytes) -> str:
    """A key for people: parts that are no text as hexadecimal digits."""
    parts = key.split(b":", 2)
    return ":".join(part.decode() if _PLAIN.fullmatch(part) else f"<{part.hex()}>" for part in parts if part)


def _hits(secrets: Sequence[str], places: Sequence[bytes]) -> dict[str, int]:
    return {secret: sum(secret.encode() in place for place in places) for secret in secrets if secret}


def _fields(raw: bytes, *, size: int) -> list[Field]:
    """The record, field by field. A version that we do not know: its size alone."""
    try:
        record = unpack(raw)
    except ValueError:
        return [Field("record", f"{size} bytes")]
    return [
        Field("state", State(record.state).name.lower()),
        Field("purpose", record.purpose),
        Field("gen", record.gen.hex(), "random; the code is made from it with a key outside the store"),
        Field("digest", _digest(record.digest), "keyed hash of the code: all there is of it"),
        Field("destination", _digest(record.dest), "keyed hash of the address"),
        Field("attempts", f"{record.attempts} of {record.max_attempts}"),
        Field("sends", f"{record.sends} of {record.max_sends}"),
        Field("message", _message(record)),
        Field("route", record.route or "none yet"),
        Field("key id", record.kid.hex(), "which key; the key itself lies elsewhere"),
        Field("blob", _sealed(record.blob), "id, address and texts"),
        Field("body", _sealed(record.body), "a code, only where it cannot be made again"),
    ]


def _digest(digest: bytes) -> str:
    return digest.hex() if any(digest) else "none yet"


def _message(record: Record) -> str:
    tries = f", try {record.tries}" if record.tries > 1 else ""
    return f"{record.message_state.value}{tries}"


def _sealed(part: bytes) -> str:
    return f"sealed, {len(part)} bytes" if part else "empty"
