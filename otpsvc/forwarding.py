"""What a feeder tells its broker of: texts that came in, and where the messages of its commands are.

    inbox ─> place of the feeder ─> next_text ─> told_text: the place moves on

The place is in the store, so that another process goes on where this one ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from otpsvc.code_word import find_code
from otpsvc.errors import StoreUnavailable
from otpsvc.feeder import FeederConfig, Note, Text
from otpsvc.inbox import unsealed
from otpsvc.keyring import Keyring
from otpsvc.store import Kept, Store
from otpsvc.tenant import Tenant
from otpsvc.watching import WAITS, Watching, set_within

#: Characters of a text in which a code is looked for.
SEARCHED: Final = 2000
_log = structlog.get_logger("otpsvc.feeders")


class Forwarding:
    """The news of one feeder. Implements `otpsvc.feeder.News`, for one consumer of texts and one of notes.

    What was not told comes again to the next who asks. `poll`: seconds between two looks for
    a text while somebody waits for one; `waits`: between looks at a message; `now` in seconds
    since the epoch.
    """

    def __init__(
        self,
        name: str,
        config: FeederConfig,
        *,
        store: Store,
        keyring: Keyring,
        tenant: Callable[[], Tenant],
        poll: float = 1.0,
        waits: Sequence[float] = WAITS,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._name = name
        self._store = store
        self._keyring = keyring
        self._tenant = tenant
        self._poll = poll
        self._now = now
        self._code = _searcher(config)
        self._came = asyncio.Event()
        #: How many texts had come in at the start.
        self._before: int | None = None
        #: How many have come since, and when the last one did.
        self._count, self._last = 0, 0.0
        self._watching = Watching(name, store=store, keyring=keyring, tenant=tenant, waits=waits, pause=poll)

    def wake(self) -> None:
        """A text came in. Never blocks."""
        self._came.set()

    async def next_text(self) -> Text:
        """As `News.next_text`. One that cannot be opened is passed over."""
        while True:
            self._came.clear()
            with contextlib.suppress(StoreUnavailable):
                if self._before is None:
                    await self._update()
                if text := await self._oldest():
                    return text
            await set_within(self._came, self._poll)

    async def _oldest(self) -> Text | None:
        """The first that is not told yet and can be opened. Raises: StoreUnavailable."""
        scope = self._tenant().name
        while found := await self._store.unread(scope, self._name):
            if text := self._opened(scope, found[0]):
                return text
            _log.warning("a text that came in cannot be opened", feeder=self._name)
            await self._store.advance(scope, self._name, found[0].id)
        return None

    def _opened(self, scope: str, kept: Kept) -> Text | None:
        incoming = unsealed(self._keyring, scope, kept)
        if incoming is None:
            return None
        return Text(
            id=kept.id,
            mark=kept.id,
            modem=incoming.line,
            sender=incoming.sender,
            text=incoming.text,
            at=incoming.at or kept.at / 1000,
            complete=incoming.complete,
            code=self._code(incoming.text),
        )

    async def told_text(self, text: Text) -> None:
        """As `News.told_text`. Raises: StoreUnavailable."""
        await self._store.advance(self._tenant().name, self._name, text.mark)

    async def count(self) -> tuple[int, float]:
        """As `News.count`; what was known last while the store is away."""
        with contextlib.suppress(StoreUnavailable):
            await self._update()
        return self._count, max(0.0, self._now() - self._last) if self._count else -1.0

    async def _update(self) -> None:
        scope = self._tenant().name
        arrived = await self._store.arrivals(scope)
        if self._before is None:
            self._before = arrived
        elif arrived < self._before:
            # The store's own count has begun anew.
            self._before = 0
        if arrived - self._before != self._count:
            newest = await self._store.texts(scope, limit=1)
            self._last = newest[0].at / 1000 if newest else self._now()
            self._count = arrived - self._before

    async def watch(self, notes: Sequence[Note]) -> None:
        """As `News.watch`. Raises: StoreUnavailable."""
        await self._watching.watch(notes)

    async def next_note(self) -> Note:
        """As `News.next_note`."""
        return await self._watching.next()

    async def told_note(self, note: Note) -> None:
        """As `News.told_note`. Raises: StoreUnavailable."""
        await self._watching.told(note)


def _searcher(config: FeederConfig) -> Callable[[str], str]:
    """Finds the code in a text, for feeders whose config has `extract_code` and `code_pattern`.

    Without a pattern it is the number beside a word such as "code".
    """
    if not getattr(config, "extract_code", False):
        return lambda _: ""
    wanted: str = config.code_pattern  # type: ignore[attr-defined]
    if not wanted:
        return lambda text: find_code(text[:SEARCHED])
    pattern = re.compile(wanted)

    def code(text: str) -> str:
        found = pattern.search(text, 0, SEARCHED)
        return ((found.group(1) if pattern.groups else None) or found.group()) if found else ""

    return code
