"""The store on Redis >= 6.2 or Valkey: one script per change of state."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

from otpsvc.challenge import unpack
from otpsvc.step import Answer, Creation, Guess, Resend
from otpsvc.store import ALL, Wake
from otpsvc.stores.batcher import Listener
from otpsvc.stores.redis_lists import RedisLists
from otpsvc.stores.redis_news import RedisNews
from otpsvc.stores.redis_outbox import RedisOutbox
from otpsvc.stores.redis_steps import LUA, rate_args, tag
from otpsvc.tenant import PURPOSES, Rate

__all__ = ["LUA", "RedisStore"]

#: No tenant can have this name, so none can have keys of it.
GLOBAL: Final = tag(ALL)


class RedisStore(RedisOutbox, RedisLists, RedisNews):
    """All of `Store`: here what is about challenges, guards and Idempotency-Keys."""

    def _answer(self, tenant: str, got: list[Any]) -> Answer:
        outcome, now, epoch, raw, wait = got
        word = outcome.decode()
        if word != "done":  # whose time is that of the first answer
            self._note(tenant, now, epoch)
        return Answer(word, now, unpack(raw) if raw else None, wait)

    async def create(self, creation: Creation) -> Answer:
        c, once = creation, creation.once
        t = tag(c.tenant)
        keys = [
            f"otp:{t}:{c.n}",
            f"clock:{t}",
            f"budget:{t}:sends",
            f"once:{t}:{once.name}" if once else f"once:{t}",
        ]
        got = await self._step(
            "create", keys, c.tenant, c.n, c.op, c.gen, c.kid, c.purpose, c.flags, c.kind, c.dest,
            c.digest, c.salt, c.route, c.ttl, c.cap, c.max_attempts, c.max_sends, _waits(c.waits),
            c.blob, c.body, *rate_args(c.sends), once.fingerprint if once else b"",
            c.lease, c.pin,
        )  # fmt: skip
        return self._answer(c.tenant, got)

    async def resend(self, resend: Resend) -> Answer:
        r = resend
        t = tag(r.tenant)
        keys = [f"otp:{t}:{r.n}", f"clock:{t}", f"budget:{t}:sends"]
        got = await self._step(
            "resend", keys, r.tenant, r.n, r.op, _waits(r.waits), *rate_args(r.sends), r.lease,
            r.gen, r.kid, r.digest, r.salt, r.body,
        )  # fmt: skip
        return self._answer(r.tenant, got)

    async def check(self, guess: Guess) -> Answer:
        g = guess
        if g.limits is None:
            limits: tuple[int, ...] = (0, 0, 0, 0, 0, 0)
        else:
            limits = (*(r.count for r in g.limits), *(r.window * 1000 for r in g.limits))
        pairs: list[bytes] = []
        for offer in g.offers:
            pairs += (offer.scheme.encode() + offer.kid, offer.digest)
        got = await self._step(
            "check", _keys(g.tenant, g.n), g.tenant, g.n, g.op, g.client, *limits,
            g.salt, g.gen, g.open_most, *pairs,
        )  # fmt: skip
        return self._answer(g.tenant, got)

    async def _read(self, tenant: str, n: str, op: bytes, action: str, *more: bytes | str | int) -> Answer:
        args = more or ("", b"", b"", b"", 0)
        return self._answer(tenant, await self._step("read", _keys(tenant, n), tenant, n, op, action, *args))

    async def read(self, tenant: str, n: str) -> Answer:
        return await self._read(tenant, n, b"", "read")

    async def status(
        self,
        tenant: str,
        n: str,
        op: bytes,
        *,
        needs: str,
        receipt: tuple[bytes, bytes] | None,
        until: int = 0,
        gen: bytes = b"",
        consume: bool = False,
    ) -> Answer:
        assert len(needs) == len(PURPOSES)
        proof = receipt or (b"", b"")
        action = "consume" if consume else "status"
        return await self._read(tenant, n, op, action, needs, *proof, gen, until)

    async def cancel(self, tenant: str, n: str, op: bytes) -> Answer:
        return await self._read(tenant, n, op, "cancel")

    async def reserve(
        self, guards: Sequence[tuple[str, Sequence[Rate]]], dest: bytes = b""
    ) -> tuple[float, int]:
        keys = [f"block:{GLOBAL}", *(f"guard:{GLOBAL}:{name}" for name, _ in guards)]
        args: list[int | bytes] = [dest]
        for _, rates in guards:
            args.append(len(rates))
            for rate in rates:
                args += (rate.count, rate.window * 1000)
        wait, which = await self.script(self._scripts["reserve"], keys, args)
        return wait, which - 1

    async def unreserve(self, names: Sequence[str]) -> None:
        keys = [f"guard:{GLOBAL}:{name}" for name in names]
        # Not repeatable: a lost answer leaves one place taken, never one too many given back.
        await self._batcher.script(self._scripts["unreserve"], keys)

    async def once(self, tenant: str, name: str, fingerprint: bytes, op: bytes) -> Answer:
        key = f"once:{tag(tenant)}:{name}"
        outcome, stored = await self.script(self._scripts["once"], [key], [fingerprint, op])
        if not stored:
            return Answer(outcome.decode(), 0)
        (now,) = struct.unpack_from("<d", stored)
        return Answer("done", now, unpack(stored[8:]))

    async def release_once(self, tenant: str, name: str) -> None:
        await self.call("DEL", f"once:{tag(tenant)}:{name}")

    async def reset_budget(self, tenant: str, dest: bytes) -> None:
        prefix = b"budget:{%s}:%s" % (tenant.encode(), dest)
        keys = [prefix + bytes([at]) + kind for at in range(len(PURPOSES)) for kind in (b"", b"t")]
        await self.call("DEL", *keys)

    async def check_values(self, values: Sequence[tuple[str, bytes]]) -> list[str]:
        differing = []
        for name, value in values:
            # An older tag, which no other key has: what a store knows of its keyring must stay.
            key = f"meta:{{global}}:key:{name}"
            await self.call("SET", key, value, "NX")
            if await self.call("GET", key) != value:
                differing.append(name)
        return differing

    async def ping(self) -> str:
        await self.call("PING")
        return "ok"

    def listen(self, wake: Wake) -> None:
        def heard(payload: bytes) -> None:
            tag, route, lane = payload.decode().split(" ")
            wake(tag.strip("{}"), route, lane)  # type: ignore[arg-type]

        self._listener = Listener(self.connector, "otpsvc:wake", heard)
        self._listener.start()


def _keys(tenant: str, n: str) -> list[str]:
    return [f"otp:{tag(tenant)}:{n}", f"clock:{tag(tenant)}"]


def _waits(waits: tuple[int, ...]) -> str:
    return ",".join(str(wait * 1000) for wait in waits)
