"""One attempt to hand a message over: the channel's call, its time limit, and the lease meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from otpsvc.channel import Channel
from otpsvc.errors import Busy, KeyringError, Refused, RequestError, StoreUnavailable, Unavailable, Uncertain
from otpsvc.message import Message
from otpsvc.outcome import Result
from otpsvc.store import Claimed, Store

#: Seconds between two tries to reach a store that is away.
_PAUSE: Final = 0.05


class Outcome(Struct, frozen=True):
    """Of one attempt. `retry_after` in seconds; `parts` that the message became.

    `doubt`: it was sent, and an earlier try of the same call may have been too.
    """

    result: Result
    reason: str = ""
    retry_after: float | None = None
    bug: Exception | None = None
    parts: int = 0
    doubt: bool = False
    #: An uncertain one that must not be tried again.
    settled: bool = False


async def attempt(
    channel: Channel, claimed: Claimed, compose: Callable[[], Message], beats: Beats
) -> Outcome:
    """One call of the channel under its time limit, with signs of life while it lasts."""
    limit = min(float(channel.config.timeout), claimed.seconds_left())
    if limit <= 0:
        return Outcome("unavailable", "deadline")
    beats.start()
    try:
        async with asyncio.timeout(limit):
            receipt = await channel.send(compose())
    except Refused as error:
        return Outcome("refused", error.reason)
    except Unavailable as error:
        return Outcome("unavailable", error.reason, error.retry_after)
    except Uncertain as error:
        return Outcome("uncertain", error.reason, settled=error.settled)
    except TimeoutError as late:
        return _cut_off(late)
    except (Busy, KeyringError):
        return Outcome("unavailable", "its key is not offered here")
    except RequestError:
        return Outcome("refused", "its text cannot be rendered")
    except Exception as error:  # noqa: BLE001 - a bug of a channel must not stop the others
        return Outcome("unavailable", f"bug: {type(error).__name__}", bug=error)
    finally:
        beats.stop()
    return Outcome("sent", parts=receipt.parts, doubt=receipt.uncertain)


def surely_unsent(late: TimeoutError) -> bool:
    """A channel that was cut off may say, as the cancellation's cause, that nothing can have left."""
    known = late.__cause__ and late.__cause__.__cause__
    return isinstance(known, Unavailable)


def _cut_off(late: TimeoutError) -> Outcome:
    return Outcome("unavailable" if surely_unsent(late) else "uncertain", "timed out")


async def put_back(store: Store, claimed: Claimed, *, patience: float = 0.0) -> None:
    """Give back what surely did not leave: it must not look as if a worker had died with it.

    `patience`: seconds for which the store may be away.
    """
    end = time.monotonic() + min(patience, claimed.seconds_left())
    while True:
        with contextlib.suppress(StoreUnavailable):
            await store.later(claimed, delay=0, way=claimed.record.way, reason="stopped", uncertain=False)
            return
        if time.monotonic() >= end:
            return
        await asyncio.sleep(_PAUSE)


class Beats:
    """Renews a lease (ms) `every` so many seconds; costs nothing for a send that is quicker."""

    def __init__(self, store: Store, claimed: Claimed, *, every: float, lease: int) -> None:
        self._store = store
        self._claimed = claimed
        self._every = every
        self._lease = lease
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Must be called inside the running loop."""
        self._timer = asyncio.get_running_loop().call_later(self._every, self._begin)

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._beat())

    async def _beat(self) -> None:
        while True:
            # A lost or ended message cannot be called back from the channel; its outcome is ignored.
            with contextlib.suppress(StoreUnavailable):
                await self._store.beat(self._claimed, lease=self._lease)
            await asyncio.sleep(self._every)

    def stop(self) -> None:
        """The attempt has ended."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
