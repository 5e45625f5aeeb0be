"""Texts that came in, in the memory store: of one scope."""

from __future__ import annotations

from typing import NamedTuple

from otpsvc.step import Kept

__all__ = ["Inbox"]

#: Milliseconds: a text from further ahead is of a clock that was set back since.
AHEAD = 2000


class _Text(NamedTuple):
    at: float
    until: float
    sealed: bytes


class Inbox:
    """Times are milliseconds. No two texts have one time, and what comes later is newer."""

    def __init__(self) -> None:
        self._texts: dict[str, _Text] = {}
        #: The time of the last text that each feeder was told.
        self._places: dict[str, float] = {}
        #: How many texts came in.
        self.arrivals = 0

    def keep(self, id: str, sealed: bytes, *, now: float, life: int, most: int) -> bool:
        """As `Store.keep_text`."""
        if (known := self._texts.get(id)) and now < known.until:
            return False
        self.arrivals += 1
        texts = {key: text for key, text in self._texts.items() if text.at > now - life and key != id}
        times = [*(text.at for text in texts.values()), *self._places.values()]
        at = max([now, *(time + 1 for time in times if time <= now + AHEAD)])
        ahead = sorted((text.at, key) for key, text in texts.items() if text.at > now + AHEAD)
        for feeder, place in self._places.items():
            if place > now + AHEAD:
                self._places[feeder] = at - 1 + sum(time <= place for time, _ in ahead)
        for order, (_, key) in enumerate(ahead):
            texts[key] = texts[key]._replace(at=at + order)
        texts[id] = _Text(at + len(ahead), now + life, sealed)
        newest = sorted(texts, key=lambda key: texts[key].at)[-most:]
        self._texts = {key: texts[key] for key in newest}
        return True

    def unread(self, feeder: str, *, now: float, limit: int) -> list[Kept]:
        """As `Store.unread`."""
        place = self._places.setdefault(feeder, max((text.at for text in self._texts.values()), default=0.0))
        return [kept for kept in self._kept(now) if kept.at > place][:limit]

    def advance(self, feeder: str, id: str) -> None:
        """As `Store.advance`."""
        if (text := self._texts.get(id)) and feeder in self._places:
            self._places[feeder] = max(text.at, self._places[feeder])

    def _kept(self, now: float) -> list[Kept]:
        """The oldest first."""
        found = [Kept(key, text.at, text.sealed) for key, text in self._texts.items() if now < text.until]
        return sorted(found, key=lambda kept: kept.at)

    def list(self, *, now: float, before: float, limit: int) -> list[Kept]:
        """As `Store.texts`."""
        found = [kept for kept in self._kept(now) if kept.at < before or not before]
        return found[::-1][:limit]
