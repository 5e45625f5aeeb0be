"""One attempt to hand a message over: the channel's call, its time limit, and the lease meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from msgspec import Struct

from otpsvc.channel import Channel
from otpsvc.errors import Busy, KeyringError, Refused, RequestError, StoreUnavailable, Unavailable, Uncertain
from otpsvc.message import Message
from otpsvc.outcome import Result
from otpsvc.store import Claimed, Store


class Outcome(Struct, frozen=True):
    """Of one attempt. `retry_after` in seconds."""

    result: Result
    reason: str = ""
    retry_after: float | None = None
    bug: Exception | None = None


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
            await channel.send(compose())
    except Refused as error:
        return Outcome("refused", error.reason)
    except Unavailable as error:
        return Outcome("unavailable", error.reason, error.retry_after)
    except Uncertain as error:
        return Outcome("uncertain", error.reason)
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
    return Outcome("sent")


def _cut_off(late: TimeoutError) -> Outcome:
    """A channel that was cut off may say, as the cancellation's cause, that nothing can have left."""
    known = late.__cause__ and late.__cause__.__cause__
    if isinstance(known, Unavailable):
        return Outcome("unavailable", "timed out")
    return Outcome("uncertain", "timed out")


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
