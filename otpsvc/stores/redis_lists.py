"""Block lists and texts that came in, on Redis: of one tenant, or of all (scope `ALL`)."""

from __future__ import annotations

from collections.abc import Sequence

from otpsvc.step import Kept
from otpsvc.store import ALL, new_op
from otpsvc.stores.redis_news import places
from otpsvc.stores.redis_steps import RedisSteps, tag


class RedisLists(RedisSteps):
    """The steps of `Store` that need no tenant's clock."""

    async def block(self, scope: str, dest: bytes, sealed: bytes) -> bool:
        return bool(await self.call("HSETNX", f"block:{tag(scope)}", dest, sealed))

    async def unblock(self, scope: str, dest: bytes) -> bool:
        # Not repeatable: after a lost answer it would say that nothing was blocked.
        return bool(await self._batcher.call("HDEL", f"block:{tag(scope)}", dest))

    async def blocked(self, scope: str, dest: bytes) -> bytes | None:
        sealed: bytes | None = await self.call("HGET", f"block:{tag(scope)}", dest)
        return sealed

    async def blocks(self, scope: str) -> list[tuple[bytes, bytes]]:
        flat = await self.call("HGETALL", f"block:{tag(scope)}")
        return list(zip(flat[::2], flat[1::2], strict=True))

    async def barred(self, dests: Sequence[bytes]) -> list[bool]:
        if not dests:
            return []
        found = await self.call("HMGET", f"block:{tag(ALL)}", *dests)
        return [sealed is not None for sealed in found]

    async def keep_text(self, scope: str, id: str, sealed: bytes, *, life: int, most: int) -> bool:
        t = tag(scope)
        keys = [f"text:{t}:{id}", f"inbox:{t}", places(scope)]
        args = (t, id, new_op(), sealed, life, most)
        return bool(await self.script(self._scripts["keep_text"], keys, args))

    async def texts(self, scope: str, *, before: float = 0, limit: int = 100) -> list[Kept]:
        t = tag(scope)
        rows = await self.script(self._scripts["texts"], [f"inbox:{t}"], (t, str(before), limit))
        return [Kept(id.decode(), float(at), sealed) for id, at, sealed in rows]
