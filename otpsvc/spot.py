"""A name at a broker, so that tables of channels and feeders can be held against each other."""

from __future__ import annotations

from msgspec import Struct


class Spot(Struct, frozen=True):
    """`broker`: host, port and virtual host in one form. `exchange` empty: `name` is a queue or topic."""

    broker: str
    name: str
    exchange: str = ""
