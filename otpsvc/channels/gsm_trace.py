"""Who listens to the dialogue with a modem: several may, and each hears all of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from otpsvc.gsm.modem import Modem
from otpsvc.gsm.trace import TraceLine

#: Lines that wait for a slow reader; the rest is left out.
WAITING_MOST: Final = 1000


class Traces:
    """A modem tells nothing while nobody listens."""

    def __init__(self) -> None:
        self._listening: dict[Modem, list[asyncio.Queue[str]]] = {}

    @contextmanager
    def of(self, modem: Modem) -> Iterator[asyncio.Queue[str]]:
        """The redacted lines from now on."""
        queue: asyncio.Queue[str] = asyncio.Queue(WAITING_MOST)
        listening = self._listening.setdefault(modem, [])
        listening.append(queue)

        def hear(line: TraceLine) -> None:
            for one in listening:
                if not one.full():
                    one.put_nowait(str(line))

        modem.on_trace(hear)
        try:
            yield queue
        finally:
            listening.remove(queue)
            if not listening:
                del self._listening[modem]
                modem.on_trace(None)
