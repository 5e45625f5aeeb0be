"""What feeders were told of messages, in the memory store: of one feeder of a tenant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Watches"]


class _Watch(NamedTuple):
    since: float
    sealed: bytes


class Watches:
    """Times are milliseconds."""

    def __init__(self) -> None:
        self._watches: dict[str, _Watch] = {}
        self._until = 0.0

    def _live(self, now: float) -> dict[str, _Watch]:
        if now >= self._until:
            self._watches = {}
        return self._watches

    def add(self, watches: Sequence[tuple[str, bytes]], *, now: float, life: int, most: int) -> None:
        """As `Store.watch`."""
        live = self._live(now)
        for n, sealed in watches:
            live[n] = _Watch(live[n].since if n in live else now, sealed)
        kept = sorted((n for n in live if live[n].since > now - life), key=lambda n: (live[n].since, n))
        self._watches = {n: live[n] for n in kept[-most:]}
        self._until = now + life

    def change(self, n: str, sealed: bytes, *, now: float) -> None:
        """As `Store.rewatch`."""
        live = self._live(now)
        if not sealed:
            live.pop(n, None)
        elif n in live:
            live[n] = live[n]._replace(sealed=sealed)

    def list(self, *, now: float) -> list[tuple[str, bytes]]:
        """As `Store.watched`."""
        return [(n, watch.sealed) for n, watch in self._live(now).items()]
