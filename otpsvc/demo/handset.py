"""The phones of all visitors: what the SMS provider and the modem's network brought them, in memory."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Literal

from msgspec import Struct

#: Text messages that are kept.
KEPT: Final = 100


class Text(Struct, frozen=True, kw_only=True, tag_field="kind", tag="text"):
    """One text message. `number` counts from 1; `at` is Unix time in seconds.

    `challenge` is the shop's id of the verification; empty where only the text came, as from
    a network. `raw` is what the one who brought it knows of it.
    """

    number: int
    at: float
    to: str
    text: str
    code: str
    challenge: str
    by: Literal["provider", "modem"]
    raw: str

    def __repr__(self) -> str:
        return f"Text({self.number})"

    __str__ = __repr__


class Handset:
    """Takes texts from whoever brings them."""

    def __init__(self) -> None:
        self._texts: deque[Text] = deque(maxlen=KEPT)
        self._taken = 0
        self._arrived = asyncio.Event()

    @property
    def taken(self) -> int:
        """The number of the last message that came; 0 before the first."""
        return self._taken

    def keep(
        self,
        *,
        at: float,
        to: str,
        text: str,
        code: str,
        by: Literal["provider", "modem"],
        raw: str,
        challenge: str = "",
    ) -> None:
        """A message has come."""
        self._taken += 1
        self._texts.append(
            Text(number=self._taken, at=at, to=to, text=text, code=code, challenge=challenge, by=by, raw=raw)
        )
        arrived, self._arrived = self._arrived, asyncio.Event()
        arrived.set()

    def texts(self) -> list[Text]:
        """What is kept, newest first."""
        return list(reversed(self._texts))

    def texts_of(self, challenge: str, to: str, *, after: int = 0) -> list[Text]:
        """Those of one verification, newest first.

        A network names no verification: there the number counts, from after message `after`.
        """
        return [
            text
            for text in self.texts()
            if text.challenge == challenge or (not text.challenge and text.to == to and text.number > after)
        ]

    async def wait(self, challenge: str, to: str, *, after: int, seconds: float) -> bool:
        """True as soon as a message of this verification is there, False after so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                while not any(text.number > after for text in self.texts_of(challenge, to, after=after)):
                    await self._arrived.wait()
        except TimeoutError:
            return False
        return True
