"""`[relay]`: where old relay clients knock, and what holds for raw messages."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated

from msgspec import Meta, Struct

from otpsvc.config.reading import Reader
from otpsvc.config.words import Key

_PATH = re.compile(r"/[A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*")


#: Where our own calls and pages stand (`http/calls.py`); what is below them is theirs too.
_TAKEN = (
    "/api/otp", "/api/budgets", "/api/providers", "/api/messages", "/api/inbox", "/api/modems", "/api/blocks",
    "/api/health", "/metrics", "/openapi.json", "/docs", "/otp", "/static",
)  # fmt: skip


class RelayPaths(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Empty: this door is closed. The command decides what is done, not the path."""

    sms: str = "/api/sms"
    message: str = "/api/message"
    email: str = "/api/email"
    block: str = "/api/block"
    unblock: str = "/api/unblock"


class Relay(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Raw messages. `sms`, `mail`: the way of those that name none; empty: the first that fits."""

    sms: str = ""
    mail: str = ""
    #: Seconds that a message may wait when it names no deadline.
    life: Annotated[int, Meta(ge=1, le=259_200)] = 3600
    #: Seconds for which texts that came in are kept, and how many of each tenant.
    inbox_life: Annotated[int, Meta(ge=60, le=31_536_000)] = 604_800
    inbox_most: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    paths: RelayPaths = RelayPaths()


def read_relay(reader: Reader, table: object, *, ways: Collection[str]) -> Relay:
    """The section; its ways must be there, its paths must be paths."""
    relay = reader.struct(Relay, table, ("relay",)) or Relay()
    for name in ("sms", "mail"):
        way: str = getattr(relay, name)
        if way and way not in ways:
            words = f"a channel or route ({', '.join(sorted(ways)) or 'there are none'})"
            reader.wrong_value(("relay", name), words, way)
    paths = [getattr(relay.paths, name) for name in RelayPaths.__struct_fields__]
    for name, path in zip(RelayPaths.__struct_fields__, paths, strict=True):
        key: Key = ("relay", "paths", name)
        if path and not _PATH.fullmatch(path):
            reader.wrong_value(key, 'a path such as "/api/sms"', path)
        elif path and paths.count(path) > 1:
            reader.wrong(key, "a path of its own", f'"{path}" twice')
        elif any(path == taken or path.startswith(f"{taken}/") for taken in _TAKEN):
            reader.wrong_value(key, "a path that is not taken", path)
    return relay
