"""What feeders share on Redis: who does a thing, and how far each was told of texts and messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from otpsvc.challenge import MessageRecord, unpack_message
from otpsvc.step import Kept
from otpsvc.store import ALL
from otpsvc.stores.redis_steps import RedisSteps, tag

#: Milliseconds that the place of a feeder outlives its last use: more than a year.
PLACE_LIFE: Final = 400 * 86_400_000


class RedisNews(RedisSteps):
    """The steps of `Store` that are about feeders."""

    async def first(
        self, tenant: str, name: str, token: bytes, *, life: int, within: int | None = None
    ) -> bytes:
        # Apart from the keys of creates and of raw messages.
        key = f"once:{tag(tenant)}:feed:{name}"
        args = (token, life, life if within is None else within)
        return await self.script(self._scripts["first"], [key], args)  # type: ignore[no-any-return]

    async def hold(self, name: str, token: bytes, *, life: int) -> bool:
        return bool(await self.script(self._scripts["hold"], [_lease(name)], [token, life]))

    async def release(self, name: str, token: bytes) -> None:
        await self.script(self._scripts["release"], [_lease(name)], [token])

    async def unread(self, scope: str, feeder: str, *, limit: int = 1) -> list[Kept]:
        t = tag(scope)
        args = (t, feeder, limit, PLACE_LIFE)
        rows = await self.script(self._scripts["unread"], [f"inbox:{t}", places(scope)], args)
        return [Kept(id.decode(), float(at), sealed) for id, at, sealed in rows]

    async def advance(self, scope: str, feeder: str, id: str) -> None:
        keys = [f"inbox:{tag(scope)}", places(scope)]
        await self.script(self._scripts["advance"], keys, (feeder, id))

    async def arrivals(self, scope: str) -> int:
        return int(await self.call("HGET", places(scope), "#") or 0)

    async def messages(self, tenant: str, ns: Sequence[str]) -> list[MessageRecord | None]:
        if not ns:
            return []
        found = await self.call("MGET", *(f"msg:{tag(tenant)}:{n}" for n in ns))
        return [unpack_message(raw) if raw and len(raw) > 1 else None for raw in found]

    async def watch(
        self, tenant: str, feeder: str, watches: Sequence[tuple[str, bytes]], *, life: int, most: int
    ) -> None:
        pairs = [part for watch in watches for part in watch]
        await self.script(self._scripts["watch"], _watches(tenant, feeder), (1, most, life, *pairs))

    async def watched(self, tenant: str, feeder: str) -> list[tuple[str, bytes]]:
        flat = await self.call("HGETALL", _watches(tenant, feeder)[0])
        return [(n.decode(), sealed) for n, sealed in zip(flat[::2], flat[1::2], strict=True)]

    async def rewatch(self, tenant: str, feeder: str, n: str, sealed: bytes) -> None:
        await self.script(self._scripts["watch"], _watches(tenant, feeder), (0, 0, 0, n, sealed))


def places(scope: str) -> str:
    """The key of how far each feeder was told of the texts of a scope."""
    return f"feeder:{tag(scope)}:places"


def _lease(name: str) -> str:
    return f"feeder:{tag(ALL)}:lease:{name}"


def _watches(tenant: str, feeder: str) -> list[str]:
    t = tag(tenant)
    return [f"feeder:{t}:watch:{feeder}", f"feeder:{t}:since:{feeder}"]
