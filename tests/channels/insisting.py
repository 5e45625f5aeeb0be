"""A sender that does not give up, and one that is cut off at every point."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from otpsvc.channel import Channel
from otpsvc.errors import ChannelError, Unavailable, Uncertain
from tests.channels import message


@dataclass
class Ends:
    """Ids by how their sends ended. `free`: surely not sent."""

    sent: set[str] = field(default_factory=set)
    free: set[str] = field(default_factory=set)
    doubtful: set[str] = field(default_factory=set)

    def note(self, id: str, end: BaseException | None) -> None:
        match end:
            case None:
                self.sent.add(id)
            case Unavailable():
                self.free.add(id)
            case Uncertain():
                self.doubtful.add(id)
            case _:
                raise AssertionError(repr(end))


async def insist(channel: Channel, id: str, ends: Ends, *, limit: float = 5.0) -> None:
    """Until it is sent, as the deliverer does it under one id."""
    while id not in ends.sent:
        try:
            async with asyncio.timeout(limit):
                await channel.send(message(id=id))
            ends.note(id, None)
        except ChannelError as error:
            ends.note(id, error)
            await asyncio.sleep(0.05)
        except TimeoutError as late:
            ends.note(id, getattr(late.__cause__, "__cause__", None) or late)


async def cut_off(channel: Channel, id: str, ends: Ends, *, turns: int) -> None:
    """Cancel a send after so many turns of the loop."""
    sending = asyncio.ensure_future(channel.send(message(id=id)))
    for _ in range(turns):
        await asyncio.sleep(0)
    sending.cancel()
    try:
        await sending
        ends.note(id, None)
    except asyncio.CancelledError as cancelled:
        # A task that never ran has no cause: nothing of it can have left.
        never = Unavailable("never began") if turns == 0 else None
        ends.note(id, cancelled.__cause__ or never or cancelled)


async def settled(before: set[asyncio.Task[None]]) -> None:
    """Until no task runs that did not before. Raises: TimeoutError."""
    async with asyncio.timeout(30):
        while asyncio.all_tasks() - before:
            await asyncio.sleep(0.01)
