"""Runs the scripts on the server, one for each change of state, and knows the tenants' clocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from otpsvc.stores.batcher import RUN_ID, TIMEOUT, Arg, Batcher, Listener
from otpsvc.stores.connection import OPEN, Connector, Script
from otpsvc.tenant import Rate

LUA: Final = Path(__file__).parent / "lua"
#: No two clocks drift apart by more than this part of the time that goes by.
DRIFT: Final = 0.0005
NAMES: Final = (
    "create", "resend", "check", "read", "claim", "progress", "report", "reserve", "unreserve", "once",
    "enqueue", "keep_text", "texts", "first", "hold", "release", "unread", "advance", "watch",
)  # fmt: skip


#: Those that need `messages.lua` too; for the others it would only cost time.
OUTBOX: Final = frozenset({"claim", "progress", "report", "enqueue"})


def _script(name: str) -> Script:
    parts = ("prelude", "messages", name) if name in OUTBOX else ("prelude", name)
    return Script(name, "".join((LUA / f"{part}.lua").read_text() for part in parts))


class _Clock(NamedTuple):
    """A tenant's clock as this process knows it.

    Its epoch, and by how many milliseconds it was ahead of the monotonic clock at `at` of that.
    """

    epoch: int = 0
    ahead: float = 0.0
    at: float = 0.0

    def ahead_now(self, moment: float) -> float:
        # Fades, so that a clock that runs slower is never taken for one that was set back.
        return self.ahead - (moment - self.at) * DRIFT


class RedisSteps:
    """What all steps stand on. `fenced`: the server may lose writes, so its run id opens a new epoch (D9)."""

    def __init__(
        self,
        url: str,
        *,
        fenced: bool,
        timeout: float = TIMEOUT,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`timeout`: seconds that one step may take before StoreUnavailable."""
        self._scripts = {name: _script(name) for name in NAMES}
        # A little less than a call has, so that its caller reads why no connection came about.
        self.connector = Connector(url, scripts=self._scripts.values(), timeout=timeout * OPEN / TIMEOUT)
        self._batcher = Batcher(self.connector, timeout=timeout)
        # Behind a sentinel a replica may take over that lacks the last writes.
        self._run: Any = RUN_ID if fenced or self.connector.fails_over else b""
        self._listener: Listener | None = None
        self._monotonic = monotonic
        # By tenant: each must note for itself that the store's clock was set back.
        self._clocks: dict[str, _Clock] = {}

    async def close(self) -> None:
        if self._listener is not None:
            await self._listener.close()
        await self._batcher.close()

    async def call(self, *command: Arg) -> Any:
        """One command that may run twice. Raises: StoreUnavailable."""
        return await self._batcher.call(*command, repeatable=True)

    async def script(self, script: Script, keys: Sequence[Arg], args: Sequence[Arg] = ()) -> Any:
        """One script that may run twice. Raises: StoreUnavailable."""
        return await self._batcher.script(script, keys, args, repeatable=True)

    async def _step(self, name: str, keys: list[str], tenant: str, *args: Any) -> list[Any]:
        """Run a script that reads the tenant's clock; note what it says about the time."""
        moment = self._monotonic() * 1000
        known = self._clocks.get(tenant, _Clock())
        clock = (self._run, b"%d" % (moment + known.ahead_now(moment)), known.epoch, tag(tenant))
        return await self.script(self._scripts[name], keys, (*clock, *args))  # type: ignore[no-any-return]

    def _note(self, tenant: str, now: int, epoch: int) -> None:
        moment = self._monotonic() * 1000
        ahead, known = now - moment, self._clocks.get(tenant)
        # Answers come late, never early: the highest value is the truest.
        if known is None or known.epoch != epoch or ahead > known.ahead_now(moment):
            self._clocks[tenant] = _Clock(epoch, ahead, moment)


def tag(scope: str) -> str:
    """Keeps the keys of a tenant, or of all, in one slot."""
    return "{" + scope + "}"


def rate_args(rate: Rate | None) -> tuple[int, int]:
    """Count and window in milliseconds; zeros: no limit."""
    return (rate.count, rate.window * 1000) if rate else (0, 0)
